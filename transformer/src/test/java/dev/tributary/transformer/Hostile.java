package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;

/** What tests of files that were tampered with have in common. */
final class Hostile {
  /** What a few thousand bytes may make the library allocate on the heap. */
  private static final long MEMORY = 512 << 20;

  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private Hostile() {}

  /** Something that reads a file. */
  @FunctionalInterface
  interface Reading {
    void run() throws IOException;
  }

  /**
   * How many files each property mutates: 20,000, or -Dfuzz.mutations of them; in {@code parts}
   * tries.
   */
  static int mutations(int parts) {
    return Integer.getInteger("fuzz.mutations", 20_000) / parts;
  }

  /**
   * Reads, within a bound on memory, and gives the sentence if that was refused.
   *
   * @param path with which the sentence has to begin
   */
  static Optional<String> refusal(Path path, Reading reading) {
    long before = THREADS.getCurrentThreadAllocatedBytes();
    try {
      reading.run();
      return Optional.empty();
    } catch (IOException e) {
      assertEquals(IOException.class, e.getClass(), e::toString);
      String sentence = String.valueOf(e.getMessage());
      assertTrue(sentence.startsWith(path.toString()), sentence);
      assertEquals(1, sentence.lines().count(), sentence);
      return Optional.of(sentence.substring(path.toString().length()));
    } finally {
      long allocated = THREADS.getCurrentThreadAllocatedBytes() - before;
      assertTrue(allocated < MEMORY, () -> allocated + " bytes were allocated");
    }
  }

  /** Some bytes changed, moved, dropped or repeated. */
  static byte[] mutated(byte[] valid, Random random) {
    byte[] content = valid.clone();
    for (int i = random.nextInt(4); i >= 0; i--) {
      if (content.length == 0) {
        return content;
      }
      int at = random.nextInt(content.length);
      switch (random.nextInt(8)) {
        case 0 -> content = Arrays.copyOf(content, at);
        case 1 -> content = spliced(content, at, at + random.nextInt(8), new byte[0]);
        case 2 -> {
          int from = random.nextInt(content.length);
          int to = Math.min(content.length, from + random.nextInt(64));
          content = spliced(content, at, at, Arrays.copyOfRange(content, from, to));
        }
        case 3 -> {
          int width = 1 << random.nextInt(4);
          byte value = (byte) (random.nextBoolean() ? 0xff : 0);
          for (int j = at; j < Math.min(content.length, at + width); j++) {
            content[j] = value;
          }
          if (random.nextBoolean() && at + width <= content.length) {
            content[at + width - 1] = 0x7f;
          }
        }
        case 4 -> content[at] += (byte) (random.nextBoolean() ? 1 : -1);
        default -> content[at] = (byte) random.nextInt(256);
      }
    }
    return content;
  }

  /** With other bytes in the place of those from {@code from} to {@code to}. */
  static byte[] spliced(byte[] content, int from, int to, byte[] other) {
    int end = Math.min(to, content.length);
    byte[] result = Arrays.copyOf(content, content.length - (end - from) + other.length);
    System.arraycopy(other, 0, result, from, other.length);
    System.arraycopy(content, end, result, from + other.length, content.length - end);
    return result;
  }
}

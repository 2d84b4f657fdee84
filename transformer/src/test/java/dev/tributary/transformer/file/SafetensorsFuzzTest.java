package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/** A broken file is refused in our words, or makes sense after all; it never does anything else. */
class SafetensorsFuzzTest {
  private static final String SEED = "20240229";

  /** What a header may be made of, and what it should not. */
  private static final List<String> PIECES =
      List.of(
          "0",
          "1",
          "4",
          "8",
          "-1",
          "2",
          "3.0",
          "1e3",
          "9223372036854775807",
          "9223372036854775808",
          "4294967296",
          "268435456",
          "null",
          "true",
          "\"F32\"",
          "\"F16\"",
          "\"x\"",
          "\"w\"",
          "[",
          "]",
          "{",
          "}",
          ",",
          ":",
          "[]",
          "{}",
          "[0,0]",
          "\"",
          "\"dtype\"",
          "\"shape\"",
          "\"data_offsets\"",
          "\"__metadata__\"",
          "\\",
          "\\ud800",
          "\u00fc",
          "\u0000",
          "//",
          "NaN");

  private static Path file = Path.of("");

  @BeforeContainer
  static void makeFile() throws IOException {
    file = Files.createTempFile("fuzz", ".safetensors");
  }

  @AfterContainer
  static void removeFile() throws IOException {
    Files.delete(file);
  }

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs();
  }

  private static byte[] valid() {
    return new SafetensorsBuilder()
        .put("w", Shape.of(2, 1), 1, 2)
        .put("h", "F16", Shape.of(2), new byte[4])
        .put("e", "BF16", Shape.of(0, 3))
        .put("n", "I8", Shape.of(), (byte) 1)
        .put("d", "F64", Shape.of(1), new byte[8])
        .build();
  }

  @Property(tries = 2000, seed = SEED)
  void open_mutatedBytes_loadsOrRefuses(@ForAll("seeds") long seed) throws IOException {
    Random random = new Random(seed);
    byte[] content = valid();
    for (int i = random.nextInt(4); i >= 0; i--) {
      content[random.nextInt(content.length)] = (byte) random.nextInt(256);
    }
    if (random.nextInt(4) == 0) {
      content = Arrays.copyOf(content, random.nextInt(content.length + 20));
    }
    loadsOrRefuses(content);
  }

  @Property(tries = 4000, seed = SEED)
  void open_mutatedHeader_loadsOrRefuses(@ForAll("seeds") long seed) throws IOException {
    Random random = new Random(seed);
    byte[] content = valid();
    int length = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN).getInt();
    String header = new String(content, 8, length, StandardCharsets.UTF_8);
    for (int i = random.nextInt(3); i >= 0; i--) {
      String[] tokens = header.split("(?<=[^\\w-])|(?=[^\\w-])");
      int at = random.nextInt(tokens.length);
      String piece = PIECES.get(random.nextInt(PIECES.size()));
      tokens[at] =
          switch (random.nextInt(4)) {
            case 0 -> "";
            case 1 -> tokens[at] + piece;
            case 2 -> tokens[random.nextInt(tokens.length)];
            default -> piece;
          };
      header = String.join("", tokens);
    }
    loadsOrRefuses(
        SafetensorsBuilder.file(header, Arrays.copyOfRange(content, 8 + length, content.length)));
  }

  private static void loadsOrRefuses(byte[] content) throws IOException {
    Tampering.write(file, content);
    for (long memoryLimit : new long[] {0, content.length}) {
      try (Scope scope = Scope.open()) {
        Safetensors tensors = Safetensors.open(file, memoryLimit);
        for (String name : tensors.names()) {
          read(tensors, name);
        }
      } catch (IOException e) {
        requireSentence(e);
      }
    }
  }

  private static void read(Safetensors tensors, String name) {
    try {
      Shape shape = tensors.shape(name);
      assertEquals(shape.length(), tensors.tensor(name, DType.FLOAT).toDoubles().length);
    } catch (IOException e) {
      requireSentence(e);
      assertTrue(String.valueOf(e.getMessage()).contains("expected F32, F16, BF16 or F64"));
    }
  }

  private static void requireSentence(IOException e) {
    assertEquals(IOException.class, e.getClass());
    String sentence = String.valueOf(e.getMessage());
    assertTrue(sentence.startsWith(file + ": "), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
  }
}

package dev.tributary.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * The memory of a block as little-endian bytes. A buffer holds fewer than 2^31 of them, so there
 * are several: one begins every {@link #STEP} bytes and holds twice as many, so that whatever is
 * no longer than a step lies in one of them.
 */
final class RawBytes {
  private static final int STEP_BITS = 29;

  /** How many bytes are read or written at a time at most. */
  static final int STEP = 1 << STEP_BITS;

  private final ByteBuffer[] bytes;
  private final LongBuffer[] longs;

  RawBytes(Pointer pointer, long start, long size) {
    int count = 1 + (int) ((size - 1) >>> STEP_BITS);
    bytes = new ByteBuffer[count];
    longs = new LongBuffer[count];
    for (int i = 0; i < count; i++) {
      long first = (long) i << STEP_BITS;
      BytePointer part = pointer.getPointer(BytePointer.class, start + first);
      part.capacity(Math.min(2L * STEP - Long.BYTES, size - first));
      bytes[i] = part.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      longs[i] = bytes[i].asLongBuffer();
    }
  }

  private static int index(long position) {
    return (int) position & (STEP - 1);
  }

  /** So many bytes from a position on, as a buffer to be filled. */
  ByteBuffer slice(long position, int n) {
    return bytes[(int) (position >>> STEP_BITS)].slice(index(position), n);
  }

  void read(long position, byte[] to, int n) {
    bytes[(int) (position >>> STEP_BITS)].get(index(position), to, 0, n);
  }

  /** Whether {@link #widen} may begin here. */
  static boolean isAligned(long position) {
    return position % Long.BYTES == 0;
  }

  /**
   * Makes F32 of BF16, four numbers at a time: its bits are the upper half of those of the F32.
   *
   * @param n how many numbers, a multiple of 4; both positions are aligned
   */
  void widen(long position, RawBytes to, long target, int n) {
    widen(
        longs[(int) (position >>> STEP_BITS)],
        index(position) / Long.BYTES,
        to.longs[(int) (target >>> STEP_BITS)],
        index(target) / Long.BYTES,
        n / 4);
  }

  private static void widen(LongBuffer from, int at, LongBuffer to, int target, int n) {
    for (int i = 0; i < n; i++) {
      long four = from.get(at + i);
      long low = (four << 16 & 0xffff0000L) | ((four & 0xffff0000L) << 32);
      long high = (four >>> 16 & 0xffff0000L) | (four & 0xffff000000000000L);
      to.put(target + 2 * i, low);
      to.put(target + 2 * i + 1, high);
    }
  }
}

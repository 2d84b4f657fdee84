package dev.tributary.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * The memory of a block as little-endian bytes. A buffer holds fewer than 2^31 of them, so there
 * are several: one begins every {@link #STEP} bytes and holds twice as many, so that whatever is no
 * longer than a step lies in one of them.
 */
final class RawBytes {
  private static final int STEP_BITS = 29;

  /** How many bytes are read or written at a time at most. */
  static final int STEP = 1 << STEP_BITS;

  private final Pointer start;
  private final ByteBuffer[] bytes;
  private final IntBuffer[] ints;

  RawBytes(Pointer pointer, long first, long size) {
    start = pointer.getPointer(BytePointer.class, first);
    int count = 1 + (int) ((size - 1) >>> STEP_BITS);
    bytes = new ByteBuffer[count];
    ints = new IntBuffer[count];
    for (int i = 0; i < count; i++) {
      long at = (long) i << STEP_BITS;
      BytePointer part = start.getPointer(BytePointer.class, at);
      part.capacity(Math.min(2L * STEP - Long.BYTES, size - at));
      bytes[i] = part.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      ints[i] = bytes[i].asIntBuffer();
    }
  }

  private static int index(long position) {
    return (int) position & (STEP - 1);
  }

  /** So many bytes from a position on, as a buffer to be filled. */
  ByteBuffer slice(long position, int n) {
    return bytes[(int) (position >>> STEP_BITS)].slice(index(position), n);
  }

  /** Where a position is. */
  Pointer pointer(long position) {
    return start.getPointer(BytePointer.class, position);
  }

  void write(short[] from, int n, long position) {
    slice(position, n * Short.BYTES).order(ByteOrder.LITTLE_ENDIAN).asShortBuffer().put(from, 0, n);
  }

  void read(long position, byte[] to, int n) {
    bytes[(int) (position >>> STEP_BITS)].get(index(position), to, 0, n);
  }

  /** Integers of a piece that {@link #widenHalves} copies to the heap. */
  private static final int PIECE = 1024;

  private static final ThreadLocal<int[][]> PIECES =
      ThreadLocal.withInitial(() -> new int[2][PIECE]);

  /** Fills the rest of a buffer. */
  void read(long position, ByteBuffer to) {
    while (to.hasRemaining()) {
      int n = Math.min(STEP, to.remaining());
      to.put(slice(position, n));
      position += n;
    }
  }

  /**
   * Makes F32 of BF16, whose bits are the upper half of those of the F32: first those of even
   * index, then those of odd index. As they lie, two to an integer, is fastest by far.
   *
   * @param position a multiple of 4 bytes
   * @param target of the first, a multiple of 4 bytes
   * @param n how many numbers, even
   */
  void widenHalves(long position, RawBytes to, long target, int n) {
    int[] low = PIECES.get()[0];
    int[] high = PIECES.get()[1];
    IntBuffer from = ints[(int) (position >>> STEP_BITS)];
    IntBuffer out = to.ints[(int) (target >>> STEP_BITS)];
    int at = index(position) / Integer.BYTES;
    int even = index(target) / Integer.BYTES;
    int odd = even + n / 2;
    for (int done = 0; done < n / 2; done += PIECE) {
      int count = Math.min(PIECE, n / 2 - done);
      from.get(at + done, low, 0, count);
      upper(low, high, count);
      lower(low, count);
      out.put(even + done, low, 0, count);
      out.put(odd + done, high, 0, count);
    }
  }

  /**
   * Whether no BF16 is infinite or NaN.
   *
   * @param position a multiple of 4 bytes
   * @param n how many numbers, even
   */
  boolean isFinite(long position, int n) {
    int[] pairs = PIECES.get()[0];
    IntBuffer from = ints[(int) (position >>> STEP_BITS)];
    int at = index(position) / Integer.BYTES;
    for (int done = 0; done < n / 2; done += PIECE) {
      int count = Math.min(PIECE, n / 2 - done);
      from.get(at + done, pairs, 0, count);
      carries(pairs, count);
      int any = 0;
      for (int i = 0; i < count; i++) {
        any |= pairs[i];
      }
      if ((any & 0x80008000) != 0) {
        return false;
      }
    }
    return true;
  }

  /** An exponent of which all bits are set carries into the place of the sign. */
  private static void carries(int[] pairs, int n) {
    for (int i = 0; i < n; i++) {
      pairs[i] = (pairs[i] & 0x7f807f80) + 0x00800080;
    }
  }

  private static void upper(int[] pairs, int[] high, int n) {
    for (int i = 0; i < n; i++) {
      high[i] = pairs[i] & 0xffff0000;
    }
  }

  private static void lower(int[] pairs, int n) {
    for (int i = 0; i < n; i++) {
      pairs[i] <<= 16;
    }
  }
}

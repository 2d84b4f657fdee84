package dev.tributary.core;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Numbers on their own, each a block of one. */
final class PlainBlocks {
  private static final VarHandle SHORTS = view(short[].class);
  private static final VarHandle INTS = view(int[].class);
  private static final VarHandle LONGS = view(long[].class);

  /** The value of each binary16. */
  private static final float[] HALVES = halves();

  private PlainBlocks() {}

  private static VarHandle view(Class<?> type) {
    return MethodHandles.byteArrayViewVarHandle(type, ByteOrder.LITTLE_ENDIAN);
  }

  private static float[] halves() {
    float[] values = new float[1 << 16];
    for (int bits = 0; bits < values.length; bits++) {
      int exponent = (bits >> 10) & 0x1f;
      int fraction = bits & 0x3ff;
      float size =
          exponent == 0
              ? fraction * 0x1p-24f
              : Float.intBitsToFloat(
                  ((exponent == 0x1f ? 0xff : exponent + 127 - 15) << 23) | (fraction << 13));
      values[bits] = bits < 0x8000 ? size : -size;
    }
    return values;
  }

  /** Some bits of a byte, from bit {@code first} on. */
  static int bits(byte[] raw, int at, int first, int width) {
    return bits(raw[at], first, width);
  }

  /** Some bits of a number, from bit {@code first} on. */
  static int bits(int number, int first, int width) {
    return (number >>> first) & ((1 << width) - 1);
  }

  /** The unsigned integer of two bytes. */
  static int u16(byte[] raw, int at) {
    return (short) SHORTS.get(raw, at) & 0xffff;
  }

  /** The integer of four bytes. */
  static int i32(byte[] raw, int at) {
    return (int) INTS.get(raw, at);
  }

  /** Eight bytes, the first of which are the lowest bits. */
  static long i64(byte[] raw, int at) {
    return (long) LONGS.get(raw, at);
  }

  static void put(byte[] raw, int at, long eight) {
    LONGS.set(raw, at, eight);
  }

  /** The binary16 of two bytes. */
  static float half(byte[] raw, int at) {
    return half(u16(raw, at));
  }

  static float half(int bits) {
    return HALVES[bits];
  }

  static void f32(byte[] raw, int from, float[] values, int to, int count) {
    ByteBuffer.wrap(raw, from, raw.length - from)
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer()
        .get(values, to, count);
  }

  static void f16(byte[] raw, int from, float[] values, int to, int count) {
    for (int i = 0; i < count; i++) {
      values[to + i] = half(raw, from + 2 * i);
    }
  }

  static void bf16(byte[] raw, int from, float[] values, int to, int count) {
    for (int i = 0; i < count; i++) {
      values[to + i] = Float.intBitsToFloat(u16(raw, from + 2 * i) << 16);
    }
  }
}

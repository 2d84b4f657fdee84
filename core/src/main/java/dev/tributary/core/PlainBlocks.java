package dev.tributary.core;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Numbers on their own, and blocks of 32 with one scale. */
final class PlainBlocks {
  static final VarHandle SHORTS = view(short[].class);
  static final VarHandle INTS = view(int[].class);

  /** The value of each binary16. */
  private static final float[] HALVES = halves();

  /** The value of each byte. */
  private static final float[] BYTES = bytes();

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

  private static float[] bytes() {
    float[] values = new float[256];
    for (int i = 0; i < values.length; i++) {
      values[i] = (byte) i;
    }
    return values;
  }

  /** The binary16 at a place. */
  static float half(byte[] raw, int at) {
    return HALVES[(short) SHORTS.get(raw, at) & 0xffff];
  }

  static void f32(byte[] raw, int from, float[] values, int to, int count) {
    for (int i = 0; i < count; i++) {
      values[to + i] = Float.intBitsToFloat((int) INTS.get(raw, from + 4 * i));
    }
  }

  static void f16(byte[] raw, int from, float[] values, int to, int count) {
    for (int i = 0; i < count; i++) {
      values[to + i] = half(raw, from + 2 * i);
    }
  }

  static void bf16(byte[] raw, int from, float[] values, int to, int count) {
    for (int i = 0; i < count; i++) {
      values[to + i] = Float.intBitsToFloat((short) SHORTS.get(raw, from + 2 * i) << 16);
    }
  }

  static void q4m(byte[] raw, int from, float[] values, int to, int blocks) {
    float[] numbers = new float[16];
    for (int block = 0; block < blocks; block++) {
      int at = from + 20 * block;
      int start = to + 32 * block;
      float scale = half(raw, at);
      float lowest = half(raw, at + 2);
      for (int q = 0; q < 16; q++) {
        numbers[q] = q * scale + lowest;
      }
      for (int i = 0; i < 16; i++) {
        int pair = raw[at + 4 + i];
        values[start + i] = numbers[pair & 0xf];
        values[start + 16 + i] = numbers[(pair >> 4) & 0xf];
      }
    }
  }

  static void q8(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 34 * block;
      int start = to + 32 * block;
      float scale = half(raw, at);
      for (int i = 0; i < 32; i++) {
        values[start + i] = scale * BYTES[raw[at + 2 + i] & 0xff];
      }
    }
  }
}

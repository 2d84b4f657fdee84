package dev.tributary.core;

import static dev.tributary.core.PlainBlocks.bits;
import static dev.tributary.core.PlainBlocks.half;
import static dev.tributary.core.PlainBlocks.i64;
import static dev.tributary.core.PlainBlocks.put;

/**
 * Blocks of 32 or 64 numbers. Where numbers have 4 bits, the lower halves of a row of bytes come
 * first, then the upper halves.
 */
final class SmallBlocks {
  /** What the lower and the upper half of a byte are, as numbers from 0 on. */
  static final float[] LOWER = lower(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

  static final float[] UPPER = upper(LOWER);

  /** What they stand for in IQ4_NL and IQ4_XS. */
  static final float[] NONLINEAR_LOWER =
      lower(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

  static final float[] NONLINEAR_UPPER = upper(NONLINEAR_LOWER);

  /** Twice the values of a sign, 2 bits of exponent and 1 of fraction. */
  private static final float[] E2M1_LOWER =
      lower(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

  private static final float[] E2M1_UPPER = upper(E2M1_LOWER);

  /** What a byte is with a sign. */
  private static final float[] SIGNED = new float[256];

  static {
    for (int i = 0; i < SIGNED.length; i++) {
      SIGNED[i] = (byte) i;
    }
  }

  private SmallBlocks() {}

  private static float[] lower(float... values) {
    float[] table = new float[256];
    for (int i = 0; i < table.length; i++) {
      table[i] = values[i % 16];
    }
    return table;
  }

  private static float[] upper(float... lower) {
    float[] table = new float[256];
    for (int i = 0; i < table.length; i++) {
      table[i] = lower[i / 16];
    }
    return table;
  }

  static void q40(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 18 * block;
      float scale = half(raw, at);
      nibbles(LOWER, UPPER, raw, at + 2, 16, values, to + 32 * block, scale, -8 * scale);
    }
  }

  static void q41(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 20 * block;
      float scale = half(raw, at);
      nibbles(LOWER, UPPER, raw, at + 4, 16, values, to + 32 * block, scale, half(raw, at + 2));
    }
  }

  static void q50(byte[] raw, int from, float[] values, int to, int blocks) {
    byte[] numbers = new byte[32];
    for (int block = 0; block < blocks; block++) {
      int at = from + 22 * block;
      float scale = half(raw, at);
      fiveBits(raw, at + 2, numbers);
      scaled(numbers, values, to + 32 * block, scale, -16 * scale);
    }
  }

  static void q51(byte[] raw, int from, float[] values, int to, int blocks) {
    byte[] numbers = new byte[32];
    for (int block = 0; block < blocks; block++) {
      int at = from + 24 * block;
      fiveBits(raw, at + 4, numbers);
      scaled(numbers, values, to + 32 * block, half(raw, at), half(raw, at + 2));
    }
  }

  static void q80(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 34 * block;
      int start = to + 32 * block;
      float scale = half(raw, at);
      for (int i = 0; i < 32; i++) {
        values[start + i] = SIGNED[raw[at + 2 + i] & 0xff] * scale;
      }
    }
  }

  static void iq4nl(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 18 * block;
      nibbles(
          NONLINEAR_LOWER,
          NONLINEAR_UPPER,
          raw,
          at + 2,
          16,
          values,
          to + 32 * block,
          half(raw, at),
          0);
    }
  }

  static void mxfp4(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 17 * block;
      // Half of a power of two, since the table has the doubles.
      float scale = Math.scalb(1f, (raw[at] & 0xff) - 128);
      nibbles(E2M1_LOWER, E2M1_UPPER, raw, at + 1, 16, values, to + 32 * block, scale, 0);
    }
  }

  static void nvfp4(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 36 * block;
      for (int part = 0; part < 4; part++) {
        float scale = e4m3(raw[at + part]) / 2;
        nibbles(
            E2M1_LOWER,
            E2M1_UPPER,
            raw,
            at + 4 + 8 * part,
            8,
            values,
            to + 64 * block + 16 * part,
            scale,
            0);
      }
    }
  }

  /** 4 bits of exponent and 3 of fraction; the sign is ignored. */
  private static float e4m3(int bits) {
    int exponent = bits(bits, 3, 4);
    int fraction = bits(bits, 0, 3);
    if (bits == 0x7f) {
      return 0;
    }
    return exponent == 0 ? fraction * 0x1p-9f : Math.scalb(8f + fraction, exponent - 10);
  }

  /** The lower halves of some bytes, after them the upper ones: scale t + added. */
  static void nibbles(
      float[] lower,
      float[] upper,
      byte[] raw,
      int at,
      int bytes,
      float[] values,
      int to,
      float scale,
      float added) {
    // Four at a time: what the compiler unrolls itself runs out of registers.
    for (int i = 0; i < bytes; i += 4) {
      nibble(lower, upper, raw[at + i], values, to + i, bytes, scale, added);
      nibble(lower, upper, raw[at + i + 1], values, to + i + 1, bytes, scale, added);
      nibble(lower, upper, raw[at + i + 2], values, to + i + 2, bytes, scale, added);
      nibble(lower, upper, raw[at + i + 3], values, to + i + 3, bytes, scale, added);
    }
  }

  private static void nibble(
      float[] lower,
      float[] upper,
      byte pair,
      float[] values,
      int to,
      int apart,
      float scale,
      float added) {
    int index = pair & 0xff;
    values[to] = lower[index] * scale + added;
    values[to + apart] = upper[index] * scale + added;
  }

  /** 32 numbers from 0 to 31: scale q + added. */
  private static void scaled(byte[] numbers, float[] values, int to, float scale, float added) {
    for (int i = 0; i < 32; i++) {
      values[to + i] = SIGNED[numbers[i] & 0xff] * scale + added;
    }
  }

  /** Fifth bits in 4 bytes, then 16 bytes of two numbers each. */
  private static void fiveBits(byte[] raw, int at, byte[] numbers) {
    for (int i = 0; i < 2; i++) {
      long pairs = i64(raw, at + 4 + 8 * i);
      put(numbers, 8 * i, (pairs & 0x0f0f0f0f0f0f0f0fL) | fifths(raw[at + i]));
      put(numbers, 16 + 8 * i, ((pairs >>> 4) & 0x0f0f0f0f0f0f0f0fL) | fifths(raw[at + 2 + i]));
    }
  }

  /** Eight bits, each as bit 4 of a byte. */
  private static long fifths(byte bits) {
    long apart = ((bits & 0xff) * 0x0101010101010101L) & 0x8040201008040201L;
    return ((apart + 0x7f7f7f7f7f7f7f7fL) >>> 3) & 0x1010101010101010L;
  }
}

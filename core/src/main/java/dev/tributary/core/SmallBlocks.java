package dev.tributary.core;

import static dev.tributary.core.PlainBlocks.bits;
import static dev.tributary.core.PlainBlocks.half;
import static dev.tributary.core.PlainBlocks.i32;

/**
 * Blocks of 32 or 64 numbers. Where numbers have 4 bits, the lower halves of a row of bytes come
 * first, then the upper halves.
 */
final class SmallBlocks {
  /** Numbers from 0 on, which are the values of 4 or 5 bits. */
  static final Nibbles NATURAL = new Nibbles(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

  /** The values of IQ4_NL and IQ4_XS. */
  static final Nibbles NONLINEAR =
      new Nibbles(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

  /** Twice the values of a sign, 2 bits of exponent and 1 of fraction. */
  private static final Nibbles E2M1 =
      new Nibbles(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

  /** The values of a signed byte. */
  private static final float[] SIGNED = new float[256];

  /** The values of a fifth bit. */
  private static final float[] FIFTH = {0, 16};

  static {
    for (int i = 0; i < SIGNED.length; i++) {
      SIGNED[i] = (byte) i;
    }
  }

  private SmallBlocks() {}

  /** What the halves of a byte stand for, by the byte. */
  static final class Nibbles {
    final float[] lower = new float[256];
    final float[] upper = new float[256];

    private Nibbles(int... values) {
      for (int i = 0; i < 256; i++) {
        lower[i] = values[i & 0xf];
        upper[i] = values[i >> 4];
      }
    }
  }

  static void q40(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 18 * block;
      float scale = half(raw, at);
      nibbles(NATURAL, raw, at + 2, values, to + 32 * block, 16, scale, -8 * scale);
    }
  }

  static void q41(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 20 * block;
      float scale = half(raw, at);
      nibbles(NATURAL, raw, at + 4, values, to + 32 * block, 16, scale, half(raw, at + 2));
    }
  }

  static void q50(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 22 * block;
      float scale = half(raw, at);
      fiveBits(raw, at + 2, values, to + 32 * block, scale, -16 * scale);
    }
  }

  static void q51(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 24 * block;
      fiveBits(raw, at + 4, values, to + 32 * block, half(raw, at), half(raw, at + 2));
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
      nibbles(NONLINEAR, raw, at + 2, values, to + 32 * block, 16, half(raw, at), 0);
    }
  }

  static void mxfp4(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 17 * block;
      // Half of a power of two, since the table has the doubles.
      float scale = Math.scalb(1f, (raw[at] & 0xff) - 128);
      nibbles(E2M1, raw, at + 1, values, to + 32 * block, 16, scale, 0);
    }
  }

  static void nvfp4(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 36 * block;
      for (int part = 0; part < 4; part++) {
        float scale = e4m3(raw[at + part]) / 2;
        nibbles(E2M1, raw, at + 4 + 8 * part, values, to + 64 * block + 16 * part, 8, scale, 0);
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

  /** The lower halves of {@code bytes} bytes, and after them the upper ones: scale t + added. */
  static void nibbles(
      Nibbles table,
      byte[] raw,
      int at,
      float[] values,
      int to,
      int bytes,
      float scale,
      float added) {
    // Four at a time: shorter loops are not unrolled well, longer ones run out of registers.
    for (int i = 0; i < bytes; i += 4) {
      nibble(table, raw[at + i], values, to + i, bytes, scale, added);
      nibble(table, raw[at + i + 1], values, to + i + 1, bytes, scale, added);
      nibble(table, raw[at + i + 2], values, to + i + 2, bytes, scale, added);
      nibble(table, raw[at + i + 3], values, to + i + 3, bytes, scale, added);
    }
  }

  private static void nibble(
      Nibbles table, byte pair, float[] values, int to, int apart, float scale, float added) {
    int index = pair & 0xff;
    values[to] = table.lower[index] * scale + added;
    values[to + apart] = table.upper[index] * scale + added;
  }

  /** Fifth bits in 4 bytes, then 16 bytes of two numbers each. */
  private static void fiveBits(
      byte[] raw, int at, float[] values, int to, float scale, float added) {
    int fifths = i32(raw, at);
    for (int i = 0; i < 16; i++) {
      int pair = raw[at + 4 + i] & 0xff;
      float first = NATURAL.lower[pair] + FIFTH[bits(fifths, i, 1)];
      float second = NATURAL.upper[pair] + FIFTH[bits(fifths, i + 16, 1)];
      values[to + i] = first * scale + added;
      values[to + 16 + i] = second * scale + added;
    }
  }
}

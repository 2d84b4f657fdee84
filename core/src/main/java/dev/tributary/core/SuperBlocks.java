package dev.tributary.core;

import static dev.tributary.core.PlainBlocks.bits;
import static dev.tributary.core.PlainBlocks.half;
import static dev.tributary.core.PlainBlocks.u16;

/**
 * Blocks of 256 numbers, which 8 or 16 parts scale with scales of few bits of their own.
 *
 * <p>Where numbers have 2 bits, four share a byte: the lowest bits of 32 bytes come first.
 */
final class SuperBlocks {
  private SuperBlocks() {}

  static void q2k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 84 * block;
      float scale = half(raw, at + 80);
      float lowest = half(raw, at + 82);
      for (int part = 0; part < 16; part++) {
        float step = scale * bits(raw, at + part, 0, 4);
        float start = -lowest * bits(raw, at + part, 4, 4);
        for (int i = 0; i < 16; i++) {
          values[to + 256 * block + 16 * part + i] = twoBits(raw, at + 16, part, i) * step + start;
        }
      }
    }
  }

  static void q3k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 110 * block;
      float scale = half(raw, at + 108);
      for (int part = 0; part < 16; part++) {
        float step = scale * (sixBits(raw, at + 96, part) - 32);
        for (int i = 0; i < 16; i++) {
          int third = bits(raw, at + i + part % 2 * 16, part / 2, 1);
          int number = twoBits(raw, at + 32, part, i) + 4 * third - 4;
          values[to + 256 * block + 16 * part + i] = number * step;
        }
      }
    }
  }

  /** Number {@code i} of a part of 16. */
  private static int twoBits(byte[] raw, int at, int part, int i) {
    return bits(raw, at + part / 8 * 32 + part % 2 * 16 + i, part / 2 % 4 * 2, 2);
  }

  /** One of 16 scales: 4 bits of each lie in 8 bytes, the other 2 in 4 more. */
  private static int sixBits(byte[] raw, int at, int part) {
    return bits(raw, at + part % 8, part / 8 * 4, 4)
        | (bits(raw, at + 8 + part % 4, part / 4 * 2, 2) << 4);
  }

  static void q4k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 144 * block;
      int start = to + 256 * block;
      for (int pair = 0; pair < 4; pair++) {
        int bytes = at + 16 + 32 * pair;
        float step = step(raw, at, 2 * pair);
        float lowest = lowest(raw, at, 2 * pair);
        float upperStep = step(raw, at, 2 * pair + 1);
        float upperLowest = lowest(raw, at, 2 * pair + 1);
        for (int i = 0; i < 32; i++) {
          int nibbles = raw[bytes + i] & 0xff;
          values[start + 64 * pair + i] = SmallBlocks.NATURAL.lower[nibbles] * step - lowest;
          values[start + 64 * pair + 32 + i] =
              SmallBlocks.NATURAL.upper[nibbles] * upperStep - upperLowest;
        }
      }
    }
  }

  static void q5k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 176 * block;
      int start = to + 256 * block;
      for (int part = 0; part < 8; part++) {
        float step = step(raw, at, part);
        float lowest = lowest(raw, at, part);
        for (int i = 0; i < 32; i++) {
          int nibble = bits(raw, at + 48 + part / 2 * 32 + i, part % 2 * 4, 4);
          int fifth = bits(raw, at + 16 + i, part, 1);
          values[start + 32 * part + i] = (nibble | (fifth << 4)) * step - lowest;
        }
      }
    }
  }

  /** By what part {@code part} of Q4_K or Q5_K scales its numbers. */
  private static float step(byte[] raw, int at, int part) {
    int bits =
        part < 4
            ? bits(raw, at + 4 + part, 0, 6)
            : bits(raw, at + 8 + part, 0, 4) | (bits(raw, at + part, 6, 2) << 4);
    return half(raw, at) * bits;
  }

  /** What part {@code part} of Q4_K or Q5_K subtracts. */
  private static float lowest(byte[] raw, int at, int part) {
    int bits =
        part < 4
            ? bits(raw, at + 8 + part, 0, 6)
            : bits(raw, at + 8 + part, 4, 4) | (bits(raw, at + 4 + part, 6, 2) << 4);
    return half(raw, at + 2) * bits;
  }

  static void q6k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 210 * block;
      float scale = half(raw, at + 208);
      for (int part = 0; part < 16; part++) {
        float step = scale * raw[at + 192 + part];
        int low = at + part / 8 * 64 + part % 4 * 16;
        int high = at + 128 + part / 8 * 32 + part % 2 * 16;
        for (int i = 0; i < 16; i++) {
          int nibble = bits(raw, low + i, part % 8 / 4 * 4, 4);
          int rest = bits(raw, high + i, part % 8 / 2 * 2, 2);
          values[to + 256 * block + 16 * part + i] = ((nibble | (rest << 4)) - 32) * step;
        }
      }
    }
  }

  static void iq4xs(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 136 * block;
      int high = u16(raw, at + 2);
      for (int part = 0; part < 8; part++) {
        int bits = bits(raw, at + 4 + part / 2, part % 2 * 4, 4) | (bits(high, 2 * part, 2) << 4);
        float step = half(raw, at) * (bits - 32);
        int start = to + 256 * block + 32 * part;
        SmallBlocks.nibbles(
            SmallBlocks.NONLINEAR, raw, at + 8 + 16 * part, values, start, 16, step, 0);
      }
    }
  }

  static void tq1(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 54 * block;
      int start = to + 256 * block;
      float scale = half(raw, at + 52);
      ternary(raw, at, 32, 5, values, start, scale);
      ternary(raw, at + 32, 16, 5, values, start + 160, scale);
      ternary(raw, at + 48, 4, 4, values, start + 240, scale);
    }
  }

  /**
   * Some digits of base 3 of each of some bytes, which are fractions of 256; first digits first.
   */
  private static void ternary(
      byte[] raw, int at, int bytes, int digits, float[] values, int to, float scale) {
    int power = 1;
    for (int digit = 0; digit < digits; digit++) {
      for (int i = 0; i < bytes; i++) {
        int rest = bits(raw[at + i] * power, 0, 8);
        values[to + digit * bytes + i] = (bits(rest * 3, 8, 2) - 1) * scale;
      }
      power *= 3;
    }
  }

  static void tq2(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 66 * block;
      float scale = half(raw, at + 64);
      for (int part = 0; part < 16; part++) {
        for (int i = 0; i < 16; i++) {
          values[to + 256 * block + 16 * part + i] = (twoBits(raw, at, part, i) - 1) * scale;
        }
      }
    }
  }
}

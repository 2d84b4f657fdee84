package dev.tributary.core;

import static dev.tributary.core.PlainBlocks.bits;
import static dev.tributary.core.PlainBlocks.half;
import static dev.tributary.core.PlainBlocks.u16;
import static dev.tributary.core.SmallBlocks.LOWER;
import static dev.tributary.core.SmallBlocks.NONLINEAR_LOWER;
import static dev.tributary.core.SmallBlocks.NONLINEAR_UPPER;
import static dev.tributary.core.SmallBlocks.UPPER;
import static dev.tributary.core.SmallBlocks.nibbles;

/**
 * Blocks of 256 numbers, which 8 or 16 parts scale with scales of few bits of their own.
 *
 * <p>Where numbers have 2 bits, four share a byte: the lowest bits of 32 bytes come first.
 */
final class SuperBlocks {
  /** Bit {@code k} of a byte, by {@code k} and the byte. */
  private static final float[][] BIT = new float[8][256];

  /** Bits 2 {@code k} and 2 {@code k} + 1 of a byte, by {@code k} and the byte. */
  private static final float[][] TWO_BITS = new float[4][256];

  static {
    for (int i = 0; i < 256; i++) {
      for (int k = 0; k < 8; k++) {
        BIT[k][i] = bits(i, k, 1);
        TWO_BITS[k / 2][i] = bits(i, k / 2 * 2, 2);
      }
    }
  }

  /** What two bits of a byte, from that one on, add to a number of Q6_K, by the byte. */
  private static final float[] UPPER_BITS_0 = upperBits(0);

  private static final float[] UPPER_BITS_2 = upperBits(2);
  private static final float[] UPPER_BITS_4 = upperBits(4);
  private static final float[] UPPER_BITS_6 = upperBits(6);

  private SuperBlocks() {}

  private static float[] upperBits(int first) {
    float[] table = new float[256];
    for (int i = 0; i < table.length; i++) {
      table[i] = 16 * bits(i, first, 2) - 32;
    }
    return table;
  }

  static void q2k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 84 * block;
      float scale = half(raw, at + 80);
      float lowest = half(raw, at + 82);
      for (int part = 0; part < 16; part++) {
        float step = scale * bits(raw, at + part, 0, 4);
        float start = -lowest * bits(raw, at + part, 4, 4);
        twoBits(raw, at + 16, part, values, to + 256 * block, step, start);
      }
    }
  }

  static void q3k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 110 * block;
      float scale = half(raw, at + 108);
      for (int part = 0; part < 16; part++) {
        float step = scale * (sixBits(raw, at + 96, part) - 32);
        float[] number = TWO_BITS[part / 2 % 4];
        float[] third = BIT[part / 2];
        int low = at + 32 + part / 8 * 32 + part % 2 * 16;
        int high = at + part % 2 * 16;
        int start = to + 256 * block + 16 * part;
        for (int i = 0; i < 16; i++) {
          float more = 4 * third[raw[high + i] & 0xff] - 4;
          values[start + i] = (number[raw[low + i] & 0xff] + more) * step;
        }
      }
    }
  }

  /** Part {@code part} of 16 numbers of 2 bits: step q + added. */
  private static void twoBits(
      byte[] raw, int at, int part, float[] values, int to, float step, float added) {
    float[] number = TWO_BITS[part / 2 % 4];
    int first = at + part / 8 * 32 + part % 2 * 16;
    for (int i = 0; i < 16; i++) {
      values[to + 16 * part + i] = number[raw[first + i] & 0xff] * step + added;
    }
  }

  /** One of 16 scales: 4 bits of each lie in 8 bytes, the other 2 in 4 more. */
  private static int sixBits(byte[] raw, int at, int part) {
    return bits(raw, at + part % 8, part / 8 * 4, 4)
        | (bits(raw, at + 8 + part % 4, part / 4 * 2, 2) << 4);
  }

  static void q4k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 144 * block;
      for (int part = 0; part < 8; part += 2) {
        int pairs = at + 16 + 16 * part;
        int start = to + 256 * block + 32 * part;
        float step = step(raw, at, part);
        float lowest = lowest(raw, at, part);
        float otherStep = step(raw, at, part + 1);
        float otherLowest = lowest(raw, at, part + 1);
        for (int i = 0; i < 32; i++) {
          values[start + i] = LOWER[raw[pairs + i] & 0xff] * step - lowest;
        }
        for (int i = 0; i < 32; i++) {
          values[start + 32 + i] = UPPER[raw[pairs + i] & 0xff] * otherStep - otherLowest;
        }
      }
    }
  }

  static void q5k(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 176 * block;
      for (int part = 0; part < 8; part++) {
        float[] nibble = part % 2 == 0 ? LOWER : UPPER;
        float[] fifth = BIT[part];
        int pairs = at + 48 + part / 2 * 32;
        int start = to + 256 * block + 32 * part;
        float step = step(raw, at, part);
        float lowest = lowest(raw, at, part);
        for (int i = 0; i < 32; i++) {
          float more = 16 * fifth[raw[at + 16 + i] & 0xff];
          values[start + i] = (nibble[raw[pairs + i] & 0xff] + more) * step - lowest;
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
      for (int quarter = 0; quarter < 4; quarter++) {
        int low = at + quarter / 2 * 64 + quarter % 2 * 16;
        int high = at + 128 + quarter * 16;
        int steps = at + 192 + quarter / 2 * 8 + quarter % 2;
        int start = to + 256 * block + quarter / 2 * 128 + quarter % 2 * 16;
        float first = scale * raw[steps];
        float second = scale * raw[steps + 2];
        float third = scale * raw[steps + 4];
        float fourth = scale * raw[steps + 6];
        for (int i = 0; i < 16; i++) {
          int one = raw[low + i] & 0xff;
          int other = raw[low + 32 + i] & 0xff;
          int more = raw[high + i] & 0xff;
          values[start + i] = (LOWER[one] + UPPER_BITS_0[more]) * first;
          values[start + 32 + i] = (LOWER[other] + UPPER_BITS_2[more]) * second;
          values[start + 64 + i] = (UPPER[one] + UPPER_BITS_4[more]) * third;
          values[start + 96 + i] = (UPPER[other] + UPPER_BITS_6[more]) * fourth;
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
        nibbles(
            NONLINEAR_LOWER, NONLINEAR_UPPER, raw, at + 8 + 16 * part, 16, values, start, step, 0);
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
        twoBits(raw, at, part, values, to + 256 * block, scale, -scale);
      }
    }
  }
}

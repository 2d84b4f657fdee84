package dev.tributary.core;

import static dev.tributary.core.PlainBlocks.bits;
import static dev.tributary.core.PlainBlocks.half;
import static dev.tributary.core.PlainBlocks.i32;
import static dev.tributary.core.PlainBlocks.u16;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/**
 * Blocks of 256 numbers, groups of which are chosen together: bits of the block are the number of a
 * row of 8 or 4 values in a grid.
 */
final class GridBlocks {
  private static final float[] IQ2_VALUES = {8, 25, 43};
  private static final float[] IQ2_XXS = grid("IQ2_XXS", IQ2_VALUES);
  private static final float[] IQ2_XS = grid("IQ2_XS", IQ2_VALUES);
  private static final float[] IQ2_S = grid("IQ2_S", IQ2_VALUES);
  private static final float[] IQ3_XXS = grid("IQ3_XXS", 4, 12, 20, 28, 36, 44, 52, 62);
  private static final float[] IQ3_S = grid("IQ3_S", 1, 3, 5, 7, 9, 11, 13, 15);
  private static final float[] IQ1 = grid("IQ1", -1, 0, 1);

  private GridBlocks() {}

  /** Reads a grid, in which 2 or 4 bits say which of the values is meant, lowest bits first. */
  private static float[] grid(String name, float... meaning) {
    int bits = meaning.length <= 4 ? 2 : 4;
    String digits = digits(name);
    float[] values = new float[digits.length() / 2 * 8 / bits];
    int count = 0;
    for (int at = 0; at < digits.length(); at += 2) {
      int packed = Integer.parseInt(digits.substring(at, at + 2), 16);
      for (int shift = 0; shift < 8; shift += bits) {
        values[count++] = meaning[bits(packed, shift, bits)];
      }
    }
    return values;
  }

  /** The lines below a name, up to an empty one. */
  private static String digits(String name) {
    StringBuilder digits = new StringBuilder();
    try (InputStream stream = GridBlocks.class.getResourceAsStream("grids.txt")) {
      if (stream == null) {
        throw new IOException("grids.txt is missing");
      }
      BufferedReader lines =
          new BufferedReader(new InputStreamReader(stream, StandardCharsets.US_ASCII));
      boolean inside = false;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (inside && !line.isEmpty()) {
          digits.append(line);
        }
        inside = line.equals(name) || (inside && !line.isEmpty());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return digits.toString();
  }

  static void iq2xxs(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 66 * block;
      for (int part = 0; part < 8; part++) {
        int rows = at + 2 + 8 * part;
        int signs = i32(raw, rows + 4);
        float scale = half(raw, at) * ((signs >>> 28) + 0.5f) * 0.25f;
        for (int i = 0; i < 4; i++) {
          int start = to + 256 * block + 32 * part + 8 * i;
          row(IQ2_XXS, raw[rows + i] & 0xff, 8, even(signs >>> (7 * i)), values, start, scale);
        }
      }
    }
  }

  static void iq2xs(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 74 * block;
      for (int group = 0; group < 32; group++) {
        int bits = u16(raw, at + 2 + 2 * group);
        float scale = fourBitScale(raw, at, at + 66, group / 2);
        int start = to + 256 * block + 8 * group;
        row(IQ2_XS, bits & 0x1ff, 8, even(bits >> 9), values, start, scale);
      }
    }
  }

  static void iq2s(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 82 * block;
      for (int group = 0; group < 32; group++) {
        int high = bits(raw, at + 66 + group / 4, group % 4 * 2, 2);
        float scale = fourBitScale(raw, at, at + 74, group / 2);
        int start = to + 256 * block + 8 * group;
        int row = bits(raw, at + 2 + group, 0, 8) | (high << 8);
        row(IQ2_S, row, 8, raw[at + 34 + group], values, start, scale);
      }
    }
  }

  /** The scale of 16 numbers. */
  private static float fourBitScale(byte[] raw, int at, int scales, int part) {
    return half(raw, at) * (bits(raw, scales + part / 2, part % 2 * 4, 4) + 0.5f) * 0.25f;
  }

  static void iq3xxs(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 98 * block;
      for (int group = 0; group < 64; group++) {
        int signs = i32(raw, at + 66 + group / 8 * 4);
        float scale = half(raw, at) * ((signs >>> 28) + 0.5f) * 0.5f;
        int start = to + 256 * block + 4 * group;
        int ours = even(signs >>> (group / 2 % 4 * 7)) >> (group % 2 * 4);
        row(IQ3_XXS, raw[at + 2 + group] & 0xff, 4, ours, values, start, scale);
      }
    }
  }

  static void iq3s(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 110 * block;
      for (int group = 0; group < 64; group++) {
        int high = bits(raw, at + 66 + group / 8, group % 8, 1);
        int signs = bits(raw, at + 74 + group / 2, group % 2 * 4, 4);
        int step = bits(raw, at + 106 + group / 16, group / 8 % 2 * 4, 4);
        int row = bits(raw, at + 2 + group, 0, 8) | (high << 8);
        int start = to + 256 * block + 4 * group;
        row(IQ3_S, row, 4, signs, values, start, half(raw, at) * (1 + 2 * step));
      }
    }
  }

  /** A row of a grid, negative where a bit of {@code signs} is set. */
  private static void row(
      float[] grid, int row, int size, int signs, float[] values, int to, float scale) {
    for (int i = 0; i < size; i++) {
      values[to + i] = grid[row * size + i] * (bits(signs, i, 1) == 0 ? scale : -scale);
    }
  }

  /** 7 bits and an eighth, which makes the number of those that are set even. */
  private static int even(int bits) {
    int seven = bits & 0x7f;
    return seven | (Integer.bitCount(seven) % 2 << 7);
  }

  static void iq1s(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 50 * block;
      for (int group = 0; group < 32; group++) {
        int bits = u16(raw, at + 34 + group / 4 * 2);
        int row = bits(raw, at + 2 + group, 0, 8) | (bits(bits, group % 4 * 3, 3) << 8);
        float scale = half(raw, at) * (2 * bits(bits, 12, 3) + 1);
        shifted(row, (bits & 0x8000) != 0, values, to + 256 * block + 8 * group, scale);
      }
    }
  }

  static void iq1m(byte[] raw, int from, float[] values, int to, int blocks) {
    for (int block = 0; block < blocks; block++) {
      int at = from + 56 * block;
      int scaleBits = 0;
      for (int i = 0; i < 4; i++) {
        scaleBits |= bits(u16(raw, at + 48 + 2 * i), 12, 4) << (4 * i);
      }
      for (int group = 0; group < 32; group++) {
        int bits = bits(raw, at + 32 + group / 2, group % 2 * 4, 4);
        int row = bits(raw, at + group, 0, 8) | (bits(bits, 0, 3) << 8);
        int step = bits(u16(raw, at + 48 + group / 8 * 2), group / 2 % 4 * 3, 3);
        float scale = half(scaleBits) * (2 * step + 1);
        shifted(row, (bits & 8) != 0, values, to + 256 * block + 8 * group, scale);
      }
    }
  }

  /** A row of the grid of 1 bit, each value an eighth larger or smaller. */
  private static void shifted(int row, boolean down, float[] values, int to, float scale) {
    float shift = down ? -0.125f : 0.125f;
    for (int i = 0; i < 8; i++) {
      values[to + i] = (IQ1[row * 8 + i] + shift) * scale;
    }
  }
}

package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.GenerationMode;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;

class BlockFormatTest {
  /** A half of 0.375 = 1.5 * 2^-2, and one of -2.5. */
  private static final short SCALE = (short) 0x3600;

  private static final short LOWEST = (short) 0xc100;

  private static float[] decode(BlockFormat format, ByteBuffer raw) {
    byte[] bytes = new byte[raw.capacity()];
    raw.get(0, bytes);
    int blocks = bytes.length / format.bytes();
    float[] values = new float[blocks * format.elements()];
    format.decode(bytes, 0, values, 0, blocks);
    return values;
  }

  private static ByteBuffer block(BlockFormat format, int blocks) {
    return ByteBuffer.allocate(blocks * format.bytes()).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Example
  void decode_everyHalf_isItsClosedForm() {
    ByteBuffer raw = block(BlockFormat.F16, 1 << 16);
    for (int bits = 0; bits < 1 << 16; bits++) {
      raw.putShort((short) bits);
    }
    float[] values = decode(BlockFormat.F16, raw);
    for (int bits = 0; bits < 1 << 16; bits++) {
      int exponent = (bits >> 10) % 32;
      double fraction = bits % 1024 / 1024.0;
      double size =
          exponent == 31
              ? fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN
              : exponent == 0
                  ? fraction * Math.pow(2, -14)
                  : (1 + fraction) * Math.pow(2, exponent - 15);
      assertEquals(
          (float) (bits < 1 << 15 ? size : -size), values[bits], Integer.toHexString(bits));
    }
  }

  @Example
  void decode_everyBfloat_isTheUpperHalfOfItsFloat() {
    ByteBuffer raw = block(BlockFormat.BF16, 1 << 16);
    for (int bits = 0; bits < 1 << 16; bits++) {
      raw.putShort((short) bits);
    }
    float[] values = decode(BlockFormat.BF16, raw);
    for (int bits = 0; bits < 1 << 16; bits++) {
      assertEquals(Float.intBitsToFloat(bits << 16), values[bits]);
    }
  }

  @Example
  void decode_Q4_1_isScaleTimesQuantumPlusLowest() {
    ByteBuffer raw = block(BlockFormat.Q4_1, 1).putShort(SCALE).putShort(LOWEST);
    for (int i = 0; i < 16; i++) {
      raw.put((byte) (i | (15 - i) << 4));
    }
    float[] values = decode(BlockFormat.Q4_1, raw);
    for (int i = 0; i < 16; i++) {
      assertEquals(0.375f * i - 2.5f, values[i]);
      assertEquals(0.375f * (15 - i) - 2.5f, values[16 + i]);
    }
  }

  @Example
  void decode_Q8_0_isScaleTimesQuantum() {
    ByteBuffer raw = block(BlockFormat.Q8_0, 8);
    for (int i = 0; i < 256; i++) {
      if (i % 32 == 0) {
        raw.putShort(SCALE);
      }
      raw.put((byte) i);
    }
    float[] values = decode(BlockFormat.Q8_0, raw);
    for (int i = 0; i < 256; i++) {
      assertEquals(0.375f * (byte) i, values[i]);
    }
  }

  /** How many numbers of how many bytes follow each other in a block, as in ggml-common.h. */
  private static final Map<BlockFormat, String> FIELDS =
      Map.ofEntries(
          Map.entry(BlockFormat.F32, "1x4"),
          Map.entry(BlockFormat.F16, "1x2"),
          Map.entry(BlockFormat.BF16, "1x2"),
          Map.entry(BlockFormat.Q4_0, "1x2 16x1"),
          Map.entry(BlockFormat.Q4_1, "2x2 16x1"),
          Map.entry(BlockFormat.Q5_0, "1x2 4x1 16x1"),
          Map.entry(BlockFormat.Q5_1, "2x2 4x1 16x1"),
          Map.entry(BlockFormat.Q8_0, "1x2 32x1"),
          Map.entry(BlockFormat.Q2_K, "16x1 64x1 2x2"),
          Map.entry(BlockFormat.Q3_K, "32x1 64x1 12x1 1x2"),
          Map.entry(BlockFormat.Q4_K, "2x2 12x1 128x1"),
          Map.entry(BlockFormat.Q5_K, "2x2 12x1 32x1 128x1"),
          Map.entry(BlockFormat.Q6_K, "128x1 64x1 16x1 1x2"),
          Map.entry(BlockFormat.IQ4_NL, "1x2 16x1"),
          Map.entry(BlockFormat.IQ4_XS, "1x2 1x2 4x1 128x1"),
          Map.entry(BlockFormat.TQ1_0, "48x1 4x1 1x2"),
          Map.entry(BlockFormat.TQ2_0, "64x1 1x2"),
          Map.entry(BlockFormat.MXFP4, "1x1 16x1"),
          Map.entry(BlockFormat.NVFP4, "4x1 32x1"),
          Map.entry(BlockFormat.IQ2_XXS, "1x2 32x2"),
          Map.entry(BlockFormat.IQ2_XS, "1x2 32x2 8x1"),
          Map.entry(BlockFormat.IQ2_S, "1x2 64x1 8x1 8x1"),
          Map.entry(BlockFormat.IQ3_XXS, "1x2 96x1"),
          Map.entry(BlockFormat.IQ3_S, "1x2 64x1 8x1 32x1 4x1"),
          Map.entry(BlockFormat.IQ1_S, "1x2 32x1 8x2"),
          Map.entry(BlockFormat.IQ1_M, "32x1 16x1 8x1"));

  @Property(tries = 100)
  void swap_anyBlocks_reversesEachNumber(
      @ForAll BlockFormat format,
      @ForAll @IntRange(max = 5) int from,
      @ForAll @IntRange(max = 3) int blocks,
      @ForAll long seed) {
    byte[] raw = new byte[from + blocks * format.bytes()];
    new Random(seed).nextBytes(raw);
    byte[] expected = raw.clone();
    int at = from;
    for (int block = 0; block < blocks; block++) {
      for (String field : Objects.requireNonNull(FIELDS.get(format)).split(" ", -1)) {
        int size = field.charAt(field.length() - 1) - '0';
        for (int i = Integer.parseInt(field.substring(0, field.length() - 2)); i > 0; i--) {
          for (int j = 0; j < size; j++) {
            expected[at + j] = raw[at + size - 1 - j];
          }
          at += size;
        }
      }
    }
    assertEquals(raw.length, at);
    format.swap(raw, from, blocks);
    assertArrayEquals(expected, raw);
  }

  @Property(tries = 100)
  void decode_anyPlace_isAsOneBlockAlone(
      @ForAll BlockFormat format,
      @ForAll @IntRange(max = 40) int from,
      @ForAll @IntRange(max = 40) int to,
      @ForAll @IntRange(max = 5) int blocks,
      @ForAll long seed) {
    byte[] raw = new byte[from + blocks * format.bytes()];
    new Random(seed).nextBytes(raw);
    float[] values = new float[to + blocks * format.elements() + 1];
    float[] expected = values.clone();
    format.decode(raw, from, values, to, blocks);
    for (int block = 0; block < blocks; block++) {
      byte[] alone = new byte[format.bytes()];
      System.arraycopy(raw, from + block * alone.length, alone, 0, alone.length);
      float[] decoded = new float[format.elements()];
      format.decode(alone, 0, decoded, 0, 1);
      System.arraycopy(decoded, 0, expected, to + block * decoded.length, decoded.length);
    }
    assertArrayEquals(expected, values);
  }

  /** As often as the compiler needs to see it: some loops it has been seen to lose altogether. */
  @Property(generation = GenerationMode.EXHAUSTIVE)
  void decode_manyTimes_staysTheSame(@ForAll BlockFormat format) {
    int blocks = 16_384 / format.elements();
    byte[] raw = new byte[blocks * format.bytes()];
    new Random(11).nextBytes(raw);
    float[] expected = new float[16_384];
    for (int block = 0; block < blocks; block++) {
      format.decode(raw, block * format.bytes(), expected, block * format.elements(), 1);
    }
    for (int i = 0; i < 2_000; i++) {
      float[] values = new float[16_384];
      format.decode(raw, 0, values, 0, blocks);
      assertTrue(Arrays.equals(expected, values), format + ", " + i);
    }
  }

  @Example
  void decode_outside_isRefused() {
    BlockFormat format = BlockFormat.Q8_0;
    assertEquals(
        "decode Q8_0: 2 blocks of 34 bytes from 1 on, and there are 68",
        refusal(() -> format.decode(new byte[68], 1, new float[64], 0, 2)));
    assertEquals(
        "decode Q8_0: 2 blocks of 32 numbers from 0 on, and there are 63",
        refusal(() -> format.decode(new byte[68], 0, new float[63], 0, 2)));
    assertEquals(
        "decode Q8_0: -1 blocks of 34 bytes from 0 on, and there are 68",
        refusal(() -> format.decode(new byte[68], 0, new float[64], 0, -1)));
    assertEquals(
        "decode Q8_0: 2147483647 blocks of 34 bytes from 0 on, and there are 68",
        refusal(() -> format.decode(new byte[68], 0, new float[64], 0, Integer.MAX_VALUE)));
    assertEquals(
        "decode Q8_0: 1 blocks of 32 numbers from -1 on, and there are 64",
        refusal(() -> format.decode(new byte[68], 0, new float[64], -1, 1)));
  }

  private static String refusal(Runnable decode) {
    return String.valueOf(assertThrows(IllegalArgumentException.class, decode::run).getMessage());
  }
}

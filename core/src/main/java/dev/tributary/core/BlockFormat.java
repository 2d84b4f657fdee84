package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

/**
 * How numbers lie in memory or a file: in blocks of so many bytes for so many numbers, which share
 * what scales them. The names and layouts are those of ggml. Bytes are little-endian.
 */
public enum BlockFormat {
  /** IEEE 754 binary32. */
  F32(1, 4, PlainBlocks::f32),
  /** IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
  F16(1, 2, PlainBlocks::f16),
  /** The upper half of F32: sign, 8 bits of exponent, 7 of fraction. */
  BF16(1, 2, PlainBlocks::bf16),
  /** 4 bits q and a scale d for 32 numbers: d (q - 8). */
  Q4_0(32, 18, SmallBlocks::q40),
  /** 4 bits q, a scale d and a smallest number m for 32 numbers: d q + m. */
  Q4_1(32, 20, SmallBlocks::q41),
  /** 5 bits q and a scale d for 32 numbers: d (q - 16). */
  Q5_0(32, 22, SmallBlocks::q50),
  /** 5 bits q, a scale d and a smallest number m for 32 numbers: d q + m. */
  Q5_1(32, 24, SmallBlocks::q51),
  /** 8 bits q with a sign and a scale d for 32 numbers: d q. */
  Q8_0(32, 34, SmallBlocks::q80),
  /** 2 bits; 16 parts of 16 numbers with a scale and a smallest number of 4 bits. */
  Q2_K(256, 84, SuperBlocks::q2k),
  /** 3 bits; 16 parts of 16 numbers with a scale of 6 bits. */
  Q3_K(256, 110, SuperBlocks::q3k),
  /** 4 bits; 8 parts of 32 numbers with a scale and a smallest number of 6 bits. */
  Q4_K(256, 144, SuperBlocks::q4k),
  /** 5 bits; 8 parts of 32 numbers with a scale and a smallest number of 6 bits. */
  Q5_K(256, 176, SuperBlocks::q5k),
  /** 6 bits; 16 parts of 16 numbers with a scale of 8 bits. */
  Q6_K(256, 210, SuperBlocks::q6k),
  /** 4 bits that choose among 16 numbers not evenly spaced, a scale for 32. */
  IQ4_NL(32, 18, SmallBlocks::iq4nl),
  /** As IQ4_NL; 8 parts of 32 numbers with a scale of 6 bits. */
  IQ4_XS(256, 136, SuperBlocks::iq4xs),
  /** -1, 0 or 1, five in a byte, and a scale for 256 numbers. */
  TQ1_0(256, 54, SuperBlocks::tq1),
  /** -1, 0 or 1 in 2 bits, and a scale for 256 numbers. */
  TQ2_0(256, 66, SuperBlocks::tq2),
  /** Floating point of 4 bits, and a power of two for 32 numbers. */
  MXFP4(32, 17, SmallBlocks::mxfp4),
  /** Floating point of 4 bits; 4 parts of 16 numbers with a scale in floating point of 7 bits. */
  NVFP4(64, 36, SmallBlocks::nvfp4),
  /** 8 numbers out of 256 choices, signs; 8 parts of 32 with a scale of 4 bits. */
  IQ2_XXS(256, 66, GridBlocks::iq2xxs),
  /** 8 numbers out of 512 choices, signs; 16 parts of 16 with a scale of 4 bits. */
  IQ2_XS(256, 74, GridBlocks::iq2xs),
  /** 8 numbers out of 1,024 choices, signs; 16 parts of 16 with a scale of 4 bits. */
  IQ2_S(256, 82, GridBlocks::iq2s),
  /** 4 numbers out of 256 choices, signs; 8 parts of 32 with a scale of 4 bits. */
  IQ3_XXS(256, 98, GridBlocks::iq3xxs),
  /** 4 numbers out of 512 choices, signs; 8 parts of 32 with a scale of 4 bits. */
  IQ3_S(256, 110, GridBlocks::iq3s),
  /** 8 of -1, 0 and 1 out of 2,048 choices, shifted; 8 parts of 32 with a scale of 3 bits. */
  IQ1_S(256, 50, GridBlocks::iq1s),
  /** 8 of -1, 0 and 1 out of 2,048 choices, shifted; 16 parts of 16 with a scale of 3 bits. */
  IQ1_M(256, 56, GridBlocks::iq1m);

  private final int elements;
  private final int bytes;

  @SuppressWarnings("ImmutableEnumChecker") // a method without state
  private final Decoder decoder;

  BlockFormat(int elements, int bytes, Decoder decoder) {
    this.elements = elements;
    this.bytes = bytes;
    this.decoder = decoder;
  }

  /** The loop over blocks; the caller has checked that they and their numbers lie inside. */
  @FunctionalInterface
  interface Decoder {
    void decode(byte[] raw, int from, float[] values, int to, int blocks);
  }

  /** {@return how many numbers are in one block} */
  public int elements() {
    return elements;
  }

  /** {@return the size of one block, bytes} */
  public int bytes() {
    return bytes;
  }

  /**
   * Turns blocks into numbers, each rounded to the nearest {@code float} once.
   *
   * @param raw where the blocks lie, little-endian
   * @param from where the first begins
   * @param values where the numbers go
   * @param to where the first goes
   * @param blocks how many
   * @throws IllegalArgumentException if the blocks are not all in {@code raw} or their numbers do
   *     not fit into {@code values}
   */
  public void decode(byte[] raw, int from, float[] values, int to, int blocks) {
    requireInside("bytes", from, blocks, bytes, raw.length);
    requireInside("numbers", to, blocks, elements, values.length);
    decoder.decode(raw, from, values, to, blocks);
  }

  /**
   * Turns big-endian blocks into little-endian ones: swaps the bytes of each number that has
   * several.
   *
   * @param raw where the blocks lie, changed
   * @param from where the first begins
   * @param blocks how many
   * @throws IllegalArgumentException if the blocks are not all in {@code raw}
   */
  public void swap(byte[] raw, int from, int blocks) {
    requireInside("bytes", from, blocks, bytes, raw.length);
    for (int block = 0; block < blocks; block++) {
      int at = from + block * bytes;
      switch (this) {
        case F32 -> reverse(raw, at, 4);
        case F16, BF16, Q4_0, Q5_0, Q8_0, IQ4_NL, IQ2_S, IQ3_XXS, IQ3_S -> reverse(raw, at, 2);
        case Q4_1, Q5_1, Q4_K, Q5_K, IQ4_XS -> reversePairs(raw, at, 2);
        case Q2_K -> reversePairs(raw, at + 80, 2);
        case Q3_K, Q6_K, TQ1_0, TQ2_0 -> reverse(raw, at + bytes - 2, 2);
        case IQ2_XXS, IQ2_XS -> reversePairs(raw, at, 33);
        case IQ1_S -> {
          reverse(raw, at, 2);
          reversePairs(raw, at + 34, 8);
        }
        case MXFP4, NVFP4, IQ1_M -> {}
      }
    }
  }

  private static void reversePairs(byte[] raw, int from, int pairs) {
    for (int i = 0; i < pairs; i++) {
      reverse(raw, from + 2 * i, 2);
    }
  }

  private static void reverse(byte[] raw, int from, int count) {
    for (int i = 0; i < count / 2; i++) {
      byte held = raw[from + i];
      raw[from + i] = raw[from + count - 1 - i];
      raw[from + count - 1 - i] = held;
    }
  }

  private void requireInside(String what, int from, int blocks, int size, int length) {
    requireArgument(
        from >= 0 && blocks >= 0 && from + (long) blocks * size <= length,
        "decode %s: %d blocks of %d %s from %d on, and there are %d",
        this,
        blocks,
        size,
        what,
        from,
        length);
  }
}

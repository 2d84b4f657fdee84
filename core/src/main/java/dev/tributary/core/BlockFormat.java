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
  /** 4 bits q and a minimum: d q + m. */
  Q4_1(32, 20, PlainBlocks::q4m),
  /** 8 bits q with a sign: d q. */
  Q8_0(32, 34, PlainBlocks::q8);

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

package dev.tributary.benchmarks;

import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.Weights;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.SplittableRandom;

/**
 * Random weights whose matrices are BF16, as files have them: rows are outputs. Numbers are of
 * either sign and of one power of two, so that a billion of them are made in seconds.
 */
final class RandomBf16 implements Weights {
  /** Of the signs and mantissas of four numbers. */
  private static final long FREE_BITS = 0x807f_807f_807f_807fL;

  private final Weights others;

  /** What is no matrix is FLOAT, and drawn from this seed. */
  RandomBf16(long seed) {
    others = Weights.random(DType.FLOAT, seed);
  }

  @Override
  public Tensor read(Slot slot) throws IOException {
    Weight.Role role = slot.weight().role();
    boolean isTable = role == Weight.Role.TABLE;
    if (!isTable && role != Weight.Role.MATRIX) {
      return others.read(slot);
    }
    double size = isTable ? 0.5 : 1 / Math.sqrt(slot.shape().size(0));
    long exponent = (Math.getExponent(size / 1.5f) + 127L) << 7;
    long exponents = exponent | exponent << 16 | exponent << 32 | exponent << 48;
    return Tensor.encoded(
        DType.FLOAT,
        slot.shape(),
        BlockFormat.BF16,
        !isTable,
        (from, target) -> fill(from, exponents, target.order(ByteOrder.LITTLE_ENDIAN)));
  }

  private static void fill(long seed, long exponents, ByteBuffer target) {
    SplittableRandom random = new SplittableRandom(seed);
    while (target.remaining() >= Long.BYTES) {
      target.putLong(random.nextLong() & FREE_BITS | exponents);
    }
    while (target.hasRemaining()) {
      target.putShort((short) (random.nextLong() & FREE_BITS | exponents));
    }
  }
}

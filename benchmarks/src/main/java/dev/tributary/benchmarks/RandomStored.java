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
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Random weights whose matrices stay as files have them: rows are outputs. Their numbers are of one
 * magnitude, so that a billion of them are made in seconds.
 */
final class RandomStored implements Weights {
  /** Of the signs and mantissas of four BF16 numbers. */
  private static final long FREE_BITS = 0x807f_807f_807f_807fL;

  private final BlockFormat format;
  private final Weights others;

  private RandomStored(BlockFormat format, long seed) {
    this.format = format;
    others = Weights.random(DType.FLOAT, seed);
  }

  /**
   * Weights in FLOAT but for matrices of that format.
   *
   * @throws IllegalArgumentException if it is not F32, BF16, Q8_0 or Q4_1
   */
  static Weights of(BlockFormat format, long seed) {
    return switch (format) {
      case F32 -> Weights.random(DType.FLOAT, seed);
      case BF16, Q8_0, Q4_1 -> new RandomStored(format, seed);
      default -> throw new IllegalArgumentException("no random weights of " + format);
    };
  }

  @Override
  public Tensor read(Slot slot) throws IOException {
    Weight.Role role = slot.weight().role();
    boolean isTable = role == Weight.Role.TABLE;
    if (!isTable && role != Weight.Role.MATRIX) {
      return others.read(slot);
    }
    int exponent = Math.getExponent(isTable ? 0.5 : 1 / Math.sqrt(slot.shape().size(0)));
    return Tensor.encoded(
        DType.FLOAT,
        slot.shape(),
        format,
        !isTable,
        (from, target) -> fill(from, exponent, target.order(ByteOrder.LITTLE_ENDIAN)));
  }

  private void fill(long from, int exponent, ByteBuffer target) {
    SplittableRandom random = new SplittableRandom(from);
    if (format == BlockFormat.BF16) {
      long bits = (exponent - 1 + 127L) << 7;
      long bitsOfFour = bits | bits << 16 | bits << 32 | bits << 48;
      while (target.remaining() >= Long.BYTES) {
        target.putLong((random.nextLong() & FREE_BITS) | bitsOfFour);
      }
      while (target.hasRemaining()) {
        target.putShort((short) ((random.nextLong() & FREE_BITS) | bitsOfFour));
      }
      return;
    }
    byte[] scales = scales(exponent);
    for (long at = from; target.hasRemaining(); at++) {
      int inBlock = (int) (at % format.bytes());
      target.put(inBlock < scales.length ? scales[inBlock] : (byte) random.nextInt());
    }
  }

  /** What a block begins with: a binary16, and of Q4_1 the smallest number too. */
  private byte[] scales(int exponent) {
    int bits = format == BlockFormat.Q8_0 ? 6 : 3;
    int scale = (exponent - bits + 15) << 10;
    int smallest = 0x8000 | (exponent + 15) << 10;
    ByteBuffer raw = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    raw.putShort((short) scale).putShort((short) smallest);
    return Arrays.copyOf(raw.array(), format == BlockFormat.Q8_0 ? 2 : 4);
  }
}

package dev.tributary.transformer.file;

import dev.tributary.core.BlockFormat;
import java.nio.ByteBuffer;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * How the numbers of a tensor are stored in a file, by the names of the safetensors format and,
 * where several share a block, of ggml. Can be read: F32, F16, BF16, F64, and all blocks.
 */
public enum ElementType {
  /** One byte, 0 or 1. */
  BOOL(1),
  /** Unsigned integer of 8 bits. */
  U8(1),
  /** Signed integer of 8 bits. */
  I8(1),
  /** Floating point: sign, 5 bits of exponent, 2 of fraction. */
  F8_E5M2(1),
  /** Floating point: sign, 4 bits of exponent, 3 of fraction. */
  F8_E4M3(1),
  /** Unsigned integer of 16 bits. */
  U16(2),
  /** Signed integer of 16 bits. */
  I16(2),
  /** IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
  F16(BlockFormat.F16),
  /** The upper half of F32: sign, 8 bits of exponent, 7 of fraction. */
  BF16(BlockFormat.BF16),
  /** Unsigned integer of 32 bits. */
  U32(4),
  /** Signed integer of 32 bits. */
  I32(4),
  /** IEEE 754 binary32, a {@code float}. */
  F32(BlockFormat.F32),
  /** Unsigned integer of 64 bits. */
  U64(8),
  /** Signed integer of 64 bits. */
  I64(8),
  /** IEEE 754 binary64, a {@code double}. */
  F64(8),
  /** {@link BlockFormat#Q4_0}. */
  Q4_0(BlockFormat.Q4_0),
  /** {@link BlockFormat#Q4_1}. */
  Q4_1(BlockFormat.Q4_1),
  /** {@link BlockFormat#Q5_0}. */
  Q5_0(BlockFormat.Q5_0),
  /** {@link BlockFormat#Q5_1}. */
  Q5_1(BlockFormat.Q5_1),
  /** {@link BlockFormat#Q8_0}. */
  Q8_0(BlockFormat.Q8_0),
  /** {@link BlockFormat#Q2_K}. */
  Q2_K(BlockFormat.Q2_K),
  /** {@link BlockFormat#Q3_K}. */
  Q3_K(BlockFormat.Q3_K),
  /** {@link BlockFormat#Q4_K}. */
  Q4_K(BlockFormat.Q4_K),
  /** {@link BlockFormat#Q5_K}. */
  Q5_K(BlockFormat.Q5_K),
  /** {@link BlockFormat#Q6_K}. */
  Q6_K(BlockFormat.Q6_K),
  /** {@link BlockFormat#IQ4_NL}. */
  IQ4_NL(BlockFormat.IQ4_NL),
  /** {@link BlockFormat#IQ4_XS}. */
  IQ4_XS(BlockFormat.IQ4_XS),
  /** {@link BlockFormat#TQ1_0}. */
  TQ1_0(BlockFormat.TQ1_0),
  /** {@link BlockFormat#TQ2_0}. */
  TQ2_0(BlockFormat.TQ2_0),
  /** {@link BlockFormat#MXFP4}. */
  MXFP4(BlockFormat.MXFP4),
  /** {@link BlockFormat#NVFP4}. */
  NVFP4(BlockFormat.NVFP4),
  /** {@link BlockFormat#IQ2_XXS}. */
  IQ2_XXS(BlockFormat.IQ2_XXS),
  /** {@link BlockFormat#IQ2_XS}. */
  IQ2_XS(BlockFormat.IQ2_XS),
  /** {@link BlockFormat#IQ2_S}. */
  IQ2_S(BlockFormat.IQ2_S),
  /** {@link BlockFormat#IQ3_XXS}. */
  IQ3_XXS(BlockFormat.IQ3_XXS),
  /** {@link BlockFormat#IQ3_S}. */
  IQ3_S(BlockFormat.IQ3_S),
  /** {@link BlockFormat#IQ1_S}. */
  IQ1_S(BlockFormat.IQ1_S),
  /** {@link BlockFormat#IQ1_M}. */
  IQ1_M(BlockFormat.IQ1_M);

  private final int elements;
  private final int bytes;
  private final @Nullable BlockFormat format;

  ElementType(int bytes) {
    this.elements = 1;
    this.bytes = bytes;
    this.format = null;
  }

  ElementType(BlockFormat format) {
    this.elements = format.elements();
    this.bytes = format.bytes();
    this.format = format;
  }

  /** {@return how many numbers share a block, mostly 1} */
  public int elements() {
    return elements;
  }

  /** {@return the size of one number or, where several share one, of a block, bytes} */
  public int bytes() {
    return bytes;
  }

  /** How its blocks are decoded into floats; none of F64 and of what cannot be read. */
  @Nullable BlockFormat format() {
    return format;
  }

  /** Whether tensors can be made of it. */
  boolean isReadable() {
    return this == F64 || format != null;
  }

  /** Whether tensors can be written in it. */
  boolean isWritable() {
    return isReadable() && elements == 1;
  }

  /** The narrowest type that can be written and holds all numbers of these. */
  static ElementType holding(Set<ElementType> types) {
    if (types.size() == 1 && types.iterator().next().elements == 1) {
      return types.iterator().next();
    }
    return types.contains(F64) ? F64 : F32;
  }

  /** One that the safetensors format knows. */
  static @Nullable ElementType named(String name) {
    for (ElementType type : values()) {
      if (type.elements == 1 && type.name().equals(name)) {
        return type;
      }
    }
    return null;
  }

  /**
   * Puts a number into {@code raw}, rounded to the nearest, of two the even one.
   *
   * @return whether it is still finite if it was
   */
  boolean encode(double number, ByteBuffer raw) {
    double stored = number;
    switch (this) {
      case F64 -> raw.putDouble(number);
      case F32 -> {
        stored = (float) number;
        raw.putFloat((float) number);
      }
      case F16 -> {
        stored = rounded(number, 10, -14);
        raw.putShort(halfBits((float) stored));
        stored = Math.abs(stored) > HALF_MAX ? Double.POSITIVE_INFINITY : stored;
      }
      case BF16 -> {
        stored = (float) rounded(number, 7, -126);
        raw.putShort((short) (Float.floatToRawIntBits((float) stored) >> 16));
      }
      default -> throw new AssertionError(this);
    }
    return Double.isFinite(stored) || !Double.isFinite(number);
  }

  /** The nearest number of so many bits of mantissa, subnormal below 2 to the {@code lowest}. */
  private static double rounded(double number, int mantissaBits, int lowest) {
    if (!Double.isFinite(number)) {
      return number;
    }
    int scale = mantissaBits - Math.max(lowest, Math.getExponent(number));
    return Math.scalb(Math.rint(Math.scalb(number, scale)), -scale);
  }

  private static final double HALF_MAX = 65504;

  /** Of a number that a binary16 can hold; too large ones become infinite. */
  private static short halfBits(float number) {
    int bits = Float.floatToRawIntBits(number);
    int sign = (bits >>> 16) & 0x8000;
    if (Float.isNaN(number)) {
      return (short) (sign | 0x7e00);
    }
    float size = Math.abs(number);
    if (size > HALF_MAX) {
      return (short) (sign | 0x7c00);
    }
    if (size < 0x1p-14f) {
      return (short) (sign | (int) (size * 0x1p24f));
    }
    int exponent = Math.getExponent(size) + 15;
    return (short) (sign | (exponent << 10) | ((bits >>> 13) & 0x3ff));
  }
}

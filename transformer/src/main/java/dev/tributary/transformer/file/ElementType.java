package dev.tributary.transformer.file;

import java.nio.ByteBuffer;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * How a number of a tensor is stored in a file, by the names of the safetensors format. F32, F16,
 * BF16 and F64 can be read.
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
  F16(2),
  /** The upper half of F32: sign, 8 bits of exponent, 7 of fraction. */
  BF16(2),
  /** Unsigned integer of 32 bits. */
  U32(4),
  /** Signed integer of 32 bits. */
  I32(4),
  /** IEEE 754 binary32, a {@code float}. */
  F32(4),
  /** Unsigned integer of 64 bits. */
  U64(8),
  /** Signed integer of 64 bits. */
  I64(8),
  /** IEEE 754 binary64, a {@code double}. */
  F64(8);

  private final int bytes;

  ElementType(int bytes) {
    this.bytes = bytes;
  }

  /** {@return the size of one number, bytes} */
  public int bytes() {
    return bytes;
  }

  /** Whether tensors can be made of it. */
  boolean isReadable() {
    return this == F32 || this == F16 || this == BF16 || this == F64;
  }

  /** The narrowest type that can be read and holds all numbers of these. */
  static ElementType holding(Set<ElementType> types) {
    if (types.size() == 1) {
      return types.iterator().next();
    }
    return types.contains(F64) ? F64 : F32;
  }

  static @Nullable ElementType named(String name) {
    for (ElementType type : values()) {
      if (type.name().equals(name)) {
        return type;
      }
    }
    return null;
  }

  /** Turns the next {@code count} numbers of {@code raw} into {@code values} from {@code to} on. */
  void decode(ByteBuffer raw, double[] values, int to, int count) {
    int from = raw.position();
    switch (this) {
      case F64 -> raw.asDoubleBuffer().get(values, to, count);
      case F32 -> {
        for (int i = 0; i < count; i++) {
          values[to + i] = raw.getFloat(from + i * Float.BYTES);
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i++) {
          values[to + i] = half(raw.getShort(from + i * Short.BYTES));
        }
      }
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          values[to + i] = Float.intBitsToFloat(raw.getShort(from + i * Short.BYTES) << 16);
        }
      }
      default -> throw new AssertionError(this);
    }
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

  /** Value of an IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of mantissa. */
  private static float half(short bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = (bits >> 10) & 0x1f;
    int mantissa = bits & 0x3ff;
    if (exponent == 0) {
      float subnormal = mantissa * 0x1p-24f;
      return sign == 0 ? subnormal : -subnormal;
    }
    int widened = exponent == 0x1f ? 0xff : exponent + 127 - 15;
    return Float.intBitsToFloat(sign | (widened << 23) | (mantissa << 13));
  }
}

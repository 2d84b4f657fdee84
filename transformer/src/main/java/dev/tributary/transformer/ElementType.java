package dev.tributary.transformer;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * How a number of a tensor is stored in a file, by the names of the safetensors format. F32, F16,
 * BF16 and F64 can be read.
 */
public enum ElementType {
  BOOL(1),
  U8(1),
  I8(1),
  F8_E5M2(1),
  F8_E4M3(1),
  U16(2),
  I16(2),
  F16(2),
  BF16(2),
  U32(4),
  I32(4),
  F32(4),
  U64(8),
  I64(8),
  F64(8);

  private final int bytes;

  ElementType(int bytes) {
    this.bytes = bytes;
  }

  /** Size of one number, bytes. */
  public int bytes() {
    return bytes;
  }

  /** Whether tensors can be made of it. */
  boolean isReadable() {
    return this == F32 || this == F16 || this == BF16 || this == F64;
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

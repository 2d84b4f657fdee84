package dev.tributary.core;

/** Element type of a tensor. */
public enum DType {
  /** 32-bit IEEE 754, about 7 decimal digits. */
  FLOAT(Float.BYTES, Math.ulp(1f)),
  /** 64-bit IEEE 754, about 16 decimal digits. */
  DOUBLE(Double.BYTES, Math.ulp(1d));

  private final int bytes;
  private final double epsilon;

  DType(int bytes, double epsilon) {
    this.bytes = bytes;
    this.epsilon = epsilon;
  }

  /** {@return the size of one element, bytes} */
  public int bytes() {
    return bytes;
  }

  /**
   * {@return the distance from 1 to the next larger number, the unit in which tolerances are
   * stated}
   */
  public double epsilon() {
    return epsilon;
  }
}

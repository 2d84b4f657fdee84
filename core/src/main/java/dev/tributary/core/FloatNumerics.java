package dev.tributary.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/** What {@link FloatRows} computes in a way of its own: the exponential and what hangs on it. */
final class FloatNumerics {
  private FloatNumerics() {}

  /** Beyond these, e^x is 0 or infinite in 32 bits. */
  private static final float EXP_LOWEST = -104f;

  private static final float EXP_HIGHEST = 89f;

  /** Where k is -127, which as an exponent means 0. */
  private static final float NORMAL_EXP_LOWEST = -88f;

  /** 1.5 x 2^23: adding it rounds to a whole number and leaves that in the low bits. */
  private static final float ROUNDER = 12582912f;

  private static final int ROUNDER_BITS = Float.floatToRawIntBits(ROUNDER);

  /** Of the exponent of a float. */
  private static final int BIAS = 127;

  /**
   * e^x with a relative error below 1e-7: x = k ln 2 + r, a polynomial in r (Cephes expf), times
   * 2^k in two halves, so that results near either end of the range are right.
   */
  static void exp(float[] x, float[] z, int n) {
    Powers powers = Powers.ofThisThread(n);
    expReduced(x, z, powers.exponent, ROUNDER, n);
    powers.inHalves(n);
    FloatRows.times(z, powers.first, z, n);
    FloatRows.times(z, powers.second, z, n);
  }

  /**
   * The same with 2^k in one piece, which has no bits for k below -126: what is smaller than a
   * normal number is 0, and e^x is infinite from x = 88.4 on.
   */
  static void expOfNormal(float[] x, float[] z, int n) {
    Powers powers = Powers.ofThisThread(n);
    expReduced(x, z, powers.exponent, ROUNDER + BIAS, n);
    powers.whole(n);
    FloatRows.times(z, powers.first, z, n);
  }

  /**
   * 2^k in two factors. The bits of a float[] are had as an int[] by way of memory outside the
   * heap: a loop over {@link Float#floatToRawIntBits} does not vectorise.
   */
  private static final class Powers {
    private static final ThreadLocal<Powers> LAST = ThreadLocal.withInitial(() -> new Powers(0));

    /** k and what it was rounded with. */
    private final float[] exponent;

    private final float[] first;
    private final float[] second;
    private final int[] bits;
    private final int[] firstBits;
    private final int[] secondBits;
    private final FloatBuffer floats;
    private final IntBuffer ints;

    private Powers(int n) {
      exponent = new float[n];
      first = new float[n];
      second = new float[n];
      bits = new int[n];
      firstBits = new int[n];
      secondBits = new int[n];
      ByteBuffer memory = ByteBuffer.allocateDirect(n * Float.BYTES).order(ByteOrder.nativeOrder());
      floats = memory.asFloatBuffer();
      ints = memory.asIntBuffer();
    }

    static Powers ofThisThread(int n) {
      Powers powers = LAST.get();
      if (powers.exponent.length < n) {
        powers = new Powers(n);
        LAST.set(powers);
      }
      return powers;
    }

    /** With k + {@link #ROUNDER} + {@link #BIAS}, whose low bits are the exponent of 2^k. */
    void whole(int n) {
      floats.put(0, exponent, 0, n);
      ints.get(0, bits, 0, n);
      shift(bits, n);
      ints.put(0, bits, 0, n);
      floats.get(0, first, 0, n);
    }

    private static void shift(int[] bits, int n) {
      for (int i = 0; i < n; i++) {
        bits[i] <<= 23;
      }
    }

    /** With k + {@link #ROUNDER}. */
    void inHalves(int n) {
      floats.put(0, exponent, 0, n);
      ints.get(0, bits, 0, n);
      halves(bits, firstBits, secondBits, n);
      ints.put(0, firstBits, 0, n);
      floats.get(0, first, 0, n);
      ints.put(0, secondBits, 0, n);
      floats.get(0, second, 0, n);
    }

    private static void halves(int[] bits, int[] first, int[] second, int n) {
      for (int i = 0; i < n; i++) {
        int k = bits[i] - ROUNDER_BITS;
        int half = k >> 1;
        first[i] = (half + BIAS) << 23;
        second[i] = (k - half + BIAS) << 23;
      }
    }
  }

  @SuppressWarnings("FloatingPointLiteralPrecision") // constants as published
  private static void expReduced(float[] x, float[] z, float[] exponent, float rounder, int n) {
    float lowest = rounder == ROUNDER ? EXP_LOWEST : NORMAL_EXP_LOWEST;
    for (int i = 0; i < n; i++) {
      float v = Math.max(lowest, Math.min(EXP_HIGHEST, x[i]));
      float k = v * 1.44269504f + rounder;
      exponent[i] = k;
      k -= rounder;
      float r = v - k * 0.693359375f + k * 2.12194440e-4f;
      float p = 1.9875691500e-4f * r + 1.3981999507e-3f;
      p = p * r + 8.3334519073e-3f;
      p = p * r + 4.1665795894e-2f;
      p = p * r + 1.6666665459e-1f;
      p = p * r + 5.0000001201e-1f;
      z[i] = p * (r * r) + r + 1;
    }
  }

  /** From here on, the hyperbolic tangent is 1 in 32 bits. */
  private static final float TANH_END = 7.905311f;

  /** The hyperbolic tangent as a quotient of two polynomials, error below 5e-7 (Eigen's ptanh). */
  @SuppressWarnings("FloatingPointLiteralPrecision") // constants as published
  static void tanh(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      float v = Math.max(-TANH_END, Math.min(TANH_END, x[i]));
      float s = v * v;
      float p = -2.76076847742355e-16f * s + 2.00018790482477e-13f;
      p = p * s - 8.60467152213735e-11f;
      p = p * s + 5.12229709037114e-08f;
      p = p * s + 1.48572235717979e-05f;
      p = p * s + 6.37261928875436e-04f;
      p = p * s + 4.89352455891786e-03f;
      float q = 1.19825839466702e-06f * s + 1.18534705686654e-04f;
      q = q * s + 2.26843463243900e-03f;
      q = q * s + 4.89352518554385e-03f;
      z[i] = v * p / q;
    }
  }

  /** Beyond this, the normal distribution has nothing left in 32 bits. */
  static final float TAIL_END = 15f;

  /** Adding and subtracting it leaves few enough bits for an exact square. */
  static final float SQUARE_ROUNDER = 49152f;

  /**
   * From e^(-a²/2) to the tail of the normal distribution beyond a, relative error 3e-7: their
   * quotient times 1 + a is a polynomial in (a - 3) / (a + 3), Chebyshev's of degree 10, error
   * 1.4e-8.
   */
  static void tailFromExponential(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      float a = Math.min(Math.abs(x[i]), TAIL_END);
      float t = (a - 3) / (a + 3);
      float p = 5.9719056e-05f * t + 3.5775105e-05f;
      p = p * t - 0.00047400672f;
      p = p * t - 0.0003653922f;
      p = p * t + 0.0029866972f;
      p = p * t + 0.0011640537f;
      p = p * t - 0.022724451f;
      p = p * t + 0.04516344f;
      p = p * t - 0.016432611f;
      p = p * t - 0.09652674f;
      p = p * t + 0.4860558f;
      z[i] = z[i] * p / (1 + a);
    }
  }
}

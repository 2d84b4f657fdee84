package dev.tributary.core;

/** What {@link DoubleRows} computes in a way of its own: the exponential and what hangs on it. */
final class DoubleNumerics {
  private DoubleNumerics() {}

  static void exp(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.exp(x[i]);
    }
  }

  static void expOfNormal(double[] x, double[] z, int n) {
    exp(x, z, n);
  }

  /** Beyond this, the normal distribution has nothing left in 64 bits. */
  static final double TAIL_END = 40;

  /** Adding and subtracting it leaves few enough bits for an exact square. */
  static final double SQUARE_ROUNDER = 6442450944.0;

  /**
   * From e^(-a²/2) to the tail of the normal distribution beyond a, to a few roundings: their
   * quotient times 1 + a is a polynomial in (a - 5) / (a + 5), Chebyshev's of degree 24, error
   * 1.1e-17.
   */
  static void tailFromExponential(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      double a = Math.min(Math.abs(x[i]), TAIL_END);
      double t = (a - 5) / (a + 5);
      double p = 2.5086998016985133e-11 * t - 3.815816262632953e-10;
      p = p * t - 4.327297110082094e-10;
      p = p * t + 4.4011596227599254e-09;
      p = p * t + 4.022493382168717e-09;
      p = p * t - 3.095201755804207e-08;
      p = p * t - 2.688202129280215e-08;
      p = p * t + 1.9627809920091187e-07;
      p = p * t + 1.284479710649634e-07;
      p = p * t - 1.3074486019237587e-06;
      p = p * t - 7.070628846317715e-08;
      p = p * t + 9.05982468125664e-06;
      p = p * t - 9.895946159334735e-06;
      p = p * t - 5.36075811148722e-05;
      p = p * t + 0.00018233410307611755;
      p = p * t + 7.791597409338999e-06;
      p = p * t - 0.0016760723371645697;
      p = p * t + 0.006522000667783896;
      p = p * t - 0.015170415403281224;
      p = p * t + 0.024536963243678652;
      p = p * t - 0.026401042966267253;
      p = p * t + 0.010002352385229382;
      p = p * t + 0.031030368425962847;
      p = p * t - 0.09155228183400904;
      p = p * t + 0.46151582985003775;
      z[i] = z[i] * p / (1 + a);
    }
  }

  static void tanh(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.tanh(x[i]);
    }
  }
}

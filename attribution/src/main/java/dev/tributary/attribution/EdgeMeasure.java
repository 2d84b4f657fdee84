package dev.tributary.attribution;

/** What an edge is a part of. */
public enum EdgeMeasure {
  /**
   * Of the target's attribution: its activation times the gradient of the metric there, held fixed.
   */
  ATTRIBUTION,
  /**
   * Of the target's activation itself. That of a head entered through its value is the length of
   * what it writes, with the direction held fixed.
   */
  ACTIVATION
}

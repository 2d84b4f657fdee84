package dev.tributary.transformer;

/** Hears how far long work has come. */
@FunctionalInterface
public interface Progress {
  /** Hears nothing. */
  Progress NONE = (done, total) -> {};

  /**
   * {@code done} of {@code total} steps are behind.
   *
   * @param done steps behind
   * @param total all steps
   */
  void at(int done, int total);
}

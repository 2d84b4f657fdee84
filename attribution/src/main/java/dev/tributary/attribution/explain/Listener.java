package dev.tributary.attribution.explain;

import dev.tributary.transformer.Progress;

/** Hears how far an answer has come, on the thread of its session. */
public interface Listener extends Progress {
  /** Hears nothing. */
  Listener NONE =
      new Listener() {
        @Override
        public void enter(Phase phase) {}

        @Override
        public void at(int done, int total) {}
      };

  /**
   * Says what is being done from now on; steps of {@link #at} are its.
   *
   * @param phase that begins
   */
  void enter(Phase phase);

  /**
   * Enters a phase, and hears of its steps.
   *
   * @param phase that begins
   * @return itself
   */
  default Progress within(Phase phase) {
    enter(phase);
    return this;
  }

  /**
   * Says that the model begins to go on with a prompt.
   *
   * @param edited whether the model is the edited one
   */
  default void begun(boolean edited) {}

  /**
   * Says how a text goes on.
   *
   * @param edited whether the model is the edited one
   * @param more what follows what was said before
   */
  default void said(boolean edited, String more) {}

  /**
   * Says that a text goes on no further.
   *
   * @param edited whether the model is the edited one
   * @param text as a whole
   */
  default void continued(boolean edited, Generate.Continued text) {}
}

package dev.tributary.attribution.explain;

import java.io.IOException;

/**
 * What a {@link Session} can be asked.
 *
 * @param <A> its answer: numbers and names alone, which outlive the session
 */
public sealed interface Question<A extends Record>
    permits Ablate,
        Attend,
        Attribute,
        Compare,
        Describe,
        Edges,
        Generate,
        Graph,
        Inspect,
        Intervene,
        Predict,
        Search,
        Verify {
  /**
   * {@return the answer} Called by a session on its own thread.
   *
   * @param work what the session has
   * @throws IOException if files of the model cannot be read
   */
  A answer(Work work) throws IOException;
}

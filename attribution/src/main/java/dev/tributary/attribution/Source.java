package dev.tributary.attribution;

import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import java.util.List;
import java.util.Optional;

/** A node that writes to the residual stream. */
public sealed interface Source extends Node
    permits Embedding, HeadPair, Neuron, Latent, ReconstructionError, PreBias, Bias {
  /** {@return the token at which it writes} */
  int token();

  @Override
  SourceFamily family();

  @Override
  default Optional<Source> asSource() {
    return Optional.of(this);
  }

  /**
   * {@return what it adds to the residual stream, in the order of writing}
   *
   * @param run that has this node, changed in no more than its embeddings
   */
  List<Write> writes(Run run);

  /** What it takes to make it write a multiple of what it wrote, for {@link Run#with}. */
  Change scaled(Run run, double factor);

  /**
   * What it takes to give it another activation.
   *
   * @throws IllegalArgumentException if it has no activation
   */
  default Change withActivation(Run run, double activation) {
    throw new IllegalArgumentException(this + " has no activation that could be set");
  }
}

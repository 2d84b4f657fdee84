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

  /**
   * {@return what it takes to make it write a multiple of what it wrote, see {@link Ablation}}
   *
   * @param run that has this node
   * @param factor of what it wrote
   */
  Change scaled(Run run, double factor);

  /**
   * {@return what it takes to give it another activation, see {@link Ablation}}
   *
   * @param run that has this node
   * @param activation the new one
   * @throws IllegalArgumentException if it has no activation
   */
  default Change withActivation(Run run, double activation) {
    throw new IllegalArgumentException(this + " has no activation that could be set");
  }
}

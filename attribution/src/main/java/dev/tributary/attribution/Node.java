package dev.tributary.attribution;

import dev.tributary.transformer.Run;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * One use of a component in one run. Layers, tokens, heads and neurons count from 0. Printed, and
 * parsed by {@link #parse}, as
 *
 * <pre>
 * embedding[3]             token and position embedding at token 3
 * token_embedding[3]       either alone
 * position_embedding[3]
 * L1.neuron77[9]           neuron 77 of layer 1 at token 9
 * L1.neuron77.gate[9]      entered through its gate (or up), if it is gated
 * L2.head5[14&lt;-3]          head 5 of layer 2, token 14 looking at token 3
 * L2.head5.query[14&lt;-3]    entered through its query (or key, or value)
 * L1.attention_bias[9]     output bias of the attention (or mlp) of layer 1 at token 9
 * L1.mlp_latent12[9]       latent 12 of the dictionary of the MLP's output of layer 1 at token 9
 * L1.mlp_error[9]          what its reconstruction lacks there
 * L1.mlp_pre_bias[9]       what it adds whatever the latents
 * logit5[9]                the logit of word 5 at token 9
 * metric                   the scalar that is explained
 * </pre>
 *
 * <p>Dictionaries are called by what they are to the model ({@link
 * dev.tributary.transformer.Dictionary.Kind}): {@code mlp}, {@code attention}, {@code activation},
 * {@code heads}, {@code residual}, {@code middle_residual}, {@code embedding}, {@code transcoder}
 * or {@code cross_layer}, and by their label, if they have one: {@code L1.mlp_wide_latent12[9]}.
 *
 * <p>A kind of node is one file: its record and its {@link Kind}, the nodes of a run that are of
 * this kind.
 */
public sealed interface Node permits Source, Target {
  /** {@return where it stands} */
  Coordinates coordinates();

  /**
   * Refuses a node that the run does not have.
   *
   * @param run what the model computed
   * @throws IllegalArgumentException if an index is out of range, with its range
   */
  void requireIn(Run run);

  /** {@return the nodes of its kind and place} */
  Family family();

  /** {@return its number along each axis of its family, a new array} */
  int[] index();

  /**
   * {@return through what it reads the residual stream: itself, the inputs of a head, or nothing}
   */
  default List<Target> targets() {
    return List.of();
  }

  /** {@return whether nothing of the model leads to it: an embedding} */
  default boolean isInput() {
    return false;
  }

  /** {@return whether it stands for what is not explained: a reconstruction error} */
  default boolean isError() {
    return false;
  }

  /** {@return the nodes of which it is the sum, itself alone if it has no parts} */
  default List<? extends Node> parts() {
    return List.of(this);
  }

  /** {@return itself, if it writes to the residual stream} */
  default Optional<Source> asSource() {
    return Optional.empty();
  }

  /**
   * {@return the activation of a neuron or latent, the probability of a head pair; nothing else has
   * one}
   *
   * @param run that has this node
   */
  default OptionalDouble activation(Run run) {
    return OptionalDouble.empty();
  }

  /**
   * {@return the metric of this node in place of the logits}
   *
   * @param side of its nonlinearity
   * @param downstream what a trace through values ends in
   * @throws IllegalArgumentException if it computes nothing, or has no such side
   */
  default Trace traced(Trace.Side side, Metric.OfLogits downstream) {
    throw new IllegalArgumentException(
        this
            + " computes nothing that could be traced: name a neuron, a latent, a head or an input"
            + " of a head");
  }

  /**
   * {@return the node that stands somewhere}
   *
   * @param where as {@link #coordinates} says it
   * @throws IllegalArgumentException if none does
   */
  static Node at(Coordinates where) {
    return Kind.all().stream()
        .flatMap(kind -> kind.candidates(where.name()))
        .filter(node -> node.coordinates().equals(where))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "there is no kind of node of which %s is one".formatted(where)));
  }

  /**
   * {@return the node that a name means}
   *
   * @param name as {@code toString} writes it
   * @throws IllegalArgumentException if it is the name of none
   */
  static Node parse(String name) {
    return Coordinates.Name.of(name)
        .flatMap(
            parts ->
                Kind.all().stream()
                    .flatMap(kind -> kind.candidates(parts))
                    .filter(parts::isOf)
                    .findFirst())
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "\"%s\" is not the name of a node; names look like L1.neuron77[9], L2.head5[14<-3], L2.head5.query[14<-3], embedding[3] or metric"
                        .formatted(name)));
  }
}

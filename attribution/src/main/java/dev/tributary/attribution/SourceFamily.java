package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.Optional;

/** The sources of one kind in one place of a model. Arrays have the axes of the family. */
interface SourceFamily extends Family {
  @Override
  Source node(int... index);

  /** The first point to which they write. */
  Point point(Transformer model);

  /** The family whose nodes are sums of a node of this one and others. */
  default Optional<SourceFamily> whole() {
    return Optional.empty();
  }

  /** Whether its nodes are sums of others, which have an array of their own. */
  default boolean isWhole() {
    return false;
  }

  /** Sites of the model of which they are parts. */
  default List<Place> within() {
    return List.of();
  }

  /** Of whose dictionary they are, which say once more what others write. */
  default Optional<Encoded> encoded() {
    return Optional.empty();
  }

  /** Their activations, of all tokens, if they have any. */
  default Optional<Tensor> activations(Run run) {
    return Optional.empty();
  }

  /** Activation times gradient; of what has no activation, how the metric grows with a factor. */
  Tensor activationTimesGradient(NodeAttribution nodes);

  /** Euclidean norm of what each writes, with the sign of its activation, if it has one. */
  Tensor writeNorms(Run run);

  /** ⟨write, gradient⟩ of all that write at the tokens which a gradient reads. */
  NodeArray products(GradientReader gradient);

  /** What they write, as lists for a search; what each reader sees of them is in one of these. */
  List<SearchSources> lists(Run run);
}

package dev.tributary.attribution;

import dev.tributary.attribution.Node.Bias;
import dev.tributary.attribution.Node.BiasPart;
import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.attribution.Node.Explained;
import dev.tributary.attribution.Node.HeadInput;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.PreBias;
import dev.tributary.attribution.Node.ReconstructionError;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.AttentionPath;
import dev.tributary.transformer.Site;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Function;

/**
 * One number for each node of a rectangular set: a tensor whose axes have names. Head pairs whose
 * key is later than their query are no nodes; their entries are 0.
 */
public final class NodeArray {
  /**
   * An axis of the array.
   *
   * @param name what it counts, e.g. {@code token}
   * @param from what its first entry stands for
   * @param size number of entries
   */
  public record Axis(String name, int from, int size) {}

  private final List<Axis> axes;
  private final Tensor values;
  private final Function<int[], Node> node;
  private final Function<Node, Optional<int[]>> coordinates;

  private NodeArray(
      Tensor values,
      Function<int[], Node> node,
      Function<Node, Optional<int[]>> coordinates,
      Axis... axes) {
    this.values = values.reshape(Shape.of(Arrays.stream(axes).mapToInt(Axis::size).toArray()));
    this.axes = List.of(axes);
    this.node = node;
    this.coordinates = coordinates;
  }

  private static Function<Node, Optional<int[]>> where(Function<Node, int[]> coordinates) {
    return node -> Optional.of(coordinates.apply(node)).filter(found -> found.length > 0);
  }

  private static final int[] NONE = {};

  static NodeArray embeddings(EmbeddingPart part, int firstToken, Tensor values) {
    return new NodeArray(
        values,
        at -> new Embedding(part, at[0]),
        where(
            node -> node instanceof Embedding e && e.part() == part ? new int[] {e.token()} : NONE),
        new Axis("token", firstToken, values.shape().length()));
  }

  static NodeArray biases(BiasPart part, int layer, int firstToken, Tensor values) {
    return new NodeArray(
        values,
        at -> new Bias(part, layer, at[0]),
        where(
            node ->
                node instanceof Bias b && b.part() == part && b.layer() == layer
                    ? new int[] {b.token()}
                    : NONE),
        new Axis("token", firstToken, values.shape().length()));
  }

  /** Of values [token, neuron]. */
  static NodeArray neurons(int layer, int firstToken, Tensor values) {
    return new NodeArray(
        values,
        at -> new Neuron(layer, at[0], at[1]),
        where(
            node ->
                node instanceof Neuron n && n.layer() == layer
                    ? new int[] {n.token(), n.neuron()}
                    : NONE),
        new Axis("token", firstToken, values.shape().size(0)),
        new Axis("neuron", 0, values.shape().size(1)));
  }

  /** Of values [head, query, key]. */
  static NodeArray headPairs(int layer, int firstQuery, int firstKey, Tensor values) {
    return heads(
        firstQuery,
        firstKey,
        values,
        at -> new HeadPair(layer, at[0], at[1], at[2]),
        node -> node instanceof HeadPair p && p.layer() == layer ? pair(p) : NONE);
  }

  /** Of values [head, query, key]. */
  static NodeArray headInputs(
      AttentionPath path, int layer, int firstQuery, int firstKey, Tensor values) {
    return heads(
        firstQuery,
        firstKey,
        values,
        at -> new HeadPair(layer, at[0], at[1], at[2]).through(path),
        node ->
            node instanceof HeadInput i && i.path() == path && i.pair().layer() == layer
                ? pair(i.pair())
                : NONE);
  }

  private static int[] pair(HeadPair pair) {
    return new int[] {pair.head(), pair.query(), pair.key()};
  }

  private static NodeArray heads(
      int firstQuery,
      int firstKey,
      Tensor values,
      Function<int[], Node> node,
      Function<Node, int[]> coordinates) {
    return new NodeArray(
        values,
        node,
        where(coordinates),
        new Axis("head", 0, values.shape().size(0)),
        new Axis("query", firstQuery, values.shape().size(1)),
        new Axis("key", firstKey, values.shape().size(2)));
  }

  /** Of values [token, latent]. */
  static NodeArray latents(Site site, int layer, int firstToken, Tensor values) {
    return new NodeArray(
        values,
        at -> new Latent(site, layer, at[0], at[1]),
        where(
            node ->
                node instanceof Latent l && l.site() == site && l.layer() == layer
                    ? new int[] {l.token(), l.latent()}
                    : NONE),
        new Axis("token", firstToken, values.shape().size(0)),
        new Axis("latent", 0, values.shape().size(1)));
  }

  static NodeArray errors(Site site, int layer, int firstToken, Tensor values) {
    return new NodeArray(
        values,
        at -> new ReconstructionError(site, layer, at[0]),
        where(
            node ->
                node instanceof ReconstructionError e && e.site() == site && e.layer() == layer
                    ? new int[] {e.token()}
                    : NONE),
        new Axis("token", firstToken, values.shape().length()));
  }

  static NodeArray preBiases(Site site, int layer, int firstToken, Tensor values) {
    return new NodeArray(
        values,
        at -> new PreBias(site, layer, at[0]),
        where(
            node ->
                node instanceof PreBias b && b.site() == site && b.layer() == layer
                    ? new int[] {b.token()}
                    : NONE),
        new Axis("token", firstToken, values.shape().length()));
  }

  static NodeArray explained(Tensor value) {
    return new NodeArray(
        value,
        at -> new Explained(),
        where(node -> node instanceof Explained ? new int[] {0} : NONE),
        new Axis("metric", 0, 1));
  }

  /** {@return the axes of {@link #values}, outermost first} */
  public List<Axis> axes() {
    return axes;
  }

  /** {@return the numbers} */
  public Tensor values() {
    return values;
  }

  /** The node of an entry, by its position in row-major order. */
  Node node(int position) {
    int[] at = new int[axes.size()];
    int rest = position;
    for (int i = at.length - 1; i >= 0; i--) {
      Axis axis = axes.get(i);
      at[i] = axis.from + rest % axis.size;
      rest /= axis.size;
    }
    return node.apply(at);
  }

  /** The number of a node, if it is in this set. */
  OptionalDouble of(Node wanted) {
    Optional<int[]> found = coordinates.apply(wanted);
    if (found.isEmpty()) {
      return OptionalDouble.empty();
    }
    int[] index = new int[axes.size()];
    for (int i = 0; i < index.length; i++) {
      Axis axis = axes.get(i);
      index[i] = found.get()[i] - axis.from;
      if (index[i] < 0 || index[i] >= axis.size) {
        return OptionalDouble.empty();
      }
    }
    return OptionalDouble.of(values.get(index));
  }
}

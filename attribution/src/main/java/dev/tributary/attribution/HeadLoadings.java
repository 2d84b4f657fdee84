package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.HeldAttention;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Through which heads an edge passes that goes through frozen attention: patterns and the scales of
 * norms are as the run has them and what MLPs add is constant, so what a source writes reaches a
 * target along the residual stream and through the values of heads alone. Where transcoders speak
 * for MLPs, it passes their skip maps too: so the edges of a {@link ReplacementGraph} are split.
 *
 * <p>At each layer the edge is what passes each of its heads and what passes the layer by. The
 * source's write is pushed up once and the target's direction pulled down once; the two meet in
 * every layer and make its split. Lives in the scope in which it was made.
 */
public final class HeadLoadings {
  /**
   * The split at one layer.
   *
   * @param layer from 0
   * @param heads what passes each head, its loading
   * @param passing what passes the layer by
   */
  public record LayerSplit(int layer, List<Double> heads, double passing) {
    /**
     * Keeps a copy of the loadings.
     *
     * @param layer {@link #layer()}
     * @param heads {@link #heads()}
     * @param passing {@link #passing()}
     */
    public LayerSplit {
      heads = List.copyOf(heads);
    }

    /** {@return the sum of all, which is the whole edge} */
    public double sum() {
      return heads.stream().reduce(passing, Double::sum);
    }

    private double magnitude() {
      return heads.stream().map(Math::abs).reduce(Math.abs(passing), Double::sum);
    }
  }

  private final Run run;
  private final double edge;
  private final double pushed;
  private final double direct;
  private final double magnitude;
  private final List<LayerSplit> layers;

  /** The token of the first row of what meets. */
  private final int firstToken;

  /** By layer, of those that the edge can pass. */
  private final Map<Integer, FrozenPaths.Meeting> meetings;

  private HeadLoadings(Run run, FrozenPaths paths) {
    this.run = run;
    this.edge = paths.pulled();
    this.pushed = paths.pushed();
    this.direct = paths.direct();
    this.firstToken = paths.from();
    this.meetings = paths.meetings();
    List<LayerSplit> splits = new ArrayList<>();
    double largest = paths.magnitude();
    for (int layer = 0; layer < run.model().layers(); layer++) {
      FrozenPaths.Meeting meeting = meetings.get(layer);
      LayerSplit split =
          meeting == null
              ? new LayerSplit(
                  layer, Collections.nCopies(run.model().attention(layer).heads(), 0.0), edge)
              : new LayerSplit(layer, meeting.heads(), meeting.passing());
      splits.add(split);
      largest = Math.max(largest, split.magnitude());
    }
    this.layers = List.copyOf(splits);
    this.magnitude = largest;
  }

  /**
   * {@return how the edge between two nodes through frozen attention passes the heads of each
   * layer}
   *
   * @param edges which say how the target reads
   * @param source what writes
   * @param target what reads
   * @throws IllegalArgumentException if the run has no such node, or the source writes after the
   *     target has read
   */
  public static HeadLoadings of(EdgeAttribution edges, Source source, Target target) {
    return of(edges, source, target, Basis.of(edges.nodes().run().model()));
  }

  /**
   * {@return how the edge between two nodes passes, where a basis says which transcoders let
   * something pass MLPs}
   *
   * @param edges which say how the target reads
   * @param source what writes
   * @param target what reads
   * @param basis of the run's model
   * @throws IllegalArgumentException as without a basis, or if the model has not its dictionaries
   */
  public static HeadLoadings of(EdgeAttribution edges, Source source, Target target, Basis basis) {
    Run run = edges.nodes().run();
    source.requireIn(run);
    try (Scope scope = Scope.open()) {
      ResidualGradient direction = edges.gradient(target);
      requireArgument(
          source.family().point(run.model()).reaches(direction.point()),
          "no edge from %s to %s: the source writes after the target has read",
          source,
          target);
      return of(run, source.writes(run), direction, basis).keptBy(scope);
    }
  }

  /**
   * {@return how what is written reaches a direction through frozen attention}
   *
   * @param run whose patterns and scales are held
   * @param writes what is written; what is written after the direction is read has no effect
   * @param direction along which the residual stream is read
   * @throws IllegalArgumentException if the run was changed after its embeddings, has no such point
   *     or token, or its residual stream is not as wide
   */
  public static HeadLoadings of(Run run, List<Write> writes, ResidualGradient direction) {
    return of(run, writes, direction, Basis.of(run.model()));
  }

  private static HeadLoadings of(
      Run run, List<Write> writes, ResidualGradient direction, Basis basis) {
    basis.requireOf(run.model());
    run.requireComputed();
    requireIn(run, direction);
    try (Scope scope = Scope.open()) {
      for (Write write : writes) {
        Tensor row = write.vector().reshape(write.vector().shape().prepend(1));
        requireIn(run, new ResidualGradient(write.point(), write.token(), row));
      }
      List<Dictionary> transcoders = basis.transcoders();
      return new HeadLoadings(run, new FrozenPaths(run, transcoders, writes, direction))
          .keptBy(scope);
    }
  }

  private static void requireIn(Run run, ResidualGradient rows) {
    Shape residual = run.residual(rows.point()).shape();
    Shape shape = rows.rows().shape();
    requireArgument(
        shape.rank() == 2
            && shape.size(0) > 0
            && shape.size(1) == residual.size(1)
            && rows.firstToken() >= 0
            && rows.endToken() <= residual.size(0),
        "rows of shape %s, the first of token %d, at a residual stream of shape %s",
        shape,
        rows.firstToken(),
        residual);
  }

  private HeadLoadings keptBy(Scope scope) {
    meetings.values().forEach(meeting -> meeting.keptBy(scope));
    return this;
  }

  /** {@return all layers in their order; the sum at each is the whole edge} */
  public List<LayerSplit> layers() {
    return layers;
  }

  /** {@return the whole edge: what was written, times the direction pulled down to there} */
  public double edge() {
    return edge;
  }

  /** {@return the whole edge again: what was written, pushed up, along the direction} */
  public double pushed() {
    return pushed;
  }

  /** {@return what passes all layers by: the edge as {@link EdgeAttribution} has it} */
  public double direct() {
    return direct;
  }

  /**
   * {@return how far the edge pushed, and the sum at any layer, are from the edge pulled, relative
   * to what is added: a few epsilons if nothing is missing or wrong}
   */
  public double relativeResidual() {
    double residual = Math.abs(pushed - edge);
    for (LayerSplit layer : layers) {
      residual = Math.max(residual, Math.abs(layer.sum() - edge));
    }
    return residual / Math.max(magnitude, Double.MIN_NORMAL);
  }

  /**
   * {@return what passes a head at one pair of tokens; all pairs of a head together are its
   * loading}
   *
   * @param pair the head and its tokens
   * @throws IllegalArgumentException if the run has no such pair
   */
  public double of(HeadPair pair) {
    pair.requireIn(run);
    if (!meetings.containsKey(pair.layer())) {
      return 0;
    }
    try (Scope scope = Scope.open()) {
      return pairs(pair.layer()).of(pair).orElse(0);
    }
  }

  /**
   * {@return the pairs of tokens at which most passes, of all heads, largest magnitude first; exact
   * zeros are left out}
   *
   * @param count at most so many
   */
  public List<NodeScore> top(int count) {
    TopK<NodeScore> largest = new TopK<>(count);
    for (int layer : meetings.keySet()) {
      try (Scope scope = Scope.open()) {
        NodeArray.rank(List.of(pairs(layer)), largest);
      }
    }
    return largest.entries();
  }

  /** What passes the heads of a layer at all pairs. */
  private NodeArray pairs(int layer) {
    FrozenPaths.Meeting meeting = Objects.requireNonNull(meetings.get(layer));
    int end = firstToken + meeting.tangents().shape().size(0);
    Tensor pairs =
        HeldAttention.of(run, layer, firstToken, end)
            .pairs(meeting.tangents(), meeting.cotangents());
    return NodeArray.of(new HeadPair(layer, 0, 0, 0).family(), pairs, 0, firstToken, firstToken);
  }
}

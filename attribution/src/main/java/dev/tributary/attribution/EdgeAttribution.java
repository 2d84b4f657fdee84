package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Norm;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;

/**
 * How much of a node's attribution arrived from which other node.
 *
 * <p>The attribution F of a target is its activation times the metric's gradient at that
 * activation, as a function of the residual stream r that its part reads, the gradient held fixed.
 * The edge from a source that writes w is the derivative of F along w:
 *
 * <ul>
 *   <li>{@link #into}: many sources into one target, dF/dr pulled once and multiplied with every
 *       write;
 *   <li>{@link #outOf}: one source out to many targets, w pushed once through each part.
 * </ul>
 *
 * <p>Only what the target reads of r, and what the source changes, is computed again: rows of r and
 * slices of weights, not layers. Rows of targets: a neuron (or one of the two inputs of a gated
 * one) and a value read one token, a query its own while the keys are held fixed, a key all tokens
 * up to its query (they share the softmax), a latent of attention outputs all tokens up to its own.
 *
 * @see <a href="https://arxiv.org/abs/2310.10348">Syed et al. 2023, eq. 2</a>
 */
public final class EdgeAttribution {
  /** A push goes through all layers, a pull through what one target reads. */
  private static final int PULLS_OF_A_PUSH = 256;

  private final NodeAttribution nodes;
  private final Run run;
  private final ScaleGradient scaleGradient;
  private final EdgeMeasure measure;
  private final Pulls pulls;

  private EdgeAttribution(NodeAttribution nodes, ScaleGradient scaleGradient, EdgeMeasure measure) {
    this.nodes = nodes;
    this.run = nodes.run();
    run.requireComputed();
    this.scaleGradient = scaleGradient;
    this.measure = measure;
    this.pulls = new Pulls(this);
  }

  /**
   * {@return the edges among the nodes of a run, as parts of attributions}
   *
   * @param nodes of a run, with the gradients of a metric
   * @param scaleGradient whether the scales of norms between what a target reads and its activation
   *     are seen to move
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public static EdgeAttribution of(NodeAttribution nodes, ScaleGradient scaleGradient) {
    return of(nodes, scaleGradient, EdgeMeasure.ATTRIBUTION);
  }

  /**
   * {@return the edges among the nodes of a run, as parts of attributions or of activations}
   *
   * @param nodes of a run, with the gradients of a metric
   * @param scaleGradient as in {@link #of(NodeAttribution, ScaleGradient)}
   * @param measure what an edge is a part of
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public static EdgeAttribution of(
      NodeAttribution nodes, ScaleGradient scaleGradient, EdgeMeasure measure) {
    return new EdgeAttribution(nodes, scaleGradient, measure);
  }

  /** Ends work on many edges. Whoever called it finds the thread still interrupted. */
  static void requireNotInterrupted(String work) {
    if (Thread.currentThread().isInterrupted()) {
      throw new CancellationException(work + " was interrupted");
    }
  }

  /** The nodes whose edges they are. */
  NodeAttribution nodes() {
    return nodes;
  }

  /** Whether the scales of norms are seen to move. */
  ScaleGradient scaleGradient() {
    return scaleGradient;
  }

  /** What an edge is a part of. */
  EdgeMeasure measure() {
    return measure;
  }

  /** What many edges are pulled with. */
  Pulls pulls() {
    return pulls;
  }

  /**
   * What activations at a site are multiplied with: the gradient there, held fixed, for parts of
   * attributions, ones for parts of activations; of the site's shape.
   */
  Tensor heldGradient(Site site, int layer) {
    Tensor gradient = nodes.gradient(site, layer);
    return measure == EdgeMeasure.ATTRIBUTION
        ? gradient
        : Tensor.full(gradient.dtype(), gradient.shape(), 1);
  }

  /** The same of one activation. */
  double held(Site site, int layer, int... index) {
    return measure == EdgeMeasure.ATTRIBUTION
        ? nodes.gradient(Place.of(site, layer)).get(index)
        : 1;
  }

  /**
   * Edges from every source to one target: one pull.
   *
   * @param target what reads
   * @return a number for every source; exact zeros where none reaches the target
   * @throws IllegalArgumentException if the run has no such node
   */
  public EdgeScores into(Target target) {
    try (Scope scope = Scope.open()) {
      return nodes.products(gradient(target)).keptBy(scope);
    }
  }

  /**
   * Edges from one source to every neuron and its inputs, head input and latent, and to the metric:
   * one push through each part after it, and what these feed.
   *
   * @param source what writes
   * @return a number for every target; exact zeros where the source does not reach
   * @throws IllegalArgumentException if the run has no such node
   */
  public EdgeScores outOf(Source source) {
    source.requireIn(run);
    try (Scope scope = Scope.open()) {
      Push push = new Push(this, source);
      List<NodeArray> arrays = new ArrayList<>();
      for (TargetFamily family : Kind.targetsOf(run.model())) {
        arrays.addAll(family.pushed(push));
      }
      return EdgeScores.into(run, arrays).keptBy(scope);
    }
  }

  /**
   * {@return the edge between two nodes}
   *
   * @param source what writes
   * @param target what reads
   * @throws IllegalArgumentException if the run has no such node, or the source writes after the
   *     target has read
   */
  public double between(Source source, Target target) {
    return between(List.of(source), List.of(target)).get(0, 0);
  }

  /**
   * {@return the edge between two nodes by one push along the write of the source, where {@link
   * #between(Source, Target)} pulls from the target}
   *
   * @param source what writes
   * @param target what reads
   * @throws IllegalArgumentException as there
   */
  public double pushed(Source source, Target target) {
    requireDownstream(source, target);
    try (Scope scope = Scope.open()) {
      Reading reading = target.reading(this);
      return reading.seen(source.writes(run)).stream()
          .mapToDouble(
              write -> reading.push(run, write.token(), write.vector(), target.scaleGradient(this)))
          .sum();
    }
  }

  /**
   * The edges between two sets of nodes, by pulling from every target, neurons of one layer and
   * token together, or, if there are hundreds of targets for each source, by pushing from every
   * source. A source that writes after a target has read, or at a token that the target does not
   * read, has 0.
   *
   * @param sources what writes
   * @param targets what reads
   * @return [source, target]
   * @throws IllegalArgumentException if the run has no such node, or there is one source and one
   *     target and the source writes after the target has read
   */
  public Tensor between(List<Source> sources, List<Target> targets) {
    sources.forEach(source -> source.requireIn(run));
    targets.forEach(target -> target.requireIn(run));
    if (sources.size() == 1 && targets.size() == 1) {
      requireDownstream(sources.get(0), targets.get(0));
    }
    try (Scope scope = Scope.open()) {
      boolean pushes =
          (long) sources.size() * PULLS_OF_A_PUSH < targets.size()
              && targets.stream().allMatch(target -> target.family() instanceof TargetFamily);
      double[] edges =
          pushes ? pushed(sources, targets) : pulls.products(sources, pulls.gradients(targets));
      return scope.keep(
          Tensor.of(run.model().dtype(), Shape.of(sources.size(), targets.size()), edges));
    }
  }

  private double[] pushed(List<Source> sources, List<Target> targets) {
    double[] edges = new double[sources.size() * targets.size()];
    for (int i = 0; i < sources.size(); i++) {
      try (Scope one = Scope.open()) {
        EdgeScores scores = outOf(sources.get(i));
        for (int j = 0; j < targets.size(); j++) {
          edges[i * targets.size() + j] = scores.of(targets.get(j));
        }
      }
    }
    return edges;
  }

  private void requireDownstream(Source source, Target target) {
    source.requireIn(run);
    target.requireIn(run);
    requireArgument(
        source.family().point(run.model()).reaches(target.reading(this).point()),
        "no edge from %s to %s: the source writes after the target has read",
        source,
        target);
  }

  /**
   * How a target reads the residual stream: the gradient of its attribution there.
   *
   * @param target what reads
   * @return the gradient, at the residual stream that it reads
   * @throws IllegalArgumentException if the run has no such node
   */
  public ResidualGradient gradient(Target target) {
    target.requireIn(run);
    return target.gradient(this);
  }

  /**
   * Checks that the edges into a target are complete.
   *
   * @param target what reads
   * @return both sides of the sum
   * @throws IllegalArgumentException if the run has no such node
   */
  public Certificate certify(Target target) {
    try (Scope scope = Scope.open()) {
      ResidualGradient gradient = gradient(target);
      return certificate(target, gradient, nodes.products(gradient));
    }
  }

  /** What says that these scores along the gradient of a target are complete. */
  Certificate certificate(Target target, ResidualGradient gradient, EdgeScores scores) {
    return Certificate.of(run, gradient, scores, target.affine(this));
  }

  /** Whether what a part computes from is affine in what it reads, as derivatives see it. */
  boolean isAffine(Optional<Norm> entry) {
    return entry.isEmpty() || scaleGradient == ScaleGradient.DETACHED;
  }

  /**
   * Takes what a source writes out of what one target reads, and nothing else: what the target
   * loses against what the edge predicted, and what that does to the metric.
   *
   * @param source what writes
   * @param target what reads
   * @return what was predicted and what happened
   * @throws IllegalArgumentException if the run has no such node, or the source writes after the
   *     target has read
   */
  public EdgePatch patch(Source source, Target target) {
    return EdgePatch.of(this, source, target);
  }
}

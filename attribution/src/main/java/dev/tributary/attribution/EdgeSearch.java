package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.PriorityQueue;
import java.util.concurrent.CancellationException;

/**
 * Finds the largest edges of a run among all there are, without computing them one by one.
 *
 * <p>An edge is the product of what a source writes at a token and a direction along which a target
 * reads there, so it is no larger than the product of their norms, and norms cost next to nothing:
 * {@link SearchSources} and {@link SearchTargets} say them for every kind of node. {@link NormJoin}
 * computes the products whose norms allow it, which are few. What it finds is computed anew in 64
 * bits, so the answer does not depend on steps or threads.
 *
 * @see <a href="https://arxiv.org/abs/2310.10348">Syed et al. 2023, eq. 2</a>
 */
public final class EdgeSearch {
  /** An edge and its number. */
  public record EdgeScore(Source source, Target target, double score) {
    @Override
    public String toString() {
      return String.format(Locale.ROOT, "%s->%s %.4g", source, target, score);
    }
  }

  /**
   * What was found.
   *
   * @param edges largest magnitude first; of equals, in the order of their names
   * @param searched number of edges that there are between the nodes that were asked for
   */
  public record Found(List<EdgeScore> edges, long searched) {
    /**
     * Keeps a copy of the edges.
     *
     * @param edges {@link #edges()}
     * @param searched {@link #searched()}
     */
    public Found {
      edges = List.copyOf(edges);
    }
  }

  private final EdgeAttribution edges;
  private final Run run;
  private final NodeFilter from;
  private final NodeFilter into;
  private final double smallest;
  private final NormJoin.Steps steps;
  private final Optional<Basis> basis;

  private EdgeSearch(
      EdgeAttribution edges,
      NodeFilter from,
      NodeFilter into,
      double smallest,
      NormJoin.Steps steps,
      Optional<Basis> basis) {
    this.edges = edges;
    this.run = edges.nodes().run();
    this.from = from;
    this.into = into;
    this.smallest = smallest;
    this.steps = steps;
    this.basis = basis;
  }

  /**
   * {@return a search among all edges between the nodes of a run}
   *
   * @param edges how an edge is defined
   */
  public static EdgeSearch of(EdgeAttribution edges) {
    return new EdgeSearch(
        edges, NodeFilter.ALL, NodeFilter.ALL, 0, NormJoin.Steps.ofDevice(), Optional.empty());
  }

  /**
   * Only edges from these nodes.
   *
   * @param sources the nodes wanted
   * @return the narrower search
   * @throws IllegalArgumentException if a kind is no kind of source
   */
  public EdgeSearch from(NodeFilter sources) {
    sources.requireKinds(Source.class);
    return new EdgeSearch(edges, sources, into, smallest, steps, basis);
  }

  /**
   * Only edges into these nodes.
   *
   * @param targets the nodes wanted
   * @return the narrower search
   * @throws IllegalArgumentException if a kind is none that is searched: of heads the inputs are,
   *     of logits the metric, and a direction has {@link EdgeAttribution#into}
   */
  public EdgeSearch into(NodeFilter targets) {
    targets.requireKinds(Target.class);
    return new EdgeSearch(edges, from, targets, smallest, steps, basis);
  }

  /**
   * Only edges of at least this magnitude.
   *
   * @param magnitude the least, not negative
   * @return the narrower search
   * @throws IllegalArgumentException if it is negative or not a number
   */
  public EdgeSearch atLeast(double magnitude) {
    requireArgument(
        magnitude >= 0, "an edge of magnitude %s or more: it must be 0 or more", magnitude);
    return new EdgeSearch(edges, from, into, magnitude, steps, basis);
  }

  /**
   * Only edges in a basis: into its nodes, and from those that a target sees.
   *
   * @param nodes of the run's model
   * @return the narrower search
   * @throws IllegalArgumentException if the model has not the dictionaries of the basis
   */
  public EdgeSearch in(Basis nodes) {
    nodes.requireOf(run.model());
    return new EdgeSearch(edges, from, into, smallest, steps, Optional.of(nodes));
  }

  /** The same search in other steps, which must not change what it finds. */
  EdgeSearch inStepsOf(int elements, long bytes) {
    NormJoin.Steps other = new NormJoin.Steps(elements, bytes, bytes);
    return new EdgeSearch(edges, from, into, smallest, other, basis);
  }

  /**
   * {@return the off-heap memory that a search needs beside the run and its gradients, bytes: what
   * lists are made from, and writes, directions and products of one step} An estimate: blocks of
   * several sizes wait for each other. The Java heap holds all norms.
   */
  public long bytes() {
    Transformer model = run.model();
    double tokens = run.length();
    double dModel = model.config().dModel();
    double kept = 0;
    double weights = 0; // of a layer, as they are passed through its norm
    double sources = 0;
    double columns = 0;
    for (int layer = 0; layer < model.layers(); layer++) {
      Attention attention = model.attention(layer);
      double neurons = model.mlp(layer).neuronCount();
      double heads = attention.heads();
      kept += model.mlp(layer).paths().size() * tokens * neurons;
      kept += 4 * heads * attention.dHead() * attention.dHead();
      weights = Math.max(weights, Math.max(neurons, heads * attention.dHead()) * dModel);
      sources += neurons + heads * tokens;
      columns = Math.max(columns, Math.max(neurons, heads * tokens));
    }
    double bytes = model.dtype().bytes();
    double writes = Math.min(steps.writes() / bytes, sources * dModel);
    double directions = Math.min(steps.directions() / bytes, columns * dModel);
    double pieces = Math.min(sources * dModel - writes, 8 * writes); // of which no two are as long
    double step = 3 * writes + 9 * directions + pieces;
    double products = Math.min(steps.elements(), sources * columns);
    double elements = kept + Math.max(4 * weights, step + products);
    return Math.round(elements * model.dtype().bytes());
  }

  /**
   * {@return the largest edges; exact zeros are left out}
   *
   * @param count at most so many
   * @param progress hears of every token
   * @throws IllegalArgumentException if {@code count} is not positive, there is no memory for it,
   *     or there is no edge between the nodes that were asked for
   * @throws CancellationException if the thread is interrupted, which it stays
   */
  public Found top(int count, Progress progress) {
    requireArgument(count > 0, "the %d largest edges: it must be 1 or more", count);
    Scope.requireRoom(this::bytes, "a search of all edges");
    Largest largest = new Largest(count, smallest);
    try (Scope scope = Scope.open()) {
      NormJoin join = join();
      long searched = join.edges();
      requireArgument(
          searched > 0,
          "there is no edge from the nodes asked for into the targets asked for; latents, errors and"
              + " pre-biases are nodes only where there are dictionaries");
      join.exactly(join.largest(count, smallest, progress), largest);
      return new Found(largest.inOrder(), searched);
    }
  }

  /** With the norms of all that is searched. */
  NormJoin join() {
    return new NormJoin(run, sources(), targets(), from::wantsToken, steps);
  }

  private List<SearchSources> sources() {
    List<SearchSources> sources = new ArrayList<>();
    for (Kind kind : Kind.all()) {
      for (SourceFamily family : kind.sources(run.model())) {
        if (!family.isWhole() && from.wants(kind, family) && has(family)) {
          Optional<Point> end = basis.flatMap(one -> one.end(family));
          family.lists(run).stream()
              .map(list -> end.isEmpty() ? list : list.until(end.get()))
              .forEach(sources::add);
        }
      }
    }
    return sources;
  }

  private boolean has(Family family) {
    return basis.filter(one -> family instanceof SourceFamily source && !one.has(source)).isEmpty();
  }

  private List<SearchTargets> targets() {
    List<SearchTargets> targets = new ArrayList<>();
    for (Kind kind : Kind.all()) {
      for (TargetFamily family : kind.targets(run.model())) {
        if (into.wants(kind, family) && has(family)) {
          targets.add(family.lists(edges, into));
        }
      }
    }
    return targets;
  }

  /** The largest edges so far, the smallest of them first out. */
  private static final class Largest implements NormJoin.Sink {
    private static final Comparator<EdgeScore> ORDER =
        Comparator.<EdgeScore>comparingDouble(edge -> Math.abs(edge.score))
            .thenComparing(EdgeScore::source, Comparator.comparing(Object::toString).reversed())
            .thenComparing(EdgeScore::target, Comparator.comparing(Object::toString).reversed());

    private final int count;
    private final PriorityQueue<EdgeScore> held = new PriorityQueue<>(ORDER);
    private double threshold;

    Largest(int count, double smallest) {
      this.count = count;
      this.threshold = smallest;
    }

    @Override
    public void edge(Source source, Target target, double score) {
      if (score == 0 || Math.abs(score) < threshold) {
        return;
      }
      held.add(new EdgeScore(source, target, score));
      if (held.size() > count) {
        held.remove();
      }
      if (held.size() == count) {
        threshold = Math.max(threshold, Math.abs(held.element().score));
      }
    }

    List<EdgeScore> inOrder() {
      return held.stream().sorted(ORDER.reversed()).toList();
    }
  }
}

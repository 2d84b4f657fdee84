package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.PriorityQueue;
import java.util.concurrent.CancellationException;
import java.util.function.Supplier;

/**
 * Finds the largest edges of a run among all there are, without computing them one by one.
 *
 * <p>An edge from a source at a token to a target is activation · coefficient · ⟨row, direction⟩:
 * the row of the source's output weights and the direction of the target's input weights are those
 * of their components, whatever the token, and only the two numbers before them depend on it. So
 * one product of weights serves all tokens of a pair of layers; {@link SearchSources} and {@link
 * SearchTargets} say what is a row and what a direction for every kind of node. What the product
 * lacks is of rank one: the scale of a layer norm that is seen to move, and the mean of the keys
 * that a softmax subtracts.
 *
 * <p>The product is walked tile by tile, the largest edges found so far held aside. A tile, then a
 * row of it, whose largest entry times the largest activation and coefficient is below the smallest
 * of them is passed over: nearly all are. Rounding of the product is part of the bound, and what is
 * not passed over is computed anew in 64 bits, so the answer does not depend on tiles or threads.
 *
 * @see <a href="https://arxiv.org/abs/2310.10348">Syed et al. 2023, eq. 2</a>
 */
public final class EdgeSearch {
  /** Elements of a product held at a time. */
  private static final int PRODUCT = 1 << 20;

  /** Columns of a tile: bounds are taken over so many at once. */
  private static final int TILE = 64;

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
  private final NodeFilter from;
  private final NodeFilter into;
  private final double smallest;
  private final int product;
  private final int tile;

  private EdgeSearch(
      EdgeAttribution edges,
      NodeFilter from,
      NodeFilter into,
      double smallest,
      int product,
      int tile) {
    this.edges = edges;
    this.from = from;
    this.into = into;
    this.smallest = smallest;
    this.product = product;
    this.tile = tile;
  }

  /**
   * {@return a search among all edges between the nodes of a run}
   *
   * @param edges how an edge is defined
   */
  public static EdgeSearch of(EdgeAttribution edges) {
    return new EdgeSearch(edges, NodeFilter.ALL, NodeFilter.ALL, 0, PRODUCT, TILE);
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
    return new EdgeSearch(edges, sources, into, smallest, product, tile);
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
    return new EdgeSearch(edges, from, targets, smallest, product, tile);
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
    return new EdgeSearch(edges, from, into, magnitude, product, tile);
  }

  /** The same search in other steps, which must not change what it finds. */
  EdgeSearch inStepsOf(int elements, int columns) {
    return new EdgeSearch(edges, from, into, smallest, elements, columns);
  }

  /**
   * {@return the off-heap memory that a search needs beside the run and its gradients, bytes: rows
   * of all heads, the directions of one layer on their way to what they are, and pieces of
   * products} An estimate: blocks of several sizes wait for each other. The Java heap holds the
   * directions in 64 bits.
   */
  public long bytes() {
    Run run = edges.nodes().run();
    Transformer model = run.model();
    double tokens = run.length();
    double heads = 0;
    double neurons = 0;
    double rows = 0;
    for (int layer = 0; layer < model.layers(); layer++) {
      heads = Math.max(heads, model.attention(layer).heads() * tokens);
      neurons = Math.max(neurons, model.mlp(layer).neuronCount());
      rows += model.attention(layer).heads() * tokens;
    }
    double widest = Math.max(neurons, heads);
    double elements =
        (rows + 6.5 * neurons + 4 * heads) * model.config().dModel()
            + 8 * heads * tokens
            + 4 * Math.min(product, widest * widest);
    return Math.round(elements * run.model().dtype().bytes());
  }

  /**
   * {@return the largest edges; exact zeros are left out}
   *
   * @param count at most so many
   * @param progress hears of every product of weights
   * @throws IllegalArgumentException if {@code count} is not positive, there is no memory for it,
   *     or there is no edge between the nodes that were asked for
   * @throws CancellationException if the thread is interrupted, which it stays
   */
  public Found top(int count, Progress progress) {
    requireArgument(count > 0, "the %d largest edges: it must be 1 or more", count);
    Scope.requireRoom(this::bytes, "a search of all edges");
    Largest largest = new Largest(count, smallest);
    try (Scope scope = Scope.open()) {
      Run run = edges.nodes().run();
      List<SearchSources> sources = sources(run);
      List<Supplier<SearchTargets>> targets = targets(run);
      long searched = 0;
      int done = 0;
      int steps = Math.multiplyExact(targets.size(), sources.size());
      for (Supplier<SearchTargets> prepared : targets) {
        try (Scope inFamily = Scope.open()) {
          SearchTargets readers = prepared.get();
          for (SearchSources writers : sources) {
            progress.at(done++, steps);
            if (writers.point().reaches(readers.point())) {
              searched += new Walk(writers, readers, largest).walk();
            }
          }
        }
      }
      progress.at(steps, steps);
      requireArgument(
          searched > 0,
          "there is no edge from the nodes asked for into the targets asked for; latents, errors and"
              + " pre-biases are nodes only where there are autoencoders");
      return new Found(largest.inOrder(), searched);
    }
  }

  private boolean wantsToken(int token) {
    return from.wantsToken(token);
  }

  private List<SearchSources> sources(Run run) {
    List<SearchSources> sources = new ArrayList<>();
    for (Kind kind : Kind.all()) {
      for (SourceFamily family : kind.sources(run.model())) {
        if (!family.isWhole() && from.wants(kind, family)) {
          sources.add(family.rows(run));
        }
      }
    }
    return sources;
  }

  /** To be prepared one after the other: each takes memory. */
  private List<Supplier<SearchTargets>> targets(Run run) {
    List<Supplier<SearchTargets>> targets = new ArrayList<>();
    for (Kind kind : Kind.all()) {
      for (TargetFamily family : kind.targets(run.model())) {
        if (into.wants(kind, family)) {
          targets.addAll(family.directions(edges, into));
        }
      }
    }
    return targets;
  }

  /** The largest edges so far, the smallest of them first out. */
  private static final class Largest {
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

    /** Below this magnitude nothing is wanted any longer. */
    double threshold() {
      return threshold;
    }

    void offer(EdgeScore edge) {
      if (edge.score == 0 || Math.abs(edge.score) < threshold) {
        return;
      }
      held.add(edge);
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

  /** The edges from one family of sources to one of targets. */
  private final class Walk {
    private final SearchSources sources;
    private final SearchTargets targets;
    private final Largest largest;
    private final int width;
    private final double[] directionNorms;

    /** Largest error of a product, relative to the norms of its factors. */
    private final double rounding;

    Walk(SearchSources sources, SearchTargets targets, Largest largest) {
      this.sources = sources;
      this.targets = targets;
      this.largest = largest;
      this.width = sources.rows().shape().size(1);
      this.directionNorms = targets.directionNorms();
      // Of the product itself, and of what is subtracted from it.
      this.rounding = 4 * (width + 16) * sources.rows().dtype().epsilon();
    }

    /** Returns how many edges there are. */
    long walk() {
      int step = Math.max(1, product / Math.max(1, targets.columns()));
      for (int first = 0; first < sources.count(); first += step) {
        EdgeAttribution.requireNotInterrupted("the search for edges");
        try (Scope scope = Scope.open()) {
          walk(first, Math.min(sources.count(), first + step));
        }
      }
      long edges = 0;
      for (int token = 0; token < sources.tokens(); token++) {
        edges += (wantsToken(token) ? sources.nodesAt(token) : 0) * targets.nodesReading(token);
      }
      return edges;
    }

    private void walk(int first, int end) {
      Tensor rows = sources.rows().slice(0, first, end);
      Chunk chunk = new Chunk(first, end, rows);
      double[] products = rows.matmul(targets.byColumn()).toDoubles();
      for (int from = 0; from < targets.columns(); from = chunk.endOfTile(from)) {
        chunk.enter(from, products);
        for (int token = 0; token < sources.tokens(); token++) {
          if (wantsToken(token)) {
            chunk.scan(token, products);
          }
        }
      }
    }

    /** Some rows of the sources, and of these one tile of the product at a time. */
    private final class Chunk {
      private final int first;
      private final int count;
      private final double[] rows;
      private final double[] rowNorms;

      /** ⟨row, standardised residual of the token⟩, [row, token]. */
      private final double[] standardised;

      /** The largest magnitude over rows, by token. */
      private final double[] standardisedLargest;

      /** ⟨row, mean direction⟩, [row, mean]. */
      private final double[] means;

      /** The largest magnitude over rows, by mean. */
      private final double[] meansLargest;

      private int from;
      private int to;

      /** Largest magnitude in the tile of each row, and of all. */
      private final double[] rowLargest;

      private double tileLargest;

      Chunk(int first, int end, Tensor rows) {
        this.first = first;
        this.count = end - first;
        this.rows = rows.toDoubles();
        this.rowNorms = rows.norm(-1).toDoubles();
        this.standardised =
            targets.isLive()
                ? rows.matmulTransposed(targets.standardised()).toDoubles()
                : new double[0];
        this.means =
            targets.hasMeans() ? rows.matmulTransposed(targets.means()).toDoubles() : new double[0];
        this.standardisedLargest = largestOfColumns(standardised);
        this.meansLargest = largestOfColumns(means);
        this.rowLargest = new double[count];
      }

      private double[] largestOfColumns(double[] values) {
        double[] result = new double[values.length / count];
        for (int row = 0; row < count; row++) {
          for (int i = 0; i < result.length; i++) {
            result[i] = Math.max(result[i], Math.abs(values[row * result.length + i]));
          }
        }
        return result;
      }

      /** Tiles do not cross from one mean to the next. */
      int endOfTile(int start) {
        int period = targets.hasMeans() ? targets.columnsPerMean() : targets.columns();
        return Math.min(start + tile, start - start % period + period);
      }

      void enter(int start, double[] products) {
        from = start;
        to = endOfTile(start);
        tileLargest = 0;
        for (int row = 0; row < count; row++) {
          double found = 0;
          int at = row * targets.columns();
          for (int column = at + from; column < at + to; column++) {
            found = Math.max(found, Math.abs(products[column]));
          }
          rowLargest[row] = found;
          tileLargest = Math.max(tileLargest, found);
        }
      }

      void scan(int token, double[] products) {
        double[] bounds = targets.bounds(token);
        double coefficient = 0; // the largest of the tile
        double norm = 0; // the largest coefficient times norm of a direction
        double moving = 0; // the largest coefficient times what the direction has of the residual
        double[] overlaps = targets.isLive() ? targets.overlaps(token) : new double[0];
        for (int column = from; column < to; column++) {
          coefficient = Math.max(coefficient, bounds[column]);
          norm = Math.max(norm, bounds[column] * directionNorms[column]);
          if (targets.isLive()) {
            moving = Math.max(moving, bounds[column] * Math.abs(overlaps[column]));
          }
        }
        if (coefficient == 0) {
          return;
        }
        double[] activations = sources.activations(token);
        int mean = targets.hasMeans() ? targets.mean(from, token) : 0;
        int meanCount = targets.hasMeans() ? targets.means().shape().size(0) : 0;
        double threshold = largest.threshold();
        double most = tileLargest * coefficient + rounding * sources.largestNorm() * norm;
        if (targets.hasMeans()) {
          most += meansLargest[mean] * coefficient;
        }
        if (targets.isLive()) {
          most += standardisedLargest[token] * moving;
        }
        if (sources.largest(token) * most < threshold) {
          return;
        }
        for (int row = 0; row < count; row++) {
          double activation = Math.abs(activations[first + row]);
          if (activation == 0) {
            continue;
          }
          double bound = rowLargest[row] * coefficient + rounding * rowNorms[row] * norm;
          if (targets.hasMeans()) {
            bound += Math.abs(means[row * meanCount + mean]) * coefficient;
          }
          if (targets.isLive()) {
            bound += Math.abs(standardised[row * sources.tokens() + token]) * moving;
          }
          if (activation * bound >= threshold) {
            scanRow(row, token, mean, meanCount, products, bounds, overlaps);
            threshold = largest.threshold();
          }
        }
      }

      private void scanRow(
          int row,
          int token,
          int mean,
          int meanCount,
          double[] products,
          double[] bounds,
          double[] overlaps) {
        double activation = Math.abs(sources.activations(token)[first + row]);
        double subtracted = targets.hasMeans() ? means[row * meanCount + mean] : 0;
        double along = targets.isLive() ? standardised[row * sources.tokens() + token] : 0;
        double error = rounding * rowNorms[row];
        int at = row * targets.columns();
        for (int column = from; column < to; column++) {
          double value = products[at + column] - subtracted;
          if (targets.isLive()) {
            value -= along * overlaps[column];
          }
          double bound =
              activation * bounds[column] * (Math.abs(value) + error * directionNorms[column]);
          if (bound >= largest.threshold() && bounds[column] > 0) {
            offer(row, token, column);
          }
        }
      }

      /** Computes the edges of a row and a column anew, without the rounding of the product. */
      private void offer(int row, int token, int column) {
        Source source = sources.node(first + row, token);
        double[] direction = targets.direction(token, column);
        double product = 0;
        for (int i = 0; i < width; i++) {
          product += rows[row * width + i] * direction[i];
        }
        double scaled = sources.activations(token)[first + row] * product;
        targets.edges(
            token,
            column,
            (target, coefficient) -> {
              double score = scaled * coefficient;
              if (Math.abs(score) >= largest.threshold()) {
                largest.offer(new EdgeScore(source, target.get(), score));
              }
            });
      }
    }
  }
}

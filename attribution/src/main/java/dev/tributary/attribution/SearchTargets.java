package dev.tributary.attribution;

import dev.tributary.attribution.Node.Explained;
import dev.tributary.attribution.Node.HeadInput;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.Target;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.AttentionPath;
import dev.tributary.transformer.Block;
import dev.tributary.transformer.LayerNorm;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * Targets of one kind and layer as a product of two factors: how a target reads the residual stream
 * at a token is a coefficient times a direction, and one direction, a column here, serves many
 * tokens or many targets. With ĝ a gradient at the normalised rows times the gain and centred:
 *
 * <ul>
 *   <li>neuron: column = neuron, ĝ of its input weights; gradient · slope / scale
 *   <li>query: column = (head, key), ĝ of the key through the query's weights, less its mean over
 *       the pattern of the token; gradient · probability / scale
 *   <li>key: column = (head, query), ĝ of the query through the key's weights; for each key whose
 *       probability it moves, gradient · probability · (whether it is this token's, less the
 *       probability of this token) / scale
 *   <li>value: column = (head, query), ĝ of the gradient of the head's output through the value's
 *       weights; probability / scale
 *   <li>latent, metric: column = how one target reads one token; 1
 * </ul>
 *
 * <p>Where the scale of the layer norm is seen to move, a direction loses what it has of the
 * standardised residual x̂ of the token: d - x̂ ⟨x̂, d⟩ / dModel.
 */
final class SearchTargets {
  /** Takes the edges of a column. */
  interface Sink {
    void edge(Supplier<Target> target, double coefficient);
  }

  /** Names the targets of a column at a token, each with its coefficient. */
  private interface Column {
    void edges(int token, int column, Sink sink);
  }

  /** A tensor and its numbers. */
  private static final class Rows {
    private final Tensor tensor;
    private final double[] numbers;

    Rows(Tensor tensor) {
      this.tensor = tensor;
      this.numbers = tensor.toDoubles();
    }
  }

  private final int afterBlock;
  private final Tensor directions;
  private final Tensor byColumn;
  private final double[] numbers;
  private final double[] norms;
  private final double[][] bounds;
  private final double[][] overlaps;
  private final long[] reading;
  private final Column column;

  /** What a softmax subtracts, [head · T + token, dModel]; columns of a head are T in a row. */
  private final Optional<Rows> means;

  /** Standardised residuals, [token, dModel]. */
  private final Optional<Rows> live;

  private SearchTargets(
      int afterBlock,
      Tensor directions,
      double[][] bounds,
      long[] reading,
      Column column,
      Optional<Rows> means,
      Optional<Rows> live) {
    this.afterBlock = afterBlock;
    this.directions = directions;
    this.byColumn = directions.permute(1, 0);
    this.numbers = directions.toDoubles();
    this.bounds = bounds;
    this.reading = reading;
    this.column = column;
    this.means = means;
    this.live = live;
    this.norms = norms();
    this.overlaps = live.isEmpty() ? new double[0][] : overlaps(live.get());
  }

  /** ⟨direction, standardised residual⟩ / dModel of every column at every token. */
  private double[][] overlaps(Rows standardised) {
    int tokens = bounds.length;
    int columns = columns();
    double[] products = directions.matmulTransposed(standardised.tensor).toDoubles();
    double[] ofMeans =
        means
            .map(mean -> mean.tensor.matmulTransposed(standardised.tensor).toDoubles())
            .orElse(new double[0]);
    double[][] result = new double[tokens][columns];
    for (int token = 0; token < tokens; token++) {
      for (int j = 0; j < columns; j++) {
        double overlap = products[j * tokens + token];
        if (means.isPresent()) {
          overlap -= ofMeans[mean(j, token) * tokens + token];
        }
        result[token][j] = overlap / width();
      }
    }
    return result;
  }

  private double[] norms() {
    double[] result = directions.norm(-1).toDoubles();
    means.ifPresent(
        mean -> {
          for (int from = 0; from < result.length; from += bounds.length) {
            double largest = Arrays.stream(result, from, from + bounds.length).max().orElse(0);
            for (int j = from; j < from + bounds.length; j++) {
              result[j] += largest;
            }
          }
        });
    return result;
  }

  // ---- what there is -----------------------------------------------------------------------

  static final List<Class<? extends Node>> KINDS =
      List.of(HeadInput.class, Neuron.class, Latent.class, Explained.class);

  /** All wanted targets of a run, to be prepared one after the other: each takes memory. */
  static List<Supplier<SearchTargets>> of(EdgeAttribution edges, NodeFilter filter) {
    Run run = edges.nodes().run();
    List<Supplier<SearchTargets>> families = new ArrayList<>();
    for (int i = 0; i < run.model().config().layers(); i++) {
      int layer = i;
      if (filter.wantsLayer(layer)) {
        if (filter.wantsKind(HeadInput.class)) {
          families.add(() -> new Heads(edges, layer, filter).queries());
          families.add(() -> new Heads(edges, layer, filter).keys());
          families.add(() -> new Heads(edges, layer, filter).values());
        }
        if (filter.wantsKind(Neuron.class)) {
          families.add(() -> neurons(edges, layer, filter));
        }
      }
    }
    for (SparseAutoencoder autoencoder : run.model().autoencoders()) {
      if (filter.wantsKind(Latent.class) && filter.wantsLayer(autoencoder.layer())) {
        for (int i = 0; i < run.length(); i++) {
          int token = i;
          if (filter.wantsToken(token)) {
            families.add(() -> latents(edges, autoencoder, token));
          }
        }
      }
    }
    if (filter.wantsKind(Explained.class)) {
      families.add(() -> metric(edges));
    }
    return families;
  }

  private static SearchTargets neurons(EdgeAttribution edges, int layer, NodeFilter filter) {
    Run run = edges.nodes().run();
    Block block = run.model().block(layer);
    Tensor weights = edges.weights(Site.MLP_ACTIVATION, layer);
    Tensor slopes = block.mlp().activation().derivative(run.value(Site.MLP_PRE_ACTIVATION, layer));
    Norm norm = new Norm(edges, 2 * layer + 1, block.mlpNorm());
    double[] coefficients = weights.times(slopes).over(norm.scale).toDoubles();
    int neurons = weights.shape().size(1);
    double[][] bounds = new double[run.length()][neurons];
    long[] reading = new long[run.length()];
    for (int token = 0; token < run.length(); token++) {
      if (filter.wantsToken(token)) {
        reading[token] = neurons;
        for (int neuron = 0; neuron < neurons; neuron++) {
          bounds[token][neuron] = Math.abs(coefficients[token * neurons + neuron]);
        }
      }
    }
    return new SearchTargets(
        2 * layer + 1,
        norm.directions(block.mlp().input().weight().permute(1, 0)),
        bounds,
        reading,
        (token, j, sink) ->
            sink.edge(() -> new Neuron(layer, token, j), coefficients[token * neurons + j]),
        Optional.empty(),
        norm.live);
  }

  /** Through the layer norm before a layer. */
  private static final class Norm {
    private final LayerNorm norm;
    private final Tensor scale;
    private final double[] scales;
    private final Optional<Rows> live;

    Norm(EdgeAttribution edges, int afterBlock, LayerNorm norm) {
      this.norm = norm;
      Tensor residual = edges.nodes().run().residualAfter(afterBlock).value();
      this.scale = norm.scale(residual);
      this.scales = scale.toDoubles();
      if (edges.scaleGradient() == ScaleGradient.LIVE) {
        this.live = Optional.of(new Rows(norm.standardised(residual)));
      } else {
        this.live = Optional.empty();
      }
    }

    Tensor directions(Tensor gradients) {
      return norm.directions(gradients);
    }
  }

  /** The three inputs of the heads of a layer. */
  private static final class Heads {
    private final EdgeAttribution edges;
    private final Run run;
    private final int layer;
    private final NodeFilter filter;
    private final Attention attention;
    private final int heads;
    private final int tokens;
    private final Norm norm;

    Heads(EdgeAttribution edges, int layer, NodeFilter filter) {
      this.edges = edges;
      this.run = edges.nodes().run();
      this.layer = layer;
      this.filter = filter;
      this.attention = run.model().block(layer).attention();
      this.heads = attention.heads();
      this.tokens = run.length();
      this.norm = new Norm(edges, 2 * layer, run.model().block(layer).attentionNorm());
    }

    /** Of cotangents at an input of each head, [head, row, dHead]: [head · row, dModel]. */
    private Tensor directions(AttentionPath path, Tensor cotangents) {
      Tensor pulled = attention.pulled(path, cotangents);
      int rows = heads * cotangents.shape().size(1);
      return norm.directions(pulled.reshape(rows, pulled.shape().size(2)));
    }

    private int at(int head, int query, int key) {
      return (head * tokens + query) * tokens + key;
    }

    /** Gradient of the metric at each probability times that probability. */
    private double[] weightedPattern() {
      return edges.weights(Site.PATTERN, layer).times(run.value(Site.PATTERN, layer)).toDoubles();
    }

    private Supplier<Target> named(int head, int query, int key, AttentionPath path) {
      return () -> new HeadPair(layer, head, query, key).through(path);
    }

    SearchTargets queries() {
      Tensor directions = directions(AttentionPath.QUERY, run.value(Site.KEY, layer));
      int width = directions.shape().size(1);
      Tensor means =
          run.value(Site.PATTERN, layer)
              .matmul(directions.reshape(heads, tokens, width))
              .reshape(heads * tokens, width);
      double[] weighted = weightedPattern();
      double[][] bounds = new double[tokens][heads * tokens];
      long[] reading = new long[tokens];
      for (int query = 0; query < tokens; query++) {
        if (filter.wantsToken(query)) {
          reading[query] = (long) heads * (query + 1);
          for (int head = 0; head < heads; head++) {
            for (int key = 0; key <= query; key++) {
              bounds[query][head * tokens + key] =
                  Math.abs(weighted[at(head, query, key)]) * scoreScale(query);
            }
          }
        }
      }
      return new SearchTargets(
          2 * layer,
          directions,
          bounds,
          reading,
          (token, j, sink) -> {
            int head = j / tokens;
            int key = j % tokens;
            sink.edge(
                named(head, token, key, AttentionPath.QUERY),
                weighted[at(head, token, key)] * scoreScale(token));
          },
          Optional.of(new Rows(means)),
          norm.live);
    }

    private double scoreScale(int token) {
      return attention.scoreScale() / norm.scales[token];
    }

    SearchTargets keys() {
      double[] weighted = weightedPattern();
      double[] pattern = run.value(Site.PATTERN, layer).toDoubles();
      double[][] bounds = new double[tokens][heads * tokens];
      long[] reading = new long[tokens];
      for (int head = 0; head < heads; head++) {
        for (int query = 0; query < tokens; query++) {
          if (filter.wantsToken(query)) {
            boundKeys(head, query, weighted, pattern, bounds);
          }
        }
      }
      for (int token = 0; token < tokens; token++) {
        for (int query = token; query < tokens; query++) {
          reading[token] += filter.wantsToken(query) ? (long) heads * (query + 1) : 0;
        }
      }
      return new SearchTargets(
          2 * layer,
          directions(AttentionPath.KEY, run.value(Site.QUERY, layer)),
          bounds,
          reading,
          (token, j, sink) -> {
            int head = j / tokens;
            int query = j % tokens;
            double moved = pattern[at(head, query, token)];
            for (int key = 0; key <= query; key++) {
              double slope = (key == token ? 1 : 0) - moved;
              sink.edge(
                  named(head, query, key, AttentionPath.KEY),
                  weighted[at(head, query, key)] * slope * scoreScale(token));
            }
          },
          Optional.empty(),
          norm.live);
    }

    /** The largest coefficient over keys, for every token whose key a query sees. */
    private void boundKeys(
        int head, int query, double[] weighted, double[] pattern, double[][] bounds) {
      int largest = 0;
      double second = 0; // largest magnitude but that one
      for (int key = 1; key <= query; key++) {
        double here = Math.abs(weighted[at(head, query, key)]);
        double best = Math.abs(weighted[at(head, query, largest)]);
        if (here > best) {
          second = best;
          largest = key;
        } else {
          second = Math.max(second, here);
        }
      }
      for (int token = 0; token <= query; token++) {
        double moved = pattern[at(head, query, token)];
        double other = token == largest ? second : Math.abs(weighted[at(head, query, largest)]);
        double own = Math.abs(weighted[at(head, query, token)]) * Math.abs(1 - moved);
        bounds[token][head * tokens + query] =
            Math.max(own, other * Math.abs(moved)) * scoreScale(token);
      }
    }

    SearchTargets values() {
      return edges.measure() == EdgeMeasure.ATTRIBUTION
          ? valuesAlongGradients()
          : valuesAlongWrites();
    }

    private SearchTargets valuesAlongGradients() {
      Tensor gradient = edges.nodes().gradient(Site.HEAD_OUTPUT, layer);
      double[] pattern = run.value(Site.PATTERN, layer).toDoubles();
      double[][] bounds = new double[tokens][heads * tokens];
      for (int key = 0; key < tokens; key++) {
        for (int query = key; query < tokens; query++) {
          for (int head = 0; head < heads && filter.wantsToken(query); head++) {
            bounds[key][head * tokens + query] =
                Math.abs(pattern[at(head, query, key)]) / norm.scales[key];
          }
        }
      }
      return new SearchTargets(
          2 * layer,
          directions(AttentionPath.VALUE, gradient),
          bounds,
          queriesFrom(),
          (token, j, sink) -> {
            int head = j / tokens;
            int query = j % tokens;
            sink.edge(
                named(head, query, token, AttentionPath.VALUE),
                pattern[at(head, query, token)] / norm.scales[token]);
          },
          Optional.empty(),
          norm.live);
    }

    /** Column (head, key), for all the queries that read it along the same direction. */
    private SearchTargets valuesAlongWrites() {
      List<Tensor> along = new ArrayList<>();
      for (int key = 0; key < tokens; key++) {
        along.add(edges.writtenDirections(layer, key));
      }
      double[] pattern = run.value(Site.PATTERN, layer).toDoubles();
      double[][] bounds = new double[tokens][heads * tokens];
      for (int key = 0; key < tokens; key++) {
        for (int head = 0; head < heads; head++) {
          double largest = 0;
          for (int query = key; query < tokens; query++) {
            if (filter.wantsToken(query)) {
              largest = Math.max(largest, Math.abs(pattern[at(head, query, key)]));
            }
          }
          bounds[key][head * tokens + key] = largest / norm.scales[key];
        }
      }
      return new SearchTargets(
          2 * layer,
          directions(AttentionPath.VALUE, Tensor.concat(1, along)),
          bounds,
          queriesFrom(),
          (token, j, sink) -> {
            int head = j / tokens;
            for (int query = token; query < tokens; query++) {
              if (filter.wantsToken(query)) {
                sink.edge(
                    named(head, query, token, AttentionPath.VALUE),
                    pattern[at(head, query, token)] / norm.scales[token]);
              }
            }
          },
          Optional.empty(),
          norm.live);
    }

    /** How many values of wanted queries read each token. */
    private long[] queriesFrom() {
      long[] reading = new long[tokens];
      for (int key = 0; key < tokens; key++) {
        for (int query = key; query < tokens; query++) {
          reading[key] += filter.wantsToken(query) ? heads : 0;
        }
      }
      return reading;
    }
  }

  /** The active latents at a token; column latent · rows + row, of the rows that they read. */
  private static SearchTargets latents(
      EdgeAttribution edges, SparseAutoencoder autoencoder, int token) {
    Run run = edges.nodes().run();
    Site site = autoencoder.site();
    int layer = autoencoder.layer();
    int[] active = Writes.active(run.encoding(site, layer).latents().slice(0, token, token + 1));
    Reading.Vector read = Reading.encoded(run, site, layer, token);
    Tensor y = run.value(site, layer).slice(0, token, token + 1);
    Tensor weights = autoencoder.slopes(y).gather(1, active);
    if (edges.measure() == EdgeMeasure.ATTRIBUTION) {
      Tensor gradient = edges.nodes().gradient(site, layer).slice(0, token, token + 1);
      weights = weights.times(gradient.matmulTransposed(autoencoder.decoder().gather(0, active)));
    }
    Tensor cotangents =
        autoencoder.encoder().gather(0, active).times(weights.reshape(active.length, 1));
    Tensor pulled = read.pull(run, token, cotangents, edges.scaleGradient());
    int rows = pulled.shape().size(1);
    int width = pulled.shape().size(2);
    double[][] bounds = new double[run.length()][active.length * rows];
    long[] reading = new long[run.length()];
    for (int row = 0; row < rows; row++) {
      int at = read.firstToken() + row;
      reading[at] = active.length;
      for (int i = 0; i < active.length; i++) {
        bounds[at][i * rows + row] = 1;
      }
    }
    return new SearchTargets(
        read.afterBlock(),
        pulled.reshape(active.length * rows, width),
        bounds,
        reading,
        (at, j, sink) -> sink.edge(() -> new Latent(site, layer, token, active[j / rows]), 1),
        Optional.empty(),
        Optional.empty());
  }

  private static SearchTargets metric(EdgeAttribution edges) {
    ResidualGradient gradient = edges.nodes().residualGradient();
    int rows = gradient.rows().shape().size(0);
    double[][] bounds = new double[edges.nodes().run().length()][rows];
    long[] reading = new long[bounds.length];
    for (int row = 0; row < rows; row++) {
      bounds[gradient.firstToken() + row][row] = 1;
      reading[gradient.firstToken() + row] = 1;
    }
    return new SearchTargets(
        gradient.afterBlock(),
        gradient.rows(),
        bounds,
        reading,
        (token, j, sink) -> sink.edge(Explained::new, 1),
        Optional.empty(),
        Optional.empty());
  }

  // ---- for the search ----------------------------------------------------------------------

  /** The block after which they read, see {@link Run#residualAfter}. */
  int afterBlock() {
    return afterBlock;
  }

  /** The directions, [dModel, column]. */
  Tensor byColumn() {
    return byColumn;
  }

  /** Number of columns. */
  int columns() {
    return directions.shape().size(0);
  }

  private int width() {
    return directions.shape().size(1);
  }

  /** Norm of each direction, and of the mean that is subtracted from it. */
  double[] directionNorms() {
    return norms;
  }

  /** Largest magnitude of a coefficient of each column at a token; 0 if it does not read there. */
  double[] bounds(int token) {
    return bounds[token];
  }

  /** How many targets read a token. */
  long nodesReading(int token) {
    return reading[token];
  }

  /** Whether the scale of the layer norm is seen to move. */
  boolean isLive() {
    return live.isPresent();
  }

  /** Standardised residuals of all tokens, [token, dModel]; of live targets. */
  Tensor standardised() {
    return live.orElseThrow().tensor;
  }

  /** What each direction has of the standardised residual of a token; of live targets. */
  double[] overlaps(int token) {
    return overlaps[token];
  }

  /** Whether a mean is subtracted from the directions. */
  boolean hasMeans() {
    return means.isPresent();
  }

  /** [mean, dModel] */
  Tensor means() {
    return means.orElseThrow().tensor;
  }

  /** How many columns that follow each other have the same mean. */
  int columnsPerMean() {
    return bounds.length;
  }

  /** Which mean is subtracted from a column at a token. */
  int mean(int j, int token) {
    int tokens = columnsPerMean();
    return j - j % tokens + token;
  }

  /** The whole direction of a column at a token. */
  double[] direction(int token, int j) {
    int width = width();
    double[] direction = Arrays.copyOfRange(numbers, j * width, (j + 1) * width);
    means.ifPresent(mean -> subtract(direction, mean.numbers, mean(j, token) * width, 1));
    live.ifPresent(
        standardised -> {
          double overlap = 0;
          for (int i = 0; i < width; i++) {
            overlap += direction[i] * standardised.numbers[token * width + i];
          }
          subtract(direction, standardised.numbers, token * width, overlap / width);
        });
    return direction;
  }

  private static void subtract(double[] from, double[] numbers, int offset, double factor) {
    for (int i = 0; i < from.length; i++) {
      from[i] -= factor * numbers[offset + i];
    }
  }

  /** The targets of a column at a token. */
  void edges(int token, int j, Sink sink) {
    column.edges(token, j, sink);
  }
}

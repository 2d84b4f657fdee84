package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.AdjacencyRows.Range;
import dev.tributary.attribution.AdjacencyRows.Row;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.ReplacementGraph.Sizes;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Norm;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Makes a {@link ReplacementGraph}: rows of latents and outputs are directions pulled backwards
 * through the replacement model, those of one point many at once. A direction read at a token needs
 * the tokens up to its own, and what it meets at the output of an MLP is a product with what is
 * active there.
 */
final class ReplacementGraphBuilder {
  /** Pairs of a direction and a token that are pulled at once: few, so that no token is late. */
  private static final int PAIRS = 384;

  /** As many directions are pulled at once at least, if there are so many. */
  private static final int LEAST = 8;

  private final ReplacementModel model;
  private final List<ReplacementOutput> outputs;
  private final Settings settings;
  private final Progress progress;

  /** Of all active latents; the graph may have fewer. */
  private final Sizes sizes;

  private final List<Row> rows;
  private final Certificate[] certificates;

  /** What latents that are left out add to a node, by its index among all. */
  private final double[] leftOut;

  private int explained;

  ReplacementGraphBuilder(
      Run run, List<ReplacementOutput> outputs, Settings settings, Progress progress) {
    requireArgument(!outputs.isEmpty(), "a graph without an output explains nothing");
    outputs.forEach(output -> output.node().requireIn(run));
    Scope.requireRoom(() -> ReplacementModel.bytes(run, PAIRS, LEAST), "a replacement graph");
    this.model = new ReplacementModel(run, settings.firstToken());
    this.outputs = List.copyOf(outputs);
    this.settings = settings;
    this.progress = progress;
    this.sizes =
        new Sizes(
            model.latents(), run.model().layers() * run.length(), run.length(), outputs.size());
    this.rows = AdjacencyRows.none(sizes.nodes());
    this.certificates = new Certificate[sizes.nodes()];
    this.leftOut = new double[sizes.nodes()];
    requireHeap();
  }

  /** For the rows, which lie where the garbage collector sees them. */
  private void requireHeap() {
    int wanted = Math.min(settings.mostLatents(), sizes.latents());
    long numbers = 0;
    int counted = 0;
    for (int i = model.dictionaries().size() - 1; i >= 0 && counted < wanted; i--) {
      Point point = model.point(i);
      for (int token = model.tokens() - 1; token >= 0 && counted < wanted; token--) {
        int here = Math.min(wanted - counted, model.start(i, token + 1) - model.start(i, token));
        numbers += here * size(ranges(point, token)); // those read last have the longest rows
        counted += here;
      }
    }
    long bytes = numbers * (model.dtype() == DType.FLOAT ? Float.BYTES : Double.BYTES);
    Runtime heap = Runtime.getRuntime();
    long room = heap.maxMemory() - (heap.totalMemory() - heap.freeMemory());
    requireArgument(
        bytes <= room && numbers < Integer.MAX_VALUE,
        "the edges into %d of %d active latents need up to %.1f GB of the Java heap, and %.1f GB of"
            + " it are free: a graph of fewer latents, or more heap (-Xmx)",
        wanted,
        sizes.latents(),
        bytes / 1e9,
        room / 1e9);
  }

  private static long size(List<Range> ranges) {
    return ranges.stream().mapToLong(Range::size).sum();
  }

  ReplacementGraph graph() {
    explainOutputs();
    int wanted = Math.min(settings.mostLatents(), sizes.latents());
    if (wanted == sizes.latents()) {
      explain(IntStream.range(0, wanted).toArray());
      return finished(IntStream.range(0, wanted).toArray());
    }
    BitSet chosen = new BitSet();
    while (chosen.cardinality() < wanted) {
      int count = Math.min(settings.round(), wanted - chosen.cardinality());
      int[] next = mostInfluential(chosen, count);
      explain(next);
      IntStream.of(next).forEach(chosen::set);
    }
    return finished(chosen.stream().toArray());
  }

  /** Of the latents that are not yet chosen, by the rows of those that are. */
  private int[] mostInfluential(BitSet chosen, int count) {
    double[] influence = new WeightedGraph(new AdjacencyRows(rows)).influence(outputWeights());
    double[] open = Arrays.copyOf(influence, sizes.latents());
    chosen.stream().forEach(latent -> open[latent] = -1);
    int[] best = TopK.indices(open, count);
    Arrays.sort(best);
    return best;
  }

  private double[] outputWeights() {
    double[] weights = new double[sizes.nodes()];
    for (int i = 0; i < outputs.size(); i++) {
      weights[sizes.firstOutput() + i] = outputs.get(i).weight();
    }
    return weights;
  }

  // ---- directions --------------------------------------------------------------------------

  /** A direction that is pulled: which node it is of, at which token, and what it reads. */
  private record Pulled(int node, int token, Tensor direction, double read, double constant) {}

  private void explainOutputs() {
    List<Integer> logits = new ArrayList<>();
    for (int i = 0; i < outputs.size(); i++) {
      if (outputs.get(i).node() instanceof Direction direction) {
        try (Scope scope = Scope.open()) {
          pull(direction.point(), List.of(direction(sizes.firstOutput() + i, direction)));
        }
      } else {
        logits.add(i);
      }
    }
    if (!logits.isEmpty()) {
      logits.sort(Comparator.comparingInt(i -> logit(i).token()));
      explainLogits(logits);
    }
  }

  private Logit logit(int output) {
    return (Logit) outputs.get(output).node();
  }

  /** Of outputs, given in the order of their tokens. */
  private void explainLogits(List<Integer> logits) {
    int[] words = logits.stream().mapToInt(i -> logit(i).word()).toArray();
    int[] tokens = logits.stream().mapToInt(i -> logit(i).token()).toArray();
    try (Scope scope = Scope.open()) {
      Transformer transformer = model.run().model();
      Tensor along = transformer.logitDirections(words);
      double[] biases = transformer.logitBiases(words);
      for (int from = 0; from < words.length; ) {
        int to = end(tokens, from);
        List<Pulled> batch = new ArrayList<>();
        for (int i = from; i < to; i++) {
          int node = sizes.firstOutput() + logits.get(i);
          batch.add(logit(node, tokens[i], along.slice(0, i, i + 1), biases[i]));
        }
        pull(transformer.end(), batch);
        from = to;
      }
    }
  }

  private Pulled direction(int node, Direction direction) {
    Run run = model.run();
    int token = direction.token();
    Tensor along = direction.vector().reshape(1, direction.vector().shape().length());
    Tensor residual = run.residual(direction.point()).value().slice(0, token, token + 1);
    return new Pulled(node, token, along, along.matmulTransposed(residual).item(), 0);
  }

  private Pulled logit(int node, int token, Tensor along, double bias) {
    Run run = model.run();
    Optional<Norm> norm = run.model().finalNorm();
    Tensor residual = run.residual(run.model().end()).value().slice(0, token, token + 1);
    Tensor normalised =
        run.model().normalised(Variable.constant(residual), ScaleGradient.DETACHED).value();
    double shift =
        norm.flatMap(Norm::bias)
            .map(own -> along.matmul(own.reshape(own.shape().length(), 1)).item())
            .orElse(0.0);
    return new Pulled(
        node,
        token,
        norm.map(own -> own.directions(along).over(own.scale(residual))).orElse(along),
        along.matmulTransposed(normalised).item() + bias,
        shift + bias);
  }

  /** Explains latents, which are given in their order. */
  private void explain(int[] latents) {
    int at = 0;
    for (int dictionary = 0; dictionary < model.dictionaries().size(); dictionary++) {
      int end = model.start(dictionary, model.tokens());
      int from = at;
      while (at < latents.length && latents[at] < end) {
        at++;
      }
      explain(dictionary, Arrays.copyOfRange(latents, from, at));
    }
  }

  private void explain(int dictionary, int[] latents) {
    Point point = model.point(dictionary);
    int[] tokens = IntStream.of(latents).map(latent -> token(dictionary, latent)).toArray();
    for (int from = 0; from < latents.length; ) {
      EdgeAttribution.requireNotInterrupted("the making of a replacement graph");
      int to = end(tokens, from);
      try (Scope scope = Scope.open()) {
        List<Pulled> batch = new ArrayList<>();
        for (int next = from; next < to; ) {
          int first = next;
          while (next < to && tokens[next] == tokens[first]) {
            next++;
          }
          batch.addAll(pulled(dictionary, tokens[first], Arrays.copyOfRange(latents, first, next)));
        }
        pull(point, batch);
      }
      explained += to - from;
      progress.at(explained, Math.min(settings.mostLatents(), sizes.latents()));
      from = to;
    }
  }

  /** Where a batch ends of directions read at some tokens, ascending. */
  private static int end(int[] tokens, int from) {
    int to = from + 1;
    while (to < tokens.length
        && (to < from + LEAST || (tokens[to] + 1) * (to + 1 - from) <= PAIRS)) {
      to++;
    }
    return to;
  }

  private int token(int dictionary, int latent) {
    int token = 0;
    while (model.start(dictionary, token + 1) <= latent) {
      token++;
    }
    return token;
  }

  private List<Pulled> pulled(int dictionary, int token, int[] nodes) {
    int[] active = model.active(dictionary, token);
    int first = model.start(dictionary, token);
    int[] latents = IntStream.of(nodes).map(node -> active[node - first]).toArray();
    ReplacementModel.Reading reading = model.reading(dictionary, token, latents);
    List<Pulled> result = new ArrayList<>();
    for (int i = 0; i < nodes.length; i++) {
      result.add(
          new Pulled(
              nodes[i],
              token,
              reading.directions().slice(0, i, i + 1),
              reading.preActivations().get(i),
              reading.constants().get(i)));
    }
    return result;
  }

  // ---- rows --------------------------------------------------------------------------------

  /** Where a row's numbers of each sort begin. */
  private final class Filling implements ReplacementModel.Sources {
    private final List<Pulled> batch;
    private final int dictionaries;
    private final Row[] filled;

    /** For each direction and dictionary, and then each MLP, and the embeddings. */
    private final int[][] offsets;

    Filling(Point point, List<Pulled> batch) {
      this.batch = batch;
      this.dictionaries = model.dictionariesBefore(point);
      this.filled = new Row[batch.size()];
      this.offsets = new int[batch.size()][];
      for (int i = 0; i < filled.length; i++) {
        List<Range> ranges = ranges(point, batch.get(i).token);
        filled[i] = Row.zeros(model.dtype(), ranges);
        offsets[i] = new int[ranges.size()];
        for (int j = 1; j < ranges.size(); j++) {
          offsets[i][j] = offsets[i][j - 1] + ranges.get(j - 1).size();
        }
      }
    }

    @Override
    public void atMlp(int layer, int token, Tensor products) {
      int sources = products.shape().size(1);
      double[] numbers = products.toDoubles();
      int[] writers = model.writers(layer);
      for (int i = 0; i < filled.length; i++) {
        if (batch.get(i).token < token) {
          continue;
        }
        int from = i * sources;
        for (int writer : writers) {
          int before = model.start(writer, token);
          int count = model.start(writer, token + 1) - before;
          int place = offsets[i][writer] + before - model.start(writer, 0);
          filled[i].numbers().add(place, numbers, from, count);
          from += count;
        }
        filled[i].numbers().add(offsets[i][dictionaries + layer] + token, numbers[from]);
      }
    }

    @Override
    public void atEmbedding(Tensor products) {
      double[] numbers = products.toDoubles();
      for (int i = 0; i < filled.length; i++) {
        int first = offsets[i][offsets[i].length - 1];
        for (int token = 0; token <= batch.get(i).token; token++) {
          filled[i].numbers().add(first + token, numbers[token * filled.length + i]);
        }
      }
    }
  }

  /** The sources of what is read at a point and token. */
  private List<Range> ranges(Point point, int token) {
    List<Range> ranges = new ArrayList<>();
    for (int i = 0; i < model.dictionariesBefore(point); i++) {
      ranges.add(new Range(model.start(i, 0), model.start(i, token + 1)));
    }
    for (int layer = 0; layer < model.mlpsBefore(point); layer++) {
      int first = sizes.latents() + layer * model.tokens();
      ranges.add(new Range(first, first + token + 1));
    }
    ranges.add(new Range(sizes.firstEmbedding(), sizes.firstEmbedding() + token + 1));
    return ranges;
  }

  /** Pulls directions that are read at one point, in the order of their tokens. */
  private void pull(Point point, List<Pulled> batch) {
    int count = batch.size();
    try (Scope scope = Scope.open()) {
      Tensor directions = Tensor.concat(0, batch.stream().map(Pulled::direction).toList());
      int[] own = batch.stream().mapToInt(Pulled::token).toArray();
      Filling filling = new Filling(point, batch);
      model.pull(point, directions, own, filling);
      Tensor residual = model.run().residual(point).value().gather(0, own);
      Tensor constant = model.constant(point).gather(0, own);
      double[] whole = directions.times(residual).sum(-1).toDoubles();
      double[] size = magnitudes(directions, residual);
      double[] biases = directions.times(constant).sum(-1).toDoubles();
      for (int i = 0; i < count; i++) {
        Pulled one = batch.get(i);
        rows.set(one.node, filling.filled[i]);
        certificates[one.node] = certificate(one, filling.filled[i], whole[i], size[i], biases[i]);
      }
    }
  }

  private static double[] magnitudes(Tensor directions, Tensor residual) {
    return directions.times(residual).square().sqrt().sum(-1).toDoubles();
  }

  private static Certificate certificate(
      Pulled one, Row row, double whole, double size, double biases) {
    double[] numbers = new double[row.size()];
    row.numbers().read(numbers);
    double sum = biases;
    double magnitude = Math.abs(biases);
    for (double number : numbers) {
      sum += number;
      magnitude += Math.abs(number);
    }
    return new Certificate(
        sum,
        whole,
        Math.max(magnitude, size),
        0,
        Optional.of(new Certificate.Affine(one.read, one.constant)));
  }

  // ---- the graph ---------------------------------------------------------------------------

  /** The graph of some latents, given in their order. */
  private ReplacementGraph finished(int[] latents) {
    ChosenLatents chosen = new ChosenLatents(model, sizes, latents, settings.leftOut());
    List<Node> nodes = new ArrayList<>();
    double[] activations = new double[latents.length];
    int at = 0;
    for (int i = 0; i < model.dictionaries().size(); i++) {
      Dictionary.Id id = model.dictionaries().get(i).id();
      for (int token = 0; token < model.tokens(); token++) {
        int[] active = model.active(i, token);
        double[] values = model.values(i, token);
        int first = model.start(i, token);
        for (; at < latents.length && latents[at] < model.start(i, token + 1); at++) {
          nodes.add(new Latent(id, token, active[latents[at] - first]));
          activations[at] = values[latents[at] - first];
        }
      }
    }
    for (int layer = 0; layer < model.run().model().layers(); layer++) {
      for (int token = 0; token < model.tokens(); token++) {
        nodes.add(new ReconstructionError(model.errorOf(layer), token));
      }
    }
    for (int token = 0; token < model.tokens(); token++) {
      nodes.add(new Embedding(EmbeddingPart.TOKEN, token));
    }
    outputs.forEach(output -> nodes.add(output.node()));
    List<Row> left = latents.length == sizes.latents() ? rows : chosen(chosen);
    int[] explained =
        IntStream.concat(IntStream.of(latents), IntStream.range(sizes.firstOutput(), sizes.nodes()))
            .toArray();
    return new ReplacementGraph(
        settings,
        chosen.sizes(),
        nodes,
        activations,
        outputs.stream().mapToDouble(ReplacementOutput::weight).toArray(),
        new AdjacencyRows(left),
        IntStream.of(explained).mapToObj(node -> certificates[node]).toList(),
        IntStream.of(explained).mapToDouble(node -> leftOut[node]).toArray());
  }

  /** The rows of a graph of some latents; what others write is left out. */
  private List<Row> chosen(ChosenLatents chosen) {
    List<Row> result = AdjacencyRows.none(chosen.sizes().nodes());
    for (int node = 0; node < sizes.nodes(); node++) {
      if (chosen.has(node)) {
        ChosenLatents.Rest rest = chosen.of(rows.get(node));
        result.set(chosen.index(node), rest.row());
        leftOut[node] = rest.leftOut();
      }
      rows.set(node, AdjacencyRows.NONE);
    }
    return result;
  }
}

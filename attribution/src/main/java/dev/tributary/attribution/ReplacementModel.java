package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.ReplacementGraph.FirstToken;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.HeldAttention;
import dev.tributary.transformer.HeldInput;
import dev.tributary.transformer.HeldPath;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A run as the replacement model says it: an affine map of what latents, errors and embeddings
 * write, with attention patterns and scales of norms held. All that it holds lives in the scope in
 * which it was made.
 */
final class ReplacementModel {
  /** What sources write is kept if it takes no more than this part of the room. */
  private static final int KEPT = 4;

  private final Run run;
  private final Transformer model;
  private final FirstToken firstToken;
  private final int tokens;

  /** By layer. */
  private final List<Dictionary> dictionaries;

  private final List<Encoding> encodings;

  /** What each dictionary reads. */
  private final List<HeldInput> inputs;

  /** For each dictionary and token the number of latents that are active before. */
  private final int[][] starts;

  /** By layer. */
  private final List<ReplacedMlp> replaced;

  private final FrozenStream stream;

  /** What biases and embeddings of positions make of the stream at each point, [token, dModel]. */
  private final List<Tensor> constants;

  /** What sources write at each MLP and token, if there is room to keep it. */
  private final List<Tensor> keptRows = new ArrayList<>();

  ReplacementModel(Run run, FirstToken firstToken) {
    this.run = run;
    this.model = run.model();
    this.firstToken = firstToken;
    this.tokens = run.length();
    this.dictionaries =
        model.dictionaries().stream()
            .sorted(Comparator.comparingInt(ReplacementModel::layer))
            .toList();
    requireTranscoders();
    run.requireComputed();
    inputs = dictionaries.stream().map(one -> HeldInput.of(run, one)).toList();
    requireUpstream();
    encodings = dictionaries.stream().map(run::encoding).toList();
    starts = starts();
    replaced =
        IntStream.range(0, model.layers())
            .mapToObj(layer -> new ReplacedMlp(run, model.mlp(layer), encodings, firstToken))
            .toList();
    List<HeldAttention> attentions =
        IntStream.range(0, model.layers()).mapToObj(layer -> HeldAttention.of(run, layer)).toList();
    List<HeldPath> paths = new ArrayList<>(attentions);
    paths.addAll(FrozenStream.skips(run, dictionaries, 0));
    stream = FrozenStream.of(paths);
    constants = constants(attentions);
    keepRows();
  }

  /**
   * Bytes that the model of a run takes, and a pull of some pairs of a direction and a token, at
   * least so many directions; what sources write is kept only if there is room for it besides.
   */
  static long bytes(Run run, int pairs, int directions) {
    Transformer model = run.model();
    long tokens = run.length();
    long width = model.config().dModel();
    long numbers = (model.layers() + 2L * model.end().index() + 2) * tokens * width;
    long scratch = 0;
    for (int layer = 0; layer < model.layers(); layer++) {
      Attention own = model.attention(layer);
      long heads = (long) own.heads() * own.dHead();
      long pattern = own.heads() * tokens * tokens;
      numbers += width * (heads + (long) own.keyHeads() * own.dHead());
      numbers += run.has(Place.of(Site.PATTERN, layer)) ? pattern : 0;
      long pulled = Math.max(pairs, tokens * directions) * (4 * width + 4 * heads);
      scratch = Math.max(scratch, pulled + 3 * pattern);
    }
    return (numbers + scratch) * (model.dtype() == DType.FLOAT ? Float.BYTES : Double.BYTES);
  }

  private void requireTranscoders() {
    requireArgument(
        !dictionaries.isEmpty(), "a replacement model needs transcoders, and there are none");
    for (int i = 0; i < dictionaries.size(); i++) {
      Dictionary own = dictionaries.get(i);
      requireArgument(
          !own.isAutoencoder(),
          "%s writes what it reads: a replacement model is of transcoders alone",
          own);
      requireArgument(
          i == 0 || layer(dictionaries.get(i - 1)) < layer(own),
          "two dictionaries of layer %d: one replaces an MLP",
          layer(own));
    }
  }

  private void requireUpstream() {
    for (int i = 0; i < dictionaries.size(); i++) {
      for (Dictionary.Decoder decoder : dictionaries.get(i).decoders()) {
        requireArgument(
            inputs.get(i).point().reaches(model.mlp(decoder.place().layer()).reads()),
            "%s reads %s, after the MLP of layer %d, which it writes",
            dictionaries.get(i),
            dictionaries.get(i).reads(),
            decoder.place().layer());
      }
    }
  }

  /** Of the first MLP that a dictionary writes. */
  static int layer(Dictionary dictionary) {
    return dictionary.decoders().get(0).place().layer();
  }

  private int[][] starts() {
    int[][] result = new int[dictionaries.size()][tokens + 1];
    int before = 0;
    for (int i = 0; i < result.length; i++) {
      for (int token = 0; token < tokens; token++) {
        result[i][token] = before;
        before += isConstant(token) ? 0 : encodings.get(i).active(token).length;
      }
      result[i][tokens] = before;
    }
    return result;
  }

  private boolean isConstant(int token) {
    return token == 0 && firstToken == FirstToken.CONSTANT;
  }

  // ---- the stream --------------------------------------------------------------------------

  /** What is in the stream at each point of what is added at each, [token, dModel]. */
  private List<Tensor> pushed(Tensor embedded, Function<Point, Stream<Tensor>> added) {
    Shape one = Shape.of(tokens, 1, model.config().dModel());
    Map<Integer, Tensor> points = new HashMap<>();
    points.put(0, embedded.reshape(one));
    List<Tensor> result = new ArrayList<>(List.of(embedded));
    for (Point point = Point.EMBEDDING.next(); point.reaches(model.end()); point = point.next()) {
      try (Scope scope = Scope.open()) {
        Tensor passed = stream.pushed(point.index(), points).reshape(embedded.shape());
        Tensor whole = scope.keep(added.apply(point).reduce(passed, Tensor::plus));
        points.put(point.index(), whole.reshape(one));
        result.add(whole);
      }
    }
    return result;
  }

  /** What no node adds, pushed through all layers. */
  private List<Tensor> constants(List<HeldAttention> attentions) {
    Shape shape = Shape.of(tokens, model.config().dModel());
    return pushed(
        model.config().embedding().positions()
            ? run.value(Site.POSITION_EMBEDDING)
            : Tensor.zeros(model.dtype(), shape),
        point ->
            Stream.concat(
                attentions.stream()
                    .filter(one -> one.writes().equals(point))
                    .map(HeldAttention::constant),
                writing(point).map(ReplacedMlp::constant)));
  }

  private Stream<ReplacedMlp> writing(Point point) {
    return replaced.stream().filter(one -> one.mlp().writes().equals(point));
  }

  /** What no node adds to the stream at a point, [token, dModel]. */
  Tensor constant(Point point) {
    return constants.get(point.index());
  }

  /** A latent of a token that is set to a value, of a dictionary. */
  record Added(Dictionary.Id dictionary, int token, int latent, double value) {}

  /** How the stream changes at each point when latents are set, [token, dModel] each. */
  List<Tensor> push(List<Added> edits) {
    return pushed(
        Tensor.zeros(model.dtype(), Shape.of(tokens, model.config().dModel())),
        point -> writing(point).flatMap(one -> edits.stream().map(one::added)));
  }

  // ---- nodes -------------------------------------------------------------------------------

  Run run() {
    return run;
  }

  int tokens() {
    return tokens;
  }

  DType dtype() {
    return model.dtype();
  }

  List<Dictionary> dictionaries() {
    return dictionaries;
  }

  /** The number of active latents of the dictionaries before one, and of its tokens before one. */
  int start(int dictionary, int token) {
    return starts[dictionary][token];
  }

  /** The number of active latents. */
  int latents() {
    return starts[starts.length - 1][tokens];
  }

  int[] active(int dictionary, int token) {
    return isConstant(token) ? new int[0] : encodings.get(dictionary).active(token);
  }

  double[] values(int dictionary, int token) {
    try (Scope scope = Scope.open()) {
      return isConstant(token)
          ? new double[0]
          : encodings.get(dictionary).values(token).toDoubles();
    }
  }

  /** The point of the stream from which a dictionary reads. */
  Point point(int dictionary) {
    return inputs.get(dictionary).point();
  }

  /** How many of the dictionaries write before a point is read, those of the first layers. */
  int dictionariesBefore(Point point) {
    return (int)
        dictionaries.stream().filter(one -> model.mlp(layer(one)).writes().reaches(point)).count();
  }

  /** How many of the MLPs write before a point is read, those of the first layers. */
  int mlpsBefore(Point point) {
    return (int) replaced.stream().filter(one -> one.mlp().writes().reaches(point)).count();
  }

  /** Which dictionary it is that lacks something of the output of a layer's MLP. */
  Dictionary.Id errorOf(int layer) {
    return dictionaries.stream()
        .filter(one -> layer(one) == layer)
        .findFirst()
        .map(Dictionary::id)
        .orElseGet(() -> new Dictionary.Id(Dictionary.Kind.TRANSCODER, "", layer));
  }

  /** What an MLP wrote and reconstructions lack, where dictionaries write, [token, dModel]. */
  Tensor error(int layer) {
    return replaced.get(layer).error();
  }

  /**
   * Directions along which latents of a token read, as cotangents of the stream, what they read in
   * the run, and what of that is no write.
   *
   * @param directions [chosen, dModel]
   * @param preActivations of each
   * @param constants of each, what it reads of a stream of zeros
   */
  record Reading(Tensor directions, List<Double> preActivations, List<Double> constants) {}

  /** Of some latents of a dictionary, in the innermost scope. */
  Reading reading(int dictionary, int token, int... latents) {
    Dictionary own = dictionaries.get(dictionary);
    HeldInput input = inputs.get(dictionary);
    try (Scope scope = Scope.open()) {
      int n = latents.length;
      Tensor rows = own.encoder().gather(0, latents);
      Tensor scaled =
          own.activation()
              .slope()
              .map(slope -> rows.times(slope.gather(0, latents).reshape(n, 1)))
              .orElse(rows);
      Tensor read = encodings.get(dictionary).input().slice(0, token, token + 1);
      Tensor origin =
          input
              .constant()
              .map(bias -> own.pushed(read, bias.reshape(1, own.width()), ScaleGradient.DETACHED))
              .orElseGet(() -> Tensor.zeros(dtype(), read.shape()));
      Tensor biases = own.latentBias().gather(0, latents);
      Tensor along = own.pulled(read, scaled, ScaleGradient.DETACHED);
      Tensor directions = input.pull(token, along.reshape(along.shape().prepend(1)));
      return new Reading(
          scope.keep(directions.reshape(n, model.config().dModel())),
          product(own, scaled, own.encoded(read), biases),
          product(own, scaled, origin, biases));
    }
  }

  private static List<Double> product(Dictionary own, Tensor rows, Tensor x, Tensor biases) {
    Tensor centred = own.inputBias().map(bias -> x.minus(bias.reshape(1, own.width()))).orElse(x);
    Tensor products = centred.matmulTransposed(rows);
    return DoubleStream.of(products.plus(biases.reshape(1, biases.shape().length())).toDoubles())
        .boxed()
        .toList();
  }

  /** What a dictionary encodes when the stream has changed at each point, [token, n]. */
  Tensor encoded(Dictionary dictionary, List<Tensor> changes) {
    HeldInput input = inputs.get(dictionaries.indexOf(dictionary));
    Tensor change = changes.get(input.point().index());
    Tensor moved = input.push(0, change.reshape(tokens, 1, change.shape().size(1)));
    Tensor read = run.vectors(dictionary.reads());
    return dictionary
        .encoded(read)
        .plus(dictionary.pushed(read, moved.reshape(read.shape()), ScaleGradient.DETACHED));
  }

  // ---- pulls -------------------------------------------------------------------------------

  /** Hears of what directions meet on their way back. */
  interface Sources {
    /**
     * Sources that write at one MLP at a token.
     *
     * @param products with what each of some directions has there, [direction, source]: the active
     *     latents of the dictionaries that write there, in their order, and the error
     */
    void atMlp(int layer, int token, Tensor products);

    /** Products with embeddings at all tokens, [token, direction, 1]. */
    void atEmbedding(Tensor products);
  }

  /** The dictionaries that write at an MLP, in the order of {@link Sources#atMlp}. */
  int[] writers(int layer) {
    return replaced.get(layer).writers().stream()
        .mapToInt(ReplacedMlp.Writer::dictionary)
        .toArray();
  }

  /**
   * Pulls directions back to the embedding.
   *
   * @param point where they are read
   * @param directions [direction, dModel]
   * @param at the token of each, ascending
   */
  void pull(Point point, Tensor directions, int[] at, Sources sources) {
    int last = point.index();
    Tensor embeddings = run.value(Site.TOKEN_EMBEDDING).slice(0, 0, at[at.length - 1] + 1);
    try (Scope held = Scope.open()) {
      Map<Integer, Tensor> open = new HashMap<>(); // cotangents that are still to be pulled from
      Tensor spread = HeldPath.spread(directions, at, embeddings.shape().size(0));
      open.put(last, spread);
      for (int here = last; here > 1; here--) {
        meet(here, Objects.requireNonNull(open.get(here)), sources);
        try (Scope scope = Scope.open()) {
          int next = here - 1;
          Tensor pulled =
              here == last
                  ? stream.pulled(next, directions, at, spread)
                  : stream.pulled(next, open);
          open.entrySet().stream()
              .filter(one -> !stream.isAwaited(one.getKey(), next))
              .forEach(one -> scope.takeBack(one.getValue()));
          open.keySet().removeIf(one -> !stream.isAwaited(one, next));
          open.put(next, scope.keep(pulled));
        }
      }
      if (last == 0) {
        Shape columns = Shape.of(embeddings.shape().size(0), embeddings.shape().size(1), 1);
        sources.atEmbedding(spread.matmul(embeddings.reshape(columns)));
      } else {
        meet(1, Objects.requireNonNull(open.get(1)), sources);
        sources.atEmbedding(stream.pulledAlong(0, open, embeddings));
      }
    }
  }

  /** Products of cotangents with what latents and errors write at a point. */
  private void meet(int point, Tensor cotangents, Sources sources) {
    for (ReplacedMlp one : replaced) {
      if (one.mlp().writes().index() == point) {
        for (int token = 0; token < cotangents.shape().size(0); token++) {
          try (Scope scope = Scope.open()) {
            Tensor there = cotangents.slice(0, token, token + 1);
            Tensor flat = there.reshape(there.shape().size(1), there.shape().size(2));
            int layer = one.mlp().layer();
            sources.atMlp(layer, token, flat.matmulTransposed(written(layer, token)));
          }
        }
      }
    }
  }

  /** What sources of an MLP write at a token, active latents and the error, [source, dModel]. */
  Tensor written(int layer, int token) {
    return keptRows.isEmpty()
        ? replaced.get(layer).rows(token)
        : keptRows.get(layer * tokens + token);
  }

  /** Keeps what sources write, which is else put together anew whenever it is met. */
  private void keepRows() {
    int width = model.config().dModel();
    long numbers = (long) model.layers() * tokens * width;
    for (int i = 0; i < dictionaries.size(); i++) {
      long latents = (long) start(i, tokens) - start(i, 0);
      numbers += latents * dictionaries.get(i).decoders().size() * width;
    }
    long bytes = numbers * (model.dtype() == DType.FLOAT ? Float.BYTES : Double.BYTES);
    if (bytes <= Scope.roomBytes() / KEPT) {
      for (ReplacedMlp one : replaced) {
        for (int token = 0; token < tokens; token++) {
          keptRows.add(one.rows(token));
        }
      }
    }
  }
}

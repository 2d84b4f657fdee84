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
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Norm;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

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

  /** For each dictionary and token the number of latents that are active before. */
  private final int[][] starts;

  /** What the stream is divided by at each token where a dictionary reads, [token, 1]. */
  private final List<Optional<Tensor>> scales;

  private final List<HeldAttention> attentions = new ArrayList<>();
  private final List<Replaced> replaced = new ArrayList<>();

  /** What biases and embeddings of positions make of the stream at each point, [token, dModel]. */
  private final List<Tensor> constants = new ArrayList<>();

  /** What sources write at each MLP and token, if there is room to keep it. */
  private final List<Tensor> keptRows = new ArrayList<>();

  /** Decoder {@code index} of a dictionary. */
  private record Writer(int dictionary, int index) {}

  /** Where something is read, or written before the outlet: a factor for each token, perhaps. */
  private record Skip(Tensor matrix, Optional<Tensor> factors, Tensor constant) {}

  /**
   * The output of an MLP.
   *
   * @param place where dictionaries write
   * @param error what reconstructions lack there, [token, dModel]
   * @param skip from the stream that the MLP reads to that which it writes
   */
  private record Replaced(
      Mlp mlp, Place place, List<Writer> writers, Tensor error, Optional<Skip> skip) {}

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
    encodings = dictionaries.stream().map(run::encoding).toList();
    scales = dictionaries.stream().map(one -> scale(one.reads())).toList();
    starts = starts();
    for (int layer = 0; layer < model.layers(); layer++) {
      attentions.add(HeldAttention.of(run, layer));
      replaced.add(replaced(model.mlp(layer)));
    }
    pushConstants();
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
          own.normalisation() == Dictionary.Normalisation.NONE,
          "%s normalises what it reads (%s), which is not linear",
          own,
          own.normalisation());
      requireArgument(
          i == 0 || layer(dictionaries.get(i - 1)) < layer(own),
          "two dictionaries of layer %d: one replaces an MLP",
          layer(own));
      for (Dictionary.Decoder decoder : own.decoders()) {
        requireArgument(
            point(own).reaches(model.mlp(decoder.place().layer()).reads()),
            "%s reads %s, after the MLP of layer %d, which it writes",
            own,
            own.reads(),
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

  // ---- what MLPs are replaced by -----------------------------------------------------------

  private Replaced replaced(Mlp mlp) {
    List<Writer> writers = new ArrayList<>();
    Place place = Place.of(Site.MLP_OUTPUT, mlp.layer());
    for (int i = 0; i < dictionaries.size(); i++) {
      List<Dictionary.Decoder> decoders = dictionaries.get(i).decoders();
      for (int index = 0; index < decoders.size(); index++) {
        Place written = decoders.get(index).place();
        if (written.layer() == mlp.layer()) {
          requireArgument(
              writers.isEmpty() || written.equals(place),
              "dictionaries write %s and %s: one replaces an MLP's output before its outlet, the"
                  + " other after it",
              place,
              written);
          place = written;
          writers.add(new Writer(i, index));
        }
      }
    }
    try (Scope scope = Scope.open()) {
      Tensor error = run.vectors(place);
      Optional<Skip> skip = Optional.empty();
      for (Writer writer : writers) {
        error = error.minus(encodings.get(writer.dictionary).reconstruction(writer.index));
        Dictionary dictionary = dictionaries.get(writer.dictionary);
        if (writer.index == 0 && dictionary.skip().isPresent()) {
          skip = Optional.of(skip(mlp, place, dictionary));
        }
      }
      Tensor meant = firstToken == FirstToken.CONSTANT ? withoutFirst(error) : error;
      skip.ifPresent(
          one -> {
            scope.keep(one.matrix);
            one.factors.ifPresent(scope::keep);
            scope.keep(one.constant);
          });
      return new Replaced(mlp, place, List.copyOf(writers), scope.keep(meant), skip);
    }
  }

  private Tensor withoutFirst(Tensor rows) {
    return rows.slice(0, 1, tokens).pad(0, 1, tokens);
  }

  /** Vectors [token, direction, dModel] at a place where dictionaries write, in the stream. */
  private Tensor written(Mlp mlp, Place place, int firstToken, Tensor vectors) {
    return place.site() == Site.MLP_OUTPUT || mlp.outlet().isNone()
        ? vectors
        : mlp.outlet().push(run, firstToken, vectors);
  }

  private Skip skip(Mlp mlp, Place place, Dictionary dictionary) {
    Tensor map = dictionary.skip().orElseThrow(); // [written, read]
    Tensor read = alongStream(dictionary.reads(), map);
    boolean direct = place.site() == Site.MLP_OUTPUT || mlp.outlet().isNone();
    Tensor both = direct ? read : mlp.outlet().fixed(read.permute(1, 0)).permute(1, 0);
    Optional<Tensor> scale = scale(dictionary.reads());
    Tensor ones = Tensor.full(run.model().dtype(), Shape.of(tokens, 1), 1);
    Tensor outer = direct ? ones : mlp.outlet().perToken(run, 0, ones);
    Optional<Tensor> factors =
        direct && scale.isEmpty()
            ? Optional.empty()
            : Optional.of(scale.map(outer::over).orElse(outer).reshape(Shape.of(tokens, 1, 1)));
    Tensor constant =
        bias(dictionary.reads())
            .map(bias -> bias.reshape(1, bias.shape().length()).matmulTransposed(map))
            .orElseGet(() -> Tensor.zeros(map.dtype(), Shape.of(1, map.shape().size(0))));
    return new Skip(both, factors, constant);
  }

  // ---- what dictionaries read --------------------------------------------------------------

  /** The point of the stream from which a dictionary reads. */
  Point point(Dictionary dictionary) {
    Place place = dictionary.reads();
    return switch (place.site()) {
      case MLP_STANDARDISED, MLP_INPUT -> model.mlp(place.layer()).reads();
      default -> {
        Point point = Point.EMBEDDING;
        while (point.reaches(model.end())) {
          if (model.residualAt(point).equals(place)) {
            yield point;
          }
          point = point.next();
        }
        throw new IllegalArgumentException(
            dictionary
                + " reads "
                + place
                + ": a replacement model needs those that read what"
                + " MLPs read");
      }
    };
  }

  private Optional<Norm> norm(Place place) {
    return switch (place.site()) {
      case MLP_STANDARDISED, MLP_INPUT -> model.mlp(place.layer()).entry();
      default -> Optional.empty();
    };
  }

  /** Directions [.., n] where a dictionary reads, in the stream, but for the scales of tokens. */
  private Tensor alongStream(Place place, Tensor directions) {
    return norm(place)
        .map(
            norm ->
                place.site() == Site.MLP_INPUT
                    ? norm.directions(directions)
                    : norm.centred(directions))
        .orElse(directions);
  }

  /** What the stream is divided by at each token where a dictionary reads, [token, 1]. */
  private Optional<Tensor> scale(Place place) {
    return norm(place)
        .map(norm -> norm.scale(run.residual(model.mlp(place.layer()).reads()).value()));
  }

  /** What the norm adds where a dictionary reads, [n]. */
  private Optional<Tensor> bias(Place place) {
    return place.site() == Site.MLP_INPUT ? norm(place).flatMap(Norm::bias) : Optional.empty();
  }

  // ---- constants ---------------------------------------------------------------------------

  /** What no node adds, pushed through all layers. */
  private void pushConstants() {
    Tensor stream =
        model.config().embedding().positions()
            ? run.value(Site.POSITION_EMBEDDING)
            : Tensor.zeros(model.dtype(), Shape.of(tokens, model.config().dModel()));
    constants.add(stream);
    for (Point point = Point.EMBEDDING; !point.equals(model.end()); point = point.next()) {
      try (Scope scope = Scope.open()) {
        Tensor next = stream;
        for (HeldAttention attention : attentions) {
          if (attention.attention().reads().equals(point)) {
            next = next.plus(pushed(attention, stream)).plus(attention.constant());
          }
        }
        for (Replaced one : replaced) {
          if (one.mlp.reads().equals(point)) {
            next = next.plus(constant(one));
            if (one.skip.isPresent()) {
              next = next.plus(skipped(one.skip.get(), stream));
            }
          }
        }
        stream = scope.keep(next);
      }
      constants.add(stream);
    }
  }

  private Tensor pushed(HeldAttention attention, Tensor rows) {
    Shape one = Shape.of(tokens, 1, model.config().dModel());
    return attention.push(rows.reshape(one)).reshape(rows.shape());
  }

  private static Tensor skipped(Skip skip, Tensor rows) {
    Tensor product = rows.matmulTransposed(skip.matrix);
    return skip.factors
        .map(own -> product.times(own.reshape(own.shape().size(0), 1)))
        .orElse(product);
  }

  /** What an MLP's replacement adds of a stream of zeros without latents and errors. */
  private Tensor constant(Replaced one) {
    Shape shape = Shape.of(tokens, model.config().dModel());
    Tensor sum = Tensor.zeros(model.dtype(), shape);
    for (Writer writer : one.writers) {
      Optional<Tensor> bias =
          dictionaries.get(writer.dictionary).decoders().get(writer.index).bias();
      if (bias.isPresent()) {
        sum = sum.plus(bias.get());
      }
    }
    if (firstToken == FirstToken.CONSTANT) {
      Tensor first = run.vectors(one.place).slice(0, 0, 1);
      for (Writer writer : one.writers) {
        Dictionary dictionary = dictionaries.get(writer.dictionary);
        if (writer.index == 0 && dictionary.skip().isPresent()) {
          Tensor read = encodings.get(writer.dictionary).input().slice(0, 0, 1);
          first = first.minus(read.matmulTransposed(dictionary.skip().get()));
        }
      }
      sum = withoutFirst(sum).plus(first.pad(0, 0, tokens));
    }
    if (one.skip.isPresent()) {
      sum = sum.plus(one.skip.get().constant);
    }
    Tensor written = written(one.mlp, one.place, 0, sum);
    boolean direct = one.place.site() == Site.MLP_OUTPUT;
    Optional<Tensor> bias = direct ? Optional.empty() : one.mlp.outlet().bias();
    return bias.map(written::plus).orElse(written);
  }

  /** What no node adds to the stream at a point, [token, dModel]. */
  Tensor constant(Point point) {
    return constants.get(point.index());
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

  /** How many of the dictionaries write before a point is read, those of the first layers. */
  int dictionariesBefore(Point point) {
    return (int)
        dictionaries.stream().filter(one -> model.mlp(layer(one)).writes().reaches(point)).count();
  }

  /** How many of the MLPs write before a point is read, those of the first layers. */
  int mlpsBefore(Point point) {
    return (int) replaced.stream().filter(one -> one.mlp.writes().reaches(point)).count();
  }

  /** Which dictionary it is that lacks something of the output of a layer's MLP. */
  Dictionary.Id errorOf(int layer) {
    return dictionaries.stream()
        .filter(one -> layer(one) == layer)
        .findFirst()
        .map(Dictionary::id)
        .orElseGet(() -> new Dictionary.Id(Dictionary.Kind.TRANSCODER, "", layer));
  }

  /** What MLPs wrote and reconstructions lack, where dictionaries write, [token, dModel]. */
  Tensor error(int layer) {
    return replaced.get(layer).error;
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
          bias(own.reads())
              .map(bias -> bias.reshape(1, own.width()))
              .orElseGet(() -> Tensor.zeros(dtype(), Shape.of(1, own.width())));
      Tensor biases = own.latentBias().gather(0, latents);
      Tensor along = alongStream(own.reads(), scaled);
      Tensor directions =
          scales
              .get(dictionary)
              .map(all -> along.over(all.slice(0, token, token + 1)))
              .orElse(along);
      return new Reading(
          scope.keep(directions),
          product(own, scaled, read, biases),
          product(own, scaled, origin, biases));
    }
  }

  private static List<Double> product(Dictionary own, Tensor rows, Tensor x, Tensor biases) {
    Tensor centred = own.inputBias().map(bias -> x.minus(bias.reshape(1, own.width()))).orElse(x);
    Tensor products = centred.matmulTransposed(rows);
    return DoubleStream.of(
            products.plus(biases.reshape(1, biases.shape().length())).toDoubles())
        .boxed()
        .toList();
  }

  // ---- pushes ------------------------------------------------------------------------------

  /** A latent of a token that is set to a value, of a dictionary. */
  record Added(Dictionary.Id dictionary, int token, int latent, double value) {}

  /** How the stream changes at each point when latents are set, [token, dModel] each. */
  List<Tensor> push(List<Added> edits) {
    List<Tensor> changes = new ArrayList<>();
    Tensor stream = Tensor.zeros(model.dtype(), Shape.of(tokens, model.config().dModel()));
    changes.add(stream);
    for (Point point = Point.EMBEDDING; !point.equals(model.end()); point = point.next()) {
      try (Scope scope = Scope.open()) {
        Tensor next = stream;
        for (HeldAttention attention : attentions) {
          if (attention.attention().reads().equals(point)) {
            next = next.plus(pushed(attention, stream));
          }
        }
        for (Replaced one : replaced) {
          if (one.mlp.reads().equals(point)) {
            for (Added edit : edits) {
              next = next.plus(added(one, edit));
            }
            if (one.skip.isPresent()) {
              next = next.plus(skipped(one.skip.get(), stream));
            }
          }
        }
        stream = scope.keep(next);
      }
      changes.add(stream);
    }
    return changes;
  }

  /** What a set latent adds where an MLP writes, [token, dModel]. */
  private Tensor added(Replaced one, Added edit) {
    Tensor sum = Tensor.zeros(model.dtype(), Shape.of(tokens, model.config().dModel()));
    for (Writer writer : one.writers) {
      Encoding encoding = encodings.get(writer.dictionary);
      if (encoding.dictionary().id().equals(edit.dictionary)) {
        double change = edit.value - encoding.value(edit.token, edit.latent);
        Tensor row = encoding.rows(writer.index, edit.token, edit.latent).times(change);
        sum = sum.plus(row.pad(0, edit.token, tokens));
      }
    }
    return written(one.mlp, one.place, 0, sum);
  }

  /** How what a dictionary reads changes with the stream at each point, [token, n]. */
  Tensor changeRead(Dictionary dictionary, List<Tensor> changes) {
    Place place = dictionary.reads();
    Tensor change = changes.get(point(dictionary).index());
    Tensor moved =
        norm(place)
            .map(norm -> place.site() == Site.MLP_INPUT ? norm.moved(change) : norm.centred(change))
            .orElse(change);
    return scale(place).map(moved::over).orElse(moved);
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
    return replaced.get(layer).writers.stream().mapToInt(Writer::dictionary).toArray();
  }

  /**
   * Pulls directions back to the embedding.
   *
   * @param point where they are read
   * @param directions [direction, dModel]
   * @param at the token of each, ascending
   */
  void pull(Point point, Tensor directions, int[] at, Sources sources) {
    Deque<Point> points = new ArrayDeque<>();
    for (Point next = Point.EMBEDDING.next(); next.reaches(point); next = next.next()) {
      points.push(next);
    }
    try (Scope held = Scope.open()) {
      Tensor cotangents = spread(directions, at);
      boolean first = true;
      for (Point next : points) {
        meet(next, cotangents, sources);
        boolean last = next.equals(Point.EMBEDDING.next());
        if (last) {
          break;
        }
        try (Scope scope = Scope.open()) {
          scope.takeBack(cotangents);
          cotangents =
              scope.keep(
                  first && attendsAlone(next)
                      ? attended(next, directions, at, cotangents)
                      : before(next, cotangents));
          first = false;
        }
      }
      sources.atEmbedding(atEmbedding(cotangents, !points.isEmpty()));
    }
  }

  /** Directions each at its token among all tokens, [token, direction, dModel]. */
  private static Tensor spread(Tensor directions, int[] at) {
    int count = at.length;
    int tokens = at[count - 1] + 1;
    int[] places = IntStream.range(0, count).map(i -> at[i] * count + i).toArray();
    return directions
        .scatterAdd(0, tokens * count, places)
        .reshape(tokens, count, directions.shape().size(1));
  }

  private boolean attendsAlone(Point point) {
    return replaced.stream().noneMatch(one -> one.mlp.writes().equals(point));
  }

  private Tensor attended(Point point, Tensor directions, int[] at, Tensor cotangents) {
    Tensor sum = cotangents;
    for (HeldAttention attention : attentions) {
      if (attention.attention().writes().equals(point)) {
        sum = sum.plus(attention.pull(directions, at, cotangents.shape().size(0)));
      }
    }
    return sum;
  }

  /** Products of cotangents with what latents and errors write at a point. */
  private void meet(Point point, Tensor cotangents, Sources sources) {
    for (Replaced one : replaced) {
      if (one.mlp.writes().equals(point)) {
        for (int token = 0; token < cotangents.shape().size(0); token++) {
          try (Scope scope = Scope.open()) {
            Tensor there = cotangents.slice(0, token, token + 1);
            Tensor flat = there.reshape(there.shape().size(1), there.shape().size(2));
            sources.atMlp(one.mlp.layer(), token, flat.matmulTransposed(written(one, token)));
          }
        }
      }
    }
  }

  /** Cotangents at a point as such at the one before. */
  private Tensor before(Point point, Tensor cotangents) {
    Tensor sum = cotangents;
    for (Replaced one : replaced) {
      if (one.mlp.writes().equals(point) && one.skip.isPresent()) {
        sum = sum.plus(pulled(one.skip.get(), cotangents));
      }
    }
    for (HeldAttention attention : attentions) {
      if (attention.attention().writes().equals(point)) {
        sum = sum.plus(attention.pull(cotangents));
      }
    }
    return sum;
  }

  private static Tensor pulled(Skip skip, Tensor cotangents) {
    Tensor product = cotangents.matmul(skip.matrix);
    int tokens = cotangents.shape().size(0);
    return skip.factors.map(all -> product.times(all.slice(0, 0, tokens))).orElse(product);
  }

  /** Products with embeddings of cotangents there, or at the next point. */
  private Tensor atEmbedding(Tensor cotangents, boolean atNext) {
    int tokens = cotangents.shape().size(0);
    Tensor rows = run.value(Site.TOKEN_EMBEDDING).slice(0, 0, tokens);
    Tensor columns = rows.reshape(tokens, rows.shape().size(1), 1);
    Tensor sum = cotangents.matmul(columns);
    Point next = Point.EMBEDDING.next();
    for (HeldAttention attention : attentions) {
      if (atNext && attention.attention().writes().equals(next)) {
        sum = sum.plus(attention.pullAlong(cotangents, rows));
      }
    }
    for (Replaced one : replaced) {
      if (atNext && one.mlp.writes().equals(next) && one.skip.isPresent()) {
        sum = sum.plus(pulled(one.skip.get(), cotangents).matmul(columns));
      }
    }
    return sum;
  }

  private Tensor written(Replaced one, int token) {
    return keptRows.isEmpty() ? rows(one, token) : keptRows.get(one.mlp.layer() * tokens + token);
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
      for (Replaced one : replaced) {
        for (int token = 0; token < tokens; token++) {
          keptRows.add(rows(one, token));
        }
      }
    }
  }

  /** What the sources of an MLP's output at a token write, the error last, [source, dModel]. */
  private Tensor rows(Replaced one, int token) {
    try (Scope scope = Scope.open()) {
      List<Tensor> parts = new ArrayList<>();
      for (Writer writer : one.writers) {
        int[] active = active(writer.dictionary, token);
        if (active.length > 0) {
          Encoding encoding = encodings.get(writer.dictionary);
          parts.add(
              encoding
                  .rows(writer.index, token, active)
                  .times(encoding.values(token).reshape(active.length, 1)));
        }
      }
      parts.add(one.error.slice(0, token, token + 1));
      Tensor all = Tensor.concat(0, parts);
      Shape perToken = Shape.of(all.shape().size(0), 1, all.shape().size(1));
      return scope.keep(
          written(one.mlp, one.place, token, all.reshape(perToken)).reshape(all.shape()));
    }
  }
}

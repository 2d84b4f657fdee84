package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BiFunction;
import java.util.stream.Stream;

/**
 * A dictionary of a model and what it reads: what the three kinds of its nodes share.
 *
 * @param id of the dictionary
 */
record Encoded(Dictionary.Id id) {
  /** Nodes of which there is one at each token: vectors where the dictionary writes first. */
  interface PerToken extends SourceFamily {
    Encoded of();

    /** [token, n] */
    Tensor vectors(Run run);

    @Override
    default List<String> axes() {
      return List.of("token");
    }

    @Override
    default OptionalInt layer() {
      return OptionalInt.of(of().id.layer());
    }

    @Override
    default Point point(Transformer model) {
      return of().written(model).get(0).point(model);
    }

    @Override
    default Optional<Encoded> encoded() {
      return Optional.of(of());
    }

    private Written written(Run run) {
      return of().written(run.model()).get(0);
    }

    /** [token, dModel] */
    private Tensor writes(Run run) {
      Written place = written(run);
      return place.perToken(run, 0, place.fixed(run.model(), vectors(run)));
    }

    @Override
    default Tensor activationTimesGradient(NodeAttribution nodes) {
      return vectors(nodes.run()).times(written(nodes.run()).gradient(nodes)).sum(-1);
    }

    @Override
    default Tensor writeNorms(Run run) {
      return writes(run).norm(-1);
    }

    @Override
    default NodeArray products(GradientReader gradient) {
      Tensor read = gradient.read(vectors(gradient.run()), 0);
      Tensor there = written(gradient.run()).read(gradient);
      return NodeArray.of(this, read.times(there).sum(-1), gradient.from());
    }

    @Override
    default List<SearchSources> lists(Run run) {
      return List.of(
          SearchSources.onePerToken(
              this,
              run,
              token -> {
                Written place = written(run);
                Tensor fixed = place.fixed(run.model(), vector(run, token));
                return place.perToken(run, token, fixed);
              }));
    }

    /** The vector at a token, [1, n]. */
    default Tensor vector(Run run, int token) {
      return vectors(run).slice(0, token, token + 1);
    }

    /** What the node of a token writes. */
    default List<Write> writes(Run run, int token) {
      return List.of(of().write(run, written(run), token, vector(run, token)));
    }

    /** What it takes to make it write a multiple. */
    default Change scaled(Run run, int token, double factor) {
      try (Scope scope = Scope.open()) {
        Tensor more = vector(run, token).times(factor - 1);
        return Intervention.add(run.model(), written(run).place(), token, more);
      }
    }
  }

  /** Those of a model, in the order in which they were given. */
  static List<Encoded> of(Transformer model) {
    return model.dictionaries().stream()
        .filter(one -> one.reads().site() != Site.TOKEN_EMBEDDING) // of which positions are no part
        .map(one -> new Encoded(one.id()))
        .toList();
  }

  /** The one that the name of a node of some kind may mean. */
  static Stream<Encoded> candidates(Coordinates.Name name, String kind) {
    String ending = "_" + kind;
    return name.word().endsWith(ending)
        ? Dictionary.Id.of(
            name.word().substring(0, name.word().length() - ending.length()),
            name.layer().orElse(0))
            .map(Encoded::new)
            .stream()
        : Stream.empty();
  }

  Coordinates coordinates(Kind kind) {
    Coordinates.Component component =
        switch (id.kind()) {
          case ACTIVATION, MLP, TRANSCODER, CROSS_LAYER -> Coordinates.Component.MLP;
          case ATTENTION, HEADS -> Coordinates.Component.ATTENTION;
          case RESIDUAL, MIDDLE_RESIDUAL -> Coordinates.Component.OUTPUT;
          case EMBEDDING -> Coordinates.Component.EMBEDDING;
        };
    return Coordinates.outside(kind.word(), component).part(id.word()).layer(id.layer());
  }

  Dictionary dictionary(Run run) {
    return run.model().dictionary(id);
  }

  Encoding encoding(Run run) {
    return run.encoding(dictionary(run));
  }

  /** Where it writes, by decoder. */
  List<Written> written(Transformer model) {
    return model.dictionary(id).decoders().stream()
        .map(decoder -> new Written(decoder.place()))
        .toList();
  }

  void requireIn(Node node, int token, Run run) {
    Kind.requirePlace(node, id.layer(), token, run);
    dictionary(run);
  }

  /**
   * The sum over the dictionaries that speak together of what each has where this one writes first,
   * [token, n].
   *
   * @param part of what an encoding writes by one of its decoders
   */
  Tensor sum(Run run, BiFunction<Encoding, Integer, Tensor> part) {
    Written own = written(run.model()).get(0);
    try (Scope scope = Scope.open()) {
      List<Tensor> parts = new ArrayList<>();
      for (Encoded one : Split.with(run.model(), this).members()) {
        int decoder = one.written(run.model()).indexOf(own);
        if (decoder >= 0) {
          parts.add(part.apply(one.encoding(run), decoder));
        }
      }
      return scope.keep(parts.stream().reduce(Tensor::plus).orElseThrow());
    }
  }

  /** What is not reconstructed where it writes first, [token, n]. */
  Tensor error(Run run) {
    Place place = written(run.model()).get(0).place();
    try (Scope scope = Scope.open()) {
      return scope.keep(run.vectors(place).minus(sum(run, Encoding::reconstruction)));
    }
  }

  /** What a vector [1, n] at a token writes in a place. */
  Write write(Run run, Written place, int token, Tensor vector) {
    Tensor written = place.perToken(run, token, place.fixed(run.model(), vector));
    return new Write(place.point(run.model()), token, written.reshape(written.shape().size(1)));
  }

  // ---- what it reads -----------------------------------------------------------------------

  private Place place(Transformer model) {
    return model.dictionary(id).reads();
  }

  /** Where in the residual stream begins what it reads. */
  Point reads(Transformer model) {
    Place place = place(model);
    return model
        .pointAt(place)
        .map(point -> model.dictionary(id).isAutoencoder() ? point.forDictionary() : point)
        .orElseGet(() -> part(model, place).reads());
  }

  private static Part part(Transformer model, Place place) {
    return isAttended(place) ? model.attention(place.layer()) : model.mlp(place.layer());
  }

  /** Whether it reads rows of several tokens. */
  private static boolean isAttended(Place place) {
    return place.site() == Site.HEAD_OUTPUT || place.site() == Site.ATTENTION_OUTPUT;
  }

  /** The first token of the rows that what is encoded at a token is made of. */
  int firstRead(Transformer model, int token) {
    return isAttended(place(model)) ? 0 : token;
  }

  /** The last token at which what is encoded reads the row of one. */
  int lastReading(Run run, int row) {
    return isAttended(place(run.model())) ? run.length() - 1 : row;
  }

  /** Whether what is encoded is affine in what it reads where scales are held. */
  boolean isAffine(Transformer model) {
    return switch (place(model).site()) {
      case MLP_STANDARDISED, MLP_INPUT -> true;
      default -> model.pointAt(place(model)).isPresent();
    };
  }

  /**
   * What is encoded at the token of the last of some rows of the residual stream, as it follows
   * from them: [token, dModel] to [1, n].
   */
  Variable vector(Run run, int token, Variable rows, ScaleGradient scaleGradient) {
    Transformer model = run.model();
    Place place = place(model);
    if (isAttended(place)) {
      Attention attention = model.attention(place.layer());
      Variable x = attention.normalised(rows, scaleGradient);
      Variable q = attention.query(x.slice(0, token, token + 1), token, scaleGradient);
      Variable scores = attention.scores(q, attention.key(x, 0, scaleGradient), token);
      Variable mixed = attention.headOutput(attention.pattern(scores, token), attention.value(x));
      return ofHeads(attention, place, mixed, scaleGradient);
    }
    if (model.pointAt(place).isPresent()) {
      return rows;
    }
    Mlp mlp = model.mlp(place.layer());
    if (place.site() == Site.MLP_STANDARDISED) {
      return mlp.entry().map(norm -> norm.standardised(rows, scaleGradient)).orElse(rows);
    }
    Variable x = mlp.normalised(rows, scaleGradient);
    return place.site() == Site.MLP_INPUT
        ? x
        : ofNeurons(mlp, place, mlp.neurons(x), scaleGradient);
  }

  private static Variable ofHeads(
      Attention attention, Place place, Variable heads, ScaleGradient scaleGradient) {
    return place.site() == Site.HEAD_OUTPUT
        ? attention.inRows(heads)
        : attention.output(heads, scaleGradient);
  }

  private static Variable ofNeurons(
      Mlp mlp, Place place, Variable neurons, ScaleGradient scaleGradient) {
    return switch (place.site()) {
      case MLP_ACTIVATION -> neurons;
      case MLP_RESULT -> mlp.result(neurons);
      default -> mlp.output(neurons, scaleGradient);
    };
  }

  /**
   * Gradients in one row of the residual stream of scalars that move with products of what is
   * encoded at a token with rows of an encoder, [k, n] to [k, dModel].
   */
  Tensor pull(Run run, int row, int token, Tensor cotangents, ScaleGradient scaleGradient) {
    try (Scope scope = Scope.open()) {
      Transformer model = run.model();
      Place place = place(model);
      Tensor read = run.vectors(place).slice(0, token, token + 1);
      Tensor directions = dictionary(run).pulled(read, cotangents, scaleGradient);
      Tensor residual = run.residual(reads(model)).value();
      Variable moving = Variable.input(residual.slice(0, row, row + 1));
      Variable vector =
          isAttended(place)
              ? attended(run, place, row, token, moving, scaleGradient)
              : vector(run, token, moving, scaleGradient);
      Tensor batch = directions.reshape(directions.shape().size(0), 1, directions.shape().size(1));
      Tensor pulled = Jacobian.of(vector, moving).pull(batch).get(0);
      return scope.keep(pulled.reshape(pulled.shape().size(0), pulled.shape().size(2)));
    }
  }

  /** What moves as the output of attention at a token does with the row of one before it. */
  private static Variable attended(
      Run run, Place place, int row, int token, Variable moving, ScaleGradient scaleGradient) {
    Attention attention = run.model().attention(place.layer());
    Variable x = attention.normalised(moving, scaleGradient);
    Variable sum =
        attendedBy(
                run,
                place,
                row,
                token,
                InputPath.KEY,
                attention.key(x, row, scaleGradient),
                scaleGradient)
            .plus(
                attendedBy(
                    run, place, row, token, InputPath.VALUE, attention.value(x), scaleGradient));
    return row < token
        ? sum
        : sum.plus(
            attendedBy(
                run,
                place,
                row,
                token,
                InputPath.QUERY,
                attention.query(x, row, scaleGradient),
                scaleGradient));
  }

  private static Variable attendedBy(
      Run run,
      Place place,
      int row,
      int token,
      InputPath path,
      Variable moving,
      ScaleGradient scaleGradient) {
    Attention attention = run.model().attention(place.layer());
    Variable heads = attention.headOutputWith(run, row, path, moving, token, token + 1);
    return ofHeads(attention, place, heads, scaleGradient);
  }

  /** Whether what is encoded moves with what a source writes. */
  boolean isReached(Push push) {
    return push.reaches(reads(push.run().model()));
  }

  /**
   * How what is multiplied with rows of the encoder moves along a write, at the tokens from its own
   * on, [token, n].
   */
  Tensor moved(Push push) {
    Run run = push.run();
    Transformer model = run.model();
    Place place = place(model);
    ScaleGradient scaleGradient = push.edges().scaleGradient();
    Tensor moved =
        switch (place.site()) {
          case MLP_ACTIVATION -> push.neurons(model.mlp(place.layer()));
          case MLP_RESULT ->
              push.neurons(model.mlp(place.layer())).matmul(model.mlp(place.layer()).rows());
          case MLP_OUTPUT -> push.output(model.mlp(place.layer()));
          case ATTENTION_OUTPUT, HEAD_OUTPUT ->
              push.attended(
                  model.attention(place.layer()),
                  heads -> ofHeads(model.attention(place.layer()), place, heads, scaleGradient));
          default -> push.row(reads(model), rows -> vector(run, push.token(), rows, scaleGradient));
        };
    int from = push.token();
    Tensor read = run.vectors(place).slice(0, from, from + moved.shape().size(0));
    return dictionary(run).pushed(read, moved, scaleGradient);
  }
}

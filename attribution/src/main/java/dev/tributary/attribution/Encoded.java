package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Outlet;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/**
 * A site of a layer whose vectors an autoencoder encodes: what the three kinds of its nodes share.
 */
record Encoded(Site site, int layer) {
  /** What is encoded, in a word, and what encoded vectors are to the model. */
  private enum Vectors {
    /** Of activations: neurons. */
    ACTIVATION(Site.MLP_ACTIVATION, Coordinates.Component.MLP),
    MLP(Site.MLP_OUTPUT, Coordinates.Component.MLP),
    ATTENTION(Site.ATTENTION_OUTPUT, Coordinates.Component.ATTENTION);

    private final Site site;
    private final Coordinates.Component component;

    Vectors(Site site, Coordinates.Component component) {
      this.site = site;
      this.component = component;
    }

    static Vectors of(Site site) {
      return Stream.of(values())
          .filter(vectors -> vectors.site == site)
          .findFirst()
          .orElseThrow(() -> new IllegalArgumentException("no autoencoder encodes " + site));
    }
  }

  /** Nodes of which there is one at each token: vectors at the site. */
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
      return OptionalInt.of(of().layer());
    }

    @Override
    default Point point(Transformer model) {
      return of().part(model).writes();
    }

    @Override
    default Optional<Encoded> encoded() {
      return Optional.of(of());
    }

    /** [token, dModel] */
    private Tensor written(Run run) {
      return of().perToken(run, 0, of().fixed(run.model(), vectors(run)));
    }

    @Override
    default Tensor activationTimesGradient(NodeAttribution nodes) {
      return vectors(nodes.run()).times(nodes.gradient(of().place())).sum(-1);
    }

    @Override
    default Tensor writeNorms(Run run) {
      return written(run).norm(-1);
    }

    @Override
    default NodeArray products(GradientReader gradient) {
      Tensor read = gradient.read(vectors(gradient.run()), 0);
      return NodeArray.of(this, read.times(gradient.at(of().place())).sum(-1), gradient.from());
    }

    @Override
    default SearchSources lists(Run run) {
      return SearchSources.onePerToken(
          this,
          run,
          token -> of().perToken(run, token, of().fixed(run.model(), vector(run, token))));
    }

    /** The vector at a token, [1, n]. */
    default Tensor vector(Run run, int token) {
      return vectors(run).slice(0, token, token + 1);
    }

    /** What the node of a token writes. */
    default List<Write> writes(Run run, int token) {
      return of().writes(run, token, vector(run, token));
    }

    /** What it takes to make it write a multiple. */
    default Change scaled(Run run, int token, double factor) {
      try (Scope scope = Scope.open()) {
        return of().added(token, vector(run, token).times(factor - 1));
      }
    }
  }

  /** Those of a model, in the order of the forward pass. */
  static List<Encoded> of(Transformer model) {
    return model.autoencoders().stream().map(one -> new Encoded(one.site(), one.layer())).toList();
  }

  /** One of each site with the layer of a name. */
  static Stream<Encoded> candidates(Coordinates.Name name) {
    return Stream.of(Vectors.values())
        .map(vectors -> new Encoded(vectors.site, name.layer().orElse(0)));
  }

  Coordinates coordinates(Kind kind) {
    Vectors vectors = Vectors.of(site);
    return Coordinates.outside(kind.word(), vectors.component)
        .part(Lowercase.of(vectors))
        .layer(layer);
  }

  Place place() {
    return Place.of(site, layer);
  }

  SparseAutoencoder autoencoder(Run run) {
    return run.model().autoencoder(site, layer);
  }

  Encoding encoding(Run run) {
    return run.encoding(site, layer);
  }

  void requireIn(Node node, int token, Run run) {
    Kind.requirePlace(node, layer, token, run);
    autoencoder(run);
  }

  private boolean isNeurons() {
    return Vectors.of(site) == Vectors.ACTIVATION;
  }

  /** The part of the layer that writes what is encoded, or what follows from it. */
  Part part(Transformer model) {
    return Vectors.of(site).component == Coordinates.Component.ATTENTION
        ? model.attention(layer)
        : model.mlp(layer);
  }

  /** What vectors at a site add to the residual stream, but for what its outlet does to tokens. */
  Tensor fixed(Transformer model, Tensor vectors) {
    Mlp mlp = model.mlp(layer);
    return isNeurons() ? mlp.outlet().fixed(vectors.matmul(mlp.rows())) : vectors;
  }

  /** What the outlet does to numbers of tokens, [.., token, n]. */
  Tensor perToken(Run run, int firstToken, Tensor numbers) {
    Outlet outlet = run.model().mlp(layer).outlet();
    return isNeurons() ? outlet.perToken(run, firstToken, numbers) : numbers;
  }

  /** What a vector [1, n] at a token writes. */
  List<Write> writes(Run run, int token, Tensor vector) {
    Tensor written = perToken(run, token, fixed(run.model(), vector));
    Tensor flat = written.reshape(written.shape().size(1));
    return List.of(new Write(part(run.model()).writes(), token, flat));
  }

  /** A vector [n] or [1, n] on top of what is at a token. */
  Intervention added(int token, Tensor vector) {
    return Intervention.add(place().at(0, token), vector);
  }

  /** The first token of the rows that what is encoded at a token is made of. */
  int firstRead(int token) {
    return Vectors.of(site) == Vectors.ATTENTION ? 0 : token;
  }

  /**
   * What is encoded at the token of the last of some rows of the residual stream, as it follows
   * from them: [token, dModel] to [1, n].
   */
  Variable vector(Run run, int token, Variable rows, ScaleGradient scaleGradient) {
    Transformer model = run.model();
    Variable x = part(model).normalised(rows, scaleGradient);
    return switch (Vectors.of(site)) {
      case ACTIVATION -> model.mlp(layer).neurons(x);
      case MLP -> model.mlp(layer).output(model.mlp(layer).neurons(x), scaleGradient);
      case ATTENTION -> {
        Attention attention = model.attention(layer);
        Variable q = attention.query(x.slice(0, token, token + 1), token, scaleGradient);
        Variable scores = attention.scores(q, attention.key(x, 0, scaleGradient), token);
        Variable mixed = attention.headOutput(attention.pattern(scores, token), attention.value(x));
        yield attention.output(mixed, scaleGradient);
      }
    };
  }

  /** The last token at which what is encoded reads the row of one. */
  int lastReading(int row, int tokens) {
    return Vectors.of(site) == Vectors.ATTENTION ? tokens - 1 : row;
  }

  /**
   * Gradients in one row of the residual stream of scalars that move with what is encoded at a
   * token, [k, n] to [k, dModel].
   */
  Tensor pull(Run run, int row, int token, Tensor cotangents, ScaleGradient scaleGradient) {
    try (Scope scope = Scope.open()) {
      Tensor residual = run.residual(part(run.model()).reads()).value();
      Variable moving = Variable.input(residual.slice(0, row, row + 1));
      Variable vector =
          Vectors.of(site) == Vectors.ATTENTION
              ? attended(run, row, token, moving, scaleGradient)
              : vector(run, token, moving, scaleGradient);
      Tensor directions =
          cotangents.reshape(cotangents.shape().size(0), 1, cotangents.shape().size(1));
      Tensor pulled = Jacobian.of(vector, moving).pull(directions).get(0);
      return scope.keep(pulled.reshape(pulled.shape().size(0), pulled.shape().size(2)));
    }
  }

  /** What moves as the output of attention at a token does with the row of one before it. */
  private Variable attended(
      Run run, int row, int token, Variable moving, ScaleGradient scaleGradient) {
    Attention attention = run.model().attention(layer);
    Variable x = attention.normalised(moving, scaleGradient);
    Variable key = attention.key(x, row, scaleGradient);
    Variable value = attention.value(x);
    Variable sum =
        attention
            .outputWith(run, row, InputPath.KEY, key, token, token + 1, scaleGradient)
            .plus(
                attention.outputWith(
                    run, row, InputPath.VALUE, value, token, token + 1, scaleGradient));
    if (row < token) {
      return sum;
    }
    Variable query = attention.query(x, row, scaleGradient);
    return sum.plus(
        attention.outputWith(run, row, InputPath.QUERY, query, token, token + 1, scaleGradient));
  }

  /** How what is encoded moves along a write, at the tokens from its own on, [token, n]. */
  Tensor moved(Push push) {
    Transformer model = push.run().model();
    return switch (Vectors.of(site)) {
      case ACTIVATION -> push.neurons(model.mlp(layer));
      case MLP -> push.output(model.mlp(layer));
      case ATTENTION -> push.output(model.attention(layer));
    };
  }
}

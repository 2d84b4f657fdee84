package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;

/**
 * A place where a dictionary writes vectors [n] of tokens, as what these are in the residual
 * stream.
 *
 * @param place all of a site
 */
record Written(Place place) {
  /** What it adds is in the residual stream from here on. */
  Point point(Transformer model) {
    return switch (place.site()) {
      case MLP_ACTIVATION, MLP_RESULT, MLP_OUTPUT -> model.mlp(place.layer()).writes();
      case HEAD_OUTPUT, ATTENTION_OUTPUT -> model.attention(place.layer()).writes();
      default -> model.pointAt(place).orElseThrow().forDictionary();
    };
  }

  /** What vectors add to the residual stream, but for what an outlet does to tokens. */
  Tensor fixed(Transformer model, Tensor vectors) {
    return switch (place.site()) {
      case MLP_ACTIVATION -> {
        Mlp mlp = model.mlp(place.layer());
        yield mlp.outlet().fixed(vectors.matmul(mlp.rows()));
      }
      case MLP_RESULT -> model.mlp(place.layer()).outlet().fixed(vectors);
      case HEAD_OUTPUT -> {
        Attention attention = model.attention(place.layer());
        yield attention.outlet().fixed(vectors.matmul(attention.outputRows()));
      }
      default -> vectors;
    };
  }

  /** What the outlet does to numbers of tokens, [.., token, n]. */
  Tensor perToken(Run run, int firstToken, Tensor numbers) {
    Transformer model = run.model();
    return switch (place.site()) {
      case MLP_ACTIVATION, MLP_RESULT ->
          model.mlp(place.layer()).outlet().perToken(run, firstToken, numbers);
      case HEAD_OUTPUT ->
          model.attention(place.layer()).outlet().perToken(run, firstToken, numbers);
      default -> numbers;
    };
  }

  /** A gradient in the residual stream as that in the vectors, [token, n]. */
  Tensor read(GradientReader gradient) {
    Transformer model = gradient.run().model();
    return switch (place.site()) {
      case MLP_ACTIVATION -> {
        Mlp mlp = model.mlp(place.layer());
        yield gradient.times(mlp.outlet(), mlp.rows());
      }
      case MLP_RESULT -> gradient.rows(model.mlp(place.layer()).outlet());
      case HEAD_OUTPUT -> {
        Attention attention = model.attention(place.layer());
        yield gradient.times(attention.outlet(), attention.outputRows());
      }
      default -> gradient.rows();
    };
  }

  /** The gradient of the metric in the vectors, [token, n]. */
  Tensor gradient(NodeAttribution nodes) {
    Run run = nodes.run();
    return switch (place.site()) {
      case MLP_RESULT -> {
        Mlp mlp = run.model().mlp(place.layer());
        Tensor after = nodes.gradient(Site.MLP_OUTPUT, place.layer());
        if (mlp.outlet().isNone()) {
          yield after;
        }
        Variable result = Variable.input(run.vectors(place));
        Variable written = mlp.written(result, ScaleGradient.LIVE);
        Tensor pulled =
            Jacobian.of(written, result).pull(after.reshape(after.shape().prepend(1))).get(0);
        yield pulled.reshape(after.shape());
      }
      case HEAD_OUTPUT -> {
        Attention attention = run.model().attention(place.layer());
        yield attention.inRows(Variable.constant(nodes.gradient(place))).value();
      }
      default -> nodes.gradient(place);
    };
  }
}

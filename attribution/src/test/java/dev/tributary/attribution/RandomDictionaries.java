package dev.tributary.attribution;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.DecoderRows;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Dictionary.Normalisation;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/** Draws of small models with dictionaries of every kind: which dictionaries a model has. */
public enum RandomDictionaries {
  PARTS {
    @Override
    void draw(Draw draw) {
      for (int layer = 0; layer < LAYERS; layer++) {
        draw.transcoder(layer);
        draw.autoencoder(Place.of(Site.HEAD_OUTPUT, layer));
        draw.autoencoder(Place.of(Site.MLP_RESULT, layer));
      }
    }
  },
  CROSS_LAYER {
    @Override
    void draw(Draw draw) {
      draw.crossLayer();
      draw.autoencoder(Place.of(Site.ATTENTION_OUTPUT, 1));
    }
  },
  STREAM {
    @Override
    void draw(Draw draw) {
      draw.residual(0);
      draw.residual(1);
      draw.transcoder(1);
      draw.autoencoder(Place.of(Site.EMBEDDING));
      draw.model
          .pointAt(Place.of(Site.RESIDUAL_AFTER_ATTENTION, 1))
          .ifPresent(middle -> draw.autoencoder(Place.of(Site.RESIDUAL_AFTER_ATTENTION, 1)));
    }
  },
  MORE_THAN_GO_TOGETHER {
    @Override
    void draw(Draw draw) {
      draw.crossLayer();
      draw.transcoder(1);
      draw.dictionaries.add(draw.dictionaries.get(LAYERS).labelled("other"));
      draw.autoencoder(Place.of(Site.MLP_ACTIVATION, 1));
      draw.autoencoder(Place.of(Site.HEAD_OUTPUT, 2));
      draw.autoencoder(Place.of(Site.ATTENTION_OUTPUT, 2));
      draw.residual(1);
    }
  };

  abstract void draw(Draw draw);

  static final int LAYERS = 3;
  static final int WIDTH = 8;
  static final int HEADS = 2;
  private static final int HEAD_WIDTH = 3;
  private static final int NEURONS = 7;
  public static final int TOKENS = 4;
  public static final int VOCABULARY = 9;
  private static final int LATENTS = 6;

  /**
   * A model of a drawn family.
   *
   * @param random by which all but weights are drawn
   * @param seed of the weights
   */
  public Transformer model(Random random, long seed) {
    TransformerConfig config =
        RandomArchitecture.of(
            random, LAYERS, WIDTH, HEADS, HEAD_WIDTH, NEURONS, TOKENS, VOCABULARY);
    Transformer plain = Transformer.random(config, DType.DOUBLE, seed);
    Draw draw = new Draw(plain, random);
    draw(draw);
    return plain.with(draw.dictionaries);
  }

  /**
   * A model with dictionaries whose latents are shares of its MLPs, as far as some are drawn.
   *
   * @param plain without them
   * @param random by which they are drawn
   */
  public static Transformer ofMlps(Transformer plain, Random random) {
    Draw draw = new Draw(plain, random);
    for (int layer = 0; layer < plain.layers(); layer++) {
      switch (random.nextInt(4)) {
        case 0 -> draw.transcoder(layer);
        case 1 -> draw.autoencoder(Place.of(Site.MLP_ACTIVATION, layer));
        case 2 -> {
          draw.autoencoder(Draw.written(random, layer));
          draw.transcoder(layer);
        }
        default -> {}
      }
    }
    return plain.with(draw.dictionaries);
  }

  /** Dictionaries of one model. */
  private static final class Draw {
    private final Transformer model;
    private final Random random;
    private final List<Dictionary> dictionaries = new ArrayList<>();

    Draw(Transformer model, Random random) {
      this.model = model;
      this.random = random;
    }

    private Tensor uniform(Shape shape, double scale) {
      double[] values = random.doubles(shape.length(), -1, 1).map(x -> scale * x).toArray();
      return Tensor.of(model.dtype(), shape, values);
    }

    private LatentActivation activation() {
      return switch (random.nextInt(7)) {
        case 0 -> new LatentActivation.TopK(4);
        case 1 -> new LatentActivation.SignedTopK(3);
        case 2 -> new LatentActivation.AbsTopK(3);
        case 3 -> new LatentActivation.GroupMax(3);
        case 4 -> new LatentActivation.TanhRelu();
        case 5 -> new LatentActivation.JumpRelu(uniform(Shape.of(LATENTS), 0.3));
        default -> new LatentActivation.Relu();
      };
    }

    Dictionary.Decoder decoder(Place place, boolean biased) {
      int width = model.width(place);
      return new Dictionary.Decoder(
          place,
          DecoderRows.of(uniform(Shape.of(LATENTS, width), 1)),
          biased ? Optional.of(uniform(Shape.of(width), 0.5)) : Optional.empty());
    }

    Dictionary dictionary(Place reads, List<Dictionary.Decoder> decoders) {
      int width = model.width(reads);
      Dictionary made =
          Dictionary.of(
              "drawn",
              reads,
              activation(),
              uniform(Shape.of(LATENTS, width), 1),
              uniform(Shape.of(LATENTS), 0.3).plus(0.4),
              decoders);
      if (random.nextBoolean()) {
        made = made.withInputBias(uniform(Shape.of(width), 0.3));
      }
      return made.withNormalisation(
          switch (random.nextInt(3)) {
            case 0 -> Normalisation.LAYER_NORM;
            case 1 -> Normalisation.CONSTANT_NORM;
            default -> Normalisation.NONE;
          });
    }

    void autoencoder(Place place) {
      dictionaries.add(dictionary(place, List.of(decoder(place, random.nextBoolean()))));
    }

    private Place beforeMlp(int layer) {
      Site site =
          switch (random.nextInt(3)) {
            case 0 -> Site.MLP_STANDARDISED;
            case 1 -> Site.MLP_INPUT;
            default -> Site.RESIDUAL_AFTER_ATTENTION;
          };
      return site == Site.RESIDUAL_AFTER_ATTENTION
          ? model.residualAt(model.mlp(layer).reads())
          : Place.of(site, layer);
    }

    private static Place written(Random random, int layer) {
      return Place.of(random.nextBoolean() ? Site.MLP_OUTPUT : Site.MLP_RESULT, layer);
    }

    void transcoder(int layer) {
      Place reads = beforeMlp(layer);
      Dictionary made = dictionary(reads, List.of(decoder(written(random, layer), true)));
      if (random.nextBoolean()) {
        int width = model.config().dModel();
        made = made.withSkip(uniform(Shape.of(width, width), 0.4));
      }
      dictionaries.add(made);
    }

    /** Of all layers; where layers are parallel it reads what enters the MLP. */
    void crossLayer() {
      boolean result = random.nextBoolean();
      for (int layer = 0; layer < LAYERS; layer++) {
        List<Dictionary.Decoder> decoders = new ArrayList<>();
        for (int to = layer; to < LAYERS; to++) {
          Place place = Place.of(result ? Site.MLP_RESULT : Site.MLP_OUTPUT, to);
          decoders.add(decoder(place, to == layer));
        }
        dictionaries.add(dictionary(Place.of(Site.MLP_INPUT, layer), decoders).crossLayer());
      }
    }

    void residual(int layer) {
      autoencoder(Place.of(Site.RESIDUAL_AFTER_MLP, layer));
    }
  }
}

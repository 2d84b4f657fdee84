package dev.tributary.attribution;

import dev.tributary.attribution.Bias.BiasPart;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.function.BiFunction;

/** Small random models with every kind of autoencoder, and random nodes of every kind in them. */
final class RandomNodes {
  static final int LAYERS = 3;
  static final int TOKENS = 4;
  static final int HEADS = 2;
  static final int HEAD_WIDTH = 4;
  static final int NEURONS = 5;
  static final int VOCABULARY = 7;
  static final int WIDTH = 7;
  static final int LATENTS = 8;

  static final List<Site> ENCODED =
      List.of(Site.MLP_ACTIVATION, Site.MLP_OUTPUT, Site.ATTENTION_OUTPUT);

  /** Draws a node of one kind from a layer or the ones after it. */
  interface Kind<N> extends BiFunction<Random, Integer, N> {}

  static Map<String, Kind<Source>> sourceKinds() {
    Map<String, Kind<Source>> kinds = new LinkedHashMap<>();
    for (EmbeddingPart part : EmbeddingPart.values()) {
      kinds.put(
          "embedding (" + part.name().toLowerCase(Locale.ROOT) + ")",
          (random, layer) -> new Embedding(part, token(random)));
    }
    kinds.put("neuron", (random, layer) -> neuron(random, layer));
    kinds.put("head pair", (random, layer) -> pair(random, layer));
    for (BiasPart part : BiasPart.values()) {
      kinds.put(
          part.name().toLowerCase(Locale.ROOT) + " bias",
          (random, layer) -> new Bias(part, layer, token(random)));
    }
    for (Site site : ENCODED) {
      kinds.put("latent of " + site, (random, layer) -> latent(site, random, layer));
      kinds.put(
          "error of " + site,
          (random, layer) -> new ReconstructionError(id(site, layer), token(random)));
      kinds.put(
          "pre-bias of " + site, (random, layer) -> new PreBias(id(site, layer), token(random)));
    }
    return kinds;
  }

  static Map<String, Kind<Target>> targetKinds() {
    Map<String, Kind<Target>> kinds = new LinkedHashMap<>();
    kinds.put("neuron", (random, layer) -> neuron(random, layer));
    for (InputPath path : List.of(InputPath.GATE, InputPath.UP)) {
      kinds.put(
          path.name().toLowerCase(Locale.ROOT),
          (random, layer) -> neuron(random, layer).through(path));
    }
    for (InputPath path : List.of(InputPath.QUERY, InputPath.KEY, InputPath.VALUE)) {
      kinds.put(
          path.name().toLowerCase(Locale.ROOT),
          (random, layer) -> pair(random, layer).through(path));
    }
    for (Site site : ENCODED) {
      kinds.put("latent of " + site, (random, layer) -> latent(site, random, layer));
    }
    kinds.put("metric", (random, layer) -> new Explained());
    kinds.put("logit", (random, layer) -> new Logit(token(random), random.nextInt(VOCABULARY)));
    kinds.put(
        "direction",
        (random, layer) ->
            new Direction(
                new Point(2 * layer), token(random), gaussian(Shape.of(WIDTH), random, 1)));
    return kinds;
  }

  /** The last more often than others, so that sources and targets meet. */
  static int token(Random random) {
    return random.nextBoolean() ? TOKENS - 1 : random.nextInt(TOKENS);
  }

  static Neuron neuron(Random random, int layer) {
    return new Neuron(layer, token(random), random.nextInt(NEURONS));
  }

  static HeadPair pair(Random random, int layer) {
    int query = token(random);
    return new HeadPair(layer, random.nextInt(HEADS), query, random.nextInt(query + 1));
  }

  static Latent latent(Site site, Random random, int layer) {
    return new Latent(id(site, layer), token(random), random.nextInt(LATENTS));
  }

  static Tensor gaussian(Shape shape, Random random, double deviation) {
    return Tensor.generate(
        DType.DOUBLE,
        shape,
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = deviation * random.nextGaussian();
          }
        });
  }

  /** The first draws of neighbouring seeds resemble each other; those of these do not. */
  static Random random(long seed) {
    return new Random(seed * 0x9E3779B97F4A7C15L);
  }

  static NodeAttribution attribution(long seed) {
    Random random = random(seed + 1_000_000);
    TransformerConfig config =
        TransformerConfig.gpt2(
            LAYERS,
            WIDTH,
            HEADS,
            HEAD_WIDTH,
            NEURONS,
            TOKENS,
            VOCABULARY,
            1e-5,
            seed % 2 == 0 ? MlpActivation.TANH_GELU : MlpActivation.EXACT_GELU,
            random.nextBoolean());
    return attribution(seed, config, random);
  }

  /** Of a GPT-2 or of another model. */
  static NodeAttribution drawn(long seed) {
    return seed % 2 == 0 ? attribution(seed) : mixture(seed);
  }

  /** Of a model that mixes what transformers can be, instead of a GPT-2. */
  static NodeAttribution mixture(long seed) {
    Random random = random(seed + 2_000_000);
    return attribution(
        seed,
        RandomArchitecture.of(
            random, LAYERS, WIDTH, HEADS, HEAD_WIDTH, NEURONS, TOKENS, VOCABULARY),
        random);
  }

  private static NodeAttribution attribution(long seed, TransformerConfig config, Random random) {
    List<Dictionary> autoencoders = new ArrayList<>();
    for (int layer = 0; layer < LAYERS; layer++) {
      for (Site site : ENCODED) {
        autoencoders.add(autoencoder(site, layer, random));
      }
    }
    Transformer model = Transformer.random(config, DType.DOUBLE, seed).with(autoencoders);
    Run run = model.run(random.ints(TOKENS, 0, VOCABULARY).toArray());
    Metric metric =
        random.nextBoolean()
            ? Metric.logitDifference(TOKENS - 1, 1, 2)
            : Metric.logProbability(TOKENS - 1, 3);
    return NodeAttribution.of(run, metric);
  }

  /** Of the autoencoder of a site. */
  static Dictionary.Id id(Site site, int layer) {
    Dictionary.Kind kind =
        switch (site) {
          case MLP_ACTIVATION -> Dictionary.Kind.ACTIVATION;
          case MLP_OUTPUT -> Dictionary.Kind.MLP;
          case ATTENTION_OUTPUT -> Dictionary.Kind.ATTENTION;
          default -> throw new IllegalArgumentException(site.toString());
        };
    return new Dictionary.Id(kind, "", layer);
  }

  static Dictionary autoencoder(Site site, int layer, Random random) {
    return autoencoder(site, layer, site == Site.MLP_ACTIVATION ? NEURONS : WIDTH, random);
  }

  /** Of a site at which vectors have n numbers. */
  static Dictionary autoencoder(Site site, int layer, int n, Random random) {
    Shape latent = Shape.of(LATENTS);
    LatentActivation activation =
        switch (random.nextInt(4)) {
          case 0 -> new LatentActivation.Relu();
          case 1 -> new LatentActivation.TopK(1 + random.nextInt(LATENTS));
          case 2 -> new LatentActivation.JumpRelu(gaussian(latent, random, 0.3));
          default ->
              new LatentActivation.Gated(
                  gaussian(latent, random, 0.3), gaussian(latent, random, 0.3));
        };
    Tensor encoder = gaussian(Shape.of(LATENTS, n), random, 1);
    Tensor preBias = gaussian(Shape.of(n), random, 0.3);
    Tensor latentBias = gaussian(latent, random, 0.3).plus(0.5); // most latents are active
    Tensor decoder = random.nextBoolean() ? encoder : gaussian(Shape.of(LATENTS, n), random, 1);
    return Dictionary.autoencoder(
        "given weights", Place.of(site, layer), activation, encoder, decoder, preBias, latentBias);
  }

  /** Whether a run has a node: some models have no biases, no gates, or embed no positions. */
  static boolean has(Run run, Node node) {
    try {
      node.requireIn(run);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /** What a source adds to the residual stream, [dModel]. */
  static Tensor write(Run run, Source source) {
    return source.writes(run).get(0).vector();
  }

  /** Where it does. */
  static Point point(Run run, Source source) {
    return source.writes(run).get(0).point();
  }

  /** The activation of a node that has one. */
  static double activation(Run run, Node node) {
    return node.activation(run).orElseThrow();
  }

  private RandomNodes() {}

  /** Those that are made when they are asked for then live as long as the nodes. */
  static void askForGradients(NodeAttribution nodes) {
    try (Scope scope = Scope.open()) {
      nodes.run().places().forEach(nodes::gradient);
    }
  }
}

package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * How often numbers pass between tensors and the program for one question, which on a GPU are waits
 * and copies: however large the model and the prompt are.
 */
class TransfersTest {
  private static final int VOCABULARY = 11;
  private static final int LAYER = 1;

  /** Transfers that one layer more may add. */
  private static final long IN_A_LAYER = 8;

  /** Of a model and its prompt. */
  private record Size(int layers, int tokens, int heads, int neurons, boolean dictionaries) {
    NodeAttribution attribution(long seed) {
      Random random = RandomNodes.random(seed);
      TransformerConfig config =
          RandomArchitecture.of(
              random, layers, RandomNodes.WIDTH, heads, 4, neurons, tokens, VOCABULARY);
      List<Dictionary> given = new ArrayList<>();
      for (int layer = 0; dictionaries && layer < layers; layer++) {
        for (Site site : RandomNodes.ENCODED) {
          int n = site == Site.MLP_ACTIVATION ? neurons : RandomNodes.WIDTH;
          given.add(RandomNodes.autoencoder(site, layer, n, RandomNodes.random(layer)));
        }
      }
      Transformer model = Transformer.random(config, DType.DOUBLE, seed).with(given);
      Run run = model.run(random.ints(tokens, 0, VOCABULARY).toArray());
      run.encodings();
      NodeAttribution nodes = NodeAttribution.of(run, Metric.logProbability(tokens - 1, 3));
      RandomNodes.askForGradients(nodes);
      return nodes;
    }

    /** The last token, that reads and hides nothing. */
    int last() {
      return tokens - 1;
    }

    List<Target> targets(Run run) {
      HeadPair pair = new HeadPair(LAYER, heads - 1, last(), last() - 1);
      List<Target> targets = new ArrayList<>(pair.targets());
      targets.add(new Neuron(LAYER, last(), 2));
      targets.add(new Neuron(LAYER, last(), 2).through(InputPath.GATE));
      targets.add(new Explained());
      targets.add(new Logit(last(), 3));
      for (Site site : dictionaries ? RandomNodes.ENCODED : List.<Site>of()) {
        targets.add(new Latent(RandomNodes.id(site, LAYER), last(), 1));
      }
      targets.removeIf(target -> !RandomNodes.has(run, target));
      return targets;
    }

    List<Source> sources(Run run) {
      List<Source> sources = new ArrayList<>();
      sources.add(new Embedding(Embedding.EmbeddingPart.TOKEN, 1));
      sources.add(new Neuron(LAYER, 1, 2));
      sources.add(new HeadPair(LAYER, heads - 1, 1, 0));
      for (Bias.BiasPart part : Bias.BiasPart.values()) {
        sources.add(new Bias(part, LAYER, 1));
      }
      for (Site site : dictionaries ? RandomNodes.ENCODED : List.<Site>of()) {
        sources.add(new Latent(RandomNodes.id(site, LAYER), 1, 1));
        sources.add(new ReconstructionError(RandomNodes.id(site, LAYER), 1));
        sources.add(new PreBias(RandomNodes.id(site, LAYER), 1));
      }
      sources.removeIf(source -> !RandomNodes.has(run, source));
      return sources;
    }
  }

  private static long transfers(Runnable question) {
    long before = Scope.transfers();
    try (Scope scope = Scope.open()) {
      question.run();
    }
    return Scope.transfers() - before;
  }

  /** How many each question takes, by its name without numbers. */
  private static Map<String, Long> questions(Size size, long seed) {
    Map<String, Long> counts = new LinkedHashMap<>();
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = size.attribution(seed);
      Run run = nodes.run();
      ScaleGradient scale = seed % 2 == 0 ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
      EdgeAttribution edges = EdgeAttribution.of(nodes, scale);
      counts.put(
          "gradients",
          transfers(() -> NodeAttribution.of(run, Metric.logProbability(size.last(), 3))));
      counts.put("direct effect", transfers(nodes::directEffect));
      EdgeScores direct = nodes.directEffect();
      counts.put("sum", transfers(direct::sum));
      counts.put("top 20", transfers(() -> direct.top(20)));
      Readings readings = nodes.activationTimesGradient();
      counts.put("top 20 nodes", transfers(() -> readings.top(20)));
      if (!size.dictionaries) {
        counts.put("search, before the join", transfers(() -> EdgeSearch.of(edges).join()));
      }
      for (Target target : size.targets(run)) {
        String kind = kind(target);
        counts.put("into " + kind, transfers(() -> edges.into(target)));
        counts.put("certificate of " + kind, transfers(() -> edges.certify(target)));
      }
      for (Source source : size.sources(run)) {
        counts.put("out of " + kind(source), transfers(() -> edges.outOf(source)));
        EdgeScores scores = edges.outOf(source);
        counts.put("top 20 out of " + kind(source), transfers(() -> scores.top(20)));
      }
    }
    return counts;
  }

  private static String kind(Node node) {
    return node.toString().replaceAll("[0-9]+", "#");
  }

  /** Of models without dictionaries. */
  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
  void question_moreTokensHeadsAndNeurons_asManyTransfers(long seed) {
    assertEquals(
        questions(new Size(3, 5, 2, 6, false), seed),
        questions(new Size(3, 26, 22, 40, false), seed));
  }

  /** What rotary positions, windows and norms of parts pass is passed in each layer. */
  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
  void question_moreLayers_aConstantForEach(long seed) {
    assertNoMore(
        questions(new Size(3, 5, 2, 6, false), seed),
        3 * IN_A_LAYER,
        questions(new Size(6, 5, 2, 6, false), seed));
  }

  /** Indices are not passed where they happen to follow each other, so of few they are fewer. */
  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
  void question_latentsOfMoreTokens_fewerMoreThanTokens(long seed) {
    int dictionaries = 3 * RandomNodes.ENCODED.size();
    assertNoMore(
        questions(new Size(3, 5, 2, 6, true), seed),
        2L * dictionaries,
        questions(new Size(3, 26, 22, 40, true), seed));
  }

  private static void assertNoMore(Map<String, Long> few, long more, Map<String, Long> many) {
    assertEquals(few.keySet(), many.keySet());
    few.forEach(
        (question, count) -> {
          long then = many.getOrDefault(question, Long.MAX_VALUE);
          assertTrue(then <= count + more, question + ": " + count + " transfers, then " + then);
        });
  }
}

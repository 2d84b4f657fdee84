package dev.tributary.attribution.dataset;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.RandomDictionaries;
import dev.tributary.attribution.dataset.NodeList.Kind;
import dev.tributary.attribution.dataset.NodeList.OfDictionary;
import dev.tributary.attribution.dataset.NodeList.OfLayer;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.LatentIntervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.LongRange;

/** The laws of latents as nodes over pairs, of whatever dictionaries of whatever model. */
class LatentNodesLawsTest {
  private static final int TOKENS = RandomDictionaries.TOKENS;

  /** Rounding in 64 bits, relative to 1 or the larger number. */
  private static final double EXACT = 1e-9;

  /** Truncation of central differences, and rounding over their step. */
  private static final double DIFFERENCE = 1e-5;

  private static final double STEP = 1e-5;

  /** A pair and its runs. */
  private record Drawn(Transformer model, Pair pair, Random random) {
    static Drawn of(RandomDictionaries sets, long seed) {
      Random random = new Random(seed);
      Transformer model = sets.model(random, seed);
      return new Drawn(
          model,
          new Pair(
              prompt(random),
              prompt(random),
              new PairMetric.OfLogits(
                  new Metric.LogitDifference(TOKENS - 1, List.of(1), List.of(2)))),
          random);
    }

    private static List<Integer> prompt(Random random) {
      return random.ints(TOKENS, 0, RandomDictionaries.VOCABULARY).boxed().toList();
    }

    NodeList nodes() {
      return NodeList.of(model).withDictionaries();
    }

    NodeScores scores(NodeMethod method) {
      return new NodeScorer(nodes(), method).score(pair);
    }

    Run clean() {
      return model.run(EnumSet.allOf(Site.class), Pair.ids(pair.clean()));
    }

    Run corrupted() {
      return model.run(EnumSet.allOf(Site.class), Pair.ids(pair.corrupted()));
    }

    Dictionary dictionary() {
      return model.dictionaries().get(random.nextInt(model.dictionaries().size()));
    }

    Function<Run, Variable> metric(Run clean) {
      return pair.metric().against(clean);
    }
  }

  private static NodeList.Node latent(Dictionary dictionary, int latent) {
    return new NodeList.Node(new OfDictionary(Kind.LATENT, dictionary.id()), latent);
  }

  private static NodeList.Node error(Dictionary dictionary) {
    return new NodeList.Node(new OfDictionary(Kind.ERROR, dictionary.id()), 0);
  }

  private static void assertClose(double expected, double actual, double tolerance, long seed) {
    double size = Math.max(1, Math.abs(expected));
    assertEquals(expected, actual, tolerance * size, () -> "seed " + seed);
  }

  /** Another implementation encodes the changed run and decodes how its latent moves. */
  private static Change moved(Dictionary dictionary, int token, int latent, double to) {
    return LatentIntervention.of(
        dictionary, List.of(new LatentIntervention.Latent(latent, Tokens.at(token), 0, to)));
  }

  @Property(tries = 25)
  void exact_latents_areThoseOfRunsChangedByHand(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      Drawn drawn = Drawn.of(sets, seed);
      NodeScores scores = drawn.scores(NodeMethod.EXACT);
      Run clean = drawn.clean();
      Run corrupted = drawn.corrupted();
      Function<Run, Variable> metric = drawn.metric(clean);
      double plain = PairRuns.value(metric, clean);
      Dictionary dictionary = drawn.dictionary();
      double[] sums = new double[dictionary.latentCount()];
      for (int latent = 0; latent < dictionary.latentCount(); latent++) {
        for (int token = 0; token < TOKENS; token++) {
          double to = corrupted.encoding(dictionary).value(token, latent);
          Run changed = clean.with(moved(dictionary, token, latent, to));
          double score = scores.of(latent(dictionary, latent), token);
          assertClose(PairRuns.value(metric, changed) - plain, score, EXACT, seed);
          sums[latent] += score;
        }
      }
      NodeList.Numbers numbers =
          drawn.nodes().numbers(new OfDictionary(Kind.LATENT, dictionary.id()));
      for (int latent = 0; latent < sums.length; latent++) {
        double sum = scores.byNumber()[numbers.of(latent, 0)];
        assertClose(sums[latent], sum, EXACT, seed);
      }
    }
  }

  @Property(tries = 25)
  void exact_error_isThatOfWhatLatentsLeave(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      Drawn drawn = Drawn.of(sets, seed);
      NodeScores scores = drawn.scores(NodeMethod.EXACT);
      Run clean = drawn.clean();
      Run corrupted = drawn.corrupted();
      Function<Run, Variable> metric = drawn.metric(clean);
      Dictionary dictionary = drawn.dictionary();
      Place place = dictionary.decoders().get(0).place();
      for (int token = 0; token < TOKENS; token++) {
        // what is there when all latents that write there have moved, and the error has not
        Run latents = clean;
        for (Dictionary member : together(drawn.model, dictionary)) {
          for (int latent = 0; latent < member.latentCount(); latent++) {
            double by =
                corrupted.encoding(member).value(token, latent)
                    - clean.encoding(member).value(token, latent);
            int decoder = NodeGradients.places(member).indexOf(place);
            Tensor row = clean.encoding(member).rows(decoder, token, latent).times(by);
            latents = latents.with(Intervention.add(drawn.model, place, token, row));
          }
        }
        Tensor left =
            corrupted.vectors(place).minus(latents.vectors(place)).slice(0, token, token + 1);
        Run changed = clean.with(Intervention.add(drawn.model, place, token, left));
        assertClose(
            PairRuns.value(metric, changed) - PairRuns.value(metric, clean),
            scores.of(error(dictionary), token),
            EXACT,
            seed);
      }
    }
  }

  /** All layers of a cross-layer transcoder that write where it writes first, or itself. */
  private static List<Dictionary> together(Transformer model, Dictionary own) {
    return own.id().kind() == Dictionary.Kind.CROSS_LAYER
        ? model.dictionaries().stream()
            .filter(other -> other.id().kind() == Dictionary.Kind.CROSS_LAYER)
            .filter(other -> other.id().label().equals(own.id().label()))
            .filter(other -> other.id().layer() <= own.id().layer())
            .toList()
        : List.of(own);
  }

  @Property(tries = 25)
  void estimates_latents_areDerivativesAlongTheirMoves(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      Drawn drawn = Drawn.of(sets, seed);
      NodeScores atp = drawn.scores(NodeMethod.ATP);
      NodeScores fixed = drawn.scores(NodeMethod.ATP_QK_FIX);
      NodeScores dropped = drawn.scores(NodeMethod.GRAD_DROP);
      NodeScores star = drawn.scores(NodeMethod.ATP_STAR);
      Run clean = drawn.clean();
      Run corrupted = drawn.corrupted();
      Dictionary dictionary = drawn.dictionary();
      int layers = drawn.model.layers();
      for (int latent = 0; latent < dictionary.latentCount(); latent++) {
        int token = drawn.random.nextInt(TOKENS);
        double from = clean.encoding(dictionary).value(token, latent);
        double by = corrupted.encoding(dictionary).value(token, latent) - from;
        double magnitudes = 0;
        for (int layer = 0; layer < layers; layer++) {
          List<Change> constant =
              List.of(
                  Intervention.patch(Place.of(Site.ATTENTION_OUTPUT, layer), clean),
                  Intervention.patch(Place.of(Site.MLP_OUTPUT, layer), clean));
          double own = by * slope(drawn, clean, dictionary, token, latent, constant);
          magnitudes += Math.abs(own) / (isOfOneLayer(dictionary) ? layers - 1 : layers);
        }
        NodeList.Node node = latent(dictionary, latent);
        double expected = by * slope(drawn, clean, dictionary, token, latent, List.of());
        assertClose(expected, atp.of(node, token), DIFFERENCE, seed);
        assertClose(magnitudes, dropped.of(node, token), DIFFERENCE, seed);
        assertEquals(atp.of(node, token), fixed.of(node, token));
        assertEquals(dropped.of(node, token), star.of(node, token));
      }
    }
  }

  private static boolean isOfOneLayer(Dictionary dictionary) {
    Place first = dictionary.decoders().get(0).place();
    return dictionary.decoders().size() == 1
        && !Set.of(Site.EMBEDDING, Site.RESIDUAL_AFTER_ATTENTION, Site.RESIDUAL_AFTER_MLP)
            .contains(first.site());
  }

  /** By central differences, with something constant beside. */
  private static double slope(
      Drawn drawn, Run clean, Dictionary dictionary, int token, int latent, List<Change> constant) {
    double[] ends =
        IntStream.of(1, -1)
            .mapToDouble(
                sign -> {
                  List<Change> all = new ArrayList<>();
                  all.add(
                      LatentIntervention.of(
                          dictionary,
                          List.of(
                              new LatentIntervention.Latent(
                                  latent, Tokens.at(token), 1, sign * STEP))));
                  all.addAll(constant);
                  Run run = clean.with(Change.together(all));
                  return PairRuns.value(drawn.metric(clean), run);
                })
            .toArray();
    return (ends[0] - ends[1]) / (2 * STEP);
  }

  @Property(tries = 25)
  void estimates_latentsAndErrors_addUpToWhereTheyWrite(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      Drawn drawn = Drawn.of(sets, seed);
      NodeScores scores = drawn.scores(NodeMethod.ATP);
      Run clean = drawn.clean();
      Run corrupted = drawn.corrupted();
      Dictionary dictionary = drawn.dictionary();
      boolean isWhole = dictionary.id().kind() != Dictionary.Kind.CROSS_LAYER;
      List<Dictionary> members =
          isWhole
              ? List.of(dictionary)
              : drawn.model.dictionaries().stream()
                  .filter(own -> own.id().kind() == dictionary.id().kind())
                  .toList();
      for (int token = 0; token < TOKENS; token++) {
        double sum = 0;
        double expected = 0;
        for (Dictionary member : members) {
          for (int latent = 0; latent < member.latentCount(); latent++) {
            sum += scores.of(latent(member, latent), token);
          }
          sum += scores.of(error(member), token);
          Place place = member.decoders().get(0).place();
          expected += along(clean, corrupted, drawn.metric(clean), place, token);
        }
        assertClose(expected, sum, EXACT, seed);
        Place place = dictionary.decoders().get(0).place();
        if (isWhole && place.site() == Site.MLP_OUTPUT) {
          NodeList.Node mlp = new NodeList.Node(new OfLayer(Kind.MLP, place.layer()), 0);
          assertClose(scores.of(mlp, token), sum, EXACT, seed);
        }
      }
    }
  }

  /** What moves at a token of a site, times the gradient there. */
  private static double along(
      Run clean, Run corrupted, Function<Run, Variable> metric, Place place, int token) {
    Tensor gradient = Jacobian.of(metric.apply(clean), clean.variable(place)).gradient().get(0);
    Tensor moved = corrupted.value(place).minus(clean.value(place)).times(gradient);
    int axis = moved.shape().rank() - 2;
    return Arrays.stream(moved.slice(axis, token, token + 1).toDoubles()).sum();
  }

  @Property(tries = 10)
  void moved_aPair_isAllThatScores(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      Drawn drawn = Drawn.of(sets, seed);
      boolean byToken = seed % 2 == 0;
      NodeList nodes = byToken ? drawn.nodes().byToken(TOKENS) : drawn.nodes();
      NodeScorer scorer = new NodeScorer(nodes, NodeMethod.ATP_STAR);
      NodeScores scores = scorer.score(drawn.pair);
      PairScores sums = scorer.sums(drawn.pair);
      int[] moved = scorer.moved(drawn.pair);
      Set<Integer> all = Set.copyOf(IntStream.of(moved).boxed().toList());
      assertEquals(moved.length, all.size());
      for (int i = 0; i < nodes.size(); i++) {
        assertTrue(sums.score(i) == 0 || all.contains(i), "seed " + seed);
        NodeList.Node node = nodes.get(i);
        int token = byToken ? node.tokens().first() : TOKENS - 1;
        assertEquals(i, nodes.numbers(node.group()).of(node.index(), token));
        double[] each = IntStream.range(0, TOKENS).mapToDouble(t -> scores.of(node, t)).toArray();
        double sum = byToken ? each[token] : Arrays.stream(each).sum();
        assertClose(sum, sums.score(i), EXACT, seed);
        if (node.group() instanceof OfDictionary own) { // called as the nodes of one prompt
          String name = own.name(node.index());
          assertEquals(name, Node.parse(name + "[0]").coordinates().withoutTokens());
          assertEquals(byToken ? name + "@" + token : name, node.toString());
          assertEquals(own.layer(), own.dictionary().layer());
        }
      }
      List<Integer> some = List.of(moved[moved.length - 1], 0, moved[moved.length / 2]);
      List<Double> really = scorer.exact(drawn.pair, some);
      NodeScores exact = new NodeScorer(nodes, NodeMethod.EXACT).score(drawn.pair);
      for (int i = 0; i < some.size(); i++) {
        NodeList.Node node = nodes.get(some.get(i));
        double magnitudes =
            IntStream.range(0, TOKENS)
                .filter(token -> !byToken || token == node.tokens().first())
                .mapToDouble(token -> Math.abs(exact.of(node, token)))
                .sum();
        assertClose(magnitudes, really.get(i), EXACT, seed);
      }
    }
  }
}

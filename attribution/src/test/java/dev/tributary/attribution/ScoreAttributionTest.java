package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.attribution.ScoreAttribution.Share;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Frozen;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

/** The laws of scores as sums over pairs, whatever the model and the head. */
class ScoreAttributionTest {
  /** Rounding of a few sums in 64 bits, relative to 1 or the number. */
  private static final double EXACT = 1e-9;

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40);
  }

  private static void assertClose(double expected, double actual, Object what) {
    assertEquals(expected, actual, EXACT * Math.max(1, Math.abs(expected)), what::toString);
  }

  private static AttentionConfig config(Run run, HeadPair pair) {
    return run.model().config().layers().get(pair.layer()).attention();
  }

  @Property(tries = 100)
  void of_anyHead_sumsToTheRecordedScore(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      Random random = RandomNodes.random(seed);
      HeadPair pair = RandomNodes.pair(random, random.nextInt(RandomNodes.LAYERS));
      ScoreAttribution score = ScoreAttribution.of(run, pair);
      assertClose(score.score(), score.sum(), pair);
      assertTrue(score.relativeResidual() < EXACT, pair::toString);
      if (run.model().attention(pair.layer()).sees(pair.query(), pair.key())) {
        double recorded =
            run.value(Site.SCORES, pair.layer()).get(pair.head(), pair.query(), pair.key());
        double capped =
            config(run, pair).cap().isEmpty()
                ? score.score()
                : config(run, pair).cap().getAsDouble()
                    * Math.tanh(score.score() / config(run, pair).cap().getAsDouble());
        assertClose(recorded, capped, pair);
      }
    }
  }

  /** Queries or keys of a run whose scales are held, as the residual stream is moved. */
  private static final class Moving {
    private final Run run;
    private final HeadPair pair;
    private final Site site;
    private final int head;
    private final Map<Optional<Source>, Tensor> known = new HashMap<>();

    Moving(Run run, HeadPair pair, Site site) {
      this.run = run;
      this.pair = pair;
      this.site = site;
      Attention attention = run.model().attention(pair.layer());
      this.head = site == Site.QUERY ? pair.head() : attention.keyHead(pair.head());
    }

    private Tensor with(int token, Tensor added) {
      Place stream = run.model().residualAt(run.model().attention(pair.layer()).reads());
      Change[] changes = {Frozen.as(run), Intervention.add(stream.at(0, token), added)};
      Tensor all = run.with(changes).value(site, pair.layer());
      return all.slice(0, head, head + 1).slice(1, token, token + 1);
    }

    /** By how much a source moves it; what is left without any. */
    Tensor part(Optional<Source> source, int token) {
      return known.computeIfAbsent(
          source,
          any -> {
            int reads = run.model().attention(pair.layer()).reads().index();
            Tensor residual =
                run.residual(run.model().attention(pair.layer()).reads())
                    .value()
                    .slice(0, token, token + 1);
            if (source.isEmpty()) {
              return with(token, residual.negate());
            }
            Tensor write = residual.times(0);
            for (Write one : source.get().writes(run)) {
              assertEquals(token, one.token());
              if (one.point().index() <= reads) {
                write = write.plus(one.vector());
              }
            }
            return with(token, write).minus(with(token, write.times(0)));
          });
    }
  }

  @Property(tries = 25)
  void top_everyPair_isTheBilinearForm(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      Random random = RandomNodes.random(seed);
      HeadPair pair = RandomNodes.pair(random, random.nextInt(RandomNodes.LAYERS));
      ScoreAttribution score = ScoreAttribution.of(run, pair);
      Moving queries = new Moving(run, pair, Site.QUERY);
      Moving keys = new Moving(run, pair, Site.KEY);
      double scale = config(run, pair).scoreScale();
      double sum = 0;
      HashSet<List<Optional<Source>>> seen = new HashSet<>();
      for (Pair part : score.top(Integer.MAX_VALUE)) {
        Tensor q = queries.part(part.query(), pair.query());
        Tensor k = keys.part(part.key(), pair.key());
        assertClose(scale * q.matmulTransposed(k).item(), part.score(), part);
        assertTrue(seen.add(List.of(part.query(), part.key())), part::toString);
        sum += part.score();
      }
      assertClose(score.score(), sum, pair);
      assertTrue(seen.size() <= score.pairs());
    }
  }

  @Property(tries = 60)
  void difference_twoKeys_isThatOfTheirScores(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      Random random = RandomNodes.random(seed);
      int layer = random.nextInt(RandomNodes.LAYERS);
      int head = random.nextInt(RandomNodes.HEADS);
      HeadPair one = new HeadPair(layer, head, 3, random.nextInt(2));
      HeadPair other = new HeadPair(layer, head, 3, 2 + random.nextInt(2));
      ScoreAttribution difference = ScoreAttribution.difference(run, one, other.key());
      double expected =
          ScoreAttribution.of(run, one).score() - ScoreAttribution.of(run, other).score();
      assertClose(expected, difference.score(), one);
      assertClose(expected, difference.sum(), one);
      Map<List<Optional<Source>>, Double> parts = new HashMap<>();
      ScoreAttribution.of(run, one)
          .top(Integer.MAX_VALUE)
          .forEach(part -> parts.put(List.of(part.query(), part.key()), part.score()));
      ScoreAttribution.of(run, other)
          .top(Integer.MAX_VALUE)
          .forEach(
              part -> parts.merge(List.of(part.query(), part.key()), -part.score(), Double::sum));
      for (Pair part : difference.top(Integer.MAX_VALUE)) {
        assertClose(parts.remove(List.of(part.query(), part.key())), part.score(), part);
      }
      parts.values().forEach(rest -> assertClose(0, rest, one));
    }
  }

  @Property(tries = 60)
  void top_inSmallSteps_findsTheLargest(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      Random random = RandomNodes.random(seed);
      HeadPair pair = RandomNodes.pair(random, RandomNodes.LAYERS - 1);
      ScoreAttribution score = ScoreAttribution.of(run, pair);
      List<Pair> all = score.top(Integer.MAX_VALUE);
      for (int i = 1; i < all.size(); i++) {
        assertTrue(Math.abs(all.get(i - 1).score()) >= Math.abs(all.get(i).score()));
      }
      int count = Math.min(all.size(), 1 + random.nextInt(20));
      List<Pair> few = score.top(count, 1 + random.nextInt(3), 1 + random.nextInt(5));
      assertEquals(count, few.size());
      for (int i = 0; i < count; i++) { // of equals, any may be first
        assertEquals(Math.abs(all.get(i).score()), Math.abs(few.get(i).score()), EXACT);
        assertTrue(all.contains(few.get(i)), few.get(i)::toString);
      }
    }
  }

  @Property(tries = 60)
  void queriesAndKeys_everyMember_sumsItsPairs(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      Random random = RandomNodes.random(seed);
      HeadPair pair = RandomNodes.pair(random, random.nextInt(RandomNodes.LAYERS));
      ScoreAttribution score = ScoreAttribution.of(run, pair);
      List<Pair> all = score.top(Integer.MAX_VALUE);
      assertShares(all, Pair::query, score.queries(Integer.MAX_VALUE));
      assertShares(all, Pair::key, score.keys(Integer.MAX_VALUE));
      assertEquals(score.queries(Integer.MAX_VALUE).subList(0, 1), score.queries(1));
    }
  }

  private static void assertShares(
      List<Pair> pairs, Function<Pair, Optional<Source>> side, List<Share> shares) {
    Map<Optional<Source>, Double> sums = new HashMap<>();
    pairs.forEach(pair -> sums.merge(side.apply(pair), pair.score(), Double::sum));
    for (Share share : shares) {
      Double sum = sums.remove(share.source());
      assertClose(sum == null ? 0 : sum, share.score(), share);
    }
    sums.values().forEach(sum -> assertClose(0, sum, shares));
  }

  @Property(tries = 20)
  void answers_everyTensor_diesWithItsScope(@ForAll("seeds") long seed) {
    try (Scope outer = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      run.encodings();
      long before = Scope.liveTensors();
      HeadPair pair = new HeadPair(2, 0, 3, 1);
      ScoreAttribution.of(run, pair).top(1); // what the run keeps is made
      try (Scope scope = Scope.open()) {
        long made = Scope.liveTensors();
        ScoreAttribution score = ScoreAttribution.of(run, pair);
        long held = Scope.liveTensors();
        assertFalse(score.top(3).isEmpty());
        score.queries(3);
        score.keys(3);
        score.relativeResidual();
        assertEquals(held, Scope.liveTensors());
        assertTrue(held > made && made >= before);
      }
      long after = Scope.liveTensors();
      try (Scope scope = Scope.open()) {
        ScoreAttribution.of(run, pair);
      }
      assertEquals(after, Scope.liveTensors());
    }
  }

  @Test
  void of_whatIsNotThere_isRefused() {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.attribution(0).run();
      HeadPair pair = new HeadPair(1, 0, 3, 1);
      for (HeadPair wrong :
          List.of(
              new HeadPair(3, 0, 3, 1),
              new HeadPair(1, 2, 3, 1),
              new HeadPair(1, 0, 4, 1),
              new HeadPair(1, 0, 1, 2))) {
        assertThrows(
            IllegalArgumentException.class, () -> ScoreAttribution.of(run, wrong), wrong::toString);
      }
      for (int other : new int[] {1, -1, 4}) {
        assertThrows(
            IllegalArgumentException.class, () -> ScoreAttribution.difference(run, pair, other));
      }
      Run changed = run.with(Intervention.ablate(Place.of(Site.MLP_OUTPUT, 0)));
      assertThrows(IllegalArgumentException.class, () -> ScoreAttribution.of(changed, pair));
    }
  }
}

package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Frozen;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

/** The laws of edges through frozen attention, whatever the model, the source and the target. */
class HeadLoadingsTest {
  /** Rounding of a few layers in 64 bits, relative to 1 or the number. */
  private static final double EXACT = 1e-9;

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40);
  }

  /** An edge of a drawn model. */
  private record Drawn(EdgeAttribution edges, Source source, Target target) {
    Run run() {
      return edges.nodes().run();
    }

    HeadLoadings loadings() {
      return HeadLoadings.of(edges, source, target);
    }

    ResidualGradient direction() {
      return edges.gradient(target);
    }
  }

  /** One edge from a source of every kind, of those that there are, to a target of a drawn kind. */
  private static void forEdges(long seed, Consumer<Drawn> law) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      ScaleGradient scale = random.nextBoolean() ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
      EdgeAttribution edges = EdgeAttribution.of(RandomNodes.drawn(seed), scale);
      Run run = edges.nodes().run();
      List<RandomNodes.Kind<Target>> targets = List.copyOf(RandomNodes.targetKinds().values());
      for (RandomNodes.Kind<Source> kind : RandomNodes.sourceKinds().values()) {
        Source source = kind.apply(random, random.nextInt(2));
        Target target =
            targets.get(random.nextInt(targets.size())).apply(random, RandomNodes.LAYERS - 1);
        if (RandomNodes.has(run, source) && RandomNodes.has(run, target)) {
          Drawn drawn = new Drawn(edges, source, target);
          if (RandomNodes.point(run, source).reaches(drawn.direction().point())) {
            law.accept(drawn);
          }
        }
      }
    }
  }

  private static void assertClose(double expected, double actual, Object what) {
    assertEquals(expected, actual, EXACT * Math.max(1, Math.abs(expected)), what::toString);
  }

  @Property(tries = 60)
  void layers_everyOne_sumsToTheEdge(@ForAll("seeds") long seed) {
    forEdges(
        seed,
        drawn -> {
          HeadLoadings loadings = drawn.loadings();
          assertEquals(RandomNodes.LAYERS, loadings.layers().size());
          assertClose(loadings.edge(), loadings.pushed(), drawn);
          for (HeadLoadings.LayerSplit layer : loadings.layers()) {
            assertClose(loadings.edge(), layer.sum(), layer);
          }
          assertTrue(loadings.relativeResidual() < EXACT, drawn::toString);
          assertClose(drawn.edges.between(drawn.source, drawn.target), loadings.direct(), drawn);
        });
  }

  /** What MLPs add is as it was, and so are patterns and scales; more changes come after that. */
  private static double read(Drawn drawn, List<Change> more) {
    Run run = drawn.run();
    List<Change> changes = new ArrayList<>(List.of(Frozen.as(run)));
    for (int layer = 0; layer < run.model().layers(); layer++) {
      changes.add(Intervention.patch(Place.of(Site.MLP_OUTPUT, layer), run));
    }
    changes.addAll(more);
    ResidualGradient direction = drawn.direction();
    Tensor residual = run.with(changes.toArray(Change[]::new)).residual(direction.point()).value();
    int end = direction.firstToken() + direction.rows().shape().size(0);
    Tensor rows = residual.slice(0, direction.firstToken(), end).times(direction.rows());
    return Arrays.stream(rows.toDoubles()).sum();
  }

  /** How much more is read with the writes of the source added once more. */
  private static double moved(Drawn drawn, Change... cut) {
    List<Change> changes = new ArrayList<>(List.of(cut));
    double before = read(drawn, changes);
    for (Write write : drawn.source.writes(drawn.run())) {
      Place stream = drawn.run().model().residualAt(write.point());
      changes.add(Intervention.add(stream.at(0, write.token()), write.vector()));
    }
    return read(drawn, changes) - before;
  }

  @Property(tries = 30)
  void heads_cutInFrozenRun_takeTheirLoadings(@ForAll("seeds") long seed) {
    forEdges(
        seed,
        drawn -> {
          HeadLoadings loadings = drawn.loadings();
          double whole = moved(drawn);
          assertClose(whole, loadings.edge(), drawn);
          for (HeadLoadings.LayerSplit layer : loadings.layers()) {
            Place outputs = Place.of(Site.HEAD_OUTPUT, layer.layer());
            for (int head = 0; head < layer.heads().size(); head++) {
              double rest = moved(drawn, Intervention.patch(outputs.at(0, head), drawn.run()));
              assertClose(whole - rest, layer.heads().get(head), layer + " of " + drawn);
            }
            double passing = moved(drawn, Intervention.patch(outputs, drawn.run()));
            assertClose(passing, layer.passing(), layer + " of " + drawn);
          }
        });
  }

  @Property(tries = 30)
  void of_pairCutInFrozenRun_takesItsPart(@ForAll("seeds") long seed) {
    Random random = RandomNodes.random(seed);
    forEdges(
        seed,
        drawn -> {
          HeadPair pair = RandomNodes.pair(random, random.nextInt(RandomNodes.LAYERS));
          Place probability =
              Place.of(Site.PATTERN, pair.layer())
                  .at(0, pair.head())
                  .at(1, pair.query())
                  .at(2, pair.key());
          double rest = moved(drawn, Intervention.ablate(probability));
          assertClose(moved(drawn) - rest, drawn.loadings().of(pair), pair + " of " + drawn);
        });
  }

  @Property(tries = 60)
  void of_severalWrites_isTheSumOfEach(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      Random random = RandomNodes.random(seed);
      Point last = run.model().end();
      Tensor rows = RandomNodes.gaussian(Shape.of(2, RandomNodes.WIDTH), random, 1);
      ResidualGradient direction = new ResidualGradient(last, random.nextInt(3), rows);
      List<Write> writes = new ArrayList<>();
      double[] sums = new double[RandomNodes.LAYERS * RandomNodes.HEADS];
      for (int i = 0; i < 4; i++) {
        Point point = new Point(random.nextInt(last.index() + 1));
        Tensor vector = RandomNodes.gaussian(Shape.of(RandomNodes.WIDTH), random, 1);
        writes.add(new Write(point, random.nextInt(RandomNodes.TOKENS), vector));
        add(sums, HeadLoadings.of(run, writes.subList(i, i + 1), direction), 1);
      }
      HeadLoadings together = HeadLoadings.of(run, writes, direction);
      assertTrue(together.relativeResidual() < EXACT, writes::toString);
      add(sums, together, -1);
      for (double difference : sums) {
        assertClose(0, difference, writes);
      }
    }
  }

  @Property(tries = 20)
  void of_runOfReplacementGraph_isTheSame(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.drawn(seed).run();
      Random random = RandomNodes.random(seed);
      Tensor row = RandomNodes.gaussian(Shape.of(1, RandomNodes.WIDTH), random, 1);
      ResidualGradient direction = new ResidualGradient(run.model().end(), 3, row);
      List<Write> writes = List.of(new Write(Point.EMBEDDING, 1, row.reshape(RandomNodes.WIDTH)));
      Run brief = ReplacementGraph.record(run.model(), run.tokens());
      double[] differences = new double[RandomNodes.LAYERS * RandomNodes.HEADS];
      add(differences, HeadLoadings.of(run, writes, direction), 1);
      add(differences, HeadLoadings.of(brief, writes, direction), -1);
      for (double difference : differences) {
        assertClose(0, difference, seed);
      }
    }
  }

  private static void add(double[] sums, HeadLoadings loadings, double factor) {
    for (HeadLoadings.LayerSplit layer : loadings.layers()) {
      for (int head = 0; head < layer.heads().size(); head++) {
        sums[layer.layer() * RandomNodes.HEADS + head] += factor * layer.heads().get(head);
      }
    }
  }

  @Property(tries = 60)
  void top_allPairs_areLargestAndSumToLoadings(@ForAll("seeds") long seed) {
    forEdges(
        seed,
        drawn -> {
          HeadLoadings loadings = drawn.loadings();
          List<NodeScore> all = loadings.top(Integer.MAX_VALUE);
          for (HeadLoadings.LayerSplit layer : loadings.layers()) {
            for (int head = 0; head < layer.heads().size(); head++) {
              double sum = 0;
              for (NodeScore score : all) {
                HeadPair pair = (HeadPair) score.node();
                if (pair.layer() == layer.layer() && pair.head() == head) {
                  assertEquals(score.score(), loadings.of(pair));
                  sum += score.score();
                }
              }
              assertClose(layer.heads().get(head), sum, layer + " of " + drawn);
            }
          }
          double[] magnitudes = all.stream().mapToDouble(one -> -Math.abs(one.score())).toArray();
          double[] ordered = magnitudes.clone();
          Arrays.sort(ordered);
          assertEquals(Arrays.toString(ordered), Arrays.toString(magnitudes));
          int few = Math.min(3, all.size());
          assertEquals(all.subList(0, few), loadings.top(few));
        });
  }

  @Property(tries = 20)
  void answers_everyTensor_diesWithItsScope(@ForAll("seeds") long seed) {
    forEdges(
        seed,
        drawn -> {
          drawn.direction();
          long before = Scope.liveTensors();
          try (Scope scope = Scope.open()) {
            HeadLoadings loadings = drawn.loadings();
            long met = Scope.liveTensors() - before;
            assertTrue(met <= 2L * RandomNodes.LAYERS, () -> met + " tensors of " + drawn);
            loadings.top(3);
            assertEquals(before + met, Scope.liveTensors());
          }
          assertEquals(before, Scope.liveTensors());
        });
  }

  @Test
  void of_whatIsNotThere_isRefused() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = RandomNodes.attribution(0);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Run run = nodes.run();
      Neuron late = new Neuron(2, 3, 0);
      assertThrows(
          IllegalArgumentException.class, () -> HeadLoadings.of(edges, late, new Neuron(1, 3, 0)));
      assertThrows(
          IllegalArgumentException.class,
          () -> HeadLoadings.of(edges, new Neuron(2, 9, 0), new Explained()));
      Tensor row = Tensor.zeros(DType.DOUBLE, Shape.of(1, RandomNodes.WIDTH));
      Tensor vector = row.reshape(RandomNodes.WIDTH);
      Point start = Point.EMBEDDING;
      Write write = new Write(start, 0, vector);
      ResidualGradient direction = new ResidualGradient(start, 0, row);
      HeadLoadings zero = HeadLoadings.of(run, List.of(write), direction);
      assertEquals(0, zero.relativeResidual());
      HeadLoadings nothing = HeadLoadings.of(run, List.of(), direction);
      assertEquals(0, nothing.edge());
      assertEquals(0, nothing.pushed());
      for (Write wrong :
          List.of(
              new Write(start, 4, vector),
              new Write(start, -1, vector),
              new Write(new Point(9), 0, vector),
              new Write(start, 0, row),
              new Write(start, 0, vector.slice(0, 1, 3)))) {
        assertThrows(
            IllegalArgumentException.class,
            () -> HeadLoadings.of(run, List.of(write, wrong), direction),
            wrong::toString);
      }
      for (ResidualGradient wrong :
          List.of(
              new ResidualGradient(start, 4, row),
              new ResidualGradient(start, -1, row),
              new ResidualGradient(new Point(9), 0, row),
              new ResidualGradient(start, 0, vector),
              new ResidualGradient(start, 0, row.slice(0, 0, 0)))) {
        assertThrows(
            IllegalArgumentException.class,
            () -> HeadLoadings.of(run, List.of(write), wrong),
            wrong::toString);
      }
      Run changed = run.with(Intervention.ablate(Place.of(Site.MLP_OUTPUT, 0)));
      assertThrows(
          IllegalArgumentException.class,
          () -> HeadLoadings.of(changed, List.of(write), direction));
    }
  }
}

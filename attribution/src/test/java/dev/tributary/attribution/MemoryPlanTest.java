package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weights;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a plan says is what the memory of a process then shows. */
class MemoryPlanTest {
  /** What a search takes is an estimate. */
  private static final double OF_SEARCH = 0.2;

  /** Blocks are rounded up, which counts for something where all of them are small. */
  private static final double SMALL_SEARCH = 2e6;

  /**
   * Of sizes at which no product takes memory for each thread, which may or may not be together:
   * products of more than 128 rows would.
   */
  @Property(tries = 40)
  void plan_anyModel_isExactlyWhatItTakes(
      @ForAll @IntRange(min = 1, max = 4) int layers,
      @ForAll @IntRange(min = 1, max = 6) int heads,
      @ForAll @IntRange(min = 2, max = 64) int dHead,
      @ForAll @IntRange(min = 4, max = 250) int dModel,
      @ForAll @IntRange(min = 4, max = 500) int neurons,
      @ForAll @IntRange(min = 3, max = 500) int vocabulary,
      @ForAll @IntRange(min = 1, max = 128) int tokens,
      @ForAll DType dtype,
      @ForAll @IntRange(min = 0, max = 1 << 20) int seed) {
    TransformerConfig config =
        seed % 3 == 0
            ? config(layers, dModel, heads, dHead, neurons, vocabulary, tokens)
            : RandomArchitecture.of(
                new Random(seed), layers, dModel, heads, dHead, neurons, 2 * tokens, vocabulary);
    MemoryPlan plan = MemoryPlan.of(config, dtype, Weights.random(dtype, 0), tokens);
    Scope.releaseUnused();
    long empty = Scope.reservedBytes();
    try (Scope scope = Scope.open()) {
      Transformer model = Transformer.random(config, dtype, 1);
      Scope.releaseUnused();
      long loaded = Scope.reservedBytes();
      Run run = model.run(NodeAttribution.sites(), new int[tokens]);
      long recorded = Scope.reservedBytes();
      NodeAttribution.of(run, Metric.logProbability(run.lastToken(), 1));
      long all = Scope.reservedBytes(); // nothing was given back: the peak
      assertEquals(new MemoryPlan(loaded - empty, recorded - loaded, all - recorded), plan);
      Scope.releaseUnused();
      Run few = model.run(Set.of(Site.MLP_ACTIVATION, Site.FINAL_NORMALISED), new int[tokens]);
      long before = Scope.reservedBytes();
      NodeAttribution.of(few, Metric.logProbability(few.lastToken(), 1));
      assertEquals(Scope.reservedBytes() - before, MemoryPlan.gradients(few));
    }
  }

  private static TransformerConfig config(
      int layers, int dModel, int heads, int dHead, int neurons, int vocabulary, int tokens) {
    return TransformerConfig.gpt2(
        layers,
        dModel,
        heads,
        dHead,
        neurons,
        2 * tokens,
        vocabulary,
        1e-5,
        MlpActivation.TANH_GELU,
        false);
  }

  @ParameterizedTest
  @CsvSource({
    // layers, dModel, heads, dHead, neurons, vocabulary, tokens, dtype
    "3, 384, 6, 64, 1536, 900, 48, FLOAT",
    "2, 256, 8, 40, 900, 400, 200, FLOAT",
    "5, 160, 4, 32, 640, 3000, 90, FLOAT",
    "2, 320, 5, 64, 1280, 700, 120, DOUBLE",
    "4, 128, 8, 16, 512, 64, 15, DOUBLE"
  })
  void bytesOfSearch_areWithinAFifthWithAllElse(
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int vocabulary,
      int tokens,
      DType dtype) {
    TransformerConfig config = config(layers, dModel, heads, dHead, neurons, vocabulary, tokens);
    Scope.releaseUnused();
    long empty = Scope.reservedBytes();
    try (Scope scope = Scope.open()) {
      Run run = Transformer.random(config, dtype, 1).run(NodeAttribution.sites(), new int[tokens]);
      NodeAttribution nodes =
          NodeAttribution.of(run, Metric.logitDifference(run.lastToken(), 1, 2));
      EdgeSearch search = EdgeSearch.of(EdgeAttribution.of(nodes, ScaleGradient.LIVE));
      search.top(100, Progress.NONE);
      double all = Scope.reservedBytes() - empty;
      long planned =
          MemoryPlan.of(config, dtype, Weights.random(dtype, 0), tokens).total() + search.bytes();
      assertEquals(all, (double) planned, OF_SEARCH * all + SMALL_SEARCH);
    }
  }

  @Test
  void whatDoesNotFit_isRefusedBeforeItIsBegun() {
    long before = Scope.reservedBytes();
    TransformerConfig huge =
        TransformerConfig.gpt2(
            10_000, 8192, 64, 128, 16_384, 64, 1000, 1e-5, MlpActivation.TANH_GELU, true);
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> {
                  try (Scope scope = Scope.open()) {
                    Transformer.random(huge, DType.DOUBLE, 1);
                  }
                })
            .toString();
    assertTrue(message.contains("a model of these sizes needs 4295"), message);
    assertTrue(message.contains("there is room for"), message);
    assertEquals(before, Scope.reservedBytes());
    TransformerConfig small =
        TransformerConfig.gpt2(1, 4, 1, 4, 4, 8, 3, 1e-5, MlpActivation.TANH_GELU, true);
    assertThrows(
        IllegalArgumentException.class,
        () -> MemoryPlan.of(small, DType.FLOAT, Weights.random(DType.FLOAT, 0), 9));
    assertThrows(
        IllegalArgumentException.class,
        () -> MemoryPlan.of(small, DType.FLOAT, Weights.random(DType.FLOAT, 0), 0));
  }
}

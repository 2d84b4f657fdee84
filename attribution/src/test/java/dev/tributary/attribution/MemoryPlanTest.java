package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.MemoryPlan;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a plan says is what the memory of a process then shows. */
class MemoryPlanTest {
  private static final double TOLERANCE = 0.2;

  /** Blocks are rounded up, which counts for something where all of them are small. */
  private static final double SMALL = 2e6;

  @ParameterizedTest
  @CsvSource({
    // layers, dModel, heads, dHead, neurons, vocabulary, tokens, dtype
    "3, 384, 6, 64, 1536, 900, 48, FLOAT",
    "2, 256, 8, 40, 900, 400, 200, FLOAT",
    "5, 160, 4, 32, 640, 3000, 90, FLOAT",
    "2, 320, 5, 64, 1280, 700, 120, DOUBLE",
    "4, 128, 8, 16, 512, 64, 15, DOUBLE"
  })
  void plan_isWithinAFifthOfThePeak(
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int vocabulary,
      int tokens,
      DType dtype) {
    TransformerConfig config =
        TransformerConfig.gpt2(
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
    MemoryPlan plan = MemoryPlan.of(config, dtype, tokens);
    Scope.releaseUnused();
    long empty = Scope.reservedBytes();
    try (Scope scope = Scope.open()) {
      Transformer model = Transformer.random(config, dtype, 1);
      assertEquals(plan, model.memoryPlan(tokens));
      Scope.releaseUnused();
      long loaded = requireClose("weights", plan.weights(), empty);
      Run run = model.run(new int[tokens]);
      long recorded = requireClose("recording", plan.recording(), loaded);
      NodeAttribution nodes =
          NodeAttribution.of(run, Metric.logitDifference(run.lastToken(), 1, 2));
      requireClose("gradients", plan.gradients(), recorded);
      EdgeSearch search = EdgeSearch.of(EdgeAttribution.of(nodes, ScaleGradient.LIVE));
      search.top(100, Progress.NONE);
      requireClose("all with the search", plan.total() + search.bytes(), empty);
    }
  }

  /** Nothing is given back meanwhile, so what is reserved at the end is the peak. */
  private static long requireClose(String what, long planned, long before) {
    long now = Scope.reservedBytes();
    double measured = now - before;
    assertEquals(measured, (double) planned, TOLERANCE * measured + SMALL, what);
    return now;
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
    assertTrue(message.contains("a model of these sizes needs 42957.0 GB"), message);
    assertTrue(message.contains("there is room for"), message);
    assertEquals(before, Scope.reservedBytes());
    TransformerConfig small =
        TransformerConfig.gpt2(1, 4, 1, 4, 4, 8, 3, 1e-5, MlpActivation.TANH_GELU, true);
    assertThrows(IllegalArgumentException.class, () -> MemoryPlan.of(small, DType.FLOAT, 9));
    assertThrows(IllegalArgumentException.class, () -> MemoryPlan.of(small, DType.FLOAT, 0));
  }
}

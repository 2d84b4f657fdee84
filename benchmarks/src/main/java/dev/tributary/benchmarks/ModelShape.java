package dev.tributary.benchmarks;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.NormConfig;
import dev.tributary.transformer.OutletConfig;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.TransformerConfig;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/** Sizes and kinds of published models: what is measured is a random model of one of these. */
public enum ModelShape {
  /** GPT-2 with 124 million parameters. */
  GPT2_SMALL(9) {
    @Override
    TransformerConfig config() {
      return TransformerConfig.gpt2(12, 768, 12, 64, 4 * 768, 1024, 50_257, 1e-5, true);
    }
  },

  /** SmolLM2 with 135 million parameters. */
  SMOLLM2_135M(25) {
    @Override
    TransformerConfig config() {
      return llama(30, 576, 9, 3, 1536, 49_152, 8192, 100_000);
    }
  },

  /** Llama 3.2 with 1.2 billion parameters; its frequencies are not stretched. */
  LLAMA_3_2_1B(13) {
    @Override
    TransformerConfig config() {
      return llama(16, 2048, 32, 8, 8192, 128_256, 131_072, 500_000);
    }
  },

  /**
   * Gemma 2 with 2.6 billion parameters: windows in every other layer, caps, four norms a layer.
   */
  GEMMA_2_2B(21) {
    @Override
    TransformerConfig config() {
      int dModel = 2304;
      NormConfig norm = new NormConfig(NormConfig.Kind.RMS, 1e-6, false);
      OutletConfig outlet = new OutletConfig(Optional.of(norm), 1);
      MlpConfig mlp =
          new MlpConfig(
              Optional.of(norm),
              9216,
              MlpConfig.Kind.GATED,
              MlpActivation.TANH_GELU,
              false,
              false,
              outlet);
      List<LayerConfig> layers =
          IntStream.range(0, 26)
              .mapToObj(layer -> layer % 2 == 0 ? OptionalInt.of(4096) : OptionalInt.empty())
              .map(
                  window ->
                      new AttentionConfig(
                          Optional.of(norm),
                          8,
                          4,
                          256,
                          Optional.empty(),
                          rotary(256, 10_000),
                          1 / Math.sqrt(256),
                          OptionalDouble.of(50),
                          true,
                          window,
                          false,
                          false,
                          outlet))
              .map(attention -> new LayerConfig(attention, mlp, LayerConfig.Order.SEQUENTIAL))
              .toList();
      return new TransformerConfig(
          dModel,
          256_000,
          8192,
          new TransformerConfig.Embedding(Math.sqrt(dModel), false),
          layers,
          Optional.of(norm),
          new TransformerConfig.Unembedding(
              true, false, 1, OptionalDouble.of(30), OptionalInt.empty()));
    }
  };

  private final int targetLayer;

  ModelShape(int targetLayer) {
    this.targetLayer = targetLayer;
  }

  /** The model. */
  abstract TransformerConfig config();

  /** The layer of nodes that edges lead to: a late one. */
  int targetLayer() {
    return targetLayer;
  }

  /** The layer of nodes that edges come from: as early as the other is late. */
  int sourceLayer() {
    return config().layers().size() - 1 - targetLayer;
  }

  /** A model of Llama's family, with heads of 64 numbers. */
  private static TransformerConfig llama(
      int layers,
      int dModel,
      int heads,
      int keyHeads,
      int neurons,
      int vocabulary,
      int context,
      double theta) {
    int dHead = 64;
    NormConfig norm = new NormConfig(NormConfig.Kind.RMS, 1e-5, false);
    AttentionConfig attention =
        new AttentionConfig(
            Optional.of(norm),
            heads,
            keyHeads,
            dHead,
            Optional.empty(),
            rotary(dHead, theta),
            1 / Math.sqrt(dHead),
            OptionalDouble.empty(),
            true,
            OptionalInt.empty(),
            false,
            false,
            OutletConfig.NONE);
    MlpConfig mlp =
        new MlpConfig(
            Optional.of(norm),
            neurons,
            MlpConfig.Kind.GATED,
            MlpActivation.SILU,
            false,
            false,
            OutletConfig.NONE);
    LayerConfig layer = new LayerConfig(attention, mlp, LayerConfig.Order.SEQUENTIAL);
    return new TransformerConfig(
        dModel,
        vocabulary,
        context,
        new TransformerConfig.Embedding(1, false),
        IntStream.range(0, layers).mapToObj(i -> layer).toList(),
        Optional.of(norm),
        new TransformerConfig.Unembedding(
            true, false, 1, OptionalDouble.empty(), OptionalInt.empty()));
  }

  private static Positions rotary(int dHead, double theta) {
    return new Positions.Rotary(
        IntStream.range(0, dHead / 2).mapToObj(i -> Math.pow(theta, -2.0 * i / dHead)).toList(),
        Positions.Pairs.HALVES);
  }
}

package dev.tributary.benchmarks;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.NormConfig;
import dev.tributary.transformer.OutletConfig;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.TransformerConfig;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** A random model of the shape of SmolLM2 with 135 million parameters. */
@State(Scope.Thread)
public class RandomSmolLm2 extends RandomModel {
  private static final int D_HEAD = 64;
  private static final double THETA = 100_000;

  @Override
  TransformerConfig config() {
    NormConfig norm = new NormConfig(NormConfig.Kind.RMS, 1e-5, false);
    List<Double> frequencies =
        IntStream.range(0, D_HEAD / 2)
            .mapToObj(pair -> Math.pow(THETA, -2.0 * pair / D_HEAD))
            .toList();
    AttentionConfig attention =
        new AttentionConfig(
            Optional.of(norm),
            9,
            3,
            D_HEAD,
            Optional.empty(),
            new Positions.Rotary(frequencies, Positions.Pairs.HALVES),
            1 / Math.sqrt(D_HEAD),
            OptionalDouble.empty(),
            OptionalInt.empty(),
            false,
            false,
            OutletConfig.NONE);
    MlpConfig mlp =
        new MlpConfig(
            Optional.of(norm),
            1536,
            MlpConfig.Kind.GATED,
            MlpActivation.SILU,
            false,
            false,
            OutletConfig.NONE);
    return new TransformerConfig(
        576,
        49_152,
        8192,
        new TransformerConfig.Embedding(1, false),
        Collections.nCopies(30, new LayerConfig(attention, mlp, LayerConfig.Order.SEQUENTIAL)),
        norm,
        new TransformerConfig.Unembedding(true, false, 1, OptionalDouble.empty()));
  }
}

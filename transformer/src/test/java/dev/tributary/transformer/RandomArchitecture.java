package dev.tributary.transformer;

import dev.tributary.transformer.file.RandomFamily;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Configs of every family that files have, and mixtures of all that a transformer can be: shared
 * key heads, rotary positions, RMS norms, gates, parallel layers, norms of what parts write, caps,
 * windows and multipliers. No file asks for most of these mixtures, but the laws hold for each.
 */
public final class RandomArchitecture {
  private final Random random;
  private final int dModel;

  private RandomArchitecture(Random random, int dModel) {
    this.random = random;
    this.dModel = dModel;
  }

  /** A config of these sizes: of a family, or its kinds drawn for each layer anew. */
  public static TransformerConfig of(
      Random random,
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int context,
      int vocabulary) {
    if (random.nextBoolean()) {
      return RandomFamily.of(random, layers, dModel, heads, dHead, neurons, context, vocabulary);
    }
    RandomArchitecture drawn = new RandomArchitecture(random, dModel);
    return new TransformerConfig(
        dModel,
        vocabulary,
        context,
        new TransformerConfig.Embedding(random.nextBoolean() ? 1 : 1.7, random.nextBoolean()),
        IntStream.range(0, layers)
            .mapToObj(
                layer ->
                    new LayerConfig(
                        drawn.attention(heads, dHead),
                        drawn.mlp(neurons),
                        drawn.one(LayerConfig.Order.values())))
            .toList(),
        drawn.entry(),
        new TransformerConfig.Unembedding(
            random.nextBoolean(),
            random.nextBoolean(),
            random.nextBoolean() ? 1 : 0.6,
            drawn.cap(5),
            OptionalInt.empty()));
  }

  private AttentionConfig attention(int heads, int dHead) {
    List<Integer> keyHeads =
        IntStream.rangeClosed(1, heads).filter(count -> heads % count == 0).boxed().toList();
    return new AttentionConfig(
        entry(),
        heads,
        keyHeads.get(random.nextInt(keyHeads.size())),
        dHead,
        random.nextInt(3) > 0
            ? Optional.empty()
            : Optional.of(
                new AttentionConfig.HeadNorm(
                    norm(random.nextBoolean()), one(AttentionConfig.HeadNorm.Extent.values()))),
        positions(dHead),
        random.nextBoolean() ? 1 / Math.sqrt(dHead) : 0.8,
        cap(2),
        true,
        random.nextInt(3) > 0 ? OptionalInt.empty() : OptionalInt.of(1 + random.nextInt(3)),
        random.nextBoolean(),
        random.nextBoolean(),
        outlet());
  }

  private Positions positions(int dHead) {
    if (dHead < 2 || random.nextBoolean()) {
      return new Positions.None();
    }
    return random.nextInt(3) > 0
        ? rotary(dHead)
        : new Positions.ByLength(1 + random.nextInt(5), rotary(dHead), rotary(dHead));
  }

  private Positions rotary(int dHead) {
    List<Double> frequencies = new ArrayList<>();
    for (int pair = 0; pair < 1 + random.nextInt(dHead / 2); pair++) {
      frequencies.add(0.1 + random.nextDouble());
    }
    return new Positions.Rotary(
        frequencies, one(Positions.Pairs.values()), random.nextBoolean() ? 1 : 1.3);
  }

  private MlpConfig mlp(int neurons) {
    return new MlpConfig(
        entry(),
        neurons,
        one(MlpConfig.Kind.values()),
        one(MlpActivation.values()),
        random.nextBoolean(),
        random.nextBoolean(),
        outlet());
  }

  private Optional<NormConfig> entry() {
    return random.nextInt(4) == 0 ? Optional.empty() : Optional.of(norm(random.nextBoolean()));
  }

  private OutletConfig outlet() {
    return new OutletConfig(
        random.nextBoolean() ? Optional.empty() : Optional.of(norm(false)),
        random.nextBoolean() ? 1 : 0.7);
  }

  private NormConfig norm(boolean biased) {
    return new NormConfig(one(NormConfig.Kind.values()), dModel > 1 ? 1e-3 : 1, biased);
  }

  private OptionalDouble cap(double at) {
    return random.nextInt(3) > 0 ? OptionalDouble.empty() : OptionalDouble.of(at);
  }

  private <T> T one(T[] values) {
    return values[random.nextInt(values.length)];
  }
}

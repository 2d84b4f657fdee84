package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shapes;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weights;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.WeakHashMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * How much memory a model and its runs need on the device of this thread, said before any of it is
 * asked for: all of it is done on {@link Shapes}.
 *
 * @param weights of the model, bytes
 * @param recording what one run of {@link NodeAttribution#sites} records, and what its derivative
 *     holds, bytes
 * @param gradients what {@link NodeAttribution#of} needs besides, bytes
 */
public record MemoryPlan(long weights, long recording, long gradients) {
  /** What gradients are taken of. */
  private record Recorded(Set<Site> sites, int tokens) {}

  /** Of every model, as far as they were asked for. */
  private static final Map<Transformer, Map<Recorded, Long>> GRADIENTS =
      Collections.synchronizedMap(new WeakHashMap<>());

  /**
   * {@return what a model without dictionaries needs, and a run of it}
   *
   * @param config sizes of the model
   * @param dtype in which it computes
   * @param stored its weights, which say how they lie in memory; they are not read
   * @param tokens of the prompt
   * @throws IllegalArgumentException if there are none, or more than the context holds
   */
  public static MemoryPlan of(TransformerConfig config, DType dtype, Weights stored, int tokens) {
    requireArgument(
        tokens > 0 && tokens <= config.context(),
        "memory for %d tokens: the context of this model holds 1 to %d",
        tokens,
        config.context());
    return Shapes.measure(
        () -> {
          Transformer model = read(config, dtype, stored);
          Scope.releaseUnused(); // what reading them took besides
          long weights = Scope.reservedBytes();
          Run run = model.run(NodeAttribution.sites(), new int[tokens]);
          long recording = Scope.reservedBytes() - weights;
          return new MemoryPlan(weights, recording, gradients(run));
        });
  }

  private static Transformer read(TransformerConfig config, DType dtype, Weights stored) {
    try {
      return Transformer.of(config, dtype, "measured", stored, Progress.NONE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What {@link NodeAttribution#of} needs besides a run, by a metric that reads every logit. */
  static long gradients(Run run) {
    Set<Site> sites = EnumSet.of(Site.FINAL_NORMALISED); // which the metric reads
    run.places().forEach(place -> sites.add(place.site()));
    return GRADIENTS
        .computeIfAbsent(run.model(), any -> new ConcurrentHashMap<>())
        .computeIfAbsent(
            new Recorded(sites, run.length()),
            any ->
                Shapes.measure(
                    () -> {
                      Run measured = run.model().run(sites, new int[run.length()]);
                      long recorded = Scope.reservedBytes();
                      NodeAttribution.of(measured, Metric.logProbability(measured.lastToken(), 0));
                      return Scope.reservedBytes() - recorded;
                    }));
  }

  /** {@return the sum of all three, bytes} */
  public long total() {
    return weights + recording + gradients;
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%.0f MB: weights %.0f, recording %.0f, gradients %.0f",
        total() / 1e6,
        weights / 1e6,
        recording / 1e6,
        gradients / 1e6);
  }
}

package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.ExactSample;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that say how edges are scored, and how it is found out how good that is. */
public final class ScoringOptions {
  /** Pairs over which a sample of edges is patched. */
  public static final int SAMPLE_PAIRS = 8;

  private static final int STEPS = 5;
  static final long SEED = 1;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      converter = MethodConverter.class,
      description =
          "eap (edge attribution patching), eap-ig-inputs, eap-ig-activations or"
              + " eap-ig-activations-pooled (with integrated gradients), clean-corrupted,"
              + " eap-qk-fix, or exact (a run for each edge). Default: eap.")
  private MethodName method = MethodName.EAP;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Of integrated gradients. Default: " + STEPS + ".")
  private Optional<Integer> steps = Optional.empty();

  @Option(
      names = "--sample",
      paramLabel = "N",
      description =
          "Run the model without each of so many edges, drawn at random, over the first "
              + SAMPLE_PAIRS
              + " pairs, to say how good the scores are; 0 for none. Default: ${DEFAULT-VALUE}.")
  private int sample = 50;

  /** Edge attribution patching, and a sample of 50 edges. */
  public ScoringOptions() {}

  /** Methods as they are named. */
  public enum MethodName {
    /** {@link EdgeMethod#EAP}. */
    EAP,
    /** {@link EdgeMethod#eapIgInputs}. */
    EAP_IG_INPUTS,
    /** {@link EdgeMethod#eapIgActivations}. */
    EAP_IG_ACTIVATIONS,
    /** {@link EdgeMethod#eapIgPooledActivations}. */
    EAP_IG_ACTIVATIONS_POOLED,
    /** {@link EdgeMethod#CLEAN_CORRUPTED}. */
    CLEAN_CORRUPTED,
    /** {@link EdgeMethod#QK_FIX}. */
    EAP_QK_FIX,
    /** {@link EdgeMethod#EXACT}. */
    EXACT;

    private boolean isIntegrated() {
      return this == EAP_IG_INPUTS
          || this == EAP_IG_ACTIVATIONS
          || this == EAP_IG_ACTIVATIONS_POOLED;
    }

    /**
     * {@return the method}
     *
     * @param steps of integrated gradients
     */
    public EdgeMethod with(int steps) {
      return switch (this) {
        case EAP -> EdgeMethod.EAP;
        case EAP_IG_INPUTS -> EdgeMethod.eapIgInputs(steps);
        case EAP_IG_ACTIVATIONS -> EdgeMethod.eapIgActivations(steps);
        case EAP_IG_ACTIVATIONS_POOLED -> EdgeMethod.eapIgPooledActivations(steps);
        case CLEAN_CORRUPTED -> EdgeMethod.CLEAN_CORRUPTED;
        case EAP_QK_FIX -> EdgeMethod.QK_FIX;
        case EXACT -> EdgeMethod.EXACT;
      };
    }
  }

  static final class MethodConverter extends HyphenConverter<MethodName> {
    MethodConverter() {
      super(MethodName.class);
    }
  }

  /**
   * Refuses what can be refused before anything is read.
   *
   * @throws IllegalArgumentException if the options contradict each other
   */
  public void requireOptions() {
    requireArgument(
        steps.isEmpty() || method.isIntegrated(),
        "--steps are those of integrated gradients, and --method is %s",
        HyphenConverter.name(method));
    requireArgument(
        steps.isEmpty() || steps.get() >= 1,
        "--steps is %d, it must be 1 or more",
        steps.orElse(0));
    requireArgument(sample >= 0, "--sample is %d, it must be 0 or more", sample);
  }

  /** {@return the name of the method that is asked for} */
  public MethodName method() {
    return method;
  }

  /** {@return of integrated gradients} */
  public int steps() {
    return steps.orElse(STEPS);
  }

  /**
   * {@return numbers of the edges by which scores are compared with what really happens; none if
   * they are exact}
   *
   * @param edges how many the model has
   */
  public List<Integer> sample(int edges) {
    return method == MethodName.EXACT ? List.of() : ExactSample.draw(edges, sample, SEED);
  }
}

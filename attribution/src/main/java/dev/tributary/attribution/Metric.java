package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** The scalar that is explained: a function of the logits of a run, or a {@link Trace}. */
public sealed interface Metric permits Metric.OfLogits, Trace {
  /**
   * {@return the metric as a scalar that depends on all that the run computed}
   *
   * @param run what the model computed
   */
  default Variable value(Run run) {
    return value(run, run);
  }

  /**
   * {@return the metric of a run as a scalar that depends on all that this computed}
   *
   * @param explained run in which is what a trace holds fixed
   * @param run the same, or the explained one with something changed
   */
  Variable value(Run explained, Run run);

  /**
   * {@return the metric as a function of the residual stream that it reads directly}
   *
   * @param run what the model computed
   * @throws IllegalArgumentException if it reads what the run does not have
   */
  Reading reading(Run run);

  /**
   * {@return the site at which its value reads a run}
   *
   * @param run what the model computed
   */
  default Site site(Run run) {
    return run.model().residualAt(reading(run).point()).site();
  }

  /** {@return whether the scale of the norm through which it reads is seen to move} */
  default ScaleGradient scaleGradient() {
    return ScaleGradient.LIVE;
  }

  /** {@return itself, if it is a function of logits} */
  default Optional<OfLogits> ofLogits() {
    return Optional.empty();
  }

  /**
   * {@return how the metric reads the residual stream where a trace through values ends in it}
   *
   * @param run what the model computed
   */
  ResidualGradient tracedGradient(Run run);

  /**
   * A function of the logits at one token, which reads the residual stream after the last layer.
   */
  sealed interface OfLogits extends Metric {
    /** {@return the token whose logits are read, counted from 0} */
    int position();

    /** {@return the ids of the words whose logits it names} */
    List<Integer> words();

    /**
     * {@return the metric as a scalar function of all logits at its position, [1, vocabulary]}
     *
     * @param logits at its position, [1, vocabulary]
     */
    Variable ofLogits(Variable logits);

    /**
     * The same from the normalised final residual, [1, dModel], computing no more than it reads.
     *
     * @param model whose logits it reads
     * @param normalised final residual, [1, dModel]
     * @return the metric, a scalar
     */
    Variable ofNormalised(Transformer model, Variable normalised);

    @Override
    default Optional<OfLogits> ofLogits() {
      return Optional.of(this);
    }

    @Override
    default Site site(Run run) {
      return Site.FINAL_NORMALISED;
    }

    /** Refuses a run that lacks what the metric reads. */
    private void requireIn(Run run) {
      requireArgument(
          position() >= 0 && position() < run.length(),
          "position %d of a prompt of %d tokens, counted from 0",
          position(),
          run.length());
      words().forEach(run.model()::requireWord);
    }

    @Override
    default Variable value(Run explained, Run run) {
      requireIn(run);
      return ofNormalised(
          run.model(), run.variable(Site.FINAL_NORMALISED).slice(0, position(), position() + 1));
    }

    @Override
    default Reading reading(Run run) {
      requireIn(run);
      Transformer model = run.model();
      return new Reading(
          model.end(),
          position(),
          position() + 1,
          (r, scaleGradient) -> ofNormalised(model, model.normalised(r, scaleGradient)));
    }

    @Override
    default ResidualGradient tracedGradient(Run run) {
      return reading(run).gradient(run, ScaleGradient.DETACHED);
    }
  }

  /**
   * Mean logit of some words minus mean logit of others.
   *
   * @param position whose logits are read
   * @param targets ids, at least one
   * @param distractors ids, none for the mean logit of the targets alone
   */
  record LogitDifference(int position, List<Integer> targets, List<Integer> distractors)
      implements OfLogits {
    /**
     * Refuses to explain nothing, and a word that is named twice.
     *
     * @param position {@link #position()}
     * @param targets {@link #targets()}
     * @param distractors {@link #distractors()}
     */
    public LogitDifference {
      requireArgument(!targets.isEmpty(), "a logit difference needs a target");
      targets = List.copyOf(targets);
      distractors = List.copyOf(distractors);
      requireDistinct(Stream.concat(targets.stream(), distractors.stream()).toList());
    }

    @Override
    public Variable ofNormalised(Transformer model, Variable normalised) {
      return weighted(model.unembed(normalised, ids(words())));
    }

    @Override
    public Variable ofLogits(Variable logits) {
      return weighted(logits.gather(-1, ids(words())));
    }

    @Override
    public List<Integer> words() {
      return Stream.concat(targets.stream(), distractors.stream()).toList();
    }

    private Variable weighted(Variable logits) {
      double[] weights = new double[targets.size() + distractors.size()];
      Arrays.fill(weights, 0, targets.size(), 1.0 / targets.size());
      Arrays.fill(weights, targets.size(), weights.length, -1.0 / distractors.size());
      Tensor weight = Tensor.of(logits.value().dtype(), Shape.of(weights.length), weights);
      return logits.times(Variable.constant(weight)).sum(-1).reshape();
    }
  }

  /**
   * Mean log-probability of some words.
   *
   * @param position whose logits are read
   * @param targets ids, at least one
   */
  record LogProbability(int position, List<Integer> targets) implements OfLogits {
    /**
     * Refuses to explain nothing, and a word that is named twice.
     *
     * @param position {@link #position()}
     * @param targets {@link #targets()}
     */
    public LogProbability {
      requireArgument(!targets.isEmpty(), "a log-probability needs a target");
      targets = List.copyOf(targets);
      requireDistinct(targets);
    }

    @Override
    public List<Integer> words() {
      return targets;
    }

    @Override
    public Variable ofNormalised(Transformer model, Variable normalised) {
      return ofLogits(model.unembed(normalised));
    }

    @Override
    public Variable ofLogits(Variable logits) {
      return logits.logSoftmax().gather(-1, ids(targets)).mean(-1).reshape();
    }
  }

  private static void requireDistinct(List<Integer> words) {
    Set<Integer> seen = new HashSet<>();
    words.forEach(
        word -> requireArgument(seen.add(word), "the word of id %d is named twice", word));
  }

  private static int[] ids(List<Integer> words) {
    return words.stream().mapToInt(Integer::intValue).toArray();
  }

  /**
   * {@return the logit of one word minus that of another}
   *
   * @param position the token whose logits are read, from 0
   * @param target id of the word that is explained
   * @param distractor id of the word that it is compared with
   */
  static Metric logitDifference(int position, int target, int distractor) {
    return new LogitDifference(position, List.of(target), List.of(distractor));
  }

  /**
   * {@return the logit of one word}
   *
   * @param position the token whose logits are read, from 0
   * @param target id of the word
   */
  static Metric logit(int position, int target) {
    return new LogitDifference(position, List.of(target), List.of());
  }

  /**
   * {@return the log-probability of one word}
   *
   * @param position the token whose logits are read, from 0
   * @param target id of the word
   */
  static Metric logProbability(int position, int target) {
    return new LogProbability(position, List.of(target));
  }
}

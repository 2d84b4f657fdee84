package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** The scalar that is explained: a function of the logits at one token of a run. */
public sealed interface Metric {
  /** The token whose logits are read, counted from 0. */
  int position();

  /**
   * Mean logit of some words minus mean logit of others.
   *
   * @param position whose logits are read
   * @param targets ids, at least one
   * @param distractors ids, none for the mean logit of the targets alone
   */
  record LogitDifference(int position, List<Integer> targets, List<Integer> distractors)
      implements Metric {
    /** Refuses to explain nothing. */
    public LogitDifference {
      requireArgument(!targets.isEmpty(), "a logit difference needs a target");
      targets = List.copyOf(targets);
      distractors = List.copyOf(distractors);
    }

    @Override
    public Variable value(Run run) {
      return of(run.model().logits(row(run, position), words()));
    }

    @Override
    public Variable ofLogits(Variable logits) {
      return of(logits.gather(-1, words()));
    }

    private int[] words() {
      return Stream.concat(targets.stream(), distractors.stream())
          .mapToInt(Integer::intValue)
          .toArray();
    }

    private Variable of(Variable logits) {
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
  record LogProbability(int position, List<Integer> targets) implements Metric {
    /** Refuses to explain nothing. */
    public LogProbability {
      requireArgument(!targets.isEmpty(), "a log-probability needs a target");
      targets = List.copyOf(targets);
    }

    @Override
    public Variable value(Run run) {
      return ofLogits(run.model().logits(row(run, position)));
    }

    @Override
    public Variable ofLogits(Variable logits) {
      int[] words = targets.stream().mapToInt(Integer::intValue).toArray();
      return logits.logSoftmax().gather(-1, words).mean(-1).reshape();
    }
  }

  /** Logit of one word minus that of another. */
  static Metric logitDifference(int position, int target, int distractor) {
    return new LogitDifference(position, List.of(target), List.of(distractor));
  }

  /** Logit of one word. */
  static Metric logit(int position, int target) {
    return new LogitDifference(position, List.of(target), List.of());
  }

  /** Log-probability of one word. */
  static Metric logProbability(int position, int target) {
    return new LogProbability(position, List.of(target));
  }

  /**
   * The metric as a scalar that depends on the final residual of a run, computing no more logits
   * than it reads.
   *
   * @throws IllegalArgumentException if the position is not in the run, or a word not in the
   *     vocabulary
   */
  Variable value(Run run);

  /** The metric as a scalar function of all logits at its position, [1, vocabulary]. */
  Variable ofLogits(Variable logits);

  /** The normalised final residual at the position, [1, dModel]. */
  private static Variable row(Run run, int position) {
    requireArgument(
        position >= 0 && position < run.length(),
        "position %d of a prompt of %d tokens, counted from 0",
        position,
        run.length());
    return run.variable(Site.FINAL_NORMALISED).slice(0, position, position + 1);
  }
}

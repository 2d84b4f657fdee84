package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Metric;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.List;
import java.util.function.Function;

/** The scalar that is measured of runs of a pair. */
public sealed interface PairMetric {
  /**
   * A metric of logits at one token.
   *
   * @param metric such as a logit difference
   */
  record OfLogits(Metric.OfLogits metric) implements PairMetric {
    @Override
    public Function<Run, Variable> against(Run clean) {
      return metric::value;
    }
  }

  /**
   * Σ p log(p / q) over the vocabulary, in nats: p are the probabilities after one token in the
   * clean run, a constant, and q those of the run at hand.
   *
   * @param position the token, from 0
   */
  record Divergence(int position) implements PairMetric {
    @Override
    public Function<Run, Variable> against(Run clean) {
      requireToken(position, clean);
      Tensor logP = logProbabilities(clean.variable(Site.FINAL_NORMALISED).detach(), clean).value();
      Variable p = Variable.constant(logP.exp());
      return run ->
          p.times(
                  Variable.constant(logP)
                      .minus(logProbabilities(run.variable(Site.FINAL_NORMALISED), run)))
              .sum(-1)
              .reshape();
    }

    private Variable logProbabilities(Variable normalised, Run run) {
      return run.model().unembed(normalised.slice(0, position, position + 1)).logSoftmax();
    }
  }

  /**
   * A weighted sum of logits.
   *
   * @param terms at least one
   */
  record Linear(List<Term> terms) implements PairMetric {
    /**
     * A logit.
     *
     * @param position the token, from 0
     * @param word its id
     * @param weight with which it counts
     */
    public record Term(int position, int word, double weight) {}

    /**
     * Refuses an empty sum.
     *
     * @param terms {@link #terms()}
     */
    public Linear {
      requireArgument(!terms.isEmpty(), "a sum of no logits");
      terms = List.copyOf(terms);
    }

    @Override
    public Function<Run, Variable> against(Run clean) {
      int[] words = terms.stream().mapToInt(Term::word).distinct().toArray();
      double[] weights = new double[clean.length() * words.length];
      for (Term term : terms) {
        requireToken(term.position, clean);
        for (int i = 0; i < words.length; i++) {
          weights[term.position * words.length + i] += words[i] == term.word ? term.weight : 0;
        }
      }
      Shape shape = Shape.of(clean.length(), words.length);
      Tensor weight = Tensor.of(clean.model().dtype(), shape, weights);
      return run ->
          run.model()
              .unembed(run.variable(Site.FINAL_NORMALISED), words)
              .times(Variable.constant(weight))
              .sum(-1)
              .sum(0)
              .reshape();
    }
  }

  /**
   * The mean of squares of how far logits are from those of the clean run, over all tokens from one
   * on and the whole vocabulary.
   *
   * @param firstToken from 0
   */
  record SquaredDistance(int firstToken) implements PairMetric {
    @Override
    public Function<Run, Variable> against(Run clean) {
      requireToken(firstToken, clean);
      Variable reference = logits(clean).detach();
      return run -> logits(run).minus(reference).square().mean(-1).mean(0).reshape();
    }

    private Variable logits(Run run) {
      return run.model()
          .unembed(run.variable(Site.FINAL_NORMALISED).slice(0, firstToken, run.length()));
    }
  }

  /**
   * {@return the metric as a scalar that depends on all that a run computed}
   *
   * @param clean the plain run of the clean prompt, which lives as long as the function is used
   * @throws IllegalArgumentException if it reads a token or a word that does not exist
   */
  Function<Run, Variable> against(Run clean);

  private static void requireToken(int position, Run run) {
    requireArgument(
        position >= 0 && position < run.length(),
        "position %d of a prompt of %d tokens, counted from 0",
        position,
        run.length());
  }
}

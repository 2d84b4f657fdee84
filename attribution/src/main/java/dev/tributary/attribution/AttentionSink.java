package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A token, mostly the first, at which a model keeps a residual stream that is far longer than at
 * others, for heads to look at that have nothing to look for. What happens there is of large
 * attribution in many prompts and says little about any one.
 *
 * @param token counted from 0
 * @param times how many times as long its residual stream is as at the median token, where that is
 *     most
 * @see <a href="https://arxiv.org/abs/2309.17453">Xiao et al. 2023</a>
 * @see <a href="https://arxiv.org/abs/2402.17762">Sun et al. 2024, on massive activations</a>
 */
public record AttentionSink(int token, double times) {
  /** How many times as long a residual stream has to be; others are 0.3 to 3 times as long. */
  private static final double LEAST = 10;

  /**
   * {@return the attention sinks of a run}
   *
   * @param run whose residual stream is measured
   */
  public static List<AttentionSink> of(Run run) {
    double[] times = new double[run.length()];
    Point end = run.model().end();
    for (Point point = Point.EMBEDDING; point.reaches(end); point = point.next()) {
      double[] lengths = lengths(run.residual(point).value());
      double[] ascending = lengths.clone();
      Arrays.sort(ascending);
      double median = ascending[(ascending.length - 1) / 2];
      for (int token = 0; token < times.length; token++) {
        times[token] = Math.max(times[token], median > 0 ? lengths[token] / median : 0);
      }
    }
    List<AttentionSink> sinks = new ArrayList<>();
    for (int token = 0; token < times.length; token++) {
      if (times[token] >= LEAST) {
        sinks.add(new AttentionSink(token, times[token]));
      }
    }
    return sinks;
  }

  private static double[] lengths(Tensor residual) {
    try (Scope scope = Scope.open()) {
      return residual.norm(-1).toDoubles();
    }
  }
}

package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import java.util.Optional;

/**
 * How well an edge, which is a derivative, predicts what happens when the source's write is taken
 * out of what the target reads, and of nothing else.
 *
 * @param edge the prediction
 * @param patched what the target really loses, in the units of the edge
 * @param metricChange how much the metric then grows, everything after the target answering
 */
public record EdgePatch(double edge, double patched, double metricChange) {
  /** What happens to a target that does not see what a source writes. */
  static EdgePatch of(EdgeAttribution edges, Source source, Target target) {
    double edge = edges.between(source, target);
    try (Scope scope = Scope.open()) {
      Run run = edges.nodes().run();
      Reading reading = target.reading(edges);
      Optional<Tensor> seen =
          reading.seen(source.writes(run)).stream().map(Write::vector).reduce(Tensor::plus);
      return seen.map(
              write ->
                  new EdgePatch(
                      edge,
                      reading.lostWithout(run, source.token(), write),
                      target.metricChange(edges, source.token(), write)))
          .orElseGet(() -> new EdgePatch(0, 0, 0));
    }
  }

  /** {@return how far the prediction is off, relative to the larger of the two} */
  public double linearisationError() {
    double scale = Math.max(Math.abs(edge), Math.abs(patched));
    return scale == 0 ? 0 : Math.abs(edge - patched) / scale;
  }
}

package dev.tributary.attribution;

/**
 * How well an edge, which is a derivative, predicts what happens when the source's write is taken
 * out of what the target reads, and of nothing else.
 *
 * @param edge the prediction
 * @param patched what the target really loses, in the units of the edge
 * @param metricChange how much the metric then grows, everything after the target answering
 */
public record EdgePatch(double edge, double patched, double metricChange) {
  /** {@return how far the prediction is off, relative to the larger of the two} */
  public double linearisationError() {
    double scale = Math.max(Math.abs(edge), Math.abs(patched));
    return scale == 0 ? 0 : Math.abs(edge - patched) / scale;
  }
}

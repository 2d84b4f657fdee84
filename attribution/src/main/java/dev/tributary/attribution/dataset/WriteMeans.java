package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.StreamWriter;
import java.util.Collections;
import java.util.List;

/**
 * Means of what each source writes in plain runs of prompts, every one of which counts once however
 * long it is. Sums of parts of a data set can be added.
 */
public final class WriteMeans {
  /** Over what a mean is taken. */
  public enum Kind {
    /** Prompts and positions: the mean over prompts of the means over their positions. */
    OVER_POSITIONS,
    /** Prompts alone, all of one length. */
    PER_POSITION
  }

  private final Kind kind;
  private final ComponentGraph graph;

  /** Of a token, or one for all. */
  private final int tokens;

  private final double[] sums;
  private long count;

  private WriteMeans(Kind kind, ComponentGraph graph, int tokens) {
    this.kind = kind;
    this.graph = graph;
    this.tokens = tokens;
    this.sums = new double[graph.sources().size() * tokens * width()];
  }

  /**
   * {@return the means of no prompts yet, whatever their positions}
   *
   * @param graph of the model that will run
   */
  public static WriteMeans overPositions(ComponentGraph graph) {
    return new WriteMeans(Kind.OVER_POSITIONS, graph, 1);
  }

  /**
   * {@return the means of no prompts yet, position by position}
   *
   * @param graph of the model that will run
   * @param tokens of each prompt
   */
  public static WriteMeans perPosition(ComponentGraph graph, int tokens) {
    return new WriteMeans(Kind.PER_POSITION, graph, tokens);
  }

  private int width() {
    return graph.model().config().dModel();
  }

  /**
   * Counts one prompt.
   *
   * @param prompt ids
   * @throws IllegalArgumentException if it does not have as many tokens as the others, position by
   *     position
   */
  public void add(List<Integer> prompt) {
    requireArgument(
        kind == Kind.OVER_POSITIONS || prompt.size() == tokens,
        "a mean for each of %d positions, and a prompt of %d tokens",
        tokens,
        prompt.size());
    try (Scope scope = Scope.open()) {
      Run run = graph.model().values(StreamWriter.sites(), List.of(prompt), graph.split());
      Tensor written = StreamWriter.written(run, graph.sources());
      double[] own = (kind == Kind.OVER_POSITIONS ? written.mean(1) : written).toDoubles();
      for (int i = 0; i < sums.length; i++) {
        sums[i] += own[i];
      }
    }
    count++;
  }

  /**
   * Counts the prompts of another part of the data.
   *
   * @param other of the same kind and model
   * @throws IllegalArgumentException if it is of another kind or size
   */
  public void add(WriteMeans other) {
    requireArgument(
        kind == other.kind && sums.length == other.sums.length && tokens == other.tokens,
        "means %s of %d numbers do not fit means %s of %d",
        other,
        other.sums.length,
        this,
        sums.length);
    for (int i = 0; i < sums.length; i++) {
      sums[i] += other.sums[i];
    }
    count += other.count;
  }

  /** {@return how many prompts were counted and their sums, to be written down} */
  public double[] toArray() {
    double[] numbers = new double[1 + sums.length];
    numbers[0] = count;
    System.arraycopy(sums, 0, numbers, 1, sums.length);
    return numbers;
  }

  /**
   * Counts the prompts of another part of the data.
   *
   * @param numbers as {@link #toArray} wrote them, of the same kind and model
   * @throws IllegalArgumentException if they are of another size
   */
  public void add(double[] numbers) {
    requireArgument(
        numbers.length == 1 + sums.length,
        "sums of %d numbers do not fit %d",
        numbers.length - 1,
        sums.length);
    count += (long) numbers[0];
    for (int i = 0; i < sums.length; i++) {
      sums[i] += numbers[1 + i];
    }
  }

  /** {@return how many prompts were counted} */
  public long count() {
    return count;
  }

  /** {@return the means, [source, dModel], or [source, token, dModel] position by position} */
  public double[] toDoubles() {
    requireArgument(count > 0, "a mean of no prompts");
    double[] means = new double[sums.length];
    for (int i = 0; i < means.length; i++) {
      means[i] = sums[i] / count;
    }
    return means;
  }

  /** At all tokens of some prompts, [source, token, dModel]. */
  Tensor at(DType dtype, Shape shape, int prompts) {
    int sources = graph.sources().size();
    requireArgument(
        shape.size(0) == sources && shape.size(2) == width(),
        "means of %d sources of width %d do not fit %s",
        sources,
        width(),
        shape);
    requireArgument(
        kind == Kind.OVER_POSITIONS || shape.size(1) == prompts * tokens,
        "a mean for each of %d positions, and a prompt of %d tokens",
        tokens,
        shape.size(1) / prompts);
    Tensor means = Tensor.of(dtype, Shape.of(sources, tokens, width()), toDoubles());
    return kind == Kind.OVER_POSITIONS
        ? means.broadcastTo(shape)
        : Tensor.concat(1, Collections.nCopies(prompts, means));
  }

  @Override
  public String toString() {
    return kind == Kind.OVER_POSITIONS ? "mean" : "mean_positional";
  }
}

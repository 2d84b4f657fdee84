package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
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
  private final int sources;

  /** Of a token, or one for all. */
  private final int tokens;

  private final int width;
  private final double[] sums;
  private long count;

  private WriteMeans(Kind kind, int sources, int tokens, int width) {
    this.kind = kind;
    this.sources = sources;
    this.tokens = tokens;
    this.width = width;
    this.sums = new double[sources * tokens * width];
  }

  /**
   * {@return the means of no prompts yet, whatever their positions}
   *
   * @param model that will run
   * @param graph of the model
   */
  public static WriteMeans overPositions(Transformer model, ComponentGraph graph) {
    return new WriteMeans(Kind.OVER_POSITIONS, graph.sources().size(), 1, model.config().dModel());
  }

  /**
   * {@return the means of no prompts yet, position by position}
   *
   * @param model that will run
   * @param graph of the model
   * @param tokens of each prompt
   */
  public static WriteMeans perPosition(Transformer model, ComponentGraph graph, int tokens) {
    return new WriteMeans(
        Kind.PER_POSITION, graph.sources().size(), tokens, model.config().dModel());
  }

  /**
   * Counts one prompt.
   *
   * @param model that runs it
   * @param graph of the model
   * @param prompt ids
   * @throws IllegalArgumentException if it does not have as many tokens as the others, position by
   *     position
   */
  public void add(Transformer model, ComponentGraph graph, List<Integer> prompt) {
    requireArgument(
        kind == Kind.OVER_POSITIONS || prompt.size() == tokens,
        "a mean for each of %d positions, and a prompt of %d tokens",
        tokens,
        prompt.size());
    try (Scope scope = Scope.open()) {
      Run run = model.values(StreamWriter.sites(), List.of(prompt), graph.split());
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
    requireArgument(
        shape.size(0) == sources && shape.size(2) == width,
        "means of %d sources of width %d do not fit %s",
        sources,
        width,
        shape);
    requireArgument(
        kind == Kind.OVER_POSITIONS || shape.size(1) == prompts * tokens,
        "a mean for each of %d positions, and a prompt of %d tokens",
        tokens,
        shape.size(1) / prompts);
    Tensor means = Tensor.of(dtype, Shape.of(sources, tokens, width), toDoubles());
    return kind == Kind.OVER_POSITIONS
        ? means.broadcastTo(shape)
        : Tensor.concat(1, Collections.nCopies(prompts, means));
  }

  @Override
  public String toString() {
    return kind == Kind.OVER_POSITIONS ? "mean" : "mean_positional";
  }
}

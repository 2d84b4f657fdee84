package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.LinearMap;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * What is written, a direction along which it is read, and the frozen attention between: one pull
 * down and one push up, at the tokens from the first that is written to the last that is read.
 */
final class FrozenPaths {
  /**
   * What an attention makes of changes in the residual stream, its pattern and the scales of its
   * norms held.
   *
   * @param attention of the run's model
   * @param values from the residual stream, [token, dModel], to values, [key head, token, dHead]
   * @param mixing from values to what each head takes of them, [head, token, dHead]
   * @param writing from there to what the attention adds, [token, dModel]
   */
  private record Frozen(
      Attention attention, LinearMap values, LinearMap mixing, LinearMap writing) {
    static Frozen of(Run run, Attention attention, int from, int to) {
      Variable residual =
          Variable.input(run.residual(attention.reads()).value().slice(0, from, to));
      Variable read = attention.value(attention.normalised(residual, ScaleGradient.DETACHED));
      Variable values = Variable.input(read.value());
      Variable pattern = Variable.constant(pattern(run, attention.layer(), from, to));
      Variable mixed = attention.headOutput(pattern, values);
      return new Frozen(
          attention,
          Jacobian.of(read, residual).map(),
          Jacobian.of(mixed, values).map(),
          LinearMap.of(
              "attention output",
              mixed.shape(),
              residual.shape(),
              heads ->
                  attention.outlet().push(run, from, inRows(heads).matmul(attention.outputRows())),
              rows ->
                  byHead(
                      attention
                          .outlet()
                          .pull(run, from, rows)
                          .matmulTransposed(attention.outputRows()),
                      mixed.shape())));
    }

    /** [.., head, token, dHead] to [.., token, head · dHead]. */
    private static Tensor inRows(Tensor heads) {
      Shape shape = heads.shape();
      return heads
          .permute(0, 2, 1, 3)
          .reshape(shape.size(0), shape.size(2), shape.size(1) * shape.size(3));
    }

    /** The inverse. */
    private static Tensor byHead(Tensor rows, Shape heads) {
      return rows.reshape(rows.shape().size(0), heads.size(1), heads.size(0), heads.size(2))
          .permute(0, 2, 1, 3);
    }
  }

  /**
   * What was pushed and what was pulled, in the heads of a layer.
   *
   * @param values of what was written, [key head, token, dHead]
   * @param cotangents at what heads take of values, [head, token, dHead]
   * @param heads what passes each
   * @param passing what passes the layer by
   */
  record Meeting(Tensor values, Tensor cotangents, List<Double> heads, double passing) {
    void keptBy(Scope scope) {
      scope.keep(values);
      scope.keep(cotangents);
    }
  }

  private final List<Write> writes;
  private final ResidualGradient direction;

  /** The first token that is written. */
  private final int from;

  /** The token after the last that is read. */
  private final int to;

  /** By the point that each reads, of those that may be between. */
  private final Map<Integer, Frozen> attentions = new TreeMap<>();

  /** The direction pulled down, by point, [1, token, dModel]. */
  private final Map<Integer, Tensor> cotangents = new TreeMap<>();

  /** The same at what heads take of values, by layer, [1, head, token, dHead]. */
  private final Map<Integer, Tensor> atHeads = new TreeMap<>();

  /** By layer. */
  private final Map<Integer, Meeting> meetings = new TreeMap<>();

  private final double pushed;

  /** Pulls and pushes, in the innermost scope. */
  FrozenPaths(Run run, List<Write> written, ResidualGradient direction) {
    this.direction = direction;
    this.to = direction.endToken();
    this.writes =
        written.stream()
            .filter(write -> write.point().reaches(direction.point()) && write.token() < to)
            .toList();
    this.from = writes.stream().mapToInt(Write::token).min().orElse(to - 1);
    int last = direction.point().index();
    int first = writes.stream().mapToInt(write -> write.point().index()).min().orElse(last);
    for (int layer = 0; layer < run.model().layers(); layer++) {
      Attention attention = run.model().attention(layer);
      int reads = attention.reads().index();
      if (first <= reads && attention.writes().reaches(direction.point())) {
        attentions.put(reads, Frozen.of(run, attention, from, to));
      }
    }
    pull(first, last);
    this.pushed = dot(push(first, last), cotangent(last));
  }

  private void pull(int first, int last) {
    cotangents.put(last, rows());
    for (int point = last - 1; point >= first; point--) {
      Tensor here = cotangent(point + 1);
      Frozen frozen = attentions.get(point);
      if (frozen != null) {
        Tensor heads = frozen.writing.pull(cotangent(frozen.attention.writes().index()));
        atHeads.put(frozen.attention.layer(), heads);
        here = here.plus(frozen.values.pull(frozen.mixing.pull(heads)));
      }
      cotangents.put(point, here);
    }
  }

  /** An attention that was passed, on the way to where it writes. */
  private record Passed(Attention attention, Tensor values, Tensor heads, Tensor written) {}

  /** What of the writes arrives at the last point. */
  private Tensor push(int first, int last) {
    Map<Integer, Passed> underWay = new TreeMap<>(); // by the point that each writes
    Tensor here = nothing();
    for (int point = first; point <= last; point++) {
      here = here.plus(writtenAt(point));
      Passed passed = underWay.get(point);
      if (passed != null) {
        meet(passed, dot(here, cotangent(point)) + after(point));
        here = here.plus(passed.written);
      }
      Frozen frozen = attentions.get(point);
      if (frozen != null) {
        Tensor values = frozen.values.push(here);
        Tensor heads = frozen.mixing.push(values);
        Tensor written = frozen.writing.push(heads);
        underWay.put(
            frozen.attention.writes().index(),
            new Passed(frozen.attention, values, heads, written));
      }
    }
    return here;
  }

  private void meet(Passed passed, double passing) {
    int layer = passed.attention.layer();
    Tensor read = Objects.requireNonNull(atHeads.get(layer));
    double[] heads = passed.heads.times(read).sum(-1).sum(-2).toDoubles();
    meetings.put(
        layer,
        new Meeting(
            withoutDirections(passed.values),
            withoutDirections(read),
            Arrays.stream(heads).boxed().toList(),
            passing));
  }

  private static Tensor withoutDirections(Tensor one) {
    return one.reshape(one.shape().subShape(1, one.shape().rank()));
  }

  private Tensor cotangent(int point) {
    return Objects.requireNonNull(cotangents.get(point));
  }

  /** The direction at these tokens, [1, token, dModel]. */
  private Tensor rows() {
    int first = direction.firstToken();
    Tensor rows =
        first < from
            ? direction.rows().slice(0, from - first, to - first)
            : direction.rows().pad(0, first - from, to - from);
    return rows.reshape(rows.shape().prepend(1));
  }

  private Tensor nothing() {
    Tensor rows = direction.rows();
    return Tensor.zeros(rows.dtype(), Shape.of(1, to - from, rows.shape().size(1)));
  }

  /** What is written at a point, [1, token, dModel]. */
  private Tensor writtenAt(int point) {
    Tensor sum = nothing();
    for (Write write : writes) {
      if (write.point().index() == point) {
        Tensor row = write.vector().reshape(write.vector().shape().prepend(1).prepend(1));
        sum = sum.plus(row.pad(1, write.token() - from, to - from));
      }
    }
    return sum;
  }

  /** What is written after a point, times the direction pulled down to there. */
  private double after(int point) {
    return writes.stream()
        .filter(write -> write.point().index() > point)
        .mapToDouble(write -> Arrays.stream(products(write)).sum())
        .sum();
  }

  /** A write times the direction pulled down to it, [dModel]. */
  private double[] products(Write write) {
    int at = write.token() - from;
    return cotangent(write.point().index()).slice(1, at, at + 1).times(write.vector()).toDoubles();
  }

  private static double dot(Tensor a, Tensor b) {
    return a.times(b).sumTo(Shape.of()).item();
  }

  /** The pattern among some tokens, [head, query, key]. */
  static Tensor pattern(Run run, int layer, int from, int to) {
    return run.value(Site.PATTERN, layer).slice(1, from, to).slice(2, from, to);
  }

  /** The first token of the rows of a {@link Meeting}. */
  int from() {
    return from;
  }

  /** What met, by layer. */
  Map<Integer, Meeting> meetings() {
    return meetings;
  }

  /** The writes times the direction pulled down to each. */
  double pulled() {
    return after(-1);
  }

  /** What arrives, times the direction. */
  double pushed() {
    return pushed;
  }

  /** The writes times the direction where it is read. */
  double direct() {
    return writes.stream()
        .filter(write -> direction.reads(write.token()))
        .mapToDouble(write -> dot(direction.row(write.token()), write.vector()))
        .sum();
  }

  /** What is added, of which rounding is a fraction. */
  double magnitude() {
    return writes.stream()
        .flatMapToDouble(write -> Arrays.stream(products(write)).map(Math::abs))
        .sum();
  }
}

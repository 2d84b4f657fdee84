package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.HeldAttention;
import dev.tributary.transformer.HeldSkip;
import dev.tributary.transformer.Run;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * What is written, a direction along which it is read, and the {@link FrozenStream} between: one
 * pull down and one push up, at the tokens from the first that is written to the last that is read.
 */
final class FrozenPaths {
  /**
   * What was pushed and what was pulled, where an attention reads and where it writes.
   *
   * @param tangents what is in the stream that it reads, [token, 1, dModel]
   * @param cotangents the direction where it writes, [token, 1, dModel]
   * @param heads what passes each
   * @param passing what passes the layer by
   */
  record Meeting(Tensor tangents, Tensor cotangents, List<Double> heads, double passing) {
    void keptBy(Scope scope) {
      scope.keep(tangents);
      scope.keep(cotangents);
    }
  }

  private final Run run;
  private final List<Write> writes;
  private final ResidualGradient direction;

  /** The first token that is written. */
  private final int from;

  /** The token after the last that is read. */
  private final int to;

  private final List<HeldSkip> skips;

  /** The direction pulled down, by point. */
  private final Map<Integer, Tensor> cotangents = new TreeMap<>();

  /** What is in the stream of what is written, by point. */
  private final Map<Integer, Tensor> tangents = new TreeMap<>();

  /** By layer. */
  private final Map<Integer, Meeting> meetings = new TreeMap<>();

  private final double pushed;

  /**
   * Pulls and pushes, in the innermost scope.
   *
   * @param transcoders that let something pass MLPs
   */
  FrozenPaths(
      Run run, List<Dictionary> transcoders, List<Write> written, ResidualGradient direction) {
    this.run = run;
    this.direction = direction;
    this.to = direction.endToken();
    this.writes =
        written.stream()
            .filter(write -> write.point().reaches(direction.point()) && write.token() < to)
            .toList();
    this.from = writes.stream().mapToInt(Write::token).min().orElse(to - 1);
    this.skips = FrozenStream.skips(run, transcoders, from);
    int last = direction.point().index();
    int first = writes.stream().mapToInt(write -> write.point().index()).min().orElse(last);
    FrozenStream stream = FrozenStream.once(run, skips, from, to);
    cotangents.put(last, rows());
    for (int point = last - 1; point >= first; point--) {
      cotangents.put(point, stream.pulled(point, cotangents));
    }
    tangents.put(first, writtenAt(first));
    for (int point = first + 1; point <= last; point++) {
      tangents.put(point, stream.pushed(point, tangents).plus(writtenAt(point)));
    }
    this.pushed = dot(tangent(last), cotangent(last));
    for (int layer = 0; layer < run.model().layers(); layer++) {
      Attention attention = run.model().attention(layer);
      if (first <= attention.reads().index() && attention.writes().index() <= last) {
        meetings.put(layer, meeting(attention));
      }
    }
  }

  private Meeting meeting(Attention attention) {
    int writes = attention.writes().index();
    Tensor read = tangent(attention.reads().index());
    Tensor along = cotangent(writes);
    double passing = dot(tangent(writes - 1), along) + passed(writes) + writtenAfter(writes - 1);
    try (Scope scope = Scope.open()) {
      double[] heads =
          HeldAttention.of(run, attention.layer(), from, to)
              .pairs(read, along)
              .sum(-1)
              .sum(-2)
              .toDoubles();
      return new Meeting(read, along, Arrays.stream(heads).boxed().toList(), passing);
    }
  }

  /** What transcoders let pass from before a point to there or after it. */
  private double passed(int point) {
    double sum = 0;
    for (HeldSkip skip : skips) {
      int reads = skip.reads().index();
      int writes = skip.writes().index();
      if (reads < point
          && point <= writes
          && tangents.containsKey(reads)
          && cotangents.containsKey(writes)) {
        try (Scope scope = Scope.open()) {
          sum += dot(skip.push(tangent(reads)), cotangent(writes));
        }
      }
    }
    return sum;
  }

  private Tensor cotangent(int point) {
    return Objects.requireNonNull(cotangents.get(point));
  }

  private Tensor tangent(int point) {
    return Objects.requireNonNull(tangents.get(point));
  }

  /** The direction at these tokens, [token, 1, dModel]. */
  private Tensor rows() {
    int first = direction.firstToken();
    Tensor rows =
        first < from
            ? direction.rows().slice(0, from - first, to - first)
            : direction.rows().pad(0, first - from, to - from);
    return nothing().plus(rows.reshape(nothing().shape()));
  }

  private Tensor nothing() {
    Tensor rows = direction.rows();
    return Tensor.zeros(rows.dtype(), Shape.of(to - from, 1, rows.shape().size(1)));
  }

  /** What is written at a point, [token, 1, dModel]. */
  private Tensor writtenAt(int point) {
    Tensor sum = nothing();
    for (Write write : writes) {
      if (write.point().index() == point) {
        Tensor row = write.vector().reshape(write.vector().shape().prepend(1).prepend(1));
        sum = sum.plus(row.pad(0, write.token() - from, to - from));
      }
    }
    return sum;
  }

  /** What is written after a point, times the direction pulled down to there. */
  private double writtenAfter(int point) {
    return writes.stream()
        .filter(write -> write.point().index() > point)
        .mapToDouble(write -> Arrays.stream(products(write)).sum())
        .sum();
  }

  /** A write times the direction pulled down to it, [dModel]. */
  private double[] products(Write write) {
    int at = write.token() - from;
    return cotangent(write.point().index()).slice(0, at, at + 1).times(write.vector()).toDoubles();
  }

  private static double dot(Tensor a, Tensor b) {
    return a.times(b).sumTo(Shape.of()).item();
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
    return writtenAfter(-1);
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

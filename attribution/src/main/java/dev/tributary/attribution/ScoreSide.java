package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * All that is written at some tokens before a head reads them, each as its part of the queries or
 * keys of the head there, and the bias. The longest part first. Lives in the scope in which it was
 * made.
 */
final class ScoreSide {
  /** Bytes of writes that are read at a time. */
  private static final int STEP = 1 << 24;

  /**
   * A token whose query or key is read.
   *
   * @param token from 0
   * @param factor of the query or key
   */
  record At(int token, double factor) {}

  /** The sources of a list at a token, and the number of the first of them. */
  private record Group(SearchSources list, int token, int first) {}

  private final List<Group> groups;

  /** Which each row is, in the order of groups; the last number is that of the bias. */
  private final int[] numbers;

  /** [row, dHead] */
  private final Tensor rows;

  /** Of each row. */
  private final double[] norms;

  private ScoreSide(List<Group> groups, int[] numbers, Tensor rows) {
    this.groups = groups;
    this.numbers = numbers;
    this.rows = rows;
    this.norms = rows.norm(-1).toDoubles();
  }

  /**
   * {@return one side of a score}
   *
   * @param lists of all that is written
   * @param head of which only layer and head are looked at
   * @param path query or key
   * @param tokens whose queries or keys are added up
   */
  static ScoreSide of(
      Run run, List<SearchSources> lists, HeadPair head, InputPath path, List<At> tokens) {
    int step = Math.max(1, STEP / run.model().dtype().bytes() / run.model().config().dModel());
    List<Group> groups = new ArrayList<>();
    List<Tensor> parts = new ArrayList<>();
    List<Tensor> biases = new ArrayList<>();
    int count = 0;
    for (At at : tokens) {
      Affine affine = Affine.of(run, head, path, at);
      biases.add(affine.bias);
      for (SearchSources list : lists) {
        groups.add(new Group(list, at.token, count));
        int own = list.length(at.token);
        count += own;
        for (int from = 0; from < own; from += step) {
          int[] some = IntStream.range(from, Math.min(own, from + step)).toArray();
          try (Scope scope = Scope.open()) {
            parts.add(scope.keep(list.writes(at.token, some).matmulTransposed(affine.map)));
          }
        }
      }
    }
    parts.add(biases.stream().reduce(Tensor::plus).orElseThrow());
    Tensor all = Tensor.concat(0, parts);
    double[] norms = all.norm(-1).toDoubles();
    int[] numbers =
        IntStream.rangeClosed(0, count)
            .boxed()
            .sorted(Comparator.comparingDouble(number -> -norms[number]))
            .mapToInt(Integer::intValue)
            .toArray();
    return new ScoreSide(List.copyOf(groups), numbers, all.gather(0, numbers));
  }

  /** What together writes the residual stream up to a point. */
  static List<SearchSources> lists(Run run, Basis basis, Point read) {
    return Kind.sourcesOf(run.model()).stream()
        .filter(family -> !family.isWhole() && basis.has(family, read))
        .flatMap(family -> family.lists(run).stream())
        .filter(list -> list.isSeen(read))
        .toList();
  }

  /**
   * The query or key at a token as it depends on the residual stream there, scales held.
   *
   * @param map [dHead, dModel]
   * @param bias [1, dHead]
   */
  private record Affine(Tensor map, Tensor bias) {
    static Affine of(Run run, HeadPair head, InputPath path, At at) {
      Attention attention = run.model().attention(head.layer());
      int token = at.token;
      int dHead = attention.dHead();
      Variable row =
          Variable.input(run.residual(attention.reads()).value().slice(0, token, token + 1));
      Variable x = attention.normalised(row, ScaleGradient.DETACHED);
      Variable seen = attention.held(path, x, run, token, head.head());
      double[] diagonal = new double[dHead * dHead];
      for (int i = 0; i < dHead; i++) {
        diagonal[i * dHead + i] = at.factor;
      }
      Tensor each = Tensor.of(run.model().dtype(), Shape.of(dHead, 1, 1, dHead), diagonal);
      Tensor map = Jacobian.of(seen, row).pull(each).get(0);
      Variable origin = Variable.constant(Certificate.Affine.origin(run, attention.entry()));
      Tensor bias = attention.held(path, origin, run, token, head.head()).value();
      return new Affine(
          map.reshape(dHead, map.shape().size(-1)), bias.reshape(1, dHead).times(at.factor));
    }
  }

  /** Hands them to the scope around the one in which they were computed. */
  void keptBy(Scope scope) {
    scope.keep(rows);
  }

  /** How many parts there are, the bias among them. */
  int size() {
    return numbers.length;
  }

  /** Some parts, [row, dHead]. */
  Tensor rows(int first, int end) {
    return rows.slice(0, first, end);
  }

  /** How long a part is; none after it is longer. */
  double norm(int row) {
    return norms[row];
  }

  /** How long some parts are. */
  double[] norms(int first, int end) {
    return Arrays.copyOfRange(norms, first, end);
  }

  /** What writes a part; nothing of the bias. */
  Optional<Source> source(int row) {
    int number = numbers[row];
    if (number == numbers.length - 1) {
      return Optional.empty();
    }
    Group group = groups.get(0);
    for (Group next : groups) {
      if (next.first <= number) {
        group = next;
      }
    }
    return Optional.of(group.list.node(group.token, number - group.first));
  }

  /** The sum of all parts, [1, dHead]. */
  Tensor sum() {
    return of(false);
  }

  /** The sum of their magnitudes, number by number, [1, dHead]. */
  Tensor magnitude() {
    return of(true);
  }

  private Tensor of(boolean magnitudes) {
    int dHead = rows.shape().size(1);
    double[] sum = new double[dHead];
    rows.forEach(
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            sum[(from + i) % dHead] += magnitudes ? Math.abs(values[i]) : values[i];
          }
        });
    return Tensor.of(rows.dtype(), Shape.of(1, dHead), sum);
  }

  /** The parts whose products with a vector are largest, as rows of this. */
  List<ScoreAttribution.Share> along(Tensor vector, int count) {
    double[] products = vector.matmulTransposed(rows).toDoubles();
    double[] magnitudes = Arrays.stream(products).map(Math::abs).toArray();
    return Arrays.stream(TopK.indices(magnitudes, count))
        .filter(row -> products[row] != 0)
        .mapToObj(row -> new ScoreAttribution.Share(source(row), products[row]))
        .toList();
  }
}

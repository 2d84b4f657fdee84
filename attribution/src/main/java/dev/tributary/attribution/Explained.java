package dev.tributary.attribution;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.stream.Stream;

/**
 * A scalar that is explained: the metric, or one of several in a {@link Circuit}.
 *
 * @param number which of several, from 0
 */
public record Explained(int number) implements Target {
  static final Kind KIND =
      new Kind(Explained.class, "metric") {
        @Override
        Stream<Explained> candidates(Coordinates.Name name) {
          return Stream.of(new Explained(name.index().orElse(0)));
        }

        @Override
        List<TheMetric> targets(Transformer model) {
          return List.of(new TheMetric());
        }
      };

  /** The metric, which is the only one of a run. */
  public Explained() {
    this(0);
  }

  /** The metric alone. */
  private record TheMetric() implements TargetFamily {
    @Override
    public List<String> axes() {
      return List.of("metric");
    }

    @Override
    public Explained node(int... index) {
      return new Explained(index[0]);
    }

    @Override
    public List<NodeArray> pushed(Push push) {
      ResidualGradient read = push.edges().nodes().residualGradient();
      if (!read.reads(push.token())) {
        return List.of();
      }
      double edge = push.along(read);
      DType dtype = read.rows().dtype();
      return List.of(NodeArray.of(this, Tensor.of(dtype, Shape.of(1), edge)));
    }

    @Override
    public SearchTargets lists(EdgeAttribution edges, NodeFilter wanted) {
      return new Rows(edges.nodes().residualGradient());
    }
  }

  /** One direction at each token that is read. */
  private record Rows(ResidualGradient gradient) implements SearchTargets {
    @Override
    public Point point() {
      return gradient.point();
    }

    @Override
    public long count(int token) {
      return gradient.reads(token) ? 1 : 0;
    }

    @Override
    public Tensor norms(int token) {
      return gradient.row(token).norm(-1);
    }

    @Override
    public Tensor directions(int token, int... chosen) {
      return gradient.row(token);
    }

    @Override
    public Explained target(int token, int place, int which) {
      return new Explained();
    }
  }

  @Override
  public Coordinates coordinates() {
    Coordinates outside = Coordinates.outside(KIND.word(), Coordinates.Component.OUTPUT);
    return number == 0 ? outside : outside.index(number);
  }

  @Override
  public Family family() {
    return new TheMetric();
  }

  @Override
  public int[] index() {
    return new int[] {number};
  }

  @Override
  public void requireIn(Run run) {
    Kind.requireIndex(this, "metric", number, 1);
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    return edges.nodes().metric().reading(edges.nodes().run());
  }

  @Override
  public ResidualGradient gradient(EdgeAttribution edges) {
    return edges.nodes().residualGradient();
  }

  /** The metric's own gradient is never detached, unless it is a trace that is. */
  @Override
  public ScaleGradient scaleGradient(EdgeAttribution edges) {
    return edges.nodes().metric().scaleGradient();
  }

  @Override
  public double metricChange(EdgeAttribution edges, int token, Tensor write) {
    return -reading(edges).lostWithout(edges.nodes().run(), token, write);
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}

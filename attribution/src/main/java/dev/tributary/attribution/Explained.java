package dev.tributary.attribution;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** The scalar that is explained. */
public record Explained() implements Target {
  static final Kind KIND =
      new Kind(Explained.class, "metric") {
        @Override
        Stream<Explained> candidates(Coordinates.Name name) {
          return Stream.of(new Explained());
        }

        @Override
        List<TheMetric> targets(Transformer model) {
          return List.of(new TheMetric());
        }
      };

  /** The metric alone. */
  private record TheMetric() implements TargetFamily {
    @Override
    public List<String> axes() {
      return List.of("metric");
    }

    @Override
    public Explained node(int... index) {
      return new Explained();
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
    public List<Supplier<SearchTargets>> directions(EdgeAttribution edges, NodeFilter filter) {
      ResidualGradient read = edges.nodes().residualGradient();
      return List.of(
          () ->
              SearchTargets.ofEach(
                  read.point(),
                  read.firstToken(),
                  read.rows(),
                  read.rows().shape().size(0),
                  edges.nodes().run().length(),
                  column -> new Explained()));
    }
  }

  @Override
  public Coordinates coordinates() {
    return Coordinates.outside(KIND.word(), Coordinates.Component.OUTPUT);
  }

  @Override
  public Family family() {
    return new TheMetric();
  }

  @Override
  public int[] index() {
    return new int[] {0};
  }

  @Override
  public void requireIn(Run run) {}

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

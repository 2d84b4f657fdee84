package dev.tributary.attribution.dataset;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.StreamWriter;

/** What is heard of a source where an edge from it is missing. */
public abstract class AblationValues {
  /** What it writes in the plain run of the corrupted prompt, token by token. */
  public static final AblationValues PATCHING =
      new AblationValues("patching") {
        @Override
        Tensor heard(ComponentGraph graph, Tensor written, Run corrupted) {
          return StreamWriter.written(corrupted, graph.sources());
        }

        @Override
        Tensor heard(PairRuns runs, int source) {
          return runs.sources().get(source).written(runs.corrupted());
        }

        @Override
        Tensor moved(PairRuns runs) {
          return StreamWriter.moved(runs.clean(), runs.corrupted(), runs.graph().sources());
        }
      };

  /** Nothing. */
  public static final AblationValues ZERO =
      new AblationValues("zero") {
        @Override
        Tensor heard(ComponentGraph graph, Tensor written, Run corrupted) {
          return Tensor.zeros(written.dtype(), written.shape());
        }
      };

  private final String name;

  AblationValues(String name) {
    this.name = name;
  }

  /**
   * {@return what it writes in the mean}
   *
   * @param means over clean prompts
   */
  public static AblationValues of(WriteMeans means) {
    return new AblationValues(means.toString()) {
      @Override
      Tensor heard(ComponentGraph graph, Tensor written, Run corrupted) {
        return means.at(written.dtype(), written.shape(), corrupted.prompts());
      }
    };
  }

  /**
   * What is heard of each source of some pairs of one length.
   *
   * @param graph of the model
   * @param written in the clean run, [source, token, dModel]
   * @param corrupted the plain run of the corrupted prompts
   * @return of the shape of {@code written}
   */
  abstract Tensor heard(ComponentGraph graph, Tensor written, Run corrupted);

  /** What is heard of one source, [token, dModel]. */
  Tensor heard(PairRuns runs, int source) {
    return PairRuns.of(runs.missing(), source);
  }

  /** How far what is heard of each source is from what it writes, [token, source, dModel]. */
  Tensor moved(PairRuns runs) {
    return runs.missing().minus(runs.written()).permute(1, 0, 2);
  }

  @Override
  public String toString() {
    return name;
  }
}

package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Constants in place of what some writers add to the residual stream, for all that read them. Where
 * a norm stands between an attention and the stream, its scale stays that of all that the attention
 * computes.
 */
public final class WriteIntervention extends Change {
  private final Map<StreamWriter, Tensor> constants;

  private WriteIntervention(Map<StreamWriter, Tensor> constants) {
    this.constants = constants;
  }

  /**
   * {@return the change that puts constants in place of what is written}
   *
   * @param constants by writer, each [token, dModel], of all tokens of several prompts; they must
   *     live as long as the new run is made
   */
  public static WriteIntervention put(Map<? extends StreamWriter, Tensor> constants) {
    return new WriteIntervention(new LinkedHashMap<>(constants));
  }

  @Override
  int firstLayer(Transformer model) {
    return constants.keySet().stream().mapToInt(StreamWriter::layer).min().orElse(model.layers());
  }

  @Override
  boolean isOfPrompts() {
    return true;
  }

  @Override
  boolean changes(Site site) {
    return constants.keySet().stream().anyMatch(writer -> writer.site() == site);
  }

  @Override
  void requireFits(Run base) {
    Shape rows = Shape.of(base.rows(), base.model().config().dModel());
    constants.forEach(
        (writer, constant) -> {
          writer.requireFits(base);
          requireArgument(
              constant.shape().equals(rows) && constant.dtype() == base.model().dtype(),
              "%s: the constant %s is not %s of %s",
              writer,
              constant,
              rows,
              base.model().dtype());
        });
  }

  @Override
  void requireFitsAnyText(Transformer model) {
    throw new IllegalArgumentException("a constant of some tokens does not fit a text that grows");
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    Variable changed = variable;
    for (Map.Entry<StreamWriter, Tensor> constant : constants.entrySet()) {
      StreamWriter writer = constant.getKey();
      if (writer.site() == site && writer.layer() == layer) {
        Tensor said = constant.getValue();
        changed =
            writer.isAlone()
                ? run.leaf(said)
                : changed.plus(
                    Variable.constant(said)
                        .minus(writer.written(run.model(), run.passed(site, layer, variable))));
      }
    }
    return changed;
  }

  @Override
  public String toString() {
    return "constants written by " + constants.keySet();
  }
}

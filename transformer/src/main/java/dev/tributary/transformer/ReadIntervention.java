package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.List;
import java.util.Optional;

/**
 * Something on top of the residual stream for one reader alone, which the others do not see. Of a
 * layer that is changed in this way, heads that share a key head have keys or values of their own.
 */
public final class ReadIntervention extends Change {
  private final StreamReader reader;
  private final Tensor added;

  private ReadIntervention(StreamReader reader, Tensor added) {
    this.reader = reader;
    this.added = added;
  }

  /**
   * {@return the change that adds to what one reader reads}
   *
   * @param reader which
   * @param added [token, dModel]; it must live as long as the new run is made
   */
  public static ReadIntervention add(StreamReader reader, Tensor added) {
    return new ReadIntervention(reader, added);
  }

  @Override
  int firstLayer(Transformer model) {
    return reader.firstLayer(model);
  }

  @Override
  boolean changes(Site site) {
    return false;
  }

  @Override
  void requireFits(Run base) {
    reader.requireFits(base);
    Shape rows = Shape.of(base.length(), base.model().config().dModel());
    requireArgument(
        added.shape().equals(rows) && added.dtype() == base.model().dtype(),
        "%s: what is added, %s, is not %s of %s",
        reader,
        added,
        rows,
        base.model().dtype());
  }

  @Override
  void requireFitsAnyText(Transformer model) {
    throw new IllegalArgumentException(
        "what is added at some tokens does not fit a text that grows");
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    return variable;
  }

  @Override
  Optional<StreamReader.Differences> differences(Site site, int layer, Run.Recorder run) {
    return reader.site() == site && reader.layer() == layer
        ? Optional.of(
            new StreamReader.Differences(
                List.of(reader), Variable.constant(added.reshape(added.shape().prepend(1)))))
        : Optional.empty();
  }

  @Override
  public String toString() {
    return "something else read by " + reader;
  }
}

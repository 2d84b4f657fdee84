package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Some edges are missing: in place of what a writer adds to the residual stream in this very run,
 * some readers see a constant. Everything that follows answers.
 */
public final class EdgeIntervention extends Change {
  private final List<StreamWriter> writers;
  private final Tensor constants;
  private final Map<StreamReader, Set<StreamWriter>> missing;

  private EdgeIntervention(
      List<StreamWriter> writers, Tensor constants, Map<StreamReader, Set<StreamWriter>> missing) {
    this.writers = writers;
    this.constants = constants;
    this.missing = missing;
  }

  /**
   * {@return the change that lacks these edges}
   *
   * @param writers all of a model, as {@link StreamWriter#of} lists them
   * @param constants what each says where it is missing, [writer, token, dModel]; they must live as
   *     long as the new run is made
   * @param missing by reader, the writers that it does not hear
   */
  public static EdgeIntervention without(
      List<StreamWriter> writers, Tensor constants, Map<StreamReader, Set<StreamWriter>> missing) {
    return new EdgeIntervention(List.copyOf(writers), constants, new LinkedHashMap<>(missing));
  }

  @Override
  int firstLayer(Transformer model) {
    return 0; // what writers of all layers write has to come by
  }

  @Override
  boolean changes(Site site) {
    return false;
  }

  @Override
  void requireFits(Run base) {
    Transformer model = base.model();
    Shape all = Shape.of(writers.size(), base.length(), model.config().dModel());
    requireArgument(
        constants.shape().equals(all) && constants.dtype() == model.dtype(),
        "what missing writers say, %s, is not %s of %s",
        constants,
        all,
        model.dtype());
    requireArgument(
        !writers.isEmpty()
            && writers.get(0) instanceof StreamWriter.Input input
            && writers.equals(StreamWriter.of(model, input)),
        "%d writers are not those of a model of %d layers",
        writers.size(),
        model.layers());
    Set<StreamWriter> known = Set.copyOf(writers);
    missing.forEach(
        (reader, unheard) ->
            unheard.forEach(
                writer ->
                    requireArgument(
                        known.contains(writer) && writer.writes(model).reaches(reader.reads(model)),
                        "there is no edge from %s to %s",
                        writer,
                        reader)));
  }

  @Override
  void requireFitsAnyText(Transformer model) {
    throw new IllegalArgumentException("constants of some tokens do not fit a text that grows");
  }

  /** How far what is heard of missing writers is from what they write. */
  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    int first = 0;
    while (first < writers.size() && !isAt(first, site, layer)) {
      first++;
    }
    int end = first;
    while (end < writers.size() && isAt(end, site, layer)) {
      end++;
    }
    if (first < end) {
      Variable said = Variable.constant(constants.slice(0, first, end));
      run.hold(this, site, layer, said.minus(written(site, layer, variable, run)));
    }
    return variable;
  }

  /** What each writer of a site that passed wrote, [writer, token, dModel]. */
  private static Variable written(Site site, int layer, Variable passed, Run.Recorder run) {
    return site == Site.ATTENTION_OUTPUT
        ? run.model()
            .attention(layer)
            .writes(
                run.recorded(Site.HEAD_OUTPUT, layer),
                run.ifRecorded(Site.ATTENTION_OUTLET_SCALE, layer))
        : passed.reshape(passed.shape().prepend(1));
  }

  private boolean isAt(int writer, Site site, int layer) {
    return writers.get(writer).site() == site && writers.get(writer).layer() == layer;
  }

  @Override
  Optional<StreamReader.Differences> differences(Site site, int layer, Run.Recorder run) {
    List<StreamReader> here = new ArrayList<>();
    List<Set<StreamWriter>> unheard = new ArrayList<>();
    missing.forEach(
        (reader, of) -> {
          if (reader.site() == site && reader.layer() == layer && !of.isEmpty()) {
            here.add(reader);
            unheard.add(of);
          }
        });
    if (here.isEmpty()) {
      return Optional.empty();
    }
    Point reads = here.get(0).reads(run.model());
    List<Variable> moved = new ArrayList<>();
    int heard = 0;
    while (heard < writers.size() && writers.get(heard).writes(run.model()).reaches(reads)) {
      StreamWriter first = writers.get(heard);
      moved.add(run.held(this, first.site(), first.layer()).orElseThrow());
      heard += moved.get(moved.size() - 1).shape().size(0);
    }
    double[] mask = new double[here.size() * heard];
    for (int i = 0; i < mask.length; i++) {
      mask[i] = unheard.get(i / heard).contains(writers.get(i % heard)) ? 1 : 0;
    }
    Tensor weights = Tensor.of(constants.dtype(), Shape.of(here.size(), heard), mask);
    int tokens = constants.shape().size(1);
    int width = constants.shape().size(2);
    Variable all = Variable.concat(0, moved).reshape(heard, tokens * width);
    return Optional.of(
        new StreamReader.Differences(
            here.stream().map(StreamReader::number).toList(),
            Variable.constant(weights).matmul(all).reshape(here.size(), tokens, width)));
  }

  @Override
  public String toString() {
    return "edges missing into " + missing.keySet();
  }
}

package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Some edges are missing at some tokens: in place of what a writer adds to the residual stream in
 * this very run, some readers see a constant. Everything that follows answers.
 */
public final class EdgeIntervention extends Change {
  private final List<StreamWriter> writers;
  private final Tensor constants;
  private final SortedMap<Tokens, Map<StreamReader, Set<StreamWriter>>> missing;

  private EdgeIntervention(
      List<StreamWriter> writers,
      Tensor constants,
      SortedMap<Tokens, Map<StreamReader, Set<StreamWriter>>> missing) {
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
   * @param missing by tokens, of which none is in two keys, and by reader, the writers that it does
   *     not hear there
   */
  public static EdgeIntervention without(
      List<StreamWriter> writers,
      Tensor constants,
      Map<Tokens, Map<StreamReader, Set<StreamWriter>>> missing) {
    SortedMap<Tokens, Map<StreamReader, Set<StreamWriter>>> inOrder =
        new TreeMap<>(Comparator.comparingInt(Tokens::first).thenComparingInt(Tokens::end));
    inOrder.putAll(missing);
    return new EdgeIntervention(List.copyOf(writers), constants, inOrder);
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
            && writers.equals(StreamWriter.of(model, input, base.split())),
        "%d writers are not those of a model of %d layers, %s apart",
        writers.size(),
        model.layers(),
        base.split().shares());
    Set<StreamWriter> known = Set.copyOf(writers);
    int next = 0;
    for (Tokens tokens : missing.keySet()) {
      int end = tokens.isOpen() ? base.length() : tokens.end();
      requireArgument(
          tokens.first() >= next && end <= base.length() && end > tokens.first(),
          "edges missing at tokens %s of %d",
          missing.keySet(),
          base.length());
      next = end;
    }
    missing
        .values()
        .forEach(
            byReader ->
                byReader.forEach(
                    (reader, unheard) -> {
                      reader.requireFits(base);
                      unheard.forEach(writer -> requireEdge(model, known, writer, reader));
                    }));
  }

  private static void requireEdge(
      Transformer model, Set<StreamWriter> known, StreamWriter writer, StreamReader reader) {
    requireArgument(
        known.contains(writer) && writer.writes(model).reaches(reader.reads(model)),
        "there is no edge from %s to %s",
        writer,
        reader);
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
      Variable written =
          StreamWriter.written(
              run.model(), writers.subList(first, end), run.passed(site, layer, variable));
      run.hold(this, site, layer, said.minus(written));
    }
    return variable;
  }

  private boolean isAt(int writer, Site site, int layer) {
    return writers.get(writer).site() == site && writers.get(writer).layer() == layer;
  }

  @Override
  Optional<StreamReader.Differences> differences(Site site, int layer, Run.Recorder run) {
    List<StreamReader> here =
        missing.values().stream()
            .flatMap(byReader -> byReader.keySet().stream())
            .filter(reader -> reader.site() == site && reader.layer() == layer)
            .distinct()
            .toList();
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
    int tokens = constants.shape().size(1);
    int width = constants.shape().size(2);
    Variable all = Variable.concat(0, moved);
    List<Variable> bySpan = new ArrayList<>();
    int next = 0;
    for (Map.Entry<Tokens, Map<StreamReader, Set<StreamWriter>>> at : missing.entrySet()) {
      int first = at.getKey().first();
      int end = at.getKey().endIn(tokens);
      bySpan.add(nothing(here.size(), first - next, width));
      Variable own = first == 0 && end == tokens ? all : all.slice(1, first, end);
      bySpan.add(
          Variable.constant(weights(here, at.getValue(), heard))
              .matmul(own.reshape(heard, (end - first) * width))
              .reshape(here.size(), end - first, width));
      next = end;
    }
    bySpan.add(nothing(here.size(), tokens - next, width));
    List<Variable> some = bySpan.stream().filter(rows -> rows.shape().length() > 0).toList();
    return Optional.of(
        new StreamReader.Differences(
            here, some.size() == 1 ? some.get(0) : Variable.concat(1, some)));
  }

  private Variable nothing(int readers, int tokens, int width) {
    return Variable.constant(Tensor.zeros(constants.dtype(), Shape.of(readers, tokens, width)));
  }

  /** 1 where a reader does not hear a writer, [reader, writer]. */
  private Tensor weights(
      List<StreamReader> readers, Map<StreamReader, Set<StreamWriter>> unheard, int heard) {
    double[] mask = new double[readers.size() * heard];
    for (int i = 0; i < mask.length; i++) {
      Set<StreamWriter> own = unheard.getOrDefault(readers.get(i / heard), Set.of());
      mask[i] = own.contains(writers.get(i % heard)) ? 1 : 0;
    }
    return Tensor.of(constants.dtype(), Shape.of(readers.size(), heard), mask);
  }

  @Override
  public String toString() {
    return "edges missing at tokens " + missing.keySet();
  }
}

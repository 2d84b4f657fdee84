package dev.tributary.attribution;

import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The sources that together write the residual stream once: sums in place of their parts, of every
 * part of the model either its own nodes or those of one dictionary, and of the residual stream
 * where a dictionary splits it, the nodes of that in place of all that was written before.
 *
 * <p>Where several dictionaries are of one part, transcoders go before autoencoders of its output,
 * and these before autoencoders of what makes the output; of several of one kind the first goes. A
 * cross-layer transcoder writes before and after a point of the residual stream: beside a
 * dictionary of that it is not used.
 */
final class Basis {
  /** Which kinds go before others of the same part. */
  private static final List<Dictionary.Kind> PRECEDENCE =
      List.of(
          Dictionary.Kind.CROSS_LAYER,
          Dictionary.Kind.TRANSCODER,
          Dictionary.Kind.MLP,
          Dictionary.Kind.ACTIVATION,
          Dictionary.Kind.ATTENTION,
          Dictionary.Kind.HEADS,
          Dictionary.Kind.RESIDUAL,
          Dictionary.Kind.MIDDLE_RESIDUAL,
          Dictionary.Kind.EMBEDDING);

  private final Transformer model;

  /** All that could speak, what goes before others first. */
  private final List<Split> splits;

  /** What speaks for a part. */
  private final Map<Part, Split> speaking = new HashMap<>();

  /** What speaks for the residual stream, in the order of the forward pass. */
  private final List<Split> ofStream = new ArrayList<>();

  Basis(Transformer model) {
    this.model = model;
    this.splits =
        Split.of(model).stream()
            .sorted(Comparator.comparingInt(split -> PRECEDENCE.indexOf(split.kind())))
            .toList();
    Map<Point, Split> streams = new HashMap<>();
    splits.forEach(split -> split.ofStream(model).ifPresent(at -> streams.putIfAbsent(at, split)));
    streams.keySet().stream().sorted().map(streams::get).forEach(ofStream::add);
    for (Split split : splits) {
      if (streams.isEmpty() || split.kind() != Dictionary.Kind.CROSS_LAYER) {
        split.parts(model).forEach(part -> speaking.putIfAbsent(part, split));
      }
    }
  }

  /** The dictionaries that speak for MLPs and read what these read. */
  List<Dictionary> transcoders() {
    return speaking.values().stream()
        .distinct()
        .flatMap(split -> split.members().stream())
        .map(one -> model.dictionary(one.id()))
        .filter(one -> !one.isAutoencoder())
        .toList();
  }

  /** What speaks for a node of the model itself, or of another dictionary, wherever it is read. */
  Optional<Split> replacing(SourceFamily family) {
    Optional<Split> own = splits.stream().filter(one -> one.owns(family)).findFirst();
    if (own.isEmpty()) {
      return speaking.values().stream().filter(one -> one.repeats(model, family)).findFirst();
    }
    Split of = own.get();
    return of.ofStream(model).isPresent()
        ? ofStream.stream()
            .filter(one -> !one.equals(of) && one.ofStream(model).equals(of.ofStream(model)))
            .findFirst()
        : of.parts(model).stream()
            .flatMap(part -> Optional.ofNullable(speaking.get(part)).stream())
            .filter(one -> !one.equals(of))
            .findFirst();
  }

  /** Whether nodes are what a reader of a point sees, and no others say what they say. */
  boolean has(SourceFamily family, Point read) {
    if (replacing(family).isPresent()) {
      return false;
    }
    Optional<Split> last =
        ofStream.stream()
            .filter(split -> split.reaches(model, read))
            .reduce((earlier, later) -> later);
    return last.map(
            split ->
                split.owns(family)
                    || family.point(model).index() > split.ofStream(model).orElseThrow().index())
        .orElse(true);
  }

  /** The numbers of these nodes alone, of all there are. */
  List<NodeArray> of(List<NodeArray> all) {
    return sums(all.stream().filter(array -> replacing(array.source()).isEmpty()).toList());
  }

  /** The numbers of what a reader of a point sees; numbers that add up. */
  List<NodeArray> of(List<NodeArray> all, Point read) {
    return sums(all.stream().filter(array -> has(array.source(), read)).toList());
  }

  private static List<NodeArray> sums(List<NodeArray> all) {
    List<NodeArray> arrays = new ArrayList<>();
    Map<SourceFamily, NodeArray> sums = new LinkedHashMap<>();
    for (NodeArray array : all) {
      Optional<SourceFamily> whole = array.source().whole();
      if (whole.isPresent()) {
        sums.merge(whole.get(), array.of(whole.get()), NodeArray::plus);
      } else {
        arrays.add(array);
      }
    }
    arrays.addAll(0, sums.values());
    return arrays;
  }
}

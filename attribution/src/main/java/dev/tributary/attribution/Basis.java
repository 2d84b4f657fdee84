package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The sources that together write the residual stream once: sums in place of their parts, of every
 * part of the model either its own nodes or those of one dictionary, and of the residual stream
 * where a dictionary splits it, the nodes of that in place of all that was written before.
 */
public final class Basis {
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

  /** What splits something. */
  private final List<Split> splits;

  /** Where the residual stream is split, and by what, in the order of the forward pass. */
  private final Map<Point, Split> ofStream = new LinkedHashMap<>();

  private Basis(Transformer model, List<Split> splits) {
    this.model = model;
    this.splits = List.copyOf(splits);
    splits.stream()
        .filter(split -> split.ofStream(model).isPresent())
        .sorted(Comparator.comparing(split -> split.ofStream(model).orElseThrow()))
        .forEach(split -> ofStream.put(split.ofStream(model).orElseThrow(), split));
  }

  /**
   * {@return the basis of all dictionaries of a model, as far as they go together} Where several
   * are of one part, transcoders go before autoencoders of its output, and these before
   * autoencoders of what makes the output; of several of one kind the first goes. A cross-layer
   * transcoder writes before and after a point of the residual stream: beside a dictionary of that
   * it is not used.
   *
   * @param model with or without dictionaries
   */
  public static Basis of(Transformer model) {
    List<Split> chosen = new ArrayList<>();
    Split.of(model).stream()
        .sorted(
            Comparator.<Split, Boolean>comparing(split -> split.ofStream(model).isEmpty())
                .thenComparingInt(split -> PRECEDENCE.indexOf(split.kind())))
        .filter(split -> chosen.stream().allMatch(other -> clash(model, other, split).isEmpty()))
        .forEach(chosen::add);
    return new Basis(model, chosen);
  }

  /**
   * {@return the basis in which some dictionaries of a model split what they write, and no others}
   *
   * @param model with these dictionaries
   * @param dictionaries which; the layers of a cross-layer transcoder go together, and one of them
   *     stands for all. None at all is the basis of the model's own nodes
   * @throws IllegalArgumentException if the model has no such dictionary, or two of them would
   *     split the same
   */
  public static Basis of(Transformer model, Collection<Dictionary.Id> dictionaries) {
    Set<Split> chosen = new LinkedHashSet<>();
    for (Dictionary.Id id : dictionaries) {
      model.dictionary(id);
      Optional<Split> split =
          Split.of(model).stream()
              .filter(one -> one.members().contains(new Encoded(id)))
              .findFirst();
      requireArgument(
          split.isPresent(),
          "%s splits token embeddings without their positions, which is no part of a basis",
          id);
      chosen.add(split.get());
    }
    List<Split> all = List.copyOf(chosen);
    for (int i = 0; i < all.size(); i++) {
      for (int j = 0; j < i; j++) {
        Optional<String> clash = clash(model, all.get(j), all.get(i));
        requireArgument(clash.isEmpty(), "%s", clash.orElse(""));
      }
    }
    return new Basis(model, all);
  }

  /** Why two would say something twice, if they would. */
  private static Optional<String> clash(Transformer model, Split one, Split other) {
    Optional<Point> stream = one.ofStream(model);
    if (stream.isPresent() && stream.equals(other.ofStream(model))) {
      return Optional.of(
          "%s and %s both split the residual stream at %s"
              .formatted(one.name(), other.name(), stream.get()));
    }
    for (Split crossing : List.of(one, other)) {
      Split beside = crossing.equals(one) ? other : one;
      if (crossing.kind() == Dictionary.Kind.CROSS_LAYER && beside.ofStream(model).isPresent()) {
        return Optional.of(
            "%s writes before and after a point of the residual stream, which %s splits"
                .formatted(crossing.name(), beside.name()));
      }
    }
    return one.parts(model).stream()
        .filter(other.parts(model)::contains)
        .findFirst()
        .map(
            part ->
                "%s and %s both split %s"
                    .formatted(one.name(), other.name(), Place.of(part.output(), part.layer())));
  }

  /** {@return the dictionaries that split something, all layers of cross-layer transcoders} */
  public List<Dictionary.Id> dictionaries() {
    return splits.stream().flatMap(split -> split.members().stream()).map(Encoded::id).toList();
  }

  /**
   * {@return whether a node is one of the basis; what writes nothing is, unless it is of a
   * dictionary that is not}
   *
   * @param node of the model or of one of its dictionaries
   */
  public boolean has(Node node) {
    return !(node.family() instanceof SourceFamily family) || has(family);
  }

  /**
   * {@return whether a node is one that a reader of a point of the residual stream sees}
   *
   * @param source of the model or of one of its dictionaries
   * @param read the point
   */
  public boolean has(Source source, Point read) {
    return has(source.family(), read);
  }

  /** The dictionaries that split what MLPs write and read what these read. */
  List<Dictionary> transcoders() {
    return dictionaries().stream()
        .map(model::dictionary)
        .filter(one -> !one.isAutoencoder())
        .toList();
  }

  /** What splits a part of the model in place of its own nodes, wherever these are read. */
  private Optional<Split> replacing(SourceFamily family) {
    return splits.stream()
        .filter(one -> one.ofStream(model).isEmpty() && one.repeats(model, family))
        .findFirst();
  }

  /** Refuses a node that is not of the basis. */
  void requireHas(Source source) {
    SourceFamily family = source.family();
    replacing(family)
        .ifPresent(
            split -> {
              throw new IllegalArgumentException(
                  "%s is spoken for by %s: choose its latents, error or pre-bias"
                      .formatted(source, split.name()));
            });
    requireArgument(has(family), "%s is of a dictionary that splits nothing in this basis", source);
  }

  /** Refuses a model that has not these dictionaries. */
  void requireOf(Transformer other) {
    dictionaries().forEach(other::dictionary);
  }

  /** Whether nodes are of the basis. */
  boolean has(SourceFamily family) {
    return family.encoded().isEmpty()
        ? replacing(family).isEmpty()
        : splits.stream().anyMatch(one -> one.owns(family));
  }

  /** Where the residual stream is next split, so that others say from there on what nodes wrote. */
  Optional<Point> end(SourceFamily family) {
    int written = family.point(model).index();
    return ofStream.entrySet().stream()
        .filter(split -> split.getKey().index() >= written && !split.getValue().owns(family))
        .map(Map.Entry::getKey)
        .findFirst();
  }

  /** Whether nodes are what a reader of a point sees. */
  boolean has(SourceFamily family, Point read) {
    return has(family) && end(family).filter(end -> end.reaches(read)).isEmpty();
  }

  /** The numbers of these nodes alone, of all there are. */
  List<NodeArray> of(List<NodeArray> all) {
    return sums(all.stream().filter(array -> has(array.source())).toList());
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

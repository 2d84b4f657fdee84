package dev.tributary.attribution;

import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Dictionaries whose nodes together say once more what nodes of the model itself write: one
 * dictionary, or all layers of a cross-layer transcoder, which write for each other.
 */
record Split(List<Encoded> members) {
  /** Those of a model. */
  static List<Split> of(Transformer model) {
    Map<Object, List<Encoded>> together = new LinkedHashMap<>();
    for (Encoded one : Encoded.of(model)) {
      Object key =
          one.id().kind() == Dictionary.Kind.CROSS_LAYER ? "cross-layer " + one.id().label() : one;
      together.computeIfAbsent(key, any -> new ArrayList<>()).add(one);
    }
    return together.values().stream().map(Split::new).toList();
  }

  /** That of one dictionary. */
  static Split with(Transformer model, Encoded one) {
    return of(model).stream()
        .filter(split -> split.members.contains(one))
        .findFirst()
        .orElseThrow();
  }

  Dictionary.Kind kind() {
    return members.get(0).id().kind();
  }

  /** Where the residual stream is split, if it is that. */
  Optional<Point> ofStream(Transformer model) {
    return switch (kind()) {
      case RESIDUAL, MIDDLE_RESIDUAL, EMBEDDING -> Optional.of(members.get(0).reads(model));
      default -> Optional.empty();
    };
  }

  /** What is split: the first place where each of its dictionaries writes. */
  List<Place> places(Transformer model) {
    return members.stream().map(one -> one.written(model).get(0).place()).toList();
  }

  /** The parts of which it splits what they write. */
  List<Part> parts(Transformer model) {
    if (ofStream(model).isPresent()) {
      return List.of();
    }
    return places(model).stream()
        .<Part>map(
            place ->
                switch (place.site()) {
                  case HEAD_OUTPUT, ATTENTION_OUTPUT -> model.attention(place.layer());
                  default -> model.mlp(place.layer());
                })
        .toList();
  }

  boolean owns(SourceFamily family) {
    return family.encoded().filter(members::contains).isPresent();
  }

  /** Whether it says once more what nodes of the model write. */
  boolean repeats(Transformer model, SourceFamily family) {
    return family.encoded().isEmpty()
        && ofStream(model)
            .map(point -> family.point(model).index() <= point.index())
            .orElseGet(() -> places(model).stream().anyMatch(family.within()::contains));
  }

  /** Whether a reader of a point sees what it writes. */
  boolean reaches(Transformer model, Point read) {
    return ofStream(model).map(point -> point.reaches(read)).orElse(true);
  }

  /** What it is called: as the first of its dictionaries. */
  String name() {
    return members.get(0).id().toString();
  }
}

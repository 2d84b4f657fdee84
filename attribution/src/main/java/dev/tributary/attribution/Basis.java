package dev.tributary.attribution;

import dev.tributary.transformer.Part;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The sources that together write the residual stream once: sums in place of their parts, and of
 * every part of the model either its own nodes or those of one autoencoder.
 */
final class Basis {
  private final Transformer model;

  /** Which autoencoder speaks for a part; one of its output goes before one of its activations. */
  private final Map<Part, Encoded> speaking = new HashMap<>();

  Basis(Transformer model) {
    this.model = model;
    for (Encoded one : Encoded.of(model)) {
      speaking.merge(
          one.part(model),
          one,
          (other, own) -> own.site() == own.part(model).output() ? own : other);
    }
  }

  /** The site whose autoencoder speaks for a node of the model itself, or for another's. */
  Optional<Site> replacing(SourceFamily family) {
    Optional<Encoded> own = family.encoded();
    return speaking.values().stream()
        .filter(
            other ->
                own.map(one -> one.part(model).equals(other.part(model)) && !one.equals(other))
                    .orElseGet(() -> family.within().contains(other.place())))
        .map(Encoded::site)
        .findFirst();
  }

  /** The numbers of these nodes alone, of all there are; numbers that add up. */
  List<NodeArray> of(List<NodeArray> all) {
    List<NodeArray> arrays = new ArrayList<>();
    Map<SourceFamily, NodeArray> sums = new LinkedHashMap<>();
    for (NodeArray array : all) {
      Optional<SourceFamily> whole = array.source().whole();
      if (whole.isPresent()) {
        sums.merge(whole.get(), array.of(whole.get()), NodeArray::plus);
      } else if (replacing(array.source()).isEmpty()) {
        arrays.add(array);
      }
    }
    arrays.addAll(0, sums.values());
    return arrays;
  }
}

package dev.tributary.attribution;

import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.attribution.Node.Source;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The sources that together write the residual stream once: embeddings as a whole, and of every
 * block either the model's own nodes or those of one autoencoder.
 */
final class Basis {
  /** By block; an autoencoder of an MLP's output goes before one of its activations. */
  private final Map<Integer, Site> encoded = new HashMap<>();

  Basis(Transformer model) {
    for (SparseAutoencoder autoencoder : model.autoencoders()) {
      Site site = autoencoder.site();
      int layer = autoencoder.layer();
      encoded.merge(
          new Node.ReconstructionError(site, layer, 0).block(),
          site,
          (one, other) -> one == Site.MLP_ACTIVATION ? other : one);
    }
  }

  /** The site whose autoencoder speaks for a node of the model itself, or for another's. */
  Optional<Site> replacing(Source node) {
    Optional<Site> site = Optional.ofNullable(encoded.get(node.block()));
    int layer = (node.block() - 1) / 2;
    if (EdgeScores.isOfAutoencoder(node)) {
      return site.filter(one -> !EdgeAttribution.encodes(one, layer, node));
    }
    return site.filter(one -> EdgeAttribution.writesAt(one, layer, node));
  }

  /** The numbers of these nodes alone, of all there are; numbers that add up. */
  List<NodeArray> of(List<NodeArray> all) {
    List<NodeArray> arrays = new ArrayList<>();
    Optional<NodeArray> tokens = Optional.empty();
    for (NodeArray array : all) {
      Source node = (Source) array.node(0);
      if (node instanceof Embedding embedding) {
        if (embedding.part() == EmbeddingPart.TOKEN) {
          tokens = Optional.of(array);
        } else {
          Tensor both = tokens.orElseThrow().values().plus(array.values());
          arrays.add(NodeArray.embeddings(EmbeddingPart.BOTH, embedding.token(), both));
        }
      } else if (replacing(node).isEmpty()) {
        arrays.add(array);
      }
    }
    return arrays;
  }
}

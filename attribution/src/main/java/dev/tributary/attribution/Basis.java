package dev.tributary.attribution;

import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.attribution.Node.Source;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
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
  private final Run run;

  /** By block; an autoencoder of an MLP's output goes before one of its activations. */
  private final Map<Integer, Site> encoded = new HashMap<>();

  Basis(Run run) {
    this.run = run;
    for (Encoding encoding : run.encodings()) {
      Site site = encoding.autoencoder().site();
      int layer = encoding.autoencoder().layer();
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
    if (NodeScores.isOfAutoencoder(node)) {
      return site.filter(one -> !EdgeAttribution.encodes(one, layer, node));
    }
    return site.filter(one -> EdgeAttribution.writesAt(one, layer, node));
  }

  /** The scores of these nodes alone. */
  NodeScores of(NodeScores scores) {
    List<NodeArray> arrays = new ArrayList<>();
    Optional<NodeArray> tokens = Optional.empty();
    for (NodeArray array : scores.arrays()) {
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
    return new NodeScores(run, arrays);
  }
}

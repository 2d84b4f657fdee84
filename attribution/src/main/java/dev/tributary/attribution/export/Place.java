package dev.tributary.attribution.export;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.Node.Bias;
import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.PreBias;
import dev.tributary.attribution.Node.ReconstructionError;
import dev.tributary.attribution.Node.Source;
import java.util.OptionalInt;

/**
 * Where a node of a circuit stands.
 *
 * @param kind as our JSON calls it
 * @param layer none of embeddings and the metric
 * @param block of the forward pass: 0 embeddings, 2l + 1 and 2l + 2 attention and MLP of layer l,
 *     the metric after all
 * @param token that it writes to or, of the metric, the last that it reads
 * @param key that a head looks at
 */
record Place(String kind, OptionalInt layer, int block, int token, OptionalInt key) {

  static Place of(Circuit circuit, int index) {
    Node node = circuit.nodes().get(index).node();
    if (!(node instanceof Source source)) {
      int after = 2 * circuit.origin().layers() + 1;
      return new Place(
          "metric", OptionalInt.empty(), after, circuit.origin().position(), OptionalInt.empty());
    }
    return new Place(
        kind(source),
        source.block() == 0 ? OptionalInt.empty() : OptionalInt.of((source.block() - 1) / 2),
        source.block(),
        source.token(),
        source instanceof HeadPair pair ? OptionalInt.of(pair.key()) : OptionalInt.empty());
  }

  private static String kind(Source source) {
    if (source instanceof Embedding) {
      return "embedding";
    } else if (source instanceof HeadPair) {
      return "head";
    } else if (source instanceof Neuron) {
      return "neuron";
    } else if (source instanceof Latent) {
      return "latent";
    } else if (source instanceof ReconstructionError) {
      return "error";
    } else if (source instanceof PreBias) {
      return "pre_bias";
    }
    return source instanceof Bias ? "bias" : "node";
  }

  /** What stands there, in words: its name, and the texts of its tokens. */
  static String described(Circuit circuit, int index) {
    Place place = of(circuit, index);
    if (place.kind.equals("metric")) {
      return circuit.origin().labels().metric();
    }
    String token = quoted(circuit, place.token);
    String tokens =
        place.key.isPresent() ? token + " <- " + quoted(circuit, place.key.getAsInt()) : token;
    return circuit.nodes().get(index).node() + " " + tokens;
  }

  static String quoted(Circuit circuit, int token) {
    return '"' + circuit.origin().labels().tokens().get(token) + '"';
  }
}

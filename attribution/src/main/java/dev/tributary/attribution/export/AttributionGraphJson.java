package dev.tributary.attribution.export;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Coordinates.Component;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The attribution graph that Neuronpedia and circuit-tracer's front end read, schema version 1.
 * That format knows features, errors, embeddings and logits; ours become
 *
 * <ul>
 *   <li>neurons and latents of an MLP: {@code cross layer transcoder}, with their own index;
 *   <li>heads and latents of attention outputs: {@code lorsa}, Neuronpedia's word for features of
 *       attention; a head's index is 10,000,000 + head · tokens + key;
 *   <li>errors of an MLP or of attention: {@code mlp reconstruction error}, {@code lorsa error};
 *   <li>biases and pre-biases: {@code bias};
 *   <li>the metric: the one {@code logit}, with probability 1, which there is a weight.
 * </ul>
 *
 * <p>A graph's slug is words of its prompt and a fingerprint of model, prompt, tokens and metric,
 * in lower-case letters, digits and hyphens; however it was pruned, it is the same.
 *
 * <p>The edges of the three inputs of a head are one link, their sum. What that format calls
 * influence is cumulative: the share of all influence that a node and the more influential ones
 * have.
 *
 * @see <a
 *     href="https://github.com/hijohnnylin/neuronpedia/blob/main/apps/webapp/app/api/graph/graph-schema.json">Neuronpedia,
 *     graph-schema.json</a>
 * @see <a
 *     href="https://github.com/safety-research/circuit-tracer/blob/main/circuit_tracer/frontend/graph_models.py">circuit-tracer,
 *     graph_models.py</a>
 */
public final class AttributionGraphJson {
  private static final int SCHEMA_VERSION = 1;

  /** More than any autoencoder has latents. */
  private static final long FIRST_HEAD = 10_000_000;

  /** How many indices there are for what has no number of its own. */
  private static final int UNNUMBERED = 1_000_000;

  /** Of a slug, letters of words and bytes of the fingerprint. */
  private static final int SLUG_LIMIT = 43;

  private static final int FINGERPRINT = 8;

  private AttributionGraphJson() {}

  /**
   * {@return the text for a circuit}
   *
   * @param circuit what is written
   */
  public static String of(Circuit circuit) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    metadata(circuit, json.putObject("metadata"));
    ObjectNode view = json.putObject("qParams");
    view.putArray("pinnedIds");
    view.putArray("supernodes");
    view.put("linkType", "both").put("clickedId", "").put("sg_pos", "");
    ArrayNode nodes = json.putArray("nodes");
    double[] cumulative = cumulative(circuit.influence());
    for (int i = 0; i < cumulative.length; i++) {
      node(circuit, i, cumulative[i], nodes.addObject());
    }
    ArrayNode links = json.putArray("links");
    Map<Map.Entry<Integer, Integer>, Double> sums = new LinkedHashMap<>();
    for (Edge edge : circuit.edges()) {
      sums.merge(Map.entry(edge.source(), edge.target()), edge.weight(), Double::sum);
    }
    sums.forEach(
        (ends, weight) ->
            links
                .addObject()
                .put("source", id(circuit, ends.getKey()))
                .put("target", id(circuit, ends.getValue()))
                .put("weight", weight));
    return JsonText.of(json);
  }

  private static void metadata(Circuit circuit, ObjectNode json) {
    Labels labels = circuit.origin().labels();
    json.put("slug", slug(circuit)).put("scan", model(labels));
    json.putArray("transcoder_list");
    labels.tokens().forEach(json.putArray("prompt_tokens")::add);
    json.put("prompt", labels.prompt());
    json.put("node_threshold", 1.0); // shown whole: it has been pruned
    json.put("schema_version", SCHEMA_VERSION);
    ObjectNode info = json.putObject("info");
    info.put("description", "Explained: " + Cell.explained(circuit));
    info.putObject("generator").put("name", "Tributary");
  }

  /** The last name of a path that is one. */
  private static String model(Labels labels) {
    return Arrays.stream(labels.model().split("[/\\\\]", -1))
        .filter(name -> !name.isBlank() && !name.matches("\\.+"))
        .reduce((before, last) -> last)
        .orElse("model");
  }

  /** Words of the prompt, and a fingerprint of all that the graph is of. */
  private static String slug(Circuit circuit) {
    Origin origin = circuit.origin();
    String model = model(origin.labels());
    String words =
        (model + " " + origin.labels().prompt())
            .toLowerCase(Locale.ROOT)
            .replaceAll("[^a-z0-9]+", "-");
    String start = words.substring(0, Math.min(SLUG_LIMIT, words.length()));
    String of =
        List.of(
                model,
                origin.labels().prompt(),
                Cell.explained(circuit),
                origin.tokens(),
                circuit.outputs().stream().map(Output::position).toList(),
                origin.scaleGradient(),
                origin.measure())
            .toString();
    return (start + "-" + fingerprint(of)).replaceAll("--+", "-").replaceAll("^-", "");
  }

  private static String fingerprint(String text) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(hash, 0, FINGERPRINT);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e); // every JVM has it
    }
  }

  /** Of each, the share that it has of the sum together with all larger ones. */
  private static double[] cumulative(double[] influence) {
    Integer[] order =
        IntStream.range(0, influence.length)
            .boxed()
            .sorted((i, j) -> Double.compare(influence[j], influence[i]))
            .toArray(Integer[]::new);
    double all = IntStream.range(0, order.length).mapToDouble(i -> influence[order[i]]).sum();
    double[] result = new double[influence.length];
    double sum = 0;
    for (int node : order) {
      sum += influence[node];
      result[node] = all == 0 ? 1 : Math.min(1, sum / all);
    }
    return result;
  }

  private static void node(Circuit circuit, int i, double cumulative, ObjectNode json) {
    Member reading = circuit.nodes().get(i);
    Cell cell = Cell.of(circuit, i);
    boolean metric = cell.output().isPresent();
    json.put("node_id", id(circuit, i));
    json.put("feature", feature(circuit, cell));
    json.put("layer", layer(circuit, cell));
    json.put("ctx_idx", cell.token());
    json.put("feature_type", type(cell));
    json.put("token_prob", metric ? 1.0 : 0.0);
    json.put("is_target_logit", metric);
    json.put("run_idx", 0).put("reverse_ctx_idx", 0);
    json.put("jsNodeId", scriptId(circuit, cell));
    json.put("clerp", label(circuit, i, metric));
    if (metric) {
      json.putNull("influence");
    } else {
      json.put("influence", cumulative);
    }
    if (reading.activation().isPresent()) {
      json.put("activation", reading.activation().getAsDouble());
    } else {
      json.putNull("activation");
    }
  }

  /** Neuronpedia looks for a text in quotation marks and a probability. */
  private static String label(Circuit circuit, int node, boolean metric) {
    String described = Cell.described(circuit, node);
    return metric ? "Output \"" + described.replace('"', '\'') + "\" (p=1.000)" : described;
  }

  private static String id(Circuit circuit, int i) {
    Cell cell = Cell.of(circuit, i);
    return layer(circuit, cell) + "_" + index(circuit, cell) + "_" + cell.token();
  }

  /** What several nodes of one feature share, as far as circuit-tracer sees to it. */
  private static String scriptId(Circuit circuit, Cell cell) {
    boolean feature = isNumbered(cell) && cell.key().isEmpty();
    String last = feature ? "0" : "" + cell.token();
    return layer(circuit, cell) + "_" + index(circuit, cell) + "-" + last;
  }

  /** Neurons, latents and heads. */
  private static boolean isNumbered(Cell cell) {
    return cell.node().index().isPresent();
  }

  private static String layer(Circuit circuit, Cell cell) {
    if (cell.output().isPresent()) {
      return String.valueOf(circuit.origin().layers() + 1);
    }
    return cell.layer().isPresent() ? String.valueOf(cell.layer().getAsInt()) : "E";
  }

  /** Unique among the nodes of a layer and token; negative of what has no index of its own. */
  private static long index(Circuit circuit, Cell cell) {
    long first = cell.isOf(Component.ATTENTION) ? FIRST_HEAD : 0;
    if (cell.key().isPresent()) {
      long head = cell.node().index().orElseThrow();
      return first + head * circuit.origin().tokens().size() + cell.key().getAsInt();
    }
    if (isNumbered(cell)) {
      return first + cell.node().index().orElseThrow();
    }
    if (cell.isInput()) {
      return cell.node().part().filter("position"::equals).isPresent()
          ? -1
          : circuit.origin().tokens().get(cell.token());
    }
    return cell.output().isPresent()
        ? 0
        : -1 - Math.floorMod(cell.node().withoutTokens().hashCode(), UNNUMBERED);
  }

  private static long feature(Circuit circuit, Cell cell) {
    long index = index(circuit, cell);
    if (cell.isInput()) {
      return index < 0 ? index : cell.token();
    }
    return index < 0 || cell.layer().isEmpty() ? index : paired(cell.layer().getAsInt(), index);
  }

  /** Cantor's pairing function, from which the layer and the index can be told. */
  private static long paired(long layer, long index) {
    return (layer + index) * (layer + index + 1) / 2 + index;
  }

  private static String type(Cell cell) {
    boolean attention = cell.isOf(Component.ATTENTION);
    if (cell.output().isPresent()) {
      return "logit";
    } else if (cell.isInput()) {
      return "embedding";
    } else if (cell.isError()) {
      return attention ? "lorsa error" : "mlp reconstruction error";
    } else if (!isNumbered(cell)) {
      return "bias";
    }
    return attention ? "lorsa" : "cross layer transcoder";
  }
}

package dev.tributary.attribution.export;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Coordinates.Component;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * The attribution graph that Neuronpedia and circuit-tracer's front end read, schema version 1, as
 * circuit-tracer writes it. That format knows features, errors, embeddings and logits; ours become
 *
 * <ul>
 *   <li>neurons and latents of an MLP: {@code cross layer transcoder}, with their own index;
 *   <li>latents of attention outputs, and heads: {@code lorsa}, Neuronpedia's word for features of
 *       attention; the index of a head is 10,000,000 + head · tokens + key;
 *   <li>errors of an MLP or of attention: {@code mlp reconstruction error}, {@code lorsa error};
 *   <li>biases and pre-biases: {@code bias};
 *   <li>outputs: {@code logit}, with their weight as probability; a metric has a number above those
 *       of the words.
 * </ul>
 *
 * <p>Nodes and links are in circuit-tracer's order: features, biases, errors, embeddings, logits;
 * links by target, then source. The id that it gives the error of layer l at token t, {@code
 * 0_l_t}, may be that of feature l of layer 0 there; then the error is {@code 0_l_t_error} here, so
 * that links say what they join.
 *
 * <p>A graph's slug is words of its prompt and a fingerprint of model, prompt, tokens and outputs,
 * in lower-case letters, digits and hyphens; however it was pruned, it is the same. Its scan is the
 * set of dictionaries, by which latents are looked up; of several, {@code custom-} and their
 * fingerprint, and they are listed; without any, the model.
 *
 * <p>The edges of the three inputs of a head are one link, their sum. What that format calls
 * influence is cumulative: the share of all influence that a node and the more influential ones
 * have.
 *
 * <p>{@link CircuitFile} reads what circuit-tracer writes. Features are then latents of
 * transcoders, points are those of a model whose layers are attention, then MLP, weights are parts
 * of activations with norm scales held, ids of tokens without an embedding are not known, and
 * nothing is known of what was left out.
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

  private static final String LOGIT = "logit";

  /** More than any autoencoder has latents. */
  private static final long FIRST_HEAD = 10_000_000;

  /** How many indices there are for what has no number of its own. */
  private static final int UNNUMBERED = 1_000_000;

  /** Of a slug, letters of words and bytes of the fingerprint. */
  private static final int SLUG_LIMIT = 43;

  private static final int FINGERPRINT = 8;

  /** What circuit-tracer writes first. */
  private enum Type {
    FEATURE,
    OTHER,
    ERROR,
    EMBEDDING,
    LOGIT
  }

  private final Circuit circuit;

  /** Nodes in the order of the format. */
  private final List<Integer> order;

  /** The id of each node. */
  private final Map<Integer, String> ids = new HashMap<>();

  private AttributionGraphJson(Circuit circuit) {
    this.circuit = circuit;
    this.order =
        IntStream.range(0, circuit.nodes().size())
            .boxed()
            .sorted(Comparator.comparing(i -> typeOf(Cell.of(circuit, i))))
            .toList();
    Set<String> taken = new HashSet<>();
    for (int i : order) {
      Cell cell = Cell.of(circuit, i);
      String id = id(cell);
      while (!taken.add(id)) {
        id += "_" + cell.kind();
      }
      ids.put(i, id);
    }
  }

  /**
   * {@return the text for a circuit}
   *
   * @param circuit what is written
   */
  public static String of(Circuit circuit) {
    return JsonText.of(new AttributionGraphJson(circuit).json());
  }

  private ObjectNode json() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    metadata(json.putObject("metadata"));
    view(json.putObject("qParams"));
    ArrayNode nodes = json.putArray("nodes");
    double[] cumulative = cumulative(circuit.influence());
    for (int i : order) {
      node(i, cumulative[i], nodes.addObject());
    }
    ArrayNode links = json.putArray("links");
    Map<Integer, Map<Integer, Double>> sums = new HashMap<>();
    for (Edge edge : circuit.edges()) {
      sums.computeIfAbsent(edge.target(), target -> new HashMap<>())
          .merge(edge.source(), edge.weight(), Double::sum);
    }
    for (int target : order) {
      Map<Integer, Double> into = sums.getOrDefault(target, Map.of());
      order.stream()
          .filter(into::containsKey)
          .forEach(
              source ->
                  links
                      .addObject()
                      .put("source", ids.get(source))
                      .put("target", ids.get(target))
                      .put("weight", into.get(source)));
    }
    return json;
  }

  private void metadata(ObjectNode json) {
    Labels labels = circuit.origin().labels();
    List<String> dictionaries = labels.dictionaries();
    json.put("slug", slug());
    json.put(
        "scan",
        switch (dictionaries.size()) {
          case 0 -> model(labels);
          case 1 -> dictionaries.get(0);
          default -> "custom-" + fingerprint(String.join("-", dictionaries));
        });
    ArrayNode several = json.putArray("transcoder_list");
    dictionaries.stream().filter(name -> dictionaries.size() > 1).forEach(several::add);
    labels.tokens().forEach(json.putArray("prompt_tokens")::add);
    json.put("prompt", labels.prompt());
    json.put("node_threshold", 1.0); // shown whole: it has been pruned
    json.put("schema_version", SCHEMA_VERSION);
    ObjectNode info = json.putObject("info");
    info.put("description", "Explained: " + Cell.explained(circuit));
    info.putObject("generator").put("name", "Tributary");
  }

  /** Groups are seen where their nodes are pinned. */
  private void view(ObjectNode json) {
    ArrayNode pinned = json.putArray("pinnedIds");
    ArrayNode supernodes = json.putArray("supernodes");
    for (Group group : circuit.groups()) {
      ArrayNode one = supernodes.addArray().add(group.name());
      for (int node : group.nodes()) {
        pinned.add(ids.get(node));
        one.add(ids.get(node));
      }
    }
    json.put("linkType", "both").put("clickedId", "").put("sg_pos", "");
  }

  /** The last name of a path that is one. */
  private static String model(Labels labels) {
    return Arrays.stream(labels.model().split("[/\\\\]", -1))
        .filter(name -> !name.isBlank() && !name.matches("\\.+"))
        .reduce((before, last) -> last)
        .orElse("model");
  }

  /** Words of the prompt, and a fingerprint of all that the graph is of. */
  private String slug() {
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

  private void node(int i, double cumulative, ObjectNode json) {
    Member reading = circuit.nodes().get(i);
    Cell cell = Cell.of(circuit, i);
    json.put("node_id", ids.get(i));
    json.put("feature", feature(cell));
    json.put("layer", layer(cell));
    json.put("ctx_idx", cell.token());
    json.put("feature_type", type(cell));
    json.put("token_prob", cell.output().map(Output::weight).orElse(0.0));
    json.put("is_target_logit", i == circuit.nodes().size() - circuit.outputs().size());
    json.put("run_idx", 0).put("reverse_ctx_idx", 0);
    json.put("jsNodeId", scriptId(cell));
    json.put("clerp", label(i, cell));
    if (cell.output().isPresent()) {
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

  /**
   * Neuronpedia looks for a text in quotation marks and a probability. What it finds a text for
   * itself has none.
   */
  private String label(int node, Cell cell) {
    String described = Cell.described(circuit, node);
    if (cell.output().isPresent()) {
      return String.format(
          Locale.ROOT,
          "Output \"%s\" (p=%.3f)",
          described.replace('"', '\''),
          cell.output().get().weight());
    }
    boolean known = cell.node().part().isPresent() && isNumbered(cell);
    return known || cell.isInput() || cell.isError() ? "" : described;
  }

  private String id(Cell cell) {
    return typeOf(cell) == Type.ERROR && !cell.isOf(Component.ATTENTION)
        ? "0_" + layer(cell) + "_" + cell.token()
        : layer(cell) + "_" + index(cell) + "_" + cell.token();
  }

  /** What several nodes of one feature share, as far as circuit-tracer sees to it. */
  private String scriptId(Cell cell) {
    return switch (typeOf(cell)) {
      case FEATURE -> layer(cell) + "_" + index(cell) + "-" + cell.key().orElse(0);
      case ERROR -> layer(cell) + "_" + cell.token() + "-0";
      case LOGIT -> "L_" + index(cell) + "-" + cell.token();
      case EMBEDDING, OTHER -> layer(cell) + "_" + index(cell) + "-" + cell.token();
    };
  }

  private static Type typeOf(Cell cell) {
    if (cell.output().isPresent()) {
      return Type.LOGIT;
    } else if (cell.isInput()) {
      return Type.EMBEDDING;
    } else if (cell.isError()) {
      return Type.ERROR;
    }
    return isNumbered(cell) ? Type.FEATURE : Type.OTHER;
  }

  /** Neurons, latents and heads. */
  private static boolean isNumbered(Cell cell) {
    return cell.node().index().isPresent();
  }

  private String layer(Cell cell) {
    if (cell.output().isPresent()) {
      return String.valueOf(circuit.origin().layers() + 1);
    }
    return cell.layer().isPresent() ? String.valueOf(cell.layer().getAsInt()) : "E";
  }

  /** Unique among the nodes of a layer and token; negative of what has no index of its own. */
  private long index(Cell cell) {
    return switch (typeOf(cell)) {
      case FEATURE -> {
        long own = cell.node().index().orElseThrow();
        yield cell.key().isPresent()
            ? FIRST_HEAD + own * circuit.origin().tokens().size() + cell.key().getAsInt()
            : own;
      }
      case LOGIT ->
          cell.kind().equals(LOGIT)
              ? cell.node().index().orElseThrow()
              : firstMetric() + cell.node().index().orElse(0);
      case EMBEDDING ->
          cell.node().part().filter("position"::equals).isPresent()
              ? -1
              : circuit.origin().tokens().get(cell.token());
      case ERROR, OTHER -> -2 - Math.floorMod(cell.node().withoutTokens().hashCode(), UNNUMBERED);
    };
  }

  /** The number after those of the words among the outputs. */
  private long firstMetric() {
    return order.stream()
        .map(i -> Cell.of(circuit, i))
        .filter(cell -> cell.output().isPresent() && cell.kind().equals(LOGIT))
        .mapToLong(cell -> cell.node().index().orElseThrow() + 1L)
        .max()
        .orElse(0);
  }

  private long feature(Cell cell) {
    return switch (typeOf(cell)) {
      case FEATURE -> paired(cell.layer().orElseThrow(), index(cell));
      case ERROR -> cell.isOf(Component.ATTENTION) ? index(cell) : -1;
      case EMBEDDING -> index(cell) < 0 ? index(cell) : cell.token();
      case LOGIT, OTHER -> index(cell);
    };
  }

  /** Cantor's pairing function, from which the layer and the index can be told. */
  private static long paired(long layer, long index) {
    return (layer + index) * (layer + index + 1) / 2 + index;
  }

  private static String type(Cell cell) {
    boolean attention = cell.isOf(Component.ATTENTION);
    return switch (typeOf(cell)) {
      case FEATURE -> attention ? "lorsa" : "cross layer transcoder";
      case ERROR -> attention ? "lorsa error" : "mlp reconstruction error";
      case EMBEDDING -> "embedding";
      case LOGIT -> LOGIT;
      case OTHER -> "bias";
    };
  }
}

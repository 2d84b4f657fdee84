package dev.tributary.attribution.export;

import static dev.tributary.attribution.export.Fields.integer;
import static dev.tributary.attribution.export.Fields.items;
import static dev.tributary.attribution.export.Fields.list;
import static dev.tributary.attribution.export.Fields.number;
import static dev.tributary.attribution.export.Fields.optionalNumber;
import static dev.tributary.attribution.export.Fields.string;
import static dev.tributary.attribution.export.Fields.strings;
import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.CircuitAttention;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Embedding;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Logit;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.ReconstructionError;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/** Reads what circuit-tracer writes, as {@link AttributionGraphJson} describes it. */
final class AttributionGraphReader {
  private static final Pattern OUTPUT = Pattern.compile("(?s)Output \"(.*)\" \\(p=[^()]*\\)");

  /** The one place that says which word of the vocabulary a token is. */
  private static final Pattern EMBEDDING = Pattern.compile("E_(-?\\d{1,9})_\\d+");

  /** Beyond it numbers are not exact as JavaScript and we compute them. */
  private static final double LARGEST_FEATURE = 1L << 52;

  private final JsonNode json;
  private final List<String> tokens;
  private final int layers;

  /** In the order of the file. */
  private final List<Member> listed;

  /** In the order of the forward pass, by their number in the file. */
  private final List<Integer> order;

  /** Numbers in the file of the nodes with an id; of an error and a feature it may be one. */
  private final Map<String, List<Integer>> ids = new HashMap<>();

  /** Whether the sources of each target are in the order of the nodes. */
  private final boolean ordered;

  private AttributionGraphReader(JsonNode json) {
    this.json = json;
    this.tokens = strings(Fields.object(json, "metadata"), "prompt_tokens");
    this.layers = layers();
    this.listed = items(json, "nodes", this::member);
    this.order =
        IntStream.range(0, listed.size())
            .boxed()
            .sorted(
                Comparator.<Integer, Boolean>comparing(i -> listed.get(i).output().isPresent())
                    .thenComparing(i -> listed.get(i).point())
                    .thenComparing(i -> listed.get(i).node().coordinates().token().orElseThrow()))
            .toList();
    for (int i = 0; i < listed.size(); i++) {
      ids.computeIfAbsent(string(json.get("nodes").get(i), "node_id"), id -> new ArrayList<>())
          .add(i);
    }
    this.ordered = isOrdered();
  }

  static Circuit parse(JsonNode json) {
    return new AttributionGraphReader(json).circuit();
  }

  private Circuit circuit() {
    JsonNode metadata = json.get("metadata");
    String scan = string(metadata, "scan");
    List<String> several =
        metadata.has("transcoder_list") ? strings(metadata, "transcoder_list") : List.of();
    Labels labels =
        new Labels(
            scan, several.isEmpty() ? List.of(scan) : several, string(metadata, "prompt"), tokens);
    return new Circuit(
        new Origin(labels, words(), layers, ScaleGradient.DETACHED, EdgeMeasure.ACTIVATION),
        order.stream().map(listed::get).toList(),
        edges(),
        List.of(),
        List.of(),
        groups(),
        CircuitAttention.NONE);
  }

  // ---- nodes -------------------------------------------------------------------------------

  /** Logits stand one above a layer that the model does not have. */
  private int layers() {
    for (JsonNode node : list(json, "nodes")) {
      if (node.path("feature_type").asText().equals("logit")) {
        requireArgument(layer(node) > 1, "a logit of layer %d", layer(node));
        return layer(node) - 1;
      }
    }
    throw new IllegalArgumentException("a graph without a logit");
  }

  private static int layer(JsonNode node) {
    String layer = string(node, "layer");
    requireArgument(layer.matches("\\d{1,5}"), "\"layer\" is \"%s\"", layer);
    return Integer.parseInt(layer);
  }

  private Member member(JsonNode node) {
    int token = integer(node, "ctx_idx");
    String type = string(node, "feature_type");
    return switch (type) {
      case "logit" -> logit(node, token);
      case "embedding" -> {
        boolean position = word(node).filter(word -> word == -1).isPresent();
        EmbeddingPart part = position ? EmbeddingPart.POSITION : EmbeddingPart.BOTH;
        yield member(new Embedding(part, token), 0, node);
      }
      case "mlp reconstruction error", "lorsa error" -> {
        yield member(new ReconstructionError(dictionary(node), token), point(node), node);
      }
      case "cross layer transcoder", "lorsa" -> {
        yield member(new Latent(dictionary(node), token, index(node)), point(node), node);
      }
      default ->
          throw new IllegalArgumentException(
              "\"feature_type\" is \"%s\", expected cross layer transcoder, lorsa, mlp reconstruction error, lorsa error, embedding or logit"
                  .formatted(type));
    };
  }

  private static Member member(Node node, int point, JsonNode json) {
    OptionalDouble none = OptionalDouble.empty();
    return new Member(
        node, new Point(point), optionalNumber(json, "activation"), none, none, Optional.empty());
  }

  /** Attention writes once in each layer, and then the MLP does. */
  private static int point(JsonNode node) {
    return 2 * layer(node) + (isOfAttention(node) ? 1 : 2);
  }

  private static boolean isOfAttention(JsonNode node) {
    return string(node, "feature_type").startsWith("lorsa");
  }

  private static Dictionary.Id dictionary(JsonNode node) {
    Dictionary.Kind kind =
        isOfAttention(node) ? Dictionary.Kind.ATTENTION : Dictionary.Kind.TRANSCODER;
    return new Dictionary.Id(kind, "", layer(node));
  }

  private Member logit(JsonNode node, int token) {
    requireArgument(
        layer(node) == layers + 1, "logits of layers %d and %d", layers + 1, layer(node));
    int word = integer(node, "feature");
    String label = string(node, "clerp");
    Matcher matcher = OUTPUT.matcher(label);
    String text = matcher.matches() ? matcher.group(1) : label;
    OptionalDouble none = OptionalDouble.empty();
    Output output =
        new Output(
            text.isEmpty() ? "logit " + word : text, token, none, number(node, "token_prob"));
    return new Member(
        new Logit(token, word), new Point(2 * layers + 1), none, none, none, Optional.of(output));
  }

  /** The index of a feature, which is one number with its layer. */
  private static int index(JsonNode node) {
    double feature = number(node, "feature");
    requireArgument(
        feature >= 0 && feature <= LARGEST_FEATURE && feature == Math.rint(feature),
        "\"feature\" is %s",
        feature);
    long number = (long) feature;
    long diagonal = (long) ((Math.sqrt(8 * feature + 1) - 1) / 2);
    while (diagonal * (diagonal + 1) / 2 > number) {
      diagonal--;
    }
    while ((diagonal + 1) * (diagonal + 2) / 2 <= number) {
      diagonal++;
    }
    long index = number - diagonal * (diagonal + 1) / 2;
    requireArgument(
        diagonal - index == layer(node),
        "\"feature\" %d is number %d of layer %d, and the node is of layer %d",
        number,
        index,
        diagonal - index,
        layer(node));
    return (int) index;
  }

  private static Optional<Integer> word(JsonNode node) {
    Matcher matcher = EMBEDDING.matcher(string(node, "node_id"));
    return matcher.matches() ? Optional.of(Integer.valueOf(matcher.group(1))) : Optional.empty();
  }

  /** The id of each token that has an embedding. */
  private List<Integer> words() {
    List<Integer> words = new ArrayList<>(Collections.nCopies(tokens.size(), -1));
    for (JsonNode node : json.get("nodes")) {
      int token = integer(node, "ctx_idx");
      if (string(node, "feature_type").equals("embedding")
          && token >= 0
          && token < words.size()
          && words.get(token) < 0) {
        word(node).ifPresent(word -> words.set(token, word));
      }
    }
    return words;
  }

  // ---- links -------------------------------------------------------------------------------

  private List<Edge> edges() {
    int[] place = new int[order.size()];
    for (int i = 0; i < place.length; i++) {
      place[order.get(i)] = i;
    }
    JsonNode links = list(json, "links");
    List<Edge> edges = new ArrayList<>();
    for (int i = 0; i < links.size(); i++) {
      try {
        JsonNode link = links.get(i);
        int target = target(string(link, "target"));
        int source = source(links, i);
        requireArgument(
            place[source] < place[target] && listed.get(source).output().isEmpty(),
            "from %s to %s, which does not come after it",
            listed.get(source).node(),
            listed.get(target).node());
        edges.add(new Edge(place[source], place[target], InputPath.ALL, number(link, "weight")));
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            "\"links\", item %d: %s".formatted(i, e.getMessage()), e);
      }
    }
    edges.sort(Comparator.comparingInt(Edge::target).thenComparingInt(Edge::source));
    return edges;
  }

  private boolean isOrdered() {
    Map<String, Integer> last = new HashMap<>();
    for (JsonNode link : list(json, "links")) {
      List<Integer> found = ids.getOrDefault(link.path("source").asText(), List.of());
      if (found.size() == 1) {
        Integer before = last.put(link.path("target").asText(), found.get(0));
        if (before != null && before >= found.get(0)) {
          return false;
        }
      }
    }
    return true;
  }

  private List<Integer> named(String id) {
    List<Integer> found = ids.getOrDefault(id, List.of());
    requireArgument(!found.isEmpty(), "there is no node \"%s\"", id);
    return found;
  }

  /** The one that reads something. */
  private int target(String id) {
    List<Integer> reading =
        named(id).stream().filter(i -> !listed.get(i).node().targets().isEmpty()).toList();
    requireArgument(!reading.isEmpty(), "\"%s\" reads nothing", id);
    requireArgument(reading.size() == 1, "\"%s\" is the id of several nodes", id);
    return reading.get(0);
  }

  /**
   * Of two nodes with one id, the one that stands where the sources of a target that come before
   * and after it leave room: they are in the order of the nodes.
   */
  private int source(JsonNode links, int at) {
    String id = string(links.get(at), "source");
    List<Integer> found = named(id);
    if (found.size() == 1) {
      return found.get(0);
    }
    requireArgument(found.size() == 2, "\"%s\" is the id of %d nodes", id, found.size());
    int after = neighbour(links, at, -1);
    int before = neighbour(links, at, 1);
    boolean twice = sharesTarget(links, at, -1, id) || sharesTarget(links, at, 1, id);
    List<Integer> possible =
        twice
            ? List.of(found.get(sharesTarget(links, at, -1, id) ? 1 : 0))
            : found.stream().filter(i -> ordered && i > after && i < before).toList();
    requireArgument(
        possible.size() == 1,
        "\"%s\" is %s and %s, and the link does not say which",
        id,
        listed.get(found.get(0)).node(),
        listed.get(found.get(1)).node());
    return possible.get(0);
  }

  /** Whether the link beside one is from the same id into the same target. */
  private static boolean sharesTarget(JsonNode links, int at, int step, String id) {
    JsonNode other = links.path(at + step);
    return other.path("source").asText().equals(id)
        && other.path("target").equals(links.get(at).path("target"));
  }

  /** The number of the next source of the same target with an id of its own. */
  private int neighbour(JsonNode links, int at, int step) {
    String name = string(links.get(at), "target");
    for (int i = at + step; i >= 0 && i < links.size(); i += step) {
      if (!links.get(i).path("target").asText().equals(name)) {
        break;
      }
      List<Integer> found = ids.getOrDefault(links.get(i).path("source").asText(), List.of());
      if (found.size() == 1) {
        return found.get(0);
      }
    }
    return step < 0 ? -1 : listed.size();
  }

  // ---- groups ------------------------------------------------------------------------------

  /** What the view says of nodes that are not there is left out. */
  private List<Group> groups() {
    List<Group> groups = new ArrayList<>();
    for (JsonNode supernode : json.path("qParams").path("supernodes")) {
      List<Integer> members = new ArrayList<>();
      for (int i = 1; i < supernode.size(); i++) {
        List<Integer> named = ids.getOrDefault(supernode.get(i).asText(), List.of());
        named.stream().limit(1).map(order::indexOf).forEach(members::add);
      }
      if (!members.isEmpty()) {
        groups.add(new Group(supernode.get(0).asText(), members));
      }
    }
    return groups;
  }
}

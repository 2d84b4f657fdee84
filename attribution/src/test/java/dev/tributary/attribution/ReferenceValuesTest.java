package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Safetensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Compares every quantity with the values that an independent system computed: the cases of the
 * oracle {@code reference}, or those shipped with the tests where it is missing. Their format is
 * told in its README. An expected tensor that is not compared is a failure.
 */
class ReferenceValuesTest {
  /** Both sides compute in 64 bits; what they differ by is the order of their sums. */
  private static final double DOUBLE_TOLERANCE = 1e-10;

  /** Of the reference system itself in 32 bits, with room for other orders of summation. */
  private static final double FLOAT_TOLERANCE = 2e-4;

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicNode> everyCase() throws IOException {
    Path folder = Oracles.find("reference").orElse(Path.of("src/test/resources/reference"));
    List<Path> cases;
    try (Stream<Path> files = Files.list(folder)) {
      cases = files.filter(file -> Files.exists(file.resolve("config.json"))).sorted().toList();
    }
    assertTrue(!cases.isEmpty(), () -> "no case below " + folder);
    return cases.stream()
        .map(
            path ->
                dynamicContainer(
                    path.getFileName().toString(),
                    Stream.of(DType.values())
                        .map(
                            dtype ->
                                dynamicTest(
                                    dtype.name().toLowerCase(Locale.ROOT),
                                    () -> compare(path, dtype)))));
  }

  private void compare(Path path, DType dtype) throws IOException {
    JsonNode config = new ObjectMapper().readTree(path.resolve("config.json").toFile());
    try (Scope scope = Scope.open()) {
      Transformer model = Models.load(huggingFaceFolder(path, config), dtype, Progress.NONE);
      Case computed = new Case(model.with(autoencoders(path, config, dtype)), config);
      ExpectedTensors.compare(
          path.resolve("expected.safetensors"),
          computed::quantity,
          dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE);
    }
  }

  private static List<Dictionary> autoencoders(Path path, JsonNode config, DType dtype)
      throws IOException {
    List<Dictionary> autoencoders = new ArrayList<>();
    for (int layer = 0; layer < config.get("model").get("n_layer").asInt(); layer++) {
      Path file = path.resolve("sae_layer" + layer + ".safetensors");
      if (Files.exists(file)) {
        JsonNode sae = config.get("sae");
        Safetensors weights = Safetensors.open(file);
        autoencoders.add(
            Dictionary.autoencoder(
                "given weights",
                Place.of(autoencoderSite(sae), layer),
                activation(sae),
                weights.tensor("encoder.weight", dtype),
                weights.tensor("decoder.weight", dtype).permute(1, 0),
                weights.tensor("pre_bias", dtype),
                weights.tensor("latent_bias", dtype)));
      }
    }
    return autoencoders;
  }

  private static Site autoencoderSite(JsonNode sae) {
    return switch (sae.get("site").asText()) {
      case "mlp_post_act" -> Site.MLP_ACTIVATION;
      case "resid_delta_mlp" -> Site.MLP_OUTPUT;
      case "resid_delta_attn" -> Site.ATTENTION_OUTPUT;
      default -> throw new AssertionError(sae);
    };
  }

  private static LatentActivation activation(JsonNode sae) {
    return switch (sae.get("activation").asText()) {
      case "ReLU" -> new LatentActivation.Relu();
      case "TopK" -> {
        assertEquals("ReLU", sae.path("postact_fn").asText("ReLU"));
        yield new LatentActivation.TopK(sae.get("k").asInt());
      }
      default -> throw new AssertionError(sae);
    };
  }

  /** The case's model as the folder that users have. */
  private Path huggingFaceFolder(Path path, JsonNode config) throws IOException {
    Path folder = Files.createTempDirectory(temporary, "model");
    ObjectNode model = config.get("model").deepCopy();
    model.put("model_type", "gpt2");
    Files.writeString(folder.resolve("config.json"), model.toString());
    Files.copy(path.resolve("weights.safetensors"), folder.resolve("model.safetensors"));
    return folder;
  }

  /** All quantities of one case, by the names of the reference. */
  private static final class Case {
    private final Run run;
    private final NodeAttribution nodes;
    private final EdgeAttribution activationEdges;
    private final Map<String, EdgeAttribution> edges = new HashMap<>();
    private final Map<String, JsonNode> nodesById = new HashMap<>();
    private final Map<String, Supplier<double[]>> plain = new HashMap<>();
    private final int layers;
    private final int tokens;
    private final int heads;
    private final int neurons;

    Case(Transformer model, JsonNode config) {
      run =
          model.run(
              ExpectedTensors.integers(config.get("prompt_token_ids")).stream()
                  .mapToInt(Integer::intValue)
                  .toArray());
      JsonNode loss = config.get("loss");
      assertEquals("last", loss.get("position").asText());
      assertEquals("logit_diff", loss.get("name").asText());
      nodes =
          NodeAttribution.of(
              run,
              new Metric.LogitDifference(
                  run.lastToken(),
                  ExpectedTensors.integers(loss.get("target_tokens")),
                  ExpectedTensors.integers(loss.get("distractor_tokens"))));
      edges.put("detach=0", EdgeAttribution.of(nodes, ScaleGradient.LIVE));
      edges.put("detach=1", EdgeAttribution.of(nodes, ScaleGradient.DETACHED));
      activationEdges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED, EdgeMeasure.ACTIVATION);
      for (String group : List.of("downstream_subnodes", "upstream_nodes")) {
        for (JsonNode node : config.get(group)) {
          nodesById.put(node.get("id").asText(), node);
        }
      }
      layers = model.layers();
      tokens = run.length();
      heads = model.attention(0).heads();
      neurons = model.mlp(0).neuronCount();
      sites();
      readings();
      if (!run.encodings().isEmpty()) {
        autoencoders();
      }
      for (JsonNode trace : config.get("traces")) {
        trace(trace.get("id").asText(), traceOf(trace));
      }
    }

    /** How to compute a tensor, or null if nothing here is called that. */
    @Nullable Supplier<double[]> quantity(String name) {
      if (plain.containsKey(name)) {
        return plain.get(name);
      }
      String[] parts = name.split("/", -1);
      if (parts.length == 3 && parts[1].startsWith("to=")) {
        Target target = (Target) node(parts[1].substring(3));
        return into(parts[0], target, edges(parts[2]));
      }
      if (parts.length == 3 && parts[1].startsWith("from=")) {
        Source source = (Source) node(parts[1].substring(5));
        return outOf(parts[0], source, edges(parts[2]));
      }
      if (parts.length == 2 && parts[1].startsWith("from=")) {
        Source source = (Source) node(parts[1].substring(5));
        return parts[0].endsWith("_in_edge_activation")
            ? outOf(parts[0].replace("_activation", "_attribution"), source, activationEdges)
            : write(parts[0], source);
      }
      return null;
    }

    private EdgeAttribution edges(String detach) {
      return Objects.requireNonNull(edges.get(detach), detach);
    }

    private Node node(String id) {
      return node(Objects.requireNonNull(nodesById.get(id), () -> id + " is not in config.json"));
    }

    private Node node(JsonNode node) {
      int layer = node.get("layer").asInt();
      if (node.get("node_type").asText().equals("mlp_neuron")) {
        return new Neuron(layer, node.get("token").asInt(), node.get("index").asInt());
      }
      if (node.get("node_type").asText().equals("sae_latent")) {
        return new Latent(
            new Dictionary.Id(run.encodings().get(0).dictionary().id().kind(), "", layer),
            node.get("token").asInt(),
            node.get("index").asInt());
      }
      HeadPair pair =
          new HeadPair(
              layer,
              node.get("head").asInt(),
              node.get("query_token").asInt(),
              node.get("key_token").asInt());
      return node.has("subnode")
          ? pair.through(InputPath.valueOf(node.get("subnode").asText().toUpperCase(Locale.ROOT)))
          : pair;
    }

    private @Nullable Supplier<double[]> into(
        String quantity, Target target, EdgeAttribution edge) {
      return switch (quantity) {
        case "grad_of_single_subnode_attribution" ->
            () -> {
              ResidualGradient gradient = edge.gradient(target);
              return gradient.rows().pad(0, gradient.firstToken(), tokens).toDoubles();
            };
        case "mlp_out_edge_attribution" -> () -> ofNeurons(edge.into(target)::of);
        case "attn_out_edge_attribution" -> () -> ofPairs(edge.into(target)::of, pair -> pair);
        case "token_out_edge_attribution" -> () -> ofEmbeddings(edge.into(target)::of);
        case "online_autoencoder_out_edge_attribution" -> () -> ofLatents(edge.into(target)::of);
        default -> null;
      };
    }

    private @Nullable Supplier<double[]> outOf(
        String quantity, Source source, EdgeAttribution edge) {
      return switch (quantity) {
        case "mlp_in_edge_attribution" -> () -> ofNeurons(edge.outOf(source)::of);
        case "online_autoencoder_in_edge_attribution" -> () -> ofLatents(edge.outOf(source)::of);
        case "attn_query_in_edge_attribution" ->
            () -> ofPairs(edge.outOf(source)::of, pair -> pair.through(InputPath.QUERY));
        case "attn_key_in_edge_attribution" ->
            () -> ofPairs(edge.outOf(source)::of, pair -> pair.through(InputPath.KEY));
        case "attn_value_in_edge_attribution" ->
            () -> ofPairs(edge.outOf(source)::of, pair -> pair.through(InputPath.VALUE));
        default -> null;
      };
    }

    private @Nullable Supplier<double[]> write(String quantity, Source source) {
      return switch (quantity) {
        case "single_node_write" ->
            () ->
                RandomNodes.write(nodes.run(), source)
                    .reshape(1, run.model().config().dModel())
                    .pad(0, source.token(), tokens)
                    .toDoubles();
        case "single_node_write_to_final_residual_grad" ->
            () -> {
              double[] result = new double[tokens];
              result[source.token()] = nodes.directEffect().of(source);
              return result;
            };
        default -> null;
      };
    }

    private void sites() {
      int dHead = run.model().attention(0).dHead();
      double root = Math.pow(dHead, 0.25);
      site("resid_post_embedding", Site.EMBEDDING, 1, 1);
      site("logits", Site.LOGITS, 1, 1);
      site("resid_final_layer_norm_scale", Site.FINAL_SCALE, 1, 1);
      site("resid_post_attn", Site.RESIDUAL_AFTER_ATTENTION, 1, 1);
      site("resid_post_mlp", Site.RESIDUAL_AFTER_MLP, 1, 1);
      site("resid_delta_attn", Site.ATTENTION_OUTPUT, 1, 1);
      site("resid_delta_mlp", Site.MLP_OUTPUT, 1, 1);
      site("attn_query", Site.QUERY, 1 / root, root, 1, 0, 2);
      site("attn_key", Site.KEY, 1 / root, root, 1, 0, 2);
      site("attn_value", Site.VALUE, 1, 1, 1, 0, 2);
      site("attn_qk_logits", Site.SCORES, 1, 1, 1, 2, 0);
      site("attn_qk_probs", Site.PATTERN, 1, 1, 1, 2, 0);
      site("attn_weighted_sum_of_values", Site.HEAD_OUTPUT, 1, 1, 1, 0, 2);
      site("mlp_pre_act", Site.MLP_PRE_ACTIVATION, 1, 1);
      site("mlp_post_act", Site.MLP_ACTIVATION, 1, 1);
      site("attn_input_layer_norm_scale", Site.ATTENTION_SCALE, 1, 1);
      site("mlp_input_layer_norm_scale", Site.MLP_SCALE, 1, 1);
      plain.put("logprobs/forward", () -> run.value(Site.LOGITS).logSoftmax().toDoubles());
      plain.put("loss/logit_diff", () -> new double[] {nodes.value()});
    }

    private void site(String name, Site site, double forward, double backward, int... axes) {
      if (site.perLayer()) {
        plain.put(
            name + "/forward",
            () -> stack(layer -> arranged(run.value(site, layer), forward, axes)));
        plain.put(
            name + "/backward",
            () -> stack(layer -> arranged(nodes.gradient(site, layer), backward, axes)));
      } else {
        plain.put(name + "/forward", () -> arranged(run.value(site), forward, axes));
        plain.put(name + "/backward", () -> arranged(nodes.gradient(site), backward, axes));
      }
    }

    private static double[] arranged(Tensor tensor, double factor, int... axes) {
      Tensor scaled = factor == 1 ? tensor : tensor.times(factor);
      return (axes.length == 0 ? scaled : scaled.permute(axes)).toDoubles();
    }

    private double[] stack(IntFunction<double[]> layer) {
      return ExpectedTensors.stack(layers, layer);
    }

    private void readings() {
      reading("act_times_grad", () -> all(nodes.activationTimesGradient()));
      reading("write_norm", () -> all(nodes.writeNorm()));
      reading("write_to_final_residual_grad", () -> nodes.directEffect()::of);
      plain.put("token_attribution/loss", () -> ofEmbeddings(all(nodes.activationTimesGradient())));
      plain.put("flattened_attn_post_softmax/loss", () -> lowerTriangle(all(nodes.activation())));
      perToken(
          "attn_act_times_grad_per_sequence_token/loss",
          () -> all(nodes.activationTimesGradient()));
      perToken(
          "attn_write_to_final_residual_grad_per_sequence_token/loss",
          () -> nodes.directEffect()::of);
      plain.put("attn_write_norm_per_sequence_token/loss", () -> stack(this::headWriteNorms));
      plain.put("resid_post_embedding_norm/loss", () -> norms(run.value(Site.EMBEDDING)));
      plain.put(
          "resid_post_embedding_proj_to_final_residual_grad/loss",
          () -> projections(nodes, run.value(Site.EMBEDDING), 0));
      stream("resid_post_attn", "_norm", "_proj", Site.RESIDUAL_AFTER_ATTENTION, 1);
      stream("resid_post_mlp", "_norm", "_proj", Site.RESIDUAL_AFTER_MLP, 2);
      stream("attn_layer_write", "_norm", "", Site.ATTENTION_OUTPUT, 0);
      stream("mlp_layer_write", "_norm", "", Site.MLP_OUTPUT, 1);
    }

    private void autoencoders() {
      plain.put("online_autoencoder_latent/forward", () -> ofLatents(all(nodes.activation())));
      plain.put(
          "online_autoencoder_latent/backward",
          () -> encoded(Encoding::latents, e -> nodes.latentGradient(e.dictionary())));
      plain.put(
          "online_autoencoder_act_times_grad/loss",
          () -> ofLatents(all(nodes.activationTimesGradient())));
      plain.put("online_autoencoder_write_norm/loss", () -> ofLatents(all(nodes.writeNorm())));
      plain.put(
          "online_autoencoder_write_to_final_residual_grad/loss",
          () -> ofLatents(nodes.directEffect()::of));
      String error =
          switch (run.encodings().get(0).dictionary().reads().site()) {
            case MLP_ACTIVATION -> "online_mlp_autoencoder_error";
            case MLP_OUTPUT -> "online_residual_mlp_autoencoder_error";
            default -> "online_residual_attention_autoencoder_error";
          };
      plain.put(error + "/forward", () -> encoded(this::error, this::error));
      plain.put(
          "online_mlp_autoencoder_error_act_times_grad/loss",
          () ->
              encoded(
                  this::error,
                  e ->
                      error(e)
                          .times(
                              nodes.gradient(Site.MLP_ACTIVATION, e.dictionary().id().layer()))));
      plain.put(
          "online_mlp_autoencoder_error_write_norm/loss",
          () ->
              encoded(this::error, e -> error(e).times(outputWeight(e).norm(-1).reshape(neurons))));
      plain.put(
          "online_mlp_autoencoder_error_write_to_final_residual_grad/loss",
          () ->
              encoded(
                  this::error,
                  e ->
                      nodes
                          .gradient(Site.RESIDUAL_AFTER_MLP, layers - 1)
                          .matmulTransposed(outputWeight(e))
                          .times(error(e))));
    }

    private Tensor error(Encoding encoding) {
      return run.vectors(encoding.dictionary().reads()).minus(encoding.reconstruction(0));
    }

    /** Of every layer; zeros, of the size of a like tensor, where no autoencoder is. */
    private double[] encoded(Function<Encoding, Tensor> like, Function<Encoding, Tensor> values) {
      int length = like.apply(run.encodings().get(0)).shape().length();
      return stack(
          layer ->
              run.encodings().stream()
                  .filter(encoding -> encoding.dictionary().id().layer() == layer)
                  .findFirst()
                  .map(encoding -> values.apply(encoding).toDoubles())
                  .orElseGet(() -> new double[length]));
    }

    private Tensor outputWeight(Encoding encoding) {
      return run.model().mlp(encoding.dictionary().id().layer()).rows();
    }

    private Metric traceOf(JsonNode trace) {
      Stage stage =
          trace.get("pre_or_post_act").asText().equals("pre")
              ? Stage.PRE_ACTIVATION
              : Stage.ACTIVATION;
      ScaleGradient scaleGradient =
          trace.get("detach_layer_norm_scale").asBoolean()
              ? ScaleGradient.DETACHED
              : ScaleGradient.LIVE;
      Node node = node(trace.get("node"));
      if (node instanceof Neuron neuron) {
        return new Trace.NeuronTrace(neuron, InputPath.ALL, stage, scaleGradient);
      }
      if (node instanceof Latent latent) {
        return new Trace.LatentTrace(latent, stage, scaleGradient);
      }
      HeadPair pair = (HeadPair) node;
      return switch (trace.get("attention_trace_type").asText()) {
        case "Q" -> new Trace.PatternTrace(pair, Set.of(InputPath.QUERY), stage, scaleGradient);
        case "K" -> new Trace.PatternTrace(pair, Set.of(InputPath.KEY), stage, scaleGradient);
        case "QK" ->
            new Trace.PatternTrace(
                pair, Set.of(InputPath.QUERY, InputPath.KEY), stage, scaleGradient);
        case "V" ->
            new Trace.ValueTrace(
                pair, trace.has("downstream") ? traceOf(trace.get("downstream")) : nodes.metric());
        default -> throw new AssertionError(trace);
      };
    }

    private void trace(String id, Metric metric) {
      Supplier<NodeAttribution> traced = () -> NodeAttribution.of(run, metric);
      String suffix = "/" + id;
      plain.put("traced_activation" + suffix, () -> new double[] {traced.get().value()});
      plain.put(
          "token_attribution" + suffix,
          () -> ofEmbeddings(all(traced.get().activationTimesGradient())));
      plain.put(
          "mlp_act_times_grad" + suffix,
          () -> ofNeurons(all(traced.get().activationTimesGradient())));
      plain.put(
          "mlp_write_to_final_residual_grad" + suffix,
          () -> ofNeurons(traced.get().directEffect()::of));
      plain.put(
          "unflattened_attn_act_times_grad" + suffix,
          () -> ofPairs(all(traced.get().activationTimesGradient()), pair -> pair));
      plain.put(
          "unflattened_attn_write_to_final_residual_grad" + suffix,
          () -> ofPairs(traced.get().directEffect()::of, pair -> pair));
      plain.put(
          "online_autoencoder_act_times_grad" + suffix,
          () -> ofLatents(all(traced.get().activationTimesGradient())));
      plain.put(
          "online_autoencoder_write_to_final_residual_grad" + suffix,
          () -> ofLatents(traced.get().directEffect()::of));
      plain.put(
          "resid_post_embedding_proj_to_final_residual_grad" + suffix,
          () -> projections(traced.get(), run.value(Site.EMBEDDING), 0));
    }

    private void reading(String name, Supplier<ToDoubleFunction<Node>> scores) {
      plain.put("mlp_" + name + "/loss", () -> ofNeurons(scores.get()));
      plain.put("unflattened_attn_" + name + "/loss", () -> ofPairs(scores.get(), pair -> pair));
      plain.put("attn_" + name + "/loss", () -> lowerTriangle(scores.get()));
    }

    private void perToken(String name, Supplier<ToDoubleFunction<Node>> scores) {
      plain.put(
          name,
          () -> {
            double[] pairs = ofPairs(scores.get(), pair -> pair);
            double[] result = new double[layers * tokens * heads];
            for (int i = 0; i < pairs.length; i++) {
              int query = i / (tokens * heads); // of all layers
              result[query * heads + i % heads] += pairs[i];
            }
            return result;
          });
    }

    /**
     * Norms and projections of the vectors at a site of every layer.
     *
     * @param block of those of a layer, counted from its attention, that the vectors belong to
     */
    private void stream(String name, String norm, String projection, Site site, int block) {
      plain.put(name + norm + "/loss", () -> stack(layer -> norms(run.value(site, layer))));
      plain.put(
          name + projection + "_to_final_residual_grad/loss",
          () -> stack(layer -> projections(nodes, run.value(site, layer), 2 * layer + block)));
    }

    private static double[] norms(Tensor vectors) {
      return vectors.norm(-1).toDoubles();
    }

    /** Of the sum of what a head writes at each token, [token][head]. */
    private double[] headWriteNorms(int layer) {
      Tensor weight = run.model().attention(layer).outputWeight();
      Tensor written = run.value(Site.HEAD_OUTPUT, layer).matmul(weight);
      return norms(written.permute(1, 0, 2));
    }

    /** On the gradient in the residual stream that is read; 0 where it is not strictly after. */
    private double[] projections(NodeAttribution explained, Tensor vectors, int block) {
      ResidualGradient read = explained.residualGradient();
      Tensor rows = read.rows().pad(0, read.firstToken(), tokens);
      return block < read.point().index()
          ? vectors.times(rows).sum(-1).toDoubles()
          : new double[tokens];
    }

    /** Readings that every node which is asked for has. */
    private static ToDoubleFunction<Node> all(Readings readings) {
      return node -> readings.of(node).orElseThrow();
    }

    private double[] ofEmbeddings(ToDoubleFunction<Node> scores) {
      double[] result = new double[tokens];
      for (int token = 0; token < tokens; token++) {
        result[token] = scores.applyAsDouble(new Embedding(EmbeddingPart.BOTH, token));
      }
      return result;
    }

    private double[] ofNeurons(ToDoubleFunction<Node> scores) {
      double[] result = new double[layers * tokens * neurons];
      for (int i = 0; i < result.length; i++) {
        int token = i / neurons;
        result[i] = scores.applyAsDouble(new Neuron(token / tokens, token % tokens, i % neurons));
      }
      return result;
    }

    private double[] ofLatents(ToDoubleFunction<Node> scores) {
      return encoded(
          Encoding::latents,
          encoding -> {
            Dictionary autoencoder = encoding.dictionary();
            int latents = autoencoder.latentCount();
            double[] result = new double[tokens * latents];
            for (int i = 0; i < result.length; i++) {
              result[i] =
                  scores.applyAsDouble(new Latent(autoencoder.id(), i / latents, i % latents));
            }
            return Tensor.of(DType.DOUBLE, encoding.latents().shape(), result);
          });
    }

    private double[] ofPairs(ToDoubleFunction<Node> scores, Function<HeadPair, Node> node) {
      double[] result = new double[layers * tokens * tokens * heads];
      for (int i = 0; i < result.length; i++) {
        int key = i / heads;
        int query = key / tokens;
        if (key % tokens <= query % tokens) {
          result[i] =
              scores.applyAsDouble(
                  node.apply(
                      new HeadPair(query / tokens, i % heads, query % tokens, key % tokens)));
        }
      }
      return result;
    }

    private double[] lowerTriangle(ToDoubleFunction<Node> scores) {
      double[] result = new double[layers * tokens * (tokens + 1) / 2 * heads];
      int next = 0;
      for (int layer = 0; layer < layers; layer++) {
        for (int query = 0; query < tokens; query++) {
          for (int key = 0; key <= query; key++) {
            for (int head = 0; head < heads; head++) {
              result[next++] = scores.applyAsDouble(new HeadPair(layer, head, query, key));
            }
          }
        }
      }
      return result;
    }
  }
}

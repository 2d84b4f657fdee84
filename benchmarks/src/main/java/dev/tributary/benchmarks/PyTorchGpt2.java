package dev.tributary.benchmarks;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.norm.LayerNorm;
import ai.djl.training.GradientCollector;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.Weight;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * GPT-2 as one writes it in Java with DJL and PyTorch, with the weights of one of ours: fused
 * linear layers and layer norms, results overwritten where no gradient needs them, memory freed
 * after every layer.
 */
final class PyTorchGpt2 implements AutoCloseable {
  /** Where a recorded pass keeps values and takes gradients, in every layer. */
  static final List<Site> SITES =
      List.of(
          Site.QUERY,
          Site.KEY,
          Site.VALUE,
          Site.PATTERN,
          Site.HEAD_OUTPUT,
          Site.RESIDUAL_AFTER_ATTENTION,
          Site.MLP_PRE_ACTIVATION,
          Site.MLP_ACTIVATION,
          Site.RESIDUAL_AFTER_MLP);

  private static final String ENGINE = "PyTorch";

  private static final double GELU_SCALE = 2 * Math.sqrt(2 / Math.PI);
  private static final double GELU_CUBIC = 0.044715;

  private final NDManager manager;
  private final int heads;
  private final int tokens;
  private final float epsilon;
  private final Shape normalised;
  private final NDArray tokenEmbedding;
  private final NDArray positionEmbedding;
  private final NDArray unembedding;
  private final NDArray mask;
  private final Norm finalNorm;
  private final List<Layer> layers = new ArrayList<>();

  private record Norm(NDArray gain, NDArray bias) {}

  /** Weights as PyTorch keeps them, [output, input]. */
  private record Affine(NDArray weight, NDArray bias) {
    NDArray apply(NDArray x) {
      return ai.djl.nn.core.Linear.linear(x, weight, bias).singletonOrThrow();
    }
  }

  private record Layer(
      Norm attentionNorm,
      Affine queryKeyValue,
      Affine headOutput,
      Norm mlpNorm,
      Affine neurons,
      Affine neuronOutput) {}

  /**
   * Copies a model, and as many position embeddings as a run of it has tokens.
   *
   * @throws IllegalStateException if PyTorch is not on the class path
   */
  PyTorchGpt2(Run run) {
    manager = manager();
    Transformer model = run.model();
    heads = model.attention(0).heads();
    tokens = run.length();
    epsilon = (float) model.config().finalNorm().epsilon();
    int d = model.config().dModel();
    normalised = new Shape(d);
    try (Scope scope = Scope.open()) {
      positionEmbedding = array(run.value(Site.POSITION_EMBEDDING));
      tokenEmbedding = array(model.weight(Weight.TOKEN_EMBEDDING, 0));
      unembedding = tokenEmbedding.transpose();
      finalNorm = norm(model, 0, Weight.FINAL_NORM_GAIN, Weight.FINAL_NORM_BIAS);
    }
    for (int layer = 0; layer < model.layers(); layer++) {
      try (Scope scope = Scope.open()) {
        layers.add(layer(model, layer));
      }
    }
    float[] later = new float[tokens * tokens];
    for (int query = 0; query < tokens; query++) {
      for (int key = query + 1; key < tokens; key++) {
        later[query * tokens + key] = Float.NEGATIVE_INFINITY;
      }
    }
    mask = manager.create(later, new Shape(tokens, tokens));
  }

  /** Memory for arrays of PyTorch, which nothing is fetched for and no one told about. */
  static NDManager manager() {
    System.setProperty("OPT_OUT_TRACKING", "true");
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("PYTORCH_FLAVOR", "cpu");
    if (!Engine.hasEngine(ENGINE)) {
      throw new IllegalStateException(
          "PyTorch is not on the class path: build with the Maven profile peers");
    }
    return NDManager.newBaseManager(Device.cpu(), ENGINE);
  }

  private Layer layer(Transformer model, int layer) {
    Affine query = affine(model, layer, Weight.QUERY, Weight.QUERY_BIAS);
    Affine key = affine(model, layer, Weight.KEY, Weight.KEY_BIAS);
    Affine value = affine(model, layer, Weight.VALUE, Weight.VALUE_BIAS);
    return new Layer(
        norm(model, layer, Weight.ATTENTION_NORM_GAIN, Weight.ATTENTION_NORM_BIAS),
        new Affine(
            query.weight().concat(key.weight(), 0).concat(value.weight(), 0),
            query.bias().concat(key.bias(), 0).concat(value.bias(), 0)),
        affine(model, layer, Weight.ATTENTION_OUTPUT, Weight.ATTENTION_OUTPUT_BIAS),
        norm(model, layer, Weight.MLP_NORM_GAIN, Weight.MLP_NORM_BIAS),
        affine(model, layer, Weight.MLP_INPUT, Weight.MLP_INPUT_BIAS),
        affine(model, layer, Weight.MLP_OUTPUT, Weight.MLP_OUTPUT_BIAS));
  }

  private int width() {
    return Math.toIntExact(normalised.get(0));
  }

  private Affine affine(Transformer model, int layer, Weight matrix, Weight bias) {
    Tensor weight = model.weight(matrix, layer);
    return new Affine(array(weight.permute(1, 0)), array(model.weight(bias, layer)));
  }

  private Norm norm(Transformer model, int layer, Weight gain, Weight bias) {
    return new Norm(array(model.weight(gain, layer)), array(model.weight(bias, layer)));
  }

  private NDArray array(Tensor tensor) {
    double[] values = tensor.toDoubles();
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    long[] sizes = new long[tensor.shape().rank()];
    for (int axis = 0; axis < sizes.length; axis++) {
      sizes[axis] = tensor.shape().size(axis);
    }
    return manager.create(floats, new Shape(sizes));
  }

  @Override
  public void close() {
    manager.close();
  }

  // ---- plain inference ---------------------------------------------------------------------

  /** Logits of all positions or of the last, in memory of {@code owner}. */
  NDArray logits(NDManager owner, int[] prompt, boolean lastOnly) {
    NDArray x = embedded(owner, prompt);
    for (Layer layer : layers) {
      try (NDManager inside = owner.newSubManager()) {
        x.attach(inside);
        x = infer(layer, x);
        x.attach(owner);
      }
    }
    return norm(finalNorm, lastOnly ? x.get("-1:") : x).matMul(unembedding);
  }

  private NDArray embedded(NDManager owner, int[] prompt) {
    NDArray ids = owner.create(prompt);
    return tokenEmbedding.get(owner, new NDIndex("{}", ids)).add(positionEmbedding);
  }

  private NDArray infer(Layer layer, NDArray x) {
    NDList parts = layer.queryKeyValue().apply(norm(layer.attentionNorm(), x)).split(3, 1);
    NDArray q = byHead(parts.get(0)).muli(scoreScale());
    NDArray scores = q.matMul(byHead(parts.get(1)).transpose(0, 2, 1)).addi(mask);
    NDArray merged = merged(scores.softmax(-1).matMul(byHead(parts.get(2))));
    NDArray middle = layer.headOutput().apply(merged).addi(x);
    NDArray pre = layer.neurons().apply(norm(layer.mlpNorm(), middle));
    NDArray inner = pre.square().muli(GELU_SCALE * GELU_CUBIC).addi(GELU_SCALE).muli(pre);
    NDArray activation = Activation.sigmoid(inner).muli(pre);
    return layer.neuronOutput().apply(activation).addi(middle);
  }

  private NDArray norm(Norm norm, NDArray x) {
    return LayerNorm.layerNorm(x, normalised, norm.gain(), norm.bias(), epsilon).singletonOrThrow();
  }

  private double scoreScale() {
    return 1 / Math.sqrt((double) width() / heads);
  }

  private NDArray byHead(NDArray x) {
    return x.reshape(tokens, heads, -1).transpose(1, 0, 2);
  }

  private NDArray merged(NDArray byHead) {
    return byHead.transpose(1, 0, 2).reshape(tokens, -1);
  }

  // ---- a recorded pass ---------------------------------------------------------------------

  /** What a forward and a backward pass found; dies with the memory it was made in. */
  record Recorded(
      NDArray embedding,
      NDArray logits,
      NDArray metric,
      List<Map<Site, NDArray>> values,
      List<Map<Site, NDArray>> gradients) {
    NDArray value(Site site, int layer) {
      return at(values, site, layer);
    }

    NDArray gradient(Site site, int layer) {
      return at(gradients, site, layer);
    }

    private static NDArray at(List<Map<Site, NDArray>> recorded, Site site, int layer) {
      NDArray found = recorded.get(layer).get(site);
      if (found == null) {
        throw new IllegalArgumentException("site " + site + " was not kept");
      }
      return found;
    }
  }

  /**
   * Sites of a layer. DJL does not keep the gradient of what was computed, so zeros that want one
   * are added to it.
   */
  private static final class Kept {
    private final NDManager owner;
    private final Map<Site, NDArray> values = new EnumMap<>(Site.class);
    private final Map<Site, NDArray> zeros = new EnumMap<>(Site.class);

    Kept(NDManager owner) {
      this.owner = owner;
    }

    NDArray at(Site site, NDArray x) {
      NDArray zero = owner.zeros(x.getShape());
      zero.setRequiresGradient(true);
      zeros.put(site, zero);
      NDArray y = x.add(zero);
      values.put(site, y);
      return y;
    }

    Map<Site, NDArray> gradients() {
      Map<Site, NDArray> gradients = new EnumMap<>(Site.class);
      zeros.forEach((site, zero) -> gradients.put(site, zero.getGradient()));
      return gradients;
    }
  }

  /**
   * Logits of all positions, and at every site the gradient of the logit of {@code target} minus
   * that of {@code distractor} at the last position.
   */
  Recorded recorded(NDManager owner, int[] prompt, int target, int distractor) {
    try (GradientCollector collector = Engine.getEngine(ENGINE).newGradientCollector()) {
      List<Kept> kept = new ArrayList<>();
      NDArray embedding = embedded(owner, prompt);
      embedding.setRequiresGradient(true);
      NDArray x = embedding;
      for (Layer layer : layers) {
        kept.add(new Kept(owner));
        x = record(layer, x, kept.get(kept.size() - 1));
      }
      NDArray last = norm(finalNorm, x);
      NDArray logits = last.matMul(unembedding);
      NDArray direction =
          row(owner, tokenEmbedding, target).sub(row(owner, tokenEmbedding, distractor));
      NDArray metric = last.get("-1:").mul(direction).sum();
      collector.backward(metric);
      return new Recorded(
          embedding,
          logits,
          metric,
          kept.stream().map(layer -> layer.values).toList(),
          kept.stream().map(Kept::gradients).toList());
    }
  }

  private NDArray record(Layer layer, NDArray x, Kept kept) {
    NDList parts = layer.queryKeyValue().apply(norm(layer.attentionNorm(), x)).split(3, 1);
    NDArray q = kept.at(Site.QUERY, byHead(parts.get(0)));
    NDArray k = kept.at(Site.KEY, byHead(parts.get(1)));
    NDArray v = kept.at(Site.VALUE, byHead(parts.get(2)));
    NDArray scores = q.mul(scoreScale()).matMul(k.transpose(0, 2, 1)).add(mask);
    NDArray pattern = kept.at(Site.PATTERN, scores.softmax(-1));
    NDArray merged = merged(kept.at(Site.HEAD_OUTPUT, pattern.matMul(v)));
    NDArray attended = layer.headOutput().apply(merged).add(x);
    NDArray middle = kept.at(Site.RESIDUAL_AFTER_ATTENTION, attended);
    NDArray pre =
        kept.at(Site.MLP_PRE_ACTIVATION, layer.neurons().apply(norm(layer.mlpNorm(), middle)));
    NDArray activation = kept.at(Site.MLP_ACTIVATION, gelu(pre));
    NDArray computed = layer.neuronOutput().apply(activation).add(middle);
    return kept.at(Site.RESIDUAL_AFTER_MLP, computed);
  }

  private static NDArray gelu(NDArray x) {
    NDArray inner = x.square().mul(GELU_SCALE * GELU_CUBIC).add(GELU_SCALE).mul(x);
    return Activation.sigmoid(inner).mul(x);
  }

  // ---- many sources into one neuron --------------------------------------------------------

  /** Edges from the heads, [head, 1, key], and neurons, [1, neuron], of a layer. */
  record Edges(NDArray heads, NDArray neurons) {}

  /**
   * Edges from every head and neuron into one neuron, restricted by hand to the row that it reads
   * and the weights of the neuron; the scale of its layer norm held fixed. Embeddings and biases
   * are computed and left.
   *
   * @return by layer, of the target's own layer the heads alone
   */
  List<Edges> into(NDManager owner, Recorded run, int targetLayer, int token, int neuron) {
    NDArray gradient = gradient(owner, run, targetLayer, token, neuron);
    List<Edges> edges = new ArrayList<>();
    row(owner, run.embedding(), token).stopGradient().mul(gradient).sum();
    for (int layer = 0; layer <= targetLayer; layer++) {
      Layer weights = layers.get(layer);
      NDArray values = run.value(Site.VALUE, layer).stopGradient().transpose(0, 2, 1);
      NDArray pattern =
          run.value(Site.PATTERN, layer)
              .get(owner, new NDIndex(":, {}:{}", token, token + 1))
              .stopGradient();
      NDArray read = gradient.matMul(weights.headOutput().weight()).reshape(heads, 1, -1);
      NDArray fromHeads = read.matMul(values).muli(pattern);
      gradient.mul(weights.headOutput().bias()).sum();
      NDArray fromNeurons = fromHeads;
      if (layer < targetLayer) {
        NDArray activation =
            row(owner, run.value(Site.MLP_ACTIVATION, layer), token).stopGradient();
        fromNeurons = gradient.matMul(weights.neuronOutput().weight()).muli(activation);
        gradient.mul(weights.neuronOutput().bias()).sum();
      }
      edges.add(new Edges(fromHeads, fromNeurons));
    }
    return edges;
  }

  /** How the neuron's attribution reads the residual stream, [1, dModel]. */
  private NDArray gradient(NDManager owner, Recorded run, int layer, int token, int neuron) {
    Layer weights = layers.get(layer);
    NDArray residual = run.value(Site.RESIDUAL_AFTER_ATTENTION, layer);
    NDArray held = run.gradient(Site.MLP_ACTIVATION, layer).get(owner, token, neuron);
    try (GradientCollector collector = Engine.getEngine(ENGINE).newGradientCollector()) {
      NDArray row = row(owner, residual, token).stopGradient();
      row.setRequiresGradient(true);
      NDArray centred = row.sub(row.mean());
      NDArray scale = centred.square().mean().add(epsilon).sqrt().stopGradient();
      NDArray read = centred.div(scale).mul(weights.mlpNorm().gain()).add(weights.mlpNorm().bias());
      NDArray weight = row(owner, weights.neurons().weight(), neuron);
      NDArray pre = read.mul(weight).sum().add(weights.neurons().bias().get(owner, neuron));
      collector.backward(gelu(pre).mul(held));
      return row.getGradient();
    }
  }

  private static NDArray row(NDManager owner, NDArray rows, int index) {
    return rows.get(owner, new NDIndex("{}:{}", index, index + 1));
  }
}

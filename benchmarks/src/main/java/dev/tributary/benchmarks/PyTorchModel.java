package dev.tributary.benchmarks;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.core.Linear;
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
import java.util.Objects;
import java.util.Optional;

/**
 * A model as one writes it in Java with DJL and PyTorch, with the weights of one of ours: fused
 * linear layers, results overwritten where no gradient needs them, memory freed after every layer.
 */
abstract class PyTorchModel implements AutoCloseable {
  static final String ENGINE = "PyTorch";

  private final NDManager manager = manager();
  private final int heads;
  private final int keyHeads;
  private final int layers;
  private final double scoreScale;
  private final NDArray tokenEmbedding;
  private final NDArray unembedding;
  private final NDArray mask;
  final int tokens;
  final float epsilon;

  /** Weights as PyTorch keeps them, [output, input], and a bias if there is one. */
  record Affine(NDArray weight, Optional<NDArray> bias) {
    NDArray apply(NDArray x) {
      return bias.map(added -> Linear.linear(x, weight, added))
          .orElseGet(() -> Linear.linear(x, weight))
          .singletonOrThrow();
    }

    /** One map to the outputs of several, one after the other. */
    static Affine joined(Affine first, Affine... others) {
      Affine all = first;
      for (Affine other : others) {
        NDArray weight = all.weight.concat(other.weight, 0);
        all =
            new Affine(weight, all.bias.flatMap(b -> other.bias.map(added -> b.concat(added, 0))));
      }
      return all;
    }

    /** The map to one output, [1, input]. */
    NDArray row(NDManager owner, int output) {
      return PyTorchModel.row(owner, weight, output);
    }
  }

  PyTorchModel(Run run) {
    Transformer model = run.model();
    heads = model.attention(0).heads();
    keyHeads = model.attention(0).keyHeads();
    layers = model.layers();
    scoreScale = 1 / Math.sqrt(model.attention(0).dHead());
    tokens = run.length();
    epsilon = (float) model.config().finalNorm().orElseThrow().epsilon();
    tokenEmbedding = array(model, 0, Weight.TOKEN_EMBEDDING);
    unembedding = tokenEmbedding.transpose();
    float[] later = new float[tokens * tokens];
    for (int query = 0; query < tokens; query++) {
      for (int key = query + 1; key < tokens; key++) {
        later[query * tokens + key] = Float.NEGATIVE_INFINITY;
      }
    }
    mask = array(later, tokens, tokens);
  }

  /**
   * Copies a model.
   *
   * @param run of it, of as many tokens as this will be given
   * @throws IllegalStateException if PyTorch is not on the class path, or nobody has written it
   */
  static PyTorchModel of(ModelShape shape, Run run) {
    return switch (shape) {
      case GPT2_SMALL -> new PyTorchGpt2(run);
      case SMOLLM2_135M, LLAMA_3_2_1B -> new PyTorchLlama(run);
      case GEMMA_2_2B -> throw new IllegalStateException("there is no " + shape + " in PyTorch");
    };
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

  final Affine affine(Transformer model, int layer, Weight matrix) {
    return new Affine(turned(manager, model.weight(matrix, layer)), Optional.empty());
  }

  final Affine affine(Transformer model, int layer, Weight matrix, Weight bias) {
    return affine(manager, model, layer, matrix, bias);
  }

  static Affine affine(
      NDManager manager, Transformer model, int layer, Weight matrix, Weight bias) {
    NDArray weight = turned(manager, model.weight(matrix, layer));
    return new Affine(weight, Optional.of(array(manager, model.weight(bias, layer))));
  }

  private static NDArray turned(NDManager manager, Tensor matrix) {
    try (Scope scope = Scope.open()) {
      return array(manager, matrix.permute(1, 0));
    }
  }

  final NDArray array(Transformer model, int layer, Weight weight) {
    return array(model.weight(weight, layer));
  }

  final NDArray array(Tensor tensor) {
    return array(manager, tensor);
  }

  static NDArray array(NDManager manager, Tensor tensor) {
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

  final NDArray array(float[] values, long... sizes) {
    return manager.create(values, new Shape(sizes));
  }

  @Override
  public final void close() {
    manager.close();
  }

  // ---- what a model says of itself ---------------------------------------------------------

  /** What is added to token embeddings, if something is. */
  abstract Optional<NDArray> positions();

  /** A layer where no gradient is wanted. */
  abstract NDArray infer(int layer, NDArray x);

  /** A layer, all of its sites kept. */
  abstract NDArray record(int layer, NDArray x, Kept kept);

  abstract NDArray finalNormed(NDArray x);

  abstract Affine headOutput(int layer);

  abstract Affine neuronOutput(int layer);

  /**
   * Activation of a neuron.
   *
   * @param row of the residual stream that the MLP reads, [1, dModel], the scale of its norm held
   */
  abstract NDArray neuron(NDManager owner, int layer, NDArray row, int neuron);

  // ---- what models have in common ----------------------------------------------------------

  /** [token, head · dHead] to [head, token, dHead]. */
  final NDArray byHead(NDArray x, int count) {
    return x.reshape(tokens, count, -1).transpose(1, 0, 2);
  }

  /** [head, token, dHead] to [token, head · dHead]. */
  final NDArray merged(NDArray byHead) {
    return byHead.transpose(1, 0, 2).reshape(tokens, -1);
  }

  final int heads() {
    return heads;
  }

  final int keyHeads() {
    return keyHeads;
  }

  /** Query-key products, [head, query, key], heads that share a key head in one product. */
  private NDArray products(NDArray scaled, NDArray keys) {
    return shared(scaled).matMul(keys.transpose(0, 2, 1)).reshape(heads, tokens, tokens);
  }

  /** Overwrites the queries. */
  final NDArray inferredPattern(NDArray queries, NDArray keys) {
    return products(queries.muli(scoreScale), keys).addi(mask).softmax(-1);
  }

  final NDArray pattern(NDArray queries, NDArray keys) {
    return products(queries.mul(scoreScale), keys).add(mask).softmax(-1);
  }

  final NDArray mixed(NDArray pattern, NDArray values) {
    return shared(pattern).matMul(values).reshape(heads, tokens, -1);
  }

  private NDArray shared(NDArray byHead) {
    return heads == keyHeads
        ? byHead
        : byHead.reshape(keyHeads, (long) heads / keyHeads * byHead.getShape().get(1), -1);
  }

  // ---- plain inference ---------------------------------------------------------------------

  /** Logits of all positions or of the last, in memory of {@code owner}. */
  final NDArray logits(NDManager owner, int[] prompt, boolean lastOnly) {
    NDArray x = embedded(owner, prompt);
    for (int layer = 0; layer < layers; layer++) {
      try (NDManager inside = owner.newSubManager()) {
        x.attach(inside);
        x = infer(layer, x);
        x.attach(owner);
      }
    }
    return finalNormed(lastOnly ? x.get("-1:") : x).matMul(unembedding);
  }

  private NDArray embedded(NDManager owner, int[] prompt) {
    NDArray ids = owner.create(prompt);
    NDArray rows = tokenEmbedding.get(owner, new NDIndex("{}", ids));
    return positions().map(rows::add).orElse(rows);
  }

  // ---- a recorded pass ---------------------------------------------------------------------

  /** What a forward and a backward pass found; dies with the memory it was made in. */
  record Recorded(
      NDArray embedding,
      NDArray logits,
      NDArray metric,
      List<Map<Site, NDArray>> values,
      List<Map<Site, NDArray>> gradients) {
    private NDArray value(Site site, int layer) {
      return Objects.requireNonNull(values.get(layer).get(site), site::name);
    }

    private NDArray gradient(Site site, int layer) {
      return Objects.requireNonNull(gradients.get(layer).get(site), site::name);
    }
  }

  /**
   * Sites of a layer. DJL does not keep the gradient of what was computed, so zeros that want one
   * are added to it.
   */
  static final class Kept {
    private final NDManager owner;
    private final Map<Site, NDArray> values = new EnumMap<>(Site.class);
    private final Map<Site, NDArray> zeros = new EnumMap<>(Site.class);

    private Kept(NDManager owner) {
      this.owner = owner;
    }

    /** The value alone. */
    NDArray value(Site site, NDArray x) {
      values.put(site, x);
      return x;
    }

    NDArray withGradient(Site site, NDArray x) {
      NDArray zero = owner.zeros(x.getShape());
      zero.setRequiresGradient(true);
      zeros.put(site, zero);
      return value(site, x.add(zero));
    }

    private Map<Site, NDArray> gradients() {
      Map<Site, NDArray> gradients = new EnumMap<>(Site.class);
      zeros.forEach((site, zero) -> gradients.put(site, zero.getGradient()));
      return gradients;
    }
  }

  /**
   * Logits of all positions, and at the sites of every layer the gradient of the logit of {@code
   * target} minus that of {@code distractor} at the last position.
   */
  final Recorded recorded(NDManager owner, int[] prompt, int target, int distractor) {
    try (GradientCollector collector = Engine.getEngine(ENGINE).newGradientCollector()) {
      List<Kept> kept = new ArrayList<>();
      NDArray embedding = embedded(owner, prompt);
      embedding.setRequiresGradient(true);
      NDArray x = embedding;
      for (int layer = 0; layer < layers; layer++) {
        kept.add(new Kept(owner));
        x = record(layer, x, kept.get(layer));
      }
      NDArray last = finalNormed(x);
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

  // ---- many sources into one neuron --------------------------------------------------------

  /** Edges from the heads, [head, 1, key], and neurons, [1, neuron], of a layer. */
  record Edges(NDArray heads, NDArray neurons) {}

  /**
   * Edges from every head and neuron into one neuron, restricted by hand to the row that it reads
   * and the weights of the neuron; the scale of its norm held fixed. Embeddings and biases are
   * computed and left.
   *
   * @return by layer, of the target's own layer the heads alone
   */
  final List<Edges> into(NDManager owner, Recorded run, int targetLayer, int token, int neuron) {
    NDArray gradient = gradient(owner, run, targetLayer, token, neuron);
    List<Edges> edges = new ArrayList<>();
    row(owner, run.embedding(), token).stopGradient().mul(gradient).sum();
    for (int layer = 0; layer <= targetLayer; layer++) {
      NDArray values = run.value(Site.VALUE, layer).stopGradient().transpose(0, 2, 1);
      NDArray pattern =
          run.value(Site.PATTERN, layer)
              .get(owner, new NDIndex(":, {}:{}", token, token + 1))
              .stopGradient();
      Affine headOutput = headOutput(layer);
      NDArray read = gradient.matMul(headOutput.weight()).reshape(keyHeads, heads / keyHeads, -1);
      NDArray fromHeads = read.matMul(values).reshape(heads, 1, -1).muli(pattern);
      headOutput.bias().ifPresent(bias -> gradient.mul(bias).sum());
      NDArray fromNeurons = fromHeads;
      if (layer < targetLayer) {
        NDArray activation =
            row(owner, run.value(Site.MLP_ACTIVATION, layer), token).stopGradient();
        Affine neuronOutput = neuronOutput(layer);
        fromNeurons = gradient.matMul(neuronOutput.weight()).muli(activation);
        neuronOutput.bias().ifPresent(bias -> gradient.mul(bias).sum());
      }
      edges.add(new Edges(fromHeads, fromNeurons));
    }
    return edges;
  }

  /** How the neuron's attribution reads the residual stream, [1, dModel]. */
  private NDArray gradient(NDManager owner, Recorded run, int layer, int token, int neuron) {
    NDArray residual = run.value(Site.RESIDUAL_AFTER_ATTENTION, layer);
    NDArray held = run.gradient(Site.MLP_ACTIVATION, layer).get(owner, token, neuron);
    try (GradientCollector collector = Engine.getEngine(ENGINE).newGradientCollector()) {
      NDArray row = row(owner, residual, token).stopGradient();
      row.setRequiresGradient(true);
      collector.backward(neuron(owner, layer, row, neuron).mul(held));
      return row.getGradient();
    }
  }

  static NDArray row(NDManager owner, NDArray rows, int index) {
    return rows.get(owner, new NDIndex("{}:{}", index, index + 1));
  }
}

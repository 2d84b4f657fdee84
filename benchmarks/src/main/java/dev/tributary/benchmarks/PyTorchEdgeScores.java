package dev.tributary.benchmarks;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.norm.LayerNorm;
import ai.djl.training.GradientCollector;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.Weight;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * Edge attribution patching of GPT-2 as one writes it in Java with DJL and PyTorch, for pairs of
 * prompts of one length, many in one pass: a forward and a backward pass that stop at queries, keys
 * and values of all heads and at the copies of the residual stream that MLPs read; gradients of
 * heads through their own weights, with the gain and the mean of the norm folded into these, and
 * through the norm's scale by its formula; for each layer one batch of matrix products with what
 * all earlier components write.
 */
final class PyTorchEdgeScores implements AutoCloseable {
  private static final int INPUTS = 3;

  private final NDManager manager = PyTorchModel.manager();
  private final int layers;
  private final int heads;
  private final int width;
  private final int dHead;
  private final float epsilon;
  private final NDArray tokenEmbedding;
  private final NDArray positionEmbedding;
  private final Norm finalNorm;
  private final List<Layer> weights;

  private record Norm(NDArray gain, NDArray bias) {}

  /**
   * A layer.
   *
   * @param folded weights of queries, keys and values with gain and mean, [3 · head, dHead, dModel]
   * @param output of each head, [head, dHead, dModel]
   */
  private record Layer(
      Norm attentionNorm,
      PyTorchModel.Affine queryKeyValue,
      NDArray folded,
      PyTorchModel.Affine headOutput,
      NDArray output,
      Norm mlpNorm,
      PyTorchModel.Affine neurons,
      PyTorchModel.Affine neuronOutput) {}

  /** Copies the weights of a model. */
  PyTorchEdgeScores(Transformer model) {
    layers = model.layers();
    heads = model.attention(0).heads();
    dHead = model.attention(0).dHead();
    width = model.config().dModel();
    epsilon = (float) model.config().finalNorm().orElseThrow().epsilon();
    tokenEmbedding = array(model, 0, Weight.TOKEN_EMBEDDING);
    positionEmbedding = array(model, 0, Weight.POSITION_EMBEDDING);
    finalNorm = norm(model, 0, Weight.FINAL_NORM_GAIN, Weight.FINAL_NORM_BIAS);
    weights = IntStream.range(0, layers).mapToObj(layer -> layer(model, layer)).toList();
  }

  private Layer layer(Transformer model, int layer) {
    Norm norm = norm(model, layer, Weight.ATTENTION_NORM_GAIN, Weight.ATTENTION_NORM_BIAS);
    PyTorchModel.Affine queryKeyValue =
        PyTorchModel.Affine.joined(
            affine(model, layer, Weight.QUERY, Weight.QUERY_BIAS),
            affine(model, layer, Weight.KEY, Weight.KEY_BIAS),
            affine(model, layer, Weight.VALUE, Weight.VALUE_BIAS));
    NDArray gained = queryKeyValue.weight().mul(norm.gain());
    NDArray folded = gained.sub(gained.mean(new int[] {1}, true));
    return new Layer(
        norm,
        queryKeyValue,
        folded.reshape(-1, dHead, width),
        affine(model, layer, Weight.ATTENTION_OUTPUT, Weight.ATTENTION_OUTPUT_BIAS),
        array(model, layer, Weight.ATTENTION_OUTPUT).reshape(heads, dHead, width),
        norm(model, layer, Weight.MLP_NORM_GAIN, Weight.MLP_NORM_BIAS),
        affine(model, layer, Weight.MLP_INPUT, Weight.MLP_INPUT_BIAS),
        affine(model, layer, Weight.MLP_OUTPUT, Weight.MLP_OUTPUT_BIAS));
  }

  private NDArray array(Transformer model, int layer, Weight weight) {
    return PyTorchModel.array(manager, model.weight(weight, layer));
  }

  private PyTorchModel.Affine affine(Transformer model, int layer, Weight matrix, Weight bias) {
    return PyTorchModel.affine(manager, model, layer, matrix, bias);
  }

  private Norm norm(Transformer model, int layer, Weight gain, Weight bias) {
    return new Norm(array(model, layer, gain), array(model, layer, bias));
  }

  @Override
  public void close() {
    manager.close();
  }

  // ---- passes ------------------------------------------------------------------------------

  /** Rows of several prompts of one length, and what they hold back from earlier tokens. */
  private record Rows(NDManager owner, int prompts, int tokens, NDArray mask) {
    static Rows of(NDManager owner, int prompts, int tokens) {
      float[] later = new float[tokens * tokens];
      for (int query = 0; query < tokens; query++) {
        for (int key = query + 1; key < tokens; key++) {
          later[query * tokens + key] = Float.NEGATIVE_INFINITY;
        }
      }
      return new Rows(owner, prompts, tokens, owner.create(later, new Shape(tokens, tokens)));
    }

    Rows in(NDManager other) {
      return new Rows(other, prompts, tokens, mask);
    }
  }

  /**
   * What a pass keeps of a layer: what its attention reads, zeros whose gradients are wanted, and
   * of what it writes outputs of heads and MLP.
   */
  private record Kept(NDArray read, NDList zeros, NDArray mixed, NDArray written) {}

  private record Pass(NDArray embedding, List<Kept> layers, NDList zeros, NDArray metrics) {}

  private NDArray norm(Norm norm, NDArray x) {
    return LayerNorm.layerNorm(x, new Shape(width), norm.gain, norm.bias, epsilon)
        .singletonOrThrow();
  }

  private NDArray rows(NDManager owner, int... ids) {
    return tokenEmbedding.get(owner, new NDIndex("{}", owner.create(ids)));
  }

  /** The same, moving as zeros do that want a gradient, if one is wanted. */
  private static NDArray moving(Rows rows, NDArray x, NDList zeros, boolean gradients) {
    if (!gradients) {
      return x;
    }
    NDArray own = rows.owner.zeros(x.getShape());
    own.setRequiresGradient(true);
    zeros.add(own);
    return x.add(own);
  }

  private NDArray byHead(Rows rows, NDArray x) {
    return x.reshape(rows.prompts, rows.tokens, heads, dHead).transpose(0, 2, 1, 3);
  }

  /**
   * Forward, from token embeddings.
   *
   * @param embedding [prompt · token, dModel]
   * @param directions of the metric of each prompt at its last token, [prompt, dModel]
   */
  private Pass pass(Rows rows, NDArray embedding, NDArray directions, boolean gradients) {
    NDManager owner = rows.owner;
    NDArray positions = positionEmbedding.get(owner, new NDIndex("0:{}", rows.tokens));
    NDArray x =
        embedding
            .reshape(rows.prompts, rows.tokens, width)
            .add(positions)
            .reshape(embedding.getShape());
    List<Kept> kept = new ArrayList<>();
    for (Layer layer : weights) {
      try (NDManager inside = owner.newSubManager()) {
        NDArray read = x.stopGradient();
        x.attach(inside);
        NDList zeros = new NDList();
        NDArray projected =
            moving(rows, layer.queryKeyValue.apply(norm(layer.attentionNorm, x)), zeros, gradients);
        NDList parts = projected.split(INPUTS, 1);
        NDArray q = byHead(rows, parts.get(0)).mul(1 / Math.sqrt(dHead));
        NDArray k = byHead(rows, parts.get(1));
        NDArray v = byHead(rows, parts.get(2));
        NDArray pattern = q.matMul(k.transpose(0, 1, 3, 2)).add(rows.mask).softmax(-1);
        NDArray mixed =
            pattern.matMul(v).transpose(0, 2, 1, 3).reshape((long) rows.prompts * rows.tokens, -1);
        NDArray attended = layer.headOutput.apply(mixed);
        NDArray middle = gradients ? attended.add(x) : attended.addi(x);
        NDArray copy = moving(rows, middle, zeros, gradients);
        NDArray neurons = Activation.gelu(layer.neurons.apply(norm(layer.mlpNorm, copy)));
        NDArray written = layer.neuronOutput.apply(neurons);
        kept.add(new Kept(read, zeros, mixed.stopGradient(), written.stopGradient()));
        x = written.add(middle);
        x.attach(owner);
        new NDList(read, kept.get(kept.size() - 1).mixed, kept.get(kept.size() - 1).written)
            .attach(owner);
      }
    }
    NDList zeros = new NDList();
    NDArray last =
        moving(rows, x, zeros, gradients)
            .reshape(rows.prompts, rows.tokens, width)
            .get(owner, new NDIndex(":, -1"));
    NDArray metrics = norm(finalNorm, last).mul(directions).sum(new int[] {1});
    return new Pass(embedding, kept, zeros, metrics);
  }

  // ---- scores ------------------------------------------------------------------------------

  /** How far each component writes something else, [prompt, source, token · dModel]. */
  private NDArray moved(Rows rows, Pass to, Pass from) {
    try (NDManager inside = rows.owner.newSubManager()) {
      NDList all = new NDList(alone(to.embedding.sub(from.embedding)));
      for (int i = 0; i < layers; i++) {
        NDArray mixed = to.layers.get(i).mixed.sub(from.layers.get(i).mixed);
        NDArray byHead = mixed.reshape(mixed.getShape().get(0), heads, dHead).transpose(1, 0, 2);
        all.add(byHead.matMul(weights.get(i).output));
        all.add(alone(to.layers.get(i).written.sub(from.layers.get(i).written)));
      }
      all.attach(inside);
      NDArray joined = byPrompt(rows, NDArrays.concat(all, 0)).duplicate();
      joined.attach(rows.owner);
      return joined;
    }
  }

  private static NDArray alone(NDArray x) {
    return x.expandDims(0);
  }

  /** [.., prompt · token, dModel] to [prompt, .., token · dModel], a view. */
  private NDArray byPrompt(Rows rows, NDArray x) {
    return x.reshape(-1, rows.prompts, (long) rows.tokens * width).transpose(1, 0, 2);
  }

  /** At the copies that the inputs of all heads read, [3 · head, prompt · token, dModel]. */
  private NDArray ofHeads(Layer layer, NDArray read, NDArray atHeads) {
    NDArray centred = read.sub(read.mean(new int[] {1}, true));
    NDArray scale = centred.square().mean(new int[] {1}, true).addi(epsilon).sqrt();
    NDArray standardised = centred.divi(scale);
    NDArray each =
        atHeads
            .div(scale)
            .reshape(atHeads.getShape().get(0), (long) INPUTS * heads, dHead)
            .transpose(1, 0, 2)
            .matMul(layer.folded);
    return each.subi(each.mul(standardised).mean(new int[] {2}, true).mul(standardised));
  }

  /**
   * Products of all writes before each group of readers with the gradients of these, [prompt,
   * source, reader].
   */
  private NDList products(Rows rows, NDArray moved, Pass pass) {
    NDList products = new NDList();
    int before = 1;
    for (int i = 0; i < layers; i++) {
      try (NDManager inside = rows.owner.newSubManager()) {
        Kept kept = pass.layers.get(i);
        NDArray atHeads = kept.zeros.get(0).getGradient();
        NDArray atMlp = kept.zeros.get(1).getGradient();
        new NDList(kept.read, atHeads, atMlp).attach(inside);
        NDArray gradients = ofHeads(weights.get(i), kept.read, atHeads);
        products.add(product(inside, rows, moved, before, gradients));
        before += heads;
        products.add(product(inside, rows, moved, before, alone(atMlp)));
        before++;
      }
    }
    NDArray atEnd = pass.zeros.get(0).getGradient();
    products.add(product(rows.owner, rows, moved, before, alone(atEnd)));
    return products;
  }

  private NDArray product(
      NDManager inside, Rows rows, NDArray moved, int before, NDArray gradients) {
    NDArray writes = moved.get(inside, new NDIndex(":, 0:{}", before));
    NDArray product = writes.matMul(byPrompt(rows, gradients).transpose(0, 2, 1));
    product.attach(rows.owner);
    return product;
  }

  /** Scores of some pairs of one length, [prompt, source, reader] of each group of readers. */
  private NDList scores(NDManager owner, List<DatasetBenchmark.Question> pairs, int steps) {
    Rows rows = Rows.of(owner, pairs.size(), pairs.get(0).pair().length());
    NDArray directions =
        rows(owner, pairs.stream().mapToInt(DatasetBenchmark.Question::target).toArray())
            .subi(
                rows(
                    owner,
                    pairs.stream().mapToInt(DatasetBenchmark.Question::distractor).toArray()));
    NDArray clean = rows(owner, ids(pairs, Pair::clean));
    NDArray corrupted = rows(owner, ids(pairs, Pair::corrupted));
    Pass missing = pass(rows, corrupted, directions, false);
    if (steps == 0) {
      Pass pass = pulled(rows, clean, directions);
      return products(rows, moved(rows, missing, pass), pass);
    }
    NDArray moved = moved(rows, missing, pass(rows, clean, directions, false));
    NDList sums = new NDList();
    for (int k = 0; k < steps; k++) {
      try (NDManager inside = owner.newSubManager()) {
        NDArray between = clean.sub(corrupted).muli((double) k / steps).addi(corrupted);
        between.attach(inside);
        Rows own = rows.in(inside);
        NDList products = products(own, moved, pulled(own, between, directions));
        for (int i = 0; i < products.size(); i++) {
          if (k == 0) {
            products.get(i).attach(owner);
            sums.add(products.get(i));
          } else {
            sums.get(i).addi(products.get(i));
          }
        }
      }
    }
    sums.forEach(sum -> sum.divi(steps));
    return sums;
  }

  /** A pass, and the gradient of all metrics at its zeros. */
  private Pass pulled(Rows rows, NDArray embedding, NDArray directions) {
    try (GradientCollector collector =
        Engine.getEngine(PyTorchModel.ENGINE).newGradientCollector()) {
      Pass pass = pass(rows, embedding, directions, true);
      collector.backward(pass.metrics.sum());
      return pass;
    }
  }

  private static int[] ids(
      List<DatasetBenchmark.Question> pairs, Function<Pair, List<Integer>> prompt) {
    return pairs.stream()
        .map(DatasetBenchmark.Question::pair)
        .flatMap(pair -> prompt.apply(pair).stream())
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /** Means over pairs of scores and of their magnitudes, of edges in our order. */
  record Means(List<Double> scores, List<Double> magnitudes) {}

  /**
   * Scores of all edges over pairs of one length.
   *
   * @param together how many go through one pass
   * @param steps of integrated gradients on the input, 0 for the gradient of clean runs alone
   */
  Means score(List<DatasetBenchmark.Question> pairs, int together, int steps) {
    try (NDManager owner = manager.newSubManager()) {
      NDList sums = new NDList();
      NDList magnitudes = new NDList();
      for (int first = 0; first < pairs.size(); first += together) {
        try (NDManager inside = owner.newSubManager()) {
          int end = Math.min(pairs.size(), first + together);
          NDList scores = scores(inside, pairs.subList(first, end), steps);
          for (int i = 0; i < scores.size(); i++) {
            add(owner, sums, i, scores.get(i).sum(new int[] {0}));
            add(owner, magnitudes, i, scores.get(i).abs().sum(new int[] {0}));
          }
        }
      }
      return new Means(inOrder(sums, pairs.size()), inOrder(magnitudes, pairs.size()));
    }
  }

  private static void add(NDManager owner, NDList sums, int index, NDArray more) {
    if (index < sums.size()) {
      sums.get(index).addi(more);
    } else {
      more.attach(owner);
      sums.add(more);
    }
  }

  /** Of each group of readers source by source; of heads, head by head. */
  private List<Double> inOrder(NDList sums, int pairs) {
    List<Double> means = new ArrayList<>();
    for (NDArray sum : sums) {
      float[] all = sum.toFloatArray();
      int readers = (int) sum.getShape().get(1);
      int inputs = Math.min(readers, INPUTS);
      for (int i = 0; i < all.length; i++) {
        int reader = i % readers;
        int path = reader % inputs;
        means.add((double) all[i - reader + path * (readers / inputs) + reader / inputs] / pairs);
      }
    }
    return means;
  }
}

package dev.tributary.benchmarks;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.norm.LayerNorm;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.Weight;
import java.util.Optional;
import java.util.stream.IntStream;

/** GPT-2: one linear map to queries, keys and values, and PyTorch's own layer norms. */
final class PyTorchGpt2 extends PyTorchModel {
  private static final double GELU_SCALE = 2 * Math.sqrt(2 / Math.PI);
  private static final double GELU_CUBIC = 0.044715;

  private final Shape normalised;
  private final NDArray positions;
  private final Norm finalNorm;
  private final Layer[] layers;

  private record Norm(NDArray gain, NDArray bias) {}

  private record Layer(
      Norm attentionNorm,
      Affine queryKeyValue,
      Affine headOutput,
      Norm mlpNorm,
      Affine neurons,
      Affine neuronOutput) {}

  PyTorchGpt2(Run run) {
    super(run);
    Transformer model = run.model();
    normalised = new Shape(model.config().dModel());
    positions = array(run.value(Site.POSITION_EMBEDDING));
    finalNorm = norm(model, 0, Weight.FINAL_NORM_GAIN, Weight.FINAL_NORM_BIAS);
    layers =
        IntStream.range(0, model.layers())
            .mapToObj(
                layer ->
                    new Layer(
                        norm(model, layer, Weight.ATTENTION_NORM_GAIN, Weight.ATTENTION_NORM_BIAS),
                        Affine.joined(
                            affine(model, layer, Weight.QUERY, Weight.QUERY_BIAS),
                            affine(model, layer, Weight.KEY, Weight.KEY_BIAS),
                            affine(model, layer, Weight.VALUE, Weight.VALUE_BIAS)),
                        affine(model, layer, Weight.ATTENTION_OUTPUT, Weight.ATTENTION_OUTPUT_BIAS),
                        norm(model, layer, Weight.MLP_NORM_GAIN, Weight.MLP_NORM_BIAS),
                        affine(model, layer, Weight.MLP_INPUT, Weight.MLP_INPUT_BIAS),
                        affine(model, layer, Weight.MLP_OUTPUT, Weight.MLP_OUTPUT_BIAS)))
            .toArray(Layer[]::new);
  }

  private Norm norm(Transformer model, int layer, Weight gain, Weight bias) {
    return new Norm(array(model, layer, gain), array(model, layer, bias));
  }

  @Override
  Optional<NDArray> positions() {
    return Optional.of(positions);
  }

  @Override
  Affine headOutput(int layer) {
    return layers[layer].headOutput();
  }

  @Override
  Affine neuronOutput(int layer) {
    return layers[layer].neuronOutput();
  }

  @Override
  NDArray finalNormed(NDArray x) {
    return norm(finalNorm, x);
  }

  private NDArray norm(Norm norm, NDArray x) {
    return LayerNorm.layerNorm(x, normalised, norm.gain(), norm.bias(), epsilon).singletonOrThrow();
  }

  @Override
  NDArray infer(int index, NDArray x) {
    Layer layer = layers[index];
    NDList parts = layer.queryKeyValue().apply(norm(layer.attentionNorm(), x)).split(3, 1);
    NDArray q = byHead(parts.get(0), heads());
    NDArray k = byHead(parts.get(1), heads());
    NDArray v = byHead(parts.get(2), heads());
    NDArray merged = merged(mixed(inferredPattern(q, k), v));
    NDArray middle = layer.headOutput().apply(merged).addi(x);
    NDArray pre = layer.neurons().apply(norm(layer.mlpNorm(), middle));
    NDArray inner = pre.square().muli(GELU_SCALE * GELU_CUBIC).addi(GELU_SCALE).muli(pre);
    NDArray activation = Activation.sigmoid(inner).muli(pre);
    return layer.neuronOutput().apply(activation).addi(middle);
  }

  @Override
  NDArray record(int index, NDArray x, Kept kept) {
    Layer layer = layers[index];
    NDList parts = layer.queryKeyValue().apply(norm(layer.attentionNorm(), x)).split(3, 1);
    NDArray q = kept.withGradient(Site.QUERY, byHead(parts.get(0), heads()));
    NDArray k = kept.withGradient(Site.KEY, byHead(parts.get(1), heads()));
    NDArray v = kept.withGradient(Site.VALUE, byHead(parts.get(2), heads()));
    NDArray pattern = kept.withGradient(Site.PATTERN, pattern(q, k));
    NDArray merged = merged(kept.withGradient(Site.HEAD_OUTPUT, mixed(pattern, v)));
    NDArray attended = layer.headOutput().apply(merged).add(x);
    NDArray middle = kept.withGradient(Site.RESIDUAL_AFTER_ATTENTION, attended);
    NDArray computed = layer.neurons().apply(norm(layer.mlpNorm(), middle));
    NDArray pre = kept.withGradient(Site.MLP_PRE_ACTIVATION, computed);
    NDArray activation = kept.withGradient(Site.MLP_ACTIVATION, gelu(pre));
    NDArray written = layer.neuronOutput().apply(activation).add(middle);
    return kept.withGradient(Site.RESIDUAL_AFTER_MLP, written);
  }

  private static NDArray gelu(NDArray x) {
    NDArray inner = x.square().mul(GELU_SCALE * GELU_CUBIC).add(GELU_SCALE).mul(x);
    return Activation.sigmoid(inner).mul(x);
  }

  @Override
  NDArray neuron(NDManager owner, int index, NDArray row, int neuron) {
    Layer layer = layers[index];
    NDArray centred = row.sub(row.mean());
    NDArray scale = centred.square().mean().add(epsilon).sqrt().stopGradient();
    NDArray read = centred.div(scale).mul(layer.mlpNorm().gain()).add(layer.mlpNorm().bias());
    NDArray bias = layer.neurons().bias().orElseThrow().get(owner, neuron);
    return gelu(read.mul(layer.neurons().row(owner, neuron)).sum().add(bias));
  }
}

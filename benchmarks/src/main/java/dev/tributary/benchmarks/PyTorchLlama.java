package dev.tributary.benchmarks;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.nn.Activation;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.Weight;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Models of Llama's family: one linear map to queries, keys and values, queries and keys turned
 * together, heads that share a key head in one product. DJL has no RMS norm.
 */
final class PyTorchLlama extends PyTorchModel {
  private static final int[] LAST = {-1};

  private final NDArray cosine;

  /** Negative where what is turned away from is subtracted. */
  private final NDArray sine;

  private final NDArray finalGain;
  private final Layer[] layers;

  private record Layer(
      NDArray attentionGain,
      Affine queryKeyValue,
      Affine headOutput,
      NDArray mlpGain,
      Affine gate,
      Affine up,
      Affine neuronOutput) {}

  PyTorchLlama(Run run) {
    super(run);
    Transformer model = run.model();
    Positions.Rotary rotary =
        (Positions.Rotary) model.config().layers().get(0).attention().positions();
    int pairs = rotary.frequencies().size();
    float[] cosines = new float[tokens * 2 * pairs];
    float[] sines = new float[cosines.length];
    for (int i = 0; i < cosines.length; i++) {
      int token = i / (2 * pairs);
      double angle = token * rotary.frequencies().get(i % pairs);
      cosines[i] = (float) Math.cos(angle);
      sines[i] = (float) (i % (2 * pairs) < pairs ? -Math.sin(angle) : Math.sin(angle));
    }
    cosine = array(cosines, tokens, 2L * pairs);
    sine = array(sines, tokens, 2L * pairs);
    finalGain = array(model, 0, Weight.FINAL_NORM_GAIN);
    layers =
        IntStream.range(0, model.layers())
            .mapToObj(
                layer ->
                    new Layer(
                        array(model, layer, Weight.ATTENTION_NORM_GAIN),
                        Affine.joined(
                            affine(model, layer, Weight.QUERY),
                            affine(model, layer, Weight.KEY),
                            affine(model, layer, Weight.VALUE)),
                        affine(model, layer, Weight.ATTENTION_OUTPUT),
                        array(model, layer, Weight.MLP_NORM_GAIN),
                        affine(model, layer, Weight.MLP_INPUT),
                        affine(model, layer, Weight.MLP_UP),
                        affine(model, layer, Weight.MLP_OUTPUT)))
            .toArray(Layer[]::new);
  }

  @Override
  Optional<NDArray> positions() {
    return Optional.empty();
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
    return norm(finalGain, x);
  }

  private NDArray norm(NDArray gain, NDArray x) {
    return x.div(scale(x)).mul(gain);
  }

  private NDArray inferredNorm(NDArray gain, NDArray x) {
    return x.div(scale(x)).muli(gain);
  }

  private NDArray scale(NDArray x) {
    return x.square().mean(LAST, true).add(epsilon).sqrt();
  }

  /** Queries, keys and values of all heads, [head, token, dHead]; queries and keys not turned. */
  private NDList queriesKeysAndValues(Layer layer, NDArray normalised) {
    NDArray all = byHead(layer.queryKeyValue().apply(normalised), heads() + 2 * keyHeads());
    return all.split(new long[] {heads() + keyHeads()}, 0);
  }

  /** The second half of each head, then the first. */
  private static NDArray swapped(NDArray x) {
    NDList halves = x.split(2, 2);
    return halves.get(1).concat(halves.get(0), 2);
  }

  private NDList queriesAndKeys(NDArray turned) {
    return turned.split(new long[] {heads()}, 0);
  }

  @Override
  NDArray infer(int index, NDArray x) {
    Layer layer = layers[index];
    NDList parts = queriesKeysAndValues(layer, inferredNorm(layer.attentionGain(), x));
    NDArray straight = parts.get(0);
    NDList turned = queriesAndKeys(straight.mul(cosine).addi(swapped(straight).muli(sine)));
    NDArray pattern = inferredPattern(turned.get(0), turned.get(1));
    NDArray attended = layer.headOutput().apply(merged(mixed(pattern, parts.get(1))));
    NDArray middle = attended.addi(x);
    NDArray read = inferredNorm(layer.mlpGain(), middle);
    NDArray gate = layer.gate().apply(read);
    NDArray activation = Activation.sigmoid(gate).muli(gate).muli(layer.up().apply(read));
    return layer.neuronOutput().apply(activation).addi(middle);
  }

  @Override
  NDArray record(int index, NDArray x, Kept kept) {
    Layer layer = layers[index];
    NDList parts = queriesKeysAndValues(layer, norm(layer.attentionGain(), x));
    NDArray straight = parts.get(0);
    NDList turned = queriesAndKeys(straight.mul(cosine).add(swapped(straight).mul(sine)));
    NDArray q = kept.value(Site.QUERY, turned.get(0));
    NDArray k = kept.value(Site.KEY, turned.get(1));
    NDArray v = kept.value(Site.VALUE, parts.get(1));
    NDArray pattern = kept.withGradient(Site.PATTERN, pattern(q, k));
    NDArray mixed = kept.value(Site.HEAD_OUTPUT, mixed(pattern, v));
    NDArray attended = layer.headOutput().apply(merged(mixed)).add(x);
    NDArray middle = kept.withGradient(Site.RESIDUAL_AFTER_ATTENTION, attended);
    NDArray read = norm(layer.mlpGain(), middle);
    NDArray gate = kept.value(Site.MLP_PRE_ACTIVATION, layer.gate().apply(read));
    NDArray up = kept.value(Site.MLP_UP, layer.up().apply(read));
    NDArray activation = Activation.sigmoid(gate).mul(gate).mul(up);
    NDArray neurons = kept.withGradient(Site.MLP_ACTIVATION, activation);
    NDArray written = layer.neuronOutput().apply(neurons).add(middle);
    return kept.withGradient(Site.RESIDUAL_AFTER_MLP, written);
  }

  @Override
  NDArray neuron(NDManager owner, int index, NDArray row, int neuron) {
    Layer layer = layers[index];
    NDArray read = row.div(scale(row).stopGradient()).mul(layer.mlpGain());
    NDArray gate = read.mul(layer.gate().row(owner, neuron)).sum();
    NDArray up = read.mul(layer.up().row(owner, neuron)).sum();
    return Activation.sigmoid(gate).mul(gate).mul(up);
  }
}

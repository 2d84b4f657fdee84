package dev.tributary.attribution.dataset;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/**
 * Gradients of a metric at the copies of the residual stream that readers have, everything after
 * them live. One pull gives those at what each part makes of its copies; from there they are pulled
 * through the part's own maps and norm, reader by reader. Lives in the scope in which it was made.
 */
final class ReaderGradients {
  private final Run run;

  /** At the outputs of heads, of each layer, [head, token, dHead]. */
  private final List<Tensor> atHeads;

  /** At neurons, of each layer, [token, neuron]. */
  private final List<Tensor> atNeurons;

  /** At the last point of the stream, [token, dModel]. */
  private final Tensor atEnd;

  private ReaderGradients(Run run, List<Tensor> atHeads, List<Tensor> atNeurons, Tensor atEnd) {
    this.run = run;
    this.atHeads = atHeads;
    this.atNeurons = atNeurons;
    this.atEnd = atEnd;
  }

  /** What a run has to record, with derivatives. */
  static Set<Site> sites() {
    Set<Site> sites =
        EnumSet.of(
            Site.QUERY,
            Site.KEY,
            Site.VALUE,
            Site.RESIDUAL_AFTER_ATTENTION,
            Site.MLP_PRE_ACTIVATION,
            Site.MLP_UP,
            Site.MLP_ACTIVATION,
            Site.RESIDUAL_AFTER_MLP,
            Site.FINAL_NORMALISED);
    sites.addAll(StreamWriter.sites());
    return sites;
  }

  static ReaderGradients of(Run run, Function<Run, Variable> metric) {
    int layers = run.model().layers();
    List<Variable> inputs = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      inputs.add(run.variable(Site.HEAD_OUTPUT, layer));
    }
    for (int layer = 0; layer < layers; layer++) {
      inputs.add(run.variable(Site.MLP_ACTIVATION, layer));
    }
    inputs.add(run.residual(run.model().end()));
    List<Tensor> pulled = Jacobian.of(metric.apply(run), inputs).gradient();
    return new ReaderGradients(
        run, pulled.subList(0, layers), pulled.subList(layers, 2 * layers), pulled.get(2 * layers));
  }

  /** Of the output of each head of a layer, [head, token, dHead]. */
  Tensor atHeads(int layer) {
    return atHeads.get(layer);
  }

  /** Takes gradients of readers that follow each other. */
  @FunctionalInterface
  private interface Sink {
    /**
     * Of some readers.
     *
     * @param first the number of the first
     * @param gradients [reader, token, dModel]
     */
    void take(int first, Tensor gradients);
  }

  /**
   * Products with what sources write.
   *
   * @param writes of some sources that follow each other, [source, token, dModel]
   * @param first the number of the first of them
   * @return [source][reader]; 0 where there is no edge
   */
  double[][] products(ComponentGraph graph, Tensor writes, int first) {
    int count = writes.shape().size(0);
    double[][] products = new double[count][graph.readers().size()];
    int length = writes.shape().size(1) * writes.shape().size(2);
    forEach(
        graph,
        first,
        (reader, gradients) -> {
          int before = Math.min(count, graph.before(reader) - first);
          int readers = gradients.shape().size(0);
          double[] all =
              writes
                  .slice(0, 0, before)
                  .reshape(before, length)
                  .matmulTransposed(gradients.reshape(readers, length))
                  .toDoubles();
          for (int i = 0; i < all.length; i++) {
            products[i / readers][reader + i % readers] = all[i];
          }
        });
    return products;
  }

  /** Of all readers after a source, some at a time. */
  private void forEach(ComponentGraph graph, int source, Sink sink) {
    int reader = 0;
    while (reader < graph.readers().size()) {
      try (Scope scope = Scope.open()) {
        StreamReader first = graph.readers().get(reader);
        boolean isBefore = graph.before(reader) <= source;
        int layer = first.layer();
        if (first instanceof StreamReader.Head) {
          if (!isBefore) {
            sink.take(reader, ofAttention(layer));
          }
          reader += StreamReader.Head.PATHS.size() * run.model().attention(layer).heads();
        } else {
          if (!isBefore) {
            sink.take(reader, first instanceof StreamReader.OfMlp ? ofMlp(layer) : one(atEnd));
          }
          reader++;
        }
      }
    }
  }

  private static Tensor one(Tensor tensor) {
    return tensor.reshape(tensor.shape().prepend(1));
  }

  private Tensor ofMlp(int layer) {
    Mlp mlp = run.model().mlp(layer);
    Variable residual = copy(mlp);
    Variable neurons =
        mlp.neurons(mlp.normalised(residual, ScaleGradient.LIVE), InputPath.ALL, run, 0);
    return Jacobian.of(neurons, residual).pull(one(atNeurons.get(layer))).get(0);
  }

  private Variable copy(Part part) {
    return Variable.input(run.residual(part.reads()).value());
  }

  /** Of queries of all heads, then of keys and values, [reader, token, dModel]. */
  private Tensor ofAttention(int layer) {
    Attention attention = run.model().attention(layer);
    Variable residual = copy(attention);
    Variable normalised = attention.normalised(residual, ScaleGradient.LIVE);
    List<Tensor> atInputs = atInputs(run, layer, atHeads.get(layer));
    List<Tensor> each = new ArrayList<>();
    for (int i = 0; i < atInputs.size(); i++) {
      InputPath path = StreamReader.Head.PATHS.get(i);
      each.add(attention.pulledByHead(path, normalised.value(), atInputs.get(i)));
    }
    return Jacobian.of(normalised, residual).pull(Tensor.concat(0, each)).get(0);
  }

  /**
   * At queries, keys and values of each head, [head, token, dHead], also where heads share keys.
   */
  static List<Tensor> atInputs(Run run, int layer, Tensor atHeads) {
    Attention attention = run.model().attention(layer);
    Variable q = Variable.input(run.value(Site.QUERY, layer));
    Variable k = Variable.input(attention.perHead(run.value(Site.KEY, layer)));
    Variable v = Variable.input(attention.perHead(run.value(Site.VALUE, layer)));
    Variable output = attention.headOutput(attention.pattern(attention.scores(q, k, 0), 0), v);
    Shape one = q.shape();
    return Jacobian.of(output, q, k, v).pull(one(atHeads)).stream()
        .map(pulled -> pulled.reshape(one))
        .toList();
  }
}

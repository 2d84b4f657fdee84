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
import dev.tributary.transformer.Tokens;
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

  /** At what the MLP of each layer computes from, [token, dModel]. */
  private final List<Tensor> atMlps;

  /** At the last point of the stream, [token, dModel]. */
  private final Tensor atEnd;

  private ReaderGradients(Run run, List<Tensor> atHeads, List<Tensor> atMlps, Tensor atEnd) {
    this.run = run;
    this.atHeads = atHeads;
    this.atMlps = atMlps;
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
            Site.MLP_INPUT,
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
      inputs.add(run.variable(Site.MLP_INPUT, layer));
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

  /**
   * Products with what sources write.
   *
   * @param writes of some sources that follow each other, [token, source, dModel]
   * @param first the number of the first of them
   * @return by prompt, [{@link ComponentGraph#write}][reader], of these sources; 0 where there is
   *     no edge
   */
  List<double[][]> products(ComponentGraph graph, Tensor writes, int first) {
    List<double[][]> products = new ArrayList<>();
    int sources = writes.shape().size(1);
    int readers = graph.readers().size();
    int spans = graph.spans().size();
    for (int prompt = 0; prompt < run.prompts(); prompt++) {
      products.add(new double[sources * spans][readers]);
    }
    for (int reader = 0; reader < readers; ) {
      int end = end(graph, reader);
      int before = Math.min(sources, graph.before(end - 1) - first);
      if (before > 0) {
        try (Scope scope = Scope.open()) {
          Tensor own = products(graph, writes.slice(1, 0, before), reader, end);
          int count = end - reader;
          for (int span = 0; span < spans; span++) {
            double[] sums = sums(own, graph.spans().get(span));
            for (int i = 0; i < sums.length; i++) {
              int to = reader + i % count;
              int source = i / count % before;
              if (first + source < graph.before(to)) {
                products.get(i / count / before)[source * spans + span][to] = sums[i];
              }
            }
          }
        }
      }
      reader = end;
    }
    return products;
  }

  /** After an MLP and the heads of the next layer, or the logits: these read nearly the same. */
  private int end(ComponentGraph graph, int reader) {
    StreamReader one = graph.readers().get(reader);
    int next = one instanceof StreamReader.OfMlp ? reader + 1 : reader;
    return graph.readers().get(next) instanceof StreamReader.Head head
        ? next + StreamReader.Head.PATHS.size() * run.model().attention(head.layer()).heads()
        : next + 1;
  }

  /** Over some tokens, of each prompt, source and reader; of [token, source, reader]. */
  private double[] sums(Tensor products, Tokens tokens) {
    Tensor byPrompt =
        products.reshape(
            run.prompts(), run.length(), products.shape().size(1) * products.shape().size(2));
    return PairRuns.at(byPrompt, 1, tokens).sum(1).toDoubles();
  }

  /** At each token, [token, source, reader]. */
  private Tensor products(ComponentGraph graph, Tensor writes, int reader, int end) {
    StreamReader last = graph.readers().get(end - 1);
    List<Tensor> gradients = new ArrayList<>();
    if (graph.readers().get(reader) instanceof StreamReader.OfMlp mlp) {
      gradients.add(second(ofMlp(mlp.layer())));
    }
    if (last instanceof StreamReader.Head) {
      gradients.addAll(ofHeads(last.layer()));
    } else {
      gradients.add(second(atEnd));
    }
    return products(writes, gradients, last);
  }

  private Tensor products(Tensor writes, List<Tensor> gradients, StreamReader last) {
    if (!(last instanceof StreamReader.Head head)
        || run.model().attention(head.layer()).entry().isEmpty()) {
      return writes.matmulTransposed(Tensor.concat(1, gradients));
    }
    Attention attention = run.model().attention(head.layer());
    Tensor rows = second(attention.entry().get().standardised(read(attention)));
    List<Tensor> withRows = new ArrayList<>(gradients);
    withRows.add(rows);
    Tensor all = Tensor.concat(1, withRows);
    int readers = all.shape().size(1) - 1;
    int whole = gradients.size() - StreamReader.Head.PATHS.size();
    Tensor overlaps = rows.matmulTransposed(all).slice(2, whole, readers).pad(2, whole, readers);
    Tensor products = writes.matmulTransposed(all);
    Tensor along = products.slice(2, readers, readers + 1).times(1.0 / all.shape().size(2));
    return products.slice(2, 0, readers).minus(along.times(overlaps));
  }

  /** Rows with one reader each, [token, 1, dModel]. */
  private static Tensor second(Tensor rows) {
    return rows.reshape(rows.shape().size(0), 1, rows.shape().size(1));
  }

  private Tensor read(Part part) {
    return run.residual(part.reads()).value();
  }

  private Tensor ofMlp(int layer) {
    Mlp mlp = run.model().mlp(layer);
    Tensor gradient = atMlps.get(layer);
    return mlp.entry()
        .map(norm -> norm.pulled(read(mlp), gradient, ScaleGradient.LIVE))
        .orElse(gradient);
  }

  /**
   * Of queries of all heads, of keys and of values, each [token, head, dModel]; where these read
   * through a norm, with its scale held: what is left is -⟨gradient, row⟩ / dModel along each
   * standardised row.
   */
  private List<Tensor> ofHeads(int layer) {
    Attention attention = run.model().attention(layer);
    Tensor x = attention.normalised(Variable.constant(read(attention)), ScaleGradient.LIVE).value();
    List<Tensor> atInputs = atInputs(run, layer, atHeads.get(layer));
    List<Tensor> each = new ArrayList<>();
    for (int i = 0; i < atInputs.size(); i++) {
      Tensor own = atInputs.get(i);
      if (attention.entry().isPresent()) {
        own = own.over(attention.entry().get().scale(read(attention)));
      }
      InputPath path = StreamReader.Head.PATHS.get(i);
      each.add(attention.directions(path, x, run.prompts(), own).permute(1, 0, 2));
    }
    return each;
  }

  /**
   * At queries, keys and values of each head, [head, token, dHead], also where heads share keys.
   */
  static List<Tensor> atInputs(Run run, int layer, Tensor atHeads) {
    Attention attention = run.model().attention(layer);
    Variable q = Variable.input(run.value(Site.QUERY, layer));
    Variable k = Variable.input(attention.perHead(run.value(Site.KEY, layer)));
    Variable v = Variable.input(attention.perHead(run.value(Site.VALUE, layer)));
    Variable output = attention.headOutput(run.prompts(), q, k, v);
    Shape one = q.shape();
    return Jacobian.of(output, q, k, v).pull(atHeads.reshape(one.prepend(1))).stream()
        .map(pulled -> pulled.reshape(one))
        .toList();
  }
}

package dev.tributary.attribution.dataset;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Products;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.MlpSplit;
import dev.tributary.transformer.Norm;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/**
 * Gradients of a metric at the copies of the residual stream that readers have, everything after
 * them live. One pull gives those at what each part makes of its copies; from there they are pulled
 * through the part's own maps and norm, reader by reader. Lives in the scope in which it was made.
 */
final class ReaderGradients {
  /** What a run has to record, with derivatives. */
  static final Set<Site> SITES =
      EnumSet.of(
          Site.QUERY,
          Site.KEY,
          Site.VALUE,
          Site.RESIDUAL_AFTER_ATTENTION,
          Site.MLP_INPUT,
          Site.RESIDUAL_AFTER_MLP,
          Site.FINAL_NORMALISED);

  static {
    SITES.addAll(StreamWriter.sites());
  }

  private final Run run;
  private final ComponentGraph graph;

  /** At the outputs of heads, of each layer, [head, token, dHead]. */
  private final List<Tensor> atHeads;

  /** At queries, keys and values of each layer, [head or key head, token, dHead]. */
  private final List<List<Tensor>> atInputs;

  /** At what the MLP of each layer computes from, [token, dModel]. */
  private final List<Tensor> atMlps;

  /** At activations of shares of the MLP of each layer that are apart. */
  private final List<List<AtShares>> atShares;

  /** At the last point of the stream, [token, dModel]. */
  private final Tensor atEnd;

  /**
   * At activations of some shares.
   *
   * @param apart which
   * @param activations at theirs, [token, share]
   * @param inRest at those that are taken off the rest, [token, share]
   */
  private record AtShares(MlpSplit.Apart apart, Tensor activations, Tensor inRest) {}

  private ReaderGradients(
      Run run,
      ComponentGraph graph,
      List<Tensor> atHeads,
      List<List<Tensor>> atInputs,
      List<Tensor> atMlps,
      List<List<AtShares>> atShares,
      Tensor atEnd) {
    this.run = run;
    this.graph = graph;
    this.atHeads = atHeads;
    this.atInputs = atInputs;
    this.atMlps = atMlps;
    this.atShares = atShares;
    this.atEnd = atEnd;
  }

  static ReaderGradients of(Run run, ComponentGraph graph, Function<Run, Variable> metric) {
    List<Site> each =
        List.of(Site.HEAD_OUTPUT, Site.QUERY, Site.KEY, Site.VALUE, Site.MLP_INPUT); // in order
    List<Variable> inputs = new ArrayList<>();
    for (int layer = 0; layer < run.model().layers(); layer++) {
      for (Site site : each) {
        inputs.add(run.variable(site, layer));
      }
    }
    inputs.add(run.residual(run.model().end()));
    int end = inputs.size() - 1;
    for (int layer = 0; layer < run.model().layers(); layer++) {
      for (MlpSplit.Apart apart : run.apart(layer)) {
        inputs.addAll(List.of(apart.activations(), apart.inRest()));
      }
    }
    List<Tensor> pulled = Jacobian.of(metric.apply(run), inputs).gradient();
    List<Tensor> atHeads = new ArrayList<>();
    List<List<Tensor>> atInputs = new ArrayList<>();
    List<Tensor> atMlps = new ArrayList<>();
    for (int at = 0; at < end; at += each.size()) {
      atHeads.add(pulled.get(at));
      atInputs.add(pulled.subList(at + 1, at + 4));
      atMlps.add(pulled.get(at + 4));
    }
    Iterator<Tensor> more = pulled.subList(end + 1, pulled.size()).iterator();
    List<List<AtShares>> atShares = new ArrayList<>();
    for (int layer = 0; layer < run.model().layers(); layer++) {
      List<AtShares> own = new ArrayList<>();
      for (MlpSplit.Apart apart : run.apart(layer)) {
        own.add(new AtShares(apart, more.next(), more.next()));
      }
      atShares.add(own);
    }
    return new ReaderGradients(run, graph, atHeads, atInputs, atMlps, atShares, pulled.get(end));
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
  List<double[][]> products(Tensor writes, int first) {
    List<double[][]> products = new ArrayList<>();
    int sources = writes.shape().size(1);
    int readers = graph.readers().size();
    int spans = graph.spans().size();
    for (int prompt = 0; prompt < run.prompts(); prompt++) {
      products.add(new double[sources * spans][readers]);
    }
    for (int reader = 0; reader < readers; ) {
      int end = end(reader);
      int before = Math.min(sources, graph.before(end - 1) - first);
      if (before > 0) {
        try (Scope scope = Scope.open()) {
          ByToken own = products(writes.leadingRows(before), reader, end);
          int count = end - reader;
          for (int span = 0; span < spans; span++) {
            double[] sums = own.sums(graph.spans().get(span));
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
  private int end(int reader) {
    int next = reader;
    while (graph.readers().get(next) instanceof StreamReader.OfMlp
        || graph.readers().get(next) instanceof StreamReader.OfShare) {
      next++;
    }
    return graph.readers().get(next) instanceof StreamReader.Head head
        ? next + StreamReader.Head.PATHS.size() * run.model().attention(head.layer()).heads()
        : next + 1;
  }

  private ByToken products(Tensor writes, int reader, int end) {
    List<Products> gradients = new ArrayList<>();
    int whole = 0; // as many of the readers have nothing to be taken off
    if (graph.readers().get(reader) instanceof StreamReader.OfMlp mlp) {
      gradients.addAll(ofMlp(mlp));
      whole = 1 + mlp.without().size();
    }
    if (!(graph.readers().get(end - 1) instanceof StreamReader.Head head)) {
      gradients.add(alone(atEnd));
      return ByToken.of(run, writes.matmulTransposed(Tensor.byRow(gradients)));
    }
    Attention attention = run.model().attention(head.layer());
    if (attention.entry().isEmpty()) {
      gradients.addAll(ofHeads(attention, atInputs(attention)));
      return ByToken.of(run, writes.matmulTransposed(Tensor.byRow(gradients)));
    }
    Norm.Standardised read = attention.entry().get().standardise(read(attention));
    gradients.addAll(
        ofHeads(attention, atInputs(attention).stream().map(g -> g.over(read.scale())).toList()));
    gradients.add(alone(read.rows()));
    Tensor all = Tensor.byRow(gradients);
    int readers = all.shape().size(1) - 1;
    Tensor overlaps =
        second(read.rows())
            .matmulTransposed(all)
            .slice(2, whole, readers)
            .pad(2, whole, readers)
            .times(1.0 / all.shape().size(2));
    return ByToken.of(run, writes.matmulTransposed(all)).without(overlaps);
  }

  /**
   * Products of writes with gradients at each token.
   *
   * @param products [prompt, token, source, reader]
   * @param along of writes with the standardised rows that the scale of a norm moves along,
   *     [prompt, token, source]
   * @param overlaps times which each of these is to be taken off, [prompt, token, reader]
   */
  private record ByToken(Tensor products, List<Tensor> along, List<Tensor> overlaps) {
    static ByToken of(Run run, Tensor products) {
      Shape each = products.shape().subShape(1, 3);
      return new ByToken(
          products.reshape(each.prepend(run.prompts(), run.length())), List.of(), List.of());
    }

    /** Where the last reader is the standardised row. */
    ByToken without(Tensor overlaps) {
      Shape shape = products.shape();
      int readers = shape.size(3) - 1;
      return new ByToken(
          products.slice(3, 0, readers),
          List.of(products.slice(3, readers, readers + 1).reshape(shape.subShape(0, 3))),
          List.of(overlaps.reshape(shape.size(0), shape.size(1), readers)));
    }

    /** Over some tokens, of each prompt, source and reader. */
    double[] sums(Tokens tokens) {
      Shape shape = products.shape();
      Tensor flat = products.reshape(shape.size(0), shape.size(1), shape.size(2) * shape.size(3));
      Tensor sums =
          PairRuns.at(flat, 1, tokens).sum(1).reshape(shape.size(0), shape.size(2), shape.size(3));
      for (int i = 0; i < along.size(); i++) {
        Tensor own = PairRuns.at(along.get(i), 1, tokens);
        sums = sums.minus(own.transposedMatmul(PairRuns.at(overlaps.get(i), 1, tokens)));
      }
      return sums.toDoubles();
    }
  }

  /** Rows of one reader. */
  private static Products alone(Tensor rows) {
    return Products.of(rows.reshape(rows.shape().prepend(1)));
  }

  /** Rows with one reader each, [token, 1, dModel]. */
  private static Tensor second(Tensor rows) {
    return rows.reshape(rows.shape().size(0), 1, rows.shape().size(1));
  }

  private Tensor read(Part part) {
    return run.residual(part.reads()).value();
  }

  /** Of an MLP, or of the rest of it and of each share, [reader, token, dModel]. */
  private List<Products> ofMlp(StreamReader.OfMlp reader) {
    Mlp mlp = run.model().mlp(reader.layer());
    Tensor all = read(mlp, atMlps.get(reader.layer()));
    if (reader.without().isEmpty()) {
      return List.of(alone(all));
    }
    Tensor ofRest = all.reshape(all.shape().prepend(1));
    List<Products> each = new ArrayList<>();
    for (AtShares at : atShares.get(reader.layer())) {
      ofRest = ofRest.plus(at.apart.pulledInRest(run, at.inRest));
      each.add(Products.of(at.apart.pulled(run, at.activations)));
    }
    each.add(0, Products.of(ofRest));
    return each;
  }

  /** Gradients at what an MLP computes from as those at the stream that it reads. */
  private Tensor read(Mlp mlp, Tensor gradients) {
    return mlp.entry()
        .map(norm -> norm.pulled(read(mlp), gradients, ScaleGradient.LIVE))
        .orElse(gradients);
  }

  /** Of queries of all heads, of keys and of values, each [head, token, dModel]. */
  private List<Products> ofHeads(Attention attention, List<Tensor> atInputs) {
    List<Products> each = new ArrayList<>();
    for (int i = 0; i < atInputs.size(); i++) {
      each.add(attention.directions(StreamReader.Head.PATHS.get(i), run, atInputs.get(i)));
    }
    return each;
  }

  /** At queries, keys and values of each head, [head, token, dHead]. */
  private List<Tensor> atInputs(Attention attention) {
    int layer = attention.layer();
    return attention.heads() == attention.keyHeads()
        ? atInputs.get(layer)
        : atInputs(run, layer, atHeads.get(layer));
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

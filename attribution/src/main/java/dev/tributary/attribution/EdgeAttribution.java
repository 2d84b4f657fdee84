package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node.Bias;
import dev.tributary.attribution.Node.BiasPart;
import dev.tributary.attribution.Node.Direction;
import dev.tributary.attribution.Node.Explained;
import dev.tributary.attribution.Node.HeadInput;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Logit;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.PreBias;
import dev.tributary.attribution.Node.ReconstructionError;
import dev.tributary.attribution.Node.Source;
import dev.tributary.attribution.Node.Target;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Jacobian.Pushed;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.AttentionPath;
import dev.tributary.transformer.Block;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Linear;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;

/**
 * How much of a node's attribution arrived from which other node.
 *
 * <p>The attribution F of a target is its activation times the metric's gradient at that
 * activation, as a function of the residual stream r that its layer reads, the gradient held fixed.
 * The edge from a source that writes w is the derivative of F along w:
 *
 * <ul>
 *   <li>{@link #into}: many sources into one target, dF/dr pulled once and multiplied with every
 *       write;
 *   <li>{@link #outOf}: one source out to many targets, w pushed once through each block.
 * </ul>
 *
 * <p>Only what the target reads of r, and what the source changes, is computed again: rows of r and
 * slices of weights, not layers. Rows of targets: a neuron and a value read one token, a query its
 * own while the keys are held fixed, a key all tokens up to its query (they share the softmax), a
 * latent of attention outputs all tokens up to its own.
 *
 * @see <a href="https://arxiv.org/abs/2310.10348">Syed et al. 2023, eq. 2</a>
 */
public final class EdgeAttribution {
  /** A push goes through all layers, a pull through what one target reads. */
  private static final int PULLS_OF_A_PUSH = 256;

  private final NodeAttribution nodes;
  private final Run run;
  private final ScaleGradient scaleGradient;
  private final EdgeMeasure measure;

  private EdgeAttribution(NodeAttribution nodes, ScaleGradient scaleGradient, EdgeMeasure measure) {
    this.nodes = nodes;
    this.run = nodes.run();
    run.requireComputed();
    this.scaleGradient = scaleGradient;
    this.measure = measure;
  }

  /**
   * {@return the edges among the nodes of a run, as parts of attributions}
   *
   * @param nodes of a run, with the gradients of a metric
   * @param scaleGradient whether the scale of the layer norm through which a target reads is seen
   *     to move
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public static EdgeAttribution of(NodeAttribution nodes, ScaleGradient scaleGradient) {
    return of(nodes, scaleGradient, EdgeMeasure.ATTRIBUTION);
  }

  /**
   * {@return the edges among the nodes of a run, as parts of attributions or of activations}
   *
   * @param nodes of a run, with the gradients of a metric
   * @param scaleGradient as in {@link #of(NodeAttribution, ScaleGradient)}
   * @param measure what an edge is a part of
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public static EdgeAttribution of(
      NodeAttribution nodes, ScaleGradient scaleGradient, EdgeMeasure measure) {
    return new EdgeAttribution(nodes, scaleGradient, measure);
  }

  /** Ends work on many edges. Whoever called it finds the thread still interrupted. */
  static void requireNotInterrupted(String work) {
    if (Thread.currentThread().isInterrupted()) {
      throw new CancellationException(work + " was interrupted");
    }
  }

  /** The nodes whose edges they are. */
  NodeAttribution nodes() {
    return nodes;
  }

  /** Whether the scale of the layer norm through which a target reads is seen to move. */
  ScaleGradient scaleGradient() {
    return scaleGradient;
  }

  /** What an edge is a part of. */
  EdgeMeasure measure() {
    return measure;
  }

  /**
   * What targets at a site are multiplied with: the gradient there, held fixed, for parts of
   * attributions, ones for parts of activations; of the site's shape.
   */
  Tensor weights(Site site, int layer) {
    Tensor gradient = nodes.gradient(site, layer);
    return measure == EdgeMeasure.ATTRIBUTION
        ? gradient
        : Tensor.full(gradient.dtype(), gradient.shape(), 1);
  }

  // ---- many sources into one target --------------------------------------------------------

  /**
   * Edges from every source to one target: one pull.
   *
   * @param target what reads
   * @return a number for every source; exact zeros where none reaches the target
   * @throws IllegalArgumentException if the run has no such node
   */
  public EdgeScores into(Target target) {
    try (Scope scope = Scope.open()) {
      return nodes.writes().dot(gradient(target)).keptBy(scope);
    }
  }

  /**
   * {@return the edge between two nodes}
   *
   * @param source what writes
   * @param target what reads
   * @throws IllegalArgumentException if the run has no such node, or the source writes after the
   *     target has read
   */
  public double between(Source source, Target target) {
    return between(List.of(source), List.of(target)).get(0, 0);
  }

  /**
   * {@return the edge between two nodes by one push along the write of the source, where {@link
   * #between(Source, Target)} pulls from the target}
   *
   * @param source what writes
   * @param target what reads
   * @throws IllegalArgumentException as there
   */
  public double pushed(Source source, Target target) {
    source.requireIn(run);
    target.requireIn(run);
    requireDownstream(source, target);
    try (Scope scope = Scope.open()) {
      Reading reading = reading(target);
      boolean reads = source.token() >= reading.firstToken() && source.token() < reading.endToken();
      return reads
          ? reading.push(run, source.token(), nodes.writes().of(source), scaleGradient(target))
          : 0;
    }
  }

  /** The metric's own gradient is never detached, unless it is a trace that is. */
  private ScaleGradient scaleGradient(Target target) {
    if (target instanceof Explained) {
      return nodes.metric() instanceof Trace trace ? trace.scaleGradient() : ScaleGradient.LIVE;
    }
    return scaleGradient;
  }

  /**
   * The edges between two sets of nodes, by pulling from every target, neurons of one layer and
   * token together, or, if there are hundreds of targets for each source, by pushing from every
   * source. A source that writes after a target has read, or at a token that the target does not
   * read, has 0.
   *
   * @param sources what writes
   * @param targets what reads
   * @return [source, target]
   * @throws IllegalArgumentException if the run has no such node, or there is one source and one
   *     target and the source writes after the target has read
   */
  public Tensor between(List<Source> sources, List<Target> targets) {
    sources.forEach(source -> source.requireIn(run));
    targets.forEach(target -> target.requireIn(run));
    if (sources.size() == 1 && targets.size() == 1) {
      requireDownstream(sources.get(0), targets.get(0));
    }
    try (Scope scope = Scope.open()) {
      double[] edges = new double[sources.size() * targets.size()];
      boolean pushes =
          (long) sources.size() * PULLS_OF_A_PUSH < targets.size()
              && targets.stream().allMatch(EdgeAttribution::isPushed);
      if (pushes) {
        for (int i = 0; i < sources.size(); i++) {
          try (Scope one = Scope.open()) {
            EdgeScores scores = outOf(sources.get(i));
            for (int j = 0; j < targets.size(); j++) {
              edges[i * targets.size() + j] = scores.of(targets.get(j));
            }
          }
        }
      } else {
        edges = products(sources, gradients(targets));
      }
      return scope.keep(
          Tensor.of(run.model().dtype(), Shape.of(sources.size(), targets.size()), edges));
    }
  }

  /** ⟨write, gradient⟩ of every source and target: a product of matrices for each token. */
  double[] products(List<Source> sources, List<ResidualGradient> gradients) {
    double[] edges = new double[sources.size() * gradients.size()];
    Map<Integer, List<Integer>> byToken = new LinkedHashMap<>();
    for (int i = 0; i < sources.size(); i++) {
      byToken.computeIfAbsent(sources.get(i).token(), token -> new ArrayList<>()).add(i);
    }
    int dModel = run.model().config().dModel();
    byToken.forEach(
        (token, writing) -> {
          int[] reading =
              IntStream.range(0, gradients.size())
                  .filter(j -> gradients.get(j).reads(token))
                  .toArray();
          if (reading.length == 0) {
            return;
          }
          try (Scope scope = Scope.open()) {
            Tensor writes =
                Tensor.concat(
                    0,
                    writing.stream()
                        .map(i -> nodes.writes().of(sources.get(i)).reshape(1, dModel))
                        .toList());
            Tensor rows =
                Tensor.concat(
                    0, Arrays.stream(reading).mapToObj(j -> gradients.get(j).row(token)).toList());
            double[] products = writes.matmulTransposed(rows).toDoubles();
            for (int at = 0; at < products.length; at++) {
              int i = writing.get(at / reading.length);
              int j = reading[at % reading.length];
              if (sources.get(i).block() <= gradients.get(j).afterBlock()) {
                edges[i * gradients.size() + j] = products[at];
              }
            }
          }
        });
    return edges;
  }

  /** Of every target; neurons of one layer and token are pulled together. */
  private List<ResidualGradient> gradients(List<Target> targets) {
    Map<List<Integer>, List<Neuron>> blocks = new LinkedHashMap<>();
    for (Target target : targets) {
      if (target instanceof Neuron n) {
        blocks.computeIfAbsent(List.of(n.layer(), n.token()), place -> new ArrayList<>()).add(n);
      }
    }
    Map<Target, ResidualGradient> found = new HashMap<>();
    blocks.values().forEach(block -> found.putAll(gradientsOfBlock(block)));
    List<ResidualGradient> result = new ArrayList<>();
    for (Target target : targets) {
      result.add(found.computeIfAbsent(target, this::gradient));
    }
    return result;
  }

  /** Of neurons of one layer and token: as many directions of one pull. */
  private Map<Neuron, ResidualGradient> gradientsOfBlock(List<Neuron> neurons) {
    int layer = neurons.get(0).layer();
    int token = neurons.get(0).token();
    int count = neurons.size();
    Tensor gradient = nodes.gradient(Site.MLP_ACTIVATION, layer);
    double[] weights = new double[count * count];
    for (int i = 0; i < count; i++) {
      weights[i * count + i] = weight(gradient, token, neurons.get(i).neuron());
    }
    Block block = run.model().block(layer);
    Variable rows = Variable.input(row(run.residualAfter(2 * layer + 1).value(), 0, token));
    Linear input = block.mlp().input().columns(neurons.stream().mapToInt(Neuron::neuron).toArray());
    Variable activations =
        block.mlp().activation().apply(input.apply(block.mlpNorm().apply(rows, scaleGradient)));
    Tensor directions = Tensor.of(run.model().dtype(), Shape.of(count, 1, count), weights);
    Tensor pulled = Jacobian.of(activations, rows).pull(directions).get(0);
    Map<Neuron, ResidualGradient> result = new HashMap<>();
    for (int i = 0; i < count; i++) {
      Tensor own = pulled.slice(0, i, i + 1).reshape(1, pulled.shape().size(-1));
      result.put(neurons.get(i), new ResidualGradient(2 * layer + 1, token, own));
    }
    return result;
  }

  /** Whether {@link #outOf} answers for a target. */
  private static boolean isPushed(Node node) {
    return node instanceof Target && !(node instanceof Logit || node instanceof Direction);
  }

  private void requireDownstream(Source source, Target target) {
    requireArgument(
        source.block() <= reading(target).afterBlock(),
        "no edge from %s to %s: the source writes after the target has read",
        source,
        target);
  }

  /**
   * How a target reads the residual stream: the gradient of its attribution there.
   *
   * @param target what reads
   * @return the gradient, at the residual stream that it reads
   * @throws IllegalArgumentException if the run has no such node
   */
  public ResidualGradient gradient(Target target) {
    target.requireIn(run);
    if (target instanceof Explained) {
      return nodes.residualGradient();
    }
    return reading(target).gradient(run, scaleGradient);
  }

  /** What a target computes from the residual stream, times what its gradient is held at. */
  Reading reading(Target target) {
    if (target instanceof Neuron neuron) {
      Tensor gradient = nodes.gradient(Site.MLP_ACTIVATION, neuron.layer());
      return Reading.neuron(run, neuron, Stage.ACTIVATION)
          .times(weight(gradient, neuron.token(), neuron.neuron()));
    }
    if (target instanceof HeadInput input) {
      HeadPair pair = input.pair();
      if (input.path() == AttentionPath.VALUE) {
        return Reading.value(run, pair, valueDirection(pair));
      }
      Tensor gradient = nodes.gradient(Site.PATTERN, pair.layer());
      return Reading.pattern(run, pair, Set.of(input.path()), Stage.ACTIVATION)
          .times(weight(gradient, pair.head(), pair.query(), pair.key()));
    }
    if (target instanceof Latent latent) {
      Reading reading = Reading.latent(run, latent, Stage.ACTIVATION);
      if (measure == EdgeMeasure.ACTIVATION) {
        return reading;
      }
      Tensor row = row(nodes.gradient(latent.site(), latent.layer()), 0, latent.token());
      SparseAutoencoder autoencoder = run.model().autoencoder(latent.site(), latent.layer());
      Tensor direction = row(autoencoder.decoder(), 0, latent.latent());
      return reading.times(row.times(direction).sum(-1).item());
    }
    if (target instanceof Logit logit) {
      return Metric.logit(logit.token(), logit.word()).reading(run);
    }
    if (target instanceof Direction direction) {
      return Reading.direction(direction);
    }
    return nodes.metric().reading(run);
  }

  private double weight(Tensor gradient, int... index) {
    return measure == EdgeMeasure.ATTRIBUTION ? gradient.get(index) : 1;
  }

  /**
   * Along what a value is read: the metric's gradient, or the direction of what the head writes.
   */
  private Tensor valueDirection(HeadPair pair) {
    if (measure == EdgeMeasure.ATTRIBUTION) {
      Tensor gradient = nodes.gradient(Site.HEAD_OUTPUT, pair.layer());
      return row(row(gradient, 0, pair.head()), 1, pair.query());
    }
    return row(writtenDirections(pair.layer(), pair.key()), 0, pair.head());
  }

  /**
   * For each head, the direction of what it writes of the value of a token, [head, 1, dHead]; 0 for
   * a head that writes nothing.
   */
  Tensor writtenDirections(int layer, int key) {
    Tensor weight = run.model().block(layer).attention().outputWeight();
    Tensor written = row(run.value(Site.VALUE, layer), 1, key).matmul(weight);
    double[] lengths = written.norm(-1).toDoubles();
    Tensor divisors =
        Tensor.of(
            written.dtype(),
            Shape.of(lengths.length, 1, 1),
            Arrays.stream(lengths).map(length -> length == 0 ? 1 : length).toArray());
    return written.matmulTransposed(weight).over(divisors);
  }

  // ---- how far to trust an edge ------------------------------------------------------------

  /**
   * Checks that the edges into a target are complete.
   *
   * @param target what reads
   * @return both sides of the sum
   * @throws IllegalArgumentException if the run has no such node
   */
  public Certificate certify(Target target) {
    try (Scope scope = Scope.open()) {
      ResidualGradient gradient = gradient(target);
      return certificate(gradient, nodes.writes().dot(gradient));
    }
  }

  /** Of the edges from every source along a gradient. */
  Certificate certificate(ResidualGradient gradient, EdgeScores scores) {
    try (Scope scope = Scope.open()) {
      Tensor residual =
          run.residualAfter(gradient.afterBlock())
              .value()
              .slice(0, gradient.firstToken(), gradient.endToken());
      double autoencoders = 0;
      for (SparseAutoencoder autoencoder : run.model().autoencoders()) {
        Site site = autoencoder.site();
        int layer = autoencoder.layer();
        double own = sum(scores, node -> writesAt(site, layer, node), value -> value);
        double encoded = sum(scores, node -> encodes(site, layer, node), value -> value);
        autoencoders = Math.max(autoencoders, Math.abs(own - encoded));
      }
      return new Certificate(
          scores.sum(),
          gradient.rows().times(residual).sumTo(Shape.of()).item(),
          sum(scores, node -> !EdgeScores.isOfAutoencoder(node), Math::abs),
          autoencoders);
    }
  }

  private static double sum(EdgeScores scores, Predicate<Node> kinds, DoubleUnaryOperator of) {
    return EdgeScores.sum(scores.arrays(), kinds, of);
  }

  /** Whether a node of the model is one of those that make up a site. */
  static boolean writesAt(Site site, int layer, Node node) {
    return switch (site) {
      case MLP_ACTIVATION -> node instanceof Neuron n && n.layer() == layer;
      case MLP_OUTPUT ->
          (node instanceof Neuron n && n.layer() == layer)
              || (node instanceof Bias b && b.part() == BiasPart.MLP && b.layer() == layer);
      default ->
          (node instanceof HeadPair p && p.layer() == layer)
              || (node instanceof Bias b && b.part() == BiasPart.ATTENTION && b.layer() == layer);
    };
  }

  static boolean encodes(Site site, int layer, Node node) {
    return (node instanceof Latent l && l.site() == site && l.layer() == layer)
        || (node instanceof ReconstructionError e && e.site() == site && e.layer() == layer)
        || (node instanceof PreBias b && b.site() == site && b.layer() == layer);
  }

  /**
   * Takes what a source writes out of what one target reads, and nothing else: what the target
   * loses against what the edge predicted, and what that does to the metric.
   *
   * @param source what writes
   * @param target what reads
   * @return what was predicted and what happened
   * @throws IllegalArgumentException if the run has no such node, or the source writes after the
   *     target has read
   */
  public EdgePatch patch(Source source, Target target) {
    double edge = between(source, target);
    try (Scope scope = Scope.open()) {
      Reading reading = reading(target);
      if (source.token() < reading.firstToken() || source.token() >= reading.endToken()) {
        return new EdgePatch(0, 0, 0);
      }
      Tensor write = nodes.writes().of(source);
      double patched = reading.lostWithout(run, source.token(), write);
      return new EdgePatch(edge, patched, metricChange(source, target, write));
    }
  }

  /** How much the metric grows when the target alone does not see a write. */
  private double metricChange(Source source, Target target, Tensor write) {
    if (target instanceof Neuron neuron) {
      Reading reading = Reading.neuron(run, neuron, Stage.ACTIVATION);
      double lost = reading.lostWithout(run, source.token(), write);
      double activation = Effect.activation(run, neuron) - lost;
      return metricChange(Ablation.set(run, neuron, activation));
    }
    if (target instanceof Latent latent) {
      Reading reading = Reading.latent(run, latent, Stage.ACTIVATION);
      return metricChange(
          Ablation.add(latent, run, -reading.lostWithout(run, source.token(), write)));
    }
    if (target instanceof HeadInput input) {
      HeadPair pair = input.pair();
      if (input.path() == AttentionPath.VALUE) {
        return metricChange(withoutValue(pair, write));
      }
      Reading reading = Reading.pattern(run, pair, Set.of(input.path()), Stage.ACTIVATION);
      double lost = reading.lostWithout(run, source.token(), write);
      return metricChange(Ablation.set(run, pair, Effect.activation(run, pair) - lost));
    }
    double lost = reading(target).lostWithout(run, source.token(), write);
    if (target instanceof Logit logit) {
      return metricChange(logit, lost);
    }
    return target instanceof Explained ? -lost : 0; // nothing of the model reads a direction
  }

  /** How much the metric grows when a logit alone loses something. */
  private double metricChange(Logit logit, double lost) {
    if (!(nodes.metric() instanceof Metric.OfLogits metric) || metric.position() != logit.token()) {
      return 0; // it does not read that logit
    }
    Tensor logits = row(run.value(Site.LOGITS), 0, logit.token());
    Tensor change =
        Tensor.of(logits.dtype(), Shape.of(1, 1), lost)
            .scatterAdd(1, logits.shape().size(1), logit.word());
    return metric.ofLogits(Variable.constant(logits.minus(change))).value().item()
        - metric.ofLogits(Variable.constant(logits)).value().item();
  }

  private double metricChange(Change change) {
    return Effect.of(run, nodes.metric(), change).metricChange();
  }

  /** The output of a head at a query as if the value of a key had been read without a write. */
  private Change withoutValue(HeadPair pair, Tensor write) {
    Block block = run.model().block(pair.layer());
    Tensor rows = row(run.residualAfter(2 * pair.layer()).value(), 0, pair.key());
    Attention head = block.attention().head(pair.head());
    Tensor before = value(block, head, rows);
    Tensor after = value(block, head, rows.minus(write));
    Tensor moved = after.minus(before).times(Effect.activation(run, pair));
    Place place = Place.of(Site.HEAD_OUTPUT, pair.layer()).at(0, pair.head()).at(1, pair.query());
    return Intervention.add(place, moved);
  }

  private static Tensor value(Block block, Attention head, Tensor rows) {
    Variable x = block.attentionNorm().apply(Variable.constant(rows), ScaleGradient.LIVE);
    return head.value(x).value();
  }

  // ---- one source out to many targets ------------------------------------------------------

  /**
   * Edges from one source to every neuron, head input and latent, and to the metric: one push
   * through each attention and each MLP after it, and what these feed.
   *
   * @param source what writes
   * @return a number for every target; exact zeros where the source does not reach
   * @throws IllegalArgumentException if the run has no such node
   */
  public EdgeScores outOf(Source source) {
    source.requireIn(run);
    try (Scope scope = Scope.open()) {
      return computeOutOf(source).keptBy(scope);
    }
  }

  private EdgeScores computeOutOf(Source source) {
    int dModel = run.model().config().dModel();
    Tensor write = nodes.writes().of(source).reshape(1, 1, dModel);
    int token = source.token();
    List<NodeArray> arrays = new ArrayList<>();
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      if (source.block() <= 2 * layer) {
        arrays.addAll(intoAttention(layer, token, write));
      }
      if (source.block() <= 2 * layer + 1) {
        arrays.addAll(intoMlp(layer, token, write));
      }
    }
    ResidualGradient last = nodes.residualGradient();
    if (last.reads(token)) {
      double edge = products(List.of(source), List.of(last))[0];
      arrays.add(NodeArray.explained(Tensor.of(write.dtype(), Shape.of(1), edge)));
    }
    return EdgeScores.into(run, EdgeAttribution::isPushed, arrays);
  }

  private List<NodeArray> intoMlp(int layer, int token, Tensor write) {
    Block block = run.model().block(layer);
    Mlp mlp = block.mlp();
    Tensor preActivation = row(run.value(Site.MLP_PRE_ACTIVATION, layer), 0, token);
    Pushed activation =
        Jacobian.pushOnce(
            r ->
                mlp.activation()
                    .apply(
                        mlp.input().apply(block.mlpNorm().apply(r, scaleGradient), preActivation)),
            row(run.residualAfter(2 * layer + 1).value(), 0, token),
            write);
    List<NodeArray> arrays = new ArrayList<>();
    Tensor moved = withoutDirections(activation.tangents());
    Tensor gradient = row(nodes.gradient(Site.MLP_ACTIVATION, layer), 0, token);
    arrays.add(NodeArray.neurons(layer, token, weighted(moved, gradient)));
    for (SparseAutoencoder autoencoder : autoencoders(layer)) {
      if (autoencoder.site() == Site.MLP_ACTIVATION) {
        arrays.add(intoLatents(autoencoder, token, moved));
      } else if (autoencoder.site() == Site.MLP_OUTPUT) {
        Tensor output = moved.matmul(block.mlp().output().weight());
        arrays.add(intoLatents(autoencoder, token, output));
      }
    }
    return arrays;
  }

  private List<SparseAutoencoder> autoencoders(int layer) {
    return run.model().autoencoders().stream().filter(one -> one.layer() == layer).toList();
  }

  /** Latents at the tokens whose rows of the site move; only active ones are computed. */
  private NodeArray intoLatents(SparseAutoencoder autoencoder, int firstToken, Tensor moved) {
    Site site = autoencoder.site();
    int layer = autoencoder.layer();
    Tensor latents = run.encoding(site, layer).latents();
    List<Tensor> rows = new ArrayList<>();
    for (int i = 0; i < moved.shape().size(0); i++) {
      int token = firstToken + i;
      int[] active = Writes.active(row(latents, 0, token));
      Tensor edges =
          row(moved, 0, i)
              .matmulTransposed(autoencoder.encoder().gather(0, active))
              .times(autoencoder.slopes(row(run.value(site, layer), 0, token)).gather(1, active));
      if (measure == EdgeMeasure.ATTRIBUTION) {
        Tensor gradient = row(nodes.gradient(site, layer), 0, token);
        edges = edges.times(gradient.matmulTransposed(autoencoder.decoder().gather(0, active)));
      }
      rows.add(edges.scatterAdd(1, autoencoder.latents(), active));
    }
    return NodeArray.latents(site, layer, firstToken, Tensor.concat(0, rows));
  }

  /** Queries at the token, keys and values of it as later queries see them, and what they make. */
  private List<NodeArray> intoAttention(int layer, int token, Tensor write) {
    Block block = run.model().block(layer);
    Attention attention = block.attention();
    int end = run.length();
    Tensor residual = row(run.residualAfter(2 * layer).value(), 0, token);
    Pushed x =
        Jacobian.pushOnce(r -> block.attentionNorm().apply(r, scaleGradient), residual, write);
    Pushed query =
        Jacobian.pushOnce(
            normalised -> attention.query(normalised, row(run.value(Site.QUERY, layer), 1, token)),
            x.value(),
            x.tangents());
    Pushed key =
        Jacobian.pushOnce(
            normalised -> attention.key(normalised, row(run.value(Site.KEY, layer), 1, token)),
            x.value(),
            x.tangents());
    Pushed value =
        Jacobian.pushOnce(
            normalised -> attention.value(normalised, row(run.value(Site.VALUE, layer), 1, token)),
            x.value(),
            x.tangents());

    Tensor keys = run.value(Site.KEY, layer);
    Tensor pattern = run.value(Site.PATTERN, layer).slice(1, token, end);
    Tensor patternGradient = nodes.gradient(Site.PATTERN, layer).slice(1, token, end);
    Tensor throughQuery =
        push(
            query,
            q ->
                attention.pattern(
                    attention.scores(q, Variable.constant(keys.slice(1, 0, token + 1)), token),
                    token));
    Tensor throughKey =
        push(key, k -> attention.pattern(withKey(layer, token, attention, k), token));
    Tensor throughValue =
        push(
            value,
            v ->
                Variable.constant(valueDirections(layer, token))
                    .matmulTransposed(v)
                    .times(Variable.constant(row(pattern, 2, token))));
    List<NodeArray> arrays = new ArrayList<>();
    arrays.add(
        NodeArray.headInputs(
            AttentionPath.QUERY,
            layer,
            token,
            0,
            weighted(throughQuery, row(patternGradient, 1, 0).slice(2, 0, token + 1))));
    arrays.add(
        NodeArray.headInputs(
            AttentionPath.KEY, layer, token, 0, weighted(throughKey, patternGradient)));
    arrays.add(NodeArray.headInputs(AttentionPath.VALUE, layer, token, token, throughValue));
    for (SparseAutoencoder autoencoder : autoencoders(layer)) {
      if (autoencoder.site() == Site.ATTENTION_OUTPUT) {
        Tensor moved = attentionOutput(layer, token, attention, query, key, value);
        arrays.add(intoLatents(autoencoder, token, moved));
      }
    }
    return arrays;
  }

  /** Along what the values of a token are read by the queries from it on, [head, query, dHead]. */
  private Tensor valueDirections(int layer, int token) {
    if (measure == EdgeMeasure.ATTRIBUTION) {
      return nodes.gradient(Site.HEAD_OUTPUT, layer).slice(1, token, run.length());
    }
    Tensor directions = writtenDirections(layer, token);
    return directions.broadcastTo(directions.shape().with(1, run.length() - token));
  }

  /** The recorded scores of the queries from a token on, with those of its key computed anew. */
  private Variable withKey(int layer, int token, Attention attention, Variable k) {
    Variable queries =
        Variable.constant(run.value(Site.QUERY, layer).slice(1, token, run.length()));
    Tensor scores = run.value(Site.SCORES, layer).slice(1, token, run.length());
    return withRow(2, scores, token, attention.products(queries, k));
  }

  /** How the attention's output moves, at the tokens from the source's on, [token, dModel]. */
  private Tensor attentionOutput(
      int layer, int token, Attention attention, Pushed query, Pushed key, Pushed value) {
    Tensor queries = run.value(Site.QUERY, layer).slice(1, token, run.length());
    Variable keys = Variable.constant(run.value(Site.KEY, layer));
    Variable values = Variable.constant(run.value(Site.VALUE, layer));
    Variable pattern =
        Variable.constant(run.value(Site.PATTERN, layer).slice(1, token, run.length()));
    Tensor throughQuery =
        push(
            query,
            q ->
                attention.output(
                    attention
                        .pattern(attention.scores(withRow(1, queries, 0, q), keys, token), token)
                        .matmul(values)));
    Tensor throughKey =
        push(
            key,
            k ->
                attention.output(
                    attention.pattern(withKey(layer, token, attention, k), token).matmul(values)));
    Tensor throughValue =
        push(
            value,
            v ->
                attention.output(
                    pattern.matmul(withRow(1, run.value(Site.VALUE, layer), token, v))));
    return throughQuery.plus(throughKey).plus(throughValue);
  }

  /** A recorded tensor with one entry along an axis replaced by what moves. */
  private static Variable withRow(int axis, Tensor recorded, int index, Variable row) {
    return Variable.concat(
        axis,
        List.of(
            Variable.constant(recorded.slice(axis, 0, index)),
            row,
            Variable.constant(recorded.slice(axis, index + 1, recorded.shape().size(axis)))));
  }

  private Tensor weighted(Tensor activations, Tensor gradient) {
    return measure == EdgeMeasure.ATTRIBUTION ? activations.times(gradient) : activations;
  }

  private static Tensor row(Tensor rows, int axis, int index) {
    return rows.slice(axis, index, index + 1);
  }

  /** What has been pushed so far, pushed further, without the axis that counts directions. */
  private static Tensor push(Pushed so, UnaryOperator<Variable> function) {
    return withoutDirections(Jacobian.pushOnce(function, so.value(), so.tangents()).tangents());
  }

  private static Tensor withoutDirections(Tensor tangents) {
    return tangents.reshape(tangents.shape().subShape(1, tangents.shape().rank()));
  }
}

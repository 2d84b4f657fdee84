package dev.tributary.attribution;

import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * What every node of a run has to do with a metric. One pull gives the gradient at every site; each
 * reading of the nodes follows from it. Lives in the scope in which it was made.
 */
public final class NodeAttribution {
  private final Run run;
  private final Metric metric;
  private final double value;
  private final Map<Site, List<Tensor>> gradients;
  private final Writes writes;

  private NodeAttribution(Run run, Metric metric, double value, Map<Site, List<Tensor>> gradients) {
    this.run = run;
    this.metric = metric;
    this.value = value;
    this.gradients = gradients;
    this.writes = new Writes(run);
  }

  /**
   * Takes the gradient of the metric at every site, nothing detached.
   *
   * @throws IllegalArgumentException if the metric reads a token or a word that does not exist
   */
  public static NodeAttribution of(Run run, Metric metric) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = compute(run, metric);
      nodes.gradients.values().forEach(layers -> layers.forEach(scope::keep));
      return nodes;
    }
  }

  private static NodeAttribution compute(Run run, Metric metric) {
    Variable explained = metric.value(run);
    int layers = run.model().config().layers();
    List<Variable> inputs = new ArrayList<>();
    for (Site site : Site.values()) {
      if (site.perLayer()) {
        for (int layer = 0; layer < layers; layer++) {
          inputs.add(run.variable(site, layer));
        }
      } else if (site != Site.LOGITS) {
        inputs.add(run.variable(site));
      }
    }
    List<Tensor> pulled = Jacobian.of(explained, inputs).gradient();
    Map<Site, List<Tensor>> gradients = new EnumMap<>(Site.class);
    int next = 0;
    for (Site site : Site.values()) {
      if (site != Site.LOGITS) {
        int end = next + (site.perLayer() ? layers : 1);
        gradients.put(site, List.copyOf(pulled.subList(next, end)));
        next = end;
      }
    }
    gradients.put(Site.LOGITS, List.of(logitGradient(run, metric)));
    return new NodeAttribution(run, metric, explained.value().item(), gradients);
  }

  /** The metric does not pass the recorded logits: it computes only those that it reads. */
  private static Tensor logitGradient(Run run, Metric metric) {
    int position = metric.position();
    Variable row = Variable.input(run.value(Site.LOGITS).slice(0, position, position + 1));
    Tensor gradient = Jacobian.of(metric.ofLogits(row), row).gradient().get(0);
    return gradient.pad(0, position, run.length());
  }

  /** The run that is explained. */
  public Run run() {
    return run;
  }

  /** The scalar that is explained. */
  public Metric metric() {
    return metric;
  }

  /** Its value. */
  public double value() {
    return value;
  }

  /** Gradient of the metric at a site of the whole model, of the site's shape. */
  public Tensor gradient(Site site) {
    run.variable(site);
    return recorded(site).get(0);
  }

  /** Gradient of the metric at a site of one layer, of the site's shape. */
  public Tensor gradient(Site site, int layer) {
    run.variable(site, layer);
    return recorded(site).get(layer);
  }

  private List<Tensor> recorded(Site site) {
    return gradients.getOrDefault(site, List.of());
  }

  /**
   * Gradient of the metric in the residual stream after the last layer: how the metric reads it.
   */
  public ResidualGradient finalGradient() {
    int layers = run.model().config().layers();
    int position = metric.position();
    Tensor gradient = gradient(Site.RESIDUAL_AFTER_MLP, layers - 1);
    return new ResidualGradient(2 * layers, position, gradient.slice(0, position, position + 1));
  }

  /** Activation of every neuron; probability of every head pair. */
  public NodeScores activation() {
    List<NodeArray> arrays = new ArrayList<>();
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      arrays.add(NodeArray.headPairs(layer, 0, 0, run.value(Site.PATTERN, layer)));
      arrays.add(NodeArray.neurons(layer, 0, run.value(Site.MLP_ACTIVATION, layer)));
    }
    return new NodeScores(run, arrays);
  }

  /**
   * Activation times gradient, the first-order estimate of what the metric would lose without the
   * node: of neurons, head pairs (their probability) and embeddings.
   */
  public NodeScores activationTimesGradient() {
    try (Scope scope = Scope.open()) {
      return computeActivationTimesGradient().keptBy(scope);
    }
  }

  private NodeScores computeActivationTimesGradient() {
    List<NodeArray> arrays = new ArrayList<>();
    arrays.add(NodeArray.embeddings(EmbeddingPart.TOKEN, 0, product(Site.TOKEN_EMBEDDING).sum(-1)));
    arrays.add(
        NodeArray.embeddings(EmbeddingPart.POSITION, 0, product(Site.POSITION_EMBEDDING).sum(-1)));
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      arrays.add(NodeArray.headPairs(layer, 0, 0, product(Site.PATTERN, layer)));
      arrays.add(NodeArray.neurons(layer, 0, product(Site.MLP_ACTIVATION, layer)));
    }
    return new NodeScores(run, arrays);
  }

  private Tensor product(Site site) {
    return run.value(site).times(gradient(site));
  }

  private Tensor product(Site site, int layer) {
    return run.value(site, layer).times(gradient(site, layer));
  }

  /** Euclidean norm of what every node writes, with the sign of its activation. */
  public NodeScores writeNorm() {
    try (Scope scope = Scope.open()) {
      return writes.norms().keptBy(scope);
    }
  }

  /**
   * ⟨write, gradient in the final residual⟩: what reaches the metric without passing another node.
   */
  public NodeScores directEffect() {
    try (Scope scope = Scope.open()) {
      return writes.dot(finalGradient()).keptBy(scope);
    }
  }

  /** Norm of the sum of what a head writes at each token, of one layer, [head, token]. */
  public Tensor headWriteNorm(int layer) {
    Tensor weight = run.model().block(layer).attention().outputWeight();
    Tensor norm = run.value(Site.HEAD_OUTPUT, layer).matmul(weight).norm(-1);
    return norm.reshape(norm.shape().size(0), norm.shape().size(1));
  }

  /** Euclidean norm of the vector at each token of a site of the whole model, [token]. */
  public Tensor norm(Site site) {
    return perToken(run.value(site).norm(-1));
  }

  /** Euclidean norm of the vector at each token of a site of one layer, [token]. */
  public Tensor norm(Site site, int layer) {
    return perToken(run.value(site, layer).norm(-1));
  }

  /**
   * ⟨vector, gradient in the final residual⟩ at each token of a site of the residual stream,
   * [token]; zeros for the final residual itself, which nothing separates from its gradient.
   */
  public Tensor directEffect(Site site) {
    return directEffect(run.variable(site));
  }

  /** {@link #directEffect(Site)} for a site of one layer. */
  public Tensor directEffect(Site site, int layer) {
    return directEffect(run.variable(site, layer));
  }

  private Tensor directEffect(Variable vectors) {
    if (vectors == run.finalResidual()) {
      return Tensor.zeros(vectors.value().dtype(), Shape.of(run.length()));
    }
    ResidualGradient read = finalGradient();
    return perToken(
        vectors.value().times(read.rows().pad(0, read.firstToken(), run.length())).sum(-1));
  }

  private static Tensor perToken(Tensor column) {
    return column.reshape(column.shape().size(0));
  }

  Writes writes() {
    return writes;
  }
}

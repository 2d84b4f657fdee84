package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
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
  private final Reading reading;
  private final double value;
  private final Map<Site, List<Tensor>> gradients;
  private final Writes writes;

  private NodeAttribution(
      Run run, Metric metric, Reading reading, double value, Map<Site, List<Tensor>> gradients) {
    this.run = run;
    this.metric = metric;
    this.reading = reading;
    this.value = value;
    this.gradients = gradients;
    this.writes = new Writes(run);
  }

  /**
   * Takes the gradient of the metric at every site, nothing detached.
   *
   * @param run what the model computed
   * @param metric the scalar that is explained
   * @return the run with its gradients
   * @throws IllegalArgumentException if the metric reads a token or a word that does not exist, or
   *     there is no memory for the gradients
   */
  public static NodeAttribution of(Run run, Metric metric) {
    Scope.requireRoom(
        run.model().memoryPlan(run.length()).gradients(),
        "the gradient at every site of " + run.length() + " tokens");
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
    Reading reading = metric.reading(run);
    return new NodeAttribution(run, metric, reading, explained.value().item(), gradients);
  }

  /** The metric does not pass the recorded logits: it computes only those that it reads. */
  private static Tensor logitGradient(Run run, Metric metric) {
    Tensor logits = run.value(Site.LOGITS);
    if (!(metric instanceof Metric.OfLogits ofLogits)) {
      return Tensor.zeros(logits.dtype(), logits.shape());
    }
    int position = ofLogits.position();
    Variable row = Variable.input(logits.slice(0, position, position + 1));
    Tensor gradient = Jacobian.of(ofLogits.ofLogits(row), row).gradient().get(0);
    return gradient.pad(0, position, run.length());
  }

  /** {@return the run that is explained} */
  public Run run() {
    return run;
  }

  /** {@return the scalar that is explained} */
  public Metric metric() {
    return metric;
  }

  /** {@return its value} */
  public double value() {
    return value;
  }

  /**
   * {@return the gradient of the metric at a site of the whole model, of the site's shape}
   *
   * @param site a site that is recorded
   */
  public Tensor gradient(Site site) {
    run.variable(site);
    return recorded(site).get(0);
  }

  /**
   * {@return the gradient of the metric at a site of one layer, of the site's shape}
   *
   * @param site a site that is recorded
   * @param layer from 0
   */
  public Tensor gradient(Site site, int layer) {
    run.variable(site, layer);
    return recorded(site).get(layer);
  }

  private List<Tensor> recorded(Site site) {
    return gradients.getOrDefault(site, List.of());
  }

  /**
   * {@return how the metric reads the residual stream directly: a metric of logits, after the last
   * layer}
   */
  public ResidualGradient residualGradient() {
    int block = reading.afterBlock();
    Tensor gradient =
        block == 0
            ? gradient(Site.EMBEDDING)
            : block % 2 == 1
                ? gradient(Site.RESIDUAL_AFTER_ATTENTION, block / 2)
                : gradient(Site.RESIDUAL_AFTER_MLP, block / 2 - 1);
    return new ResidualGradient(
        block, reading.firstToken(), gradient.slice(0, reading.firstToken(), reading.endToken()));
  }

  /**
   * {@return the gradient of the metric at the latents of an autoencoder: the gradient at its site
   * through the decoder, [token, latent]}
   *
   * @param autoencoder one that encodes the run
   */
  public Tensor latentGradient(SparseAutoencoder autoencoder) {
    return gradient(autoencoder.site(), autoencoder.layer())
        .matmulTransposed(autoencoder.decoder());
  }

  /** {@return the activation of every neuron and latent; probability of every head pair} */
  public NodeScores activation() {
    List<NodeArray> arrays = new ArrayList<>();
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      arrays.add(NodeArray.headPairs(layer, 0, 0, run.value(Site.PATTERN, layer)));
      arrays.add(NodeArray.neurons(layer, 0, run.value(Site.MLP_ACTIVATION, layer)));
    }
    for (Encoding encoding : run.encodings()) {
      SparseAutoencoder autoencoder = encoding.autoencoder();
      arrays.add(NodeArray.latents(autoencoder.site(), autoencoder.layer(), 0, encoding.latents()));
    }
    return new NodeScores(run, arrays);
  }

  /**
   * {@return activation times gradient, the first-order estimate of what the metric would lose
   * without the node: of neurons, head pairs (their probability) and embeddings}
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
    for (Encoding encoding : run.encodings()) {
      SparseAutoencoder autoencoder = encoding.autoencoder();
      Site site = autoencoder.site();
      int layer = autoencoder.layer();
      Tensor latents = encoding.latents().times(latentGradient(autoencoder));
      arrays.add(NodeArray.latents(site, layer, 0, latents));
      Tensor errors = encoding.error().times(gradient(site, layer)).sum(-1);
      arrays.add(NodeArray.errors(site, layer, 0, errors));
    }
    return new NodeScores(run, arrays);
  }

  private Tensor product(Site site) {
    return run.value(site).times(gradient(site));
  }

  private Tensor product(Site site, int layer) {
    return run.value(site, layer).times(gradient(site, layer));
  }

  /** {@return the Euclidean norm of what every node writes, with the sign of its activation} */
  public NodeScores writeNorm() {
    try (Scope scope = Scope.open()) {
      return writes.norms().keptBy(scope);
    }
  }

  /**
   * {@return ⟨write, gradient in the final residual⟩: what reaches the metric without passing
   * another node}
   */
  public NodeScores directEffect() {
    try (Scope scope = Scope.open()) {
      return writes.dot(residualGradient()).keptBy(scope);
    }
  }

  /**
   * {@return the norm of the sum of what a head writes at each token, of one layer, [head, token]}
   *
   * @param layer from 0
   */
  public Tensor headWriteNorm(int layer) {
    Tensor weight = run.model().block(layer).attention().outputWeight();
    Tensor norm = run.value(Site.HEAD_OUTPUT, layer).matmul(weight).norm(-1);
    return norm.reshape(norm.shape().size(0), norm.shape().size(1));
  }

  /**
   * {@return the Euclidean norm of the vector at each token of a site of the whole model, [token]}
   *
   * @param site a site that is recorded
   */
  public Tensor norm(Site site) {
    return perToken(run.value(site).norm(-1));
  }

  /**
   * {@return the Euclidean norm of the vector at each token of a site of one layer, [token]}
   *
   * @param site a site that is recorded
   * @param layer from 0
   */
  public Tensor norm(Site site, int layer) {
    return perToken(run.value(site, layer).norm(-1));
  }

  /**
   * {@return ⟨vector, gradient in the residual stream that the metric reads⟩ at each token of
   * {@link Site#EMBEDDING}, [token]; zeros unless the metric reads a later residual stream}
   *
   * @param site a site that is recorded
   * @throws IllegalArgumentException if the site is another one
   */
  public Tensor directEffect(Site site) {
    requireArgument(site == Site.EMBEDDING, "site %s adds nothing to the residual stream", site);
    return directEffect(run.variable(site), 0);
  }

  /**
   * {@link #directEffect(Site)} for a site of one layer: a residual stream, which counts if it is
   * strictly before the one that the metric reads, or the output of a block.
   *
   * @param site a site that is recorded
   * @param layer from 0
   * @return one number for each token, [token]
   */
  public Tensor directEffect(Site site, int layer) {
    int after =
        switch (site) {
          case ATTENTION_OUTPUT -> 2 * layer;
          case RESIDUAL_AFTER_ATTENTION, MLP_OUTPUT -> 2 * layer + 1;
          case RESIDUAL_AFTER_MLP -> 2 * layer + 2;
          default ->
              throw new IllegalArgumentException(
                  "site " + site + " adds nothing to the residual stream");
        };
    return directEffect(run.variable(site, layer), after);
  }

  private Tensor directEffect(Variable vectors, int after) {
    ResidualGradient read = residualGradient();
    if (after >= read.afterBlock()) {
      return Tensor.zeros(vectors.value().dtype(), Shape.of(run.length()));
    }
    Tensor rows = read.rows().pad(0, read.firstToken(), run.length());
    return perToken(vectors.value().times(rows).sum(-1));
  }

  private static Tensor perToken(Tensor column) {
    return column.reshape(column.shape().size(0));
  }

  Writes writes() {
    return writes;
  }
}

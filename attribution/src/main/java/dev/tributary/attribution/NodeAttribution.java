package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node.BiasPart;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
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

  private NodeAttribution(
      Run run, Metric metric, Reading reading, double value, Map<Site, List<Tensor>> gradients) {
    this.run = run;
    this.metric = metric;
    this.reading = reading;
    this.value = value;
    this.gradients = gradients;
  }

  /**
   * Takes the gradient of the metric at every site, nothing detached.
   *
   * @param run what the model computed
   * @param metric the scalar that is explained
   * @return the run with its gradients
   * @throws IllegalArgumentException if the metric reads a token or a word that does not exist,
   *     there is no memory for the gradients, they are too large for the element type, or the run
   *     is frozen
   */
  public static NodeAttribution of(Run run, Metric metric) {
    Scope.requireRoom(
        () -> MemoryPlan.gradients(run.model(), run.length()),
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
    for (Variable input : inputs) {
      requireArgument(!input.isConstant(), "a frozen run holds fixed what gradients are taken of");
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
    double value = explained.value().item();
    NodeAttribution nodes = new NodeAttribution(run, metric, metric.reading(run), value, gradients);
    // What is not finite at a later site is not finite here either: all of it was pulled.
    requireArgument(
        Double.isFinite(value) && nodes.gradient(Site.EMBEDDING).isFinite(),
        "the gradients of this metric are not finite numbers in %s",
        run.model().dtype());
    return nodes;
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

  /**
   * {@return the activation of every neuron and latent; probability of every head pair} Nothing
   * else has one.
   */
  public Readings activation() {
    List<NodeArray> arrays = new ArrayList<>();
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      arrays.add(NodeArray.headPairs(layer, 0, 0, run.value(Site.PATTERN, layer)));
      arrays.add(NodeArray.neurons(layer, 0, run.value(Site.MLP_ACTIVATION, layer)));
    }
    for (Encoding encoding : run.encodings()) {
      SparseAutoencoder autoencoder = encoding.autoencoder();
      arrays.add(NodeArray.latents(autoencoder.site(), autoencoder.layer(), 0, encoding.latents()));
    }
    return new Readings(run, arrays, List.of());
  }

  /**
   * {@return activation times gradient, the first-order estimate of what the metric would lose
   * without the node, of every {@link Node.Source}} That of a head pair is of its probability.
   * Embeddings, biases, reconstruction errors and pre-biases have no activation and are one
   * themselves: theirs is ⟨vector, gradient at the site of which it is a part⟩. In every case it is
   * how fast the metric grows with a factor on what the node writes.
   *
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public Readings activationTimesGradient() {
    try (Scope scope = Scope.open()) {
      return computeActivationTimesGradient().keptBy(scope);
    }
  }

  private Readings computeActivationTimesGradient() {
    List<NodeArray> arrays = new ArrayList<>();
    arrays.add(ofEmbeddings(EmbeddingPart.TOKEN));
    arrays.add(ofEmbeddings(EmbeddingPart.POSITION));
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      arrays.add(NodeArray.headPairs(layer, 0, 0, product(Site.PATTERN, layer)));
      arrays.add(NodeArray.neurons(layer, 0, product(Site.MLP_ACTIVATION, layer)));
      for (BiasPart part : BiasPart.values()) {
        Tensor gradient = gradient(part.site(), layer);
        Tensor products = gradient.times(writes().bias(part, layer)).sum(-1);
        arrays.add(NodeArray.biases(part, layer, 0, products));
      }
    }
    for (Encoding encoding : run.encodings()) {
      SparseAutoencoder autoencoder = encoding.autoencoder();
      Site site = autoencoder.site();
      int layer = autoencoder.layer();
      Tensor latents = encoding.latents().times(latentGradient(autoencoder));
      arrays.add(NodeArray.latents(site, layer, 0, latents));
      Tensor gradient = gradient(site, layer);
      Tensor errors = encoding.error().times(gradient).sum(-1);
      arrays.add(NodeArray.errors(site, layer, 0, errors));
      Tensor preBiases = gradient.times(autoencoder.preBias()).sum(-1);
      arrays.add(NodeArray.preBiases(site, layer, 0, preBiases));
    }
    return new Readings(run, arrays, List.of(ofEmbeddings(EmbeddingPart.BOTH)));
  }

  private NodeArray ofEmbeddings(EmbeddingPart part) {
    Tensor products = run.value(part.site()).times(gradient(part.site())).sum(-1);
    return NodeArray.embeddings(part, 0, products);
  }

  private Tensor product(Site site, int layer) {
    return run.value(site, layer).times(gradient(site, layer));
  }

  /**
   * {@return the Euclidean norm of what a node writes, of every {@link Node.Source}; with the sign
   * of its activation, if it has one}
   *
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public Readings writeNorm() {
    try (Scope scope = Scope.open()) {
      return writes().norms().keptBy(scope);
    }
  }

  /**
   * {@return ⟨write, gradient in the final residual⟩: what reaches the metric without passing
   * another node, the edges from every source to the metric}
   *
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public EdgeScores directEffect() {
    try (Scope scope = Scope.open()) {
      return writes().dot(residualGradient()).keptBy(scope);
    }
  }

  Writes writes() {
    return new Writes(run);
  }
}

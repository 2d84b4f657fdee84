package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * What every node of a run has to do with a metric. One pull gives the gradient at every site; each
 * reading of the nodes follows from it. Lives in the scope in which it was made.
 */
public final class NodeAttribution {
  private static final Place LOGITS = Place.of(Site.LOGITS);

  private final Run run;
  private final Metric metric;
  private final Reading reading;
  private final double value;

  /** Whether nodes of the run were changed, of which its readings are not to be taken. */
  private final boolean changed;

  /** Where they live. */
  private final Scope scope;

  /** What was asked for so far of what is made when asked for, and all else: guarded by itself. */
  private final Map<Place, Tensor> gradients;

  private NodeAttribution(
      Run run,
      Metric metric,
      Reading reading,
      double value,
      boolean changed,
      Scope scope,
      Map<Place, Tensor> gradients) {
    this.run = run;
    this.metric = metric;
    this.reading = reading;
    this.value = value;
    this.changed = changed;
    this.scope = scope;
    this.gradients = gradients;
  }

  /**
   * {@return what a run has to record for whatever is asked of its nodes and edges: all but what
   * follows from the rest for little}
   */
  public static Set<Site> sites() {
    return EnumSet.complementOf(
        EnumSet.of(
            Site.SCORES, Site.MLP_STANDARDISED, Site.MLP_INPUT, Site.MLP_RESULT, Site.LOGITS));
  }

  /**
   * Takes the gradient of the metric at every site, nothing detached.
   *
   * @param run what the model computed
   * @param metric the scalar that is explained
   * @return the run with its gradients
   * @throws IllegalArgumentException if the metric reads a token or a word that does not exist,
   *     there is no memory for the gradients, they are too large for the element type, or the run
   *     is frozen or has no derivatives
   */
  public static NodeAttribution of(Run run, Metric metric) {
    return of(run, run, metric);
  }

  /**
   * The same metric of this run with nodes changed; what a trace holds fixed stays as it was. Its
   * readings are those of the changed model, but for the nodes that were changed.
   */
  NodeAttribution with(Change... changes) {
    return of(run, run.with(changes), metric);
  }

  private static NodeAttribution of(Run explained, Run run, Metric metric) {
    Scope.requireRoom(
        () -> MemoryPlan.gradients(run),
        "the gradient at every site of " + run.length() + " tokens");
    Scope enclosing = Scope.innermost();
    try (Scope scope = Scope.open()) {
      Variable scalar = metric.value(explained, run);
      List<Place> places = new ArrayList<>();
      for (Place place : run.places()) {
        requireArgument(
            place.equals(LOGITS) || !run.variable(place).isConstant(),
            "a frozen run holds fixed what gradients are taken of, and so does one without derivatives");
        if (!place.equals(LOGITS) && reader(run, place).isEmpty()) {
          places.add(place);
        }
      }
      List<Variable> inputs = places.stream().map(run::variable).toList();
      List<Tensor> pulled = Jacobian.of(scalar, inputs).gradient();
      Map<Place, Tensor> gradients = new HashMap<>();
      for (int i = 0; i < pulled.size(); i++) {
        gradients.put(places.get(i), scope.keep(pulled.get(i)));
      }
      double value = scalar.value().item();
      // What is not finite at a later site is not finite at the first either: all of it was pulled.
      requireArgument(
          Double.isFinite(value) && (pulled.isEmpty() || pulled.get(0).isFinite()),
          "the gradients of this metric are not finite numbers in %s",
          run.model().dtype());
      return new NodeAttribution(
          run, metric, metric.reading(explained), value, run != explained, enclosing, gradients);
    }
  }

  /** The recorded site from whose gradient that of another follows for little. */
  private static Optional<Place> reader(Run run, Place place) {
    return place.site().reader().map(site -> Place.of(site, place.layer())).filter(run::has);
  }

  /**
   * The metric does not pass the recorded logits: it computes only those that it reads. Large, and
   * nothing here reads it: made when it is asked for, in the innermost scope.
   */
  private static Tensor logitGradient(Run run, Metric metric) {
    Tensor logits = run.value(Site.LOGITS);
    if (metric.ofLogits().isEmpty()) {
      return Tensor.zeros(logits.dtype(), logits.shape());
    }
    Metric.OfLogits ofLogits = metric.ofLogits().get();
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
    return gradient(Place.of(site));
  }

  /**
   * {@return the gradient of the metric at a site of one layer, of the site's shape}
   *
   * @param site a site that is recorded
   * @param layer from 0
   */
  public Tensor gradient(Site site, int layer) {
    return gradient(Place.of(site, layer));
  }

  /**
   * {@return the gradient of the metric at a site, of the site's shape}
   *
   * @param place all of a site that is recorded
   */
  public Tensor gradient(Place place) {
    run.variable(place);
    if (place.equals(LOGITS)) {
      return logitGradient(run, metric);
    }
    synchronized (gradients) {
      return gradients.computeIfAbsent(
          place,
          any -> {
            try (Scope here = Scope.open()) {
              return here.keepIn(scope, pulled(place));
            }
          });
    }
  }

  /** The gradient at a site other than the logits, in the innermost scope if it is not held. */
  Tensor pulled(Place place) {
    synchronized (gradients) {
      Tensor held = gradients.get(place);
      if (held != null) {
        return held;
      }
    }
    Place reader = reader(run, place).orElseThrow();
    Variable variable = run.variable(place);
    try (Scope here = Scope.open()) {
      Tensor after = pulled(reader);
      Tensor cotangents = after.reshape(after.shape().prepend(1));
      Tensor before = Jacobian.of(run.variable(reader), variable).pull(cotangents).get(0);
      return here.keep(before).reshape(variable.shape());
    }
  }

  /**
   * {@return how the metric reads the residual stream directly: a metric of logits, after the last
   * layer}
   */
  public ResidualGradient residualGradient() {
    Tensor gradient = gradient(run.model().residualAt(reading.point()));
    return new ResidualGradient(
        reading.point(),
        reading.firstToken(),
        gradient.slice(0, reading.firstToken(), reading.endToken()));
  }

  /**
   * {@return the gradient of the metric at the latents of a dictionary, active or not: the
   * gradients where it writes, through the decoders, [token, latent]}
   *
   * @param dictionary one that encodes the run
   */
  public Tensor latentGradient(Dictionary dictionary) {
    Encoding encoding = run.encoding(dictionary);
    int[] all = IntStream.range(0, dictionary.latentCount()).toArray();
    try (Scope here = Scope.open()) {
      List<Tensor> sums = new ArrayList<>();
      for (Dictionary.Decoder decoder : dictionary.decoders()) {
        Tensor there = new Written(decoder.place()).gradient(this);
        Tensor scaled = encoding.scale().map(there::times).orElse(there);
        sums.add(scaled.matmulTransposed(decoder.rows().of(all)));
      }
      return here.keep(sums.stream().reduce(Tensor::plus).orElseThrow());
    }
  }

  /**
   * {@return the activation of every neuron and latent; probability of every head pair} Nothing
   * else has one.
   */
  public Readings activation() {
    return new Readings(run, family -> family.activations(run));
  }

  /**
   * {@return activation times gradient, the first-order estimate of what the metric would lose
   * without the node, of every {@link Source}} That of a head pair is of its probability.
   * Embeddings, biases, reconstruction errors and pre-biases have no activation and are one
   * themselves: theirs is ⟨vector, gradient at the site of which it is a part⟩. In every case it is
   * how fast the metric grows with a factor on what the node writes.
   *
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public Readings activationTimesGradient() {
    return readings(family -> family.activationTimesGradient(this));
  }

  private void requireComputed() {
    if (!changed) {
      run.requireComputed();
    }
  }

  private Readings readings(Function<SourceFamily, Tensor> of) {
    requireComputed();
    return new Readings(run, family -> Optional.of(of.apply(family)));
  }

  /**
   * {@return the Euclidean norm of what a node writes, of every {@link Source}; with the sign of
   * its activation, if it has one}
   *
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public Readings writeNorm() {
    return readings(family -> family.writeNorms(run));
  }

  /**
   * {@return ⟨write, gradient in the final residual⟩: what reaches the metric without passing
   * another node, the edges from every source to the metric}
   *
   * @throws IllegalArgumentException if the run was changed after its embeddings
   */
  public EdgeScores directEffect() {
    try (Scope scope = Scope.open()) {
      return products(residualGradient()).keptBy(scope);
    }
  }

  /** ⟨write, gradient⟩ of every source that writes before what a gradient reads. */
  EdgeScores products(ResidualGradient gradient) {
    requireComputed();
    GradientReader reader = new GradientReader(run, gradient);
    List<NodeArray> arrays = new ArrayList<>();
    for (SourceFamily family : Kind.sourcesOf(run.model())) {
      if (!family.isWhole() && family.point(run.model()).reaches(gradient.point())) {
        arrays.add(family.products(reader));
      }
    }
    return EdgeScores.from(run, arrays);
  }
}

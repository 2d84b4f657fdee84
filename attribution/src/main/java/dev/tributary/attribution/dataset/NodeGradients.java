package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.NodeList.Kind;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * Gradients of a metric at what the parts of each layer compute, and where dictionaries write.
 * Lives in the scope in which it was made.
 */
final class NodeGradients {
  /** Where gradients of components are wanted. */
  private static final List<Site> COMPONENTS =
      List.of(Site.HEAD_OUTPUT, Site.ATTENTION_OUTPUT, Site.MLP_OUTPUT, Site.RESIDUAL_AFTER_MLP);

  private final Run run;
  private final Map<Place, Tensor> gradients;

  private NodeGradients(Run run, Map<Place, Tensor> gradients) {
    this.run = run;
    this.gradients = gradients;
  }

  private static Set<Place> places(NodeList nodes) {
    List<Site> sites = new ArrayList<>(COMPONENTS);
    if (nodes.has(Kind.NEURON)) {
      sites.add(Site.MLP_ACTIVATION);
    }
    Set<Place> places = new LinkedHashSet<>();
    for (int layer = 0; layer < nodes.model().layers(); layer++) {
      for (Site site : sites) {
        places.add(Place.of(site, layer));
      }
    }
    nodes.dictionaries().forEach(dictionary -> places.addAll(places(dictionary)));
    return places;
  }

  /** Where a dictionary writes. */
  static List<Place> places(Dictionary dictionary) {
    return dictionary.decoders().stream().map(Dictionary.Decoder::place).toList();
  }

  /** What a run has to record, with derivatives. */
  static Set<Site> sites(NodeList nodes) {
    Set<Site> sites = EnumSet.copyOf(ReaderGradients.SITES);
    places(nodes).forEach(place -> sites.add(place.site()));
    nodes.dictionaries().forEach(dictionary -> sites.add(dictionary.reads().site()));
    return sites;
  }

  static NodeGradients of(Run run, Function<Run, Variable> metric, NodeList nodes) {
    Variable value = metric.apply(run);
    Tensor one = Tensor.full(value.value().dtype(), value.shape().prepend(1), 1);
    return new NodeGradients(run, pulled(run, List.copyOf(places(nodes)), value, one));
  }

  private static Map<Place, Tensor> pulled(
      Run run, List<Place> places, Variable output, Tensor cotangent) {
    List<Variable> inputs = places.stream().map(run::variable).toList();
    List<Tensor> pulled = Jacobian.of(output, inputs).pull(cotangent);
    Map<Place, Tensor> gradients = new HashMap<>();
    for (int i = 0; i < pulled.size(); i++) {
      gradients.put(places.get(i), pulled.get(i).reshape(inputs.get(i).shape()));
    }
    return gradients;
  }

  Tensor at(Place place) {
    return Objects.requireNonNull(gradients.get(place), place::toString);
  }

  Tensor at(Site site, int layer) {
    return at(Place.of(site, layer));
  }

  /**
   * At the vectors of all tokens where a dictionary writes, [token, n], see {@link Run#vectors}.
   */
  Tensor vectors(Place place) {
    return place.site() == Site.HEAD_OUTPUT
        ? run.model().attention(place.layer()).inRows(Variable.constant(at(place))).value()
        : at(place);
  }

  /**
   * The same where all that a layer writes is a constant: past it, the gradient is that of the
   * stream after it, as if it was not there.
   */
  NodeGradients without(int layer) {
    Tensor after = at(Site.RESIDUAL_AFTER_MLP, layer);
    Place before =
        layer == 0 ? Place.of(Site.EMBEDDING) : Place.of(Site.RESIDUAL_AFTER_MLP, layer - 1);
    List<Place> earlier =
        gradients.keySet().stream()
            .filter(place -> !place.site().perLayer() || place.layer() < layer)
            .toList();
    Map<Place, Tensor> dropped =
        earlier.isEmpty()
            ? new HashMap<>()
            : pulled(run, earlier, run.variable(before), after.reshape(after.shape().prepend(1)));
    gradients.forEach(
        (place, own) -> {
          if (isWrittenBy(layer, place)) {
            dropped.put(place, Tensor.zeros(own.dtype(), own.shape()));
          } else if (place.equals(Place.of(Site.RESIDUAL_AFTER_ATTENTION, layer))) {
            dropped.put(place, after);
          } else {
            dropped.putIfAbsent(place, own);
          }
        });
    return new NodeGradients(run, dropped);
  }

  /** Whether what is there is a constant where all is that a layer writes. */
  private static boolean isWrittenBy(int layer, Place place) {
    return place.site().perLayer()
        && place.layer() == layer
        && place.site() != Site.RESIDUAL_AFTER_ATTENTION
        && place.site() != Site.RESIDUAL_AFTER_MLP;
  }

  /** How many layers can be dropped of a model and leave something of what is written there. */
  static int layersBeside(List<Place> places, Transformer model) {
    return (int)
        IntStream.range(0, model.layers())
            .filter(layer -> !places.stream().allMatch(place -> isWrittenBy(layer, place)))
            .count();
  }
}

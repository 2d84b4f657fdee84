package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.NodeScores.Kind;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/**
 * Gradients of a metric at what the parts of each layer compute. Lives in the scope in which it was
 * made.
 */
final class NodeGradients {
  /** Where gradients of components are wanted. */
  private static final List<Site> COMPONENTS =
      List.of(Site.HEAD_OUTPUT, Site.ATTENTION_OUTPUT, Site.MLP_OUTPUT, Site.RESIDUAL_AFTER_MLP);

  private static List<Site> at(Set<Kind> kinds) {
    List<Site> sites = new ArrayList<>(COMPONENTS);
    if (kinds.contains(Kind.NEURON)) {
      sites.add(Site.MLP_ACTIVATION);
    }
    return sites;
  }

  private final Run run;

  /** By layer. */
  private final Map<Site, List<Tensor>> gradients;

  private NodeGradients(Run run, Map<Site, List<Tensor>> gradients) {
    this.run = run;
    this.gradients = gradients;
  }

  /** What a run has to record, with derivatives. */
  static Set<Site> sites(Set<Kind> kinds) {
    Set<Site> sites = EnumSet.copyOf(ReaderGradients.sites());
    sites.addAll(at(kinds));
    return sites;
  }

  static NodeGradients of(Run run, Function<Run, Variable> metric, Set<Kind> kinds) {
    Variable value = metric.apply(run);
    Tensor one = Tensor.full(value.value().dtype(), value.shape().prepend(1), 1);
    return new NodeGradients(run, pulled(run, at(kinds), value, one, run.model().layers()));
  }

  /** At the sites of the first layers. */
  private static Map<Site, List<Tensor>> pulled(
      Run run, List<Site> at, Variable output, Tensor cotangent, int layers) {
    List<Variable> inputs = new ArrayList<>();
    for (Site site : at) {
      for (int layer = 0; layer < layers; layer++) {
        inputs.add(run.variable(site, layer));
      }
    }
    List<Tensor> pulled = Jacobian.of(output, inputs).pull(cotangent);
    Map<Site, List<Tensor>> gradients = new EnumMap<>(Site.class);
    for (int i = 0; i < pulled.size(); i++) {
      gradients
          .computeIfAbsent(at.get(i / layers), any -> new ArrayList<>())
          .add(pulled.get(i).reshape(inputs.get(i).shape()));
    }
    return gradients;
  }

  Tensor at(Site site, int layer) {
    return gradients.getOrDefault(site, List.of()).get(layer);
  }

  /**
   * The same where all that a layer writes is a constant: past it, the gradient is that of the
   * stream after it, as if it was not there.
   */
  NodeGradients without(int layer) {
    Tensor after = at(Site.RESIDUAL_AFTER_MLP, layer);
    Map<Site, List<Tensor>> dropped =
        layer == 0
            ? new EnumMap<>(Site.class)
            : pulled(
                run,
                List.copyOf(gradients.keySet()),
                run.variable(Site.RESIDUAL_AFTER_MLP, layer - 1),
                after.reshape(after.shape().prepend(1)),
                layer);
    gradients.forEach(
        (site, own) -> {
          List<Tensor> all = dropped.computeIfAbsent(site, any -> new ArrayList<>());
          Tensor here = own.get(layer);
          all.add(Tensor.zeros(here.dtype(), here.shape()));
          all.addAll(own.subList(layer + 1, own.size()));
        });
    return new NodeGradients(run, dropped);
  }
}

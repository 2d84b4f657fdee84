package dev.tributary.attribution;

import dev.tributary.attribution.ReplacementGraph.Kept;
import dev.tributary.attribution.ReplacementGraph.Sizes;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/** What is left of a {@link ReplacementGraph} after pruning, as a {@link Circuit}. */
final class ReplacementCircuit {
  private final ReplacementGraph graph;
  private final Run run;

  /** Of the outputs. */
  private final List<String> texts;

  private final Sizes sizes;
  private final List<Node> nodes;
  private final double[] activations;
  private final double[] outputWeights;

  ReplacementCircuit(ReplacementGraph graph, Run run, List<String> texts) {
    this.graph = graph;
    this.run = run;
    this.texts = texts;
    this.sizes = graph.sizes();
    this.nodes = graph.nodes();
    this.activations = graph.activations();
    this.outputWeights = graph.outputWeights();
  }

  Circuit of(Circuit.Labels labels, Kept kept) {
    BitSet linked = new BitSet();
    linked.set(sizes.firstOutput(), sizes.nodes());
    graph.forEachKept(
        kept,
        (target, source, weight) -> {
          linked.set(target);
          linked.set(source);
        });
    int[] order =
        linked.stream()
            .boxed()
            .sorted(
                Comparator.<Integer, Point>comparing(node -> point(node))
                    .thenComparing(Comparator.naturalOrder()))
            .mapToInt(Integer::intValue)
            .toArray();
    int[] index = new int[sizes.nodes()];
    List<Circuit.Member> members = new ArrayList<>();
    List<Circuit.Input> inputs = new ArrayList<>();
    for (int node : order) {
      index[node] = members.size();
      if (node < sizes.latents() || node >= sizes.firstOutput()) {
        inputs.add(new Circuit.Input(members.size(), InputPath.ALL, graph.certificate(node)));
      }
      members.add(member(node));
    }
    List<Circuit.Edge> edges = new ArrayList<>();
    graph.forEachKept(
        kept,
        (target, source, weight) ->
            edges.add(new Circuit.Edge(index[source], index[target], InputPath.ALL, weight)));
    edges.sort(
        Comparator.comparingInt(Circuit.Edge::target).thenComparingInt(Circuit.Edge::source));
    return new Circuit(
        new Circuit.Origin(
            labels,
            Arrays.stream(run.tokens()).boxed().toList(),
            run.model().layers(),
            ScaleGradient.DETACHED,
            EdgeMeasure.ACTIVATION),
        members,
        edges,
        inputs,
        List.of(),
        List.of(),
        CircuitAttention.NONE);
  }

  /** Where a node writes; of an output, the point after all. */
  private Point point(int node) {
    Transformer model = run.model();
    if (node < sizes.latents()) {
      Latent latent = (Latent) nodes.get(node);
      Dictionary dictionary = model.dictionary(latent.dictionary());
      return model.mlp(ReplacementModel.layer(dictionary)).writes();
    }
    if (node < sizes.firstEmbedding()) {
      int tokens = sizes.errors() / model.layers();
      return model.mlp((node - sizes.latents()) / tokens).writes();
    }
    return node < sizes.firstOutput() ? Point.EMBEDDING : model.end().next();
  }

  private Circuit.Member member(int node) {
    OptionalDouble none = OptionalDouble.empty();
    int output = node - sizes.firstOutput();
    return new Circuit.Member(
        nodes.get(node) instanceof Direction ? new Explained(output) : nodes.get(node),
        point(node),
        node < sizes.latents() ? OptionalDouble.of(activations[node]) : none,
        none,
        output >= 0 || sizes.outputs() > 1
            ? none
            : OptionalDouble.of(graph.weight(sizes.firstOutput(), node)),
        output < 0
            ? Optional.empty()
            : Optional.of(
                new Circuit.Output(
                    texts.get(output),
                    nodes.get(node).coordinates().token().orElse(run.lastToken()),
                    graph.certificate(node).affine().stream()
                        .mapToDouble(Certificate.Affine::recorded)
                        .findFirst(),
                    outputWeights[output])));
  }
}

package dev.tributary.attribution;

import dev.tributary.attribution.ReplacementGraph.LeftOut;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What nodes of a {@link ReplacementGraph} write and along what they read, so that one of its edges
 * can be followed. Lives in the scope in which it was made.
 */
final class ReplacementEdges {
  private final Run run;
  private final ReplacementGraph graph;
  private final ReplacementModel model;
  private final Set<Node> nodes;

  ReplacementEdges(Run run, ReplacementGraph graph) {
    this.run = run;
    this.graph = graph;
    this.model = new ReplacementModel(run, graph.settings().firstToken());
    this.nodes = new HashSet<>(graph.nodes());
  }

  /** How an edge of a circuit of the graph passes the heads, in the innermost scope. */
  HeadLoadings loadings(Circuit circuit, Circuit.Edge edge) {
    Node source = circuit.nodes().get(edge.source()).node();
    int output = edge.target() - (circuit.nodes().size() - graph.outputCount());
    ResidualGradient direction =
        output >= 0
            ? ReplacementOutput.gradient(
                run, graph.nodes().get(graph.nodes().size() - graph.outputCount() + output))
            : ((Latent) circuit.nodes().get(edge.target()).node())
                .reading(run, Stage.ACTIVATION)
                .gradient(run, ScaleGradient.DETACHED);
    return HeadLoadings.of(run, writes(source.asSource().orElseThrow()), direction);
  }

  private List<Write> writes(Source source) {
    return source instanceof ReconstructionError error ? writes(error) : source.writes(run);
  }

  /** What an MLP's replacement lacks, and perhaps what latents without a node write. */
  private List<Write> writes(ReconstructionError error) {
    int layer = error.dictionary().layer();
    int token = error.token();
    Tensor rows = model.written(layer, token);
    int last = rows.shape().size(0) - 1;
    List<Write> writes = new ArrayList<>();
    writes.add(
        new Write(
            run.model().mlp(layer).writes(),
            token,
            rows.slice(0, last, last + 1).reshape(rows.shape().size(1))));
    if (graph.settings().leftOut() == LeftOut.IN_ERRORS) {
      for (int i = 0; i < model.dictionaries().size(); i++) {
        Dictionary dictionary = model.dictionaries().get(i);
        if (ReplacementModel.layer(dictionary) == layer) {
          for (int latent : model.active(i, token)) {
            Latent one = new Latent(dictionary.id(), token, latent);
            if (!nodes.contains(one)) {
              writes.addAll(one.writes(run));
            }
          }
        }
      }
    }
    return writes;
  }
}

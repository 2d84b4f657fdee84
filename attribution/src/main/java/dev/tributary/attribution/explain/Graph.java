package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.CircuitAttention;
import dev.tributary.attribution.CircuitBuilder;
import dev.tributary.attribution.Logit;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.ReplacementGraph;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.ReplacementOutput;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * Which circuit is behind what is explained: nodes, and all edges among them?
 *
 * @param subject what is explained
 * @param choice which nodes are in it
 * @param pruning what is kept of them
 * @param loadings how many edges are split over the heads that they pass, and how many heads'
 *     scores over pairs of writes
 */
public record Graph(Subject subject, Choice choice, Pruning pruning, int loadings)
    implements Question<Graph.Graphed> {
  /**
   * Refuses what does not go together.
   *
   * @param subject {@link #subject()}
   * @param choice {@link #choice()}
   * @param pruning {@link #pruning()}
   * @param loadings {@link #loadings()}
   * @throws IllegalArgumentException if it does not
   */
  public Graph {
    requireArgument(loadings >= 0, "loadings is %d, it must be 0 or more", loadings);
    requireArgument(
        !(choice instanceof Replaced) || subject.basis().isEmpty(),
        "basis is of dictionaries, and transcoders all split");
    requireArgument(
        !(choice instanceof Replaced) || subject.trace().isEmpty(),
        "transcoders explain logits, and no node: leave out the trace");
  }

  /** Which nodes a circuit is of. */
  public sealed interface Choice {}

  /**
   * Nodes found backwards from what is explained, the most influential first.
   *
   * @param count how many
   */
  public record Grown(int count) implements Choice {
    /** How many there are, if nobody says. */
    public static final int USUAL = 100;

    /**
     * Refuses none.
     *
     * @param count {@link #count()}
     * @throws IllegalArgumentException if there are none
     */
    public Grown {
      requireNodes(count);
    }
  }

  /**
   * Nodes of largest attribution, wherever they are.
   *
   * @param count how many
   */
  public record Strongest(int count) implements Choice {
    /**
     * Refuses none.
     *
     * @param count {@link #count()}
     * @throws IllegalArgumentException if there are none
     */
    public Strongest {
      requireNodes(count);
    }
  }

  /**
   * Nodes that are named.
   *
   * @param nodes of the run
   */
  public record Among(List<Node> nodes) implements Choice {
    /**
     * Refuses none.
     *
     * @param nodes {@link #nodes()}
     * @throws IllegalArgumentException if there are none
     */
    public Among {
      requireArgument(!nodes.isEmpty(), "no node is named that the circuit would be among");
      nodes = List.copyOf(nodes);
    }
  }

  /**
   * Latents of the transcoders of the session in place of MLPs, errors, embeddings and logits, with
   * attention patterns and scales of norms held.
   *
   * @param settings how the graph is made
   * @param logits how many of the most probable words are explained at most, if none is named
   */
  public record Replaced(Settings settings, int logits) implements Choice {
    /** How many words are explained at most, if nobody says. */
    public static final int LOGITS = 10;

    /** Of all probability, the share that explained words have, if there are not too many. */
    public static final double PROBABILITY = 0.95;

    /**
     * Refuses none.
     *
     * @param settings {@link #settings()}
     * @param logits {@link #logits()}
     * @throws IllegalArgumentException if there are none
     */
    public Replaced {
      requireArgument(logits >= 1, "logits is %d, it must be 1 or more", logits);
    }
  }

  private static void requireNodes(int count) {
    requireArgument(count >= 1, "nodes is %d, it must be 1 or more", count);
  }

  /**
   * What is kept of a circuit: first the most influential nodes and edges, then the largest edges.
   *
   * @param shares of all influence
   * @param threshold least magnitude of an edge
   * @param top how many edges at most, those through which most influence passes
   */
  public record Pruning(Optional<Shares> shares, OptionalDouble threshold, OptionalInt top) {
    /** Shares of influence that circuit-tracer keeps. */
    public static final Pruning USUAL =
        new Pruning(
            Optional.of(new Shares(0.8, 0.98)), OptionalDouble.empty(), OptionalInt.empty());

    /** All is kept. */
    public static final Pruning NONE =
        new Pruning(Optional.empty(), OptionalDouble.empty(), OptionalInt.empty());

    /**
     * Refuses what is no magnitude and no number of edges.
     *
     * @param shares {@link #shares()}
     * @param threshold {@link #threshold()}
     * @param top {@link #top()}
     * @throws IllegalArgumentException if it is none
     */
    public Pruning {
      requireArgument(
          threshold.orElse(0) >= 0, "threshold is %s, it must be 0 or more", threshold.orElse(0));
      requireArgument(top.orElse(1) >= 1, "top is %d, it must be 1 or more", top.orElse(1));
    }

    private Circuit cut(Circuit circuit) {
      Circuit pruned = threshold.isPresent() ? circuit.above(threshold.getAsDouble()) : circuit;
      return top.isPresent() ? pruned.top(top.getAsInt()) : pruned;
    }
  }

  /**
   * Shares of all influence that are kept.
   *
   * @param nodes of that of nodes
   * @param edges of that of edges
   */
  public record Shares(double nodes, double edges) {
    /**
     * Refuses what is no share.
     *
     * @param nodes {@link #nodes()}
     * @param edges {@link #edges()}
     * @throws IllegalArgumentException if it is none
     */
    public Shares {
      requireShare("node-share", nodes);
      requireShare("edge-share", edges);
    }

    private static void requireShare(String what, double share) {
      requireArgument(
          share >= 0 && share <= 1, "%s is %s, it must be between 0 and 1", what, share);
    }
  }

  /**
   * What was found.
   *
   * @param overview what is explained
   * @param circuit behind it
   */
  public record Graphed(Overview overview, Circuit circuit) {}

  @Override
  public Graphed answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    try (Scope scope = Scope.open()) {
      Circuit circuit =
          choice instanceof Replaced replaced
              ? replaced(work, explanation, replaced)
              : found(work, explanation);
      return new Graphed(explanation.overview(), circuit);
    }
  }

  private Circuit found(Work work, Explanation explanation) {
    Overview overview = explanation.overview();
    Labels labels =
        new Labels(overview.model(), List.of(), overview.prompt(), texts(overview.tokens()));
    CircuitBuilder builder =
        CircuitBuilder.of(
                explanation.edges(),
                labels,
                String.join(" ", overview.explained()),
                work.enter(Phase.CIRCUIT))
            .in(explanation.nodesOnce());
    Circuit whole =
        choice instanceof Among among
            ? builder.among(among.nodes)
            : choice instanceof Strongest strongest
                ? builder.largest(strongest.count)
                : builder.grown(((Grown) choice).count);
    Circuit circuit =
        pruning.cut(
            pruning.shares().map(shares -> whole.prune(shares.nodes, shares.edges)).orElse(whole));
    return circuit.with(
        CircuitAttention.of(
            explanation.edges(),
            explanation.nodesOnce(),
            circuit,
            loadings,
            work.enter(Phase.ATTENTION)));
  }

  private Circuit replaced(Work work, Explanation explanation, Replaced how) throws IOException {
    Overview overview = explanation.overview();
    int end = overview.metric().position() + 1;
    Transformer model = work.opened().replaced(explanation.model());
    int[] tokens = Arrays.copyOf(explanation.run().tokens(), end);
    boolean wholly = loadings > 0; // as scores of heads need it
    Run run =
        wholly
            ? model.values(EnumSet.allOf(Site.class), tokens)
            : ReplacementGraph.record(model, tokens);
    List<ReplacementOutput> outputs = outputs(run, overview.metric(), how.logits);
    ReplacementGraph graph =
        ReplacementGraph.of(run, outputs, how.settings, work.enter(Phase.CIRCUIT));
    Labels labels =
        new Labels(
            overview.model(),
            work.opened().transcodersCalled(),
            overview.prompt(),
            texts(overview.tokens().subList(0, end)));
    List<String> texts =
        outputs.stream()
            .map(
                output ->
                    output.node() instanceof Logit logit
                        ? work.opened().word(logit.word()).text()
                        : String.join(" ", overview.explained()))
            .toList();
    Shares shares = pruning.shares().orElse(new Shares(1, 1));
    Circuit circuit = pruning.cut(graph.circuit(run, labels, texts, shares.nodes, shares.edges));
    return circuit.with(
        CircuitAttention.of(run, graph, circuit, loadings, work.enter(Phase.ATTENTION)));
  }

  private static List<ReplacementOutput> outputs(Run run, Overview.Reading metric, int logits) {
    List<Word> unwanted = metric.distractors();
    if (!unwanted.isEmpty()) {
      requireArgument(
          metric.targets().size() == 1 && unwanted.size() == 1,
          "transcoders explain the difference of one target and one distractor");
      return List.of(
          ReplacementOutput.difference(run, metric.targets().get(0).id(), unwanted.get(0).id()));
    }
    return metric.chosen()
        ? ReplacementOutput.mostProbable(run, logits, Replaced.PROBABILITY)
        : ReplacementOutput.words(run, metric.targets().stream().mapToInt(Word::id).toArray());
  }

  private static List<String> texts(List<Word> words) {
    return words.stream().map(Word::text).toList();
  }
}

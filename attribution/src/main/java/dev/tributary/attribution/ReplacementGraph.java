package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * What explains some outputs of a run in the replacement model: the transformer with the output of
 * each MLP put together from the active latents of its transcoders and a recorded error, attention
 * patterns and the scales of norms held, also of those in transcoders. That model is linear in its
 * parts, so the graph is whole: the weight of an edge is what its source adds to its target, and
 * all sources of a target, biases included, add up to what it reads.
 *
 * <p>Nodes, in this order: latents that are active, by layer, token and number; errors, of each
 * layer at each token; embeddings of tokens; outputs. A latent reads its pre-activation. Errors and
 * embeddings read nothing, outputs write nothing. Biases, embeddings of positions and what decoders
 * add whatever the latents are belong to no node; {@link #certificate} counts them.
 *
 * <p>It holds numbers and names alone and needs no scope, unless an output is a {@link Direction}.
 *
 * @see <a href="https://transformer-circuits.pub/2025/attribution-graphs/methods.html">Ameisen et
 *     al. 2025</a>
 * @see <a href="https://github.com/safety-research/circuit-tracer">circuit-tracer</a>
 */
public final class ReplacementGraph {
  /** What the MLPs add at the first token, where a transformer often does something of its own. */
  public enum FirstToken {
    /** What latents and errors say, as at any other token. */
    REPLACED,
    /** What they added in the run, which belongs to no node; circuit-tracer's way. */
    CONSTANT
  }

  /** What becomes of latents that a graph has no room for. */
  public enum LeftOut {
    /** What they write is a part of the error of their layer and token. */
    IN_ERRORS,
    /**
     * What they write goes nowhere, and certificates say how much that is; circuit-tracer's way.
     */
    NOWHERE
  }

  /**
   * How a graph is made.
   *
   * @param mostLatents that it has at most: of more, those of largest influence on the outputs
   * @param round how many of them are chosen at once; fewer is slower and more faithful
   * @param firstToken {@link FirstToken}
   * @param leftOut {@link LeftOut}
   */
  public record Settings(int mostLatents, int round, FirstToken firstToken, LeftOut leftOut) {
    /** So many latents at most. */
    private static final int LATENTS = 7500;

    /** As many as circuit-tracer chooses at once. */
    private static final int ROUND = 2048;

    /**
     * Refuses counts that are not positive.
     *
     * @param mostLatents {@link #mostLatents()}
     * @param round {@link #round()}
     * @param firstToken {@link #firstToken()}
     * @param leftOut {@link #leftOut()}
     */
    public Settings {
      requireArgument(mostLatents > 0, "a graph of at most %d latents", mostLatents);
      requireArgument(round > 0, "latents are chosen %d at a time", round);
    }

    /** {@return what fits most: up to 7500 latents, of every token, what is left out in errors} */
    public static Settings standard() {
      return new Settings(LATENTS, ROUND, FirstToken.REPLACED, LeftOut.IN_ERRORS);
    }

    /** {@return as circuit-tracer makes it: up to 7500 latents, none of the first token} */
    public static Settings ofCircuitTracer() {
      return new Settings(LATENTS, ROUND, FirstToken.CONSTANT, LeftOut.NOWHERE);
    }

    /**
     * {@return the same with another limit}
     *
     * @param count of latents at most
     */
    public Settings withMostLatents(int count) {
      return new Settings(count, round, firstToken, leftOut);
    }

    /**
     * {@return the same with another round}
     *
     * @param count how many latents are chosen at once
     */
    public Settings withRound(int count) {
      return new Settings(mostLatents, count, firstToken, leftOut);
    }
  }

  /** How many nodes there are of each sort, in their order. */
  record Sizes(int latents, int errors, int embeddings, int outputs) {
    int firstEmbedding() {
      return latents + errors;
    }

    int firstOutput() {
      return latents + errors + embeddings;
    }

    int nodes() {
      return latents + errors + embeddings + outputs;
    }
  }

  private final Settings settings;
  private final Sizes sizes;
  private final List<? extends Node> nodes;
  private final double[] activations;
  private final double[] outputWeights;
  private final AdjacencyRows rows;
  private final List<Certificate> certificates;
  private final double[] leftOut;
  private final WeightedGraph graph;

  /**
   * @param settings with which it was made
   * @param activations of the latents
   * @param outputWeights of the outputs
   * @param certificates of the latents, then of the outputs
   * @param leftOut what latents that are no nodes add to these
   */
  ReplacementGraph(
      Settings settings,
      Sizes sizes,
      List<? extends Node> nodes,
      double[] activations,
      double[] outputWeights,
      AdjacencyRows rows,
      List<Certificate> certificates,
      double[] leftOut) {
    this.settings = settings;
    this.sizes = sizes;
    this.nodes = List.copyOf(nodes);
    this.activations = activations;
    this.outputWeights = outputWeights;
    this.rows = rows;
    this.certificates = List.copyOf(certificates);
    this.leftOut = leftOut;
    this.graph = new WeightedGraph(rows);
  }

  /**
   * {@return the graph of some outputs of a run of a model with transcoders}
   *
   * <p>Kept are the residual stream at every point, queries and keys or patterns, the weights of
   * attentions with their gains, errors, what sources write if it takes no more than a quarter of
   * the room, and the rows of the graph in the Java heap: a number for each source that is read.
   * Computed anew are patterns that were not recorded, once for at least eight directions, and what
   * sources write where it is not kept. A row of layer l and token t takes about 2 (l + 1) (t + 1)
   * products of a vector with a matrix of an attention; {@link Settings#mostLatents} bounds how
   * many rows there are.
   *
   * @param run of a model whose dictionaries are transcoders or cross-layer transcoders, at most
   *     one for each layer; a layer without one has errors alone
   * @param outputs what is explained, at least one
   * @param settings how
   * @param progress hears how many latents have been explained
   * @throws IllegalArgumentException if the model has no transcoders or others beside them, there
   *     is no output or an output is not of the run, or there is no memory for the graph
   * @throws java.util.concurrent.CancellationException if the thread is interrupted, which it stays
   */
  public static ReplacementGraph of(
      Run run, List<ReplacementOutput> outputs, Settings settings, Progress progress) {
    try (Scope scope = Scope.open()) {
      return new ReplacementGraphBuilder(run, outputs, settings, progress).graph();
    }
  }

  /** So many probabilities of attention are recorded at most; of more, queries and keys. */
  private static final long PROBABILITIES = 1L << 27;

  /**
   * {@return a run that records what a replacement graph is made of, and no derivatives} Of a long
   * prompt it has queries and keys in place of attention patterns, which are then computed anew for
   * each few directions that pass them.
   *
   * @param model with transcoders
   * @param tokens ids, as for {@link Transformer#run(int...)}
   * @throws IllegalArgumentException as {@link Transformer#run(int...)}
   */
  public static Run record(Transformer model, int... tokens) {
    Set<Site> sites =
        EnumSet.of(
            Site.TOKEN_EMBEDDING,
            Site.POSITION_EMBEDDING,
            Site.EMBEDDING,
            Site.RESIDUAL_AFTER_ATTENTION,
            Site.RESIDUAL_AFTER_MLP,
            Site.ATTENTION_OUTLET_SCALE,
            Site.MLP_OUTLET_SCALE,
            Site.MLP_OUTPUT,
            Site.FINAL_NORMALISED);
    long heads = 0;
    for (int layer = 0; layer < model.layers(); layer++) {
      heads += model.attention(layer).heads();
    }
    boolean brief = heads * tokens.length * tokens.length <= PROBABILITIES;
    sites.addAll(brief ? Set.of(Site.PATTERN) : Set.of(Site.QUERY, Site.KEY));
    for (Dictionary dictionary : model.dictionaries()) {
      dictionary.decoders().forEach(decoder -> sites.add(decoder.place().site()));
    }
    return model.values(sites, tokens);
  }

  // ---- nodes and edges ---------------------------------------------------------------------

  /** How it was made. */
  Settings settings() {
    return settings;
  }

  /** {@return its nodes: latents, errors, embeddings, outputs} */
  public List<Node> nodes() {
    return List.copyOf(nodes);
  }

  /** How many nodes there are of each sort. */
  Sizes sizes() {
    return sizes;
  }

  /** {@return how many of the nodes are latents: the first} */
  public int latentCount() {
    return sizes.latents;
  }

  /** {@return how many of the nodes are outputs: the last} */
  public int outputCount() {
    return sizes.outputs;
  }

  /** {@return the values of the latents, in the order of nodes} */
  public double[] activations() {
    return activations.clone();
  }

  /** {@return how much each output counts, such as its probability, in the order of nodes} */
  public double[] outputWeights() {
    return outputWeights.clone();
  }

  /**
   * {@return what each node adds to one, in the order of nodes}
   *
   * @param target index of the node
   */
  public double[] into(int target) {
    return rows.dense(target);
  }

  /**
   * {@return what a node adds to another}
   *
   * @param target index of the node
   * @param source index of the node
   */
  public double weight(int target, int source) {
    return rows.get(target, source);
  }

  /**
   * {@return whether all that a latent or output reads is there: edges, biases and what is left out
   * sum to gradient · residual, and with what it adds itself to its pre-activation or value}
   *
   * @param target index of a latent or an output
   * @throws IllegalArgumentException if the node reads nothing
   */
  public Certificate certificate(int target) {
    return certificates.get(explained(target));
  }

  /**
   * {@return what latents that are left out add to a latent or an output, if that went {@link
   * LeftOut#NOWHERE}: a part of the sources of its certificate that no edge of this graph has}
   *
   * @param target index of a latent or an output
   * @throws IllegalArgumentException if the node reads nothing
   */
  public double leftOut(int target) {
    return leftOut[explained(target)];
  }

  /** The number of a node among latents and outputs. */
  private int explained(int target) {
    boolean latent = target >= 0 && target < sizes.latents;
    boolean output = target >= sizes.firstOutput() && target < sizes.nodes();
    requireArgument(
        latent || output,
        "node %d of %d reads nothing: latents are nodes 0 to %d, outputs those from %d on",
        target,
        sizes.nodes(),
        sizes.latents - 1,
        sizes.firstOutput());
    return latent ? target : target - sizes.errors - sizes.embeddings;
  }

  // ---- what matters ------------------------------------------------------------------------

  private double[] weights() {
    double[] weights = new double[sizes.nodes()];
    System.arraycopy(outputWeights, 0, weights, sizes.firstOutput(), sizes.outputs);
    return weights;
  }

  /**
   * {@return the influence of every node on the outputs: w (A + A² + ...), with A the magnitudes of
   * edges, each row divided by its sum, and w the weights of the outputs}
   */
  public double[] influence() {
    return graph.influence(weights());
  }

  /**
   * {@return for every node the share of all influence that it and the more influential ones have}
   */
  public double[] cumulativeInfluence() {
    double[] influence = influence();
    int[] order =
        IntStream.range(0, influence.length)
            .boxed()
            .sorted((one, other) -> Double.compare(influence[other], influence[one]))
            .mapToInt(Integer::intValue)
            .toArray();
    double sum = 0;
    double[] result = new double[influence.length];
    for (int node : order) {
      sum += influence[node];
      result[node] = sum;
    }
    for (int node = 0; node < result.length; node++) {
      result[node] /= sum == 0 ? 1 : sum;
    }
    return result;
  }

  /** {@return how much of the computation is explained by latents and embeddings} */
  public Circuit.Scores scores() {
    double[] weights = weights();
    double[] influence = graph.influence(weights);
    double embeddings = sum(influence, sizes.firstEmbedding(), sizes.firstOutput());
    double errors = sum(influence, sizes.latents, sizes.firstEmbedding());
    double all = sum(influence, 0, influence.length) + sum(weights, 0, weights.length);
    // all that passes an edge from an error is the influence of errors, which read nothing
    return new Circuit.Scores(
        embeddings == 0 ? 0 : embeddings / (embeddings + errors), (all - errors) / all);
  }

  private static double sum(double[] numbers, int from, int to) {
    double sum = 0;
    for (int i = from; i < to; i++) {
      sum += numbers[i];
    }
    return sum;
  }

  // ---- pruning -----------------------------------------------------------------------------

  /**
   * What is left of the graph after pruning.
   *
   * @param nodes indices of those kept
   * @param edges those kept, as numbered by the graph
   */
  record Kept(BitSet nodes, BitSet edges) {}

  /** A kept edge is handed over to this. */
  @FunctionalInterface
  interface EdgeSink {
    void take(int target, int source, double weight);
  }

  /**
   * Keeps the nodes of largest influence and then, among them, the edges of largest score, which is
   * their part in the influence, and removes dead ends: latents and errors without a path to an
   * output, and latents that nothing leads to. Embeddings and outputs stay.
   *
   * @param nodeShare of the sum of all influence that the nodes kept have at least, 0 to 1
   * @param edgeShare of the sum of all scores that the edges kept have at least, 0 to 1
   * @throws IllegalArgumentException if a share is not between 0 and 1
   */
  Kept prune(double nodeShare, double edgeShare) {
    Circuit.requireShare("node", nodeShare);
    Circuit.requireShare("edge", edgeShare);
    BitSet inputs = new BitSet();
    inputs.set(sizes.firstEmbedding(), sizes.firstOutput());
    BitSet leaves = new BitSet();
    leaves.set(sizes.latents, sizes.firstOutput());
    WeightedGraph.Kept kept = graph.prune(weights(), nodeShare, edgeShare, inputs, leaves);
    BitSet left = (BitSet) kept.nodes().clone();
    left.set(sizes.firstEmbedding(), sizes.nodes());
    return new Kept(left, kept.edges());
  }

  /** Hands over the kept edges by target, then source. */
  void forEachKept(Kept kept, EdgeSink sink) {
    int[] sources = new int[sizes.nodes()];
    double[] magnitudes = new double[sizes.nodes()];
    for (int target = 0; target < sizes.nodes(); target++) {
      int first = rows.first(target);
      int end = rows.first(target + 1);
      if (kept.edges.nextSetBit(first) < 0 || kept.edges.nextSetBit(first) >= end) {
        continue;
      }
      rows.read(target, sources, magnitudes);
      for (int edge = kept.edges.nextSetBit(first);
          edge >= 0 && edge < end;
          edge = kept.edges.nextSetBit(edge + 1)) {
        int source = sources[edge - first];
        sink.take(target, source, rows.get(target, source));
      }
    }
  }

  // ---- as a circuit ------------------------------------------------------------------------

  /**
   * {@return what is left of the graph after pruning, as a circuit} Latents and errors without a
   * path to an output are left out, and so are embeddings without one. What biases and nodes that
   * are left out add to a target is its remainder. A direction is a metric there.
   *
   * @param run that it is the graph of
   * @param labels what to call what it is of
   * @param texts of the outputs, in their order
   * @param nodeShare of the sum of all influence that the nodes kept have at least, 0 to 1
   * @param edgeShare of the sum of all scores that the edges kept have at least, 0 to 1
   * @throws IllegalArgumentException if a share is not between 0 and 1, there are not as many texts
   *     as outputs, or texts of other tokens than those of the run
   */
  public Circuit circuit(
      Run run, Circuit.Labels labels, List<String> texts, double nodeShare, double edgeShare) {
    requireArgument(
        texts.size() == sizes.outputs, "%d texts of %d outputs", texts.size(), sizes.outputs);
    return new ReplacementCircuit(this, run, texts).of(labels, prune(nodeShare, edgeShare));
  }
}

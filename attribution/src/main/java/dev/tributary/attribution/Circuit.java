package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * Some nodes of one run and all edges among them: a graph without cycles that ends in what is
 * explained, its outputs: a metric, or several logits. It holds numbers and names alone, needs no
 * scope, and is equal to what was read back from a file.
 *
 * <p>Where the model has dictionaries, their latents, errors and pre-biases are nodes in place of
 * the neurons or heads (and output biases) that they encode, so that nothing is counted twice; of
 * two dictionaries of one layer's MLP, that of its output.
 *
 * <p>The <em>influence</em> of a node is that of a graph whose rows are targets: with A the matrix
 * of |edge|, those of the three inputs of a head added, each row divided by its sum, and w the
 * weights of the outputs, I = w (A + A² + ...). The <em>score</em> of an edge is its part of
 * A[target, source] · (I + w)[target]. What other nodes of the model add to a target is its
 * <em>remainder</em>: the sum of all edges into it minus those of the circuit. It is no node and
 * has no part in influence; in {@link #scores} it counts as an error.
 *
 * @param nodes in the order of the forward pass, the outputs last
 * @param edges none of which is 0, by target, then source, then path
 * @param inputs what is known of all edges into each target together, by target, then path; none if
 *     nothing is known of any
 * @param patterns of the heads of {@code nodes}; those of lesser heads are left out when there
 *     would be more than half a million probabilities
 * @param groups of nodes that a reader has put together; no node is in two
 * @param attention behind some of its edges and heads
 * @see <a href="https://transformer-circuits.pub/2025/attribution-graphs/methods.html">Ameisen et
 *     al. 2025</a>
 */
public record Circuit(
    Origin origin,
    List<Member> nodes,
    List<Edge> edges,
    List<Input> inputs,
    List<Pattern> patterns,
    List<Group> groups,
    CircuitAttention attention) {

  /**
   * What people call what a circuit is of.
   *
   * @param model name, or folder
   * @param dictionaries names of the sets of dictionaries whose latents are nodes
   * @param tokens text of each
   */
  public record Labels(
      String model, List<String> dictionaries, String prompt, List<String> tokens) {
    /**
     * Takes copies of the lists.
     *
     * @param model {@link #model()}
     * @param dictionaries {@link #dictionaries()}
     * @param prompt {@link #prompt()}
     * @param tokens {@link #tokens()}
     */
    public Labels {
      dictionaries = List.copyOf(dictionaries);
      tokens = List.copyOf(tokens);
    }
  }

  /**
   * What a circuit is of.
   *
   * @param labels what people call it
   * @param tokens id of each, -1 of one that is not known
   * @param layers of the model
   * @param scaleGradient whether the scales of layer norms were seen to move
   * @param measure what the edges are parts of
   */
  public record Origin(
      Labels labels,
      List<Integer> tokens,
      int layers,
      ScaleGradient scaleGradient,
      EdgeMeasure measure) {
    /**
     * Refuses tokens without text.
     *
     * @param labels {@link #labels()}
     * @param tokens {@link #tokens()}
     * @param layers {@link #layers()}
     * @param scaleGradient {@link #scaleGradient()}
     * @param measure {@link #measure()}
     */
    public Origin {
      tokens = List.copyOf(tokens);
      requireArgument(
          tokens.size() == labels.tokens.size(),
          "%d tokens with %d texts",
          tokens.size(),
          labels.tokens.size());
    }
  }

  /**
   * What is explained, as the last nodes of a circuit are.
   *
   * @param text in words
   * @param position last token that it reads
   * @param value of it, if it is known
   * @param weight of it in influence, above 0: the probability of a logit, 1 of a metric
   */
  public record Output(String text, int position, OptionalDouble value, double weight) {
    /**
     * Refuses what is no number, and what has no weight.
     *
     * @param text {@link #text()}
     * @param position {@link #position()}
     * @param value {@link #value()}
     * @param weight {@link #weight()}
     */
    public Output {
      requireArgument(
          value.isEmpty() || Double.isFinite(value.getAsDouble()),
          "the value of %s is %s",
          text,
          value.orElse(Double.NaN));
      requireArgument(
          weight > 0 && Double.isFinite(weight),
          "the weight of %s is %s, it must be above 0",
          text,
          weight);
    }
  }

  /**
   * What was read of a node.
   *
   * @param node of the circuit
   * @param point at which it writes; of an output, the one after all
   * @param activation of a neuron, a latent or a head (its probability)
   * @param attribution activation times gradient; not of an output
   * @param directEffect what reaches the metric without passing another node; not of an output
   * @param output what it is, if it is explained
   */
  public record Member(
      Node node,
      Point point,
      OptionalDouble activation,
      OptionalDouble attribution,
      OptionalDouble directEffect,
      Optional<Output> output) {
    /**
     * Refuses what is no number.
     *
     * @param node {@link #node()}
     * @param point {@link #point()}
     * @param activation {@link #activation()}
     * @param attribution {@link #attribution()}
     * @param directEffect {@link #directEffect()}
     * @param output {@link #output()}
     */
    public Member {
      requireFinite(node, "activation", activation);
      requireFinite(node, "attribution", attribution);
      requireFinite(node, "direct effect", directEffect);
    }

    private static void requireFinite(Node node, String what, OptionalDouble number) {
      requireArgument(
          number.isEmpty() || Double.isFinite(number.getAsDouble()),
          "the %s of %s is %s",
          what,
          node,
          number.orElse(Double.NaN));
    }
  }

  /**
   * An edge.
   *
   * @param source index of the node
   * @param target index of the node
   * @param path through which input of a head; {@link InputPath#ALL} into any other node
   */
  public record Edge(int source, int target, InputPath path, double weight) {}

  /**
   * All edges of the model into a target.
   *
   * @param target index of the node
   * @param path through which input of a head; {@link InputPath#ALL} into any other node
   */
  public record Input(int target, InputPath path, Certificate certificate) {}

  /**
   * The attention of one head.
   *
   * @param probabilities for each query those of the keys up to it, to five decimals
   */
  public record Pattern(int layer, int head, List<List<Double>> probabilities) {
    /**
     * Takes copies of the lists.
     *
     * @param layer {@link #layer()}
     * @param head {@link #head()}
     * @param probabilities {@link #probabilities()}
     */
    public Pattern {
      probabilities = probabilities.stream().map(List::copyOf).toList();
    }
  }

  /**
   * Nodes that a reader has put together.
   *
   * @param name what the reader calls them
   * @param nodes indices, ascending
   */
  public record Group(String name, List<Integer> nodes) {
    /**
     * Takes a copy of the list.
     *
     * @param name {@link #name()}
     * @param nodes {@link #nodes()}
     */
    public Group {
      nodes = nodes.stream().sorted().toList();
    }
  }

  /**
   * How much of the computation a circuit holds, each from 0 to 1.
   *
   * @param replacement influence of the embeddings, divided by that of embeddings, reconstruction
   *     errors and remainders
   * @param completeness share of what is neither error nor remainder among the edges into a node,
   *     averaged over all nodes by influence; a node that reads nothing is complete, be it an error
   */
  public record Scores(double replacement, double completeness) {}

  /**
   * Refuses what is no graph of a run.
   *
   * @param origin {@link #origin()}
   * @param nodes {@link #nodes()}
   * @param edges {@link #edges()}
   * @param inputs {@link #inputs()}
   * @param patterns {@link #patterns()}
   * @param groups {@link #groups()}
   * @param attention {@link #attention()}
   * @throws IllegalArgumentException if an index, an order or a number is not as described
   */
  public Circuit {
    nodes = List.copyOf(nodes);
    edges = List.copyOf(edges);
    inputs = List.copyOf(inputs);
    patterns = List.copyOf(patterns);
    groups = List.copyOf(groups);
    CircuitChecks.requireNodes(origin, nodes);
    CircuitChecks.requireEdges(nodes, edges, inputs);
    CircuitChecks.requireGroups(nodes.size(), groups);
    CircuitChecks.requireAttention(origin, edges, attention);
  }

  /**
   * {@return the same with what explains its attention}
   *
   * @param explained in place of {@link #attention()}
   */
  public Circuit with(CircuitAttention explained) {
    return new Circuit(origin, nodes, edges, inputs, patterns, groups, explained);
  }

  // ---- what matters ------------------------------------------------------------------------

  private WeightedGraph graph() {
    return new WeightedGraph(
        nodes.size(),
        edges.stream().mapToInt(Edge::source).toArray(),
        edges.stream().mapToInt(Edge::target).toArray(),
        edges.stream().mapToDouble(Edge::weight).toArray());
  }

  /** {@return what is explained, as the last nodes} */
  public List<Output> outputs() {
    return nodes.stream().flatMap(node -> node.output.stream()).toList();
  }

  /** The weight of each node as an output, in an array of some size. */
  private double[] weights(int size) {
    double[] weights = new double[size];
    for (int i = 0; i < nodes.size(); i++) {
      weights[i] = nodes.get(i).output.map(Output::weight).orElse(0.0);
    }
    return weights;
  }

  /** {@return the influence of every node} */
  public double[] influence() {
    return graph().influence(weights(nodes.size()));
  }

  /** {@return the score of every edge} */
  public double[] edgeScores() {
    return graph().edgeScores(weights(nodes.size()));
  }

  /**
   * {@return of every input, the sum of all edges of the model into it minus those of this circuit}
   */
  public double[] remainders() {
    Map<List<Object>, Double> sums = new HashMap<>();
    for (Edge edge : edges) {
      sums.merge(List.of(edge.target, edge.path), edge.weight, Double::sum);
    }
    return inputs.stream()
        .mapToDouble(
            input ->
                input.certificate.sources()
                    - sums.getOrDefault(List.of(input.target, input.path), 0.0))
        .toArray();
  }

  /** {@return how much of the computation this circuit holds, if that is known of its inputs} */
  public Optional<Scores> scores() {
    if (inputs.isEmpty()) {
      return Optional.empty();
    }
    int remainder = nodes.size(); // a node that all remainders come from
    double[] remainders = remainders();
    WeightedGraph graph =
        new WeightedGraph(
            remainder + 1,
            IntStream.concat(
                    edges.stream().mapToInt(Edge::source),
                    IntStream.generate(() -> remainder).limit(remainders.length))
                .toArray(),
            IntStream.concat(
                    edges.stream().mapToInt(Edge::target), inputs.stream().mapToInt(Input::target))
                .toArray(),
            DoubleStream.concat(edges.stream().mapToDouble(Edge::weight), Arrays.stream(remainders))
                .toArray());
    double[] outputs = weights(remainder + 1);
    double[] influence = graph.influence(outputs);
    double embeddings = 0;
    double errors = influence[remainder];
    double all = influence[remainder];
    for (int i = 0; i < nodes.size(); i++) {
      Node node = nodes.get(i).node;
      embeddings += node.isInput() ? influence[i] : 0;
      errors += node.isError() ? influence[i] : 0;
      all += influence[i] + outputs[i];
    }
    double[] passing = graph.edgeScores(outputs);
    double wrong = 0;
    for (int i = 0; i < passing.length; i++) {
      boolean error = i >= edges.size() || nodes.get(edges.get(i).source).node.isError();
      wrong += error ? passing[i] : 0;
    }
    return Optional.of(
        new Scores(embeddings == 0 ? 0 : embeddings / (embeddings + errors), (all - wrong) / all));
  }

  // ---- pruning -----------------------------------------------------------------------------

  /**
   * Keeps the nodes of largest influence and then, among them, the edges of largest score, and
   * removes dead ends: nodes without a path to an output, and nodes that nothing leads to, here or
   * in the model, though they compute something. What others that are left out lead to stays, for
   * they are its {@linkplain #remainders remainder}. The outputs stay, and so do embeddings that
   * have a path to one.
   *
   * @param nodeShare of the sum of all influence that the nodes kept have at least, 0 to 1
   * @param edgeShare of the sum of all scores, those of the inputs of a head added, that the edges
   *     kept have at least, 0 to 1
   * @return what is left
   * @throws IllegalArgumentException if a share is not between 0 and 1
   */
  public Circuit prune(double nodeShare, double edgeShare) {
    requireShare("node", nodeShare);
    requireShare("edge", edgeShare);
    return kept(
        graph().prune(weights(nodes.size()), nodeShare, edgeShare, which(Node::isInput), leaves()));
  }

  static void requireShare(String of, double share) {
    requireArgument(
        share >= 0 && share <= 1, "%s share is %s, it must be between 0 and 1", of, share);
  }

  /**
   * Keeps the edges of at least some magnitude, those of the inputs of a head added, and the nodes
   * that still have a path to an output. A strong node that many weak ones feed stays, without
   * them.
   *
   * @param threshold least magnitude, not negative
   * @return what is left
   * @throws IllegalArgumentException if the threshold is negative or no number
   */
  public Circuit above(double threshold) {
    requireArgument(threshold >= 0, "threshold is %s, it must be 0 or more", threshold);
    return kept(graph().above(threshold, weights(nodes.size())));
  }

  /**
   * Keeps the {@code count} edges of largest score, those of the inputs of a head added and counted
   * as one, and the nodes that still have a path to an output.
   *
   * @param count at most so many edges
   * @return what is left
   * @throws IllegalArgumentException if {@code count} is negative
   */
  public Circuit top(int count) {
    return kept(graph().top(count, weights(nodes.size())));
  }

  private BitSet which(Predicate<Node> wanted) {
    BitSet result = new BitSet();
    for (int i = 0; i < nodes.size(); i++) {
      result.set(i, wanted.test(nodes.get(i).node));
    }
    return result;
  }

  /** What reads nothing, or something that need not be here. */
  private BitSet leaves() {
    BitSet leaves = which(node -> node.targets().isEmpty());
    for (Input input : inputs) {
      if (input.certificate.sources() != 0) {
        leaves.set(input.target);
      }
    }
    return leaves;
  }

  /** Layer and number of the head of a node that looks at a token. */
  static Optional<List<Integer>> head(Node node) {
    Coordinates at = node.coordinates();
    return at.key().isPresent()
        ? Optional.of(List.of(at.layer().orElseThrow(), at.index().orElseThrow()))
        : Optional.empty();
  }

  private Circuit kept(WeightedGraph.Kept kept) {
    int[] index = new int[nodes.size()];
    List<Member> left = new ArrayList<>();
    Set<List<Integer>> heads = new HashSet<>();
    for (int i = 0; i < index.length; i++) {
      if (kept.nodes().get(i)) {
        index[i] = left.size();
        left.add(nodes.get(i));
        head(nodes.get(i).node).ifPresent(heads::add);
      }
    }
    List<Edge> some = kept.edges().stream().mapToObj(edges::get).toList();
    return new Circuit(
        origin,
        left,
        some.stream()
            .map(e -> new Edge(index[e.source], index[e.target], e.path, e.weight))
            .toList(),
        inputs.stream()
            .filter(input -> kept.nodes().get(input.target))
            .map(input -> new Input(index[input.target], input.path, input.certificate))
            .toList(),
        patterns.stream()
            .filter(pattern -> heads.contains(List.of(pattern.layer, pattern.head)))
            .toList(),
        groups.stream()
            .map(group -> new Group(group.name, left(group, kept, index)))
            .filter(group -> !group.nodes.isEmpty())
            .toList(),
        attention.kept(some, index, left));
  }

  private static List<Integer> left(Group group, WeightedGraph.Kept kept, int... index) {
    return group.nodes.stream().filter(kept.nodes()::get).map(node -> index[node]).toList();
  }
}

package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.cli.DatasetOutputs.Question;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.NodeList;
import dev.tributary.attribution.dataset.NodeMethod;
import dev.tributary.attribution.dataset.NodeScorer;
import dev.tributary.attribution.dataset.PairSums;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.explain.Phase;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.BitSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Scores the nodes of a model over pairs of prompts. */
@Command(
    name = "nodes",
    header =
        "Scores heads, MLPs, neurons and latents of dictionaries over pairs of prompts, node by"
            + " node.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "A score estimates what the metric is with a node as in the corrupted prompt, less what it",
      "is in the clean one, one token at a time, added up over the tokens unless --by-token tells",
      "them apart. grad-drop and atp-star have magnitudes.",
      "",
      "Examples:",
      "  dataset nodes pairs.jsonl --method atp-star --html nodes.html",
      "  dataset nodes pairs.jsonl --dictionaries shipped"
    })
final class DatasetNodesCommand implements Callable<Integer> {
  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final DatasetOptions options = new DatasetOptions();

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      converter = MethodConverter.class,
      description =
          "atp (attribution patching), atp-qk-fix (queries and keys by how far patterns really"
              + " move), grad-drop, atp-star (both), or exact (a run for each node and token, of"
              + " latents for those alone that move). Default: atp-star.")
  private NodeMethod method = NodeMethod.ATP_STAR;

  @Option(names = "--neurons", description = "Score all neurons too, by their activations.")
  private boolean neurons;

  @Option(
      names = "--sample",
      paramLabel = "N",
      description =
          "Patch so many nodes, drawn at random of those that move, over the first "
              + ScoringOptions.SAMPLE_PAIRS
              + " pairs, to say how good the scores are; 0 for none. Default: ${DEFAULT-VALUE}.")
  private int sample = 50;

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "How many nodes to print. Default: ${DEFAULT-VALUE}.")
  private int top = 20;

  @Mixin private final DatasetOutputs outputs = new DatasetOutputs();

  DatasetNodesCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  static final class MethodConverter extends HyphenConverter<NodeMethod> {
    MethodConverter() {
      super(NodeMethod.class);
    }
  }

  @Override
  public Integer call() throws IOException {
    options.requirePatching("nodes are as in the corrupted prompt");
    options.requireWhole(
        "nodes are no edges; --neurons and --dictionaries score all neurons and latents");
    requireArgument(sample >= 0, "--sample is %d, it must be 0 or more", sample);
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    return outputs.answer(this::question, out, err);
  }

  private Question question(TerminalProgress progress, LeftOut leftOut) throws IOException {
    Data data = options.open(progress);
    NodeList nodes = nodes(data);
    NodeScorer scorer = new NodeScorer(nodes, method, progress.inside(Phase.NODES));
    List<Integer> drawn =
        method == NodeMethod.EXACT || sample == 0 ? List.of() : drawn(data, scorer);
    return new Question(
        data,
        List.of("nodes by " + method, "nodes: " + nodes, "compared: " + drawn),
        parts ->
            DatasetReport.answer(
                data.scored(
                    new ScoredPairs.Nodes(nodes),
                    HyphenConverter.name(method),
                    parts,
                    () -> PairSums.nodes(scorer),
                    drawn,
                    () -> PairSums.sample(scorer, drawn),
                    leftOut,
                    progress),
                top));
  }

  private NodeList nodes(Data data) {
    NodeList components = NodeList.of(data.model());
    NodeList more = neurons ? components.withNeurons() : components;
    NodeList all = options.choice().dictionaries().isPresent() ? more.withDictionaries() : more;
    OptionalInt tokens = data.files().reader().length();
    return tokens.isPresent() ? all.byToken(tokens.getAsInt()) : all;
  }

  /** Some of the nodes that move in the pairs over which they are patched. */
  private List<Integer> drawn(Data data, NodeScorer scorer) throws IOException {
    BitSet moved = new BitSet();
    data.files()
        .readFirst(
            ScoringOptions.SAMPLE_PAIRS,
            pair -> IntStream.of(scorer.moved(pair)).forEach(moved::set));
    int[] all = moved.stream().toArray();
    return ExactSample.draw(all.length, sample, ScoringOptions.SEED).stream()
        .map(i -> all[i])
        .toList();
  }
}

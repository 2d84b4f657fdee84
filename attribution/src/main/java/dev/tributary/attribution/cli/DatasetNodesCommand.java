package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.cli.DatasetOutputs.Answer;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.NodeMethod;
import dev.tributary.attribution.dataset.NodeScorer;
import dev.tributary.attribution.dataset.NodeScores.Kind;
import dev.tributary.attribution.dataset.NodeScores.Node;
import dev.tributary.attribution.dataset.PairSums;
import dev.tributary.attribution.dataset.PartedSums;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Scores the nodes of a model over pairs of prompts. */
@Command(
    name = "nodes",
    header = "Scores queries, keys, values and what heads and MLPs write, over pairs of prompts.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "A score estimates what the metric is with a node as in the corrupted prompt, less what it",
      "is in the clean one, one token at a time, added up over the tokens. grad-drop and atp-star",
      "have magnitudes.",
      "",
      "Example:",
      "  dataset nodes pairs.jsonl --method atp-star --html nodes.html"
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
          "atp (attribution patching), atp-qk-fix (queries and keys by how far patterns really move),"
              + " grad-drop, atp-star (both), or exact (a run for each node and token). Default:"
              + " atp-star.")
  private NodeMethod method = NodeMethod.ATP_STAR;

  @Option(names = "--neurons", description = "Score all neurons too, by their activations.")
  private boolean neurons;

  @Option(
      names = "--sample",
      paramLabel = "N",
      description =
          "Patch so many nodes, drawn at random, over the first "
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
    options.requireAllTokens("nodes are added up over tokens");
    requireArgument(sample >= 0, "--sample is %d, it must be 0 or more", sample);
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    outputs.requireWritable();
    Answer answer;
    LeftOut leftOut = new LeftOut();
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Data data = options.open(progress);
      Set<Kind> kinds = neurons ? Kind.ALL : Kind.COMPONENTS;
      NodeScorer scorer = new NodeScorer(data.model(), method, kinds);
      List<Node> nodes = scorer.nodes();
      List<Integer> drawn =
          method == NodeMethod.EXACT
              ? List.of()
              : ExactSample.draw(nodes.size(), sample, ScoringOptions.SEED);
      List<String> question =
          List.of("nodes by " + method, "kinds: " + kinds, "compared: " + drawn);
      try (PartedSums parts = outputs.parts(data, question)) {
        answer =
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
                top);
        outputs.write(answer);
        parts.delete();
      }
    }
    outputs.print(answer, out, err);
    leftOut.lines().forEach(err::println);
    return ExitCode.OK;
  }
}

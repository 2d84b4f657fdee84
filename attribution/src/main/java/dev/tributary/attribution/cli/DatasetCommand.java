package dev.tributary.attribution.cli;

import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** What is asked of many prompts. */
@Command(
    name = "dataset",
    header =
        "Scores edges among components, and nodes, over many pairs of prompts, and tests circuits.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Examples:",
      "  dataset generate indirect-object > pairs.jsonl",
      "  dataset score pairs.jsonl --out scores.json",
      "  dataset circuit pairs.jsonl --scores scores.json --top 200 --out circuit.json",
      "  dataset evaluate pairs.jsonl --scores scores.json"
    })
final class DatasetCommand implements Runnable {
  @Spec private CommandSpec spec = CommandSpec.create();

  /** The command and those that follow it. */
  static CommandLine of(PrintWriter out, PrintWriter err) {
    return new CommandLine(new DatasetCommand())
        .addSubcommand(new DatasetGenerateCommand(out))
        .addSubcommand(new DatasetScoreCommand(out, err))
        .addSubcommand(new DatasetNodesCommand(out, err))
        .addSubcommand(new DatasetCircuitCommand(out, err))
        .addSubcommand(new DatasetEvaluateCommand(out, err));
  }

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(), "dataset is followed by generate, score, nodes, circuit or evaluate");
  }
}

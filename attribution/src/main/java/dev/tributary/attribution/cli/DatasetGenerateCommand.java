package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.PromptTemplate;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Writes pairs of prompts for the shipped model. */
@Command(
    name = "generate",
    header = "Writes pairs of prompts for the model that comes with the program, as JSON Lines.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {"", "Example:", "  dataset generate indirect-object --pairs 100 > pairs.jsonl"})
final class DatasetGenerateCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Parameters(
      paramLabel = "TEMPLATE",
      converter = TemplateConverter.class,
      description = "indirect-object, greater-than, agreement, docstring or induction.")
  private PromptTemplate template = PromptTemplate.INDIRECT_OBJECT;

  @Option(names = "--pairs", paramLabel = "N", description = "How many. Default: ${DEFAULT-VALUE}.")
  private int pairs = 100;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of the random numbers: the same draws the same. Default: ${DEFAULT-VALUE}.")
  private long seed = 1;

  static final class TemplateConverter extends HyphenConverter<PromptTemplate> {
    TemplateConverter() {
      super(PromptTemplate.class);
    }
  }

  DatasetGenerateCommand(PrintWriter out) {
    this.out = out;
  }

  @Override
  public Integer call() {
    requireArgument(pairs >= 1, "--pairs is %d, it must be 1 or more", pairs);
    template.draw(pairs, seed).forEach(example -> out.println(example.json()));
    return ExitCode.OK;
  }
}

package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.explain.ModelChoice;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that say which dictionaries split what a model computes, and what latents mean. */
final class ExplainedDictionaries {
  @Mixin private final DictionaryOption dictionaries = new DictionaryOption();

  @Option(
      names = "--explanations",
      paramLabel = "FILE",
      description =
          "What their latents stand for, to be told with them: JSON as Neuronpedia exports it,"
              + " objects with index, description and layer, or dictionary, as L3.mlp.")
  private Optional<Path> explanations = Optional.empty();

  /** A model with them, if they are given. */
  ModelChoice of(ModelChoice model) {
    requireArgument(
        explanations.isEmpty() || dictionaries.isGiven(),
        "--explanations are of latents of --dictionaries");
    ModelChoice split = dictionaries.of(model);
    return explanations.map(split::withExplanations).orElse(split);
  }
}

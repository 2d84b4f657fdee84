package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.explain.ModelChoice;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The option that says which dictionaries split what a model computes. */
final class DictionaryOption {
  @Option(
      names = {"--dictionaries", "--autoencoders"},
      paramLabel = "DIR",
      description =
          "Folder with sparse dictionaries or transcoders as SAELens, dictionary_learning, sparsify,"
              + " Gemma Scope, Llama Scope and others publish them, or with dictionaries.json, which"
              + " lists them; its name in the cache of Hugging Face; or \"shipped\" for those of the"
              + " model that comes with the program.")
  private Optional<String> folder = Optional.empty();

  boolean isGiven() {
    return folder.isPresent();
  }

  /** A model with them, if they are given. */
  ModelChoice of(ModelChoice model) {
    requireArgument(
        model.name().isEmpty() || !folder.equals(Optional.of(ModelChoice.SHIPPED)),
        "the shipped dictionaries belong to the shipped model, not to --model");
    return folder.map(model::withDictionaries).orElse(model);
  }
}

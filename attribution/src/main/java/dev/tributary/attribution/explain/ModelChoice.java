package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Which model computes, how precisely, and what splits it.
 *
 * @param name a folder, a file, or what it is called in a store of this machine ({@link
 *     LocalModel}); none is the small model that comes with the library
 * @param adapter a folder with a LoRA adapter to merge into it, or its name
 * @param dtype precision to compute in
 * @param dictionaries a folder of sparse dictionaries whose latents are nodes beside the model's
 *     own, or its name; {@link #SHIPPED} for those of the shipped model
 * @param explanations a file that says what their latents stand for, JSON as Neuronpedia exports it
 * @param transcoders a folder of transcoders that replace the MLPs where a question asks for the
 *     replacement model
 */
public record ModelChoice(
    Optional<String> name,
    Optional<String> adapter,
    DType dtype,
    Optional<String> dictionaries,
    Optional<Path> explanations,
    Optional<String> transcoders) {
  /** Names the dictionaries that come with the shipped model. */
  public static final String SHIPPED = "shipped";

  private static final String TEXTBOOK = "textbook";

  /**
   * Refuses an adapter or dictionaries of another model than the named one.
   *
   * @param name {@link #name()}
   * @param adapter {@link #adapter()}
   * @param dtype {@link #dtype()}
   * @param dictionaries {@link #dictionaries()}
   * @param explanations {@link #explanations()}
   * @param transcoders {@link #transcoders()}
   * @throws IllegalArgumentException if they are
   */
  public ModelChoice {
    requireArgument(
        adapter.isEmpty() || name.isPresent(), "adapter needs the model that it adapts");
    requireArgument(
        name.isEmpty() || !dictionaries.equals(Optional.of(SHIPPED)),
        "the shipped dictionaries belong to the shipped model, not to model");
    requireArgument(
        explanations.isEmpty() || dictionaries.isPresent(),
        "explanations are of latents of dictionaries, and there are none");
  }

  /** {@return the small model that comes with the library, in FLOAT} */
  public static ModelChoice shipped() {
    return new ModelChoice(
        Optional.empty(),
        Optional.empty(),
        DType.FLOAT,
        Optional.empty(),
        Optional.empty(),
        Optional.empty());
  }

  /**
   * {@return a model of this machine, in FLOAT}
   *
   * @param name a folder, a file, or what it is called in a store
   */
  public static ModelChoice named(String name) {
    return new ModelChoice(
        Optional.of(name),
        Optional.empty(),
        DType.FLOAT,
        Optional.empty(),
        Optional.empty(),
        Optional.empty());
  }

  /**
   * {@return the same in another precision}
   *
   * @param other precision to compute in
   */
  public ModelChoice in(DType other) {
    return new ModelChoice(name, adapter, other, dictionaries, explanations, transcoders);
  }

  /**
   * {@return the same with an adapter merged into it}
   *
   * @param folder of the adapter, or its name
   */
  public ModelChoice withAdapter(String folder) {
    return new ModelChoice(
        name, Optional.of(folder), dtype, dictionaries, explanations, transcoders);
  }

  /**
   * {@return the same with dictionaries}
   *
   * @param folder of the dictionaries, their name, or {@link #SHIPPED}
   */
  public ModelChoice withDictionaries(String folder) {
    return new ModelChoice(name, adapter, dtype, Optional.of(folder), explanations, transcoders);
  }

  /**
   * {@return the same with texts about the latents of its dictionaries}
   *
   * @param file as Neuronpedia exports them
   * @throws IllegalArgumentException if it has no dictionaries
   */
  public ModelChoice withExplanations(Path file) {
    return new ModelChoice(name, adapter, dtype, dictionaries, Optional.of(file), transcoders);
  }

  /**
   * {@return the same with transcoders for replacement models}
   *
   * @param folder of the transcoders, or their name
   */
  public ModelChoice withTranscoders(String folder) {
    return new ModelChoice(name, adapter, dtype, dictionaries, explanations, Optional.of(folder));
  }

  /**
   * {@return the model by its files, its tokenizer read and its weights not yet}
   *
   * @throws IOException if it cannot be found or opened
   */
  public OpenedModel open() throws IOException {
    Optional<Checkpoint> checkpoint =
        name.isEmpty() ? Optional.empty() : Optional.of(checkpoint(name.get(), adapter));
    Tokenizer tokenizer =
        checkpoint.isEmpty() ? Tokenizers.textbook() : checkpoint.get().tokenizer();
    String called =
        (name.isEmpty() ? TEXTBOOK : called(name.get()))
            + checkpoint
                .flatMap(Checkpoint::adapter)
                .map(merged -> " with adapter " + merged.folder())
                .orElse("");
    return new OpenedModel(this, called, checkpoint, tokenizer);
  }

  /**
   * {@return the files of a model}
   *
   * @param name a folder, a file, or what it is called in a store
   * @param adapter a folder with an adapter to merge into it, or its name
   * @throws IOException if they cannot be found or opened
   */
  public static Checkpoint checkpoint(String name, Optional<String> adapter) throws IOException {
    Path found = LocalModel.find(name).path();
    return adapter.isEmpty()
        ? Checkpoint.open(found)
        : Checkpoint.open(found, LocalModel.find(adapter.get()).path());
  }

  /** What a model is called: as it was named, unless that is no name. */
  private static String called(String model) throws IOException {
    Path last = Path.of(model).getFileName();
    return last == null || last.toString().matches("\\.{0,2}")
        ? Path.of(model).toRealPath().toString()
        : model;
  }
}

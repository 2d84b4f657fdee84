package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A model by its files, before its weights are read.
 *
 * @param choice that named it
 * @param called what it is called
 * @param checkpoint its files; none of the shipped one
 * @param tokenizer that lies with it
 */
public record OpenedModel(
    ModelChoice choice, String called, Optional<Checkpoint> checkpoint, Tokenizer tokenizer) {

  /**
   * {@return its weights with its dictionaries, in the innermost scope}
   *
   * @param progress hears of layers that have been read
   * @throws IOException if they cannot be read
   */
  public Transformer load(Progress progress) throws IOException {
    Transformer model =
        checkpoint.isEmpty()
            ? Models.textbook(choice.dtype())
            : Models.load(checkpoint.get(), choice.dtype(), progress);
    return choice.dictionaries().isEmpty() ? model : with(model, choice.dictionaries().get());
  }

  /** A model with the transcoders of this one, and no other dictionaries. */
  Transformer replaced(Transformer model) throws IOException {
    return with(model, transcoders());
  }

  /**
   * {@return a model with dictionaries in place of those that it has, in the innermost scope}
   *
   * @param model that they are of
   * @param folder as {@link ModelChoice#dictionaries} names it
   * @throws IOException if they cannot be read
   */
  public static Transformer with(Transformer model, String folder) throws IOException {
    return model.with(
        folder.equals(ModelChoice.SHIPPED)
            ? Dictionaries.textbook(model.dtype())
            : Dictionaries.load(LocalModel.find(folder).path(), model.dtype(), model.config()));
  }

  private String transcoders() {
    return choice
        .transcoders()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "there are no transcoders to replace the MLPs of the model"));
  }

  /** What its transcoders are called: as feature pages know them, else as their folder. */
  List<String> transcodersCalled() throws IOException {
    String folder = transcoders();
    Path path = LocalModel.find(folder).path();
    List<String> scan = Dictionaries.scan(path);
    Path last = path.toRealPath().getFileName();
    return !scan.isEmpty()
        ? scan
        : List.of(Files.exists(Path.of(folder)) && last != null ? last.toString() : folder);
  }

  /**
   * {@return the tokens that it reads of a prompt}
   *
   * @param prompt what it reads
   * @throws IllegalArgumentException if it has no chat template and the prompt wants it
   */
  public List<Word> words(Prompt prompt) {
    int[] ids = tokenizer.encode(text(prompt), prompt.wrapping() == Prompt.Wrapping.TOKENIZER);
    return Arrays.stream(ids).mapToObj(this::word).toList();
  }

  /** A prompt as it is read, in the chat template if that is asked for. */
  String text(Prompt prompt) {
    return prompt.wrapping() == Prompt.Wrapping.CHAT
        ? tokenizer.chat(prompt.text())
        : prompt.text();
  }

  /**
   * {@return a token of the model, which may have more ids than its tokenizer has words}
   *
   * @param id in the vocabulary
   */
  public Word word(int id) {
    try {
      return new Word(id, tokenizer.text(id));
    } catch (IllegalArgumentException e) {
      return new Word(id, "<id " + id + ">");
    }
  }

  /**
   * {@return words of the vocabulary whose text begins in some way, apart from spaces before it and
   * from case; the shortest first}
   *
   * @param beginning of the text
   * @param most how many at most
   */
  public List<Word> wordsThatBegin(String beginning, int most) {
    String wanted = beginning.strip().toLowerCase(Locale.ROOT);
    return IntStream.range(0, tokenizer.vocabulary())
        .mapToObj(this::word)
        .filter(word -> word.text().strip().toLowerCase(Locale.ROOT).startsWith(wanted))
        .sorted(Comparator.comparingInt((Word word) -> word.text().length()))
        .limit(most)
        .toList();
  }

  /** The tokens that the texts of some lists are; none may be in two, or in one twice. */
  List<List<Word>> distinct(List<List<String>> lists) {
    Map<Integer, String> named = new HashMap<>();
    List<List<Word>> all = new ArrayList<>();
    for (List<String> texts : lists) {
      List<Word> words = new ArrayList<>();
      for (String text : texts) {
        int id = tokenizer.token(text);
        String other = named.putIfAbsent(id, text);
        requireArgument(
            other == null,
            "\"%s\" is named twice by targets and distractors%s",
            text,
            text.equals(other) ? "" : ": \"" + other + "\" is the same token");
        words.add(word(id));
      }
      all.add(List.copyOf(words));
    }
    return all;
  }
}

package dev.tributary.transformer.file;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Tokenizers out of files. */
public final class Tokenizers {
  /** Names of the files that a tokenizer may consist of, without the model's own config.json. */
  public static final List<String> FILE_NAMES = TokenizerFolder.NAMES;

  /** Names of the files that {@link #save} writes. */
  public static final List<String> SAVED_NAMES = List.of("tokenizer.json", "tokenizer_config.json");

  /**
   * Longest text, UTF-16 units: the library ends the process at ten million spaces in a row, and no
   * model reads as many tokens.
   */
  private static final int TEXT_LIMIT = 1_000_000;

  static {
    setUnlessSet("OPT_OUT_TRACKING", "true"); // or the library reports to its makers
    setUnlessSet("RUST_FLAVOR", "cpu"); // or it downloads a build of itself where there is a GPU
  }

  private Tokenizers() {}

  private static void setUnlessSet(String name, String value) {
    if (System.getenv(name) == null && System.getProperty(name) == null) {
      System.setProperty(name, value);
    }
  }

  /**
   * Reads a tokenizer: a {@code tokenizer.json}, GPT-2's byte-level pair of {@code vocab.json} and
   * {@code merges.txt}, or a model of SentencePiece, {@code tokenizer.model} or {@code
   * spiece.model}, of Llama, Gemma or T5. What {@code tokenizer_config.json}, {@code
   * special_tokens_map.json}, {@code added_tokens.json} and the model's {@code config.json} beside
   * it say is heard: further tokens, which get the next free ids, and how the older files put a
   * space or a token before a text. Tokens that end a text are those of {@code config.json} and
   * {@code generation_config.json} too. Where Hugging Face's readers disagree, the steps are those
   * of tokenizer.json as it is written and the tokens those of transformers 4.57; where there is no
   * tokenizer.json, both are those of 4.57. What a GGUF file holds is read as llama.cpp reads it.
   *
   * @param path one of these files, or a folder with them; of several the first that is named here
   * @return the tokenizer
   * @throws IOException if there is none, a file cannot be read, contradicts itself or another, or
   *     uses a kind of model or step that is not known here, or if this machine cannot run the
   *     tokenizer library
   */
  public static Tokenizer load(Path path) throws IOException {
    try {
      TokenizerFile description = TokenizerFile.read(path, TEXT_LIMIT);
      requireNormalized(description);
      return new Tokenizer(library(description.path(), description.toJson()), description);
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(e, path, "what is described here does not fit into memory");
    }
  }

  /**
   * {@return whether {@link #load} would read a tokenizer here, by the names of files alone}
   *
   * @param path a file or a folder
   */
  public static boolean isOne(Path path) {
    return TokenizerFolder.isOne(path);
  }

  /**
   * Writes a tokenizer as Hugging Face has it, such as one that lies in a GGUF file: {@link
   * #SAVED_NAMES}. Files of these names are replaced.
   *
   * @param from as {@link #load(Path)} takes it
   * @param folder where; it is there
   * @return the files
   * @throws IOException as {@link #load(Path)}, or if they cannot be written
   */
  public static List<Path> save(Path from, Path folder) throws IOException {
    TokenizerFile file = TokenizerFile.read(from, TEXT_LIMIT);
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    config.put("tokenizer_class", "PreTrainedTokenizerFast");
    file.chat().roles().forEach(config::put);
    file.ends().forEach(config.putArray(TokenizerFolder.ENDS)::add);
    file.chat().template().ifPresent(template -> config.put("chat_template", template));
    List<Path> files = SAVED_NAMES.stream().map(folder::resolve).toList();
    List<String> texts = List.of(file.toJson(), config.toPrettyString());
    for (int i = 0; i < files.size(); i++) {
      byte[] bytes = texts.get(i).getBytes(StandardCharsets.UTF_8);
      AtomicFile.write(files.get(i), out -> out.write(bytes));
    }
    return files;
  }

  /** {@return the words of the small trained model that comes with the library} */
  public static Tokenizer textbook() {
    try {
      return load(Textbook.folder());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void requireNormalized(TokenizerFile description) throws IOException {
    List<String> contents = description.normalized();
    if (contents.isEmpty()) {
      return;
    }
    try (HuggingFaceTokenizer normalizer = library(description.path(), description.normalizer())) {
      for (String content : contents) {
        if (normalizer.encode(content, false, false).getIds().length == 0) {
          throw BadFile.because(
              description.path(),
              "nothing is left of added token %s when it is normalized",
              BadFile.quoted(content));
        }
      }
    }
  }

  private static HuggingFaceTokenizer library(Path file, String json) throws IOException {
    Map<String, String> options = Map.of("truncation", "false", "padding", "false");
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(json.getBytes(StandardCharsets.UTF_8)), options);
    } catch (EngineException | LinkageError | AssertionError e) {
      throw BadFile.causedBy(
          e,
          file,
          "the tokenizer library cannot be loaded on %s %s: there is one for Linux with glibc 2.34 or"
              + " later on x86-64 and ARM, macOS on ARM and Windows on x86-64, and it unpacks itself"
              + " into the folder that DJL_CACHE_DIR names, or else into .djl.ai in the home folder",
          System.getProperty("os.name"),
          System.getProperty("os.arch"));
    } catch (RuntimeException e) {
      throw BadFile.causedBy(e, file, "this file does not describe a tokenizer");
    }
  }
}

package dev.tributary.transformer.family;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A class of tokenizers of Hugging Face, and what it does that no file says.
 *
 * @param name such as GPT2Tokenizer
 * @param vocabulary what its tokens are made of
 * @param olderFiles what it reads where there is no tokenizer.json
 * @param tokens special tokens where no file names one, by the name that a file would give them
 * @param around of these, the names of those that it puts around a text where no file says it
 * @param families model types whose tokenizers are of this class if no file says otherwise
 */
public record TokenizerClass(
    String name,
    Vocabulary vocabulary,
    OlderFiles olderFiles,
    Map<String, String> tokens,
    Set<String> around,
    Set<String> families) {
  private static final String BEGIN = "bos_token";
  private static final String END = "eos_token";
  private static final String UNKNOWN = "unk_token";
  private static final String PADDING = "pad_token";
  private static final String END_OF_TEXT = "<|endoftext|>";
  private static final Map<String, String> ENDS_OF_TEXT =
      Map.of(BEGIN, END_OF_TEXT, END, END_OF_TEXT, UNKNOWN, END_OF_TEXT);

  /** What tokens are made of. */
  public enum Vocabulary {
    /** Characters that each stand for a byte. */
    BYTES,
    /** Characters, one of which stands for the space. */
    CHARACTERS
  }

  /** What a class reads where there is no tokenizer.json. */
  public enum OlderFiles {
    /** Nothing. */
    NONE,
    /** vocab.json and merges.txt. */
    PAIR,
    /** A model of SentencePiece. */
    SENTENCE_PIECES
  }

  private static final List<TokenizerClass> ALL =
      List.of(
          ofBytes(
              "GPT2Tokenizer",
              OlderFiles.PAIR,
              ENDS_OF_TEXT,
              Set.of("gpt2", "gpt_neo", "gptj", "opt", "starcoder2")),
          ofBytes("CodeGenTokenizer", OlderFiles.PAIR, ENDS_OF_TEXT, Set.of("codegen", "phi")),
          ofBytes("GPTNeoXTokenizer", OlderFiles.NONE, ENDS_OF_TEXT, Set.of("gpt_neox")),
          ofBytes(
              "Qwen2Tokenizer",
              OlderFiles.NONE,
              Map.of(END, END_OF_TEXT, UNKNOWN, END_OF_TEXT, PADDING, END_OF_TEXT),
              Set.of("qwen2", "qwen3")),
          ofCharacters(
              "LlamaTokenizer",
              Map.of(BEGIN, "<s>", END, "</s>", UNKNOWN, "<unk>"),
              Set.of(BEGIN),
              Set.of("llama", "mistral", "phi3")),
          ofCharacters(
              "GemmaTokenizer",
              Map.of(BEGIN, "<bos>", END, "<eos>", UNKNOWN, "<unk>", PADDING, "<pad>"),
              Set.of(BEGIN),
              Set.of("gemma", "gemma2", "gemma3", "gemma3_text")),
          ofCharacters(
              "T5Tokenizer",
              Map.of(END, "</s>", UNKNOWN, "<unk>", PADDING, "<pad>"),
              Set.of(END),
              Set.of("t5")));

  /** Families of language models for which transformers 5.24 asks no class. */
  private static final Set<String> DESCRIBED =
      Set.of(
          "flex_olmo",
          "glm",
          "glm4",
          "glm4_moe",
          "gpt_bigcode",
          "granite",
          "granitemoe",
          "granitemoehybrid",
          "granitemoeshared",
          "kimi_linear",
          "ministral",
          "ministral3",
          "mistral",
          "mistral3",
          "nemotron",
          "olmo2",
          "olmo3",
          "olmo_hybrid",
          "persimmon",
          "phi3",
          "phimoe",
          "stablelm");

  private static TokenizerClass ofBytes(
      String name, OlderFiles olderFiles, Map<String, String> tokens, Set<String> families) {
    return new TokenizerClass(name, Vocabulary.BYTES, olderFiles, tokens, Set.of(), families);
  }

  private static TokenizerClass ofCharacters(
      String name, Map<String, String> tokens, Set<String> around, Set<String> families) {
    return new TokenizerClass(
        name, Vocabulary.CHARACTERS, OlderFiles.SENTENCE_PIECES, tokens, around, families);
  }

  /**
   * {@return the class of this name, or of this family if there is no name; none if it is another}
   *
   * @param name such as GPT2TokenizerFast; empty if no file says it
   * @param family the model type, such as gpt2
   */
  public static Optional<TokenizerClass> of(String name, String family) {
    String plain = name.replaceFirst("Fast$", "");
    return ALL.stream()
        .filter(one -> name.isEmpty() ? one.families.contains(family) : one.name.equals(plain))
        .findFirst();
  }

  /**
   * {@return whether a family's tokenizer is what its tokenizer.json describes, whatever its class}
   *
   * @param family the model type
   */
  public static boolean isDescribed(String family) {
    return DESCRIBED.contains(family);
  }
}

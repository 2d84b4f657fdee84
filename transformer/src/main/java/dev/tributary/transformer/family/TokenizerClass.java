package dev.tributary.transformer.family;

import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A class of tokenizers of Hugging Face whose vocabularies are of bytes.
 *
 * @param name such as GPT2Tokenizer
 * @param readsPair whether vocab.json and merges.txt are enough for it
 * @param endsOfText names of special tokens that mean the end of a text where no file names a token
 * @param families model types whose tokenizers are of this class if no file says otherwise
 */
public record TokenizerClass(
    String name, boolean readsPair, List<String> endsOfText, Set<String> families) {
  private static final List<String> BEGIN_AND_END = List.of("bos_token", "eos_token", "unk_token");

  private static final List<TokenizerClass> ALL =
      List.of(
          new TokenizerClass(
              "GPT2Tokenizer",
              true,
              BEGIN_AND_END,
              Set.of("gpt2", "gpt_neo", "gptj", "opt", "starcoder2")),
          new TokenizerClass("CodeGenTokenizer", true, BEGIN_AND_END, Set.of("codegen", "phi")),
          new TokenizerClass("GPTNeoXTokenizer", false, BEGIN_AND_END, Set.of("gpt_neox")),
          new TokenizerClass(
              "Qwen2Tokenizer",
              false,
              List.of("eos_token", "unk_token", "pad_token"),
              Set.of("qwen2", "qwen3")));

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
          "olmo2",
          "olmo3",
          "olmo_hybrid",
          "persimmon",
          "stablelm");

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

package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** The families that are known. */
public final class Architectures {
  private static final String TYPE = "model_type";
  private static final String CLASSES = "architectures";

  /** Of a GGUF file. */
  private static final String ARCHITECTURE = "general.architecture";

  /** Where a config says too little, the first that it may be of. */
  private static final List<Architecture> ALL =
      List.of(
          new Gpt2(),
          new DebuggerGpt2(),
          new Gemma(),
          new Gemma2(),
          new Gemma3(),
          new GptJ(),
          new GptNeo(),
          new GptNeoX(),
          new Granite(),
          new Llama(),
          new Mistral(),
          new Olmo2(),
          new Opt(),
          new Phi(),
          new Phi3(),
          new Qwen2(),
          new Qwen3(),
          new SmolLm3(),
          new StableLm(),
          new Starcoder2(),
          new Tracr());

  private Architectures() {}

  /** {@return all of them} */
  public static List<Architecture> all() {
    return ALL;
  }

  /**
   * {@return the family of a config: by its type, or else its class, or else its keys}
   *
   * @param config of a model
   * @throws IOException if it is of none
   */
  public static Architecture of(Keys config) throws IOException {
    if (config.has(TYPE)) {
      String type = config.text(TYPE, "");
      return first(family -> family.modelTypes().contains(type))
          .orElseThrow(() -> config.wrong(TYPE, types()));
    }
    if (config.has(CLASSES)) {
      List<String> classes = config.textsIn(CLASSES);
      return first(family -> family.classes().stream().anyMatch(classes::contains))
          .orElseThrow(() -> config.wrong(CLASSES, "a class of " + types()));
    }
    return first(family -> family.keys().stream().anyMatch(config::has))
        .orElseThrow(() -> config.wrong(TYPE, types()));
  }

  /**
   * {@return how GGUF files have the family of one}
   *
   * @param metadata of the file
   * @throws IOException if it is of none
   */
  public static GgufFamily ofGguf(Keys metadata) throws IOException {
    String name = metadata.text(ARCHITECTURE, "");
    List<GgufFamily> all = ALL.stream().flatMap(family -> family.gguf().stream()).toList();
    for (GgufFamily family : all) {
      if (family.name().equals(name)) {
        return family;
      }
    }
    throw metadata.wrong(
        ARCHITECTURE, all.stream().map(GgufFamily::name).collect(Collectors.joining(" or ")));
  }

  /**
   * {@return a family whose config says all of ours, for writing it; none if there is none}
   *
   * @param config sizes and kinds of all parts
   */
  public static Optional<Architecture> writing(TransformerConfig config) {
    return first(family -> family.write(config).isPresent());
  }

  /**
   * {@return whether a family calls its unembedding so, which need not be stored where it is tied}
   *
   * @param name of a tensor
   */
  public static boolean isUnembedding(String name) {
    return ALL.stream()
        .anyMatch(
            family ->
                name.equals(family.unembedding())
                    || name.equals(family.prefix() + family.unembedding()));
  }

  private static Optional<Architecture> first(Predicate<Architecture> test) {
    return ALL.stream().filter(test).findFirst();
  }

  private static String types() {
    return ALL.stream()
        .flatMap(family -> family.modelTypes().stream())
        .collect(Collectors.joining(" or "));
  }
}

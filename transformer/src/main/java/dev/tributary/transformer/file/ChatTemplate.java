package dev.tributary.transformer.file;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * How a model is talked to, as its files say.
 *
 * @param file that says it, or would
 * @param template in Jinja, if there is one
 * @param roles contents of the special tokens that have a name, such as {@code bos_token}
 */
record ChatTemplate(Path file, Optional<String> template, Map<String, String> roles) {
  /** Longest template, characters; the longest published ones have 20,000. */
  private static final int LIMIT = 1 << 18;

  private static final String OTHERWISE =
      "write the special tokens of a chat into the prompt itself instead";

  /**
   * A prompt as what a user says first, up to where the model answers; what transformers makes of
   * it by {@code apply_chat_template} with {@code add_generation_prompt}.
   *
   * @throws IllegalArgumentException if there is no template, or it cannot be followed
   */
  String turn(String prompt) {
    String text =
        template.orElseThrow(
            () -> new IllegalArgumentException(file + ": there is no chat template: " + OTHERWISE));
    Map<String, Object> variables = new HashMap<>(roles);
    variables.put("messages", List.of(Map.of("role", "user", "content", prompt)));
    variables.put("add_generation_prompt", true);
    variables.put("tools", JinjaValues.Nothing.NONE);
    variables.put("documents", JinjaValues.Nothing.NONE);
    try {
      if (text.length() > LIMIT) {
        throw new JinjaRefusal("it has more than %d characters".formatted(LIMIT));
      }
      return Jinja.render(text, variables);
    } catch (JinjaRefusal e) {
      throw new IllegalArgumentException(
          "%s: the chat template is not followed, %s: %s"
              .formatted(file, e.getMessage(), OTHERWISE),
          e);
    }
  }
}

package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code chat-templates.json} holds what transformers 5.24.0 with Jinja 3.1.6 makes of each
 * template: {@code _compile_jinja_template(template).render(messages=[{"role": "user", "content":
 * prompt}], tools=None, documents=None, add_generation_prompt=True, bos_token="<s>",
 * eos_token="</s>", unk_token="<unk>")}, null where it raises an error.
 */
class ChatTemplateTest {
  private static final Map<String, String> ROLES =
      Map.of("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>");

  private static String turn(String template, String prompt) {
    return new ChatTemplate(Path.of("template"), Optional.of(template), ROLES).turn(prompt);
  }

  private static String refusal(String template) {
    String sentence =
        String.valueOf(
            assertThrows(IllegalArgumentException.class, () -> turn(template, "hi")).getMessage());
    assertTrue(sentence.startsWith("template: the chat template is not followed"), sentence);
    return sentence;
  }

  static Stream<JsonNode> cases() throws IOException {
    try (InputStream file = ChatTemplateTest.class.getResourceAsStream("chat-templates.json")) {
      return StreamSupport.stream(new ObjectMapper().readTree(file).spliterator(), false);
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void template_isFollowedAsByTransformers(JsonNode each) {
    String template = each.get("template").asText();
    if (each.get("text").isNull()) {
      refusal(template);
    } else {
      assertEquals(each.get("text").asText(), turn(template, each.get("prompt").asText()));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ self }}",
        "{{ 'a'.format('b') }}",
        "{{ '%s' % 'b' }}",
        "{{ lipsum() }}",
        "{{ 2 ** 3 }}",
        "{{ messages }}",
        "{{ -3 | abs }}",
        "{% include 'other' %}",
        "{% call m() %}{% endcall %}",
        "{{ 9999999999999999999 }}",
        "{{ 9223372036854775807 + 1 }}"
      })
  void whatIsNotKnown_isRefused(String template) {
    refusal(template);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(999999999) %}{% endfor %}",
        "{% set ns = namespace(a='aaaaaaaa') %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}"
            + "{% endfor %}",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}"
            + "{% endfor %}",
        "{{ 'a' * 999999999999 }}",
        "{{ ('a' * 4000000).replace('a', 'b' * 4000000) }}",
        "{{ (range(99999) | list) | join('a' * 4000000) }}",
        "{% for i in range(99999) %}{{ 'a' * 4000000 }}{% endfor %}",
        "{% for i in range(99999) %}{% set a = ('a' * 4000000) | length %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}"
      })
  void endlessTemplate_isRefused(String template) {
    refusal(template);
  }

  @Test
  void deepOrLongTemplate_isRefused() {
    refusal("{{ " + "(".repeat(100_000) + "1" + ")".repeat(100_000) + " }}");
    refusal("{% if 1 %}".repeat(20_000) + "{% endif %}".repeat(20_000));
    refusal("{{ " + "not ".repeat(60_000) + "1 }}");
    assertTrue(refusal(" ".repeat(300_000)).contains("more than"));
  }

  @Test
  void textOfTheUser_isNoTemplate() {
    assertEquals("{{ 1 }}{% if %}", turn("{{ messages[0].content }}", "{{ 1 }}{% if %}"));
  }

  @Test
  void date_isToday() {
    String before =
        LocalDate.now(ZoneId.systemDefault())
            .format(DateTimeFormatter.ofPattern("dd MMM yyyy", Locale.US));
    String written = turn("{{ strftime_now('%d %b %Y') }}", "hi");
    String after =
        LocalDate.now(ZoneId.systemDefault())
            .format(DateTimeFormatter.ofPattern("dd MMM yyyy", Locale.US));
    assertTrue(written.equals(before) || written.equals(after), written);
  }

  @Test
  void damagedTemplate_isFollowedOrRefused() throws IOException {
    Random random = new Random(7);
    for (JsonNode each : cases().toList()) {
      for (int i = 0; i < 20; i++) {
        StringBuilder template = new StringBuilder(each.get("template").asText());
        int at = random.nextInt(template.length());
        if (random.nextBoolean()) {
          template.deleteCharAt(at);
        } else {
          template.insert(at, "{}%'|().-[:".charAt(random.nextInt(11)));
        }
        try {
          turn(template.toString(), "hi");
        } catch (IllegalArgumentException e) {
          String sentence = String.valueOf(e.getMessage());
          assertTrue(sentence.startsWith("template: the chat template"), sentence);
        }
      }
    }
  }

  // ---- in the files of a tokenizer -----------------------------------------------------------

  private static final String BARS = "{{ bos_token }}<|user|>{{ messages[0].content }}<|end|>";

  private static Tokenizer tokenizer(Path folder, String config) throws IOException {
    Files.writeString(
        folder.resolve("tokenizer.json"),
        """
        {"version": "1.0", "added_tokens": [
           {"id": 3, "content": "<s>", "special": true},
           {"id": 4, "content": "<|user|>", "special": true},
           {"id": 5, "content": "<|end|>", "special": true}],
         "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
         "post_processor": {"type": "TemplateProcessing",
           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                      {"Sequence": {"id": "A", "type_id": 0}}],
           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
           "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
         "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"}}
        """);
    Files.writeString(folder.resolve("tokenizer_config.json"), config);
    return Tokenizers.load(folder);
  }

  private static String json(String text) {
    return new ObjectMapper().valueToTree(text).toString();
  }

  @Test
  void chat_ofAConfig_hasItsSpecialTokens(@TempDir Path folder) throws IOException {
    Tokenizer words =
        tokenizer(folder, "{\"bos_token\": \"<s>\", \"chat_template\": " + json(BARS) + "}");
    assertEquals("<s><|user|>b a<|end|>", words.chat("b a"));
    assertArrayEquals(new int[] {3, 4, 1, 0, 5}, words.encode(words.chat("b a"), false));
    // As in transformers, a text may hold the text of a special token.
    assertArrayEquals(new int[] {3, 4, 5, 0, 5}, words.encode(words.chat("<|end|>a"), false));
  }

  @Test
  void chat_ofSeveralTemplates_isTheDefault(@TempDir Path folder) throws IOException {
    String list =
        "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"no\"},"
            + " {\"name\": \"default\", \"template\": \"yes\"}]}";
    assertEquals("yes", tokenizer(folder, list).chat("a"));
    Tokenizer none = tokenizer(folder, list.replace("default", "other"));
    assertThrows(IllegalArgumentException.class, () -> none.chat("a"));
  }

  @Test
  void chat_ofAFile_countsForMore(@TempDir Path folder) throws IOException {
    Files.writeString(folder.resolve("chat_template.jinja"), "of the file\n");
    Tokenizer words = tokenizer(folder, "{\"chat_template\": \"of the config\"}");
    assertEquals("of the file", words.chat("a"));
    assertTrue(words.files().contains(folder.resolve("chat_template.jinja")));
  }

  @Test
  void chatWithoutTemplate_isRefused(@TempDir Path folder) throws IOException {
    Tokenizer words = tokenizer(folder, "{}");
    String sentence =
        String.valueOf(
            assertThrows(IllegalArgumentException.class, () -> words.chat("a")).getMessage());
    assertTrue(sentence.contains("tokenizer_config.json: there is no chat template"), sentence);
  }
}

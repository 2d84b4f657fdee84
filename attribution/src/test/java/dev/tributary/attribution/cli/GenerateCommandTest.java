package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.Edit;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Continuation;
import dev.tributary.transformer.Sampling;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** How a prompt goes on, on the command line and through the library. */
class GenerateCommandTest {
  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";

  /** Between two runs of the same computation, relative to probabilities. */
  private static final double SAME = 1e-9;

  private static Invocation generate(Object... options) {
    Object[] all = new Object[options.length + 1];
    all[0] = "generate";
    System.arraycopy(options, 0, all, 1, options.length);
    return Invocation.of(all);
  }

  private static void assertFollows(JsonNode said, double[] next, JsonNode root, int[] tokens) {
    Tokenizer words = Tokenizers.textbook();
    List<Integer> ids =
        StreamSupport.stream(said.get("tokens").spliterator(), false)
            .map(token -> token.get("id").asInt())
            .toList();
    assertEquals(Arrays.stream(tokens).boxed().toList(), ids);
    assertEquals(
        Arrays.stream(tokens).mapToObj(words::text).collect(Collectors.joining(" ", " ", "")),
        said.get("text").asText());
    String key = said.equals(root.get("edited")) ? "edited" : "probability";
    for (JsonNode prediction : root.get("predictions")) {
      assertEquals(
          next[prediction.at("/word/id").asInt()], prediction.get(key).asDouble(), SAME, key);
    }
  }

  @Test
  void json_edited_isWhatTheLibraryMakes() throws IOException {
    JsonNode json =
        generate(
                "--dictionaries=shipped",
                "--remove",
                "L2.head5",
                "--set",
                "L1.neuron77[3]=2.5",
                "--scale=L3.mlp_latent12[4-]=-3",
                "--add",
                "L2.mlp_latent7=1.5",
                "--max-tokens",
                "6",
                "--dtype=double",
                "--json")
            .json();
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook(DType.DOUBLE).with(Dictionaries.textbook(DType.DOUBLE));
      int[] prompt = Tokenizers.textbook().encode(PROMPT);
      Continuation plain = Continuation.of(model, prompt);
      double[] next = plain.nextLogits().softmax().toDoubles();
      int[] said = plain.generate(Sampling.greedy(), 6, Set.of(), token -> true);
      assertFollows(json.get("continuation"), next, json, said);
      Continuation edited =
          Continuation.of(
              model,
              prompt,
              Edit.changes(
                  model,
                  List.of(
                      Edit.parse("L1.neuron77[3]").set(2.5),
                      Edit.parse("L3.mlp_latent12[4-]").scale(-3),
                      Edit.parse("L2.mlp_latent7").add(1.5),
                      Edit.parse("L2.head5").remove())));
      next = edited.nextLogits().softmax().toDoubles();
      said = edited.generate(Sampling.greedy(), 6, Set.of(), token -> true);
      assertFollows(json.get("edited"), next, json, said);
    }
    assertEquals(4, json.get("edits").size());
    assertEquals("L1.neuron77", json.at("/edits/0/part").asText());
    assertEquals(3, json.at("/edits/0/last_token").asInt());
    assertFalse(json.at("/edits/1").has("last_token"));
    assertEquals("length", json.at("/edited/ending").asText());
  }

  @Test
  void readme_example_isTrue() throws IOException {
    String readme = Files.readString(Path.of("..", "README.md"));
    MatchResult block =
        Pattern.compile("(?s)tributary.jar (generate [^\\n]*)\\n```\\n.*?```\\n(.*?)```")
            .matcher(readme)
            .results()
            .findFirst()
            .orElseThrow();
    Invocation run = Invocation.of((Object[]) block.group(1).split(" "));
    assertEquals("", run.err());
    List<String> printed = run.out().lines().map(String::strip).toList();
    for (String line : block.group(2).lines().map(String::strip).toList()) {
      assertTrue(printed.contains(line), line);
    }
  }

  @Test
  void seed_drawsTheSame() throws IOException {
    JsonNode first = generate("--temperature=3", "--top-k=50", "--max-tokens=8", "--json").json();
    long seed = first.at("/draws/seed").asLong();
    JsonNode again =
        generate("--temperature=3", "--top-k=50", "--seed", seed, "--max-tokens=8", "--json")
            .json();
    assertEquals(first, again);
    Set<JsonNode> texts =
        IntStream.range(0, 5)
            .mapToObj(i -> generate("--temperature=3", "--seed", i, "--max-tokens=8", "--json"))
            .map(GenerateCommandTest::continuation)
            .collect(Collectors.toSet());
    assertNotEquals(1, texts.size());
    String shown = generate("--temperature=3", "--top-p=0.5", "--seed=7", "--max-tokens=2").out();
    assertTrue(
        shown.contains("Drawn at temperature 3.000, of the most probable 50.0%, seed 7"), shown);
  }

  private static JsonNode continuation(Invocation run) {
    try {
      return run.json().at("/continuation/text");
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void endOfText_endsIt(@TempDir Path folder) throws IOException {
    CommandLineTest.copyModel(folder);
    int stop = Tokenizers.textbook().token(".");
    Files.writeString(
        folder.resolve("generation_config.json"), "{\"eos_token_id\": [" + stop + "]}");
    Invocation run = generate("--model", folder, "--prompt", PROMPT);
    assertEquals("", run.err());
    assertTrue(run.out().contains("Mary .\n  (ended by \".\")\n"), run.out());
  }

  @Test
  void context_isTheEnd() {
    Invocation run = generate("--max-tokens", "1000");
    assertTrue(run.out().contains("(33 tokens; the context of this model is full)"), run.out());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--remove=L9.head5 | L9.head5: layer 9 is out of range, there are 4, counted from 0",
        "--set=L2.head5=1 | vector",
        "--set=L1.neuron77 | \"L1.neuron77\" is not PART=NUMBER",
        "--set=L1.neuron77=x | L1.neuron77: \"x\" is not a number",
        "--set=L1.neuron77=NaN | L1.neuron77",
        "--add=L1.neuron77[90]=2 | L1.neuron77[90]: with those that follow the prompt there are 48 tokens",
        "--remove=embedding[3] | \"embedding[3]\" is no neuron, head or latent",
        "--remove=L1.mlp_latent3 | is not loaded",
        "--max-tokens=0 | max-tokens is 0",
        "--temperature=0 | the temperature is 0.0",
        "--top-p=2 | top p: p is 2.0",
        "--top-k=0 | top k: k is 0"
      })
  void mistake_isOneSentence(String option, String part) {
    generate(option).assertRefused(part);
  }

  @Test
  void sameActivationTwice_isRefused() {
    generate("--remove", "L1.neuron77", "--scale", "L1.neuron77[3]=2")
        .assertRefused("L1.neuron77[3] and L1.neuron77 say two things about the same activation");
    assertEquals(
        0,
        generate("--remove=L1.neuron77[4]", "--scale=L1.neuron77[3]=2", "--max-tokens=1")
            .exitCode());
  }

  @Test
  void help_fitsTheScreen() {
    String help = generate("--help").out();
    assertTrue(help.lines().allMatch(line -> line.length() <= 80), help);
    assertTrue(help.contains("--remove=PART"), help);
  }
}

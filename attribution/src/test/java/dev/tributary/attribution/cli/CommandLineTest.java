package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Basis;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.CircuitAttention;
import dev.tributary.attribution.CircuitBuilder;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.Readings;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;
import dev.tributary.attribution.export.CircuitFile;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.SafetensorsWriter;
import dev.tributary.transformer.file.TensorFile;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the program prints, run inside this process on the model that comes with it. */
class CommandLineTest {
  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";
  private static final int LAST = 14;

  /**
   * Between two runs of the same computation in DOUBLE, relative: sums may be ordered differently.
   */
  private static final double SAME = 1e-9;

  private static final int SCREEN_WIDTH = 80;
  private static final int SCREEN_HEIGHT = 45;

  private record Output(int exitCode, String out, String err) {
    static Output of(String... args) {
      StringWriter out = new StringWriter();
      StringWriter err = new StringWriter();
      try (PrintWriter outWriter = new PrintWriter(out);
          PrintWriter errWriter = new PrintWriter(err)) {
        int exitCode = Main.run(outWriter, errWriter, args);
        return new Output(exitCode, out.toString(), err.toString());
      }
    }

    static Output attribute(String... options) {
      return of(
          Stream.concat(Stream.of("attribute"), Arrays.stream(options)).toArray(String[]::new));
    }

    String result() {
      assertEquals("", err);
      assertEquals(0, exitCode);
      return out;
    }

    List<String> lines() {
      return result().lines().toList();
    }

    void assertRefused(String... parts) {
      assertEquals("", out);
      assertEquals(1, err.lines().count(), err);
      assertFalse(err.contains("Exception"), err);
      for (String part : parts) {
        assertTrue(err.contains(part), err);
      }
      assertEquals(2, exitCode);
    }
  }

  private static JsonNode json(String... options) throws JsonProcessingException {
    String[] all =
        Stream.concat(Arrays.stream(options), Stream.of("--json", "--dtype", "double"))
            .toArray(String[]::new);
    return new ObjectMapper().readTree(Output.attribute(all).result());
  }

  private static List<JsonNode> items(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false).toList();
  }

  /** Runs the textbook prompt again through the library alone. */
  private static NodeAttribution library() throws IOException {
    Tokenizer tokenizer = Tokenizers.textbook();
    Metric metric = Metric.logitDifference(LAST, tokenizer.token("Mary"), tokenizer.token("John"));
    return NodeAttribution.of(Models.textbook(DType.DOUBLE).run(tokenizer.encode(PROMPT)), metric);
  }

  private static void assertSame(double expected, JsonNode actual) {
    assertEquals(expected, actual.doubleValue(), SAME * Math.max(1, Math.abs(expected)));
  }

  @Test
  void attribute_withoutOptions_explainsMaryMinusJohnOnOneScreen() {
    List<String> lines = Output.attribute().lines();
    assertTrue(
        lines.stream()
            .anyMatch(
                line -> line.startsWith("Metric: logit(\"Mary\") - logit(\"John\") at token 14")));
    String best = lines.get(lines.indexOf("Most probable next words after token 14 \"to\"") + 1);
    assertTrue(best.strip().startsWith("\"Mary\""), best);
    assertTrue(lines.size() <= SCREEN_HEIGHT, lines.size() + " lines");
    assertTrue(lines.stream().allMatch(line -> line.length() <= SCREEN_WIDTH));
  }

  @Test
  void attribute_printsNodesThatParseBack() {
    List<String> lines = Output.attribute("--into", "L2.head5[14<-7]", "--top", "30").lines();
    Matcher name = Pattern.compile("^ {2}(\\S+\\[\\S+])\\s").matcher("");
    int found = 0;
    for (String line : lines) {
      if (name.reset(line).find()) {
        assertEquals(name.group(1), Node.parse(name.group(1)).toString());
        found++;
      }
    }
    assertEquals(60, found);
  }

  @Test
  void json_agreesWithTheLibrary() throws IOException {
    JsonNode json = json("--top", "40");
    try (Scope scope = Scope.open()) {
      NodeAttribution library = library();
      assertSame(library.value(), json.at("/metric/value"));
      assertEquals(LAST, json.at("/metric/position").intValue());
      Readings activation = library.activation();
      Readings attribution = library.activationTimesGradient();
      EdgeScores directEffect = library.directEffect();
      List<NodeScore> top = attribution.top(40);
      List<JsonNode> nodes = items(json.get("nodes"));
      assertEquals(top.size(), nodes.size());
      for (int i = 0; i < top.size(); i++) {
        Node node = top.get(i).node();
        assertEquals(node, Node.parse(nodes.get(i).at("/node/name").textValue()));
        assertSame(top.get(i).score(), nodes.get(i).get("attribution"));
        assertSame(directEffect.of(node), nodes.get(i).get("direct_effect"));
        if (activation.of(node).isEmpty()) {
          assertFalse(nodes.get(i).has("activation"));
        } else {
          assertSame(activation.of(node).orElseThrow(), nodes.get(i).get("activation"));
        }
      }
      assertEdges(library, ScaleGradient.LIVE, json);
    }
  }

  @Test
  void tokens_leavesOutNodesElsewhere() throws IOException {
    JsonNode json = json("--tokens", "3-7", "--top", "20");
    try (Scope scope = Scope.open()) {
      List<String> expected =
          library().activationTimesGradient().top(Integer.MAX_VALUE).stream()
              .map(found -> found.node())
              .filter(node -> node.coordinates().token().orElse(-1) >= 3)
              .filter(node -> node.coordinates().token().orElse(-1) <= 7)
              .limit(20)
              .map(Node::toString)
              .toList();
      assertEquals(
          expected,
          items(json.get("nodes")).stream()
              .map(node -> node.at("/node/name").textValue())
              .toList());
    }
    Node into = Node.parse(json.at("/edges/into/name").textValue());
    int token = into.coordinates().token().orElseThrow();
    assertTrue(token >= 3 && token <= 7, into.toString());
    assertEquals(0, json.get("attention_sinks").size());
  }

  @Test
  void attentionSink_isSaid(@TempDir Path folder) throws IOException {
    copyModel(folder);
    try (Scope scope = Scope.open()) {
      TensorFile file = TensorFile.open(folder.resolve("model.safetensors"));
      SafetensorsWriter writer = new SafetensorsWriter();
      int keys = Tokenizers.textbook().token("keys");
      for (String name : file.names()) {
        Tensor tensor = file.tensor(name, DType.FLOAT);
        double[] numbers = tensor.toDoubles();
        int width = tensor.shape().size(-1);
        for (int i = 0; name.endsWith("wte.weight") && i < width; i++) {
          numbers[keys * width + i] *= 1000;
        }
        writer.put(name, ElementType.F32, Tensor.of(DType.FLOAT, tensor.shape(), numbers));
      }
      writer.write(folder.resolve("model.safetensors"));
    }
    String[] options = {"--model", folder.toString(), "--prompt", "The keys near the cabinet"};
    String text = Output.attribute(options).result();
    assertTrue(text.contains("Token 2 \"keys\" is an attention sink"), text);
    JsonNode sinks = json(options).get("attention_sinks");
    assertEquals(1, sinks.size());
    assertEquals(2, sinks.get(0).get("token").intValue());
    assertTrue(sinks.get(0).get("times").doubleValue() > 100);
  }

  /** The same words without what the tokenizer puts before them, as the library computes it. */
  @Test
  void noBos_leavesOutTheTokenBeforeThePrompt() throws IOException {
    JsonNode json = json("--no-bos");
    List<String> tokens =
        items(json.get("tokens")).stream().map(token -> token.get("text").textValue()).toList();
    assertEquals(List.of(PROMPT.split(" ")), tokens);
    assertEquals("<bos>", json().at("/tokens/0/text").textValue());
    try (Scope scope = Scope.open()) {
      Tokenizer tokenizer = Tokenizers.textbook();
      Metric metric =
          Metric.logitDifference(LAST - 1, tokenizer.token("Mary"), tokenizer.token("John"));
      Run run = Models.textbook(DType.DOUBLE).run(tokenizer.tokens(PROMPT));
      assertSame(NodeAttribution.of(run, metric).value(), json.at("/metric/value"));
    }
    assertTrue(Output.attribute().result().contains("<bos>"));
    assertFalse(Output.attribute("--no-bos").result().contains("<bos>"));
    Output.attribute("--no-bos", "--position", "14").assertRefused("the prompt has 14 tokens");
    for (String command : List.of("attribute", "ablate", "graph", "search", "verify")) {
      assertTrue(Output.of(command, "--help").result().contains("--no-bos"), command);
    }
  }

  @Test
  void json_describesNodesByTypedFields() throws IOException {
    List<JsonNode> nodes = new ArrayList<>(items(json("--top", "40").get("nodes")));
    nodes.addAll(items(json("--top", "2000", "--dictionaries", "shipped").get("nodes")));
    Set<String> kinds = new HashSet<>();
    for (JsonNode ranked : nodes) {
      JsonNode json = ranked.get("node");
      kinds.add(json.get("kind").textValue());
      Node node = Node.parse(json.get("name").textValue());
      assertEquals(
          Set.of("neuron", "head", "latent").contains(json.get("kind").textValue()),
          ranked.has("activation"),
          ranked::toString);
      Node described =
          switch (json.get("kind").textValue()) {
            case "head" ->
                new HeadPair(
                    json.get("layer").intValue(),
                    json.get("index").intValue(),
                    json.get("token").intValue(),
                    json.get("key").intValue());
            case "neuron" ->
                new Neuron(
                    json.get("layer").intValue(),
                    json.get("token").intValue(),
                    json.get("index").intValue());
            case "embedding" ->
                Node.parse(
                    (json.has("part") ? json.get("part").textValue() + "_" : "")
                        + "embedding"
                        + at(json));
            case "bias" ->
                Node.parse(layer(json) + json.get("part").textValue() + "_bias" + at(json));
            case "latent" ->
                new Latent(
                    new Dictionary.Id(
                        Dictionary.Kind.valueOf(encoded(json).toUpperCase(Locale.ROOT)),
                        "",
                        json.get("layer").intValue()),
                    json.get("token").intValue(),
                    json.get("index").intValue());
            case "error" -> Node.parse(layer(json) + encoded(json) + "_error" + at(json));
            case "pre_bias" -> Node.parse(layer(json) + encoded(json) + "_pre_bias" + at(json));
            default -> throw new AssertionError(json);
          };
      assertEquals(node, described);
    }
    assertEquals(
        Set.of("embedding", "neuron", "head", "bias", "latent", "error", "pre_bias"), kinds);
  }

  private static String layer(JsonNode json) {
    return "L" + json.get("layer").intValue() + ".";
  }

  private static String at(JsonNode json) {
    return "[" + json.get("token").intValue() + "]";
  }

  /** What names of nodes call the site of an autoencoder. */
  private static String encoded(JsonNode json) {
    return json.get("part").textValue();
  }

  private static void assertEdges(NodeAttribution nodes, ScaleGradient scale, JsonNode json) {
    EdgeAttribution library = EdgeAttribution.of(nodes, scale);
    List<JsonNode> edges = items(json.at("/edges/largest"));
    assertFalse(edges.isEmpty());
    for (JsonNode edge : edges) {
      Source from = (Source) Node.parse(edge.at("/source/name").textValue());
      Target to = (Target) Node.parse(edge.at("/target/name").textValue());
      assertSame(library.between(from, to), edge.get("score"));
    }
    for (JsonNode sum : json.at("/edges/sums")) {
      Target to = (Target) Node.parse(sum.at("/target/name").textValue());
      assertSame(library.into(to).sum(), sum.at("/certificate/sources"));
    }
    assertTrue(
        edges.equals(
            edges.stream()
                .sorted(
                    Comparator.comparingDouble(edge -> -Math.abs(edge.get("score").doubleValue())))
                .toList()));
  }

  @Test
  void into_headPair_mergesItsThreeInputs() throws IOException {
    JsonNode json = json("--into", "L2.head5[14<-4]", "--detach", "--top", "12");
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = library();
      assertEdges(nodes, ScaleGradient.DETACHED, json);
      EdgeAttribution library = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      List<Double> scores = new ArrayList<>();
      HeadPair pair = new HeadPair(2, 5, 14, 4);
      for (InputPath path : List.of(InputPath.QUERY, InputPath.KEY, InputPath.VALUE)) {
        for (NodeScore score : library.into(pair.through(path)).top(12)) {
          scores.add(Math.abs(score.score()));
        }
      }
      scores.sort(Comparator.reverseOrder());
      List<JsonNode> edges = items(json.at("/edges/largest"));
      assertEquals(12, edges.size());
      for (int i = 0; i < edges.size(); i++) {
        assertEquals(scores.get(i), Math.abs(edges.get(i).get("score").doubleValue()), SAME);
      }
    }
    assertEquals("L2.head5[14<-4]", json.at("/edges/into/name").textValue());
    assertEquals("detached", json.get("scale_gradient").textValue());
    assertEquals(3, json.at("/edges/sums").size());
  }

  @Test
  void into_default_hasNeuronsOrHeadsUpstream() throws IOException {
    Node into = Node.parse(json().at("/edges/into/name").textValue());
    assertTrue(into instanceof Neuron || into instanceof HeadPair, into::toString);
    assertFalse(into instanceof HeadPair pair && pair.layer() == 0, into::toString);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"L0.head7[14<-4]", "embedding[14]", "token_embedding[2]", "L1.mlp_bias[14]"})
  void from_ranksTargets(String source) throws IOException {
    JsonNode json = json("--from", source, "--top", "20");
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = library();
      assertEdges(nodes, ScaleGradient.LIVE, json);
      List<NodeScore> top =
          EdgeAttribution.of(nodes, ScaleGradient.LIVE).outOf((Source) Node.parse(source)).top(20);
      List<JsonNode> edges = items(json.at("/edges/largest"));
      for (int i = 0; i < top.size(); i++) {
        assertEquals(top.get(i).node(), Node.parse(edges.get(i).at("/target/name").textValue()));
        assertEquals(source, edges.get(i).at("/source/name").textValue());
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"L2.head5[14<-7], 3", "L2.head5.value[14<-7], 1", "L1.neuron3[14], 1", "metric, 1"})
  void fromAndInto_isTheEdgeBetween(String target, int count) throws IOException {
    JsonNode json = json("--from", "L0.head7[14<-4]", "--into", target);
    assertEquals(count, json.at("/edges/largest").size());
    try (Scope scope = Scope.open()) {
      assertEdges(library(), ScaleGradient.LIVE, json);
    }
  }

  @Test
  void position_negative_countsFromTheEnd() {
    String[] words = {"--prompt", PROMPT, "--target", "Mary", "--distractor", "John"};
    for (int position : new int[] {0, 9, LAST}) {
      List<String> results = new ArrayList<>();
      for (int named : new int[] {position, position - LAST - 1}) {
        String[] all =
            Stream.concat(Arrays.stream(words), Stream.of("--position", String.valueOf(named)))
                .toArray(String[]::new);
        results.add(Output.attribute(all).result());
      }
      assertEquals(results.get(0), results.get(1));
    }
  }

  @Test
  void target_missing_isTheMostProbableWord() throws IOException {
    JsonNode json = json("--prompt", "The keys near the cabinet");
    assertEquals("are", json.at("/metric/targets/0/text").textValue());
    assertTrue(json.at("/metric/chosen").booleanValue());
    assertEquals("log_probability", json.at("/metric/quantity").textValue());
    double probability = json.at("/predictions/0/probability").doubleValue();
    assertSame(Math.log(probability), json.at("/metric/value"));
    String text = Output.attribute("--prompt", "The keys near the cabinet").result();
    assertTrue(text.contains("(the target is the most probable word, since none was named)"), text);
  }

  @Test
  void target_several_isTheirMean() throws IOException {
    String prompt = "The war lasted from the year 17 32 to the year 17";
    JsonNode repeated =
        json("--prompt", prompt, "--target", "40", "--target", "50", "--distractor", "10");
    JsonNode listed = json("--prompt", prompt, "--target", "40", "50", "--distractor", "10");
    assertEquals(repeated, listed);
    double first =
        json("--prompt", prompt, "--target", "40", "--distractor", "10")
            .at("/metric/value")
            .doubleValue();
    double second =
        json("--prompt", prompt, "--target", "50", "--distractor", "10")
            .at("/metric/value")
            .doubleValue();
    assertSame((first + second) / 2, listed.at("/metric/value"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "Alice Smith met Bob Jones at the park . Later Bob Jones left . Later Alice; Smith; Jones",
        "Emma Wood Peter Cole Kate Mills . Emma Wood Peter; Cole; Mills",
        "The keys near the cabinet; are; is"
      })
  void textbookPrompts_preferTheTarget(String prompt, String target, String distractor)
      throws IOException {
    JsonNode json = json("--prompt", prompt, "--target", target, "--distractor", distractor);
    assertEquals(target, json.at("/predictions/0/word/text").textValue());
    assertTrue(json.at("/metric/value").doubleValue() > 5);
  }

  @Test
  void json_survivesTokensThatDoNotMatter() throws IOException {
    JsonNode json = json("--into", "L1.neuron3[14]", "--position", "3");
    assertEquals(0, json.at("/edges/largest").size());
    String text = Output.attribute("--into", "L1.neuron3[14]", "--position", "3").result();
    assertTrue(text.contains("all are exactly 0"), text);
  }

  static Stream<List<String>> mistakes() {
    String name = "is not the name of a node";
    return Stream.of(
        // what the sentence says, then the options
        List.of("the prompt is empty", "--prompt", ""),
        List.of("the prompt is empty", "--prompt", " "),
        List.of("\"unicorn\" is not in the vocabulary", "--prompt", "The unicorn"),
        List.of("not in the vocabulary", "--prompt", "@file"),
        List.of("the context of this model holds 48", "--prompt", "the ".repeat(48)),
        List.of("\"unicorn\" is not in the vocabulary", "--target", "unicorn"),
        List.of("is 2 tokens", "--target", "Mary John"),
        List.of("\"Mary\" is named twice", "--target", "Mary", "--distractor", "Mary"),
        List.of("\"Mary\" is the same token", "--target", "Mary", "--distractor", " Mary"),
        List.of("\"Mary\" is the same token", "--target", "Mary", "John", "Mary "),
        List.of("\" to\" is named twice", "--target", "Mary", "--distractor", "to", " to"),
        List.of("--target needs WORD after it", "--target"),
        List.of("--target needs WORD after it", "--target", "--detach"),
        List.of("--target needs WORD after it", "--target", "--"),
        List.of("--distractor needs WORD after it", "--distractor", "-x"),
        List.of("joined to it by =, as in --prompt=-x", "--prompt", "--target", "Mary"),
        List.of("Unknown option: '-x'", "--target", "Mary", "-x"),
        List.of("\"keys\" is no option and no value of one", "--prompt", "the", "keys"),
        List.of("\"John\" is no option", "--target=Mary", "John"),
        List.of(
            "a target is needed", "--prompt", "The keys near the cabinet", "--distractor", "are"),
        List.of("position is 15", "--position", "15"),
        List.of("position is -16", "--position", "-16"),
        List.of("'x' is not an int", "--position", "x"),
        List.of("top is 0", "--top", "0"),
        List.of("3 to 2: there are none such", "--tokens", "3-2"),
        List.of("tokens 3-99: there are 15, counted from 0", "--tokens", "3-99"),
        List.of("\"x\" is not a number or a range", "--tokens", "x"),
        List.of("'x' is not an int", "--top", "x"),
        List.of("layer 4 is out of range", "--into", "L4.neuron3[2]"),
        List.of("neuron 512 is out of range", "--into", "L1.neuron512[2]"),
        List.of("token 15 is out of range", "--into", "L1.neuron5[15]"),
        List.of("head 8 is out of range", "--into", "L1.head8[3<-2]"),
        List.of("key token 3", "--into", "L1.head7[2<-3]"),
        List.of("token 15 is out of range", "--from", "embedding[15]"),
        List.of(name, "--into", "L1.head7.output[3<-2]"),
        List.of(name, "--from", ""),
        List.of("embedding[3] reads nothing", "--into", "embedding[3]"),
        List.of("L1.mlp_bias[3] reads nothing", "--into", "L1.mlp_bias[3]"),
        List.of("metric writes nothing", "--from", "metric"),
        List.of("writes nothing", "--from", "L1.head7.query[3<-2]"),
        List.of("no edge from", "--from", "L2.neuron3[2]", "--into", "L1.neuron3[2]"),
        List.of("no edge from", "--from", "L2.neuron3[2]", "--into", "L1.head3[2<-1]"),
        List.of("'half'", "--dtype", "half"),
        List.of("should be specified only once", "--prompt", "the", "--prompt", "the"),
        List.of("--nonsense", "--nonsense"),
        List.of("nonsense", "nonsense"),
        List.of("--model needs a --prompt", "--model", "."),
        List.of(
            "no such folder: there is no such file",
            "--model",
            "no such folder",
            "--prompt",
            "the"),
        List.of("hf download no/model would", "--model", "no/model", "--prompt", "the"),
        List.of("ollama pull no-model would", "--model", "ollama:no-model", "--prompt", "the"));
  }

  @ParameterizedTest
  @MethodSource("mistakes")
  void mistake_isOneSentence(List<String> sentenceAndOptions) {
    long before = Scope.liveTensors();
    List<String> options = sentenceAndOptions.subList(1, sentenceAndOptions.size());
    for (List<String> more : List.of(List.<String>of(), List.of("--json"))) {
      String[] all = Stream.concat(more.stream(), options.stream()).toArray(String[]::new);
      Output.attribute(all).assertRefused(sentenceAndOptions.get(0));
    }
    assertEquals(before, Scope.liveTensors());
  }

  static Stream<List<String>> mistakesOfOtherCommands() {
    return Stream.of(
        List.of(
            "nowhere: there is no such file or folder", "attribute", "--dictionaries", "nowhere"),
        List.of(
            "belong to the shipped model",
            "attribute",
            "--dictionaries",
            "shipped",
            "--model",
            ".",
            "--prompt",
            "the"),
        List.of("metric computes nothing", "attribute", "--trace", "metric"),
        List.of("embedding[3] computes nothing", "attribute", "--trace", "embedding[3]"),
        List.of("is not loaded", "attribute", "--trace", "L2.mlp_latent3[2]"),
        List.of(
            "has no nonlinearity",
            "attribute",
            "--trace",
            "L2.head5.value[9<-7]",
            "--stage",
            "pre"),
        List.of("--trace a node", "ablate", "L1.neuron2[3]", "--stage", "pre"),
        List.of("NODE", "ablate"),
        List.of("metric writes nothing", "ablate", "metric"),
        List.of("layer 9 is out of range", "ablate", "L9.neuron1[2]"),
        List.of("has no activation", "ablate", "embedding[2]", "--set", "1"),
        List.of("scale is NaN", "ablate", "L1.neuron1[2]", "--scale", "NaN"),
        List.of("set is Infinity", "ablate", "L1.neuron1[2]", "--set", "Infinity"),
        List.of("two things", "ablate", "L1.neuron1[2]", "--set", "1", "--scale", "2"),
        List.of("is named twice", "ablate", "L1.neuron1[2]", "L1.neuron1[2]"),
        List.of("not upstream", "ablate", "L3.neuron1[2]", "--trace", "L2.neuron5[9]"),
        List.of("not upstream", "attribute", "--into", "L2.neuron1[9]", "--trace", "L2.neuron5[9]"),
        List.of(
            "not upstream", "verify", "L0.neuron1[9]->L2.neuron1[9]", "--trace", "L2.neuron5[9]"),
        List.of("--include says which nodes", "graph", "--include", "metric", "--nodes", "5"),
        List.of("--include says which nodes", "graph", "--include", "metric", "--largest"),
        List.of("nodes is 0", "graph", "--nodes", "0"),
        List.of("top is -1", "graph", "--top", "-1"),
        List.of("node-share is 1.5", "graph", "--node-share", "1.5"),
        List.of("edge-share is NaN", "graph", "--edge-share", "NaN"),
        List.of("loadings is -1", "graph", "--loadings", "-1"),
        List.of("threshold is -1.0", "graph", "--threshold", "-1"),
        List.of("--json and --dot both write to standard", "graph", "--json", "--dot", "-"),
        List.of("--dot and --csv both write to x", "graph", "--dot", "x", "--csv", "x"),
        List.of("there is no folder", "graph", "--dot", "no-such-folder/x.dot"),
        List.of("this is a folder", "graph", "--csv", "."),
        List.of("not the name of a node", "graph", "--include", "banana"),
        List.of(
            "one input of L2.head5[9<-7], which is the node",
            "graph",
            "--include",
            "L2.head5.key[9<-7]"),
        List.of("logit5[9] is no node of a circuit", "graph", "--include", "logit5[9]"),
        List.of("layer 9 is out of range", "graph", "--include", "L9.neuron1[2]"),
        List.of("not upstream", "graph", "--include", "L3.neuron1[2]", "--trace", "L2.neuron5[9]"),
        List.of("spoken for", "graph", "--dictionaries", "shipped", "--include", "L0.neuron1[2]"),
        List.of("EDGE", "verify"),
        List.of("is not an edge", "verify", "L0.neuron1[2]"),
        List.of("not the name of a node", "verify", "L0.neuron1[2]->"),
        List.of("no edge from", "verify", "L2.neuron1[2]->L1.neuron1[2]"),
        List.of("metric writes nothing", "verify", "metric->L1.neuron1[2]"),
        List.of("embedding[2] is no target", "verify", "L1.neuron1[2]->embedding[2]"),
        List.of("is not loaded", "verify", "L1.mlp_latent3[2]->metric"));
  }

  @ParameterizedTest
  @MethodSource("mistakesOfOtherCommands")
  void otherCommands_mistake_isOneSentence(List<String> sentenceAndArguments) {
    List<String> arguments = sentenceAndArguments.subList(1, sentenceAndArguments.size());
    Output.of(arguments.toArray(String[]::new)).assertRefused(sentenceAndArguments.get(0));
  }

  /** As prompt, target and distractor, joined by =. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "--",
        "-",
        "-x",
        "--json",
        "--detach",
        "-h",
        "-hV",
        "--help",
        "--target=Mary",
        "-1",
        "=",
        "@words",
        "\"Mary\"",
        "'Mary'",
        "\\n",
        "${user.name}",
        "$HOME",
        "%s",
        "a,b",
        "attribute",
        "\u2014",
        "caf\u00e9",
        "\u65e5\u672c",
        "\ud83d\ude00"
      })
  void word_ofAnyText_isWhatItSays(String word, @TempDir Path folder) throws IOException {
    copyModel(folder);
    Path file = folder.resolve("tokenizer.json");
    ObjectNode tokenizer = (ObjectNode) new ObjectMapper().readTree(Files.readString(file));
    ObjectNode vocabulary = (ObjectNode) tokenizer.at("/model/vocab");
    int id = vocabulary.remove("Alice").intValue();
    vocabulary.put(word, id);
    ((ObjectNode) tokenizer.get("pre_tokenizer")).put("type", "WhitespaceSplit");
    Files.writeString(file, tokenizer.toString());
    String model = "--model=" + folder;
    JsonNode prompt =
        json(model, "--prompt=" + word, "--target", "Mary", "--distractor", "John", "--top", "1");
    assertEquals(id, prompt.at("/tokens/1/id").intValue());
    assertEquals(2, prompt.get("tokens").size());
    JsonNode target =
        json(model, "--prompt", "the the", "--target=" + word, "--distractor=Mary", "--top=1");
    assertEquals(id, target.at("/metric/targets/0/id").intValue());
    assertEquals(1, target.at("/metric/targets").size());
    JsonNode distractor =
        json(model, "--prompt", "the", "--target", "Mary", "--distractor=" + word, "--top", "1");
    assertEquals(id, distractor.at("/metric/distractors/0/id").intValue());
    assertSame(
        -distractor.at("/metric/value").doubleValue(),
        json(model, "--prompt=the", "--target=" + word, "--distractor=Mary").at("/metric/value"));
  }

  private static JsonNode jsonOf(String... arguments) throws JsonProcessingException {
    String[] all =
        Stream.concat(Arrays.stream(arguments), Stream.of("--json", "--dtype", "double"))
            .toArray(String[]::new);
    return new ObjectMapper().readTree(Output.of(all).result());
  }

  @Test
  void ablate_twoNodes_saysWhatEachAndBothDid() throws JsonProcessingException {
    JsonNode json = jsonOf("ablate", "L0.head1[7<-2]", "L0.neuron376[14]");
    JsonNode ablations = json.get("outcomes");
    assertEquals(3, ablations.size());
    double before = json.get("metric").get("value").asDouble();
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook(DType.DOUBLE);
      Run run = model.run(Tokenizers.textbook().encode(PROMPT));
      Place pattern = Place.of(Site.PATTERN, 0).at(0, 1).at(1, 7).at(2, 2);
      Place neuron = Place.of(Site.MLP_ACTIVATION, 0).at(0, 14).at(1, 376);
      Tensor logits =
          run.with(Intervention.ablate(pattern), Intervention.ablate(neuron)).value(Site.LOGITS);
      Tokenizer words = Tokenizers.textbook();
      double after = logits.get(LAST, words.token("Mary")) - logits.get(LAST, words.token("John"));
      assertEquals(after, ablations.get(2).get("metric").asDouble(), SAME * Math.abs(before));
      assertEquals(
          after - before, ablations.get(2).get("change").asDouble(), SAME * Math.abs(before));
    }
    JsonNode others = json.get("others");
    assertEquals(10, others.size());
    JsonNode plain = jsonOf("attribute", "--top", "1000").get("nodes");
    for (JsonNode other : others) {
      String name = other.get("node").get("name").asText();
      for (JsonNode node : plain) {
        if (node.get("node").get("name").asText().equals(name)) {
          assertEquals(node.get("attribution"), other.get("before").get("attribution"), name);
        }
      }
    }
    String text = Output.of("ablate", "L0.head1[7<-2]").result();
    assertTrue(text.contains("taken out") && text.contains("Other nodes"), text);
    assertFalse(Output.of("ablate", "L0.head1[7<-2]", "--top", "0").result().contains("Other"));
    assertTrue(
        Output.of("ablate", "L0.head1[7<-2]", "--scale", "2").result().contains("times 2.000"));
    assertTrue(
        Output.of("ablate", "L0.head1[7<-2]", "--set", "0.5").result().contains("set to 0.5000"));
  }

  @Test
  void attribute_withExplanations_tellsWhatLatentsStandFor(@TempDir Path folder)
      throws IOException {
    List<String> latents = new ArrayList<>();
    for (JsonNode node :
        jsonOf("attribute", "--dictionaries", "shipped", "--top", "60").get("nodes")) {
      if (node.at("/node/kind").asText().equals("latent")) {
        latents.add(node.at("/node/name").asText());
      }
    }
    String name = latents.get(0);
    Matcher parts = Pattern.compile("(L\\d\\.[a-z]+)_latent(\\d+)\\[\\d+]").matcher(name);
    assertTrue(parts.matches(), name);
    String entry = "{\"dictionary\": \"%s\", \"index\": \"%s\", \"description\": \"%s\"}";
    String said = entry.formatted(parts.group(1), parts.group(2), "names that\\nreturn");
    String more = entry.formatted(parts.group(1), parts.group(2), "gifts");
    Path list = Files.writeString(folder.resolve("list.json"), "[" + said + ",\n" + more + "]");
    Path lines = Files.writeString(folder.resolve("lines.jsonl"), said + "\n" + more + "\n");
    for (Path file : List.of(list, lines)) {
      String[] arguments = {
        "attribute", "--dictionaries", "shipped", "--explanations", file.toString(), "--top", "60"
      };
      int told = 0;
      for (JsonNode node : jsonOf(arguments).get("nodes")) {
        String own = node.at("/node/name").asText();
        boolean same = own.replaceAll("\\[.*", "").equals(name.replaceAll("\\[.*", ""));
        assertEquals(
            same ? "names that return; gifts" : "", node.path("explanation").asText(), own);
        told += same ? 1 : 0;
      }
      assertTrue(told > 0);
      assertTrue(Output.of(arguments).result().contains("names that return; gifts"));
    }
    Map<String, String> wrong =
        Map.of(
            "{\"index\": 1",
            "line 1: this is not JSON",
            "[3]",
            "line 1: this is no object",
            said + "\n{\"layer\": \"0-res-jb\", \"index\": 1}",
            "line 2: \"0-res-jb\" is one of",
            "{\"dictionary\": \"L9.mlp\", \"index\": 1}",
            "\"L9.mlp\" is no dictionary",
            "{\"dictionary\": \"L1.mlp\", \"index\": 99999}",
            "99999",
            "{\"dictionary\": \"L1.mlp\"}",
            "index is \"\"");
    for (Map.Entry<String, String> one : wrong.entrySet()) {
      Path file = Files.writeString(folder.resolve("wrong.json"), one.getKey());
      List<String> given = List.of("--dictionaries", "shipped", "--explanations", file.toString());
      for (List<String> command : List.of(List.of("attribute"), List.of("serve", "--port", "0"))) {
        String[] arguments = Stream.of(command, given).flatMap(List::stream).toArray(String[]::new);
        Output refused =
            assertTimeoutPreemptively(Duration.ofMinutes(1), () -> Output.of(arguments));
        assertNotEquals(0, refused.exitCode, one::getKey);
        assertTrue(refused.err.contains(one.getValue()), refused.err);
      }
    }
    assertTrue(
        Output.of("attribute", "--explanations", list.toString())
            .err
            .contains("of latents of --dictionaries"));
  }

  @Test
  void verify_anEdge_agreesInBothDirections() throws JsonProcessingException {
    String edge = "L0.head1[7<-2]->L2.head5.value[14<-7]";
    JsonNode json = jsonOf("verify", edge);
    double pulled = json.get("pulled").asDouble();
    assertTrue(pulled != 0);
    assertEquals(pulled, json.get("pushed").asDouble(), SAME * Math.abs(pulled));
    assertTrue(json.get("certificate").get("relative_residual").asDouble() < SAME);
    JsonNode detached = jsonOf("verify", edge, "--detach");
    assertEquals(json.get("other_scale"), detached.get("pulled"));
    assertEquals(json.at("/patch/patched"), detached.at("/patch/patched"));
    assertFalse(json.get("certificate").has("recorded"), "live");
    JsonNode certificate = detached.get("certificate");
    double recorded = certificate.get("recorded").asDouble();
    double constant = certificate.get("constant").asDouble();
    assertTrue(constant != 0);
    assertEquals(recorded, certificate.get("sources").asDouble() + constant, SAME);
    assertTrue(certificate.get("relative_residual").asDouble() < SAME);
    String sentence = Output.of("verify", edge, "--detach").result();
    assertTrue(sentence.contains("recorded)"), sentence);
    JsonNode sums = jsonOf("attribute", "--into", "L2.head5[14<-7]", "--detach").at("/edges/sums");
    assertEquals(
        List.of(false, false, true),
        List.of(
            sums.at("/0/certificate").has("recorded"),
            sums.at("/1/certificate").has("recorded"),
            sums.at("/2/certificate").has("recorded")));
    String text = Output.of("verify", edge).result();
    assertTrue(text.lines().allMatch(line -> line.length() <= SCREEN_WIDTH), text);
    assertTrue(Output.of("verify", "L0.head1[14<-2]->logit2[14]").result().contains("pulled"));
  }

  @Test
  void completion_knowsCommandsAndOptions() {
    String script = Output.of("generate-completion").result();
    for (String word : List.of("attribute", "search", "graph", "--into-layers", "--dictionaries")) {
      assertTrue(script.contains(word), word);
    }
    assertTrue(Output.of("generate-completion", "--help").result().contains("bash and zsh"));
  }

  @Test
  void search_findsWhatVerifyComputes() throws JsonProcessingException {
    JsonNode search = jsonOf("search", "--top", "6");
    List<JsonNode> edges = items(search.get("edges"));
    assertEquals(6, edges.size());
    for (JsonNode edge : edges) {
      String name = edge.at("/source/name").asText() + "->" + edge.at("/target/name").asText();
      double score = edge.get("score").asDouble();
      double pulled = jsonOf("verify", name).get("pulled").asDouble();
      assertEquals(pulled, score, SAME * Math.abs(score), name);
    }
    JsonNode few =
        jsonOf(
            "search",
            "--from",
            "neuron",
            "--from-layers",
            "0-1",
            "--from-tokens",
            "7",
            "--into",
            "head,metric",
            "--into-layers",
            "2",
            "--into-tokens",
            "14",
            "--at-least",
            "0.01");
    List<JsonNode> found = items(few.get("edges"));
    assertFalse(found.isEmpty());
    for (JsonNode edge : found) {
      assertTrue(
          edge.at("/source/name").asText().matches("L[01]\\.neuron\\d+\\[7]"), edge.toString());
      assertTrue(
          edge.at("/target/name").asText().matches("L2\\.head\\d+\\..*\\[14<-.*"), edge.toString());
      assertTrue(Math.abs(edge.get("score").asDouble()) >= 0.01, edge.toString());
    }
    assertTrue(few.get("searched").asLong() < search.get("searched").asLong());
    String text = Output.of("search", "--dictionaries", "shipped", "--detach").result();
    assertTrue(text.lines().allMatch(line -> line.length() <= SCREEN_WIDTH), text);
    assertTrue(text.contains("say once more"), text);
    assertTrue(Output.of("search", "--at-least", "1e6").result().contains("there is none"));
    Output.of("search", "--top", "0").assertRefused("top is 0");
    Output.of("search", "--from-layers", "2-9").assertRefused("from-layers 2-9", "there are 4");
    Output.of("search", "--into-tokens", "5-2").assertRefused("5 to 2");
    Output.of("search", "--into-tokens", "x").assertRefused("not a number or a range");
    Output.of("search", "--into", "embedding").assertRefused("none of neuron", "metric");
    Output.of("search", "--into", "latent").assertRefused("there is no edge", "dictionaries");
    Output.of("search", "--from", "error").assertRefused("there is no edge", "dictionaries");
  }

  @Test
  void graph_withoutOptions_listsTheCircuitOnOneScreen() {
    List<String> lines = Output.of("graph").lines();
    assertTrue(lines.stream().anyMatch(line -> line.startsWith("Circuit: ")));
    Matcher name = Pattern.compile("^ +[0-9.]+%  (\\S+\\[\\S+]) .*").matcher("");
    long found = lines.stream().filter(line -> name.reset(line).matches()).count();
    assertTrue(found >= 20, String.join("\n", lines));
    assertTrue(lines.size() <= SCREEN_HEIGHT, lines.size() + " lines");
    assertTrue(lines.stream().allMatch(line -> line.length() <= SCREEN_WIDTH));
  }

  @Test
  void graph_json_isTheCircuitOfTheLibrary(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("circuit.json");
    String[] options = {"graph", "--nodes", "40", "--detach", "--dtype", "double"};
    String[] toFile =
        Stream.concat(Arrays.stream(options), Stream.of("--circuit", file.toString()))
            .toArray(String[]::new);
    assertEquals("", Output.of(toFile).result());
    String[] printed =
        Stream.concat(Arrays.stream(options), Stream.of("--json")).toArray(String[]::new);
    assertEquals(Files.readString(file), Output.of(printed).result());
    Circuit circuit = CircuitFile.read(file);
    assertEquals("logit(\"Mary\") - logit(\"John\")", circuit.outputs().get(0).text());
    assertEquals(PROMPT, circuit.origin().labels().prompt());
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = library();
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Circuit library =
          CircuitBuilder.of(
                  edges, circuit.origin().labels(), circuit.outputs().get(0).text(), Progress.NONE)
              .grown(40)
              .prune(0.8, 0.98);
      assertEquals(library.nodes(), circuit.nodes());
      assertEquals(library.edges(), circuit.edges());
      assertEquals(
          CircuitAttention.of(edges, Basis.of(nodes.run().model()), library, 30, Progress.NONE),
          circuit.attention());
    }
    JsonNode without = jsonOf("graph", "--nodes", "9", "--loadings", "0");
    assertEquals(0, without.get("loadings").size() + without.get("head_scores").size());
  }

  @Test
  void graph_outputs_areWrittenTogether(@TempDir Path folder) throws IOException {
    Path dot = folder.resolve("circuit.dot");
    Path csv = folder.resolve("edges.csv");
    Output output =
        Output.of(
            "graph",
            "--include",
            "L2.head5[14<-7]",
            "L0.head1[7<-2]",
            "embedding[2]",
            "--dot",
            dot.toString(),
            "--csv",
            csv.toString(),
            "--neuronpedia",
            "-");
    JsonNode graph = new ObjectMapper().readTree(output.result());
    assertEquals(4, graph.get("nodes").size());
    assertTrue(Files.readString(dot).startsWith("digraph"));
    assertTrue(Files.readString(csv).contains("L0.head1[7<-2],the,L2.head5[14<-7],to,value,"));
  }

  @Test
  void graph_modelOfThisFolder_isCalledByItsName(@TempDir Path temporary) throws IOException {
    Path folder = Files.createDirectory(temporary.resolve("tiny"));
    copyModel(folder);
    for (String name : List.of("", "/.", "/../tiny", "/../tiny/../tiny/.")) {
      String[] arguments = {
        "graph", "--model", folder + name, "--prompt", "the", "--nodes", "3", "--neuronpedia", "-"
      };
      JsonNode metadata =
          new ObjectMapper().readTree(Output.of(arguments).result()).get("metadata");
      assertEquals("tiny", metadata.get("scan").textValue());
      assertTrue(metadata.get("slug").textValue().startsWith("tiny-the-"));
    }
  }

  @Test
  void graph_html_isOnePageAndSaysWhere(@TempDir Path folder) throws IOException {
    Path page = folder.resolve("a page.html");
    Output output = Output.of("graph", "--nodes", "5", "--html", page.toString());
    assertEquals(0, output.exitCode());
    assertEquals("", output.out());
    assertEquals("The page is " + page.toUri(), output.err().strip());
    String html = Files.readString(page);
    assertTrue(html.startsWith("<!DOCTYPE html>"));
    assertEquals(html, Output.of("graph", "--nodes", "5", "--html", "-").result());
  }

  @Test
  void graph_pruning_isWhatWasAskedFor() throws JsonProcessingException {
    JsonNode all = jsonOf("graph", "--nodes", "40", "--node-share", "1", "--edge-share", "1");
    JsonNode above = jsonOf("graph", "--nodes", "40", "--threshold", "0.1");
    JsonNode top = jsonOf("graph", "--nodes", "40", "--top", "7");
    JsonNode largest = jsonOf("graph", "--nodes", "40", "--largest", "--top", "7");
    assertTrue(all.get("edges").size() > above.get("edges").size());
    assertTrue(above.get("edges").size() > 7);
    assertTrue(largest.get("edges").size() > 0);
    assertTrue(
        items(top.get("edges")).stream()
                .map(edge -> List.of(edge.get("source"), edge.get("target")))
                .distinct()
                .count()
            <= 7);
  }

  @Test
  void trace_explainsTheNode() throws JsonProcessingException {
    for (String node :
        List.of(
            "L2.neuron5[9]", "L2.head5[14<-7]", "L2.head5.key[14<-7]", "L2.head5.value[14<-7]")) {
      JsonNode metric = jsonOf("attribute", "--trace", node).get("metric");
      assertEquals(node, metric.at("/trace/name").asText());
    }
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook(DType.DOUBLE);
      Run run = model.run(Tokenizers.textbook().encode(PROMPT));
      double before =
          jsonOf("attribute", "--trace", "L2.neuron5[9]", "--stage", "pre")
              .get("metric")
              .get("value")
              .asDouble();
      assertEquals(run.value(Site.MLP_PRE_ACTIVATION, 2).get(9, 5), before, SAME);
    }
    String text = Output.attribute("--trace", "L2.head5.value[14<-7]").result();
    assertTrue(text.contains("what L2.head5.value[14<-7] writes"), text);
    assertTrue(text.lines().allMatch(line -> line.length() <= SCREEN_WIDTH), text);
  }

  @Test
  void autoencoders_shipped_areAmongNodesAndEdges(@TempDir Path folder) throws IOException {
    JsonNode json = jsonOf("attribute", "--dictionaries", "shipped", "--top", "60");
    assertTrue(
        items(json.get("nodes")).stream()
            .anyMatch(n -> n.at("/node/kind").asText().equals("latent")));
    for (String name : List.of("autoencoders.json", "autoencoders.safetensors")) {
      try (InputStream stream =
          Objects.requireNonNull(Models.class.getResourceAsStream("textbook/" + name))) {
        Files.copy(stream, folder.resolve(name));
      }
    }
    assertEquals(json, jsonOf("attribute", "--dictionaries", folder.toString(), "--top", "60"));
    String edges =
        Output.attribute("--dictionaries", "shipped", "--from", "L0.neuron376[14]", "--top", "40")
            .result();
    assertTrue(edges.contains("_latent"), edges);
    assertTrue(edges.contains("say once more"), edges);
  }

  @Test
  void basis_named_isWhatIsTold() throws IOException {
    String[] named = {"--dictionaries", "shipped", "--basis", "L0.activation,mlp"};
    Output.of(with(named, "search", "--top", "5"))
        .assertRefused("activation dictionary of layer 0 and the mlp dictionary", "L0 MLP_OUTPUT");
    named[3] = "activation,L1.attention";
    JsonNode json = jsonOf(with(named, "attribute", "--top", "400"));
    JsonNode graph = jsonOf(with(named, "graph", "--nodes", "40"));
    JsonNode search = jsonOf(with(named, "search", "--top", "400"));
    List<String> seen = new ArrayList<>();
    items(json.get("nodes")).forEach(node -> seen.add(node.at("/node/name").asText()));
    items(json.get("edges").get("largest"))
        .forEach(edge -> seen.add(edge.at("/source/name").asText()));
    items(graph.get("nodes")).forEach(node -> seen.add(node.get("name").asText()));
    items(search.get("edges")).forEach(edge -> seen.add(edge.at("/source/name").asText()));
    for (String node : seen) {
      assertFalse(node.matches("L\\d\\.(neuron|mlp_latent|mlp_error).*"), node);
      assertFalse(node.matches("L[023]\\.attention_(latent|error).*|L1\\.head.*"), node);
    }
    for (String own : List.of("L2.activation_latent", "L1.attention_latent", "L2.head")) {
      assertTrue(seen.stream().anyMatch(node -> node.startsWith(own)), own);
    }
    named[3] = "none";
    assertEquals(
        jsonOf("search", "--top", "30").withArray("edges"),
        jsonOf(with(named, "search", "--top", "30")).withArray("edges"));
    named[3] = "L7.mlp";
    Output.of(with(named, "graph")).assertRefused("\"L7.mlp\"", "L0.mlp");
    Output.of("attribute", "--basis", "mlp").assertRefused("the model has no dictionaries");
    String text =
        Output.of("search", "--dictionaries", "shipped", "--basis", "attention", "--top", "3")
            .result();
    assertFalse(text.contains("say once more"), text);
  }

  private static String[] with(String[] options, String... command) {
    return Stream.concat(Arrays.stream(command), Arrays.stream(options)).toArray(String[]::new);
  }

  @Test
  void command_unknown_isOneSentence() {
    Output.of("nonsense").assertRefused("nonsense");
    Output.of("--nonsense").assertRefused("--nonsense");
  }

  /** Copies the textbook model to a folder. */
  static void copyModel(Path folder) throws IOException {
    for (String name : List.of("config.json", "model.safetensors", "tokenizer.json")) {
      try (InputStream stream =
          Objects.requireNonNull(Models.class.getResourceAsStream("textbook/" + name))) {
        Files.copy(stream, folder.resolve(name));
      }
    }
  }

  @Test
  void model_fromFolder_isTheSameModel(@TempDir Path folder) throws IOException {
    copyModel(folder);
    String[] words = {"--prompt", PROMPT, "--target", "Mary", "--distractor", "John"};
    String[] all =
        Stream.concat(Arrays.stream(words), Stream.of("--model", folder.toString()))
            .toArray(String[]::new);
    assertEquals(Output.attribute().result(), Output.attribute(all).result());
  }

  @Test
  void chat_isTheTemplateOfTheModel(@TempDir Path folder) throws IOException {
    copyModel(folder);
    String[] options = {"--model", folder.toString(), "--prompt", "The keys", "--chat"};
    Output.attribute(options).assertRefused("there is no chat template", "tokenizer_config.json");
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"chat_template\": \"<bos> {{ messages[0].content }} near the{% if x %}\"}");
    Output.attribute(options).assertRefused("the chat template is not followed", "line 1");
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"chat_template\": \"<bos> {{ messages[0].content }} near the\"}");
    String[] whole = {"--model", folder.toString(), "--prompt", "The keys near the"};
    assertEquals(Output.attribute(whole).result(), Output.attribute(options).result());
    Output.attribute("--chat", "--no-bos").assertRefused("--no-bos", "--chat");
  }

  @Test
  void model_broken_isOneSentence(@TempDir Path folder) throws IOException {
    String[] options = {"--model", folder.toString(), "--prompt", "The keys near"};
    Output.attribute(options).assertRefused(folder.toString(), "config.json");
    copyModel(folder);
    Path weights = folder.resolve("model.safetensors");
    byte[] whole = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(whole, whole.length / 2));
    Output.attribute(options).assertRefused(weights.toString());
    byte[] nan = whole.clone();
    Arrays.fill(nan, nan.length - 4, nan.length, (byte) 0xff);
    Files.write(weights, nan);
    Output.attribute(options).assertRefused(weights.toString(), "NaN");
    Files.write(weights, whole);
    Files.writeString(folder.resolve("tokenizer.json"), "{");
    Output.attribute(options).assertRefused("tokenizer.json");
    Output.attribute("--model", weights.toString(), "--prompt", "the")
        .assertRefused("tokenizer.json");
  }

  @Test
  void help_andVersion_goToStandardOutput() {
    assertTrue(Output.of().result().contains("attribute"));
    assertTrue(Output.of("--help").result().contains("attribute"));
    String help = Output.attribute("--help").result();
    for (String option :
        List.of(
            "model",
            "prompt",
            "target",
            "distractor",
            "position",
            "into",
            "from",
            "top",
            "detach",
            "dtype",
            "json")) {
      assertTrue(help.contains("--" + option), option);
    }
    assertTrue(help.lines().allMatch(line -> line.length() <= SCREEN_WIDTH));
    assertTrue(Output.of("--version").result().startsWith("tributary "));
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "1, 1.000",
    "-0.5, -0.5000",
    "12345.6, 12350",
    "0.99996, 1.000",
    "0.00012346, 0.0001235",
    "0.000012344, 1.234e-05",
    "1234567, 1.235e+06",
    "NaN, NaN"
  })
  void number_hasFourDigits(double value, String expected) {
    assertEquals(expected, Table.number(value));
  }

  // ---- files -------------------------------------------------------------------------------

  /** A small model in a folder, with a tokenizer. */
  private static Path saved(Path folder) throws IOException {
    try (Scope scope = Scope.open()) {
      TransformerConfig config = TransformerConfig.gpt2(1, 4, 2, 3, 5, 6, 7, 1e-5, false);
      Models.save(Transformer.random(config, DType.FLOAT, 1), folder, ElementType.F32);
    }
    Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\n");
    return folder;
  }

  @Test
  void inspect_model_saysWhatItIs(@TempDir Path folder) throws IOException {
    saved(folder);
    List<String> lines = Output.of("inspect", folder.toString()).lines();
    assertEquals(folder + ": Hugging Face GPT-2, model.safetensors, 17 tensors F32", lines.get(0));
    assertEquals(
        "  1 layer, residual stream of 4, 2 heads of 3, 5 neurons, 6 positions, 7 tokens",
        lines.get(1));
    assertEquals("  tanh gelu, layer norm epsilon 1.0E-5, unembedding of its own", lines.get(2));
    assertTrue(
        lines.stream()
            .anyMatch(
                line -> line.matches("  transformer.h.0.attn.c_attn.weight +F32 +\\[4, 18]")));
    assertEquals(20, lines.size());
  }

  @Test
  void inspect_tokenizer_saysWhatItWasReadFrom(@TempDir Path folder) throws IOException {
    copyModel(folder);
    Files.writeString(folder.resolve("added_tokens.json"), "{\"<more>\": 230}");
    List<String> lines = Output.of("inspect", folder.toString()).lines();
    int line = lines.indexOf(folder + ": tokenizer of 231 tokens");
    assertEquals("  read from tokenizer.json, added_tokens.json, config.json", lines.get(line + 1));
  }

  @Test
  void inspect_partThatIsBroken_doesNotHideTheRest(@TempDir Path folder) throws IOException {
    saved(folder);
    Files.writeString(folder.resolve("vocab.json"), "{");
    Files.write(folder.resolve("other.pt"), new byte[9]);
    Output output = Output.of("inspect", folder.toString());
    assertTrue(output.out.startsWith(folder + ": Hugging Face GPT-2"), output.out);
    assertTrue(output.out.contains("other.pt: the header"), output.out);
    assertTrue(output.err.startsWith(folder + "/vocab.json: this file is not valid JSON"));
    assertEquals(1, output.err.lines().count());
    assertEquals(2, output.exitCode);
  }

  @Test
  void inspect_file_listsItsTensors(@TempDir Path folder) throws IOException {
    Path file = saved(folder).resolve("model.safetensors");
    List<String> lines = Output.of("inspect", file.toString()).lines();
    assertEquals(file + ": safetensors, 17 tensors F32", lines.get(0));
    assertEquals(18, lines.size());
  }

  @Test
  void inspect_nothing_saysSo(@TempDir Path folder) {
    Output.of("inspect", folder.resolve("none").toString())
        .assertRefused("none: there is no such file or folder");
    Output.of("inspect", folder.toString())
        .assertRefused("there is no model, tokenizer or file of tensors in this folder");
  }

  @Test
  void convert_roundsAndCopiesTheTokenizer(@TempDir Path folder) throws IOException {
    Path from = saved(folder.resolve("from"));
    Path to = folder.resolve("to");
    String[] arguments = {"convert", from.toString(), to.toString(), "--dtype", "bf16"};
    assertEquals(
        List.of(
            from + ": Hugging Face GPT-2, model.safetensors, 17 tensors F32",
            to + ": Hugging Face GPT-2, model.safetensors, 17 tensors BF16",
            to.resolve("merges.txt").toString()),
        Output.of(arguments).lines());
    try (Scope scope = Scope.open()) {
      Transformer original = Models.load(from);
      Transformer converted = Models.load(to);
      assertEquals(original.config(), converted.config());
      double[] expected = original.logits(1, 2, 3).toDoubles();
      double[] actual = converted.logits(1, 2, 3).toDoubles();
      for (int i = 0; i < expected.length; i++) {
        assertEquals(expected[i], actual[i], 0.2); // 8 bits are left of each weight
      }
    }
    Output.of(arguments).assertRefused("config.json is there already", "--force");
    String[] forced = Arrays.copyOf(arguments, arguments.length + 1);
    forced[arguments.length] = "--force";
    assertEquals(3, Output.of(forced).lines().size());
  }

  /** What somebody else may read, as any file, and each weight as it was. */
  @Test
  void convert_withoutType_keepsTypesAndSystemsPermissions(@TempDir Path folder)
      throws IOException {
    Path from = saved(folder.resolve("from"));
    Path weights = from.resolve("model.safetensors");
    try (Scope scope = Scope.open()) {
      TensorFile file = TensorFile.open(weights);
      SafetensorsWriter writer = new SafetensorsWriter();
      for (String name : file.names()) {
        ElementType type = name.contains("wpe") ? ElementType.F64 : ElementType.F32;
        writer.put(name, type, file.tensor(name, DType.DOUBLE).times(1 / 3.0));
      }
      writer.write(weights);
    }
    Path to = folder.resolve("to");
    Output.of("convert", from.toString(), to.toString()).result();
    TensorFile expected = TensorFile.open(weights);
    TensorFile actual = TensorFile.open(to.resolve("model.safetensors"));
    try (Scope scope = Scope.open()) {
      for (String name : expected.names()) {
        assertEquals(expected.elementType(name), actual.elementType(name), name);
        assertArrayEquals(
            expected.tensor(name, DType.DOUBLE).toDoubles(),
            actual.tensor(name, DType.DOUBLE).toDoubles(),
            name);
      }
    }
    if (folder.getFileSystem().supportedFileAttributeViews().contains("posix")) {
      Path other = Files.writeString(folder.resolve("other"), "");
      for (String name : List.of("model.safetensors", "config.json", "merges.txt")) {
        assertEquals(
            Files.getPosixFilePermissions(other),
            Files.getPosixFilePermissions(to.resolve(name)),
            name);
      }
    }
  }

  @Test
  void inspect_linkedFolder_isLookedInto(@TempDir Path folder, @TempDir Path elsewhere)
      throws IOException {
    saved(elsewhere);
    Files.delete(elsewhere.resolve("config.json"));
    Files.createSymbolicLink(folder.resolve("link"), elsewhere);
    Files.createSymbolicLink(elsewhere.resolve("round"), folder);
    List<String> lines = Output.of("inspect", folder.toString()).lines();
    assertEquals(folder + "/link/model.safetensors: safetensors, 17 tensors F32", lines.get(0));
    assertEquals(18, lines.size());
  }

  @Test
  void convert_badArguments_areRefused(@TempDir Path folder) throws IOException {
    Path from = saved(folder.resolve("from"));
    String to = folder.resolve("to").toString();
    Output.of("convert", from.toString(), to, "--dtype", "I8")
        .assertRefused("--dtype is I8, expected F64, F32, F16 or BF16");
    Output.of("convert", from.toString(), to, "--dtype", "x").assertRefused("--dtype");
    Output.of("convert", from.toString()).assertRefused("TO");
    Output.of("convert", to, to).assertRefused("there is no such file or folder");
    Output.of("convert", from.toString(), from.resolve("config.json").toString(), "--force")
        .assertRefused("config.json: a model cannot be written into this folder");
    assertFalse(Files.exists(Path.of(to)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"inspect", "convert"})
  void help_ofFileCommands_hasAnExample(String command) {
    List<String> lines = Output.of(command, "--help").lines();
    assertTrue(lines.indexOf("Example:") > 0);
    assertTrue(lines.stream().anyMatch(line -> line.startsWith("  " + command + " ")));
    assertTrue(lines.stream().allMatch(line -> line.length() <= SCREEN_WIDTH));
  }
}

package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.HeadLoadings;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Source;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The command that explains attention, on the shipped model. */
class AttentionCommandTest {
  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";
  private static final String EDGE = "token_embedding[2]->metric";
  private static final String HEAD = "L2.head5[14<-7]";

  /** Between two runs of the same computation in DOUBLE. */
  private static final double SAME = 1e-9;

  private static Run run() {
    return Models.textbook(DType.DOUBLE).run(Tokenizers.textbook().encode(PROMPT));
  }

  private static JsonNode json(String... arguments) throws IOException {
    Object[] all = new Object[arguments.length + 4];
    all[0] = "attention";
    System.arraycopy(arguments, 0, all, 1, arguments.length);
    all[arguments.length + 1] = "--json";
    all[arguments.length + 2] = "--dtype";
    all[arguments.length + 3] = "double";
    return Invocation.of(all).json();
  }

  @Test
  void json_edge_splitsAtEveryLayer() throws IOException {
    JsonNode json = json(EDGE, "--detach").get("edges");
    assertEquals(1, json.size());
    JsonNode split = json.get(0);
    assertEquals("token_embedding[2]", split.at("/edge/source/name").textValue());
    assertEquals("metric", split.at("/edge/target/name").textValue());
    double edge = split.get("score").asDouble();
    assertEquals(edge, split.get("pushed").asDouble(), SAME);
    assertTrue(split.get("relative_residual").asDouble() < SAME);
    assertEquals(10, split.get("pairs").size());
    try (Scope scope = Scope.open()) {
      Run run = run();
      Tokenizer words = Tokenizers.textbook();
      Metric metric =
          Metric.logitDifference(run.lastToken(), words.token("Mary"), words.token("John"));
      EdgeAttribution edges =
          EdgeAttribution.of(NodeAttribution.of(run, metric), ScaleGradient.DETACHED);
      Source source = (Source) Node.parse("token_embedding[2]");
      HeadLoadings expected = HeadLoadings.of(edges, source, new Explained());
      assertEquals(expected.edge(), edge, SAME);
      assertEquals(expected.direct(), split.get("direct").asDouble(), SAME);
      for (JsonNode layer : split.get("layers")) {
        double sum = layer.get("passing").asDouble();
        for (int head = 0; head < layer.get("heads").size(); head++) {
          double loading = layer.get("heads").get(head).asDouble();
          int number = layer.get("layer").intValue();
          assertEquals(expected.layers().get(number).heads().get(head), loading, SAME);
          sum += loading;
        }
        assertEquals(edge, sum, SAME);
      }
      assertEquals(run.model().layers(), split.get("layers").size());
      for (JsonNode pair : split.get("pairs")) {
        HeadPair head = (HeadPair) Node.parse(pair.at("/node/name").textValue());
        assertEquals(expected.of(head), pair.get("score").asDouble(), SAME);
      }
    }
  }

  @Test
  void json_head_sumsToItsScore() throws IOException {
    JsonNode json = json(HEAD, "L1.head3[14<-2]", "--top", "4").get("heads");
    assertEquals(2, json.size());
    try (Scope scope = Scope.open()) {
      Run run = run();
      for (JsonNode score : json) {
        HeadPair head = (HeadPair) Node.parse(score.at("/head/name").textValue());
        double recorded =
            run.value(Site.SCORES, head.layer()).get(head.head(), head.query(), head.key());
        assertEquals(recorded, score.get("score").asDouble(), SAME);
        assertEquals(recorded, score.get("sum").asDouble(), SAME);
        assertEquals(head.activation(run).orElseThrow(), score.get("probability").asDouble(), SAME);
        for (String list : List.of("pairs", "queries", "keys")) {
          assertEquals(4, score.get(list).size());
        }
        for (JsonNode pair : score.get("pairs")) {
          assertTrue(pair.get("score").asDouble() != 0);
        }
        for (JsonNode share : score.get("queries")) {
          assertEquals(
              head.query(), ((Source) Node.parse(share.at("/source/name").textValue())).token());
        }
      }
      JsonNode against = json(HEAD, "--against", "2");
      double difference =
          run.value(Site.SCORES, 2).get(5, 14, 7) - run.value(Site.SCORES, 2).get(5, 14, 2);
      assertEquals(difference, against.at("/heads/0/score").asDouble(), SAME);
      assertEquals(2, against.get("against").intValue());
    }
  }

  @Test
  void text_withDictionaries_namesLatentsAndBias() {
    Invocation ran =
        Invocation.of(
            "attention", "L1.head3[14<-2]", EDGE, "--top", "400", "--dictionaries", "shipped");
    assertEquals(0, ran.exitCode(), ran.err());
    assertTrue(ran.out().contains("latent"), ran.out());
    assertTrue(ran.out().lines().anyMatch(line -> line.startsWith("  bias ")), ran.out());
    assertTrue(ran.out().contains("Certificate: all pairs sum to the score"), ran.out());
    assertTrue(ran.out().contains("Certificate: at every layer"), ran.out());
    assertFalse(ran.out().lines().anyMatch(line -> line.length() > 80), ran.out());
    Invocation none = Invocation.of("attention", "L3.neuron5[14]->metric");
    assertTrue(none.out().contains("no head between"), none.out());
  }

  @Test
  void arguments_thatNameNothing_areRefused() {
    for (List<String> wrong :
        List.of(
            List.of("EDGE|HEAD"),
            List.of("neither an edge", "L1.neuron2[3]"),
            List.of("not the name of a node", "L1.head2"),
            List.of("not the name of a node", "nothing"),
            List.of("metric writes nothing", "metric->metric"),
            List.of("embedding[2] is no target", "L1.neuron2[3]->embedding[2]"),
            List.of("no edge from", "L2.neuron2[3]->L1.neuron2[3]"),
            List.of("against compares", EDGE, "--against", "2"),
            List.of("same key", HEAD, "--against", "7"),
            List.of("is not between", HEAD, "--against", "15"),
            List.of("is out of range", "L2.head5[15<-7]"),
            List.of("top is 0", HEAD, "--top", "0"))) {
      Object[] arguments = wrong.toArray();
      arguments[0] = "attention";
      Invocation.of(arguments).assertRefused(wrong.get(0));
    }
  }

  /** As README.md has it, computed in DOUBLE so that its digits are those of any machine. */
  @Test
  void readme_printedLines_arePrinted() throws IOException {
    String readme = Files.readString(Path.of("..", "README.md"));
    String section = readme.substring(readme.indexOf("## Attention explained"));
    section = section.substring(0, section.indexOf("\n## "));
    List<String> blocks =
        Pattern.compile("(?ms)^```\n(.*?)^```$")
            .matcher(section)
            .results()
            .map((MatchResult match) -> match.group(1))
            .toList();
    assertEquals(2, blocks.size());
    StringBuilder printed = new StringBuilder();
    for (String command : blocks.get(0).lines().toList()) {
      String[] words =
          command.substring(command.indexOf("attention ")).replace("\"", "").split(" ", -1);
      Object[] arguments = new Object[words.length + 2];
      System.arraycopy(words, 0, arguments, 0, words.length);
      arguments[words.length] = "--dtype";
      arguments[words.length + 1] = "double";
      Invocation ran = Invocation.of(arguments);
      assertEquals(0, ran.exitCode(), ran.err());
      printed.append(ran.out());
    }
    List<String> lines = printed.toString().lines().toList();
    for (String line : blocks.get(1).lines().toList()) {
      assertTrue(lines.contains(line), () -> line + "\n" + printed);
    }
  }
}

package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.transformer.InputPath;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.junit.jupiter.api.Test;

class EdgeTableTest {
  /** A reader as the grammar of RFC 4180 has it. */
  private static List<List<String>> read(String text) {
    List<List<String>> records = new ArrayList<>();
    List<String> record = new ArrayList<>();
    StringBuilder field = new StringBuilder();
    int at = 0;
    while (at < text.length()) {
      if (text.charAt(at) == '"') {
        at++;
        while (text.charAt(at) != '"' || (at + 1 < text.length() && text.charAt(at + 1) == '"')) {
          at += text.charAt(at) == '"' ? 1 : 0;
          field.append(text.charAt(at++));
        }
        at++;
      } else {
        while (text.charAt(at) != ',' && text.charAt(at) != '\r') {
          assertTrue(text.charAt(at) != '"' && text.charAt(at) != '\n');
          field.append(text.charAt(at++));
        }
      }
      record.add(field.toString());
      field.setLength(0);
      if (text.charAt(at) == ',') {
        at++;
      } else {
        assertEquals("\r\n", text.substring(at, at + 2));
        at += 2;
        records.add(record);
        record = new ArrayList<>();
      }
    }
    return records;
  }

  @Test
  void of_circuit_hasALineForEachEdge() throws IOException {
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    List<List<String>> records = read(EdgeTable.of(circuit));
    assertEquals(
        List.of("source", "source_token", "target", "target_token", "path", "weight", "score"),
        records.get(0));
    assertEquals(circuit.edges().size() + 1, records.size());
    double[] scores = circuit.edgeScores();
    List<String> tokens = circuit.origin().labels().tokens();
    boolean quoted = false;
    for (int i = 0; i < scores.length; i++) {
      Edge edge = circuit.edges().get(i);
      List<String> record = records.get(i + 1);
      assertEquals(circuit.nodes().get(edge.source()).node().toString(), record.get(0));
      assertEquals(circuit.nodes().get(edge.target()).node().toString(), record.get(2));
      assertTrue(tokens.contains(record.get(1)) && tokens.contains(record.get(3)));
      String path = edge.path().name().toLowerCase(Locale.ROOT);
      assertEquals(edge.path() == InputPath.ALL ? "" : path, record.get(4));
      assertEquals(edge.weight(), Double.parseDouble(record.get(5)), 0);
      assertEquals(scores[i], Double.parseDouble(record.get(6)), 0);
      quoted |= record.get(1).contains("\r\n") || record.get(1).contains("\",");
    }
    assertTrue(quoted, "no field needed quotation marks");
  }

  /** What a spreadsheet would compute is text; without its apostrophe it is what it was. */
  @Test
  void of_textThatASpreadsheetWouldCompute_isMadeText() throws IOException {
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    List<String> odd =
        List.of(
            "=1+1",
            "+",
            "-2",
            "@SUM(A1)",
            "\t=x",
            "\r=x",
            "\n=x",
            " =x",
            "\uff1d1",
            "'",
            "''=",
            "plain",
            " -",
            "caf\u00e9 \u65e5\u672c \u0645\u0631 \ud83d\ude00",
            "a=b");
    List<String> harmless = List.of("plain", odd.get(13), "a=b");
    Circuit.Labels labels = circuit.origin().labels();
    Set<String> found = new HashSet<>();
    List<String> tokens = new ArrayList<>(odd);
    for (int turn = 0; turn < odd.size(); turn++) {
      Collections.rotate(tokens, 1); // few tokens have nodes
      Circuit called =
          CircuitJsonTest.called(
              circuit, new Circuit.Labels("", List.of(), labels.prompt(), tokens), "m");
      List<List<String>> records = read(EdgeTable.of(called));
      for (int i = 0; i < circuit.edges().size(); i++) {
        List<String> record = records.get(i + 1);
        for (int column : List.of(1, 3)) {
          String cell = record.get(column);
          String text = cell.startsWith("'") ? cell.substring(1) : cell;
          assertEquals(harmless.contains(text), text.equals(cell), cell);
          assertFalse(cell.matches("(?s)\\s*[=+\\-@\uff1d].*"), cell);
          found.add(text);
        }
        double weight = circuit.edges().get(i).weight();
        assertEquals(weight, Double.parseDouble(record.get(5)), 0);
      }
    }
    assertEquals(Set.copyOf(odd), found);
    assertTrue(circuit.edges().stream().anyMatch(edge -> edge.weight() < 0));
  }
}

package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.transformer.AttentionPath;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
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
      assertEquals(edge.path() == AttentionPath.ALL ? "" : path, record.get(4));
      assertEquals(edge.weight(), Double.parseDouble(record.get(5)), 0);
      assertEquals(scores[i], Double.parseDouble(record.get(6)), 0);
      quoted |= record.get(1).contains("\r\n") || record.get(1).contains("\",");
    }
    assertTrue(quoted, "no field needed quotation marks");
  }
}

package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class MetricTest {
  @Test
  void wordNamedTwice_isRefused() {
    List<Executable> twice =
        List.of(
            () -> Metric.logitDifference(0, 7, 7),
            () -> new Metric.LogitDifference(0, List.of(1, 7), List.of(2, 7)),
            () -> new Metric.LogitDifference(0, List.of(7, 7), List.of()),
            () -> new Metric.LogitDifference(0, List.of(1), List.of(7, 7)),
            () -> new Metric.LogProbability(0, List.of(7, 1, 7)));
    for (Executable metric : twice) {
      assertEquals(
          "the word of id 7 is named twice",
          assertThrows(IllegalArgumentException.class, metric).getMessage());
    }
  }
}

package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.Device;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DeviceOptionTest {
  @ParameterizedTest
  @ValueSource(strings = {"attribute", "generate", "search", "graph"})
  void device_thatIsNone_isRefused(String command) {
    Invocation.of(command, "--device", "gpu")
        .assertRefused("--device: \"gpu\" is no device: it is cpu, cuda, or cuda:1 and so on");
    assertEquals(0, Invocation.of(command, "--device", "gpu", "--help").exitCode());
  }

  @Test
  void device_ofDatasets_isRefusedAlike() {
    Invocation.of("dataset", "score", "pairs.jsonl", "--device", "cuda:one", "--out", "scores.json")
        .assertRefused("\"cuda:one\" is no device");
  }

  @Test
  void device_thatIsNotThere_isRefusedInItsWords() {
    String said = "";
    try {
      Device.named("cuda:99");
    } catch (IllegalArgumentException e) {
      said = String.valueOf(e.getMessage());
    }
    assertTrue(said.length() > 1);
    Invocation.of("attribute", "--device", "cuda:99").assertRefused("--device: " + said);
  }

  @Test
  void cpu_isWhereItComputesUnasked() {
    assertEquals(Invocation.of("attribute"), Invocation.of("attribute", "--device", "cpu"));
  }
}

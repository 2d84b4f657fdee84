package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TransformerConfigTest {
  @ParameterizedTest
  @CsvSource({
    "0, 1, 1, 1, 1, 1, 1, 1e-5, layers is 0",
    "1, 0, 1, 1, 1, 1, 1, 1e-5, dModel is 0",
    "1, 1, 0, 1, 1, 1, 1, 1e-5, heads is 0",
    "1, 1, 1, -2, 1, 1, 1, 1e-5, dHead is -2",
    "1, 1, 1, 1, 0, 1, 1, 1e-5, neurons is 0",
    "1, 1, 1, 1, 1, 0, 1, 1e-5, context is 0",
    "1, 1, 1, 1, 1, 1, 0, 1e-5, vocabulary is 0",
    "1, 1, 1, 1, 1, 1, 1, 0, epsilon is 0",
    "1, 1, 1, 1, 1, 1, 1, NaN, epsilon is NaN",
    "1, 1, 1, 1, 1, 1, 1, Infinity, epsilon is Infinity",
    "1, 65536, 1, 1, 1, 1, 32768, 1e-5, token embedding would be '[32768, 65536]'",
    "1, 65536, 1, 1, 1, 32768, 1, 1e-5, position embedding would be '[32768, 65536]'",
    "1, 65536, 1, 1, 32768, 1, 1, 1e-5, MLP would be '[65536, 32768]'",
    "1, 65536, 2, 5462, 1, 1, 1, 1e-5, values would be '[65536, 32772]'",
    "1, 1, 2147483647, 2147483647, 1, 1, 1, 1e-5, output would be"
  })
  void constructor_impossibleSize_isRefused(
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int context,
      int vocabulary,
      double epsilon,
      String message) {
    String sentence =
        String.valueOf(
            assertThrows(
                    IllegalArgumentException.class,
                    () ->
                        TransformerConfig.gpt2(
                            layers,
                            dModel,
                            heads,
                            dHead,
                            neurons,
                            context,
                            vocabulary,
                            epsilon,
                            true))
                .getMessage());
    assertTrue(sentence.contains(message.replace("'", "")), sentence);
  }
}

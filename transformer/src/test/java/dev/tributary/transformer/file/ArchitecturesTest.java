package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.family.Architecture;
import dev.tributary.transformer.family.Architectures;
import dev.tributary.transformer.family.Layout;
import dev.tributary.transformer.family.Spelling;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What holds of every family. */
class ArchitecturesTest {
  private static final int DRAWS = 20;

  @TempDir private Path temporary;

  private static TransformerConfig gpt2(Random random) {
    return TransformerConfig.gpt2(
        1 + random.nextInt(3),
        1 + random.nextInt(6),
        1 + random.nextInt(3),
        1 + random.nextInt(3),
        1 + random.nextInt(6),
        1 + random.nextInt(6),
        1 + random.nextInt(6),
        random.nextDouble() + 1e-9,
        random.nextBoolean() ? MlpActivation.TANH_GELU : MlpActivation.EXACT_GELU,
        random.nextBoolean());
  }

  @Test
  void save_drawnSizes_comeBackWithTheirNumbers() throws IOException {
    for (int seed = 0; seed < DRAWS; seed++) {
      TransformerConfig config = gpt2(new Random(seed));
      Path folder = temporary.resolve("model" + seed);
      try (Scope scope = Scope.open()) {
        Transformer model = Transformer.random(config, DType.DOUBLE, seed);
        Models.save(model, folder, ElementType.F64);
        Transformer read = Models.load(folder, DType.DOUBLE, Progress.NONE);
        assertEquals(config, read.config(), "seed " + seed);
        assertEquals(config.slots(), List.copyOf(read.weights().keySet()));
        for (Map.Entry<Slot, Tensor> weight : model.weights().entrySet()) {
          Tensor other = read.weight(weight.getKey().weight(), weight.getKey().layer());
          assertArrayEquals(
              weight.getValue().toDoubles(), other.toDoubles(), weight.getKey() + " " + seed);
        }
      }
    }
  }

  @Test
  void save_configThatNoFamilyHas_isRefused() {
    TransformerConfig gpt2 = gpt2(new Random(1));
    List<LayerConfig> layers = new ArrayList<>(gpt2.layers());
    LayerConfig last = layers.remove(layers.size() - 1);
    layers.add(new LayerConfig(last.attention(), last.mlp(), LayerConfig.Order.PARALLEL));
    TransformerConfig config =
        new TransformerConfig(
            gpt2.dModel(),
            gpt2.vocabulary(),
            gpt2.context(),
            gpt2.embedding(),
            layers,
            gpt2.finalNorm(),
            gpt2.unembedding());
    try (Scope scope = Scope.open()) {
      Transformer model = Transformer.random(config, DType.FLOAT, 1);
      Exception refusal =
          assertThrows(
              IllegalArgumentException.class,
              () -> Models.save(model, temporary.resolve("model"), ElementType.F32));
      assertTrue(String.valueOf(refusal.getMessage()).contains("order=PARALLEL"));
    }
    assertFalse(Files.exists(temporary.resolve("model")));
  }

  @Test
  void spellings_everyFamily_haveOneForEachWeight() {
    for (Architecture family : Architectures.all()) {
      Set<Weight> spelled = EnumSet.noneOf(Weight.class);
      for (Spelling one : family.spellings(gpt2(new Random(1)))) {
        assertTrue(spelled.add(one.weight()), () -> family.kind() + ": " + one);
        assertEquals(one.weight().perLayer(), one.name().contains("*"), one::name);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"Hugging Face GPT-2", "transformer-debugger checkpoint"})
  void layout_gpt2_hasOnePlaceForEachWeight(String kind) {
    Architecture family =
        Architectures.all().stream()
            .filter(one -> one.kind().equals(kind))
            .findFirst()
            .orElseThrow();
    TransformerConfig config = gpt2(new Random(2)).tied(false);
    Layout layout = Layout.of(family, config);
    Set<Slot> placed = new HashSet<>();
    for (Layout.Entry entry : layout.entries()) {
      int column = 0;
      for (Slot slot : entry.slots()) {
        assertTrue(placed.add(slot), slot::toString);
        assertEquals(entry, layout.of(slot));
        assertEquals(column, entry.column(slot));
        column += slot.shape().size(-1);
      }
      assertEquals(column, entry.ours().size(-1));
    }
    assertEquals(new HashSet<>(config.slots()), placed);
  }

  @Test
  void of_everyType_isKnownToOneFamily() {
    Set<String> types = new HashSet<>();
    for (Architecture family : Architectures.all()) {
      family.modelTypes().forEach(type -> assertTrue(types.add(type), type));
      family.classes().forEach(type -> assertTrue(types.add(type), type));
    }
  }
}

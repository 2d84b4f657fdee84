package dev.tributary.attribution;

import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Session;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.SafetensorsWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** Transcoders of the shipped model with numbers drawn at random, in circuit-tracer's layout. */
public final class RandomTranscoders {
  /** In each layer. */
  public static final int LATENTS = 50;

  private RandomTranscoders() {}

  /** Writes them into a folder. */
  public static void write(Path folder) throws IOException {
    Files.writeString(
        folder.resolve("config.yaml"),
        """
        model_name: textbook
        model_kind: transcoder_set
        feature_input_hook: hook_resid_mid
        feature_output_hook: hook_mlp_out
        scan: random
        """);
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook(DType.FLOAT);
      int width = model.config().dModel();
      Random random = new Random(1);
      for (int layer = 0; layer < model.layers(); layer++) {
        new SafetensorsWriter()
            .put("W_enc", ElementType.F32, uniform(random, LATENTS, width))
            .put("b_enc", ElementType.F32, uniform(random, LATENTS))
            .put("W_dec", ElementType.F32, uniform(random, LATENTS, width).times(0.1))
            .put("b_dec", ElementType.F32, uniform(random, width))
            .write(folder.resolve("layer_" + layer + ".safetensors"));
      }
    }
  }

  /** A session of the shipped model with its dictionaries and these, written into a folder. */
  public static Session session(Path folder) throws IOException {
    write(folder);
    return Session.open(
        ModelChoice.shipped()
            .withDictionaries(ModelChoice.SHIPPED)
            .withTranscoders(folder.toString()));
  }

  private static Tensor uniform(Random random, int... dimensions) {
    Shape shape = Shape.of(dimensions);
    double[] numbers = random.doubles(shape.length(), -1, 1).toArray();
    return Tensor.of(DType.FLOAT, shape, numbers);
  }
}

package dev.tributary.transformer.file;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import dev.tributary.core.Shape;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.TransformerConfig;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;

/** Small dictionaries in layouts that are published, by the names of their files. */
final class PublishedDictionaries {
  /** 2 layers, dModel 2. */
  static final TransformerConfig MODEL =
      TransformerConfig.gpt2(2, 2, 1, 2, 3, 8, 9, 1e-5, MlpActivation.TANH_GELU, true);

  private PublishedDictionaries() {}

  static List<Map<String, byte[]>> all() {
    return List.of(CircuitTracerTest.crossLayer(), gemmaScope(), sparsify(), llamaScope());
  }

  /** An array as numpy stores it. */
  static byte[] array(String type, boolean columns, String shape, float... values) {
    String header =
        "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n"
            .formatted(type, columns ? "True" : "False", shape);
    ByteBuffer result =
        ByteBuffer.allocate(10 + header.length() + values.length * Float.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0})
            .putShort((short) header.length())
            .put(header.getBytes(ISO_8859_1));
    for (float value : values) {
      result.putFloat(value);
    }
    return result.array();
  }

  static Map<String, byte[]> gemmaScope() {
    return Map.of(
        "params.npz",
        HostileTorchFileTest.archive(
            "W_enc.npy", array("<f4", false, "(2, 3)", 1, 2, 3, 4, 5, 6),
            "W_dec.npy", array("<f4", true, "(3, 2)", 1, 2, 3, 4, 5, 6),
            "b_enc.npy", array("<f4", false, "(3,)", 1, 2, 3),
            "b_dec.npy", array("<f4", false, "(2,)", 1, 2),
            "threshold.npy", array("<f4", false, "(3,)", 1, 2, 3)));
  }

  private static Map<String, byte[]> sparsify() {
    String config =
        "{\"activation\": \"groupmax\", \"k\": 3, \"num_latents\": 3, \"transcode\": false}";
    String list = "{\"files\": [{\"path\": \"cfg.json\", \"hook\": \"blocks.1.hook_resid_mid\"}]}";
    return Map.of(
        "dictionaries.json",
        list.getBytes(UTF_8),
        "cfg.json",
        config.getBytes(UTF_8),
        "sae.safetensors",
        new SafetensorsBuilder()
            .put("encoder.weight", Shape.of(3, 2), 1, 2, 3, 4, 5, 6)
            .put("W_dec", Shape.of(3, 2), 1, 2, 3, 4, 5, 6)
            .put("encoder.bias", Shape.of(3), 1, 2, 3)
            .put("b_dec", Shape.of(2), 1, 2)
            .build());
  }

  private static Map<String, byte[]> llamaScope() {
    String config =
        "{\"d_model\": 2, \"hook_point_in\": \"blocks.1.ln2.hook_normalized\","
            + " \"hook_point_out\": \"blocks.1.hook_mlp_out\", \"act_fn\": \"jumprelu\","
            + " \"norm_activation\": \"dataset-wise\","
            + " \"dataset_average_activation_norm\": {\"in\": 2.5, \"out\": 0.5}}";
    return Map.of(
        "config.json",
        config.getBytes(UTF_8),
        "sae_weights.safetensors",
        new SafetensorsBuilder()
            .put("encoder.weight", Shape.of(3, 2), 1, 2, 3, 4, 5, 6)
            .put("decoder.weight", Shape.of(2, 3), 1, 2, 3, 4, 5, 6)
            .put("encoder.bias", Shape.of(3), 1, 2, 3)
            .put("decoder.bias", Shape.of(2), 1, 2)
            .put("log_jumprelu_threshold", Shape.of(3), -1, 0, 1)
            .build());
  }
}

package dev.tributary.transformer.file;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import dev.tributary.core.Shape;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * Small dictionaries in every layout that is published.
 *
 * @param layout as their description says it
 * @param model 2 layers
 * @param files by their paths
 */
record PublishedDictionaries(String layout, TransformerConfig model, Map<String, byte[]> files) {
  private static final int LATENTS = 3;

  /** 2 layers, dModel 4, 6 neurons. */
  private static final TransformerConfig MODEL =
      TransformerConfig.gpt2(2, 4, 1, 4, 6, 8, 9, 1e-5, true);

  /** The same with dModel 2 and 3 neurons. */
  private static final TransformerConfig NARROW =
      TransformerConfig.gpt2(2, 2, 1, 2, 3, 8, 9, 1e-5, MlpActivation.TANH_GELU, true);

  static List<PublishedDictionaries> all() throws IOException {
    List<PublishedDictionaries> all = new ArrayList<>();
    for (String name :
        List.of(
            "topk_rescaled",
            "gated_uncentred_input",
            "centred_writes",
            "jumprelu",
            "standard_finetuned")) {
      all.add(
          new PublishedDictionaries(
              "SAELens",
              MODEL,
              Map.of(
                  "cfg.json", utf8(SaeLensTest.config(name)),
                  "sae_weights.safetensors", SaeLensTest.weights(name).build())));
    }
    all.add(saeLensTranscoder());
    all.addAll(sparsify());
    all.addAll(gemmaScope());
    all.addAll(llamaScope());
    all.add(new PublishedDictionaries("circuit-tracer", NARROW, CircuitTracerTest.crossLayer()));
    all.addAll(transcoderSets());
    all.addAll(dictionaryLearning());
    all.addAll(torchFiles());
    all.add(
        new PublishedDictionaries(
            "autoencoders.json",
            MODEL,
            Map.of(
                "autoencoders.json", json(DictionarySitesTest.JSON),
                "autoencoders.safetensors", DictionarySitesTest.weights().build())));
    return all;
  }

  /** Writes its files into a folder. */
  void write(Path folder) throws IOException {
    for (Map.Entry<String, byte[]> file : files.entrySet()) {
      Path path = folder.resolve(file.getKey());
      Files.createDirectories(Objects.requireNonNull(path.getParent()));
      Files.write(path, file.getValue());
    }
  }

  @Override
  public String toString() {
    return layout + " " + files.keySet().stream().sorted().toList();
  }

  // ---- layouts -----------------------------------------------------------------------------

  private static PublishedDictionaries saeLensTranscoder() {
    return new PublishedDictionaries(
        "SAELens",
        NARROW,
        Map.of(
            "cfg.json",
            json(
                "{'architecture': 'jumprelu_skip_transcoder', 'd_in': 2, 'd_sae': 3, 'd_out': 2,"
                    + " 'normalize_activations': 'expected_average_only_in',"
                    + " 'metadata': {'hook_name': 'blocks.1.ln2.hook_normalized',"
                    + " 'hook_name_out': 'blocks.1.hook_mlp_out'}}"),
            "activation_scaler.json",
            json("{'scaling_factor': 0.5}"),
            "sae_weights.safetensors",
            safetensors(
                Map.of(
                    "W_enc", Shape.of(2, LATENTS),
                    "W_dec", Shape.of(LATENTS, 2),
                    "W_skip", Shape.of(2, 2),
                    "b_enc", Shape.of(LATENTS),
                    "b_dec", Shape.of(2),
                    "threshold", Shape.of(LATENTS)))));
  }

  private static List<PublishedDictionaries> sparsify() {
    Map<String, Shape> tensors =
        Map.of(
            "encoder.weight", Shape.of(LATENTS, 2),
            "W_dec", Shape.of(LATENTS, 2),
            "encoder.bias", Shape.of(LATENTS),
            "b_dec", Shape.of(2));
    Map<String, Shape> skipping = new LinkedHashMap<>(tensors);
    skipping.put("W_skip", Shape.of(2, 2));
    return List.of(
        new PublishedDictionaries(
            "sparsify",
            NARROW,
            Map.of(
                "dictionaries.json",
                json("{'files': [{'path': 'cfg.json', 'hook': 'blocks.1.hook_resid_mid'}]}"),
                "cfg.json",
                json("{'activation': 'groupmax', 'k': 3, 'num_latents': 3, 'transcode': false}"),
                "sae.safetensors",
                safetensors(tensors))),
        new PublishedDictionaries(
            "sparsify",
            NARROW,
            Map.of(
                "layers.1.mlp/cfg.json",
                json("{'activation': 'topk', 'k': 2, 'transcode': true, 'skip_connection': true}"),
                "layers.1.mlp/sae.safetensors",
                safetensors(skipping))));
  }

  private static List<PublishedDictionaries> gemmaScope() {
    byte[] arrays =
        HostileTorchFileTest.archive(
            "W_enc.npy", array("<f4", false, "(2, 3)", 1, 2, 3, 4, 5, 6),
            "W_dec.npy", array("<f4", true, "(3, 2)", 1, 2, 3, 4, 5, 6),
            "b_enc.npy", array("<f4", false, "(3,)", 1, 2, 3),
            "b_dec.npy", array("<f4", false, "(2,)", 1, 2),
            "threshold.npy", array("<f4", false, "(3,)", 1, 2, 3));
    return List.of(
        new PublishedDictionaries(
            "Gemma Scope", NARROW, Map.of("gemma-scope-2b-pt-res/layer_0/params.npz", arrays)),
        new PublishedDictionaries(
            "Gemma Scope", NARROW, Map.of("gemma-scope-2b-pt-res/embedding/params.npz", arrays)),
        new PublishedDictionaries(
            "Gemma Scope",
            NARROW,
            Map.of(
                "transcoder/layer_0_width_3/config.json",
                json(
                    "{'hf_hook_point_in': 'model.layers.1.pre_feedforward_layernorm.output',"
                        + " 'hf_hook_point_out': 'model.layers.1.post_feedforward_layernorm.output',"
                        + " 'architecture': 'jump_relu'}"),
                "transcoder/layer_0_width_3/params.safetensors",
                safetensors(
                    Map.of(
                        "w_enc", Shape.of(2, LATENTS),
                        "w_dec", Shape.of(LATENTS, 2),
                        "affine_skip_connection", Shape.of(2, 2),
                        "b_enc", Shape.of(LATENTS),
                        "b_dec", Shape.of(2),
                        "threshold", Shape.of(LATENTS))))),
        new PublishedDictionaries(
            "Gemma Scope",
            NARROW,
            Map.of(
                "resid_post/layer_1_width_3/params.safetensors",
                safetensors(
                    Map.of(
                        "w_enc", Shape.of(2, LATENTS),
                        "w_dec", Shape.of(LATENTS, 2),
                        "b_enc", Shape.of(LATENTS),
                        "b_dec", Shape.of(2),
                        "threshold", Shape.of(1))))));
  }

  private static List<PublishedDictionaries> llamaScope() {
    Map<String, Shape> tensors =
        Map.of(
            "encoder.weight", Shape.of(LATENTS, 2),
            "decoder.weight", Shape.of(2, LATENTS),
            "encoder.bias", Shape.of(LATENTS),
            "decoder.bias", Shape.of(2));
    Map<String, Shape> jumping = new LinkedHashMap<>(tensors);
    jumping.put("log_jumprelu_threshold", Shape.of(LATENTS));
    return List.of(
        new PublishedDictionaries(
            "Llama Scope",
            NARROW,
            Map.of(
                "config.json",
                json(
                    "{'d_model': 2, 'hook_point_in': 'blocks.1.ln2.hook_normalized',"
                        + " 'hook_point_out': 'blocks.1.hook_mlp_out', 'act_fn': 'jumprelu',"
                        + " 'norm_activation': 'dataset-wise',"
                        + " 'dataset_average_activation_norm': {'in': 2.5, 'out': 0.5}}"),
                "sae_weights.safetensors",
                safetensors(jumping))),
        new PublishedDictionaries(
            "Llama Scope",
            NARROW,
            Map.of(
                "L1R/hyperparams.json",
                json(
                    "{'d_model': 2, 'hook_point_in': 'blocks.1.hook_resid_post',"
                        + " 'hook_point_out': 'blocks.1.hook_resid_post', 'act_fn': 'topk',"
                        + " 'top_k': 2, 'norm_activation': 'inference',"
                        + " 'apply_decoder_bias_to_pre_encoder': true}"),
                "L1R/checkpoints/final.safetensors",
                safetensors(tensors))));
  }

  private static List<PublishedDictionaries> transcoderSets() {
    String config =
        """
        model_kind: transcoder_set
        feature_input_hook: mlp.hook_in
        feature_output_hook: mlp.hook_out
        """;
    Map<String, Shape> tensors =
        Map.of(
            "W_enc", Shape.of(LATENTS, 2),
            "W_dec", Shape.of(LATENTS, 2),
            "W_skip", Shape.of(2, 2),
            "b_enc", Shape.of(LATENTS),
            "b_dec", Shape.of(2));
    Map<String, Shape> jumping = new LinkedHashMap<>(tensors);
    jumping.put("activation_function.threshold", Shape.of(LATENTS));
    return List.of(
        new PublishedDictionaries(
            "circuit-tracer",
            NARROW,
            Map.of(
                "config.yaml",
                utf8(config + "activation: topk\nk: 2\n"),
                "layer_1.safetensors",
                safetensors(tensors))),
        new PublishedDictionaries(
            "circuit-tracer",
            NARROW,
            Map.of("config.yaml", utf8(config), "layer_0.safetensors", safetensors(jumping))));
  }

  private static List<PublishedDictionaries> dictionaryLearning() {
    return List.of(
        new PublishedDictionaries(
            "dictionary_learning",
            NARROW,
            Map.of(
                "resid_post_layer_1/trainer_0/config.json",
                json("{'trainer': {'dict_class': 'GatedAutoEncoder', 'submodule_name': null}}"),
                "resid_post_layer_1/trainer_0/ae.pt",
                torch(
                    "",
                    Map.of(
                        "encoder.weight", Shape.of(LATENTS, 2),
                        "decoder.weight", Shape.of(2, LATENTS),
                        "decoder_bias", Shape.of(2),
                        "gate_bias", Shape.of(LATENTS),
                        "mag_bias", Shape.of(LATENTS),
                        "r_mag", Shape.of(LATENTS))))),
        new PublishedDictionaries(
            "dictionary_learning",
            NARROW,
            Map.of(
                "config.json",
                json(
                    "{'trainer': {'dict_class': 'MatryoshkaBatchTopKSAE', 'layer': 1,"
                        + " 'submodule_name': 'mlp_out_layer1', 'k': 2}}"),
                "ae.pt",
                torch(
                    "",
                    Map.of(
                        "W_enc", Shape.of(2, LATENTS),
                        "W_dec", Shape.of(LATENTS, 2),
                        "b_enc", Shape.of(LATENTS),
                        "b_dec", Shape.of(2),
                        "threshold", Shape.of(),
                        "group_sizes", Shape.of(2),
                        "k", Shape.of())))));
  }

  private static List<PublishedDictionaries> torchFiles() throws IOException {
    Map<String, Shape> matrices =
        Map.of(
            "W_enc", Shape.of(LATENTS, 2),
            "W_dec", Shape.of(2, LATENTS),
            "b_enc", Shape.of(LATENTS),
            "b_dec", Shape.of(2));
    Map<String, Shape> turned = new LinkedHashMap<>(matrices);
    turned.put("W_enc", Shape.of(2, LATENTS));
    turned.put("W_dec", Shape.of(LATENTS, 2));
    Map<String, byte[]> listed = new LinkedHashMap<>();
    listed.put("autoencoders.json", json(TorchDictionaryTest.JSON));
    for (String name : List.of("relu", "topk", "tied")) {
      listed.put(
          Objects.requireNonNull(TorchDictionaryTest.PATHS.get(name)),
          TorchDictionaryTest.content(name));
    }
    return List.of(
        new PublishedDictionaries("torch file", MODEL, listed),
        new PublishedDictionaries(
            "torch file",
            NARROW,
            Map.of(
                "resid_post_mlp_v5_32k/autoencoders/1.pt",
                torch(
                    HostileTorchFileTest.text("activation")
                        + HostileTorchFileTest.text("TopK")
                        + HostileTorchFileTest.text("activation_state_dict.k")
                        + HostileTorchFileTest.whole(2),
                    Map.of(
                        "encoder.weight", Shape.of(LATENTS, 2),
                        "decoder.weight", Shape.of(2, LATENTS),
                        "latent_bias", Shape.of(LATENTS),
                        "pre_bias", Shape.of(2),
                        "stats_last_nonzero", Shape.of(LATENTS))))),
        new PublishedDictionaries(
            "Qwen Scope",
            NARROW,
            Map.of("SAE-Res-Qwen3-1.7B-Base-W32K-L0_2/layer1.sae.pt", torch("", matrices))),
        new PublishedDictionaries(
            "Goodfire",
            NARROW,
            Map.of(
                "Llama-3.1-8B-Instruct-SAE-l1.pth",
                torch(
                    "",
                    Map.of(
                        "encoder_linear.weight", Shape.of(LATENTS, 2),
                        "decoder_linear.weight", Shape.of(2, LATENTS),
                        "encoder_linear.bias", Shape.of(LATENTS),
                        "decoder_linear.bias", Shape.of(2))))),
        new PublishedDictionaries(
            "attention autoencoder",
            NARROW,
            Map.of(
                "gpt2-small_L1_Hcat_z_v9_cfg.json",
                json("{'act_name': 'blocks.1.attn.hook_z', 'act_size': 2}"),
                "gpt2-small_L1_Hcat_z_v9.pt",
                torch("", turned))));
  }

  // ---- files -------------------------------------------------------------------------------

  private static byte[] utf8(Object text) {
    return text.toString().getBytes(UTF_8);
  }

  private static byte[] json(String text) {
    return utf8(text.replace('\'', '"'));
  }

  private static float[] numbers(Shape shape) {
    float[] numbers = new float[shape.length()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = (i * 5 % 7 - 2) / 4f;
    }
    return numbers;
  }

  private static byte[] safetensors(Map<String, Shape> tensors) {
    SafetensorsBuilder result = new SafetensorsBuilder();
    new TreeMap<>(tensors)
        .forEach(
            (name, shape) ->
                result.put(
                    name, shape, name.endsWith("threshold") ? magnitudes(shape) : numbers(shape)));
    return result.build();
  }

  /** Thresholds are not negative everywhere. */
  private static float[] magnitudes(Shape shape) {
    float[] magnitudes = numbers(shape);
    for (int i = 0; i < magnitudes.length; i++) {
      magnitudes[i] = Math.abs(magnitudes[i]);
    }
    return magnitudes;
  }

  /**
   * What torch.save makes of a state dict.
   *
   * @param values names and values that are no tensors, pickled
   */
  private static byte[] torch(String values, Map<String, Shape> tensors) {
    StringBuilder pickle = new StringBuilder("}(").append(values);
    List<Object> entries = new ArrayList<>();
    for (Map.Entry<String, Shape> tensor : new TreeMap<>(tensors).entrySet()) {
      Shape shape = tensor.getValue();
      String key = Integer.toString(entries.size());
      pickle
          .append(HostileTorchFileTest.text(tensor.getKey()))
          .append(HostileTorchFileTest.floats(key, shape));
      ByteBuffer data =
          ByteBuffer.allocate(shape.length() * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      for (float number : numbers(shape)) {
        data.putFloat(number);
      }
      entries.addAll(List.of("a/data/" + key, data.array()));
    }
    entries.add(0, "a/data.pkl");
    entries.add(1, pickle.append("u.").toString().getBytes(ISO_8859_1));
    return HostileTorchFileTest.archive(entries.toArray());
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
}

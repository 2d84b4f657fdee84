package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Phi 3: Llama with queries, keys and values in one tensor, and gates with what they multiply in
 * another.
 *
 * @see <a href="https://arxiv.org/abs/2404.14219">Abdin et al. 2024</a>
 */
final class Phi3 implements HuggingFace {
  @Override
  public String name() {
    return "Phi3";
  }

  @Override
  public String modelType() {
    return "phi3";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(3072, 8192, 32, 32, 4096, 32_064),
            Decoder.rms(keys, "rms_norm_eps", 1e-5));
    decoder.readKeyHeads(decoder.heads);
    Rope.partial(10_000, 1).read(keys, decoder);
    decoder.window(Decoder.window(keys, OptionalInt.empty()));
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .fusedProjections("layers.*.self_attn.qkv_proj", Spelling.Together.SIDE_BY_SIDE)
        .fusedGate("layers.*.mlp.gate_up_proj")
        .all();
  }

  @Override
  public List<String> adapted() {
    return List.of("qkv_proj");
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(
        new GgufFamily("phi3", this)
            .rms()
            .rope(Rope.partial(10_000, 1))
            .window()
            .spelled(spellings -> GgufFamily.fused(spellings).fusedGate("blk.*.ffn_up")));
  }
}

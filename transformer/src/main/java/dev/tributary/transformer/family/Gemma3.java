package dev.tributary.transformer.family;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * The text model of Gemma 3: Gemma 2 with norms of queries and keys, no caps, and slower rotation
 * in the layers without a window.
 *
 * @see <a href="https://arxiv.org/abs/2503.19786">Gemma Team 2025</a>
 */
final class Gemma3 implements HuggingFace {
  private static final String LOCAL_BASE = "rope_local_base_freq";
  private static final String PATTERN = "sliding_window_pattern";

  @Override
  public String name() {
    return "Gemma3";
  }

  @Override
  public String modelType() {
    return "gemma3_text";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder = Gemma2.read(keys, new Decoder.Sizes(2304, 9216, 26, 8, 131_072, 262_208));
    decoder.headNorm(decoder.finalNorm, AttentionConfig.HeadNorm.Extent.EACH_HEAD);
    if (keys.has("attn_logit_softcapping")) {
      throw keys.wrong("attn_logit_softcapping", "none: transformers does not follow it");
    }
    decoder.logitCap = Decoder.cap(keys, "final_logit_softcapping", OptionalDouble.empty());
    int pattern = keys.positive(PATTERN, 6);
    decoder.slidingLayers(
        Decoder.window(keys, OptionalInt.of(4096)), layer -> (layer + 1) % pattern != 0);
    decoder.positions = positions(keys, decoder);
    return decoder.config();
  }

  private static List<Positions> positions(Keys keys, Decoder decoder) throws IOException {
    if (keys.holdsItems(Rope.SCALING) && keys.holdsItems(Rope.PARAMETERS)) {
      throw keys.wrong(Rope.SCALING, "nothing beside " + Rope.PARAMETERS);
    }
    Optional<Keys> scaling = Rope.parameters(keys).filter(said -> said.has("type"));
    if (scaling.isPresent() && !scaling.get().has("rope_type")) {
      throw scaling.get().wrong("rope_type", "the same as type"); // versions differ on type alone
    }
    Optional<Keys> full =
        keys.holdsItems(Rope.SCALING)
            ? Rope.parameters(keys)
            : Rope.parameters(keys, "full_attention");
    Positions inFull = Rope.whole(1e6).positions(keys, full, decoder);
    Positions inSliding =
        Rope.under(LOCAL_BASE, 10_000)
            .positions(keys, Rope.parameters(keys, "sliding_attention"), decoder);
    return decoder.windows.stream().map(window -> window.isPresent() ? inSliding : inFull).toList();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Gemma2.spellings();
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(
        new GgufFamily("gemma3", this)
            .rms()
            .rope(Rope.whole(10_000))
            .says(
                (metadata, config) -> {
                  config.put(LOCAL_BASE, metadata.number("rope.freq_base_swa", 10_000));
                  config.put(PATTERN, metadata.size("attention.sliding_window_pattern", 6));
                })
            .window()
            .says(Gemma2.scoreScale(62))
            .number("final_logit_softcapping", "final_logit_softcapping"));
  }
}

package dev.tributary.transformer.family;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Rotary positions as GGUF files say them, and the config of a family. */
final class GgufRope {
  /** Divides the frequency of each pair. */
  private static final String FACTORS = "rope_freqs.weight";

  /** The same in texts that are longer than those of training. */
  private static final String LONG_FACTORS = "rope_factors_long.weight";

  /** The same in others. */
  private static final String SHORT_FACTORS = "rope_factors_short.weight";

  /** All that may lie beside weights. */
  static final List<String> TENSORS = List.of(FACTORS, LONG_FACTORS, SHORT_FACTORS);

  private static final String ROTATING = "rope.dimension_count";
  private static final String FACTOR = "rope.scaling.factor";
  private static final String OLD_FACTOR = "rope.scale_linear";
  private static final String TYPE = "rope.scaling.type";
  private static final String MULTIPLIER = "rope.scaling.attn_factor";
  private static final String CONTEXT = "rope.scaling.original_context_length";

  private final GgufMetadata metadata;
  private final Rope rope;

  /** With the keys of a config. */
  GgufRope(GgufMetadata metadata, Rope rope) {
    this.metadata = metadata;
    this.rope = rope;
  }

  void add(Map<String, Object> config) throws IOException {
    config.put(rope.base(), metadata.number("rope.freq_base", 10_000));
    int size = metadata.headSize();
    int turning = metadata.size(ROTATING, size);
    if (rope.part().isPresent()) {
      double share = (double) turning / size;
      // Whoever reads it rounds the product down.
      config.put(rope.share(), (int) (size * share) < turning ? Math.nextUp(share) : share);
    } else if (turning != size) {
      throw metadata.wrong(ROTATING, size + ": all of a head turns");
    }
    Map<String, Object> scaling = scaling(turning / 2);
    if (!scaling.isEmpty()) {
      config.put(Rope.SCALING, scaling);
    }
    if (scaling.containsKey(Rope.CONTEXT)) {
      config.put(Rope.CONTEXT, scaling.get(Rope.CONTEXT)); // where older versions look for it
    }
  }

  private Map<String, Object> scaling(int pairs) throws IOException {
    Map<String, Object> result = new LinkedHashMap<>();
    int context = metadata.size(CONTEXT, metadata.context());
    double multiplier = metadata.number(MULTIPLIER, 1);
    String factorKey = metadata.has(OLD_FACTOR) ? OLD_FACTOR : FACTOR;
    double factor = metadata.number(factorKey, 1);
    String type = metadata.text(TYPE, factor == 1 ? "none" : "linear");
    boolean byLength =
        metadata.tensors().contains(LONG_FACTORS) || metadata.tensors().contains(SHORT_FACTORS);
    boolean always = metadata.tensors().contains(FACTORS);
    if (byLength || always) {
      if (!List.of("none", Rope.LONG).contains(type) || factor != 1 || (byLength && always)) {
        throw metadata.wrong(TYPE, "none or longrope, and one kind of factors of each pair");
      }
      result.put("rope_type", Rope.LONG);
      result.put(Rope.LONG_FACTORS, numbers(byLength ? LONG_FACTORS : FACTORS, pairs));
      result.put(Rope.SHORT_FACTORS, numbers(byLength ? SHORT_FACTORS : FACTORS, pairs));
      result.put("attention_factor", multiplier);
      result.put(Rope.CONTEXT, context);
      return result;
    }
    if (multiplier != 1) {
      throw metadata.wrong(MULTIPLIER, "1, for there are no factors of each pair");
    }
    switch (type) {
      case "none" -> {}
      case "linear" -> {
        result.put("rope_type", "linear");
        result.put("factor", factor);
      }
      default -> throw metadata.wrong(TYPE, "none or linear");
    }
    return result;
  }

  private double[] numbers(String tensor, int pairs) throws IOException {
    return metadata.tensors().numbers(tensor, pairs);
  }
}

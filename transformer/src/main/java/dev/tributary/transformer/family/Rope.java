package dev.tributary.transformer.family;

import dev.tributary.transformer.Positions;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.IntStream;

/**
 * Rotary positions as a config of Hugging Face says them: pair i of the n numbers of a head that
 * turn turns by θ^(-2i/n) per token, or slower.
 *
 * @param base key of θ where the parameters do not say it
 * @param theta where neither says it
 * @param share key of the part of a head that turns, where the parameters do not say it
 * @param part where neither says it; if there is none, all of a head turns
 * @see <a href="https://github.com/huggingface/transformers">transformers,
 *     modeling_rope_utils.py</a>
 */
record Rope(String base, double theta, String share, OptionalDouble part) {
  static final String PARAMETERS = "rope_parameters";
  static final String SCALING = "rope_scaling";
  static final String LONG = "longrope";
  static final String LONG_FACTORS = "long_factor";
  static final String SHORT_FACTORS = "short_factor";
  static final String THETA = "rope_theta";
  private static final String PART = "partial_rotary_factor";

  /** By which wavelengths are long, for llama3, and texts, for longrope. */
  static final String CONTEXT = "original_max_position_embeddings";

  /** All of a head turns. */
  static Rope whole(double theta) {
    return under(THETA, theta);
  }

  /** The same, where the config says θ under another key. */
  static Rope under(String base, double theta) {
    return new Rope(base, theta, PART, OptionalDouble.empty());
  }

  /** A part of a head turns. */
  static Rope partial(double theta, double part) {
    return new Rope(THETA, theta, PART, OptionalDouble.of(part));
  }

  /** The parameters in a config, of older files too. */
  static Optional<Keys> parameters(Keys config) throws IOException {
    for (String key : List.of(SCALING, PARAMETERS)) {
      if (config.holdsItems(key)) {
        return Optional.of(config.object(key));
      }
    }
    return Optional.empty();
  }

  /** The parameters that a config has for one type of layers. */
  static Optional<Keys> parameters(Keys config, String layerType) throws IOException {
    if (!config.has(PARAMETERS) || !config.object(PARAMETERS).has(layerType)) {
      return Optional.empty();
    }
    return Optional.of(config.object(PARAMETERS).object(layerType));
  }

  /** The same for every layer of a decoder. */
  void read(Keys config, Decoder decoder) throws IOException {
    decoder.positions(positions(config, parameters(config), decoder));
  }

  /** As a config says, and parameters in it. */
  Positions positions(Keys config, Optional<Keys> said, Decoder decoder) throws IOException {
    double angle = config.positive(base, theta);
    double turning = config.positive(share, part.orElse(1));
    if (said.isPresent()) {
      for (String layers : List.of("full_attention", "sliding_attention")) {
        if (said.get().has(layers)) {
          throw said.get().wrong(layers, "nothing: all layers turn alike");
        }
      }
      angle = said.get().positive(THETA, angle);
      turning = said.get().positive(PART, turning);
    }
    if (part.isEmpty() && turning != 1) {
      throw config.because("%s is %s, expected 1: all of a head turns", PART, turning);
    }
    int numbers = (int) (decoder.dHead() * turning);
    if (turning > 1 || numbers < 2 || numbers % 2 != 0) {
      throw config.because(
          "%s is %s, expected a share of a head of %d numbers that is pairs of them",
          said.filter(own -> own.has(PART)).isPresent() ? PART : share, turning, decoder.dHead());
    }
    List<Double> frequencies = frequencies(numbers, angle);
    return said.isPresent()
        ? scaled(frequencies, config, said.get(), decoder.context)
        : rotary(frequencies);
  }

  private static Positions rotary(List<Double> frequencies) {
    return new Positions.Rotary(frequencies, Positions.Pairs.HALVES);
  }

  /** Angles per token of the pairs of so many numbers. */
  static List<Double> frequencies(int numbers, double theta) {
    List<Double> frequencies = new ArrayList<>();
    for (int i = 0; i < numbers / 2; i++) {
      frequencies.add(Math.pow(theta, -2.0 * i / numbers));
    }
    return frequencies;
  }

  private static Positions scaled(List<Double> frequencies, Keys config, Keys said, int context)
      throws IOException {
    String key = said.has("rope_type") ? "rope_type" : "type";
    return switch (said.text(key, "default")) {
      case "default" -> rotary(frequencies);
      case "linear" -> {
        double factor = required(said, "factor");
        yield rotary(frequencies.stream().map(f -> f / factor).toList());
      }
      case "llama3" -> {
        double factor = required(said, "factor");
        double low = required(said, "low_freq_factor");
        double high = required(said, "high_freq_factor");
        if (high <= low) {
          throw said.wrong("high_freq_factor", "more than low_freq_factor, " + low);
        }
        int tokens = config.positive(CONTEXT, said.positive(CONTEXT, context));
        yield rotary(
            frequencies.stream()
                .map(
                    f -> {
                      double turns = tokens * f / (2 * Math.PI);
                      double kept = Math.max(0, Math.min(1, (turns - low) / (high - low)));
                      return kept * f + (1 - kept) * f / factor;
                    })
                .toList());
      }
      case LONG, "su" -> byLength(frequencies, config, said, context);
      default -> throw said.wrong(key, "default or linear or llama3 or " + LONG);
    };
  }

  /** Each frequency is divided by one number in short texts and by another in long ones. */
  private static Positions byLength(List<Double> frequencies, Keys config, Keys said, int context)
      throws IOException {
    int longest = config.positive(CONTEXT, said.positive(CONTEXT, context));
    double stretch = (double) context / longest;
    double multiplier = stretch > 1 ? Math.sqrt(1 + Math.log(stretch) / Math.log(longest)) : 1;
    if (said.has("attention_factor")) {
      multiplier = said.positive("attention_factor", 1.0);
    } else if (said.positive("factor", stretch) != stretch) {
      throw said.wrong("factor", "the context by %s, %s".formatted(CONTEXT, stretch));
    } else if (!Double.isFinite(multiplier)) {
      throw said.wrong("attention_factor", "one, for %s is 1".formatted(CONTEXT));
    }
    Positions inShort = divided(frequencies, said, SHORT_FACTORS, multiplier);
    Positions inLong = divided(frequencies, said, LONG_FACTORS, multiplier);
    return inShort.equals(inLong) ? inShort : new Positions.ByLength(longest, inShort, inLong);
  }

  private static Positions divided(
      List<Double> frequencies, Keys said, String key, double multiplier) throws IOException {
    List<Double> factors = said.positives(key);
    if (factors.size() != frequencies.size()) {
      throw said.wrong(key, "one for each of %d pairs".formatted(frequencies.size()));
    }
    List<Double> divided =
        IntStream.range(0, factors.size())
            .mapToObj(pair -> frequencies.get(pair) / factors.get(pair))
            .toList();
    return new Positions.Rotary(divided, Positions.Pairs.HALVES, multiplier);
  }

  private static double required(Keys said, String key) throws IOException {
    if (!said.has(key)) {
      throw said.wrong(key, "a positive number");
    }
    return said.positive(key, 1.0);
  }
}

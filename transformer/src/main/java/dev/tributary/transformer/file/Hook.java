package dev.tributary.transformer.file;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.OutletConfig;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.TransformerConfig;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A point of a model at which people train dictionaries, by the names that their files have for it:
 * first TransformerLens', then OpenAI's, then that of the module of transformers.
 *
 * @see <a href="https://transformerlensorg.github.io/TransformerLens/">TransformerLens</a>
 */
enum Hook {
  /** Token embeddings, with their multiplier. */
  EMBEDDING("hook_embed", "embedding"),
  /** Rows of the embedding, where they have no multiplier. */
  EMBEDDING_ROWS("embed_tokens", "embed_in", "wte"),
  /** The residual stream before a layer. */
  BEFORE_LAYER("hook_resid_pre", "resid_pre", "input"),
  /** The residual stream between attention and MLP. */
  BETWEEN("hook_resid_mid", "resid_post_attn", "resid_mid"),
  /** The residual stream after a layer. */
  AFTER_LAYER("hook_resid_post", "resid_post_mlp", "resid_post", "output"),
  /** What attention computes, where nothing stands between it and the residual stream. */
  ATTENTION_RESULT("attn.hook_out", "self_attn.output"),
  /** What attention adds to the residual stream. */
  ATTENTION_OUTPUT("hook_attn_out", "resid_delta_attn"),
  /** The outputs of all heads, before they are projected. */
  HEADS("attn.hook_z", "self_attn.o_proj.input"),
  /** What the norm before the MLP reads. */
  BEFORE_MLP_NORM("hook_mlp_in"),
  /** What that norm makes, before its gain and bias. */
  MLP_STANDARDISED("ln2.hook_normalized"),
  /** What the MLP computes from. */
  MLP_INPUT("mlp.hook_in", "mlp.input", "pre_feedforward_layernorm.output"),
  /** Activations of neurons. */
  MLP_ACTIVATION("mlp.hook_post", "mlp_post_act"),
  /** What the MLP computes, before what stands between it and the residual stream. */
  MLP_RESULT("mlp.hook_out", "mlp.output"),
  /** What the MLP adds to the residual stream. */
  MLP_OUTPUT("hook_mlp_out", "resid_delta_mlp", "post_feedforward_layernorm.output");

  private static final Pattern LENS = Pattern.compile("blocks\\.(0|[1-9]\\d{0,8})\\.(.+)");

  private static final Pattern MODULE =
      Pattern.compile("(?:model\\.|language_model\\.)*layers\\.(0|[1-9]\\d{0,8})\\.(.+)");

  private static final Map<String, Hook> BY_NAME =
      Arrays.stream(values())
          .flatMap(hook -> hook.names.stream().map(name -> Map.entry(name, hook)))
          .collect(Collectors.toUnmodifiableMap(Map.Entry::getKey, Map.Entry::getValue));

  @SuppressWarnings("ImmutableEnumChecker") // a list that cannot be changed
  private final List<String> names;

  Hook(String... names) {
    this.names = List.of(names);
  }

  /** The hook of this name, which says no layer. */
  static Optional<Hook> named(String name) {
    return Optional.ofNullable(BY_NAME.get(name));
  }

  /** The names of TransformerLens, for a refusal. */
  static String known() {
    return Arrays.stream(values()).map(Hook::toString).collect(Collectors.joining(", "));
  }

  /** Its point in a layer; the layer of embeddings is 0. */
  Point in(int layer) {
    return new Point(this, perLayer() ? layer : 0);
  }

  /** The size of the vectors of a place. */
  static int width(Place place, TransformerConfig config) {
    return switch (place.site()) {
      case MLP_ACTIVATION -> config.layers().get(place.layer()).mlp().neurons();
      case HEAD_OUTPUT -> {
        AttentionConfig attention = config.layers().get(place.layer()).attention();
        yield attention.heads() * attention.dHead();
      }
      default -> config.dModel();
    };
  }

  /** Whether every layer has one. */
  boolean perLayer() {
    return this != EMBEDDING && this != EMBEDDING_ROWS;
  }

  /** Whether it holds what is written to the residual stream, or the sum of that. */
  boolean inStream() {
    return switch (this) {
      case HEADS, MLP_STANDARDISED, MLP_INPUT, MLP_ACTIVATION -> false;
      default -> true;
    };
  }

  @Override
  public String toString() {
    return names.get(0);
  }

  /**
   * A hook of one layer.
   *
   * @param layer from 0
   */
  record Point(Hook hook, int layer) {
    /** The point of a name that says the layer, such as blocks.3.hook_resid_post. */
    static Optional<Point> of(String name) {
      Optional<Hook> whole = named(name).filter(hook -> !hook.perLayer());
      if (whole.isPresent()) {
        return whole.map(hook -> hook.in(0));
      }
      for (Pattern pattern : List.of(LENS, MODULE)) {
        Matcher matcher = pattern.matcher(name);
        if (matcher.matches()) {
          return named(matcher.group(2))
              .filter(Hook::perLayer)
              .map(hook -> hook.in(Integer.parseInt(matcher.group(1))));
        }
      }
      return Optional.empty();
    }

    /**
     * Where it is in a model.
     *
     * @throws IllegalArgumentException if the model has no such point
     */
    Place place(TransformerConfig config) {
      if (!hook.perLayer()) {
        require(
            hook == EMBEDDING || config.embedding().multiplier() == 1,
            "holds what this model multiplies before it uses it");
        return Place.of(config.embedding().positions() ? Site.TOKEN_EMBEDDING : Site.EMBEDDING);
      }
      int layers = config.layers().size();
      require(layer < layers, "is of a layer that the model does not have: it has " + layers);
      LayerConfig own = config.layers().get(layer);
      boolean parallel = own.order() == LayerConfig.Order.PARALLEL;
      return switch (hook) {
        case EMBEDDING, EMBEDDING_ROWS -> throw new AssertionError(hook);
        case BEFORE_LAYER -> beforeLayer();
        case BETWEEN -> {
          require(!parallel, "lies between attention and MLP, which are parallel in this model");
          yield Place.of(Site.RESIDUAL_AFTER_ATTENTION, layer);
        }
        case AFTER_LAYER -> Place.of(Site.RESIDUAL_AFTER_MLP, layer);
        case ATTENTION_RESULT -> {
          require(
              own.attention().outlet().equals(OutletConfig.NONE),
              "lies before a norm of what attention writes, where no dictionary can be");
          yield Place.of(Site.ATTENTION_OUTPUT, layer);
        }
        case ATTENTION_OUTPUT -> Place.of(Site.ATTENTION_OUTPUT, layer);
        case HEADS -> Place.of(Site.HEAD_OUTPUT, layer);
        case BEFORE_MLP_NORM ->
            parallel ? beforeLayer() : Place.of(Site.RESIDUAL_AFTER_ATTENTION, layer);
        case MLP_STANDARDISED -> {
          require(
              own.mlp().entry().isPresent(),
              "is in a norm before the MLP, and this model has none");
          yield Place.of(Site.MLP_STANDARDISED, layer);
        }
        case MLP_INPUT -> Place.of(Site.MLP_INPUT, layer);
        case MLP_ACTIVATION -> Place.of(Site.MLP_ACTIVATION, layer);
        case MLP_RESULT ->
            Place.of(
                own.mlp().outlet().equals(OutletConfig.NONE) ? Site.MLP_OUTPUT : Site.MLP_RESULT,
                layer);
        case MLP_OUTPUT -> Place.of(Site.MLP_OUTPUT, layer);
      };
    }

    private void require(boolean condition, String otherwise) {
      requireArgument(condition, "\"%s\" %s", this, otherwise);
    }

    private Place beforeLayer() {
      return layer == 0 ? Place.of(Site.EMBEDDING) : Place.of(Site.RESIDUAL_AFTER_MLP, layer - 1);
    }

    @Override
    public String toString() {
      return hook.perLayer() ? "blocks." + layer + "." + hook : hook.toString();
    }
  }
}

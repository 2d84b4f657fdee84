package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import java.util.Optional;

/**
 * A named place in the model whose tensor a run records. Names of axes in brackets. Which sites a
 * model has depends on its config: {@link Run#places} lists those of a run.
 */
public enum Site {
  /** [token, dModel] */
  TOKEN_EMBEDDING(Region.BEFORE_LAYERS),
  /** Where positions are embedded, [token, dModel] */
  POSITION_EMBEDDING(Region.BEFORE_LAYERS),
  /** Residual stream at its start, token plus position, [token, dModel] */
  EMBEDDING(Region.BEFORE_LAYERS),

  /** Scale of the norm before attention, [token, 1] */
  ATTENTION_SCALE(Region.LAYER, Curvature.SCALE),
  /** Scale of the norm of queries, [head, token, 1], or [token, 1] if it is across heads */
  QUERY_SCALE(Region.LAYER, Curvature.SCALE),
  /** Scale of the norm of keys, [key head, token, 1], or [token, 1] if it is across heads */
  KEY_SCALE(Region.LAYER, Curvature.SCALE),
  /** As it enters the product with keys, [head, token, dHead] */
  QUERY(Region.LAYER),
  /** As it enters the product with queries, [key head, token, dHead] */
  KEY(Region.LAYER),
  /** [key head, token, dHead] */
  VALUE(Region.LAYER),
  /**
   * Query-key products, scaled and capped, minus infinity where the query does not see the key,
   * [head, query, key]
   */
  SCORES(Region.LAYER),
  /** Softmax of the scores, [head, query, key] */
  PATTERN(Region.LAYER, Curvature.PATTERN),
  /** Sum of values weighted by the pattern, [head, query, dHead] */
  HEAD_OUTPUT(Region.LAYER),
  /** Scale of the norm of what attention writes, [token, 1] */
  ATTENTION_OUTLET_SCALE(Region.LAYER, Curvature.SCALE),
  /** What attention adds to the residual stream, bias included, [token, dModel] */
  ATTENTION_OUTPUT(Region.LAYER),
  /** Residual stream between attention and MLP, if the layer has it, [token, dModel] */
  RESIDUAL_AFTER_ATTENTION(Region.LAYER),
  /** Scale of the norm before the MLP, [token, 1] */
  MLP_SCALE(Region.LAYER, Curvature.SCALE),
  /** Centred and divided by the scale, before gain and bias of the norm, [token, dModel] */
  MLP_STANDARDISED(Region.LAYER),
  /** What the MLP computes from, [token, dModel] */
  MLP_INPUT(Region.LAYER),
  /** What the activation function takes; of gated neurons, the gate, [token, neuron] */
  MLP_PRE_ACTIVATION(Region.LAYER),
  /** What the gate multiplies, of gated neurons, [token, neuron] */
  MLP_UP(Region.LAYER),
  /** [token, neuron] */
  MLP_ACTIVATION(Region.LAYER, Curvature.ACTIVATION),
  /** Scale of the norm of what the MLP writes, [token, 1] */
  MLP_OUTLET_SCALE(Region.LAYER, Curvature.SCALE),
  /** What the MLP computes, bias included, before its outlet, [token, dModel] */
  MLP_RESULT(Region.LAYER),
  /** What the MLP adds to the residual stream, bias included, [token, dModel] */
  MLP_OUTPUT(Region.LAYER),
  /** Residual stream after the layer, [token, dModel] */
  RESIDUAL_AFTER_MLP(Region.LAYER),

  /** Scale of the last norm, [token, 1] */
  FINAL_SCALE(Region.AFTER_LAYERS, Curvature.SCALE),
  /** Final residual stream after the last norm, [token, dModel] */
  FINAL_NORMALISED(Region.AFTER_LAYERS),
  /** [token, vocabulary] */
  LOGITS(Region.AFTER_LAYERS, Curvature.LOGITS);

  /** When the forward pass comes by. */
  enum Region {
    BEFORE_LAYERS,
    /** In every layer. */
    LAYER,
    AFTER_LAYERS
  }

  /** What makes a model curved there. */
  enum Curvature {
    /** Nothing: it is linear, given what it reads. */
    NONE,
    /** Rows are divided by it. */
    SCALE,
    /** Values are weighted by it. */
    PATTERN,
    /** The activation function of neurons. */
    ACTIVATION,
    /** The cap of logits, if they have one. */
    LOGITS
  }

  private final Region region;
  private final Curvature curvature;

  Site(Region region) {
    this(region, Curvature.NONE);
  }

  Site(Region region, Curvature curvature) {
    this.region = region;
    this.curvature = curvature;
  }

  /** {@return whether it belongs to a layer} */
  public boolean perLayer() {
    return region == Region.LAYER;
  }

  /**
   * {@return the site of the same layer that alone is computed from this one, for little: how
   * something moves with this one follows from how it moves with that}
   */
  public Optional<Site> reader() {
    return switch (this) {
      case SCORES -> Optional.of(PATTERN);
      case PATTERN -> Optional.of(HEAD_OUTPUT);
      case MLP_PRE_ACTIVATION, MLP_UP -> Optional.of(MLP_ACTIVATION);
      default -> Optional.empty();
    };
  }

  Region region() {
    return region;
  }

  Curvature curvature() {
    return curvature;
  }

  /** Sees a variable of the forward pass as it passes a site, and says what goes on from there. */
  @FunctionalInterface
  interface Visitor {
    /** The layer of a site of the whole model is 0. */
    Variable at(Site site, int layer, Variable variable);

    /** How copies that readers of a site have differ from the residual stream, if they do. */
    default Optional<StreamReader.Differences> differences(Site site, int layer) {
      return Optional.empty();
    }

    /** How many prompts of one length pass, the rows of each after those of the one before. */
    default int prompts() {
      return 1;
    }

    /** The token of the first row that passes. */
    default int firstToken() {
      return 0;
    }

    /** Keys or values of all tokens up to those whose rows pass. */
    default Variable fromTheFirst(Site site, int layer, Variable rows) {
      return rows;
    }

    /** Whether it has a use for a site that need not be computed by itself. */
    default boolean wants(Site site) {
      return false;
    }
  }
}

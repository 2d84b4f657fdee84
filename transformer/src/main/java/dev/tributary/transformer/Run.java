package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * What one forward pass recorded: the tensor at every {@link Site}, and how each depends on earlier
 * ones. It lives in the scope in which the model was run.
 */
public final class Run {
  private final Transformer model;
  private final int[] tokens;
  private final Map<Site, List<Variable>> sites;

  private Run(Transformer model, int[] tokens, Map<Site, List<Variable>> sites) {
    this.model = model;
    this.tokens = tokens;
    this.sites = sites;
  }

  /** Fills a run, site by site in the order of the forward pass. */
  static final class Recorder implements Site.Visitor {
    private final Transformer model;
    private final int[] tokens;
    private final Map<Site, List<Variable>> sites = new EnumMap<>(Site.class);

    Recorder(Transformer model, int[] tokens) {
      this.model = model;
      this.tokens = tokens.clone();
    }

    @Override
    public Variable at(Site site, Variable variable) {
      sites.computeIfAbsent(site, s -> new ArrayList<>()).add(variable);
      return variable;
    }

    Run finish() {
      return new Run(model, tokens, sites);
    }
  }

  /** The model that ran. */
  public Transformer model() {
    return model;
  }

  /** The ids it read, a copy. */
  public int[] tokens() {
    return tokens.clone();
  }

  /** Number of tokens. */
  public int length() {
    return tokens.length;
  }

  /** Index of the last token. */
  public int lastToken() {
    return tokens.length - 1;
  }

  /**
   * The variable at a site of the whole model.
   *
   * @throws IllegalArgumentException if every layer has one
   */
  public Variable variable(Site site) {
    requireArgument(!site.perLayer(), "site %s needs a layer: every layer has one", site);
    return recorded(site).get(0);
  }

  /**
   * The variable at a site of one layer.
   *
   * @throws IllegalArgumentException if layers have no such site, or there is no such layer
   */
  public Variable variable(Site site, int layer) {
    requireArgument(site.perLayer(), "site %s belongs to the whole model, not to a layer", site);
    model.block(layer);
    return recorded(site).get(layer);
  }

  private List<Variable> recorded(Site site) {
    return sites.getOrDefault(site, List.of());
  }

  /** The tensor at a site of the whole model, see {@link #variable(Site)}. */
  public Tensor value(Site site) {
    return variable(site).value();
  }

  /** The tensor at a site of one layer, see {@link #variable(Site, int)}. */
  public Tensor value(Site site, int layer) {
    return variable(site, layer).value();
  }

  /** Residual stream that the attention of a layer reads, [token, dModel]. */
  public Variable residualBeforeAttention(int layer) {
    return layer == 0 ? variable(Site.EMBEDDING) : variable(Site.RESIDUAL_AFTER_MLP, layer - 1);
  }

  /** Residual stream that the MLP of a layer reads, [token, dModel]. */
  public Variable residualBeforeMlp(int layer) {
    return variable(Site.RESIDUAL_AFTER_ATTENTION, layer);
  }

  /** Residual stream after the last layer, [token, dModel]. */
  public Variable finalResidual() {
    return residualBeforeAttention(model.config().layers());
  }
}

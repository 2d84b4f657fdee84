package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
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

  /** The scope in which the model was run. */
  private final Scope scope = Scope.innermost();

  /** Made when asked for, by whichever thread asks first: guarded by itself. */
  private final Map<SparseAutoencoder, Encoding> encodings = new HashMap<>();

  /** What is different from the plain run of these tokens, in the order in which it was changed. */
  private final List<Change> changes;

  private Run(
      Transformer model, int[] tokens, List<Change> changes, Map<Site, List<Variable>> sites) {
    this.model = model;
    this.tokens = tokens;
    this.changes = changes;
    this.sites = sites;
  }

  private Encoding encoding(SparseAutoencoder autoencoder) {
    synchronized (encodings) {
      return encodings.computeIfAbsent(autoencoder, this::encode);
    }
  }

  private Encoding encode(SparseAutoencoder autoencoder) {
    Tensor y = value(autoencoder.site(), autoencoder.layer());
    try (Scope here = Scope.open()) {
      Variable latents = autoencoder.latents(Variable.constant(y));
      Tensor reconstruction = autoencoder.reconstruction(latents).value();
      return new Encoding(
          autoencoder,
          here.keepIn(scope, latents.value()),
          here.keepIn(scope, reconstruction),
          here.keepIn(scope, y.minus(reconstruction)));
    }
  }

  /** Fills a run, site by site in the order of the forward pass. */
  static final class Recorder implements Site.Visitor {
    private final Transformer model;
    private final int[] tokens;
    private final List<Change> changes;
    private final Map<Site, List<Variable>> sites = new EnumMap<>(Site.class);

    Recorder(Transformer model, int[] tokens, List<Change> changes) {
      this.model = model;
      this.tokens = tokens.clone();
      this.changes = changes;
    }

    /** Takes over what another run recorded before a layer. */
    void resume(Run base, int layer) {
      base.sites.forEach(
          (site, variables) -> {
            if (site.perLayer()) {
              sites.put(site, new ArrayList<>(variables.subList(0, layer)));
            } else if (site.compareTo(Site.EMBEDDING) <= 0) {
              sites.put(site, new ArrayList<>(variables));
            }
          });
    }

    @Override
    public Variable at(Site site, Variable variable) {
      List<Variable> variables = sites.computeIfAbsent(site, s -> new ArrayList<>());
      Variable changed = variable;
      for (Change change : changes) {
        changed = change.at(site, variables.size(), changed, this);
      }
      variables.add(changed);
      return changed;
    }

    Variable recorded(Site site, int layer) {
      return sites.getOrDefault(site, List.of()).get(layer);
    }

    Run finish() {
      return new Run(model, tokens, changes, sites);
    }
  }

  /**
   * Runs the model again with something changed, from the earliest changed layer on; what came
   * before is shared with this run, and what this run had changed stays changed. Lives in the
   * innermost scope, and no longer than this run.
   *
   * @param more changes, made together
   * @return the new run
   * @throws IllegalArgumentException if a change does not fit this run
   */
  public Run with(Change... more) {
    int firstLayer = model.config().layers();
    for (Change change : more) {
      change.requireFits(this);
      firstLayer = Math.min(firstLayer, change.firstLayer(model.config()));
    }
    List<Change> all = new ArrayList<>(changes);
    all.addAll(List.of(more));
    return model.rerun(this, all, firstLayer);
  }

  /**
   * Refuses a run in which more than its token and position embeddings was changed: there, what was
   * recorded is not what the model computes from what came before.
   *
   * @throws IllegalArgumentException with what was changed
   */
  public void requireComputed() {
    for (Change change : changes) {
      requireArgument(
          change.isOfInput(),
          "this run was changed (%s): what its nodes read and write is not what the model says",
          change);
    }
  }

  /** {@return the model that ran} */
  public Transformer model() {
    return model;
  }

  /** {@return the ids it read, a copy} */
  public int[] tokens() {
    return tokens.clone();
  }

  /** {@return the number of tokens} */
  public int length() {
    return tokens.length;
  }

  /** {@return the index of the last token} */
  public int lastToken() {
    return tokens.length - 1;
  }

  /**
   * {@return the variable at a site of the whole model}
   *
   * @param site a site that is recorded
   * @throws IllegalArgumentException if every layer has one
   */
  public Variable variable(Site site) {
    requireArgument(!site.perLayer(), "site %s needs a layer: every layer has one", site);
    return recorded(site).get(0);
  }

  /**
   * {@return the variable at a site of one layer}
   *
   * @param site a site that is recorded
   * @param layer from 0
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

  /**
   * {@return the tensor at a site of the whole model, see {@link #variable(Site)}}
   *
   * @param site a site that is recorded
   */
  public Tensor value(Site site) {
    return variable(site).value();
  }

  /**
   * {@return the tensor at a site of one layer, see {@link #variable(Site, int)}}
   *
   * @param site a site that is recorded
   * @param layer from 0
   */
  public Tensor value(Site site, int layer) {
    return variable(site, layer).value();
  }

  /**
   * {@return what each autoencoder of the model makes of this run, computed when first asked for}
   */
  public List<Encoding> encodings() {
    return model.autoencoders().stream().map(this::encoding).toList();
  }

  /**
   * {@return what the autoencoder of a site and layer makes of this run, computed when first asked
   * for}
   *
   * @param site a site that is recorded
   * @param layer from 0
   * @throws IllegalArgumentException if none is loaded there
   */
  public Encoding encoding(Site site, int layer) {
    return encoding(model.autoencoder(site, layer));
  }

  /**
   * {@return the residual stream after a block, [token, dModel]} Blocks are numbered in the order
   * of the forward pass: 0 for the embeddings, 2l + 1 and 2l + 2 for the attention and the MLP of
   * layer l.
   *
   * @param block from 0
   * @throws IllegalArgumentException if there is no such block
   */
  public Variable residualAfter(int block) {
    requireArgument(
        block >= 0 && block <= 2 * model.config().layers(),
        "block %d of a model that has blocks 0 to %d",
        block,
        2 * model.config().layers());
    if (block == 0) {
      return variable(Site.EMBEDDING);
    }
    return block % 2 == 1
        ? variable(Site.RESIDUAL_AFTER_ATTENTION, block / 2)
        : variable(Site.RESIDUAL_AFTER_MLP, block / 2 - 1);
  }
}

package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * What one forward pass recorded: the tensor at every {@link Site}, and how each depends on earlier
 * ones. It lives in the scope in which the model was run.
 */
public final class Run {
  private final Transformer model;

  /** Of all prompts, one after the other. */
  private final int[] tokens;

  private final int prompts;
  private final Map<Place, Variable> recorded;

  /** The scope in which the model was run. */
  private final Scope scope = Scope.innermost();

  /** Made when asked for, by whichever thread asks first: guarded by itself. */
  private final Map<Dictionary, Encoding> encodings = new HashMap<>();

  /** What is different from the plain run of these tokens, in the order in which it was changed. */
  private final List<Change> changes;

  /** What changes hold for later layers. */
  private final Map<Held, Variable> held;

  /** What it was asked to record. */
  private final Set<Site> sites;

  /** What a change made of a site that passed. */
  private record Held(Change change, Place place) {}

  private Run(
      Transformer model,
      int prompts,
      int[] tokens,
      Set<Site> sites,
      List<Change> changes,
      Map<Held, Variable> held,
      Map<Place, Variable> recorded) {
    this.model = model;
    this.prompts = prompts;
    this.tokens = tokens;
    this.sites = sites;
    this.changes = changes;
    this.held = held;
    this.recorded = recorded;
  }

  /**
   * {@return what a dictionary makes of this run, computed when first asked for}
   *
   * @param dictionary of the model
   */
  public Encoding encoding(Dictionary dictionary) {
    synchronized (encodings) {
      return encodings.computeIfAbsent(dictionary, this::encode);
    }
  }

  private Encoding encode(Dictionary dictionary) {
    try (Scope here = Scope.open()) {
      Encoding encoding = Encoding.of(dictionary, vectors(dictionary.reads()));
      here.keepIn(scope, encoding.input());
      encoding.scale().ifPresent(own -> here.keepIn(scope, own));
      return encoding;
    }
  }

  /** Fills a run, site by site in the order of the forward pass. */
  static final class Recorder implements Site.Visitor {
    /** Whether what is recorded knows how it depends on what came before. */
    enum Derivatives {
      KEPT,
      NONE
    }

    private final Transformer model;
    private final int prompts;
    private final int[] tokens;
    private final Set<Site> wanted;
    private final Derivatives derivatives;
    private final List<Change> changes;

    /** Of the tokens before these. */
    private final Optional<KeyValueCache> earlier;

    private final Map<Place, Variable> recorded = new LinkedHashMap<>();

    /** What changes hold for later layers. */
    private final Map<Held, Variable> held = new HashMap<>();

    /** In which the model runs. */
    private final Scope scope = Scope.innermost();

    Recorder(
        Transformer model,
        int prompts,
        int[] tokens,
        Set<Site> wanted,
        Derivatives derivatives,
        List<Change> changes) {
      this(model, prompts, tokens, wanted, derivatives, changes, Optional.empty());
    }

    /** Of tokens that follow others, without derivatives. */
    Recorder(
        Transformer model,
        int[] tokens,
        Set<Site> wanted,
        List<Change> changes,
        KeyValueCache earlier) {
      this(model, 1, tokens, wanted, Derivatives.NONE, changes, Optional.of(earlier));
    }

    private Recorder(
        Transformer model,
        int prompts,
        int[] tokens,
        Set<Site> wanted,
        Derivatives derivatives,
        List<Change> changes,
        Optional<KeyValueCache> earlier) {
      this.model = model;
      this.prompts = prompts;
      this.tokens = tokens.clone();
      this.wanted = wanted;
      this.derivatives = derivatives;
      this.changes = changes;
      this.earlier = earlier;
    }

    /** Takes over what another run recorded before a layer. */
    void resume(Run base, int layer) {
      base.held.forEach((of, variable) -> held.put(of, dependent(variable)));
      base.recorded.forEach(
          (place, variable) -> {
            boolean before =
                switch (place.site().region()) {
                  case BEFORE_LAYERS -> true;
                  case LAYER -> place.layer() < layer;
                  case AFTER_LAYERS -> false;
                };
            if (before) {
              recorded.put(place, dependent(variable));
            }
          });
    }

    /** What depends on nothing, and what follows on it if derivatives are kept. */
    Variable leaf(Tensor value) {
      return dependent(Variable.input(value));
    }

    private Variable dependent(Variable variable) {
      return derivatives == Derivatives.KEPT ? variable : variable.detach();
    }

    /**
     * What a layer makes of the residual stream. Without derivatives, what it does not keep dies.
     */
    Variable layer(Layer layer, Variable x) {
      if (derivatives == Derivatives.KEPT) {
        return layer.apply(x, this);
      }
      try (Scope scope = Scope.open()) {
        Variable result = layer.apply(x, this);
        recorded.forEach(
            (place, variable) -> {
              if (keeps(place.site()) && place.layer() == layer.number()) {
                scope.keep(variable.value());
              }
            });
        scope.keep(result.value());
        return result;
      }
    }

    /** What comes by only where it is wanted or changed follows from nothing else that is kept. */
    private boolean keeps(Site site) {
      return wanted.contains(site) || site == Site.MLP_RESULT;
    }

    @Override
    public int prompts() {
      return prompts;
    }

    @Override
    public int firstToken() {
      return earlier.map(KeyValueCache::length).orElse(0);
    }

    @Override
    public Variable fromTheFirst(Site site, int layer, Variable rows) {
      return earlier.map(cache -> cache.all(site, layer, rows)).orElse(rows);
    }

    @Override
    public boolean wants(Site site) {
      return wanted.contains(site) || changes.stream().anyMatch(change -> change.changes(site));
    }

    @Override
    public Variable at(Site site, int layer, Variable variable) {
      Variable changed = dependent(variable);
      for (Change change : changes) {
        changed = change.at(site, layer, changed, this);
      }
      recorded.put(at(site, layer), changed);
      return changed;
    }

    /** What has passed a site. */
    Variable recorded(Site site, int layer) {
      return Objects.requireNonNull(recorded.get(at(site, layer)), site::name);
    }

    @Override
    public Optional<StreamReader.Differences> differences(Site site, int layer) {
      return differences(changes, site, layer);
    }

    /** Of some changes, no two of which may say what one reader reads. */
    Optional<StreamReader.Differences> differences(List<Change> some, Site site, int layer) {
      List<StreamReader.Differences> all =
          some.stream().flatMap(change -> change.differences(site, layer, this).stream()).toList();
      if (all.isEmpty()) {
        return Optional.empty();
      }
      List<StreamReader> readers = all.stream().flatMap(own -> own.readers().stream()).toList();
      Set<StreamReader> known = new HashSet<>();
      for (StreamReader reader : readers) {
        requireArgument(known.add(reader), "two changes of what %s reads", reader);
        requireUnchanged(
            reader.passesBy(), reader + " reads a stream of its own and does not come by there");
      }
      return Optional.of(
          all.size() == 1
              ? all.get(0)
              : new StreamReader.Differences(
                  readers,
                  Variable.concat(0, all.stream().map(StreamReader.Differences::rows).toList())));
    }

    /** What has passed a site, if the model has it. */
    Optional<Variable> ifRecorded(Site site, int layer) {
      return Optional.ofNullable(recorded.get(at(site, layer)));
    }

    /** What has arrived at a site, or has passed others of its layer. */
    StreamWriter.Passed passed(Site site, int layer, Variable arrived) {
      return new StreamWriter.Passed() {
        @Override
        public Optional<Variable> at(Site one) {
          return one == site ? Optional.of(arrived) : ifRecorded(one, layer);
        }

        @Override
        public List<MlpSplit.Apart> apart() {
          return MlpSplit.among(changes).apart(layer, (change, one) -> held(change, one, layer));
        }
      };
    }

    /** Refuses changes of some sites, for a reason. */
    void requireUnchanged(List<Site> sites, String reason) {
      for (Site site : sites) {
        requireArgument(
            changes.stream().noneMatch(change -> change.changes(site)),
            "%s is changed, and %s",
            site,
            reason);
      }
    }

    /**
     * Keeps for a change what was made of the sites that have passed, the last of which is this.
     */
    void hold(Change change, Site site, int layer, Variable variable) {
      Scope.innermost().keepIn(scope, variable.value());
      held.put(new Held(change, at(site, layer)), variable);
    }

    /** What a change holds of a site. */
    Optional<Variable> held(Change change, Site site, int layer) {
      return Optional.ofNullable(held.get(new Held(change, at(site, layer))));
    }

    Transformer model() {
      return model;
    }

    private static Place at(Site site, int layer) {
      return new Place(site, layer, Map.of());
    }

    Run finish() {
      recorded.keySet().removeIf(place -> !keeps(place.site()));
      return new Run(model, prompts, tokens, wanted, changes, held, recorded);
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
    return with(sites, Recorder.Derivatives.KEPT, more);
  }

  /**
   * The same without derivatives, for what the changes do to some sites: beyond these, nothing
   * outlives its layer.
   *
   * @param sites what to record, of what this run was to record
   * @param more changes, made together
   * @return the new run, in which everything is constant
   * @throws IllegalArgumentException as {@link #with}
   */
  public Run valuesWith(Set<Site> sites, Change... more) {
    return with(sites, Recorder.Derivatives.NONE, more);
  }

  private Run with(Set<Site> wanted, Recorder.Derivatives derivatives, Change... more) {
    int firstLayer = model.layers();
    for (Change change : more) {
      requireArgument(
          prompts == 1 || change.isOfPrompts(), "%s is no change of several prompts", change);
      change.requireFits(this);
      firstLayer = Math.min(firstLayer, change.firstLayer(model));
    }
    List<Change> all = new ArrayList<>(changes);
    all.addAll(List.of(more));
    return model.rerun(
        this, new Recorder(model, prompts, tokens, wanted, derivatives, all), firstLayer);
  }

  /** What has passed sites of a layer. */
  StreamWriter.Passed passed(int layer) {
    return new StreamWriter.Passed() {
      @Override
      public Optional<Variable> at(Site site) {
        Place place = new Place(site, layer, Map.of());
        return has(place) ? Optional.of(Variable.constant(value(place))) : Optional.empty();
      }

      @Override
      public List<MlpSplit.Apart> apart() {
        return Run.this.apart(layer).stream().map(MlpSplit.Apart::detached).toList();
      }
    };
  }

  /**
   * {@return shares of the MLP of a layer that are components of their own in this run}
   *
   * @param layer from 0
   */
  public List<MlpSplit.Apart> apart(int layer) {
    return split()
        .apart(
            layer,
            (change, site) ->
                Optional.ofNullable(held.get(new Held(change, new Place(site, layer, Map.of())))));
  }

  /** {@return which shares of MLPs are components of their own} */
  public MlpSplit split() {
    return MlpSplit.among(changes);
  }

  /**
   * Refuses a run of several prompts, and one in which more than its token and position embeddings
   * was changed: there, what was recorded is not what the model computes from what came before.
   * Refuses one in which tokens see later ones too: edges among its nodes would lead back.
   *
   * @throws IllegalArgumentException with what was changed
   */
  public void requireComputed() {
    requireArgument(prompts == 1, "nodes at tokens are of one prompt, not of %d", prompts);
    requireArgument(
        model.config().causal(),
        "attention of this model sees later tokens, and edges among nodes at tokens are of causal"
            + " models");
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

  /** {@return the ids it read, a copy; of several prompts one after the other} */
  public int[] tokens() {
    return tokens.clone();
  }

  /** {@return how many prompts it read at once} */
  public int prompts() {
    return prompts;
  }

  /** {@return the number of tokens of each prompt} */
  public int length() {
    return tokens.length / prompts;
  }

  /** Rows of what has one for each token. */
  int rows() {
    return tokens.length;
  }

  /** {@return the index of the last token of each prompt} */
  public int lastToken() {
    return length() - 1;
  }

  /**
   * {@return one of the prompts, as far as it follows all layers: a metric of logits can be taken
   * of it, with derivatives along what this run recorded}
   *
   * @param prompt its number, from 0
   * @throws IllegalArgumentException if there is none
   */
  public Run prompt(int prompt) {
    requireArgument(
        prompt >= 0 && prompt < prompts, "prompt %d of %d, counted from 0", prompt, prompts);
    if (prompts == 1) {
      return this;
    }
    int from = prompt * length();
    int to = from + length();
    Map<Place, Variable> own = new LinkedHashMap<>();
    recorded.forEach(
        (place, variable) -> {
          if (place.site().region() == Site.Region.AFTER_LAYERS) {
            own.put(place, variable.slice(0, from, to));
          }
        });
    int[] ids = Arrays.copyOfRange(tokens, from, to);
    return new Run(model, 1, ids, sites, changes, Map.of(), own);
  }

  /**
   * {@return the variable at a site of the whole model}
   *
   * @param site a site that is recorded
   * @throws IllegalArgumentException if every layer has one
   */
  public Variable variable(Site site) {
    return variable(Place.of(site));
  }

  /**
   * {@return the variable at a site of one layer}
   *
   * @param site a site that is recorded
   * @param layer from 0
   * @throws IllegalArgumentException if layers have no such site, or there is no such layer
   */
  public Variable variable(Site site, int layer) {
    return variable(Place.of(site, layer));
  }

  /**
   * {@return the variable at a site}
   *
   * @param place all of a site
   * @throws IllegalArgumentException if the model has no such site, or the run was not asked to
   *     record it
   */
  public Variable variable(Place place) {
    Variable found = recorded.get(place.whole());
    if (found == null) {
      if (place.site().perLayer()) {
        model.requireLayer(place.layer());
      }
      throw new IllegalArgumentException(
          place + ": this run has no such site; the model lacks it, or it was not to be recorded");
    }
    return found;
  }

  /** {@return what it was to record, where the model has it} */
  public Set<Site> sites() {
    return Collections.unmodifiableSet(sites);
  }

  /** {@return the sites that were recorded, in the order of the forward pass} */
  public List<Place> places() {
    return List.copyOf(recorded.keySet());
  }

  /**
   * {@return whether a site was recorded}
   *
   * @param place all of a site
   */
  public boolean has(Place place) {
    return recorded.containsKey(place.whole());
  }

  /**
   * {@return the tensor at a site, all of it}
   *
   * @param place of which only site and layer are looked at
   * @throws IllegalArgumentException as {@link #variable(Place)}
   */
  public Tensor value(Place place) {
    return variable(place).value();
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
   * {@return the logits of every word at a token, [1, vocabulary], as recorded or from the
   * normalised final residual}
   *
   * @param token from 0
   * @throws IllegalArgumentException if neither was to be recorded
   */
  public Tensor logits(int token) {
    requireArgument(prompts == 1, "a token of one prompt, not of %d", prompts);
    if (has(Place.of(Site.LOGITS))) {
      return value(Site.LOGITS).slice(0, token, token + 1);
    }
    Tensor row = value(Site.FINAL_NORMALISED).slice(0, token, token + 1);
    return model.unembed(Variable.constant(row)).value();
  }

  /**
   * {@return what each dictionary of the model makes of this run, computed when first asked for}
   */
  public List<Encoding> encodings() {
    return model.dictionaries().stream().map(this::encoding).toList();
  }

  /**
   * {@return the vectors of all tokens where a dictionary may read or write, [token, n]: as
   * recorded, or computed from what was; outputs of heads one after the other}
   *
   * @param place all of a site
   * @throws IllegalArgumentException if the model has no such site, or the run was not asked to
   *     record what it takes
   */
  public Tensor vectors(Place place) {
    try (Scope here = Scope.open()) {
      return here.keep(model.vectors(this, place));
    }
  }

  /**
   * {@return the residual stream at a point, [token, dModel]}
   *
   * @param point of the model
   * @throws IllegalArgumentException if the model has no such point
   */
  public Variable residual(Point point) {
    return variable(model.residualAt(point));
  }
}

package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * What is different in a run that is run again: an {@link Intervention}, a {@link
 * LatentIntervention}, a {@link WriteIntervention}, a {@link ReadIntervention}, an {@link
 * EdgeIntervention}, that it is {@link Frozen}, or which shares of MLPs are apart. See {@link
 * Run#with}.
 */
public abstract sealed class Change
    permits Intervention,
        LatentIntervention,
        WriteIntervention,
        ReadIntervention,
        EdgeIntervention,
        Frozen,
        MlpSplit.Group,
        Change.Together {
  Change() {}

  /**
   * {@return several changes as one}
   *
   * @param changes made one after the other where they meet
   */
  public static Change together(List<Change> changes) {
    return changes.size() == 1 ? changes.get(0) : new Together(List.copyOf(changes));
  }

  /** Several changes. */
  static final class Together extends Change {
    private final List<Change> changes;

    private Together(List<Change> changes) {
      this.changes = changes;
    }

    @Override
    int firstLayer(Transformer model) {
      return changes.stream()
          .mapToInt(change -> change.firstLayer(model))
          .min()
          .orElse(model.layers());
    }

    @Override
    boolean isOfInput() {
      return changes.stream().allMatch(Change::isOfInput);
    }

    @Override
    boolean changes(Site site) {
      return changes.stream().anyMatch(change -> change.changes(site));
    }

    @Override
    void requireFits(Run base) {
      changes.forEach(change -> change.requireFits(base));
    }

    @Override
    void requireFitsAnyText(Transformer model) {
      changes.forEach(change -> change.requireFitsAnyText(model));
    }

    @Override
    Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
      Variable changed = variable;
      for (Change change : changes) {
        changed = change.at(site, layer, changed, run);
      }
      return changed;
    }

    @Override
    Optional<StreamReader.Differences> differences(Site site, int layer, Run.Recorder run) {
      return run.differences(changes, site, layer);
    }

    @Override
    public String toString() {
      return changes.stream().map(Change::toString).collect(Collectors.joining(", "));
    }
  }

  /** The earliest layer that must be computed again; 0 also where the embeddings change. */
  abstract int firstLayer(Transformer model);

  /** Whether only what the model reads is changed, and nothing of what it computes from that. */
  boolean isOfInput() {
    return false;
  }

  /** Whether something else may go on from a site than what arrived there. */
  abstract boolean changes(Site site);

  /** How copies that readers of a site have differ from the residual stream, if they do. */
  Optional<StreamReader.Differences> differences(Site site, int layer, Run.Recorder run) {
    return Optional.empty();
  }

  /** Whether it is one of a run of several prompts too. */
  boolean isOfPrompts() {
    return false;
  }

  /** Refuses a base run that this change does not fit. */
  abstract void requireFits(Run base);

  /** Refuses texts that grow, if this change is of one that does not, or another model. */
  abstract void requireFitsAnyText(Transformer model);

  /**
   * What goes on from a site.
   *
   * @param layer of the site, 0 for sites of the whole model
   * @param variable what arrived there
   * @param run the sites before this one
   */
  abstract Variable at(Site site, int layer, Variable variable, Run.Recorder run);
}

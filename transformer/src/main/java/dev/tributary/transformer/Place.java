package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Where a run is changed: all of the tensor at a site, or the part of it with some indices fixed.
 *
 * @param site what is changed
 * @param layer of the site, 0 for sites of the whole model
 * @param fixed index by axis, for the axes along which only one entry is meant
 */
public record Place(Site site, int layer, Map<Integer, Integer> fixed) {
  /**
   * Keeps a copy of the indices.
   *
   * @param site {@link #site()}
   * @param layer {@link #layer()}
   * @param fixed {@link #fixed()}
   */
  public Place {
    requireArgument(
        site.perLayer() || layer == 0,
        "site %s belongs to the whole model, not to layer %d",
        site,
        layer);
    fixed = Map.copyOf(fixed);
  }

  /**
   * {@return all of a site of one layer}
   *
   * @param site a site of every layer
   * @param layer from 0
   */
  public static Place of(Site site, int layer) {
    requireArgument(site.perLayer(), "site %s belongs to the whole model, not to a layer", site);
    return new Place(site, layer, Map.of());
  }

  /**
   * {@return all of a site of the whole model}
   *
   * @param site a site of the whole model
   */
  public static Place of(Site site) {
    requireArgument(!site.perLayer(), "site %s needs a layer: every layer has one", site);
    return new Place(site, 0, Map.of());
  }

  /**
   * Only the entries with this index along an axis, e.g. axis 0 of {@link Site#MLP_ACTIVATION} is
   * the token and axis 1 the neuron.
   *
   * @param axis of the site's tensor, from 0
   * @param index along that axis, from 0
   * @return the smaller place
   */
  public Place at(int axis, int index) {
    Map<Integer, Integer> more = new TreeMap<>(fixed);
    more.put(axis, index);
    return new Place(site, layer, more);
  }

  /** All of the site. */
  Place whole() {
    return fixed.isEmpty() ? this : new Place(site, layer, Map.of());
  }

  /** The same whatever the index along an axis. */
  Place without(int axis) {
    Map<Integer, Integer> fewer = new TreeMap<>(fixed);
    fewer.remove(axis);
    return new Place(site, layer, fewer);
  }

  void requireIn(Run run) {
    Place recorded =
        site == Site.MLP_RESULT && !run.has(this) ? of(Site.MLP_OUTPUT, layer) : this; // alike
    requireIn(run.value(recorded).shape());
  }

  /** Refuses indices that a site of this shape does not have. */
  void requireIn(Shape shape) {
    fixed.forEach(
        (axis, index) ->
            requireArgument(
                axis >= 0 && axis < shape.rank() && index >= 0 && index < shape.size(axis),
                "site %s of shape %s has no index %d along axis %d",
                site,
                shape,
                index,
                axis));
  }

  /** The shape of the entries that are meant, of the site's. */
  Shape shapeIn(Shape site) {
    Shape meant = site;
    for (int axis : fixed.keySet()) {
      meant = meant.with(axis, 1);
    }
    return meant;
  }

  /**
   * The entries that are meant.
   *
   * @param whole [.., *site]
   * @param site shape of the site
   */
  Tensor entries(Tensor whole, Shape site) {
    Tensor meant = whole;
    for (Map.Entry<Integer, Integer> at : new TreeMap<>(fixed).entrySet()) {
      int axis = at.getKey() - site.rank();
      meant = meant.slice(axis, at.getValue(), at.getValue() + 1);
    }
    return meant;
  }

  /** The same with others in place of {@link #entries}. */
  Tensor withEntries(Tensor whole, Tensor entries, Shape site) {
    try (Scope scope = Scope.open()) {
      return scope.keep(
          replaced(new ArrayDeque<>(new TreeMap<>(fixed).entrySet()), whole, entries, site));
    }
  }

  private static Tensor replaced(
      Deque<Map.Entry<Integer, Integer>> along, Tensor whole, Tensor entries, Shape site) {
    Map.Entry<Integer, Integer> first = along.poll();
    if (first == null) {
      return entries;
    }
    int axis = first.getKey() - site.rank();
    int index = first.getValue();
    return Tensor.concat(
        axis,
        List.of(
            whole.slice(axis, 0, index),
            replaced(along, whole.slice(axis, index, index + 1), entries, site),
            whole.slice(axis, index + 1, whole.shape().size(axis))));
  }

  @Override
  public String toString() {
    String indices = fixed.isEmpty() ? "" : " " + new TreeMap<>(fixed); // in the order of axes
    return (site.perLayer() ? "L" + layer + " " : "") + site + indices;
  }
}

package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Shape;
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

  void requireIn(Run run) {
    Shape shape = run.value(this).shape();
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

  /** For each element of a tensor, row by row, whether it is meant. */
  boolean[] mask(Shape shape) {
    boolean[] mask = new boolean[shape.length()];
    int[] dimensions = shape.dimensions();
    for (int position = 0; position < mask.length; position++) {
      boolean meant = true;
      int rest = position;
      for (int axis = dimensions.length - 1; axis >= 0; axis--) {
        Integer index = fixed.get(axis);
        meant &= index == null || index == rest % dimensions[axis];
        rest /= dimensions[axis];
      }
      mask[position] = meant;
    }
    return mask;
  }

  @Override
  public String toString() {
    String indices = fixed.isEmpty() ? "" : " " + new TreeMap<>(fixed); // in the order of axes
    return (site.perLayer() ? "L" + layer + " " : "") + site + indices;
  }
}

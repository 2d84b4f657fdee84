package dev.tributary.transformer;

import dev.tributary.core.Shape;

/**
 * One weight of a transformer and its shape.
 *
 * @param weight which it is
 * @param layer to which it belongs, 0 for weights of the whole model
 * @param shape as {@link Weight} says
 */
public record Slot(Weight weight, int layer, Shape shape) {
  @Override
  public String toString() {
    return weight + (weight.perLayer() ? " of layer " + layer : "") + " " + shape;
  }
}

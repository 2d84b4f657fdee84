package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.LinearMap;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Arrays;
import java.util.function.Function;

/**
 * A change of numbers at one {@link Place} of the forward pass. Attention scores that causality
 * hides stay hidden. {@link Run#with} refuses what would leave a number that is not finite there,
 * or a layer norm's scale of 0.
 */
public final class Intervention extends Change {
  private final Place place;

  /** What replaces the meant entries: factor · old + addend, the addend of the site's shape. */
  private final double factor;

  private final Function<Shape, double[]> addend;

  private Intervention(Place place, double factor, Function<Shape, double[]> addend) {
    this.place = place;
    this.factor = factor;
    this.addend = addend;
  }

  /**
   * Zero.
   *
   * @param place where
   * @return the intervention that puts 0 there
   */
  public static Intervention ablate(Place place) {
    return scale(place, 0);
  }

  /**
   * One number everywhere in the place.
   *
   * @param place where
   * @param value the number
   * @return the intervention that puts this number there
   */
  public static Intervention set(Place place, double value) {
    return new Intervention(
        place,
        0,
        shape -> {
          double[] values = new double[shape.length()];
          Arrays.fill(values, value);
          return values;
        });
  }

  /**
   * A multiple of what was there.
   *
   * @param place where
   * @param factor of what was there
   * @return the intervention that multiplies what was there
   */
  public static Intervention scale(Place place, double factor) {
    return new Intervention(place, factor, shape -> new double[shape.length()]);
  }

  /**
   * A vector on top of what was there, e.g. to steer.
   *
   * @param place where
   * @param direction of a shape that broadcasts to the site's
   * @return the intervention that adds the vector
   */
  public static Intervention add(Place place, Tensor direction) {
    double[] numbers = direction.toDoubles(); // so that the intervention outlives the tensor
    DType dtype = direction.dtype();
    Shape own = direction.shape();
    return new Intervention(
        place,
        1,
        shape -> {
          requireArgument(
              broadcasts(own, shape),
              "%s: a direction of shape %s does not fit the site's %s",
              place,
              own,
              shape);
          return Tensor.of(dtype, own, numbers).broadcastTo(shape).toDoubles();
        });
  }

  private static boolean broadcasts(Shape own, Shape shape) {
    boolean broadcasts = own.rank() <= shape.rank();
    for (int axis = 1; broadcasts && axis <= own.rank(); axis++) {
      broadcasts = own.size(-axis) == 1 || own.size(-axis) == shape.size(-axis);
    }
    return broadcasts;
  }

  /**
   * What another run has there, perhaps one of another model; it must have a tensor of the same
   * shape there.
   *
   * @param place where
   * @param from where the values come from
   * @return the intervention that puts them there
   */
  public static Intervention patch(Place place, Run from) {
    Tensor other = from.value(place);
    double[] numbers = other.toDoubles(); // so that the intervention outlives the other run
    Shape own = other.shape();
    return new Intervention(
        place,
        0,
        shape -> {
          requireArgument(
              own.equals(shape),
              "%s: the run to patch from has %s there and this one %s",
              place,
              own,
              shape);
          return numbers;
        });
  }

  @Override
  int firstLayer(Transformer model) {
    return switch (place.site().region()) {
      case BEFORE_LAYERS -> 0;
      case LAYER -> place.layer();
      case AFTER_LAYERS -> model.layers();
    };
  }

  @Override
  boolean isOfInput() {
    return place.site() == Site.TOKEN_EMBEDDING || place.site() == Site.POSITION_EMBEDDING;
  }

  @Override
  void requireFits(Run base) {
    place.requireIn(base);
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    if (site != place.site() || layer != place.layer()) {
      return variable;
    }
    Shape shape = variable.shape();
    boolean[] meant = place.mask(shape);
    double[] addends = addend.apply(shape);
    DType dtype = variable.value().dtype();
    double[] values = variable.value().toDoubles();
    double[] slopes = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      slopes[i] = meant[i] ? factor : 1;
      if (meant[i] && values[i] != Double.NEGATIVE_INFINITY) {
        values[i] = sound(factor * values[i] + addends[i], dtype);
      }
    }
    requireArgument(isFinite(factor, dtype), "%s: times %s", place, factor);
    Tensor slope = Tensor.of(dtype, shape, slopes);
    return variable.through(
        LinearMap.selfAdjoint("intervention", shape, slope::times),
        Tensor.of(dtype, shape, values));
  }

  private double sound(double value, DType dtype) {
    if (!isFinite(value, dtype)) {
      throw new IllegalArgumentException(
          place + ": a number becomes " + value + ", which is no finite " + dtype);
    }
    if (value == 0 && place.site().curvature() == Site.Curvature.SCALE) {
      throw new IllegalArgumentException(place + ": what rows are divided by becomes 0");
    }
    return value;
  }

  private static boolean isFinite(double number, DType dtype) {
    return dtype == DType.FLOAT ? Float.isFinite((float) number) : Double.isFinite(number);
  }

  @Override
  public String toString() {
    return place.toString();
  }
}

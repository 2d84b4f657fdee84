package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.LinearMap;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * A change of numbers at one {@link Place} of the forward pass. Attention scores that causality
 * hides stay hidden. {@link Run#with} refuses what would leave a number that is not finite there,
 * or a layer norm's scale of 0.
 */
public final class Intervention extends Change {
  private final Place place;
  private final Tokens tokens;

  /** What replaces the meant entries: factor · old + addend. */
  private final double factor;

  private final Addend addend;

  /** What is added to the entries that are meant of some tokens, row by row. */
  @FunctionalInterface
  private interface Addend {
    /**
     * Of each entry.
     *
     * @param place with no token fixed
     * @param site shape of all of it
     * @param tokens whose entries are meant, all of them in the site
     */
    double[] at(Place place, Shape site, Tokens tokens);
  }

  private Intervention(Place place, Tokens tokens, double factor, Addend addend) {
    this.place = place;
    this.tokens = tokens;
    this.factor = factor;
    this.addend = addend;
  }

  private Intervention(Place place, double factor, Addend addend) {
    this(place, Tokens.ALL, factor, addend);
  }

  /** The axis of tokens; of a site with two of them, that of queries. */
  private static int tokenAxis(Shape site) {
    return site.rank() - 2;
  }

  private static Shape of(Tokens tokens, Shape site) {
    return site.with(tokenAxis(site), tokens.end() - tokens.first());
  }

  /**
   * {@return the same at some tokens alone; of what is of two tokens, where these look}
   *
   * @param tokens where
   */
  public Intervention at(Tokens tokens) {
    return new Intervention(place, tokens, factor, addend);
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
    return affine(place, 0, value);
  }

  /**
   * A multiple of what was there.
   *
   * @param place where
   * @param factor of what was there
   * @return the intervention that multiplies what was there
   */
  public static Intervention scale(Place place, double factor) {
    return affine(place, factor, 0);
  }

  /**
   * A multiple of what was there, and a number on top.
   *
   * @param place where
   * @param factor of what was there
   * @param addend the number
   * @return the intervention that puts factor · old + addend there
   */
  public static Intervention affine(Place place, double factor, double addend) {
    return new Intervention(
        place,
        factor,
        (meant, shape, tokens) -> {
          double[] values = new double[meant.shapeIn(of(tokens, shape)).length()];
          Arrays.fill(values, addend);
          return values;
        });
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
        (meant, shape, tokens) -> {
          requireArgument(
              broadcasts(own, shape),
              "%s: a direction of shape %s does not fit the site's %s",
              place,
              own,
              shape);
          return entries(meant, Tensor.of(dtype, own, numbers).broadcastTo(shape), shape, tokens);
        });
  }

  /**
   * A vector on top of that of one token where a dictionary may write, see {@link Run#vectors}.
   *
   * @param model that runs
   * @param place all of a site
   * @param token from 0
   * @param vector [n] or [1, n]; outputs of heads one after the other
   * @return the intervention that adds the vector
   */
  public static Intervention add(Transformer model, Place place, int token, Tensor vector) {
    if (place.site() != Site.HEAD_OUTPUT) {
      return add(place.at(0, token), vector);
    }
    Attention attention = model.attention(place.layer());
    return add(place.at(1, token), vector.reshape(attention.heads(), 1, attention.dHead()));
  }

  private static double[] entries(Place meant, Tensor whole, Shape shape, Tokens tokens) {
    Tensor rows = whole.slice(tokenAxis(shape), tokens.first(), tokens.end());
    return meant.entries(rows, of(tokens, shape)).toDoubles();
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
    DType dtype = other.dtype();
    double[] numbers = other.toDoubles(); // so that the intervention outlives the other run
    Shape own = other.shape();
    return new Intervention(
        place,
        0,
        (meant, shape, tokens) -> {
          requireArgument(
              own.equals(shape),
              "%s: the run to patch from has %s there and this one %s",
              place,
              own,
              shape);
          return entries(meant, Tensor.of(dtype, own, numbers), shape, tokens);
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
  void requireFitsAnyText(Transformer model) {
    if (place.site().perLayer()) {
      model.requireLayer(place.layer());
    }
  }

  @Override
  boolean changes(Site site) {
    return site == place.site();
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    if (site != place.site() || layer != place.layer()) {
      return variable;
    }
    Shape shape = variable.shape();
    int axis = tokenAxis(shape);
    int before = run.firstToken();
    int rows = shape.size(axis);
    Tokens fixed = Optional.ofNullable(place.fixed().get(axis)).map(Tokens::at).orElse(Tokens.ALL);
    int from = Math.max(Math.max(fixed.first(), tokens.first()) - before, 0);
    int end = Math.min(Math.min(fixed.end(), tokens.end()) - before, rows);
    if (from >= end) {
      return variable;
    }
    Place meant = place.without(axis);
    meant.requireIn(shape);
    Shape whole = shape.with(axis, before + rows);
    Tokens own = new Tokens(before + from, before + end);
    if (end - from == rows) {
      return changed(meant, variable, whole, own);
    }
    return Variable.concat(
        axis,
        List.of(
            variable.slice(axis, 0, from),
            changed(meant, variable.slice(axis, from, end), whole, own),
            variable.slice(axis, end, rows)));
  }

  /** Of tokens all of which are meant. */
  private Variable changed(Place meant, Variable variable, Shape whole, Tokens own) {
    Shape shape = variable.shape();
    DType dtype = variable.value().dtype();
    try (Scope scope = Scope.open()) {
      Tensor entries = meant.entries(variable.value(), shape);
      double[] addends = addend.at(meant, whole, own);
      double[] values = entries.toDoubles();
      for (int i = 0; i < values.length; i++) {
        if (values[i] != Double.NEGATIVE_INFINITY) {
          values[i] = sound(factor * values[i] + addends[i], dtype);
        }
      }
      requireArgument(isFinite(factor, dtype), "%s: times %s", place, factor);
      Tensor changed =
          meant.withEntries(variable.value(), Tensor.of(dtype, entries.shape(), values), shape);
      return variable.through(
          LinearMap.selfAdjoint(
              "intervention",
              shape,
              u -> meant.withEntries(u, meant.entries(u, shape).times(factor), shape)),
          scope.keep(changed));
    }
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
    return place + (tokens.equals(Tokens.ALL) ? "" : " at tokens " + tokens);
  }
}

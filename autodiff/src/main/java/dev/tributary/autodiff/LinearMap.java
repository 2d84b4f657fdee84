package dev.tributary.autodiff;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A linear map between tensor spaces, with its adjoint: ⟨push(u), v⟩ = ⟨u, pull(v)⟩ for every u, v.
 *
 * <p>Axis 0 of what goes in and comes out counts directions: k of them are mapped at once, k = 1
 * included. Domain and codomain are shapes of one direction.
 */
public final class LinearMap {
  /** The two directions of a map, adjoint to each other, before its shapes are known. */
  record Rule(UnaryOperator<Tensor> push, UnaryOperator<Tensor> pull) {
    static Rule selfAdjoint(UnaryOperator<Tensor> map) {
      return new Rule(map, map);
    }
  }

  private final String name;
  private final Shape domain;
  private final Shape codomain;
  private final Rule rule;

  LinearMap(String name, Shape domain, Shape codomain, Rule rule) {
    this.name = name;
    this.domain = domain;
    this.codomain = codomain;
    this.rule = rule;
  }

  /**
   * {@return the map with these two directions, which must be adjoint to each other}
   *
   * @param name what errors call it: that of the primitive
   * @param domain shape of one direction before the map
   * @param codomain shape of one direction after it
   * @param push from [k, *domain] to [k, *codomain]
   * @param pull from [k, *codomain] to [k, *domain]
   */
  public static LinearMap of(
      String name,
      Shape domain,
      Shape codomain,
      UnaryOperator<Tensor> push,
      UnaryOperator<Tensor> pull) {
    return new LinearMap(name, domain, codomain, new Rule(push, pull));
  }

  /**
   * {@return the map that is its own adjoint}
   *
   * @param name what errors call it: that of the primitive
   * @param shape of one direction, before and after the map
   * @param map from [k, *shape] to [k, *shape], in both directions
   */
  public static LinearMap selfAdjoint(String name, Shape shape, UnaryOperator<Tensor> map) {
    return new LinearMap(name, shape, shape, Rule.selfAdjoint(map));
  }

  /** {@return what errors call it} */
  public String name() {
    return name;
  }

  /** {@return the shape of one direction before the map} */
  public Shape domain() {
    return domain;
  }

  /** {@return the shape of one direction after the map} */
  public Shape codomain() {
    return codomain;
  }

  Rule rule() {
    return rule;
  }

  /**
   * Applies the map.
   *
   * @param tangents [k, *domain]
   * @return [k, *codomain]
   * @throws IllegalArgumentException if the shape does not fit, or the element type does not
   */
  public Tensor push(Tensor tangents) {
    return apply("push", rule.push, tangents, domain, codomain);
  }

  /**
   * Applies the adjoint of the map.
   *
   * @param cotangents [k, *codomain]
   * @return [k, *domain]
   * @throws IllegalArgumentException if the shape does not fit, or the element type does not
   */
  public Tensor pull(Tensor cotangents) {
    return apply("pull", rule.pull, cotangents, codomain, domain);
  }

  /** Called for every map of every walk: makes nothing unless something is wrong. */
  private Tensor apply(
      String direction, UnaryOperator<Tensor> map, Tensor directions, Shape from, Shape to) {
    if (!areDirections(directions.shape(), from)) {
      throw new IllegalArgumentException(
          inside(direction, directions.shape() + " is not [directions, *" + from + "]"));
    }
    Tensor result;
    try {
      result = map.apply(directions);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(inside(direction, e.getMessage()), e);
    } catch (IllegalStateException e) {
      throw new IllegalStateException(inside(direction, e.getMessage()), e);
    }
    int k = directions.shape().size(0);
    if (!areDirections(result.shape(), to) || result.shape().size(0) != k) {
      throw new IllegalArgumentException(
          inside(direction, "gave " + result.shape() + ", not " + to.prepend(k)));
    }
    return result;
  }

  private String inside(String direction, @Nullable String message) {
    return direction + " of " + name + ": " + message;
  }

  /** Whether the shape is that of some directions in a space of {@code one}. */
  static boolean areDirections(Shape shape, Shape one) {
    return shape.rank() == one.rank() + 1 && shape.endsWith(one);
  }

  /**
   * {@return this map, then another}
   *
   * @param next its domain is the codomain of this map
   * @throws IllegalArgumentException if it is not
   */
  public LinearMap then(LinearMap next) {
    requireArgument(
        codomain.equals(next.domain),
        "then: %s gives %s and %s takes %s",
        name,
        codomain,
        next.name,
        next.domain);
    return of(
        name + " then " + next.name,
        domain,
        next.codomain,
        u -> next.push(push(u)),
        v -> pull(next.pull(v)));
  }

  /** {@return the adjoint as a map of its own} */
  public LinearMap transpose() {
    return of("transpose of " + name, codomain, domain, rule.pull, rule.push);
  }

  @Override
  public String toString() {
    return name + " from " + domain + " to " + codomain;
  }
}

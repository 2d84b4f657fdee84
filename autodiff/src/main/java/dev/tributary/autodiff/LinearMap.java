package dev.tributary.autodiff;

import dev.tributary.core.Tensor;
import java.util.function.UnaryOperator;

/**
 * A linear map between tensor spaces, with its adjoint: ⟨push(u), v⟩ = ⟨u, pull(v)⟩ for every u, v.
 *
 * <p>Axis 0 of what goes in and comes out counts directions: k of them are mapped at once, k = 1
 * included.
 */
public interface LinearMap {
  /**
   * Applies the map.
   *
   * @param tangents [k, *domain]
   * @return [k, *codomain]
   */
  Tensor push(Tensor tangents);

  /**
   * Applies the adjoint of the map.
   *
   * @param cotangents [k, *codomain]
   * @return [k, *domain]
   */
  Tensor pull(Tensor cotangents);

  /**
   * {@return the map with these two directions, which must be adjoint to each other}
   *
   * @param push from [k, *domain] to [k, *codomain]
   * @param pull from [k, *codomain] to [k, *domain]
   */
  static LinearMap of(UnaryOperator<Tensor> push, UnaryOperator<Tensor> pull) {
    return new LinearMap() {
      @Override
      public Tensor push(Tensor tangents) {
        return push.apply(tangents);
      }

      @Override
      public Tensor pull(Tensor cotangents) {
        return pull.apply(cotangents);
      }
    };
  }

  /**
   * {@return this map, then another}
   *
   * @param next its domain is the codomain of this map
   */
  default LinearMap then(LinearMap next) {
    return of(u -> next.push(push(u)), v -> pull(next.pull(v)));
  }

  /** {@return the adjoint as a map of its own} */
  default LinearMap transpose() {
    return of(this::pull, this::push);
  }
}

/**
 * All the calculus: linearise once, push and pull many times.
 *
 * <p>In reading order: a {@link dev.tributary.autodiff.LinearMap} is a derivative with its two
 * directions; a {@link dev.tributary.autodiff.Variable} is a tensor that knows the linear maps from
 * what it was computed from; a {@link dev.tributary.autodiff.Jacobian} walks them; a {@link
 * dev.tributary.autodiff.DerivativeCheck} says whether one is right.
 */
@NullMarked
package dev.tributary.autodiff;

import org.jspecify.annotations.NullMarked;

/**
 * All the calculus: linearise once, push and pull many times.
 *
 * <p>In reading order:
 *
 * <ul>
 *   <li>{@link dev.tributary.autodiff.LinearMap}: a derivative with its two directions, the shapes
 *       it goes between and the name of its primitive. What errors of a derivative say is made
 *       there.
 *   <li>{@link dev.tributary.autodiff.Variable}: a tensor that knows the linear maps from what it
 *       was computed from. One method is one primitive: its value, and beside it its rule along
 *       each operand.
 *   <li>{@link dev.tributary.autodiff.Jacobian}: walks the maps, forward to push and backward to
 *       pull, and lets what it carries die when its last reader has had it.
 *   <li>{@link dev.tributary.autodiff.DerivativeCheck}: says how wrong a map or a derivative is.
 * </ul>
 *
 * <p>Knows tensors and scopes, and neither networks nor where numbers are kept.
 */
@NullMarked
package dev.tributary.autodiff;

import org.jspecify.annotations.NullMarked;

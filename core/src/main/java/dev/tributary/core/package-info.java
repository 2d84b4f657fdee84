/**
 * Numbers, shapes and memory; the only package that knows ND4J.
 *
 * <p>In reading order: {@link dev.tributary.core.Shape} and {@link dev.tributary.core.DType} say
 * what a {@link dev.tributary.core.Tensor} looks like, {@link dev.tributary.core.Scope} how long it
 * lives, {@code Memory} where, and {@code Kernels} how it is computed: {@code JavaKernels} (plain
 * Java over rows, {@code OneDnn} and BLAS for matrix products, shared by {@code Workers}, on CPUs)
 * or {@code Nd4jKernels} (ND4J operations, on any device).
 */
@NullMarked
package dev.tributary.core;

import org.jspecify.annotations.NullMarked;

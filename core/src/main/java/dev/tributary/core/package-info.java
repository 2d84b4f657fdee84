/**
 * Numbers, shapes and memory; the only package that knows ND4J.
 *
 * <p>In reading order: {@link dev.tributary.core.Shape} and {@link dev.tributary.core.DType} say
 * what a {@link dev.tributary.core.Tensor} looks like, {@link dev.tributary.core.Scope} how long it
 * lives, {@code Device} where, and {@code Kernels} what is computed there. Devices are {@code Cpu}
 * with {@code CpuKernels} (plain Java over {@code Rows} of one type, {@code OneDnn} and BLAS for
 * matrix products, shared by {@code Workers}), {@code Nd4jDevice} with {@code Nd4jKernels} (chains
 * of ND4J operations: wherever ND4J computes, and on the CPU the twin that tests compare with), and
 * {@link dev.tributary.core.Shapes}, which has no memory and counts what the others would take.
 */
@NullMarked
package dev.tributary.core;

import org.jspecify.annotations.NullMarked;

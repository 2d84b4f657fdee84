/**
 * Numbers, shapes and memory; the only package that knows ND4J.
 *
 * <p>In reading order: {@link dev.tributary.core.Shape} and {@link dev.tributary.core.DType} say
 * what a {@link dev.tributary.core.Tensor} looks like, {@link dev.tributary.core.Scope} how long it
 * lives, {@link dev.tributary.core.Device} where, and {@code Kernels} what is computed there;
 * {@link dev.tributary.core.Products} are matrices that are made where they are to lie. The devices
 * are
 *
 * <ul>
 *   <li>{@code Cpu} with {@code CpuKernels}: plain Java over {@code Rows} of one type, which {@link
 *       dev.tributary.core.Workers} share. {@code FloatRows} is the text of both types; their own
 *       are {@code FloatNumerics} and {@code FloatProducts} (which way a matrix product goes:
 *       {@code OneDnn} or BLAS), and the same for {@code double};
 *   <li>{@code Nd4jDevice} with {@code Nd4jKernels}: chains of ND4J operations, wherever ND4J
 *       computes. On the CPU it is the twin that tests compare with;
 *   <li>{@link dev.tributary.core.Shapes}, which has no memory and counts what the others would
 *       take.
 * </ul>
 *
 * <p>A {@link dev.tributary.core.BlockFormat} is how numbers lie in a file: alone, or in blocks
 * that share a scale. {@code PlainBlocks}, {@code SmallBlocks}, {@code SuperBlocks} and {@code
 * GridBlocks} have the loops.
 */
@NullMarked
package dev.tributary.core;

import org.jspecify.annotations.NullMarked;

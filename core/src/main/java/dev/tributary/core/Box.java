package dev.tributary.core;

import java.util.Arrays;

/**
 * A box with two sets of strides, as runs along its innermost axis. Neighbouring axes that both
 * sides cross evenly are merged, so that the innermost runs are as long as the strides allow.
 */
final class Box {
  private final int[] dimensions;
  private final int[][] strides;
  private final int outer;

  private Box(int[] dimensions, int[] first, int[] second) {
    this.dimensions = dimensions;
    this.strides = new int[][] {first, second};
    int product = 1;
    for (int axis = 0; axis < dimensions.length - 1; axis++) {
      product *= dimensions[axis];
    }
    this.outer = inner() == 0 ? 0 : product;
  }

  static Box of(int[] dimensions, int[] first, int[] second) {
    int[] merged = new int[dimensions.length + 1];
    int[] firstStrides = new int[merged.length];
    int[] secondStrides = new int[merged.length];
    int last = 0; // merged axes end at merged.length - 1 and begin at merged.length - 1 - last
    merged[merged.length - 1] = 1;
    for (int axis = dimensions.length - 1; axis >= 0; axis--) {
      if (dimensions[axis] == 1) {
        continue;
      }
      int inner = merged.length - 1 - last;
      if (merged[inner] == 1) {
        merged[inner] = dimensions[axis];
        firstStrides[inner] = first[axis];
        secondStrides[inner] = second[axis];
      } else if (first[axis] == firstStrides[inner] * merged[inner]
          && second[axis] == secondStrides[inner] * merged[inner]) {
        merged[inner] *= dimensions[axis];
      } else {
        last++;
        merged[inner - 1] = dimensions[axis];
        firstStrides[inner - 1] = first[axis];
        secondStrides[inner - 1] = second[axis];
      }
    }
    int from = merged.length - 1 - last;
    return new Box(
        Arrays.copyOfRange(merged, from, merged.length),
        Arrays.copyOfRange(firstStrides, from, merged.length),
        Arrays.copyOfRange(secondStrides, from, merged.length));
  }

  /** Of matrix products over the last two axes: the other axes, with those of the operands. */
  static Box ofBatch(Tensor x, Tensor y, Tensor out) {
    int[] batch = out.shape().subShape(0, out.shape().rank() - 2).dimensions();
    return of(batch, batchStrides(x, out), batchStrides(y, out));
  }

  private static int[] batchStrides(Tensor x, Tensor out) {
    int rank = out.shape().rank();
    return Arrays.copyOf(x.broadcastStrides(rank), rank - 2);
  }

  /** {@return how many axes are left after merging, at least one} */
  int rank() {
    return dimensions.length;
  }

  int size(int axis) {
    return dimensions[axis];
  }

  int stride(int side, int axis) {
    return strides[side][axis];
  }

  int inner() {
    return dimensions[dimensions.length - 1];
  }

  int innerStride(int side) {
    return strides[side][dimensions.length - 1];
  }

  int outer() {
    return outer;
  }

  /** Where the given one of the runs begins. */
  long offset(int side, int outer) {
    long result = 0;
    int rest = outer;
    for (int axis = dimensions.length - 2; axis >= 0; axis--) {
      result += (long) (rest % dimensions[axis]) * strides[side][axis];
      rest /= dimensions[axis];
    }
    return result;
  }
}

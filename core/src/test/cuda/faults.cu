// Kernels that are wrong, and one that is right: what the stand-in says of them is tested.

KERNEL(fault_behind, T* out, int n) { EACH(i, n + 1) out[i] = 1; }

KERNEL(fault_before, T* out) { EACH(i, 1) out[-1] = 1; }

KERNEL(fault_waits, T* out) { out[threadIdx.x] = sum((T)threadIdx.x); }

ROW_KERNEL(fault_block, T* out) {
  if (threadIdx.x != 7) __syncthreads();
  out[threadIdx.x] = 1;
}

ROW_KERNEL(fault_warp, T* out) {
  out[threadIdx.x] = threadIdx.x == 7 ? (T)1 : __shfl_down_sync(~0u, (T)threadIdx.x, 1);
}

// No barrier between writing and reading: each row depends on the order of its threads.
ROW_KERNEL(fault_order, T* out) {
  __shared__ T first;
  if (threadIdx.x == 0) first = blockIdx.x;
  out[blockIdx.x * BLOCK + threadIdx.x] = first;
}

ROW_KERNEL(right_sum, const T* x, T* out) {
  T s = sum(x[blockIdx.x * BLOCK + threadIdx.x]);
  out[blockIdx.x * BLOCK + threadIdx.x] = s;
}

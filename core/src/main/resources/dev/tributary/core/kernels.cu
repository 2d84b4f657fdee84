// The kernels of CudaKernels, for one element type: REAL is float or double.
//
// A KERNEL has one thread for each element, or fewer that walk over all; a ROW_KERNEL has a block for each row, whose threads
// share sums. Blocks have BLOCK threads. Sums are made in an order that does not depend on timing, so that equal calls give
// equal bits; no atomic operation adds numbers.

typedef REAL T;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;

#define BLOCK 256
#define WARPS (BLOCK / 32)
#ifndef KERNEL
#define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(BLOCK) name(__VA_ARGS__)
#define ROW_KERNEL KERNEL
#endif
#define EACH(i, n) for (i64 i = (i64)blockIdx.x * BLOCK + threadIdx.x; i < (n); i += (i64)gridDim.x * BLOCK)
#define ALONG(i, n) for (int i = threadIdx.x; i < (n); i += BLOCK)

// A box of entries and where they lie on two sides: axes from the outermost to the innermost.
struct Box {
  int rank;
  int size[7];
  i64 first[7];
  i64 second[7];
};

struct Place {
  i64 first, second;
};

__device__ __forceinline__ Place place(const Box& box, i64 index) {
  u32 rest = (u32)index;
  Place at = {0, 0};
  for (int axis = box.rank - 1; axis > 0; axis--) {
    u32 size = (u32)box.size[axis], next = rest / size, here = rest - next * size;
    at.first += here * box.first[axis];
    at.second += here * box.second[axis];
    rest = next;
  }
  at.first += rest * box.first[0];
  at.second += rest * box.second[0];
  return at;
}

// ---- what the threads of a block share ----

__device__ __forceinline__ T sum(T v) {
  __shared__ T parts[WARPS];
  __shared__ T all;
  for (int o = 16; o; o >>= 1) v += __shfl_down_sync(~0u, v, o);
  if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = v;
  __syncthreads();
  if (threadIdx.x == 0) {
    T s = parts[0];
    for (int i = 1; i < WARPS; i++) s += parts[i];
    all = s;
  }
  __syncthreads();
  T result = all;
  __syncthreads();
  return result;
}

__device__ __forceinline__ T largest(T v) {
  __shared__ T parts[WARPS];
  __shared__ T all;
  for (int o = 16; o; o >>= 1) {
    T w = __shfl_down_sync(~0u, v, o);
    v = w > v || w != w ? w : v;
  }
  if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = v;
  __syncthreads();
  if (threadIdx.x == 0) {
    T s = parts[0];
    for (int i = 1; i < WARPS; i++) s = parts[i] > s || parts[i] != parts[i] ? parts[i] : s;
    all = s;
  }
  __syncthreads();
  T result = all;
  __syncthreads();
  return result;
}

__device__ __forceinline__ T negativeInfinity() { return -(T)__int_as_float(0x7f800000); }

// ---- BF16: the upper half of a float ----

__device__ __forceinline__ float widened(u16 bits) { return __uint_as_float((u32)bits << 16); }

__device__ __forceinline__ u16 rounded(float x) {  // to the nearest, of two as near to the even one
  u32 bits = __float_as_uint(x);
  return (bits & 0x7fffffffu) > 0x7f800000u ? (u16)((bits >> 16) | 64)
                                            : (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// ---- functions of one number ----

struct Curve {
  T value, slope;
};

// The logistic function, and 1 less it without cancellation.
struct Logistic {
  T value, rest;
};

__device__ __forceinline__ Logistic logistic(T x) {
  T small = exp(-fabs(x)), large = 1 / (1 + small);
  small *= large;
  return x < 0 ? Logistic{small, large} : Logistic{large, small};
}

// x s, where the slope of s is s (1 - s) times the steepness
__device__ __forceinline__ Curve gated(T x, Logistic s, T steepness) {
  T bend = s.value * s.rest;
  return {x * s.value, bend == 0 ? s.value : s.value + x * bend * steepness};
}

__device__ __forceinline__ Curve silu(T x) { return gated(x, logistic(x), 1); }

__device__ __forceinline__ Curve gelu(T x) {
  const T c = (T)1.59576912160573071, e = (T)0.044715;  // 2 sqrt(2 / pi)
  return gated(x, logistic(c * (x + e * x * x * x)), c * (1 + 3 * e * x * x));
}

// What rounding takes from 1 / sqrt(2), and from x, is put back to first order.
__device__ __forceinline__ Curve exactGelu(T x) {
  const T root = (T)0.70710678118654752440;
  const T lost = sizeof(T) == 4 ? (T)(0.70710678118654752440 - (double)(float)0.70710678118654752440)
                                : (T)-4.8336466567264567e-17;
  T head = (T)__uint_as_float(__float_as_uint((float)x) & 0xfffff000u);  // its square is exact
  T density = x * x < 3000
                  ? (T)0.39894228040143267794 * exp(-head * head / 2) * exp(-(x - head) * (x + head) / 2)
                  : (T)0;
  T z = -x * root;
  T below = (T)0.5 * erfc(z);
  if (density != 0) below -= (T)1.41421356237309504880 * density * (fma(-x, root, -z) - x * lost);
  return {x * below, density == 0 ? below : below + x * density};
}

__device__ __forceinline__ Curve relu(T x) { return {x > 0 || x != x ? x : (T)0, x > 0 ? (T)1 : (T)0}; }

#define UNARY(NAME, VALUE)                                       \
  KERNEL(unary_##NAME, const T* from, T* out, i64 n) {           \
    EACH(i, n) {                                                 \
      T x = from[i];                                             \
      out[i] = VALUE;                                            \
    }                                                            \
  }

UNARY(NEGATE, -x)
UNARY(SQUARE, x * x)
UNARY(SQRT, sqrt(x))
UNARY(EXP, exp(x))
UNARY(LOG, log(x))
UNARY(TANH, tanh(x))
UNARY(RELU, relu(x).value)
UNARY(POSITIVE, relu(x).slope)
UNARY(GELU, gelu(x).value)
UNARY(GELU_DERIVATIVE, gelu(x).slope)
UNARY(EXACT_GELU, exactGelu(x).value)
UNARY(EXACT_GELU_DERIVATIVE, exactGelu(x).slope)
UNARY(SILU, silu(x).value)
UNARY(SILU_DERIVATIVE, silu(x).slope)

#define CURVE(NAME, CURVE)                                                                                           \
  KERNEL(curve_##NAME, const T* from, T* out, T* slope, i64 n) {                                                     \
    EACH(i, n) {                                                                                                     \
      Curve at = CURVE(from[i]);                                                                                     \
      out[i] = at.value;                                                                                             \
      slope[i] = at.slope;                                                                                           \
    }                                                                                                                \
  }                                                                                                                  \
  KERNEL(gate_##NAME, const T* gate, const T* up, T* out, i64 n) { EACH(i, n) out[i] = CURVE(gate[i]).value * up[i]; } \
  KERNEL(gate_curve_##NAME, const T* gate, const T* up, T* out, T* alongGate, T* alongUp, i64 n) {                   \
    EACH(i, n) {                                                                                                     \
      Curve at = CURVE(gate[i]);                                                                                     \
      T factor = up[i];                                                                                              \
      out[i] = at.value * factor;                                                                                    \
      alongGate[i] = at.slope * factor;                                                                              \
      alongUp[i] = at.value;                                                                                         \
    }                                                                                                                \
  }

CURVE(RELU, relu)
CURVE(GELU, gelu)
CURVE(EXACT_GELU, exactGelu)
CURVE(SILU, silu)

// ---- functions of two numbers ----

#define BINARY(NAME, OPERATION)                                                                                       \
  KERNEL(binary_##NAME, const T* x, const T* y, T* out, i64 n) { EACH(i, n) out[i] = x[i] OPERATION y[i]; }           \
  KERNEL(binary_number_##NAME, const T* x, T y, T* out, i64 n) { EACH(i, n) out[i] = x[i] OPERATION y; }              \
  KERNEL(binary_box_##NAME, const T* x, const T* y, T* out, i64 n, Box box) {                                         \
    EACH(i, n) {                                                                                                      \
      Place at = place(box, i);                                                                                       \
      out[i] = x[at.first] OPERATION y[at.second];                                                                    \
    }                                                                                                                 \
  }

BINARY(PLUS, +)
BINARY(MINUS, -)
BINARY(TIMES, *)
BINARY(OVER, /)

// ---- copies ----

KERNEL(fill, T* out, T value, i64 n) { EACH(i, n) out[i] = value; }

KERNEL(copy, const T* from, T* to, i64 n, Box box) {
  EACH(i, n) {
    Place at = place(box, i);
    to[at.second] = from[at.first];
  }
}

// Entry i of the axis is at indices[i], or without these at start + i.
KERNEL(gather, const T* x, T* out, i64 n, int count, int inner, i64 outerStride, i64 stride, int start,
       const int* indices) {
  EACH(i, n) {
    i64 row = i / inner;
    int entry = (int)(row % count);
    out[i] = x[row / count * outerStride + (indices ? indices[entry] : start + entry) * stride + (i - row * inner)];
  }
}

// The same entry may be meant by several indices: each thread adds all that go to one column.
KERNEL(scatter_add, const T* x, T* out, i64 columns, int count, int size, int inner, int first, const int* indices) {
  EACH(column, columns) {
    i64 o = column / inner, k = column % inner;
    for (int i = 0; i < count; i++) out[(o * size + (indices ? indices[i] : first + i)) * inner + k] += x[(o * count + i) * inner + k];
  }
}

KERNEL(scatter_add_distinct, const T* x, T* out, i64 n, int count, int size, int inner, int first, const int* indices) {
  EACH(i, n) {
    i64 row = i / inner;
    out[(row / count * size + (indices ? indices[row % count] : first + (int)(row % count))) * inner + (i - row * inner)] += x[i];
  }
}

// Entries of a matrix that is stored as BF16, at rows and columns of what is stored.
KERNEL(select_bf16, const u16* x, i64 stride, const int* rows, int firstRow, const int* columns, int firstColumn, T* out,
       i64 n, int width, int turned, i64 outStride) {
  EACH(i, n) {
    int a = (int)(i / width), b = (int)(i % width);
    int r = rows ? rows[a] : firstRow + a, c = columns ? columns[b] : firstColumn + b;
    out[a * outStride + b] = (T)widened(x[(turned ? c : r) * stride + (turned ? r : c)]);
  }
}

KERNEL(widen_bf16, const u16* x, i64 stride, T* out, i64 n, int width) {
  EACH(i, n) out[i] = (T)widened(x[i / width * stride + i % width]);
}

// ---- rows ----

ROW_KERNEL(centre, const T* x, T* out, int n) {
  i64 at = (i64)blockIdx.x * n;
  T s = 0;
  ALONG(i, n) s += x[at + i];
  T mean = sum(s) / n;
  ALONG(i, n) out[at + i] = x[at + i] - mean;
}

ROW_KERNEL(row_dots, const T* x, const T* y, T* out, int n, i64 period) {
  i64 at = (i64)blockIdx.x * n, xAt = at % period;
  T s = 0;
  ALONG(i, n) s += x[xAt + i] * y[at + i];
  s = sum(s);
  if (threadIdx.x == 0) out[blockIdx.x] = s;
}

ROW_KERNEL(root_mean_square, const T* x, T* out, int n, T epsilon) {
  i64 at = (i64)blockIdx.x * n;
  T s = 0;
  ALONG(i, n) s += x[at + i] * x[at + i];
  s = sum(s);
  if (threadIdx.x == 0) out[blockIdx.x] = sqrt(s / n + epsilon);
}

KERNEL(rescale, const T* x, const T* scale, const T* gain, const T* bias, T* out, i64 n, int width, int scales) {
  EACH(i, n) {
    i64 row = i / width;
    int k = (int)(i - row * width);
    out[i] = x[i] / scale[row % scales] * gain[k] + bias[k];
  }
}

KERNEL(rotate, const T* x, const T* cosine, const T* sine, T* out, i64 n, int width, int rows, int pairs, int distance) {
  EACH(i, n) {
    i64 row = i / width;
    int k = (int)(i - row * width);
    if (k >= 2 * pairs) {
      out[i] = x[i];
    } else {
      int block = k / (2 * distance), inside = k - block * 2 * distance;
      bool isFirst = inside < distance;
      i64 angle = row % rows * pairs + block * distance + (isFirst ? inside : inside - distance);
      T c = cosine[angle], s = sine[angle];
      out[i] = isFirst ? x[i] * c - x[i + distance] * s : x[i] * c + x[i - distance] * s;
    }
  }
}

// Sums of the middle axis: many short ones, or few long ones.
KERNEL(sum_short, const T* x, T* out, i64 sums, int count, int inner) {
  EACH(i, sums) {
    i64 at = i / inner * count * inner + i % inner;
    T s = 0;
    for (int j = 0; j < count; j++) s += x[at + (i64)j * inner];
    out[i] = s;
  }
}

ROW_KERNEL(sum_long, const T* x, T* out, int count, int inner) {
  i64 at = (i64)(blockIdx.x / inner) * count * inner + blockIdx.x % inner;
  T s = 0;
  ALONG(i, count) s += x[at + (i64)i * inner];
  s = sum(s);
  if (threadIdx.x == 0) out[blockIdx.x] = s;
}

// How many entries of a row are seen: as many in the first row of each matrix, one more in each that follows.
__device__ __forceinline__ int seen(i64 row, int rows, int visible, int n) {
  i64 last = row % rows + visible;
  return last < n ? (int)last : n;
}

KERNEL(causal_mask, const T* x, T* out, i64 n, int width, int rows, int visible, T hidden) {
  EACH(i, n) {
    i64 row = i / width;
    out[i] = i - row * width < seen(row, rows, visible, width) ? x[i] : hidden;
  }
}

ROW_KERNEL(softmax, const T* x, T* out, int n, int rows, int visible) {
  i64 at = (i64)blockIdx.x * n;
  int end = seen(blockIdx.x, rows, visible, n);
  T most = negativeInfinity();
  ALONG(i, end) {
    T v = x[at + i];
    most = v > most || v != v ? v : most;
  }
  most = largest(most);
  T total = 0;
  ALONG(i, end) {
    T e = exp(x[at + i] - most);
    out[at + i] = e;
    total += e;
  }
  total = sum(total);
  ALONG(i, n) out[at + i] = i < end ? out[at + i] / total : (T)0;
}

ROW_KERNEL(softmax_derivative, const T* p, const T* u, T* out, int n, int rows, int visible, i64 period) {
  i64 at = (i64)blockIdx.x * n, pAt = at % period;
  int end = seen(blockIdx.x, rows, visible, n);
  T mean = 0;
  ALONG(i, end) mean += p[pAt + i] * u[at + i];
  mean = sum(mean);
  ALONG(i, n) out[at + i] = i < end ? p[pAt + i] * (u[at + i] - mean) : (T)0;
}

ROW_KERNEL(log_softmax, const T* x, T* out, int n) {
  i64 at = (i64)blockIdx.x * n;
  T most = negativeInfinity();
  ALONG(i, n) {
    T v = x[at + i];
    most = v > most || v != v ? v : most;
  }
  most = largest(most);
  T total = 0;
  ALONG(i, n) total += exp(x[at + i] - most);
  total = log(sum(total));
  ALONG(i, n) out[at + i] = x[at + i] - most - total;
}

// A whole number that is larger where x is; both zeros are the same, and NaN is as small as possible.
__device__ __forceinline__ u64 order(T x) {
  if (x != x) x = negativeInfinity();
  if (x == 0) x = 0;
  u64 sign = (u64)1 << (8 * sizeof(T) - 1);
  union {
    T number;
    u32 low;
    u64 bits;
  } as;
  as.bits = 0;
  as.number = x;
  u64 bits = sizeof(T) == 4 ? as.low : as.bits;
  return bits & sign ? ~bits & (sign | (sign - 1)) : bits | sign;
}

// Finds the smallest that is kept byte by byte (radix select); of those equal to it the first ones are kept.
ROW_KERNEL(top_k_mask, const T* x, T* out, int n, int count) {
  __shared__ u32 bins[256];
  __shared__ u64 prefix;
  __shared__ u32 wanted, before;
  __shared__ u32 ties[WARPS];
  i64 at = (i64)blockIdx.x * n;
  if (threadIdx.x == 0) {
    prefix = 0;
    wanted = count;
    before = 0;
  }
  u64 mask = 0;
  __syncthreads();
  for (int shift = 8 * sizeof(T) - 8; shift >= 0; shift -= 8) {
    bins[threadIdx.x] = 0;
    __syncthreads();
    ALONG(i, n) {
      u64 key = order(x[at + i]);
      if ((key & mask) == prefix) atomicAdd(&bins[(key >> shift) & 255], 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int bin = 255;
      while (bin > 0 && bins[bin] < wanted) wanted -= bins[bin--];
      prefix |= (u64)bin << shift;
    }
    mask |= (u64)255 << shift;
    __syncthreads();
  }
  for (int from = 0; from < n; from += BLOCK) {
    int i = from + threadIdx.x;
    u64 key = i < n ? order(x[at + i]) : 0;
    bool tie = i < n && key == prefix;
    u32 votes = __ballot_sync(~0u, tie);
    if ((threadIdx.x & 31) == 0) ties[threadIdx.x >> 5] = __popc(votes);
    __syncthreads();
    u32 earlier = before + __popc(votes & ((1u << (threadIdx.x & 31)) - 1));
    for (int warp = 0; warp < (int)(threadIdx.x >> 5); warp++) earlier += ties[warp];
    if (i < n) out[at + i] = key > prefix || (tie && earlier < wanted) ? (T)1 : (T)0;
    __syncthreads();
    if (threadIdx.x == 0)
      for (int warp = 0; warp < WARPS; warp++) before += ties[warp];
    __syncthreads();
  }
}

// ---- questions whose answers are read ----

KERNEL(find_not_finite, const T* x, int* found, i64 n) {
  EACH(i, n) if (!(x[i] - x[i] == 0)) *found = 1;
}

KERNEL(find_not_finite_bf16, const u16* x, i64 stride, int* found, i64 n, int width) {
  EACH(i, n) if ((x[i / width * stride + i % width] & 0x7f80) == 0x7f80) *found = 1;
}

// found[0] counts; the first of the places follow in any order.
KERNEL(find_reaching, const T* x, const T* rows, const T* columns, u32* found, i64 n, int width, T bound, u32 room) {
  EACH(i, n) {
    i64 row = i / width;
    if (fabs(x[i]) + rows[row] * columns[i - row * width] >= bound) {
      u32 at = atomicAdd(&found[0], 1u);
      if (at < room) found[1 + at] = (u32)i;
    }
  }
}

// ---- products with BF16 ----

// x = a + b + c, three matrices of BF16 one below the other that hold a float exactly, but for what is tiny.
KERNEL(split_bf16, const T* x, i64 rowStride, i64 columnStride, u16* out, i64 n, int columns) {
  EACH(i, n) {
    float v = (float)x[i / columns * rowStride + i % columns * columnStride];
    u16 a = rounded(v);
    float rest = v - widened(a);
    u16 b = rounded(rest);
    out[i] = a;
    out[n + i] = b;
    out[2 * n + i] = rounded(rest - widened(b));
  }
}

KERNEL(join_products, const float* parts, T* out, i64 n, int accumulate) {
  EACH(i, n) {
    T s = (T)(parts[i] + (parts[n + i] + parts[2 * n + i]));
    out[i] = accumulate ? out[i] + s : s;
  }
}

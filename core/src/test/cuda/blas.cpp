// libcublas.so.13: matrix products in loops. Matrices are stored by columns.
#include "device.h"

#include <cstring>
#include <vector>

namespace {

enum Status { OK = 0, UNINITIALIZED = 1, INVALID = 7, FAILED = 13, UNSUPPORTED = 15 };
enum Type { F32 = 0, F64 = 1, BF16 = 14 };

struct Handle {
  int device;
  const Stream* stream;
};

struct Matrix {
  const char* what;
  const void* at;
  int type;
  int rows, columns, leading;  // as stored
  long long stride;            // from one of a batch to the next

  size_t width() const { return type == F64 ? 8 : type == F32 ? 4 : 2; }
  bool isValid() const { return rows >= 0 && columns >= 0 && leading >= (rows > 1 ? rows : 1) && stride >= 0; }
  bool isHeld(int count) const {
    if (rows == 0 || columns == 0 || count == 0) return true;
    return standInHolds(what, at, width() * ((count - 1) * stride + (size_t)(columns - 1) * leading + rows));
  }
};

template <class S>
S entry(const Matrix& x, size_t i) {
  if (x.type == BF16) {
    unsigned bits = (unsigned)((const unsigned short*)x.at)[i] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
  }
  return x.type == F32 ? ((const float*)x.at)[i] : ((const double*)x.at)[i];
}

template <class S>
void multiply(const Matrix& a, bool aTurned, const Matrix& b, bool bTurned, const Matrix& c, int k, S alpha, S beta, int count) {
  int m = c.rows, n = c.columns;
  std::vector<S> left((size_t)m * k), sums(m);
  for (int q = 0; q < count; q++) {
    for (int l = 0; l < k && (q == 0 || a.stride != 0); l++)
      for (int i = 0; i < m; i++)
        left[(size_t)l * m + i] = entry<S>(a, q * a.stride + (aTurned ? l + (size_t)i * a.leading : i + (size_t)l * a.leading));
    for (int j = 0; j < n; j++) {
      for (S& sum : sums) sum = 0;
      for (int l = 0; l < k; l++) {
        S factor = entry<S>(b, q * b.stride + (bTurned ? j + (size_t)l * b.leading : l + (size_t)j * b.leading));
        const S* column = &left[(size_t)l * m];
        for (int i = 0; i < m; i++) sums[i] += column[i] * factor;
      }
      S* out = (S*)c.at + q * c.stride + (size_t)j * c.leading;
      for (int i = 0; i < m; i++) out[i] = beta == 0 ? alpha * sums[i] : alpha * sums[i] + beta * out[i];
    }
  }
}

}  // namespace

EXPORTED int cublasCreate_v2(Handle** handle) {
  if (standInCurrent() < 0) standInCurrent() = 0;
  *handle = new Handle{standInCurrent(), nullptr};
  return OK;
}

EXPORTED int cublasSetStream_v2(Handle* handle, const Stream* stream) {
  if (!handle) return UNINITIALIZED;
  std::lock_guard<std::recursive_mutex> hold(standInLock());
  if (handle->device != standInCurrent() || !standInIsStream(stream)) return INVALID;
  handle->stream = stream;
  return OK;
}

EXPORTED int cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t bytes) {
  if (!handle) return UNINITIALIZED;
  std::lock_guard<std::recursive_mutex> hold(standInLock());
  return (size_t)workspace % 256 == 0 && (bytes == 0 || standInHolds("workspace", workspace, bytes)) ? OK : INVALID;
}

EXPORTED int cublasSetMathMode(Handle* handle, int mode) {
  if (!handle) return UNINITIALIZED;
  return mode == 0 || mode == 2 || mode == 16 || mode == 18 ? OK : INVALID;  // not in TF32
}

EXPORTED int cublasGemmStridedBatchedEx(Handle* handle, int aTurned, int bTurned, int m, int n, int k, const void* alpha,
                                        const void* aAt, int aType, int aLeading, long long aStride, const void* bAt, int bType,
                                        int bLeading, long long bStride, const void* beta, void* cAt, int cType, int cLeading,
                                        long long cStride, int count, int compute, int algorithm) {
  if (!handle) return UNINITIALIZED;
  std::lock_guard<std::recursive_mutex> hold(standInLock());
  Matrix a = {"left matrix", aAt, aType, aTurned ? k : m, aTurned ? m : k, aLeading, aStride};
  Matrix b = {"right matrix", bAt, bType, bTurned ? n : k, bTurned ? k : n, bLeading, bStride};
  Matrix c = {"product", cAt, cType, m, n, cLeading, cStride};
  bool isDouble = aType == F64 && bType == F64 && cType == F64 && (compute == 70 || compute == 71);
  bool isFloat = (aType == F32 || aType == BF16) && bType == aType && cType == F32 && (compute == 68 || compute == 69);
  if ((!isDouble && !isFloat) || algorithm != -1) return UNSUPPORTED;
  bool turns = (aTurned == 0 || aTurned == 1) && (bTurned == 0 || bTurned == 1);
  if (!turns || k < 0 || count < 0 || !a.isValid() || !b.isValid() || !c.isValid()) return INVALID;
  if (handle->device != standInCurrent() || !standInIsStream(handle->stream)) return FAILED;
  if (!a.isHeld(count) || !b.isHeld(count) || !c.isHeld(count)) return FAILED;
  if (isDouble) {
    multiply<double>(a, aTurned, b, bTurned, c, k, *(const double*)alpha, *(const double*)beta, count);
  } else {
    multiply<float>(a, aTurned, b, bTurned, c, k, *(const float*)alpha, *(const float*)beta, count);
  }
  standInCount(LAUNCHES)++;
  return OK;
}

EXPORTED int cublasGemmEx(Handle* handle, int aTurned, int bTurned, int m, int n, int k, const void* alpha, const void* a,
                          int aType, int aLeading, const void* b, int bType, int bLeading, const void* beta, void* c, int cType,
                          int cLeading, int compute, int algorithm) {
  return cublasGemmStridedBatchedEx(handle, aTurned, bTurned, m, n, k, alpha, a, aType, aLeading, 0, b, bType, bLeading, 0, beta,
                                    c, cType, cLeading, 0, 1, compute, algorithm);
}

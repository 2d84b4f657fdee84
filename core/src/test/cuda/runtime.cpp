// libcudart.so.13: the functions of the runtime that are used.
#include "device.h"

#include <cstring>

namespace {

thread_local Code last = SUCCESS;

Code told(Code code) {
  if (code) last = code;
  return code;
}

// The runtime chooses the first device for a thread that has none.
int& current() {
  int& device = standInCurrent();
  if (device < 0) device = 0;
  return device;
}

struct Name {
  Code code;
  const char* name;
  const char* meaning;
};

constexpr Name NAMES[] = {
    {SUCCESS, "cudaSuccess", "no error"},
    {INVALID_VALUE, "cudaErrorInvalidValue", "invalid argument"},
    {OUT_OF_MEMORY, "cudaErrorMemoryAllocation", "out of memory"},
    {NOT_INITIALIZED, "cudaErrorInitializationError", "initialization error"},
    {INVALID_DEVICE, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {INVALID_IMAGE, "cudaErrorInvalidKernelImage", "device kernel image is invalid"},
    {INVALID_CONTEXT, "cudaErrorDeviceUninitialized", "invalid device context"},
    {INVALID_HANDLE, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {NOT_FOUND, "cudaErrorSymbolNotFound", "named symbol not found"},
    {ILLEGAL_ADDRESS, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {MISALIGNED_ADDRESS, "cudaErrorMisalignedAddress", "misaligned address"},
    {LAUNCH_FAILURE, "cudaErrorLaunchFailure", "unspecified launch failure"},
};
constexpr Name UNKNOWN = {SUCCESS, "unrecognized error code", "unrecognized error code"};

const Name& named(int code) {
  for (const Name& name : NAMES)
    if (name.code == code) return name;
  return UNKNOWN;
}

}  // namespace

EXPORTED const char* cudaGetErrorName(int code) { return named(code).name; }
EXPORTED const char* cudaGetErrorString(int code) { return named(code).meaning; }

EXPORTED int cudaGetLastError() {
  Code code = last;
  last = SUCCESS;
  return code;
}

EXPORTED int cudaGetDeviceCount(int* count) {
  *count = DEVICES;
  return SUCCESS;
}

EXPORTED int cudaSetDevice(int device) {
  if (device < 0 || device >= DEVICES) return told(INVALID_DEVICE);
  standInCurrent() = device;
  return SUCCESS;
}

EXPORTED int cudaDriverGetVersion(int* version) {
  *version = 13000;
  return SUCCESS;
}

EXPORTED int cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return SUCCESS;
}

EXPORTED int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  if (device < 0 || device >= DEVICES) return told(INVALID_DEVICE);
  switch (attribute) {
    case 16:  // multiprocessors: few, as a block costs the same whether there is work for it or not
      *value = 2;
      return SUCCESS;
    case 75:  // ARCHITECTURE
    case 76:
      *value = 9;
      return SUCCESS;
    default:
      return told(INVALID_VALUE);
  }
}

EXPORTED int cudaStreamCreateWithFlags(Stream** stream, unsigned flags) {
  current();
  if (flags != 1) return told(INVALID_VALUE);  // one that waits for no other
  *stream = standInStream();
  return SUCCESS;
}

EXPORTED int cudaStreamSynchronize(const Stream* stream) {
  current();
  if (!standInIsStream(stream)) return told(INVALID_HANDLE);
  standInCount(WAITS)++;
  return told(standInWait(stream->device));
}

EXPORTED int cudaMalloc(void** pointer, size_t bytes) {
  current();
  return told(standInAllocate(pointer, bytes));
}

EXPORTED int cudaFree(void* pointer) {
  current();
  return pointer ? told(standInFree(pointer)) : SUCCESS;
}

EXPORTED int cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  current();
  return told(standInAllocateHost(pointer, bytes));
}

EXPORTED int cudaFreeHost(void* pointer) {
  current();
  return pointer ? told(standInFreeHost(pointer)) : SUCCESS;
}

EXPORTED int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, const Stream* stream) {
  current();
  std::lock_guard<std::recursive_mutex> hold(standInLock());
  if (!standInIsStream(stream)) return told(INVALID_HANDLE);
  switch (kind) {
    case 1:
      return told(standInCopy(to, from, bytes, true));
    case 2:
      return told(standInCopy(to, from, bytes, false));
    case 3:
      if (!standInHolds("copy to", to, bytes) || !standInHolds("copy from", from, bytes)) return told(INVALID_VALUE);
      memmove(to, from, bytes);
      return SUCCESS;
    default:
      return told(INVALID_VALUE);
  }
}

EXPORTED int cudaMemsetAsync(void* to, int value, size_t bytes, const Stream* stream) {
  current();
  std::lock_guard<std::recursive_mutex> hold(standInLock());
  if (!standInIsStream(stream)) return told(INVALID_HANDLE);
  if (!standInHolds("memset", to, bytes)) return told(INVALID_VALUE);
  memset(to, value, bytes);
  return SUCCESS;
}

EXPORTED int cudaMemGetInfo(size_t* free, size_t* total) {
  current();
  standInMemory(free, total);
  return SUCCESS;
}

// ---- what tests ask and set ----

constexpr int MALLOC_HEAP_SIZE = 2;  // not used otherwise: here it is the memory of a device

EXPORTED int cudaDeviceSetLimit(int limit, size_t value) {
  if (limit != MALLOC_HEAP_SIZE) return told(INVALID_VALUE);
  standInLimit(value);
  return SUCCESS;
}

EXPORTED int cudaDeviceGetLimit(size_t* value, int limit) {
  if (limit < LAUNCHES || limit >= COUNTS_END) return told(INVALID_VALUE);
  std::lock_guard<std::recursive_mutex> hold(standInLock());
  *value = standInCount(limit);
  return SUCCESS;
}

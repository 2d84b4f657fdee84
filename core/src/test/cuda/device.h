// What the stand-ins for NVIDIA's libraries share. libcuda.so.1 has it; the others are linked to it.
//
// The stand-ins run the CUDA device on the processor, for tests on machines without a GPU: everything at once and one thing at a
// time, but refusing what a GPU would refuse, and some of what it would let pass.
#pragma once
#include <cstddef>
#include <mutex>

#define EXPORTED extern "C" __attribute__((visibility("default")))

// The codes of the runtime; the driver has the same.
enum Code {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  ILLEGAL_ADDRESS = 700,
  MISALIGNED_ADDRESS = 716,
  LAUNCH_FAILURE = 719
};

constexpr int DEVICES = 2;
#define ARCHITECTURE "sm_99"  // none of NVIDIA's, so that what is compiled for one is not taken for what is compiled for the other
constexpr unsigned BLOCK = 256;  // threads of a block in every launch

struct Stream {
  int device;
};

// A kernel for one element type. It registers itself where it is compiled.
struct Kernel {
  const char* type;
  const char* name;
  Code (*check)(void** arguments);
  const char* (*run)(unsigned columns, unsigned rows, void** arguments);  // gives what went wrong, or null
};

// Counted for tests; the numbers are those by which cudaDeviceGetLimit is asked for them.
enum Count { LAUNCHES = 1000, COPIES_TO_DEVICE, COPIES_TO_HOST, WAITS, COUNTS_END };

// One thing at a time.
EXPORTED std::recursive_mutex& standInLock();
EXPORTED void standInRegister(const Kernel& kernel);
EXPORTED size_t& standInCount(int count);
// The device of this thread: -1 before one is chosen, which the runtime does and the driver does not.
EXPORTED int& standInCurrent();
EXPORTED bool standInIsStream(const Stream* stream);
// Whether it lies in a single allocation of this thread's device. Says what it is if not.
EXPORTED bool standInHolds(const char* what, const void* from, size_t bytes);
// Writes a line to stderr.
EXPORTED void standInTell(const char* format, ...) __attribute__((format(printf, 1, 2)));

// A result comes to memory of cudaHostAlloc, and what is copied from there must stay, until the stream is waited for.
EXPORTED Code standInCopy(void* to, const void* from, size_t bytes, bool toDevice);
EXPORTED Code standInWait(int device);
EXPORTED Code standInAllocate(void** to, size_t bytes);
EXPORTED Code standInFree(void* pointer);
EXPORTED Code standInAllocateHost(void** to, size_t bytes);
EXPORTED Code standInFreeHost(void* pointer);
EXPORTED void standInMemory(size_t* free, size_t* total);
EXPORTED void standInLimit(size_t total);
EXPORTED Stream* standInStream();

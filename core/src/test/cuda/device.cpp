// libcuda.so.1: memory of the devices, and the driver's functions that load and launch kernels.
#include "device.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

using Hold = std::lock_guard<std::recursive_mutex>;

namespace {

// Before and after an allocation lies what is not a number in any type, nor written by accident.
constexpr size_t GUARD = 512;
constexpr unsigned short GUARDED = 0xfffe;
constexpr int UNWRITTEN = 0xff;

struct Allocation {
  int device;
  size_t bytes;
};

struct Copy {
  int device;
  char* host;
  std::string bytes;
  bool toDevice;
};

// What is registered while libraries are loaded must be there before.
struct State {
  std::recursive_mutex lock;
  std::map<std::pair<std::string, std::string>, Kernel> kernels;
  std::map<char*, Allocation> allocations;
  std::map<char*, size_t> host;
  std::vector<Copy> copies;  // since the last wait
  std::set<const Stream*> streams;
  size_t used[DEVICES] = {};
  size_t total = (size_t)4 << 30;
  size_t counts[COUNTS_END - LAUNCHES] = {};
  bool initialized = false;
};

State& state() {
  static State* state = new State();
  return *state;
}

thread_local int current = -1;

const std::vector<unsigned short>& guards() {
  static const std::vector<unsigned short>& guards = *new std::vector<unsigned short>(GUARD / sizeof GUARDED, GUARDED);
  return guards;
}

void guard(char* at) { memcpy(at, guards().data(), GUARD); }

bool intact(const char* at) { return memcmp(at, guards().data(), GUARD) == 0; }

// Says it once: the guards are made whole again.
Code checkGuards(char* at, const Allocation& allocation) {
  const char* side = !intact(at - GUARD) ? "before" : !intact(at + allocation.bytes) ? "behind" : nullptr;
  if (!side) return SUCCESS;
  standInTell("something was written %s the %zu bytes at %p of device %d", side, allocation.bytes, (void*)at, allocation.device);
  guard(at - GUARD);
  guard(at + allocation.bytes);
  return LAUNCH_FAILURE;
}

// The allocation in which an address lies, or at whose end.
std::map<char*, Allocation>::iterator around(const void* address) {
  auto& all = state().allocations;
  auto after = all.upper_bound((char*)address);
  if (after == all.begin()) return all.end();
  auto at = std::prev(after);
  return (char*)address <= at->first + at->second.bytes ? at : all.end();
}

size_t hostBytesFrom(const void* address) {
  auto after = state().host.upper_bound((char*)address);
  if (after == state().host.begin()) return 0;
  auto at = std::prev(after);
  char* end = at->first + at->second;
  return (char*)address < end ? end - (char*)address : 0;
}

// Finishes the copies of a device that have to do with some memory of the host.
Code finish(int device, const char* host, size_t bytes) {
  Code code = SUCCESS;
  std::vector<Copy> others;
  for (Copy& copy : state().copies) {
    if (copy.device != device || copy.host + copy.bytes.size() <= host || host + bytes <= copy.host) {
      others.push_back(std::move(copy));
    } else if (!copy.toDevice) {
      memcpy(copy.host, copy.bytes.data(), copy.bytes.size());
    } else if (memcmp(copy.host, copy.bytes.data(), copy.bytes.size())) {
      standInTell("the host's memory at %p changed before its copy to device %d was waited for", (void*)copy.host, device);
      code = LAUNCH_FAILURE;
    }
  }
  state().copies = std::move(others);
  return code;
}

struct Module {
  int device;
  std::string type;
};

struct Function {
  int device;
  Kernel kernel;
};

}  // namespace

std::recursive_mutex& standInLock() { return state().lock; }
void standInRegister(const Kernel& kernel) { state().kernels[{kernel.type, kernel.name}] = kernel; }
size_t& standInCount(int count) { return state().counts[count - LAUNCHES]; }
int& standInCurrent() { return current; }
bool standInIsStream(const Stream* stream) { return state().streams.count(stream) && stream->device == current; }

void standInTell(const char* format, ...) {
  va_list values;
  va_start(values, format);
  fputs("CUDA stand-in: ", stderr);
  vfprintf(stderr, format, values);
  fputc('\n', stderr);
  va_end(values);
}

bool standInHolds(const char* what, const void* from, size_t bytes) {
  auto at = around(from);
  if (at == state().allocations.end()) {
    standInTell("%s: %p is no memory of a device", what, from);
  } else if (at->second.device != current) {
    standInTell("%s: memory of device %d, where device %d is current", what, at->second.device, current);
  } else if ((char*)from + bytes > at->first + at->second.bytes) {
    standInTell("%s: %zu bytes at %zu of an allocation of %zu", what, bytes, (char*)from - at->first, at->second.bytes);
  } else {
    return true;
  }
  return false;
}

Code standInCopy(void* to, const void* from, size_t bytes, bool toDevice) {
  Hold hold(standInLock());
  char* host = (char*)(toDevice ? from : to);
  if (!standInHolds("copy", toDevice ? to : from, bytes)) return INVALID_VALUE;
  if (around(host) != state().allocations.end()) {
    standInTell("copy: %p is memory of a device, not of the host", (void*)host);
    return INVALID_VALUE;
  }
  standInCount(toDevice ? COPIES_TO_DEVICE : COPIES_TO_HOST)++;
  size_t room = hostBytesFrom(host);
  if (!room) {
    memcpy(to, from, bytes);
    return SUCCESS;
  }
  if (bytes > room) {
    standInTell("copy: %zu bytes, where %zu are left of the host's memory", bytes, room);
    return INVALID_VALUE;
  }
  // The stream copies what lies there before it writes there itself.
  Code code = toDevice ? SUCCESS : finish(current, host, bytes);
  state().copies.push_back({current, host, std::string((const char*)from, bytes), toDevice});
  if (toDevice) {
    memcpy(to, from, bytes);
  } else {
    memset(to, UNWRITTEN, bytes);
  }
  return code;
}

Code standInWait(int device) {
  Hold hold(standInLock());
  Code code = finish(device, nullptr, (size_t)-1 / 2);
  for (auto& [at, allocation] : state().allocations)
    if (allocation.device == device)
      if (Code found = checkGuards(at, allocation)) code = found;
  return code;
}

Code standInAllocate(void** to, size_t bytes) {
  Hold hold(standInLock());
  size_t& used = state().used[current];
  if (bytes > state().total || used > state().total - bytes) return OUT_OF_MEMORY;
  if (bytes == 0) {
    *to = nullptr;
    return SUCCESS;
  }
  char* whole = (char*)aligned_alloc(GUARD, (2 * GUARD + bytes + GUARD - 1) / GUARD * GUARD);
  if (!whole) return OUT_OF_MEMORY;
  char* at = whole + GUARD;
  guard(whole);
  memset(at, UNWRITTEN, bytes);
  guard(at + bytes);
  used += bytes;
  state().allocations[at] = {current, bytes};
  *to = at;
  return SUCCESS;
}

Code standInFree(void* pointer) {
  Hold hold(standInLock());
  auto found = state().allocations.find((char*)pointer);
  if (found == state().allocations.end()) {
    standInTell("free: %p was not allocated", pointer);
    return INVALID_VALUE;
  }
  Code code = checkGuards(found->first, found->second);
  state().used[found->second.device] -= found->second.bytes;
  state().allocations.erase(found);
  free((char*)pointer - GUARD);
  return code;
}

Code standInAllocateHost(void** to, size_t bytes) {
  Hold hold(standInLock());
  *to = malloc(bytes ? bytes : 1);
  memset(*to, UNWRITTEN, bytes);
  state().host[(char*)*to] = bytes;
  return SUCCESS;
}

Code standInFreeHost(void* pointer) {
  Hold hold(standInLock());
  Code code = SUCCESS;
  for (int device = 0; device < DEVICES; device++)
    if (Code found = standInWait(device)) code = found;
  if (!state().host.erase((char*)pointer)) {
    standInTell("free: %p was not allocated on the host", pointer);
    return INVALID_VALUE;
  }
  free(pointer);
  return code;
}

void standInMemory(size_t* free, size_t* total) {
  Hold hold(standInLock());
  size_t used = state().used[current];
  *total = state().total;
  *free = used < *total ? *total - used : 0;
}

void standInLimit(size_t total) {
  Hold hold(standInLock());
  state().total = total;
}

Stream* standInStream() {
  Hold hold(standInLock());
  Stream* stream = new Stream{current};
  state().streams.insert(stream);
  return stream;
}

EXPORTED int cuInit(unsigned flags) {
  state().initialized = true;
  return flags ? INVALID_VALUE : SUCCESS;
}

EXPORTED int cuDeviceGet(int* device, int index) {
  if (!state().initialized) return NOT_INITIALIZED;
  if (index < 0 || index >= DEVICES) return INVALID_DEVICE;
  *device = index;
  return SUCCESS;
}

EXPORTED int cuDeviceGetName(char* name, int size, int device) {
  if (!state().initialized) return NOT_INITIALIZED;
  if (device < 0 || device >= DEVICES) return INVALID_DEVICE;
  snprintf(name, size, "Stand-in %d (the CPU)", device);
  return SUCCESS;
}

// What nvrtc.cpp gives out.
EXPORTED int cuModuleLoadData(Module** module, const char* image) {
  if (!state().initialized) return NOT_INITIALIZED;
  if (current < 0) return INVALID_CONTEXT;
  char type[8];
  if (sscanf(image, "\177ELF stand-in " ARCHITECTURE " %7s", type) != 1) return INVALID_IMAGE;
  *module = new Module{current, type};
  return SUCCESS;
}

EXPORTED int cuModuleGetFunction(Function** function, const Module* module, const char* name) {
  if (current != module->device) return current < 0 ? INVALID_CONTEXT : INVALID_HANDLE;
  auto found = state().kernels.find({module->type, name});
  if (found == state().kernels.end()) return NOT_FOUND;
  *function = new Function{current, found->second};
  return SUCCESS;
}

EXPORTED int cuLaunchKernel(const Function* function, unsigned columns, unsigned rows, unsigned layers, unsigned x, unsigned y,
                            unsigned z, unsigned shared, const Stream* stream, void** arguments, void** extra) {
  Hold hold(standInLock());
  if (current < 0) return INVALID_CONTEXT;
  if (function->device != current || !standInIsStream(stream)) return INVALID_HANDLE;
  bool isGrid = columns > 0 && columns < 1u << 31 && rows > 0 && rows < 1u << 16 && layers == 1;
  if (!isGrid || x != BLOCK || y != 1 || z != 1 || shared || extra) {
    standInTell("%s: grid %u, %u, %u, block %u, %u, %u, %u bytes of shared memory", function->kernel.name, columns, rows, layers,
                x, y, z, shared);
    return INVALID_VALUE;
  }
  if (Code wrong = function->kernel.check(arguments)) return wrong;
  standInCount(LAUNCHES)++;
  if (const char* wrong = function->kernel.run(columns, rows, arguments)) {
    standInTell("%s: %s", function->kernel.name, wrong);
    return LAUNCH_FAILURE;
  }
  return SUCCESS;
}

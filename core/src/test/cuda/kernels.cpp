// The kernels for one element type (REAL) as C++: what they use of CUDA, and the threads of a block. Part of libcuda.so.1.
//
// The threads of a KERNEL run one after the other. Those of a ROW_KERNEL have stacks of their own: each runs until it waits, for
// its warp in a shuffle or a vote or for its block in __syncthreads, and every other block and interval between barriers runs
// them backwards, so that a result that depends on their order is seen.
#include "device.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define TEXT_OF(text) #text
#define TEXT(macro) TEXT_OF(macro)

#define __device__
#define __forceinline__ inline
#define __shared__ static __attribute__((section("shared")))
#define KERNEL(name, ...) LAUNCHED(name, false, __VA_ARGS__)
#define ROW_KERNEL(name, ...) LAUNCHED(name, true, __VA_ARGS__)
#define LAUNCHED(name, waits, ...)                   \
  static void name(__VA_ARGS__);                     \
  static const bool name##_registered = (            \
      standInRegister({TEXT(REAL), #name, Launch<name>::check, Launch<name>::run<waits>}), true); \
  static void name(__VA_ARGS__)

namespace {

using std::ceil, std::cos, std::erf, std::erfc, std::exp, std::fabs, std::floor, std::fma, std::isnan, std::log, std::max,
    std::min, std::sin, std::sqrt, std::tanh;

struct Index {
  unsigned x, y, z;
};

Index threadIdx, blockIdx, gridDim;
const Index blockDim = {BLOCK, 1, 1};
constexpr unsigned WARP = 32;

// ---- the threads of a block ----

enum Waiting { READY, FOR_WARP, FOR_BLOCK, DONE };

struct Thread {
  void* stack;
  Waiting waiting;
  uint64_t given[2];  // to the others of its warp, by turns: some read the last while others give the next
  unsigned turn;
};

constexpr size_t STACK = 16384 + 192;  // no multiple of a page, so that stacks share no line of the cache
Thread threads[BLOCK];
alignas(64) char stacks[BLOCK][STACK];
void* scheduler;
void (*body)();
bool canWait;
const char* wrong;

extern "C" void standInSwitch(void** from, void* to);
asm(R"(
  .pushsection .text
  .weak standInSwitch
  .hidden standInSwitch
standInSwitch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
  .popsection
)");

void wait(Waiting what) {
  if (!canWait) {
    wrong = "a KERNEL waits for other threads: only a ROW_KERNEL can";
    return;
  }
  Thread& thread = threads[threadIdx.x];
  thread.waiting = what;
  standInSwitch(&thread.stack, scheduler);
}

void start() {
  body();
  wait(DONE);
}

void resume(unsigned index) {
  threadIdx.x = index;
  threads[index].waiting = READY;
  standInSwitch(&scheduler, threads[index].stack);
}

// Until all have come to a barrier of the block or to their end.
bool runWarp(unsigned first, bool backwards) {
  for (;;) {
    unsigned shared = 0, live = 0;
    for (unsigned i = 0; i < WARP; i++) {
      unsigned index = first + (backwards ? WARP - 1 - i : i);
      if (threads[index].waiting != DONE) {
        live++;
        resume(index);
        shared += threads[index].waiting == FOR_WARP;
      }
    }
    if (shared == 0) return true;
    if (shared != WARP) {
      wrong = "some threads of a warp are missing at a shuffle or a vote";
      return false;
    }
  }
}

extern "C" char __start_shared[], __stop_shared[];

bool runBlock() {
  memset(__start_shared, 0xff, __stop_shared - __start_shared);
  for (unsigned i = 0; i < BLOCK; i++) {
    void** top = (void**)((uintptr_t)(stacks[i] + STACK) & ~(uintptr_t)63);
    memset(top - 8, 0, 8 * sizeof(void*));
    top[-2] = (void*)start;
    threads[i] = {top - 8, READY, {}, 0};
  }
  for (unsigned interval = blockIdx.x + blockIdx.y;; interval++) {
    bool backwards = interval & 1;
    unsigned done = 0;
    for (unsigned w = 0; w < BLOCK; w += WARP)
      if (!runWarp(backwards ? BLOCK - WARP - w : w, backwards)) return false;
    for (Thread& thread : threads) done += thread.waiting == DONE;
    if (done == BLOCK) return true;
    if (done) {
      wrong = "some threads of a block are missing at __syncthreads";
      return false;
    }
  }
}

// ---- launches ----

template <class P>
Code checkPointer(P* pointer) {
  if (!pointer) return SUCCESS;
  if (!standInHolds("kernel", (const void*)pointer, 0)) return ILLEGAL_ADDRESS;
  if constexpr (!std::is_void_v<P>)
    if ((uintptr_t)pointer % alignof(P)) return MISALIGNED_ADDRESS;
  return SUCCESS;
}

template <class V>
Code checkPointer(const V&) {
  return SUCCESS;
}

template <auto kernel>
struct Launch;

template <class... A, void (*kernel)(A...)>
struct Launch<kernel> {
  static inline std::tuple<A...>* given;

  template <size_t... I>
  static std::tuple<A...> values(void** arguments, std::index_sequence<I...>) {
    return {*(A*)arguments[I]...};
  }

  static Code check(void** arguments) {
    Code code = SUCCESS;
    auto each = [&](const A&... values) { ((code = code ? code : checkPointer(values)), ...); };
    std::apply(each, values(arguments, std::index_sequence_for<A...>()));
    return code;
  }

  static void thread() { std::apply(kernel, *given); }

  template <bool waits>
  static const char* run(unsigned columns, unsigned rows, void** arguments) {
    std::tuple<A...> all = values(arguments, std::index_sequence_for<A...>());
    given = &all;
    body = thread;
    canWait = waits;
    wrong = nullptr;
    gridDim = {columns, rows, 1};
    for (unsigned y = 0; y < rows; y++)
      for (unsigned x = 0; x < columns && !wrong; x++) {
        blockIdx = {x, y, 0};
        if (waits) {
          runBlock();
        } else {
          for (unsigned i = 0; i < BLOCK; i++) {
            threadIdx.x = (x + y) & 1 ? BLOCK - 1 - i : i;
            thread();
          }
        }
      }
    given = nullptr;
    return wrong;
  }
};

// ---- CUDA's functions ----

void __syncthreads() { wait(FOR_BLOCK); }

// The number of another thread of the warp, or its own where there is none.
template <class V>
V exchanged(V value, unsigned other) {
  Thread& thread = threads[threadIdx.x];
  unsigned first = threadIdx.x & ~(WARP - 1), turn = thread.turn++ & 1;
  memcpy(&thread.given[turn], &value, sizeof value);
  wait(FOR_WARP);
  V result = value;
  if (other < WARP) memcpy(&result, &threads[first + other].given[turn], sizeof result);
  return result;
}

template <class V>
V __shfl_down_sync(unsigned, V value, unsigned distance) {
  return exchanged(value, threadIdx.x % WARP + distance);
}

template <class V>
V __shfl_xor_sync(unsigned, V value, unsigned bits) {
  return exchanged(value, (threadIdx.x % WARP) ^ bits);
}

unsigned __ballot_sync(unsigned, bool vote) {
  unsigned turn = threads[threadIdx.x].turn & 1, first = threadIdx.x & ~(WARP - 1), votes = 0;
  exchanged((uint64_t)vote, WARP);
  for (unsigned i = 0; i < WARP; i++) votes |= (unsigned)threads[first + i].given[turn] << i;
  return votes;
}

template <class V>
V atomicAdd(V* at, V value) {
  V before = *at;
  *at += value;
  return before;
}

template <class To, class From>
To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

int __popc(unsigned value) { return __builtin_popcount(value); }
float __int_as_float(int value) { return bits<float>(value); }
float __uint_as_float(unsigned value) { return bits<float>(value); }
int __float_as_int(float value) { return bits<int>(value); }
unsigned __float_as_uint(float value) { return bits<unsigned>(value); }
double __longlong_as_double(long long value) { return bits<double>(value); }
long long __double_as_longlong(double value) { return bits<long long>(value); }

#include KERNELS
#include "faults.cu"

}  // namespace

package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;
import static dev.tributary.core.Checks.requirePresent;
import static dev.tributary.core.Checks.requireState;
import static org.bytedeco.cuda.global.cublas.CUBLAS_COMPUTE_32F;
import static org.bytedeco.cuda.global.cublas.CUBLAS_COMPUTE_32F_PEDANTIC;
import static org.bytedeco.cuda.global.cublas.CUBLAS_COMPUTE_64F_PEDANTIC;
import static org.bytedeco.cuda.global.cublas.CUBLAS_GEMM_DEFAULT;
import static org.bytedeco.cuda.global.cublas.CUBLAS_OP_N;
import static org.bytedeco.cuda.global.cublas.CUBLAS_OP_T;
import static org.bytedeco.cuda.global.cublas.cublasCreate_v2;
import static org.bytedeco.cuda.global.cublas.cublasGemmEx;
import static org.bytedeco.cuda.global.cublas.cublasGemmStridedBatchedEx;
import static org.bytedeco.cuda.global.cublas.cublasSetStream_v2;
import static org.bytedeco.cuda.global.cublas.cublasSetWorkspace_v2;
import static org.bytedeco.cuda.global.cudart.CUDA_R_16BF;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;
import static org.bytedeco.cuda.global.cudart.CUDA_R_64F;
import static org.bytedeco.cuda.global.cudart.cuDeviceGet;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetName;
import static org.bytedeco.cuda.global.cudart.cuInit;
import static org.bytedeco.cuda.global.cudart.cuLaunchKernel;
import static org.bytedeco.cuda.global.cudart.cuModuleGetFunction;
import static org.bytedeco.cuda.global.cudart.cuModuleLoadData;
import static org.bytedeco.cuda.global.cudart.cudaDeviceGetAttribute;
import static org.bytedeco.cuda.global.cudart.cudaDriverGetVersion;
import static org.bytedeco.cuda.global.cudart.cudaFree;
import static org.bytedeco.cuda.global.cudart.cudaGetDeviceCount;
import static org.bytedeco.cuda.global.cudart.cudaGetErrorString;
import static org.bytedeco.cuda.global.cudart.cudaGetLastError;
import static org.bytedeco.cuda.global.cudart.cudaHostAlloc;
import static org.bytedeco.cuda.global.cudart.cudaHostAllocDefault;
import static org.bytedeco.cuda.global.cudart.cudaMalloc;
import static org.bytedeco.cuda.global.cudart.cudaMemGetInfo;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyAsync;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyDeviceToHost;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyHostToDevice;
import static org.bytedeco.cuda.global.cudart.cudaSetDevice;
import static org.bytedeco.cuda.global.cudart.cudaStreamCreateWithFlags;
import static org.bytedeco.cuda.global.cudart.cudaStreamNonBlocking;
import static org.bytedeco.cuda.global.cudart.cudaStreamSynchronize;
import static org.bytedeco.cuda.global.nvrtc.nvrtcCompileProgram;
import static org.bytedeco.cuda.global.nvrtc.nvrtcCreateProgram;
import static org.bytedeco.cuda.global.nvrtc.nvrtcDestroyProgram;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetCUBIN;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetCUBINSize;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetErrorString;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetProgramLog;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetProgramLogSize;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.cuda.cublas.cublasContext;
import org.bytedeco.cuda.cudart.CUfunc_st;
import org.bytedeco.cuda.cudart.CUmod_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.nvrtc._nvrtcProgram;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * All that is called of CUDA, for one GPU: its runtime, its driver, cuBLAS and NVRTC. Everything
 * runs in one stream, in the order in which it is called, whichever thread calls.
 *
 * <p>A function that the installed library does not have ends the process, so nothing else calls
 * CUDA. Those called here are in CUDA 13.0.
 */
final class CudaCalls {
  /** Threads of a block of every kernel. */
  private static final int BLOCK = 256;

  /** Blocks of an element-wise kernel for each multiprocessor: what keeps it busy. */
  private static final int BLOCKS_PER_MULTIPROCESSOR = 16;

  /** What cuBLAS may use on its way; NVIDIA recommends so much for Hopper. */
  private static final long WORKSPACE_BYTES = 32L << 20;

  private static final int OUT_OF_MEMORY = 2;
  private static final int INSUFFICIENT_DRIVER = 35;
  private static final int NO_DEVICE = 100;
  private static final int COMPUTE_CAPABILITY_MAJOR = 75;
  private static final int COMPUTE_CAPABILITY_MINOR = 76;
  private static final int MULTIPROCESSORS = 16;

  private static final ThreadLocal<int[]> DEVICE_OF_THREAD =
      ThreadLocal.withInitial(() -> new int[] {-1});

  private final int index;
  private final String name;
  private final String architecture;
  private final int mostBlocks;
  private final CUstream_st stream = new CUstream_st();
  private final cublasContext blas = new cublasContext();
  private final Map<DType, CUmod_st> modules = new EnumMap<>(DType.class);
  private final Map<DType, Map<String, CUfunc_st>> functions =
      Map.of(DType.FLOAT, new ConcurrentHashMap<>(), DType.DOUBLE, new ConcurrentHashMap<>());
  private final ThreadLocal<Launch> launches = ThreadLocal.withInitial(Launch::new);

  /**
   * Opens a GPU.
   *
   * @throws IllegalArgumentException with the reason if it cannot be used
   */
  CudaCalls(int index) {
    CudaLibraries.load();
    int count = deviceCount();
    requireArgument(
        index < count,
        "there is no cuda:%d: this machine has %d GPU%s",
        index,
        count,
        count == 1 ? "" : "s");
    this.index = index;
    this.name = nameOf(index);
    check(cudaSetDevice(index), "be chosen");
    check(cudaFree(new Pointer()), "be opened"); // the driver's calls need the context it makes
    this.architecture =
        "" + attribute(COMPUTE_CAPABILITY_MAJOR) + attribute(COMPUTE_CAPABILITY_MINOR);
    this.mostBlocks = attribute(MULTIPROCESSORS) * BLOCKS_PER_MULTIPROCESSOR;
    check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "make a stream");
    checkProduct(cublasCreate_v2(blas));
    checkProduct(cublasSetStream_v2(blas, stream));
    long workspace = allocate(WORKSPACE_BYTES);
    requireArgument(workspace != 0, "%s has no memory left", this);
    checkProduct(cublasSetWorkspace_v2(blas, at(workspace), WORKSPACE_BYTES));
  }

  private static int deviceCount() {
    int[] count = new int[1];
    int[] version = new int[1];
    int result = cudaGetDeviceCount(count);
    cudaDriverGetVersion(version);
    requireArgument(
        result != INSUFFICIENT_DRIVER || version[0] > 0, "no NVIDIA driver works on this machine");
    requireArgument(
        result != INSUFFICIENT_DRIVER,
        "the NVIDIA driver is too old: it knows CUDA %d.%d, and CUDA 13 is needed",
        version[0] / 1000,
        version[0] % 1000 / 10);
    requireArgument(
        result != NO_DEVICE && (result != 0 || count[0] > 0),
        "this machine has an NVIDIA driver, but no NVIDIA GPU");
    requireArgument(
        result == 0,
        "the NVIDIA driver does not answer: %s (%d)",
        cudaGetErrorString(result).getString(),
        result);
    return count[0];
  }

  /** For messages: what else is wrong is said when it is used. */
  private static String nameOf(int index) {
    int[] ordinal = new int[1];
    byte[] bytes = new byte[256];
    boolean isKnown =
        cuInit(0) == 0
            && cuDeviceGet(ordinal, index) == 0
            && cuDeviceGetName(bytes, bytes.length, ordinal[0]) == 0;
    return isKnown
        ? new String(bytes, StandardCharsets.UTF_8).replace("\0", "").strip()
        : "of unknown name";
  }

  private int attribute(int which) {
    int[] value = new int[1];
    check(cudaDeviceGetAttribute(value, which, index), "be asked");
    return value[0];
  }

  /** The device and the driver give the same numbers for the same errors. */
  private void check(int result, String action) {
    requireState(
        result == 0,
        "%s could not %s: %s (%d). If it does not answer again, the program must be started anew",
        this,
        action,
        result == 0 ? "" : cudaGetErrorString(result).getString(),
        result);
  }

  private void checkProduct(int result) {
    requireState(result == 0, "%s could not multiply matrices: cuBLAS gave %d", this, result);
  }

  /** Calls of this thread go to this GPU. */
  private void choose() {
    int[] chosen = DEVICE_OF_THREAD.get();
    if (chosen[0] != index) {
      check(cudaSetDevice(index), "be chosen");
      chosen[0] = index;
    }
  }

  /** A pointer to an address of the GPU. */
  private static final class Address extends Pointer {
    Address(long address) {
      this.address = address;
    }
  }

  private static Pointer at(long address) {
    return new Address(address);
  }

  // ---- memory ------------------------------------------------------------------------------

  /** {@return the address of new memory, or 0 if there is none left} */
  long allocate(long bytes) {
    choose();
    Pointer pointer = new Pointer();
    int result = cudaMalloc(pointer, bytes);
    if (result == OUT_OF_MEMORY) {
      cudaGetLastError(); // or the next call would tell of it again
      return 0;
    }
    check(result, "give memory");
    return pointer.address();
  }

  void free(long address) {
    choose();
    check(cudaFree(at(address)), "take memory back");
  }

  /** {@return bytes that are free on the GPU, and those it has} */
  long[] memory() {
    choose();
    try (SizeTPointer free = new SizeTPointer(1);
        SizeTPointer total = new SizeTPointer(1)) {
      check(cudaMemGetInfo(free, total), "tell its memory");
      return new long[] {free.get(), total.get()};
    }
  }

  /**
   * Memory of the machine that the GPU copies to and from without help.
   *
   * @param address where it begins
   * @param bytes all of it, in native order
   */
  record Pinned(long address, ByteBuffer bytes) {}

  Pinned pin(int bytes) {
    choose();
    BytePointer pointer = new BytePointer();
    check(cudaHostAlloc(pointer, bytes, cudaHostAllocDefault), "pin memory of the machine");
    pointer.capacity(bytes);
    return new Pinned(pointer.address(), pointer.asByteBuffer().order(ByteOrder.nativeOrder()));
  }

  /** Copies from pinned memory, which must stay as it is until {@link #synchronise}. */
  void copyIn(Pinned from, int start, long to, long bytes) {
    choose();
    Pointer source = at(from.address + start);
    check(cudaMemcpyAsync(at(to), source, bytes, cudaMemcpyHostToDevice, stream), "be written");
  }

  /** Copies to pinned memory, where it is after {@link #synchronise}. */
  void copyOut(long from, Pinned to, long bytes) {
    choose();
    Pointer target = at(to.address);
    check(cudaMemcpyAsync(target, at(from), bytes, cudaMemcpyDeviceToHost, stream), "be read");
  }

  /** Waits until all that was called is done. */
  void synchronise() {
    choose();
    check(cudaStreamSynchronize(stream), "compute");
  }

  // ---- kernels -----------------------------------------------------------------------------

  /** Begins a call of a kernel: its arguments follow, in their order, then how many threads. */
  Launch kernel(DType dtype, String kernel) {
    Launch launch = launches.get();
    launch.function = function(dtype, kernel);
    launch.kernel = kernel;
    launch.isFloat = dtype == DType.FLOAT;
    launch.count = 0;
    return launch;
  }

  /** Arguments of a kernel, in memory that is written anew for each call of a thread. */
  final class Launch {
    private static final int SLOTS = 64;

    private final LongPointer slots = new LongPointer(SLOTS);
    private final PointerPointer<Pointer> arguments = new PointerPointer<>(SLOTS);
    private final ByteBuffer bytes = slots.asByteBuffer().order(ByteOrder.nativeOrder());
    private CUfunc_st function = new CUfunc_st();
    private String kernel = "";
    private boolean isFloat;
    private int count;

    private Launch() {
      for (int i = 0; i < SLOTS; i++) {
        arguments.put(i, slots.getPointer(i));
      }
    }

    private int next() {
      return Long.BYTES * count++;
    }

    /** Memory of the GPU, or 0 for none. */
    Launch address(long address) {
      bytes.putLong(next(), address);
      return this;
    }

    Launch whole(int value) {
      bytes.putInt(next(), value);
      return this;
    }

    Launch whole(long value) {
      bytes.putLong(next(), value);
      return this;
    }

    /** Of the element type that the kernel is for. */
    Launch number(double value) {
      if (isFloat) {
        bytes.putFloat(next(), (float) value);
      } else {
        bytes.putDouble(next(), value);
      }
      return this;
    }

    /** The last argument. */
    Launch box(Box box) {
      int axes = 7;
      requireArgument(
          box.rank() <= axes,
          "tensors whose axes lie in %d different ways are more than the %d that a GPU is told of",
          box.rank(),
          axes);
      int from = next();
      bytes.putInt(from, box.rank());
      int strides = from + Integer.BYTES * (1 + axes);
      for (int axis = 0; axis < box.rank(); axis++) {
        bytes.putInt(from + Integer.BYTES * (1 + axis), box.size(axis));
        bytes.putLong(strides + Long.BYTES * axis, box.stride(0, axis));
        bytes.putLong(strides + Long.BYTES * (axes + axis), box.stride(1, axis));
      }
      return this;
    }

    /** One thread for each element, or as many as the GPU can run. */
    void each(long elements) {
      blocks(Math.min(mostBlocks, (elements + BLOCK - 1) / BLOCK));
    }

    /** One block for each row. */
    void blocks(long rows) {
      if (rows == 0) {
        return;
      }
      choose();
      int result =
          cuLaunchKernel(
              function,
              (int) rows,
              1,
              1,
              BLOCK,
              1,
              1,
              0,
              stream,
              arguments,
              (PointerPointer<?>) null);
      if (result != 0) {
        check(result, "run " + kernel);
      }
    }
  }

  private CUfunc_st function(DType dtype, String kernel) {
    Map<String, CUfunc_st> known = requirePresent(functions.get(dtype), "no kernels of %s", dtype);
    CUfunc_st function = known.get(kernel);
    return function != null ? function : findFunction(dtype, kernel, known);
  }

  private synchronized CUfunc_st findFunction(
      DType dtype, String kernel, Map<String, CUfunc_st> known) {
    choose();
    CUmod_st module = modules.computeIfAbsent(dtype, this::module);
    CUfunc_st function = new CUfunc_st();
    check(cuModuleGetFunction(function, module, kernel), "find " + kernel);
    known.put(kernel, function);
    return function;
  }

  private CUmod_st module(DType dtype) {
    CudaSource source = CudaSource.of(dtype, architecture);
    CUmod_st module = new CUmod_st();
    byte[] kept = source.kept();
    if (kept.length > 0 && cuModuleLoadData(module, new BytePointer(kept)) == 0) {
      return module;
    }
    byte[] compiled = compile(source);
    check(cuModuleLoadData(module, new BytePointer(compiled)), "load kernels");
    source.keep(compiled);
    return module;
  }

  private byte[] compile(CudaSource source) {
    String[] options = source.options();
    _nvrtcProgram program = new _nvrtcProgram();
    try (BytePointer text = new BytePointer(source.text());
        BytePointer file = new BytePointer(CudaSource.FILE);
        PointerPointer<BytePointer> flags = new PointerPointer<>(options);
        SizeTPointer size = new SizeTPointer(1)) {
      PointerPointer<?> none = null;
      checkCompiled(nvrtcCreateProgram(program, text, file, 0, none, none), "");
      int result = nvrtcCompileProgram(program, options.length, flags);
      if (result != 0) {
        nvrtcGetProgramLogSize(program, size);
        byte[] log = new byte[(int) size.get()];
        nvrtcGetProgramLog(program, log);
        checkCompiled(result, new String(log, StandardCharsets.UTF_8).replace("\0", "").strip());
      }
      checkCompiled(nvrtcGetCUBINSize(program, size), "");
      byte[] cubin = new byte[(int) size.get()];
      checkCompiled(nvrtcGetCUBIN(program, cubin), "");
      nvrtcDestroyProgram(program);
      return cubin;
    }
  }

  private void checkCompiled(int result, String log) {
    requireState(
        result == 0,
        "kernels could not be compiled for %s: %s (%d) %s",
        this,
        result == 0 ? "" : nvrtcGetErrorString(result).getString(),
        result,
        log);
  }

  // ---- matrix products ---------------------------------------------------------------------

  /** How the numbers of a product's operands are stored. */
  enum Stored {
    FLOAT(CUDA_R_32F),
    DOUBLE(CUDA_R_64F),
    BF16(CUDA_R_16BF);

    private final int code;

    Stored(int code) {
      this.code = code;
    }

    static Stored of(DType dtype) {
      return dtype == DType.FLOAT ? FLOAT : DOUBLE;
    }
  }

  /**
   * Row-major matrices that follow each other evenly.
   *
   * @param address of the first
   * @param stride from one stored row to the next, in elements
   * @param step from one matrix to the next, in elements
   * @param transposed whether the stored rows are the columns
   */
  record Matrices(long address, int stride, long step, boolean transposed) {
    private int operation() {
      return transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    }
  }

  private static final Pointer FLOAT_ZERO = new FloatPointer(0f);
  private static final Pointer FLOAT_ONE = new FloatPointer(1f);
  private static final Pointer DOUBLE_ZERO = new DoublePointer(0d);
  private static final Pointer DOUBLE_ONE = new DoublePointer(1d);

  /**
   * out = x y (+ out): [m, k] by [k, n], {@code count} times. Products of BF16 are added in FLOAT.
   *
   * @param stored what x and y are; {@code out} is FLOAT, or DOUBLE with them
   */
  void multiply(
      Stored stored,
      Matrices x,
      Matrices y,
      Matrices out,
      boolean accumulate,
      int m,
      int n,
      int k,
      int count) {
    choose();
    boolean isFloat = stored != Stored.DOUBLE;
    Pointer one = isFloat ? FLOAT_ONE : DOUBLE_ONE;
    Pointer zero = isFloat ? FLOAT_ZERO : DOUBLE_ZERO;
    Pointer rest = accumulate ? one : zero;
    int result = isFloat ? CUDA_R_32F : CUDA_R_64F;
    int compute =
        switch (stored) {
          case FLOAT -> CUBLAS_COMPUTE_32F_PEDANTIC; // never in TF32, whatever the environment says
          case DOUBLE -> CUBLAS_COMPUTE_64F_PEDANTIC;
          case BF16 -> CUBLAS_COMPUTE_32F;
        };
    // cuBLAS is column-major: it is given the transposes, which are what lies there
    synchronized (blas) {
      checkProduct(
          count == 1
              ? cublasGemmEx(
                  blas,
                  y.operation(),
                  x.operation(),
                  n,
                  m,
                  k,
                  one,
                  at(y.address),
                  stored.code,
                  y.stride,
                  at(x.address),
                  stored.code,
                  x.stride,
                  rest,
                  at(out.address),
                  result,
                  out.stride,
                  compute,
                  CUBLAS_GEMM_DEFAULT)
              : cublasGemmStridedBatchedEx(
                  blas,
                  y.operation(),
                  x.operation(),
                  n,
                  m,
                  k,
                  one,
                  at(y.address),
                  stored.code,
                  y.stride,
                  y.step,
                  at(x.address),
                  stored.code,
                  x.stride,
                  x.step,
                  rest,
                  at(out.address),
                  result,
                  out.stride,
                  out.step,
                  count,
                  compute,
                  CUBLAS_GEMM_DEFAULT));
    }
  }

  @Override
  public String toString() {
    return "cuda:" + index + " (" + name + ")";
  }
}

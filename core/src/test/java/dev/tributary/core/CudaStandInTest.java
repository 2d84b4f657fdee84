package dev.tributary.core;

import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.*;
import static org.bytedeco.cuda.global.nvrtc.*;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import java.util.concurrent.CompletableFuture;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AddLifecycleHook;
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
import org.bytedeco.javacpp.ShortPointer;
import org.bytedeco.javacpp.SizeTPointer;

/** The stand-ins compute what NVIDIA's libraries would, and refuse what is wrong. */
@AddLifecycleHook(CudaStandIn.Only.class)
class CudaStandInTest {
  private static final int BLOCK = 256;
  private static final int INVALID_VALUE = 1;
  private static final int OUT_OF_MEMORY = 2;
  private static final int INVALID_CONTEXT = 201;
  private static final int INVALID_HANDLE = 400;
  private static final int NOT_FOUND = 500;
  private static final int ILLEGAL_ADDRESS = 700;
  private static final int MISALIGNED_ADDRESS = 716;
  private static final int LAUNCH_FAILURE = 719;
  private static final int EXECUTION_FAILED = 13;

  /** One of the devices with what is called on it. */
  private static final class Gpu {
    private static final Gpu[] ALL = {null, null};

    final CUstream_st stream = new CUstream_st();
    final CUmod_st[] modules = {new CUmod_st(), new CUmod_st()};
    final cublasContext blas = new cublasContext();

    private Gpu(int index) {
      ok(cudaSetDevice(index));
      ok(cuInit(0));
      ok(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
      for (DType dtype : DType.values()) {
        CudaSource source = CudaSource.of(dtype, "99");
        byte[] cubin = compile(source.text(), source.options());
        ok(cuModuleLoadData(module(dtype), new BytePointer(cubin)));
      }
      ok(cublasCreate_v2(blas));
      ok(cublasSetStream_v2(blas, stream));
    }

    static synchronized Gpu of(int index) {
      CudaLibraries.load();
      if (ALL[index] == null) {
        ALL[index] = new Gpu(index);
      }
      ok(cudaSetDevice(index));
      return ALL[index];
    }

    CUmod_st module(DType dtype) {
      return modules[dtype == DType.FLOAT ? 0 : 1];
    }

    int launch(DType dtype, String kernel, int rows, int threads, Object... arguments) {
      CUfunc_st function = new CUfunc_st();
      int found = cuModuleGetFunction(function, module(dtype), kernel);
      return found != 0 ? found : launch(function, rows, threads, arguments);
    }

    int launch(CUfunc_st function, int rows, int threads, Object... arguments) {
      LongPointer values = new LongPointer(8);
      PointerPointer<Pointer> table = new PointerPointer<>(8);
      for (int i = 0; i < arguments.length; i++) {
        boolean isPointer = arguments[i] instanceof Pointer;
        long value =
            isPointer ? ((Pointer) arguments[i]).address() : ((Number) arguments[i]).longValue();
        table.put(i, values.put(i, value).getPointer(i));
      }
      PointerPointer<?> none = null;
      return cuLaunchKernel(function, rows, 1, 1, threads, 1, 1, 0, stream, table, none);
    }

    FloatPointer floats(int count) {
      FloatPointer pointer = new FloatPointer();
      ok(cudaMalloc(pointer, 4L * count));
      return pointer;
    }

    FloatPointer floats(float... values) {
      FloatPointer pointer = floats(values.length);
      ok(cudaMemcpyAsync(pointer, new FloatPointer(values), 4L * values.length, 1, stream));
      return pointer;
    }

    float[] read(FloatPointer from, int count) {
      FloatPointer host = new FloatPointer(count);
      ok(cudaMemcpyAsync(host, from, 4L * count, cudaMemcpyDeviceToHost, stream));
      float[] values = new float[count];
      host.get(values);
      return values;
    }

    int synchronise() {
      return cudaStreamSynchronize(stream);
    }
  }

  private static void ok(int code) {
    assertEquals(0, code);
  }

  private static byte[] compile(String text, String... options) {
    _nvrtcProgram program = new _nvrtcProgram();
    PointerPointer<?> none = null;
    ok(nvrtcCreateProgram(program, new BytePointer(text), new BytePointer("k"), 0, none, none));
    int code = nvrtcCompileProgram(program, options.length, new PointerPointer<>(options));
    SizeTPointer size = new SizeTPointer(1);
    ok(nvrtcGetCUBINSize(program, size));
    byte[] cubin = new byte[(int) size.get()];
    ok(nvrtcGetCUBIN(program, cubin));
    ok(nvrtcDestroyProgram(program));
    return code == 0 ? cubin : new byte[] {(byte) code};
  }

  @Example
  void compile_onlyTheKernelsForItsArchitecture() {
    Gpu.of(0);
    CudaSource source = CudaSource.of(DType.FLOAT, "99");
    assertTrue(compile(source.text(), source.options()).length > 1);
    assertArrayEquals(new byte[] {6}, compile(source.text() + " ", source.options()));
    String[] otherType = {"--gpu-architecture=sm_99", "-DREAL=half"};
    assertArrayEquals(new byte[] {5}, compile(source.text(), otherType));
    String[] otherArchitecture = {"--gpu-architecture=sm_90", "-DREAL=float"};
    assertArrayEquals(new byte[] {5}, compile(source.text(), otherArchitecture));
  }

  @Example
  void launch_rows_sumWhatTheirThreadsHave() {
    Gpu gpu = Gpu.of(1);
    float[] values = new float[2 * BLOCK];
    float[] sums = new float[2];
    for (int i = 0; i < values.length; i++) {
      values[i] = i % 17 - 5;
      sums[i / BLOCK] += values[i];
    }
    long launches = CudaStandIn.count(CudaStandIn.Count.LAUNCHES);
    FloatPointer out = gpu.floats(values.length);
    ok(gpu.launch(DType.FLOAT, "right_sum", 2, BLOCK, gpu.floats(values), out));
    ok(gpu.synchronise());
    float[] got = gpu.read(out, values.length);
    for (int i = 0; i < values.length; i++) {
      assertEquals(sums[i / BLOCK], got[i]);
    }
    assertEquals(launches + 1, CudaStandIn.count(CudaStandIn.Count.LAUNCHES));
  }

  @Example
  void launch_doubles_areOfTheirOwnModule() {
    Gpu gpu = Gpu.of(0);
    DoublePointer out = new DoublePointer();
    ok(cudaMalloc(out, 8L * 3));
    ok(gpu.launch(DType.DOUBLE, "fill", 1, BLOCK, out, Double.doubleToRawLongBits(0.1), 3));
    DoublePointer host = new DoublePointer(3);
    ok(cudaMemcpyAsync(host, out, 8L * 3, cudaMemcpyDeviceToHost, gpu.stream));
    assertEquals(0.1, host.get(2));
  }

  @Example
  void launch_wrongBlockGridOrName_isRefused() {
    Gpu gpu = Gpu.of(0);
    FloatPointer out = gpu.floats(BLOCK);
    assertEquals(INVALID_VALUE, gpu.launch(DType.FLOAT, "right_sum", 1, 128, out, out));
    assertEquals(INVALID_VALUE, gpu.launch(DType.FLOAT, "right_sum", 0, BLOCK, out, out));
    assertEquals(NOT_FOUND, gpu.launch(DType.FLOAT, "wrong_sum", 1, BLOCK, out, out));
  }

  @Example
  void launch_threadsThatMissOthers_fails() {
    Gpu gpu = Gpu.of(0);
    FloatPointer out = gpu.floats(BLOCK);
    assertEquals(LAUNCH_FAILURE, gpu.launch(DType.FLOAT, "fault_waits", 1, BLOCK, out));
    assertEquals(LAUNCH_FAILURE, gpu.launch(DType.FLOAT, "fault_block", 1, BLOCK, out));
    assertEquals(LAUNCH_FAILURE, gpu.launch(DType.FLOAT, "fault_warp", 1, BLOCK, out));
    ok(gpu.launch(DType.FLOAT, "right_sum", 1, BLOCK, out, out)); // and the next is right
  }

  @Example
  void launch_missingBarrier_isSeen() {
    Gpu gpu = Gpu.of(0);
    FloatPointer out = gpu.floats(2 * BLOCK);
    ok(gpu.launch(DType.FLOAT, "fault_order", 2, BLOCK, out));
    float[] values = gpu.read(out, 2 * BLOCK);
    assertEquals(0, values[BLOCK - 1]); // forwards the first thread writes before the others read
    assertTrue(Float.isNaN(values[2 * BLOCK - 1])); // and backwards after them
  }

  @Example
  void launch_writesAroundItsMemory_isToldWhenWaitedFor() {
    Gpu gpu = Gpu.of(0);
    FloatPointer out = gpu.floats(3);
    ok(gpu.launch(DType.FLOAT, "fault_behind", 1, BLOCK, out, 3));
    assertEquals(LAUNCH_FAILURE, gpu.synchronise());
    ok(gpu.synchronise());
    ok(gpu.launch(DType.FLOAT, "fault_before", 1, BLOCK, out));
    assertEquals(LAUNCH_FAILURE, cudaFree(out));
    ok(gpu.synchronise());
  }

  @Example
  void launch_memoryThatIsNotItsOwn_isRefused() {
    FloatPointer there = Gpu.of(1).floats(BLOCK);
    Gpu gpu = Gpu.of(0);
    FloatPointer here = gpu.floats(BLOCK);
    String kernel = "right_sum";
    assertEquals(ILLEGAL_ADDRESS, gpu.launch(DType.FLOAT, kernel, 1, BLOCK, there, here));
    FloatPointer host = new FloatPointer(BLOCK);
    assertEquals(ILLEGAL_ADDRESS, gpu.launch(DType.FLOAT, kernel, 1, BLOCK, here, host));
    Pointer odd = new BytePointer(here).getPointer(2);
    assertEquals(MISALIGNED_ADDRESS, gpu.launch(DType.FLOAT, kernel, 1, BLOCK, here, odd));
    FloatPointer freed = gpu.floats(BLOCK);
    ok(cudaFree(freed));
    assertEquals(ILLEGAL_ADDRESS, gpu.launch(DType.FLOAT, kernel, 1, BLOCK, here, freed));
    assertEquals(INVALID_VALUE, cudaFree(freed));
  }

  @Example
  void launch_wrongDeviceOrNone_isRefused() {
    Gpu there = Gpu.of(1);
    Gpu here = Gpu.of(0);
    FloatPointer out = here.floats(BLOCK);
    CUfunc_st function = new CUfunc_st();
    ok(cuModuleGetFunction(function, here.module(DType.FLOAT), "right_sum"));
    assertEquals(INVALID_HANDLE, there.launch(function, 1, BLOCK, out, out));
    assertEquals(INVALID_HANDLE, there.synchronise());
    int alone =
        CompletableFuture.supplyAsync(() -> here.launch(function, 1, BLOCK, out, out)).join();
    assertEquals(INVALID_CONTEXT, alone);
  }

  @Example
  void memory_new_isNotANumber() {
    Gpu gpu = Gpu.of(0);
    for (float value : gpu.read(gpu.floats(100), 100)) {
      assertTrue(Float.isNaN(value));
    }
  }

  @Example
  void memory_ofADevice_hasALimit() {
    Gpu gpu = Gpu.of(0);
    SizeTPointer free = new SizeTPointer(1);
    SizeTPointer total = new SizeTPointer(1);
    ok(cudaMemGetInfo(free, total));
    long used = total.get() - free.get();
    try {
      CudaStandIn.limitMemory(used + 1000);
      ok(cudaMemGetInfo(free, total));
      assertEquals(1000, free.get());
      FloatPointer most = gpu.floats(250);
      assertEquals(OUT_OF_MEMORY, cudaMalloc(new FloatPointer(), 1));
      assertEquals(OUT_OF_MEMORY, cudaGetLastError());
      ok(cudaGetLastError());
      ok(cudaFree(most));
      ok(cudaFree(gpu.floats(1)));
    } finally {
      CudaStandIn.limitMemory(4L << 30);
    }
  }

  @Example
  void copy_pinnedMemory_isThereWhenWaitedFor() {
    Gpu gpu = Gpu.of(0);
    FloatPointer device = gpu.floats(1, 2, 3);
    FloatPointer host = new FloatPointer();
    ok(cudaHostAlloc(host, 12, cudaHostAllocDefault));
    host.capacity(3);
    ok(cudaMemcpyAsync(host, device, 12, cudaMemcpyDeviceToHost, gpu.stream));
    assertTrue(Float.isNaN(host.get(1)));
    ok(gpu.synchronise());
    assertEquals(2, host.get(1));
    ok(cudaMemcpyAsync(device, host, 12, cudaMemcpyHostToDevice, gpu.stream));
    ok(cudaMemcpyAsync(host, device, 12, cudaMemcpyDeviceToHost, gpu.stream)); // in this order
    ok(gpu.synchronise());
    ok(cudaMemcpyAsync(device, host, 12, cudaMemcpyHostToDevice, gpu.stream));
    host.put(1, 5);
    assertEquals(LAUNCH_FAILURE, gpu.synchronise());
    assertEquals(INVALID_VALUE, cudaMemcpyAsync(host, device, 16, 2, gpu.stream));
    ok(cudaFreeHost(host));
  }

  @Example
  void copy_memoryThatIsNotItsOwn_isRefused() {
    Gpu other = Gpu.of(1);
    FloatPointer there = other.floats(2);
    Gpu gpu = Gpu.of(0);
    FloatPointer here = gpu.floats(2);
    FloatPointer host = new FloatPointer(4);
    assertEquals(INVALID_VALUE, cudaMemcpyAsync(there, host, 8, 1, gpu.stream));
    assertEquals(INVALID_VALUE, cudaMemcpyAsync(here, host, 9, 1, gpu.stream));
    assertEquals(INVALID_VALUE, cudaMemcpyAsync(here, here, 8, 1, gpu.stream));
    assertEquals(INVALID_VALUE, cudaMemcpyAsync(host, here, 8, 1, gpu.stream));
    assertEquals(INVALID_HANDLE, cudaMemcpyAsync(here, host, 8, 1, other.stream));
  }

  /** All transposes, types, factors, distances of columns and batches. */
  @Property(tries = 300)
  void product_isTheSumOfProducts(
      @ForAll long seed,
      @ForAll boolean aTurned,
      @ForAll boolean bTurned,
      @ForAll @IntRange(max = 9) int m,
      @ForAll @IntRange(min = 1, max = 9) int n,
      @ForAll @IntRange(max = 9) int k,
      @ForAll @IntRange(min = 1, max = 3) int count,
      @ForAll @IntRange(max = 2) int kind) {
    Gpu gpu = Gpu.of(seed % 2 == 0 ? 0 : 1);
    Random random = new Random(seed);
    Factor a = new Factor(aTurned ? k : m, aTurned ? m : k, kind, count, random);
    Factor b = new Factor(bTurned ? n : k, bTurned ? k : n, kind, count, random);
    Factor c = new Factor(m, n, kind == 2 ? 0 : kind, count, random);
    double alpha = random.nextInt(5) - 2;
    double beta = random.nextInt(3) - 1;
    double[] expected = c.values.clone();
    for (int q = 0; q < count; q++) {
      for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
          double sum = 0;
          for (int l = 0; l < k; l++) {
            sum +=
                a.values[aTurned ? a.at(q, l, i) : a.at(q, i, l)]
                    * b.values[bTurned ? b.at(q, j, l) : b.at(q, l, j)];
          }
          expected[c.at(q, i, j)] = alpha * sum + beta * c.values[c.at(q, i, j)];
        }
      }
    }
    Pointer out = c.upload(gpu);
    Pointer one = kind == 1 ? new DoublePointer(alpha) : new FloatPointer((float) alpha);
    Pointer rest = kind == 1 ? new DoublePointer(beta) : new FloatPointer((float) beta);
    int compute = kind == 1 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
    int code =
        cublasGemmStridedBatchedEx(
            gpu.blas,
            aTurned ? CUBLAS_OP_T : CUBLAS_OP_N,
            bTurned ? CUBLAS_OP_T : CUBLAS_OP_N,
            m,
            n,
            k,
            one,
            a.upload(gpu),
            a.type(),
            a.leading,
            a.stride,
            b.upload(gpu),
            b.type(),
            b.leading,
            b.stride,
            rest,
            out,
            c.type(),
            c.leading,
            c.stride,
            count,
            compute,
            CUBLAS_GEMM_DEFAULT);
    ok(code);
    ok(gpu.synchronise());
    assertArrayEquals(expected, c.download(gpu, out), 1e-9); // exact: whole numbers
  }

  /** Matrices of small whole numbers, stored by columns: F32 (0), F64 (1) or BF16 (2). */
  private static final class Factor {
    final int leading;
    final long stride;
    final int kind;
    final double[] values;

    Factor(int rows, int columns, int kind, int count, Random random) {
      this.kind = kind;
      this.leading = Math.max(1, rows + random.nextInt(2));
      this.stride = (long) leading * columns + random.nextInt(2);
      this.values = new double[(int) (count * stride) + 1];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextInt(9) - 4;
      }
    }

    int at(int q, int row, int column) {
      return (int) (q * stride) + column * leading + row;
    }

    int type() {
      return new int[] {CUDA_R_32F, CUDA_R_64F, CUDA_R_16BF}[kind];
    }

    private Pointer host() {
      if (kind == 1) {
        return new DoublePointer(values);
      }
      FloatPointer floats = new FloatPointer(values.length);
      ShortPointer halves = new ShortPointer(values.length);
      for (int i = 0; i < values.length; i++) {
        floats.put(i, (float) values[i]);
        halves.put(i, (short) (Float.floatToRawIntBits((float) values[i]) >> 16));
      }
      return kind == 0 ? floats : halves;
    }

    private long bytes() {
      return values.length * new long[] {4, 8, 2}[kind];
    }

    Pointer upload(Gpu gpu) {
      Pointer pointer = new Pointer();
      ok(cudaMalloc(pointer, bytes()));
      ok(cudaMemcpyAsync(pointer, host(), bytes(), cudaMemcpyHostToDevice, gpu.stream));
      return pointer;
    }

    double[] download(Gpu gpu, Pointer from) {
      Pointer host = host();
      ok(cudaMemcpyAsync(host, from, bytes(), cudaMemcpyDeviceToHost, gpu.stream));
      double[] numbers = new double[values.length];
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] = kind == 1 ? new DoublePointer(host).get(i) : new FloatPointer(host).get(i);
      }
      return numbers;
    }
  }

  @Example
  void product_beyondItsMemory_isRefused() {
    FloatPointer there = Gpu.of(1).floats(6);
    Gpu gpu = Gpu.of(0);
    FloatPointer a = gpu.floats(1, 2, 3, 4, 5, 6);
    assertEquals(0, square(gpu, a, a, 2));
    assertEquals(EXECUTION_FAILED, square(gpu, a, a, 3));
    assertEquals(EXECUTION_FAILED, square(gpu, a, there, 2));
    assertEquals(EXECUTION_FAILED, square(gpu, new FloatPointer(6), a, 2));
  }

  private static int square(Gpu gpu, Pointer a, Pointer out, int n) {
    int type = CUDA_R_32F;
    Pointer one = new FloatPointer(1f);
    int rows = CUBLAS_OP_N;
    return cublasGemmEx(
        gpu.blas,
        rows,
        rows,
        n,
        n,
        n,
        one,
        a,
        type,
        n,
        a,
        type,
        n,
        one,
        out,
        type,
        n,
        CUBLAS_COMPUTE_32F,
        CUBLAS_GEMM_DEFAULT);
  }
}

package dev.tributary.core;

import static dev.tributary.core.Checks.requireState;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_DST;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SRC;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_WEIGHTS;
import static org.bytedeco.dnnl.global.dnnl.dnnl_bf16;
import static org.bytedeco.dnnl.global.dnnl.dnnl_cpu;
import static org.bytedeco.dnnl.global.dnnl.dnnl_f32;

import java.util.HashMap;
import java.util.Map;
import org.bytedeco.dnnl.const_dnnl_op_desc_t;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_matmul_desc_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc_t;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.Pointer;

/**
 * Matrix products of BF16 by oneDNN, added up in FLOAT. Where a processor has units for them (AMX),
 * three of them are faster than one of FLOAT, and elsewhere many times slower.
 */
final class OneDnnBf16 {
  /** Whether this processor computes them at all. */
  static final boolean POSSIBLE = has(dnnl.dnnl_cpu_isa_avx512_core, dnnl.dnnl_cpu_isa_avx2);

  /** Whether this processor has units for them. */
  static final boolean FAST =
      has(dnnl.dnnl_cpu_isa_avx512_core_amx, dnnl.dnnl_cpu_isa_avx512_core_bf16);

  private record Sizes(int rows, int columns, int inner, int stride) {}

  /**
   * What is made for some sizes. It belongs to the thread that made it: another gets wrong sums.
   */
  private record Product(
      dnnl_primitive primitive,
      dnnl_memory x,
      dnnl_memory y,
      dnnl_memory out,
      dnnl_exec_arg_t args) {}

  private static final ThreadLocal<OneDnnBf16> OWN = ThreadLocal.withInitial(OneDnnBf16::new);

  private final dnnl_engine engine = new dnnl_engine();
  private final dnnl_stream stream = new dnnl_stream();
  private final Map<Sizes, Product> products = new HashMap<>();

  private OneDnnBf16() {
    OneDnn.computeAlone();
    require(dnnl.dnnl_engine_create(engine, dnnl_cpu, 0));
    require(dnnl.dnnl_stream_create(stream, engine, dnnl.dnnl_stream_default_flags));
  }

  /** Whether the processor knows what the one set of instructions has beyond the other. */
  private static boolean has(int set, int beyond) {
    return OneDnn.PRESENT && (dnnl.dnnl_get_effective_cpu_isa() & set & ~beyond) != 0;
  }

  /**
   * out[rows, columns] = x[rows, inner] yᵀ, where y is [columns, inner] and its rows are so many
   * elements apart; the others have no gaps.
   */
  static void product(
      Pointer x, Pointer y, int stride, Pointer out, int rows, int columns, int inner) {
    OneDnnBf16 own = OWN.get();
    Product product =
        own.products.computeIfAbsent(new Sizes(rows, columns, inner, stride), own::make);
    require(dnnl.dnnl_memory_set_data_handle(product.x, x));
    require(dnnl.dnnl_memory_set_data_handle(product.y, y));
    require(dnnl.dnnl_memory_set_data_handle(product.out, out));
    require(
        dnnl.dnnl_primitive_execute(
            product.primitive, own.stream, (int) product.args.capacity(), product.args));
    require(dnnl.dnnl_stream_wait(own.stream));
  }

  private Product make(Sizes sizes) {
    dnnl_memory_desc_t x = matrix(dnnl_bf16, sizes.rows, sizes.inner, sizes.inner, 1);
    dnnl_memory_desc_t y = matrix(dnnl_bf16, sizes.inner, sizes.columns, 1, sizes.stride);
    dnnl_memory_desc_t out = matrix(dnnl_f32, sizes.rows, sizes.columns, sizes.columns, 1);
    dnnl_matmul_desc_t matmul = new dnnl_matmul_desc_t();
    require(dnnl.dnnl_matmul_desc_init(matmul, x, y, null, out));
    dnnl_primitive_desc described = new dnnl_primitive_desc();
    require(
        dnnl.dnnl_primitive_desc_create(
            described,
            new const_dnnl_op_desc_t(matmul),
            new dnnl_primitive_attr((Pointer) null),
            engine,
            new dnnl_primitive_desc((Pointer) null)));
    dnnl_primitive primitive = new dnnl_primitive();
    require(dnnl.dnnl_primitive_create(primitive, described));
    dnnl_exec_arg_t args = new dnnl_exec_arg_t(3);
    dnnl_memory left = memory(x, args, 0, DNNL_ARG_SRC);
    dnnl_memory right = memory(y, args, 1, DNNL_ARG_WEIGHTS);
    dnnl_memory result = memory(out, args, 2, DNNL_ARG_DST);
    args.position(0);
    return new Product(primitive, left, right, result, args);
  }

  private dnnl_memory memory(dnnl_memory_desc_t described, dnnl_exec_arg_t args, int i, int kind) {
    dnnl_memory memory = new dnnl_memory();
    require(dnnl.dnnl_memory_create(memory, described, engine, new Pointer()));
    args.position(i).arg(kind).memory(memory);
    return memory;
  }

  private static dnnl_memory_desc_t matrix(
      int type, long rows, long columns, long rowStride, long columnStride) {
    dnnl_memory_desc_t described = new dnnl_memory_desc_t();
    long[] sizes = {rows, columns};
    long[] strides = {rowStride, columnStride};
    require(dnnl.dnnl_memory_desc_init_by_strides(described, 2, sizes, type, strides));
    return described;
  }

  private static void require(int status) {
    requireState(
        status == dnnl.dnnl_success, "matrix product of BF16: oneDNN refused it (%d)", status);
  }
}

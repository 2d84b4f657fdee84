package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.EnumMap;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Where tensors live and kernels run. What is computed from tensors is computed on the device on
 * which they lie; {@link #during} says where those go that are made of nothing else, and {@link
 * Tensor#to} brings them elsewhere.
 *
 * <p>Memory is recycled: fresh memory costs more than the arithmetic done in it (page faults), so a
 * block whose tensor has died waits here for the next tensor of its size.
 */
public abstract class Device {
  /** Sizes are rounded up to a sixteenth of their power of two, so that similar sizes meet. */
  private static final int STEPS_PER_DOUBLING = 16;

  private static final int SMALLEST = 64;

  /** A block may be so many times as large as it need be, if no other waits that is nearer. */
  private static final double ROOMY = 1.5;

  private static final int PIECE = 4096;

  private static final int TILE = 1 << 18;

  private static final int LEAST_TILE = 1 << 8;

  /** The device of tensors that are made of nothing else, where a thread has another than most. */
  private static final ThreadLocal<@Nullable Device> CURRENT = new ThreadLocal<>();

  private static final Pattern CUDA = Pattern.compile("cuda(?::(\\d{1,4}))?");

  static {
    logThroughSlf4j();
  }

  /** Whether ND4J is on the class path: memory of the processor is its then. */
  static final boolean HAS_ND4J = isOnClassPath("org.nd4j.linalg.factory.Nd4j");

  /** Names the device of every thread that has no other. */
  private static final String PROPERTY = "tributary.device";

  private static volatile @Nullable Device standard;

  Device() {}

  /** What a block is made for, and taken again for. */
  record Size(DType dtype, long elements) {
    /** At least so many elements. */
    static Size of(DType dtype, long length) {
      long step = Math.max(SMALLEST, Long.highestOneBit(length) / STEPS_PER_DOUBLING);
      return new Size(dtype, Math.max(SMALLEST, Math.floorDiv(length + step - 1, step) * step));
    }

    long bytes() {
      return elements * dtype.bytes();
    }
  }

  /** Memory of a tensor, as the kernels of its device know it. */
  interface Block {
    Size size();

    /** Gives it back to whom the device has it from. */
    void free();
  }

  /** By element type and size. */
  private final Map<DType, NavigableMap<Long, Deque<Block>>> waiting = new EnumMap<>(DType.class);

  private long reserved;
  private long used;
  private long made;

  /**
   * JavaCPP would print on standard error that the presets of OpenBLAS and oneDNN are older than
   * itself. Must come before its first class.
   */
  private static void logThroughSlf4j() {
    String property = "org.bytedeco.javacpp.logger";
    if (System.getProperty(property) == null && isOnClassPath("org.slf4j.Logger")) {
      System.setProperty(property, "slf4j");
    }
  }

  private static boolean isOnClassPath(String name) {
    try {
      Class.forName(name, false, Device.class.getClassLoader());
      return true;
    } catch (ClassNotFoundException | LinkageError e) {
      return false;
    }
  }

  /** {@return the processor and the memory of this process} */
  public static Device cpu() {
    Workers.checkSetting();
    return Cpu.INSTANCE;
  }

  /**
   * {@return a device by its name}
   *
   * @param name {@code cpu}, {@code cuda} for the first NVIDIA GPU that CUDA counts, or {@code
   *     cuda:1} for the second and so on
   * @throws IllegalArgumentException if it is no such name, or that device is not there
   */
  public static Device named(String name) {
    if (name.equals("cpu")) {
      return cpu();
    }
    Matcher cuda = CUDA.matcher(name);
    requireArgument(
        cuda.matches(), "\"%s\" is no device: it is cpu, cuda, or cuda:1 and so on", name);
    String index = cuda.group(1);
    return Cuda.of(index == null ? 0 : Integer.parseInt(index));
  }

  /** {@return the device of tensors that are made of nothing else on this thread} */
  public static Device current() {
    Device device = CURRENT.get();
    return device != null ? device : standard();
  }

  /**
   * {@return the device of every thread that has no other: that of the property, or the CPU, unless
   * ND4J computes elsewhere}
   */
  static Device standard() {
    Device chosen = standard;
    return chosen != null ? chosen : choose();
  }

  private static synchronized Device choose() {
    Workers.checkSetting();
    String name = System.getProperty(PROPERTY);
    Device chosen = name == null ? usual() : named(name);
    standard = chosen;
    return chosen;
  }

  private static Device usual() {
    return HAS_ND4J && !Nd4jDevice.isCpu() ? Nd4jDevice.INSTANCE : Cpu.INSTANCE;
  }

  /**
   * Makes this the device of the tensors that are made on this thread meanwhile, from nothing but
   * numbers or a file. It is to be said again on every other thread.
   *
   * @param <T> what it returns
   * @param code that makes them
   * @return what the code returns
   */
  public final <T> T during(Supplier<T> code) {
    Device before = CURRENT.get();
    CURRENT.set(this);
    try {
      return code.get();
    } finally {
      CURRENT.set(before);
    }
  }

  /**
   * {@return where the results of operations on tensors of another device go, if this is current}
   */
  Device forResultsOf(Device operands) {
    return operands;
  }

  abstract Kernels kernels();

  /**
   * {@return how far apart matrix products want the rows of a weight: {@code columns} or a little
   * more, in elements}
   */
  int rowStride(DType dtype, int columns) {
    return columns;
  }

  /**
   * {@return the memory that {@link Kernels#matmul} takes from here on its way and gives back: how
   * many elements each of the blocks has that it holds at a time}
   */
  IntStream scratch(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    return IntStream.empty();
  }

  /**
   * {@return how many whole numbers kernels hold here while they are told of so many indices, or of
   * where to put so many that they find: all, or none where they read those of the program}
   */
  int wholeNumbers(int count) {
    return 0;
  }

  /** New memory, its content undefined. */
  abstract Block make(Size size);

  /** {@return how many bytes this process may hold here} */
  abstract long limitBytes();

  /** See {@link Scope#tile}. */
  int tile() {
    return TILE;
  }

  /** See {@link Scope#leastTile}. */
  int leastTile() {
    return LEAST_TILE;
  }

  /** {@return how many numbers are passed to and from tensors at a time} */
  int piece() {
    return PIECE;
  }

  /** Fills a tensor of this device. */
  void upload(Tensor.Source source, Tensor out) {
    int length = out.shape().length();
    int piece = piece();
    double[] values = new double[Math.min(piece, length)];
    for (long from = 0; from < length; from += piece) {
      int count = (int) Math.min(piece, length - from);
      source.read((int) from, values, count);
      kernels().write(values, count, out, from);
    }
  }

  /** {@return whether a matrix can lie here in blocks of that format} */
  boolean encodes(BlockFormat format) {
    return false;
  }

  /** Fills a matrix of this device that lies in blocks, all of it. */
  void fill(Tensor encoded, Tensor.Bytes source) {
    throw new AssertionError(this + " has no matrices in blocks");
  }

  /**
   * Reads a matrix of this device that lies in blocks: the inverse of {@link #fill}.
   *
   * @param encoded whose block is read
   * @param from which byte of the block is the first
   * @param target what is filled
   */
  void read(Tensor encoded, long from, ByteBuffer target) {
    throw new AssertionError(this + " has no matrices in blocks");
  }

  /** A block of at least that many elements, for whoever gives it back himself. */
  final Block take(DType dtype, long length) {
    Size size = Size.of(dtype, length);
    synchronized (waiting) {
      Map.Entry<Long, Deque<Block>> blocks = waiting(dtype).ceilingEntry(size.elements);
      if (blocks != null && blocks.getKey() <= ROOMY * size.elements) {
        Block block = blocks.getValue().pop();
        if (blocks.getValue().isEmpty()) {
          waiting(dtype).remove(blocks.getKey());
        }
        used += block.size().bytes();
        return block;
      }
      used += size.bytes();
      reserved += size.bytes();
      made++;
    }
    boolean isMade = false;
    try {
      Block block = make(size);
      isMade = true;
      return block;
    } finally {
      if (!isMade) {
        forget(size);
      }
    }
  }

  /** That a block was to be made, where there was no memory for it. */
  private void forget(Size size) {
    synchronized (waiting) {
      used -= size.bytes();
      reserved -= size.bytes();
      made--;
    }
  }

  final void give(Block block) {
    synchronized (waiting) {
      used -= block.size().bytes();
      waiting(block.size().dtype)
          .computeIfAbsent(block.size().elements, size -> new ArrayDeque<>())
          .push(block);
    }
  }

  private NavigableMap<Long, Deque<Block>> waiting(DType dtype) {
    return waiting.computeIfAbsent(dtype, type -> new TreeMap<>());
  }

  /** Gives back every waiting block. */
  final void trim() {
    synchronized (waiting) {
      for (NavigableMap<Long, Deque<Block>> sizes : waiting.values()) {
        sizes.values().forEach(blocks -> blocks.forEach(Block::free));
      }
      waiting.clear();
      reserved = used;
    }
  }

  /** {@return bytes of all blocks, in use or waiting} */
  final long reservedBytes() {
    synchronized (waiting) {
      return reserved;
    }
  }

  /** {@return bytes of blocks in use} */
  final long usedBytes() {
    synchronized (waiting) {
      return used;
    }
  }

  /** {@return how many blocks were made: what a steady state holds constant} */
  final long blocksMade() {
    synchronized (waiting) {
      return made;
    }
  }
}

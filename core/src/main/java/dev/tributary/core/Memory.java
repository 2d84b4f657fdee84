package dev.tributary.core;

import static dev.tributary.core.Checks.requirePresent;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Recycled off-heap blocks. Fresh memory costs more than the arithmetic done in it (page faults),
 * so a block whose tensor has died waits here for the next tensor of its size.
 */
final class Memory {
  /** Sizes are rounded up to a sixteenth of their power of two, so that similar sizes meet. */
  private static final int STEPS_PER_DOUBLING = 16;

  private static final int SMALLEST = 64;

  /**
   * Bytes at a multiple of which tensors of a CPU begin: matrix products take up to a third more
   * from elsewhere.
   */
  private static final int CACHE_LINE = 64;

  private static final Map<Key, Deque<Block>> FREE = new HashMap<>();

  private static final AtomicLong RESERVED = new AtomicLong();

  private static final AtomicLong MADE = new AtomicLong();

  private record Key(DType dtype, int capacity) {}

  private Memory() {}

  /** Off-heap memory as ND4J made it, with whatever its kernels want to remember about it. */
  static final class Block {
    final DType dtype;
    final INDArray array;

    /** Index in the array of the first element that tensors use. */
    final int start;

    final Kernels.Access access;
    private final Key key;

    private Block(Key key) {
      Kernels kernels = Backend.kernels(); // first: it says in our words if there is no device
      this.key = key;
      this.dtype = key.dtype;
      this.array =
          Nd4j.createUninitialized(
              dtype == DType.FLOAT ? DataType.FLOAT : DataType.DOUBLE,
              key.capacity + CACHE_LINE / dtype.bytes());
      this.start =
          Nd4j.getEnvironment().isCPU()
              ? Math.floorMod(-array.data().addressPointer().address(), CACHE_LINE) / dtype.bytes()
              : 0;
      this.access = kernels.access(this);
      RESERVED.addAndGet(bytes());
    }

    /** The elements that tensors use. */
    <P extends Pointer> P elements(Class<P> type) {
      P pointer = array.data().addressPointer().getPointer(type, start);
      pointer.capacity(key.capacity);
      return pointer;
    }

    private long bytes() {
      return (long) key.capacity * dtype.bytes();
    }

    private void release() {
      array.close();
      RESERVED.addAndGet(-bytes());
    }
  }

  /** Bytes of all blocks, in use or waiting. */
  static long reservedBytes() {
    return RESERVED.get();
  }

  /** Bytes of blocks in use. */
  static long usedBytes() {
    synchronized (FREE) {
      long waiting = 0;
      for (Deque<Block> blocks : FREE.values()) {
        for (Block block : blocks) {
          waiting += block.bytes();
        }
      }
      return RESERVED.get() - waiting;
    }
  }

  /** How many bytes this process may hold: of the machine or container, and as JavaCPP allows. */
  static long limitBytes() {
    long limit = Pointer.maxPhysicalBytes(); // four times the heap unless somebody said otherwise
    if (ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system) {
      long machine = system.getTotalMemorySize();
      limit = limit > 0 ? Math.min(limit, machine) : machine;
    }
    return limit > 0 ? limit : Long.MAX_VALUE;
  }

  /** The hold of one tensor, and of the views of it, on a block until the owning scope closes. */
  static final class Lease {
    private @Nullable Block block;
    Scope owner;

    /** How often it was kept for its owner by scopes inside, less what they took back. */
    int keeps;

    Lease(DType dtype, int length, Scope owner) {
      this.block = take(dtype, length);
      this.owner = owner;
    }

    Block block(Shape shape) {
      return requirePresent(block, "tensor %s was used after its scope closed", shape);
    }

    /** Gives the block back; says whether there was one. */
    boolean end() {
      Block held = block;
      block = null;
      if (held != null) {
        give(held);
      }
      return held != null;
    }
  }

  /** A block of at least that many elements, for whoever gives it back himself. */
  static Block take(DType dtype, int length) {
    int step = Math.max(SMALLEST, Integer.highestOneBit(length) / STEPS_PER_DOUBLING);
    Key key = new Key(dtype, Math.max(SMALLEST, Math.floorDiv(length + step - 1, step) * step));
    synchronized (FREE) {
      Deque<Block> waiting = FREE.get(key);
      if (waiting != null && !waiting.isEmpty()) {
        return waiting.pop();
      }
    }
    MADE.incrementAndGet();
    return new Block(key);
  }

  /** How often the operating system was asked for a block: what a steady state holds constant. */
  static long blocksMade() {
    return MADE.get();
  }

  static void give(Block block) {
    synchronized (FREE) {
      FREE.computeIfAbsent(block.key, key -> new ArrayDeque<>()).push(block);
    }
  }

  /** Returns every waiting block to the operating system. */
  static void trim() {
    synchronized (FREE) {
      FREE.values().forEach(waiting -> waiting.forEach(Block::release));
      FREE.clear();
    }
  }
}

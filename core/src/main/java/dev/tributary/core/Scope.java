package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;
import static dev.tributary.core.Checks.requirePresent;
import static dev.tributary.core.Checks.requireState;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Lifetime of tensors. A tensor belongs to the innermost scope that was open on its thread when it
 * was made, and dies with it, unless it is kept for the enclosing one.
 *
 * <pre>{@code
 * try (Scope scope = Scope.open()) {
 *   Tensor y = x.times(2).plus(1); // x.times(2) and y die here
 *   return scope.keep(y); //           unless kept
 * }
 * }</pre>
 *
 * <p>A scope belongs to the thread that opened it, and scopes close innermost first. Tensors may be
 * read by any thread while their scope is open. Bytes are those of the device on which this thread
 * computes.
 */
public final class Scope implements AutoCloseable {
  private static final ThreadLocal<@Nullable Scope> INNERMOST = new ThreadLocal<>();
  private static final AtomicLong LIVE = new AtomicLong();
  private static final LongAdder TRANSFERS = new LongAdder();

  private final Thread thread = Thread.currentThread();
  private final @Nullable Scope enclosing = INNERMOST.get();
  private final List<Lease> leases = new ArrayList<>();

  /** Handed over by {@link #keepIn}, perhaps on other threads: guarded by itself, as is closing. */
  private final List<Lease> adopted = new ArrayList<>();

  private boolean open = true;

  private Scope() {}

  /**
   * Opens a scope on this thread, inside those that are open already.
   *
   * @return the scope, now the innermost
   */
  public static Scope open() {
    Scope scope = new Scope();
    INNERMOST.set(scope);
    return scope;
  }

  /**
   * {@return the innermost scope of this thread: that of the tensors that are made now}
   *
   * @throws IllegalStateException if none is open
   */
  public static Scope innermost() {
    return requirePresent(
        INNERMOST.get(), "no Scope is open on thread %s", Thread.currentThread().getName());
  }

  /**
   * {@return the number of tensors (views not counted) alive in all threads: what tests hold
   * constant}
   */
  public static long liveTensors() {
    return LIVE.get();
  }

  /**
   * {@return how often numbers passed between a tensor and the program in all threads: each a wait
   * for all work before it, or a copy, where tensors lie on a GPU} Numbers that are written or read
   * together count once, however many they are, and so do indices of one operation that do not
   * follow each other.
   */
  public static long transfers() {
    return TRANSFERS.sum();
  }

  /** Counts one of {@link #transfers}. */
  static void transfer() {
    TRANSFERS.increment();
  }

  /** {@return bytes of memory that tensors hold, or that wait for the next ones, in all threads} */
  public static long reservedBytes() {
    return Device.current().reservedBytes();
  }

  /**
   * Refuses work that there is no memory for, before it is begun.
   *
   * @param bytes beyond what tensors hold now; not asked for where work is only {@link
   *     Shapes#measure measured}
   * @param what needs them, for the message
   * @throws IllegalArgumentException if there are not so many
   */
  public static void requireRoom(LongSupplier bytes, String what) {
    Device device = Device.current();
    if (device.limitBytes() == Long.MAX_VALUE) {
      return;
    }
    long needed = bytes.getAsLong();
    long used = device.usedBytes();
    long room = roomBytes();
    requireArgument(
        needed <= room,
        "%s needs %.1f GB of memory on %s, and there is room for %.1f GB beside the %.1f GB in use",
        what,
        needed / 1e9,
        device,
        Math.max(0, room) / 1e9,
        used / 1e9);
  }

  /** {@return how many bytes tensors may still hold beyond what they hold now} */
  public static long roomBytes() {
    Device device = Device.current();
    return device.limitBytes() - device.usedBytes();
  }

  /**
   * {@return how many elements a product should have that is made, looked at and forgotten: as many
   * as stay in the caches of a processor, or keep a GPU busy}
   */
  public static int tile() {
    return Device.current().tile();
  }

  /** {@return how many elements of a product cost as much as it costs to begin another one} */
  public static int leastTile() {
    return Device.current().leastTile();
  }

  /** Gives the memory that waits for new tensors back to the operating system. */
  public static void releaseUnused() {
    Device.current().trim();
  }

  /**
   * Hands a tensor of this scope to the enclosing one. A tensor of an outer scope stays where it
   * is.
   *
   * @param tensor of this scope, or of one around it
   * @return the same tensor
   * @throws IllegalStateException if this scope has no enclosing one, or the tensor is dead
   */
  public Tensor keep(Tensor tensor) {
    requireInnermost("keep");
    Lease lease = tensor.lease();
    lease.block(tensor.shape());
    if (lease.owner == this) {
      Scope outer =
          requirePresent(
              enclosing, "keep: tensor %s has no enclosing scope to go to", tensor.shape());
      lease.owner = outer;
      lease.keeps = 1;
      outer.leases.add(lease);
    } else if (lease.owner == enclosing && lease.keeps > 0) {
      lease.keeps++;
    }
    return tensor;
  }

  /**
   * Undoes one {@link #keep} of a tensor or a view of it, by this scope or one before it inside the
   * same enclosing scope. When all are undone, the tensor belongs to this scope and dies with it,
   * unless it is kept again. A tensor that was not kept for the enclosing scope stays where it is.
   *
   * @param tensor of any scope
   * @return the same tensor
   * @throws IllegalStateException if the tensor is dead
   */
  public Tensor takeBack(Tensor tensor) {
    requireInnermost("takeBack");
    Lease lease = tensor.lease();
    lease.block(tensor.shape());
    if (lease.owner == enclosing && lease.keeps > 0 && --lease.keeps == 0) {
      lease.owner = this;
      leases.add(lease);
    }
    return tensor;
  }

  /**
   * Hands a tensor of this scope to one that stays open longer: an outer one, or one of another
   * thread. A tensor of an outer scope stays where it is.
   *
   * @param other where it is to live
   * @param tensor of this scope
   * @return the same tensor
   * @throws IllegalStateException if the other scope is closed, or the tensor is dead
   */
  public Tensor keepIn(Scope other, Tensor tensor) {
    requireInnermost("keepIn");
    Lease lease = tensor.lease();
    lease.block(tensor.shape());
    if (lease.owner == this && other != this) {
      synchronized (other.adopted) {
        requireState(other.open, "keepIn: the scope of tensor %s is closed", tensor.shape());
        lease.owner = other;
        lease.keeps = 0;
        other.adopted.add(lease);
      }
    }
    return tensor;
  }

  /**
   * Ends the life of every tensor of this scope.
   *
   * @throws IllegalStateException if a scope opened later on this thread is still open, or another
   *     thread opened this one
   */
  @Override
  public void close() {
    if (!open) {
      return;
    }
    requireInnermost("close");
    synchronized (adopted) {
      open = false;
      leases.addAll(adopted);
    }
    if (enclosing == null) {
      INNERMOST.remove();
    } else {
      INNERMOST.set(enclosing);
    }
    endLeases();
  }

  /**
   * Ends the life of every tensor of this scope, which stays open: what closing it and opening
   * another one does, for less.
   *
   * @throws IllegalStateException if a scope opened later on this thread is still open, or another
   *     thread opened this one
   */
  public void clear() {
    requireInnermost("clear");
    synchronized (adopted) {
      leases.addAll(adopted);
      adopted.clear();
    }
    endLeases();
    leases.clear();
  }

  private void endLeases() {
    for (Lease lease : leases) {
      if (lease.owner == this && lease.end()) { // listed twice if it went and came back
        LIVE.decrementAndGet();
      }
    }
  }

  /** The hold of one tensor, and of the views of it, on a block until the owning scope closes. */
  static final class Lease {
    final Device device;
    private Device.@Nullable Block block;
    private Scope owner;

    /** How often it was kept for its owner by scopes inside, less what they took back. */
    private int keeps;

    private Lease(Device device, Device.Block block, Scope owner) {
      this.device = device;
      this.block = block;
      this.owner = owner;
    }

    Device.Block block(Shape shape) {
      return requirePresent(block, "tensor %s was used after its scope closed", shape);
    }

    /** Gives the block back; says whether there was one. */
    private boolean end() {
      Device.Block held = block;
      block = null;
      if (held != null) {
        device.give(held);
      }
      return held != null;
    }
  }

  /**
   * Memory for a tensor made now.
   *
   * @param elements that it takes, gaps between its rows included
   */
  static Lease lease(Device device, DType dtype, Shape shape, long elements) {
    Scope scope =
        requirePresent(
            INNERMOST.get(),
            "a tensor %s needs a scope: no Scope is open on thread %s",
            shape,
            Thread.currentThread().getName());
    Lease lease = new Lease(device, device.take(dtype, elements), scope);
    scope.leases.add(lease);
    LIVE.incrementAndGet();
    return lease;
  }

  private void requireInnermost(String action) {
    requireState(open, "%s: this scope is closed", action);
    requireState(
        Thread.currentThread() == thread,
        "%s: this scope belongs to thread %s",
        action,
        thread.getName());
    requireState(INNERMOST.get() == this, "%s: a scope opened inside this one is open", action);
  }
}

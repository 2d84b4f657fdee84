package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The other cores, for products and kernels long enough to share. They are lent to one thread at a
 * time: whoever finds them taken does its pieces alone, the very same pieces, so that a result does
 * not depend on who computed it.
 *
 * <p>A worker that has nothing to do looks out for work for a moment before it sleeps: waking a
 * thread takes longer than most kernels.
 */
public final class Workers {
  private static final String PROPERTY = "tributary.threads";

  /** Threads that compute together, the one that asks among them. */
  static final int THREADS = threads();

  /** Less work than this, in operations on one element, is done sooner alone. */
  private static final long LEAST_WORK = 1 << 15;

  private static final long NANOS_AWAKE = 500_000;

  private static final ThreadLocal<Boolean> ALONE = ThreadLocal.withInitial(() -> false);

  /** Looks at a clock or at the scheduler are dear: one for so many at the job. */
  private static final int LOOKS = 64;

  private static final AtomicBoolean TAKEN = new AtomicBoolean();

  private static volatile @Nullable Job job;

  private Workers() {}

  /**
   * {@return what code returns, computed on this thread alone and in one piece} For callers with a
   * thread for each core: the other threads are left to them, and results do not depend on how many
   * processors there are.
   *
   * @param code what is done meanwhile
   * @param <T> type of its result
   */
  public static <T> T alone(Supplier<T> code) {
    boolean before = ALONE.get();
    ALONE.set(true);
    try {
      return code.get();
    } finally {
      ALONE.set(before);
    }
  }

  private static int threads() {
    int processors = Runtime.getRuntime().availableProcessors();
    return Math.max(1, Integer.getInteger(PROPERTY, processors));
  }

  /**
   * Refuses a setting of {@code tributary.threads} that is none.
   *
   * @throws IllegalArgumentException if it is not a positive whole number
   */
  static void checkSetting() {
    String setting = System.getProperty(PROPERTY, "1");
    requireArgument(
        setting.matches("[1-9][0-9]{0,3}"),
        "system property %s is \"%s\", it must be a number from 1 to 9999",
        PROPERTY,
        setting);
  }

  /** What is done for the units {@code from} to {@code to}, on any thread. */
  @FunctionalInterface
  interface Part {
    void run(int from, int to);
  }

  /**
   * Does all units, in at most so many pieces as there are threads, and returns when they are done.
   *
   * @param work of all units, in operations on one element
   */
  static void run(int units, long work, Part part) {
    int pieces = pieces(units, work);
    if (pieces <= 1) {
      part.run(0, units);
    } else {
      Job shared = new Job(units, pieces, part);
      boolean hasWorkers = TAKEN.compareAndSet(false, true);
      try {
        if (hasWorkers) {
          job = shared;
          Worker.wake();
        }
        shared.help();
        shared.await();
      } finally {
        if (hasWorkers) {
          job = null;
          TAKEN.set(false);
        }
      }
    }
  }

  /** {@return in how many pieces so much work is done} */
  static int pieces(int units, long work) {
    return work < LEAST_WORK ? 1 : Math.min(units, available());
  }

  /** {@return how many threads compute together for this one} */
  static int available() {
    return ALONE.get() ? 1 : THREADS;
  }

  /** {@return the first of the units of a piece} */
  static int bound(int units, int pieces, int piece) {
    return (int) ((long) units * piece / pieces);
  }

  private static final class Job {
    private final int units;
    private final int pieces;
    private final Part part;
    private final AtomicInteger begun = new AtomicInteger();
    private final AtomicInteger ended = new AtomicInteger();
    private volatile @Nullable Throwable failure;

    private Job(int units, int pieces, Part part) {
      this.units = units;
      this.pieces = pieces;
      this.part = part;
    }

    void help() {
      for (int piece = begun.getAndIncrement(); piece < pieces; piece = begun.getAndIncrement()) {
        try {
          part.run(bound(units, pieces, piece), bound(units, pieces, piece + 1));
        } catch (RuntimeException | Error e) {
          failure = e;
        }
        ended.incrementAndGet();
      }
    }

    /** Until the last piece has ended. No piece is left to begin. */
    @SuppressWarnings("ThreadPriorityCheck") // only speed relies on the scheduler
    void await() {
      for (int looks = 1; ended.get() < pieces; looks++) {
        if (looks % LOOKS == 0) {
          Thread.yield(); // the worker may be waiting for this very core
        } else {
          Thread.onSpinWait();
        }
      }
      Throwable thrown = failure;
      if (thrown instanceof RuntimeException e) {
        throw e;
      } else if (thrown instanceof Error e) {
        throw e;
      }
    }
  }

  private static final class Worker extends Thread {
    private static final Worker[] ALL = new Worker[THREADS - 1];

    static {
      for (int i = 0; i < ALL.length; i++) {
        ALL[i] = new Worker("tributary-" + (i + 1));
        ALL[i].setDaemon(true);
        ALL[i].start();
      }
    }

    private volatile boolean asleep;

    private Worker(String name) {
      super(name);
    }

    static void wake() {
      for (Worker worker : ALL) {
        if (worker.asleep) {
          LockSupport.unpark(worker);
        }
      }
    }

    @Override
    public void run() {
      Job last = null;
      long since = System.nanoTime();
      for (int looks = 1; ; looks++) {
        Job next = job;
        if (next != null && next != last) {
          next.help();
          last = next;
          since = System.nanoTime();
        } else if (looks % LOOKS != 0) {
          Thread.onSpinWait();
        } else if (System.nanoTime() - since > NANOS_AWAKE) {
          last = null;
          sleep();
          since = System.nanoTime();
        }
      }
    }

    private void sleep() {
      asleep = true;
      if (job == null) {
        LockSupport.park(this);
      }
      asleep = false;
    }
  }
}

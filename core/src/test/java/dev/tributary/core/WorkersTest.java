package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;

/** Every unit is done once, whoever does it, and in the same pieces. */
class WorkersTest {
  private static final long MUCH = Long.MAX_VALUE;

  @Property(tries = 2000)
  void run_anyWork_doesEveryUnitOnce(
      @ForAll @IntRange(max = 100) int units, @ForAll boolean isLittle) {
    AtomicIntegerArray done = new AtomicIntegerArray(units);
    Workers.run(
        units,
        isLittle ? 0 : MUCH,
        (from, to) -> IntStream.range(from, to).forEach(done::incrementAndGet));
    for (int unit = 0; unit < units; unit++) {
      assertEquals(1, done.get(unit), "unit " + unit + " of " + units);
    }
  }

  @Example
  void run_workersTaken_doesTheSamePieces() throws InterruptedException {
    Set<String> shared = pieces();
    CountDownLatch taken = new CountDownLatch(1);
    CountDownLatch over = new CountDownLatch(1);
    Thread other =
        new Thread(
            () ->
                Workers.run(
                    Workers.THREADS,
                    MUCH,
                    (from, to) -> {
                      taken.countDown();
                      await(over);
                    }));
    other.start();
    await(taken);
    Set<String> alone = pieces();
    over.countDown();
    other.join();
    assertEquals(shared, alone);
    assertEquals(Workers.THREADS, shared.size());
  }

  @Example
  void alone_muchWork_isOnePieceOnThisThread() {
    Thread own = Thread.currentThread();
    Set<String> pieces =
        Workers.alone(
            () -> {
              Workers.run(97, MUCH, (from, to) -> assertSame(own, Thread.currentThread()));
              assertThrows(
                  IllegalStateException.class,
                  () -> Workers.alone(() -> rethrown(new IllegalStateException("no"))));
              return pieces();
            });
    assertEquals(Set.of("0 to 97"), pieces);
    assertEquals(Workers.THREADS, pieces().size());
  }

  private static int rethrown(RuntimeException failure) {
    throw failure;
  }

  private static Set<String> pieces() {
    Set<String> pieces = Collections.synchronizedSet(new TreeSet<>());
    Workers.run(97, MUCH, (from, to) -> pieces.add(from + " to " + to));
    return pieces;
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Example
  void run_withinAPiece_isDone() {
    AtomicIntegerArray done = new AtomicIntegerArray(100);
    Workers.run(
        10,
        MUCH,
        (from, to) -> {
          for (int i = from; i < to; i++) {
            int row = i;
            Workers.run(
                10,
                MUCH,
                (first, last) ->
                    IntStream.range(first, last)
                        .forEach(column -> done.incrementAndGet(row * 10 + column)));
          }
        });
    assertEquals(100, IntStream.range(0, 100).filter(i -> done.get(i) == 1).count());
  }

  @Example
  void run_pieceFails_throwsThatAndGoesOn() {
    for (Throwable failure : List.of(new IllegalStateException("no"), new StackOverflowError())) {
      for (int failing = 0; failing < 50; failing++) {
        int unit = failing;
        Throwable thrown =
            assertThrows(
                Throwable.class,
                () ->
                    Workers.run(
                        50,
                        MUCH,
                        (from, to) -> {
                          if (from <= unit && unit < to) {
                            rethrow(failure);
                          }
                        }));
        assertSame(failure, thrown);
      }
    }
    run_withinAPiece_isDone();
  }

  private static void rethrow(Throwable failure) {
    if (failure instanceof Error error) {
      throw error;
    }
    throw (RuntimeException) failure;
  }

  /** Every piece waits for all others, so each needs a thread of its own. */
  @Example
  void run_allWorkersAsleep_wakesEachOfThem() throws InterruptedException {
    for (int pause = 0; pause < 20; pause++) {
      CountDownLatch begun = new CountDownLatch(Workers.THREADS);
      Workers.run(Workers.THREADS, MUCH, (from, to) -> meet(begun));
      for (Thread worker : workers()) {
        while (worker.getState() != Thread.State.WAITING) {
          Thread.sleep(1);
        }
      }
    }
    assertEquals(Workers.THREADS - 1, workers().size());
    assertTrue(workers().stream().allMatch(Thread::isDaemon));
  }

  private static List<Thread> workers() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().startsWith("tributary-"))
        .toList();
  }

  private static void meet(CountDownLatch begun) {
    begun.countDown();
    try {
      assertTrue(begun.await(1, TimeUnit.MINUTES), begun.getCount() + " threads did not come");
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Example
  void checkSetting_noPositiveNumber_isRefused() {
    String before = System.getProperty("tributary.threads");
    try {
      for (String setting : List.of("0", "-1", "two", "", "99999999999")) {
        System.setProperty("tributary.threads", setting);
        String message =
            assertThrows(IllegalArgumentException.class, Workers::checkSetting).getMessage();
        assertEquals(
            "system property tributary.threads is \""
                + setting
                + "\", it must be a number from 1 to 9999",
            message);
      }
    } finally {
      if (before == null) {
        System.clearProperty("tributary.threads");
      } else {
        System.setProperty("tributary.threads", before);
      }
    }
    Workers.checkSetting();
  }

  @Example
  void run_manyThreadsAtOnce_eachHasItsResult() throws InterruptedException {
    double[][] found = new double[8][];
    Thread[] threads = new Thread[found.length];
    for (int i = 0; i < threads.length; i++) {
      int own = i;
      threads[i] = new Thread(() -> found[own] = squares());
      threads[i].start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    double[] expected = IntStream.range(0, 1000).mapToDouble(i -> 200.0 * i * i).toArray();
    for (double[] values : found) {
      assertEquals(Arrays.toString(expected), Arrays.toString(values));
    }
  }

  private static double[] squares() {
    double[] sums = new double[1000];
    for (int round = 0; round < 200; round++) {
      Workers.run(
          sums.length,
          MUCH,
          (from, to) -> {
            for (int i = from; i < to; i++) {
              sums[i] += (double) i * i;
            }
          });
    }
    return sums;
  }
}

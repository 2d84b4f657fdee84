package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class ScopeTest {
  private static final Shape SHAPE = Shape.of(2, 3);

  private long liveBefore;

  @BeforeEach
  void countLive() {
    liveBefore = Scope.liveTensors();
  }

  @AfterEach
  void nothingIsLeftOpen() {
    assertEquals(liveBefore, Scope.liveTensors());
  }

  private static Tensor ones() {
    return Tensor.full(DType.FLOAT, SHAPE, 1);
  }

  // ---- lifetimes ---------------------------------------------------------------------------

  @Test
  void close_tensorsOfTheScope_die() {
    Tensor x;
    Tensor y;
    try (Scope scope = Scope.open()) {
      x = ones();
      y = x.plus(1);
      assertEquals(liveBefore + 2, Scope.liveTensors());
    }
    for (Tensor dead : new Tensor[] {x, y}) {
      assertBroken("tensor [2, 3] was used after its scope closed", dead::toDoubles);
    }
  }

  @Test
  void keepIn_scopeFurtherOut_livesAsLongAsThat() {
    Tensor kept;
    try (Scope outer = Scope.open()) {
      try (Scope middle = Scope.open()) {
        assertSame(middle, Scope.innermost());
        try (Scope inner = Scope.open()) {
          kept = ones();
          assertSame(kept, inner.keepIn(inner, kept));
          assertSame(kept, inner.keepIn(outer, kept));
        }
      }
      assertEquals(1, kept.get(1, 2));
      assertEquals(liveBefore + 1, Scope.liveTensors());
    }
    Tensor dead = kept;
    assertBroken("tensor [2, 3] was used after its scope closed", dead::toDoubles);
  }

  @Test
  void keepIn_scopeOfAnotherThread_diesWithThatOne() {
    Tensor kept;
    try (Scope scope = Scope.open()) {
      kept =
          CompletableFuture.supplyAsync(
                  () -> {
                    try (Scope other = Scope.open()) {
                      return other.keepIn(scope, ones());
                    }
                  })
              .join();
      assertEquals(1, kept.get(1, 2));
    }
    assertBroken("tensor [2, 3] was used after its scope closed", kept::toDoubles);
  }

  @Test
  void keepIn_closedScope_isRefused() {
    Scope closed = Scope.open();
    closed.close();
    assertBroken(
        "no Scope is open on thread " + Thread.currentThread().getName(), Scope::innermost);
    try (Scope scope = Scope.open()) {
      Tensor x = ones();
      assertBroken("keepIn: the scope of tensor [2, 3] is closed", () -> scope.keepIn(closed, x));
      assertEquals(1, x.get(0, 0));
    }
  }

  @Test
  void close_deadOperand_isRefusedByEveryKindOfUse() {
    Tensor dead;
    try (Scope scope = Scope.open()) {
      dead = ones();
    }
    try (Scope scope = Scope.open()) {
      Tensor alive = ones();
      for (Executable use :
          new Executable[] {
            () -> dead.get(0, 0),
            dead::negate,
            () -> dead.plus(alive),
            () -> alive.plus(dead),
            () -> alive.matmulTransposed(dead),
            () -> dead.sum(0),
            dead::softmax,
            () -> dead.permute(1, 0),
            () -> dead.gather(0, 1),
            dead::isFinite,
            () -> scope.keep(dead)
          }) {
        assertBroken("tensor [2, 3] was used after its scope closed", use);
      }
    }
  }

  @Test
  void close_views_dieWithWhatTheyLookAt() {
    Tensor row;
    Tensor flat;
    try (Scope outer = Scope.open()) {
      Tensor x = ones();
      try (Scope inner = Scope.open()) {
        row = x.slice(0, 1, 2);
        flat = x.reshape(6);
        assertEquals(liveBefore + 1, Scope.liveTensors());
      }
      assertArrayEquals(new double[] {1, 1, 1}, row.toDoubles());
      assertArrayEquals(new double[] {1, 1, 1, 1, 1, 1}, flat.toDoubles());
    }
    assertBroken("tensor [1, 3] was used after its scope closed", row::toDoubles);
    assertBroken("tensor [6] was used after its scope closed", flat::toDoubles);
  }

  @Test
  void close_twice_isHarmless() {
    Scope outer = Scope.open();
    Tensor x = ones();
    Scope inner = Scope.open();
    inner.close();
    inner.close();
    assertEquals(1, x.get(0, 0));
    outer.close();
    outer.close();
  }

  @Test
  void close_notInnermost_isRefusedAndChangesNothing() {
    try (Scope outer = Scope.open()) {
      Tensor x = ones();
      try (Scope inner = Scope.open()) {
        assertBroken("close: a scope opened inside this one is open", outer::close);
        assertBroken("keep: a scope opened inside this one is open", () -> outer.keep(x));
        assertEquals(2, x.plus(1).get(0, 0));
      }
      assertEquals(1, x.get(0, 0));
    }
  }

  @Test
  void open_noScope_makingATensorIsRefused() {
    String thread = Thread.currentThread().getName();
    assertBroken(
        "a tensor [2, 3] needs a scope: no Scope is open on thread " + thread, ScopeTest::ones);
  }

  // ---- keep --------------------------------------------------------------------------------

  @Test
  void keep_ownTensor_livesAsLongAsTheEnclosingScope() {
    Tensor kept;
    try (Scope outer = Scope.open()) {
      try (Scope inner = Scope.open()) {
        Tensor x = ones();
        kept = x.plus(1);
        assertSame(kept, inner.keep(kept));
        assertSame(kept, inner.keep(kept));
      }
      assertEquals(liveBefore + 1, Scope.liveTensors());
      assertArrayEquals(new double[] {2, 2, 2, 2, 2, 2}, kept.toDoubles());
    }
    assertBroken("tensor [2, 3] was used after its scope closed", kept::toDoubles);
  }

  @Test
  void keep_throughSeveralScopes_needsOneEach() {
    try (Scope outer = Scope.open()) {
      Tensor kept;
      try (Scope middle = Scope.open()) {
        try (Scope inner = Scope.open()) {
          kept = inner.keep(ones());
        }
        middle.keep(kept);
      }
      assertEquals(1, kept.get(1, 2));
    }
  }

  @Test
  void keep_view_keepsWhatItLooksAt() {
    try (Scope outer = Scope.open()) {
      Tensor view;
      try (Scope inner = Scope.open()) {
        view = inner.keep(ones().reshape(6).slice(0, 2, 5));
      }
      assertArrayEquals(new double[] {1, 1, 1}, view.toDoubles());
    }
  }

  @Test
  void keep_tensorOfAnOuterScope_staysWhereItIs() {
    try (Scope outer = Scope.open()) {
      Tensor x;
      try (Scope middle = Scope.open()) {
        x = ones();
        try (Scope inner = Scope.open()) {
          inner.keep(x);
        }
      }
      assertBroken("tensor [2, 3] was used after its scope closed", x::toDoubles);
    }
  }

  @Test
  void takeBack_keptTensor_diesWithTheScopeThatTookIt() {
    try (Scope outer = Scope.open()) {
      Tensor x;
      try (Scope inner = Scope.open()) {
        x = inner.keep(ones());
      }
      try (Scope inner = Scope.open()) {
        assertSame(x, inner.takeBack(x));
        assertEquals(1, x.get(0, 0));
      }
      assertBroken("tensor [2, 3] was used after its scope closed", () -> x.get(0, 0));
      assertEquals(liveBefore, Scope.liveTensors());
      try (Scope inner = Scope.open()) {
        assertBroken("tensor [2, 3] was used after its scope closed", () -> inner.takeBack(x));
      }
    }
  }

  @Test
  void takeBack_keptAgain_livesOnAndCountsOnce() {
    try (Scope outer = Scope.open()) {
      Tensor x;
      try (Scope inner = Scope.open()) {
        x = inner.keep(inner.takeBack(inner.keep(ones())));
      }
      assertEquals(1, x.get(0, 0));
      assertEquals(liveBefore + 1, Scope.liveTensors());
    }
    assertEquals(liveBefore, Scope.liveTensors());
  }

  @Test
  void takeBack_keptTwice_isNeededTwice() {
    try (Scope outer = Scope.open()) {
      Tensor x;
      Tensor view;
      try (Scope inner = Scope.open()) {
        x = inner.keep(ones());
        view = inner.keep(x.reshape(6));
      }
      try (Scope inner = Scope.open()) {
        inner.takeBack(view);
      }
      assertEquals(1, x.get(0, 0));
      try (Scope inner = Scope.open()) {
        inner.takeBack(x);
      }
      assertBroken("tensor [6] was used after its scope closed", () -> view.get(0));
    }
  }

  @Test
  void takeBack_tensorThatWasNotKeptThere_staysWhereItIs() {
    try (Scope outermost = Scope.open()) {
      Tensor x = ones();
      Tensor w;
      try (Scope outer = Scope.open()) {
        Tensor y = ones();
        Tensor z;
        try (Scope inner = Scope.open()) {
          z = inner.keepIn(outer, inner.takeBack(inner.keep(ones())));
          inner.keep(x);
          inner.keep(y);
          w = inner.keep(ones());
        }
        try (Scope inner = Scope.open()) {
          for (Tensor tensor : new Tensor[] {x, y, z}) {
            inner.takeBack(tensor);
          }
        }
        outer.takeBack(x);
        outer.takeBack(outer.keepIn(outermost, w));
        assertEquals(3, x.get(0, 0) + y.get(0, 0) + z.get(0, 0));
      }
      assertEquals(2, x.get(0, 0) + w.get(0, 0));
    }
  }

  @Test
  void takeBack_closedScope_isRefused() {
    try (Scope outer = Scope.open()) {
      Scope closed = Scope.open();
      closed.close();
      Tensor x = ones();
      assertBroken("takeBack: this scope is closed", () -> closed.takeBack(x));
    }
  }

  @Test
  void clear_openScope_endsItsTensorsAndGoesOn() {
    try (Scope outer = Scope.open()) {
      Tensor x = ones();
      Tensor kept;
      try (Scope inner = Scope.open()) {
        kept = inner.keep(ones());
        Tensor y = ones();
        Tensor handed;
        try (Scope innermost = Scope.open()) {
          assertBroken("clear: a scope opened inside this one is open", inner::clear);
          handed = innermost.keepIn(inner, ones());
        }
        inner.clear();
        for (Tensor dead : new Tensor[] {y, handed}) {
          assertBroken("tensor [2, 3] was used after its scope closed", dead::toDoubles);
        }
        assertEquals(2, x.get(0, 0) + kept.get(0, 0));
        assertEquals(liveBefore + 2, Scope.liveTensors());
        assertEquals(1, ones().get(1, 2));
        inner.takeBack(kept);
        inner.clear();
        assertEquals(liveBefore + 1, Scope.liveTensors());
      }
      assertBroken("tensor [2, 3] was used after its scope closed", kept::toDoubles);
      assertEquals(1, x.get(0, 0));
      assertEquals(liveBefore + 1, Scope.liveTensors());
    }
  }

  @Test
  void keep_outermost_isRefused() {
    try (Scope scope = Scope.open()) {
      Tensor x = ones();
      assertBroken("keep: tensor [2, 3] has no enclosing scope to go to", () -> scope.keep(x));
      assertEquals(1, x.get(0, 0));
    }
  }

  @Test
  void keep_closedScope_isRefused() {
    try (Scope outer = Scope.open()) {
      Tensor x = ones();
      Scope inner = Scope.open();
      inner.close();
      assertBroken("keep: this scope is closed", () -> inner.keep(x));
    }
  }

  // ---- threads -----------------------------------------------------------------------------

  @Test
  void threads_otherThread_readsWhileTheScopeIsOpenAndOwnsItsOwn() {
    try (Scope scope = Scope.open()) {
      Tensor x = ones();
      double sum =
          onAnotherThread(
              () -> {
                try (Scope own = Scope.open()) {
                  return x.plus(x).reshape(6).sum(0).item();
                }
              });
      assertEquals(12, sum);
      assertEquals(liveBefore + 1, Scope.liveTensors());
    }
  }

  @Test
  void threads_otherThread_mayNeitherCloseNorMakeTensorsHere() {
    String here = Thread.currentThread().getName();
    try (Scope scope = Scope.open()) {
      Tensor x = ones();
      for (Executable use : new Executable[] {scope::close, () -> scope.keep(x), () -> x.plus(1)}) {
        String message = onAnotherThread(() -> messageOf(use));
        assertTrue(
            message.endsWith("this scope belongs to thread " + here)
                || message.startsWith("a tensor [2, 3] needs a scope: no Scope is open on thread "),
            message);
      }
      assertEquals(1, x.get(0, 0));
    }
  }

  @Test
  void threads_severalAtOnce_neverShareMemory() {
    List<CompletableFuture<Boolean>> results = new ArrayList<>();
    for (int thread = 0; thread < 4; thread++) {
      double own = 1e6 * thread;
      results.add(
          CompletableFuture.supplyAsync(
              () -> IntStream.range(0, 20_000).allMatch(i -> readsBack(own + i))));
    }
    assertTrue(results.stream().allMatch(CompletableFuture::join));
  }

  private static boolean readsBack(double number) {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.full(DType.DOUBLE, SHAPE, number);
      Tensor y = x.plus(1);
      return x.get(1, 2) == number && y.get(1, 2) == number + 1;
    }
  }

  private static <T> T onAnotherThread(Supplier<T> task) {
    CompletableFuture<T> result = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                result.complete(task.get());
              } catch (RuntimeException | Error e) {
                result.completeExceptionally(e);
              }
            });
    thread.start();
    try {
      return result.join();
    } catch (CompletionException e) {
      throw new AssertionError(e.getCause());
    }
  }

  // ---- recycled memory ---------------------------------------------------------------------

  @Test
  void recycling_blockOfADeadTensor_isUsedAgainButNotReadable() {
    try (Scope scope = Scope.open()) {
      Tensor dead;
      try (Scope inner = Scope.open()) {
        dead = ones();
      }
      long made = Device.current().blocksMade();
      Tensor next = Tensor.full(DType.FLOAT, SHAPE, 5);
      assertEquals(made, Device.current().blocksMade());
      assertBroken("tensor [2, 3] was used after its scope closed", dead::toDoubles);
      assertEquals(5, next.get(0, 0));
    }
  }

  @Test
  void recycling_liveTensors_neverShareMemory() {
    try (Scope scope = Scope.open()) {
      for (int round = 0; round < 3; round++) {
        try (Scope inner = Scope.open()) {
          Tensor[] tensors = new Tensor[20];
          for (int i = 0; i < tensors.length; i++) {
            tensors[i] = Tensor.full(DType.DOUBLE, Shape.of(60 + i), i);
          }
          for (int i = 0; i < tensors.length; i++) {
            assertEquals(i, tensors[i].get(0));
            assertEquals(i, tensors[i].get(59 + i));
          }
        }
      }
    }
  }

  @Test
  void releaseUnused_waitingBlocks_areMadeAnew() {
    try (Scope scope = Scope.open()) {
      Tensor alive = ones();
      try (Scope inner = Scope.open()) {
        ones();
      }
      long made = Device.current().blocksMade();
      Scope.releaseUnused();
      assertEquals(2, alive.plus(1).get(0, 0));
      assertNotEquals(made, Device.current().blocksMade());
    }
  }

  private static double smallRun(Tensor weight, int round) {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.full(DType.FLOAT, Shape.of(32 + round % 8, 64), 0.01);
      Tensor y = x.affine(weight, Tensor.zeros(DType.FLOAT, Shape.of(64))).gelu();
      Tensor pattern = y.matmulTransposed(x).causalSoftmax(1);
      return pattern.matmul(y).permute(1, 0).slice(1, 0, 1).mean(0).item();
    }
  }

  @Test
  void steadyState_smallRuns_makeNoBlocks() {
    try (Scope scope = Scope.open()) {
      Tensor weight = Tensor.full(DType.FLOAT, Shape.of(64, 64), 0.1);
      for (int round = 0; round < 16; round++) {
        smallRun(weight, round);
      }
      long made = Device.current().blocksMade();
      for (int round = 0; round < 100; round++) {
        smallRun(weight, round);
      }
      assertEquals(made, Device.current().blocksMade());
    }
  }

  private static final int BATCHES = 5;
  private static final int RUNS_PER_BATCH = 2000;

  /** The 9 KB of one operand, lost in each run of a batch, are more than twice that. */
  private static final long GROWTH_BYTES = 8L << 20;

  /** The Java heap grows and shrinks now and then; what each run loses, most batches lose. */
  @Test
  void steadyState_tenThousandRuns_keepResidentMemoryFlat() throws IOException {
    Path status = Path.of("/proc/self/status");
    assumeTrue(Files.isReadable(status), "resident memory is read from /proc");
    assumeTrue(Device.current() == Cpu.INSTANCE, "ND4J waits for the garbage collector to free");
    try (Scope scope = Scope.open()) {
      Tensor weight = Tensor.full(DType.FLOAT, Shape.of(64, 64), 0.1);
      long[] growth = new long[BATCHES];
      for (int batch = 0; batch < BATCHES; batch++) {
        System.gc(); // so that each batch fills the same part of the heap
        growth[batch] = -residentBytes(status);
        for (int round = 0; round < RUNS_PER_BATCH; round++) {
          smallRun(weight, round);
        }
        growth[batch] += residentBytes(status);
      }
      Arrays.sort(growth);
      assertTrue(
          growth[BATCHES / 2] < GROWTH_BYTES,
          "resident memory grew in each batch by " + Arrays.toString(growth) + " bytes");
    }
  }

  private static long residentBytes(Path status) throws IOException {
    for (String line : Files.readAllLines(status)) {
      if (line.startsWith("VmRSS:")) {
        return 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
      }
    }
    throw new AssertionError("no VmRSS in " + status);
  }

  // ---- refusals ----------------------------------------------------------------------------

  private static String messageOf(Executable use) {
    return String.valueOf(assertThrows(IllegalStateException.class, use).getMessage());
  }

  private static void assertBroken(String message, Executable use) {
    assertEquals(message, messageOf(use));
  }
}

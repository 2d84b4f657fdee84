package dev.tributary.attribution.explain;

import java.io.IOException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * A question that was asked, and in time its answer.
 *
 * @param <A> its answer
 */
public final class Asked<A> {
  private final FutureTask<A> task;

  Asked(FutureTask<A> task) {
    this.task = task;
  }

  /**
   * Waits for the answer.
   *
   * @return the answer
   * @throws IOException if files of the model cannot be read
   * @throws IllegalArgumentException if the question cannot be answered, with what is wrong with it
   * @throws CancellationException if it was cancelled, or this thread was interrupted, which it
   *     stays
   */
  public A answer() throws IOException {
    try {
      return task.get();
    } catch (InterruptedException e) {
      cancel();
      Thread.currentThread().interrupt();
      throw (CancellationException)
          new CancellationException("waiting for an answer was interrupted").initCause(e);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof IOException unread) {
        throw unread;
      }
      if (cause instanceof RuntimeException wrong) {
        throw wrong;
      }
      if (cause instanceof Error error) {
        throw error;
      }
      throw new AssertionError(cause); // questions throw nothing else
    }
  }

  /** Gives the question up: work on it ends at the next step, and nobody hears of it. */
  public void cancel() {
    task.cancel(true);
  }

  /** {@return whether it is answered, refused or cancelled} */
  public boolean isDone() {
    return task.isDone();
  }
}

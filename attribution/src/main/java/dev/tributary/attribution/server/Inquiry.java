package dev.tributary.attribution.server;

import dev.tributary.attribution.explain.Asked;
import dev.tributary.attribution.explain.Listener;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.attribution.explain.Question;
import dev.tributary.attribution.explain.Session;
import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A question that somebody waits for, and what has become of it. Guarded by itself. */
final class Inquiry implements Listener {
  private final Question<? extends Record> question;
  private @Nullable Asked<? extends Record> asked;
  private boolean cancelled;
  private @Nullable Record answer;
  private @Nullable Throwable failure;

  private Phase phase = Phase.TOKENIZER;

  /** Since it was last told. */
  private @Nullable State state;

  private final StringBuilder[] said = {new StringBuilder(), new StringBuilder()};

  /** How far work has come. */
  record State(Phase phase, int done, int total) {}

  /**
   * What is new since it was last asked.
   *
   * @param state of work, if it changed
   * @param said by the model as it is
   * @param edited said by the edited one
   * @param isDone whether there is an answer, or a reason why there is none
   */
  record News(Optional<State> state, String said, String edited, boolean isDone) {}

  Inquiry(Question<? extends Record> question) {
    this.question = question;
  }

  /** Asks the session and waits. */
  void ask(Session session) {
    Asked<? extends Record> own;
    synchronized (this) {
      if (cancelled) {
        return;
      }
      own = session.ask(question, this);
      asked = own;
    }
    try {
      end(own.answer(), null);
    } catch (IOException | RuntimeException | Error e) {
      end(null, e);
    }
  }

  private synchronized void end(@Nullable Record found, @Nullable Throwable reason) {
    answer = found;
    failure = reason;
    notifyAll();
  }

  /** Nobody waits for it any more. */
  synchronized void cancel() {
    cancelled = true;
    if (asked != null) {
      asked.cancel();
    }
    if (answer == null && failure == null) {
      failure = new CancellationException("nobody waits for this answer any more");
    }
    notifyAll();
  }

  /** It will not be answered. */
  synchronized void refuse(Refused reason) {
    cancelled = true;
    failure = reason;
    notifyAll();
  }

  synchronized boolean isCancelled() {
    return cancelled;
  }

  /** Waits for news, at most so long. */
  synchronized News news(long millis) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
    long left = millis;
    while (!isNew() && left > 0) {
      wait(left);
      left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
    }
    News news =
        new News(
            Optional.ofNullable(state),
            said[0].toString(),
            said[1].toString(),
            answer != null || failure != null);
    state = null;
    said[0].setLength(0);
    said[1].setLength(0);
    return news;
  }

  private boolean isNew() {
    return state != null
        || said[0].length() + said[1].length() > 0
        || answer != null
        || failure != null;
  }

  /** The answer, if it is answered. */
  synchronized Optional<Record> answer() {
    return Optional.ofNullable(answer);
  }

  /** Why there is no answer, if there is none. */
  synchronized Optional<Throwable> failure() {
    return Optional.ofNullable(failure);
  }

  @Override
  public synchronized void enter(Phase next) {
    phase = next;
    state = new State(phase, 0, 0);
    notifyAll();
  }

  @Override
  public synchronized void at(int done, int total) {
    state = new State(phase, done, total);
    notifyAll();
  }

  @Override
  public synchronized void said(boolean edited, String more) {
    said[edited ? 1 : 0].append(more);
    notifyAll();
  }
}

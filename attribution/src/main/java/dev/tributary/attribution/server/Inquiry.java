package dev.tributary.attribution.server;

import dev.tributary.attribution.explain.Asked;
import dev.tributary.attribution.explain.Listener;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.attribution.explain.Question;
import dev.tributary.attribution.explain.Session;
import java.io.IOException;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/** A question that somebody waits for, and what has become of it. Guarded by itself. */
final class Inquiry implements Listener {
  private final Question<? extends Record> question;
  private @Nullable Asked<? extends Record> asked;
  private boolean cancelled;
  private @Nullable Record answer;
  private @Nullable Throwable failure;

  private Phase phase = Phase.TOKENIZER;

  /** When the model began to compute, by {@link System#nanoTime}. */
  private OptionalLong begun = OptionalLong.empty();

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
    if (!isDone()) {
      answer = found;
      failure = reason;
    }
    notifyAll();
  }

  /** It is not to be answered any more, if it is not yet: work on it ends at its next step. */
  synchronized void refuse(Refused reason) {
    cancelled = true;
    if (asked != null) {
      asked.cancel();
    }
    end(null, reason);
  }

  /** How long the model has computed, in milliseconds; reading its weights is not counted. */
  synchronized long worked() {
    return begun.isEmpty()
        ? 0
        : TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun.getAsLong());
  }

  /** Waits for news, at most so long. */
  synchronized News news(long millis) throws InterruptedException {
    await(this::isNew, millis);
    News news =
        new News(Optional.ofNullable(state), said[0].toString(), said[1].toString(), isDone());
    state = null;
    said[0].setLength(0);
    said[1].setLength(0);
    return news;
  }

  /** Waits for the end, at most so long, and says whether it has come. */
  synchronized boolean isDoneWithin(long millis) throws InterruptedException {
    await(this::isDone, millis);
    return isDone();
  }

  private void await(BooleanSupplier condition, long millis) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
    long left = millis;
    while (!condition.getAsBoolean() && left > 0) {
      wait(left);
      left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
    }
  }

  private boolean isNew() {
    return state != null || said[0].length() + said[1].length() > 0 || isDone();
  }

  private boolean isDone() {
    return answer != null || failure != null;
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
    if (begun.isEmpty() && phase.compareTo(Phase.RUN) >= 0) {
      begun = OptionalLong.of(System.nanoTime());
    }
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

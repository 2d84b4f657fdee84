package dev.tributary.attribution.cli;

import dev.tributary.attribution.explain.Listener;
import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.attribution.explain.Question;
import dev.tributary.attribution.explain.Session;
import dev.tributary.transformer.Progress;
import java.io.IOException;
import java.lang.ProcessBuilder.Redirect;
import java.time.Duration;
import java.util.Timer;
import java.util.TimerTask;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;

/**
 * A bar on standard error that appears when work has taken a second and is erased when it ends;
 * none if standard error is no terminal.
 */
final class TerminalProgress implements Listener, AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(1);
  private static final int WIDTH = 60;
  private static final int UPDATE_MILLIS = 200;

  /** What the bar calls a number of steps that is not known. */
  private static final int UNKNOWN = -1;

  private final Timer timer = new Timer("progress", true);
  private @Nullable ProgressBar bar;
  private boolean closed;
  private Phase phase = Phase.TOKENIZER;
  private int done;
  private int total = UNKNOWN;

  private TerminalProgress() {}

  /** Starts to wait for a second, in the first phase. */
  static TerminalProgress start() {
    TerminalProgress progress = new TerminalProgress();
    progress.timer.schedule(
        new TimerTask() {
          @Override
          public void run() {
            if (isTerminal()) {
              progress.appear();
            }
          }
        },
        PATIENCE.toMillis());
    return progress;
  }

  /** The answer of a model that is opened for it, and closed. */
  static <A extends Record> A ask(ModelChoice choice, Question<A> question) throws IOException {
    try (TerminalProgress progress = start();
        Session session = Session.open(choice)) {
      return session.ask(question, progress).answer();
    }
  }

  /**
   * The JVM cannot say whether standard error is a terminal (its console answers for input and
   * output), so the utility that every POSIX system has is asked; elsewhere there is no bar.
   */
  private static boolean isTerminal() {
    try {
      Process test = new ProcessBuilder("test", "-t", "2").redirectError(Redirect.INHERIT).start();
      return test.waitFor() == 0;
    } catch (IOException e) {
      return false;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  private synchronized void appear() {
    if (!closed) {
      bar =
          new ProgressBarBuilder()
              .setStyle(ProgressBarStyle.ASCII)
              .setConsumer(new ErasedLine())
              .setUpdateIntervalMillis(UPDATE_MILLIS)
              .continuousUpdate()
              .clearDisplayOnFinish()
              .hideEta()
              .setInitialMax(total)
              .build();
      show();
    }
  }

  @Override
  public synchronized void enter(Phase next) {
    phase = next;
    if (total != UNKNOWN) {
      done = Math.max(0, total - next.stepsLeft());
    }
    show();
  }

  /** Hears how many layers have been read, or of steps of the last phase. */
  @Override
  public synchronized void at(int stepsDone, int steps) {
    done = stepsDone;
    total = phase == Phase.WEIGHTS ? steps + Phase.RUN.stepsLeft() : steps;
    show();
  }

  /** Hears of the steps of a phase inside the one that is entered, until that goes on. */
  Progress inside(Phase inner) {
    return (own, all) -> show(inner, own, all);
  }

  private void show() {
    show(phase, done, total);
  }

  private synchronized void show(Phase shown, int own, int all) {
    if (bar != null) {
      bar.maxHint(all).stepTo(own).setExtraMessage(" " + shown.words());
    }
  }

  @Override
  public synchronized void close() {
    closed = true;
    timer.cancel();
    if (bar != null) {
      bar.close();
    }
  }

  /** Of fixed width, which needs no question to the terminal, and gone at the end. */
  private static final class ErasedLine extends ConsoleProgressBarConsumer {
    ErasedLine() {
      super(System.err, WIDTH);
    }

    @Override
    public void clear() {
      System.err.print("\r" + " ".repeat(WIDTH) + "\r");
      System.err.flush();
    }

    /** Not to the next line, as otherwise. */
    @Override
    public void close() {}
  }
}

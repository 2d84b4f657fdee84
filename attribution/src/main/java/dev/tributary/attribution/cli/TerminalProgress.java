package dev.tributary.attribution.cli;

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
final class TerminalProgress implements Progress, AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(1);
  private static final int WIDTH = 60;
  private static final int UPDATE_MILLIS = 200;

  /** What the bar calls a number of steps that is not known. */
  private static final int UNKNOWN = -1;

  /**
   * What is being done. Reading weights has a step for each layer, what follows has one each;
   * before, the number of layers is not known.
   */
  enum Phase {
    TOKENIZER("reading the tokenizer", 0),
    WEIGHTS("reading weights", 0),
    RUN("running the model", 3),
    GRADIENTS("computing gradients", 2),
    EDGES("computing edges", 1),
    SEARCH("searching edges", 1),
    CIRCUIT("finding the circuit", 2),
    ATTENTION("explaining attention", 1),
    MEANS("running clean prompts for means", 1),
    PAIRS("running pairs of prompts", 1),
    SAMPLE("patching a sample", 1),
    SAVE("writing the model", 1);

    private final String words;
    private final int stepsLeft;

    Phase(String words, int stepsLeft) {
      this.words = words;
      this.stepsLeft = stepsLeft;
    }
  }

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

  /** Says what is being done from now on. */
  synchronized void enter(Phase next) {
    phase = next;
    if (total != UNKNOWN) {
      done = total - next.stepsLeft;
    }
    show();
  }

  /** Enters the last phase, and hears of steps of its own. */
  Progress within(Phase last) {
    enter(last);
    return (stepsDone, steps) -> {
      synchronized (this) {
        done = stepsDone;
        total = steps;
        show();
      }
    };
  }

  /** Hears how many layers have been read. */
  @Override
  public synchronized void at(int layersDone, int layers) {
    done = layersDone;
    total = layers + Phase.RUN.stepsLeft;
    show();
  }

  private void show() {
    if (bar != null) {
      bar.maxHint(total).stepTo(done).setExtraMessage(" " + phase.words);
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

package dev.tributary.attribution.server;

import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * How long a reader may take for a piece of what is written to it. Then its connection is closed,
 * and the thread that wrote is free: the JDK's own limit ({@code sun.net.httpserver.maxRspTime})
 * would count the work on an answer too.
 */
final class Patience implements AutoCloseable {
  /** Bytes that are written at once, which a reader may take so long for. */
  private static final int PIECE = 1 << 16;

  private final long millis;
  private final ScheduledThreadPoolExecutor watch =
      new ScheduledThreadPoolExecutor(
          1,
          task -> {
            Thread thread = new Thread(task, "tributary patience");
            thread.setDaemon(true);
            return thread;
          },
          new ThreadPoolExecutor.DiscardPolicy());

  Patience(long millis) {
    this.millis = millis;
    watch.setRemoveOnCancelPolicy(true);
  }

  /** Something that is written. */
  @FunctionalInterface
  interface Writing {
    void write() throws IOException;
  }

  /** Writes in time, or closes the channel to which it is written, as an interrupt does. */
  void during(Writing code) throws IOException {
    Interruption interruption = new Interruption(Thread.currentThread());
    Future<?> timer = watch.schedule(interruption, millis, TimeUnit.MILLISECONDS);
    try {
      code.write();
    } finally {
      interruption.end();
      timer.cancel(false);
    }
  }

  private static final class Interruption implements Runnable {
    private final Thread thread;
    private boolean ended;

    Interruption(Thread thread) {
      this.thread = thread;
    }

    @Override
    public synchronized void run() {
      if (!ended) {
        thread.interrupt();
      }
    }

    /** From here on the thread does other things. */
    synchronized void end() {
      ended = true;
    }
  }

  /** The same output, piece by piece. */
  OutputStream over(OutputStream all) {
    return new FilterOutputStream(all) {
      @Override
      public void write(byte[] bytes, int from, int count) throws IOException {
        for (int i = 0; i < count; i += PIECE) {
          int begin = from + i;
          int length = Math.min(PIECE, count - i);
          during(() -> out.write(bytes, begin, length));
        }
      }

      @Override
      public void flush() throws IOException {
        during(out::flush);
      }

      @Override
      public void close() throws IOException {
        during(out::close);
      }
    };
  }

  @Override
  public void close() {
    watch.shutdownNow();
  }
}

package dev.tributary.attribution.explain;

import dev.tributary.core.Device;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * A model that answers questions, one after the other, on a thread of its own. Weights are read
 * when a question first needs them; the run of a prompt and its gradients are shared by all
 * questions about them. Any thread may ask; several sessions may be open.
 *
 * <pre>{@code
 * try (Session session = Session.open(ModelChoice.shipped())) {
 *   Attribute.Attributed found = session.answer(new Attribute(Subject.example(), 10));
 *   found.nodes().forEach(System.out::println);
 * }
 * }</pre>
 */
public final class Session implements AutoCloseable {
  private final OpenedModel model;
  private final Work work;

  /** On which it computes. */
  private final Device device = Device.current();

  private final ExecutorService thread;
  private final Scope scope;

  private Session(OpenedModel model) throws IOException {
    this.model = model;
    this.work = new Work(model);
    this.thread =
        Executors.newSingleThreadExecutor(
            task -> {
              Thread own = new Thread(task, "tributary session");
              own.setDaemon(true);
              return own;
            });
    this.scope = submit(Scope::open).answer();
  }

  /**
   * Opens a session on the device of this thread.
   *
   * @param choice which model answers
   * @return the session
   * @throws IOException if it cannot be found or opened
   */
  public static Session open(ModelChoice choice) throws IOException {
    Thread meanwhile = new Thread(Session::lookForDevice, "tributary device");
    meanwhile.setDaemon(true);
    meanwhile.start();
    return new Session(choice.open());
  }

  /** Takes as long as reading a tokenizer, once in a process. */
  private static void lookForDevice() {
    try {
      Device.current();
    } catch (IllegalStateException | IllegalArgumentException e) {
      return; // whoever opens the session is told
    }
  }

  /** {@return the model by its files} */
  public OpenedModel model() {
    return model;
  }

  /**
   * Asks a question and waits for the answer.
   *
   * @param <A> its answer
   * @param question of the model
   * @return the answer
   * @throws IOException if files of the model cannot be read
   * @throws IllegalArgumentException if it cannot be answered, with what is wrong with it
   */
  public <A extends Record> A answer(Question<A> question) throws IOException {
    return ask(question, Listener.NONE).answer();
  }

  /**
   * Asks a question.
   *
   * @param <A> its answer
   * @param question of the model
   * @param listener hears how far the answer has come
   * @return what the answer is read of
   * @throws IllegalStateException if the session is closed
   */
  public <A extends Record> Asked<A> ask(Question<A> question, Listener listener) {
    return submit(() -> work.answer(question, listener));
  }

  /**
   * Reads the files that answers need, which the first question that needs them otherwise does.
   *
   * @param listener hears how far it has come
   * @throws IOException if one cannot be read
   * @throws IllegalArgumentException if the explanations are of what the model does not have
   */
  public void load(Listener listener) throws IOException {
    submit(
            () -> {
              work.load(listener);
              return model;
            })
        .answer();
  }

  private <T> Asked<T> submit(Callable<T> code) {
    FutureTask<T> task = new FutureTask<>(code);
    try {
      thread.execute(
          () ->
              device.during(
                  () -> {
                    task.run();
                    return task;
                  }));
    } catch (RejectedExecutionException e) {
      throw new IllegalStateException("this session is closed", e);
    }
    return new Asked<>(task);
  }

  /** Waits for all answers that were asked for, and frees the model. */
  @Override
  public void close() {
    if (thread.isShutdown()) {
      return;
    }
    submit(
        () -> {
          work.close();
          scope.close();
          return scope;
        });
    thread.shutdown();
    boolean interrupted = false;
    while (!thread.isTerminated()) {
      try {
        thread.awaitTermination(1, TimeUnit.MINUTES);
      } catch (InterruptedException e) {
        interrupted = true; // the memory of the model is freed all the same
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}

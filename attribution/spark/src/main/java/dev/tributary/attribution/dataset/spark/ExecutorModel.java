package dev.tributary.attribution.dataset.spark;

import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.OpenedModel;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.Models;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;

/**
 * Says which model; a process that is asked for it loads it once and keeps it until it ends, for
 * all threads.
 */
public abstract class ExecutorModel implements Serializable {
  private static final long serialVersionUID = 1;

  /** Of this process, by what they are. */
  private static final Map<String, Transformer> LOADED = new ConcurrentHashMap<>();

  /** What it is, and in which precision. */
  private final String key;

  /** In which to compute. */
  private final DType dtype;

  private ExecutorModel(String key, DType dtype) {
    this.key = key + " in " + dtype;
    this.dtype = dtype;
  }

  /**
   * {@return the small trained model that comes with the library}
   *
   * @param dtype in which to compute
   */
  public static ExecutorModel textbook(DType dtype) {
    return new ExecutorModel("textbook", dtype) {
      @Override
      Transformer load(DType dtype) {
        return Models.textbook(dtype);
      }
    };
  }

  /**
   * {@return a model in files that every machine finds at one place}
   *
   * @param path as {@link Models#load(Path)} takes it
   * @param dtype in which to compute
   */
  public static ExecutorModel at(Path path, DType dtype) {
    String name = path.toAbsolutePath().toString();
    return new ExecutorModel(name, dtype) {
      @Override
      Transformer load(DType dtype) throws IOException {
        return Models.load(Path.of(name), dtype, Progress.NONE);
      }
    };
  }

  /**
   * {@return a model in files that every machine finds at one place, with an adapter merged into
   * it}
   *
   * @param path as {@link Checkpoint#open(Path, Path)} takes it
   * @param adapter its folder
   * @param dtype in which to compute
   */
  public static ExecutorModel at(Path path, Path adapter, DType dtype) {
    String name = path.toAbsolutePath().toString();
    String adapterName = adapter.toAbsolutePath().toString();
    return new ExecutorModel(name + " with " + adapterName, dtype) {
      @Override
      Transformer load(DType dtype) throws IOException {
        Checkpoint checkpoint = Checkpoint.open(Path.of(name), Path.of(adapterName));
        return Models.load(checkpoint, dtype, Progress.NONE);
      }
    };
  }

  /**
   * {@return a model in files of this machine, which are sent to all others as a broadcast
   * variable} Each process that loads it holds them twice for a moment.
   *
   * @param context that sends them
   * @param path as {@link Models#load(Path)} takes it; of a folder the files in it
   * @param dtype in which to compute
   * @throws IOException if they cannot be read
   */
  public static ExecutorModel broadcast(JavaSparkContext context, Path path, DType dtype)
      throws IOException {
    Broadcast<FileCopies> copies = context.broadcast(FileCopies.of(path));
    return new ExecutorModel("broadcast " + copies.value().id(), dtype) {
      @Override
      Transformer load(DType dtype) throws IOException {
        return copies.value().during(copy -> Models.load(copy, dtype, Progress.NONE));
      }
    };
  }

  /**
   * {@return the same with dictionaries that every machine finds at one place}
   *
   * @param folder as {@link ModelChoice#dictionaries} names it
   */
  public ExecutorModel withDictionaries(String folder) {
    ExecutorModel plain = this;
    return new ExecutorModel(key + " with dictionaries " + folder, dtype) {
      @Override
      Transformer load(DType dtype) throws IOException {
        return OpenedModel.with(plain.load(dtype), folder);
      }
    };
  }

  abstract Transformer load(DType dtype) throws IOException;

  /**
   * {@return the model of this process}
   *
   * @throws UncheckedIOException if it cannot be read here
   */
  public Transformer get() {
    return LOADED.computeIfAbsent(key, any -> onThreadOfItsOwn(this::loadForEver));
  }

  private Transformer loadForEver() {
    Scope.open(); // weights live as long as the process
    try {
      return load(dtype);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** So that the scope is around none of the caller's. */
  private static Transformer onThreadOfItsOwn(Supplier<Transformer> load) {
    CompletableFuture<Transformer> loaded = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                loaded.complete(load.get());
              } catch (RuntimeException | Error e) {
                loaded.completeExceptionally(e);
              }
            },
            "tributary-model");
    thread.setDaemon(true);
    thread.start();
    try {
      return loaded.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      throw e;
    }
  }

  @Override
  public String toString() {
    return key;
  }
}

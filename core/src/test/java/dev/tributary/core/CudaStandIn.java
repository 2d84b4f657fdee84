package dev.tributary.core;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Set;
import java.util.stream.Stream;
import net.jqwik.api.lifecycle.LifecycleContext;
import net.jqwik.api.lifecycle.SkipExecutionHook;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.SizeTPointer;
import org.jspecify.annotations.Nullable;

/**
 * The libraries of NVIDIA that tests of the CUDA device use: those that the property names, on a
 * machine with a GPU, or else stand-ins that run the kernels on the CPU. They are in {@code
 * core/src/test/cuda} and are built with g++ when they are first asked for.
 */
final class CudaStandIn {
  /** The folder of the libraries. */
  private static final String PROPERTY = "tributary.cuda";

  /** What the stand-ins count, by the number under which they tell it. */
  enum Count {
    LAUNCHES(1000),
    COPIES_TO_DEVICE(1001),
    COPIES_TO_HOST(1002),
    WAITS(1003);

    private final int number;

    Count(int number) {
      this.number = number;
    }
  }

  /** Whether the libraries are stand-ins. */
  static final boolean PRESENT;

  /** Why there are no libraries at all. */
  private static final @Nullable String MISSING;

  static {
    boolean isGiven = System.getProperty(PROPERTY) != null;
    MISSING = isGiven ? null : whatIsMissing();
    PRESENT = !isGiven && MISSING == null;
    if (PRESENT) {
      System.setProperty(PROPERTY, build().toString());
    }
  }

  private CudaStandIn() {}

  /** Skips tests where there are neither libraries nor a compiler for the stand-ins. */
  static final class Needed implements SkipExecutionHook {
    @Override
    public SkipResult shouldBeSkipped(LifecycleContext context) {
      return MISSING == null ? SkipResult.doNotSkip() : SkipResult.skip(MISSING);
    }
  }

  /** Skips tests of what only the stand-ins do. */
  static final class Only implements SkipExecutionHook {
    @Override
    public SkipResult shouldBeSkipped(LifecycleContext context) {
      return PRESENT
          ? SkipResult.doNotSkip()
          : SkipResult.skip(MISSING == null ? "the libraries are NVIDIA's" : MISSING);
    }
  }

  /** {@return how often the stand-ins did it in this process} */
  static long count(Count count) {
    try (SizeTPointer value = new SizeTPointer(1)) {
      Checks.requireState(
          cudart.cudaDeviceGetLimit(value, count.number) == cudart.cudaSuccess,
          "the stand-ins do not count %s",
          count);
      return value.get();
    }
  }

  /** Sets how much memory the stand-ins say that a device has: at first 4 GiB. */
  static void limitMemory(long bytes) {
    Checks.requireState(PRESENT, "NVIDIA's libraries would mean something else by it");
    cudart.cudaDeviceSetLimit(cudart.cudaLimitMallocHeapSize, bytes);
  }

  private static @Nullable String whatIsMissing() {
    String platform = System.getProperty("os.name") + " " + System.getProperty("os.arch");
    if (!platform.equals("Linux amd64")) {
      return "the stand-ins for CUDA are for Linux on x86-64";
    }
    try {
      run("g++", "--version");
      return null;
    } catch (IOException e) {
      return "no g++ to build the stand-ins for CUDA with";
    }
  }

  /** {@return the folder with the libraries} */
  private static Path build() {
    try (InputStream file = Device.class.getResourceAsStream("kernels.cu")) {
      byte[] kernels = Checks.requirePresent(file, "there are no kernels").readAllBytes();
      Path core = Path.of("..", "core").toRealPath();
      Path sources = core.resolve("src/test/cuda");
      Path folder = core.resolve("target/cuda-stand-in").resolve(digest(sources, kernels));
      Files.createDirectories(folder.getParent());
      try (FileChannel lock =
              FileChannel.open(folder.resolveSibling("lock"), Set.of(CREATE, WRITE));
          FileLock oneProcess = lock.lock()) {
        if (!Files.exists(folder)) {
          Path work = Files.createTempDirectory(folder.getParent(), "build");
          Path text = Files.write(work.resolve("kernels.cu"), kernels);
          run(sources.resolve("build.sh"), text, work);
          Files.move(work, folder);
        }
      }
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException("the stand-ins for CUDA could not be built", e);
    }
  }

  /** Of all that they are made of. */
  private static String digest(Path sources, byte[] kernels) throws IOException {
    try (Stream<Path> files = Files.list(sources)) {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (Path file : files.sorted().toList()) {
        digest.update(Files.readAllBytes(file));
      }
      digest.update(kernels);
      return HexFormat.of().formatHex(digest.digest(), 0, 8);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java has SHA-256", e);
    }
  }

  private static void run(Object... command) throws IOException {
    Process process =
        new ProcessBuilder(Stream.of(command).map(Object::toString).toList())
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    try {
      Checks.requireState(process.waitFor() == 0, "%s said: %s", command[0], output);
    } catch (InterruptedException e) {
      throw new IOException("interrupted", e);
    }
  }
}

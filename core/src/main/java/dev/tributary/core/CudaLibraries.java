package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Where this machine has CUDA 13: in the folder that the property {@code tributary.cuda} names, in
 * CUDA_HOME or CUDA_PATH, where NVIDIA's installer puts it, or wherever the dynamic linker looks.
 */
final class CudaLibraries {
  /** Names the folder of libcudart.so.13 and the others. */
  private static final String FOLDER = "tributary.cuda";

  /** In the order in which they need each other. */
  private static final List<String> NAMES =
      List.of("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libnvrtc.so.13");

  private static final String DRIVER = "libcuda.so.1";

  private static final List<String> DRIVER_FOLDERS =
      List.of(
          "/usr/local/nvidia/lib64",
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib64",
          "/usr/lib/wsl/lib",
          "/run/opengl-driver/lib");

  private static boolean isLoaded;

  /** Why not: the library loader says so once, and later only that it has failed before. */
  private static @Nullable String refusal;

  private CudaLibraries() {}

  /**
   * Loads them, and what calls them.
   *
   * @throws IllegalArgumentException if they are not here
   */
  static synchronized void load() {
    if (!isLoaded && refusal == null) {
      List<Path> folders = folders();
      try {
        loadFrom(folders);
        isLoaded = true;
      } catch (LinkageError | ClassNotFoundException e) {
        refusal = reason(e, folders);
      }
    }
    requireArgument(isLoaded, "%s", String.valueOf(refusal));
  }

  private static List<Path> folders() {
    List<Path> folders = new ArrayList<>();
    String named = System.getProperty(FOLDER);
    if (named != null) {
      folders.add(Path.of(named));
    }
    for (String variable : List.of("CUDA_HOME", "CUDA_PATH")) {
      String home = System.getenv(variable);
      if (home != null) {
        folders.add(Path.of(home, "lib64"));
        folders.add(Path.of(home, "lib"));
      }
    }
    folders.add(Path.of("/usr/local/cuda/lib64"));
    folders.add(Path.of("/usr/local/cuda-13/lib64"));
    return folders;
  }

  /**
   * By their paths, from one folder, so that no second CUDA of this machine gets in between.
   * Without such a folder the dynamic linker finds them or not.
   */
  private static void loadFrom(List<Path> folders) throws ClassNotFoundException {
    loadDriver(folders);
    for (Path folder : folders) {
      if (NAMES.stream().allMatch(name -> Files.exists(folder.resolve(name)))) {
        for (String name : NAMES) {
          if (name.startsWith("libnvrtc")) {
            builtins(folder).forEach(file -> System.load(file.toString()));
          }
          System.load(folder.resolve(name).toAbsolutePath().toString());
        }
        System.setProperty(
            "org.bytedeco.javacpp.platform.linkpath", folder.toAbsolutePath().toString());
        break;
      }
    }
    for (String preset : List.of("cudart", "cublas", "nvrtc")) {
      Class.forName("org.bytedeco.cuda.global." + preset);
    }
  }

  /** What NVRTC looks for by name only when it compiles. */
  private static List<Path> builtins(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .map(Path::toAbsolutePath)
          .filter(
              file -> file.getFileName().toString().matches("libnvrtc-builtins\\.so\\.13\\.\\d+"))
          .limit(1)
          .collect(Collectors.toList());
    } catch (IOException e) {
      return List.of(); // then NVRTC says what it lacks
    }
  }

  /** The linker does not look everywhere where drivers are. */
  private static void loadDriver(List<Path> folders) {
    Stream.concat(
            folders.stream().limit(System.getProperty(FOLDER) == null ? 0 : 1),
            DRIVER_FOLDERS.stream().map(Path::of))
        .map(folder -> folder.resolve(DRIVER).toAbsolutePath())
        .filter(Files::exists)
        .findFirst()
        .ifPresent(file -> System.load(file.toString()));
  }

  private static String reason(Throwable error, List<Path> folders) {
    Throwable cause = error;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    String said = String.valueOf(cause.getMessage());
    String message =
        said.substring(said.lastIndexOf('/') + 1).replaceFirst("^libjni\\w+\\.so: ", "");
    if (cause instanceof ClassNotFoundException) {
      return "this build holds no calls of CUDA";
    }
    if (message.startsWith(DRIVER)) {
      return "there is no NVIDIA driver on this machine";
    }
    if (NAMES.stream().anyMatch(message::startsWith)) {
      return "CUDA 13 is not on this machine (%s); looked in %s, and -D%s=FOLDER names another folder"
          .formatted(
              message,
              folders.stream().map(Path::toString).collect(Collectors.joining(", ")),
              FOLDER);
    }
    return "CUDA cannot be loaded on this machine: " + message;
  }
}

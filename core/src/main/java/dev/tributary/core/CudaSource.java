package dev.tributary.core;

import static dev.tributary.core.Checks.requirePresent;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * The kernels of {@link CudaKernels} as they are compiled for one element type and one GPU
 * architecture. What was compiled is kept in the user's cache, under a hash of all that it was made
 * of.
 *
 * @param text CUDA C++
 * @param flags of the compiler
 */
record CudaSource(String text, List<String> flags) {
  static final String FILE = "kernels.cu";

  private static final byte[] NOTHING = {};

  static CudaSource of(DType dtype, String architecture) {
    try (InputStream file = CudaSource.class.getResourceAsStream(FILE)) {
      return new CudaSource(
          new String(
              requirePresent(file, "%s is missing in this build", FILE).readAllBytes(),
              StandardCharsets.UTF_8),
          List.of(
              "--gpu-architecture=sm_" + architecture,
              "-DREAL=" + (dtype == DType.FLOAT ? "float" : "double")));
    } catch (IOException e) {
      throw new UncheckedIOException(FILE + " cannot be read", e);
    }
  }

  String[] options() {
    return flags.toArray(new String[0]);
  }

  /** {@return machine code that was kept, or nothing} */
  byte[] kept() {
    try {
      return Files.readAllBytes(place());
    } catch (IOException e) {
      return NOTHING;
    }
  }

  /** Keeps machine code for the next time, where that can be. */
  void keep(byte[] code) {
    try {
      Path place = place();
      Path folder = requirePresent(place.getParent(), "%s has no folder", place);
      Files.createDirectories(folder);
      Path whole = Files.createTempFile(folder, "kernels", ".tmp");
      try {
        Files.write(whole, code);
        Files.move(
            whole, place, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(whole); // where it is not moved: the disk is full
      }
    } catch (IOException e) {
      return; // it is compiled again next time
    }
  }

  private Path place() {
    String cache = System.getenv("XDG_CACHE_HOME");
    Path folder =
        cache == null || cache.isEmpty()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(cache);
    return folder.resolve("tributary").resolve(hash() + ".cubin");
  }

  private String hash() {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(String.join(" ", flags).getBytes(StandardCharsets.UTF_8));
      digest.update(text.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java has SHA-256", e);
    }
  }
}

package dev.tributary.transformer;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.stream.IntStream;

/**
 * A digest of tensors by some of their rows: training moves nearly all numbers, so that some tell,
 * for the cost of reading some.
 */
final class Fingerprint {
  /** Of a tensor, at most. */
  private static final int ROWS = 16;

  private final MessageDigest digest;

  Fingerprint() {
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has it
    }
  }

  void add(String words) {
    digest.update(words.getBytes(StandardCharsets.UTF_8));
  }

  /** All of a vector, and some rows of all else. */
  void add(Tensor tensor) {
    add(tensor.shape().toString());
    if (tensor.shape().rank() < 2) {
      numbers(tensor);
      return;
    }
    for (int row : rows(tensor.shape().size(0))) {
      try (Scope scope = Scope.open()) {
        numbers(tensor.slice(0, row, row + 1));
      }
    }
  }

  void add(DecoderRows decoder) {
    try (Scope scope = Scope.open()) {
      numbers(decoder.of(rows(decoder.latents())));
    }
  }

  /** Evenly far apart. */
  private static int[] rows(int all) {
    int some = Math.min(all, ROWS);
    return IntStream.range(0, some).map(i -> (int) ((long) i * all / some)).toArray();
  }

  private void numbers(Tensor tensor) {
    double[] numbers = tensor.toDoubles();
    ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Double.BYTES);
    bytes.asDoubleBuffer().put(numbers);
    digest.update(bytes);
  }

  /** Of all that was added; nothing can be added after it. */
  String hex() {
    return HexFormat.of().formatHex(digest.digest());
  }
}

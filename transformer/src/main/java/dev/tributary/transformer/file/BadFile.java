package dev.tributary.transformer.file;

import static java.util.regex.Pattern.DOTALL;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The one way to refuse a file: an {@link IOException} of one sentence that begins with its path.
 */
final class BadFile {
  /** Longest piece of a file that a sentence repeats, in characters. */
  private static final int QUOTE = 100;

  /** Pointers of Git LFS are smaller than this, bytes. */
  private static final int POINTER_LIMIT = 1024;

  private static final Pattern POINTER =
      Pattern.compile(
          "version https://(?:git-lfs|hawser)\\.github\\.com/spec/[^\\n]*\\n.*", DOTALL);

  private static final Pattern POINTER_SIZE = Pattern.compile("\\nsize (\\d+)\\r?(?:\\n|$)");

  private BadFile() {}

  @FormatMethod
  static IOException because(Path file, @FormatString String reason, Object... values) {
    return named(file.toString(), reason, values);
  }

  /** The same of what has another name than a path. */
  @FormatMethod
  static IOException named(String name, @FormatString String reason, Object... values) {
    return new IOException(name + ": " + String.format(Locale.ROOT, reason, values));
  }

  /** The same, with what another library said kept as the cause. */
  @FormatMethod
  static IOException causedBy(
      Throwable cause, Path file, @FormatString String reason, Object... values) {
    IOException exception = because(file, reason, values);
    exception.initCause(cause);
    return exception;
  }

  /** A name out of a file, made safe to put into a sentence. */
  static String quoted(String text) {
    return '"' + shortened(text) + '"';
  }

  /** Text out of a file: one line, and not endless. */
  static String shortened(String text) {
    String start = text.length() > QUOTE ? text.substring(0, QUOTE) + "..." : text;
    return start.replaceAll("\\p{Cntrl}", "?");
  }

  /**
   * Refuses what cannot be read as a file. A pipe or device would otherwise block or never end.
   *
   * @throws IOException if there is nothing, a folder, anything else but a file, or a file that
   *     stands for another one
   */
  static void requireFile(Path file) throws IOException {
    if (Files.notExists(file)) {
      throw because(file, "there is no such file");
    }
    if (Files.isDirectory(file)) {
      throw because(file, "this is a folder, expected a file");
    }
    if (!Files.isRegularFile(file)) {
      throw because(file, "this is not a file that can be read");
    }
    requireNoPointer(file);
  }

  /** A repository that was cloned without Git LFS has a pointer in the place of each large file. */
  private static void requireNoPointer(Path file) throws IOException {
    String text;
    try {
      if (Files.size(file) >= POINTER_LIMIT) {
        return;
      }
      text = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      throw causedBy(e, file, "this file cannot be read");
    }
    if (POINTER.matcher(text).matches()) {
      Matcher size = POINTER_SIZE.matcher(text);
      throw because(
          file,
          "this is a Git LFS pointer, not the file itself%s: run git lfs pull",
          size.find() ? ", which has " + shortened(size.group(1)) + " bytes" : "");
    }
  }

  /**
   * The bytes of a file that is read as a whole.
   *
   * @param limit largest size that such a file has, bytes
   * @throws IOException if it cannot be read, or is larger
   */
  static byte[] bytes(Path file, int limit) throws IOException {
    requireFile(file);
    byte[] bytes;
    try (InputStream stream = Files.newInputStream(file)) {
      bytes = stream.readNBytes(limit + 1);
    } catch (IOException e) {
      throw causedBy(e, file, "this file cannot be read");
    }
    if (bytes.length > limit) {
      throw because(file, "this file has more than %d bytes", limit);
    }
    return bytes;
  }
}

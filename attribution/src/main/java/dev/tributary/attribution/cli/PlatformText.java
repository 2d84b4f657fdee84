package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import picocli.CommandLine.TypeConversionException;

/**
 * Text that comes from the operating system. Java reads arguments and names of files by the charset
 * of the locale; outside of UTF-8 (containers have no locale at all) it replaces what that charset
 * lacks, and cannot open a file of such a name.
 */
final class PlatformText {
  /** What Java puts in the place of bytes that are no text. */
  private static final String REPLACEMENT = "\uFFFD";

  private static final Charset CHARSET =
      Optional.ofNullable(System.getProperty("sun.jnu.encoding"))
          .filter(Charset::isSupported)
          .map(Charset::forName)
          .orElse(Charset.defaultCharset());

  /** Why text is lost, and what helps. */
  static final String LACK =
      "the encoding of this locale, "
          + CHARSET
          + ", lacks characters: "
          + (System.getProperty("os.name", "").startsWith("Windows")
              ? "switch on UTF-8 in the language settings of Windows"
              : "set LC_ALL=C.UTF-8");

  private PlatformText() {}

  /**
   * The arguments of this process as they were typed: in UTF-8 whatever the locale, or else by the
   * locale.
   *
   * @throws IllegalArgumentException if one is lost, or the folder in which this process runs is
   */
  static String[] arguments(String... arguments) {
    requireArgument(
        Files.isDirectory(Path.of("").toAbsolutePath()),
        "this folder, %s, cannot be read%s",
        System.getProperty("user.dir"),
        CHARSET.equals(StandardCharsets.UTF_8) ? "" : " (" + LACK + ")");
    // Of mvn -Drun, which has read them by the locale already, and writes what it lost as ?.
    String ofMaven = Objects.requireNonNullElse(System.getenv("MAVEN_CMD_LINE_ARGS"), "");
    requireArgument(
        CHARSET.equals(StandardCharsets.UTF_8) || isAscii(ofMaven),
        "the arguments that Maven hands on are not those that were typed: %s",
        LACK);
    return arguments(commandLine(), CHARSET, arguments);
  }

  /**
   * The same for any process.
   *
   * @param commandLine bytes of the process's arguments, NUL after each; maybe none
   * @param charset by which Java read them
   * @param arguments as Java read them, the last ones of the command line
   */
  static String[] arguments(byte[] commandLine, Charset charset, String... arguments) {
    if (Arrays.stream(arguments).allMatch(PlatformText::isAscii)) {
      return arguments;
    }
    List<byte[]> typed = split(commandLine);
    List<byte[]> last = typed.subList(Math.max(0, typed.size() - arguments.length), typed.size());
    // A file of arguments, an environment variable or another program may have named them instead.
    boolean isKnown =
        last.stream().map(bytes -> new String(bytes, charset)).toList().equals(List.of(arguments));
    String[] result = new String[arguments.length];
    for (int i = 0; i < result.length; i++) {
      Optional<String> text = isKnown ? utf8(last.get(i)) : Optional.empty();
      boolean isLost =
          text.isEmpty()
              && arguments[i].contains(REPLACEMENT)
              && (isKnown || !charset.equals(StandardCharsets.UTF_8));
      requireArgument(!isLost, "argument %d, \"%s\", cannot be read as UTF-8", i + 1, arguments[i]);
      result[i] = text.orElse(arguments[i]);
    }
    return result;
  }

  private static boolean isAscii(String text) {
    return StandardCharsets.US_ASCII.newEncoder().canEncode(text);
  }

  private static byte[] commandLine() {
    try {
      return Files.readAllBytes(Path.of("/proc/self/cmdline"));
    } catch (IOException e) {
      return new byte[0]; // not Linux
    }
  }

  private static List<byte[]> split(byte[] commandLine) {
    List<byte[]> arguments = new ArrayList<>();
    ByteArrayOutputStream argument = new ByteArrayOutputStream();
    for (byte b : commandLine) {
      if (b == 0) {
        arguments.add(argument.toByteArray());
        argument.reset();
      } else {
        argument.write(b);
      }
    }
    return arguments;
  }

  private static Optional<String> utf8(byte[] bytes) {
    try {
      return Optional.of(
          StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString());
    } catch (CharacterCodingException e) {
      return Optional.empty();
    }
  }

  /** Whether there are characters that the locale has lost. */
  static boolean isLost(String text) {
    return text.contains(REPLACEMENT) && !CHARSET.equals(StandardCharsets.UTF_8);
  }

  /** A file, in the words of this program if it can have no such name. */
  static Path path(String name) {
    try {
      return Path.of(name);
    } catch (InvalidPathException e) {
      throw new TypeConversionException(refused(e));
    }
  }

  /** A name that no file can have here, and why. */
  static String refused(InvalidPathException name) {
    return "\"%s\" cannot be the name of a file".formatted(name.getInput())
        + (CHARSET.newEncoder().canEncode(name.getInput()) ? "" : " (" + LACK + ")");
  }

  /** What went wrong, and that the locale may be why, if it may. */
  static String explained(String sentence) {
    return isLost(sentence) && !sentence.contains(LACK) ? sentence + " (" + LACK + ")" : sentence;
  }
}

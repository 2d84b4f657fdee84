package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.transformer.file.Models;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class PlatformTextTest {
  private static final Charset UTF_8 = StandardCharsets.UTF_8;
  private static final Charset ASCII = StandardCharsets.US_ASCII;
  private static final Charset LATIN = StandardCharsets.ISO_8859_1;

  private static final String[] TYPED = {
    "attribute", "--prompt", "caf\u00e9 \ud83d\ude00", "", "\u65e5\u672c", "\ufffd", "\u0627?"
  };

  /** What stands in /proc/self/cmdline. */
  private static byte[] commandLine(Charset charset, String... arguments) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    Stream.concat(Stream.of("java", "-Da=\u00e9", "-jar", "x.jar"), Arrays.stream(arguments))
        .forEach(
            argument -> {
              bytes.writeBytes(argument.getBytes(charset));
              bytes.write(0);
            });
    return bytes.toByteArray();
  }

  /** As the launcher of Java does it. */
  private static String[] read(Charset by, Charset written, String... arguments) {
    return Arrays.stream(arguments)
        .map(argument -> new String(argument.getBytes(written), by))
        .toArray(String[]::new);
  }

  static Stream<Charset> charsets() {
    return Stream.of(UTF_8, ASCII, LATIN, StandardCharsets.UTF_16BE);
  }

  @ParameterizedTest
  @MethodSource("charsets")
  void arguments_inUtf8_areTheTypedOnesInAnyLocale(Charset locale) {
    assertArrayEquals(
        TYPED,
        PlatformText.arguments(commandLine(UTF_8, TYPED), locale, read(locale, UTF_8, TYPED)));
  }

  @Test
  void arguments_notInUtf8_areThoseOfTheLocale() {
    Charset locale = Charset.forName("EUC-JP");
    String[] japanese = {"\u65e5\u672c", "a"};
    assertArrayEquals(
        japanese,
        PlatformText.arguments(
            commandLine(locale, japanese), locale, read(locale, locale, japanese)));
    String[] latin = {"caf\u00e9", "\u00fcber"};
    assertArrayEquals(
        latin, PlatformText.arguments(commandLine(LATIN, latin), LATIN, read(LATIN, LATIN, latin)));
    for (Charset other : List.of(ASCII, UTF_8)) {
      assertEquals(
          "argument 1, \"caf\ufffd\", cannot be read as UTF-8",
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      PlatformText.arguments(
                          commandLine(LATIN, latin), other, read(other, LATIN, latin)))
              .getMessage());
    }
  }

  /** Out of a file of arguments, or of a program that called this one. */
  @Test
  void arguments_thatAreNotOnTheCommandLine_areAsTheyWereRead() {
    String[] lost = read(ASCII, UTF_8, TYPED);
    for (byte[] commandLine :
        List.of(new byte[0], commandLine(UTF_8, "other"), commandLine(UTF_8, "--x", "\u00e9"))) {
      assertArrayEquals(TYPED, PlatformText.arguments(commandLine, UTF_8, TYPED));
      assertThrows(
          IllegalArgumentException.class, () -> PlatformText.arguments(commandLine, ASCII, lost));
    }
  }

  // ---- as a process of its own -------------------------------------------------------------

  @TempDir private Path scratch;

  private Program inLocale(String locale, Path folder, String... arguments)
      throws IOException, InterruptedException {
    return Program.run(
        List.of(arguments), Map.of("LC_ALL", locale, "LANG", locale), folder, scratch);
  }

  private static void assertRefused(Program program, String... parts) {
    assertEquals(2, program.exitCode(), program.err());
    assertEquals(1, program.err().lines().count(), program.err());
    assertFalse(program.err().contains("Exception"), program.err());
    for (String part : parts) {
      assertTrue(program.err().contains(part), program.err());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"C", "POSIX", "C.UTF-8"})
  void prompt_inAnyLocale_isWhatWasTyped(String locale) throws Exception {
    assumeTrue(Files.exists(Path.of("/proc/self/cmdline")), "only Linux says what was typed");
    Program program =
        inLocale(locale, scratch, "attribute", "--prompt", "The caf\u00e9 \ud83d\ude00");
    assertRefused(program, "caf\u00e9", "\ud83d\ude00", "not in the vocabulary");
    assertEquals("", program.out());
  }

  /** Maven writes what it has lost as question marks, which nothing can tell from others. */
  @Test
  void arguments_throughMavenWithoutLocale_areRefusedIfAnyIsLost() throws Exception {
    List<String> arguments = List.of("attribute", "--prompt", "The caf?");
    for (String locale : List.of("C", "C.UTF-8")) {
      Map<String, String> maven = Map.of("LC_ALL", locale, "MAVEN_CMD_LINE_ARGS", "The caf\u00e9");
      assertRefused(
          Program.run(arguments, maven, scratch, scratch),
          locale.equals("C") ? "Maven" : "not in the vocabulary");
      Map<String, String> ascii = Map.of("LC_ALL", locale, "MAVEN_CMD_LINE_ARGS", "The caf?");
      assertRefused(Program.run(arguments, ascii, scratch, scratch), "not in the vocabulary");
    }
  }

  @Test
  void fileNames_withoutLocale_areRefusedAndSaidWhy() throws Exception {
    String[][] named = {
      {"inspect", "\u00e9"},
      {"convert", ".", "\u00e9"},
      {"attribute", "--model", "\u00e9", "--prompt", "the"},
      {"attribute", "--dictionaries", "\u00e9"},
      {"graph", "--csv", "\u00e9.csv"}
    };
    for (String[] arguments : named) {
      Program program = inLocale("C", scratch, arguments);
      assertEquals("", program.out());
      assertRefused(program, "\"\u00e9", "cannot be the name of a file", "LC_ALL=C.UTF-8");
    }
  }

  @Test
  void inspect_withoutLocale_saysThatNamesAreNotShown() throws Exception {
    assumeTrue(
        Charset.forName(System.getProperty("sun.jnu.encoding")).newEncoder().canEncode("\u00e9"),
        "no such file can be made in this locale");
    Path folder = Files.createDirectory(scratch.resolve("folder"));
    try (InputStream tensors = Models.class.getResourceAsStream("textbook/model.safetensors")) {
      Files.copy(Objects.requireNonNull(tensors), folder.resolve("\u00e9.safetensors"));
    }
    assertRefused(inLocale("C", scratch, "inspect", "folder"), "a name above", "LC_ALL=C.UTF-8");
    Program program = inLocale("C.UTF-8", scratch, "inspect", "folder");
    assertEquals("", program.err());
    assertTrue(program.out().startsWith("folder/\u00e9.safetensors: "), program.out());
    Files.move(folder, scratch.resolve("\u00fc"));
    for (String[] arguments : new String[][] {{"inspect", "."}, {"attribute"}}) {
      Program unreadable = inLocale("C", scratch.resolve("\u00fc"), arguments);
      assertEquals("", unreadable.out());
      assertRefused(unreadable, "this folder, ", "LC_ALL=C.UTF-8");
    }
  }
}

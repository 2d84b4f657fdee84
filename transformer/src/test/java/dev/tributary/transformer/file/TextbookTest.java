package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TextbookTest {
  @TempDir private Path folder;

  @Test
  void folder_exploded_isACheckpoint() throws IOException {
    Checkpoint checkpoint = Checkpoint.open(Textbook.folder());
    assertEquals(
        TransformerConfig.gpt2(4, 128, 8, 16, 512, 48, 230, 1e-5, true), checkpoint.config());
  }

  /** What a program does that has the library as one jar. */
  static final class FromJar {
    private FromJar() {}

    public static void main(String[] arguments) throws Exception {
      ExecutorService threads = Executors.newFixedThreadPool(4);
      Callable<Path> use = FromJar::use;
      List<Path> folders = new ArrayList<>();
      try {
        for (Future<Path> result : threads.invokeAll(List.of(use, use, use, use))) {
          folders.add(result.get());
        }
      } finally {
        threads.shutdown();
      }
      if (folders.get(0).getFileSystem() == FileSystems.getDefault()) {
        throw new IllegalStateException("not from a jar: " + folders);
      }
    }

    private static Path use() throws IOException {
      Checkpoint checkpoint = Checkpoint.open(Textbook.folder());
      try (Scope scope = Scope.open()) {
        checkpoint.read(
            new Slot(Weight.TOKEN_EMBEDDING, 0, Shape.of(230, 128)), DType.FLOAT, Widening.IF_ROOM);
      }
      assertArrayEquals(new int[] {0, 221, 62}, Tokenizers.textbook().encode("The keys"));
      return Textbook.folder();
    }
  }

  /** A process of its own also shows that nothing is printed, by Java or by a native library. */
  @Test
  void folder_insideAJar_isReadInSilence() throws Exception {
    Path classes =
        Path.of(Textbook.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    Path jar = folder.resolve("a jar +%20.jar");
    pack(classes, jar);
    String classPath =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .map(entry -> Path.of(entry).equals(classes) ? jar.toString() : entry)
            .collect(Collectors.joining(File.pathSeparator));
    Path output = folder.resolve("output");
    String cache = "-DDJL_CACHE_DIR=" + folder.resolve("cache");
    assertEquals(0, run(output, cache, "-cp", classPath, FromJar.class.getName()));
    assertEquals("", Files.readString(output));
  }

  /** Says what is missing on a machine without a native library. */
  static final class OnAnotherMachine {
    private OnAnotherMachine() {}

    public static void main(String... args) throws IOException {
      Path file = Textbook.folder().resolve("tokenizer.json");
      Exception refusal = assertThrows(IOException.class, () -> Tokenizers.load(file));
      System.out.print(refusal.getMessage());
    }
  }

  @ParameterizedTest
  @CsvSource({"Mac OS X, x86_64", "Windows 11, aarch64"})
  void tokenizer_withoutALibrary_saysWhereThereIsOne(String name, String processor)
      throws Exception {
    Path output = folder.resolve("output");
    int exit =
        run(
            output,
            "-Dos.name=" + name,
            "-Dos.arch=" + processor,
            "-cp",
            System.getProperty("java.class.path"),
            OnAnotherMachine.class.getName());
    String sentence = Files.readString(output);
    assertEquals(0, exit, sentence);
    assertEquals(1, sentence.lines().count(), sentence);
    assertTrue(
        sentence.contains(
            "the tokenizer library cannot be loaded on "
                + name
                + " "
                + processor
                + ": there is one for Linux with glibc 2.34"),
        sentence);
  }

  private static int run(Path output, String... arguments) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      assertTrue(process.waitFor(5, TimeUnit.MINUTES));
    } finally {
      process.destroyForcibly();
    }
    return process.exitValue();
  }

  private static void pack(Path classes, Path jar) throws IOException {
    try (OutputStream stream = Files.newOutputStream(jar);
        ZipOutputStream zip = new ZipOutputStream(stream, StandardCharsets.UTF_8);
        Stream<Path> files = Files.walk(classes)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        zip.putNextEntry(
            new ZipEntry(classes.relativize(file).toString().replace(File.separatorChar, '/')));
        Files.copy(file, zip);
        zip.closeEntry();
      }
    }
  }
}

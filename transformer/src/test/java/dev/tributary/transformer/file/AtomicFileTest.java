package dev.tributary.transformer.file;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  @TempDir private Path folder;

  private static void write(Path file, String text) throws IOException {
    AtomicFile.write(file, out -> out.write(text.getBytes(UTF_8)));
  }

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> String.valueOf(file.getFileName())).sorted().toList();
    }
  }

  private static void assumePermissions() {
    assumeTrue(
        FileSystems.getDefault().supportedFileAttributeViews().contains("posix"),
        "files have no permissions here");
  }

  /** Those of a file that the system made as it makes any. */
  @Test
  void write_newFile_hasThePermissionsOfAnyOther() throws IOException {
    assumePermissions();
    Path other = Files.writeString(folder.resolve("other"), "");
    write(folder.resolve("new"), "text");
    AtomicFile.copy(other, folder.resolve("copied"));
    try (Scope scope = Scope.open()) {
      new SafetensorsWriter()
          .put("x", ElementType.F32, Tensor.full(DType.FLOAT, Shape.of(1), 1))
          .write(folder.resolve("x.safetensors"));
    }
    for (String name : List.of("new", "copied", "x.safetensors")) {
      assertEquals(
          Files.getPosixFilePermissions(other),
          Files.getPosixFilePermissions(folder.resolve(name)),
          name);
    }
    assertEquals("text", Files.readString(folder.resolve("new")));
  }

  @Test
  void write_fileThatIsThere_keepsItsPermissions() throws IOException {
    assumePermissions();
    Path file = Files.writeString(folder.resolve("file"), "a longer text than the new one");
    for (String permissions : List.of("rw-------", "rw-rw----", "rwxr-xr-x")) {
      Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
      write(file, permissions);
      assertEquals(permissions, PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
      assertEquals(permissions, Files.readString(file));
    }
    assertEquals(List.of("file"), names());
  }

  /** A copy is a new file: one that may not be written to is copied to one that may. */
  @Test
  void copy_readOnlyFile_canBeWrittenTo() throws IOException {
    assumePermissions();
    Path from = Files.writeString(folder.resolve("from"), "text");
    Files.setPosixFilePermissions(from, PosixFilePermissions.fromString("r--r--r--"));
    Path to = folder.resolve("to");
    AtomicFile.copy(from, to);
    assertTrue(PosixFilePermissions.toString(Files.getPosixFilePermissions(to)).startsWith("rw-"));
    assertEquals("text", Files.readString(to));
  }

  @Test
  void write_contentThatFails_changesNothing() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "before");
    for (Path path : List.of(file, folder.resolve("new"))) {
      assertThrows(
          IllegalStateException.class,
          () ->
              AtomicFile.write(
                  path,
                  out -> {
                    out.write(1);
                    throw new IllegalStateException();
                  }));
    }
    assertEquals("before", Files.readString(file));
    assertEquals(List.of("file"), names());
  }

  @Test
  void write_link_writesWhereItLeads() throws IOException {
    Path target = folder.resolve("target");
    Path link = Files.createSymbolicLink(folder.resolve("link"), Path.of("middle"));
    Files.createSymbolicLink(folder.resolve("middle"), Path.of("target"));
    for (String text : List.of("made", "replaced")) {
      write(link, text);
      assertEquals(text, Files.readString(target));
      assertTrue(Files.isSymbolicLink(link));
    }
    Path self = folder.resolve("self");
    Files.createSymbolicLink(self, self);
    assertRefused(self);
  }

  private static void assertRefused(Path file) {
    IOException refusal = assertThrows(IOException.class, () -> write(file, "text"));
    Tampering.requireSentence(file, refusal);
    assertTrue(
        String.valueOf(refusal.getMessage()).contains(": this file cannot be written"),
        refusal::getMessage);
  }

  @Test
  void write_noFileCanBeThere_isRefused() throws IOException {
    assertRefused(folder.resolve("none/file"));
    assertRefused(folder);
    Path file = Files.writeString(folder.resolve("file"), "before");
    assertRefused(file.resolve("file"));
    file.toFile().setReadOnly();
    assumeFalse(Files.isWritable(file), "the administrator may write to any file");
    assertRefused(file);
  }

  /** What was there before is still a device, or another program would lose it. */
  @Test
  void write_device_writesIntoIt() throws IOException {
    Path device = Path.of("/dev/null");
    assumeTrue(Files.exists(device), "there is no such device here");
    write(device, "text");
    assertTrue(Files.exists(device) && !Files.isRegularFile(device));
    Path link = Files.createSymbolicLink(folder.resolve("link"), device);
    write(link, "text");
    assertTrue(Files.isSymbolicLink(link));
    assertFalse(Files.isRegularFile(device));
  }

  /** A device that is a full disk. */
  @Test
  void write_noRoom_isASentence() {
    Path full = Path.of("/dev/full");
    assumeTrue(Files.exists(full), "there is no such device here");
    assertRefused(full);
  }

  @Test
  void copy_pointerOfGitLfs_isRefused() throws IOException {
    Path from = folder.resolve("from");
    Files.writeString(from, "version https://git-lfs.github.com/spec/v1\nsize 12\n");
    IOException refusal =
        assertThrows(IOException.class, () -> AtomicFile.copy(from, folder.resolve("to")));
    Tampering.requireSentence(from, refusal);
    assertEquals(List.of("from"), names());
  }
}

package dev.tributary.transformer.file;

import java.io.IOException;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.FileSystem;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.FileSystems;
import java.nio.file.Path;
import java.nio.file.ProviderNotFoundException;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Where the small trained model lies that comes with the library. */
final class Textbook {
  private static final String FOLDER = "textbook";

  /** Of the jar, once opened; never closed, since paths in it are handed out. */
  private static @Nullable FileSystem jar;

  private Textbook() {}

  /**
   * The folder with {@code config.json}, {@code model.safetensors} and {@code tokenizer.json}, and
   * the {@code autoencoders} of that model.
   *
   * @throws IOException if this library was packed in a way that hides its own files
   */
  static synchronized Path folder() throws IOException {
    URL url = Textbook.class.getResource(FOLDER + "/config.json");
    if (url == null) {
      throw new IOException("the textbook model is missing from this build of the library");
    }
    try {
      URLConnection connection = url.openConnection();
      if (!(connection instanceof JarURLConnection entry)) {
        return parent(Path.of(url.toURI()));
      }
      if (jar == null) {
        // A file system of our own: the one that all users of a jar share may be closed by any of
        // them.
        jar = FileSystems.newFileSystem(Path.of(entry.getJarFileURL().toURI()));
      }
      return parent(jar.getPath("/", entry.getEntryName()));
    } catch (URISyntaxException
        | IllegalArgumentException
        | FileSystemNotFoundException
        | ProviderNotFoundException e) {
      throw new IOException("the textbook model cannot be read from " + url, e);
    }
  }

  private static Path parent(Path file) {
    return Objects.requireNonNull(file.getParent());
  }
}

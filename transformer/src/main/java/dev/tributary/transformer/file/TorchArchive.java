package dev.tributary.transformer.file;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/** The zip archive that a torch file is from PyTorch 1.6 on. */
final class TorchArchive implements TorchFile.Container {
  private static final String PICKLE = "/data.pkl";

  /** Largest pickle, bytes; they have some hundred for each tensor. */
  private static final int PICKLE_LIMIT = 16 << 20;

  private final FileBytes bytes;
  private final Path file;
  private final ZipArchive archive;
  private final String folder;

  /**
   * Reads the directory of an archive.
   *
   * @throws IOException if it is none of torch's
   */
  TorchArchive(FileBytes bytes) throws IOException {
    this.bytes = bytes;
    this.file = bytes.path();
    this.archive = new ZipArchive(bytes);
    this.folder = findFolder();
  }

  @Override
  public Object root() throws IOException {
    String name = folder + PICKLE;
    long size = archive.size(name);
    if (size > PICKLE_LIMIT) {
      throw BadFile.because(
          file, "the pickle in this file has %d bytes, expected at most %d", size, PICKLE_LIMIT);
    }
    return Pickle.read(file, bytes.read(archive.start(name), (int) size).array());
  }

  @Override
  public boolean hasStorage(String key) {
    return archive.names().contains(storage(key));
  }

  @Override
  public long storageSize(String key) throws IOException {
    return archive.size(storage(key));
  }

  @Override
  public long storageStart(String key) throws IOException {
    return archive.start(storage(key));
  }

  private String storage(String key) {
    return folder + "/data/" + key;
  }

  private String findFolder() throws IOException {
    List<String> pickles =
        archive.names().stream()
            .filter(name -> name.indexOf('/') == name.length() - PICKLE.length())
            .filter(name -> name.endsWith(PICKLE))
            .toList();
    if (pickles.size() != 1) {
      throw BadFile.because(
          file,
          "this zip archive has %d entries named */data.pkl, expected one: it is not a file that"
              + " torch.save wrote",
          pickles.size());
    }
    String found = pickles.get(0).substring(0, pickles.get(0).length() - PICKLE.length());
    String order = found + "/byteorder";
    if (archive.names().contains(order) && !readText(order).equals("little")) {
      throw BadFile.because(
          file, "its numbers are not little-endian: they were written on another kind of machine");
    }
    return found;
  }

  private String readText(String name) throws IOException {
    int length = (int) Math.min(64, archive.size(name));
    return new String(bytes.read(archive.start(name), length).array(), StandardCharsets.UTF_8)
        .strip();
  }
}

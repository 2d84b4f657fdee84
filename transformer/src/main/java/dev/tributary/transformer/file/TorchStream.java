package dev.tributary.transformer.file;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What torch.save wrote before PyTorch 1.6: a magic number, a version, the writer's machine, what
 * the file holds and the keys of its storages, each a pickle; then of each storage the count of its
 * numbers, 64 bits, and the numbers.
 */
final class TorchStream implements TorchFile.Container {
  private static final BigInteger MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);
  private static final long VERSION = 1001;

  /** Among these first bytes is the magic number, behind what depends on the pickle's protocol. */
  private static final int START = 32;

  /**
   * How a pickle writes the magic number: an operation, its length, the lowest byte first; before
   * protocol 2 in decimals.
   */
  private static final List<String> PICKLED_MAGIC =
      List.of("\u008a\nl\u00fc\u009cF\u00f9 j\u00a8P\u0019", "L" + MAGIC + "L\n");

  /** All pickles together are no longer, bytes; they have some hundred for each tensor. */
  private static final int PICKLES_LIMIT = 16 << 20;

  /** Where a tar archive says that it is one. */
  private static final int TAR_MAGIC = 257;

  private final Path file;
  private final Object root;

  /** Where the numbers of each storage are, by its key. */
  private final Map<String, Span> spans = new HashMap<>();

  private record Span(long start, long size) {}

  /**
   * Reads the pickles and finds the storages.
   *
   * @throws IOException if one is broken, or anything is missing or left over
   */
  TorchStream(FileBytes bytes) throws IOException {
    this.file = bytes.path();
    if (isTar(bytes)) {
      throw BadFile.because(
          file,
          "this is a tar archive of torch's first versions, which cannot be read; in Python, with x"
              + " = torch.load(\"old.pt\"), torch.save(x, \"new.pt\") writes a file that can");
    }
    int length = (int) Math.min(bytes.size(), PICKLES_LIMIT);
    Pickle pickle = new Pickle(file, bytes.read(0, length).array());
    requireEqual("magic number", MAGIC, pickle.next());
    requireEqual("version", VERSION, pickle.next());
    requireLittleEndian(pickle.next());
    this.root = pickle.next();
    findStorages(bytes, pickle.next(), pickle);
  }

  /** Whether a file is one, to judge by its first bytes. */
  static boolean isOne(FileBytes bytes) throws IOException {
    String start = text(bytes, 0, START);
    return PICKLED_MAGIC.stream().anyMatch(start::contains);
  }

  /** Whether a file is what torch.save wrote before that, or another tar archive. */
  static boolean isTar(FileBytes bytes) throws IOException {
    return text(bytes, TAR_MAGIC, 5).equals("ustar");
  }

  /** What there is of a piece of a file, a character for each byte. */
  private static String text(FileBytes bytes, int from, int length) throws IOException {
    int there = (int) Math.max(0, Math.min(bytes.size() - from, length));
    return new String(
        bytes.read(there == 0 ? 0 : from, there).array(), StandardCharsets.ISO_8859_1);
  }

  private void requireEqual(String what, Object expected, Object found) throws IOException {
    if (!expected.equals(found)) {
      throw broken("its %s is another one".formatted(what));
    }
  }

  private void requireLittleEndian(Object machine) throws IOException {
    if (!(machine instanceof Map<?, ?> map)) {
      throw broken("it does not say on what kind of machine it was written");
    }
    if (!Boolean.TRUE.equals(map.get("little_endian"))) {
      throw BadFile.because(
          file, "its numbers are not little-endian: they were written on another kind of machine");
    }
  }

  private void findStorages(FileBytes bytes, Object keys, Pickle pickle) throws IOException {
    if (!(keys instanceof List<?> list)) {
      throw broken("the keys of its storages are no list");
    }
    long at = pickle.position();
    for (Object key : list) {
      String name = key instanceof String text ? text : ""; // anything else may hold itself
      TorchObjects.Storage storage = pickle.storages().get(name);
      if (storage == null || spans.containsKey(name)) {
        throw broken(
            "storage %s belongs to no tensor, or is there twice".formatted(BadFile.quoted(name)));
      }
      long start = at + Long.BYTES;
      int width = storage.type().bytes();
      if (start > bytes.size()
          || storage.stored() < 0
          || storage.stored() > (bytes.size() - start) / width) {
        throw broken(
            "storage %s of %d numbers of type %s ends outside the file, which was perhaps not"
                    .formatted(BadFile.quoted(name), storage.stored(), storage.type())
                + " downloaded completely");
      }
      long count = bytes.read(at, Long.BYTES).getLong();
      if (count != storage.stored()) {
        throw broken(
            "storage %s has %d numbers, and its tensors say %d"
                .formatted(BadFile.quoted(name), count, storage.stored()));
      }
      spans.put(name, new Span(start, count * width));
      at = start + count * width;
    }
    if (at != bytes.size()) {
      throw broken("it goes on after its last storage");
    }
  }

  private IOException broken(String reason) {
    return BadFile.because(file, "this file of before PyTorch 1.6 cannot be read: %s", reason);
  }

  @Override
  public Object root() {
    return root;
  }

  @Override
  public boolean hasStorage(String key) {
    return spans.containsKey(key);
  }

  @Override
  public long storageSize(String key) throws IOException {
    return span(key).size;
  }

  @Override
  public long storageStart(String key) throws IOException {
    return span(key).start;
  }

  private Span span(String key) throws IOException {
    Span span = spans.get(key);
    if (span == null) {
      throw broken("there is no storage " + BadFile.quoted(key));
    }
    return span;
  }
}

package dev.tributary.transformer.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A zip archive: where the bytes of each entry lie. Entries are stored as they are, so that numbers
 * can be read in place; java.util.zip does not say where that is.
 */
final class ZipArchive {
  /** Largest directory, bytes; it has some seventy for each tensor. */
  private static final int DIRECTORY_LIMIT = 16 << 20;

  private static final int END_SIGNATURE = 0x06054b50;
  private static final int END_LENGTH = 22;
  private static final int COMMENT_LIMIT = 0xffff;
  private static final int ZIP64_LOCATOR_SIGNATURE = 0x07064b50;
  private static final int ZIP64_LOCATOR_LENGTH = 20;
  private static final int ZIP64_END_SIGNATURE = 0x06064b50;
  private static final int ZIP64_END_LENGTH = 56;
  private static final int ENTRY_SIGNATURE = 0x02014b50;
  private static final int ENTRY_LENGTH = 46;
  private static final int LOCAL_SIGNATURE = 0x04034b50;
  private static final int LOCAL_LENGTH = 30;
  private static final int ZIP64_FIELD = 1;

  /** In a field of 32 bits: the number is in a field of 64 bits elsewhere. */
  private static final long ELSEWHERE = 0xffff_ffffL;

  private final FileBytes bytes;
  private final Path file;
  private final Map<String, Entry> entries = new LinkedHashMap<>();

  /** Where the entries that were asked for begin, and where they end. */
  private final TreeMap<Long, Long> taken = new TreeMap<>();

  private final Map<String, Long> starts = new HashMap<>();
  private final long directoryStart;

  private record Entry(String name, boolean plain, long size, long header) {}

  /**
   * Reads the directory of an archive.
   *
   * @throws IOException if it is not one that is whole
   */
  ZipArchive(FileBytes bytes) throws IOException {
    this.bytes = bytes;
    this.file = bytes.path();
    long end = findEnd();
    this.directoryStart = readDirectory(end);
  }

  /** Whether a file is a zip archive, to judge by its first bytes. */
  static boolean isOne(FileBytes bytes) throws IOException {
    return bytes.size() >= Integer.BYTES
        && bytes.read(0, Integer.BYTES).getInt() == LOCAL_SIGNATURE;
  }

  /** The names of all entries, in the order of the directory. */
  Set<String> names() {
    return Collections.unmodifiableSet(entries.keySet());
  }

  private IOException broken(String reason) {
    return BadFile.because(file, "this file is not a zip archive that is whole: %s", reason);
  }

  private ByteBuffer read(long position, int length, String what) throws IOException {
    if (position < 0 || position > bytes.size() - length) {
      throw broken(what + " lies outside the file");
    }
    return bytes.read(position, length);
  }

  // ---- the directory -----------------------------------------------------------------------

  private long findEnd() throws IOException {
    int length = (int) Math.min(bytes.size(), END_LENGTH + COMMENT_LIMIT);
    long from = bytes.size() - length;
    ByteBuffer tail = bytes.read(from, length);
    for (int at = length - END_LENGTH; at >= 0; at--) {
      if (tail.getInt(at) == END_SIGNATURE
          && Short.toUnsignedInt(tail.getShort(at + 20)) == length - END_LENGTH - at) {
        return from + at;
      }
    }
    throw broken("it has no end, so it was perhaps not downloaded completely");
  }

  /** Where the directory begins. */
  private long readDirectory(long end) throws IOException {
    ByteBuffer record = read(end, END_LENGTH, "its end");
    long count = Short.toUnsignedLong(record.getShort(10));
    long size = Integer.toUnsignedLong(record.getInt(12));
    long start = Integer.toUnsignedLong(record.getInt(16));
    long limit = end;
    long locator = end - ZIP64_LOCATOR_LENGTH;
    if (locator >= 0) {
      ByteBuffer where = read(locator, ZIP64_LOCATOR_LENGTH, "its end");
      if (where.getInt() == ZIP64_LOCATOR_SIGNATURE) {
        limit = where.getLong(8);
        ByteBuffer zip64 = read(limit, ZIP64_END_LENGTH, "its end");
        if (zip64.getInt() != ZIP64_END_SIGNATURE) {
          throw broken("its end is not where it says");
        }
        count = zip64.getLong(32);
        size = zip64.getLong(40);
        start = zip64.getLong(48);
      }
    }
    if (size < 0 || start < 0 || start > limit - size || size > DIRECTORY_LIMIT) {
      throw broken(
          "its directory of %s bytes at %s does not fit before byte %d"
              .formatted(Long.toUnsignedString(size), Long.toUnsignedString(start), limit));
    }
    readEntries(bytes.read(start, (int) size), count);
    return start;
  }

  private void readEntries(ByteBuffer directory, long count) throws IOException {
    for (long i = 0; i < count; i++) {
      int at = directory.position();
      if (directory.remaining() < ENTRY_LENGTH || directory.getInt(at) != ENTRY_SIGNATURE) {
        throw broken("its directory ends before entry " + i);
      }
      int flags = directory.getShort(at + 8);
      int method = directory.getShort(at + 10);
      long packed = Integer.toUnsignedLong(directory.getInt(at + 20));
      long size = Integer.toUnsignedLong(directory.getInt(at + 24));
      int nameLength = Short.toUnsignedInt(directory.getShort(at + 28));
      int extraLength = Short.toUnsignedInt(directory.getShort(at + 30));
      int commentLength = Short.toUnsignedInt(directory.getShort(at + 32));
      long header = Integer.toUnsignedLong(directory.getInt(at + 42));
      if (directory.remaining() < ENTRY_LENGTH + nameLength + extraLength + commentLength) {
        throw broken("its directory ends inside entry " + i);
      }
      byte[] nameBytes = new byte[nameLength];
      directory.get(at + ENTRY_LENGTH, nameBytes);
      String name = new String(nameBytes, StandardCharsets.UTF_8);
      ByteBuffer extra =
          zip64(directory.duplicate().position(at + ENTRY_LENGTH + nameLength), extraLength);
      size = wide(size, extra, name);
      packed = wide(packed, extra, name);
      header = wide(header, extra, name);
      boolean plain = (flags & 1) == 0 && method == 0 && packed == size;
      requireInside(name);
      if (entries.put(name, new Entry(name, plain, size, header)) != null) {
        throw BadFile.because(file, "entry %s is there twice", BadFile.quoted(name));
      }
      directory.position(at + ENTRY_LENGTH + nameLength + extraLength + commentLength);
    }
    if (directory.hasRemaining()) {
      throw broken("its directory goes on after its last entry");
    }
  }

  /** The field of 64-bit numbers among the extra fields of an entry, or an empty one. */
  private static ByteBuffer zip64(ByteBuffer extra, int length) {
    extra.limit(extra.position() + length).order(ByteOrder.LITTLE_ENDIAN);
    while (extra.remaining() >= 4) {
      int id = Short.toUnsignedInt(extra.getShort());
      int size = Math.min(Short.toUnsignedInt(extra.getShort()), extra.remaining());
      if (id == ZIP64_FIELD) {
        return extra.limit(extra.position() + size);
      }
      extra.position(extra.position() + size);
    }
    return extra.position(extra.limit());
  }

  private long wide(long narrow, ByteBuffer zip64, String name) throws IOException {
    if (narrow != ELSEWHERE) {
      return narrow;
    }
    if (zip64.remaining() < Long.BYTES) {
      throw broken("entry " + BadFile.quoted(name) + " does not say how large it is");
    }
    return zip64.getLong();
  }

  /** Nothing is unpacked, but whoever wrote such a name meant harm to somebody who does. */
  private void requireInside(String name) throws IOException {
    boolean leaves = name.startsWith("/") || name.indexOf('\\') >= 0 || name.indexOf(':') >= 0;
    if (leaves || Arrays.asList(name.split("/", -1)).contains("..")) {
      throw BadFile.because(file, "entry %s leaves the archive", BadFile.quoted(name));
    }
  }

  // ---- entries -----------------------------------------------------------------------------

  private Entry entry(String name) throws IOException {
    Entry entry = entries.get(name);
    if (entry == null) {
      throw BadFile.because(file, "there is no entry %s", BadFile.quoted(name));
    }
    if (!entry.plain) {
      throw BadFile.because(
          file,
          "entry %s is compressed or encrypted, and torch.save and numpy.savez do neither",
          BadFile.quoted(name));
    }
    return entry;
  }

  /** How many bytes an entry has. */
  long size(String name) throws IOException {
    return entry(name).size;
  }

  /** Where in the file the bytes of an entry begin. */
  long start(String name) throws IOException {
    Long known = starts.get(name);
    return known == null ? take(entry(name)) : known;
  }

  /** Finds where the bytes of an entry begin, and checks that no other has them. */
  private long take(Entry entry) throws IOException {
    String what = "entry " + BadFile.quoted(entry.name);
    ByteBuffer local = read(entry.header, LOCAL_LENGTH, what);
    int nameLength = Short.toUnsignedInt(local.getShort(26));
    int extraLength = Short.toUnsignedInt(local.getShort(28));
    long nameStart = entry.header + LOCAL_LENGTH;
    byte[] name = read(nameStart, nameLength, what).array();
    if (local.getInt(0) != LOCAL_SIGNATURE
        || !entry.name.equals(new String(name, StandardCharsets.UTF_8))) {
      throw broken(what + " is not where the directory says");
    }
    long start = nameStart + nameLength + extraLength;
    if (entry.size < 0 || start > directoryStart || entry.size > directoryStart - start) {
      throw broken(what + " ends outside the file");
    }
    long end = start + entry.size;
    Map.@Nullable Entry<Long, Long> before = taken.lowerEntry(end);
    if (before != null && before.getValue() > entry.header) {
      throw broken(what + " overlaps another entry");
    }
    taken.put(entry.header, end);
    starts.put(entry.name, start);
    return start;
  }
}

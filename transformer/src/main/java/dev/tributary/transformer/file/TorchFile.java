package dev.tributary.transformer.file;

import dev.tributary.core.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A file that torch.save wrote (from PyTorch 1.6 on a zip archive, before a stream): tensors,
 * numbers, texts, lists and dictionaries. Anything else that its pickle asks for is refused by its
 * name, and never run.
 *
 * <p>What lies in dictionaries, and in lists that hold tensors or dictionaries, is named by the way
 * there: keys and indices with dots between them, {@code activation_state_dict.k}. The empty name
 * is that of a tensor or value which is the whole file.
 */
public final class TorchFile extends TensorFile {
  /** Deepest nesting; a checkpoint has a few levels. */
  private static final int DEPTH_LIMIT = 32;

  /** Longest name, characters. */
  private static final int NAME_LIMIT = 1000;

  /** Most named things; a large model has some thousand tensors. */
  private static final int NAMES_LIMIT = 100_000;

  /**
   * Most visits to containers, so that those which hold each other many times over come to an end.
   */
  private static final int VISIT_LIMIT = 1_000_000;

  /**
   * How many times over the tensors may use what is stored: a weight may have two or three names, a
   * row may be repeated, but a small file must not become a large model.
   */
  private static final int SHARING_LIMIT = 16;

  /** So many elements any file may have. */
  private static final long ALWAYS_ALLOWED = 1 << 20;

  private final Map<String, Object> values;

  /** Where a file keeps what its pickle describes, and the numbers of its storages. */
  sealed interface Container permits TorchArchive, TorchStream {
    /** What the pickle describes. */
    Object root() throws IOException;

    /** Whether there is a storage of this key. */
    boolean hasStorage(String key);

    /** Size of a storage, bytes. */
    long storageSize(String key) throws IOException;

    /** Where in the file a storage begins. */
    long storageStart(String key) throws IOException;
  }

  private TorchFile(Path file, Reader reader) {
    super(file, reader.tensors);
    this.values = Collections.unmodifiableMap(reader.values);
  }

  @Override
  String kind() {
    return "torch.save";
  }

  /**
   * Opens a file and checks all that it says about its tensors.
   *
   * @param file what torch.save wrote
   * @return the file, its tensors not yet read
   * @throws IOException if there is no such file, it cannot be read, it is not one that torch.save
   *     wrote, or it holds anything but tensors and plain values
   */
  public static TorchFile open(Path file) throws IOException {
    return open(file, FileBytes.MEMORY_LIMIT);
  }

  /** Opens a file, and holds it in memory if it is no larger than that. */
  static TorchFile open(Path file, long memoryLimit) throws IOException {
    return open(FileBytes.open(file, memoryLimit));
  }

  /** Whether torch.save wrote a file, now or long ago, to judge by its first bytes. */
  static boolean isOne(FileBytes bytes) throws IOException {
    return ZipArchive.isOne(bytes) || TorchStream.isOne(bytes) || TorchStream.isTar(bytes);
  }

  static TorchFile open(FileBytes bytes) throws IOException {
    try {
      if (!isOne(bytes)) {
        throw BadFile.because(bytes.path(), "this file is not one that torch.save wrote");
      }
      Reader reader =
          new Reader(
              bytes, ZipArchive.isOne(bytes) ? new TorchArchive(bytes) : new TorchStream(bytes));
      reader.read();
      return new TorchFile(bytes.path(), reader);
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(e, bytes.path(), "what this file describes does not fit into memory");
    }
  }

  /**
   * {@return what is in the file beside tensors, by name: each a String, Boolean, Double, Long,
   * BigInteger (if a Long cannot hold it), or a List of such} Python's None is left out.
   */
  public Map<String, Object> values() {
    return values;
  }

  /** Gives names to what a pickle describes. */
  private static final class Reader {
    private final FileBytes bytes;
    private final Path file;
    private final Container container;
    private final Map<String, StoredTensor> tensors = new LinkedHashMap<>();
    private final Map<String, Object> values = new LinkedHashMap<>();

    /** Elements of every storage that a tensor looks at. */
    private final Map<String, Long> stored = new HashMap<>();

    private long elements;
    private int visits;

    Reader(FileBytes bytes, Container container) {
      this.bytes = bytes;
      this.file = bytes.path();
      this.container = container;
    }

    void read() throws IOException {
      visit("", container.root(), 0);
      long storedElements = stored.values().stream().mapToLong(Long::longValue).sum();
      if (elements > ALWAYS_ALLOWED && elements / SHARING_LIMIT > storedElements) {
        throw BadFile.because(
            file,
            "its tensors have %d elements together, and it stores %d",
            elements,
            storedElements);
      }
    }

    private void visit(String name, Object value, int depth) throws IOException {
      if (depth > DEPTH_LIMIT || ++visits > VISIT_LIMIT || name.length() > NAME_LIMIT) {
        throw BadFile.because(
            file,
            "what this file describes is nested too deeply or endless, at %s",
            BadFile.quoted(name));
      }
      if (value instanceof Map<?, ?> map) {
        for (Map.Entry<?, ?> entry : map.entrySet()) {
          visit(inside(name, String.valueOf(entry.getKey())), entry.getValue(), depth + 1);
        }
      } else if (value instanceof List<?> list) {
        visitList(name, list, depth);
      } else if (value instanceof Pickle.Tuple tuple) {
        visitList(name, tuple.values(), depth);
      } else if (value instanceof TorchObjects.View view) {
        requireNew(name);
        tensors.put(name, tensor(name, view));
      } else if (value != Pickle.NONE) {
        requireNew(name);
        values.put(name, requirePlain(name, value));
      }
    }

    private void visitList(String name, List<?> list, int depth) throws IOException {
      visits += list.size() / 8; // a long list is looked through each time
      if (list.stream().allMatch(Reader::isPlain)) {
        requireNew(name);
        values.put(name, List.copyOf(list));
        return;
      }
      List<Object> items = new ArrayList<>(list); // it may be its own item
      for (int i = 0; i < items.size(); i++) {
        visit(inside(name, Integer.toString(i)), items.get(i), depth + 1);
      }
    }

    private static boolean isPlain(Object value) {
      return value instanceof String || value instanceof Number || value instanceof Boolean;
    }

    private Object requirePlain(String name, Object value) throws IOException {
      if (isPlain(value)) {
        return value;
      }
      throw BadFile.because(
          file,
          "%s is neither a tensor nor a number, text, list or dictionary",
          BadFile.quoted(name));
    }

    private static String inside(String name, String key) {
      return name.isEmpty() ? key : name + "." + key;
    }

    private void requireNew(String name) throws IOException {
      if (tensors.containsKey(name) || values.containsKey(name)) {
        throw BadFile.because(file, "%s is there twice", BadFile.quoted(name));
      }
      if (tensors.size() + values.size() >= NAMES_LIMIT) {
        throw BadFile.because(file, "there are more than %d names in this file", NAMES_LIMIT);
      }
    }

    private StoredTensor tensor(String name, TorchObjects.View view) throws IOException {
      Shape shape = StoredTensor.shape(file, name, numbers(name, view.sizes()));
      long[] strides = numbers(name, view.strides());
      TorchObjects.Storage storage = view.storage();
      requireStored(name, storage);
      if (strides.length != shape.rank()) {
        throw StoredTensor.because(file, name, "is %s and has %d strides", shape, strides.length);
      }
      requireInside(name, shape, view.offset(), strides, storage.length());
      stored.put(storage.key(), storage.stored());
      elements += shape.length();
      long position =
          container.storageStart(storage.key())
              + (storage.offset() + view.offset()) * storage.type().bytes();
      return StoredTensor.of(bytes, name, storage.type(), shape, position, strides);
    }

    private long[] numbers(String name, List<Object> list) throws IOException {
      long[] numbers = new long[list.size()];
      for (int axis = 0; axis < numbers.length; axis++) {
        if (!(list.get(axis) instanceof Long number) || axis == StoredTensor.RANK_LIMIT) {
          throw StoredTensor.because(
              file,
              name,
              "has sizes or strides that are not up to %d whole numbers",
              StoredTensor.RANK_LIMIT);
        }
        numbers[axis] = number;
      }
      return numbers;
    }

    private void requireStored(String name, TorchObjects.Storage storage) throws IOException {
      if (!container.hasStorage(storage.key())) {
        throw StoredTensor.because(
            file,
            name,
            "looks at storage %s, which this file does not have",
            BadFile.quoted(storage.key()));
      }
      long size = container.storageSize(storage.key());
      int width = storage.type().bytes();
      if (size % width != 0 || size / width != storage.stored()) {
        throw StoredTensor.because(
            file,
            name,
            "looks at a storage of %d elements of type %s, and storage %s has %d bytes",
            storage.stored(),
            storage.type(),
            BadFile.quoted(storage.key()),
            size);
      }
    }

    private void requireInside(String name, Shape shape, long offset, long[] strides, long stored)
        throws IOException {
      boolean inside = offset >= 0 && offset <= stored;
      if (shape.length() > 0) {
        long last = offset;
        for (int axis = 0; inside && axis < strides.length; axis++) {
          long steps = shape.size(axis) - 1L;
          inside = steps == 0 || (strides[axis] >= 0 && strides[axis] <= (stored - last) / steps);
          last += inside ? steps * strides[axis] : 0;
        }
        inside &= last < stored;
      }
      if (!inside) {
        throw StoredTensor.because(
            file, name, "lies outside its storage, which has %d elements", stored);
      }
    }
  }
}

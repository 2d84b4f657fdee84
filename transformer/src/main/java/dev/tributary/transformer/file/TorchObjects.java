package dev.tributary.transformer.file;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a {@link Pickle} of torch.save may name, and what is made of it. */
final class TorchObjects {
  /** What a pickle may call. */
  private enum Callable {
    ORDERED_DICT("collections.OrderedDict"),
    OLDER_TENSOR("torch._utils._rebuild_tensor"),
    TENSOR("torch._utils._rebuild_tensor_v2"),
    PARAMETER("torch._utils._rebuild_parameter");

    private final String name;

    Callable(String name) {
      this.name = name;
    }
  }

  private static final Map<String, Object> KNOWN = known();

  private static Map<String, Object> known() {
    Map<String, Object> known = new HashMap<>();
    for (Callable callable : Callable.values()) {
      known.put(callable.name, callable);
    }
    known.put("torch.FloatStorage", ElementType.F32);
    known.put("torch.DoubleStorage", ElementType.F64);
    known.put("torch.HalfStorage", ElementType.F16);
    known.put("torch.BFloat16Storage", ElementType.BF16);
    known.put("torch.LongStorage", ElementType.I64);
    known.put("torch.IntStorage", ElementType.I32);
    known.put("torch.ShortStorage", ElementType.I16);
    known.put("torch.CharStorage", ElementType.I8);
    known.put("torch.ByteStorage", ElementType.U8);
    known.put("torch.BoolStorage", ElementType.BOOL);
    return Collections.unmodifiableMap(known);
  }

  /**
   * The numbers that tensors look at.
   *
   * @param stored how many are kept under the key
   * @param offset of the first that tensors see, in numbers
   * @param length how many they see
   */
  record Storage(ElementType type, String key, long stored, long offset, long length) {}

  /** A view of a storage; nothing in it has been checked. */
  record View(Storage storage, long offset, List<Object> sizes, List<Object> strides) {}

  private final Path file;

  /** By their keys. */
  private final Map<String, Storage> storages = new HashMap<>();

  /**
   * Nothing so far.
   *
   * @param file to be named in refusals
   */
  TorchObjects(Path file) {
    this.file = file;
  }

  /** The storages that have been named, by their keys; of several views of one, any. */
  Map<String, Storage> storages() {
    return storages;
  }

  /** Whether something only has a name, and is no value. */
  static boolean isNamed(Object value) {
    return value instanceof Callable || value instanceof ElementType;
  }

  private IOException broken(String reason) {
    return Pickle.broken(file, reason);
  }

  /** The thing of this name, which may be called or is the type of a storage. */
  Object named(String module, String name) throws IOException {
    String full = module + "." + name;
    Object known = KNOWN.get(full);
    if (known == null) {
      throw BadFile.because(
          file,
          "the pickle in this file asks for %s, expected only tensors, numbers, texts, lists and"
              + " dictionaries",
          BadFile.quoted(full));
    }
    return known;
  }

  /** What a call makes. */
  Object call(Object callable, Object arguments) throws IOException {
    if (!(callable instanceof Callable known) || !(arguments instanceof Pickle.Tuple tuple)) {
      throw broken("it calls what cannot be called");
    }
    List<Object> values = tuple.values();
    switch (known) {
      case ORDERED_DICT -> {
        Map<Object, Object> map = new LinkedHashMap<>();
        for (Object pair : values.isEmpty() ? List.of() : items(values.get(0))) {
          List<Object> entry = items(pair);
          if (entry.size() != 2) {
            throw broken("a dictionary is made of what are no pairs");
          }
          Pickle.putOne(file, map, entry.get(0), entry.get(1));
        }
        return map;
      }
      case TENSOR, OLDER_TENSOR -> {
        if (values.size() < 4
            || !(values.get(0) instanceof Storage storage)
            || !(values.get(1) instanceof Long offset)) {
          throw broken("a tensor is not described by a storage, an offset, sizes and strides");
        }
        return new View(storage, offset, items(values.get(2)), items(values.get(3)));
      }
      case PARAMETER -> {
        if (values.isEmpty() || !(values.get(0) instanceof View view)) {
          throw broken("a parameter is made of what is no tensor");
        }
        return view;
      }
    }
    throw new AssertionError(known);
  }

  private List<Object> items(Object sequence) throws IOException {
    if (sequence instanceof Pickle.Tuple tuple) {
      return tuple.values();
    }
    if (sequence instanceof ArrayList<?> list) {
      return Arrays.asList(list.toArray());
    }
    throw broken("it gives something else where a list is expected");
  }

  /**
   * The storage that a persistent id names; in files of before PyTorch 1.6 it may be a view of one.
   */
  Storage storage(Object id) throws IOException {
    if (id instanceof Pickle.Tuple tuple
        && (tuple.values().size() == 5 || tuple.values().size() == 6)
        && tuple.values().get(0).equals("storage")
        && tuple.values().get(1) instanceof ElementType type
        && tuple.values().get(2) instanceof String key
        && tuple.values().get(4) instanceof Long stored) {
      Object view = tuple.values().size() == 5 ? Pickle.NONE : tuple.values().get(5);
      Storage storage = view(type, key, stored, view);
      Storage other = storages.putIfAbsent(key, storage);
      if (other != null && (other.stored != stored || other.type.bytes() != type.bytes())) {
        throw broken("storage " + BadFile.quoted(key) + " is described in two ways");
      }
      return storage;
    }
    throw broken("a storage is not described by its type, its key and its length");
  }

  private Storage view(ElementType type, String key, long stored, Object view) throws IOException {
    if (view == Pickle.NONE) {
      return new Storage(type, key, stored, 0, stored);
    }
    if (view instanceof Pickle.Tuple tuple
        && tuple.values().size() == 3
        && tuple.values().get(1) instanceof Long offset
        && tuple.values().get(2) instanceof Long length
        && offset >= 0
        && length >= 0
        && offset <= stored - length) {
      return new Storage(type, key, stored, offset, length);
    }
    throw broken("a view of storage " + BadFile.quoted(key) + " lies outside it");
  }
}

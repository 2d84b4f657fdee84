package dev.tributary.transformer.file;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads the pickles that torch.save writes: tensors, numbers, texts, lists, tuples and
 * dictionaries, and nothing else. A pickle is a program; this one calls nothing, and refuses the
 * first thing that it is asked to call.
 *
 * <p>Not the library net.razorvine:pickle: it makes dates, sets and bytes of what a stream names,
 * calls setters by reflection, keeps its constructors in one table for the whole process, and
 * bounds neither time nor memory.
 */
final class Pickle {
  /** Most values that a pickle may make; a checkpoint makes some twenty for each tensor. */
  private static final int VALUE_LIMIT = 2_000_000;

  private static final int NEWEST_PROTOCOL = 5;

  /** What a pickle may name. */
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

  /** Stands for Python's None. */
  static final Object NONE = new Object();

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

  /** A tuple, which unlike a list cannot be changed. */
  record Tuple(List<Object> values) {
    // Contents may hold each other thousands of times over.
    @Override
    public boolean equals(Object other) {
      return this == other;
    }

    @Override
    public int hashCode() {
      return System.identityHashCode(this);
    }
  }

  private final Path file;
  private final ByteBuffer in;
  private final List<Object> stack = new ArrayList<>();

  /** Sizes of the stack where marks were put. */
  private final Deque<Integer> marks = new ArrayDeque<>();

  private final Map<Integer, Object> memo = new HashMap<>();

  /** By their keys. */
  private final Map<String, Storage> storages = new HashMap<>();

  private int made;

  /**
   * Pickles that follow each other.
   *
   * @param file to be named in refusals
   */
  Pickle(Path file, byte[] bytes) {
    this.file = file;
    this.in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * What the only pickle of a file describes.
   *
   * @param file to be named in refusals
   * @throws IOException as {@link #next}, or if there is more
   */
  static Object read(Path file, byte[] bytes) throws IOException {
    Pickle pickle = new Pickle(file, bytes);
    Object value = pickle.next();
    if (pickle.in.hasRemaining()) {
      throw pickle.broken("more than one value is left at its end");
    }
    return value;
  }

  /**
   * What the next pickle describes: a {@link View}, a {@link Storage}, a map, a list, a {@link
   * Tuple}, a String, Long, BigInteger, Double or Boolean, or {@link #NONE}. Containers may hold
   * themselves.
   *
   * @throws IOException if the pickle is broken or asks for anything else
   */
  Object next() throws IOException {
    stack.clear();
    marks.clear();
    memo.clear();
    try {
      return run();
    } catch (BufferUnderflowException e) {
      throw BadFile.causedBy(e, file, "the pickle in this file ends too early");
    }
  }

  /** How many bytes have been read. */
  int position() {
    return in.position();
  }

  /** The storages that have been named, by their keys; of several views of one, any. */
  Map<String, Storage> storages() {
    return storages;
  }

  private Object run() throws IOException {
    while (true) {
      int code = unsignedByte();
      if (code == '.') {
        Object result = pop();
        if (!stack.isEmpty()) {
          throw broken("more than one value is left at its end");
        }
        return requireValue(result);
      }
      step(code);
    }
  }

  private void step(int code) throws IOException {
    switch (code) {
      case 0x80 -> requireProtocol(unsignedByte());
      case 0x95 -> requireLength(in.getLong()); // a frame, which says what is known
      case '(' -> marks.push(stack.size());
      case '0' -> pop();
      case '1' -> popToMark();
      case '2' -> push(top());
      case 'N' -> push(NONE);
      case 0x88 -> push(true);
      case 0x89 -> push(false);
      case 'J' -> push((long) in.getInt());
      case 'K' -> push((long) unsignedByte());
      case 'M' -> push((long) Short.toUnsignedInt(in.getShort()));
      case 0x8a -> push(whole(bytes(unsignedByte())));
      case 'I' -> push(decimal(line())); // I and L are protocol 1's
      case 'L' -> push(decimal(line().replaceFirst("L$", "")));
      case 'G' -> push(in.order(ByteOrder.BIG_ENDIAN).getDouble());
      case 'X' -> push(text(Integer.toUnsignedLong(in.getInt())));
      case 0x8c, 'U' -> push(text(unsignedByte())); // U and T are Python 2's
      case 'T' -> push(text(in.getInt()));
      case 0x8d -> push(text(in.getLong()));
      case ']' -> push(new ArrayList<Object>());
      case '}' -> push(new LinkedHashMap<Object, Object>());
      case ')' -> push(new Tuple(List.of()));
      case 0x85 -> pushTuple(1);
      case 0x86 -> pushTuple(2);
      case 0x87 -> pushTuple(3);
      case 't' -> push(new Tuple(popToMark()));
      case 'l' -> push(new ArrayList<>(popToMark()));
      case 'd' -> {
        Map<Object, Object> map = new LinkedHashMap<>();
        putAll(map, popToMark());
        push(map);
      }
      case 'a' -> {
        Object value = pop();
        list().add(value);
      }
      case 'e' -> {
        List<Object> values = popToMark();
        list().addAll(values);
      }
      case 's' -> {
        Object value = pop();
        Object key = pop();
        putAll(map(), List.of(key, value));
      }
      case 'u' -> {
        List<Object> pairs = popToMark();
        putAll(map(), pairs);
      }
      case 'q' -> put(unsignedByte());
      case 'r' -> put(in.getInt());
      case 0x94 -> put(memo.size());
      case 'h' -> recall(unsignedByte());
      case 'j' -> recall(in.getInt());
      case 'c', 'i' -> push(named(line(), line()));
      case 0x93 -> {
        Object name = pop();
        Object module = pop();
        push(named(String.valueOf(module), String.valueOf(name)));
      }
      case 'R' -> {
        Object arguments = pop();
        push(call(pop(), arguments));
      }
      case 'b' -> {
        Object state = pop();
        // What PyTorch notes about its modules hangs on a dictionary, and says nothing of numbers.
        if (!(top() instanceof Map && state instanceof Map)) {
          throw broken("it sets the state of what has none");
        }
      }
      case 'Q' -> push(storage(pop()));
      default -> throw broken("operation 0x%02x is none that torch.save writes".formatted(code));
    }
    in.order(ByteOrder.LITTLE_ENDIAN);
  }

  private IOException broken(String reason) {
    return BadFile.because(file, "the pickle in this file cannot be read: %s", reason);
  }

  // ---- the stream --------------------------------------------------------------------------

  private int unsignedByte() {
    return Byte.toUnsignedInt(in.get());
  }

  private static void requireRemaining(ByteBuffer in, long length) {
    if (length < 0 || length > in.remaining()) {
      throw new BufferUnderflowException();
    }
  }

  private void requireLength(long length) {
    requireRemaining(in, length);
  }

  private void requireProtocol(int protocol) throws IOException {
    if (protocol > NEWEST_PROTOCOL) {
      throw broken("it is of protocol " + protocol);
    }
  }

  private byte[] bytes(long length) {
    requireLength(length);
    byte[] result = new byte[(int) length];
    in.get(result);
    return result;
  }

  private String text(long length) {
    return new String(bytes(length), StandardCharsets.UTF_8);
  }

  private String line() {
    int start = in.position();
    while (in.get() != '\n') {}
    return new String(in.array(), start, in.position() - 1 - start, StandardCharsets.UTF_8);
  }

  /** Two's complement, the lowest byte first. */
  private static Object whole(byte[] bytes) {
    if (bytes.length == 0) {
      return 0L;
    }
    for (int i = 0, j = bytes.length - 1; i < j; i++, j--) {
      byte swapped = bytes[i];
      bytes[i] = bytes[j];
      bytes[j] = swapped;
    }
    return whole(new BigInteger(bytes));
  }

  private static Object whole(BigInteger number) {
    if (number.bitLength() < Long.SIZE) {
      return number.longValue();
    }
    return number;
  }

  /** A whole number, or a boolean, which protocol 1 writes with two digits. */
  private Object decimal(String line) throws IOException {
    if (line.equals("00") || line.equals("01")) {
      return line.equals("01");
    }
    if (!line.matches("-?\\d{1,40}")) {
      throw broken(BadFile.quoted(line) + " is no whole number");
    }
    return whole(new BigInteger(line));
  }

  // ---- the stack ---------------------------------------------------------------------------

  private void push(Object value) throws IOException {
    if (++made > VALUE_LIMIT) {
      throw broken("it makes more than " + VALUE_LIMIT + " values");
    }
    stack.add(value);
  }

  private int floor() {
    return marks.isEmpty() ? 0 : marks.peek();
  }

  private Object top() throws IOException {
    if (stack.size() <= floor()) {
      throw broken("it takes what it has not made");
    }
    return stack.get(stack.size() - 1);
  }

  private Object pop() throws IOException {
    Object value = top();
    stack.remove(stack.size() - 1);
    return value;
  }

  private List<Object> popToMark() throws IOException {
    if (marks.isEmpty()) {
      throw broken("it takes what it has not made");
    }
    List<Object> above = stack.subList(marks.pop(), stack.size());
    List<Object> result = List.copyOf(above);
    above.clear();
    return result;
  }

  private void pushTuple(int length) throws IOException {
    Object[] values = new Object[length];
    for (int i = length - 1; i >= 0; i--) {
      values[i] = pop();
    }
    push(new Tuple(List.of(values)));
  }

  @SuppressWarnings("unchecked") // all lists here are made by this class
  private List<Object> list() throws IOException {
    if (top() instanceof ArrayList<?> list) {
      return (List<Object>) list;
    }
    throw broken("it appends to what is no list");
  }

  @SuppressWarnings("unchecked") // all maps here are made by this class
  private Map<Object, Object> map() throws IOException {
    if (top() instanceof LinkedHashMap<?, ?> map) {
      return (Map<Object, Object>) map;
    }
    throw broken("it sets an entry of what is no dictionary");
  }

  private void putAll(Map<Object, Object> map, List<Object> pairs) throws IOException {
    if (pairs.size() % 2 != 0) {
      throw broken("a key of a dictionary has no value");
    }
    for (int i = 0; i < pairs.size(); i += 2) {
      putOne(map, pairs.get(i), pairs.get(i + 1));
    }
  }

  private void putOne(Map<Object, Object> map, Object key, Object value) throws IOException {
    if (!(key instanceof String || key instanceof Long)) {
      throw broken("a key of a dictionary is neither a text nor a whole number");
    }
    if (map.put(key, value) != null) {
      throw broken("key " + BadFile.quoted(key.toString()) + " is there twice");
    }
  }

  private void put(int index) throws IOException {
    memo.put(index, top());
  }

  private void recall(int index) throws IOException {
    Object value = memo.get(index);
    if (value == null) {
      throw broken("it recalls what it has not put aside");
    }
    push(value);
  }

  // ---- what may be named -------------------------------------------------------------------

  private Object named(String module, String name) throws IOException {
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

  private Object call(Object callable, Object arguments) throws IOException {
    if (!(callable instanceof Callable known) || !(arguments instanceof Tuple tuple)) {
      throw broken("it calls what cannot be called");
    }
    List<Object> values = tuple.values;
    switch (known) {
      case ORDERED_DICT -> {
        Map<Object, Object> map = new LinkedHashMap<>();
        for (Object pair : values.isEmpty() ? List.of() : items(values.get(0))) {
          List<Object> entry = items(pair);
          if (entry.size() != 2) {
            throw broken("a dictionary is made of what are no pairs");
          }
          putOne(map, entry.get(0), entry.get(1));
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
    if (sequence instanceof Tuple tuple) {
      return tuple.values;
    }
    if (sequence instanceof ArrayList<?> list) {
      return Arrays.asList(list.toArray());
    }
    throw broken("it gives something else where a list is expected");
  }

  /** Files of before PyTorch 1.6 may describe a view of a storage. */
  private Storage storage(Object id) throws IOException {
    if (id instanceof Tuple tuple
        && (tuple.values.size() == 5 || tuple.values.size() == 6)
        && tuple.values.get(0).equals("storage")
        && tuple.values.get(1) instanceof ElementType type
        && tuple.values.get(2) instanceof String key
        && tuple.values.get(4) instanceof Long stored) {
      Object view = tuple.values.size() == 5 ? NONE : tuple.values.get(5);
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
    if (view == NONE) {
      return new Storage(type, key, stored, 0, stored);
    }
    if (view instanceof Tuple tuple
        && tuple.values.size() == 3
        && tuple.values.get(1) instanceof Long offset
        && tuple.values.get(2) instanceof Long length
        && offset >= 0
        && length >= 0
        && offset <= stored - length) {
      return new Storage(type, key, stored, offset, length);
    }
    throw broken("a view of storage " + BadFile.quoted(key) + " lies outside it");
  }

  private Object requireValue(Object value) throws IOException {
    if (value instanceof Callable || value instanceof ElementType) {
      throw broken("it describes no value");
    }
    return value;
  }
}

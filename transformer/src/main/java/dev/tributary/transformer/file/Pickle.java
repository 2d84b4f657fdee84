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

  /** Stands for Python's None. */
  static final Object NONE = new Object();

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

  private final TorchObjects objects;
  private int made;

  /**
   * Pickles that follow each other.
   *
   * @param file to be named in refusals
   */
  Pickle(Path file, byte[] bytes) {
    this.file = file;
    this.in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    this.objects = new TorchObjects(file);
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
   * What the next pickle describes: a {@link TorchObjects.View}, a {@link TorchObjects.Storage}, a
   * map, a list, a {@link Tuple}, a String, Long, BigInteger, Double or Boolean, or {@link #NONE}.
   * Containers may hold themselves.
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
  Map<String, TorchObjects.Storage> storages() {
    return objects.storages();
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
      case 'c', 'i' -> push(objects.named(line(), line()));
      case 0x93 -> {
        Object name = pop();
        Object module = pop();
        push(objects.named(String.valueOf(module), String.valueOf(name)));
      }
      case 'R' -> {
        Object arguments = pop();
        push(objects.call(pop(), arguments));
      }
      case 'b' -> {
        Object state = pop();
        // What PyTorch notes about its modules hangs on a dictionary, and says nothing of numbers.
        if (!(top() instanceof Map && state instanceof Map)) {
          throw broken("it sets the state of what has none");
        }
      }
      case 'Q' -> push(objects.storage(pop()));
      default -> throw broken("operation 0x%02x is none that torch.save writes".formatted(code));
    }
    in.order(ByteOrder.LITTLE_ENDIAN);
  }

  private IOException broken(String reason) {
    return broken(file, reason);
  }

  static IOException broken(Path file, String reason) {
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
      putOne(file, map, pairs.get(i), pairs.get(i + 1));
    }
  }

  static void putOne(Path file, Map<Object, Object> map, Object key, Object value)
      throws IOException {
    if (!(key instanceof String || key instanceof Long)) {
      throw broken(file, "a key of a dictionary is neither a text nor a whole number");
    }
    if (map.put(key, value) != null) {
      throw broken(file, "key " + BadFile.quoted(key.toString()) + " is there twice");
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

  private Object requireValue(Object value) throws IOException {
    if (TorchObjects.isNamed(value)) {
      throw broken("it describes no value");
    }
    return value;
  }
}

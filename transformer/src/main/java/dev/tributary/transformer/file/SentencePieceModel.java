package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * A model that SentencePiece trained, as the {@code tokenizer.json} that transformers 4.57 makes of
 * it for Llama, Gemma and T5.
 *
 * @see <a
 *     href="https://github.com/google/sentencepiece/blob/v0.2.0/src/sentencepiece_model.proto">sentencepiece_model.proto</a>
 */
final class SentencePieceModel {
  /** Stands for a space. */
  private static final String SPACE = "\u2581";

  /** Longest piece, characters; trained ones have some dozen, and each is cut everywhere. */
  private static final int LONGEST = 256;

  private static final int UNIGRAM = 1;
  private static final int BYTE_PAIRS = 2;

  static final int NORMAL = 1;
  static final int UNKNOWN = 2;
  static final int CONTROL = 3;
  static final int USER_DEFINED = 4;
  static final int BYTE = 6;

  private record Piece(String text, float score, int type) {}

  private record Merge(String left, String right, float score) {}

  /** Takes the fields of a message of protocol buffers: each is a number, or bytes. */
  @FunctionalInterface
  private interface Fields {
    void take(int field, long value, ByteBuffer bytes) throws IOException;
  }

  private static final ByteBuffer NONE = ByteBuffer.allocate(0);

  private final Path file;
  private final List<Piece> pieces = new ArrayList<>();
  private final Map<String, Integer> ids = new HashMap<>();

  private int kind = UNIGRAM;
  private int unknown;
  private boolean byteFallback;
  private boolean prefix = true;
  private byte[] charsmap = new byte[0];

  private SentencePieceModel(Path file) {
    this.file = file;
  }

  /**
   * Reads a model.
   *
   * @param limit largest size that such a file has, bytes
   * @throws IOException if it cannot be read, is larger, or is none
   */
  static SentencePieceModel read(Path file, int limit) throws IOException {
    byte[] bytes = BadFile.bytes(file, limit);
    SentencePieceModel model = new SentencePieceModel(file);
    try {
      read(
          ByteBuffer.wrap(bytes),
          (field, value, message) -> {
            switch (field) {
              case 1 -> model.readPiece(message);
              case 2 -> read(message, model::readTraining);
              case 3 -> read(message, model::readNormalization);
              default -> {} // says how it was tested
            }
          });
    } catch (BufferUnderflowException | IndexOutOfBoundsException | IllegalArgumentException e) {
      throw BadFile.causedBy(e, file, "this file is no model of SentencePiece");
    }
    if (model.pieces.isEmpty()) {
      throw BadFile.because(file, "this file is no model of SentencePiece");
    }
    if (model.unknown < 0 || model.unknown >= model.pieces.size()) {
      throw BadFile.because(
          file,
          "the unknown piece is %d, and there are %d pieces",
          model.unknown,
          model.pieces.size());
    }
    if (model.kind != UNIGRAM && model.kind != BYTE_PAIRS) {
      throw BadFile.because(
          file, "the model is of type %d, expected 1 (unigram) or 2 (BPE)", model.kind);
    }
    return model;
  }

  /**
   * A model of byte pairs that another file holds.
   *
   * @param types of the pieces, by the numbers of SentencePiece
   * @throws IOException if two pieces are the same, or one is none
   */
  static SentencePieceModel bytePairs(
      Path file, List<String> texts, List<Double> scores, List<Integer> types, int unknown)
      throws IOException {
    SentencePieceModel model = new SentencePieceModel(file);
    model.kind = BYTE_PAIRS;
    model.unknown = unknown;
    model.byteFallback = types.contains(BYTE);
    for (int id = 0; id < texts.size(); id++) {
      Piece piece = new Piece(texts.get(id), scores.get(id).floatValue(), types.get(id));
      model.pieces.add(piece);
      model.check(piece, id);
    }
    return model;
  }

  // ---- the file ------------------------------------------------------------------------------

  private static void read(ByteBuffer bytes, Fields fields) throws IOException {
    bytes.order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      long tag = number(bytes);
      int field = (int) (tag >>> 3);
      switch ((int) (tag & 7)) {
        case 0 -> fields.take(field, number(bytes), NONE);
        case 1 -> fields.take(field, bytes.getLong(), NONE);
        case 5 -> fields.take(field, bytes.getInt(), NONE);
        case 2 -> {
          long length = number(bytes);
          if (length < 0 || length > bytes.remaining()) {
            throw new BufferUnderflowException();
          }
          ByteBuffer message = bytes.slice(bytes.position(), (int) length);
          bytes.position(bytes.position() + (int) length);
          fields.take(field, length, message);
        }
        default -> throw new IllegalArgumentException("wire type " + (tag & 7));
      }
    }
  }

  private static int characters(String text) {
    return text.codePointCount(0, text.length());
  }

  private static long number(ByteBuffer bytes) {
    long result = 0;
    for (int shift = 0; shift < Long.SIZE; shift += 7) {
      byte next = bytes.get();
      result |= (long) (next & 0x7f) << shift;
      if (next >= 0) {
        return result;
      }
    }
    throw new IllegalArgumentException("a number does not end");
  }

  private void readPiece(ByteBuffer message) throws IOException {
    int id = pieces.size();
    pieces.add(new Piece("", 0, NORMAL));
    read(
        message,
        (field, value, bytes) -> {
          Piece piece = pieces.get(id);
          switch (field) {
            case 1 -> pieces.set(id, new Piece(text(bytes, id), piece.score, piece.type));
            case 2 -> {
              float score = Float.intBitsToFloat((int) value);
              pieces.set(id, new Piece(piece.text, score, piece.type));
            }
            case 3 -> pieces.set(id, new Piece(piece.text, piece.score, (int) value));
            default -> {} // of another program
          }
        });
    check(pieces.get(id), id);
  }

  private String text(ByteBuffer bytes, int id) throws IOException {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
    } catch (CharacterCodingException e) {
      throw BadFile.causedBy(e, file, "piece %d is not UTF-8", id);
    }
  }

  private void check(Piece piece, int id) throws IOException {
    int length = characters(piece.text);
    if (length < 1 || length > LONGEST) {
      throw BadFile.because(
          file, "piece %d has %d characters, expected 1 to %d", id, length, LONGEST);
    }
    if (!Float.isFinite(piece.score)) {
      throw BadFile.because(file, "the score of piece %d is %s", id, piece.score);
    }
    Integer other = ids.put(piece.text, id);
    if (other != null) {
      throw BadFile.because(
          file, "pieces %d and %d are both %s", other, id, BadFile.quoted(piece.text));
    }
  }

  private void readTraining(int field, long value, ByteBuffer bytes) {
    switch (field) {
      case 3 -> kind = (int) value;
      case 35 -> byteFallback = value != 0;
      case 40 -> unknown = (int) value;
      default -> {} // how it was trained
    }
  }

  private void readNormalization(int field, long value, ByteBuffer bytes) {
    switch (field) {
      case 2 -> {
        charsmap = new byte[bytes.remaining()];
        bytes.get(charsmap);
      }
      case 3 -> prefix = value != 0;
      default -> {} // what the converter does not ask
    }
  }

  // ---- what it becomes -----------------------------------------------------------------------

  /**
   * A description of the same tokenizer.
   *
   * @param legacy whether the text behind an added token begins with a space as well
   * @param prefixAllowed whether a text may be given a space to begin with
   */
  ObjectNode describe(boolean legacy, boolean prefixAllowed) {
    boolean prefixed = prefix && prefixAllowed;
    ObjectNode root = JsonNodeFactory.instance.objectNode().put("version", "1.0");
    ArrayNode added = root.putArray("added_tokens");
    for (int id = 0; id < pieces.size(); id++) {
      add(added, id, pieces.get(id).text, pieces.get(id).type);
    }
    if (kind == BYTE_PAIRS) {
      describeSpaces(root, legacy, prefixed);
      describeBytePairs(root.putObject("model"));
    } else {
      describeWords(root, prefixed ? (legacy ? "always" : "first") : "never");
      describeUnigram(root.putObject("model"));
    }
    return root;
  }

  /** Lists a piece that is looked for in a text before anything else, if it is one. */
  static void add(ArrayNode added, int id, String text, int type) {
    if (type == CONTROL || type == USER_DEFINED) {
      added.add(AddedTokens.json(id, text, type == CONTROL));
    }
  }

  private static void describeSpaces(ObjectNode root, boolean legacy, boolean prefixed) {
    if (prefixed && !legacy) {
      root.putObject("pre_tokenizer")
          .put("type", "Metaspace")
          .put("replacement", SPACE)
          .put("prepend_scheme", "first")
          .put("split", false);
    } else {
      ArrayNode steps = steps(root, "normalizer", "normalizers");
      if (prefixed) {
        steps.addObject().put("type", "Prepend").put("prepend", SPACE);
      }
      replace(steps.addObject(), "String", " ", SPACE);
    }
    ArrayNode steps = steps(root, "decoder", "decoders");
    replace(steps.addObject(), "String", SPACE, " ");
    steps.addObject().put("type", "ByteFallback");
    steps.addObject().put("type", "Fuse");
    if (prefixed) {
      steps.addObject().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0);
    }
  }

  private void describeWords(ObjectNode root, String scheme) {
    ArrayNode steps = steps(root, "normalizer", "normalizers");
    if (charsmap.length > 0) {
      steps
          .addObject()
          .put("type", "Precompiled")
          .put("precompiled_charsmap", Base64.getEncoder().encodeToString(charsmap));
    }
    steps.addObject().put("type", "Strip").put("strip_left", false).put("strip_right", true);
    replace(steps.addObject(), "Regex", " {2,}", SPACE);
    for (String key : List.of("pre_tokenizer", "decoder")) {
      root.putObject(key)
          .put("type", "Metaspace")
          .put("replacement", SPACE)
          .put("prepend_scheme", scheme)
          .put("split", true);
    }
  }

  private static ArrayNode steps(ObjectNode root, String key, String listKey) {
    return root.putObject(key).put("type", "Sequence").putArray(listKey);
  }

  private static void replace(ObjectNode step, String kind, String pattern, String content) {
    step.put("type", "Replace").put("content", content).putObject("pattern").put(kind, pattern);
  }

  private void describeUnigram(ObjectNode model) {
    model.put("type", "Unigram").put("unk_id", unknown).put("byte_fallback", byteFallback);
    ArrayNode vocabulary = model.putArray("vocab");
    pieces.forEach(piece -> vocabulary.addArray().add(piece.text).add((double) piece.score));
  }

  private void describeBytePairs(ObjectNode model) {
    model
        .put("type", TokenizerFile.BYTE_PAIRS)
        .put("unk_token", pieces.get(unknown).text)
        .put("fuse_unk", true)
        .put("byte_fallback", byteFallback);
    ObjectNode vocabulary = model.putObject("vocab");
    for (int id = 0; id < pieces.size(); id++) {
      vocabulary.put(pieces.get(id).text, id);
    }
    ArrayNode list = model.putArray("merges");
    merges().forEach(merge -> list.addArray().add(merge.left).add(merge.right));
  }

  /** Every two pieces that make one, in the order in which they are merged. */
  private List<Merge> merges() {
    List<Merge> result = new ArrayList<>();
    for (Piece piece : pieces) {
      if (piece.type == NORMAL || piece.type == USER_DEFINED) {
        result.addAll(halves(piece));
      }
    }
    result.sort(
        Comparator.comparingDouble((Merge merge) -> -merge.score)
            .thenComparingInt(merge -> -characters(merge.left))
            .thenComparingInt(merge -> -characters(merge.right)));
    return result;
  }

  private List<Merge> halves(Piece piece) {
    List<Merge> result = new ArrayList<>();
    String text = piece.text;
    for (int at = text.offsetByCodePoints(0, 1); at < text.length(); ) {
      Merge merge = new Merge(text.substring(0, at), text.substring(at), piece.score);
      if (ids.containsKey(merge.left) && ids.containsKey(merge.right)) {
        result.add(merge);
      }
      at = text.offsetByCodePoints(at, 1);
    }
    result.sort(
        Comparator.comparingInt((Merge merge) -> Objects.requireNonNull(ids.get(merge.left)))
            .thenComparingInt(merge -> Objects.requireNonNull(ids.get(merge.right))));
    return result;
  }
}

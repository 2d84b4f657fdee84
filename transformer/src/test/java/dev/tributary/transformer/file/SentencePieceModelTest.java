package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Models that SentencePiece trained, made by hand here, and what is refused of them. */
class SentencePieceModelTest {
  @TempDir private Path folder;

  /** A field of a message: a number, or bytes. */
  static byte[] field(int number, long value) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    varint(out, (long) number << 3);
    varint(out, value);
    return out.toByteArray();
  }

  static byte[] field(int number, byte[]... parts) {
    ByteArrayOutputStream message = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      message.writeBytes(part);
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    varint(out, (long) number << 3 | 2);
    varint(out, message.size());
    out.writeBytes(message.toByteArray());
    return out.toByteArray();
  }

  private static void varint(ByteArrayOutputStream out, long value) {
    long rest = value;
    while ((rest & ~0x7fL) != 0) {
      out.write((int) ((rest & 0x7f) | 0x80));
      rest >>>= 7;
    }
    out.write((int) rest);
  }

  static byte[] piece(String text, float score, int type) {
    byte[] number = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(score).array();
    byte[] tagged = new byte[] {2 << 3 | 5, number[0], number[1], number[2], number[3]};
    return field(1, field(1, text.getBytes(StandardCharsets.UTF_8)), tagged, field(3, type));
  }

  /** A model of byte pairs (2) or of scores (1). */
  static byte[] model(int kind) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(piece("<unk>", 0, 2));
    out.writeBytes(piece("<s>", 0, 3));
    out.writeBytes(piece("</s>", 0, 3));
    for (int value = 0; value < 256; value++) {
      out.writeBytes(piece("<0x%02X>".formatted(value), 0, 6));
    }
    out.writeBytes(piece("\u2581a", -1, 1)); // 259
    out.writeBytes(piece("ab", -0.5f, 1));
    out.writeBytes(piece("\u2581", -3, 1));
    out.writeBytes(piece("a", -4, 1));
    out.writeBytes(piece("b", -5, 1));
    out.writeBytes(piece("[x]", 0, 4)); // 264
    out.writeBytes(field(2, field(3, kind), field(35, kind - 1), field(40, 0)));
    out.writeBytes(
        kind == 1
            ? field(3, field(2, TokenizerKindsTest.charsmap()), field(3, 1))
            : field(3, field(3, 1)));
    return out.toByteArray();
  }

  private Tokenizer sentencePieces(int kind, String config) throws IOException {
    Files.write(folder.resolve("tokenizer.model"), model(kind));
    Files.writeString(folder.resolve("tokenizer_config.json"), config.replace('\'', '"'));
    return Tokenizers.load(folder);
  }

  /** The better score is merged first; legacy Llama puts a space behind added tokens as well. */
  @Test
  void sentencePieces_ofBytePairs_mergeByScore() throws IOException {
    String llama = "{'tokenizer_class': 'LlamaTokenizer', 'legacy': %s%s}";
    Tokenizer legacy = sentencePieces(2, llama.formatted("true", ""));
    assertArrayEquals(new int[] {1, 261, 260, 264, 261, 260}, legacy.encode("ab[x]ab"));
    Tokenizer tokenizer = sentencePieces(2, llama.formatted("false", ""));
    assertArrayEquals(new int[] {1, 261, 260, 264, 260}, tokenizer.encode("ab[x]ab"));
    assertArrayEquals(new int[] {1, 259, 3 + '\n', 259}, tokenizer.encode("a\n a"));
    assertEquals("ab a", tokenizer.decode(tokenizer.encode("ab a"), true));
    String around = ", 'add_bos_token': false, 'add_eos_token': true, 'add_prefix_space': false";
    assertArrayEquals(
        new int[] {260, 259, 2}, sentencePieces(2, llama.formatted("true", around)).encode("ab a"));
  }

  @Test
  void sentencePieces_ofScores_takeTheBest() throws IOException {
    Tokenizer tokenizer = sentencePieces(1, "{'tokenizer_class': 'T5Tokenizer'}");
    assertArrayEquals(new int[] {261, 260, 259, 2}, tokenizer.encode("ab  a "));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{}", "{'tokenizer_class': 'XLNetTokenizer'}"})
  void sentencePieces_ofAnotherClass_areRefused(String config) {
    IOException refusal = assertThrows(IOException.class, () -> sentencePieces(2, config));
    assertTrue(
        String.valueOf(refusal.getMessage()).contains("tokenizer_class is "), refusal::toString);
  }

  static Stream<Arguments> badModels() {
    byte[] unknown = field(2, field(3, 2), field(40, 0));
    return Stream.of(
        arguments(List.of(new byte[] {7, 0}), "this file is no model of SentencePiece"),
        arguments(List.of("IQ== 0\nIg== 1\n".getBytes(StandardCharsets.UTF_8)), "is no model of"),
        arguments(List.of(new byte[] {10, 127}), "this file is no model of SentencePiece"),
        arguments(List.of(unknown), "this file is no model of SentencePiece"),
        arguments(List.of(piece("a", 0, 1), field(2, field(40, 5))), "the unknown piece is 5"),
        arguments(List.of(piece("a", 0, 1), field(2, field(3, 3))), "the model is of type 3"),
        arguments(List.of(piece("", 0, 1)), "piece 0 has 0 characters"),
        arguments(List.of(piece("a".repeat(257), 0, 1)), "piece 0 has 257 characters"),
        arguments(List.of(piece("a", 0, 1), piece("a", 1, 1)), "pieces 0 and 1 are both \"a\""),
        arguments(List.of(piece("a", Float.NaN, 1)), "the score of piece 0 is NaN"),
        arguments(List.of(field(1, field(1, new byte[] {(byte) 0xff}))), "piece 0 is not UTF-8"));
  }

  @ParameterizedTest(name = "{1}")
  @MethodSource("badModels")
  void sentencePieces_bad_areRefused(List<byte[]> parts, String message) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    parts.forEach(out::writeBytes);
    Path file = folder.resolve("tokenizer.model");
    Files.write(file, out.toByteArray());
    IOException refusal = assertThrows(IOException.class, () -> Tokenizers.load(folder));
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.startsWith(file + ": ") && sentence.contains(message), sentence);
  }
}

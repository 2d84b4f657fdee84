package dev.tributary.transformer.file;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The characters that stand for bytes in a byte-level vocabulary: printable ones for themselves,
 * the others shifted to where printable ones are (GPT-2's {@code bytes_to_unicode}).
 */
final class ByteCharacters {
  private static final Map<String, Integer> BYTES = new HashMap<>();

  static {
    int shifted = 256;
    for (int value = 0; value < 256; value++) {
      boolean printable = (value > ' ' && value < 0x7f) || (value > 0xa0 && value != 0xad);
      BYTES.put(String.valueOf((char) (printable ? value : shifted++)), value);
    }
  }

  private ByteCharacters() {}

  /** All 256. */
  static Set<String> all() {
    return BYTES.keySet();
  }

  /** The bytes of which a vocabulary has no token, of those that texts consist of. */
  static Set<Byte> lacking(ModelVocabulary vocabulary) {
    return BYTES.entrySet().stream()
        .filter(one -> one.getValue() < 0xf5 && (one.getValue() & 0xfe) != 0xc0) // in no UTF-8
        .filter(one -> !vocabulary.has(one.getKey()))
        .map(one -> one.getValue().byteValue())
        .collect(Collectors.toUnmodifiableSet());
  }

  /** The text that a token stands for, its bytes as {@code \xe2} where they are no text alone. */
  static String decode(String token) {
    byte[] bytes = new byte[token.length()];
    for (int i = 0; i < bytes.length; i++) {
      Integer value = BYTES.get(token.substring(i, i + 1));
      if (value == null) {
        return token;
      }
      bytes[i] = value.byteValue();
    }
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException e) {
      return escaped(bytes);
    }
  }

  private static String escaped(byte[] bytes) {
    StringBuilder result = new StringBuilder();
    for (byte value : bytes) {
      result.append(String.format(Locale.ROOT, value < 0 ? "\\x%02x" : "%c", value));
    }
    return result.toString();
  }
}

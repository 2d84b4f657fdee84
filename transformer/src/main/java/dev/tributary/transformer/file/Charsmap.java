package dev.tributary.transformer.file;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Base64;
import java.util.BitSet;
import java.util.Deque;

/**
 * The table by which SentencePiece normalizes a text: a double-array trie over bytes, whose values
 * are the places of zero-terminated texts behind it. The native library follows it without asking
 * whether a place is there, so every step that any text could take is tried first.
 *
 * @see <a href="https://github.com/s-yata/darts-clone">darts-clone</a>
 */
final class Charsmap {
  private final int[] trie;
  private final byte[] texts;

  private Charsmap(int[] trie, byte[] texts) {
    this.trie = trie;
    this.texts = texts;
  }

  /**
   * Checks a table.
   *
   * @param base64 its length in bytes, the trie, the texts
   * @return the most bytes that take the place of a piece of a text
   * @throws IllegalArgumentException if it is none, or leads to a place that is not there
   */
  static int longest(String base64) {
    ByteBuffer bytes =
        ByteBuffer.wrap(Base64.getDecoder().decode(base64)).order(ByteOrder.LITTLE_ENDIAN);
    if (bytes.remaining() < 2 * Integer.BYTES) {
      throw new IllegalArgumentException("it is too short");
    }
    int size = bytes.getInt();
    if (size < Integer.BYTES || size % Integer.BYTES != 0 || size > bytes.remaining()) {
      throw new IllegalArgumentException("its trie has " + size + " bytes");
    }
    int[] trie = new int[size / Integer.BYTES];
    bytes.asIntBuffer().get(trie);
    bytes.position(bytes.position() + size);
    byte[] texts = new byte[bytes.remaining()];
    bytes.get(texts);
    try {
      StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(texts));
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException("its texts are not UTF-8", e);
    }
    return new Charsmap(trie, texts).walk();
  }

  private static int offset(int unit) {
    return (unit >>> 10) << ((unit & 0x200) >>> 6);
  }

  private static boolean hasValue(int unit) {
    return (unit >>> 8 & 1) != 0;
  }

  private int walk() {
    int longest = 0;
    BitSet seen = new BitSet();
    Deque<Integer> places = new ArrayDeque<>();
    places.add(offset(trie[0]));
    while (!places.isEmpty()) {
      int place = places.remove();
      for (int label = 1; label < 256; label++) {
        int unit = unit(place ^ label);
        if ((unit & 0x800000ff) != label) {
          continue;
        }
        int next = place ^ label ^ offset(unit);
        int value = unit(next);
        if (hasValue(unit)) {
          longest = Math.max(longest, length(value & Integer.MAX_VALUE));
        }
        if (!seen.get(next)) {
          seen.set(next);
          places.add(next);
        }
      }
    }
    return longest;
  }

  private int unit(int place) {
    if (place < 0 || place >= trie.length) {
      throw new IllegalArgumentException("its trie leads to unit " + place + " of " + trie.length);
    }
    return trie[place];
  }

  private int length(int start) {
    if (start >= texts.length || (texts[start] & 0xc0) == 0x80) {
      throw new IllegalArgumentException("its trie leads to no text");
    }
    int end = start;
    while (end < texts.length && texts[end] != 0) {
      end++;
    }
    return end - start;
  }
}

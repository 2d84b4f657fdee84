package dev.tributary.transformer.file;

import static dev.tributary.core.Checks.requireArgument;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Text to token ids and back, as the files of a model describe it. {@link Tokenizers} reads one.
 *
 * <p>Immutable; any thread may use it. There is nothing to close: its native memory is given back
 * when this object is garbage.
 */
public final class Tokenizer {
  /** Unknown words that a refusal names. */
  private static final int NAMED = 5;

  /** Stands in decoded text for bytes that are no text. */
  private static final String NO_TEXT = "\ufffd";

  /** A token that is a byte, in a vocabulary of characters. */
  private static final Pattern BYTE = Pattern.compile("<0x([0-9A-F]{2})>");

  /** What the clean-up of decoded text writes in the place of what, in this order. */
  private static final Map<String, String> TIDY = new LinkedHashMap<>();

  static {
    for (String end : List.of(".", "?", "!", ",")) {
      TIDY.put(" " + end, end);
    }
    TIDY.put(" ' ", "'");
    for (String end : List.of("n't", "'m", "'s", "'ve", "'re")) {
      TIDY.put(" " + end, end);
    }
  }

  /**
   * A token of a text.
   *
   * @param id of the token
   * @param start of the piece of the text that it is for, UTF-16 units; a token that is a part of a
   *     character is for the whole of it, and one that is put around the text for nothing at 0
   * @param end of this piece
   */
  public record Token(int id, int start, int end) {}

  private final HuggingFaceTokenizer library;
  private final Map<Integer, String> contents;
  private final Set<String> added;
  private final int vocabulary;
  private final List<Path> files;
  private final int longest;
  private final boolean bytes;
  private final boolean decodes;
  private final boolean cleansUp;
  private final @Nullable Integer missing;
  private final Set<Byte> lost;
  private final ChatTemplate chat;
  private final Set<Integer> ends;

  Tokenizer(HuggingFaceTokenizer library, TokenizerFile file) {
    this.library = library;
    this.contents = file.contents();
    this.added = file.added().keySet();
    this.vocabulary = Collections.max(contents.keySet()) + 1;
    this.files = List.copyOf(file.files());
    this.longest = file.longest();
    this.bytes = file.byteLevel();
    this.decodes = file.decodes();
    this.cleansUp = file.cleansUp();
    this.missing = file.missing();
    this.lost = file.lost();
    this.chat = file.chat();
    this.ends = file.ends();
  }

  // ---- text to tokens ------------------------------------------------------------------------

  /**
   * {@return the tokens of a prompt, with the special tokens that the files put around one, e.g.
   * {@code <bos>}}
   *
   * @param text the prompt
   * @throws IllegalArgumentException if the prompt is empty, has more than a million characters or
   *     half of a surrogate pair, or if the vocabulary is one of words and has not each of its
   *     words
   */
  public int[] encode(String text) {
    return encode(text, true);
  }

  /**
   * {@return the tokens of a prompt}
   *
   * @param text the prompt
   * @param special whether with the special tokens that the files put around one
   * @throws IllegalArgumentException if it is refused as by {@link #encode(String)}
   */
  public int[] encode(String text, boolean special) {
    Encoding encoding = run(text, special);
    boolean empty = Arrays.stream(encoding.getSpecialTokenMask()).allMatch(mask -> mask == 1);
    requireArgument(!empty, "the prompt is empty");
    return ids(encoding);
  }

  /**
   * {@return what a user says to a model, in the text that its chat template makes of it: up to
   * where the model answers} Special tokens are in it, so none are put around it: {@code
   * encode(chat(prompt), false)}.
   *
   * @param prompt what the user says
   * @throws IllegalArgumentException if the files have no chat template, or one that is not
   *     understood
   */
  public String chat(String prompt) {
    return chat.turn(prompt);
  }

  /**
   * {@return the tokens of a piece of text, without special tokens around it; none if it is empty}
   *
   * @param text the piece
   * @throws IllegalArgumentException if it is refused as a prompt would be
   */
  public int[] tokens(String text) {
    return ids(run(text, false));
  }

  /**
   * {@return the token that a text is, without special tokens around it: the one token into which
   * it is split, or else the only one that {@linkplain #text reads} like it}
   *
   * @param text the word, with its space where the vocabulary has one
   * @throws IllegalArgumentException if it is none or several, or not in the vocabulary
   */
  public int token(String text) {
    int[] ids = tokens(text);
    if (ids.length == 1) {
      return ids[0];
    }
    int[] alike =
        text.isEmpty()
            ? new int[0]
            : contents.keySet().stream()
                .mapToInt(id -> id)
                .filter(id -> text(id).equals(text))
                .limit(2)
                .toArray();
    requireArgument(
        alike.length == 1,
        "%s is %d tokens%s, expected one",
        BadFile.quoted(text),
        ids.length,
        Arrays.stream(ids)
            .mapToObj(id -> BadFile.quoted(text(id)))
            .collect(
                Collectors.joining(", ", ids.length == 0 ? "" : " (", ids.length == 0 ? "" : ")")));
    return alike[0];
  }

  /**
   * {@return the tokens of a text and the pieces of it that they are for}
   *
   * @param text that is split; it may be empty
   * @param special whether with the special tokens that the files put around one
   * @throws IllegalArgumentException if it is refused as a prompt would be
   */
  public List<Token> split(String text, boolean special) {
    Encoding encoding = run(text, special);
    int[] ids = ids(encoding);
    CharSpan[] spans = encoding.getCharTokenSpans();
    List<Token> result = new ArrayList<>();
    int[] units = units(text);
    for (int i = 0; i < ids.length; i++) {
      CharSpan span = spans[i];
      result.add(
          span == null
              ? new Token(ids[i], 0, 0)
              : new Token(ids[i], units[span.getStart()], units[span.getEnd()]));
    }
    return result;
  }

  /** Where each character of a text begins, and where it ends, in UTF-16 units. */
  private static int[] units(String text) {
    int[] result = new int[text.codePointCount(0, text.length()) + 1];
    for (int i = 1; i < result.length; i++) {
      result[i] = text.offsetByCodePoints(result[i - 1], 1);
    }
    return result;
  }

  private Encoding run(String text, boolean special) {
    requireArgument(
        text.length() <= longest,
        "the text has %d characters, expected at most %d",
        text.length(),
        longest);
    requireArgument(
        StandardCharsets.UTF_8.newEncoder().canEncode(text),
        "%s has half of a surrogate pair",
        BadFile.quoted(text));
    Encoding encoding;
    try {
      encoding = library.encode(text, special, false);
    } catch (RuntimeException e) {
      throw new IllegalArgumentException(BadFile.quoted(text) + " cannot be split into tokens", e);
    } finally {
      // Or the collector could free the native memory while the call above still uses it.
      Reference.reachabilityFence(library);
    }
    requireKnown(text, encoding);
    return encoding;
  }

  private static int[] ids(Encoding encoding) {
    return Arrays.stream(encoding.getIds()).mapToInt(Math::toIntExact).toArray();
  }

  private void requireKnown(String text, Encoding encoding) {
    Set<String> words = new LinkedHashSet<>();
    if (!lost.isEmpty()) {
      text.codePoints().mapToObj(Character::toString).filter(this::isLost).forEach(words::add);
    }
    if (missing != null) {
      addMissing(text, encoding, missing, words);
    }
    int more = words.size() - NAMED;
    requireArgument(
        words.isEmpty(),
        "%s%s %s not in the vocabulary of this model",
        words.stream().limit(NAMED).map(BadFile::quoted).collect(Collectors.joining(", ")),
        more > 0 ? " and " + more + " more" : "",
        words.size() == 1 ? "is" : "are");
  }

  private boolean isLost(String character) {
    for (byte one : character.getBytes(StandardCharsets.UTF_8)) {
      if (lost.contains(one)) {
        return true;
      }
    }
    return false;
  }

  private void addMissing(String text, Encoding encoding, int unknown, Set<String> words) {
    long[] ids = encoding.getIds();
    CharSpan[] spans = encoding.getCharTokenSpans();
    int[] units = units(text);
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] == unknown && encoding.getSpecialTokenMask()[i] == 0) {
        words.add(
            spans[i] == null
                ? text(unknown)
                : text.substring(units[spans[i].getStart()], units[spans[i].getEnd()]));
      }
    }
  }

  // ---- tokens to text ------------------------------------------------------------------------

  /**
   * {@return the text that tokens stand for}
   *
   * @param ids of the tokens
   * @param skipSpecial whether special tokens are left out
   * @throws IllegalArgumentException if no token has one of these ids
   */
  public String decode(int[] ids, boolean skipSpecial) {
    Arrays.stream(ids).forEach(this::content);
    String text = join(ids, skipSpecial);
    if (cleansUp) {
      for (Map.Entry<String, String> tidy : TIDY.entrySet()) {
        text = text.replace(tidy.getKey(), tidy.getValue());
      }
    }
    return text;
  }

  private String join(int[] ids, boolean skipSpecial) {
    try {
      return library.decode(Arrays.stream(ids).asLongStream().toArray(), skipSpecial);
    } catch (RuntimeException e) {
      throw new IllegalArgumentException("these tokens cannot be made into a text", e);
    } finally {
      Reference.reachabilityFence(library);
    }
  }

  /**
   * {@return the text that tokens add behind others, special tokens included} It is not tidied, and
   * bytes at its end that are the beginning of a character are left out, so that the text of more
   * tokens begins with it. An id that no token has adds nothing: a model may have more ids.
   *
   * @param before ids of the tokens before them
   * @param ids of the tokens
   */
  public String continuation(int[] before, int[] ids) {
    int[] all = IntStream.concat(Arrays.stream(before), Arrays.stream(ids)).toArray();
    String first = join(known(before), false);
    String whole = join(known(all), false);
    int from = 0;
    while (from < Math.min(first.length(), whole.length())
        && first.charAt(from) == whole.charAt(from)) {
      from++;
    }
    int end = whole.length();
    while (end > from && whole.startsWith(NO_TEXT, end - 1)) {
      end--;
    }
    return whole.substring(from, end);
  }

  private int[] known(int[] ids) {
    return Arrays.stream(ids).filter(contents::containsKey).toArray();
  }

  /** {@return ids of the tokens that end a text, or what one says in a chat} */
  public Set<Integer> ends() {
    return ends;
  }

  /**
   * {@return the readable form of one token, e.g. {@code " Mary"}, as it reads behind another}
   * Bytes that are no text without their neighbours are written {@code \xe2}.
   *
   * @param id of the token
   * @throws IllegalArgumentException if no token has this id
   */
  public String text(int id) {
    String content = content(id);
    if (decodes) {
      // Some decoders take the space away with which a text begins.
      String once = join(new int[] {id}, false);
      if (!once.contains(NO_TEXT)) {
        return join(new int[] {id, id}, false).substring(once.length());
      }
    }
    Matcher one = BYTE.matcher(content);
    if (added.contains(content)) {
      return content;
    }
    return bytes
        ? ByteCharacters.decode(content)
        : one.matches() ? "\\x" + one.group(1).toLowerCase(Locale.ROOT) : content;
  }

  /**
   * {@return a token as the vocabulary has it, e.g. {@code "\u0120Mary"} for a space and a word}
   *
   * @param id of the token
   * @throws IllegalArgumentException if no token has this id
   */
  public String content(int id) {
    String content = contents.get(id);
    requireArgument(content != null, "no token has id %d, in a vocabulary of %d", id, vocabulary);
    return Objects.requireNonNull(content);
  }

  /** {@return the files that say what this tokenizer is} */
  public List<Path> files() {
    return files;
  }

  /** {@return the number of token ids: one more than the largest} */
  public int vocabulary() {
    return vocabulary;
  }
}

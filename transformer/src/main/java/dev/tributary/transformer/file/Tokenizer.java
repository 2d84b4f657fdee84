package dev.tributary.transformer.file;

import static dev.tributary.core.Checks.requireArgument;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Text to token ids and back, as the files of a model describe it: whole words or byte-pair
 * encoding. {@link Tokenizers} reads one.
 *
 * <p>Immutable; any thread may use it. There is nothing to close: its native memory is given back
 * when this object is garbage.
 */
public final class Tokenizer {
  /** Unknown words that a refusal names. */
  private static final int NAMED = 5;

  /**
   * Longest text, UTF-16 units: the library ends the process at ten million spaces in a row, and no
   * model reads as many tokens.
   */
  private static final int TEXT_LIMIT = 1_000_000;

  private final HuggingFaceTokenizer library;
  private final Map<Integer, String> texts;
  private final int vocabulary;
  private final List<Path> files;
  private final @Nullable Integer unknown;

  Tokenizer(HuggingFaceTokenizer library, TokenizerFile file) {
    this.library = library;
    this.texts = file.contents();
    this.vocabulary = Collections.max(texts.keySet()) + 1;
    this.files = List.copyOf(file.files());
    this.unknown = file.unknown();
    if (file.byteLevel()) {
      texts.replaceAll(
          (id, content) ->
              file.added().containsKey(content) ? content : ByteCharacters.decode(content));
    }
  }

  /**
   * {@return the tokens of a prompt, with the special tokens that the files put around one, e.g.
   * {@code <bos>}}
   *
   * @param text the prompt
   * @throws IllegalArgumentException if the prompt is empty, has more than a million characters or
   *     half of a surrogate pair, or if a word is not in the vocabulary
   */
  public int[] encode(String text) {
    Encoding encoding = split(text, true);
    boolean empty = Arrays.stream(encoding.getSpecialTokenMask()).allMatch(mask -> mask == 1);
    requireArgument(!empty, "the prompt is empty");
    requireKnown(text, encoding);
    return ids(encoding);
  }

  /**
   * {@return the tokens of a piece of text, without special tokens around it; none if it is empty}
   *
   * @param text the piece
   * @throws IllegalArgumentException if it is refused as a prompt would be
   */
  public int[] tokens(String text) {
    Encoding encoding = split(text, false);
    requireKnown(text, encoding);
    return ids(encoding);
  }

  /**
   * {@return the token that a text is, without special tokens around it}
   *
   * @param text the word, with its space where the vocabulary has one
   * @throws IllegalArgumentException if it is none or several, or not in the vocabulary
   */
  public int token(String text) {
    int[] ids = tokens(text);
    requireArgument(
        ids.length == 1,
        "%s is %d tokens%s, expected one",
        BadFile.quoted(text),
        ids.length,
        Arrays.stream(ids)
            .mapToObj(id -> BadFile.quoted(text(id)))
            .collect(
                Collectors.joining(", ", ids.length == 0 ? "" : " (", ids.length == 0 ? "" : ")")));
    return ids[0];
  }

  /**
   * {@return the readable form of one token, e.g. {@code " Mary"} in a byte-level vocabulary} Bytes
   * that are no text without their neighbours are written {@code \xe2}.
   *
   * @param id of the token
   * @throws IllegalArgumentException if no token has this id
   */
  public String text(int id) {
    String text = texts.get(id);
    requireArgument(text != null, "no token has id %d, in a vocabulary of %d", id, vocabulary);
    return Objects.requireNonNull(text);
  }

  /** {@return the files that say what this tokenizer is} */
  public List<Path> files() {
    return files;
  }

  /** {@return the number of token ids: one more than the largest} */
  public int vocabulary() {
    return vocabulary;
  }

  private Encoding split(String text, boolean withSpecialTokens) {
    requireArgument(
        text.length() <= TEXT_LIMIT,
        "the text has %d characters, expected at most %d",
        text.length(),
        TEXT_LIMIT);
    requireArgument(
        StandardCharsets.UTF_8.newEncoder().canEncode(text),
        "%s has half of a surrogate pair",
        BadFile.quoted(text));
    try {
      return library.encode(text, withSpecialTokens, false);
    } catch (RuntimeException e) {
      throw new IllegalArgumentException(BadFile.quoted(text) + " cannot be split into tokens", e);
    } finally {
      // Or the collector could free the native memory while the call above still uses it.
      Reference.reachabilityFence(library);
    }
  }

  private int[] ids(Encoding encoding) {
    return Arrays.stream(encoding.getIds()).mapToInt(Math::toIntExact).toArray();
  }

  private void requireKnown(String text, Encoding encoding) {
    if (unknown == null) {
      return;
    }
    Set<String> words = new LinkedHashSet<>();
    long[] ids = encoding.getIds();
    CharSpan[] spans = encoding.getCharTokenSpans();
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] == unknown && encoding.getSpecialTokenMask()[i] == 0) {
        words.add(spans[i] == null ? text(unknown) : word(text, spans[i]));
      }
    }
    int more = words.size() - NAMED;
    requireArgument(
        words.isEmpty(),
        "%s%s %s not in the vocabulary of this model",
        words.stream().limit(NAMED).map(BadFile::quoted).collect(Collectors.joining(", ")),
        more > 0 ? " and " + more + " more" : "",
        words.size() == 1 ? "is" : "are");
  }

  /** The piece of a text at a span, which counts characters outside the basic plane as one. */
  private static String word(String text, CharSpan span) {
    int start = text.offsetByCodePoints(0, span.getStart());
    return text.substring(start, text.offsetByCodePoints(start, span.getEnd() - span.getStart()));
  }
}

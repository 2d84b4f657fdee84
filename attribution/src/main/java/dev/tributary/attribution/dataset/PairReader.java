package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import dev.tributary.attribution.Metric;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.Tokenizer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;

/**
 * Reads pairs of prompts from files with a row for each: CSV ({@code .csv}) or tab-separated values
 * ({@code .tsv}), with the names of columns in the first row, or JSON Lines ({@code .jsonl}, {@code
 * .ndjson}). A row that is no pair is told of and left out.
 */
public final class PairReader {
  /** What is measured at the last token, and the columns that say of which words. */
  public sealed interface Measure {
    /**
     * The logit of an answer less that of another word; of several words the mean.
     *
     * @param answer column
     * @param foil column
     */
    record LogitDifference(String answer, String foil) implements Measure {}

    /**
     * The log-probability of an answer; of several words the mean.
     *
     * @param answer column
     */
    record LogProbability(String answer) implements Measure {}

    /** {@link PairMetric.Divergence}. */
    record Divergence() implements Measure {}
  }

  /**
   * Names of columns, or of the fields of JSON Lines.
   *
   * @param clean the prompt that is explained
   * @param corrupted the one that it is compared with
   * @param measure of the two
   */
  public record Columns(String clean, String corrupted, Measure measure) {
    /** {@return clean, corrupted, answer, foil: a logit difference} */
    public static Columns standard() {
      return new Columns("clean", "corrupted", new Measure.LogitDifference("answer", "foil"));
    }

    private List<String> names() {
      List<String> names = new ArrayList<>(List.of(clean, corrupted));
      if (measure instanceof Measure.LogitDifference difference) {
        names.addAll(List.of(difference.answer, difference.foil));
      } else if (measure instanceof Measure.LogProbability probability) {
        names.add(probability.answer);
      }
      return names;
    }
  }

  /**
   * A pair and where it stands.
   *
   * @param line of the file at which its row begins, from 1
   * @param pair that it is
   */
  public record Row(long line, Pair pair) {}

  /**
   * A row that is no pair.
   *
   * @param file with the row
   * @param line at which it begins, from 1
   * @param reason in a sentence
   */
  public record BadRow(Path file, long line, String reason) {
    @Override
    public String toString() {
      return file + ", line " + line + ": " + reason;
    }
  }

  private static final ObjectMapper JSON = new ObjectMapper();

  private final Columns columns;
  private final Tokenizer tokenizer;
  private final TransformerConfig config;
  private final boolean ids;
  private final OptionalInt filler;
  private final OptionalInt length;

  private PairReader(
      Columns columns,
      Tokenizer tokenizer,
      TransformerConfig config,
      boolean ids,
      OptionalInt filler,
      OptionalInt length) {
    this.columns = columns;
    this.tokenizer = tokenizer;
    this.config = config;
    this.ids = ids;
    this.filler = filler;
    this.length = length;
  }

  /**
   * {@return a reader of prompts in text, which refuses two of unequal length} JSON may have arrays
   * of token ids in place of text, and arrays of words or ids as answers; a cell of CSV may have
   * such an array as answer.
   *
   * @param columns what is where
   * @param tokenizer of the model, which puts special tokens around prompts as it does
   * @param config of the model
   */
  public static PairReader of(Columns columns, Tokenizer tokenizer, TransformerConfig config) {
    requireArgument(
        new HashSet<>(columns.names()).size() == columns.names().size(),
        "two of the columns %s have one name",
        columns.names());
    return new PairReader(
        columns, tokenizer, config, false, OptionalInt.empty(), OptionalInt.empty());
  }

  /** {@return a reader of cells of CSV that are token ids, such as [0, 17, 4], or 17 as answer} */
  public PairReader ofIds() {
    return new PairReader(columns, tokenizer, config, true, filler, length);
  }

  /**
   * {@return a reader that makes the shorter prompt as long as the longer one} Behind the first
   * token, if both begin with the same, or else before it, stands this one as often as is needed;
   * so prompts are compared from their ends.
   *
   * @param token its id
   */
  public PairReader filled(int token) {
    requireArgument(
        token >= 0 && token < config.vocabulary(),
        "token %d of a vocabulary of %d",
        token,
        config.vocabulary());
    return new PairReader(columns, tokenizer, config, ids, OptionalInt.of(token), length);
  }

  /**
   * {@return a reader that leaves out pairs of another length}
   *
   * @param tokens how many prompts have
   */
  public PairReader ofLength(int tokens) {
    return new PairReader(columns, tokenizer, config, ids, filler, OptionalInt.of(tokens));
  }

  /** {@return how many tokens prompts have, if all have as many, see {@link #ofLength}} */
  public OptionalInt length() {
    return length;
  }

  /**
   * Reads a file, one row after the other.
   *
   * @param file CSV, tab-separated values or JSON Lines
   * @param pairs hears of each pair
   * @param bad hears of each row that is none
   * @throws IOException if it cannot be read, is none of these, or has not these columns
   */
  public void read(Path file, Consumer<Row> pairs, Consumer<BadRow> bad) throws IOException {
    try (RowFile rows = RowFile.open(file, columns.names())) {
      for (Optional<RowFile.Row> row = rows.next(); row.isPresent(); row = rows.next()) {
        long line = row.get().line();
        Pair pair;
        try {
          row.get().bad().ifPresent(PairReader::refuse);
          pair = pair(row.get().cells());
        } catch (IllegalArgumentException e) {
          bad.accept(new BadRow(file, line, String.valueOf(e.getMessage())));
          continue;
        }
        pairs.accept(new Row(line, pair));
      }
    }
  }

  /** How many rows a file has, good and bad. */
  long rows(Path file) throws IOException {
    long rows = 0;
    try (RowFile all = RowFile.open(file, columns.names())) {
      while (all.next().isPresent()) {
        rows++;
      }
    }
    return rows;
  }

  @Override
  public String toString() {
    return columns
        + (ids ? ", ids" : "")
        + (filler.isPresent() ? ", filled with " + filler.getAsInt() : "")
        + (length.isPresent() ? ", of " + length.getAsInt() + " tokens" : "");
  }

  private static void refuse(String reason) {
    throw new IllegalArgumentException(reason);
  }

  private Pair pair(Map<String, JsonNode> cells) {
    List<Integer> clean = prompt(cells, columns.clean);
    List<Integer> corrupted = prompt(cells, columns.corrupted);
    int tokens = Math.max(clean.size(), corrupted.size());
    requireArgument(
        tokens <= config.context(),
        "a prompt of %d tokens, and the model reads %d",
        tokens,
        config.context());
    requireArgument(
        filler.isPresent() || clean.size() == corrupted.size(),
        "the clean prompt has %d tokens and the corrupted one %d, and there is no token to fill up"
            + " the shorter one",
        clean.size(),
        corrupted.size());
    requireArgument(
        length.isEmpty() || length.getAsInt() == tokens,
        "a pair of prompts of %d tokens among those of %d",
        tokens,
        length.orElse(0));
    int shared = clean.get(0).equals(corrupted.get(0)) ? 1 : 0;
    return new Pair(
        filled(clean, shared, tokens),
        filled(corrupted, shared, tokens),
        metric(cells, tokens - 1));
  }

  private List<Integer> filled(List<Integer> prompt, int first, int tokens) {
    List<Integer> filled = new ArrayList<>(prompt);
    while (filled.size() < tokens) {
      filled.add(first, filler.orElseThrow());
    }
    return filled;
  }

  private PairMetric metric(Map<String, JsonNode> cells, int position) {
    if (columns.measure instanceof Measure.LogitDifference difference) {
      List<Integer> answers = words(cells, difference.answer);
      List<Integer> foils = words(cells, difference.foil);
      for (int foil : foils) {
        requireArgument(
            !answers.contains(foil),
            "token %d is in both %s and %s",
            foil,
            difference.answer,
            difference.foil);
      }
      return new PairMetric.OfLogits(new Metric.LogitDifference(position, answers, foils));
    }
    if (columns.measure instanceof Measure.LogProbability probability) {
      return new PairMetric.OfLogits(
          new Metric.LogProbability(position, words(cells, probability.answer)));
    }
    return new PairMetric.Divergence(position);
  }

  // ---- cells -------------------------------------------------------------------------------

  private List<Integer> prompt(Map<String, JsonNode> cells, String column) {
    JsonNode cell = cell(cells, column);
    if (ids && cell.isTextual()) {
      cell = array(column, cell.textValue());
    }
    List<Integer> tokens = new ArrayList<>();
    if (cell.isTextual()) {
      for (int id : encoded(column, cell.textValue())) {
        tokens.add(id);
      }
    } else {
      requireArgument(cell.isArray(), "%s is neither a text nor an array of token ids", column);
      cell.forEach(id -> tokens.add(id(column, id)));
    }
    requireArgument(!tokens.isEmpty(), "%s is empty", column);
    return tokens;
  }

  private int[] encoded(String column, String text) {
    try {
      return tokenizer.encode(text);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(column + ": " + e.getMessage(), e);
    }
  }

  /** One word or several. */
  private List<Integer> words(Map<String, JsonNode> cells, String column) {
    JsonNode cell = cell(cells, column);
    if (cell.isTextual() && (ids || cell.textValue().startsWith("["))) {
      cell = array(column, cell.textValue());
    }
    List<Integer> words = new ArrayList<>();
    if (cell.isArray()) {
      cell.forEach(word -> words.add(word(column, word)));
    } else {
      words.add(word(column, cell));
    }
    requireArgument(!words.isEmpty(), "%s is empty", column);
    requireArgument(
        new HashSet<>(words).size() == words.size(), "%s has a word twice: %s", column, words);
    return words;
  }

  private int word(String column, JsonNode word) {
    if (!word.isTextual()) {
      return id(column, word);
    }
    try {
      return tokenizer.token(word.textValue());
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(column + ": " + e.getMessage(), e);
    }
  }

  private int id(String column, JsonNode id) {
    requireArgument(
        id.isIntegralNumber()
            && id.canConvertToInt()
            && id.intValue() >= 0
            && id.intValue() < config.vocabulary(),
        "%s: %s is no token, which are numbers from 0 to %d",
        column,
        RowFile.shortened(id.toString()),
        config.vocabulary() - 1);
    return id.intValue();
  }

  /** JSON in a cell of CSV. */
  private static JsonNode array(String column, String text) {
    try {
      JsonNode json = JSON.readTree(text);
      if (json.isArray() || json.isIntegralNumber()) {
        return json;
      }
    } catch (JsonProcessingException e) {
      // as what is no array
    }
    throw new IllegalArgumentException(
        "%s: %s is no array in JSON".formatted(column, RowFile.shortened(text)));
  }

  private static JsonNode cell(Map<String, JsonNode> cells, String column) {
    JsonNode cell = cells.getOrDefault(column, MissingNode.getInstance());
    requireArgument(!cell.isMissingNode() && !cell.isNull(), "there is no %s", column);
    return cell;
  }
}

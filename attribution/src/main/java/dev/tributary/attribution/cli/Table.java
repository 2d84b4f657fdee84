package dev.tributary.attribution.cli;

import dev.tributary.attribution.explain.Word;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Rows of cells: some columns of words, which begin at the left, then numbers; and how words and
 * numbers are written on a screen.
 */
final class Table {
  static final int WIDTH = 80;
  static final String INDENT = "  ";
  static final String GAP = "  ";
  private static final String ELLIPSIS = "...";

  private static final int DIGITS = 4;

  private final int words;
  private final List<List<String>> rows = new ArrayList<>();

  Table(int words) {
    this.words = words;
  }

  void row(String... cells) {
    rows.add(List.of(cells));
  }

  List<String> lines() {
    int[] widths =
        IntStream.range(0, rows.get(0).size())
            .map(i -> rows.stream().mapToInt(row -> row.get(i).length()).max().orElse(0))
            .toArray();
    int total = IntStream.of(widths).map(width -> GAP.length() + width).sum();
    int last = words - 1;
    widths[last] = Math.max(ELLIPSIS.length(), widths[last] - Math.max(0, total - WIDTH));
    return rows.stream()
        .map(
            row ->
                IntStream.range(0, widths.length)
                    .mapToObj(
                        i ->
                            i < words
                                ? left(Word.shortened(row.get(i), widths[i]), widths[i])
                                : right(row.get(i), widths[i]))
                    .collect(Collectors.joining(GAP, INDENT, "")))
        .toList();
  }

  static String left(String cell, int width) {
    return cell + " ".repeat(Math.max(0, width - cell.length()));
  }

  static String right(String cell, int width) {
    return " ".repeat(Math.max(0, width - cell.length())) + cell;
  }

  /** Text that a terminal may be shown as it is, its line breaks and tabs with it. */
  static String printed(String text) {
    return text.codePoints()
        .mapToObj(c -> c == '\n' || c == '\t' ? Character.toString(c) : Word.printed(c))
        .collect(Collectors.joining());
  }

  /** With four significant digits. */
  static String number(double value) {
    double magnitude = Math.abs(value);
    if (value == 0) {
      return "0";
    }
    if (!Double.isFinite(value)) {
      return String.valueOf(value);
    }
    BigDecimal rounded = new BigDecimal(value).round(new MathContext(DIGITS));
    return magnitude >= 1e-4 && magnitude < 1e6
        ? rounded.setScale(rounded.scale() + DIGITS - rounded.precision()).toPlainString()
        : String.format(Locale.ROOT, "%." + (DIGITS - 1) + "e", value);
  }

  /** So many of what one is called, as in "1 pair" and "1,000 pairs". */
  static String counted(long count, String one) {
    return String.format(Locale.ROOT, "%,d %s%s", count, one, count == 1 ? "" : "s");
  }

  static String percent(double fraction) {
    return fraction >= 0.001
        ? String.format(Locale.ROOT, "%.1f%%", 100 * fraction)
        : String.format(Locale.ROOT, "%.0e", fraction);
  }

  /** Pieces with spaces between, those that do not fit on the next line. */
  static List<String> wrapped(List<String> pieces) {
    List<String> lines = new ArrayList<>();
    StringBuilder line = new StringBuilder();
    for (String piece : pieces) {
      if (line.length() + 1 + piece.length() > WIDTH) {
        lines.add(line.toString());
        line.setLength(0);
        line.append(INDENT);
      }
      line.append(line.toString().isBlank() ? "" : " ").append(piece);
    }
    lines.add(line.toString());
    return lines;
  }
}

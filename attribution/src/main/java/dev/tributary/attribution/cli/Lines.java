package dev.tributary.attribution.cli;

import java.util.List;

/** Text for a terminal of 80 columns, line by line. */
final class Lines {
  private final StringBuilder text = new StringBuilder();

  void add(String line) {
    text.append(line.stripTrailing()).append(System.lineSeparator());
  }

  void add(Table table) {
    table.lines().forEach(this::add);
  }

  /** Pieces one after the other, none of which is broken. */
  void wrapped(List<String> pieces) {
    Table.wrapped(pieces).forEach(this::add);
  }

  @Override
  public String toString() {
    return text.toString();
  }
}

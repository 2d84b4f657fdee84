package dev.tributary.attribution.dataset.spark;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Some of the sums over the pairs of some partitions, and the rows that were not counted. */
final class PartialSums {
  private final double[] numbers;
  private final List<BadRow> badRows;

  PartialSums(double[] numbers, List<BadRow> badRows) {
    this.numbers = numbers;
    this.badRows = new ArrayList<>(badRows);
  }

  double[] numbers() {
    return numbers;
  }

  List<BadRow> badRows() {
    return badRows;
  }

  /** Adds those of a later partition. */
  void add(PartialSums later) {
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] += later.numbers[i];
    }
    badRows.addAll(later.badRows);
  }

  /**
   * {@return how they travel: the number of numbers, the numbers, the number of rows, and of each
   * its line, file and reason, a text with the number of its bytes before it}
   */
  byte[] toBytes() {
    List<byte[]> texts = new ArrayList<>();
    int length = 2 * Integer.BYTES + numbers.length * Double.BYTES;
    for (BadRow row : badRows) {
      for (String text : List.of(row.file().toString(), row.reason())) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        texts.add(bytes);
        length += Integer.BYTES + bytes.length;
      }
      length += Long.BYTES;
    }
    ByteBuffer out = ByteBuffer.allocate(length).putInt(numbers.length);
    for (double number : numbers) {
      out.putDouble(number);
    }
    out.putInt(badRows.size());
    for (int i = 0; i < badRows.size(); i++) {
      out.putLong(badRows.get(i).line());
      for (byte[] text : texts.subList(2 * i, 2 * i + 2)) {
        out.putInt(text.length).put(text);
      }
    }
    return out.array();
  }

  /** {@return what travelled} */
  static PartialSums of(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    double[] numbers = new double[in.getInt()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = in.getDouble();
    }
    List<BadRow> rows = new ArrayList<>();
    for (int left = in.getInt(); left > 0; left--) {
      long line = in.getLong();
      Path file = Path.of(text(in));
      rows.add(new BadRow(file, line, text(in)));
    }
    return new PartialSums(numbers, rows);
  }

  private static String text(ByteBuffer in) {
    byte[] bytes = new byte[in.getInt()];
    in.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }
}

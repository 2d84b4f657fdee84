package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.transformer.Progress;
import java.io.Closeable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Goes through a data set part by part. With a folder, the sums over the parts that are finished
 * lie there, and a run that was ended at any time, asked the same question, goes on behind them:
 * sums are the same bit by bit.
 */
public final class PartedSums implements Closeable {
  /** Pairs of a part. */
  private static final int PAIRS = 16;

  private final PairFiles data;
  private final Optional<PartFolder> folder;

  private PartedSums(PairFiles data, Optional<PartFolder> folder) {
    this.data = data;
    this.folder = folder;
  }

  /**
   * {@return sums of which nothing is kept if the process ends}
   *
   * @param data the pairs
   */
  public static PartedSums of(PairFiles data) {
    return new PartedSums(data, Optional.empty());
  }

  /**
   * {@return sums of which finished parts are kept until {@link #delete}}
   *
   * @param folder for finished parts, made if it is not there
   * @param data the pairs
   * @param question all else on which the sums depend, in words
   * @throws IllegalArgumentException if it has parts of other files, or of another question, or
   *     another process is at work on it
   * @throws IOException if it cannot be read or written, or a file of pairs not be read
   */
  public static PartedSums in(Path folder, PairFiles data, List<String> question)
      throws IOException {
    String all = String.join("\n", question) + "\n" + data.identity() + "\n";
    return new PartedSums(data, Optional.of(PartFolder.open(folder, all)));
  }

  /**
   * {@return the sums over all pairs, some of which may have been counted by an earlier run}
   *
   * @param called what tells them apart from others over the same data, a word
   * @param begin makes the sums of no pairs
   * @param bad hears of each row that is no pair
   * @param progress hears how many rows have been read
   * @throws IOException if a file cannot be read, or a part not be written
   */
  public double[] over(
      String called, Supplier<PairSums> begin, Consumer<BadRow> bad, Progress progress)
      throws IOException {
    return over(called, begin, bad, progress, Math.toIntExact(rows()), Long.MAX_VALUE);
  }

  /**
   * {@return the sums over the first pairs}
   *
   * @param pairs how many, if there are so many
   * @param called what tells them apart from others over the same data, a word
   * @param begin makes the sums of no pairs
   * @param progress hears how many pairs have been counted
   * @throws IOException if a file cannot be read, or a part not be written
   */
  public double[] overFirst(int pairs, String called, Supplier<PairSums> begin, Progress progress)
      throws IOException {
    return over(called, begin, row -> {}, progress, (int) Math.min(pairs, rows()), pairs);
  }

  private long rows() throws IOException {
    return Math.min(data.rows(), Integer.MAX_VALUE);
  }

  private double[] over(
      String called,
      Supplier<PairSums> begin,
      Consumer<BadRow> bad,
      Progress progress,
      int rows,
      long most)
      throws IOException {
    Parts parts = new Parts(called, begin);
    int[] skipped = {0};
    try {
      data.read(
          pair -> {
            if (parts.pairs < most) {
              parts.add(pair);
              progress.at((int) Math.min(rows, parts.pairs + skipped[0]), rows);
            }
          },
          row -> {
            skipped[0]++;
            bad.accept(row);
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    parts.finish();
    return parts.sums;
  }

  /**
   * Removes what was kept, when what was made of the sums is written elsewhere.
   *
   * @throws IOException if it cannot be removed
   */
  public void delete() throws IOException {
    if (folder.isPresent()) {
      folder.get().delete();
    }
  }

  @Override
  public void close() throws IOException {
    if (folder.isPresent()) {
      folder.get().close();
    }
  }

  /** Pairs that come one after the other, put together to parts. */
  private final class Parts {
    private final String called;
    private final Supplier<PairSums> begin;

    /** Of finished parts. */
    private final double[] sums;

    /** How many pairs these have. */
    private long finished;

    private PairSums part;
    private long pairs;

    Parts(String called, Supplier<PairSums> begin) throws IOException {
      this.called = called;
      this.begin = begin;
      part = begin.get();
      sums = part.toArray();
      Optional<double[]> kept =
          folder.isEmpty() ? Optional.empty() : folder.get().read(called, 1 + sums.length);
      if (kept.isPresent()) {
        finished = (long) kept.get()[0];
        System.arraycopy(kept.get(), 1, sums, 0, sums.length);
      }
    }

    void add(Pair pair) {
      if (pairs++ < finished) {
        return;
      }
      part.add(pair, pairs - 1);
      if (pairs % PAIRS == 0) {
        try {
          finish();
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      }
    }

    void finish() throws IOException {
      requireArgument(pairs >= finished, "%d pairs, %d of which are counted", pairs, finished);
      if (pairs == finished) {
        return;
      }
      double[] own = part.toArray();
      for (int i = 0; i < sums.length; i++) {
        sums[i] += own[i];
      }
      finished = pairs;
      part = begin.get();
      if (folder.isPresent()) {
        double[] kept = new double[1 + sums.length];
        kept[0] = finished;
        System.arraycopy(sums, 0, kept, 1, sums.length);
        folder.get().write(called, kept);
      }
    }
  }
}

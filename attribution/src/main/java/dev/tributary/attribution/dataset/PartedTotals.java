package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.transformer.Progress;
import java.io.Closeable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * Scores a data set part by part. With a folder, a part that is finished lies there, and a run that
 * was ended at any time, asked the same question, goes on behind it: totals are the same bit by
 * bit.
 */
public final class PartedTotals implements Closeable {
  /** Pairs of a part. */
  private static final int PAIRS = 16;

  private final EdgeScorer scorer;
  private final PairFiles data;
  private final Optional<PartFolder> folder;

  private PartedTotals(EdgeScorer scorer, PairFiles data, Optional<PartFolder> folder) {
    this.scorer = scorer;
    this.data = data;
    this.folder = folder;
  }

  /**
   * {@return scores of which nothing is kept if the process ends}
   *
   * @param scorer of pairs
   * @param data the pairs
   */
  public static PartedTotals of(EdgeScorer scorer, PairFiles data) {
    return new PartedTotals(scorer, data, Optional.empty());
  }

  /**
   * {@return scores of which finished parts are kept until {@link #delete}}
   *
   * @param scorer of pairs
   * @param data the pairs
   * @param folder for finished parts, made if it is not there
   * @throws IllegalArgumentException if it has parts of other files, or of another model or method,
   *     or another process is at work on it
   * @throws IOException if it cannot be read or written, or a file of pairs not be read
   */
  public static PartedTotals in(Path folder, EdgeScorer scorer, PairFiles data) throws IOException {
    String question =
        String.join(
            System.lineSeparator(),
            scorer.model().description(),
            scorer.model().dtype().toString(),
            scorer.method().toString(),
            scorer.ablation().toString(),
            data.identity());
    return new PartedTotals(scorer, data, Optional.of(PartFolder.open(folder, question)));
  }

  /**
   * {@return the totals of all pairs, some of which may have been scored by an earlier run}
   *
   * @param bad hears of each row that is no pair
   * @param progress hears how many rows have been read
   * @throws IOException if a file cannot be read, or a part not be written
   */
  public EdgeTotals score(Consumer<BadRow> bad, Progress progress) throws IOException {
    int rows = Math.toIntExact(Math.min(data.rows(), Integer.MAX_VALUE));
    EdgeTotals totals = new EdgeTotals(scorer.graph().edges().size());
    Parts parts = new Parts(totals);
    try {
      data.read(
          pair -> {
            parts.add(pair);
            progress.at(parts.rows(), rows);
          },
          row -> {
            parts.skipped++;
            bad.accept(row);
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    parts.finish();
    return totals;
  }

  /**
   * Removes the folder with finished parts, when the totals are written elsewhere.
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
    private final EdgeTotals totals;
    private final List<Pair> open = new ArrayList<>();
    private int finished;
    private int skipped;

    Parts(EdgeTotals totals) {
      this.totals = totals;
    }

    int rows() {
      return finished * PAIRS + open.size() + skipped;
    }

    void add(Pair pair) {
      open.add(pair);
      if (open.size() == PAIRS) {
        try {
          finish();
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      }
    }

    void finish() throws IOException {
      if (open.isEmpty()) {
        return;
      }
      int numbers = totals.toArray().length;
      Optional<double[]> known =
          folder.isEmpty() ? Optional.empty() : folder.get().read(finished, numbers);
      EdgeTotals part =
          known.isPresent() ? EdgeTotals.of(known.get()) : scorer.score(List.copyOf(open));
      if (folder.isPresent() && known.isEmpty()) {
        folder.get().write(finished, part.toArray());
      }
      totals.add(part);
      finished++;
      open.clear();
    }
  }
}

package dev.tributary.attribution;

import dev.tributary.attribution.Candidates.Candidate;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * The largest products of writes and directions, of which only those are computed whose norms allow
 * it: |⟨write, direction⟩| is at most |write| |direction|.
 *
 * <p>How many pairs there are whose norms reach a threshold is counted beforehand. The first
 * threshold is one that few reach. The pairs that do are computed, at each token, and the smallest
 * of the N largest among these is a magnitude that the answer reaches, which makes the next
 * threshold; when it is reached by what was computed, nothing larger is left. Rounding is part of
 * every bound.
 */
final class NormJoin {
  /** Pairs that are computed first, for each edge that is wanted. */
  private static final int FIRST = 64;

  /** How many times as many are computed next. */
  private static final int GROWTH = 256;

  private final Run run;
  private final List<SearchSources> sources;
  private final List<SearchTargets> targets;
  private final int[] tokens;
  private final Steps steps;
  private final double rounding;

  /** How many sources write early enough for each family of targets: the first ones. */
  private final int[] reaching;

  /** [token][family][place] */
  private final float[][][] writeNorms;

  /** [token][family][place] */
  private final float[][][] directionNorms;

  private final PairCounts counts;

  /**
   * How much is held at a time.
   *
   * @param elements of a product
   * @param writes bytes of these
   * @param directions bytes of these
   */
  record Steps(int elements, long writes, long directions) {
    /** As suits products that are made, looked at and forgotten. */
    static Steps ofDevice() {
      int elements = Scope.tile();
      return new Steps(elements, 64L * elements, 16L * elements);
    }
  }

  NormJoin(
      Run run,
      List<SearchSources> sources,
      List<SearchTargets> targets,
      IntPredicate wantsToken,
      Steps steps) {
    this.run = run;
    this.sources = sources.stream().sorted(Comparator.comparing(SearchSources::point)).toList();
    this.targets = targets;
    this.tokens = IntStream.range(0, run.length()).filter(wantsToken).toArray();
    this.steps = steps;
    this.rounding = Norms.rounding(run);
    this.reaching =
        targets.stream()
            .mapToInt(
                into -> (int) sources.stream().filter(s -> s.point().reaches(into.point())).count())
            .toArray();
    this.writeNorms = new float[run.length()][sources.size()][];
    this.directionNorms = new float[run.length()][targets.size()][];
    this.counts = new PairCounts(run.length());
    Reader reader = new Reader();
    for (int token : tokens) {
      EdgeAttribution.requireNotInterrupted("the search for edges");
      for (int i = 0; i < sources.size(); i++) {
        SearchSources from = this.sources.get(i);
        writeNorms[token][i] =
            from.length(token) == 0 ? new float[0] : reader.norms(() -> from.norms(token));
      }
      for (int j = 0; j < targets.size(); j++) {
        SearchTargets into = targets.get(j);
        directionNorms[token][j] =
            reaching[j] == 0 || into.count(token) == 0
                ? new float[0]
                : reader.norms(() -> into.norms(token));
      }
    }
    reader.read();
    for (int token : tokens) {
      counts.add(token, writeNorms[token], directionNorms[token], reaching);
    }
  }

  /** Norms of many lists, which are read together. */
  private static final class Reader {
    private final List<Tensor> waiting = new ArrayList<>();
    private final List<float[]> read = new ArrayList<>();
    private int length;

    /** Where they will be when all are read. */
    float[] norms(Supplier<Tensor> norms) {
      try (Scope scope = Scope.open()) {
        Tensor all = norms.get();
        waiting.add(scope.keep(all.reshape(all.shape().length())));
      }
      float[] result = new float[waiting.get(waiting.size() - 1).shape().length()];
      read.add(result);
      length += result.length;
      if (length >= Scope.tile()) {
        read();
      }
      return result;
    }

    /** Those that wait, none smaller than it is: up to the next number. */
    void read() {
      if (length == 0) {
        return;
      }
      try (Scope scope = Scope.open()) {
        waiting.forEach(scope::takeBack);
        double[] all = Tensor.concat(0, waiting).toDoubles();
        int at = 0;
        for (float[] own : read) {
          for (int i = 0; i < own.length; i++, at++) {
            own[i] = all[at] == 0 ? 0 : Math.nextUp((float) all[at]);
          }
        }
      }
      waiting.clear();
      read.clear();
      length = 0;
    }
  }

  /** How many edges there are. */
  long edges() {
    long edges = 0;
    for (int token : tokens) {
      for (int j = 0; j < reaching.length; j++) {
        long reading = targets.get(j).count(token);
        for (int i = 0; i < reaching[j]; i++) {
          if (sources.get(i).isSeen(targets.get(j).point())) {
            edges += sources.get(i).count(token) * reading;
          }
        }
      }
    }
    return edges;
  }

  /**
   * The largest edges, and perhaps some that are smaller by no more than rounding.
   *
   * @param count how many
   * @param smallest magnitude that is wanted
   */
  List<Candidate> largest(int count, double smallest, Progress progress) {
    Work work = new Work(progress);
    double known = smallest; // every edge that is wanted reaches it
    double threshold = Math.max(smallest, counts.threshold((long) FIRST * count));
    while (true) {
      work.begin(threshold, known);
      Candidates candidates = new Candidates(count, known);
      for (int token : tokens) {
        new AtToken(token, threshold, candidates).join();
        work.done(token, threshold);
      }
      List<Candidate> all = candidates.all();
      known = candidates.threshold();
      if (threshold <= known) {
        work.end();
        return all;
      }
      long next = GROWTH * counts.reaching(threshold);
      threshold = Math.max(known, counts.threshold(next));
    }
  }

  /** Says how much is done of what is left, in thousandths. */
  private final class Work {
    private static final int PARTS = 1000;
    private final Progress progress;
    private long done;
    private long expected;
    private int said;

    Work(Progress progress) {
      this.progress = progress;
      progress.at(0, PARTS);
    }

    /** There may be one more round, of all pairs that reach what is known. */
    void begin(double threshold, double known) {
      expected = done + counts.reaching(threshold);
      if (known < threshold) {
        expected += counts.reaching(known);
      }
    }

    void done(int token, double threshold) {
      done += counts.reaching(token, threshold);
      said = Math.max(said, (int) (PARTS * done / Math.max(1, expected)));
      progress.at(said, PARTS);
    }

    void end() {
      progress.at(PARTS, PARTS);
    }
  }

  /** The pairs at one token. */
  private final class AtToken {
    private final int token;
    private final double least;
    private final Candidates candidates;

    AtToken(int token, double least, Candidates candidates) {
      this.token = token;
      this.least = least;
      this.candidates = candidates;
    }

    /** Smaller products need not be computed. */
    private double threshold() {
      return Math.max(least, candidates.threshold());
    }

    /** Whether two norms allow a product that is wanted; none of 0 is. */
    private boolean allow(double write, double direction) {
      return write > 0 && direction > 0 && write * direction * (1 + rounding) >= threshold();
    }

    void join() {
      float[] longest = new float[sources.size()]; // direction that each family reaches
      for (int j = 0; j < reaching.length; j++) {
        float most = 0;
        for (float norm : directionNorms[token][j]) {
          most = Math.max(most, norm);
        }
        for (int i = 0; i < reaching[j]; i++) {
          longest[i] = Math.max(longest[i], most);
        }
      }
      double[] least = new double[longest.length];
      for (int i = 0; i < least.length; i++) {
        least[i] = Math.max(Float.MIN_VALUE, threshold() / (longest[i] * (1 + rounding)));
      }
      int most = (int) Math.max(1, steps.writes / rowBytes());
      for (Writes writes : Writes.of(writeNorms[token], least, most)) {
        try (Scope scope = Scope.open()) {
          Tensor rows = writes.gather(sources, token);
          for (int j = 0; j < reaching.length; j++) {
            EdgeAttribution.requireNotInterrupted("the search for edges");
            join(writes, rows, j);
          }
        }
      }
    }

    private void join(Writes writes, Tensor rows, int target) {
      List<Writes.Stretch> early = writes.ofFirst(reaching[target]);
      double longest = early.isEmpty() ? 0 : early.get(0).longest();
      float[] norms = directionNorms[token][target];
      int[] chosen =
          IntStream.range(0, norms.length)
              .filter(place -> allow(longest, norms[place]))
              .boxed()
              .sorted(Comparator.comparingDouble(place -> -norms[place]))
              .mapToInt(Integer::intValue)
              .toArray();
      int most = (int) Math.max(1, Math.min(steps.directions / rowBytes(), steps.elements));
      for (int from = 0; from < chosen.length; from += most) {
        int[] some = Arrays.copyOfRange(chosen, from, Math.min(chosen.length, from + most));
        try (Scope scope = Scope.open()) {
          Tensor directions = targets.get(target).directions(token, some);
          new Against(target, some, directions).join(writes, rows, early);
        }
      }
    }

    /** Some directions, the longest first. */
    private final class Against {
      private final int target;
      private final int[] places;
      private final Tensor directions;
      private final double[] norms;
      private final double[][] factors;

      Against(int target, int[] places, Tensor directions) {
        this.target = target;
        this.places = places;
        this.directions = directions;
        this.norms = new double[places.length];
        for (int j = 0; j < norms.length; j++) {
          norms[j] = directionNorms[token][target][places[j]];
        }
        this.factors = new double[places.length][];
      }

      /** Stretches whose products are few go together, with what lies between them. */
      void join(Writes writes, Tensor rows, List<Writes.Stretch> early) {
        for (int i = 0; i < early.size(); i++) {
          Writes.Stretch first = early.get(i);
          int columns = 0;
          while (columns < norms.length && allow(first.longest(), norms[columns])) {
            columns++;
          }
          if (columns == 0) {
            return; // the others are shorter
          }
          int end = first.to();
          long together = Scope.leastTile() / columns;
          while (i + 1 < early.size() && early.get(i + 1).to() - first.from() <= together) {
            end = early.get(++i).to();
          }
          int step = Math.max(1, steps.elements / columns);
          for (int from = first.from(); from < end; from += step) {
            try (Scope scope = Scope.open()) {
              multiply(writes, rows, from, Math.min(end, from + step), columns);
            }
          }
        }
      }

      private void multiply(Writes writes, Tensor rows, int from, int to, int columns) {
        Tensor products = rows.slice(0, from, to).matmulTransposed(directions.slice(0, 0, columns));
        double[] errors = new double[to - from];
        for (int i = 0; i < errors.length; i++) {
          errors[i] = writes.norm(from + i) * rounding;
        }
        double[] longest = Arrays.copyOf(norms, columns);
        int[] found = products.reaching(errors, longest, candidates.threshold());
        if (found.length == 0) {
          return;
        }
        double[] values = products.reshape(errors.length * columns).gather(0, found).toDoubles();
        findFactors(Arrays.stream(found).map(at -> at % columns).distinct().toArray());
        for (int i = 0; i < found.length; i++) {
          int row = found[i] / columns;
          int column = found[i] % columns;
          double error = errors[row] * norms[column];
          if (isEdge(writes.family(from + row))
              && Math.abs(values[i]) + error >= candidates.threshold()) {
            offer(writes, from + row, column, Math.abs(values[i]), error);
          }
        }
      }

      /** Whether what those sources write is read here. */
      private boolean isEdge(int family) {
        return family < reaching[target] && sources.get(family).isSeen(targets.get(target).point());
      }

      private void findFactors(int... columns) {
        int[] missing = Arrays.stream(columns).filter(i -> factors[i] == null).toArray();
        if (missing.length > 0) {
          int[] own = Arrays.stream(missing).map(column -> places[column]).toArray();
          double[][] found = targets.get(target).factors(token, own);
          for (int i = 0; i < missing.length; i++) {
            factors[missing[i]] = found[i];
          }
        }
      }

      private void offer(Writes writes, int row, int column, double magnitude, double error) {
        double[] own = factors[column];
        for (int which = 0; which < own.length; which++) {
          double factor = Math.abs(own[which]);
          double most = (magnitude + error) * factor;
          if (factor > 0 && most >= candidates.threshold()) {
            Candidate edge =
                new Candidate(
                    token,
                    writes.family(row),
                    writes.place(row),
                    target,
                    places[column],
                    which,
                    own[which],
                    most);
            candidates.offer(edge, error * factor);
          }
        }
      }
    }
  }

  private long rowBytes() {
    return (long) run.model().config().dModel() * run.model().dtype().bytes();
  }

  // ---- what was found ----------------------------------------------------------------------

  /** Takes an edge computed in 64 bits. */
  interface Sink {
    void edge(Source source, Target target, double score);
  }

  /** Computes candidates anew, each for itself. */
  void exactly(List<Candidate> found, Sink sink) {
    List<Candidate> ordered = new ArrayList<>(found);
    ordered.sort(
        Comparator.comparingInt(Candidate::target)
            .thenComparingInt(Candidate::token)
            .thenComparingInt(Candidate::direction));
    int most = (int) Math.max(1, steps.directions / rowBytes() / 2);
    for (int from = 0; from < ordered.size(); from += most) {
      exactlyOf(ordered.subList(from, Math.min(ordered.size(), from + most)), sink);
    }
  }

  /** Each write and each direction is computed alone, and all are read together. */
  private void exactlyOf(List<Candidate> some, Sink sink) {
    try (Scope scope = Scope.open()) {
      List<Tensor> rows = new ArrayList<>();
      int[] directions = new int[some.size()];
      for (int i = 0; i < directions.length; i++) {
        Candidate edge = some.get(i);
        boolean same = i > 0 && edge.hasDirectionOf(some.get(i - 1));
        directions[i] = same ? directions[i - 1] : rows.size();
        if (!same) {
          rows.add(targets.get(edge.target()).directions(edge.token(), edge.direction()));
        }
      }
      int first = rows.size();
      for (Candidate edge : some) {
        rows.add(sources.get(edge.source()).writes(edge.token(), edge.write()));
      }
      double[] numbers = Tensor.concat(0, rows).toDoubles();
      int dModel = run.model().config().dModel();
      for (int i = 0; i < directions.length; i++) {
        Candidate edge = some.get(i);
        double product = 0;
        for (int at = 0; at < dModel; at++) {
          product += numbers[(first + i) * dModel + at] * numbers[directions[i] * dModel + at];
        }
        sink.edge(
            sources.get(edge.source()).node(edge.token(), edge.write()),
            targets.get(edge.target()).target(edge.token(), edge.direction(), edge.which()),
            product * edge.factor());
      }
    }
  }
}

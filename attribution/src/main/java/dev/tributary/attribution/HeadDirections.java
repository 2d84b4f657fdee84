package dev.tributary.attribution;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Projection;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Directions of one of the three inputs of the heads of a layer: cotangents at the input as it
 * enters its product, [head, n, dHead], pulled back through positions, norm, weights and the entry.
 * In the list of a token follow n directions of each head on each other.
 *
 * <p>With P the pattern, g its held gradient, s the slope of scores with query-key products:
 *
 * <ul>
 *   <li>query at its token, for each key: P g (s K[key] - Σ P s K), the mean over keys
 *   <li>key at the token t that moves, for each query from t on: s Q[query]; a target is a key k'
 *       that the query sees, with the factor P[k'] g[k'] ((k' = t) - P[t])
 *   <li>value at its token, for each query from there on: P times the gradient of the head's output
 *   <li>value as part of what is written: what the head writes of it; each query has the factor P
 * </ul>
 */
abstract class HeadDirections implements SearchTargets {
  final EdgeAttribution edges;
  final Run run;
  private final InputPath path;
  final int layer;
  private final NodeFilter wanted;
  private final Attention attention;
  private final Projection projection;
  private final Projection.Pulls pulls;
  private final Tensor scales;

  /** 1 for a query that is wanted, else 0, [token, 1]. */
  private final Tensor wantedQueries;

  /** Of the weights through the entry, for the heads that the projection makes. */
  private final Norms.OfProducts weights;

  private HeadDirections(InputPath path, EdgeAttribution edges, int layer, NodeFilter wanted) {
    this.edges = edges;
    this.run = edges.nodes().run();
    this.path = path;
    this.layer = layer;
    this.wanted = wanted;
    this.attention = run.model().attention(layer);
    this.projection = attention.projection(path);
    this.pulls = projection.pulls(run.length());
    this.scales = SearchTargets.scales(edges, attention);
    this.weights = new Norms.OfProducts(run, this::weightsThroughEntry);
    double[] ones =
        IntStream.range(0, tokens()).mapToDouble(query -> wants(query) ? 1 : 0).toArray();
    this.wantedQueries = Tensor.of(run.model().dtype(), Shape.of(tokens(), 1), ones);
  }

  static HeadDirections of(InputPath path, EdgeAttribution edges, int layer, NodeFilter wanted) {
    return switch (path) {
      case QUERY -> new OfQueries(edges, layer, wanted);
      case KEY -> new OfKeys(edges, layer, wanted);
      case VALUE ->
          edges.measure() == EdgeMeasure.ATTRIBUTION
              ? new OfValues(edges, layer, wanted)
              : new OfWrittenValues(edges, layer, wanted);
      case GATE, UP, ALL -> throw new AssertionError(path);
    };
  }

  // ---- what the inputs differ in -----------------------------------------------------------

  /** How many directions each head has at a token. */
  abstract int perHead(int token);

  /** Cotangents at the input, [head, n, dHead]; 0 of what is not wanted. */
  abstract Tensor cotangents(int token);

  /** How many targets that are wanted read a token. */
  @Override
  public abstract long count(int token);

  /** The target of a head and the number of a direction. */
  abstract HeadPair target(int token, int head, int direction, int which);

  // ---- what they share ---------------------------------------------------------------------

  @Override
  public Point point() {
    return attention.reads();
  }

  int tokens() {
    return run.length();
  }

  int heads() {
    return attention.heads();
  }

  boolean wants(int query) {
    return wanted.wantsToken(query);
  }

  /** For each query from a token on, 1 if it is wanted, else 0, [query, 1]. */
  Tensor wantedFrom(int token) {
    return wantedQueries.slice(0, token, tokens());
  }

  long wantedQueriesFrom(int token) {
    return IntStream.range(token, tokens()).filter(this::wants).count();
  }

  /** Recorded of every head, from one token to before another. */
  Tensor recorded(Site site, int from, int to) {
    return run.value(site, layer).slice(1, from, to);
  }

  /** What queries from a token on have of it as a key, of [head, query, key]: [head, query, 1]. */
  Tensor onToken(Tensor byKey, int token) {
    return byKey.slice(2, token, token + 1).slice(1, token, tokens());
  }

  /** The key that each head sees of every token before one. */
  Tensor keys(int to) {
    return attention.perHead(recorded(Site.KEY, 0, to));
  }

  /** Probabilities times their held gradients, of the queries from one to before another. */
  Tensor weighted(int from, int to) {
    return recorded(Site.PATTERN, from, to).times(held(from, to));
  }

  private Tensor held(int from, int to) {
    return edges.heldGradient(Site.PATTERN, layer).slice(1, from, to);
  }

  private Tensor weightsThroughEntry() {
    Tensor weight = projection.weight();
    Tensor byHead = SearchTargets.fixed(attention, weight.permute(1, 0));
    int heads = weight.shape().size(1) / attention.dHead();
    return byHead.reshape(heads, attention.dHead(), weight.shape().size(0));
  }

  /** What the projection is of, [1, dModel]. */
  private Tensor projected(int token) {
    Tensor row = run.residual(attention.reads()).value().slice(0, token, token + 1);
    return attention.normalised(Variable.constant(row), edges.scaleGradient()).value();
  }

  /** Cotangents at what the weights give, by the heads that the projection makes. */
  private Tensor pulled(int token, Tensor projected) {
    Tensor all = cotangents(token);
    int made = path == InputPath.QUERY ? heads() : attention.keyHeads();
    Tensor grouped = all.reshape(made, heads() / made * all.shape().size(1), attention.dHead());
    return pulls.of(projected, token, grouped, edges.scaleGradient());
  }

  private List<Tensor> shared(Tensor projected) {
    return projection.shared(projected, edges.scaleGradient());
  }

  /** What a cotangent at each head takes of a shared vector, [head, n, 1]. */
  private Tensor taken(Tensor pulled, Tensor shared) {
    return pulled.times(shared).sum(-1).times(1.0 / shared.shape().length());
  }

  /** A vector over all heads through the weights, [1, dModel]. */
  private Tensor throughAll(Tensor shared) {
    return shared.reshape(1, shared.shape().length()).matmulTransposed(projection.weight());
  }

  @Override
  public Tensor norms(int token) {
    try (Scope scope = Scope.open()) {
      Tensor projected = projected(token);
      Tensor pulled = pulled(token, projected);
      Tensor norms = weights.of(pulled);
      for (Tensor shared : shared(projected)) {
        Tensor all = SearchTargets.fixed(attention, throughAll(shared));
        norms = norms.plus(Norms.magnitudes(taken(pulled, shared)).times(all.norm(-1)));
      }
      return scope.keep(norms.over(scales.slice(0, token, token + 1)));
    }
  }

  @Override
  public Tensor directions(int token, int... chosen) {
    Tensor projected = projected(token);
    Tensor pulled = pulled(token, projected);
    int perHead = pulled.shape().size(1);
    int entries = pulled.shape().size(0) * perHead;
    Tensor rows = pulled.reshape(entries, attention.dHead()).gather(0, chosen);
    Tensor gradients =
        Groups.rows(
            Arrays.stream(chosen).map(entry -> entry / perHead).toArray(),
            (head, own) -> rows.gather(0, own).matmulTransposed(projection.weight(head)));
    for (Tensor shared : shared(projected)) {
      Tensor taken = taken(pulled, shared).reshape(entries, 1).gather(0, chosen);
      gradients = gradients.minus(taken.times(throughAll(shared)));
    }
    return SearchTargets.throughEntry(edges, attention, token, gradients);
  }

  @Override
  public Target target(int token, int place, int which) {
    return target(token, place / perHead(token), place % perHead(token), which).through(path);
  }

  HeadPair pair(int head, int query, int key) {
    return new HeadPair(layer, head, query, key);
  }

  // ---- queries -----------------------------------------------------------------------------

  /** Direction number key. */
  private static final class OfQueries extends HeadDirections {
    OfQueries(EdgeAttribution edges, int layer, NodeFilter wanted) {
      super(InputPath.QUERY, edges, layer, wanted);
    }

    @Override
    int perHead(int token) {
      return wants(token) ? token + 1 : 0;
    }

    @Override
    public long count(int token) {
      return (long) heads() * perHead(token);
    }

    @Override
    Tensor cotangents(int token) {
      int seen = token + 1;
      Tensor pattern = recorded(Site.PATTERN, token, seen).slice(2, 0, seen);
      Tensor moved = keys(seen).times(slopes(token, seen, 0, seen));
      Tensor weights = weighted(token, seen).slice(2, 0, seen).reshape(heads(), seen, 1);
      return moved.minus(pattern.matmul(moved)).times(weights);
    }

    @Override
    HeadPair target(int token, int head, int direction, int which) {
      return pair(head, token, direction);
    }
  }

  /** How fast scores move with query-key products, of some queries by some keys, [head, n, 1]. */
  Tensor slopes(int from, int to, int firstKey, int endKey) {
    return attention
        .scoreSlopes(run, from, to, firstKey, endKey)
        .reshape(heads(), (to - from) * (endKey - firstKey), 1);
  }

  // ---- keys --------------------------------------------------------------------------------

  /** Direction number query - token. */
  private static final class OfKeys extends HeadDirections {
    /** Of each head and query, the largest magnitude of P g and the next one, [head, query, 1]. */
    private final Tensor largest;

    private final Tensor second;

    /** As large as what is looked for the largest in. */
    private static final int TEMPORARIES = 8;

    OfKeys(EdgeAttribution edges, int layer, NodeFilter wanted) {
      super(InputPath.KEY, edges, layer, wanted);
      List<Tensor> largest = new ArrayList<>();
      List<Tensor> second = new ArrayList<>();
      int step = Math.max(1, Scope.tile() / (heads() * tokens()) / TEMPORARIES);
      try (Scope all = Scope.open()) {
        for (int from = 0; from < tokens(); from += step) {
          try (Scope scope = Scope.open()) {
            Tensor magnitudes = Norms.magnitudes(weighted(from, Math.min(tokens(), from + step)));
            Tensor first = magnitudes.topKMask(1);
            Tensor others = magnitudes.minus(magnitudes.times(first));
            largest.add(scope.keep(magnitudes.times(first).sum(-1)));
            second.add(scope.keep(others.times(others.topKMask(1)).sum(-1)));
          }
        }
        this.largest = all.keep(Tensor.concat(1, largest));
        this.second = all.keep(Tensor.concat(1, second));
      }
    }

    @Override
    int perHead(int token) {
      return tokens() - token;
    }

    @Override
    public long count(int token) {
      return heads()
          * IntStream.range(token, tokens()).filter(this::wants).mapToLong(q -> q + 1L).sum();
    }

    /** The largest factor over the keys of each query from a token on, [head, query, 1]. */
    private Tensor most(int token) {
      int end = tokens();
      Tensor pattern = onToken(run.value(Site.PATTERN, layer), token);
      Tensor held = onToken(edges.heldGradient(Site.PATTERN, layer), token);
      Tensor own = Norms.magnitudes(pattern.times(held));
      Tensor first = largest.slice(1, token, end);
      Tensor less = first.minus(own).positive(); // 0 where the token itself is the largest
      Tensor other =
          first.times(less).plus(second.slice(1, token, end).times(less.negate().plus(1)));
      Tensor ofOther = other.times(pattern);
      Tensor ofOwn = own.times(Norms.magnitudes(pattern.negate().plus(1)));
      return ofOther.plus(ofOwn.minus(ofOther).relu()); // the larger one
    }

    @Override
    Tensor cotangents(int token) {
      int end = tokens();
      return recorded(Site.QUERY, token, end)
          .times(slopes(token, end, token, token + 1).times(most(token).times(wantedFrom(token))));
    }

    @Override
    public double[][] factors(int token, int... places) {
      int queries = perHead(token);
      double[][] factors = new double[places.length][];
      try (Scope scope = Scope.open()) {
        Tensor pattern = onToken(run.value(Site.PATTERN, layer), token);
        Tensor all =
            Tensor.concat(
                1,
                Stream.of(weighted(token, tokens()), pattern, most(token))
                    .map(x -> x.reshape(heads() * queries, x.shape().size(-1)).gather(0, places))
                    .toList());
        double[] numbers = all.toDoubles();
        for (int i = 0; i < places.length; i++) {
          int first = i * (tokens() + 2);
          double moved = numbers[first + tokens()];
          double most = numbers[first + tokens() + 1];
          factors[i] = Arrays.copyOfRange(numbers, first, first + token + places[i] % queries + 1);
          for (int key = 0; key < factors[i].length; key++) {
            factors[i][key] *= ((key == token ? 1 : 0) - moved) / most;
          }
        }
      }
      return factors;
    }

    @Override
    HeadPair target(int token, int head, int direction, int which) {
      return pair(head, token + direction, which);
    }
  }

  // ---- values ------------------------------------------------------------------------------

  /** Direction number query - token. */
  private static final class OfValues extends HeadDirections {
    OfValues(EdgeAttribution edges, int layer, NodeFilter wanted) {
      super(InputPath.VALUE, edges, layer, wanted);
    }

    @Override
    int perHead(int token) {
      return tokens() - token;
    }

    @Override
    public long count(int token) {
      return heads() * wantedQueriesFrom(token);
    }

    @Override
    Tensor cotangents(int token) {
      Tensor pattern = onToken(run.value(Site.PATTERN, layer), token);
      return gradient(token).times(pattern.times(wantedFrom(token)));
    }

    @Override
    HeadPair target(int token, int head, int direction, int which) {
      return pair(head, token + direction, token);
    }
  }

  /** The gradient of the output of each head from a token on. */
  Tensor gradient(int token) {
    return edges.nodes().gradient(Site.HEAD_OUTPUT, layer).slice(1, token, tokens());
  }

  /** One direction for each head. */
  private static final class OfWrittenValues extends HeadDirections {
    OfWrittenValues(EdgeAttribution edges, int layer, NodeFilter wanted) {
      super(InputPath.VALUE, edges, layer, wanted);
    }

    @Override
    int perHead(int token) {
      return 1;
    }

    @Override
    public long count(int token) {
      return heads() * wantedQueriesFrom(token);
    }

    /** Probabilities by query from a token on, [head, 1, query]. */
    private Tensor probabilities(int token) {
      return onToken(run.value(Site.PATTERN, layer), token).reshape(heads(), 1, tokens() - token);
    }

    @Override
    Tensor cotangents(int token) {
      Tensor all = probabilities(token);
      return written(token).times(all.times(all.topKMask(1)).sum(-1));
    }

    @Override
    public double[][] factors(int token, int... places) {
      int queries = tokens() - token;
      double[][] factors = new double[places.length][];
      try (Scope scope = Scope.open()) {
        double[] numbers = probabilities(token).gather(0, places).toDoubles();
        for (int i = 0; i < places.length; i++) {
          double[] own = Arrays.copyOfRange(numbers, i * queries, (i + 1) * queries);
          double largest = Arrays.stream(own).max().orElse(0);
          for (int query = 0; query < queries; query++) {
            own[query] *= wants(token + query) ? 1 / largest : 0;
          }
          factors[i] = own;
        }
      }
      return factors;
    }

    @Override
    HeadPair target(int token, int head, int direction, int which) {
      return pair(head, token + which, token);
    }
  }

  Tensor written(int token) {
    return HeadInput.writtenDirections(run, layer, token);
  }
}

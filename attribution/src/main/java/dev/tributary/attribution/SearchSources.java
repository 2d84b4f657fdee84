package dev.tributary.attribution;

import dev.tributary.attribution.Node.Bias;
import dev.tributary.attribution.Node.BiasPart;
import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.PreBias;
import dev.tributary.attribution.Node.ReconstructionError;
import dev.tributary.attribution.Node.Source;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Sources of one kind and layer as a product of two factors: what source i writes at a token is its
 * activation there times row i, which is the same at all tokens. A row of something that is written
 * at one token only has activation 0 at the others.
 *
 * <ul>
 *   <li>neuron: its output weights, its activation
 *   <li>head at a key: the value of the key through the output weights; the probability
 *   <li>latent: its decoder row in the residual stream; the latent
 *   <li>embedding, bias, error, pre-bias: itself; 1
 * </ul>
 */
final class SearchSources {
  /** Names the node of a row at a token. */
  private interface Name {
    Source of(int row, int token);
  }

  private final int block;
  private final Tensor rows;
  private final double[][] activations;
  private final double[] largest;
  private final double largestNorm;
  private final Name name;
  private final boolean[] wanted;
  private final int[] nodes;

  /**
   * Sources of these rows.
   *
   * @param rows [source, dModel]
   * @param activations [token][source]
   * @param nodes how many sources there are at each token
   */
  private SearchSources(
      int block, Tensor rows, double[][] activations, int[] nodes, NodeFilter filter, Name name) {
    this.block = block;
    this.rows = rows;
    this.activations = activations;
    this.nodes = nodes;
    this.name = name;
    this.largest = new double[activations.length];
    this.wanted = new boolean[activations.length];
    for (int token = 0; token < activations.length; token++) {
      wanted[token] = filter.wantsToken(token);
      for (double activation : activations[token]) {
        largest[token] = Math.max(largest[token], Math.abs(activation));
      }
    }
    try (Scope scope = Scope.open()) {
      this.largestNorm = Arrays.stream(rows.norm(-1).toDoubles()).max().orElse(0);
    }
  }

  static final List<Class<? extends Node>> KINDS =
      List.of(
          Embedding.class,
          HeadPair.class,
          Neuron.class,
          Bias.class,
          Latent.class,
          ReconstructionError.class,
          PreBias.class);

  /** All wanted sources of a run, in the innermost scope. */
  static List<SearchSources> of(Run run, NodeFilter filter) {
    List<SearchSources> families = new ArrayList<>();
    if (filter.wantsKind(Embedding.class)) {
      families.add(
          atOwnToken(
              0,
              run.value(Site.TOKEN_EMBEDDING),
              filter,
              (row, token) -> new Embedding(EmbeddingPart.TOKEN, token)));
      families.add(
          atOwnToken(
              0,
              run.value(Site.POSITION_EMBEDDING),
              filter,
              (row, token) -> new Embedding(EmbeddingPart.POSITION, token)));
    }
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      if (filter.wantsLayer(layer)) {
        if (filter.wantsKind(HeadPair.class)) {
          families.add(heads(run, layer, filter));
        }
        if (filter.wantsKind(Neuron.class)) {
          families.add(neurons(run, layer, filter));
        }
        if (filter.wantsKind(Bias.class)) {
          families.add(
              bias(
                  run,
                  run.model().block(layer).attention().outputBias(),
                  new Bias(BiasPart.ATTENTION, layer, 0),
                  filter));
          families.add(
              bias(
                  run,
                  run.model().block(layer).mlp().output().bias(),
                  new Bias(BiasPart.MLP, layer, 0),
                  filter));
        }
      }
    }
    for (SparseAutoencoder autoencoder : run.model().autoencoders()) {
      if (filter.wantsLayer(autoencoder.layer())) {
        families.addAll(ofAutoencoder(run, autoencoder, filter));
      }
    }
    return families;
  }

  private static SearchSources neurons(Run run, int layer, NodeFilter filter) {
    double[][] activations = byToken(run.value(Site.MLP_ACTIVATION, layer));
    Tensor rows = run.model().block(layer).mlp().output().weight();
    return new SearchSources(
        2 * layer + 2,
        rows,
        activations,
        constant(run.length(), rows.shape().size(0)),
        filter,
        (row, token) -> new Neuron(layer, token, row));
  }

  /** Row head · T + key: the head's value at the key, written into the residual stream. */
  private static SearchSources heads(Run run, int layer, NodeFilter filter) {
    Attention attention = run.model().block(layer).attention();
    int tokens = run.length();
    int heads = attention.heads();
    Tensor written = run.value(Site.VALUE, layer).matmul(attention.outputWeight());
    double[] pattern = run.value(Site.PATTERN, layer).toDoubles();
    double[][] activations = new double[tokens][heads * tokens];
    int[] nodes = new int[tokens];
    for (int query = 0; query < tokens; query++) {
      nodes[query] = heads * (query + 1);
      for (int head = 0; head < heads; head++) {
        System.arraycopy(
            pattern,
            (head * tokens + query) * tokens,
            activations[query],
            head * tokens,
            query + 1);
      }
    }
    return new SearchSources(
        2 * layer + 1,
        written.reshape(heads * tokens, written.shape().size(2)),
        activations,
        nodes,
        filter,
        (row, token) -> new HeadPair(layer, row / tokens, token, row % tokens));
  }

  private static SearchSources bias(Run run, Tensor bias, Bias node, NodeFilter filter) {
    double[][] ones = new double[run.length()][1];
    Arrays.stream(ones).forEach(one -> one[0] = 1);
    return new SearchSources(
        node.block(),
        bias.reshape(1, bias.shape().length()),
        ones,
        constant(run.length(), 1),
        filter,
        (row, token) -> new Bias(node.part(), node.layer(), token));
  }

  private static List<SearchSources> ofAutoencoder(
      Run run, SparseAutoencoder autoencoder, NodeFilter filter) {
    Site site = autoencoder.site();
    int layer = autoencoder.layer();
    Writes writes = new Writes(run);
    int block = new Latent(site, layer, 0, 0).block();
    List<SearchSources> families = new ArrayList<>();
    if (filter.wantsKind(Latent.class)) {
      families.add(
          new SearchSources(
              block,
              writes.toResidual(site, layer, autoencoder.decoder()),
              byToken(run.encoding(site, layer).latents()),
              constant(run.length(), autoencoder.latents()),
              filter,
              (row, token) -> new Latent(site, layer, token, row)));
    }
    if (filter.wantsKind(ReconstructionError.class)) {
      families.add(
          atOwnToken(
              block,
              writes.toResidual(site, layer, run.encoding(site, layer).error()),
              filter,
              (row, token) -> new ReconstructionError(site, layer, token)));
    }
    if (filter.wantsKind(PreBias.class)) {
      families.add(
          atOwnToken(
              block,
              writes
                  .toResidual(site, layer, autoencoder.preBias().reshape(1, autoencoder.width()))
                  .broadcastTo(run.value(Site.EMBEDDING).shape()),
              filter,
              (row, token) -> new PreBias(site, layer, token)));
    }
    return families;
  }

  /** One row for each token, written there. */
  private static SearchSources atOwnToken(int block, Tensor rows, NodeFilter filter, Name name) {
    int tokens = rows.shape().size(0);
    double[][] own = new double[tokens][tokens];
    for (int token = 0; token < tokens; token++) {
      own[token][token] = 1;
    }
    return new SearchSources(block, rows, own, constant(tokens, 1), filter, name);
  }

  private static double[][] byToken(Tensor values) {
    int columns = values.shape().size(1);
    double[] all = values.toDoubles();
    double[][] result = new double[values.shape().size(0)][];
    for (int token = 0; token < result.length; token++) {
      result[token] = Arrays.copyOfRange(all, token * columns, (token + 1) * columns);
    }
    return result;
  }

  private static int[] constant(int tokens, int count) {
    int[] result = new int[tokens];
    Arrays.fill(result, count);
    return result;
  }

  /** The block that writes them, see {@link Run#residualAfter}. */
  int block() {
    return block;
  }

  /** [source, dModel] */
  Tensor rows() {
    return rows;
  }

  /** Number of rows. */
  int count() {
    return rows.shape().size(0);
  }

  /** Number of tokens of the run. */
  int tokens() {
    return activations.length;
  }

  /** Whether sources at a token are wanted. */
  boolean wants(int token) {
    return wanted[token];
  }

  /** Number of wanted nodes at a token. */
  long nodesAt(int token) {
    return wanted[token] ? nodes[token] : 0;
  }

  /** Activation of each row at a token. */
  double[] activations(int token) {
    return activations[token];
  }

  /** Largest magnitude of these. */
  double largest(int token) {
    return largest[token];
  }

  /** Largest norm of a row. */
  double largestNorm() {
    return largestNorm;
  }

  /** The node of a row at a token. */
  Source node(int row, int token) {
    return name.of(row, token);
  }
}

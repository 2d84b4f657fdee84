package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.AttentionPath;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * One use of a component in one run. Layers, tokens, heads and neurons count from 0. Printed, and
 * parsed by {@link #parse}, as
 *
 * <pre>
 * embedding[3]             token and position embedding at token 3
 * token_embedding[3]       either alone
 * position_embedding[3]
 * L1.neuron77[9]           neuron 77 of layer 1 at token 9
 * L2.head5[14&lt;-3]          head 5 of layer 2, token 14 looking at token 3
 * L2.head5.query[14&lt;-3]    entered through its query (or key, or value)
 * L1.attention_bias[9]     output bias of the attention (or mlp) of layer 1 at token 9
 * L1.mlp_latent12[9]       latent 12 of the autoencoder of the MLP's output of layer 1 at token 9
 * L1.mlp_error[9]          what its reconstruction lacks there
 * L1.mlp_pre_bias[9]       what it adds whatever the latents
 * logit5[9]                the logit of word 5 at token 9
 * metric                   the scalar that is explained
 * </pre>
 *
 * <p>Autoencoders are called by what they encode: {@code mlp} and {@code attention} outputs, or
 * {@code activation} for the activations of MLP neurons.
 */
public sealed interface Node {
  /** A node that adds a vector, its write, to the residual stream at one token. */
  sealed interface Source extends Node {
    /** {@return the number of the block that adds it, see {@link Run#residualAfter}} */
    int block();

    /** {@return the token at which it is added} */
    int token();
  }

  /** A node, or a part of one, that reads the residual stream. */
  sealed interface Target extends Node {}

  /** What an embedding node stands for. */
  enum EmbeddingPart {
    /** The token's. */
    TOKEN("token_embedding", Site.TOKEN_EMBEDDING),
    /** The position's. */
    POSITION("position_embedding", Site.POSITION_EMBEDDING),
    /** Their sum. */
    BOTH("embedding", Site.EMBEDDING);

    private final String word;
    private final Site site;

    EmbeddingPart(String word, Site site) {
      this.word = word;
      this.site = site;
    }

    /** Where it is recorded. */
    Site site() {
      return site;
    }
  }

  /** An embedding at a token. */
  record Embedding(EmbeddingPart part, int token) implements Source {
    @Override
    public int block() {
      return 0;
    }

    @Override
    public void requireIn(Run run) {
      requireIndex(this, "token", token, run.length());
    }

    @Override
    public String toString() {
      return part.word + "[" + token + "]";
    }
  }

  /** A neuron of an MLP at a token. */
  record Neuron(int layer, int token, int neuron) implements Source, Target {
    @Override
    public int block() {
      return 2 * layer + 2;
    }

    @Override
    public void requireIn(Run run) {
      requireIndex(this, "layer", layer, run.model().config().layers());
      requireIndex(this, "token", token, run.length());
      requireIndex(this, "neuron", neuron, run.model().config().neurons());
    }

    @Override
    public String toString() {
      return "L" + layer + ".neuron" + neuron + "[" + token + "]";
    }
  }

  /** An attention head at a pair of tokens. */
  record HeadPair(int layer, int head, int query, int key) implements Source {
    @Override
    public int block() {
      return 2 * layer + 1;
    }

    @Override
    public int token() {
      return query;
    }

    /**
     * {@return this node entered through one of its inputs}
     *
     * @param path query, key or value
     */
    public HeadInput through(AttentionPath path) {
      return new HeadInput(this, path);
    }

    @Override
    public List<Target> targets() {
      return Stream.of(AttentionPath.QUERY, AttentionPath.KEY, AttentionPath.VALUE)
          .<Target>map(this::through)
          .toList();
    }

    @Override
    public void requireIn(Run run) {
      requireIndex(this, "layer", layer, run.model().config().layers());
      requireIndex(this, "head", head, run.model().config().heads());
      requireIndex(this, "query token", query, run.length());
      requireArgument(
          key >= 0 && key <= query,
          "%s: key token %d is not between 0 and the query token %d",
          this,
          key,
          query);
    }

    @Override
    public String toString() {
      return name("") + "[" + query + "<-" + key + "]";
    }

    private String name(String input) {
      return "L" + layer + ".head" + head + input;
    }
  }

  /** An attention head at a pair of tokens, entered through its query, its key or its value. */
  record HeadInput(HeadPair pair, AttentionPath path) implements Target {
    /**
     * Refuses {@link AttentionPath#ALL}: the three inputs are three nodes.
     *
     * @param pair {@link #pair()}
     * @param path {@link #path()}
     */
    public HeadInput {
      requireArgument(
          path != AttentionPath.ALL, "%s: a head is entered through query, key or value", pair);
    }

    @Override
    public void requireIn(Run run) {
      pair.requireIn(run);
    }

    @Override
    public String toString() {
      return pair.name("." + Lowercase.of(path)) + "[" + pair.query + "<-" + pair.key + "]";
    }
  }

  /** Which block a bias belongs to. */
  enum BiasPart {
    /** Attention. */
    ATTENTION("attention_bias", Site.ATTENTION_OUTPUT),
    /** MLP. */
    MLP("mlp_bias", Site.MLP_OUTPUT);

    private final String word;
    private final Site site;

    BiasPart(String word, Site site) {
      this.word = word;
      this.site = site;
    }

    /** What it is a part of. */
    Site site() {
      return site;
    }
  }

  /** The output bias of a block at a token. */
  record Bias(BiasPart part, int layer, int token) implements Source {
    @Override
    public int block() {
      return part == BiasPart.ATTENTION ? 2 * layer + 1 : 2 * layer + 2;
    }

    @Override
    public void requireIn(Run run) {
      requireIndex(this, "layer", layer, run.model().config().layers());
      requireIndex(this, "token", token, run.length());
    }

    @Override
    public String toString() {
      return "L" + layer + "." + part.word + "[" + token + "]";
    }
  }

  /**
   * A latent of a sparse autoencoder at a token.
   *
   * @param site that its autoencoder encodes
   */
  record Latent(Site site, int layer, int token, int latent) implements Source, Target {
    @Override
    public int block() {
      return blockOf(site, layer);
    }

    @Override
    public void requireIn(Run run) {
      requireEncoded(this, site, layer, token, run);
      int latents = run.model().autoencoder(site, layer).latents();
      requireIndex(this, "latent", latent, latents);
    }

    @Override
    public String toString() {
      return encoded(site, layer, "_latent" + latent, token);
    }
  }

  /** What the reconstruction of a sparse autoencoder lacks at a token. */
  record ReconstructionError(Site site, int layer, int token) implements Source {
    @Override
    public int block() {
      return blockOf(site, layer);
    }

    @Override
    public void requireIn(Run run) {
      requireEncoded(this, site, layer, token, run);
    }

    @Override
    public String toString() {
      return encoded(site, layer, "_error", token);
    }
  }

  /** What the reconstruction of a sparse autoencoder has whatever the latents are, at a token. */
  record PreBias(Site site, int layer, int token) implements Source {
    @Override
    public int block() {
      return blockOf(site, layer);
    }

    @Override
    public void requireIn(Run run) {
      requireEncoded(this, site, layer, token, run);
    }

    @Override
    public String toString() {
      return encoded(site, layer, "_pre_bias", token);
    }
  }

  /** The logit of a word at a token. */
  record Logit(int token, int word) implements Target {
    @Override
    public void requireIn(Run run) {
      requireIndex(this, "token", token, run.length());
      requireIndex(this, "word", word, run.model().config().vocabulary());
    }

    @Override
    public String toString() {
      return "logit" + word + "[" + token + "]";
    }
  }

  /**
   * How far the residual stream goes in a direction at a token. It has a name to be printed, but
   * none that could be parsed.
   *
   * @param block after which the residual stream is read, see {@link Run#residualAfter}
   * @param vector [dModel]
   */
  record Direction(int block, int token, Tensor vector) implements Target {
    @Override
    public void requireIn(Run run) {
      requireIndex(this, "block", block, 2 * run.model().config().layers() + 1);
      requireIndex(this, "token", token, run.length());
      Shape shape = Shape.of(run.model().config().dModel());
      requireArgument(
          vector.shape().equals(shape),
          "%s: the vector has shape %s and the residual stream %s",
          this,
          vector.shape(),
          shape);
    }

    @Override
    public String toString() {
      return "direction after block " + block + "[" + token + "]";
    }
  }

  /** The scalar that is explained. */
  record Explained() implements Target {
    @Override
    public void requireIn(Run run) {}

    @Override
    public String toString() {
      return "metric";
    }
  }

  /**
   * Refuses a node that the run does not have.
   *
   * @param run what the model computed
   * @throws IllegalArgumentException if an index is out of range, with its range
   */
  void requireIn(Run run);

  /**
   * Through what it reads the residual stream: itself, or the three inputs of a head, or nothing.
   *
   * @return itself, the three inputs of a head, or nothing
   */
  default List<Target> targets() {
    return this instanceof Target target ? List.of(target) : List.of();
  }

  private static void requireIndex(Node node, String what, int index, int size) {
    requireArgument(
        index >= 0 && index < size,
        "%s: %s %d is out of range, there are %d, counted from 0",
        node,
        what,
        index,
        size);
  }

  private static void requireEncoded(Node node, Site site, int layer, int token, Run run) {
    requireIndex(node, "layer", layer, run.model().config().layers());
    requireIndex(node, "token", token, run.length());
    run.model().autoencoder(site, layer);
  }

  private static int blockOf(Site site, int layer) {
    return switch (site) {
      case ATTENTION_OUTPUT -> 2 * layer + 1;
      case MLP_ACTIVATION, MLP_OUTPUT -> 2 * layer + 2;
      default -> throw notEncoded(site);
    };
  }

  private static IllegalArgumentException notEncoded(Site site) {
    return new IllegalArgumentException("no autoencoder encodes " + site);
  }

  private static String encoded(Site site, int layer, String what, int token) {
    return "L" + layer + "." + word(site) + what + "[" + token + "]";
  }

  private static String word(Site site) {
    return switch (site) {
      case MLP_ACTIVATION -> "activation";
      case MLP_OUTPUT -> "mlp";
      case ATTENTION_OUTPUT -> "attention";
      default -> throw notEncoded(site);
    };
  }

  private static Site site(String word) {
    return switch (word) {
      case "activation" -> Site.MLP_ACTIVATION;
      case "mlp" -> Site.MLP_OUTPUT;
      case "attention" -> Site.ATTENTION_OUTPUT;
      default -> throw new AssertionError(word);
    };
  }

  /**
   * {@return the node that a name means}
   *
   * @param name as {@code toString} writes it
   * @throws IllegalArgumentException if it is the name of none
   */
  static Node parse(String name) {
    Matcher embedding = match("(token_|position_|)embedding\\[(\\d+)]", name);
    if (embedding.matches()) {
      EmbeddingPart part =
          switch (embedding.group(1)) {
            case "token_" -> EmbeddingPart.TOKEN;
            case "position_" -> EmbeddingPart.POSITION;
            default -> EmbeddingPart.BOTH;
          };
      return new Embedding(part, number(embedding, 2));
    }
    Matcher neuron = match("L(\\d+)\\.neuron(\\d+)\\[(\\d+)]", name);
    if (neuron.matches()) {
      return new Neuron(number(neuron, 1), number(neuron, 3), number(neuron, 2));
    }
    Matcher head = match("L(\\d+)\\.head(\\d+)(\\.(query|key|value))?\\[(\\d+)<-(\\d+)]", name);
    if (head.matches()) {
      HeadPair pair =
          new HeadPair(number(head, 1), number(head, 2), number(head, 5), number(head, 6));
      String path = head.group(4);
      return path == null
          ? pair
          : pair.through(AttentionPath.valueOf(path.toUpperCase(Locale.ROOT)));
    }
    Matcher bias = match("L(\\d+)\\.(attention|mlp)_bias\\[(\\d+)]", name);
    if (bias.matches()) {
      BiasPart part = bias.group(2).equals("mlp") ? BiasPart.MLP : BiasPart.ATTENTION;
      return new Bias(part, number(bias, 1), number(bias, 3));
    }
    Matcher encoded =
        match("L(\\d+)\\.(activation|mlp|attention)_(latent(\\d+)|error|pre_bias)\\[(\\d+)]", name);
    if (encoded.matches()) {
      Site site = site(encoded.group(2));
      int layer = number(encoded, 1);
      int token = number(encoded, 5);
      return switch (encoded.group(3)) {
        case "error" -> new ReconstructionError(site, layer, token);
        case "pre_bias" -> new PreBias(site, layer, token);
        default -> new Latent(site, layer, token, number(encoded, 4));
      };
    }
    Matcher logit = match("logit(\\d+)\\[(\\d+)]", name);
    if (logit.matches()) {
      return new Logit(number(logit, 2), number(logit, 1));
    }
    requireArgument(
        name.strip().equals("metric"),
        "\"%s\" is not the name of a node; names look like L1.neuron77[9], L2.head5[14<-3],"
            + " L2.head5.query[14<-3], embedding[3] or metric",
        name);
    return new Explained();
  }

  private static Matcher match(String pattern, String name) {
    return Pattern.compile(pattern).matcher(name.strip());
  }

  private static int number(Matcher matcher, int group) {
    try {
      return Integer.parseInt(matcher.group(group));
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "node name with a number out of range: " + matcher.group(), e);
    }
  }
}

package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.ReconstructionError;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * All nodes of a model that are scored over pairs of prompts, each with its number: layer by layer
 * queries, keys, values and writes of heads, what the MLP writes and its neurons; then of each
 * dictionary its latents and its error.
 */
public final class NodeList {
  /** What a node is. */
  public enum Kind {
    /** The query of a head. */
    QUERY("q"),
    /** The key that a head reads. */
    KEY("k"),
    /** The value that a head reads. */
    VALUE("v"),
    /** What a head writes. */
    HEAD(""),
    /** What an MLP writes. */
    MLP(""),
    /** The activation of a neuron. */
    NEURON("n"),
    /** The activation of a latent of a dictionary. */
    LATENT(""),
    /** What moves where a dictionary writes first, beyond its latents. */
    ERROR("");

    private final String letter;

    Kind(String letter) {
      this.letter = letter;
    }
  }

  /** Nodes of one kind, counted by an index. */
  public sealed interface Group {
    /** {@return what they are} */
    Kind kind();

    /** {@return where they are, from 0} */
    int layer();

    /**
     * {@return what one is called}
     *
     * @param index from 0
     */
    String name(int index);

    /**
     * {@return how many there are}
     *
     * @param model whose they are
     */
    int count(Transformer model);
  }

  /**
   * Nodes of a layer of the model itself.
   *
   * @param kind what they are
   * @param layer from 0
   */
  public record OfLayer(Kind kind, int layer) implements Group {
    @Override
    public String name(int index) {
      return switch (kind) {
        case MLP -> "m" + layer;
        case NEURON -> "m" + layer + "." + kind.letter + index;
        case HEAD -> "a" + layer + ".h" + index;
        default -> "a" + layer + ".h" + index + "<" + kind.letter + ">";
      };
    }

    @Override
    public int count(Transformer model) {
      return switch (kind) {
        case MLP -> 1;
        case NEURON -> model.config().layers().get(layer).mlp().neurons();
        default -> model.attention(layer).heads();
      };
    }
  }

  /**
   * Nodes of a dictionary.
   *
   * @param kind its latents or its error
   * @param dictionary of the model
   */
  public record OfDictionary(Kind kind, Dictionary.Id dictionary) implements Group {
    /**
     * Refuses other kinds.
     *
     * @param kind {@link #kind()}
     * @param dictionary {@link #dictionary()}
     */
    public OfDictionary {
      requireArgument(
          OF_DICTIONARIES.contains(kind), "%s has no nodes that are %s", dictionary, kind);
    }

    @Override
    public int layer() {
      return dictionary.layer();
    }

    @Override
    public String name(int index) {
      var node =
          kind == Kind.LATENT
              ? new Latent(dictionary, 0, index)
              : new ReconstructionError(dictionary, 0);
      return node.coordinates().withoutTokens();
    }

    @Override
    public int count(Transformer model) {
      return kind == Kind.LATENT ? model.dictionary(dictionary).latentCount() : 1;
    }
  }

  /**
   * A node.
   *
   * @param group of which it is one
   * @param index of the head, neuron or latent, from 0; 0 of what there is one of
   * @param tokens at which it is
   */
  public record Node(Group group, int index, Tokens tokens) {
    /**
     * At all tokens.
     *
     * @param group {@link #group()}
     * @param index {@link #index()}
     */
    public Node(Group group, int index) {
      this(group, index, Tokens.ALL);
    }

    @Override
    public String toString() {
      return group.name(index) + (tokens.equals(Tokens.ALL) ? "" : "@" + tokens);
    }
  }

  private static final Set<Kind> COMPONENTS =
      EnumSet.of(Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD, Kind.MLP);
  private static final Set<Kind> OF_DICTIONARIES = EnumSet.of(Kind.LATENT, Kind.ERROR);

  private final Transformer model;
  private final Set<Kind> kinds;

  /** Of each pair, where each has nodes of its own; 0 where these are of all tokens. */
  private final int tokens;

  private final List<Group> groups = new ArrayList<>();

  /** How many there are before each group, and of all, at one token. */
  private final int[] first;

  private NodeList(Transformer model, Set<Kind> kinds, int tokens) {
    this.model = model;
    this.kinds = kinds;
    this.tokens = tokens;
    for (int layer = 0; layer < model.layers(); layer++) {
      for (Kind kind : kinds) {
        if (!OF_DICTIONARIES.contains(kind)) {
          groups.add(new OfLayer(kind, layer));
        }
      }
    }
    for (Dictionary dictionary : dictionaries()) {
      OF_DICTIONARIES.forEach(kind -> groups.add(new OfDictionary(kind, dictionary.id())));
    }
    first = new int[groups.size() + 1];
    for (int i = 0; i < groups.size(); i++) {
      first[i + 1] = Math.addExact(first[i], groups.get(i).count(model));
    }
  }

  /**
   * {@return the components of a model: heads with their inputs, and MLPs}
   *
   * @param model whose they are
   */
  public static NodeList of(Transformer model) {
    return new NodeList(model, COMPONENTS, 0);
  }

  /** {@return these and all neurons} */
  public NodeList withNeurons() {
    return with(EnumSet.of(Kind.NEURON));
  }

  /** {@return these, and latents and errors of all dictionaries of the model} */
  public NodeList withDictionaries() {
    return with(OF_DICTIONARIES);
  }

  private NodeList with(Set<Kind> more) {
    Set<Kind> all = EnumSet.copyOf(kinds);
    all.addAll(more);
    return new NodeList(model, all, tokens);
  }

  /**
   * {@return nodes at each token, in place of one for all}
   *
   * @param count how many tokens each prompt has
   * @throws IllegalArgumentException if there are none, or more nodes than can be counted
   */
  public NodeList byToken(int count) {
    requireArgument(count >= 1, "nodes at each of %d tokens", count);
    requireArgument(
        (long) count * first[groups.size()] <= Integer.MAX_VALUE,
        "%d nodes at each of %d tokens are too many",
        first[groups.size()],
        count);
    return new NodeList(model, kinds, count);
  }

  /** {@return whether each token has nodes of its own} */
  public boolean isByToken() {
    return tokens > 0;
  }

  /** {@return whose they are} */
  public Transformer model() {
    return model;
  }

  /** {@return groups of nodes that follow each other} */
  public List<Group> groups() {
    return Collections.unmodifiableList(groups);
  }

  /** {@return how many nodes there are} */
  public int size() {
    return first[groups.size()] * perNode();
  }

  private int perNode() {
    return isByToken() ? tokens : 1;
  }

  /**
   * {@return a node}
   *
   * @param number from 0
   */
  public Node get(int number) {
    requireArgument(
        number >= 0 && number < size(), "node %d of a model that has %d", number, size());
    int own = number / perNode();
    int found = Arrays.binarySearch(first, own);
    int group = found < 0 ? -found - 2 : found;
    return new Node(
        groups.get(group),
        own - first[group],
        isByToken() ? Tokens.at(number % tokens) : Tokens.ALL);
  }

  /**
   * {@return the numbers of nodes of a group}
   *
   * @param group of these
   */
  public Numbers numbers(Group group) {
    int at = groups.indexOf(group);
    requireArgument(at >= 0, "there are no nodes of %s", group);
    return new Numbers(first[at]);
  }

  /** Numbers of nodes of a group. */
  public final class Numbers {
    private final int before;

    private Numbers(int before) {
      this.before = before;
    }

    /**
     * {@return the number of the node that is that of an index at a token}
     *
     * @param index from 0
     * @param token from 0, which does not matter where nodes are of all tokens
     */
    public int of(int index, int token) {
      return (before + index) * perNode() + (isByToken() ? token : 0);
    }
  }

  /** Refuses pairs of another length than nodes are counted for. */
  void requireLength(int length) {
    requireArgument(
        !isByToken() || length == tokens,
        "prompts of %d tokens, and there are nodes at each of %d",
        length,
        tokens);
  }

  boolean has(Kind kind) {
    return kinds.contains(kind);
  }

  /** Those of which there are nodes. */
  List<Dictionary> dictionaries() {
    return has(Kind.LATENT) ? model.dictionaries() : List.of();
  }

  @Override
  public String toString() {
    return Stream.concat(
            kinds.stream().map(Lowercase::of),
            dictionaries().stream().map(own -> own + " (" + own.description() + ")"))
        .collect(Collectors.joining(", "));
  }
}

package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.ReconstructionError;
import dev.tributary.transformer.Dictionary;
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
   * A node at all tokens.
   *
   * @param group of which it is one
   * @param index of the head, neuron or latent, from 0; 0 of what there is one of
   */
  public record Node(Group group, int index) {
    @Override
    public String toString() {
      return group.name(index);
    }
  }

  private static final Set<Kind> COMPONENTS =
      EnumSet.of(Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD, Kind.MLP);
  private static final Set<Kind> OF_DICTIONARIES = EnumSet.of(Kind.LATENT, Kind.ERROR);

  private final Transformer model;
  private final Set<Kind> kinds;
  private final List<Group> groups = new ArrayList<>();

  /** The number of the first node of each group, and how many nodes there are. */
  private final int[] first;

  private NodeList(Transformer model, Set<Kind> kinds) {
    this.model = model;
    this.kinds = kinds;
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
    return new NodeList(model, COMPONENTS);
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
    return new NodeList(model, all);
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
    return first[groups.size()];
  }

  /**
   * {@return a node}
   *
   * @param number from 0
   */
  public Node get(int number) {
    requireArgument(
        number >= 0 && number < size(), "node %d of a model that has %d", number, size());
    int found = Arrays.binarySearch(first, number);
    int group = found < 0 ? -found - 2 : found;
    return new Node(groups.get(group), number - first[group]);
  }

  /**
   * {@return the number of the first node of a group}
   *
   * @param group of these
   */
  public int first(Group group) {
    int at = groups.indexOf(group);
    requireArgument(at >= 0, "there are no nodes of %s", group);
    return first[at];
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

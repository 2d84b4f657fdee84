package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Which nodes are wanted.
 *
 * @param kinds classes of nodes, such as {@link Neuron}; of head inputs, {@link HeadInput}
 * @param firstLayer from which on; embeddings and the metric belong to no layer and are wanted
 *     whatever it is
 * @param lastLayer up to which, included
 * @param firstToken from which on; of a head, the token of its query
 * @param lastToken up to which, included
 */
public record NodeFilter(
    Set<Class<? extends Node>> kinds,
    int firstLayer,
    int lastLayer,
    int firstToken,
    int lastToken) {
  /** Every node. */
  public static final NodeFilter ALL =
      new NodeFilter(Set.of(), 0, Integer.MAX_VALUE, 0, Integer.MAX_VALUE);

  /**
   * Keeps a copy of the kinds; none at all means all of them.
   *
   * @param kinds {@link #kinds()}
   * @param firstLayer {@link #firstLayer()}
   * @param lastLayer {@link #lastLayer()}
   * @param firstToken {@link #firstToken()}
   * @param lastToken {@link #lastToken()}
   */
  public NodeFilter {
    kinds = Set.copyOf(kinds);
  }

  /**
   * Only these kinds of nodes; all of them if none is named.
   *
   * @param wanted classes of nodes
   * @return the narrower filter
   */
  public NodeFilter kinds(Collection<? extends Class<? extends Node>> wanted) {
    return new NodeFilter(Set.copyOf(wanted), firstLayer, lastLayer, firstToken, lastToken);
  }

  /**
   * Only nodes of these layers, both included.
   *
   * @param first from 0
   * @param last at least {@code first}
   * @return the narrower filter
   * @throws IllegalArgumentException if there are none
   */
  public NodeFilter layers(int first, int last) {
    requireRange("layers", first, last);
    return new NodeFilter(kinds, first, last, firstToken, lastToken);
  }

  /**
   * Only nodes at these tokens, both included.
   *
   * @param first from 0
   * @param last at least {@code first}
   * @return the narrower filter
   * @throws IllegalArgumentException if there are none
   */
  public NodeFilter tokens(int first, int last) {
    requireRange("tokens", first, last);
    return new NodeFilter(kinds, firstLayer, lastLayer, first, last);
  }

  private static void requireRange(String what, int first, int last) {
    requireArgument(
        0 <= first && first <= last, "%s %d to %d: there are none such", what, first, last);
  }

  /** {@return the kinds of sources that are searched, by the words that names have for them} */
  public static Map<String, Class<? extends Node>> sources() {
    return kinds(Source.class);
  }

  /** {@return the kinds of targets that are searched, by the words that names have for them} */
  public static Map<String, Class<? extends Node>> targets() {
    return kinds(Target.class);
  }

  private static Map<String, Class<? extends Node>> kinds(Class<? extends Node> role) {
    Map<String, Class<? extends Node>> kinds = new LinkedHashMap<>();
    Kind.all().stream()
        .filter(kind -> kind.is(role))
        .forEach(kind -> kinds.put(kind.word(), kind.type()));
    return kinds;
  }

  /** Refuses a kind that would find nothing. */
  void requireKinds(Class<? extends Node> role) {
    Collection<Class<? extends Node>> known = kinds(role).values();
    for (Class<? extends Node> kind : kinds) {
      requireArgument(
          known.contains(kind),
          "%s is no kind of %s in a search of edges, name %s",
          kind.getSimpleName(),
          role.getSimpleName().toLowerCase(Locale.ROOT),
          known.stream().map(Class::getSimpleName).collect(Collectors.joining(", ")));
    }
  }

  /** Whether nodes of a kind and family are wanted, at some tokens. */
  boolean wants(Kind kind, Family family) {
    return (kinds.isEmpty() ? kind.isListed() : kinds.contains(kind.type()))
        && (family.layer().isEmpty() || wantsLayer(family.layer().getAsInt()));
  }

  private boolean wantsLayer(int layer) {
    return layer >= firstLayer && layer <= lastLayer;
  }

  boolean wantsToken(int token) {
    return token >= firstToken && token <= lastToken;
  }
}

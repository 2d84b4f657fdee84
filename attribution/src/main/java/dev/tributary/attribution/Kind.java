package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/**
 * A kind of node: which nodes of it a model has. The record of each kind has one in its constant
 * {@code KIND}; that {@link Source} or {@link Target} permits the record is all that makes it
 * known.
 */
abstract class Kind {
  private final Class<? extends Node> type;
  private final String word;

  Kind(Class<? extends Node> type, String word) {
    this.type = type;
    this.word = word;
  }

  /** In the order in which {@link Source}, then {@link Target}, permits them. */
  private static final class All {
    private static final List<Kind> KINDS =
        Stream.of(Source.class, Target.class)
            .flatMap(role -> Stream.of(role.getPermittedSubclasses()))
            .distinct()
            .map(All::kind)
            .toList();

    private static Kind kind(Class<?> record) {
      try {
        return (Kind) record.getDeclaredField("KIND").get(null);
      } catch (ReflectiveOperationException e) {
        throw new LinkageError(record + " has no constant KIND", e);
      }
    }
  }

  /** All kinds, those of sources first. */
  static List<Kind> all() {
    return All.KINDS;
  }

  /** The kind of a node. */
  static Kind of(Node node) {
    return all().stream().filter(kind -> kind.type == node.getClass()).findFirst().orElseThrow();
  }

  /** All sources of a model: its own in the order of writing, then those of dictionaries. */
  static List<SourceFamily> sourcesOf(Transformer model) {
    return all().stream()
        .<SourceFamily>flatMap(kind -> kind.sources(model).stream())
        .sorted(
            Comparator.<SourceFamily, Boolean>comparing(family -> family.encoded().isPresent())
                .thenComparing(family -> family.point(model)))
        .toList();
  }

  /** All targets of a model of which there is a definite number. */
  static List<TargetFamily> targetsOf(Transformer model) {
    return all().stream().<TargetFamily>flatMap(kind -> kind.targets(model).stream()).toList();
  }

  Class<? extends Node> type() {
    return type;
  }

  /** What nodes of it are called. */
  String word() {
    return word;
  }

  /** Whether its nodes have one of the two roles in a search. */
  boolean is(Class<? extends Node> role) {
    return role.isAssignableFrom(type) && isSearched();
  }

  /** Whether a search has its nodes where they are asked for. */
  boolean isSearched() {
    return isListed();
  }

  /**
   * Whether searches of all kinds and rankings have its nodes: a model has a definite number of
   * them, and they are no parts of others.
   */
  boolean isListed() {
    return true;
  }

  /** Nodes of this kind with the numbers of a name; one that is called otherwise is left out. */
  abstract Stream<? extends Node> candidates(Coordinates.Name name);

  /** The sources of a model that are of this kind, in the order of writing. */
  List<? extends SourceFamily> sources(Transformer model) {
    return List.of();
  }

  /** The targets of a model that are of this kind, in the order of reading. */
  List<? extends TargetFamily> targets(Transformer model) {
    return List.of();
  }

  /** Refuses an index that is out of range. */
  static void requireIndex(Object node, String what, int index, int size) {
    requireArgument(
        index >= 0 && index < size,
        "%s: %s %d is out of range, there are %d, counted from 0",
        node,
        what,
        index,
        size);
  }

  /** Refuses a layer or a token that is out of range. */
  static void requirePlace(Node node, int layer, int token, Run run) {
    requireIndex(node, "layer", layer, run.model().layers());
    requireIndex(node, "token", token, run.length());
  }
}

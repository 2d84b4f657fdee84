package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.EdgeSearch;
import dev.tributary.attribution.EdgeSearch.EdgeScore;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeFilter;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * Which edges are the largest among all that there are?
 *
 * @param subject what is explained
 * @param from from which nodes
 * @param into into which nodes
 * @param atLeast of what magnitude at least
 * @param top how many to find
 */
public record Search(Subject subject, Ends from, Ends into, double atLeast, int top)
    implements Question<Search.Searched> {
  /**
   * Refuses to find none.
   *
   * @param subject {@link #subject()}
   * @param from {@link #from()}
   * @param into {@link #into()}
   * @param atLeast {@link #atLeast()}
   * @param top {@link #top()}
   * @throws IllegalArgumentException if it would
   */
  public Search {
    requireArgument(top >= 1, "top is %d, it must be 1 or more", top);
    requireArgument(atLeast >= 0, "at least is %s, it must be 0 or more", atLeast);
  }

  /**
   * Among all edges.
   *
   * @param subject what is explained
   * @param top how many to find
   */
  public Search(Subject subject, int top) {
    this(subject, Ends.ALL, Ends.ALL, 0, top);
  }

  /**
   * One side of edges.
   *
   * @param kinds of nodes, as {@link NodeFilter} names them; of none, all
   * @param layers of the nodes
   * @param tokens at which they are; of a head, the query
   */
  public record Ends(
      List<Class<? extends Node>> kinds, Optional<Range> layers, Optional<Range> tokens) {
    /** All nodes. */
    public static final Ends ALL = new Ends(List.of(), Optional.empty(), Optional.empty());

    private NodeFilter filter() {
      NodeFilter filter = NodeFilter.ALL.kinds(kinds);
      filter = layers.isEmpty() ? filter : filter.layers(layers.get().first(), layers.get().last());
      return tokens.isEmpty() ? filter : filter.tokens(tokens.get().first(), tokens.get().last());
    }

    private void requireInside(String side, Overview overview, int count) {
      Range.requireInside("--" + side + "-layers", layers, count);
      Range.requireInside("--" + side + "-tokens", tokens, overview.tokens().size());
    }
  }

  /**
   * The largest edges.
   *
   * @param overview what is explained
   * @param edges of largest magnitude, largest first
   * @param searched how many there were
   */
  public record Searched(Overview overview, List<EdgeScore> edges, long searched) {}

  @Override
  public Searched answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    int layers = explanation.model().layers();
    from.requireInside("from", explanation.overview(), layers);
    into.requireInside("into", explanation.overview(), layers);
    try (Scope scope = Scope.open()) {
      EdgeSearch search =
          EdgeSearch.of(explanation.edges())
              .from(from.filter())
              .into(into.filter())
              .atLeast(atLeast);
      EdgeSearch.Found found =
          explanation.basis().map(search::in).orElse(search).top(top, work.enter(Phase.SEARCH));
      return new Searched(explanation.overview(), found.edges(), found.searched());
    }
  }
}

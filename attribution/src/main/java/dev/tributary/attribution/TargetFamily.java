package dev.tributary.attribution;

import java.util.List;
import java.util.function.Supplier;

/** The targets of one kind in one place of a model. */
interface TargetFamily extends Family {
  @Override
  Target node(int... index);

  /** Edges from what writes at one token to all of these. */
  List<NodeArray> pushed(Push push);

  /** How they read, as directions for a search, to be prepared one after the other. */
  List<Supplier<SearchTargets>> directions(EdgeAttribution edges, NodeFilter filter);
}

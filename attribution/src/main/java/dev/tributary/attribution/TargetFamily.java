package dev.tributary.attribution;

import java.util.List;

/** The targets of one kind in one place of a model. */
interface TargetFamily extends Family {
  @Override
  Target node(int... index);

  /** Edges from what writes at one token to all of these. */
  List<NodeArray> pushed(Push push);

  /** How those that are wanted read, as lists for a search. */
  SearchTargets lists(EdgeAttribution edges, NodeFilter wanted);
}

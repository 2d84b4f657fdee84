/**
 * What a number means: how much each node of one run contributed, and through which edge.
 *
 * <p>In reading order: a {@link dev.tributary.attribution.Node} is one use of a component in one
 * run; a {@link dev.tributary.attribution.Metric} is the scalar that is explained; {@link
 * dev.tributary.attribution.NodeAttribution} says what each node has to do with it, {@link
 * dev.tributary.attribution.EdgeAttribution} how much of that arrived from which other node. Both
 * answer with {@link dev.tributary.attribution.NodeScores}: arrays with named axes. {@code Writes}
 * is what nodes add to the residual stream, {@link dev.tributary.attribution.ResidualGradient} how
 * a target reads it.
 */
@NullMarked
package dev.tributary.attribution;

import org.jspecify.annotations.NullMarked;

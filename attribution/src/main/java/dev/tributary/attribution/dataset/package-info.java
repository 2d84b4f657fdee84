/**
 * What edges among components say over a data set, and circuits that are tested.
 *
 * <p>In reading order: a {@link dev.tributary.attribution.dataset.Pair} is two prompts and what is
 * measured of them, its {@link dev.tributary.attribution.dataset.PairMetric}; a {@link
 * dev.tributary.attribution.dataset.ComponentGraph} has the components of a model as sources and
 * readers and every edge among them, one for all tokens or for each. An {@link
 * dev.tributary.attribution.dataset.EdgeScorer} scores all edges of a pair by an {@link
 * dev.tributary.attribution.dataset.EdgeMethod}, where missing edges are heard as {@link
 * dev.tributary.attribution.dataset.AblationValues} say, perhaps {@link
 * dev.tributary.attribution.dataset.WriteMeans}; {@link
 * dev.tributary.attribution.dataset.EdgeTotals} are sums over pairs, {@link
 * dev.tributary.attribution.dataset.RunningTotals} of pairs that come one by one, an {@link
 * dev.tributary.attribution.dataset.ExactSample} says how good they are. All are {@link
 * dev.tributary.attribution.dataset.PairSums}, which {@link
 * dev.tributary.attribution.dataset.PartedSums} make part by part and keep; {@link
 * dev.tributary.attribution.dataset.ScoredPairs} are what comes of it.
 *
 * <p>An {@link dev.tributary.attribution.dataset.Importance} chooses edges for a {@link
 * dev.tributary.attribution.dataset.ComponentCircuit}; a {@link
 * dev.tributary.attribution.dataset.CircuitEvaluator} runs it, all else missing, as {@link
 * dev.tributary.attribution.dataset.CircuitTests} say, {@link
 * dev.tributary.attribution.dataset.CircuitTotals} say how faithful it is and a {@link
 * dev.tributary.attribution.dataset.FaithfulnessCurve} how that grows with its size. {@link
 * dev.tributary.attribution.dataset.Agreement} compares scores with a truth.
 *
 * <p>Single tokens: a {@link dev.tributary.attribution.dataset.NodeList} has the nodes of a model,
 * queries, keys, values and writes, and neurons and latents if they are asked for; a {@link
 * dev.tributary.attribution.dataset.NodeScorer} scores those of a pair by a {@link
 * dev.tributary.attribution.dataset.NodeMethod}; {@link
 * dev.tributary.attribution.dataset.NodeScores} hold them; sums over tokens have totals as edges
 * do.
 *
 * <p>How: {@code PairRuns} are the two plain runs of a pair or of several at once, {@code
 * ReaderGradients} the gradients at the copies of the residual stream that readers have, {@code
 * NodeGradients} those at what parts compute and dictionaries write, {@code PatternMoves} how far
 * the metric moves with attention patterns, {@code LatentMoves} how far latents move.
 */
@NullMarked
package dev.tributary.attribution.dataset;

import org.jspecify.annotations.NullMarked;

/**
 * What a number means: how much each node of one run contributed, and through which edge.
 *
 * <p>In reading order: a {@link dev.tributary.attribution.Node} is one use of a component in one
 * run; a {@link dev.tributary.attribution.Metric} is the scalar that is explained, of the logits or
 * a {@link dev.tributary.attribution.Trace} of another node; {@link
 * dev.tributary.attribution.NodeAttribution} says what each node has to do with it, {@link
 * dev.tributary.attribution.EdgeAttribution} how much of that arrived from which other node. The
 * first answers with {@link dev.tributary.attribution.Readings}, which a node has or has not, the
 * second with {@link dev.tributary.attribution.EdgeScores}, which every node has: arrays with named
 * axes. A {@link dev.tributary.attribution.Circuit} is some nodes and all edges among them, as
 * plain numbers; an {@link dev.tributary.attribution.EdgeSearch} finds the largest edges of all. A
 * {@link dev.tributary.attribution.MemoryPlan} says beforehand what memory all that takes.
 *
 * <p>Of attention: {@link dev.tributary.attribution.HeadLoadings} split an edge through frozen
 * attention over the heads of each layer, along {@code FrozenPaths} of a {@code FrozenStream};
 * {@link dev.tributary.attribution.ScoreAttribution} has the score of a head as a sum over pairs of
 * writes, a {@code ScoreSide} at the query's token and one at the key's.
 *
 * <p>Which nodes there are: a {@link dev.tributary.attribution.Source} writes to the residual
 * stream and a {@link dev.tributary.attribution.Target} reads it. A kind of node is one file
 * ({@link dev.tributary.attribution.Neuron}, {@link dev.tributary.attribution.NeuronInput}, {@link
 * dev.tributary.attribution.HeadPair}, {@link dev.tributary.attribution.HeadInput}, {@link
 * dev.tributary.attribution.Latent}, {@link dev.tributary.attribution.ReconstructionError}, {@link
 * dev.tributary.attribution.PreBias}, {@link dev.tributary.attribution.Embedding}, {@link
 * dev.tributary.attribution.Bias}, {@link dev.tributary.attribution.Logit}, {@link
 * dev.tributary.attribution.Direction}, {@link dev.tributary.attribution.Explained}): its record,
 * and its {@code Kind}, which knows the {@code Family} of all such nodes in one place of a model,
 * as {@code SourceFamily} or {@code TargetFamily}. {@link dev.tributary.attribution.Coordinates}
 * say where a node stands, and make its name.
 *
 * <p>How: a {@link dev.tributary.attribution.Write} is what a node adds to the residual stream, a
 * {@link dev.tributary.attribution.Reading} what one node computes from it, a {@link
 * dev.tributary.attribution.ResidualGradient} the derivative of that, which {@code GradientReader}
 * multiplies with writes. {@code Pulls} pull from many targets, a {@code Push} goes out from one
 * source. {@code CircuitBuilder} makes circuits out of the nodes of a {@code Basis}, in which
 * nothing is said twice; {@code WeightedGraph} knows which part of a graph matters, and nothing of
 * transformers. A {@link dev.tributary.attribution.ReplacementGraph} is the whole graph of a model
 * whose MLPs are transcoders: {@code ReplacementModel} pulls directions through the {@code
 * FrozenStream} past each {@code ReplacedMlp}, {@code ReplacementGraphBuilder} makes {@code
 * AdjacencyRows} of them, and a {@link dev.tributary.attribution.ReplacementIntervention} does what
 * edges say. {@code SearchSources} and {@code SearchTargets} are the nodes of a family as lists at
 * each token, which a {@code NormJoin} multiplies as far as {@code Norms} allow it.
 *
 * <p>Whether: a {@link dev.tributary.attribution.Certificate} says that the edges into a target are
 * complete, an {@link dev.tributary.attribution.EdgePatch} how well an edge predicts what happens,
 * an {@link dev.tributary.attribution.Effect} what an {@link dev.tributary.attribution.Ablation}
 * really did.
 */
@NullMarked
package dev.tributary.attribution;

import org.jspecify.annotations.NullMarked;

/**
 * What a decoder-only transformer computes, written once on {@link
 * dev.tributary.autodiff.Variable}.
 *
 * <p>In reading order: a {@link dev.tributary.transformer.TransformerConfig} says of what sizes and
 * kinds a {@link dev.tributary.transformer.Transformer} is, layer by layer ({@link
 * dev.tributary.transformer.LayerConfig}, {@link dev.tributary.transformer.AttentionConfig}, {@link
 * dev.tributary.transformer.MlpConfig}, {@link dev.tributary.transformer.NormConfig}, {@link
 * dev.tributary.transformer.OutletConfig}), and which {@link dev.tributary.transformer.Slot}s its
 * {@link dev.tributary.transformer.Weights} fill. It consists of {@link
 * dev.tributary.transformer.Part}s, an {@link dev.tributary.transformer.Attention} and an {@link
 * dev.tributary.transformer.Mlp} in each layer. A part reads the residual stream at a {@link
 * dev.tributary.transformer.Point}, through a {@link dev.tributary.transformer.Norm} if it has one,
 * and writes at a later one, through its {@link dev.tributary.transformer.Outlet}. {@link
 * dev.tributary.transformer.Positions} turn queries and keys.
 *
 * <p>A {@link dev.tributary.transformer.Run} is what one forward pass recorded at each {@link
 * dev.tributary.transformer.Site}. It is run again with a {@link dev.tributary.transformer.Change}:
 * an {@link dev.tributary.transformer.Intervention} at a {@link dev.tributary.transformer.Place}, a
 * {@link dev.tributary.transformer.LatentIntervention} on a latent, or {@link
 * dev.tributary.transformer.Frozen}. Of whole components, a {@link
 * dev.tributary.transformer.StreamWriter} says something else by a {@link
 * dev.tributary.transformer.WriteIntervention}, a {@link dev.tributary.transformer.StreamReader}
 * reads something else by a {@link dev.tributary.transformer.ReadIntervention}, and an {@link
 * dev.tributary.transformer.EdgeIntervention} takes edges between them out. A {@link
 * dev.tributary.transformer.Dictionary} ({@link dev.tributary.transformer.LatentActivation}, {@link
 * dev.tributary.transformer.DecoderRows}) makes an {@link dev.tributary.transformer.Encoding} of a
 * run, beside the model. A {@link dev.tributary.transformer.Continuation} is a text that grows
 * token by token, perhaps with changes, by a {@link dev.tributary.transformer.Sampling}. A {@link
 * dev.tributary.transformer.HeldPath} is a way through the residual stream of a run as a linear
 * map: an attention ({@link dev.tributary.transformer.HeldAttention}), or what a transcoder lets
 * pass ({@link dev.tributary.transformer.HeldSkip}) of what it reads ({@link
 * dev.tributary.transformer.HeldInput}).
 */
@NullMarked
package dev.tributary.transformer;

import org.jspecify.annotations.NullMarked;

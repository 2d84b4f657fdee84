/**
 * What a GPT-2 computes, written once on {@link dev.tributary.autodiff.Variable}.
 *
 * <p>In reading order: a {@link dev.tributary.transformer.Transformer} is embeddings, a stack of
 * {@link dev.tributary.transformer.Block}s ({@link dev.tributary.transformer.LayerNorm}, {@link
 * dev.tributary.transformer.Attention}, {@link dev.tributary.transformer.Mlp}) and an unembedding;
 * a {@link dev.tributary.transformer.Run} is what one forward pass recorded at each {@link
 * dev.tributary.transformer.Site}. A run is run again with a {@link
 * dev.tributary.transformer.Change}: an {@link dev.tributary.transformer.Intervention} at a {@link
 * dev.tributary.transformer.Place}, or {@link dev.tributary.transformer.Frozen}. A {@link
 * dev.tributary.transformer.SparseAutoencoder} ({@link dev.tributary.transformer.LatentActivation})
 * makes an {@link dev.tributary.transformer.Encoding} of a run, beside the model.
 *
 * <p>{@link dev.tributary.transformer.Weights} is where the numbers of a model come from, and
 * {@link dev.tributary.transformer.TransformerConfig} its sizes. Nothing here knows a file.
 */
@NullMarked
package dev.tributary.transformer;

import org.jspecify.annotations.NullMarked;

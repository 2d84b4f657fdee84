/**
 * What a GPT-2 computes, written once on {@link dev.tributary.autodiff.Variable}.
 *
 * <p>In reading order: a {@link dev.tributary.transformer.Transformer} is embeddings, a stack of
 * {@link dev.tributary.transformer.Block}s ({@link dev.tributary.transformer.LayerNorm}, {@link
 * dev.tributary.transformer.Attention}, {@link dev.tributary.transformer.Mlp}) and an unembedding;
 * a {@link dev.tributary.transformer.Run} is what one forward pass recorded at each {@link
 * dev.tributary.transformer.Site}. {@link dev.tributary.transformer.TransformerConfig}, {@code
 * Checkpoint}, {@link dev.tributary.transformer.Safetensors} and {@link
 * dev.tributary.transformer.Tokenizer} read the files.
 */
@NullMarked
package dev.tributary.transformer;

import org.jspecify.annotations.NullMarked;

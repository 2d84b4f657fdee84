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
 * dev.tributary.transformer.SparseAutoencoder} makes an {@link dev.tributary.transformer.Encoding}
 * of a run, beside the model.
 *
 * <p>A {@link dev.tributary.transformer.Checkpoint} is a model on disk ({@link
 * dev.tributary.transformer.TransformerConfig}, {@code WeightNames}), with an {@link
 * dev.tributary.transformer.Adapter} or without ({@code AdapterConfig} says which weights it
 * changes, {@code AdaptedWeights} what becomes of them); {@code AutoencoderFiles} reads
 * autoencoders and {@link dev.tributary.transformer.Tokenizer} text. Tensors come out of a {@link
 * dev.tributary.transformer.TensorFile}: {@link dev.tributary.transformer.Safetensors}, a {@link
 * dev.tributary.transformer.TorchFile} ({@code TorchArchive} or {@code TorchStream}, {@code
 * Pickle}) or a {@link dev.tributary.transformer.TensorFolder} of several; {@code StoredTensor} is
 * one tensor of it. A {@link dev.tributary.transformer.SafetensorsWriter} writes them, and an
 * {@link dev.tributary.transformer.AtomicFile} every file. {@code FileTree} looks into folders.
 * {@code Textbook} is where the files lie that come with the library.
 */
@NullMarked
package dev.tributary.transformer;

import org.jspecify.annotations.NullMarked;

/**
 * Families of models: how their files spell what a model is made of. Only {@code
 * dev.tributary.transformer.file} knows them, and they know no file.
 *
 * <p>In reading order: an {@link dev.tributary.transformer.family.Architecture} is one family,
 * {@code Llama} the one to read first, with {@code Decoder} and {@code Rope}, which read what most
 * have in common, and {@code Spellings}, as most spell their weights; {@link
 * dev.tributary.transformer.family.Architectures} lists them and finds the one of a config. It
 * makes our config of {@link dev.tributary.transformer.family.Keys}, and of {@link
 * dev.tributary.transformer.family.Tensors} where these do not say all, and has a {@link
 * dev.tributary.transformer.family.Spelling} for each weight. A {@link
 * dev.tributary.transformer.family.Layout} is what follows from both: where each slot of a config
 * lies. A {@link dev.tributary.transformer.family.GgufFamily} is how GGUF files have a family. A
 * {@link dev.tributary.transformer.family.TokenizerClass} is how the tokenizers of some families
 * are read.
 */
@NullMarked
package dev.tributary.transformer.family;

import org.jspecify.annotations.NullMarked;

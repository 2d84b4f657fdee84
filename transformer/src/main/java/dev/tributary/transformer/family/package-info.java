/**
 * Families of models: how their files spell what a model is made of. Only {@code
 * dev.tributary.transformer.file} knows them.
 *
 * <p>A {@link dev.tributary.transformer.family.TokenizerClass} is how the tokenizers of some of
 * them are read.
 */
@NullMarked
package dev.tributary.transformer.family;

import org.jspecify.annotations.NullMarked;

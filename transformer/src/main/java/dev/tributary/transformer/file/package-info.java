/**
 * Readers and writers of files. The model knows none of them: it asks its {@link
 * dev.tributary.transformer.Weights}.
 *
 * <p>In reading order: the doors are {@link dev.tributary.transformer.file.Models}, {@link
 * dev.tributary.transformer.file.Dictionaries} and {@link
 * dev.tributary.transformer.file.Tokenizers}; a {@link dev.tributary.transformer.file.LocalModel}
 * is what they open, found by name. A {@link dev.tributary.transformer.file.Checkpoint} is a model
 * on disk, whose names and shapes are those that its {@link
 * dev.tributary.transformer.family.Architecture} says, with an {@link
 * dev.tributary.transformer.file.Adapter} or without ({@code AdapterConfig} says which weights it
 * changes, {@code AdaptedWeights} what becomes of them). {@code DictionaryFiles} finds dictionaries
 * in each of their layouts, of which each has a class such as {@code SaeLens} or {@code
 * GemmaScope}: it says what a {@code StoredDictionary} consists of, with the names of {@code Hook}
 * for where, what {@code Names} of folders tell and what is {@code Given} in a {@code
 * DictionaryList}. A {@link dev.tributary.transformer.file.Tokenizer} is what {@code
 * TokenizerFolder} folds into one description, with {@code AddedTokens} and the {@code
 * ModelVocabulary}, or makes of a {@code SentencePieceModel} or with {@code GgufTokenizer}; {@code
 * TokenizerFile} checks it, and {@code TokenizerSteps} the steps around its model, with {@code
 * OnigurumaPattern} for a regular expression and {@code Charsmap} for a table of characters.
 *
 * <p>A {@code ChatTemplate} is what a tokenizer's files say of how the model is talked to: a
 * program, which {@code Jinja} runs ({@code JinjaTokens}, {@code JinjaExpressions}, {@code
 * JinjaFrame}, {@code JinjaValues} and {@code JinjaFilters} are its words, its expressions, what
 * they see and what they do).
 *
 * <p>Tensors come out of a {@link dev.tributary.transformer.file.TensorFile}: {@link
 * dev.tributary.transformer.file.Safetensors}, a {@link dev.tributary.transformer.file.Gguf} file,
 * whose metadata say what beside other files a config does, an {@code Npz}, a {@link
 * dev.tributary.transformer.file.TorchFile} ({@code TorchArchive} or {@code TorchStream}, {@code
 * Pickle}, {@code TorchObjects}) or a {@link dev.tributary.transformer.file.TensorFolder} of
 * several; {@code StoredTensor} is one tensor of it. A {@link
 * dev.tributary.transformer.file.SafetensorsWriter} writes them, and an {@link
 * dev.tributary.transformer.file.AtomicFile} every file. {@code FileTree} looks into folders,
 * {@code JsonFile} is read with its types, and {@code BadFile} is the one way to refuse. {@code
 * Textbook} is where the files lie that come with the library.
 */
@NullMarked
package dev.tributary.transformer.file;

import org.jspecify.annotations.NullMarked;

package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Dictionaries out of files: sparse autoencoders, transcoders and cross-layer transcoders. */
public final class Dictionaries {
  private Dictionaries() {}

  /**
   * Reads the dictionaries of a model. A folder may hold several, up to four levels inside it, each
   * recognised by its files:
   *
   * <ul>
   *   <li><b>SAELens</b> 2 to 6: {@code cfg.json} beside {@code sae_weights.safetensors}, of
   *       architecture standard, topk, jumprelu, gated, abstopk, their transcoders, and checkpoints
   *       of batchtopk and matryoshka_batchtopk
   *   <li><b>Gemma Scope</b>: {@code params.npz}, and {@code params.safetensors} of the second one
   *   <li><b>Llama Scope</b>: {@code hyperparams.json} above {@code checkpoints/final.safetensors},
   *       or {@code config.json} beside {@code sae_weights.safetensors}
   *   <li><b>dictionary_learning</b>: {@code config.json} beside {@code ae.pt}
   *   <li><b>sparsify</b>: {@code cfg.json} beside {@code sae.safetensors}
   *   <li>what torch.save wrote, {@code .pt} or {@code .pth}, of <b>transformer-debugger</b>,
   *       <b>Qwen Scope</b>, <b>Goodfire</b>, and attention autoencoders with their {@code
   *       _cfg.json}
   *   <li><b>circuit-tracer</b>: {@code config.yaml} beside {@code layer_<layer>.safetensors}, or
   *       {@code W_enc_<layer>.safetensors} and {@code W_dec_<layer>.safetensors} of a cross-layer
   *       transcoder. Decoders stay on disk
   *   <li><b>dictionaries.json</b> beside {@code dictionaries.safetensors}, see below
   * </ul>
   *
   * <p>Latents are those of the library that wrote the file; those of Llama Scope are SAELens'.
   * Vectors of models that SAELens loaded with {@code center_writing_weights} are encoded less
   * their mean, and then what is reconstructed is the vector less its mean.
   *
   * <p>What files leave out, names of folders often tell, such as {@code
   * gemma-scope-2b-pt-res/layer_5/width_16k/average_l0_71}, {@code layers.5.mlp}, {@code
   * resid_post_layer_3}, {@code SAE-Res-Qwen3-1.7B-Base-W32K-L0_50/layer12.sae.pt} or {@code
   * resid_post_mlp_v5_32k/autoencoders/3.pt}. Else a list in <b>dictionaries.json</b> says it, for
   * the files and folders named there and no others:
   *
   * <pre>{@code
   * {"files": [{"path": "3.pt", "hook": "resid_post_mlp", "layer": 3},
   *            {"path": "mlp-tm/5", "factor": 0.285, "centred": true, "label": "tm"},
   *            {"path": "layer12.sae.pt", "hook": "blocks.12.hook_resid_post", "k": 50}]}
   * }</pre>
   *
   * <ul>
   *   <li>{@code path} of a file or folder, inside the folder of the list
   *   <li>{@code hook} where it reads, {@code hook_out} where a transcoder writes, {@code layer}:
   *       names as TransformerLens has them, or OpenAI's
   *   <li>{@code k} latents of a token are active
   *   <li>{@code factor} of the vectors that it was trained on, SAELens' norm_scaling_factor
   *   <li>{@code centred} whether vectors are less their mean
   *   <li>{@code normalize} whether vectors of a file of transformer-debugger are normalised; they
   *       are if its activation is TopK
   *   <li>{@code label} that tells it from another of its kind and layer
   * </ul>
   *
   * <p><b>dictionaries.json</b> beside {@code dictionaries.safetensors} holds autoencoders of a
   * model in one file:
   *
   * <pre>{@code
   * {"sites": {"mlp_post_act":     {"activation": "ReLU"},
   *            "resid_delta_mlp":  {"activation": "TopK", "k": 16},
   *            "resid_delta_attn": {"activation": "JumpReLU", "tied": true}},
   *  "n_latents": 512}
   * }</pre>
   *
   * <p>A site is {@code mlp_post_act}, {@code resid_delta_mlp}, {@code resid_delta_attn}, {@code
   * resid_post_mlp} or {@code resid_post_attn}; an activation is {@code ReLU}, {@code TopK}, {@code
   * JumpReLU} or {@code Gated}. {@code n_latents} may be missing, and other keys beside {@code
   * sites} are not read. Tensors are called {@code <site>.<layer>.<part>}, and not every layer
   * needs to have them:
   *
   * <ul>
   *   <li>{@code encoder.weight} [latent, n]
   *   <li>{@code decoder.weight} [n, latent], missing if tied: then it is the transposed encoder
   *   <li>{@code pre_bias} [n]
   *   <li>{@code latent_bias} [latent]
   *   <li>{@code threshold} [latent], only if JumpReLU
   *   <li>{@code gate_bias} and {@code log_scale} [latent], only if Gated
   * </ul>
   *
   * <p>Lists, and these files, may also be called {@code autoencoders}.
   *
   * @param path a folder, or the file by which a dictionary is recognised
   * @param dtype in which to compute, whatever the file holds
   * @param config of the model
   * @return in the order of the forward pass
   * @throws IOException if a file is missing or broken, files contradict each other, leave out what
   *     nobody else says, do not fit the model, or need what cannot be represented here
   */
  public static List<Dictionary> load(Path path, DType dtype, TransformerConfig config)
      throws IOException {
    return DictionaryFiles.read(path, dtype, config);
  }

  /**
   * What a dictionary is by its files alone, for people.
   *
   * @param file that says what it is
   * @param description such as "SAELens, 4 latents of 7"
   * @param reads where it reads
   * @param writes where it writes
   */
  public record Found(Path file, String description, String reads, List<String> writes) {
    /**
     * Keeps a copy of the list.
     *
     * @param file {@link #file()}
     * @param description {@link #description()}
     * @param reads {@link #reads()}
     * @param writes {@link #writes()}
     */
    public Found {
      writes = List.copyOf(writes);
    }
  }

  /**
   * {@return what dictionaries there are in a folder, for whatever model; their numbers are not
   * read}
   *
   * @param folder as for {@link #load}
   * @throws IOException as there
   */
  public static List<Found> find(Path folder) throws IOException {
    return DictionaryFiles.find(folder).stream()
        .map(
            one ->
                new Found(
                    one.path(),
                    one.description(),
                    one.reads().toString(),
                    one.points().stream().map(Object::toString).toList()))
        .toList();
  }

  /**
   * {@return what feature pages such as Neuronpedia's call the transcoders of a folder: the {@code
   * scan} of circuit-tracer's config.yaml, which may be several; nothing where no file says it}
   *
   * @param path a folder, or the config
   * @throws IOException if the config is broken
   */
  public static List<String> scan(Path path) throws IOException {
    Path config = CircuitTracer.isOne(path) ? path : path.resolve(CircuitTracer.CONFIG);
    return Files.isRegularFile(config) ? CircuitTracer.scan(config) : List.of();
  }

  /**
   * {@return whether a folder holds dictionaries in a layout that is known}
   *
   * @param folder in which, or in a folder of which, they may lie
   * @throws IOException if it cannot be listed
   */
  public static boolean areIn(Path folder) throws IOException {
    return DictionaryFiles.areIn(folder);
  }

  /**
   * {@return the autoencoders of the small trained model that comes with the library: three per
   * layer}
   *
   * @param dtype in which to compute
   */
  public static List<Dictionary> textbook(DType dtype) {
    try {
      Path folder = Textbook.folder();
      return load(folder, dtype, Checkpoint.open(folder).config());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

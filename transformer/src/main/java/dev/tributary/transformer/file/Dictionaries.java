package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;

/** Sparse autoencoders out of files. */
public final class Dictionaries {
  private Dictionaries() {}

  /**
   * Reads the autoencoders of a model. What a folder holds is recognised by its config: {@code
   * autoencoders.json} or SAELens' {@code cfg.json}.
   *
   * <p><b>autoencoders.json</b>, beside {@code autoencoders.safetensors}:
   *
   * <pre>{@code
   * {"sites": {"mlp_post_act":     {"activation": "ReLU"},
   *            "resid_delta_mlp":  {"activation": "TopK", "k": 16},
   *            "resid_delta_attn": {"activation": "JumpReLU", "tied": true}},
   *  "n_latents": 512}
   * }</pre>
   *
   * <p>A site is {@code mlp_post_act} (MLP_ACTIVATION), {@code resid_delta_mlp} (MLP_OUTPUT) or
   * {@code resid_delta_attn} (ATTENTION_OUTPUT); an activation is {@code ReLU}, {@code TopK},
   * {@code JumpReLU} or {@code Gated}. {@code n_latents} may be missing, and other keys beside
   * {@code sites} are not read. Tensors are called {@code <site>.<layer>.<part>}, and not every
   * layer needs to have them:
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
   * <p><b>autoencoders.json</b> with a list of files instead of {@code sites}, each what
   * transformer-debugger saves: the state dictionary of an autoencoder by torch.save.
   *
   * <pre>{@code
   * {"files": [{"path": "mlp_post_act/0.pt",   "site": "mlp_post_act",    "layer": 0},
   *            {"path": "resid_delta_mlp/0.pt", "site": "resid_delta_mlp", "layer": 0,
   *             "normalize": false}]}
   * }</pre>
   *
   * <p>Paths lead into the folder. {@code normalize} has to be there if the activation is TopK, and
   * false: the published TopK autoencoders of GPT-2 small encode normalised vectors, though their
   * files do not say so, and cannot be read.
   *
   * <p><b>cfg.json</b>, beside {@code sae_weights.safetensors}, as SAELens saves an autoencoder of
   * architecture standard, topk, jumprelu or gated; in the folder itself, or in folders up to three
   * levels inside it, one for each autoencoder. Its hook is {@code blocks.<layer>.mlp.hook_post}
   * (MLP_ACTIVATION), {@code hook_mlp_out} (MLP_OUTPUT) or {@code hook_attn_out}
   * (ATTENTION_OUTPUT). Latents are those of SAELens; with {@code center_writing_weights} among the
   * {@code model_from_pretrained_kwargs}, those of a model whose writes have mean 0, and then what
   * is reconstructed is the vector less its mean.
   *
   * @param path the folder, or one of the files named here
   * @param dtype in which to compute, whatever the file holds
   * @param config of the model
   * @return in the order of the forward pass
   * @throws IOException if a file is missing or broken, files contradict each other, they do not
   *     fit the model, or need what cannot be represented here, e.g. another hook or a
   *     normalisation
   */
  public static List<Dictionary> load(Path path, DType dtype, TransformerConfig config)
      throws IOException {
    return AutoencoderFiles.read(path, dtype, config);
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

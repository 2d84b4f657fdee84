package dev.tributary.transformer;

import dev.tributary.core.Tensor;

/**
 * What a sparse autoencoder makes of a run, beside the model and without touching it: site =
 * reconstruction + error.
 *
 * @param autoencoder that encoded its site and layer
 * @param latents [token, latent]
 * @param reconstruction of the site, [token, n]
 * @param error what the reconstruction lacks, [token, n]
 */
public record Encoding(
    SparseAutoencoder autoencoder, Tensor latents, Tensor reconstruction, Tensor error) {}

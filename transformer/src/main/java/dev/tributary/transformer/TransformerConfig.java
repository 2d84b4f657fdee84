package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

/**
 * Sizes of a transformer of GPT-2's architecture. {@code heads} times {@code dHead} need not be
 * {@code dModel}.
 *
 * @param layers number of blocks
 * @param dModel width of the residual stream
 * @param heads attention heads of a layer
 * @param dHead width of a query, key or value of one head
 * @param neurons MLP neurons of a layer
 * @param context largest number of tokens in a run
 * @param vocabulary number of token ids
 * @param layerNormEpsilon added to the variance before the square root
 * @param activation of MLP neurons
 * @param tied whether the unembedding is the token embedding
 */
public record TransformerConfig(
    int layers,
    int dModel,
    int heads,
    int dHead,
    int neurons,
    int context,
    int vocabulary,
    double layerNormEpsilon,
    MlpActivation activation,
    boolean tied) {
  /**
   * Checks the sizes.
   *
   * @param layers {@link #layers()}
   * @param dModel {@link #dModel()}
   * @param heads {@link #heads()}
   * @param dHead {@link #dHead()}
   * @param neurons {@link #neurons()}
   * @param context {@link #context()}
   * @param vocabulary {@link #vocabulary()}
   * @param layerNormEpsilon {@link #layerNormEpsilon()}
   * @param activation {@link #activation()}
   * @param tied {@link #tied()}
   * @throws IllegalArgumentException if one is not positive, or makes a weight larger than a tensor
   *     can be
   */
  public TransformerConfig {
    requirePositive("layers", layers);
    requirePositive("dModel", dModel);
    requirePositive("heads", heads);
    requirePositive("dHead", dHead);
    requirePositive("neurons", neurons);
    requirePositive("context", context);
    requirePositive("vocabulary", vocabulary);
    requireArgument(
        layerNormEpsilon > 0 && Double.isFinite(layerNormEpsilon),
        "layerNormEpsilon is %s, expected a positive number",
        layerNormEpsilon);
    requireFits("token embedding", vocabulary, dModel);
    requireFits("position embedding", context, dModel);
    requireFits("attention output", (long) heads * dHead, dModel);
    requireFits("queries, keys and values", dModel, 3L * heads * dHead);
    requireFits("MLP", dModel, neurons);
  }

  /**
   * The same with GPT-2's own activation.
   *
   * @param layers {@link #layers()}
   * @param dModel {@link #dModel()}
   * @param heads {@link #heads()}
   * @param dHead {@link #dHead()}
   * @param neurons {@link #neurons()}
   * @param context {@link #context()}
   * @param vocabulary {@link #vocabulary()}
   * @param layerNormEpsilon {@link #layerNormEpsilon()}
   * @param tied {@link #tied()}
   * @throws IllegalArgumentException if a size is not positive, or makes a weight larger than a
   *     tensor can be
   */
  public TransformerConfig(
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int context,
      int vocabulary,
      double layerNormEpsilon,
      boolean tied) {
    this(
        layers,
        dModel,
        heads,
        dHead,
        neurons,
        context,
        vocabulary,
        layerNormEpsilon,
        MlpActivation.TANH_GELU,
        tied);
  }

  private static void requirePositive(String name, int size) {
    requireArgument(size > 0, "%s is %d, expected a positive number", name, size);
  }

  private static void requireFits(String weight, long rows, long columns) {
    long limit = Integer.MAX_VALUE / Double.BYTES;
    requireArgument(
        rows <= limit && columns <= limit && rows * columns <= limit,
        "the weight of the %s would be [%d, %d], and a tensor holds at most %d elements",
        weight,
        rows,
        columns,
        limit);
  }
}

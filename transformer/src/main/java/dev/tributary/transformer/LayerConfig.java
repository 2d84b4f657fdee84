package dev.tributary.transformer;

/**
 * The two parts of a layer.
 *
 * @param attention sizes and kind of its attention
 * @param mlp sizes and kind of its MLP
 * @param order which of the two reads what the other writes
 */
public record LayerConfig(AttentionConfig attention, MlpConfig mlp, Order order) {
  /** Which part of a layer reads what the other writes. */
  public enum Order {
    /** The MLP reads what the attention writes. */
    SEQUENTIAL,
    /** Neither: both read the same point, and both write the next. */
    PARALLEL
  }
}

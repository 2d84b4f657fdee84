package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;

/**
 * One layer: attention, then an MLP, each reading the residual stream through its layer norm and
 * adding to it.
 */
public record Block(LayerNorm attentionNorm, Attention attention, LayerNorm mlpNorm, Mlp mlp) {
  Variable apply(Variable x, Site.Visitor visitor) {
    Variable attended =
        attention.apply(
            attentionNorm.apply(x, ScaleGradient.LIVE, visitor), AttentionPath.ALL, visitor);
    Variable middle = visitor.at(Site.RESIDUAL_AFTER_ATTENTION, x.plus(attended));
    Variable computed = mlp.apply(mlpNorm.apply(middle, ScaleGradient.LIVE, visitor), visitor);
    return visitor.at(Site.RESIDUAL_AFTER_MLP, middle.plus(computed));
  }
}

package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;

/** An attention and an MLP, each reading the residual stream and adding to it. */
record Layer(Attention attention, Mlp mlp) {
  /** The residual stream after both. */
  Variable apply(Variable x, Site.Visitor visitor) {
    Variable attended = x.plus(attention.apply(x, visitor));
    Variable read = x;
    if (!mlp.reads().equals(attention.reads())) {
      attended = visitor.at(Site.RESIDUAL_AFTER_ATTENTION, attention.layer(), attended);
      read = attended;
    }
    return visitor.at(
        Site.RESIDUAL_AFTER_MLP, mlp.layer(), attended.plus(mlp.apply(read, visitor)));
  }

  /** The site of the residual stream at the point where a part of this layer writes. */
  Site residualAt(Point point) {
    return point.equals(mlp.writes()) ? Site.RESIDUAL_AFTER_MLP : Site.RESIDUAL_AFTER_ATTENTION;
  }
}

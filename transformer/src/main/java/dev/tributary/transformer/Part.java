package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.Optional;

/** What reads the residual stream at one point and writes at a later one. */
public sealed interface Part permits Attention, Mlp {
  /** {@return the layer to which it belongs, from 0} */
  int layer();

  /** {@return where it reads} */
  Point reads();

  /** {@return where it writes} */
  Point writes();

  /** {@return the norm through which it reads, if there is one} */
  Optional<Norm> entry();

  /** {@return the site of what it adds to the residual stream} */
  Site output();

  /** {@return what stands between what it computes and the residual stream} */
  Outlet outlet();

  /** {@return what it adds before its outlet whatever it reads, [dModel]} */
  Optional<Tensor> bias();

  /**
   * What it computes from: rows of the residual stream through its entry.
   *
   * @param residual rows of the residual stream, [.., dModel]
   * @param scaleGradient whether derivatives see the scale of the norm move
   * @return [.., dModel]
   */
  default Variable normalised(Variable residual, ScaleGradient scaleGradient) {
    return entry().map(norm -> norm.apply(residual, scaleGradient)).orElse(residual);
  }
}

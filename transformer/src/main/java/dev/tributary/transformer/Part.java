package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.Optional;

/** What reads the residual stream at one point and writes at a later one. */
public sealed interface Part permits Attention, Mlp {
  /**
   * Where a part stands in its model.
   *
   * @param layer to which it belongs, from 0
   * @param reads where it reads
   * @param writes where it writes
   * @param entry the norm through which it reads, if there is one
   * @param outlet what stands between what it computes and the residual stream
   */
  record Wiring(int layer, Point reads, Point writes, Optional<Norm> entry, Outlet outlet) {}

  /** {@return where it stands in its model} */
  Wiring wiring();

  /** {@return the site of what it adds to the residual stream} */
  Site output();

  /** {@return what it adds before its outlet whatever it reads, [dModel]} */
  Optional<Tensor> bias();

  /** {@return the layer to which it belongs, from 0} */
  default int layer() {
    return wiring().layer();
  }

  /** {@return where it reads} */
  default Point reads() {
    return wiring().reads();
  }

  /** {@return where it writes} */
  default Point writes() {
    return wiring().writes();
  }

  /** {@return the norm through which it reads, if there is one} */
  default Optional<Norm> entry() {
    return wiring().entry();
  }

  /** {@return what stands between what it computes and the residual stream} */
  default Outlet outlet() {
    return wiring().outlet();
  }

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

package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import java.util.List;

/** An attention and an MLP, each reading the residual stream and adding to it. */
record Layer(Attention attention, Mlp mlp) {
  /** The residual stream after both. */
  Variable apply(Variable x, Site.Visitor visitor) {
    Variable attended = x.plus(attention.apply(x, visitor));
    Variable read = x;
    if (isSequential()) {
      attended = visitor.at(Site.RESIDUAL_AFTER_ATTENTION, attention.layer(), attended);
      read = attended;
    }
    return visitor.at(
        Site.RESIDUAL_AFTER_MLP, mlp.layer(), attended.plus(mlp.apply(read, visitor)));
  }

  List<Part> parts() {
    return List.of(attention, mlp);
  }

  /** Where the residual stream is recorded at the points where its parts write, in their order. */
  List<Place> residuals() {
    Place end = Place.of(Site.RESIDUAL_AFTER_MLP, mlp.layer());
    return isSequential()
        ? List.of(Place.of(Site.RESIDUAL_AFTER_ATTENTION, mlp.layer()), end)
        : List.of(end);
  }

  private boolean isSequential() {
    return !mlp.reads().equals(attention.reads());
  }
}

package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import java.util.ArrayList;
import java.util.List;

/** An attention and an MLP, each reading the residual stream and adding to it. */
record Layer(Attention attention, Mlp mlp) {
  /** All layers of a model. */
  static List<Layer> all(TransformerConfig config, List<Loaded> loaded) {
    List<Layer> made = new ArrayList<>();
    Point point = Point.EMBEDDING;
    for (int i = 0; i < config.layers().size(); i++) {
      LayerConfig layer = config.layers().get(i);
      Loaded own = loaded.get(i);
      boolean sequential = layer.order() == LayerConfig.Order.SEQUENTIAL;
      Point middle = sequential ? point.next() : point;
      Point end = middle.next();
      Point attended = sequential ? middle : end;
      made.add(
          new Layer(
              new Attention(layer.attention(), i, point, attended, own),
              new Mlp(layer.mlp(), i, middle, end, own)));
      point = end;
    }
    return List.copyOf(made);
  }

  /** The same layers where queries and keys depend otherwise on where their tokens stand. */
  static List<Layer> with(List<Layer> layers, List<Positions> positions) {
    List<Layer> made = new ArrayList<>();
    for (Layer layer : layers) {
      made.add(new Layer(layer.attention.with(positions.get(made.size())), layer.mlp));
    }
    return List.copyOf(made);
  }

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

  /** Of the model's, from 0. */
  int number() {
    return attention.layer();
  }

  List<Part> parts() {
    return List.of(attention, mlp);
  }

  /** Where the residual stream of each point is recorded. */
  static List<Place> residuals(List<Layer> layers) {
    List<Place> places = new ArrayList<>();
    places.add(Place.of(Site.EMBEDDING));
    for (Layer layer : layers) {
      if (layer.isSequential()) {
        places.add(Place.of(Site.RESIDUAL_AFTER_ATTENTION, layer.number()));
      }
      places.add(Place.of(Site.RESIDUAL_AFTER_MLP, layer.number()));
    }
    return List.copyOf(places);
  }

  private boolean isSequential() {
    return !mlp.reads().equals(attention.reads());
  }
}

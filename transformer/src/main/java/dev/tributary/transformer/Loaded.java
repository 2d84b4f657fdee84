package dev.tributary.transformer;

import dev.tributary.core.Tensor;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** What has been read of a layer, or of the whole model. */
final class Loaded {
  private final Map<Weight, Tensor> weights = new EnumMap<>(Weight.class);

  /** What there is of each layer, and last of the whole model. */
  static List<Loaded> of(Map<Slot, Tensor> all, int layers) {
    List<Loaded> loaded = Stream.generate(Loaded::new).limit(layers + 1L).toList();
    all.forEach(
        (slot, tensor) -> {
          int place = slot.weight().perLayer() ? slot.layer() : layers;
          loaded.get(place).weights.put(slot.weight(), tensor);
        });
    return loaded;
  }

  Tensor tensor(Weight weight) {
    return find(weight).orElseThrow();
  }

  Optional<Tensor> find(Weight weight) {
    return Optional.ofNullable(weights.get(weight));
  }

  Linear linear(Weight matrix, Weight bias) {
    return new Linear(tensor(matrix), find(bias));
  }

  Optional<Norm> norm(Optional<NormConfig> norm, Weight gain, Weight bias) {
    return norm.map(own -> new Norm(own, tensor(gain), find(bias)));
  }

  Outlet outlet(OutletConfig outlet, Weight gain, Site scale, int layer) {
    Optional<Norm> norm = outlet.norm().map(own -> new Norm(own, tensor(gain), Optional.empty()));
    return new Outlet(norm, outlet.multiplier(), scale, layer);
  }
}

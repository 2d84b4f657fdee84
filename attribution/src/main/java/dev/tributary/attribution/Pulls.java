package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** Edges between many sources and many targets by pulling from the targets, many at a time. */
final class Pulls {
  private final EdgeAttribution edges;
  private final Run run;

  Pulls(EdgeAttribution edges) {
    this.edges = edges;
    this.run = edges.nodes().run();
  }

  /** Of every target; those that can be pulled together are. */
  List<ResidualGradient> gradients(List<Target> targets) {
    Map<List<Object>, List<Target>> together = new LinkedHashMap<>();
    for (Target target : targets) {
      together.computeIfAbsent(target.pulledWith(), place -> new ArrayList<>()).add(target);
    }
    Map<Target, ResidualGradient> found = new HashMap<>();
    together
        .values()
        .forEach(
            some -> {
              List<ResidualGradient> gradients = some.get(0).gradients(edges, some);
              for (int i = 0; i < some.size(); i++) {
                found.put(some.get(i), gradients.get(i));
              }
            });
    return targets.stream().map(found::get).toList();
  }

  /** ⟨write, gradient⟩ of every source and target: a product of matrices for each token. */
  double[] products(List<Source> sources, List<ResidualGradient> gradients) {
    double[] edges = new double[sources.size() * gradients.size()];
    Map<Integer, List<Integer>> byToken = new LinkedHashMap<>();
    for (int i = 0; i < sources.size(); i++) {
      byToken.computeIfAbsent(sources.get(i).token(), token -> new ArrayList<>()).add(i);
    }
    byToken.forEach(
        (token, writing) -> {
          int[] reading =
              IntStream.range(0, gradients.size())
                  .filter(j -> gradients.get(j).reads(token))
                  .toArray();
          if (reading.length > 0) {
            try (Scope scope = Scope.open()) {
              products(token, sources, writing, gradients, reading, edges);
            }
          }
        });
    return edges;
  }

  private void products(
      int token,
      List<Source> sources,
      List<Integer> writing,
      List<ResidualGradient> gradients,
      int[] reading,
      double[] edges) {
    List<Integer> owners = new ArrayList<>();
    List<Write> writes = new ArrayList<>();
    for (int i : writing) {
      for (Write write : sources.get(i).writes(run)) {
        owners.add(i);
        writes.add(write);
      }
    }
    int dModel = run.model().config().dModel();
    Tensor vectors =
        Tensor.concat(0, writes.stream().map(write -> write.vector().reshape(1, dModel)).toList());
    Tensor rows =
        Tensor.concat(
            0, Arrays.stream(reading).mapToObj(j -> gradients.get(j).row(token)).toList());
    double[] products = vectors.matmulTransposed(rows).toDoubles();
    for (int at = 0; at < products.length; at++) {
      int write = at / reading.length;
      int j = reading[at % reading.length];
      if (writes.get(write).point().reaches(gradients.get(j).point())) {
        edges[owners.get(write) * gradients.size() + j] += products[at];
      }
    }
  }
}

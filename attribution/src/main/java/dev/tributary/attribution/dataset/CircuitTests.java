package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.CircuitTotals.Interval;
import java.util.ArrayList;
import java.util.List;

/**
 * Circuits and what runs to test each: it, all but it, and it without each of some of its edges.
 *
 * @param circuits of one graph
 * @param edges of each circuit, numbers of edges without which it runs
 */
public record CircuitTests(List<ComponentCircuit> circuits, List<List<Integer>> edges) {
  /**
   * Refuses edges that a circuit has not.
   *
   * @param circuits {@link #circuits()}
   * @param edges {@link #edges()}
   */
  public CircuitTests {
    circuits = List.copyOf(circuits);
    edges = edges.stream().map(List::copyOf).toList();
    requireArgument(
        circuits.size() == edges.size(),
        "%d circuits and edges of %d",
        circuits.size(),
        edges.size());
    for (int i = 0; i < circuits.size(); i++) {
      for (int edge : edges.get(i)) {
        requireArgument(circuits.get(i).contains(edge), "edge %d is not in circuit %d", edge, i);
      }
    }
  }

  /**
   * {@return tests of circuits without some of their edges, drawn without favour}
   *
   * @param circuits of one graph
   * @param edges how many of each; all of one that has no more
   * @param seed of the draw
   */
  public static CircuitTests drawn(List<ComponentCircuit> circuits, int edges, long seed) {
    return new CircuitTests(
        circuits,
        circuits.stream()
            .map(
                circuit ->
                    ExactSample.draw(circuit.size(), edges, seed).stream()
                        .map(circuit.edges()::get)
                        .toList())
            .toList());
  }

  /**
   * {@return all that runs: the circuits, their complements, then each circuit without each of its
   * edges}
   */
  public List<ComponentCircuit> runs() {
    List<ComponentCircuit> runs = new ArrayList<>(circuits);
    circuits.forEach(circuit -> runs.add(circuit.complement()));
    for (int i = 0; i < circuits.size(); i++) {
      ComponentCircuit circuit = circuits.get(i);
      edges.get(i).forEach(edge -> runs.add(circuit.without(edge)));
    }
    return runs;
  }

  /**
   * {@return the number of what is left of the model without a circuit, among {@link #runs}}
   *
   * @param circuit its number
   */
  public int complement(int circuit) {
    return circuits.size() + circuit;
  }

  /**
   * How much a circuit needs an edge.
   *
   * @param edge its number
   * @param value {@link CircuitTotals#minimality}
   * @param interval of confidence
   */
  public record Minimality(int edge, double value, Interval interval) {}

  /**
   * {@return how much a circuit needs each of {@link #edges}}
   *
   * @param totals of {@link #runs}
   * @param circuit its number
   * @param level of the intervals, see {@link CircuitTotals#interval}
   */
  public List<Minimality> minimality(CircuitTotals totals, int circuit, double level) {
    int run = 2 * circuits.size();
    for (List<Integer> own : edges.subList(0, circuit)) {
      run += own.size();
    }
    List<Minimality> all = new ArrayList<>();
    for (int edge : edges.get(circuit)) {
      all.add(
          new Minimality(
              edge,
              totals.minimality(circuit, run),
              totals.minimalityInterval(circuit, run, level)));
      run++;
    }
    return all;
  }
}

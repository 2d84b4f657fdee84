package dev.tributary.autodiff;

import static dev.tributary.core.Checks.requireArgument;
import static dev.tributary.core.Checks.requirePresent;
import static dev.tributary.core.Checks.requireState;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The derivative of one variable with respect to others, in both directions: the only walk over the
 * graph of variables.
 *
 * <p>Inputs may be any recorded variables, even ones that depend on each other: a pushed tangent is
 * added at its input, a pulled cotangent at an input is the total one. Only paths between inputs
 * and output are walked; an input without a path gets zeros. First order only.
 */
public final class Jacobian {
  /** A variable on a path from an input to the output. */
  private static final class Step {
    /** What it depends on along paths. */
    private final List<Arc> arcs = new ArrayList<>();

    private final boolean isInput;

    /** The last step that depends on this one. */
    private int lastReader = -1;

    private Step(boolean isInput) {
      this.isInput = isInput;
    }
  }

  /** How a step depends on an earlier one. */
  private record Arc(int from, LinearMap map) {}

  private final Variable output;
  private final List<Variable> inputs;

  /** All that is on a path, ends included, in the order made: empty or up to the output. */
  private final List<Step> path = new ArrayList<>();

  /** The step of each input, -1 of one from which no path leads to the output. */
  private final int[] starts;

  private Jacobian(Variable output, List<Variable> inputs) {
    this.output = output;
    this.inputs = inputs;
    Set<Variable> distinct = new HashSet<>(inputs);
    Map<Variable, Integer> numbers = new HashMap<>();
    for (Variable variable : ancestors(output)) {
      Step step = new Step(distinct.contains(variable));
      for (Variable.Edge edge : variable.edges()) {
        Integer from = numbers.get(edge.from());
        if (from != null) {
          step.arcs.add(new Arc(from, edge.map()));
          path.get(from).lastReader = path.size();
        }
      }
      if (step.isInput || !step.arcs.isEmpty()) {
        numbers.put(variable, path.size());
        path.add(step);
      }
    }
    this.starts = inputs.stream().mapToInt(input -> numbers.getOrDefault(input, -1)).toArray();
  }

  /**
   * {@return the derivative of {@code output} with respect to {@code inputs}, at the values they
   * have}
   *
   * @param output computed from the inputs, or a constant
   * @param inputs variables that are not constant
   */
  public static Jacobian of(Variable output, Variable... inputs) {
    return of(output, List.of(inputs));
  }

  /**
   * {@return the derivative of {@code output} with respect to {@code inputs}, at the values they
   * have}
   *
   * @param output computed from the inputs, or a constant
   * @param inputs variables that are not constant
   */
  public static Jacobian of(Variable output, List<Variable> inputs) {
    for (Variable input : inputs) {
      requireArgument(
          !input.isConstant(), "Jacobian: the input %s is constant, nothing varies with it", input);
    }
    return new Jacobian(output, List.copyOf(inputs));
  }

  /** All that a variable was computed from, itself included, in the order made. */
  private static List<Variable> ancestors(Variable output) {
    Set<Variable> found = new HashSet<>();
    Deque<Variable> open = new ArrayDeque<>();
    open.push(output);
    while (!open.isEmpty()) {
      Variable variable = open.pop();
      if (found.add(variable)) {
        variable.edges().forEach(edge -> open.push(edge.from()));
      }
    }
    List<Variable> ordered = new ArrayList<>(found);
    ordered.sort(Comparator.comparingLong(Variable::number));
    return ordered;
  }

  /**
   * What a walk carries, by step. A tensor lives in the scope of the walk until its last reader has
   * had it, and dies at the end of that reader's step: the peak is the frontier and not the graph.
   */
  private static final class Frontier {
    private final @Nullable Tensor[] sums;

    Frontier(int steps) {
      this.sums = new Tensor[steps];
    }

    void add(Scope step, int number, Tensor addend) {
      Tensor sum = sums[number];
      sums[number] = step.keep(sum == null ? addend : step.takeBack(sum).plus(addend));
    }

    /** What has reached a step. */
    Tensor at(int number) {
      return requirePresent(sums[number], "nothing has reached step %s of a walk", number);
    }

    void drop(Scope step, int number) {
      Tensor sum = sums[number];
      if (sum != null) {
        step.takeBack(sum);
        sums[number] = null;
      }
    }

    Tensor orZeros(int number, Variable variable, int k) {
      return Jacobian.orZeros(number < 0 ? null : sums[number], variable, k);
    }
  }

  /**
   * Jacobian-vector products: how the output moves when the inputs move.
   *
   * @param tangents one [k, *input] for each input, the same k
   * @return [k, *output], the sum over inputs
   * @throws IllegalArgumentException if a shape or element type does not fit
   */
  public Tensor push(Tensor... tangents) {
    requireArgument(
        tangents.length == inputs.size(),
        "push: %d tangents for %d inputs",
        tangents.length,
        inputs.size());
    requireArgument(tangents.length > 0, "push: there is no input to push from");
    int k = directions("push", tangents[0], inputs.get(0).value());
    try (Scope walk = Scope.open()) {
      Frontier moved = new Frontier(path.size());
      try (Scope step = Scope.open()) {
        for (int i = 0; i < tangents.length; i++) {
          requireArgument(
              directions("push", tangents[i], inputs.get(i).value()) == k,
              "push: the tangents have %s and %s directions",
              k,
              tangents[i].shape().size(0));
          if (starts[i] >= 0) {
            moved.add(step, starts[i], tangents[i]);
          }
        }
        for (int to = 0; to < path.size(); to++) {
          List<Arc> arcs = path.get(to).arcs;
          for (Arc arc : arcs) {
            moved.add(step, to, arc.map.push(moved.at(arc.from)));
          }
          for (Arc arc : arcs) {
            if (path.get(arc.from).lastReader == to) {
              moved.drop(step, arc.from);
            }
          }
          step.clear();
        }
      }
      return walk.keep(moved.orZeros(path.size() - 1, output, k));
    }
  }

  /**
   * Vector-Jacobian products: how much each entry of each input moves the output along the
   * cotangents.
   *
   * @param cotangents [k, *output]
   * @return one [k, *input] for each input
   * @throws IllegalArgumentException if the shape or element type does not fit
   */
  public List<Tensor> pull(Tensor cotangents) {
    int k = directions("pull", cotangents, output.value());
    try (Scope walk = Scope.open()) {
      Frontier pulled = new Frontier(path.size());
      try (Scope step = Scope.open()) {
        if (!path.isEmpty()) {
          pulled.add(step, path.size() - 1, cotangents);
        }
        for (int from = path.size() - 1; from >= 0; from--) {
          Tensor cotangent = pulled.at(from);
          if (!path.get(from).isInput) {
            pulled.drop(step, from);
          }
          for (Arc arc : path.get(from).arcs) {
            pulled.add(step, arc.from, arc.map.pull(cotangent));
          }
          step.clear();
        }
      }
      List<Tensor> result = new ArrayList<>(inputs.size());
      for (int i = 0; i < starts.length; i++) {
        result.add(walk.keep(pulled.orZeros(starts[i], inputs.get(i), k)));
      }
      return result;
    }
  }

  /**
   * The gradient of a scalar output: one pull along 1.
   *
   * @return one tensor of the shape of each input
   * @throws IllegalArgumentException if the output has more than one element
   */
  public List<Tensor> gradient() {
    requireArgument(
        output.shape().length() == 1, "gradient: the output %s is not one number", output.shape());
    try (Scope scope = Scope.open()) {
      List<Tensor> pulled = pull(Tensor.full(output.value().dtype(), output.shape().prepend(1), 1));
      List<Tensor> result = new ArrayList<>(inputs.size());
      for (int i = 0; i < pulled.size(); i++) {
        result.add(scope.keep(pulled.get(i).reshape(inputs.get(i).shape())));
      }
      return result;
    }
  }

  /**
   * {@return this derivative as one linear map}
   *
   * @throws IllegalArgumentException if there is not exactly one input
   */
  public LinearMap map() {
    requireArgument(inputs.size() == 1, "map: there are %d inputs, not one", inputs.size());
    return LinearMap.of(
        "Jacobian", inputs.get(0).shape(), output.shape(), this::push, v -> pull(v).get(0));
  }

  /** A value and how it moves. */
  public record Pushed(Tensor value, Tensor tangents) {}

  /**
   * A Jacobian-vector product computed along with the value, when nothing will be pulled: every map
   * is used once and dropped, nothing is recorded.
   *
   * @param function of primitives of {@link Variable}
   * @param at where, of any shape
   * @param tangents [k, *at]
   * @return the value and its tangents [k, *value]
   * @throws IllegalArgumentException if the shape or element type does not fit
   * @throws IllegalStateException if the function also uses variables that are recorded
   */
  public static Pushed pushOnce(UnaryOperator<Variable> function, Tensor at, Tensor tangents) {
    int k = directions("pushOnce", tangents, at);
    try (Scope scope = Scope.open()) {
      Variable result = function.apply(Variable.moving(at, tangents));
      requireState(result.edges().isEmpty(), "pushOnce: the function also recorded %s", result);
      return new Pushed(
          scope.keep(result.value()), scope.keep(orZeros(result.tangents(), result, k)));
    }
  }

  private static int directions(String action, Tensor tensor, Tensor value) {
    Shape found = tensor.shape();
    Shape shape = value.shape();
    requireArgument(
        LinearMap.areDirections(found, shape),
        "%s: %s is not [directions, *%s]",
        action,
        found,
        shape);
    requireArgument(
        tensor.dtype() == value.dtype(),
        "%s: directions are %s and the value is %s",
        action,
        tensor.dtype(),
        value.dtype());
    return found.size(0);
  }

  private static Tensor orZeros(@Nullable Tensor tensor, Variable variable, int k) {
    return tensor != null
        ? tensor
        : Tensor.zeros(variable.value().dtype(), variable.shape().prepend(k));
  }
}

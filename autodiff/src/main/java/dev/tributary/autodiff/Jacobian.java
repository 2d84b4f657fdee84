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
  /** A variable on a path from an input to the output, and what it depends on along paths. */
  private record Step(Variable variable, List<Variable.Edge> edges) {}

  private final Variable output;
  private final List<Variable> inputs;

  /** All that is on a path from an input to the output, ends included, in the order made. */
  private final List<Step> path;

  private Jacobian(Variable output, List<Variable> inputs) {
    this.output = output;
    this.inputs = inputs;
    this.path = path(output, inputs);
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

  private static List<Step> path(Variable output, List<Variable> inputs) {
    Set<Variable> ancestors = new HashSet<>();
    Deque<Variable> open = new ArrayDeque<>();
    open.push(output);
    while (!open.isEmpty()) {
      Variable variable = open.pop();
      if (ancestors.add(variable)) {
        variable.edges().forEach(edge -> open.push(edge.from()));
      }
    }
    List<Variable> ordered = new ArrayList<>(ancestors);
    ordered.sort(Comparator.comparingLong(Variable::number));
    Set<Variable> starts = new HashSet<>(inputs);
    Set<Variable> reached = new HashSet<>();
    List<Step> result = new ArrayList<>();
    for (Variable variable : ordered) {
      List<Variable.Edge> edges = new ArrayList<>(variable.edges());
      edges.removeIf(edge -> !reached.contains(edge.from()));
      if (!edges.isEmpty() || starts.contains(variable)) {
        reached.add(variable);
        result.add(new Step(variable, edges));
      }
    }
    return result;
  }

  /**
   * Tangents or cotangents on a walk. Each lives in the scope of the walk until its last reader has
   * had it, and dies with the scope of that reader's step: the peak is the frontier of the walk and
   * not the graph.
   */
  private static final class Frontier {
    private final Map<Variable, Tensor> sums = new HashMap<>();

    void add(Scope step, Variable variable, Tensor addend) {
      Tensor before = sums.get(variable);
      Tensor sum = before == null ? addend : step.takeBack(before).plus(addend);
      sums.put(variable, step.keep(sum));
    }

    Tensor of(Variable variable) {
      return requirePresent(sums.get(variable), "nothing has reached %s", variable);
    }

    void drop(Scope step, Variable variable) {
      Tensor sum = sums.remove(variable);
      if (sum != null) {
        step.takeBack(sum);
      }
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
    Map<Variable, Variable> lastReaders = new HashMap<>();
    for (Step at : path) {
      at.edges.forEach(edge -> lastReaders.put(edge.from(), at.variable));
    }
    try (Scope walk = Scope.open()) {
      Frontier moved = new Frontier();
      try (Scope step = Scope.open()) {
        for (int i = 0; i < tangents.length; i++) {
          requireArgument(
              directions("push", tangents[i], inputs.get(i).value()) == k,
              "push: the tangents have %s and %s directions",
              k,
              tangents[i].shape().size(0));
          moved.add(step, inputs.get(i), tangents[i]);
        }
      }
      for (Step at : path) {
        try (Scope step = Scope.open()) {
          for (Variable.Edge edge : at.edges) {
            moved.add(step, at.variable, edge.map().push(moved.of(edge.from())));
          }
          for (Variable.Edge edge : at.edges) {
            if (lastReaders.get(edge.from()) == at.variable) {
              moved.drop(step, edge.from());
            }
          }
        }
      }
      return walk.keep(orZeros(moved.sums.get(output), output, k));
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
    Set<Variable> ends = new HashSet<>(inputs);
    try (Scope results = Scope.open()) {
      Map<Variable, Tensor> totals = new HashMap<>();
      try (Scope walk = Scope.open()) {
        Frontier pulled = new Frontier();
        pulled.sums.put(output, cotangents);
        for (int i = path.size() - 1; i >= 0; i--) {
          Step at = path.get(i);
          Tensor cotangent = pulled.of(at.variable);
          if (ends.contains(at.variable)) {
            totals.put(at.variable, walk.keep(cotangent));
          }
          try (Scope step = Scope.open()) {
            pulled.drop(step, at.variable);
            for (Variable.Edge edge : at.edges) {
              pulled.add(step, edge.from(), edge.map().pull(cotangent));
            }
          }
        }
      }
      List<Tensor> result = new ArrayList<>(inputs.size());
      for (Variable input : inputs) {
        result.add(results.keep(orZeros(totals.get(input), input, k)));
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

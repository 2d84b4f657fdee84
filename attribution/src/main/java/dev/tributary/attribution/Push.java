package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Jacobian.Pushed;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * What a source writes, pushed through each part of the model that reads it: how what the part
 * computes moves. Only rows and slices that move are computed, once for all targets that ask. Lives
 * in the scope in which it was made.
 */
final class Push {
  private final EdgeAttribution edges;
  private final Run run;
  private final int token;
  private final List<Write> writes;

  private final Map<Part, Map<InputPath, Tensor>> neurons = new HashMap<>();
  private final Map<Part, Map<InputPath, Pushed>> inputs = new HashMap<>();

  Push(EdgeAttribution edges, Source source) {
    this.edges = edges;
    this.run = edges.nodes().run();
    this.token = source.token();
    this.writes = source.writes(run);
  }

  EdgeAttribution edges() {
    return edges;
  }

  Run run() {
    return run;
  }

  /** The token at which the source writes. */
  int token() {
    return token;
  }

  /** Whether a part reads something of what is written. */
  boolean reaches(Part part) {
    return reaches(part.reads());
  }

  /** Whether something of what is written is read at a point. */
  boolean reaches(Point read) {
    return writes.stream().anyMatch(write -> write.point().reaches(read));
  }

  /** ⟨write, gradient⟩ */
  double along(ResidualGradient gradient) {
    return writes.stream()
        .filter(write -> write.point().reaches(gradient.point()))
        .mapToDouble(write -> gradient.row(token).times(write.vector()).sum(-1).item())
        .sum();
  }

  private Tensor tangent(Part part) {
    return tangent(part.reads());
  }

  /** What is read of the writes at a point, as one direction, [1, 1, dModel]. */
  private Tensor tangent(Point read) {
    Tensor sum =
        writes.stream()
            .filter(write -> write.point().reaches(read))
            .map(Write::vector)
            .reduce(Tensor::plus)
            .orElseThrow();
    return sum.reshape(1, 1, sum.shape().length());
  }

  private Tensor row(Part part) {
    return row(part.reads());
  }

  private Tensor row(Point read) {
    return run.residual(read).value().slice(0, token, token + 1);
  }

  /** How something moves that follows from the row of the token at a point. */
  Tensor row(Point read, UnaryOperator<Variable> function) {
    return withoutDirections(Jacobian.pushOnce(function, row(read), tangent(read)).tangents());
  }

  private ScaleGradient scaleGradient() {
    return edges.scaleGradient();
  }

  /** How neurons at the token move with one of their inputs, [1, neuron]. */
  Tensor neurons(Mlp mlp, InputPath path) {
    return neurons
        .computeIfAbsent(mlp, part -> new EnumMap<>(InputPath.class))
        .computeIfAbsent(
            path,
            own ->
                withoutDirections(
                    Jacobian.pushOnce(
                            r -> mlp.neurons(mlp.normalised(r, scaleGradient()), own, run, token),
                            row(mlp),
                            tangent(mlp))
                        .tangents()));
  }

  /** How neurons at the token move, [1, neuron]. */
  Tensor neurons(Mlp mlp) {
    return mlp.paths().stream().map(path -> neurons(mlp, path)).reduce(Tensor::plus).orElseThrow();
  }

  /** How the output of an MLP moves at the token, [1, dModel]. */
  Tensor output(Mlp mlp) {
    if (mlp.outlet().isLinear(scaleGradient())) {
      return mlp.outlet().push(run, token, neurons(mlp).matmul(mlp.rows()));
    }
    Tensor activation = run.value(Site.MLP_ACTIVATION, mlp.layer()).slice(0, token, token + 1);
    Tensor tangents = neurons(mlp).reshape(activation.shape().prepend(1));
    return withoutDirections(
        Jacobian.pushOnce(a -> mlp.output(a, scaleGradient()), activation, tangents).tangents());
  }

  /** How something moves that follows from one input of the heads of a layer at the token. */
  Tensor through(Attention attention, InputPath path, UnaryOperator<Variable> function) {
    Map<InputPath, Pushed> own = inputs.computeIfAbsent(attention, this::inputs);
    return pushed(Objects.requireNonNull(own.get(path), path::name), function);
  }

  private Map<InputPath, Pushed> inputs(Part part) {
    Attention attention = (Attention) part;
    Pushed x =
        Jacobian.pushOnce(r -> part.normalised(r, scaleGradient()), row(part), tangent(part));
    Map<InputPath, Pushed> result = new EnumMap<>(InputPath.class);
    result.put(
        InputPath.QUERY,
        further(
            x, n -> attention.query(n, token, scaleGradient(), recorded(attention, Site.QUERY))));
    result.put(
        InputPath.KEY,
        further(x, n -> attention.key(n, token, scaleGradient(), recorded(attention, Site.KEY))));
    result.put(
        InputPath.VALUE, further(x, n -> attention.value(n, recorded(attention, Site.VALUE))));
    return result;
  }

  private Tensor recorded(Attention attention, Site site) {
    return run.value(site, attention.layer()).slice(1, token, token + 1);
  }

  /** How something moves that follows from the outputs of heads, at the tokens from this one on. */
  Tensor attended(Attention attention, UnaryOperator<Variable> function) {
    return HeadInput.PATHS.stream()
        .map(
            path ->
                through(
                    attention,
                    path,
                    moving ->
                        function.apply(
                            attention.headOutputWith(
                                run, token, path, moving, token, run.length()))))
        .reduce(Tensor::plus)
        .orElseThrow();
  }

  private static Pushed further(Pushed so, UnaryOperator<Variable> function) {
    return Jacobian.pushOnce(function, so.value(), so.tangents());
  }

  /** What has been pushed so far, pushed further, without the axis that counts directions. */
  private static Tensor pushed(Pushed so, UnaryOperator<Variable> function) {
    return withoutDirections(further(so, function).tangents());
  }

  private static Tensor withoutDirections(Tensor tangents) {
    return tangents.reshape(tangents.shape().subShape(1, tangents.shape().rank()));
  }
}

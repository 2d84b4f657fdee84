package dev.tributary.attribution;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Norm;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The logit of a word at a token.
 *
 * @param token from 0
 * @param word its id
 */
public record Logit(int token, int word) implements Target {
  static final Kind KIND =
      new Kind(Logit.class, "logit") {
        @Override
        boolean isListed() {
          return false;
        }

        @Override
        Stream<Logit> candidates(Coordinates.Name name) {
          return Stream.of(new Logit(name.token().orElse(0), name.index().orElse(0)));
        }
      };

  /** The logits of all words at all tokens. */
  private record Logits() implements Family {
    @Override
    public List<String> axes() {
      return List.of("token", "word");
    }

    @Override
    public Logit node(int... index) {
      return new Logit(index[0], index[1]);
    }
  }

  @Override
  public Coordinates coordinates() {
    return Coordinates.outside(KIND.word(), Coordinates.Component.OUTPUT).index(word).at(token);
  }

  @Override
  public Family family() {
    return new Logits();
  }

  @Override
  public int[] index() {
    return new int[] {token, word};
  }

  @Override
  public void requireIn(Run run) {
    Kind.requireIndex(this, "token", token, run.length());
    Kind.requireIndex(this, "word", word, run.model().config().outputs());
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    return Metric.logit(token, word).reading(edges.nodes().run());
  }

  /** Unless it is capped. */
  @Override
  public Optional<Certificate.Affine> affine(EdgeAttribution edges) {
    Transformer model = edges.nodes().run().model();
    Optional<Norm> norm = model.finalNorm();
    if (model.config().unembedding().cap().isPresent() || !edges.isAffine(norm)) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open()) {
      Run run = edges.nodes().run();
      Variable origin = Variable.constant(Certificate.Affine.origin(run, norm));
      return Optional.of(
          new Certificate.Affine(
              run.logits(token).get(0, word), model.unembed(origin, word).value().item()));
    }
  }

  /** The metric of the logits, of which this one alone loses something. */
  @Override
  public double metricChange(EdgeAttribution edges, int at, Tensor write) {
    Run run = edges.nodes().run();
    double lost = reading(edges).lostWithout(run, at, write);
    Tensor logits = run.logits(token);
    Tensor change =
        Tensor.of(logits.dtype(), Shape.of(1, 1), lost).scatterAdd(1, logits.shape().size(1), word);
    return edges
        .nodes()
        .metric()
        .ofLogits()
        .filter(metric -> metric.position() == token)
        .map(metric -> value(metric, logits.minus(change)) - value(metric, logits))
        .orElse(0.0); // it does not read that logit
  }

  private static double value(Metric.OfLogits metric, Tensor logits) {
    return metric.ofLogits(Variable.constant(logits)).value().item();
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}

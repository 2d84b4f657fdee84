package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;

/**
 * The output bias of a part of a layer at a token.
 *
 * @param part of the layer
 * @param layer from 0
 * @param token from 0
 */
public record Bias(BiasPart part, int layer, int token) implements Source {
  /** Which part of a layer a bias belongs to. */
  public enum BiasPart {
    /** Attention. */
    ATTENTION(Coordinates.Component.ATTENTION),
    /** MLP. */
    MLP(Coordinates.Component.MLP);

    private final Coordinates.Component component;

    BiasPart(Coordinates.Component component) {
      this.component = component;
    }

    private Part of(Transformer model, int layer) {
      return this == ATTENTION ? model.attention(layer) : model.mlp(layer);
    }
  }

  static final Kind KIND =
      new Kind(Bias.class, "bias") {
        @Override
        Stream<Bias> candidates(Coordinates.Name name) {
          return Arrays.stream(BiasPart.values())
              .map(part -> new Bias(part, name.layer().orElse(0), name.token().orElse(0)));
        }

        @Override
        List<Biases> sources(Transformer model) {
          List<Biases> families = new ArrayList<>();
          for (int layer = 0; layer < model.layers(); layer++) {
            for (BiasPart part : BiasPart.values()) {
              if (part.of(model, layer).bias().isPresent()) {
                families.add(new Biases(part, layer));
              }
            }
          }
          return families;
        }
      };

  /** One bias at all tokens. */
  private record Biases(BiasPart part, int number) implements SourceFamily {
    @Override
    public List<String> axes() {
      return List.of("token");
    }

    @Override
    public Bias node(int... index) {
      return new Bias(part, number, index[0]);
    }

    @Override
    public OptionalInt layer() {
      return OptionalInt.of(number);
    }

    private Part of(Transformer model) {
      return part.of(model, number);
    }

    /** [1, dModel] */
    private Tensor row(Transformer model) {
      Tensor bias = of(model).bias().orElseThrow();
      return bias.reshape(1, bias.shape().length());
    }

    /** What it writes at the tokens from one to another, [token or 1, dModel]. */
    private Tensor written(Run run, int from, int to) {
      Tensor row = row(run.model());
      return of(run.model()).outlet().isNone()
          ? row
          : of(run.model())
              .outlet()
              .push(run, from, row.broadcastTo(row.shape().with(0, to - from)));
    }

    @Override
    public Point point(Transformer model) {
      return of(model).writes();
    }

    @Override
    public List<Place> within() {
      return part == BiasPart.ATTENTION
          ? List.of(Place.of(Site.ATTENTION_OUTPUT, number))
          : List.of(Place.of(Site.MLP_OUTPUT, number), Place.of(Site.MLP_RESULT, number));
    }

    @Override
    public Tensor activationTimesGradient(NodeAttribution nodes) {
      Tensor written = written(nodes.run(), 0, nodes.run().length());
      return nodes.gradient(within().get(0)).times(written).sum(-1);
    }

    @Override
    public Tensor writeNorms(Run run) {
      return written(run, 0, run.length()).norm(-1).broadcastTo(Shape.of(run.length(), 1));
    }

    @Override
    public NodeArray products(GradientReader gradient) {
      Transformer model = gradient.run().model();
      Tensor rows = gradient.rows(of(model).outlet());
      Tensor bias = of(model).bias().orElseThrow();
      return NodeArray.of(this, bias.rowDots(rows), gradient.from());
    }

    @Override
    public List<SearchSources> lists(Run run) {
      return List.of(SearchSources.onePerToken(this, run, token -> written(run, token, token + 1)));
    }
  }

  @Override
  public Coordinates coordinates() {
    return Coordinates.outside(KIND.word(), part.component)
        .part(Lowercase.of(part))
        .layer(layer)
        .at(token);
  }

  @Override
  public SourceFamily family() {
    return new Biases(part, layer);
  }

  @Override
  public int[] index() {
    return new int[] {token};
  }

  @Override
  public void requireIn(Run run) {
    Kind.requirePlace(this, layer, token, run);
    requireArgument(
        part.of(run.model(), layer).bias().isPresent(), "%s: there is no such bias", this);
  }

  @Override
  public List<Write> writes(Run run) {
    Tensor written = new Biases(part, layer).written(run, token, token + 1);
    Tensor vector = written.reshape(written.shape().size(1));
    return List.of(new Write(part.of(run.model(), layer).writes(), token, vector));
  }

  @Override
  public Change scaled(Run run, double factor) {
    try (Scope scope = Scope.open()) {
      Tensor more = writes(run).get(0).vector().times(factor - 1);
      Place place = new Biases(part, layer).within().get(0);
      return Intervention.add(place.at(0, token), more);
    }
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}

package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * An embedding at a token.
 *
 * @param part what is embedded
 * @param token from 0
 */
public record Embedding(EmbeddingPart part, int token) implements Source {
  /** What an embedding node stands for. */
  public enum EmbeddingPart {
    /** The token's. */
    TOKEN(Site.TOKEN_EMBEDDING),
    /** The position's. */
    POSITION(Site.POSITION_EMBEDDING),
    /** Their sum. */
    BOTH(Site.EMBEDDING);

    private final Site site;

    EmbeddingPart(Site site) {
      this.site = site;
    }

    private Place place() {
      return Place.of(site);
    }
  }

  static final Kind KIND =
      new Kind(Embedding.class, "embedding") {
        @Override
        Stream<Embedding> candidates(Coordinates.Name name) {
          return Arrays.stream(EmbeddingPart.values())
              .map(part -> new Embedding(part, name.token().orElse(0)));
        }

        @Override
        List<Embeddings> sources(Transformer model) {
          return Arrays.stream(EmbeddingPart.values())
              .filter(
                  part -> part != EmbeddingPart.POSITION || model.config().embedding().positions())
              .map(Embeddings::new)
              .toList();
        }
      };

  /** What one part embeds, at all tokens. */
  private record Embeddings(EmbeddingPart part) implements SourceFamily {
    @Override
    public List<String> axes() {
      return List.of("token");
    }

    @Override
    public Embedding node(int... index) {
      return new Embedding(part, index[0]);
    }

    @Override
    public Point point(Transformer model) {
      return Point.EMBEDDING;
    }

    @Override
    public Optional<SourceFamily> whole() {
      return isWhole() ? Optional.empty() : Optional.of(new Embeddings(EmbeddingPart.BOTH));
    }

    @Override
    public boolean isWhole() {
      return part == EmbeddingPart.BOTH;
    }

    @Override
    public Tensor activationTimesGradient(NodeAttribution nodes) {
      return nodes.run().value(part.place()).times(nodes.gradient(part.place())).sum(-1);
    }

    @Override
    public Tensor writeNorms(Run run) {
      return run.value(part.place()).norm(-1);
    }

    @Override
    public NodeArray products(GradientReader gradient) {
      Tensor rows = gradient.read(gradient.run().value(part.place()), 0);
      return NodeArray.of(this, rows.times(gradient.rows()).sum(-1), gradient.from());
    }

    @Override
    public List<SearchSources> lists(Run run) {
      Tensor rows = run.value(part.place());
      return List.of(
          SearchSources.onePerToken(this, run, token -> rows.slice(0, token, token + 1)));
    }
  }

  @Override
  public Coordinates coordinates() {
    Coordinates outside =
        Coordinates.outside(KIND.word(), Coordinates.Component.EMBEDDING).at(token);
    return part == EmbeddingPart.BOTH ? outside : outside.part(Lowercase.of(part));
  }

  @Override
  public SourceFamily family() {
    return new Embeddings(part);
  }

  @Override
  public int[] index() {
    return new int[] {token};
  }

  @Override
  public void requireIn(Run run) {
    requireArgument(
        part != EmbeddingPart.POSITION || run.model().config().embedding().positions(),
        "%s: the model embeds no positions",
        this);
    Kind.requireIndex(this, "token", token, run.length());
  }

  @Override
  public List<Write> writes(Run run) {
    Tensor row = run.value(part.place()).slice(0, token, token + 1);
    return List.of(new Write(Point.EMBEDDING, token, row.reshape(row.shape().size(1))));
  }

  @Override
  public boolean isInput() {
    return true;
  }

  @Override
  public List<Embedding> parts() {
    return part == EmbeddingPart.BOTH
        ? List.of(
            new Embedding(EmbeddingPart.TOKEN, token), new Embedding(EmbeddingPart.POSITION, token))
        : List.of(this);
  }

  @Override
  public Change scaled(Run run, double factor) {
    return Intervention.scale(part.place().at(0, token), factor);
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}

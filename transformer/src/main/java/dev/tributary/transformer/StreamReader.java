package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What reads the residual stream at all tokens: the query, key or value of a head, an MLP or a
 * share of one, or the unembedding. Where heads share a key head, each is a reader of its own, with
 * the weights of that.
 */
public sealed interface StreamReader {
  /**
   * One input of a head.
   *
   * @param layer from 0
   * @param head of queries, from 0
   * @param path QUERY, KEY or VALUE
   */
  record Head(int layer, int head, InputPath path) implements StreamReader {
    /** The inputs of a head, in the order in which readers are listed. */
    public static final List<InputPath> PATHS =
        List.of(InputPath.QUERY, InputPath.KEY, InputPath.VALUE);

    /**
     * Refuses other inputs.
     *
     * @param layer {@link #layer()}
     * @param head {@link #head()}
     * @param path {@link #path()}
     */
    public Head {
      requireArgument(PATHS.contains(path), "a head reads through one of %s, not %s", PATHS, path);
    }

    @Override
    public Optional<StreamWriter> writer() {
      return Optional.of(new StreamWriter.Head(layer, head));
    }

    @Override
    public int number() {
      return head;
    }

    @Override
    public Site site() {
      return switch (path) {
        case QUERY -> Site.QUERY;
        case KEY -> Site.KEY;
        default -> Site.VALUE;
      };
    }

    @Override
    public Point reads(Transformer model) {
      int heads = model.attention(layer).heads();
      requireArgument(head >= 0 && head < heads, "%s of a layer of %d heads", this, heads);
      return model.attention(layer).reads();
    }

    @Override
    public List<Site> passesBy() {
      return List.of(Site.ATTENTION_SCALE, Site.QUERY_SCALE, Site.KEY_SCALE);
    }

    @Override
    public String toString() {
      String input =
          switch (path) {
            case QUERY -> "q";
            case KEY -> "k";
            default -> "v";
          };
      return "a" + layer + ".h" + head + "<" + input + ">";
    }
  }

  /**
   * An MLP, or the rest of one of which shares are apart.
   *
   * @param layer from 0
   * @param without shares of it that have copies of their own
   */
  record OfMlp(int layer, List<MlpShare> without) implements StreamReader {
    /**
     * Keeps a copy.
     *
     * @param layer {@link #layer()}
     * @param without {@link #without()}
     */
    public OfMlp {
      without = List.copyOf(without);
    }

    /**
     * All neurons of a layer.
     *
     * @param layer from 0
     */
    public OfMlp(int layer) {
      this(layer, List.of());
    }

    @Override
    public Optional<StreamWriter> writer() {
      return Optional.of(new StreamWriter.OfMlp(layer, without));
    }

    @Override
    public Site site() {
      return Site.MLP_INPUT;
    }

    @Override
    public Point reads(Transformer model) {
      return model.mlp(layer).reads();
    }

    @Override
    public void requireFits(Run run) {
      run.split().requireApart(layer, without);
    }

    @Override
    public String toString() {
      return "m" + layer;
    }
  }

  /**
   * A share of an MLP.
   *
   * @param share of an MLP
   */
  record OfShare(MlpShare share) implements StreamReader {
    @Override
    public Optional<StreamWriter> writer() {
      return Optional.of(new StreamWriter.OfShare(share));
    }

    @Override
    public int layer() {
      return share.layer();
    }

    @Override
    public Site site() {
      return Site.MLP_OUTPUT;
    }

    @Override
    public Point reads(Transformer model) {
      return model.mlp(layer()).reads();
    }

    @Override
    public void requireFits(Run run) {
      run.split().requireApart(share);
    }

    @Override
    public String toString() {
      return share.toString();
    }
  }

  /** The last norm and the unembedding. */
  record Logits() implements StreamReader {
    @Override
    public Site site() {
      return Site.FINAL_NORMALISED;
    }

    @Override
    public Point reads(Transformer model) {
      return model.end();
    }

    @Override
    public int firstLayer(Transformer model) {
      return model.layers();
    }

    @Override
    public String toString() {
      return "logits";
    }
  }

  /** {@return the first site that is computed from what it reads} */
  Site site();

  /** {@return the layer of that site, 0 of the whole model} */
  default int layer() {
    return 0;
  }

  /** {@return what writes what it makes of it, if that goes on in the stream} */
  default Optional<StreamWriter> writer() {
    return Optional.empty();
  }

  /** {@return which of the readers of that site it is, from 0} */
  default int number() {
    return 0;
  }

  /**
   * {@return sites that others of its layer come by, and a copy of the stream of its own does not}
   */
  default List<Site> passesBy() {
    return List.of();
  }

  /**
   * {@return the earliest layer that must be computed again where it reads something else}
   *
   * @param model of which it is
   */
  default int firstLayer(Transformer model) {
    return layer();
  }

  /**
   * {@return where it reads}
   *
   * @param model of which it is
   * @throws IllegalArgumentException if the model has no such layer or head
   */
  Point reads(Transformer model);

  /**
   * Refuses a run whose MLPs are split otherwise.
   *
   * @param run in which it is to read
   * @throws IllegalArgumentException with the shares that are apart there
   */
  default void requireFits(Run run) {
    reads(run.model());
  }

  /**
   * {@return all readers of a model, in the order of reading; queries of a layer before its keys,
   * values and MLP}
   *
   * @param model whose they are
   * @param split of its MLPs: the rest of each comes before its shares
   */
  static List<StreamReader> of(Transformer model, MlpSplit split) {
    List<StreamReader> readers = new ArrayList<>();
    for (int layer = 0; layer < model.layers(); layer++) {
      for (InputPath path : Head.PATHS) {
        for (int head = 0; head < model.attention(layer).heads(); head++) {
          readers.add(new Head(layer, head, path));
        }
      }
      List<MlpShare> apart = split.shares(layer);
      readers.add(new OfMlp(layer, apart));
      apart.forEach(share -> readers.add(new OfShare(share)));
    }
    readers.add(new Logits());
    return List.copyOf(readers);
  }

  /**
   * How copies of the residual stream that some readers of a site have differ from it.
   *
   * @param readers which, in order
   * @param rows the differences, [reader, token, dModel]
   */
  record Differences(List<StreamReader> readers, Variable rows) {
    /** What readers read instead of the stream, [reader, token, dModel]. */
    Variable of(Variable residual) {
      return residual.plus(rows);
    }

    /** The same of the only reader of a site, [token, dModel]. */
    Variable ofOne(Variable residual) {
      return of(residual).reshape(residual.shape());
    }

    /** Which of the readers of the site they are. */
    List<Integer> numbers() {
      return readers.stream().map(StreamReader::number).toList();
    }
  }
}

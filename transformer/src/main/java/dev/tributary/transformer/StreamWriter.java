package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** What writes to the residual stream at all tokens: the input, a head or an MLP. */
public sealed interface StreamWriter {
  /**
   * The embedding.
   *
   * @param site {@link Site#TOKEN_EMBEDDING}, or {@link Site#EMBEDDING} with what is embedded of
   *     positions
   */
  record Input(Site site) implements StreamWriter {
    /**
     * Refuses other sites.
     *
     * @param site {@link #site()}
     */
    public Input {
      requireArgument(
          site == Site.TOKEN_EMBEDDING || site == Site.EMBEDDING, "the input is no %s", site);
    }

    @Override
    public Point writes(Transformer model) {
      return Point.EMBEDDING;
    }

    @Override
    public String toString() {
      return "input";
    }
  }

  /**
   * A head: its output through its own output weights, without the bias of the attention.
   *
   * @param layer from 0
   * @param head from 0
   */
  record Head(int layer, int head) implements StreamWriter {
    @Override
    public int number() {
      return head;
    }

    @Override
    public Site site() {
      return Site.ATTENTION_OUTPUT;
    }

    @Override
    public Point writes(Transformer model) {
      int heads = model.attention(layer).heads();
      requireArgument(head >= 0 && head < heads, "%s of a layer of %d heads", this, heads);
      return model.attention(layer).writes();
    }

    @Override
    public String toString() {
      return "a" + layer + ".h" + head;
    }
  }

  /**
   * All neurons of a layer, with the bias of the output.
   *
   * @param layer from 0
   */
  record OfMlp(int layer) implements StreamWriter {
    @Override
    public Site site() {
      return Site.MLP_OUTPUT;
    }

    @Override
    public Point writes(Transformer model) {
      return model.mlp(layer).writes();
    }

    @Override
    public String toString() {
      return "m" + layer;
    }
  }

  /** {@return the site of what is added to the stream, of which a head writes a part} */
  Site site();

  /** {@return the layer of that site, 0 of the input} */
  default int layer() {
    return 0;
  }

  /** {@return which of the writers of that site it is, from 0} */
  default int number() {
    return 0;
  }

  /**
   * {@return where it writes}
   *
   * @param model of which it is
   * @throws IllegalArgumentException if the model has no such layer or head
   */
  Point writes(Transformer model);

  /**
   * {@return all writers of a model, in the order of writing; heads of a layer before its MLP}
   *
   * @param model whose they are
   * @param input the first
   */
  static List<StreamWriter> of(Transformer model, Input input) {
    List<StreamWriter> writers = new ArrayList<>(List.of(input));
    for (int layer = 0; layer < model.layers(); layer++) {
      for (int head = 0; head < model.attention(layer).heads(); head++) {
        writers.add(new Head(layer, head));
      }
      writers.add(new OfMlp(layer));
    }
    return List.copyOf(writers);
  }

  /** {@return what a run records of writers} */
  static List<Site> sites() {
    return List.of(
        Site.TOKEN_EMBEDDING,
        Site.EMBEDDING,
        Site.HEAD_OUTPUT,
        Site.ATTENTION_OUTLET_SCALE,
        Site.MLP_OUTPUT);
  }

  /**
   * {@return what all writers of a model wrote in a run, [writer, token, dModel]}
   *
   * @param run that recorded {@link #sites}
   * @param input the first
   */
  static Tensor written(Run run, Input input) {
    List<Tensor> all = new ArrayList<>();
    all.add(alone(run.value(input.site())));
    for (int layer = 0; layer < run.model().layers(); layer++) {
      Attention attention = run.model().attention(layer);
      Place scale = Place.of(Site.ATTENTION_OUTLET_SCALE, layer);
      all.add(
          attention
              .writes(
                  run.variable(Site.HEAD_OUTPUT, layer).detach(),
                  run.has(scale) ? Optional.of(run.variable(scale).detach()) : Optional.empty())
              .value());
      all.add(alone(run.value(Site.MLP_OUTPUT, layer)));
    }
    return Tensor.concat(0, all);
  }

  private static Tensor alone(Tensor rows) {
    return rows.reshape(rows.shape().prepend(1));
  }
}

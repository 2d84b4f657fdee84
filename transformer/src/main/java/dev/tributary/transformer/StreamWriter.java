package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Products;
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
    public Tensor written(Run run) {
      return run.value(site);
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
    public Tensor written(Run run) {
      Tensor output = run.value(Site.HEAD_OUTPUT, layer);
      return run.model()
          .attention(layer)
          .write(head, Variable.constant(output), scaleOf(run, layer))
          .value()
          .reshape(output.shape().size(1), run.model().config().dModel());
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
    public Tensor written(Run run) {
      return run.value(Site.MLP_OUTPUT, layer);
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
   * {@return what it wrote in a run, [token, dModel]}
   *
   * @param run that recorded {@link #sites}
   */
  Tensor written(Run run);

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
      Variable output = Variable.constant(run.value(Site.HEAD_OUTPUT, layer));
      all.add(run.model().attention(layer).writes(output, scaleOf(run, layer)).value());
      all.add(alone(run.value(Site.MLP_OUTPUT, layer)));
    }
    return Tensor.concat(0, all);
  }

  /**
   * {@return how far what all writers of a model wrote in a run is from what they wrote in another
   * one, [token, writer, dModel]}
   *
   * @param from a run that recorded {@link #sites}
   * @param to another one, of prompts of the same lengths
   * @param input the first
   */
  static Tensor moved(Run from, Run to, Input input) {
    List<Products> all = new ArrayList<>();
    all.add(moved(from, to, Place.of(input.site())));
    for (int layer = 0; layer < to.model().layers(); layer++) {
      all.add(to.model().attention(layer).moved(from, to));
      all.add(moved(from, to, Place.of(Site.MLP_OUTPUT, layer)));
    }
    return Tensor.byRow(all);
  }

  private static Optional<Variable> scaleOf(Run run, int layer) {
    Place scale = Place.of(Site.ATTENTION_OUTLET_SCALE, layer);
    return run.has(scale) ? Optional.of(Variable.constant(run.value(scale))) : Optional.empty();
  }

  private static Products moved(Run from, Run to, Place place) {
    return Products.of(alone(to.value(place).minus(from.value(place))));
  }

  private static Tensor alone(Tensor rows) {
    return rows.reshape(rows.shape().prepend(1));
  }
}

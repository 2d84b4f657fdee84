package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Products;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * What writes to the residual stream at all tokens: the input, a head, an MLP or a share of one.
 */
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
    public boolean isAlone() {
      return true;
    }

    @Override
    public Variable written(Transformer model, Passed passed) {
      return passed.at(site).orElseThrow();
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
    public Variable written(Transformer model, Passed passed) {
      return alone(
          model
              .attention(layer)
              .write(
                  head,
                  passed.at(Site.HEAD_OUTPUT).orElseThrow(),
                  passed.at(Site.ATTENTION_OUTLET_SCALE)));
    }

    @Override
    public String toString() {
      return "a" + layer + ".h" + head;
    }
  }

  /**
   * An MLP with the bias of its output, or the rest of one of which shares are apart.
   *
   * @param layer from 0
   * @param without shares of it that it has not
   */
  record OfMlp(int layer, List<MlpShare> without) implements StreamWriter {
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
    public Site site() {
      return Site.MLP_OUTPUT;
    }

    @Override
    public Point writes(Transformer model) {
      return model.mlp(layer).writes();
    }

    @Override
    public void requireFits(Run run) {
      run.split().requireApart(layer, without);
    }

    @Override
    public boolean isAlone() {
      return without.isEmpty();
    }

    @Override
    public Variable written(Transformer model, Passed passed) {
      Variable all = passed.at(site()).orElseThrow();
      return isAlone() ? all : all.minus(shares(model, passed).sum(0).reshape(all.shape()));
    }

    @Override
    public String toString() {
      return "m" + layer;
    }
  }

  /**
   * A share of an MLP: what it adds through the outlet. Where that is a norm, its scale is that of
   * all that the MLP computes.
   *
   * @param share of an MLP
   */
  record OfShare(MlpShare share) implements StreamWriter {
    @Override
    public int layer() {
      return share.layer();
    }

    @Override
    public Site site() {
      return Site.MLP_OUTPUT;
    }

    @Override
    public Point writes(Transformer model) {
      return model.mlp(layer()).writes();
    }

    @Override
    public void requireFits(Run run) {
      run.split().requireApart(share);
    }

    @Override
    public Variable written(Transformer model, Passed passed) {
      return passed.apart().stream()
          .filter(apart -> apart.shares().contains(share))
          .findFirst()
          .map(apart -> alone(apart.only(share).writes(model, passed)))
          .orElseThrow();
    }

    @Override
    public String toString() {
      return share.toString();
    }
  }

  /** What has arrived at the site of a writer, and what has passed others of its layer. */
  interface Passed {
    /**
     * {@return what arrived or passed there, if the model has it}
     *
     * @param site of the layer
     */
    Optional<Variable> at(Site site);

    /** {@return shares of the MLP of the layer that are components of their own} */
    List<MlpSplit.Apart> apart();
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

  /** {@return whether nothing else writes to its site} */
  default boolean isAlone() {
    return false;
  }

  /**
   * {@return what it wrote, [token, dModel]}
   *
   * @param model of which it is
   * @param passed what has arrived at its site, or passed others of its layer, if the model has it
   */
  Variable written(Transformer model, Passed passed);

  /**
   * Refuses a run whose MLPs are split otherwise.
   *
   * @param run in which it is to write
   * @throws IllegalArgumentException with the shares that are apart there
   */
  default void requireFits(Run run) {
    writes(run.model());
  }

  /**
   * {@return what it wrote in a run, [token, dModel]}
   *
   * @param run that recorded {@link #sites}, with the MLPs split in the same way
   */
  default Tensor written(Run run) {
    requireFits(run);
    return written(run.model(), run.passed(layer())).value();
  }

  /**
   * {@return all writers of a model, in the order of writing; heads of a layer before its MLP}
   *
   * @param model whose they are
   * @param input the first
   * @param split of its MLPs: the rest of each comes before its shares
   */
  static List<StreamWriter> of(Transformer model, Input input, MlpSplit split) {
    List<StreamWriter> writers = new ArrayList<>(List.of(input));
    for (int layer = 0; layer < model.layers(); layer++) {
      for (int head = 0; head < model.attention(layer).heads(); head++) {
        writers.add(new Head(layer, head));
      }
      List<MlpShare> apart = split.shares(layer);
      writers.add(new OfMlp(layer, apart));
      apart.forEach(share -> writers.add(new OfShare(share)));
    }
    return List.copyOf(writers);
  }

  /**
   * {@return writers that follow each other and write to one site, all of these}
   *
   * @param writers in order
   */
  static List<List<StreamWriter>> bySite(List<StreamWriter> writers) {
    List<List<StreamWriter>> groups = new ArrayList<>();
    for (int first = 0; first < writers.size(); ) {
      int end = first + 1;
      while (end < writers.size()
          && writers.get(end).site() == writers.get(first).site()
          && writers.get(end).layer() == writers.get(first).layer()) {
        end++;
      }
      groups.add(writers.subList(first, end));
      first = end;
    }
    return groups;
  }

  /** {@return what a run records of writers} */
  static Set<Site> sites() {
    return EnumSet.of(
        Site.TOKEN_EMBEDDING,
        Site.EMBEDDING,
        Site.HEAD_OUTPUT,
        Site.ATTENTION_OUTLET_SCALE,
        Site.MLP_OUTLET_SCALE,
        Site.MLP_OUTPUT);
  }

  /**
   * {@return what all writers of a model wrote in a run, [writer, token, dModel]}
   *
   * @param run that recorded {@link #sites}
   * @param writers all of them, as {@link #of} lists them
   */
  static Tensor written(Run run, List<StreamWriter> writers) {
    List<Tensor> all = new ArrayList<>();
    for (List<StreamWriter> same : bySite(writers)) {
      all.add(writtenTo(run, same));
    }
    return Tensor.concat(0, all);
  }

  /**
   * {@return what all writers of a model wrote in a run, [writer, token, dModel], no share of an
   * MLP apart}
   *
   * @param run that recorded {@link #sites}
   * @param input the first
   */
  static Tensor written(Run run, Input input) {
    return written(run, of(run.model(), input, MlpSplit.NONE));
  }

  private static Tensor writtenTo(Run run, List<StreamWriter> same) {
    same.forEach(writer -> writer.requireFits(run));
    return written(run.model(), same, run.passed(same.get(0).layer())).value();
  }

  /**
   * {@return what all writers to a site wrote, [writer, token, dModel]}
   *
   * @param model of which they are
   * @param same all of them, in order
   * @param passed what has arrived at the site, or passed others of its layer, if the model has it
   */
  static Variable written(Transformer model, List<StreamWriter> same, Passed passed) {
    StreamWriter first = same.get(0);
    if (first.site() == Site.ATTENTION_OUTPUT) {
      return model
          .attention(first.layer())
          .writes(
              passed.at(Site.HEAD_OUTPUT).orElseThrow(), passed.at(Site.ATTENTION_OUTLET_SCALE));
    }
    Variable whole = passed.at(first.site()).orElseThrow();
    Variable all = whole.reshape(whole.shape().prepend(1));
    if (first.isAlone()) {
      return all;
    }
    Variable own = shares(model, passed);
    Variable rest = all.minus(own.sum(0).reshape(all.shape())); // comes first
    return Variable.concat(0, List.of(rest, own));
  }

  /**
   * {@return how far what all writers of a model wrote in a run is from what they wrote in another
   * one, [token, writer, dModel]}
   *
   * @param from a run that recorded {@link #sites}
   * @param to another one, of prompts of the same lengths
   * @param writers all of them, as {@link #of} lists them
   */
  static Tensor moved(Run from, Run to, List<StreamWriter> writers) {
    List<Products> all = new ArrayList<>();
    for (List<StreamWriter> same : bySite(writers)) {
      StreamWriter first = same.get(0);
      all.add(
          first.site() == Site.ATTENTION_OUTPUT
              ? to.model().attention(first.layer()).moved(from, to)
              : Products.of(writtenTo(to, same).minus(writtenTo(from, same))));
    }
    return Tensor.byRow(all);
  }

  /** What all shares of an MLP that are apart wrote, [share, token, dModel]. */
  private static Variable shares(Transformer model, Passed passed) {
    return Variable.concat(
        0, passed.apart().stream().map(apart -> apart.writes(model, passed)).toList());
  }

  /** [1, token, dModel] as [token, dModel]. */
  private static Variable alone(Variable rows) {
    return rows.reshape(rows.shape().subShape(1, 3));
  }
}

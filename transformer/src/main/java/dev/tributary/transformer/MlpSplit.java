package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;

/**
 * Shares of MLPs that are components of their own in a run. As long as all read the same it is the
 * plain run, number by number: each share is taken off what its MLP computes and added again, as it
 * follows from its own copy of the residual stream.
 */
public final class MlpSplit {
  /** Every MLP whole. */
  public static final MlpSplit NONE = new MlpSplit(List.of());

  /** By family, in order. */
  private final List<Group> groups;

  private MlpSplit(List<Group> groups) {
    this.groups = groups;
  }

  /**
   * {@return a split at some shares}
   *
   * @param model of which they are
   * @param shares in any order
   * @throws IllegalArgumentException if the model has no such share, or one comes twice
   */
  public static MlpSplit of(Transformer model, Collection<MlpShare> shares) {
    Set<MlpShare> known = new HashSet<>();
    for (MlpShare share : shares) {
      share.requireOf(model);
      requireArgument(known.add(share), "%s is named twice", share);
    }
    List<MlpShare> inOrder = new ArrayList<>(shares);
    inOrder.sort(
        Comparator.comparingInt(MlpShare::layer)
            .thenComparingInt(share -> place(model, share.of()))
            .thenComparingInt(MlpShare::number));
    Map<MlpShare.Family, List<MlpShare>> byFamily = new LinkedHashMap<>();
    inOrder.forEach(
        share -> byFamily.computeIfAbsent(share.of(), any -> new ArrayList<>()).add(share));
    List<Group> groups = new ArrayList<>();
    byFamily.forEach((of, own) -> groups.add(new Group(of, own)));
    return new MlpSplit(List.copyOf(groups));
  }

  /** Neurons before latents, and these as the dictionaries of the model. */
  private static int place(Transformer model, MlpShare.Family family) {
    return family instanceof MlpShare.Latents latents
        ? model.dictionaries().indexOf(model.dictionary(latents.dictionary()))
        : -1;
  }

  /** {@return the shares, by layer} */
  public List<MlpShare> shares() {
    return groups.stream().flatMap(group -> group.shares.stream()).toList();
  }

  /**
   * {@return those of the MLP of one layer}
   *
   * @param layer from 0
   */
  public List<MlpShare> shares(int layer) {
    return shares().stream().filter(share -> share.layer() == layer).toList();
  }

  /** What makes a run one of these shares. */
  List<Change> changes() {
    return List.copyOf(groups);
  }

  /** That of a run that was changed in some ways. */
  static MlpSplit among(List<Change> changes) {
    return new MlpSplit(
        changes.stream().filter(Group.class::isInstance).map(Group.class::cast).toList());
  }

  /** What of the MLP of a layer is apart in a run that holds something of changes. */
  List<Apart> apart(int layer, BiFunction<Change, Site, Optional<Variable>> held) {
    List<Apart> apart = new ArrayList<>();
    for (Group group : groups) {
      if (group.of.layer() == layer) {
        apart.add(
            new Apart(
                group,
                held.apply(group, Site.MLP_OUTPUT).orElseThrow(),
                held.apply(group, Site.MLP_INPUT).orElseThrow()));
      }
    }
    return List.copyOf(apart);
  }

  /** Refuses others of the MLP of a layer than a reader or writer says. */
  void requireApart(int layer, List<MlpShare> expected) {
    requireArgument(
        shares(layer).equals(expected),
        "of the MLP of layer %d, %s are apart, not %s",
        layer,
        shares(layer),
        expected);
  }

  /** Refuses a share that is none of these. */
  void requireApart(MlpShare share) {
    requireArgument(shares().contains(share), "%s is not apart; apart are %s", share, shares());
  }

  /** Shares of a family in a run. */
  public static final class Apart {
    private final Group group;
    private final Variable activations;
    private final Variable inRest;

    private Apart(Group group, Variable activations, Variable inRest) {
      this.group = group;
      this.activations = activations;
      this.inRest = inRest;
    }

    /** {@return which, in order} */
    public List<MlpShare> shares() {
      return group.shares;
    }

    /** {@return their activations as they follow from what each reads, [token, share]} */
    public Variable activations() {
      return activations;
    }

    /**
     * {@return the same as they follow from what the rest reads, which are taken off it, [token,
     * share]}
     */
    public Variable inRest() {
      return inRest;
    }

    /**
     * Gradients at {@link #activations} as those at the copies of the residual stream that shares
     * read.
     *
     * @param run in which all copies are the stream
     * @param gradients [token, share]
     * @return [share, token, dModel]
     */
    public Tensor pulled(Run run, Tensor gradients) {
      int tokens = gradients.shape().size(0);
      int most = Math.max(1, Scope.tile() / (tokens * run.model().config().dModel()));
      List<Tensor> pulled = new ArrayList<>();
      for (int first = 0; first < group.numbers.length; first += most) {
        int count = Math.min(most, group.numbers.length - first);
        try (Scope scope = Scope.open()) {
          Tensor own = gradients.slice(-1, first, first + count);
          Tensor each =
              own.permute(1, 0).reshape(count, tokens, 1).times(identity(gradients.dtype(), count));
          int[] numbers = Arrays.copyOfRange(group.numbers, first, first + count);
          pulled.add(scope.keep(group.pulled(run, each, numbers)));
        }
      }
      return Tensor.concat(0, pulled);
    }

    /**
     * Gradients at {@link #inRest} as those at the copy of the residual stream that the rest reads.
     *
     * @param run in which that is the stream
     * @param gradients [token, share]
     * @return [1, token, dModel]
     */
    public Tensor pulledInRest(Run run, Tensor gradients) {
      return group.pulled(run, gradients.reshape(gradients.shape().prepend(1)), group.numbers);
    }

    /** [count, 1, count] */
    private static Tensor identity(DType dtype, int count) {
      double[] ones = new double[count * count];
      for (int i = 0; i < count; i++) {
        ones[i * count + i] = 1;
      }
      return Tensor.of(dtype, Shape.of(count, 1, count), ones);
    }

    /** One of them. */
    Apart only(MlpShare share) {
      int own = group.shares.indexOf(share);
      return new Apart(
          new Group(group.of, List.of(share)),
          activations.slice(-1, own, own + 1),
          inRest.slice(-1, own, own + 1));
    }

    /** The same without derivatives. */
    Apart detached() {
      return new Apart(group, activations.detach(), inRest.detach());
    }

    /** What each adds to the residual stream, [share, token, dModel]. */
    Variable writes(Transformer model, StreamWriter.Passed passed) {
      int tokens = activations.shape().size(0);
      int count = group.numbers.length;
      Tensor rows = group.of.rows(model, group.numbers);
      Variable shares =
          activations
              .permute(1, 0)
              .reshape(count, tokens, 1)
              .times(Variable.constant(rows.reshape(count, 1, rows.shape().size(1))));
      return group.of.site(model) == Site.MLP_RESULT
          ? model.mlp(group.of.layer()).outlet().share(shares, passed.at(Site.MLP_OUTLET_SCALE))
          : shares;
    }
  }

  /** Shares of a family, and what makes a run one in which they are apart. */
  static final class Group extends Change {
    /** A copy of the stream comes by none of these, the rest of the MLP by all. */
    private static final List<Site> PASSED_BY =
        List.of(
            Site.MLP_SCALE,
            Site.MLP_INPUT,
            Site.MLP_PRE_ACTIVATION,
            Site.MLP_UP,
            Site.MLP_ACTIVATION);

    private final MlpShare.Family of;
    private final List<MlpShare> shares;
    private final int[] numbers;

    private Group(MlpShare.Family of, List<MlpShare> shares) {
      this.of = of;
      this.shares = List.copyOf(shares);
      this.numbers = shares.stream().mapToInt(MlpShare::number).toArray();
    }

    @Override
    int firstLayer(Transformer model) {
      return of.layer();
    }

    @Override
    boolean isOfPrompts() {
      return true;
    }

    @Override
    boolean changes(Site site) {
      return site == Site.MLP_OUTPUT || site == Site.MLP_RESULT;
    }

    @Override
    void requireFits(Run base) {
      shares.forEach(share -> share.requireOf(base.model()));
    }

    @Override
    void requireFitsAnyText(Transformer model) {
      shares.forEach(share -> share.requireOf(model));
    }

    @Override
    Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
      Transformer model = run.model();
      if (layer != of.layer() || site != of.site(model)) {
        return variable;
      }
      run.requireUnchanged(
          PASSED_BY, "shares of m" + layer + " are apart and do not come by there");
      Place read = model.residualAt(model.mlp(layer).reads());
      Variable stream = run.recorded(read.site(), read.layer());
      Optional<StreamReader.Differences> ofRest = run.differences(Site.MLP_INPUT, layer);
      Variable both =
          of.activations(model, ofRest.map(own -> own.ofOne(stream)).orElse(stream), numbers);
      Variable inRest = both.reshape(both.shape()); // variables of their own
      Variable plain =
          ofRest.isPresent() ? of.activations(model, stream, numbers) : both.reshape(both.shape());
      Variable inForce =
          run.differences(Site.MLP_OUTPUT, layer)
              .map(own -> ofCopies(model, plain, own.readers(), own.of(stream)))
              .orElse(plain);
      run.hold(this, Site.MLP_INPUT, layer, inRest);
      run.hold(this, Site.MLP_OUTPUT, layer, inForce);
      Variable rows = Variable.constant(of.rows(model, numbers));
      return variable.plus(inForce.minus(inRest).matmul(rows));
    }

    /** Activations of which some follow from copies of the stream, [reader, token, dModel]. */
    private Variable ofCopies(
        Transformer model, Variable plain, List<StreamReader> readers, Variable copies) {
      List<Variable> columns = new ArrayList<>();
      for (int i = 0; i < numbers.length; i++) {
        int copy = readers.indexOf(new StreamReader.OfShare(shares.get(i)));
        if (copy < 0) {
          columns.add(plain.slice(-1, i, i + 1));
        } else {
          Variable residual =
              copies.slice(0, copy, copy + 1).reshape(copies.shape().subShape(1, 3));
          columns.add(of.activations(model, residual, numbers[i]));
        }
      }
      return Variable.concat(-1, columns);
    }

    /** Gradients at some where all read the residual stream, [n, token, some], as those at it. */
    Tensor pulled(Run run, Tensor gradients, int... some) {
      Transformer model = run.model();
      Variable copy = Variable.input(run.residual(model.mlp(of.layer()).reads()).value());
      return Jacobian.of(of.activations(model, copy, some), copy).pull(gradients).get(0);
    }

    @Override
    public String toString() {
      return shares + " apart";
    }
  }
}

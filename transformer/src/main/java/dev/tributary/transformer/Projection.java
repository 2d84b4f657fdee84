package dev.tributary.transformer;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Products;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * What makes queries, keys or values of the heads of an attention: a linear map to all heads, a
 * norm, and positions.
 */
public final class Projection {
  private final int dHead;

  /** Head by head, [dModel, head · dHead]. */
  private final Linear map;

  private final Optional<Norm> norm;

  /** Whether one scale is of all heads. */
  private final boolean acrossHeads;

  private final Positions positions;

  Projection(int dHead, Linear map, Optional<Norm> norm, boolean acrossHeads, Positions positions) {
    this.dHead = dHead;
    this.map = map;
    this.norm = norm;
    this.acrossHeads = acrossHeads;
    this.positions = positions;
  }

  Projection with(Positions other) {
    return new Projection(dHead, map, norm, acrossHeads, other);
  }

  /** Of all heads: [token, dModel] to [head, token, dHead]. */
  Variable apply(Variable x, int firstToken, UnaryOperator<Variable> scale) {
    return positions.apply(withoutPositions(x, scale), firstToken);
  }

  /** The same of the tokens of several prompts, one after the other. */
  Variable ofPrompts(int prompts, Variable x, UnaryOperator<Variable> scale) {
    Variable rows = withoutPositions(x, scale);
    return positions
        .apply(rows.reshape(Attention.apart(prompts, rows.shape())), 0)
        .reshape(rows.shape());
  }

  private Variable withoutPositions(Variable x, UnaryOperator<Variable> scale) {
    if (norm.isPresent() && acrossHeads) {
      return split(norm.get().apply(map.apply(x), scale));
    }
    Variable rows = Variable.resultOf(() -> split(map.apply(x)));
    return norm.map(n -> n.apply(rows, scale)).orElse(rows);
  }

  /** Of one head, [1, token, dHead], for the cost of its columns if that is possible. */
  Variable apply(Variable x, int firstToken, UnaryOperator<Variable> scale, int head) {
    return positions.apply(withoutPositions(x, scale, head), firstToken);
  }

  private Variable withoutPositions(Variable x, UnaryOperator<Variable> scale, int head) {
    if (norm.isPresent() && acrossHeads) {
      return withoutPositions(x, scale).slice(0, head, head + 1);
    }
    Variable rows = split(map.columns(head * dHead, (head + 1) * dHead).apply(x));
    return norm.map(n -> n.apply(rows, scale)).orElse(rows);
  }

  /** Of all heads, where the result was recorded: only the derivative is new, if possible. */
  Variable apply(Variable x, int firstToken, ScaleGradient scaleGradient, Tensor recorded) {
    return norm.isEmpty() && positions instanceof Positions.None
        ? split(map.apply(x, merge(recorded)))
        : apply(x, firstToken, scaleGradient::seen);
  }

  /** [head, token, dHead] to [token, head · dHead], the inverse of {@link #split}. */
  private Tensor merge(Tensor byHead) {
    int heads = byHead.shape().size(0);
    return byHead.permute(1, 0, 2).reshape(byHead.shape().size(1), heads * dHead);
  }

  private Variable split(Variable x) {
    int heads = x.shape().size(1) / dHead;
    return x.reshape(Shape.of(x.shape().size(0), heads, dHead)).permute(1, 0, 2);
  }

  // ---- pulled back -------------------------------------------------------------------------

  /** {@return the weights of all heads, [dModel, head · dHead]} */
  public Tensor weight() {
    return map.weight();
  }

  /**
   * {@return the weights of one head, [dModel, dHead]}
   *
   * @param head of those that this makes, from 0
   */
  public Tensor weight(int head) {
    return map.weight().slice(-1, head * dHead, (head + 1) * dHead);
  }

  /**
   * {@return pulls from single tokens, for which positions are made once, in the innermost scope}
   *
   * @param tokens so many from the first on
   */
  public Pulls pulls(int tokens) {
    return new Pulls(positions.pulls(weight().dtype(), tokens));
  }

  /** Pulls from what it makes of single tokens. */
  public final class Pulls {
    private final Positions.Pulls turned;

    private Pulls(Positions.Pulls turned) {
      this.turned = turned;
    }

    /**
     * Cotangents at what is made of one token pulled back to what the map gives, each in its head
     * alone: where one scale is of all heads, what else it has is {@link #shared}.
     *
     * @param x what is projected, {@link Attention#normalised}, [1, dModel]
     * @param token from 0
     * @param cotangents any number at each head that this makes, [head, n, dHead]
     * @param scaleGradient whether derivatives see the scale of the norm move
     * @return of the same shape
     */
    public Tensor of(Tensor x, int token, Tensor cotangents, ScaleGradient scaleGradient) {
      Shape shape = cotangents.shape();
      Tensor each = cotangents.reshape(shape.size(0) * shape.size(1), 1, dHead);
      Tensor turnedBack = turned.of(each, token).reshape(shape);
      if (norm.isEmpty()) {
        return turnedBack;
      }
      Tensor mapped = map.apply(Variable.constant(x)).value();
      if (!acrossHeads) {
        return norm.get().pulled(byHead(mapped), turnedBack, scaleGradient);
      }
      Tensor scale = norm.get().scale(mapped).reshape(1, 1, 1);
      return turnedBack.times(byHead(norm.get().gain())).over(scale);
    }
  }

  /**
   * Cotangents at what it makes of the rows of some prompts pulled back to the rows, each in its
   * head alone, and on through what the entry does to every row alike, see {@link Norm#directions}.
   *
   * @param x what is projected, {@link Attention#normalised}, [token, dModel], if it matters
   * @param prompts to which the rows belong
   * @param heads for each head of the cotangents, that of those that this makes
   * @param cotangents [head, token, dHead]
   * @return [head, token, dModel]
   */
  Products directions(
      Optional<Norm> entry, Supplier<Tensor> x, int prompts, int[] heads, Tensor cotangents) {
    Shape shape = cotangents.shape();
    Tensor turnedBack =
        positions
            .pulls(cotangents.dtype(), shape.size(1) / prompts)
            .of(cotangents.reshape(Attention.apart(prompts, shape)), 0)
            .reshape(shape);
    if (norm.isPresent() && acrossHeads) {
      return Products.of(pulledThroughAll(entry, x.get(), heads, turnedBack));
    }
    int own = weight().shape().size(1) / dHead;
    Tensor atMap = turnedBack;
    if (norm.isPresent()) {
      Tensor mapped = split(map.apply(Variable.constant(x.get()))).value();
      atMap = norm.get().pulled(of(heads, mapped), turnedBack, ScaleGradient.LIVE);
    }
    Tensor weight = weight().reshape(weight().shape().size(0), own, dHead);
    Tensor folded = entry.map(norm -> norm.directionsOfColumns(weight)).orElse(weight);
    return Products.transposed(atMap, of(heads, folded.permute(1, 0, 2)));
  }

  private static Tensor of(int[] heads, Tensor byHead) {
    return heads.length == byHead.shape().size(0) ? byHead : byHead.gather(0, heads);
  }

  /** Where one scale is of all heads, a cotangent in one is pulled back through all. */
  private Tensor pulledThroughAll(Optional<Norm> entry, Tensor x, int[] heads, Tensor cotangents) {
    List<Tensor> pulled = new ArrayList<>();
    for (int i = 0; i < heads.length; i++) {
      Variable rows = Variable.input(x);
      Variable made = withoutPositions(rows, ScaleGradient.LIVE::seen, heads[i]);
      Tensor cotangent = cotangents.slice(0, i, i + 1);
      pulled.add(Jacobian.of(made, rows).pull(cotangent.reshape(made.shape().prepend(1))).get(0));
    }
    Tensor all = Tensor.concat(0, pulled);
    return entry.map(norm -> norm.directions(all)).orElse(all);
  }

  /**
   * {@return vectors s, [head, 1, dHead], of which a cotangent z of {@link Pulls#of} in one head
   * takes ⟨z, s⟩ s / (head · dHead) from all heads, where one norm is of all of them}
   *
   * @param x what is projected, [1, dModel]
   * @param scaleGradient whether derivatives see the scale of the norm move
   */
  public List<Tensor> shared(Tensor x, ScaleGradient scaleGradient) {
    List<Tensor> shared = new ArrayList<>();
    if (norm.isPresent() && acrossHeads) {
      Tensor mapped = map.apply(Variable.constant(x)).value();
      if (norm.get().centres()) {
        shared.add(byHead(Tensor.full(mapped.dtype(), mapped.shape(), 1)));
      }
      if (scaleGradient == ScaleGradient.LIVE) {
        shared.add(byHead(norm.get().standardised(mapped)));
      }
    }
    return shared;
  }

  private Tensor byHead(Tensor row) {
    return row.reshape(row.shape().length() / dHead, 1, dHead);
  }
}

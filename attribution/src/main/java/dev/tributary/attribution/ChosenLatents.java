package dev.tributary.attribution;

import dev.tributary.attribution.AdjacencyRows.Range;
import dev.tributary.attribution.AdjacencyRows.Row;
import dev.tributary.attribution.ReplacementGraph.LeftOut;
import dev.tributary.attribution.ReplacementGraph.Sizes;
import dev.tributary.core.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Some of the active latents of a replacement model, and rows without the others. */
final class ChosenLatents {
  private final Sizes all;
  private final Sizes sizes;
  private final LeftOut leftOut;
  private final DType dtype;

  /** Of each latent its index among those that are chosen, or -1. */
  private final int[] index;

  /** For each latent the number of the error of its layer and token. */
  private final int[] error;

  /**
   * @param all nodes with every active latent
   * @param chosen latents, ascending
   * @param leftOut what becomes of what others write
   */
  ChosenLatents(ReplacementModel model, Sizes all, int[] chosen, LeftOut leftOut) {
    this.all = all;
    this.sizes = new Sizes(chosen.length, all.errors(), all.embeddings(), all.outputs());
    this.leftOut = leftOut;
    this.dtype = model.dtype();
    this.index = new int[all.latents()];
    Arrays.fill(index, -1);
    for (int i = 0; i < chosen.length; i++) {
      index[chosen[i]] = i;
    }
    this.error = new int[all.latents()];
    for (int i = 0; i < model.dictionaries().size(); i++) {
      int layer = ReplacementModel.layer(model.dictionaries().get(i));
      for (int token = 0; token < model.tokens(); token++) {
        int own = layer * model.tokens() + token;
        Arrays.fill(error, model.start(i, token), model.start(i, token + 1), own);
      }
    }
  }

  /** How many nodes there are with those that are chosen. */
  Sizes sizes() {
    return sizes;
  }

  /** Whether a node is there. */
  boolean has(int node) {
    return node >= all.latents() || index[node] >= 0;
  }

  /** Which node it is of those that are there. */
  int index(int node) {
    return node < all.latents() ? index[node] : node - all.latents() + sizes.latents();
  }

  /** A row of nodes that are there, and what the others add that goes nowhere. */
  record Rest(Row row, double leftOut) {}

  Rest of(Row whole) {
    Row row = Row.zeros(dtype, ranges(whole));
    double nowhere = 0;
    int at = 0;
    int place = 0;
    for (Range range : whole.sources()) {
      for (int source = range.from(); source < range.to(); source++, at++) {
        double number = whole.numbers().get(at);
        if (has(source)) {
          row.numbers().add(place++, number);
        } else if (leftOut == LeftOut.IN_ERRORS) {
          row.numbers().add(row.place(sizes.latents() + error[source]), number);
        } else {
          nowhere += number;
        }
      }
    }
    return new Rest(row, nowhere);
  }

  private List<Range> ranges(Row whole) {
    List<Range> ranges = new ArrayList<>();
    int first = -1;
    int last = -1;
    for (Range range : whole.sources()) {
      for (int source = range.from(); source < range.to(); source++) {
        if (has(source)) {
          int own = index(source);
          if (own != last + 1 && first >= 0) {
            ranges.add(new Range(first, last + 1));
          }
          first = first < 0 || own != last + 1 ? own : first;
          last = own;
        }
      }
    }
    if (first >= 0) {
      ranges.add(new Range(first, last + 1));
    }
    return ranges;
  }
}

package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Rows that are made group by group. */
final class Groups {
  /** Makes the rows of one group. */
  interface Maker {
    /** The rows of a group that go to these places among all, [own, n]. */
    Tensor rows(int group, int... own);
  }

  private Groups() {}

  /** The rows of all groups, [row, n], where the group of each is given. */
  static Tensor rows(int[] groups, Maker maker) {
    int[] at = new int[groups.length];
    int done = 0;
    try (Scope all = Scope.open()) {
      List<Tensor> parts = new ArrayList<>();
      for (int group : Arrays.stream(groups).distinct().toArray()) {
        int[] own = IntStream.range(0, groups.length).filter(i -> groups[i] == group).toArray();
        try (Scope one = Scope.open()) {
          parts.add(one.keep(maker.rows(group, own)));
        }
        for (int row : own) {
          at[row] = done++;
        }
      }
      return all.keep(parts.size() == 1 ? parts.get(0) : Tensor.concat(0, parts).gather(0, at));
    }
  }
}

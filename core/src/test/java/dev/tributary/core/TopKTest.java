package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Comparator;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;

class TopKTest {
  /** Few different values, so that many are equal. */
  @Provide
  Arbitrary<double[]> values() {
    return Arbitraries.of(-1.0, 0.0, 2.0, 3.5, Double.NEGATIVE_INFINITY, Double.POSITIVE_INFINITY)
        .array(double[].class)
        .ofMaxSize(60);
  }

  @Property(tries = 500)
  void indices_tiedValues_equalsStableSort(
      @ForAll("values") double[] values, @ForAll @IntRange(max = 70) int count) {
    int[] sorted =
        IntStream.range(0, values.length)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> -values[i]))
            .limit(count)
            .mapToInt(i -> i)
            .toArray();
    assertArrayEquals(sorted, TopK.indices(values, count));
  }

  @Example
  void indices_NaN_countsAsSmallest() {
    double[] values = {Double.NaN, 1, Double.NaN, -5};
    assertArrayEquals(new int[] {1, 3, 0, 2}, TopK.indices(values, 4));
  }

  @Example
  void indices_negativeCount_isRefused() {
    assertEquals(
        "top k: k is -1, it must be 0 or more",
        assertThrows(IllegalArgumentException.class, () -> TopK.indices(new double[3], -1))
            .getMessage());
  }
}

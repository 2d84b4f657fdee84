package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class ShapeTest {
  private static final Shape MATRIX = Shape.of(64, 768);

  @Test
  void toString_anyShape_listsAxes() {
    assertEquals("[64, 768]", MATRIX.toString());
    assertEquals("[]", Shape.of().toString());
  }

  @Test
  void length_isProductOfAxes() {
    assertEquals(64 * 768, MATRIX.length());
    assertEquals(1, Shape.of().length());
    assertEquals(0, Shape.of(3, 0).length());
  }

  @Test
  void of_arrayChangedLater_keepsItsAxes() {
    int[] dimensions = {2, 3};
    Shape shape = Shape.of(dimensions);
    dimensions[0] = 9;
    shape.dimensions()[1] = 9;
    assertArrayEquals(new int[] {2, 3}, shape.dimensions());
  }

  @Test
  void of_whatNoTensorHolds_isRefused() {
    assertRefused("shape [2, -1] has a negative axis", () -> Shape.of(2, -1));
    assertRefused(
        "shape [65536, 65536] has more than 2146435071 elements", () -> Shape.of(65536, 65536));
    assertRefused(
        "shape [2147483647, 2147483647] has more than 2146435071 elements",
        () -> Shape.of(Integer.MAX_VALUE, Integer.MAX_VALUE));
  }

  @Test
  void size_axisFromTheEnd_isTheSame() {
    assertEquals(768, MATRIX.size(1));
    assertEquals(768, MATRIX.size(-1));
    assertEquals(0, MATRIX.axis(-2));
    assertRefused("shape [64, 768] has no axis 2", () -> MATRIX.size(2));
    assertRefused("shape [64, 768] has no axis -3", () -> MATRIX.axis(-3));
    assertRefused("shape [] has no axis -1", () -> Shape.of().size(-1));
  }

  @Test
  void endsWith_lastAxes_saysWhetherTheyAreThose() {
    assertTrue(MATRIX.endsWith(MATRIX));
    assertTrue(MATRIX.endsWith(Shape.of(768)));
    assertTrue(MATRIX.endsWith(Shape.of()));
    assertFalse(MATRIX.endsWith(Shape.of(64)));
    assertFalse(MATRIX.endsWith(Shape.of(1, 64, 768)));
  }

  @Test
  void with_prepend_subShape_padTo_changeAxes() {
    assertEquals(Shape.of(64, 1), MATRIX.with(-1, 1));
    assertEquals(Shape.of(3, 2, 64, 768), MATRIX.prepend(3, 2));
    assertEquals(MATRIX, MATRIX.prepend());
    assertEquals(Shape.of(768), MATRIX.subShape(1, 2));
    assertEquals(Shape.of(), MATRIX.subShape(1, 1));
    assertEquals(Shape.of(1, 1, 64, 768), MATRIX.padTo(4));
    assertRefused("shape [64, 768] has no axes 1 to 3", () -> MATRIX.subShape(1, 3));
    assertRefused("shape [64, 768] has more than 1 axes", () -> MATRIX.padTo(1));
  }

  @Test
  void broadcast_missingOrSingleAxes_repeat() {
    assertEquals(MATRIX, MATRIX.broadcast(Shape.of()));
    assertEquals(MATRIX, Shape.of(768).broadcast(MATRIX));
    assertEquals(Shape.of(5, 64, 768), MATRIX.broadcast(Shape.of(5, 1, 768)));
    assertEquals(Shape.of(2, 3), Shape.of(2, 1).broadcast(Shape.of(1, 3)));
    assertEquals(Shape.of(0), Shape.of(1).broadcast(Shape.of(0)));
    assertRefused(
        "shapes [64, 768] and [64] do not broadcast (768 and 64)",
        () -> MATRIX.broadcast(Shape.of(64)));
    assertRefused(
        "shapes [0] and [2] do not broadcast (0 and 2)", () -> Shape.of(0).broadcast(Shape.of(2)));
  }

  @Test
  void strides_rowMajor_areProductsOfLaterAxes() {
    assertArrayEquals(new int[] {12, 4, 1}, Shape.of(2, 3, 4).strides());
    assertArrayEquals(
        new int[] {0, 4, 0, 1}, Shape.of(3, 1, 4).broadcastStrides(new int[] {4, 4, 1}, 4));
  }

  @Test
  void equals_sameAxes_only() {
    assertEquals(MATRIX, Shape.of(64, 768));
    assertEquals(MATRIX.hashCode(), Shape.of(64, 768).hashCode());
    assertNotEquals(MATRIX, Shape.of(1, 64, 768));
  }

  private static void assertRefused(String message, Executable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
  }
}

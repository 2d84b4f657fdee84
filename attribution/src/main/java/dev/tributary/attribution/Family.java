package dev.tributary.attribution;

import java.util.List;
import java.util.OptionalInt;

/** The nodes of one kind in one place of a model, such as the neurons of a layer. */
interface Family {
  /** What the axes of an array with a number for each node count. */
  List<String> axes();

  /** The node of a number along each axis. */
  Node node(int... index);

  /** The layer to which they belong, if to one. */
  default OptionalInt layer() {
    return OptionalInt.empty();
  }
}

package dev.tributary.transformer.file;

/**
 * When matrices that are stored in fewer bits than they are computed in are widened once, while
 * they are read, and not in every product. Results are the same.
 */
public enum Widening {
  /** They stay as they are: least memory. */
  NEVER,
  /**
   * If they take no more than half of the memory that there is: fastest. BF16 stays as it is, which
   * costs next to nothing.
   */
  IF_ROOM
}

package dev.tributary.transformer;

/** Through which input of an attention head derivatives pass; the others are held fixed. */
public enum AttentionPath {
  /** What the head looks for. */
  QUERY,
  /** What it looks at. */
  KEY,
  /** What it takes from there. */
  VALUE,
  /** All three. */
  ALL;

  boolean includes(AttentionPath path) {
    return this == ALL || this == path;
  }
}

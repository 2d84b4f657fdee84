package dev.tributary.transformer.file;

/** Why a template is not followed. */
final class JinjaRefusal extends RuntimeException {
  private static final long serialVersionUID = 1;

  JinjaRefusal(String reason) {
    super(reason);
  }
}

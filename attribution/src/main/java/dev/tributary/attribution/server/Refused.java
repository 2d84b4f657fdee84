package dev.tributary.attribution.server;

/** A request that is not answered, with the status that says why. */
final class Refused extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final int status;

  Refused(int status, String sentence) {
    super(sentence, null, false, false);
    this.status = status;
  }

  /** The server answers nobody any more. */
  static Refused end() {
    return new Refused(503, "the server ends");
  }

  int status() {
    return status;
  }
}

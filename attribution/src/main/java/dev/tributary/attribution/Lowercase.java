package dev.tributary.attribution;

import java.util.Locale;

/** Names of constants as users and files read them. */
public final class Lowercase {
  private Lowercase() {}

  /** The name in lower case, in every locale. */
  public static String of(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }
}

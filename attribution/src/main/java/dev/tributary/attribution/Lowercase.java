package dev.tributary.attribution;

import java.util.Locale;

/** Names of constants as users and files read them. */
public final class Lowercase {
  private Lowercase() {}

  /**
   * {@return the name in lower case, in every locale}
   *
   * @param constant of any enum
   */
  public static String of(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }
}

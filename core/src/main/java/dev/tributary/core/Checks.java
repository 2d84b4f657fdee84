package dev.tributary.core;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** The one way to refuse: the caller's mistake, or a broken lifetime, in our words. */
public final class Checks {
  private Checks() {}

  /**
   * Refuses a caller's argument.
   *
   * @param condition what must hold
   * @param message a format, see {@link String#format}
   * @param values what the format names
   * @throws IllegalArgumentException with the formatted message if {@code condition} is false
   */
  public static void requireArgument(boolean condition, String message, Object... values) {
    if (!condition) {
      throw new IllegalArgumentException(String.format(Locale.ROOT, message, values));
    }
  }

  /**
   * Refuses to work in a state that does not allow it.
   *
   * @param condition what must hold
   * @param message a format, see {@link String#format}
   * @param values what the format names
   * @throws IllegalStateException with the formatted message if {@code condition} is false
   */
  public static void requireState(boolean condition, String message, Object... values) {
    if (!condition) {
      throw new IllegalStateException(String.format(Locale.ROOT, message, values));
    }
  }

  /**
   * Refuses to work without something that should be there.
   *
   * @param <T> type of the value
   * @param value what should be there
   * @param message a format, see {@link String#format}
   * @param values what the format names
   * @return {@code value}
   * @throws IllegalStateException with the formatted message if {@code value} is null
   */
  public static <T> T requirePresent(@Nullable T value, String message, Object... values) {
    if (value == null) {
      throw new IllegalStateException(String.format(Locale.ROOT, message, values));
    }
    return value;
  }
}

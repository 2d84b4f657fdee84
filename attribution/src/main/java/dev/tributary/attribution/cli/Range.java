package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/**
 * Layers or tokens, as the user names them: {@code 3}, {@code 2-5}.
 *
 * @param first of them
 * @param last included
 */
record Range(int first, int last) {
  /** Reads one. */
  static final class Converter implements ITypeConverter<Range> {
    private static final Pattern RANGE = Pattern.compile("(\\d{1,9})(?:-(\\d{1,9}))?");

    @Override
    public Range convert(String text) {
      Matcher matcher = RANGE.matcher(text.strip());
      if (!matcher.matches()) {
        throw new TypeConversionException("\"" + text + "\" is not a number or a range like 2-5");
      }
      int first = Integer.parseInt(matcher.group(1));
      String last = matcher.group(2);
      return new Range(first, last == null ? first : Integer.parseInt(last));
    }
  }

  boolean contains(int number) {
    return first <= number && number <= last;
  }

  /** Refuses what leads beyond the last of them. */
  static void requireInside(String option, Optional<Range> range, int size) {
    range.ifPresent(
        r ->
            requireArgument(
                r.last < size,
                "%s %d-%d: there are %d, counted from 0",
                option,
                r.first,
                r.last,
                size));
  }
}

package dev.tributary.attribution.cli;

import dev.tributary.attribution.explain.Range;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads layers or tokens, as the user names them: {@code 3}, {@code 2-5}. */
final class RangeConverter implements ITypeConverter<Range> {
  private static final Pattern RANGE = Pattern.compile("(\\d{1,9})(?:-(\\d{1,9}))?");

  @Override
  public Range convert(String text) {
    Matcher matcher = RANGE.matcher(text.strip());
    if (!matcher.matches()) {
      throw new TypeConversionException("\"" + text + "\" is not a number or a range like 2-5");
    }
    int first = Integer.parseInt(matcher.group(1));
    String last = matcher.group(2);
    try {
      return new Range(first, last == null ? first : Integer.parseInt(last));
    } catch (IllegalArgumentException e) {
      throw new TypeConversionException(e.getMessage());
    }
  }
}

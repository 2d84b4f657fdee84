package dev.tributary.attribution.cli;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads constants of an enum whose words are joined by hyphens, such as mean-positional. */
abstract class HyphenConverter<E extends Enum<E>> implements ITypeConverter<E> {
  private final Class<E> type;

  HyphenConverter(Class<E> type) {
    this.type = type;
  }

  @Override
  public E convert(String text) {
    return Arrays.stream(type.getEnumConstants())
        .filter(constant -> name(constant).equalsIgnoreCase(text))
        .findFirst()
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "\"%s\" is none of %s"
                        .formatted(
                            text,
                            Arrays.stream(type.getEnumConstants())
                                .map(HyphenConverter::name)
                                .collect(Collectors.joining(", ")))));
  }

  static String name(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}

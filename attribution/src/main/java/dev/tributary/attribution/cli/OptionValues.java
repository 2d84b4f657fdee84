package dev.tributary.attribution.cli;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Stack;
import java.util.regex.Pattern;
import picocli.CommandLine.IParameterPreprocessor;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;

/**
 * Which arguments are values of options. With = any text is: {@code --target=--}. Without it what
 * begins with a hyphen and is no number is taken for an option, never for a value.
 */
final class OptionValues implements IParameterPreprocessor {
  /** Ends the options, in the place of the word that is written for that, which may be a value. */
  private static final String END = "\0";

  private static final Pattern NUMBER = Pattern.compile("-\\.?\\d.*");

  private OptionValues() {}

  /** Lets the commands of a program or command read values in this way. */
  static void apply(CommandSpec program) {
    program
        .subcommands()
        .values()
        .forEach(
            command -> {
              command.setEndOfOptionsDelimiter(END);
              command.getCommandSpec().preprocessor(new OptionValues());
              command
                  .getCommandSpec()
                  .parser()
                  .allowOptionsAsOptionParameters(true)
                  .aritySatisfiedByAttachedOptionParam(true);
              apply(command.getCommandSpec());
            });
  }

  /** Joins every option with its value. */
  @Override
  @SuppressWarnings("JdkObsolete") // it is picocli's
  public boolean preprocess(
      Stack<String> left, CommandSpec command, ArgSpec none, Map<String, Object> info) {
    List<String> joined = new ArrayList<>();
    while (!left.isEmpty()) {
      String argument = left.pop();
      OptionSpec option = command.optionsMap().get(argument);
      if (argument.equals("--")) {
        joined.add(END);
        while (!left.isEmpty()) {
          joined.add(left.pop());
        }
      } else if (option == null || option.arity().max() == 0) {
        joined.add(argument);
      } else {
        if (left.isEmpty() || !isValue(left.peek())) {
          throw new ParameterException(
              command.commandLine(),
              "%s needs %s after it; one that begins with a hyphen is joined to it by =, as in %s=-x"
                  .formatted(argument, option.paramLabel(), argument));
        }
        do {
          joined.add(argument + "=" + left.pop());
        } while (option.arity().max() > 1 && !left.isEmpty() && isValue(left.peek()));
      }
    }
    Collections.reverse(joined);
    left.addAll(joined);
    return false;
  }

  private static boolean isValue(String argument) {
    return !argument.startsWith("-") || argument.equals("-") || NUMBER.matcher(argument).matches();
  }
}

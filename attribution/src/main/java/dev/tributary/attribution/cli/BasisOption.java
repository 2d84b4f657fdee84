package dev.tributary.attribution.cli;

import dev.tributary.attribution.explain.Subject;
import java.util.List;
import picocli.CommandLine.Option;

/** The option that says which dictionaries split what the model writes. */
final class BasisOption {
  private static final String NONE = "none";

  @Option(
      names = "--basis",
      split = ",",
      paramLabel = "NAME",
      description =
          "Which of --dictionaries split what the model writes, in place of its own nodes: as names"
              + " of their nodes begin, such as L3.mlp or transcoder_wide, of all layers where none"
              + " is named; \"none\" for the model's own nodes alone. Nodes of others are not shown.")
  private List<String> names = List.of();

  /** A subject in nodes of these dictionaries, if some are named. */
  Subject of(Subject subject) {
    return names.isEmpty() ? subject : subject.in(names.equals(List.of(NONE)) ? List.of() : names);
  }
}

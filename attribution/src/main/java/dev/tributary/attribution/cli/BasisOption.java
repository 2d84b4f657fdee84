package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Basis;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import picocli.CommandLine.Option;

/** The option that says which dictionaries split what the model writes. */
final class BasisOption {
  private static final String NONE = "none";

  /** As the names of its nodes begin, L3.mlp_wide of L3.mlp_wide_latent12[9], or of all layers. */
  private static final Pattern NAME = Pattern.compile("(?:L(0|[1-9]\\d{0,8})\\.)?([a-z_]+)");

  @Option(
      names = "--basis",
      split = ",",
      paramLabel = "NAME",
      description =
          "Which of --dictionaries split what the model writes, in place of its own nodes: as names"
              + " of their nodes begin, such as L3.mlp or transcoder_wide, of all layers where none"
              + " is named; \"none\" for the model's own nodes alone. Nodes of others are not shown.")
  private List<String> names = List.of();

  /** Whether dictionaries are named. */
  boolean isNamed() {
    return !names.isEmpty();
  }

  /** What is told of nodes of these dictionaries, if some are named. */
  Subject of(Subject subject) {
    if (!isNamed()) {
      return subject;
    }
    Transformer model = subject.nodes().run().model();
    List<Dictionary.Id> ids = new ArrayList<>();
    if (!names.equals(List.of(NONE))) {
      names.forEach(name -> ids.addAll(ids(model, name)));
    }
    return subject.in(Optional.of(Basis.of(model, ids)));
  }

  private static List<Dictionary.Id> ids(Transformer model, String name) {
    Matcher parts = NAME.matcher(name);
    List<Dictionary.Id> all = model.dictionaries().stream().map(Dictionary::id).toList();
    List<Dictionary.Id> found =
        parts.matches()
            ? all.stream()
                .filter(id -> id.word().equals(parts.group(2)))
                .filter(id -> parts.group(1) == null || parts.group(1).equals("" + id.layer()))
                .toList()
            : List.of();
    requireArgument(
        !found.isEmpty(),
        "--basis names \"%s\", and the dictionaries are %s",
        name,
        all.isEmpty()
            ? "none: name some with --dictionaries"
            : all.stream()
                .map(id -> "L" + id.layer() + "." + id.word())
                .collect(Collectors.joining(", ")));
    return found;
  }
}

package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgeSearch;
import dev.tributary.attribution.EdgeSearch.Found;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeFilter;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Finds the largest edges of all. */
@Command(
    name = "search",
    header = "Finds the largest edges among all that there are.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Example, the edges from neurons of the first two layers into the heads of the next:",
      "  search --from neuron --from-layers 0-1 --into head --into-layers 2 --top 50"
    })
final class SearchCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "Number of edges to find. Default: ${DEFAULT-VALUE}.")
  private int top = 20;

  @Option(
      names = "--at-least",
      paramLabel = "X",
      description = "Only edges of at least this magnitude. Default: any.")
  private double smallest = 0;

  @Option(
      names = "--from",
      split = ",",
      converter = Sources.class,
      completionCandidates = Sources.class,
      paramLabel = "KIND",
      description = "Only from these kinds of nodes: ${COMPLETION-CANDIDATES}. Default: all.")
  private List<Class<? extends Node>> from = List.of();

  @Option(
      names = "--from-layers",
      paramLabel = "A-B",
      converter = Range.Converter.class,
      description = "Only from nodes of these layers, both included.")
  private Optional<Range> fromLayers = Optional.empty();

  @Option(
      names = "--from-tokens",
      paramLabel = "A-B",
      converter = Range.Converter.class,
      description = "Only from nodes at these tokens; of a head, the query.")
  private Optional<Range> fromTokens = Optional.empty();

  @Option(
      names = "--into",
      split = ",",
      converter = Targets.class,
      completionCandidates = Targets.class,
      paramLabel = "KIND",
      description = "Only into these kinds of nodes: ${COMPLETION-CANDIDATES}. Default: all.")
  private List<Class<? extends Node>> into = List.of();

  @Option(
      names = "--into-layers",
      paramLabel = "A-B",
      converter = Range.Converter.class,
      description = "Only into nodes of these layers, both included.")
  private Optional<Range> intoLayers = Optional.empty();

  @Option(
      names = "--into-tokens",
      paramLabel = "A-B",
      converter = Range.Converter.class,
      description = "Only into nodes at these tokens; of a head, the query.")
  private Optional<Range> intoTokens = Optional.empty();

  @Mixin private final BasisOption basis = new BasisOption();

  SearchCommand(PrintWriter out) {
    this.out = out;
  }

  /** Kinds of nodes with one role, as the user calls them. */
  abstract static class Kinds implements Iterable<String>, ITypeConverter<Class<? extends Node>> {
    private final Map<String, Class<? extends Node>> words;

    Kinds(Map<String, Class<? extends Node>> words) {
      this.words = words;
    }

    @Override
    public Iterator<String> iterator() {
      return words.keySet().iterator();
    }

    @Override
    public Class<? extends Node> convert(String word) {
      Class<? extends Node> kind = words.get(word.toLowerCase(Locale.ROOT));
      if (kind == null) {
        throw new TypeConversionException(
            "\"" + word + "\" is none of " + String.join(", ", words.keySet()));
      }
      return kind;
    }
  }

  static final class Sources extends Kinds {
    Sources() {
      super(NodeFilter.sources());
    }
  }

  static final class Targets extends Kinds {
    Targets() {
      super(NodeFilter.targets());
    }
  }

  @Override
  public Integer call() throws IOException {
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    requireArgument(smallest >= 0, "--at-least is %s, it must be 0 or more", smallest);
    NodeFilter sources = filter(from, fromLayers, fromTokens);
    NodeFilter targets = filter(into, intoLayers, intoTokens);
    String report;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Subject subject = basis.of(options.open(progress));
      Range.requireInside("--from-layers", fromLayers, subject.layers());
      Range.requireInside("--into-layers", intoLayers, subject.layers());
      Range.requireInside("--from-tokens", fromTokens, subject.tokens().size());
      Range.requireInside("--into-tokens", intoTokens, subject.tokens().size());
      EdgeSearch search =
          EdgeSearch.of(EdgeAttribution.of(subject.nodes(), subject.scaleGradient()))
              .from(sources)
              .into(targets)
              .atLeast(smallest);
      Found found =
          subject.basis().map(search::in).orElse(search).top(top, progress.within(Phase.SEARCH));
      report = options.json() ? JsonReport.of(subject, found) : TextReport.of(subject, found);
    }
    out.print(report);
    return ExitCode.OK;
  }

  private static NodeFilter filter(
      List<? extends Class<? extends Node>> kinds, Optional<Range> layers, Optional<Range> tokens) {
    NodeFilter filter = NodeFilter.ALL.kinds(kinds);
    filter = layers.isEmpty() ? filter : filter.layers(layers.get().first(), layers.get().last());
    return tokens.isEmpty() ? filter : filter.tokens(tokens.get().first(), tokens.get().last());
  }
}

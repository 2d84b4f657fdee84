package dev.tributary.attribution.cli;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeFilter;
import dev.tributary.attribution.explain.Range;
import dev.tributary.attribution.explain.Search;
import dev.tributary.attribution.explain.Search.Ends;
import dev.tributary.attribution.explain.Search.Searched;
import dev.tributary.attribution.export.AnswerJson;
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
      converter = RangeConverter.class,
      description = "Only from nodes of these layers, both included.")
  private Optional<Range> fromLayers = Optional.empty();

  @Option(
      names = "--from-tokens",
      paramLabel = "A-B",
      converter = RangeConverter.class,
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
      converter = RangeConverter.class,
      description = "Only into nodes of these layers, both included.")
  private Optional<Range> intoLayers = Optional.empty();

  @Option(
      names = "--into-tokens",
      paramLabel = "A-B",
      converter = RangeConverter.class,
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
    Search question =
        new Search(
            basis.of(options.subject()),
            new Ends(from, fromLayers, fromTokens),
            new Ends(into, intoLayers, intoTokens),
            smallest,
            top);
    Searched searched = TerminalProgress.ask(options.choice(), question);
    out.print(options.json() ? AnswerJson.of(searched) : TextReport.of(searched));
    return ExitCode.OK;
  }
}

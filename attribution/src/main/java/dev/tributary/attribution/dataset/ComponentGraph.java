package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.MlpSplit;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.RandomAccess;
import java.util.stream.IntStream;

/**
 * The components of a model and all edges among them: an edge leads from a source to each reader of
 * the residual stream that comes after its write. A head is one source and three readers. An MLP is
 * one component, or shares of it are, and the rest. An edge is one for all tokens, or, of a graph
 * {@link #byToken}, for each.
 */
public final class ComponentGraph {
  /**
   * What one reader hears of one source at some tokens; a source writes and its reader reads at the
   * same.
   *
   * @param source that writes
   * @param reader that reads
   * @param tokens where
   */
  public record Edge(StreamWriter source, StreamReader reader, Tokens tokens) {
    private String ends() {
      return source + "->" + reader;
    }

    @Override
    public String toString() {
      return ends() + at(tokens);
    }
  }

  private static String at(Tokens tokens) {
    return tokens.equals(Tokens.ALL) ? "" : "@" + tokens;
  }

  private final Transformer model;
  private final StreamWriter.Input input;
  private final MlpSplit split;
  private final List<Tokens> spans;
  private final List<StreamWriter> sources;
  private final List<StreamReader> readers;

  /** How many of the sources come before each reader. */
  private final int[] before;

  /** Numbers of the source and the reader of the edges at each span. */
  private final List<int[]> ends = new ArrayList<>();

  /** Numbers in {@link #ends} by names. */
  private final Map<String, Integer> numbers = new HashMap<>();

  private final List<Edge> edges = new Edges();

  /** Of each reader at each span, {@link #reached}. */
  private final List<int[]> reached = new ArrayList<>();

  private ComponentGraph(
      Transformer model, StreamWriter.Input input, MlpSplit split, List<Tokens> spans) {
    this.model = model;
    this.input = input;
    this.split = split;
    this.spans = spans;
    sources = StreamWriter.of(model, input, split);
    readers = StreamReader.of(model, split);
    List<Point> written = sources.stream().map(own -> own.writes(model)).toList();
    before =
        readers.stream()
            .map(reader -> reader.reads(model))
            .mapToInt(read -> (int) written.stream().filter(own -> own.reaches(read)).count())
            .toArray();
    for (int first = 0; first < readers.size(); ) {
      int together = together(first);
      int inputs = Math.min(together, StreamReader.Head.PATHS.size());
      int heads = together / inputs;
      for (int source = 0; source < before[first]; source++) {
        for (int i = 0; i < together; i++) { // head by head
          ends.add(new int[] {source, first + i % inputs * heads + i / inputs});
        }
      }
      first += together;
    }
    for (int i = 0; i < ends.size(); i++) {
      numbers.put(edges.get(i * spans.size()).ends(), i);
    }
    for (StreamReader reader : readers) {
      int writer = reader.writer().map(sources::indexOf).orElse(-1);
      for (Tokens at : spans) {
        reached.add(
            IntStream.range(0, writer < 0 ? 0 : spans.size())
                .filter(span -> reaches(reader, at, spans.get(span)))
                .map(span -> writer * spans.size() + span)
                .toArray());
      }
    }
  }

  /** How many readers from this one on are inputs of heads of one layer. */
  private int together(int first) {
    int end = first;
    while (readers.get(end) instanceof StreamReader.Head head
        && head.layer() == readers.get(first).layer()) {
      end++;
    }
    return Math.max(1, end - first);
  }

  /** Whether what a component writes at some tokens may depend on what it reads at others. */
  private boolean reaches(StreamReader reader, Tokens read, Tokens written) {
    if (read.equals(written)
        || !(reader instanceof StreamReader.Head head)
        || head.path() == InputPath.QUERY) {
      return read.equals(written);
    }
    Attention attention = model.attention(head.layer());
    return read.first() < written.first()
        ? attention.sees(written.first(), read.end() - 1)
        : attention.sees(written.end() - 1, read.first());
  }

  /**
   * {@return the graph of a model, each of whose edges is one for all tokens}
   *
   * @param model whose sizes it has
   * @param input what the source {@code input} writes: the embedding of tokens alone, or that of
   *     positions too
   */
  public static ComponentGraph of(Transformer model, StreamWriter.Input input) {
    return of(model, input, List.of());
  }

  /**
   * {@return the same where shares of MLPs are components of their own, and all else that an MLP
   * adds is another}
   *
   * @param model whose sizes it has
   * @param input what the source {@code input} writes
   * @param shares of MLPs, in any order
   * @throws IllegalArgumentException if the model has no such share, or one comes twice
   */
  public static ComponentGraph of(
      Transformer model, StreamWriter.Input input, Collection<MlpShare> shares) {
    return new ComponentGraph(model, input, MlpSplit.of(model, shares), List.of(Tokens.ALL));
  }

  /**
   * {@return the graph with edges of each token of prompts that all have as many}
   *
   * @param tokens how many
   * @throws IllegalArgumentException if there is none
   */
  public ComponentGraph byToken(int tokens) {
    return at(IntStream.range(0, tokens).mapToObj(Tokens::at).toList());
  }

  /**
   * {@return the graph with edges of each of some spans of tokens}
   *
   * @param spans one after the other, from the first token of all prompts to their last
   * @throws IllegalArgumentException if a token is in none of them, or in two
   */
  public ComponentGraph at(List<Tokens> spans) {
    requireArgument(!spans.isEmpty(), "edges at no tokens");
    int next = 0;
    for (Tokens span : spans) {
      requireArgument(
          span.first() == next, "tokens %s where those from %d on are expected", span, next);
      next = span.end();
    }
    return new ComponentGraph(model, input, split, List.copyOf(spans));
  }

  /** {@return whose components they are} */
  public Transformer model() {
    return model;
  }

  /** {@return what the source {@code input} writes} */
  public StreamWriter.Input input() {
    return input;
  }

  /** {@return the shares of MLPs that are components of their own} */
  public MlpSplit split() {
    return split;
  }

  /** {@return the tokens at which each source and reader has edges of its own; all as one} */
  public List<Tokens> spans() {
    return spans;
  }

  /** {@return whether there are edges of some tokens, instead of one for all} */
  public boolean isByToken() {
    return !spans.equals(List.of(Tokens.ALL));
  }

  /** {@return what writes to the residual stream, in the order of writing} */
  public List<StreamWriter> sources() {
    return sources;
  }

  /** {@return what reads it, in the order of reading} */
  public List<StreamReader> readers() {
    return readers;
  }

  /**
   * {@return all edges: layer by layer those into its attention, source by source, head by head,
   * query, key and value; those into its MLP and each of its shares; at last those into the logits;
   * of each source and reader token by token}
   */
  public List<Edge> edges() {
    return edges;
  }

  /** Made when they are asked for: there may be millions. */
  private final class Edges extends AbstractList<Edge> implements RandomAccess {
    @Override
    public Edge get(int number) {
      int[] own = ends.get(number / spans.size());
      return new Edge(sources.get(own[0]), readers.get(own[1]), spans.get(number % spans.size()));
    }

    @Override
    public int size() {
      return ends.size() * spans.size();
    }
  }

  /** Refuses prompts of a length that edges of each token are not for. */
  void requireLength(int length) {
    Tokens last = spans.get(spans.size() - 1);
    requireArgument(
        last.isOpen() ? length > last.first() : length == last.end(),
        "prompts of %d tokens, and edges of tokens %s",
        length,
        spans);
  }

  /** How many sources come before a reader: the first of all. */
  int before(int reader) {
    return before[reader];
  }

  /**
   * {@return the number of an edge in {@link #edges}}
   *
   * @param edge one of them
   * @throws IllegalArgumentException if there is none
   */
  public int number(Edge edge) {
    int number =
        numbers.getOrDefault(edge.ends(), -1) * spans.size() + spans.indexOf(edge.tokens());
    requireArgument(number >= 0 && edges.get(number).equals(edge), "there is no edge %s", edge);
    return number;
  }

  /**
   * {@return the edge of this name}
   *
   * @param name such as {@code m0->a1.h3<q>}, or {@code m0->a1.h3<q>@5} of token 5
   * @throws IllegalArgumentException if there is none
   */
  public Edge edge(String name) {
    for (int span = 0; span < spans.size(); span++) {
      String at = at(spans.get(span));
      Integer number =
          name.endsWith(at) ? numbers.get(name.substring(0, name.length() - at.length())) : null;
      if (number != null) {
        return edges.get(number * spans.size() + span);
      }
    }
    throw new IllegalArgumentException("there is no edge " + name);
  }

  /** The number of a source at its span, source by source. */
  int write(int edge) {
    return ends.get(edge / spans.size())[0] * spans.size() + edge % spans.size();
  }

  /** How many {@link #write writes} there are. */
  int writes() {
    return sources.size() * spans.size();
  }

  /** The {@link #write writes} that may depend on what is heard along an edge. */
  int[] reached(int edge) {
    return reached.get(ends.get(edge / spans.size())[1] * spans.size() + edge % spans.size());
  }

  /** Numbers of each {@link #write} and reader in the order of {@link #edges}. */
  double[] inOrder(double[][] byWriteAndReader) {
    double[] numbers = new double[edges.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = byWriteAndReader[write(i)][ends.get(i / spans.size())[1]];
    }
    return numbers;
  }

  /** {@return what its edges are, in a word} */
  @Override
  public String toString() {
    List<MlpShare> shares = split.shares();
    return "edges from the %s at tokens %s%s"
        .formatted(input.site(), spans, shares.isEmpty() ? "" : ", split at " + shares);
  }
}

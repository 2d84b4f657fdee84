package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The components of a model and all edges among them: an edge leads from a source to each reader of
 * the residual stream that comes after its write. A head is one source and three readers.
 */
public final class ComponentGraph {
  /**
   * What one reader hears of one source.
   *
   * @param source that writes
   * @param reader that reads
   */
  public record Edge(StreamWriter source, StreamReader reader) {
    @Override
    public String toString() {
      return source + "->" + reader;
    }
  }

  private final StreamWriter.Input input;
  private final List<StreamWriter> sources;
  private final List<StreamReader> readers;

  /** How many of the sources come before each reader. */
  private final int[] before;

  private final List<Edge> edges;
  private final Map<String, Integer> numbers = new HashMap<>();

  /** Numbers of the source and the reader of each edge. */
  private final List<int[]> ends = new ArrayList<>();

  private ComponentGraph(Transformer model, StreamWriter.Input input) {
    this.input = input;
    sources = StreamWriter.of(model, input);
    readers = StreamReader.of(model);
    before =
        readers.stream()
            .mapToInt(
                reader ->
                    (int)
                        sources.stream()
                            .filter(own -> own.writes(model).reaches(reader.reads(model)))
                            .count())
            .toArray();
    List<Edge> all = new ArrayList<>();
    for (int first = 0; first < readers.size(); ) {
      int together = together(first);
      int inputs = Math.min(together, StreamReader.Head.PATHS.size());
      int heads = together / inputs;
      for (int source = 0; source < before[first]; source++) {
        for (int i = 0; i < together; i++) { // head by head
          int reader = first + i % inputs * heads + i / inputs;
          all.add(new Edge(sources.get(source), readers.get(reader)));
          ends.add(new int[] {source, reader});
        }
      }
      first += together;
    }
    edges = List.copyOf(all);
    edges.forEach(edge -> numbers.put(edge.toString(), numbers.size()));
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

  /**
   * {@return the graph of a model}
   *
   * @param model whose sizes it has
   * @param input what the source {@code input} writes: the embedding of tokens alone, or that of
   *     positions too
   */
  public static ComponentGraph of(Transformer model, StreamWriter.Input input) {
    return new ComponentGraph(model, input);
  }

  /** {@return what the source {@code input} writes} */
  public StreamWriter.Input input() {
    return input;
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
   * query, key and value; those into its MLP; at last those into the logits}
   */
  public List<Edge> edges() {
    return edges;
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
    int number = numbers.getOrDefault(edge.toString(), -1);
    requireArgument(number >= 0 && edges.get(number).equals(edge), "there is no edge %s", edge);
    return number;
  }

  /**
   * {@return the edge of this name}
   *
   * @param name such as {@code m0->a1.h3<q>}
   * @throws IllegalArgumentException if there is none
   */
  public Edge edge(String name) {
    int number = numbers.getOrDefault(name, -1);
    requireArgument(number >= 0, "there is no edge %s", name);
    return edges.get(number);
  }

  /** The number of the source of an edge. */
  int source(int edge) {
    return ends.get(edge)[0];
  }

  /** Numbers of each source and reader, [source][reader], in the order of {@link #edges}. */
  double[] inOrder(double[][] bySourceAndReader) {
    return ends.stream().mapToDouble(own -> bySourceAndReader[own[0]][own[1]]).toArray();
  }
}

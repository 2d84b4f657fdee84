package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Write;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.DoubleStream;

/**
 * What does a node do: where is it active, and which words does it speak for?
 *
 * @param subject what is explained
 * @param node of the run
 * @param words how many words to tell of, of each sign
 */
public record Describe(Subject subject, Node node, int words)
    implements Question<Describe.Described> {
  /**
   * Refuses a negative number.
   *
   * @param subject {@link #subject()}
   * @param node {@link #node()}
   * @param words {@link #words()}
   * @throws IllegalArgumentException if it is one
   */
  public Describe {
    requireArgument(words >= 0, "words is %d, it must be 0 or more", words);
  }

  /**
   * What a node does.
   *
   * @param overview what is explained
   * @param node that was asked for
   * @param explanation what others say that a latent stands for, if a file does
   * @param activation of what has one
   * @param attribution of what writes: activation times gradient
   * @param directEffect of what writes: what reaches the metric without passing another node
   * @param writeNorm Euclidean norm of what it writes
   * @param reads whether edges may lead into it
   * @param inputs through which of them each edge may lead into it, if it has several: of a head
   *     query, key and value, of a gated neuron gate and up
   * @param activations of a neuron or latent at each token of the prompt
   * @param pattern of a head: with which probability each query, a row, looks at each key up to it
   * @param promoted words whose logits what it writes raises most, by how much more than the mean
   *     word's, the scale of the last norm held
   * @param suppressed words whose logits it lowers most
   */
  public record Described(
      Overview overview,
      Node node,
      Optional<String> explanation,
      OptionalDouble activation,
      OptionalDouble attribution,
      OptionalDouble directEffect,
      OptionalDouble writeNorm,
      boolean reads,
      List<InputPath> inputs,
      List<Double> activations,
      List<List<Double>> pattern,
      List<Spoken> promoted,
      List<Spoken> suppressed) {}

  /**
   * A word, and what a node does to its logit.
   *
   * @param word of the vocabulary
   * @param logit what is added to it
   */
  public record Spoken(Word word, double logit) {}

  @Override
  public Described answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    node.requireIn(explanation.run());
    NodeAttribution nodes = explanation.nodes();
    Run run = explanation.run();
    try (Scope scope = Scope.open()) {
      Optional<Source> source = node.asSource();
      double[] logits = source.map(own -> logits(run, own)).orElse(new double[0]);
      return new Described(
          explanation.overview(),
          node,
          work.explanations().of(node),
          node.activation(run),
          source.isPresent() ? nodes.activationTimesGradient().of(node) : OptionalDouble.empty(),
          source.isPresent()
              ? OptionalDouble.of(nodes.directEffect().of(node))
              : OptionalDouble.empty(),
          source.isPresent() ? abs(nodes.writeNorm().of(node)) : OptionalDouble.empty(),
          !node.targets().isEmpty(),
          inputs(run),
          activations(run),
          node instanceof HeadPair pair ? pattern(run, pair) : List.of(),
          spoken(work, logits, logits),
          spoken(work, logits, Arrays.stream(logits).map(logit -> -logit).toArray()));
    }
  }

  private static OptionalDouble abs(OptionalDouble value) {
    return value.isPresent() ? OptionalDouble.of(Math.abs(value.getAsDouble())) : value;
  }

  private List<InputPath> inputs(Run run) {
    if (node instanceof HeadPair) {
      return StreamReader.Head.PATHS;
    }
    return node instanceof Neuron neuron && run.has(Place.of(Site.MLP_UP, neuron.layer()))
        ? List.of(InputPath.GATE, InputPath.UP)
        : List.of();
  }

  /** Of what is one number at each token. */
  private List<Double> activations(Run run) {
    Coordinates at = node.coordinates();
    if (at.token().isEmpty() || at.key().isPresent() || node.activation(run).isEmpty()) {
      return List.of();
    }
    List<Double> activations = new ArrayList<>();
    for (int token = 0; token < run.length(); token++) {
      Coordinates there =
          new Coordinates(
              at.kind(),
              at.component(),
              at.part(),
              at.layer(),
              at.index(),
              at.path(),
              OptionalInt.of(token),
              at.key());
      activations.add(Node.at(there).activation(run).orElseThrow());
    }
    return List.copyOf(activations);
  }

  private static List<List<Double>> pattern(Run run, HeadPair pair) {
    Tensor patterns = run.value(Site.PATTERN, pair.layer());
    double[] own = patterns.slice(0, pair.head(), pair.head() + 1).toDoubles();
    List<List<Double>> rows = new ArrayList<>();
    for (int query = 0; query < run.length(); query++) {
      int from = query * run.length();
      rows.add(DoubleStream.of(own).skip(from).limit(query + 1L).boxed().toList());
    }
    return List.copyOf(rows);
  }

  /** What is added to each logit by what a source writes, less the mean of all. */
  private static double[] logits(Run run, Source source) {
    Transformer model = run.model();
    double[] sum = new double[model.config().vocabulary()];
    Tensor last = run.residual(model.end()).value();
    for (Write write : source.writes(run)) {
      try (Scope scope = Scope.open()) {
        int width = last.shape().size(-1);
        Tensor row = write.vector().reshape(1, width);
        Tensor residual = last.slice(0, write.token(), write.token() + 1);
        Tensor read =
            model.finalNorm().map(norm -> norm.moved(row).over(norm.scale(residual))).orElse(row);
        Tensor zero = Tensor.zeros(read.dtype(), read.shape());
        double[] logits =
            model
                .unembedUncapped(Variable.constant(read))
                .minus(model.unembedUncapped(Variable.constant(zero)))
                .value()
                .toDoubles();
        double mean = Arrays.stream(logits).average().orElse(0);
        for (int word = 0; word < sum.length; word++) {
          sum[word] += logits[word] - mean;
        }
      }
    }
    return sum;
  }

  private List<Spoken> spoken(Work work, double[] logits, double[] rank) {
    return Arrays.stream(TopK.indices(rank, Math.min(words, rank.length)))
        .filter(id -> rank[id] > 0)
        .mapToObj(id -> new Spoken(work.opened().word(id), logits[id]))
        .toList();
  }
}

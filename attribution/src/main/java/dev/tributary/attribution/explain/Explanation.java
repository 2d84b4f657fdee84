package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.AttentionSink;
import dev.tributary.attribution.Basis;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Stage;
import dev.tributary.attribution.Trace;
import dev.tributary.attribution.explain.Overview.Prediction;
import dev.tributary.attribution.explain.Overview.Quantity;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A subject with its run and its gradients: what answers about it begin with. Lives with what a
 * session shares.
 *
 * @param nodes of the run, with the gradients of what is explained
 * @param edges among them
 * @param ofLogits the metric of logits, which a trace through a value ends in
 * @param basis of whose nodes alone is told, if dictionaries are named
 * @param overview what answers begin with
 */
record Explanation(
    NodeAttribution nodes,
    EdgeAttribution edges,
    Metric.OfLogits ofLogits,
    Optional<Basis> basis,
    Overview overview) {
  /** How many predictions are told of. */
  static final int PREDICTIONS = 5;

  /** As the names of nodes of a dictionary begin: L3.mlp_wide, or of all layers mlp_wide. */
  private static final Pattern DICTIONARY = Pattern.compile("(?:L(0|[1-9]\\d{0,8})\\.)?([a-z_]+)");

  private record GradientsOf(
      List<Word> tokens,
      Metric.OfLogits ofLogits,
      Optional<Node> trace,
      Stage stage,
      ScaleGradient scaleGradient) {}

  private record Held(NodeAttribution nodes, EdgeAttribution edges) {}

  /** Runs the model and takes the gradient of what is explained, or takes what was shared. */
  static Explanation of(Work work, Subject subject) throws IOException {
    OpenedModel opened = work.opened();
    List<Word> tokens = opened.words(subject.prompt());
    List<List<Word>> named = opened.distinct(List.of(subject.targets(), subject.distractors()));
    List<Word> unwanted = named.get(1);
    int position = position(subject.position(), tokens.size());

    Run run = work.run(tokens);
    List<Prediction> predictions = predictions(opened, run, position, PREDICTIONS);
    boolean chosen = subject.targets().isEmpty();
    List<Word> targets = chosen ? List.of(predictions.get(0).word()) : named.get(0);
    requireArgument(
        !chosen || !unwanted.containsAll(targets),
        "the most probable word is a distractor, so a target is needed");
    Metric.OfLogits ofLogits =
        unwanted.isEmpty()
            ? new Metric.LogProbability(position, ids(targets))
            : new Metric.LogitDifference(position, ids(targets), ids(unwanted));
    subject.trace().ifPresent(node -> node.requireIn(run));
    Held held =
        work.shared(
            new GradientsOf(
                tokens, ofLogits, subject.trace(), subject.stage(), subject.scaleGradient()),
            () -> {
              work.enter(Phase.GRADIENTS);
              NodeAttribution nodes = NodeAttribution.of(run, metric(subject, ofLogits));
              return new Held(nodes, EdgeAttribution.of(nodes, subject.scaleGradient()));
            });
    NodeAttribution nodes = held.nodes();
    Overview.Reading metric =
        new Overview.Reading(
            quantity(nodes.metric()),
            subject.trace(),
            subject.stage(),
            nodes.metric().scaleGradient(),
            position,
            targets,
            unwanted,
            chosen,
            nodes.value());
    Transformer model = run.model();
    return new Explanation(
        nodes,
        held.edges(),
        ofLogits,
        subject.basis().map(names -> basis(model, names)),
        new Overview(
            opened.called(),
            model.dtype(),
            opened.text(subject.prompt()),
            tokens,
            sinks(run),
            predictions,
            metric,
            subject.scaleGradient(),
            subject.basis().isEmpty() && !model.dictionaries().isEmpty()));
  }

  private static Metric metric(Subject subject, Metric.OfLogits ofLogits) {
    return subject.trace().isEmpty()
        ? ofLogits
        : subject
            .trace()
            .get()
            .traced(new Trace.Side(subject.stage(), subject.scaleGradient()), ofLogits);
  }

  private static Quantity quantity(Metric metric) {
    if (metric instanceof Trace.ValueTrace) {
      return Quantity.VALUE;
    }
    if (metric instanceof Trace.PatternTrace) {
      return Quantity.ATTENTION;
    }
    if (metric instanceof Trace) {
      return Quantity.ACTIVATION;
    }
    return metric instanceof Metric.LogProbability
        ? Quantity.LOG_PROBABILITY
        : Quantity.LOGIT_DIFFERENCE;
  }

  private static List<AttentionSink> sinks(Run run) {
    try (Scope scope = Scope.open()) {
      return AttentionSink.of(run);
    }
  }

  /** A token by its number from the beginning, or from the end if that is negative. */
  static int position(int position, int length) {
    requireArgument(
        position >= -length && position < length,
        "position is %d, and the prompt has %d tokens: 0 to %d, or -1 to -%d from the end",
        position,
        length,
        length - 1,
        length);
    return position < 0 ? length + position : position;
  }

  /** The most probable words after a token. */
  static List<Prediction> predictions(OpenedModel opened, Run run, int position, int count) {
    try (Scope scope = Scope.open()) {
      double[] probabilities = probabilities(run.logits(position));
      return Arrays.stream(TopK.indices(probabilities, count))
          .mapToObj(id -> new Prediction(opened.word(id), probabilities[id]))
          .toList();
    }
  }

  static double[] probabilities(Tensor logits) {
    return requireFinite(logits).softmax().toDoubles();
  }

  static Tensor requireFinite(Tensor logits) {
    requireArgument(
        logits.isFinite(), "the logits of this model are not finite numbers in %s", logits.dtype());
    return logits;
  }

  private static List<Integer> ids(List<Word> words) {
    return words.stream().map(Word::id).toList();
  }

  // ---- dictionaries ------------------------------------------------------------------------

  private static Basis basis(Transformer model, List<String> names) {
    List<Dictionary.Id> ids = new ArrayList<>();
    names.forEach(name -> ids.addAll(dictionaries(model, name)));
    return Basis.of(model, ids);
  }

  /** The dictionaries that a name means, at least one. */
  static List<Dictionary.Id> dictionaries(Transformer model, String name) {
    Matcher parts = DICTIONARY.matcher(name);
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
        "\"%s\" is no dictionary, and the %s",
        name,
        all.isEmpty()
            ? "model has no dictionaries"
            : all.stream()
                .map(id -> "L" + id.layer() + "." + id.word())
                .collect(Collectors.joining(", ", "dictionaries are ", "")));
    return found;
  }

  // ---- what answers need ---------------------------------------------------------------------

  Run run() {
    return nodes.run();
  }

  Transformer model() {
    return run().model();
  }

  /** The basis that is named, or that of all dictionaries as far as they go together. */
  Basis nodesOnce() {
    return basis.orElseGet(() -> Basis.of(model()));
  }

  /**
   * Refuses a node that what is explained cannot depend on.
   *
   * @throws IllegalArgumentException if the run has no such node, or it comes after a traced one
   */
  void requireUpstream(Node node) {
    node.requireIn(run());
    Optional<Node> trace = overview.metric().trace();
    if (trace.isEmpty() || node.equals(new Explained())) {
      return;
    }
    try (Scope scope = Scope.open()) {
      Point explained = nodes.residualGradient().point();
      boolean upstream =
          node.targets().isEmpty()
              ? node.asSource()
                  .filter(source -> source.writes(run()).get(0).point().reaches(explained))
                  .isPresent()
              : edges.gradient(node.targets().get(0)).point().compareTo(explained) < 0;
      requireArgument(upstream, "%s is not upstream of %s, which is explained", node, trace.get());
    }
  }
}

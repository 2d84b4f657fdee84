package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Ablation;
import dev.tributary.attribution.Effect;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Readings;
import dev.tributary.attribution.ReplacementIntervention;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.cli.Subject.Prediction;
import dev.tributary.attribution.cli.SubjectOptions.NodeConverter;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Runs a model again without some nodes. */
@Command(
    name = "ablate",
    header = "Runs the model again without some nodes, and says what that changed.",
    description = {
      "One prediction, beside what was to be expected. (generate edits parts of the model at any"
          + " tokens, several together, and says how the text goes on.)"
    },
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Examples:",
      "  ablate \"L0.head1[7<-2]\" \"L0.neuron376[14]\"",
      "  ablate \"L0.transcoder_latent5[3]\" --transcoders DIR"
    })
final class AblateCommand implements Callable<Integer> {
  private static final int TOP = 10;

  private final PrintWriter out;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Parameters(
      paramLabel = "NODE",
      arity = "1..*",
      converter = NodeConverter.class,
      description = "Nodes to change, named before the options: each alone, then all together.")
  private List<Node> named = List.of();

  @Option(
      names = "--scale",
      paramLabel = "F",
      description = "What is left of what they write. Default: ${DEFAULT-VALUE}, nothing.")
  private double scale = 0;

  @Option(
      names = "--set",
      paramLabel = "A",
      description = "Give them this activation instead (neurons, heads and latents).")
  private Optional<Double> set = Optional.empty();

  @Option(
      names = "--transcoders",
      paramLabel = "DIR",
      description =
          "The nodes are latents of these transcoders, a folder as for graph: say what changing them"
              + " does with attention patterns, scales of norms and other latents held, as graph"
              + " --transcoders has it, beside what it does when less is held, and the difference.")
  private Optional<String> transcoders = Optional.empty();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "With --transcoders: how many other latents to tell of. Default: " + TOP + ".")
  private Optional<Integer> top = Optional.empty();

  AblateCommand(PrintWriter out) {
    this.out = out;
  }

  /**
   * What a change did.
   *
   * @param predicted how much the metric would change if it were linear, where that is known
   */
  record Outcome(
      String nodes, OptionalDouble predicted, double after, List<Prediction> predictions) {}

  @Override
  public Integer call() throws IOException {
    requireArgument(Double.isFinite(scale), "--scale is %s, it must be a number", scale);
    requireArgument(
        set.isEmpty() || Double.isFinite(set.get()),
        "--set is %s, it must be a number",
        set.orElse(0.0));
    requireArgument(
        set.isEmpty() || scale == 0, "--set and --scale say two things about the same nodes");
    Set<Node> seen = new HashSet<>();
    for (Node node : named) {
      requireArgument(seen.add(node), "%s is named twice", node);
      requireArgument(
          node.asSource().isPresent(), "%s writes nothing that could be taken out", node);
    }
    requireArgument(
        transcoders.isPresent() || top.isEmpty(), "--top says how much of --transcoders to tell");
    top.ifPresent(count -> requireArgument(count >= 1, "--top is %d, it must be 1 or more", count));
    List<Latent> latents = transcoders.isPresent() ? latents() : List.of();
    String report;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Subject subject = options.open(progress);
      if (transcoders.isPresent()) {
        report = held(subject, latents);
      } else {
        named.forEach(subject::requireUpstream);
        List<Outcome> outcomes = outcomes(subject);
        report =
            options.json()
                ? JsonReport.of(subject, outcomes)
                : TextReport.of(subject, outcomes, what());
      }
    }
    out.print(report);
    return ExitCode.OK;
  }

  private List<Latent> latents() {
    List<Latent> latents = new ArrayList<>();
    for (Node node : named) {
      requireArgument(
          node instanceof Latent,
          "%s is no latent of --transcoders, such as L0.transcoder_latent5[3]",
          node);
      latents.add((Latent) node);
    }
    return latents;
  }

  /** Each latent alone, then all together. */
  private String held(Subject subject, List<Latent> latents) throws IOException {
    requireArgument(
        subject.metric().trace().isEmpty(),
        "--transcoders change logits, and no node is traced through them: leave out --trace");
    Run run = HeldEffects.run(subject, transcoders.orElseThrow());
    List<ReplacementIntervention.Edit> edits = new ArrayList<>();
    for (Latent latent : latents) {
      latent.requireIn(run);
      double before = latent.activation(run).orElseThrow();
      edits.add(new ReplacementIntervention.Edit(latent, set.orElse(scale * before)));
    }
    List<HeldEffects> effects = new ArrayList<>();
    for (ReplacementIntervention.Edit edit : edits) {
      effects.add(HeldEffects.of(subject, run, List.of(edit), top.orElse(TOP)));
    }
    if (edits.size() > 1) {
      effects.add(HeldEffects.of(subject, run, edits, top.orElse(TOP)));
    }
    return options.json()
        ? HeldEffects.json(subject, run, effects)
        : HeldEffects.text(subject, run, effects);
  }

  private String what() {
    if (set.isPresent()) {
      return "set to " + Table.number(set.get());
    }
    return scale == 0 ? "taken out" : "times " + Table.number(scale);
  }

  private List<Outcome> outcomes(Subject subject) {
    NodeAttribution nodes = subject.nodes();
    Readings attribution = nodes.activationTimesGradient();
    List<Change> all = new ArrayList<>();
    List<Outcome> outcomes = new ArrayList<>();
    for (Node node : named) {
      Source source = node.asSource().orElseThrow();
      Change change =
          set.isPresent()
              ? Ablation.set(nodes.run(), source, set.get())
              : Ablation.scale(nodes.run(), source, scale);
      all.add(change);
      OptionalDouble predicted =
          set.isPresent()
              ? OptionalDouble.empty()
              : OptionalDouble.of((scale - 1) * attribution.of(source).orElseThrow());
      outcomes.add(outcome(subject, node.toString(), predicted, List.of(change)));
    }
    if (named.size() > 1) {
      double sum = 0;
      boolean known = true;
      for (Outcome outcome : outcomes) {
        known &= outcome.predicted.isPresent();
        sum += outcome.predicted.orElse(0);
      }
      outcomes.add(
          outcome(
              subject,
              "all together",
              known ? OptionalDouble.of(sum) : OptionalDouble.empty(),
              all));
    }
    return outcomes;
  }

  private static Outcome outcome(
      Subject subject, String nodes, OptionalDouble predicted, List<Change> changes) {
    try (Scope scope = Scope.open()) {
      Effect effect =
          Effect.of(
              subject.nodes().run(), subject.nodes().metric(), changes.toArray(new Change[0]));
      List<Prediction> predictions = subject.predictor().apply(effect.changed());
      return new Outcome(nodes, predicted, effect.metricAfter(), predictions);
    }
  }
}

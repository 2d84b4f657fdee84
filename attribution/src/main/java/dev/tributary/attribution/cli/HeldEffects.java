package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.number;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.ReplacementIntervention;
import dev.tributary.attribution.ReplacementIntervention.Edit;
import dev.tributary.attribution.ReplacementIntervention.Held;
import dev.tributary.attribution.cli.Subject.Prediction;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Run;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;

/**
 * What becomes of a run when latents of its transcoders are set: with all held that a replacement
 * graph holds, which its edges say, beside what the model does when less is held.
 *
 * @param edits made together
 * @param rows what changes
 */
record HeldEffects(List<Edit> edits, List<Row> rows) {
  /**
   * A number of the run, and what becomes of it.
   *
   * @param name what it is
   * @param before the edits
   * @param held after them, with {@link Held#ALL}
   * @param patterns with {@link Held#PATTERNS}
   * @param open with {@link Held#NOTHING}
   */
  record Row(String name, double before, double held, double patterns, double open) {
    /** What a graph does not see. */
    double unseen() {
      return open - held;
    }

    private double largest() {
      return DoubleStream.of(held, patterns, open)
          .map(after -> Math.abs(after - before))
          .max()
          .orElseThrow();
    }
  }

  /** A run before the edits and after them, in the order of {@link Row}. */
  private record Runs(
      ReplacementIntervention before,
      ReplacementIntervention held,
      ReplacementIntervention patterns,
      ReplacementIntervention open) {
    static Runs of(Run run, List<Edit> edits) {
      return new Runs(
          ReplacementIntervention.of(run, List.of(), Held.ALL),
          ReplacementIntervention.of(run, edits, Held.ALL),
          ReplacementIntervention.of(run, edits, Held.PATTERNS),
          ReplacementIntervention.of(run, edits, Held.NOTHING));
    }

    Row row(String name, ToDoubleFunction<ReplacementIntervention> number) {
      return new Row(
          name,
          number.applyAsDouble(before),
          number.applyAsDouble(held),
          number.applyAsDouble(patterns),
          number.applyAsDouble(open));
    }

    List<double[]> numbers(Function<ReplacementIntervention, Tensor> tensor) {
      return Stream.of(before, held, patterns, open)
          .map(one -> tensor.apply(one).toDoubles())
          .toList();
    }
  }

  /** A run with transcoders, of the prompt that is explained. */
  static Run run(Subject subject, String folder) throws IOException {
    Run base = subject.nodes().run();
    return ReplacementOptions.replaced(base.model(), folder).run(base.tokens());
  }

  /**
   * {@return what becomes of a run}
   *
   * @param subject what is explained of it
   * @param run with transcoders
   * @param edits made together
   * @param top how many latents to tell of, those that change most
   */
  static HeldEffects of(Subject subject, Run run, List<Edit> edits, int top) {
    try (Scope scope = Scope.open()) {
      Runs runs = Runs.of(run, edits);
      List<Row> rows = new ArrayList<>();
      rows.add(runs.row("metric", one -> metric(subject, one)));
      int position = subject.metric().ofLogits().position();
      for (Prediction prediction : subject.predictions()) {
        int id = prediction.word().id();
        rows.add(
            runs.row(
                "logit of " + Table.quoted(prediction.word()),
                one -> one.uncapped().slice(0, position, position + 1).toDoubles()[id]));
      }
      rows.addAll(latents(run, runs, edits, top));
      return new HeldEffects(edits, List.copyOf(rows));
    }
  }

  private static double metric(Subject subject, ReplacementIntervention one) {
    int position = subject.metric().ofLogits().position();
    return subject
        .metric()
        .ofLogits()
        .ofLogits(Variable.constant(one.logits().slice(0, position, position + 1)))
        .value()
        .item();
  }

  /** Pre-activations of latents that are active before or after, and are not set themselves. */
  private static List<Row> latents(Run run, Runs runs, List<Edit> edits, int top) {
    Set<Latent> set = edits.stream().map(Edit::latent).collect(Collectors.toSet());
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < run.model().dictionaries().size(); i++) {
      Dictionary dictionary = run.model().dictionaries().get(i);
      int own = i;
      List<double[]> values = runs.numbers(one -> one.latents().get(own));
      List<double[]> taken = runs.numbers(one -> one.preActivations().get(own));
      int count = dictionary.latentCount();
      for (int entry = 0; entry < taken.get(0).length; entry++) {
        int at = entry;
        Latent latent = new Latent(dictionary.id(), entry / count, entry % count);
        if (values.stream().anyMatch(some -> some[at] != 0) && !set.contains(latent)) {
          rows.add(
              new Row(
                  latent.toString(),
                  taken.get(0)[at],
                  taken.get(1)[at],
                  taken.get(2)[at],
                  taken.get(3)[at]));
        }
      }
    }
    double[] largest = rows.stream().mapToDouble(Row::largest).toArray();
    return Arrays.stream(TopK.indices(largest, top))
        .filter(index -> largest[index] > 0)
        .mapToObj(rows::get)
        .toList();
  }

  // ---- as text and as JSON -------------------------------------------------------------------

  static String text(Subject subject, Run run, List<HeldEffects> all) {
    StringBuilder text = new StringBuilder(TextReport.heading(subject));
    for (HeldEffects effects : all) {
      List<String> pieces = new ArrayList<>(List.of("Set:"));
      for (Edit edit : effects.edits) {
        pieces.add(
            "%s from %s to %s%s"
                .formatted(
                    edit.latent(),
                    number(edit.latent().activation(run).orElseThrow()),
                    number(edit.value()),
                    pieces.size() < effects.edits.size() ? "," : ""));
      }
      Table.wrapped(pieces).forEach(line -> append(text, line));
      Table table = new Table(1);
      table.row("change of", "held", "patterns", "open", "unseen");
      for (Row row : effects.rows) {
        table.row(
            row.name,
            number(row.held - row.before),
            number(row.patterns - row.before),
            number(row.open - row.before),
            number(row.unseen()));
      }
      table.lines().forEach(line -> append(text, line));
      append(text, "");
    }
    Table.wrapped(
            List.of(
                "Held: attention patterns, scales of norms and other latents, as edges of",
                "the graph have it. Patterns: these alone. Open: nothing. Unseen: open",
                "less held.",
                "Latents by what their activation function takes"
                    + (run.model().config().unembedding().cap().isPresent()
                        ? ", logits before the cap."
                        : ".")))
        .forEach(line -> append(text, line));
    return text.toString();
  }

  private static void append(StringBuilder text, String line) {
    text.append(line.stripTrailing()).append(System.lineSeparator());
  }

  static String json(Subject subject, Run run, List<HeldEffects> all) {
    ObjectNode json = JsonReport.json(subject);
    json.set("interventions", JsonReport.list(all, effects -> effects.json(run)));
    return JsonReport.text(json);
  }

  private ObjectNode json(Run run) {
    ObjectNode json = JsonReport.object();
    json.set(
        "edits",
        JsonReport.list(
            edits,
            edit ->
                JsonReport.object()
                    .put("latent", edit.latent().toString())
                    .put("before", edit.latent().activation(run).orElseThrow())
                    .put("value", edit.value())));
    json.set(
        "changes",
        JsonReport.list(
            rows,
            row -> {
              ObjectNode one = JsonReport.object().put("of", row.name).put("before", row.before);
              one.put("held", row.held - row.before);
              one.put("patternsHeld", row.patterns - row.before);
              one.put("open", row.open - row.before);
              return one.put("unseen", row.unseen());
            }));
    return json;
  }
}

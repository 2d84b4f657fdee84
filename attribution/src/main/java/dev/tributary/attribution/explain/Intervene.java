package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Latent;
import dev.tributary.attribution.ReplacementIntervention;
import dev.tributary.attribution.ReplacementIntervention.Edit;
import dev.tributary.attribution.ReplacementIntervention.Held;
import dev.tributary.attribution.explain.Overview.Prediction;
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
 * What becomes of a run when latents of its transcoders are changed, each alone and then all
 * together: with all held that a replacement graph holds, which its edges say, beside what the
 * model does when less is held?
 *
 * @param subject what is explained, of words
 * @param latents of the transcoders of the session
 * @param action what is done to them
 * @param top how many other latents to tell of, those that change most
 */
public record Intervene(Subject subject, List<Latent> latents, Ablate.Action action, int top)
    implements Question<Intervene.Intervened> {
  /**
   * Refuses to trace a node, and to tell of nothing.
   *
   * @param subject {@link #subject()}
   * @param latents {@link #latents()}
   * @param action {@link #action()}
   * @param top {@link #top()}
   * @throws IllegalArgumentException if it would
   */
  public Intervene {
    requireArgument(!latents.isEmpty(), "no latent is named that would be changed");
    requireArgument(top >= 1, "top is %d, it must be 1 or more", top);
    requireArgument(
        subject.trace().isEmpty(),
        "transcoders change logits, and no node is traced through them: leave out the trace");
    latents = List.copyOf(latents);
  }

  /**
   * What changes did.
   *
   * @param overview what is explained
   * @param capped whether logits have a cap, before which they are told
   * @param effects of each change alone, then of all together, if there are several
   */
  public record Intervened(Overview overview, boolean capped, List<Effects> effects) {}

  /**
   * What some changes did together.
   *
   * @param edits made together
   * @param changes of numbers of the run
   */
  public record Effects(List<Change> edits, List<Row> changes) {}

  /**
   * A latent that was set.
   *
   * @param latent of the transcoders
   * @param before its activation
   * @param value that it has instead
   */
  public record Change(Latent latent, double before, double value) {}

  /**
   * A number of the run, and how much it changes.
   *
   * @param of what it is
   * @param before the number before
   * @param held its change with {@link Held#ALL}
   * @param patterns with {@link Held#PATTERNS}
   * @param open with {@link Held#NOTHING}
   */
  public record Row(String of, double before, double held, double patterns, double open) {
    /** {@return what a graph does not see} */
    public double unseen() {
      return open - held;
    }

    private double largest() {
      return DoubleStream.of(held, patterns, open).map(Math::abs).max().orElseThrow();
    }

    private static Row of(String name, double... values) {
      double before = values[0];
      return new Row(name, before, values[1] - before, values[2] - before, values[3] - before);
    }
  }

  @Override
  public Intervened answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    try (Scope scope = Scope.open()) {
      Run base = explanation.run();
      Run run = work.opened().replaced(base.model()).run(base.tokens());
      List<Edit> edits = new ArrayList<>();
      for (Latent latent : latents) {
        latent.requireIn(run);
        double before = latent.activation(run).orElseThrow();
        edits.add(new Edit(latent, action.activation(before)));
      }
      List<Effects> effects = new ArrayList<>();
      for (Edit edit : edits) {
        effects.add(effects(work, explanation, run, List.of(edit)));
      }
      if (edits.size() > 1) {
        effects.add(effects(work, explanation, run, edits));
      }
      return new Intervened(
          explanation.overview(),
          run.model().config().unembedding().cap().isPresent(),
          List.copyOf(effects));
    }
  }

  private Effects effects(Work work, Explanation explanation, Run run, List<Edit> edits) {
    work.enter(Phase.RUN);
    try (Scope scope = Scope.open()) {
      Runs runs = Runs.of(run, edits);
      int position = explanation.ofLogits().position();
      List<Row> rows = new ArrayList<>();
      rows.add(
          runs.row(
              "metric",
              one ->
                  explanation
                      .ofLogits()
                      .ofLogits(Variable.constant(one.logits().slice(0, position, position + 1)))
                      .value()
                      .item()));
      for (Prediction prediction : explanation.overview().predictions()) {
        int id = prediction.word().id();
        rows.add(
            runs.row(
                "logit of " + prediction.word().quoted(),
                one -> one.uncapped().slice(0, position, position + 1).toDoubles()[id]));
      }
      rows.addAll(latents(run, runs, edits));
      return new Effects(
          edits.stream()
              .map(
                  edit ->
                      new Change(
                          edit.latent(), edit.latent().activation(run).orElseThrow(), edit.value()))
              .toList(),
          List.copyOf(rows));
    }
  }

  /** Pre-activations of latents that are active before or after, and are not set themselves. */
  private List<Row> latents(Run run, Runs runs, List<Edit> edits) {
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
              Row.of(latent.toString(), taken.stream().mapToDouble(some -> some[at]).toArray()));
        }
      }
    }
    double[] largest = rows.stream().mapToDouble(Row::largest).toArray();
    return Arrays.stream(TopK.indices(largest, top))
        .filter(index -> largest[index] > 0)
        .mapToObj(rows::get)
        .toList();
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
      return Row.of(name, all().mapToDouble(number).toArray());
    }

    List<double[]> numbers(Function<ReplacementIntervention, Tensor> tensor) {
      return all().map(one -> tensor.apply(one).toDoubles()).toList();
    }

    private Stream<ReplacementIntervention> all() {
      return Stream.of(before, held, patterns, open);
    }
  }
}

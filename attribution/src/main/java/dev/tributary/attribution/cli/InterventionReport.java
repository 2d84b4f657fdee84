package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.number;

import dev.tributary.attribution.explain.Intervene.Change;
import dev.tributary.attribution.explain.Intervene.Effects;
import dev.tributary.attribution.explain.Intervene.Intervened;
import dev.tributary.attribution.explain.Intervene.Row;
import java.util.ArrayList;
import java.util.List;

/** What becomes of a run whose latents are set, as text for a terminal of 80 columns. */
final class InterventionReport {
  private final Lines text = new Lines();

  private InterventionReport() {}

  static String of(Intervened intervened) {
    InterventionReport report = new InterventionReport();
    intervened.effects().forEach(report::effects);
    report.text.wrapped(
        List.of(
            "Held: attention patterns, scales of norms and other latents, as edges of",
            "the graph have it. Patterns: these alone. Open: nothing. Unseen: open",
            "less held.",
            "Latents by what their activation function takes"
                + (intervened.capped() ? ", logits before the cap." : ".")));
    return TextReport.heading(intervened.overview()) + report.text;
  }

  private void effects(Effects effects) {
    List<String> pieces = new ArrayList<>(List.of("Set:"));
    for (Change edit : effects.edits()) {
      pieces.add(
          "%s from %s to %s%s"
              .formatted(
                  edit.latent(),
                  number(edit.before()),
                  number(edit.value()),
                  pieces.size() < effects.edits().size() ? "," : ""));
    }
    text.wrapped(pieces);
    Table table = new Table(1);
    table.row("change of", "held", "patterns", "open", "unseen");
    for (Row row : effects.changes()) {
      table.row(
          row.of(),
          number(row.held()),
          number(row.patterns()),
          number(row.open()),
          number(row.unseen()));
    }
    text.add(table);
    text.add("");
  }
}

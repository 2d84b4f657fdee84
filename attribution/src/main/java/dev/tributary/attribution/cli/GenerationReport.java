package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.INDENT;

import dev.tributary.attribution.Edit;
import dev.tributary.attribution.explain.Generate;
import dev.tributary.attribution.explain.Generate.Continued;
import dev.tributary.attribution.explain.Generate.Draws;
import dev.tributary.attribution.explain.Generate.Generated;
import dev.tributary.attribution.explain.Generate.Next;
import dev.tributary.attribution.explain.Listener;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.attribution.explain.Word;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/** How a prompt goes on, as text that is printed while it is said. */
final class GenerationReport implements Listener {
  private final PrintWriter out;
  private final TerminalProgress progress;
  private final List<Word> prompt;
  private final Generate question;

  /**
   * @param progress of what comes before the first word
   * @param prompt in tokens
   */
  GenerationReport(
      PrintWriter out, TerminalProgress progress, List<Word> prompt, Generate question) {
    this.out = out;
    this.progress = progress;
    this.prompt = prompt;
    this.question = question;
  }

  @Override
  public void enter(Phase phase) {
    progress.enter(phase);
  }

  @Override
  public void at(int done, int total) {
    progress.at(done, total);
  }

  @Override
  public void begun(boolean edited) {
    if (edited) {
      List<String> pieces = new ArrayList<>(List.of("Edited:"));
      for (Edit edit : question.edits()) {
        pieces.add(words(edit) + (pieces.size() < question.edits().size() ? "," : ""));
      }
      Table.wrapped(pieces).forEach(out::println);
    } else {
      progress.close(); // its bar would be among the words
      begin();
      out.println("The model goes on");
    }
    out.print(INDENT);
    out.flush();
  }

  @Override
  public void said(boolean edited, String more) {
    out.print(Table.printed(more).replace("\n", "\n" + INDENT));
    out.flush();
  }

  private void begin() {
    TextReport.prompt(prompt).forEach(out::println);
    out.println();
    if (question.draws().isPresent()) {
      Draws own = question.draws().get();
      List<String> pieces =
          new ArrayList<>(List.of("Drawn at temperature " + Table.number(own.temperature()) + ","));
      own.topK().ifPresent(k -> pieces.add("of the " + k + " most probable tokens,"));
      if (own.topP() < 1) {
        pieces.add("of the most probable " + Table.percent(own.topP()) + ",");
      }
      pieces.add("seed " + own.seed());
      Table.wrapped(pieces).forEach(out::println);
      out.println();
    }
  }

  /** An edit, such as "L1.neuron77[9] set to 2". */
  private static String words(Edit edit) {
    if (edit.factor() == 0) {
      return edit.addend() == 0
          ? edit + " removed"
          : edit + " set to " + Table.number(edit.addend());
    }
    return edit.addend() == 0
        ? edit + " times " + Table.number(edit.factor())
        : edit + " plus " + Table.number(edit.addend());
  }

  @Override
  public void continued(boolean edited, Continued text) {
    int count = text.tokens().size();
    out.println();
    out.println(
        INDENT
            + switch (text.ending()) {
              case TOKEN -> "(ended by " + text.tokens().get(count - 1).quoted() + ")";
              case LENGTH -> "(" + count + " tokens; more with --max-tokens)";
              case CONTEXT -> "(" + count + " tokens; the context of this model is full)";
            });
    out.println();
  }

  /** Prints what comes when all is said. */
  void end(Generated generated) {
    boolean edited = generated.edited().isPresent();
    out.println("Most probable next words" + (edited ? ", and when edited" : ""));
    Table table = new Table(1);
    if (edited) {
      table.row("", "", "edited", "change");
    }
    for (Next next : generated.predictions()) {
      String word = next.word().quoted();
      double before = next.probability();
      if (edited) {
        double after = next.edited().orElseThrow();
        table.row(word, Table.number(before), Table.number(after), Table.number(after - before));
      } else {
        table.row(word, Table.number(before));
      }
    }
    table.lines().forEach(out::println);
  }
}

package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.INDENT;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Edit;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.cli.GenerateCommand.Draws;
import dev.tributary.attribution.cli.PromptOptions.Prompt;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.core.DType;
import dev.tributary.core.TopK;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** How a prompt goes on, told while it does; as JSON when all is said. */
final class GenerationReport {
  /** Why a text goes on no further. */
  enum Ending {
    /** The model ended it. */
    TOKEN,
    /** It is as long as it may be. */
    LENGTH,
    /** The model reads no more. */
    CONTEXT
  }

  /** What followed a prompt. */
  record Continued(String text, List<Word> tokens, Ending ending) {}

  private final PrintWriter out;
  private final boolean json;
  private final Prompt prompt;
  private final DType dtype;
  private final List<Edit> edits;
  private final Optional<Draws> draws;

  /** As the model is, then edited. */
  private final List<Continued> all = new ArrayList<>();

  /** Of each, the probability of every word right behind the prompt. */
  private final List<double[]> next = new ArrayList<>();

  /** What has been printed of the text that is being said. */
  private String printed = "";

  GenerationReport(
      PrintWriter out,
      boolean json,
      Prompt prompt,
      DType dtype,
      List<Edit> edits,
      Optional<Draws> draws) {
    this.out = out;
    this.json = json;
    this.prompt = prompt;
    this.dtype = dtype;
    this.edits = edits;
    this.draws = draws;
  }

  void begin() {
    if (json) {
      return;
    }
    TextReport.prompt(prompt.words()).forEach(out::println);
    out.println();
    if (draws.isPresent()) {
      Draws own = draws.get();
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

  /** What follows is said by the model as it is, or by the edited one. */
  void beginText(double[] probabilities) {
    next.add(probabilities);
    printed = "";
    if (json) {
      return;
    }
    if (all.isEmpty()) {
      out.println("The model goes on");
    } else {
      List<String> pieces = new ArrayList<>(List.of("Edited:"));
      for (Edit edit : edits) {
        pieces.add(words(edit) + (pieces.size() < edits.size() ? "," : ""));
      }
      Table.wrapped(pieces).forEach(out::println);
    }
    out.print(INDENT);
    out.flush();
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

  /** Shows what is new. */
  void text(List<Integer> said) {
    if (json) {
      return;
    }
    int[] tokens = said.stream().mapToInt(Integer::intValue).toArray();
    String text = prompt.tokenizer().continuation(prompt.tokens(), tokens);
    out.print(Table.printed(text.substring(printed.length())).replace("\n", "\n" + INDENT));
    out.flush();
    printed = text;
  }

  void add(Continued continued) {
    all.add(continued);
    if (!json) {
      int count = continued.tokens().size();
      out.println();
      out.println(
          INDENT
              + switch (continued.ending()) {
                case TOKEN -> "(ended by " + Table.quoted(continued.tokens().get(count - 1)) + ")";
                case LENGTH -> "(" + count + " tokens; more with --max-tokens)";
                case CONTEXT -> "(" + count + " tokens; the context of this model is full)";
              });
      out.println();
    }
  }

  void end() {
    if (json) {
      out.print(JsonReport.text(json()));
      return;
    }
    out.println("Most probable next words" + (all.size() > 1 ? ", and when edited" : ""));
    Table table = new Table(1);
    if (all.size() > 1) {
      table.row("", "", "edited", "change");
    }
    for (int id : likely()) {
      double before = next.get(0)[id];
      String word = Table.quoted(prompt.word(id));
      if (all.size() == 1) {
        table.row(word, Table.number(before));
      } else {
        double after = next.get(1)[id];
        table.row(word, Table.number(before), Table.number(after), Table.number(after - before));
      }
    }
    table.lines().forEach(out::println);
  }

  /** The most probable words of each text. */
  private Set<Integer> likely() {
    Set<Integer> ids = new LinkedHashSet<>();
    for (double[] probabilities : next) {
      for (int id : TopK.indices(probabilities, SubjectOptions.PREDICTIONS)) {
        ids.add(id);
      }
    }
    return ids;
  }

  private ObjectNode json() {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    root.put("model", prompt.model());
    root.put("dtype", Lowercase.of(dtype));
    root.set("tokens", JsonReport.tokens(prompt.words(), 0));
    for (Edit edit : edits) {
      ObjectNode one = root.withArray("edits").addObject().put("part", edit.part().toString());
      if (edit.part() instanceof Edit.OfHeadPair pair) {
        one.put("key", pair.key());
      }
      one.put("firstToken", edit.tokens().first());
      if (!edit.tokens().isOpen()) {
        one.put("lastToken", edit.tokens().end() - 1);
      }
      one.put("factor", edit.factor()).put("addend", edit.addend());
    }
    draws.ifPresent(
        own -> {
          ObjectNode drawn = root.putObject("drawn").put("temperature", own.temperature());
          own.topK().ifPresent(k -> drawn.put("topK", k));
          drawn.put("topP", own.topP()).put("seed", own.seed());
        });
    root.set("continuation", json(all.get(0)));
    if (all.size() > 1) {
      root.set("edited", json(all.get(1)));
    }
    for (int id : likely()) {
      ObjectNode word = root.withArray("predictions").addObject();
      word.setAll(JsonReport.json(prompt.word(id)));
      word.put("probability", next.get(0)[id]);
      if (all.size() > 1) {
        word.put("edited", next.get(1)[id]);
      }
    }
    return root;
  }

  private ObjectNode json(Continued continued) {
    ObjectNode one = JsonNodeFactory.instance.objectNode().put("text", continued.text());
    one.set("tokens", JsonReport.tokens(continued.tokens(), prompt.tokens().length));
    return one.put("ending", Lowercase.of(continued.ending()));
  }
}

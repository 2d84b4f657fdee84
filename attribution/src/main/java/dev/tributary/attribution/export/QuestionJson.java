package dev.tributary.attribution.export;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.Edit;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeFilter;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.Stage;
import dev.tributary.attribution.explain.Ablate;
import dev.tributary.attribution.explain.Attend;
import dev.tributary.attribution.explain.Attribute;
import dev.tributary.attribution.explain.Compare;
import dev.tributary.attribution.explain.Describe;
import dev.tributary.attribution.explain.Edges;
import dev.tributary.attribution.explain.Generate;
import dev.tributary.attribution.explain.Graph;
import dev.tributary.attribution.explain.Inspect;
import dev.tributary.attribution.explain.Intervene;
import dev.tributary.attribution.explain.NamedEdge;
import dev.tributary.attribution.explain.Predict;
import dev.tributary.attribution.explain.Prompt;
import dev.tributary.attribution.explain.Question;
import dev.tributary.attribution.explain.Range;
import dev.tributary.attribution.explain.Search;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.attribution.explain.Verify;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;

/** Questions as JSON, see docs/answer-json.md. */
public final class QuestionJson {
  private static final int TOP = 10;
  private static final int LOADINGS = 30;
  private static final int ALTERNATIVES = 5;
  private static final int TOKENS = 40;

  /** By what they are called. */
  private static final Map<String, Function<Form, Question<?>>> KINDS =
      new TreeMap<>(
          Map.ofEntries(
              Map.entry("ablate", QuestionJson::ablate),
              Map.entry("attend", QuestionJson::attend),
              Map.entry("attribute", QuestionJson::attribute),
              Map.entry("compare", QuestionJson::compare),
              Map.entry("describe", QuestionJson::describe),
              Map.entry("edges", QuestionJson::edges),
              Map.entry("generate", QuestionJson::generate),
              Map.entry("graph", QuestionJson::graph),
              Map.entry("inspect", form -> new Inspect()),
              Map.entry("intervene", QuestionJson::intervene),
              Map.entry("predict", QuestionJson::predict),
              Map.entry("search", QuestionJson::search),
              Map.entry("verify", QuestionJson::verify)));

  private QuestionJson() {}

  /** What questions are called. */
  static Set<String> kinds() {
    return KINDS.keySet();
  }

  /**
   * {@return the question that an object asks}
   *
   * @param text of the object
   * @throws IllegalArgumentException if it is no question, with what is wrong with it
   */
  public static Question<?> read(String text) {
    JsonNode json;
    try {
      json = JsonText.tree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("this is not JSON", e);
    }
    return Form.read(
        json,
        "the question",
        form -> {
          String kind = form.text("question");
          requireArgument(
              KINDS.containsKey(kind), "\"%s\" is no question: there are %s", kind, KINDS.keySet());
          return Objects.requireNonNull(KINDS.get(kind)).apply(form);
        });
  }

  // ---- what is asked about -------------------------------------------------------------------

  private static Subject subject(Form form) {
    Prompt prompt = prompt(form);
    return new Subject(
        prompt,
        form.integer("position", -1),
        form.texts("targets"),
        form.texts("distractors"),
        form.named("trace", Node::parse),
        form.one(Stage.class, "stage", Stage.ACTIVATION),
        form.one(ScaleGradient.class, "scale_gradient", ScaleGradient.LIVE),
        form.optionalTexts("basis"));
  }

  private static Prompt prompt(Form form) {
    return new Prompt(
        form.text("prompt"),
        form.one(Prompt.Wrapping.class, "wrapping", Prompt.Wrapping.TOKENIZER));
  }

  private static Optional<Range> range(Form form, String field) {
    return form.form(
        field,
        range -> {
          int first = range.integer("first", 0);
          return new Range(first, range.integer("last", first));
        });
  }

  private static Node node(Form form, String field) {
    return Node.parse(form.text(field));
  }

  private static List<Node> nodes(Form form, String field) {
    return form.texts(field).stream().map(Node::parse).toList();
  }

  private static int top(Form form) {
    return form.integer("top", TOP);
  }

  // ---- questions -----------------------------------------------------------------------------

  private static Question<?> ablate(Form form) {
    return new Ablate(subject(form), nodes(form, "nodes"), action(form), top(form));
  }

  private static Ablate.Action action(Form form) {
    Optional<Ablate.Action> action =
        form.form(
            "action",
            own -> {
              requireArgument(
                  own.has("factor") != own.has("activation"),
                  "\"action\" has a \"factor\" or an \"activation\"");
              return own.has("factor")
                  ? new Ablate.Scale(own.number("factor", 0))
                  : new Ablate.Put(own.number("activation", 0));
            });
    return action.orElse(Ablate.Action.REMOVE);
  }

  private static Question<?> attend(Form form) {
    return new Attend(
        subject(form),
        form.texts("edges").stream().map(NamedEdge::of).toList(),
        QuestionJson.<HeadPair>nodes(form, "heads", HeadPair.class, "head at a pair of tokens"),
        form.optionalInteger("against"),
        top(form));
  }

  private static <N extends Node> List<N> nodes(
      Form form, String field, Class<N> type, String what) {
    List<N> found = new ArrayList<>();
    for (Node node : nodes(form, field)) {
      requireArgument(type.isInstance(node), "%s is no %s", node, what);
      found.add(type.cast(node));
    }
    return found;
  }

  private static Question<?> attribute(Form form) {
    return new Attribute(subject(form), range(form, "tokens"), top(form));
  }

  private static Question<?> compare(Form form) {
    return new Compare(
        subject(form),
        form.form("other", QuestionJson::prompt)
            .orElseThrow(
                () -> new IllegalArgumentException("\"other\" is missing: the other prompt")),
        top(form));
  }

  private static Question<?> describe(Form form) {
    return new Describe(subject(form), node(form, "node"), form.integer("words", TOP));
  }

  private static Question<?> edges(Form form) {
    return new Edges(
        subject(form),
        form.named("into", Node::parse),
        form.named("from", Node::parse),
        range(form, "tokens"),
        top(form));
  }

  private static Question<?> generate(Form form) {
    return new Generate(
        prompt(form),
        form.forms("edits", QuestionJson::edit),
        form.integer("max_tokens", TOKENS),
        form.form(
            "draws",
            own ->
                new Generate.Draws(
                    own.number("temperature", 1),
                    own.optionalInteger("top_k"),
                    own.number("top_p", 1),
                    own.longInteger("seed"))));
  }

  private static Edit edit(Form form) {
    Edit part = Edit.parse(form.text("part"));
    return part.scale(form.number("factor", 0)).add(form.number("addend", 0));
  }

  private static Question<?> graph(Form form) {
    Graph.Choice choice =
        form.has("among")
            ? new Graph.Among(nodes(form, "among"))
            : form.form("replaced", QuestionJson::replaced)
                .<Graph.Choice>map(replaced -> replaced)
                .orElseGet(() -> counted(form));
    return new Graph(
        subject(form),
        choice,
        form.form("pruning", QuestionJson::pruning)
            .orElse(choice instanceof Graph.Among ? Graph.Pruning.NONE : Graph.Pruning.USUAL),
        form.integer("loadings", LOADINGS));
  }

  private static Graph.Choice counted(Form form) {
    int count = form.integer("nodes", Graph.Grown.USUAL);
    return form.flag("strongest") ? new Graph.Strongest(count) : new Graph.Grown(count);
  }

  private static Graph.Replaced replaced(Form form) {
    Settings settings =
        form.flag("as_circuit_tracer") ? Settings.ofCircuitTracer() : Settings.standard();
    return new Graph.Replaced(
        settings.withMostLatents(form.integer("latents", settings.mostLatents())),
        form.integer("logits", Graph.Replaced.LOGITS));
  }

  private static Graph.Pruning pruning(Form form) {
    return new Graph.Pruning(
        form.form(
            "shares", own -> new Graph.Shares(own.number("nodes", 1), own.number("edges", 1))),
        form.optionalNumber("threshold"),
        form.optionalInteger("top"));
  }

  private static Question<?> intervene(Form form) {
    return new Intervene(
        subject(form),
        QuestionJson.<Latent>nodes(form, "latents", Latent.class, "latent"),
        action(form),
        top(form));
  }

  private static Question<?> predict(Form form) {
    return new Predict(prompt(form), form.integer("alternatives", ALTERNATIVES));
  }

  private static Question<?> search(Form form) {
    return new Search(
        subject(form),
        form.form("from", own -> ends(own, NodeFilter.sources())).orElse(Search.Ends.ALL),
        form.form("into", own -> ends(own, NodeFilter.targets())).orElse(Search.Ends.ALL),
        form.number("at_least", 0),
        top(form));
  }

  private static Search.Ends ends(Form form, Map<String, Class<? extends Node>> words) {
    List<Class<? extends Node>> kinds = new ArrayList<>();
    for (String word : form.texts("kinds")) {
      Class<? extends Node> kind = words.get(word);
      requireArgument(kind != null, "\"%s\" is none of %s", word, words.keySet());
      kinds.add(kind);
    }
    return new Search.Ends(kinds, range(form, "layers"), range(form, "tokens"));
  }

  private static Question<?> verify(Form form) {
    return new Verify(subject(form), NamedEdge.of(form.text("edge")));
  }
}

package dev.tributary.attribution.viewer;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import dev.tributary.attribution.explain.Subject;
import java.util.List;

/**
 * The page on which a reader asks a model questions: one file, which holds no answer of any model
 * and asks the server that it came from.
 */
public final class ExplorePage {
  private static final String TEXT =
      new Page(
              "explore",
              "Tributary",
              List.of("parts.css"),
              List.of("d3-path", "d3-shape", "d3-format", "d3-selection"),
              List.of(
                  "circuit.js",
                  "parts.js",
                  "ask.js",
                  "view.js",
                  "prompt.js",
                  "table.js",
                  "card.js",
                  "graph.js",
                  "keep.js"),
              Page.ITS_SERVER)
          .around(JsonNodeFactory.instance.objectNode().put("prompt", Subject.EXAMPLE).toString());

  private ExplorePage() {}

  /** {@return the text of the page, HTML} */
  public static String text() {
    return TEXT;
  }
}

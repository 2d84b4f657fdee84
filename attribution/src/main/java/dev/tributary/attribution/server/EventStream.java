package dev.tributary.attribution.server;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/** Server-sent events of one answer. */
final class EventStream {
  private final OutputStream out;

  EventStream(OutputStream out) {
    this.out = out;
  }

  /** Says what happened. */
  void event(String name, JsonNode data) throws IOException {
    write("event: " + name + "\ndata: " + data + "\n\n"); // a tree is one line of text
  }

  /** Says nothing, to learn whether anybody listens. */
  void silence() throws IOException {
    write(":\n\n");
  }

  private void write(String text) throws IOException {
    out.write(text.getBytes(StandardCharsets.UTF_8));
    out.flush();
  }
}

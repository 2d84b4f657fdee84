package dev.tributary.attribution.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.explain.Attribute;
import dev.tributary.attribution.explain.Edges;
import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.attribution.export.AnswerJson;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class ServerTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final HttpClient CLIENT = HttpClient.newHttpClient();
  private static final String EXAMPLE =
      "\"prompt\": \"%s\", \"targets\": [\"Mary\"], \"distractors\": [\"John\"]"
          .formatted(Subject.EXAMPLE);
  private static final String ATTRIBUTE = "{\"question\": \"attribute\", %s, \"top\": 5}";
  private static final String LONG =
      "{\"question\": \"graph\", %s, \"nodes\": 2000, \"loadings\": 100000}";

  private static Session session;
  private static Server server;

  @BeforeAll
  static void open() throws IOException {
    session = Session.open(ModelChoice.shipped());
    server = Server.open(session, "127.0.0.1", 0);
  }

  @AfterAll
  static void close() {
    server.close();
    session.close();
  }

  private static HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.port() + path))
        .header("Authorization", "Bearer " + server.token());
  }

  private static HttpRequest.Builder asking(String question) {
    return request("/api/questions")
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofString(question));
  }

  private static HttpResponse<String> send(HttpRequest.Builder request) throws Exception {
    return CLIENT.send(request.build(), BodyHandlers.ofString());
  }

  private static JsonNode json(HttpResponse<String> response) throws IOException {
    return MAPPER.readTree(response.body());
  }

  private static void assertRefused(int status, String says, HttpResponse<String> response)
      throws IOException {
    assertEquals(status, response.statusCode(), response.body());
    String sentence = json(response).get("error").textValue();
    assertTrue(sentence.contains(says), sentence);
    assertFalse(sentence.contains("Exception"), sentence);
  }

  private static String example(String question) {
    return question.formatted(EXAMPLE);
  }

  @Test
  void answer_isThatOfTheSession() throws Exception {
    HttpResponse<String> response = send(asking(example(ATTRIBUTE)));
    assertEquals(200, response.statusCode(), response.body());
    JsonNode expected =
        MAPPER.readTree(AnswerJson.of(session.answer(new Attribute(Subject.example(), 5))));
    assertEquals(expected, json(response));
    String edges = "{\"question\": \"edges\", %s, \"into\": \"L2.head5[14<-7]\", \"top\": 3}";
    assertEquals(
        MAPPER.readTree(
            AnswerJson.of(
                session.answer(Edges.into(Subject.example(), Node.parse("L2.head5[14<-7]"), 3)))),
        json(send(asking(example(edges)))));
  }

  @Test
  void everyKindOfQuestion_isAnswered() throws Exception {
    List<String> questions =
        List.of(
            "{\"question\": \"inspect\"}",
            "{\"question\": \"predict\", \"prompt\": \"The keys\"}",
            "{\"question\": \"attribute\", %s}",
            "{\"question\": \"edges\", %s, \"from\": \"L0.neuron376[14]\"}",
            "{\"question\": \"verify\", %s, \"edge\": \"L0.head1[7<-2]->metric\"}",
            "{\"question\": \"search\", %s, \"from\": {\"kinds\": [\"neuron\"], \"layers\":"
                + " {\"first\": 0, \"last\": 1}}, \"at_least\": 0.01}",
            "{\"question\": \"ablate\", %s, \"nodes\": [\"L0.head1[7<-2]\"], \"action\":"
                + " {\"factor\": 2}}",
            "{\"question\": \"attend\", %s, \"heads\": [\"L2.head5[14<-7]\"], \"edges\":"
                + " [\"token_embedding[2]->metric\"], \"against\": 2}",
            "{\"question\": \"describe\", %s, \"node\": \"L1.neuron77[9]\"}",
            "{\"question\": \"compare\", %s, \"other\": {\"prompt\": \"When Mary and John went to"
                + " the store , Mary gave a drink to\"}}",
            "{\"question\": \"graph\", %s, \"nodes\": 20, \"loadings\": 2}",
            "{\"question\": \"generate\", \"prompt\": \"The keys\", \"max_tokens\": 3, \"edits\":"
                + " [{\"part\": \"L2.head5\"}], \"draws\": {\"seed\": 3, \"temperature\": 0.5}}");
    for (String question : questions) {
      HttpResponse<String> response = send(asking(example(question)));
      assertEquals(200, response.statusCode(), question + response.body());
      assertEquals(2, json(response).get("version").intValue(), question);
    }
  }

  @Test
  void words_beginAsTyped() throws Exception {
    JsonNode words = json(send(request("/api/words?text=mar"))).get("words");
    assertTrue(words.size() > 0);
    for (JsonNode word : words) {
      assertTrue(word.get("text").textValue().strip().toLowerCase(Locale.ROOT).startsWith("mar"));
    }
  }

  @Test
  void malformedQuestions_areRefusedInASentence() throws Exception {
    assertRefused(400, "not JSON", send(asking("{")));
    assertRefused(400, "no object", send(asking("[]")));
    assertRefused(400, "no object", send(asking("")));
    assertRefused(400, "\"question\" is not a text", send(asking("{}")));
    assertRefused(400, "\"nothing\" is no question", send(asking("{\"question\": \"nothing\"}")));
    assertRefused(
        400,
        "no field [tops]",
        send(asking("{\"question\": \"attribute\", \"prompt\": \"the\", \"tops\": 4}")));
    assertRefused(
        400,
        "\"top\" is not a whole number",
        send(asking("{\"question\": \"attribute\", \"prompt\": \"the\", \"top\": 1.5}")));
    assertRefused(
        400, "the prompt is empty", send(asking("{\"question\": \"predict\", \"prompt\": \" \"}")));
    assertRefused(
        422,
        "\"unicorn\" is not in the vocabulary",
        send(asking("{\"question\": \"predict\", \"prompt\": \"The unicorn\"}")));
    assertRefused(
        422,
        "no transcoders",
        send(asking(example("{\"question\": \"graph\", %s, \"replaced\": {}}"))));
    assertRefused(
        413, "at most", send(asking("{\"question\": \"" + "x".repeat(Server.BODY) + "\"}")));
    assertRefused(
        415,
        "application/json",
        send(
            request("/api/questions")
                .header("Content-Type", "text/plain")
                .POST(BodyPublishers.ofString(example(ATTRIBUTE)))));
    assertRefused(405, "POST", send(request("/api/questions")));
    assertRefused(404, "nothing at /api/nowhere", send(request("/api/nowhere")));
  }

  /** A request as bytes, whatever its headers. */
  private static String raw(String... lines) throws IOException {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), server.port())) {
      OutputStream out = socket.getOutputStream();
      out.write((String.join("\r\n", lines) + "\r\n\r\n").getBytes(StandardCharsets.UTF_8));
      out.flush();
      InputStream in = socket.getInputStream();
      return new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8)).readLine();
    }
  }

  @Test
  void strangers_areTurnedAway() throws Exception {
    String own = "Host: 127.0.0.1:" + server.port();
    String token = "Authorization: Bearer " + server.token();
    String get = "GET /api/words?text=ma HTTP/1.1";
    String end = "Connection: close";
    assertEquals("HTTP/1.1 200 OK", raw(get, own, token, end));
    assertEquals("HTTP/1.1 200 OK", raw(get, "Host: localhost:" + server.port(), token, end));
    assertTrue(raw(get, own, end).contains(" 401 "));
    assertTrue(raw(get, own, token + "x", end).contains(" 401 "));
    assertTrue(raw(get, own, token, token, end).contains(" 401 "));
    assertTrue(raw(get, "Host: evil.example", token, end).contains(" 421 "));
    assertTrue(raw(get, "Host: 127.0.0.1:1", token, end).contains(" 421 "));
    assertTrue(raw(get, own, token, "Origin: http://evil.example", end).contains(" 403 "));
    assertTrue(raw(get, own, token, "Origin: null", end).contains(" 403 "));
    assertTrue(raw(get, own, token, "Sec-Fetch-Site: cross-site", end).contains(" 403 "));
    assertEquals(
        "HTTP/1.1 200 OK", raw(get, own, token, "Origin: http://127.0.0.1:" + server.port(), end));
    HttpResponse<String> answer = send(request("/api/words?text=ma"));
    assertEquals("no-store", answer.headers().firstValue("Cache-Control").orElseThrow());
    assertTrue(answer.headers().firstValue("Access-Control-Allow-Origin").isEmpty());
  }

  @Test
  void stream_tellsHowFarItIs_thenTheAnswer() throws Exception {
    String question = "{\"question\": \"generate\", \"prompt\": \"The keys\", \"max_tokens\": 6}";
    HttpResponse<String> response = send(asking(question).header("Accept", "text/event-stream"));
    assertEquals(200, response.statusCode());
    StringBuilder said = new StringBuilder();
    JsonNode answer = MissingNode.getInstance();
    for (String event : response.body().strip().split("\n\n", -1)) {
      List<String> lines = event.lines().toList();
      if (lines.get(0).equals("event: said")) {
        said.append(MAPPER.readTree(lines.get(1).substring(6)).get("text").textValue());
      }
      if (lines.get(0).equals("event: answer")) {
        answer = MAPPER.readTree(lines.get(1).substring(6));
      }
    }
    assertEquals(said.toString(), answer.at("/continuation/text").textValue());
    String refused =
        send(asking("{\"question\": \"predict\", \"prompt\": \"The unicorn\"}")
                .header("Accept", "text/event-stream"))
            .body();
    assertTrue(refused.contains("event: refused"), refused);
    assertTrue(refused.contains("422"), refused);
  }

  @Test
  void hosts_thatNobodyCouldAskBy_areRefused() throws Exception {
    for (String all : List.of("0.0.0.0", "::")) {
      Exception refused =
          assertThrows(IllegalArgumentException.class, () -> Server.open(session, all, 0));
      assertEquals(
          all + " is every address of this machine: name the one that others ask it by",
          refused.getMessage());
    }
    Exception unknown =
        assertThrows(IOException.class, () -> Server.open(session, "no-such-host.invalid", 0));
    assertEquals("there is no address no-such-host.invalid", unknown.getMessage());
    assertEquals(
        "http://127.0.0.1:%d/?token=%s".formatted(server.port(), server.token()), server.address());
    assertEquals("[::1]:80", Gate.name("::1", 80));
  }

  /** What has begun cannot be given another status: it is told, and ends before its end. */
  @Test
  void closed_refusesWhatIsInWork() throws Exception {
    Server second = Server.open(session, "127.0.0.1", 0, new Server.Waits(2_000, 0));
    try (RawConnection whole = new RawConnection(second.port());
        RawConnection streamed = new RawConnection(second.port())) {
      whole.send(RawConnection.request(second, example(LONG), false, "whole"));
      whole.awaitAnswer();
      streamed.send(RawConnection.request(second, example(LONG), true, "streamed"));
      streamed.awaitAnswer();
      second.close();
      RawConnection.Reply reply = whole.reply();
      assertFalse(reply.isWhole());
      assertTrue(reply.body().strip().endsWith("{\"error\":\"the server ends\"}"), reply.body());
      RawConnection.Reply events = streamed.reply();
      assertTrue(events.isWhole());
      assertEquals(503, events.finalStatus(), events.body());
    }
  }

  @Test
  void closed_refusesAndEnds() throws Exception {
    try (Session own = Session.open(ModelChoice.shipped())) {
      Server second = Server.open(own, "127.0.0.1", 0);
      second.close();
      try (Session third = Session.open(ModelChoice.shipped());
          Server again = Server.open(third, "127.0.0.1", second.port())) {
        assertTrue(again.port() > 0);
      }
    }
  }
}

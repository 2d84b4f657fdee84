package dev.tributary.attribution.server;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.tributary.attribution.explain.Question;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Word;
import dev.tributary.attribution.export.AnswerJson;
import dev.tributary.attribution.export.QuestionJson;
import dev.tributary.attribution.viewer.ExplorePage;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * Answers questions of programs and pages about one model, over HTTP, to whoever knows its token:
 * one at a time, in turn. The server that the JDK has serves it, which adds nothing to the jar.
 */
public final class Server implements AutoCloseable {
  /** Bytes of a question at most. */
  static final int BODY = 1 << 20;

  /** Questions that wait at most, and those of one client. */
  private static final int WAITING = 256;

  private static final int WAITING_OF_ONE = 32;

  /** Requests at a time at most; others are turned away. */
  private static final int REQUESTS = 512;

  /** After so many milliseconds without news it is found out whether anybody waits. */
  private static final long SILENCE = 250;

  private static final int WORDS = 20;

  private static final String POLICY = "Content-Security-Policy";

  static {
    // seconds for a request to arrive, so that slow ones hold no thread
    if (System.getProperty("sun.net.httpserver.maxReqTime") == null) {
      System.setProperty("sun.net.httpserver.maxReqTime", "30");
    }
  }

  private final Session session;
  private final HttpServer server;
  private final Gate gate;
  private final String host;
  private final FairQueue queue = new FairQueue(WAITING, WAITING_OF_ONE);
  private final Thread answers = new Thread(this::answer, "tributary answers");
  private final ExecutorService requests =
      new ThreadPoolExecutor(
          0, REQUESTS, 10, TimeUnit.SECONDS, new SynchronousQueue<>(), Server::requestThread);

  private Server(Session session, HttpServer server, Gate gate, String host) {
    this.host = host;
    this.session = session;
    this.server = server;
    this.gate = gate;
  }

  private static Thread requestThread(Runnable task) {
    Thread thread = new Thread(task, "tributary request");
    thread.setDaemon(true);
    return thread;
  }

  /**
   * Begins to serve a session.
   *
   * @param session that answers; it stays the caller's to close, after the server
   * @param host an address or name of this machine
   * @param port 0 for any that is free
   * @return the server
   * @throws IOException if the port is taken, or the host none of this machine's
   * @throws IllegalArgumentException if there is no such port, or the host is all addresses at once
   */
  public static Server open(Session session, String host, int port) throws IOException {
    requireArgument(port >= 0 && port <= 65_535, "port %d, there are 0 to 65535", port);
    InetAddress address;
    try {
      address = InetAddress.getByName(host);
    } catch (UnknownHostException e) {
      throw new IOException("there is no address %s".formatted(host), e);
    }
    requireArgument(
        !address.isAnyLocalAddress(),
        "%s is every address of this machine: name the one that others ask it by",
        host);
    HttpServer http;
    try {
      http = HttpServer.create(new InetSocketAddress(address, port), 0);
    } catch (IOException e) {
      throw new IOException("%s port %d: %s".formatted(host, port, e.getMessage()), e);
    }
    List<String> names = new ArrayList<>(List.of(host, address.getHostAddress()));
    if (address.isLoopbackAddress()) {
      names.add("localhost");
    }
    Gate gate = Gate.of(names.stream().distinct().toList(), http.getAddress().getPort());
    Server server = new Server(session, http, gate, host);
    http.setExecutor(server.requests);
    http.createContext("/", server::handle);
    server.answers.setDaemon(true);
    server.answers.start();
    http.start();
    return server;
  }

  /** {@return the port on which it answers} */
  public int port() {
    return server.getAddress().getPort();
  }

  /** {@return the address of its page, with the token} */
  public String address() {
    return "http://%s/?token=%s".formatted(Gate.name(host, port()), token());
  }

  /** {@return what every request has to know} */
  public String token() {
    return gate.token();
  }

  /** Answers the next question as long as there are any. */
  private void answer() {
    try {
      while (true) {
        queue.next().ask(session);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // the server ends
    }
  }

  /** Refuses what waits, and waits for the answer in work, at most so long. */
  @Override
  public void close() {
    queue.close();
    server.stop(1);
    answers.interrupt();
    requests.shutdownNow();
  }

  // ---- requests ------------------------------------------------------------------------------

  private void handle(HttpExchange exchange) {
    try (exchange) {
      try {
        gate.requireOwn(exchange);
        route(exchange);
      } catch (Refused e) {
        refuse(exchange, e.status(), Objects.requireNonNull(e.getMessage()));
      } catch (RuntimeException e) {
        e.printStackTrace();
        refuse(exchange, 500, "this is a mistake of the server: " + e);
      }
    } catch (IOException e) {
      return; // whoever asked is gone
    }
  }

  private void route(HttpExchange exchange) throws IOException {
    String path = exchange.getRequestURI().getPath();
    if (path.equals("/")) {
      requireMethod(exchange, "GET");
      page(exchange);
      return;
    }
    if (!path.startsWith("/api/")) {
      throw new Refused(404, "there is nothing at " + path);
    }
    gate.requireToken(exchange);
    switch (path) {
      case "/api/questions" -> {
        requireMethod(exchange, "POST");
        question(exchange);
      }
      case "/api/words" -> {
        requireMethod(exchange, "GET");
        words(exchange);
      }
      default -> throw new Refused(404, "there is nothing at " + path);
    }
  }

  private static void requireMethod(HttpExchange exchange, String method) {
    if (!exchange.getRequestMethod().equals(method)) {
      exchange.getResponseHeaders().set("Allow", method);
      throw new Refused(405, "this is asked by " + method);
    }
  }

  /** Words that begin in some way. */
  private void words(HttpExchange exchange) throws IOException {
    String beginning = Gate.parameter(exchange.getRequestURI(), "text").orElse("");
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    for (Word word : session.model().wordsThatBegin(beginning, WORDS)) {
      json.withArray("words").addObject().put("id", word.id()).put("text", word.text());
    }
    send(exchange, 200, json);
  }

  private void question(HttpExchange exchange) throws IOException {
    Headers headers = exchange.getRequestHeaders();
    String type = Objects.requireNonNullElse(headers.getFirst("Content-Type"), "");
    if (!type.split(";", -1)[0].strip().equalsIgnoreCase("application/json")) {
      throw new Refused(415, "a question is sent as application/json");
    }
    Question<?> question;
    try {
      question = QuestionJson.read(body(exchange));
    } catch (IllegalArgumentException e) {
      throw new Refused(400, Objects.requireNonNull(e.getMessage()));
    }
    String client =
        Objects.requireNonNullElseGet(
            headers.getFirst("Tributary-Client"),
            () -> exchange.getRemoteAddress().getAddress().getHostAddress());
    Inquiry inquiry = new Inquiry(question);
    queue.add(client, inquiry);
    try {
      boolean streamed =
          Objects.requireNonNullElse(headers.getFirst("Accept"), "").contains("text/event-stream");
      if (streamed) {
        stream(exchange, inquiry);
      } else {
        whole(exchange, inquiry);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new Refused(503, "the server ends");
    } finally {
      queue.remove(client, inquiry);
      inquiry.cancel();
    }
  }

  private static String body(HttpExchange exchange) throws IOException {
    try (InputStream in = exchange.getRequestBody()) {
      byte[] bytes = in.readNBytes(BODY + 1);
      if (bytes.length > BODY) {
        throw new Refused(413, "a question has at most %d bytes".formatted(BODY));
      }
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException e) {
      throw new Refused(400, "this is no text in UTF-8");
    }
  }

  private static void whole(HttpExchange exchange, Inquiry inquiry)
      throws IOException, InterruptedException {
    boolean done;
    do {
      done = inquiry.news(SILENCE).isDone();
    } while (!done);
    if (inquiry.answer().isPresent()) {
      send(exchange, 200, AnswerJson.tree(inquiry.answer().get()));
    } else {
      throw refusal(inquiry);
    }
  }

  private static void stream(HttpExchange exchange, Inquiry inquiry)
      throws IOException, InterruptedException {
    secure(exchange.getResponseHeaders(), "text/event-stream; charset=utf-8");
    exchange.sendResponseHeaders(200, 0);
    EventStream events = new EventStream(exchange.getResponseBody());
    Inquiry.News news;
    do {
      news = inquiry.news(SILENCE);
      if (news.state().isPresent()) {
        Inquiry.State state = news.state().get();
        events.event(
            "progress",
            object()
                .put("phase", state.phase().words())
                .put("done", state.done())
                .put("total", state.total()));
      }
      if (!news.said().isEmpty()) {
        events.event("said", object().put("text", news.said()));
      }
      if (!news.edited().isEmpty()) {
        events.event("edited", object().put("text", news.edited()));
      }
      if (news.state().isEmpty() && !news.isDone()) {
        events.silence();
      }
    } while (!news.isDone());
    if (inquiry.answer().isPresent()) {
      events.event("answer", AnswerJson.tree(inquiry.answer().get()));
    } else {
      Refused refusal = refusal(inquiry);
      events.event(
          "refused", object().put("status", refusal.status()).put("error", refusal.getMessage()));
    }
  }

  /** Why there is no answer. */
  private static Refused refusal(Inquiry inquiry) {
    Throwable failure = inquiry.failure().orElseThrow();
    String sentence = Objects.requireNonNullElse(failure.getMessage(), failure.toString());
    if (failure instanceof Refused refused) {
      return refused;
    }
    if (failure instanceof IllegalArgumentException) {
      return new Refused(422, sentence);
    }
    if (failure instanceof CancellationException || failure instanceof IllegalStateException) {
      return new Refused(503, sentence);
    }
    if (failure instanceof OutOfMemoryError) {
      return new Refused(503, "there is not enough memory for this question");
    }
    failure.printStackTrace();
    return new Refused(500, "this is a mistake of the server: " + failure);
  }

  // ---- responses -----------------------------------------------------------------------------

  private static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }

  private static void refuse(HttpExchange exchange, int status, String sentence)
      throws IOException {
    if (exchange.getResponseCode() == -1) { // nothing has been said yet
      send(exchange, status, object().put("error", sentence));
    }
  }

  private static void send(HttpExchange exchange, int status, JsonNode json) throws IOException {
    secure(exchange.getResponseHeaders(), "application/json; charset=utf-8");
    send(exchange, status, json.toString());
  }

  /** The page says itself what it may do; whoever has no token learns nothing from it. */
  private static void page(HttpExchange exchange) throws IOException {
    Headers headers = exchange.getResponseHeaders();
    secure(headers, "text/html; charset=utf-8");
    headers.set(POLICY, "frame-ancestors 'none'");
    send(exchange, 200, ExplorePage.text());
  }

  private static void send(HttpExchange exchange, int status, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(status, bytes.length);
    try (OutputStream out = exchange.getResponseBody()) {
      out.write(bytes);
    }
  }

  private static void secure(Headers headers, String type) {
    headers.set("Content-Type", type);
    headers.set("Cache-Control", "no-store");
    headers.set("X-Content-Type-Options", "nosniff");
    headers.set("Referrer-Policy", "no-referrer");
    headers.set("Cross-Origin-Resource-Policy", "same-origin");
    headers.set(POLICY, "default-src 'none'; frame-ancestors 'none'");
  }
}

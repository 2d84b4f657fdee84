package dev.tributary.attribution.server;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.tributary.attribution.explain.Listener;
import dev.tributary.attribution.explain.Question;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.attribution.explain.Word;
import dev.tributary.attribution.export.AnswerJson;
import dev.tributary.attribution.export.QuestionJson;
import dev.tributary.attribution.viewer.ExplorePage;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.URL;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
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

  /** For how many milliseconds an answer in work is waited for when the server ends. */
  private static final long END = 1_000;

  private static final int WORDS = 20;

  /**
   * How long it waits for others, in milliseconds.
   *
   * @param reader for one that is to take a piece of an answer
   * @param work of the model on an answer in JSON, before it begins with blanks to learn whether
   *     anybody waits for it: from then on its status is said
   */
  record Waits(long reader, long work) {
    static final Waits USUAL = new Waits(30_000, 5_000);
  }

  private static final String JSON = "application/json; charset=utf-8";

  private static final String EVENTS = "text/event-stream";

  private static final String POLICY = "Content-Security-Policy";

  static {
    limit("maxReqTime", "30"); // seconds for a request to arrive, so that slow ones hold no thread
    limit("drainAmount", "16777216"); // bytes of it read behind a refusal, or that would be lost
  }

  private final Session session;
  private final HttpServer server;
  private final Gate gate;
  private final String host;
  private final FairQueue queue = new FairQueue(WAITING, WAITING_OF_ONE);
  private volatile Optional<Inquiry> inWork = Optional.empty();
  private final Waits waits;
  private final Patience patience;
  private final Thread answers = new Thread(this::answer, "tributary answers");
  private final ExecutorService requests =
      new ThreadPoolExecutor(
          0, REQUESTS, 10, TimeUnit.SECONDS, new SynchronousQueue<>(), Server::requestThread);

  private Server(Session session, HttpServer server, Gate gate, String host, Waits waits) {
    this.waits = waits;
    this.patience = new Patience(waits.reader);
    this.host = host;
    this.session = session;
    this.server = server;
    this.gate = gate;
  }

  /** Sets a property of the server of the JDK, unless whoever started it has. */
  private static void limit(String name, String value) {
    String property = "sun.net.httpserver." + name;
    if (System.getProperty(property) == null) {
      System.setProperty(property, value);
    }
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
    return open(session, host, port, Waits.USUAL);
  }

  /** The same with other waits. */
  static Server open(Session session, String host, int port, Waits waits) throws IOException {
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
    Server server = new Server(session, http, gate, host, waits);
    http.setExecutor(server.requests);
    http.createContext("/", server::handle);
    server.answers.setDaemon(true);
    server.answers.start();
    http.start();
    return server;
  }

  /**
   * Reads the files of the model and asks itself what the page asks first, so that whoever opens it
   * finds done what is done once: classes are loaded, and what takes longest is compiled.
   *
   * @param listener hears how far reading has come
   * @throws IOException if a file of the model cannot be read
   * @throws IllegalArgumentException if its explanations are of what it does not have
   */
  public void prepare(Listener listener) throws IOException {
    requests.execute(
        () -> {
          ask("", Optional.empty());
          ask("api/questions", Optional.of(object())); // refused; JSON is read and written by then
        });
    session.load(listener);
    ObjectNode prompt = object().put("prompt", Subject.EXAMPLE);
    for (String question : List.of("predict", "attribute")) {
      ask("api/questions", Optional.of(prompt.put("question", question)));
    }
  }

  /** Asks this server, as a page does; if it cannot be answered, whoever asks again is told. */
  private void ask(String path, Optional<JsonNode> question) {
    try {
      read(path, question);
    } catch (IOException e) {
      return;
    }
  }

  private void read(String path, Optional<JsonNode> question) throws IOException {
    URL address = new URL("http", host, port(), "/" + path);
    HttpURLConnection connection = (HttpURLConnection) address.openConnection(Proxy.NO_PROXY);
    connection.setRequestProperty("Authorization", "Bearer " + token());
    connection.setRequestProperty("Accept", EVENTS);
    if (question.isPresent()) {
      connection.setRequestProperty("Content-Type", "application/json");
      connection.setDoOutput(true);
      try (OutputStream out = connection.getOutputStream()) {
        out.write(bytes(question.get()));
      }
    }
    if (connection.getResponseCode() == 200) {
      try (InputStream in = connection.getInputStream()) {
        in.transferTo(OutputStream.nullOutputStream());
      }
    }
    connection.disconnect();
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
      for (Optional<Inquiry> next = queue.next(); next.isPresent(); next = queue.next()) {
        inWork = next;
        next.get().ask(session);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // nobody does
    }
  }

  /** Refuses what waits, and what is in work after a moment. */
  @Override
  public void close() {
    queue.close();
    try {
      answers.join(END);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    inWork.ifPresent(inquiry -> inquiry.refuse(Refused.end()));
    server.stop(1);
    requests.shutdownNow();
    patience.close();
  }

  // ---- requests ------------------------------------------------------------------------------

  /**
   * Answers or refuses.
   *
   * @throws IOException if whoever asked is gone, or is to be cut off: the connection is closed
   */
  private void handle(HttpExchange exchange) throws IOException {
    try {
      gate.requireOwn(exchange);
      route(exchange);
    } catch (Refused e) {
      refuse(exchange, e);
    } catch (RuntimeException | Error e) {
      refuse(exchange, mistake(e));
    }
    patience.during(exchange::close);
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
          Objects.requireNonNullElse(headers.getFirst("Accept"), "").contains(EVENTS);
      if (streamed) {
        stream(exchange, inquiry);
      } else {
        whole(exchange, inquiry);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw Refused.end();
    } finally {
      queue.remove(client, inquiry);
      inquiry.refuse(new Refused(503, "nobody waits for this answer any more"));
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

  private void whole(HttpExchange exchange, Inquiry inquiry)
      throws IOException, InterruptedException {
    OutputStream begun = null;
    while (!inquiry.isDoneWithin(SILENCE)) {
      if (begun == null && inquiry.worked() >= waits.work) {
        begun = begin(exchange, JSON);
      }
      if (begun != null) {
        begun.write(' ');
        begun.flush();
      }
    }
    if (begun == null) {
      send(exchange, 200, answer(inquiry));
      return;
    }
    try {
      begun.write(bytes(answer(inquiry)));
    } catch (Refused e) { // handle closes the connection before the end that was announced
      begun.write(bytes(error(e)));
      begun.flush();
      throw e;
    }
  }

  private void stream(HttpExchange exchange, Inquiry inquiry)
      throws IOException, InterruptedException {
    EventStream events = new EventStream(begin(exchange, EVENTS + "; charset=utf-8"));
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
    try {
      events.event("answer", answer(inquiry));
    } catch (Refused e) {
      events.event("refused", error(e).put("status", e.status()));
    }
  }

  /** The answer of an inquiry that is done, or why there is none. */
  private static JsonNode answer(Inquiry inquiry) {
    return AnswerJson.tree(
        inquiry.answer().orElseThrow(() -> refusal(inquiry.failure().orElseThrow())));
  }

  private static Refused refusal(Throwable failure) {
    if (failure instanceof Refused refused) {
      return refused;
    }
    String sentence = failure.getMessage();
    if (sentence != null && failure instanceof IllegalArgumentException) {
      return new Refused(422, sentence);
    }
    if (sentence != null
        && (failure instanceof CancellationException
            || failure instanceof IllegalStateException
            || failure instanceof IOException)) { // a file of the model
      return new Refused(503, sentence);
    }
    return mistake(failure);
  }

  private static Refused mistake(Throwable failure) {
    if (failure instanceof OutOfMemoryError) {
      return new Refused(503, "there is not enough memory for this question");
    }
    failure.printStackTrace();
    return new Refused(500, "this is a mistake of the server: what it prints says more");
  }

  // ---- responses -----------------------------------------------------------------------------

  private static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }

  private static ObjectNode error(Refused refusal) {
    return object().put("error", refusal.getMessage());
  }

  private static byte[] bytes(JsonNode json) {
    return json.toString().getBytes(StandardCharsets.UTF_8);
  }

  private void refuse(HttpExchange exchange, Refused refusal) throws IOException {
    if (exchange.getResponseCode() != -1) {
      throw new IOException("an answer that was begun ends here", refusal);
    }
    send(exchange, refusal.status(), error(refusal));
  }

  private void send(HttpExchange exchange, int status, JsonNode json) throws IOException {
    secure(exchange.getResponseHeaders(), JSON);
    send(exchange, status, bytes(json));
  }

  /** The page says itself what it may do; whoever has no token learns nothing from it. */
  private void page(HttpExchange exchange) throws IOException {
    Headers headers = exchange.getResponseHeaders();
    secure(headers, "text/html; charset=utf-8");
    headers.set(POLICY, "frame-ancestors 'none'");
    send(exchange, 200, ExplorePage.text().getBytes(StandardCharsets.UTF_8));
  }

  private void send(HttpExchange exchange, int status, byte[] bytes) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      patience.during(() -> exchange.sendResponseHeaders(status, -1));
      return;
    }
    patience.during(() -> exchange.sendResponseHeaders(status, bytes.length));
    try (OutputStream out = patience.over(exchange.getResponseBody())) {
      out.write(bytes);
    }
  }

  /** Begins an answer whose length is not known yet. */
  private OutputStream begin(HttpExchange exchange, String type) throws IOException {
    secure(exchange.getResponseHeaders(), type);
    patience.during(() -> exchange.sendResponseHeaders(200, 0));
    return patience.over(exchange.getResponseBody());
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

package dev.tributary.attribution.viewer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A headless Chromium, spoken to by its DevTools protocol.
 *
 * @see <a href="https://chromedevtools.github.io/devtools-protocol/">Chrome DevTools Protocol</a>
 */
public final class Chromium implements AutoCloseable {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final int PATIENCE_SECONDS = 60;

  private final Process process;
  private final AtomicInteger calls = new AtomicInteger();
  private final Map<Integer, CompletableFuture<JsonNode>> pending = new ConcurrentHashMap<>();
  private final Map<String, Page> pages = new ConcurrentHashMap<>();
  private final WebSocket socket;

  private Chromium(Process process, URI address) {
    this.process = process;
    socket = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(address, new Ear()).join();
  }

  /** The browser of this machine, if it has one. */
  public static Optional<Path> installed() {
    String path = System.getenv().getOrDefault("PATH", "");
    return Stream.of("chromium", "chromium-browser", "google-chrome", "chrome")
        .flatMap(name -> Stream.of(path.split(File.pathSeparator)).map(in -> Path.of(in, name)))
        .filter(Files::isExecutable)
        .findFirst();
  }

  /**
   * Starts it.
   *
   * @param profile an empty folder, for what it keeps
   */
  public static Chromium start(Path program, Path profile)
      throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(
                program.toString(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
                "--user-data-dir=" + profile)
            .redirectErrorStream(true)
            .redirectOutput(profile.resolve("log").toFile())
            .start();
    Path port = profile.resolve("DevToolsActivePort"); // two lines: port, path
    for (int tenths = 0; tenths < 10 * PATIENCE_SECONDS; tenths++) {
      if (Files.exists(port)) {
        List<String> lines = Files.readAllLines(port);
        if (lines.size() == 2) {
          return new Chromium(process, URI.create("ws://127.0.0.1:" + lines.get(0) + lines.get(1)));
        }
      }
      if (!process.isAlive()) {
        break;
      }
      Thread.sleep(100);
    }
    process.destroyForcibly();
    throw new IOException(
        "Chromium did not start: " + Files.readString(profile.resolve("log")).strip());
  }

  /** Opens a file in a new page, as a reader with that size of window and choice of colours. */
  Page open(Path file, int width, int height, String colours) {
    return open(file.toUri(), width, height, colours);
  }

  /** Opens an address in a new page. */
  public Page open(URI address, int width, int height, String colours) {
    ObjectNode blank = object().put("url", "about:blank");
    String target = call(null, "Target.createTarget", blank).get("targetId").asText();
    ObjectNode attach = object().put("targetId", target).put("flatten", true);
    String session = call(null, "Target.attachToTarget", attach).get("sessionId").asText();
    Page page = new Page(session);
    pages.put(session, page);
    for (String domain : List.of("Page", "Runtime", "Log", "Network")) {
      page.call(domain + ".enable", object());
    }
    page.resize(width, height);
    page.prefer("prefers-color-scheme", colours);
    page.call("Page.navigate", object().put("url", address.toString()));
    await(page.loaded);
    return page;
  }

  @Override
  public void close() throws InterruptedException {
    call(null, "Browser.close", object());
    if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
      process.destroyForcibly().waitFor();
    }
  }

  private JsonNode call(@Nullable String session, String method, ObjectNode parameters) {
    JsonNode answered = await(send(session, method, parameters));
    if (answered.has("error")) {
      throw new IllegalStateException(method + ": " + answered.get("error"));
    }
    return answered.get("result");
  }

  private CompletableFuture<JsonNode> send(
      @Nullable String session, String method, ObjectNode parameters) {
    int id = calls.incrementAndGet();
    ObjectNode message = object().put("id", id).put("method", method);
    if (session != null) {
      message.put("sessionId", session);
    }
    message.set("params", parameters);
    CompletableFuture<JsonNode> answer = new CompletableFuture<>();
    pending.put(id, answer);
    socket.sendText(message.toString(), true).join();
    return answer;
  }

  private static <T> T await(CompletableFuture<T> future) {
    try {
      return future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException | ExecutionException | TimeoutException e) {
      throw new IllegalStateException("Chromium does not answer", e);
    }
  }

  /** A text as JavaScript writes it. */
  private static String quoted(String text) {
    return MAPPER.getNodeFactory().textNode(text).toString();
  }

  private static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  private final class Ear implements WebSocket.Listener {
    private final StringBuilder heard = new StringBuilder();

    @Override
    public @Nullable CompletionStage<?> onText(WebSocket from, CharSequence text, boolean last) {
      heard.append(text);
      if (last) {
        String whole = heard.toString();
        heard.setLength(0);
        try {
          hear(MAPPER.readTree(whole));
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      }
      from.request(1);
      return null;
    }

    private void hear(JsonNode message) {
      if (message.has("id")) {
        CompletableFuture<JsonNode> waiting = pending.remove(message.get("id").asInt());
        if (waiting != null) {
          waiting.complete(message);
        }
        return;
      }
      Page page = pages.get(message.path("sessionId").asText());
      if (page != null) {
        page.hear(message.get("method").asText(), message.get("params"));
      }
    }
  }

  /** One open page, and a reader's hands. */
  public final class Page implements AutoCloseable {
    private final String session;
    private final CompletableFuture<Boolean> loaded = new CompletableFuture<>();
    private final List<String> problems = new CopyOnWriteArrayList<>();
    private final List<String> requests = new CopyOnWriteArrayList<>();

    private Page(String session) {
      this.session = session;
    }

    private void hear(String event, JsonNode parameters) {
      switch (event) {
        case "Page.loadEventFired" -> loaded.complete(true);
        case "Network.requestWillBeSent" -> requests.add(parameters.at("/request/url").asText());
        case "Runtime.exceptionThrown" ->
            problems.add(parameters.get("exceptionDetails").toString());
        case "Log.entryAdded" -> problems.add(parameters.get("entry").toString());
        case "Runtime.consoleAPICalled", "Page.javascriptDialogOpening" ->
            problems.add(parameters.toString());
        default -> {}
      }
    }

    private JsonNode call(String method, ObjectNode parameters) {
      return Chromium.this.call(session, method, parameters);
    }

    /** Everything that the page wrote to its console, threw, or was refused. */
    public List<String> problems() {
      return new ArrayList<>(problems);
    }

    /** The addresses that the page asked for, its own and data within it left out. */
    List<String> requests() {
      Predicate<String> own = address -> address.matches("(?s)(file|data|blob):.*");
      return requests.stream().filter(own.negate()).toList();
    }

    /** The value of an expression of JavaScript; a promise is waited for. */
    public JsonNode evaluate(String expression) {
      ObjectNode parameters = object().put("expression", expression);
      parameters.put("returnByValue", true).put("awaitPromise", true);
      JsonNode answer = call("Runtime.evaluate", parameters);
      if (answer.has("exceptionDetails")) {
        throw new IllegalArgumentException(expression + ": " + answer.get("exceptionDetails"));
      }
      return answer.get("result").path("value");
    }

    public void resize(int width, int height) {
      ObjectNode size = object().put("width", width).put("height", height);
      call(
          "Emulation.setDeviceMetricsOverride",
          size.put("deviceScaleFactor", 1).put("mobile", false));
      settle();
    }

    /** What the reader's system asks for, as a media feature of CSS; any other is forgotten. */
    void prefer(String feature, String value) {
      ObjectNode media = object();
      media.putArray("features").addObject().put("name", feature).put("value", value);
      call("Emulation.setEmulatedMedia", media);
    }

    /** Waits until an expression is true. */
    public void await(String expression) {
      evaluate(
          "new Promise((done, failed) => { const end = Date.now() + 1000 * "
              + PATIENCE_SECONDS
              + "; (function look() { if ("
              + expression
              + ") done(1); else if (Date.now() > end) failed(new Error('in vain'));"
              + " else setTimeout(look, 20); })(); })");
    }

    /** Something of every element that is selected, {@code e}. */
    public List<String> texts(String selector, String expression) {
      List<String> texts = new ArrayList<>();
      evaluate(
              "[...document.querySelectorAll("
                  + quoted(selector)
                  + ")].map(e => "
                  + expression
                  + ")")
          .forEach(text -> texts.add(text.asText()));
      return texts;
    }

    /** What is written in an element, or nothing if there is none. */
    public String text(String selector) {
      return String.join("|", texts(selector, "e.innerText.trim()"));
    }

    /** Name of the node that the keyboard is at, or nothing. */
    String focused() {
      return evaluate("document.activeElement.dataset?.name ?? ''").asText();
    }

    /** Waits until the page has drawn what it was told. */
    public void settle() {
      evaluate(
          "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
    }

    /** Moves the pointer to the middle of an element. */
    public void hover(String selector) {
      mouse(selector, "mouseMoved", 0);
    }

    public void click(String selector) {
      mouse(selector, "mouseMoved", 0);
      mouse(selector, "mousePressed", 1);
      mouse(selector, "mouseReleased", 1);
    }

    private void mouse(String selector, String type, int clicks) {
      JsonNode at =
          evaluate(
              "(() => { const box = document.querySelector("
                  + quoted(selector)
                  + ").getBoundingClientRect();"
                  + " return [box.x + box.width / 2, box.y + box.height / 2]; })()");
      move(type, at.get(0).asDouble(), at.get(1).asDouble(), clicks);
    }

    /** Moves the pointer to a place of the window. */
    void hover(double x, double y) {
      move("mouseMoved", x, y, 0);
    }

    void click(double x, double y) {
      move("mouseMoved", x, y, 0);
      move("mousePressed", x, y, 1);
      move("mouseReleased", x, y, 1);
    }

    private void move(String type, double x, double y, int clicks) {
      ObjectNode event = object().put("type", type).put("x", x).put("y", y);
      event.put("button", clicks == 0 ? "none" : "left").put("clickCount", clicks);
      call("Input.dispatchMouseEvent", event);
      settle();
    }

    /** Presses and releases a key, named as {@code KeyboardEvent.key} names it. */
    public void press(String key) {
      Map<String, Integer> codes =
          Map.of(
              "Tab",
              9,
              "Enter",
              13,
              "Escape",
              27,
              "End",
              35,
              "Home",
              36,
              "ArrowLeft",
              37,
              "ArrowUp",
              38,
              "ArrowRight",
              39,
              "ArrowDown",
              40);
      ObjectNode event = object().put("type", "keyDown").put("key", key);
      if (codes.containsKey(key)) {
        event.put("windowsVirtualKeyCode", codes.get(key));
      }
      if (key.equals("Enter")) {
        event.put("text", "\r");
      } else if (key.length() == 1) {
        event.put("text", key);
      }
      call("Input.dispatchKeyEvent", event);
      call("Input.dispatchKeyEvent", event.deepCopy().put("type", "keyUp").without("text"));
      settle();
    }

    /** Types a text where the focus is. */
    public void type(String text) {
      call("Input.insertText", object().put("text", text));
      settle();
    }

    /** Chooses a file in the element that asks for one. */
    void choose(String selector, Path file) {
      JsonNode found =
          call(
              "Runtime.evaluate",
              object().put("expression", "document.querySelector(" + quoted(selector) + ")"));
      ObjectNode chosen = object().put("objectId", found.at("/result/objectId").asText());
      chosen.putArray("files").add(file.toString());
      call("DOM.setFileInputFiles", chosen);
      settle();
    }

    /** Drops a file on the middle of the window. */
    void drop(Path file) {
      for (String type : List.of("dragEnter", "dragOver", "drop")) {
        ObjectNode event = object().put("type", type).put("x", 300).put("y", 300);
        ObjectNode data = event.putObject("data").put("dragOperationsMask", 1);
        data.putArray("items");
        data.putArray("files").add(file.toString());
        call("Input.dispatchDragEvent", event);
      }
      settle();
    }

    /** A picture of the window, as PNG. */
    public byte[] picture() {
      ObjectNode format = object().put("format", "png");
      return Base64.getDecoder()
          .decode(call("Page.captureScreenshot", format).get("data").asText());
    }

    /** The page as it would be printed, as PDF. */
    byte[] print() {
      ObjectNode options = object().put("preferCSSPageSize", true).put("printBackground", true);
      return Base64.getDecoder().decode(call("Page.printToPDF", options).get("data").asText());
    }

    /** Ends its process, as the system does that has no memory for it. */
    public void kill() {
      send(session, "Page.crash", object()).cancel(false); // nobody is left to answer
    }

    @Override
    public void close() {
      call("Page.close", object());
      pages.remove(session);
    }
  }
}

package dev.tributary.attribution.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.RandomTranscoders;
import dev.tributary.attribution.explain.Predict;
import dev.tributary.attribution.explain.Prompt;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.attribution.export.AnswerJson;
import dev.tributary.attribution.export.QuestionJson;
import dev.tributary.attribution.export.SchemaTest;
import dev.tributary.attribution.server.RawConnection.Reply;
import dev.tributary.attribution.viewer.Chromium;
import dev.tributary.attribution.viewer.Chromium.Page;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Many clients, wrong requests, readers that do not read and readers that go away: whoever asks
 * rightly is answered as if alone, whoever does not in a sentence, and afterwards nothing is left
 * of it. A few of each here; {@code -Dtributary.load=full} asks in full and prints figures, and
 * {@code -Dtributary.load.seed=N} draws otherwise.
 */
class LoadTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final boolean FULL = "full".equals(System.getProperty("tributary.load"));
  private static final long SEED = Long.getLong("tributary.load.seed", 17);
  private static final Size SIZE =
      FULL ? new Size(50, 20, 100_000, 100, 50) : new Size(6, 3, 200, 3, 3);

  /** Of answers to requests that are HTTP at all. */
  private static final Set<Integer> STATUSES =
      Set.of(200, 400, 401, 403, 404, 405, 413, 415, 421, 422);

  /** Name of the threads of requests. */
  private static final String REQUEST = "tributary request";

  /** Threads that send wrong requests. */
  private static final int SENDERS = 8;

  /** How long this server waits, short enough for a test. */
  private static final Server.Waits WAITS = new Server.Waits(2_000, 300);

  /** How long anything may take that has to come in the end, in seconds. */
  private static final int PATIENCE = 300;

  private static final String EXAMPLE =
      "\"prompt\": \"%s\", \"targets\": [\"Mary\"], \"distractors\": [\"John\"]"
          .formatted(Subject.EXAMPLE);

  /** Many minutes of work. */
  private static final String LONG =
      "{\"question\": \"graph\", %s, \"nodes\": 2000, \"loadings\": 100000}".formatted(EXAMPLE);

  /** Some megabytes, more than lie between two sockets. */
  private static final String LARGE =
      "{\"question\": \"attribute\", %s, \"top\": 1000000}".formatted(EXAMPLE);

  /**
   * How much is asked.
   *
   * @param clients at a time
   * @param questions of each
   * @param mutations of requests
   * @param slow readers that never read
   * @param gone readers that go away
   */
  private record Size(int clients, int questions, int mutations, int slow, int gone) {}

  /**
   * A question, and what the session says of it while nobody else asks.
   *
   * @param status of the answer
   * @param answer itself, or the sentence of a refusal
   * @param nanos that it took, its run being there
   */
  private record Case(String question, int status, JsonNode answer, long nanos) {}

  /** What is held while nothing is asked. */
  private record Held(long tensors, long heap, List<String> threads) {}

  private static Session session;
  private static Server server;
  private static List<Case> cases;

  private Held before;

  @BeforeAll
  static void open(@TempDir Path transcoders) throws Exception {
    session = RandomTranscoders.session(transcoders);
    cases = new ArrayList<>();
    List<String> questions = new ArrayList<>(SchemaTest.questions());
    questions.add("{\"question\": \"predict\", \"prompt\": \"The unicorn\"}");
    for (String pattern : questions) {
      cases.add(lone(pattern.formatted(EXAMPLE)));
    }
    server = Server.open(session, "127.0.0.1", 0, WAITS);
    assertAnswered(cases.get(0), ask(cases.get(0).question, false)); // its threads and classes
  }

  private static Case lone(String question) throws IOException {
    try {
      session.answer(QuestionJson.read(question));
      long begin = System.nanoTime();
      Record answer = session.answer(QuestionJson.read(question));
      long nanos = System.nanoTime() - begin;
      return new Case(question, 200, MAPPER.readTree(AnswerJson.of(answer)), nanos);
    } catch (IllegalArgumentException e) {
      return new Case(
          question, 422, MAPPER.getNodeFactory().objectNode().put("error", e.getMessage()), 0);
    }
  }

  @AfterAll
  static void close() throws InterruptedException {
    await(
        "threads of requests are left",
        () -> threads().noneMatch(thread -> thread.getName().equals(REQUEST)));
    server.close();
    session.close();
  }

  @BeforeEach
  void hold() throws Exception {
    before = held();
  }

  private static Reply ask(String question, boolean streamed) throws IOException {
    try (RawConnection connection = new RawConnection(server.port())) {
      connection.send(RawConnection.request(server, question, streamed, "alone"));
      return connection.reply();
    }
  }

  private static void assertAnswered(Case asked, Reply reply) {
    assertTrue(reply.isWhole(), asked.question);
    assertEquals(asked.status, reply.finalStatus(), asked.question + reply.body());
    JsonNode json = reply.json();
    if (json instanceof ObjectNode event) {
      event.remove("status"); // of a refusal that is an event
    }
    assertEquals(asked.answer, json, asked.question);
  }

  /** What several threads do, each with a random number generator of its own. */
  private static <T> List<T> together(int threads, Function<Random, Callable<T>> task)
      throws Exception {
    ExecutorService all = Executors.newFixedThreadPool(threads);
    try {
      List<Future<T>> results = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        results.add(all.submit(task.apply(new Random(SEED * 1_000 + i))));
      }
      List<T> found = new ArrayList<>();
      for (Future<T> result : results) {
        found.add(result.get());
      }
      return found;
    } finally {
      all.shutdownNow();
      assertTrue(all.awaitTermination(PATIENCE, TimeUnit.SECONDS));
    }
  }

  // ---- what is held -------------------------------------------------------------------------

  private static void await(String what, BooleanSupplier condition) throws InterruptedException {
    long end = System.nanoTime() + PATIENCE * 1_000_000_000L;
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() < end, what);
      Thread.sleep(50);
    }
  }

  private static Stream<Thread> threads() {
    return Thread.getAllStackTraces().keySet().stream();
  }

  /** How many requests are worked on; threads without one end a little later. */
  private static long requests() {
    return threads()
        .filter(thread -> thread.getName().equals(REQUEST))
        .filter(
            thread ->
                Arrays.stream(thread.getStackTrace())
                    .anyMatch(frame -> frame.getClassName().endsWith("ServerImpl$Exchange")))
        .count();
  }

  /** Once no request is worked on, and the session has just forgotten what it shared. */
  private static Held held() throws Exception {
    await("requests are left: " + requests(), () -> requests() == 0);
    long tensors = Scope.liveTensors();
    long last;
    int prompt = 0;
    do { // the first run behind those that were forgotten
      last = tensors;
      String text = " the".repeat(++prompt).strip();
      session.answer(new Predict(Prompt.of(text), 1));
      tensors = Scope.liveTensors();
      assertTrue(prompt < 100, "nothing is forgotten");
    } while (tensors >= last);
    List<String> names =
        threads()
            .map(Thread::getName)
            .filter(name -> name.matches("tributary.*|HTTP.*") && !name.equals(REQUEST))
            .sorted()
            .toList();
    return new Held(tensors, heap(), names);
  }

  private static long heap() throws InterruptedException {
    Runtime runtime = Runtime.getRuntime();
    long least = Long.MAX_VALUE;
    for (int i = 0; i < 5; i++) {
      System.gc();
      Thread.sleep(50);
      least = Math.min(least, runtime.totalMemory() - runtime.freeMemory());
    }
    return least;
  }

  private void assertNothingLeft(String what) throws Exception {
    Held after = held();
    if (FULL) {
      System.out.printf(
          Locale.ROOT,
          "%s (seed %d): tensors %d, before %d; heap %.1f MB, before %.1f; threads %d, before %d%n",
          what,
          SEED,
          after.tensors,
          before.tensors,
          after.heap / 1e6,
          before.heap / 1e6,
          after.threads.size(),
          before.threads.size());
    }
    assertEquals(before.tensors, after.tensors, "tensors");
    assertEquals(before.threads, after.threads, "threads");
    assertTrue(after.heap < before.heap + 30_000_000, "heap: " + before + after);
  }

  // ---- load ---------------------------------------------------------------------------------

  /** Of each client some questions are given up at a drawn moment, all others are answered. */
  @Test
  @Timeout(3_600)
  void clients_areAnsweredAsIfAlone() throws Exception {
    AtomicInteger answered = new AtomicInteger();
    AtomicInteger left = new AtomicInteger();
    AtomicInteger client = new AtomicInteger();
    together(
        SIZE.clients,
        random ->
            () -> {
              String name = "client " + client.incrementAndGet();
              for (int i = 0; i < SIZE.questions; i++) {
                Case asked = cases.get(random.nextInt(cases.size()));
                boolean streamed = random.nextBoolean();
                byte[] request = RawConnection.request(server, asked.question, streamed, name);
                try (RawConnection connection = new RawConnection(server.port())) {
                  if (random.nextInt(3) == 0) {
                    leave(connection, request, random);
                    left.incrementAndGet();
                  } else {
                    connection.send(request);
                    assertAnswered(asked, connection.reply());
                    answered.incrementAndGet();
                  }
                }
              }
              return name;
            });
    assertEquals(SIZE.clients * SIZE.questions, answered.get() + left.get());
    assertNothingLeft("%d questions answered, %d given up".formatted(answered.get(), left.get()));
  }

  /** Goes away before all is sent, after that, or while it is answered, politely or not. */
  private static void leave(RawConnection connection, byte[] request, Random random)
      throws Exception {
    int moment = random.nextInt(3);
    connection.send(moment == 0 ? Arrays.copyOf(request, random.nextInt(request.length)) : request);
    if (moment == 2) {
      connection.awaitAnswer();
    }
    Thread.sleep(random.nextInt(60));
    if (random.nextBoolean()) {
      connection.reset();
    }
  }

  /** Readers that do not read are cut off, and hold nobody up until then. */
  @Test
  @Timeout(3_600)
  void slowReaders_holdNobodyUp() throws Exception {
    ask(LARGE, false);
    List<RawConnection> slow = new ArrayList<>();
    for (int i = 0; i < SIZE.slow; i++) {
      RawConnection connection = RawConnection.narrow(server.port(), 1 << 12);
      connection.send(RawConnection.request(server, LARGE, i % 2 == 0, "slow " + i));
      slow.add(connection);
    }
    for (Case asked : cases) {
      assertAnswered(asked, ask(asked.question, false));
    }
    await("slow readers hold threads", () -> requests() == 0);
    for (RawConnection connection : slow) {
      try {
        assertFalse(connection.reply().isWhole(), "it was not cut off");
      } catch (SocketException e) {
        assertEquals("Connection reset", e.getMessage());
      }
      connection.close();
    }
    assertNothingLeft("%d slow readers".formatted(SIZE.slow));
  }

  /** Work of many minutes ends when whoever asked for it is gone, whichever way it is answered. */
  @Test
  @Timeout(3_600)
  void goneReaders_areNotWorkedFor() throws Exception {
    Random random = new Random(SEED);
    for (int i = 0; i < SIZE.gone; i++) {
      try (RawConnection connection = new RawConnection(server.port())) {
        connection.send(RawConnection.request(server, LONG, random.nextBoolean(), "gone"));
        connection.awaitAnswer();
        Thread.sleep(random.nextInt(60));
        if (random.nextBoolean()) {
          connection.reset();
        }
      }
    }
    for (Case asked : cases) {
      assertAnswered(asked, ask(asked.question, false));
    }
    assertNothingLeft("%d readers gone".formatted(SIZE.gone));
  }

  @Test
  @Timeout(3_600)
  void killedPage_isNotWorkedFor(@TempDir Path folder) throws Exception {
    Optional<Path> program = Chromium.installed();
    assumeTrue(program.isPresent(), "no Chromium on the PATH");
    try (Chromium browser =
        Chromium.start(program.get(), Files.createDirectory(folder.resolve("page")))) {
      Page page = browser.open(URI.create(server.address()), 1280, 800, "light");
      page.await("'ready' in document.documentElement.dataset");
      page.evaluate(
          "new Promise(begun => Ask.place(() => 0, () => 0, ({ phase }) =>"
              + " phase !== 'waiting' && begun(1))(%s))".formatted(LONG));
      page.kill();
      for (Case asked : cases) {
        assertAnswered(asked, ask(asked.question, false));
      }
    }
    assertNothingLeft("a page killed");
  }

  /** What is wrong is told in a sentence with a status of its own; the server is never at fault. */
  @Test
  @Timeout(3_600)
  void mutatedRequests_areAnsweredInASentence() throws Exception {
    List<Case> quick = // mostly, or most of the time would go into what is right
        cases.stream().sorted(Comparator.comparing(Case::nanos)).limit(cases.size() / 2).toList();
    Map<String, AtomicInteger> counts = new ConcurrentSkipListMap<>();
    AtomicInteger count = new AtomicInteger();
    together(
        SENDERS,
        random ->
            () -> {
              while (count.incrementAndGet() <= SIZE.mutations) {
                List<Case> some = random.nextInt(100) == 0 ? cases : quick;
                String question = some.get(random.nextInt(some.size())).question;
                MutatedRequest request = MutatedRequest.of(server, question, random);
                String outcome = outcome(request);
                counts.computeIfAbsent(outcome, any -> new AtomicInteger()).incrementAndGet();
              }
              return count;
            });
    for (Case asked : cases) {
      assertAnswered(asked, ask(asked.question, false));
    }
    assertNothingLeft("%d mutated requests: %s".formatted(SIZE.mutations, counts));
  }

  /** How a request was answered, in a word. */
  private String outcome(MutatedRequest request) throws IOException {
    try (RawConnection connection = new RawConnection(server.port())) {
      Reply reply;
      try {
        connection.send(request.bytes());
        connection.sendNoMore();
        reply = connection.reply(20_000);
      } catch (SocketTimeoutException e) {
        return "given up"; // it asks for a lot
      } catch (SocketException e) {
        assertFalse(request.isFramed(), () -> told(request, e.toString()));
        return "cut off";
      }
      if (reply.status() == 0 || reply.body().startsWith("<h1>")) { // the server of the JDK itself
        assertFalse(request.isFramed(), () -> told(request, reply.toString()));
        assertTrue(Set.of(0, 400, 404, 501).contains(reply.status()), told(request, reply.body()));
        return reply.status() == 0 ? "cut off" : reply.status() + " of the JDK";
      }
      assertTrue(
          STATUSES.contains(reply.finalStatus()),
          () -> told(request, reply.status() + reply.body()));
      if (!reply.body().isEmpty() && !reply.body().startsWith("<!")) { // HEAD, the page
        JsonNode json = reply.json();
        assertEquals(
            reply.finalStatus() != 200 || !reply.isWhole(),
            json.has("error"),
            () -> told(request, reply.toString()));
        String sentence = json.path("error").asText("it is answered");
        assertTrue(sentence.length() > 5, () -> told(request, sentence));
        assertFalse(
            sentence.matches("(?s).*(Exception|\\bjava\\.|\\bcom\\.|\\bat dev\\.|\\bnull\\b).*"),
            () -> told(request, sentence));
      }
      return String.valueOf(reply.finalStatus());
    }
  }

  private static String told(MutatedRequest request, String answer) {
    String sent = new String(request.bytes(), StandardCharsets.UTF_8);
    return "seed %d: %s: %.2000s is answered by %.1000s"
        .formatted(SEED, request.what(), sent, answer);
  }
}

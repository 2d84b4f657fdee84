package dev.tributary.attribution.explain;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.Readings;
import dev.tributary.attribution.cli.Invocation;
import dev.tributary.attribution.explain.Attribute.Attributed;
import dev.tributary.attribution.explain.Compare.Compared;
import dev.tributary.attribution.explain.Describe.Described;
import dev.tributary.attribution.explain.Describe.Spoken;
import dev.tributary.attribution.explain.Predict.Predicted;
import dev.tributary.attribution.explain.Search.Searched;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SessionTest {
  private static final ModelChoice DOUBLE = ModelChoice.shipped().in(DType.DOUBLE);
  private static final String OTHER = "When Mary and John went to the store , Mary gave a drink to";
  private static final double SAME = 1e-12;

  /** Hears which phases there are. */
  private static final class Phases implements Listener {
    private final Set<Phase> entered = EnumSet.noneOf(Phase.class);

    @Override
    public void enter(Phase phase) {
      entered.add(phase);
    }

    @Override
    public void at(int done, int total) {}
  }

  private static Set<Phase> phases(Session session, Question<?> question) throws IOException {
    Phases phases = new Phases();
    session.ask(question, phases).answer();
    return phases.entered;
  }

  private interface OfRun {
    void check(Run run, NodeAttribution nodes) throws IOException;
  }

  /** The example, as the library itself computes it. */
  private static void library(String prompt, OfRun code) throws IOException {
    try (Scope scope = Scope.open()) {
      Run run = Models.textbook(DType.DOUBLE).run(Tokenizers.textbook().encode(prompt));
      Metric metric =
          Metric.logitDifference(
              run.lastToken(),
              Tokenizers.textbook().token("Mary"),
              Tokenizers.textbook().token("John"));
      code.check(run, NodeAttribution.of(run, metric));
    }
  }

  @Test
  void questions_aboutOneSubject_shareItsRunAndGradients() throws IOException {
    try (Session session = Session.open(ModelChoice.shipped())) {
      Subject subject = Subject.example();
      assertEquals(
          EnumSet.of(Phase.WEIGHTS, Phase.RUN, Phase.GRADIENTS),
          phases(session, new Attribute(subject, 3)));
      assertEquals(Set.of(), phases(session, new Attribute(subject, 5)));
      Node into = Node.parse("L2.head5[14<-7]");
      assertEquals(EnumSet.of(Phase.EDGES), phases(session, Edges.into(subject, into, 3)));
      assertEquals(
          EnumSet.of(Phase.GRADIENTS), phases(session, new Attribute(subject.detached(), 3)));
      assertEquals(
          EnumSet.of(Phase.GRADIENTS), phases(session, new Attribute(subject.target("store"), 3)));
      assertEquals(
          EnumSet.of(Phase.RUN, Phase.GRADIENTS),
          phases(session, new Attribute(Subject.of(OTHER), 3)));
      assertEquals(Set.of(), phases(session, new Attribute(subject, 2)));
      assertEquals(Set.of(), phases(session, new Predict(subject.prompt(), 2)));
    }
  }

  @Test
  void answers_outliveTheSession_andItsMemoryIsFreed() throws IOException {
    long before = Scope.liveTensors();
    Attributed kept;
    try (Session session = Session.open(DOUBLE)) {
      kept = session.answer(new Attribute(Subject.example(), 7));
      assertTrue(Scope.liveTensors() > before);
    }
    assertEquals(before, Scope.liveTensors());
    library(
        Subject.EXAMPLE,
        (run, nodes) -> {
          List<NodeScore> top = nodes.activationTimesGradient().top(7);
          Readings norms = nodes.writeNorm();
          for (int i = 0; i < 7; i++) {
            Node node = top.get(i).node();
            assertEquals(node, kept.nodes().get(i).node());
            assertEquals(top.get(i).score(), kept.nodes().get(i).attribution(), SAME);
            assertEquals(
                Math.abs(norms.of(node).orElseThrow()), kept.nodes().get(i).writeNorm(), SAME);
          }
        });
    assertFalse(
        Thread.getAllStackTraces().keySet().stream()
            .anyMatch(thread -> thread.getName().equals("tributary session") && thread.isAlive()));
  }

  @Test
  void manyPrompts_doNotGrowMemory() throws IOException {
    try (Session session = Session.open(ModelChoice.shipped())) {
      List<Long> live = new ArrayList<>();
      for (int i = 0; i < 80; i++) {
        String words = "the store ".repeat(1 + i % 20) + "John";
        session.answer(new Attribute(Subject.of(words).at(i % 2), 1));
        live.add(Scope.liveTensors());
      }
      long most = live.subList(0, 40).stream().max(Comparator.naturalOrder()).orElseThrow();
      assertTrue(live.subList(40, 80).stream().allMatch(count -> count <= most), live::toString);
    }
  }

  @Test
  void refusedQuestions_leaveTheSessionAsItWas() throws IOException {
    try (Session session = Session.open(ModelChoice.shipped())) {
      Subject subject = Subject.example();
      Attributed first = session.answer(new Attribute(subject, 4));
      long live = Scope.liveTensors();
      List<Question<?>> wrong =
          List.of(
              new Attribute(Subject.of("The unicorn"), 4),
              new Attribute(subject.at(99), 4),
              new Attribute(subject.in(List.of("mlp")), 4),
              Edges.into(subject, Node.parse("L9.neuron1[2]"), 3),
              new Verify(subject, NamedEdge.of("L2.neuron3[2]->L1.neuron3[2]")),
              new Describe(subject, Node.parse("L0.neuron9999[2]"), 3),
              new Compare(subject, Prompt.of("The keys"), 3),
              new Graph(
                  subject,
                  new Graph.Replaced(
                      dev.tributary.attribution.ReplacementGraph.Settings.standard(), 3),
                  Graph.Pruning.USUAL,
                  0));
      for (Question<?> question : wrong) {
        Exception refused =
            assertThrows(IllegalArgumentException.class, () -> session.answer(question));
        assertFalse(Objects.requireNonNull(refused.getMessage()).isBlank(), question::toString);
        assertEquals(live, Scope.liveTensors(), question::toString);
      }
      assertEquals(first, session.answer(new Attribute(subject, 4)));
    }
  }

  @Test
  void cancelled_theQuestionEndsAndTheNextIsAnswered() throws Exception {
    try (Session session = Session.open(ModelChoice.shipped())) {
      Searched whole = session.answer(new Search(Subject.example(), 5));
      CountDownLatch begun = new CountDownLatch(1);
      Asked<Searched> asked =
          session.ask(
              new Search(Subject.example(), 50),
              new Listener() {
                @Override
                public void enter(Phase phase) {}

                @Override
                public void at(int done, int total) {
                  begun.countDown();
                  try {
                    Thread.sleep(60_000); // as if it were long
                  } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                  }
                }
              });
      Asked<Searched> waiting = session.ask(new Search(Subject.example(), 60), Listener.NONE);
      begun.await();
      waiting.cancel();
      asked.cancel();
      assertThrows(CancellationException.class, asked::answer);
      assertThrows(CancellationException.class, waiting::answer);
      assertTrue(asked.isDone() && waiting.isDone());
      assertEquals(whole, session.answer(new Search(Subject.example(), 5)));
    }
  }

  /** What was read of the weights until then is freed, and they are read again. */
  @Test
  void cancelled_whileWeightsAreRead_holdsNothing(@TempDir Path folder) throws Exception {
    try (Scope scope = Scope.open()) {
      Models.save(Models.textbook(), folder, ElementType.F32);
    }
    Invocation.saveWords(folder, 10);
    Predict question = new Predict(Prompt.of("w1 w2"), 1);
    long before = Scope.liveTensors();
    try (Session session = Session.open(ModelChoice.named(folder.toString()))) {
      Asked<Predicted> asked =
          session.ask(
              question,
              new Listener() {
                @Override
                public void enter(Phase phase) {}

                @Override
                public void at(int done, int total) {
                  Thread.currentThread().interrupt(); // as if it were given up
                }
              });
      assertThrows(CancellationException.class, asked::answer);
      assertEquals(before, Scope.liveTensors());
      assertEquals(2, session.answer(question).tokens().size());
    }
    assertEquals(before, Scope.liveTensors());
  }

  @Test
  void closed_refusesQuestions() throws IOException {
    Session session = Session.open(ModelChoice.shipped());
    session.close();
    session.close();
    Exception refused =
        assertThrows(
            IllegalStateException.class, () -> session.answer(new Predict(Prompt.of("the"), 1)));
    assertEquals("this session is closed", refused.getMessage());
  }

  @Test
  void predict_isSoftmaxOfTheLogits() throws IOException {
    Predicted predicted;
    try (Session session = Session.open(DOUBLE)) {
      predicted = session.answer(new Predict(Prompt.of(Subject.EXAMPLE), 3));
    }
    library(
        Subject.EXAMPLE,
        (run, nodes) -> {
          assertEquals(run.length(), predicted.tokens().size());
          assertTrue(predicted.tokens().get(0).logProbability().isEmpty());
          for (int i = 0; i < run.length(); i++) {
            double[] logits = run.logits(i).toDoubles();
            double sum = Arrays.stream(logits).map(Math::exp).sum();
            double best = Arrays.stream(logits).max().orElseThrow();
            Predict.Alternative first = predicted.tokens().get(i).next().get(0);
            assertEquals(best, first.logit(), SAME);
            assertEquals(Math.exp(best) / sum, Math.exp(first.logProbability()), 1e-10);
            if (i + 1 < run.length()) {
              double probability = Math.exp(logits[run.tokens()[i + 1]]) / sum;
              assertEquals(
                  -Math.log(probability) / Math.log(2),
                  predicted.tokens().get(i + 1).surprise().orElseThrow(),
                  1e-9);
            }
          }
        });
  }

  /** Words by hand: centred, scaled as the last norm was, times its gain, times each row. */
  @Test
  void describe_saysWhatEachWordGains() throws IOException {
    Node node = Node.parse("L1.neuron77[14]");
    Described described;
    try (Session session = Session.open(DOUBLE)) {
      described = session.answer(new Describe(Subject.example(), node, 5));
    }
    library(
        Subject.EXAMPLE,
        (run, nodes) -> {
          Transformer model = run.model();
          assertEquals(
              nodes.activationTimesGradient().of(node).orElseThrow(),
              described.attribution().orElseThrow(),
              SAME);
          double activation = run.value(Site.MLP_ACTIVATION, 1).get(14, 77);
          assertEquals(activation, described.activation().orElseThrow());
          for (int token = 0; token < run.length(); token++) {
            assertEquals(
                run.value(Site.MLP_ACTIVATION, 1).get(token, 77),
                described.activations().get(token));
          }
          double[] write = node.asSource().orElseThrow().writes(run).get(0).vector().toDoubles();
          double[] residual = run.residual(model.end()).value().slice(0, 14, 15).toDoubles();
          double mean = Arrays.stream(residual).average().orElseThrow();
          double variance =
              Arrays.stream(residual).map(x -> (x - mean) * (x - mean)).average().orElseThrow();
          double scale = Math.sqrt(variance + 1e-5);
          double own = Arrays.stream(write).average().orElseThrow();
          double[] gain = model.weight(Weight.FINAL_NORM_GAIN, 0).toDoubles();
          Tensor rows = model.weight(Weight.TOKEN_EMBEDDING, 0);
          double[] logits = new double[model.config().vocabulary()];
          for (int word = 0; word < logits.length; word++) {
            for (int i = 0; i < write.length; i++) {
              logits[word] += rows.get(word, i) * gain[i] * (write[i] - own) / scale;
            }
          }
          double all = Arrays.stream(logits).average().orElseThrow();
          double largest = Arrays.stream(logits).max().orElseThrow() - all;
          double smallest = Arrays.stream(logits).min().orElseThrow() - all;
          assertEquals(largest, described.promoted().get(0).logit(), 1e-10);
          assertEquals(smallest, described.suppressed().get(0).logit(), 1e-10);
          for (Spoken spoken : described.promoted()) {
            assertEquals(logits[spoken.word().id()] - all, spoken.logit(), 1e-10);
          }
        });
  }

  @Test
  void describe_ofAHead_hasItsPattern() throws IOException {
    Described described;
    try (Session session = Session.open(DOUBLE)) {
      described = session.answer(new Describe(Subject.example(), Node.parse("L2.head5[14<-7]"), 2));
    }
    library(
        Subject.EXAMPLE,
        (run, nodes) -> {
          assertEquals(run.length(), described.pattern().size());
          for (int query = 0; query < run.length(); query++) {
            assertEquals(query + 1, described.pattern().get(query).size());
            double sum = 0;
            for (int key = 0; key <= query; key++) {
              double probability = described.pattern().get(query).get(key);
              assertEquals(run.value(Site.PATTERN, 2).get(5, query, key), probability);
              sum += probability;
            }
            assertEquals(1, sum, 1e-12);
          }
        });
  }

  @Test
  void compare_findsTheNodesFurthestApart() throws IOException {
    Compared compared;
    try (Session session = Session.open(DOUBLE)) {
      compared = session.answer(new Compare(Subject.example(), Prompt.of(OTHER), 12));
    }
    Map<Node, Double> own = new HashMap<>();
    library(
        Subject.EXAMPLE,
        (run, nodes) ->
            nodes
                .activationTimesGradient()
                .top(Integer.MAX_VALUE)
                .forEach(score -> own.put(score.node(), score.score())));
    library(
        OTHER,
        (run, nodes) -> {
          Readings others = nodes.activationTimesGradient();
          List<Double> apart = new ArrayList<>();
          others
              .top(Integer.MAX_VALUE)
              .forEach(
                  score ->
                      apart.add(Math.abs(score.score() - own.getOrDefault(score.node(), 0.0))));
          apart.sort(Comparator.reverseOrder());
          for (int i = 0; i < 12; i++) {
            Compare.Difference found = compared.nodes().get(i);
            assertEquals(own.getOrDefault(found.node(), 0.0), found.attribution(), SAME);
            assertEquals(others.of(found.node()).orElseThrow(), found.otherAttribution(), SAME);
            assertEquals(
                apart.get(i), Math.abs(found.otherAttribution() - found.attribution()), SAME);
          }
          assertEquals(nodes.value(), compared.other().metric().value(), SAME);
        });
  }
}

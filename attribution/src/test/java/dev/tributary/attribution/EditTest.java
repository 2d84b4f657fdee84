package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Continuation;
import dev.tributary.transformer.DecoderRows;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Frozen;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Edits of parts of a model, held to changes of single nodes of single runs. */
class EditTest {
  /** Rounding of a few layers in 64 bits. */
  private static final double EXACT = 1e-9;

  /** Truncation of central differences, relative to 1 or the value. */
  private static final double DIFFERENCE = 1e-5;

  private static final double STEP = 1e-5;
  private static final int LAYERS = 3;
  private static final int WIDTH = 7;
  private static final int HEADS = 2;
  private static final int HEAD_WIDTH = 4;
  private static final int NEURONS = 5;
  private static final int LATENTS = 6;
  private static final int TOKENS = 4;
  private static final int CONTEXT = 7;
  private static final int VOCABULARY = 7;

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40);
  }

  // ---- models ------------------------------------------------------------------------------

  private static Tensor gaussian(Random random, double deviation, int... shape) {
    return RandomNodes.gaussian(Shape.of(shape), random, deviation);
  }

  /** Of any kind that a dictionary can be, of one layer. */
  private static Dictionary dictionary(Transformer model, int layer, Random random) {
    Place middle = Place.of(Site.RESIDUAL_AFTER_ATTENTION, layer);
    boolean sequential = !model.mlp(layer).reads().equals(model.attention(layer).reads());
    Place end = Place.of(Site.RESIDUAL_AFTER_MLP, layer);
    Place output = Place.of(Site.MLP_OUTPUT, layer);
    Place result = Place.of(Site.MLP_RESULT, layer);
    return switch (random.nextInt(sequential ? 11 : 9)) {
      case 0 -> dictionary(model, random, end, end);
      case 1 -> both(model, random, Place.of(Site.HEAD_OUTPUT, layer));
      case 2 -> both(model, random, Place.of(Site.ATTENTION_OUTPUT, layer));
      case 3 -> both(model, random, Place.of(Site.MLP_ACTIVATION, layer));
      case 4 -> both(model, random, output);
      case 5 -> both(model, random, result);
      case 6 -> dictionary(model, random, Place.of(Site.MLP_INPUT, layer), result);
      case 7 -> dictionary(model, random, Place.of(Site.MLP_STANDARDISED, layer), output);
      case 8 -> both(model, random, Place.of(Site.EMBEDDING));
      case 9 -> both(model, random, middle);
      default -> dictionary(model, random, middle, output);
    };
  }

  /** A layer of a cross-layer transcoder. */
  private static Dictionary crossLayer(Transformer model, int layer, Random random) {
    Place[] writes =
        IntStream.range(layer, LAYERS)
            .mapToObj(later -> Place.of(Site.MLP_OUTPUT, later))
            .toArray(Place[]::new);
    return dictionary(model, random, Place.of(Site.RESIDUAL_AFTER_ATTENTION, layer), writes)
        .crossLayer();
  }

  private static Dictionary both(Transformer model, Random random, Place place) {
    return dictionary(model, random, place, place);
  }

  private static Dictionary dictionary(
      Transformer model, Random random, Place reads, Place... writes) {
    LatentActivation activation =
        switch (random.nextInt(3)) {
          case 0 -> new LatentActivation.Relu();
          case 1 -> new LatentActivation.TopK(1 + random.nextInt(LATENTS));
          default -> new LatentActivation.JumpRelu(gaussian(random, 0.3, LATENTS));
        };
    List<Dictionary.Decoder> decoders =
        Stream.of(writes)
            .map(
                place ->
                    new Dictionary.Decoder(
                        place,
                        DecoderRows.of(gaussian(random, 1, LATENTS, model.width(place))),
                        Optional.empty()))
            .toList();
    return Dictionary.of(
            "random",
            reads,
            activation,
            gaussian(random, 1, LATENTS, model.width(reads)),
            gaussian(random, 0.3, LATENTS).plus(0.5),
            decoders)
        .withNormalisation(List.of(Dictionary.Normalisation.values()).get(random.nextInt(3)));
  }

  private static Transformer model(long seed) {
    Random random = RandomNodes.random(seed);
    TransformerConfig config =
        seed % 2 == 0
            ? TransformerConfig.gpt2(
                LAYERS, WIDTH, HEADS, HEAD_WIDTH, NEURONS, CONTEXT, VOCABULARY, 1e-5, true)
            : RandomArchitecture.of(
                random, LAYERS, WIDTH, HEADS, HEAD_WIDTH, NEURONS, CONTEXT, VOCABULARY);
    Transformer model = Transformer.random(config, DType.DOUBLE, seed);
    boolean crossLayer = seed % 2 == 0 && random.nextInt(4) == 0;
    return model.with(
        IntStream.range(0, LAYERS)
            .mapToObj(
                layer ->
                    crossLayer
                        ? crossLayer(model, layer, random)
                        : dictionary(model, layer, random)
                            .labelled(List.of("a", "b", "c").get(layer)))
            .toList());
  }

  private static Run run(Transformer model, Random random) {
    return model.run(random.ints(TOKENS, 0, VOCABULARY).toArray());
  }

  private static Edit part(Transformer model, Random random, int layer) {
    return switch (random.nextInt(3)) {
      case 0 -> Edit.neuron(layer, random.nextInt(model.mlp(layer).neuronCount()));
      case 1 -> Edit.latent(model.dictionaries().get(layer).id(), random.nextInt(LATENTS));
      default -> Edit.head(layer, random.nextInt(model.attention(layer).heads()));
    };
  }

  private static Edit edit(Transformer model, Random random, int layer) {
    Edit part = part(model, random, layer);
    boolean head = part.part() instanceof Edit.OfHead;
    Edit edit =
        switch (random.nextInt(head ? 2 : 4)) {
          case 0 -> part.remove();
          case 1 -> part.scale(random.nextGaussian());
          case 2 -> part.add(random.nextGaussian());
          default -> part.set(random.nextGaussian());
        };
    int first = random.nextInt(TOKENS);
    return switch (random.nextInt(3)) {
      case 0 -> edit;
      case 1 -> edit.at(Tokens.from(first));
      default -> edit.at(Tokens.between(first, first + random.nextInt(2)));
    };
  }

  private static Run edited(Run run, Edit... edits) {
    return run.with(Edit.changes(run.model(), List.of(edits)));
  }

  /**
   * Everywhere but in results of MLPs: where these are written as they are, a change of a node
   * changes what is written.
   */
  private static void assertSame(Run expected, Run actual) {
    for (Place place : expected.places()) {
      if (place.site() == Site.MLP_RESULT) {
        continue;
      }
      assertClose(expected.value(place), actual.value(place), EXACT, place::toString);
    }
  }

  private static void assertClose(
      Tensor expected, Tensor actual, double relative, Supplier<String> what) {
    double[] wanted = expected.toDoubles();
    double scale =
        Arrays.stream(wanted).filter(Double::isFinite).map(Math::abs).reduce(1, Math::max);
    assertArrayEquals(wanted, actual.toDoubles(), relative * scale, what);
  }

  // ---- laws --------------------------------------------------------------------------------

  /** Nothing comes before the first change, so its nodes are those of the unchanged run. */
  @Property(tries = 150)
  void edit_ofEachToken_isTheChangeOfEachNode(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = RandomNodes.random(seed + 1);
      Run run = run(model, random);
      int layer = random.nextInt(LAYERS);
      Edit edit = edit(model, random, layer);
      List<Change> nodeByNode = new ArrayList<>();
      for (int token = 0; token < TOKENS; token++) {
        if (token < edit.tokens().first() || token >= edit.tokens().end()) {
          continue;
        }
        if (edit.part() instanceof Edit.OfHead head) {
          for (int key = 0; key <= token; key++) {
            HeadPair pair = new HeadPair(layer, head.head(), token, key);
            nodeByNode.add(Ablation.scale(run, pair, edit.factor()));
          }
        } else {
          Source node =
              edit.part() instanceof Edit.OfLatent latent
                  ? new Latent(latent.dictionary(), token, latent.latent())
                  : new Neuron(layer, token, ((Edit.OfNeuron) edit.part()).neuron());
          double now = node.activation(run).orElseThrow();
          nodeByNode.add(Ablation.set(run, node, edit.factor() * now + edit.addend()));
        }
      }
      Run expected = run.with(nodeByNode.toArray(new Change[0]));
      Run actual = edited(run, edit);
      if (edit.part() instanceof Edit.OfHead) {
        assertClose(expected.value(Site.LOGITS), actual.value(Site.LOGITS), EXACT, edit::toString);
      } else {
        assertSame(expected, actual);
      }
    }
  }

  /** A later latent's activation is that of the changed run. */
  @Property(tries = 150)
  void edits_ofSeveralLayers_areMadeOneAfterTheOther(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = RandomNodes.random(seed + 2);
      Run run = run(model, random);
      Edit first = edit(model, random, 0);
      Dictionary later = model.dictionaries().get(1 + random.nextInt(LAYERS - 1));
      if (later.reads().site() == Site.EMBEDDING) {
        return;
      }
      int token = random.nextInt(TOKENS);
      int latent = random.nextInt(LATENTS);
      double value = random.nextGaussian();
      Edit second = Edit.latent(later.id(), latent).at(Tokens.at(token)).set(value);
      Run once = edited(run, first);
      Run twice = once.with(Ablation.set(once, new Latent(later.id(), token, latent), value));
      assertSame(twice, edited(run, first, second));
      assertSame(twice, edited(run, second, first));
    }
  }

  @Property(tries = 100)
  void edits_thatChangeNothingOrAddUp_doSo(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = RandomNodes.random(seed + 3);
      Run run = run(model, random);
      Edit part = part(model, random, random.nextInt(LAYERS));
      assertSame(run, edited(run, part.scale(1)));
      assertSame(run, edited(run, part.scale(4).scale(0.25)));
      assertSame(edited(run, part.remove()), edited(run, part.scale(0)));
      if (!(part.part() instanceof Edit.OfHead)) {
        Run sum = edited(run, part.add(0.3 - 1.1));
        assertSame(sum, edited(run, part.add(0.3), part.add(-1.1)));
        assertSame(sum, edited(run, part.add(0.3).add(-1.1)));
        Run both = edited(run, part.scale(-2).add(0.5));
        assertSame(both, edited(run, part.scale(-2), part.add(0.5)));
        assertSame(edited(run, part.set(0.5)), edited(run, part.add(3).set(0.5)));
      }
    }
  }

  /** What is added to neurons moves a frozen model along a straight line. */
  @Property(tries = 60)
  void edits_ofNeuronsOfAFrozenModel_addUp(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = RandomNodes.random(seed + 4);
      Run run = run(model, random);
      List<Edit> edits =
          IntStream.range(0, LAYERS)
              .mapToObj(
                  layer ->
                      Edit.neuron(layer, random.nextInt(model.mlp(layer).neuronCount()))
                          .at(Tokens.from(random.nextInt(TOKENS)))
                          .add(random.nextGaussian()))
              .toList();
      Tensor before = run.with(Frozen.as(run)).value(Site.LOGITS);
      Tensor sum = before;
      for (Edit edit : edits) {
        sum = sum.plus(frozen(run, List.of(edit)).minus(before));
      }
      assertClose(sum, frozen(run, edits), EXACT, edits::toString);
    }
  }

  private static Tensor frozen(Run run, List<Edit> edits) {
    Change[] changes =
        Stream.concat(Stream.of(Frozen.as(run)), Stream.of(Edit.changes(run.model(), edits)))
            .toArray(Change[]::new);
    return run.with(changes).value(Site.LOGITS);
  }

  /** Tokens that come one after the other, without derivatives, and all at once. */
  @Property(tries = 100)
  void continuation_edited_isTheWholeTextEdited(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = RandomNodes.random(seed + 5);
      Change[] changes =
          Edit.changes(model, List.of(edit(model, random, 1), edit(model, random, 0)));
      Continuation text = Continuation.of(model, random.ints(2, 0, VOCABULARY).toArray(), changes);
      while (text.room() > 0) {
        text.append(random.nextInt(VOCABULARY));
        Run whole = model.run(text.tokens());
        Tensor expected = whole.with(changes).logits(whole.lastToken()).reshape(VOCABULARY);
        assertClose(expected, text.nextLogits(), EXACT, () -> "");
        Run values = whole.valuesWith(Set.of(Site.LOGITS), changes);
        assertClose(expected, values.logits(whole.lastToken()), EXACT, () -> "");
      }
    }
  }

  @Property(tries = 40, seed = "20261127")
  void edited_hasItsOwnDerivative(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed & ~1);
      Random random = RandomNodes.random(seed + 6);
      Run run = run(model, random);
      Change[] changes =
          Edit.changes(model, List.of(edit(model, random, 1), edit(model, random, 0)));
      Run changed = run.with(changes);
      Tensor direction = gaussian(random, 1, TOKENS, WIDTH);
      Tensor pushed =
          Jacobian.of(changed.variable(Site.LOGITS), changed.variable(Site.TOKEN_EMBEDDING))
              .push(direction.reshape(1, TOKENS, WIDTH));
      Tensor[] ends = new Tensor[2];
      for (int i = 0; i < 2; i++) {
        Change moved =
            Intervention.add(
                Place.of(Site.TOKEN_EMBEDDING), direction.times(i == 0 ? -STEP : STEP));
        ends[i] =
            run.with(Stream.concat(Stream.of(moved), Stream.of(changes)).toArray(Change[]::new))
                .value(Site.LOGITS);
      }
      Tensor difference = ends[1].minus(ends[0]).times(0.5 / STEP);
      assertClose(difference, pushed, DIFFERENCE, () -> "");
    }
  }

  @Property(tries = 60)
  void headPair_edited_isThatProbability(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = RandomNodes.random(seed + 7);
      Run run = run(model, random);
      HeadPair pair = new HeadPair(1, random.nextInt(HEADS), 3, random.nextInt(4));
      double now = pair.activation(run).orElseThrow();
      assertSame(
          run.with(Ablation.set(run, pair, 0.5 * now + 0.2)),
          edited(run, Edit.head(pair).scale(0.5).add(0.2)));
    }
  }

  // ---- names and refusals ------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(
      strings = {
        "L1.neuron77",
        "L1.neuron77[9]",
        "L1.neuron77[9-11]",
        "L1.neuron77[9-]",
        "L2.head5",
        "L2.head5[14]",
        "L2.head5[14<-3]",
        "L1.mlp_latent12[0-]",
        "L1.attention_latent12[3]"
      })
  void parse_name_isWhatItPrints(String name) {
    assertEquals(name.replace("[0-]", ""), Edit.parse(" " + name).toString());
  }

  @Test
  void parse_names_meanTheseTokens() {
    assertEquals(Edit.neuron(1, 77).at(Tokens.between(9, 11)), Edit.parse("L1.neuron77[9-11]"));
    assertEquals(Edit.head(2, 5).at(Tokens.from(3)), Edit.parse("L2.head5[3-]"));
    assertEquals(Edit.head(new HeadPair(2, 5, 14, 3)), Edit.parse("L2.head5[14<-3]"));
    assertEquals(
        Edit.latent(new Dictionary.Id(Dictionary.Kind.MLP, "", 1), 12).at(Tokens.at(0)),
        Edit.parse("L1.mlp_latent12[0]"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "metric",
        "embedding[3]",
        "L1.neuron",
        "L1.neuron77[",
        "L1.neuron77[-3]",
        "L1.neuron77[5-4]",
        "L1.neuron77.gate[3]",
        "L2.head5.query[3<-1]",
        "L2.head5[3<-4-5]",
        "L1.neuron77[3<-1]",
        "L1.neuron77[9999999999]",
        "L1.neuron99999999999",
        "neuron3"
      })
  void parse_other_isRefused(String name) {
    assertThrows(IllegalArgumentException.class, () -> Edit.parse(name));
  }

  @Test
  void changes_whatCannotBe_isRefusedWithItsRange() {
    try (Scope scope = Scope.open()) {
      Transformer model = model(2);
      Dictionary.Id id = model.dictionaries().get(0).id();
      assertRefused(model, Edit.neuron(LAYERS, 0), "L3.neuron0: layer 3", "there are 3");
      assertRefused(model, Edit.neuron(0, NEURONS), "L0.neuron5: neuron 5", "there are 5");
      assertRefused(model, Edit.head(0, HEADS), "L0.head2: head 2", "there are 2");
      assertRefused(model, Edit.head(0, 0).set(1), "L0.head0", "vector");
      assertRefused(model, Edit.head(new HeadPair(0, 0, 1, 2)), "[1<-2]", "not between 0 and");
      assertRefused(model, Edit.latent(id, LATENTS), "latent 6", "there are 6");
      assertRefused(
          model, Edit.latent(new Dictionary.Id(Dictionary.Kind.MLP, "z", 0), 0), "not loaded");
      assertRefused(model, Edit.neuron(0, 0).set(Double.NaN), "L0.neuron0", "no number");
    }
  }

  private static void assertRefused(Transformer model, Edit edit, String... parts) {
    IllegalArgumentException refused =
        assertThrows(IllegalArgumentException.class, () -> Edit.changes(model, List.of(edit)));
    for (String part : parts) {
      assertTrue(String.valueOf(refused.getMessage()).contains(part), part);
    }
  }
}

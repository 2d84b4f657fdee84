package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.Change;
import dev.tributary.transformer.Continuation;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.LatentIntervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What a part of a model does otherwise, in whatever text: its activation a becomes factor · a +
 * addend at some tokens or at all, with those that a text gets later. The activation of a head is
 * its probability at a pair of tokens; at a token a head writes a vector, which can be scaled
 * alone.
 *
 * @param part of the model
 * @param tokens where
 * @param factor of what it is in the changed run
 * @param addend on top
 */
public record Edit(Part part, Tokens tokens, double factor, double addend) {
  /** A part of a model that has an activation, or writes a vector, at each token. */
  public sealed interface Part permits OfNeuron, OfHead, OfHeadPair, OfLatent {
    /**
     * Refuses what cannot be done.
     *
     * @param model in which it is to be edited
     * @param edit of this part
     * @throws IllegalArgumentException if the model has no such part, or it cannot be edited so
     */
    void requireIn(Transformer model, Edit edit);

    /** {@return where its activation or what it writes passes in a run; of a latent nowhere} */
    default Optional<Place> place() {
      return Optional.empty();
    }
  }

  /**
   * A neuron.
   *
   * @param layer from 0
   * @param neuron from 0
   */
  public record OfNeuron(int layer, int neuron) implements Part {
    @Override
    public void requireIn(Transformer model, Edit edit) {
      Kind.requireIndex(edit, "layer", layer, model.layers());
      Kind.requireIndex(edit, "neuron", neuron, model.mlp(layer).neuronCount());
    }

    @Override
    public Optional<Place> place() {
      return Optional.of(Place.of(Site.MLP_ACTIVATION, layer).at(1, neuron));
    }

    @Override
    public String toString() {
      return new Neuron(layer, 0, neuron).coordinates().withoutTokens();
    }
  }

  /**
   * A head: all that it writes at a token.
   *
   * @param layer from 0
   * @param head from 0
   */
  public record OfHead(int layer, int head) implements Part {
    @Override
    public void requireIn(Transformer model, Edit edit) {
      Kind.requireIndex(edit, "layer", layer, model.layers());
      Kind.requireIndex(edit, "head", head, model.attention(layer).heads());
      requireArgument(
          edit.addend == 0,
          "%s: what a head writes at a token is a vector, which can be scaled or removed; a number"
              + " is its probability at a pair of tokens, as in L2.head5[14<-3]",
          edit);
    }

    @Override
    public Optional<Place> place() {
      return Optional.of(Place.of(Site.HEAD_OUTPUT, layer).at(0, head));
    }

    @Override
    public String toString() {
      return new HeadPair(layer, head, 0, 0).coordinates().withoutTokens();
    }
  }

  /**
   * A head looking at one token. Its other probabilities stay.
   *
   * @param layer from 0
   * @param head from 0
   * @param key token that is looked at
   */
  public record OfHeadPair(int layer, int head, int key) implements Part {
    @Override
    public void requireIn(Transformer model, Edit edit) {
      Kind.requireIndex(edit, "layer", layer, model.layers());
      Kind.requireIndex(edit, "head", head, model.attention(layer).heads());
      requireArgument(
          key >= 0 && key <= edit.tokens.first(),
          "%s: key token %d is not between 0 and the query token %d",
          edit,
          key,
          edit.tokens.first());
    }

    @Override
    public Optional<Place> place() {
      return Optional.of(Place.of(Site.PATTERN, layer).at(0, head).at(2, key));
    }

    @Override
    public String toString() {
      return new HeadPair(layer, head, 0, 0).coordinates().withoutTokens();
    }
  }

  /**
   * A latent.
   *
   * @param dictionary that it is of
   * @param latent from 0
   */
  public record OfLatent(Dictionary.Id dictionary, int latent) implements Part {
    @Override
    public void requireIn(Transformer model, Edit edit) {
      Kind.requireIndex(edit, "latent", latent, model.dictionary(dictionary).latentCount());
    }

    @Override
    public String toString() {
      return new Latent(dictionary, 0, latent).coordinates().withoutTokens();
    }
  }

  /** What follows the name of a part. */
  private static final Pattern TOKENS =
      Pattern.compile("(?<part>[^\\[]*)\\[(?<first>\\d{1,9})(?:(?<on>-)(?<last>\\d{1,9})?)?]");

  private static Edit of(Part part) {
    return new Edit(part, Tokens.ALL, 1, 0);
  }

  /**
   * {@return a neuron as it is, at all tokens}
   *
   * @param layer from 0
   * @param neuron from 0
   */
  public static Edit neuron(int layer, int neuron) {
    return of(new OfNeuron(layer, neuron));
  }

  /**
   * {@return a head as it is, at all tokens}
   *
   * @param layer from 0
   * @param head from 0
   */
  public static Edit head(int layer, int head) {
    return of(new OfHead(layer, head));
  }

  /**
   * {@return a latent as it is, at all tokens}
   *
   * @param dictionary that it is of
   * @param latent from 0
   */
  public static Edit latent(Dictionary.Id dictionary, int latent) {
    return of(new OfLatent(dictionary, latent));
  }

  /**
   * {@return a head as it is, at a pair of tokens}
   *
   * @param pair of which
   */
  public static Edit head(HeadPair pair) {
    return of(new OfHeadPair(pair.layer(), pair.head(), pair.key())).at(Tokens.at(pair.query()));
  }

  /**
   * {@return what a name means, as it is}
   *
   * @param name of a node with a token, {@code L1.neuron77[9]}, with several, {@code
   *     L1.neuron77[9-11]} or {@code L1.neuron77[9-]}, or with none for all, {@code L1.neuron77};
   *     of a head also with a pair of tokens
   * @throws IllegalArgumentException if it is the name of nothing that can be edited
   */
  public static Edit parse(String name) {
    Matcher matcher = TOKENS.matcher(name.strip());
    boolean some = matcher.matches();
    String part = some ? matcher.group("part") : name.strip();
    Tokens tokens = some ? tokens(name, matcher) : Tokens.ALL;
    return edited(part)
        .map(edit -> edit.part instanceof OfHeadPair ? edit : edit.at(tokens))
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "\"%s\" is no neuron, head or latent: names look like L1.neuron77, L1.neuron77[9], L1.neuron77[9-11], L1.neuron77[9-], L2.head5[14], L2.head5[14<-3] or L1.mlp_latent12[9]"
                        .formatted(name)));
  }

  /** Of a pair of tokens, or the name of a part alone. */
  private static Optional<Edit> edited(String part) {
    if (part.contains("[")) {
      return nodes(part, HeadPair.KIND).map(HeadPair.class::cast).map(Edit::head).findFirst();
    }
    Stream<Edit> heads =
        nodes(part + "[0<-0]", HeadPair.KIND)
            .map(HeadPair.class::cast)
            .map(pair -> head(pair.layer(), pair.head()));
    Stream<Edit> neurons =
        nodes(part + "[0]", Neuron.KIND)
            .map(Neuron.class::cast)
            .map(neuron -> neuron(neuron.layer(), neuron.neuron()));
    Stream<Edit> latents =
        nodes(part + "[0]", Latent.KIND)
            .map(Latent.class::cast)
            .map(latent -> latent(latent.dictionary(), latent.latent()));
    return Stream.of(heads, neurons, latents).flatMap(own -> own).findFirst();
  }

  /** The node of a kind that a name means, if it does. */
  private static Stream<? extends Node> nodes(String name, Kind kind) {
    return Coordinates.Name.of(name).stream()
        .flatMap(parts -> kind.candidates(parts).filter(parts::isOf));
  }

  private static Tokens tokens(String name, Matcher matcher) {
    int first = Integer.parseInt(matcher.group("first"));
    if (matcher.group("on") == null) {
      return Tokens.at(first);
    }
    if (matcher.group("last") == null) {
      return Tokens.from(first);
    }
    int last = Integer.parseInt(matcher.group("last"));
    requireArgument(first <= last, "%s: token %d comes after token %d", name, first, last);
    return Tokens.between(first, last);
  }

  /**
   * {@return the same at these tokens}
   *
   * @param other in place of those where it was
   */
  public Edit at(Tokens other) {
    return new Edit(part, other, factor, addend);
  }

  /**
   * {@return the same, and then this activation whatever it was}
   *
   * @param activation of each token
   */
  public Edit set(double activation) {
    return new Edit(part, tokens, 0, activation);
  }

  /**
   * {@return the same, and then a multiple}
   *
   * @param by the factor
   */
  public Edit scale(double by) {
    return new Edit(part, tokens, by * factor, by * addend);
  }

  /**
   * {@return the same, and then this much more}
   *
   * @param more activation
   */
  public Edit add(double more) {
    return new Edit(part, tokens, factor, addend + more);
  }

  /** {@return an activation of 0, or nothing written} */
  public Edit remove() {
    return set(0);
  }

  /**
   * {@return what it takes to make edits of a model together, for {@link Run#with} and {@link
   * Continuation#of}} Several of one part follow one another; what latents are is asked after all
   * else that passes at the same place was edited, and of all latents of a dictionary at once.
   *
   * @param model that has the parts
   * @param edits to make
   * @throws IllegalArgumentException if an index is out of range, with its range, a number is not
   *     finite, or a part cannot be edited in this way
   */
  public static Change[] changes(Transformer model, List<Edit> edits) {
    List<Change> changes = new ArrayList<>();
    Map<Dictionary.Id, List<LatentIntervention.Latent>> latents = new LinkedHashMap<>();
    for (Edit edit : edits) {
      requireArgument(
          Double.isFinite(edit.factor) && Double.isFinite(edit.addend),
          "%s: %s times its activation and %s is no number",
          edit,
          edit.factor,
          edit.addend);
      edit.part.requireIn(model, edit);
      edit.part
          .place()
          .map(place -> Intervention.affine(place, edit.factor, edit.addend).at(edit.tokens))
          .ifPresent(changes::add);
      if (edit.part instanceof OfLatent of) {
        latents
            .computeIfAbsent(of.dictionary, id -> new ArrayList<>())
            .add(new LatentIntervention.Latent(of.latent, edit.tokens, edit.factor, edit.addend));
      }
    }
    latents.forEach(
        (id, changed) -> changes.add(LatentIntervention.of(model.dictionary(id), changed)));
    return changes.toArray(Change[]::new);
  }

  /** {@return the name of what is edited} */
  @Override
  public String toString() {
    if (part instanceof OfHeadPair pair) {
      return part + "[" + tokens + "<-" + pair.key + "]";
    }
    return part + (tokens.equals(Tokens.ALL) ? "" : "[" + tokens + "]");
  }
}

package dev.tributary.attribution;

import dev.tributary.transformer.InputPath;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Where a node stands. Names, JSON and pictures are made of these alone; see {@link Node} for what
 * a name looks like.
 *
 * @param kind what it is, in a word: {@code neuron}, {@code head}, ...
 * @param component where in the model
 * @param part which of several of that kind there: {@code mlp} in {@code mlp_bias}
 * @param layer none of what belongs to no layer
 * @param index of the neuron, head, latent or word
 * @param path through which input of a head or of a gated neuron it is entered; {@link
 *     InputPath#ALL} of all else
 * @param token that it writes to or reads; of a head, that of its query
 * @param key token that a head looks at
 */
public record Coordinates(
    String kind,
    Component component,
    Optional<String> part,
    OptionalInt layer,
    OptionalInt index,
    InputPath path,
    OptionalInt token,
    OptionalInt key) {
  /** What a model consists of. */
  public enum Component {
    /** What tokens become. */
    EMBEDDING,
    /** The attention of a layer. */
    ATTENTION,
    /** The MLP of a layer. */
    MLP,
    /** The residual stream itself, and what is made of it at the end. */
    OUTPUT
  }

  private static final Pattern NAME =
      Pattern.compile(
          "(?:L(?<layer>\\d+)\\.)?(?<word>[a-z_]*[a-z])(?<index>\\d+)?(?:\\.(?<path>[a-z]+))?"
              + "(?:\\[(?<token>\\d+)(?:<-(?<key>\\d+))?])?");

  /** Of something outside the layers. */
  static Coordinates outside(String kind, Component component) {
    OptionalInt none = OptionalInt.empty();
    return new Coordinates(
        kind, component, Optional.empty(), none, none, InputPath.ALL, none, none);
  }

  /** Where a node of one of several parts stands. */
  Coordinates part(String word) {
    return new Coordinates(kind, component, Optional.of(word), layer, index, path, token, key);
  }

  Coordinates layer(int number) {
    OptionalInt own = OptionalInt.of(number);
    return new Coordinates(kind, component, part, own, index, path, token, key);
  }

  Coordinates index(int number) {
    OptionalInt own = OptionalInt.of(number);
    return new Coordinates(kind, component, part, layer, own, path, token, key);
  }

  Coordinates path(InputPath input) {
    return new Coordinates(kind, component, part, layer, index, input, token, key);
  }

  Coordinates at(int number) {
    OptionalInt own = OptionalInt.of(number);
    return new Coordinates(kind, component, part, layer, index, path, own, key);
  }

  Coordinates lookingAt(int number) {
    OptionalInt own = OptionalInt.of(number);
    return new Coordinates(kind, component, part, layer, index, path, token, own);
  }

  private String word() {
    return part.map(of -> of + "_").orElse("") + kind;
  }

  /** {@return the name without tokens} */
  public String withoutTokens() {
    StringBuilder name = new StringBuilder();
    layer.ifPresent(number -> name.append('L').append(number).append('.'));
    name.append(word());
    index.ifPresent(name::append);
    if (path != InputPath.ALL) {
      name.append('.').append(Lowercase.of(path));
    }
    return name.toString();
  }

  /** {@return the name of the node} */
  @Override
  public String toString() {
    StringBuilder name = new StringBuilder(withoutTokens());
    if (token.isPresent()) {
      name.append('[').append(token.getAsInt());
      key.ifPresent(number -> name.append("<-").append(number));
      name.append(']');
    }
    return name.toString();
  }

  Name name() {
    Optional<String> input =
        path == InputPath.ALL ? Optional.empty() : Optional.of(Lowercase.of(path));
    return new Name(word(), layer, index, input, token, key);
  }

  /** A name taken apart. */
  record Name(
      String word,
      OptionalInt layer,
      OptionalInt index,
      Optional<String> path,
      OptionalInt token,
      OptionalInt key) {
    /** What a name consists of, if it looks like one. */
    static Optional<Name> of(String name) {
      Matcher matcher = NAME.matcher(name.strip());
      if (!matcher.matches()) {
        return Optional.empty();
      }
      return Optional.of(
          new Name(
              matcher.group("word"),
              number(matcher, "layer"),
              number(matcher, "index"),
              Optional.ofNullable(matcher.group("path")),
              number(matcher, "token"),
              number(matcher, "key")));
    }

    private static OptionalInt number(Matcher matcher, String group) {
      String digits = matcher.group(group);
      if (digits == null) {
        return OptionalInt.empty();
      }
      try {
        return OptionalInt.of(Integer.parseInt(digits));
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException(
            "node name with a number out of range: " + matcher.group(), e);
      }
    }

    /** Whether it is the name of a node. */
    boolean isOf(Node node) {
      return of(node.toString()).filter(this::equals).isPresent();
    }
  }
}

package dev.tributary.transformer.file;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * What somebody says of a dictionary where its own files leave it out: an entry of the list in
 * dictionaries.json, or nothing. Where both say something they have to agree.
 */
final class Given {
  /** Key of the path, which is read where the list is. */
  static final String PATH = "path";

  private static final String HOOK = "hook";

  /** What {@link #HOOK} is called in older lists. */
  private static final String SITE = "site";

  private static final String OUT = "hook_out";
  private static final String LAYER = "layer";
  private static final String COUNT = "k";
  private static final String FACTOR = "factor";
  private static final String CENTRED = "centred";
  private static final String NORMALIZE = "normalize";
  private static final String LABEL = "label";

  private final Optional<JsonFile> entry;
  private final Set<String> asked = new HashSet<>(List.of(PATH));

  private Given(Optional<JsonFile> entry) {
    this.entry = entry;
  }

  /** Of a dictionary that is not listed. */
  static Given nothing() {
    return new Given(Optional.empty());
  }

  /** Of a dictionary that is listed. */
  static Given in(JsonFile entry) {
    return new Given(Optional.of(entry));
  }

  /** Whether there is a value at a key. */
  private Optional<JsonFile> at(String key) {
    asked.add(key);
    return entry.filter(json -> json.has(key));
  }

  /** Where a dictionary reads, of which its files say all. */
  Hook.Point reads(Path file, Hook.Point own) throws IOException {
    return reads(file, Optional.of(own.hook()), Optional.of(own.layer()));
  }

  /** Where a dictionary reads, of which its files say a part or nothing. */
  Hook.Point reads(Path file, Optional<Hook> hook, Optional<Integer> layer) throws IOException {
    return point(at(HOOK).isEmpty() && at(SITE).isPresent() ? SITE : HOOK, file, hook, layer);
  }

  /** Where a dictionary writes, of which its files say this. */
  Hook.Point writes(Path file, Hook.Point own) throws IOException {
    return at(OUT).isPresent()
        ? point(OUT, file, Optional.of(own.hook()), Optional.of(own.layer()))
        : own;
  }

  private Hook.Point point(String key, Path file, Optional<Hook> hook, Optional<Integer> layer)
      throws IOException {
    Optional<Hook> saidHook = Optional.empty();
    Optional<Integer> saidLayer = Optional.empty();
    Optional<JsonFile> json = at(key);
    if (json.isPresent()) {
      String text = json.get().text(key, "");
      Optional<Hook.Point> point = Hook.Point.of(text);
      saidHook = point.map(Hook.Point::hook).or(() -> Hook.named(text));
      saidLayer = point.map(Hook.Point::layer);
      if (saidHook.isEmpty()) {
        throw json.get().wrong(key, "blocks.<layer>.<hook> or a hook of " + Hook.known());
      }
    }
    if (at(LAYER).isPresent()) {
      int index = at(LAYER).get().index(LAYER, TransformerConfig.MOST_LAYERS);
      saidLayer = Optional.of(agreed(LAYER, file, saidLayer, Optional.of(index), ""));
    }
    Hook found = agreed(key, file, hook, saidHook, "where it reads, as \"hook_resid_post\"");
    if (!found.perLayer()) {
      return found.in(0);
    }
    return found.in(agreed(LAYER, file, layer, saidLayer, "of which layer it is, as 5"));
  }

  /** How many latents of a token stay active. */
  int count(Path file, Optional<Integer> own) throws IOException {
    Optional<JsonFile> json = at(COUNT);
    return agreed(
        COUNT,
        file,
        own,
        json.isPresent() ? Optional.of(json.get().positive(COUNT)) : Optional.empty(),
        "how many latents of a token are active, as 50");
  }

  /** What vectors were multiplied by before the dictionary saw them. */
  double factor(Path file, Optional<Double> own) throws IOException {
    Optional<JsonFile> json = at(FACTOR);
    return agreed(
        FACTOR,
        file,
        own,
        json.isPresent() ? Optional.of(json.get().positive(FACTOR, 1.0)) : Optional.empty(),
        "what the vectors were multiplied by that it was trained on, as 0.25");
  }

  /** Whether a dictionary is of vectors less their mean. */
  boolean centred(boolean otherwise) throws IOException {
    Optional<JsonFile> json = at(CENTRED);
    return json.isPresent() ? json.get().flag(CENTRED, otherwise) : otherwise;
  }

  /** Whether a dictionary is of normalised vectors. */
  boolean normalized(boolean otherwise) throws IOException {
    Optional<JsonFile> json = at(NORMALIZE);
    return json.isPresent() ? json.get().flag(NORMALIZE, otherwise) : otherwise;
  }

  /** What tells a dictionary from others of its kind and layer, or nothing. */
  String label() throws IOException {
    Optional<JsonFile> json = at(LABEL);
    if (json.isEmpty()) {
      return "";
    }
    String label = json.get().text(LABEL, "");
    if (!label.matches("[a-z]([a-z_]{0,98}[a-z])?")) {
      throw json.get().wrong(LABEL, "letters from a to z and _");
    }
    return label;
  }

  /** What one of two says, or both. */
  private <T> T agreed(String key, Path file, Optional<T> own, Optional<T> said, String missing)
      throws IOException {
    if (own.isPresent() && said.isPresent() && !own.get().equals(said.get())) {
      throw entry.orElseThrow().wrong(key, own.get() + ", as " + file + " says");
    }
    Optional<T> found = said.or(() -> own);
    if (found.isEmpty()) {
      throw BadFile.because(
          file,
          "this file does not say %s: list it in %s with \"%s\"",
          missing,
          DictionaryList.NAME,
          key);
    }
    return found.get();
  }

  /** Refuses what the list says and nobody wanted to know. */
  void requireAllAsked() throws IOException {
    if (entry.isPresent()) {
      for (String key : entry.get().names()) {
        if (!asked.contains(key)) {
          throw entry.get().wrong(key, "none: a dictionary of this kind has no such thing");
        }
      }
    }
  }
}

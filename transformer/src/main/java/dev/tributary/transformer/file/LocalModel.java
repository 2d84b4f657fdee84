package dev.tributary.transformer.file;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A model on this machine, found by its path or by the name under which another program keeps it.
 * Nothing is ever fetched.
 *
 * @param name by which it was found
 * @param path a folder or a file, such as {@link Checkpoint#open(Path)} and {@link
 *     Tokenizers#load(Path)} take
 */
public record LocalModel(String name, Path path) {
  private static final String OLLAMA = "ollama:";

  /** How the name of a GGUF file ends. */
  private static final String GGUF = ".gguf";

  /** Files of a split model behind its first one. */
  private static final Pattern FURTHER_SPLIT =
      Pattern.compile(".*-(?!00001-)\\d{5}-of-\\d{5}\\.gguf", Pattern.CASE_INSENSITIVE);

  /** How far below a snapshot there may be files. */
  private static final int DEPTH = 3;

  /** Most files that are looked at, and most that a sentence names. */
  private static final int FILES_LIMIT = 100_000;

  private static final int NAMED = 10;

  /** Largest manifest of Ollama and largest reference of Hugging Face, bytes. */
  private static final int MANIFEST_LIMIT = 1 << 20;

  private static final int REFERENCE_LIMIT = 1024;

  private static final String PART = "[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?";

  private static final Pattern HUGGING_FACE_NAME =
      Pattern.compile(
          "(?<repository>PART(?:/PART)?)(?:@(?<revision>PART))?(?:/(?<file>.+))?"
              .replace("PART", PART));

  private static final Pattern OLLAMA_NAME =
      Pattern.compile(
          "(?:(?:(?<host>PART(?::\\d+)?)/)?(?<user>PART)/)?(?<model>PART)(?::(?<tag>PART))?"
              .replace("PART", PART));

  private static final Pattern COMMIT = Pattern.compile("[0-9a-f]{4,64}");
  private static final Pattern DIGEST = Pattern.compile("sha256:([0-9a-f]{64})");

  /**
   * Finds a model:
   *
   * <ul>
   *   <li>the file or folder of this path, if there is one
   *   <li>{@code ORG/NAME[@REVISION][/FILE]} in the cache of Hugging Face: {@code HF_HUB_CACHE},
   *       {@code HF_HOME/hub}, {@code XDG_CACHE_HOME/huggingface/hub} or {@code
   *       ~/.cache/huggingface/hub}; a revision is a branch, a tag or a hash that may be cut short,
   *       by default {@code main}
   *   <li>{@code ollama:[USER/]NAME[:TAG]} in the store of Ollama: {@code OLLAMA_MODELS}, or {@code
   *       ~/.ollama/models} and where its service on Linux has it
   * </ul>
   *
   * A folder whose weights are in one GGUF file stands for this file.
   *
   * @param name a path or a name
   * @return what was found
   * @throws IllegalArgumentException if it is no name, and no file can be called so
   * @throws IOException if it is not there, is not complete, or there are several; the sentence
   *     says where it was looked for and what fetches it
   */
  public static LocalModel find(String name) throws IOException {
    return find(name, System.getenv(), Path.of(System.getProperty("user.home", "")));
  }

  /** The same by other environment variables and another home. */
  static LocalModel find(String name, Map<String, String> environment, Path home)
      throws IOException {
    if (new File(name).exists()) { // which any text may be asked
      return new LocalModel(name, onlyGguf(name, Path.of(name), 1));
    }
    Places places = new Places(environment, home);
    if (name.startsWith(OLLAMA)) {
      return new LocalModel(name, ollama(name, places));
    }
    Matcher parts = HUGGING_FACE_NAME.matcher(name);
    if (!parts.matches() || !staysInside(name) || parts.group("repository").contains("--")) {
      throw BadFile.because(Path.of(name), "there is no such file or folder");
    }
    return new LocalModel(name, onlyGguf(name, huggingFace(name, parts, places), DEPTH));
  }

  private static boolean staysInside(String name) {
    return !name.contains("\\")
        && Stream.of(name.split("/", -1)).noneMatch(part -> part.isEmpty() || part.contains(".."));
  }

  /** Where other programs keep models. */
  private record Places(Map<String, String> environment, Path home) {
    Path huggingFace() {
      return variable("HF_HUB_CACHE")
          .or(() -> variable("HF_HOME").map(folder -> folder.resolve("hub")))
          .orElseGet(
              () ->
                  variable("XDG_CACHE_HOME")
                      .orElse(home.resolve(".cache"))
                      .resolve("huggingface/hub"));
    }

    List<Path> ollama() {
      return variable("OLLAMA_MODELS")
          .map(List::of)
          .orElse(
              List.of(
                  home.resolve(".ollama/models"),
                  Path.of("/usr/share/ollama/.ollama/models"),
                  Path.of("/var/lib/ollama/models"),
                  Path.of("/var/lib/ollama")));
    }

    private Optional<Path> variable(String key) {
      return Optional.ofNullable(environment.get(key))
          .filter(value -> !value.isBlank())
          .map(value -> value.matches("~(/.*)?") ? home + value.substring(1) : value)
          .map(Path::of);
    }
  }

  // ---- Hugging Face --------------------------------------------------------------------------

  private static Path huggingFace(String name, Matcher parts, Places places) throws IOException {
    String repository = parts.group("repository");
    Optional<String> revision = Optional.ofNullable(parts.group("revision"));
    Optional<String> file = Optional.ofNullable(parts.group("file"));
    String fetch =
        "hf download "
            + repository
            + file.map(one -> " " + one).orElse("")
            + revision.map(one -> " --revision " + one).orElse("");
    Path cache = places.huggingFace();
    Path folder = cache.resolve("models--" + repository.replace("/", "--"));
    if (!Files.isDirectory(folder)) {
      throw BadFile.named(
          name,
          "there is no such file or folder, and no model of this name in the cache of Hugging Face,"
              + " %s: %s would fetch it",
          cache,
          fetch);
    }
    Path snapshot = snapshot(name, folder, revision.orElse("main"), fetch);
    if (file.isPresent()) {
      Path inside = snapshot.resolve(file.get());
      if (!Files.exists(inside)) {
        throw BadFile.named(name, "there is no %s: %s would fetch it", inside, fetch);
      }
      return inside;
    }
    requireComplete(name, folder, snapshot, fetch);
    return snapshot;
  }

  private static Path snapshot(String name, Path folder, String revision, String fetch)
      throws IOException {
    Path snapshots = folder.resolve("snapshots");
    Path reference = folder.resolve("refs").resolve(revision);
    String hash = revision;
    if (Files.isRegularFile(reference)) {
      hash =
          new String(BadFile.bytes(reference, REFERENCE_LIMIT), StandardCharsets.US_ASCII).strip();
      if (!COMMIT.matcher(hash).matches()) {
        throw BadFile.because(reference, "this is not the hash of a snapshot");
      }
    }
    String start = hash;
    List<Path> found =
        COMMIT.matcher(hash).matches()
            ? list(snapshots, each -> fileName(each).startsWith(start))
            : List.of();
    if (found.size() == 1) {
      return found.get(0);
    }
    throw BadFile.named(
        name,
        "%s has %s revision %s (it has %s): %s would fetch it",
        folder,
        found.isEmpty() ? "no" : "more than one",
        revision,
        joined(
            Stream.concat(
                list(folder.resolve("refs"), Files::isRegularFile).stream(),
                list(snapshots, Files::isDirectory).stream())),
        fetch);
  }

  /** What an interrupted download has left is no other model. */
  private static void requireComplete(String name, Path folder, Path snapshot, String fetch)
      throws IOException {
    List<Path> lacking =
        new ArrayList<>(
            below(snapshot, DEPTH, file -> Files.isSymbolicLink(file) && !Files.exists(file)));
    if (Checkpoint.hasWeights(snapshot) && lacking.isEmpty()) {
      Path weights = Checkpoint.weights(snapshot);
      if (TensorFile.isIndex(weights)) {
        TensorFolder.files(weights).stream().filter(Files::notExists).forEach(lacking::add);
      }
    }
    int unfinished = list(folder.resolve("blobs"), LocalModel::isUnfinished).size();
    boolean begun =
        unfinished > 0
            && lacking.isEmpty()
            && TensorFile.find(snapshot, DEPTH).isEmpty()
            && ggufs(snapshot, DEPTH).isEmpty();
    if (!lacking.isEmpty() || begun) {
      throw BadFile.named(
          name,
          "what lies in %s is not complete%s%s: %s would fetch the rest",
          snapshot,
          lacking.isEmpty() ? "" : ", such as " + snapshot.relativize(lacking.get(0)),
          unfinished == 0 ? "" : ", with unfinished downloads in " + folder.resolve("blobs"),
          fetch);
    }
  }

  private static boolean isUnfinished(Path blob) {
    return fileName(blob).endsWith(".incomplete");
  }

  /** A folder whose weights are in one GGUF file, maybe a split one, stands for it. */
  private static Path onlyGguf(String name, Path path, int depth) throws IOException {
    if (!Files.isDirectory(path) || Checkpoint.hasWeights(path)) {
      return path;
    }
    List<Path> found = ggufs(path, depth);
    if (found.size() > 1) {
      throw BadFile.because(
          path,
          "there are %d GGUF files here: name one of them, such as %s/%s",
          found.size(),
          name,
          found.stream()
              .limit(NAMED)
              .map(file -> path.relativize(file).toString())
              .collect(Collectors.joining(", ")));
    }
    return found.isEmpty() ? path : found.get(0);
  }

  private static List<Path> ggufs(Path folder, int depth) throws IOException {
    return below(
        folder,
        depth,
        file ->
            fileName(file).toLowerCase(Locale.ROOT).endsWith(GGUF)
                && !FURTHER_SPLIT.matcher(fileName(file)).matches());
  }

  // ---- Ollama --------------------------------------------------------------------------------

  private static Path ollama(String name, Places places) throws IOException {
    String wanted = name.substring(OLLAMA.length());
    Matcher parts = OLLAMA_NAME.matcher(wanted);
    if (!parts.matches() || !staysInside(wanted)) {
      throw BadFile.named(name, "expected ollama:NAME, ollama:NAME:TAG or ollama:USER/NAME:TAG");
    }
    Optional<String> host = Optional.ofNullable(parts.group("host"));
    Path inside =
        Path.of(
            Objects.requireNonNullElse(parts.group("user"), "library"),
            parts.group("model"),
            Objects.requireNonNullElse(parts.group("tag"), "latest"));
    List<Path> stores = places.ollama();
    for (Path store : stores) {
      List<Path> manifests =
          list(store.resolve("manifests"), Files::isDirectory).stream()
              .filter(each -> host.isEmpty() || each.endsWith(host.get()))
              .map(each -> each.resolve(inside))
              .filter(Files::isRegularFile)
              .toList();
      if (manifests.size() > 1) {
        throw BadFile.named(
            name,
            "there is more than one, %s: name it with what comes before, as ollama:HOST/USER/NAME",
            manifests);
      }
      if (!manifests.isEmpty()) {
        return blob(name, store.resolve("blobs"), manifests.get(0), "ollama pull " + wanted);
      }
    }
    throw BadFile.named(
        name,
        "there is no such model in %s: ollama pull %s would fetch it",
        stores.stream()
            .map(store -> store + (isHidden(store) ? " (which this user may not read)" : ""))
            .collect(Collectors.joining(", ")),
        wanted);
  }

  private static boolean isHidden(@Nullable Path folder) {
    return folder != null
        && (Files.exists(folder) ? !Files.isReadable(folder) : isHidden(folder.getParent()));
  }

  /** The weights that a manifest names. */
  private static Path blob(String name, Path blobs, Path manifest, String fetch)
      throws IOException {
    Optional<JsonFile> weights = Optional.empty();
    for (JsonFile layer : JsonFile.read(manifest, MANIFEST_LIMIT).objects("layers")) {
      String type = layer.text("mediaType", "");
      if (type.endsWith("image.adapter") || (type.endsWith("image.model") && weights.isPresent())) {
        throw layer.wrong("mediaType", "the layers of a model with one file and without adapters");
      }
      if (type.endsWith("image.model")) {
        weights = Optional.of(layer);
      }
    }
    if (weights.isEmpty()) {
      throw BadFile.because(manifest, "no layer of this model has a type that ends in image.model");
    }
    Matcher digest = DIGEST.matcher(weights.get().text("digest", ""));
    if (!digest.matches()) {
      throw weights.get().wrong("digest", "sha256: and 64 hexadecimal digits");
    }
    Path blob = blobs.resolve("sha256-" + digest.group(1));
    double size = weights.get().number("size", -1);
    if (!Files.exists(blob) || (size >= 0 && size != Files.size(blob))) {
      throw BadFile.named(
          name,
          "%s is %s: %s would fetch the rest",
          blob,
          Files.exists(blob) ? "not complete" : "missing",
          fetch);
    }
    return blob;
  }

  // ---- files ---------------------------------------------------------------------------------

  /** What lies in a folder and is wanted, by name; nothing if it is none, or may not be read. */
  private static List<Path> list(Path folder, Predicate<Path> wanted) throws IOException {
    return Files.isReadable(folder) ? below(folder, 1, wanted) : List.of();
  }

  private static List<Path> below(Path folder, int depth, Predicate<Path> wanted)
      throws IOException {
    try (Stream<Path> files = Files.walk(folder, depth)) {
      return files
          .skip(1) // the folder itself
          .limit(FILES_LIMIT)
          .filter(wanted)
          .sorted()
          .toList();
    } catch (IOException | UncheckedIOException e) {
      throw BadFile.causedBy(e, folder, "this folder cannot be read");
    }
  }

  private static String joined(Stream<Path> files) {
    String names = files.limit(NAMED).map(file -> fileName(file)).collect(Collectors.joining(", "));
    return names.isEmpty() ? "none" : names;
  }

  private static String fileName(Path file) {
    return String.valueOf(file.getFileName());
  }
}

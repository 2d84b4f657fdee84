package dev.tributary.transformer.file;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.Timeout.ThreadMode;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What somebody would write who wants to break a reader of files. */
class HostileFilesTest {
  private static final int MILLION = 1_000_000;

  @TempDir private Path folder;

  /** Reads what a folder holds. */
  @FunctionalInterface
  private interface Loader {
    void load(Path folder) throws IOException;
  }

  /** One of the files that are read here, with those that have to lie beside it. */
  private record Format(String name, Loader loader, Map<String, byte[]> files) {
    byte[] content() {
      return Objects.requireNonNull(files.get(name)).clone();
    }

    boolean isJson() {
      return name.endsWith(".json");
    }

    boolean isText() {
      return isJson() || name.endsWith(".txt") || name.endsWith(".yaml");
    }

    @Override
    public String toString() {
      return name + " of " + files.size();
    }
  }

  static Stream<Format> formats() throws IOException {
    Map<Map<String, byte[]>, Loader> folders =
        Map.of(
            Map.of(
                "tokenizer.json", utf8(TokenizerTest.bytes()),
                "special_tokens_map.json", utf8(TokenizerFolderTest.VALID_SPECIAL_TOKENS.strip()),
                "added_tokens.json", utf8(TokenizerFolderTest.VALID_ADDED_TOKENS)),
            Tokenizers::load,
            Map.of(
                "vocab.json", utf8(Gpt2TokenizerTest.smallVocabulary()),
                "merges.txt", utf8(Gpt2TokenizerTest.SMALL_MERGES),
                "tokenizer_config.json", utf8(TokenizerFolderTest.VALID_CONFIG.strip())),
            Tokenizers::load,
            Map.of(
                "config.json", utf8(CheckpointTest.CONFIG),
                "model.safetensors", CheckpointTest.model("").build()),
            Models::load,
            AdapterTest.files("patterns"),
            AdapterTest::load,
            genuine("tied-bin"),
            Models::load,
            genuine("sharded-bin"),
            Models::load,
            genuine("legacy-bin"),
            Models::load,
            genuine("debugger"),
            Models::load);
    return Stream.concat(
        folders.entrySet().stream()
            .flatMap(folder -> formats(folder.getValue(), folder.getKey()))
            .filter(format -> !format.name.startsWith("model_pieces/xf_layers")),
        PublishedDictionaries.all().stream()
            .flatMap(
                one ->
                    formats(
                        folder -> Dictionaries.load(folder, DType.FLOAT, one.model()),
                        one.files())));
  }

  private static Stream<Format> formats(Loader loader, Map<String, byte[]> files) {
    return files.keySet().stream().sorted().map(name -> new Format(name, loader, files));
  }

  /** The files of a checkpoint, by their paths within it. */
  static Map<String, byte[]> genuine(String checkpoint) throws IOException {
    Path root = ModelFormatsTest.genuine(checkpoint);
    Map<String, byte[]> files = new LinkedHashMap<>();
    try (Stream<Path> paths = Files.walk(root)) {
      for (Path path : paths.filter(Files::isRegularFile).sorted().toList()) {
        files.put(root.relativize(path).toString(), Files.readAllBytes(path));
      }
    }
    return files;
  }

  private static byte[] utf8(Object text) {
    return text.toString().getBytes(UTF_8);
  }

  private static Format format(String name) throws IOException {
    return formats().filter(format -> format.name.equals(name)).findFirst().orElseThrow();
  }

  private void write(Format format, byte[] content) throws IOException {
    for (Map.Entry<String, byte[]> file : format.files.entrySet()) {
      Path path = folder.resolve(file.getKey());
      Files.createDirectories(Objects.requireNonNull(path.getParent()));
      Tampering.write(path, file.getValue());
    }
    Tampering.write(folder.resolve(format.name), content);
  }

  private void load(Format format) throws IOException {
    try (Scope scope = Scope.open()) {
      format.loader.load(folder);
    }
  }

  private void loadOrRefuse(Format format) throws IOException {
    try {
      load(format);
    } catch (IOException e) {
      Tampering.requireSentence(folder, e);
    }
  }

  private void requireRefused(Format format) {
    Exception refusal = assertThrows(Exception.class, () -> load(format));
    assertTrue(refusal instanceof IOException, refusal::toString);
    Tampering.requireSentence(folder, (IOException) refusal);
  }

  @ParameterizedTest
  @MethodSource("formats")
  void load_valid_works(Format format) throws IOException {
    write(format, format.content());
    load(format);
  }

  // ---- JSON --------------------------------------------------------------------------------

  /** Makes a text that no reader should take of one that it should. */
  private record Attack(String name, UnaryOperator<String> change) {
    @Override
    public String toString() {
      return name;
    }
  }

  private static final List<Attack> ATTACKS =
      List.of(
          new Attack("ten million nested lists", valid -> "[".repeat(10 * MILLION)),
          new Attack(
              "closed nested lists", valid -> "[".repeat(5 * MILLION) + "]".repeat(5 * MILLION)),
          new Attack("nested objects", valid -> "{\"a\":".repeat(2 * MILLION)),
          new Attack(
              "nested lists in a value",
              valid -> with(valid, "[".repeat(100_000) + "]".repeat(100_000))),
          new Attack("nested objects in a value", valid -> with(valid, "{\"a\":".repeat(100_000))),
          new Attack("long number", valid -> with(valid, "1".repeat(900_000))),
          new Attack("long fraction", valid -> with(valid, "0." + "1".repeat(900_000))),
          new Attack("long name", valid -> with(valid, "1,\"" + "n".repeat(900_000) + "\":1")),
          new Attack("text without end", valid -> with(valid, "\"" + "t".repeat(900_000))),
          new Attack("key twice", valid -> with(valid, "1,\"extra\":1")),
          new Attack("two objects", valid -> valid + valid),
          new Attack("comma too many", valid -> with(valid, "1,")),
          new Attack("comment", valid -> "/* */" + valid),
          new Attack("byte order mark", valid -> "\ufeff" + valid),
          new Attack("almost infinite", valid -> with(valid, "Infinit")),
          new Attack("half of a surrogate pair", valid -> with(valid, "1,\"\\ud83d\":1")),
          new Attack("nothing", valid -> ""),
          new Attack("a space", valid -> " "),
          new Attack("null", valid -> "null"),
          new Attack("a list", valid -> "[" + valid + "]"),
          new Attack("zeros", valid -> "\0".repeat(1000)),
          new Attack("spaces beyond the limit", valid -> valid + " ".repeat(70 * MILLION)));

  /** An object with one more value. */
  private static String with(String valid, String value) {
    return valid.substring(0, valid.lastIndexOf('}')) + ",\"extra\":" + value + "}";
  }

  static Stream<Arguments> jsonAttacks() throws IOException {
    return formats()
        .filter(Format::isJson)
        .flatMap(format -> ATTACKS.stream().map(attack -> arguments(format, attack)));
  }

  @ParameterizedTest(name = "{0}: {1}")
  @MethodSource("jsonAttacks")
  void load_hostileJson_isRefused(Format format, Attack attack) throws IOException {
    write(format, attack.change.apply(new String(format.content(), UTF_8)).getBytes(UTF_8));
    requireRefused(format);
  }

  static Stream<Arguments> notNumbers() throws IOException {
    return formats()
        .filter(Format::isJson)
        .flatMap(
            format ->
                Stream.of("NaN", "Infinity", "-Infinity").map(value -> arguments(format, value)));
  }

  /** Formats in which no key is left unread. */
  private static final Set<String> READ_WHOLE =
      Set.of("vocab.json", "added_tokens.json", "adapter_config.json");

  /** Python writes such numbers. Where one is not read it says nothing, and where it is not it. */
  @ParameterizedTest(name = "{0}: {1}")
  @MethodSource("notNumbers")
  void load_notANumber_isIgnoredOrNamed(Format format, String value) throws IOException {
    String valid = new String(format.content(), UTF_8);
    String more = with(valid, "{\"limits\":[0.5," + value + "]}");
    write(format, more.getBytes(UTF_8));
    if (READ_WHOLE.contains(format.name)) {
      requireRefused(format);
    } else {
      load(format);
    }
    ObjectMapper mapper = new ObjectMapper();
    int nodes = places(mapper.readTree(valid)).size();
    int refused = 0;
    for (int i = 0; i < nodes; i += 1 + nodes / 50) {
      JsonNode root = mapper.readTree(valid);
      places(root).get(i).accept(TextNode.valueOf("here"));
      write(format, root.toString().replace("\"here\"", value).getBytes(UTF_8));
      try {
        load(format);
      } catch (IOException e) {
        Tampering.requireSentence(folder, e);
        refused++;
      }
    }
    assertTrue(refused > 0);
  }

  /** Where values are, each a way to put another one there. */
  private static List<Consumer<JsonNode>> places(JsonNode root) {
    List<Consumer<JsonNode>> places = new ArrayList<>();
    collect(root, places);
    return places;
  }

  private static void collect(JsonNode node, List<Consumer<JsonNode>> places) {
    if (node instanceof ObjectNode object) {
      object.fieldNames().forEachRemaining(key -> places.add(value -> object.set(key, value)));
    } else if (node instanceof ArrayNode list) {
      IntStream.range(0, list.size()).forEach(i -> places.add(value -> list.set(i, value)));
    }
    node.forEach(child -> collect(child, places));
  }

  @ParameterizedTest
  @MethodSource("formats")
  void load_pointerOfGitLfs_isNamed(Format format) throws IOException {
    String pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:"
            + "4d7a".repeat(16)
            + "\nsize 548105171\n";
    for (String text :
        List.of(
            pointer,
            pointer.replace("\n", "\r\n"),
            pointer.replace("git-lfs", "hawser"),
            pointer.replaceFirst("\n", "\next-0-foo sha256:" + "00".repeat(32) + "\n"))) {
      write(format, text.getBytes(UTF_8));
      IOException refusal = assertThrows(IOException.class, () -> load(format));
      assertEquals(
          folder.resolve(format.name)
              + ": this is a Git LFS pointer, not the file itself, which has 548105171 bytes: run git"
              + " lfs pull",
          refusal.getMessage());
    }
    write(format, "version https://git-lfs.github.com/spec/v1\n".getBytes(UTF_8));
    requireRefused(format);
  }

  @ParameterizedTest
  @MethodSource("formats")
  void load_anotherEncoding_isRefused(Format format) throws IOException {
    write(
        format,
        new String(format.content(), StandardCharsets.ISO_8859_1)
            .getBytes(StandardCharsets.UTF_16));
    requireRefused(format);
    byte[] broken = format.content();
    broken[broken.length / 2] = (byte) 0xff;
    broken[broken.length / 2 + 1] = (byte) 0xff;
    write(format, broken);
    if (!format.isText()) { // a number like any other, or part of the header
      loadOrRefuse(format);
    } else {
      requireRefused(format);
    }
  }

  @ParameterizedTest
  @MethodSource("formats")
  void load_cutOffAnywhere_isRefused(Format format) throws IOException {
    byte[] valid = format.content();
    int step = 1 + valid.length / 300;
    for (int length = 0; length < valid.length; length += step) {
      write(format, Arrays.copyOf(valid, length));
      if (format.name.equals("merges.txt") && (length == 0 || wholeLines(valid, length))) {
        load(format);
      } else if (format.name.endsWith(".yaml")) { // what is cut off was perhaps not needed
        loadOrRefuse(format);
      } else {
        requireRefused(format);
      }
    }
  }

  /** A list of merges may end after any, and whoever cuts off its version cuts off a comment. */
  private static boolean wholeLines(byte[] merges, int length) {
    String start = new String(merges, 0, length, UTF_8);
    boolean version = !start.contains("\n") && start.startsWith("#version");
    return version || merges[length] == '\n' || merges[length - 1] == '\n';
  }

  @ParameterizedTest
  @MethodSource("formats")
  void load_whatIsNoFile_isRefused(Format format) throws IOException {
    write(format, format.content());
    Path file = folder.resolve(format.name);
    Files.delete(file);
    Files.createDirectory(file);
    requireRefused(format);
    Path zeros = Path.of("/dev/zero");
    assumeTrue(Files.exists(zeros), "there is no endless device here");
    Files.delete(file);
    Files.createSymbolicLink(file, zeros);
    requireRefused(format);
    Files.delete(file);
    Files.createSymbolicLink(file, file);
    requireRefused(format);
  }

  // ---- many of everything ------------------------------------------------------------------

  /** As many tokens as the largest file can hold: they load, or there is no room for them. */
  @Test
  void load_millionsOfTokens_loadOrAreRefused() throws IOException {
    ObjectNode vocabulary = Gpt2TokenizerTest.smallVocabulary();
    String tokens =
        IntStream.range(0, 1_500_000)
            .mapToObj(i -> "\"~" + Integer.toString(i, 36) + "\":" + (i + 300))
            .collect(Collectors.joining(","));
    String open = vocabulary.toString().replaceFirst("}$", "");
    write(format("vocab.json"), (open + "," + tokens + "}").getBytes(UTF_8));
    loadOrRefuse(format("vocab.json"));
  }

  /**
   * "Aa" and "BB" have the same hash code, and so has every text of them. Each compared with all
   * others would take many minutes.
   */
  @Test
  @Timeout(value = 2, unit = TimeUnit.MINUTES, threadMode = ThreadMode.SEPARATE_THREAD)
  void load_namesOfOneHashCode_doNotTakeForever() throws IOException {
    ObjectNode vocabulary = Gpt2TokenizerTest.smallVocabulary();
    for (int i = 0; i < 1 << 17; i++) {
      StringBuilder name = new StringBuilder();
      for (int bit = 0; bit < 17; bit++) {
        name.append((i >> bit & 1) == 0 ? "Aa" : "BB");
      }
      vocabulary.put(name.toString(), vocabulary.size());
    }
    write(format("vocab.json"), vocabulary.toString().getBytes(UTF_8));
    load(format("vocab.json"));
  }

  @Test
  void load_millionsOfMerges_areRefused() throws IOException {
    write(format("merges.txt"), "a b\n".repeat(2 * MILLION).getBytes(UTF_8));
    requireRefused(format("merges.txt"));
    write(format("merges.txt"), "\n".repeat(8 * MILLION).getBytes(UTF_8));
    requireRefused(format("merges.txt"));
    write(format("merges.txt"), "a ".repeat(4 * MILLION).getBytes(UTF_8));
    requireRefused(format("merges.txt"));
    StringBuilder different = new StringBuilder();
    for (int i = 0; i < MILLION; i++) {
      different.append(Integer.toString(i, 36)).append(" x\n");
    }
    write(format("merges.txt"), different.toString().getBytes(UTF_8));
    requireRefused(format("merges.txt"));
  }

  /** The largest that a config may claim, with weights that are small. */
  @Test
  void load_configOfAHugeModel_asksForNoMemory() throws IOException {
    for (String key : List.of("n_layer", "n_embd", "n_head", "n_inner", "vocab_size", "head_dim")) {
      String huge =
          CheckpointTest.CONFIG.replaceFirst(
              "\"" + key + "\": \\d+", "\"" + key + "\": 2147483647");
      Format safetensors = format("model.safetensors");
      Format config = new Format("config.json", safetensors.loader, safetensors.files);
      write(config, huge.getBytes(UTF_8));
      requireRefused(config);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"n_layers", "d_model", "n_heads", "ctx_window", "m_attn", "m_mlp"})
  void load_debuggerConfigOfAHugeModel_asksForNoMemory(String key) throws IOException {
    Map<String, byte[]> files = genuine("debugger");
    Format config = new Format("config.json", Models::load, files);
    String valid = new String(config.content(), UTF_8);
    write(
        config,
        valid
            .replaceFirst("\"" + key + "\": [\\d.]+", "\"" + key + "\": 2147483647")
            .getBytes(UTF_8));
    requireRefused(config);
  }
}

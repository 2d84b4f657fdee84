package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Stores are laid out as huggingface_hub 2.4 and Ollama 0.12 leave them. */
class LocalModelTest {
  private static final String HASH = "0123456789abcdef0123456789abcdef01234567";
  private static final String OTHER_HASH = "01239999999999999999999999999999999999ab";
  private static final String DIGEST = "ab".repeat(32);

  @TempDir private Path home;
  private final Map<String, String> environment = new HashMap<>();
  private Path cache = Path.of("");
  private Path repository = Path.of("");
  private Path snapshot = Path.of("");
  private Path store = Path.of("");

  @BeforeEach
  void stores() throws IOException {
    cache = home.resolve(".cache/huggingface/hub");
    repository = cache.resolve("models--Org--Name-1.5");
    snapshot = repository.resolve("snapshots").resolve(HASH);
    write(repository.resolve("refs/main"), HASH);
    write(repository.resolve("refs/v1"), OTHER_HASH);
    Files.createDirectories(repository.resolve("snapshots").resolve(OTHER_HASH));
    blob("config.json", "{}");
    blob("model.safetensors", "numbers");
    store = home.resolve(".ollama/models");
    write(store.resolve("blobs/sha256-" + DIGEST), "GGUF");
    manifest("somewhere/library/name/latest", "sha256:" + DIGEST, 4);
    manifest("somewhere/library/name/1b-q4_K_M", "sha256:" + DIGEST, 4);
    manifest("elsewhere/user/other/latest", "sha256:" + DIGEST, 4);
  }

  private static void write(Path file, String text) throws IOException {
    Files.createDirectories(file.resolveSibling(""));
    Files.writeString(file, text);
  }

  /** A file of the snapshot, which is a link to a blob. */
  private void blob(String name, String text) throws IOException {
    Path blob = repository.resolve("blobs").resolve("blob-of-" + name.replace('/', '-'));
    write(blob, text);
    Path link = snapshot.resolve(name);
    Files.createDirectories(link.resolveSibling(""));
    Files.createSymbolicLink(
        link, link.resolveSibling("").toAbsolutePath().normalize().relativize(blob));
  }

  private void manifest(String name, String digest, long size) throws IOException {
    write(
        store.resolve("manifests").resolve(name),
        """
        {"schemaVersion": 2, "config": {"mediaType": "application/x.image", "digest": "sha256:00"},
         "layers": [{"mediaType": "application/x.image.template", "digest": "sha256:00", "size": 1},
                    {"mediaType": "application/x.image.model", "digest": "%s", "size": %d}]}
        """
            .formatted(digest, size));
  }

  private Path find(String name) throws IOException {
    LocalModel found = LocalModel.find(name, environment, home);
    assertEquals(name, found.name());
    return found.path();
  }

  private void assertRefused(String name, String... parts) {
    String sentence =
        String.valueOf(
            assertThrows(IOException.class, () -> LocalModel.find(name, environment, home))
                .getMessage());
    for (String part : parts) {
      assertTrue(sentence.contains(part), sentence);
    }
  }

  // ---- Hugging Face --------------------------------------------------------------------------

  @Test
  void name_isTheSnapshotOfMain() throws IOException {
    assertEquals(snapshot, find("Org/Name-1.5"));
  }

  @Test
  void revision_isABranchATagOrAHash() throws IOException {
    assertEquals(snapshot, find("Org/Name-1.5@main"));
    assertEquals(snapshot, find("Org/Name-1.5@" + HASH));
    assertEquals(snapshot, find("Org/Name-1.5@01234"));
    assertEquals(snapshot.resolveSibling(OTHER_HASH), find("Org/Name-1.5@v1"));
    assertRefused("Org/Name-1.5@0123", "more than one revision 0123");
    assertRefused(
        "Org/Name-1.5@v2",
        "no revision v2",
        "main, v1",
        HASH,
        "download Org/Name-1.5 --revision v2");
  }

  @Test
  void nameWithoutOwner_isOneToo() throws IOException {
    write(cache.resolve("models--gpt2/refs/main"), HASH);
    Path other = cache.resolve("models--gpt2/snapshots").resolve(HASH);
    Files.createDirectories(other);
    assertEquals(other, find("gpt2"));
  }

  @Test
  void cache_isWhereTheEnvironmentSays() throws IOException {
    Path moved = home.resolve("moved");
    Files.createDirectories(moved.resolve("huggingface"));
    Files.move(cache, moved.resolve("huggingface/hub"));
    Path there = moved.resolve("huggingface/hub/models--Org--Name-1.5/snapshots").resolve(HASH);
    assertRefused("Org/Name-1.5", cache.toString());
    environment.put("XDG_CACHE_HOME", moved.toString());
    assertEquals(there, find("Org/Name-1.5"));
    environment.put("HF_HOME", home.resolve("nowhere").toString());
    assertRefused("Org/Name-1.5", home.resolve("nowhere/hub").toString());
    environment.put("HF_HOME", "~/moved/huggingface");
    assertEquals(there, find("Org/Name-1.5"));
    environment.put("HF_HUB_CACHE", home.resolve("nothing").toString());
    assertRefused("Org/Name-1.5", home.resolve("nothing").toString());
    environment.put("HF_HUB_CACHE", moved.resolve("huggingface/hub").toString());
    environment.put("HF_HOME", "");
    assertEquals(there, find("Org/Name-1.5"));
  }

  @Test
  void whatIsNotThere_isFetchedByTheCommandThatIsNamed() {
    assertRefused("Org/Other", cache.toString(), "hf download Org/Other would");
    assertRefused("Org/Other@v1", "hf download Org/Other --revision v1 would");
    assertRefused("Org/Name-1.5/a.gguf", snapshot + "/a.gguf", "download Org/Name-1.5 a.gguf");
  }

  @Test
  void interruptedDownload_isRefused() throws IOException {
    Path blob = repository.resolve("blobs/blob-of-model.safetensors");
    Files.delete(blob);
    assertRefused("Org/Name-1.5", "not complete", "model.safetensors", "hf download Org/Name-1.5");
    write(repository.resolve("blobs/0a.incomplete"), "num");
    assertRefused("Org/Name-1.5", "not complete", "unfinished", "blobs");
    Files.delete(snapshot.resolve("model.safetensors"));
    assertRefused("Org/Name-1.5", "not complete", "unfinished", "blobs");
    Files.delete(repository.resolve("blobs/0a.incomplete"));
    assertEquals(snapshot, find("Org/Name-1.5")); // of a tokenizer alone, say
  }

  @Test
  void completeSnapshot_beside_anUnfinishedOne_isFound() throws IOException {
    write(repository.resolve("blobs/0a.incomplete"), "num");
    assertEquals(snapshot, find("Org/Name-1.5"));
  }

  @Test
  void shardThatIsAbsent_isRefused() throws IOException {
    Files.delete(snapshot.resolve("model.safetensors"));
    blob(
        "model.safetensors.index.json",
        """
        {"weight_map": {"a": "model-00001-of-00002.safetensors",
                        "b": "model-00002-of-00002.safetensors"}}
        """);
    blob("model-00001-of-00002.safetensors", "numbers");
    assertRefused("Org/Name-1.5", "not complete", "model-00002-of-00002.safetensors");
    blob("model-00002-of-00002.safetensors", "numbers");
    assertEquals(snapshot, find("Org/Name-1.5"));
  }

  @Test
  void snapshotOfGguf_isItsOnlyFile() throws IOException {
    Files.delete(snapshot.resolve("model.safetensors"));
    blob("Name-Q4_K_M.gguf", "GGUF");
    assertEquals(snapshot.resolve("Name-Q4_K_M.gguf"), find("Org/Name-1.5"));
    blob("BF16/Name-BF16-00001-of-00002.gguf", "GGUF");
    blob("BF16/Name-BF16-00002-of-00002.gguf", "GGUF");
    assertRefused(
        "Org/Name-1.5",
        "2 GGUF files",
        "such as Org/Name-1.5/BF16/Name-BF16-00001-of-00002.gguf, Name-Q4_K_M.gguf");
    assertEquals(snapshot.resolve("Name-Q4_K_M.gguf"), find("Org/Name-1.5/Name-Q4_K_M.gguf"));
    blob("model.safetensors", "numbers");
    assertEquals(snapshot, find("Org/Name-1.5"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../Name-1.5",
        "Org/..",
        "Org/Name-1.5/../../../../secret",
        "Org/Name-1.5//etc/passwd",
        "Org/Name-1.5@..",
        "Org/Name-1.5@../../secret",
        "Org--Name-1.5",
        "Org\\Name-1.5",
        "",
        "-",
        "Org/Name-1.5/",
      })
  void nameThatLeadsElsewhere_isNone(String name) throws IOException {
    write(home.resolve("secret/config.json"), "{}");
    assertRefused(name, "no such file or folder");
  }

  @Test
  void referenceThatIsNoHash_isRefused() throws IOException {
    write(repository.resolve("refs/main"), "../../../secret");
    assertRefused("Org/Name-1.5", repository.resolve("refs/main").toString(), "not the hash");
  }

  @Test
  void path_winsOverAName() throws IOException {
    Path folder = home.resolve("models--Org--Name");
    write(folder.resolve("config.json"), "{}");
    assertEquals(folder, find(folder.toString()));
    assertEquals(Path.of("src"), find("src")); // in the folder where tests run
  }

  // ---- Ollama --------------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource({
    "ollama:name",
    "ollama:name:latest",
    "ollama:name:1b-q4_K_M",
    "ollama:library/name",
    "ollama:user/other",
    "ollama:elsewhere/user/other:latest"
  })
  void ollamaName_isItsBlob(String name) throws IOException {
    assertEquals(store.resolve("blobs/sha256-" + DIGEST), find(name));
  }

  @Test
  void ollamaStore_isWhereTheEnvironmentSays() throws IOException {
    Path moved = home.resolve("moved");
    Files.move(store, moved);
    assertRefused("ollama:name", store.toString(), "/usr/share/ollama", "ollama pull name would");
    environment.put("OLLAMA_MODELS", moved.toString());
    assertEquals(moved.resolve("blobs/sha256-" + DIGEST), find("ollama:name"));
    assertRefused("ollama:name:7b", moved.toString(), "ollama pull name:7b would");
  }

  @Test
  void ollamaNameOfTwoPlaces_isRefused() throws IOException {
    manifest("elsewhere/library/name/latest", "sha256:" + DIGEST, 4);
    assertRefused("ollama:name", "more than one", "somewhere", "elsewhere");
    assertFalse(find("ollama:elsewhere/library/name").toString().isEmpty());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "ollama:",
        "ollama:..",
        "ollama:../../secret",
        "ollama:name:..",
        "ollama:name:../x",
        "ollama:a/b/c/d",
        "ollama:/etc/passwd"
      })
  void ollamaNameThatLeadsElsewhere_isNone(String name) {
    assertRefused(name, "expected ollama:NAME");
  }

  @ParameterizedTest
  @ValueSource(strings = {"sha256:../../../secret", "../secret", "sha256:AB", "md5:ab", ""})
  void digestThatLeadsElsewhere_isRefused(String digest) throws IOException {
    manifest("somewhere/library/name/latest", digest, 4);
    assertRefused("ollama:name", "digest", "64 hexadecimal digits");
  }

  @Test
  void ollamaBlobThatIsNotThere_isRefused() throws IOException {
    manifest("somewhere/library/name/latest", "sha256:" + DIGEST, 5);
    assertRefused("ollama:name", "not complete", "ollama pull name");
    Files.delete(store.resolve("blobs/sha256-" + DIGEST));
    assertRefused("ollama:name", "missing", "ollama pull name");
  }

  @Test
  void ollamaModelOfSeveralParts_isRefused() throws IOException {
    Path manifest = store.resolve("manifests/somewhere/library/name/latest");
    String text = Files.readString(manifest);
    Files.writeString(manifest, text.replace("image.template", "image.adapter"));
    assertRefused("ollama:name", "image.adapter", "without adapters");
    Files.writeString(manifest, text.replace("image.template", "image.model"));
    assertRefused("ollama:name", "layers[1].mediaType");
    Files.writeString(manifest, text.replace("image.model", "image.projector"));
    assertRefused("ollama:name", "image.model");
    Files.writeString(manifest, "{\"layers\": 3}");
    assertRefused("ollama:name", "layers is 3, expected a list");
  }
}

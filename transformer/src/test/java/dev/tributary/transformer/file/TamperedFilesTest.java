package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Files that have been tampered with are refused, or what they give works. The library of
 * tokenizers would end the process: then this test does not fail, it crashes.
 */
class TamperedFilesTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final List<String> TEXTS =
      List.of(
          "The keys near the cabinet",
          "ab tab \u00e9",
          "<bos> <unk> mm AB",
          "\n \0  \t ",
          "\ud83d\ude00");

  @TempDir private Path folder;

  // ---- tokenizers --------------------------------------------------------------------------

  @Test
  void tokenizerJson_loadsOrIsRefused() throws IOException {
    JsonNode words = JSON.readTree(Files.readString(Textbook.folder().resolve("tokenizer.json")));
    ObjectNode steps = TokenizerTest.bytes();
    steps.set(
        "pre_tokenizer",
        JSON.readTree(
            """
            {"type": "Sequence", "pretokenizers": [
             {"type": "Split", "pattern": {"Regex": "\\\\p{N}{1,3}"}, "behavior": "Isolated",
              "invert": false},
             {"type": "Split", "pattern": {"String": "a"}, "behavior": "MergedWithPrevious",
              "invert": true},
             {"type": "Digits", "individual_digits": true},
             {"type": "Punctuation", "behavior": "Contiguous"},
             {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
              "use_regex": false}]}
            """));
    List<JsonNode> valid =
        List.of(
            words,
            TokenizerTest.bytes(),
            steps,
            TokenizerKindsTest.characters(),
            TokenizerKindsTest.pieces(),
            TokenizerKindsTest.wordPieces());
    Path file = folder.resolve("tokenizer.json");
    Tampering.check(
        file,
        random -> {
          Tampering.write(file, Tampering.json(valid.get(random.nextInt(valid.size())), random));
          use(Tokenizers.load(file));
        });
  }

  @Test
  void vocabularyAndMerges_loadOrAreRefused() throws IOException {
    ObjectNode vocabulary = Gpt2TokenizerTest.smallVocabulary().put("<|endoftext|>", 259);
    byte[] merges = Gpt2TokenizerTest.SMALL_MERGES.getBytes(StandardCharsets.UTF_8);
    Tampering.check(
        folder,
        random -> {
          boolean both = random.nextInt(8) == 0;
          boolean first = random.nextBoolean();
          Tampering.write(
              folder.resolve("vocab.json"),
              both || first
                  ? Tampering.json(vocabulary, random)
                  : vocabulary.toString().getBytes(StandardCharsets.UTF_8));
          Tampering.write(
              folder.resolve("merges.txt"),
              both || !first ? Tampering.bytes(merges, random) : merges);
          use(Tokenizers.load(folder));
        });
  }

  @Test
  void sentencePieces_loadOrAreRefused() throws IOException {
    byte[][] models = {SentencePieceModelTest.model(1), SentencePieceModelTest.model(2)};
    JsonNode config = JSON.readTree("{\"tokenizer_class\": \"LlamaTokenizer\", \"legacy\": false}");
    Tampering.check(
        folder,
        random -> {
          Tampering.write(
              folder.resolve("tokenizer.model"),
              Tampering.bytes(models[random.nextInt(2)], random));
          Tampering.write(
              folder.resolve("tokenizer_config.json"),
              random.nextInt(4) == 0
                  ? Tampering.json(config, random)
                  : config.toString().getBytes(StandardCharsets.UTF_8));
          use(Tokenizers.load(folder));
        });
  }

  /** One of the files beside a tokenizer, or two that then contradict each other. */
  @Test
  void filesBesideATokenizer_loadOrAreRefused() throws IOException {
    Map<String, JsonNode> files =
        Map.of(
            "tokenizer_config.json", JSON.readTree(TokenizerFolderTest.VALID_CONFIG),
            "special_tokens_map.json", JSON.readTree(TokenizerFolderTest.VALID_SPECIAL_TOKENS),
            "added_tokens.json", JSON.readTree(TokenizerFolderTest.VALID_ADDED_TOKENS),
            "config.json", JSON.readTree("{\"model_type\": \"gpt2\", \"tokenizer_class\": null}"));
    List<String> names = files.keySet().stream().sorted().toList();
    Files.writeString(folder.resolve("vocab.json"), Gpt2TokenizerTest.smallVocabulary().toString());
    Files.writeString(folder.resolve("merges.txt"), Gpt2TokenizerTest.SMALL_MERGES);
    Path description = folder.resolve("tokenizer.json");
    Tampering.check(
        folder,
        random -> {
          Files.deleteIfExists(description);
          if (random.nextBoolean()) {
            Files.writeString(description, TokenizerTest.bytes().toString());
          }
          for (String name : names) {
            Path file = folder.resolve(name);
            Files.deleteIfExists(file);
            if (random.nextInt(4) > 0) {
              JsonNode valid = Objects.requireNonNull(files.get(name));
              Tampering.write(
                  file,
                  random.nextInt(3) == 0
                      ? Tampering.json(valid, random)
                      : valid.toString().getBytes(StandardCharsets.UTF_8));
            }
          }
          use(Tokenizers.load(folder));
        });
  }

  static void use(Tokenizer tokenizer) {
    for (String text : TEXTS) {
      try {
        int[] ids = tokenizer.encode(text);
        for (int id : ids) {
          assertTrue(id < tokenizer.vocabulary());
          tokenizer.text(id);
        }
        assertTrue(tokenizer.decode(ids, true).length() <= tokenizer.decode(ids, false).length());
        for (Tokenizer.Token token : tokenizer.split(text, true)) {
          assertTrue(token.start() <= token.end() && token.end() <= text.length());
        }
      } catch (IllegalArgumentException e) {
        String sentence = String.valueOf(e.getMessage());
        assertTrue(sentence.contains("vocabulary") || sentence.contains("empty"), sentence);
      }
    }
  }

  // ---- configs -----------------------------------------------------------------------------

  @Test
  void configJson_loadsOrIsRefused() throws IOException {
    JsonNode config =
        JSON.readTree(
            """
            {"model_type": "gpt2", "n_layer": 2, "n_embd": 4, "n_head": 2, "n_positions": 8,
             "n_ctx": 8, "n_inner": 6, "vocab_size": 9, "layer_norm_epsilon": 1e-5,
             "head_dim": 3, "activation_function": "gelu_new", "scale_attn_weights": true,
             "scale_attn_by_inverse_layer_idx": false, "add_cross_attention": false,
             "tie_word_embeddings": false,
             "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}}
            """);
    Path file = folder.resolve("config.json");
    Tampering.check(
        file,
        random -> {
          Tampering.write(file, Tampering.json(config, random));
          Gpt2ConfigTest.read(file);
        });
  }

  // ---- weights -----------------------------------------------------------------------------

  @Test
  void safetensors_loadOrAreRefused() throws IOException {
    byte[] valid =
        new SafetensorsBuilder()
            .put("w", Shape.of(2, 1), 1, 2)
            .put("h", "F16", Shape.of(2), new byte[4])
            .put("e", "BF16", Shape.of(0, 3))
            .put("n", "I8", Shape.of(), (byte) 1)
            .put("d", "F64", Shape.of(1), new byte[8])
            .build();
    Path file = folder.resolve("x.safetensors");
    Tampering.check(
        file,
        random -> {
          byte[] content = Tampering.safetensors(valid, random);
          Tampering.write(file, content);
          Safetensors tensors = Safetensors.open(file, random.nextBoolean() ? 0 : content.length);
          for (String name : tensors.names()) {
            readOrRefuse(file, tensors, name);
          }
        });
  }

  @Test
  void gguf_loadsOrIsRefused() throws IOException {
    byte[] valid =
        new GgufBuilder()
            .put("general.alignment", 32)
            .put("words", List.of("a", "", "bc"))
            .put("lists", List.of(List.of(1L), List.of(-1L, 2L)))
            .put("flag", true)
            .put("w", 8, new long[] {2, 32}, new byte[68])
            .put("h", 1, new long[] {3}, new byte[6])
            .put("e", 12, new long[] {0, 256})
            .put("n", 24, new long[] {1}, (byte) 1)
            .put("d", 28, new long[] {1}, new byte[8])
            .build();
    Path file = folder.resolve("x.gguf");
    Tampering.check(
        file,
        random -> {
          byte[] content = Tampering.bytes(valid, random);
          Tampering.write(file, content);
          Gguf read = Gguf.open(FileBytes.open(file, random.nextBoolean() ? 0 : content.length));
          assertFalse(read.metadata().toString().isEmpty());
          for (String name : read.names()) {
            readOrRefuse(file, read, name);
          }
        });
  }

  private static void readOrRefuse(Path file, TensorFile tensors, String name) throws IOException {
    int length = tensors.shape(name).length();
    try {
      assertEquals(length, tensors.tensor(name, DType.FLOAT).toDoubles().length);
    } catch (IOException e) {
      Tampering.requireSentence(file, e);
      assertTrue(String.valueOf(e.getMessage()).contains("expected F32, F16, BF16 or F64"));
    }
  }

  @Test
  void checkpoint_loadsOrIsRefused() throws IOException {
    byte[] weights = CheckpointTest.model("").build();
    Tampering.check(
        folder,
        random -> {
          boolean first = random.nextBoolean();
          byte[] config = CheckpointTest.CONFIG.getBytes(StandardCharsets.UTF_8);
          Tampering.write(
              folder.resolve("config.json"),
              first ? Tampering.json(JSON.readTree(config), random) : config);
          Tampering.write(
              folder.resolve("model.safetensors"),
              first ? weights : Tampering.safetensors(weights, random));
          Transformer model = Models.load(folder);
          assertEquals(2, model.run(0, 1).value(Site.LOGITS).shape().size(0));
        });
  }

  @Test
  void pytorchBin_loadsOrIsRefused() throws IOException {
    tamper("tied-bin", "pytorch_model.bin");
  }

  @Test
  void shards_loadOrAreRefused() throws IOException {
    tamper("sharded-safetensors", "model.safetensors.index.json");
  }

  @Test
  void debuggerCheckpoint_loadsOrIsRefused() throws IOException {
    tamper("debugger", "model_pieces/pos_embed.weight.pt");
  }

  /** Tampers with the config of a checkpoint or with another of its files. */
  private void tamper(String checkpoint, String other) throws IOException {
    Map<String, byte[]> files = HostileFilesTest.genuine(checkpoint);
    for (Map.Entry<String, byte[]> file : files.entrySet()) {
      Path path = folder.resolve(file.getKey());
      Files.createDirectories(Objects.requireNonNull(path.getParent()));
      Tampering.write(path, file.getValue());
    }
    byte[] config = Objects.requireNonNull(files.get("config.json"));
    byte[] content = Objects.requireNonNull(files.get(other));
    Tampering.check(
        folder,
        random -> {
          boolean first = random.nextInt(3) == 0;
          Tampering.write(
              folder.resolve("config.json"),
              first ? Tampering.json(JSON.readTree(config), random) : config);
          Tampering.write(
              folder.resolve(other),
              first
                  ? content
                  : other.endsWith(".json")
                      ? Tampering.json(JSON.readTree(content), random)
                      : Tampering.bytes(content, random));
          Transformer model = Models.load(folder);
          assertEquals(2, model.run(0, 1).value(Site.LOGITS).shape().size(0));
        });
  }

  @Test
  void adapter_loadsOrIsRefused() throws IOException {
    List<String> names = List.of("patterns", "regex", "dora", "bias-all-saved", "embeddings-base");
    Tampering.check(
        folder,
        random -> {
          Map<String, byte[]> files = AdapterTest.files(names.get(random.nextInt(names.size())));
          boolean first = random.nextBoolean();
          for (Map.Entry<String, byte[]> file : files.entrySet()) {
            boolean json = file.getKey().endsWith(".json");
            byte[] content = file.getValue();
            byte[] tampered =
                json == first
                    ? json
                        ? Tampering.json(JSON.readTree(content), random)
                        : Tampering.safetensors(content, random)
                    : content;
            Tampering.write(folder.resolve(file.getKey()), tampered);
          }
          AdapterTest.load(folder);
        });
  }

  // ---- dictionaries ------------------------------------------------------------------------

  static Stream<String> layouts() throws IOException {
    return PublishedDictionaries.all().stream().map(PublishedDictionaries::layout).distinct();
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void dictionaries_loadOrAreRefused(String layout) throws IOException {
    List<PublishedDictionaries> valid =
        PublishedDictionaries.all().stream().filter(one -> one.layout().equals(layout)).toList();
    for (int i = 0; i < valid.size(); i++) {
      valid.get(i).write(folder.resolve(Integer.toString(i)));
    }
    Tampering.check(
        folder,
        random -> {
          int at = random.nextInt(valid.size());
          PublishedDictionaries one = valid.get(at);
          Path inside = folder.resolve(Integer.toString(at));
          List<String> names = one.files().keySet().stream().sorted().toList();
          String name = names.get(random.nextInt(names.size()));
          byte[] content = Objects.requireNonNull(one.files().get(name));
          Tampering.write(inside.resolve(name), Tampering.file(name, content, random));
          try {
            encode(Dictionaries.load(inside, DType.FLOAT, one.model()));
          } catch (UncheckedIOException e) { // of rows that lie on disk
            throw Objects.requireNonNull(e.getCause());
          } finally {
            Tampering.write(inside.resolve(name), content);
          }
        });
  }

  /** Fails until a new layout has an example in {@link PublishedDictionaries}. */
  @Test
  void dictionaries_ofEveryLayout_areAmongThese() throws IOException {
    Set<DictionaryFiles.Layout> found = new HashSet<>();
    List<PublishedDictionaries> all = PublishedDictionaries.all();
    for (int i = 0; i < all.size(); i++) {
      PublishedDictionaries one = all.get(i);
      Path inside = folder.resolve(Integer.toString(i));
      one.write(inside);
      for (Dictionaries.Found dictionary : Dictionaries.find(inside)) {
        assertTrue(dictionary.description().startsWith(one.layout() + ","), one::toString);
      }
      for (String name : one.files().keySet()) {
        DictionaryFiles.layout(inside.resolve(name)).ifPresent(found::add);
      }
    }
    // Of this one nothing is read.
    found.add(DictionaryFiles.layout(folder.resolve(DictionaryFiles.TEMPORAL)).orElseThrow());
    assertEquals(Set.copyOf(DictionaryFiles.LAYOUTS), found);
  }

  private static void encode(List<Dictionary> dictionaries) {
    for (Dictionary one : dictionaries) {
      Tensor y = Tensor.full(DType.FLOAT, Shape.of(2, one.width()), 0.5);
      Variable latents = one.latents(Variable.constant(y), ScaleGradient.LIVE);
      assertEquals(
          y.shape(),
          one.reconstruction(latents, Variable.constant(y), ScaleGradient.LIVE, 0).shape());
    }
  }
}

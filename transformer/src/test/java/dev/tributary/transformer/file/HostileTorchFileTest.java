package dev.tributary.transformer.file;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.sun.management.ThreadMXBean;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** A torch file that has been tampered with is refused in our words, or makes sense after all. */
class HostileTorchFileTest {
  /** What the largest of these may make the reader allocate, bytes. */
  private static final long MEMORY = 512 << 20;

  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  @TempDir private Path folder;

  private Path file() {
    return folder.resolve("x.pt");
  }

  // ---- archives by hand --------------------------------------------------------------------

  /** An archive whose entries are stored as they are: names and contents in turn. */
  static byte[] archive(Object... namesAndContents) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      for (int i = 0; i < namesAndContents.length; i += 2) {
        byte[] content = (byte[]) namesAndContents[i + 1];
        ZipEntry entry = new ZipEntry((String) namesAndContents[i]);
        CRC32 crc = new CRC32();
        crc.update(content);
        entry.setMethod(ZipEntry.STORED);
        entry.setSize(content.length);
        entry.setCrc(crc.getValue());
        zip.putNextEntry(entry);
        zip.write(content);
      }
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
    return bytes.toByteArray();
  }

  private static byte[] pickle(String operations) {
    return operations.getBytes(ISO_8859_1);
  }

  /** An archive with a pickle and one storage of four floats. */
  private static byte[] torch(String operations) {
    return archive("a/data.pkl", pickle(operations), "a/data/0", new byte[16]);
  }

  static String text(String text) {
    return "X" + little(text.length(), 4) + text;
  }

  private static String little(long number, int bytes) {
    ByteBuffer buffer = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(number);
    return new String(buffer.array(), 0, bytes, ISO_8859_1);
  }

  static String whole(long number) {
    return "\u008a\u0008" + little(number, 8);
  }

  private static String tuple(long... numbers) {
    StringBuilder result = new StringBuilder("(");
    for (long number : numbers) {
      result.append(whole(number));
    }
    return result.append("t").toString();
  }

  private static String storage(String type, String key, long length) {
    return "("
        + text("storage")
        + "ctorch\n"
        + type
        + "\n"
        + text(key)
        + text("cpu")
        + whole(length)
        + "tQ";
  }

  private static String tensor(String storage, long offset, String sizes, String strides) {
    return "ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + whole(offset)
        + sizes
        + strides
        + "\u0089}tR";
  }

  /** A tensor row by row in a storage of its own. */
  static String floats(String key, Shape shape) {
    long[] sizes = new long[shape.rank()];
    long[] strides = new long[shape.rank()];
    long stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; axis--) {
      sizes[axis] = shape.size(axis);
      strides[axis] = stride;
      stride *= shape.size(axis);
    }
    return tensor(storage("FloatStorage", key, shape.length()), 0, tuple(sizes), tuple(strides));
  }

  private static final String FOUR = storage("FloatStorage", "0", 4);
  private static final String MATRIX = tensor(FOUR, 0, tuple(2, 2), tuple(2, 1));

  private static Arguments asks(String what, String operations, String name) {
    return arguments(what, torch(operations), "the pickle in this file asks for \"" + name + "\"");
  }

  private static Arguments tensor(String what, String operations, String message) {
    return arguments(what, torch(operations + "."), "tensor \"\" " + message);
  }

  private static Arguments broken(String what, String operations, String message) {
    return arguments(what, torch(operations), message);
  }

  static Stream<Arguments> hostilePickles() {
    StringBuilder laughs = new StringBuilder("](K\u0001e" + "q\u0000");
    for (int i = 0; i < 40; i++) {
      laughs.append("0(" + "h\u0000".repeat(10) + "lq\u0000");
    }
    return Stream.of(
        asks("system", "cposix\nsystem\n(X\u0001\u0000\u0000\u0000xtR.", "posix.system"),
        asks("stack global", "\u008c\u0002os\u008c\u0006system\u0093)R.", "os.system"),
        asks("old instance", "(iposix\nsystem\n.", "posix.system"),
        asks("eval", "cbuiltins\neval\n)R.", "builtins.eval"),
        asks(
            "load from bytes",
            "ctorch.storage\n_load_from_bytes\n.",
            "torch.storage._load_from_bytes"),
        asks(
            "attribute of a known name",
            "ctorch._utils\n_rebuild_tensor_v2.x\n.",
            "torch._utils._rebuild_tensor_v2.x"),
        asks("codecs", "c_codecs\nencode\n.", "_codecs.encode"),
        broken("empty", "", "ends too early"),
        broken("no stop", "}", "ends too early"),
        broken("rest", "}.}", "more than one value"),
        broken("two values", "}}.", "more than one value"),
        broken("nothing", ".", "takes what it has not made"),
        broken("mark only", "(.", "takes what it has not made"),
        broken("a known name is no value", "ccollections\nOrderedDict\n.", "describes no value"),
        broken("known name in a list", "]ccollections\nOrderedDict\na.", "neither a tensor nor"),
        broken("a storage is no value", FOUR + ".", "neither a tensor nor"),
        broken("call of a type", "ctorch\nFloatStorage\n)R.", "calls what cannot be called"),
        broken("call with a list", "ccollections\nOrderedDict\n]R.", "calls what cannot be called"),
        broken("protocol", "\u0080\u0009}.", "protocol 9"),
        broken("unknown operation", "\u00ff.", "operation 0xff"),
        broken("extension", "\u0082\u0001.", "operation 0x82"),
        broken("new object", "ccollections\nOrderedDict\n)\u0081.", "operation 0x81"),
        broken("bytes", "C\u0001x.", "operation 0x43"),
        broken("state of a list", "]}b.", "state of what has none"),
        broken("text beyond the end", "X\u00ff\u00ff\u00ff\u00ffx.", "ends too early"),
        broken("long text", "\u008d" + little(Long.MAX_VALUE, 8) + ".", "ends too early"),
        broken("negative text", "\u008d" + little(-1, 8) + ".", "ends too early"),
        broken("frame", "\u0095" + little(Long.MAX_VALUE, 8) + "}.", "ends too early"),
        broken("giant whole number", "\u008b" + little(0x7fffffff, 4) + ".", "operation 0x8b"),
        broken("line without end", "cposix", "ends too early"),
        broken("memo not set", "h\u0001.", "recalls what it has not put aside"),
        broken("negative memo", "j\u00ff\u00ff\u00ff\u00ff.", "recalls what it has not"),
        broken("append to a text", text("x") + "K\u0001a.", "appends to what is no list"),
        broken("append to a tuple", ")K\u0001a.", "appends to what is no list"),
        broken("entry of a list", "]K\u0001K\u0002s.", "sets an entry of what is no dictionary"),
        broken("odd entries", "}(K\u0001u.", "a key of a dictionary has no value"),
        broken("list as key", "}]K\u0002s.", "neither a text nor a whole number"),
        broken("duplicate key", "}(K\u0001K\u0002K\u0001K\u0002u.", "key \"1\" is there twice"),
        broken(
            "the same name", "}(K\u0001K\u0002" + text("1") + "K\u0002u.", "\"1\" is there twice"),
        broken(
            "the same way",
            "}(" + text("a.b") + "K\u0001" + text("a") + "}" + text("b") + "K\u0001su.",
            "\"a.b\" is there twice"),
        broken("pop below a mark", "](0.", "takes what it has not made"),
        broken("many values", "}".repeat(2_000_001) + ".", "more than 2000000 values"),
        broken("many copies", "}" + "2".repeat(2_000_001) + ".", "more than 2000000 values"),
        broken("many marks", "(".repeat(10_000_000), "ends too early"),
        broken("deep list", "]".repeat(100_000) + "a".repeat(99_999) + ".", "nested too deeply"),
        broken(
            "deep dictionary",
            "}" + "K\u0001}".repeat(100_000) + "s".repeat(100_000) + ".",
            "nested too deeply"),
        broken("deep tuple", ")" + "\u0085".repeat(1_000_000) + ".", "nested too deeply"),
        broken("list that holds itself", "]q\u0000h\u0000a.", "nested too deeply"),
        broken(
            "list that holds itself many times",
            "]q\u0000(" + "h\u0000".repeat(100_000) + "e.",
            "nested too deeply"),
        broken("dictionary that holds itself", "}q\u0000K\u0001h\u0000s.", "nested too deeply"),
        broken("a billion laughs", laughs + ".", "nested too deeply"),
        broken(
            "names that grow",
            text("x".repeat(10_000))
                + "q\u00010"
                + "}"
                + "h\u0001}".repeat(30)
                + "s".repeat(30)
                + ".",
            "nested too deeply"),
        broken(
            "many names",
            "](" + "}K\u0001K\u0001s".repeat(100_001) + "e.",
            "more than 100000 names"),
        broken("wide memo", "]r" + little(-1, 4) + "0j" + little(1, 4) + ".", "recalls what"));
  }

  static Stream<Arguments> hostileTensors() {
    long huge = Long.MAX_VALUE;
    return Stream.of(
        tensor("negative size", tensor(FOUR, 0, tuple(-1, 2), tuple(2, 1)), "has shape [-1, 2]"),
        tensor("large size", tensor(FOUR, 0, tuple(huge), tuple(1)), "has shape [9223"),
        tensor("product", tensor(FOUR, 0, tuple(1L << 32, 1L << 32), tuple(0, 0)), "has shape"),
        tensor("nothing of much", tensor(FOUR, 0, tuple(0, huge), tuple(0, 0)), "has shape [0, 9"),
        tensor("few strides", tensor(FOUR, 0, tuple(2, 2), tuple(1)), "is [2, 2] and has 1 str"),
        tensor("negative stride", tensor(FOUR, 3, tuple(2), tuple(-1)), "lies outside its stor"),
        tensor("large stride", tensor(FOUR, 0, tuple(2), tuple(huge)), "lies outside its storage"),
        tensor("wrapping", tensor(FOUR, 0, tuple(3), tuple(1L << 62)), "lies outside its st"),
        tensor("large offset", tensor(FOUR, huge, tuple(1), tuple(1)), "lies outside its storage"),
        tensor("negative offset", tensor(FOUR, -1, tuple(1), tuple(1)), "lies outside its storage"),
        tensor("one beyond", tensor(FOUR, 1, tuple(2, 2), tuple(2, 1)), "lies outside its storage"),
        tensor("offset of none", tensor(FOUR, 5, tuple(0), tuple(1)), "lies outside its storage"),
        tensor("scalar beyond", tensor(FOUR, 4, ")", ")"), "lies outside its storage"),
        tensor(
            "many axes",
            tensor(FOUR, 0, tuple(new long[33]), tuple(new long[33])),
            "has sizes or strides that are not up to 32 whole numbers"),
        tensor(
            "text for a size",
            tensor(FOUR, 0, "(" + text("2") + "t", tuple(1)),
            "has sizes or strides that are not"),
        tensor(
            "no such storage",
            tensor(storage("FloatStorage", "1", 4), 0, tuple(1), tuple(1)),
            "looks at storage \"1\", which this file does not have"),
        tensor(
            "storage elsewhere",
            tensor(storage("FloatStorage", "../data.pkl", 4), 0, tuple(1), tuple(1)),
            "looks at storage \"../data.pkl\", which this file does not have"),
        tensor(
            "longer storage",
            tensor(storage("FloatStorage", "0", 5), 0, tuple(1), tuple(1)),
            "looks at a storage of 5 elements of type F32, and storage \"0\" has 16 bytes"),
        tensor(
            "endless storage",
            tensor(storage("FloatStorage", "0", huge), 0, tuple(1), tuple(1)),
            "looks at a storage of 9223372036854775807 elements"),
        tensor(
            "wider type",
            tensor(storage("DoubleStorage", "0", 4), 0, tuple(1), tuple(1)),
            "looks at a storage of 4 elements of type F64"),
        arguments(
            "a small file for a large model",
            torch(tensor(FOUR, 0, tuple(1 << 27), tuple(0)) + "."),
            "its tensors have 134217728 elements together, and it stores 4"),
        arguments(
            "one storage for many tensors",
            archive(
                "a/data.pkl",
                pickle(
                    tensor(storage("ByteStorage", "0", 1 << 17), 0, tuple(1 << 17), tuple(1))
                        + "q\u0000"
                        + "0("
                        + "h\u0000".repeat(17)
                        + "l."),
                "a/data/0",
                new byte[1 << 17]),
            "its tensors have 2228224 elements together, and it stores 131072"),
        broken("no pairs", "ccollections\nOrderedDict\n(K\u0001t\u0085R.", "something else"),
        broken("tensor of nothing", "ctorch._utils\n_rebuild_tensor_v2\n)R.", "not described by"),
        broken("parameter of nothing", "ctorch._utils\n_rebuild_parameter\n)R.", "no tensor"),
        broken("storage of nothing", ")Q.", "a storage is not described by"),
        broken("storage of a text", text("0") + "Q.", "a storage is not described by"));
  }

  /** The genuine archive with a number of its directory changed. */
  private static byte[] patched(byte[] archive, int at, long number, int bytes) {
    byte[] result = archive.clone();
    byte[] patch = little(number, bytes).getBytes(ISO_8859_1);
    System.arraycopy(patch, 0, result, at, bytes);
    return result;
  }

  static Stream<Arguments> hostileArchives() throws IOException {
    byte[] good = torch(MATRIX + ".");
    int end = good.length - 22;
    int directory = ByteBuffer.wrap(good).order(ByteOrder.LITTLE_ENDIAN).getInt(end + 16);
    int second = directory + 46 + "a/data.pkl".length();
    byte[] zip64 = Files.readAllBytes(TorchFileTest.genuine("alone.pt"));
    int zip64End = zip64.length - 22 - 20 - 56;
    byte[] empty = pickle("}.");
    return Stream.of(
        arguments("empty file", new byte[0], "not one that torch.save wrote"),
        arguments("text", "{}".getBytes(UTF_8), "not one that torch.save wrote"),
        arguments("signature only", "PK\u0003\u0004".getBytes(UTF_8), "it has no end"),
        arguments(
            "not of torch", archive("word/document.xml", empty), "0 entries named */data.pkl"),
        arguments("too deep", archive("a/b/data.pkl", empty), "0 entries named */data.pkl"),
        arguments(
            "two pickles",
            archive("a/data.pkl", empty, "b/data.pkl", empty),
            "has 2 entries named"),
        arguments(
            "climbing", archive("a/data.pkl", empty, "a/../../x", empty), "leaves the archive"),
        arguments("absolute", archive("a/data.pkl", empty, "/etc/x", empty), "leaves the archive"),
        arguments("other drive", archive("a/data.pkl", empty, "c:x", empty), "leaves the archive"),
        arguments("climbing folder", archive("../data.pkl", empty), "leaves the archive"),
        arguments(
            "other byte order",
            archive("a/data.pkl", empty, "a/byteorder", "big".getBytes(UTF_8)),
            "not little-endian"),
        arguments("compressed", compressed(1000), "compressed or encrypted"),
        arguments("zip bomb", compressed(100_000_000), "compressed or encrypted"),
        arguments(
            "twice",
            new String(archive("a/data.pkl", empty, "a/dbta.pkl", empty), ISO_8859_1)
                .replace("dbta", "data")
                .getBytes(ISO_8859_1),
            "entry \"a/data.pkl\" is there twice"),
        arguments("overlap", patched(good, second + 42, 0, 4), "is not where the directory says"),
        arguments("encrypted", patched(good, second + 8, 1, 2), "compressed or encrypted"),
        arguments("wrong packed size", patched(good, second + 20, 17, 4), "compressed or encr"),
        arguments("size beyond the end", patched(good, second + 24, 0x7fff_ffff, 4), "compressed"),
        arguments(
            "both sizes beyond the end",
            patched(patched(good, directory + 24, 9999, 4), directory + 20, 9999, 4),
            "ends outside the file"),
        arguments(
            "sizes elsewhere",
            patched(patched(good, second + 24, -1, 4), second + 20, -1, 4),
            "does not say how large it is"),
        arguments("many entries", patched(good, end + 10, 0xffff, 2), "ends before entry 2"),
        arguments("few entries", patched(good, end + 10, 1, 2), "goes on after its last entry"),
        arguments("large directory", patched(good, end + 12, -1, 4), "does not fit before byte"),
        arguments("late directory", patched(good, end + 16, -1, 4), "does not fit before byte"),
        arguments("name beyond", patched(good, second + 28, 0xffff, 2), "ends inside entry 1"),
        arguments(
            "endless entries",
            patched(zip64, zip64End + 32, -1, 8),
            "goes on after its last entry"),
        arguments(
            "many entries of 64 bits",
            patched(zip64, zip64End + 32, Long.MAX_VALUE, 8),
            "ends before entry"),
        arguments(
            "directory of 2^63 bytes",
            patched(zip64, zip64End + 40, Long.MAX_VALUE, 8),
            "does not fit before byte"),
        arguments(
            "directory at 2^63", patched(zip64, zip64End + 48, Long.MAX_VALUE, 8), "does not fit"),
        arguments(
            "end elsewhere",
            patched(zip64, zip64.length - 42 + 8, 1L << 62, 8),
            "outside the file"),
        arguments("end nowhere", patched(zip64, zip64.length - 42 + 8, 0, 8), "not where it says"));
  }

  private static byte[] compressed(int length) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      zip.putNextEntry(new ZipEntry("a/data.pkl"));
      zip.write(new byte[length]);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
    return bytes.toByteArray();
  }

  // ---- streams by hand, as before PyTorch 1.6 ------------------------------------------------

  private static final String MAGIC = "\u0080\u0002\u008a\nl\u00fc\u009cF\u00f9 j\u00a8P\u0019.";
  private static final String VERSION = "M\u00e9\u0003.";
  private static final String LITTLE_ENDIAN = "}" + text("little_endian") + "\u0088s.";
  private static final String PREFACE = MAGIC + VERSION + LITTLE_ENDIAN;
  private static final String KEY = "]" + text("0") + "a.";

  /** One storage of four floats. */
  private static final String STORED = little(4, 8) + "\u0000".repeat(16);

  private static byte[] stream(String operations, String keysAndStorages) {
    return pickle(PREFACE + operations + "." + keysAndStorages);
  }

  private static Arguments stream(
      String what, String operations, String keysAndStorages, String message) {
    return arguments(what, stream(operations, keysAndStorages), message);
  }

  /** The storage of four floats, or a view of it. */
  private static String view(String length, String view) {
    return "("
        + text("storage")
        + "ctorch\nFloatStorage\n"
        + text("0")
        + text("cpu")
        + length
        + view
        + "tQ";
  }

  private static String four(String storage) {
    return tensor(storage, 0, tuple(4), tuple(1));
  }

  private static String view(long offset, long length) {
    return view(whole(4), "(" + text("1") + whole(offset) + whole(length) + "t");
  }

  static Stream<Arguments> hostileStreams() {
    String whole = view(whole(4), "N");
    String outside = "a view of storage \"0\" lies outside it";
    String tensorOutside = "lies outside its storage, which has ";
    long huge = Long.MAX_VALUE;
    return Stream.of(
        arguments("magic number only", pickle(MAGIC), "ends too early"),
        arguments("no magic number", pickle("\u0080\u0002N." + MAGIC), "magic number is another"),
        arguments("version", pickle(MAGIC + "M\u00ea\u0003."), "its version is another one"),
        arguments("no machine", pickle(MAGIC + VERSION + "N."), "on what kind of machine"),
        arguments(
            "other byte order",
            pickle(MAGIC + VERSION + LITTLE_ENDIAN.replace('\u0088', '\u0089')),
            "not little-endian"),
        arguments("silent machine", pickle(MAGIC + VERSION + "}."), "not little-endian"),
        stream("call", "cposix\nsystem\n(" + text("x") + "tR", "].", "asks for \"posix.system\""),
        arguments(
            "call beside the content",
            pickle(MAGIC + "cposix\nsystem\n(" + text("x") + "tR."),
            "asks for \"posix.system\""),
        stream("call for keys", "}", "cposix\nsystem\n)R.", "asks for \"posix.system\""),
        stream("module", "(" + text("module") + "NNNtQ", "].", "a storage is not described by"),
        stream("no keys", "}", "", "ends too early"),
        stream("keys are no list", "}", "N.", "the keys of its storages are no list"),
        stream("key of no tensor", "}", KEY + STORED, "storage \"0\" belongs to no tensor"),
        stream("key that holds itself", four(whole), "]q\u0000h\u0000a.", "belongs to no tensor"),
        stream(
            "key twice",
            four(whole),
            "](" + text("0") + text("0") + "e." + STORED + STORED,
            "storage \"0\" belongs to no tensor, or is there twice"),
        stream("no such storage", four(whole), "].", "looks at storage \"0\", which this file"),
        stream("no count", four(whole), KEY + "\u0004", "ends outside the file"),
        stream("no numbers", four(whole), KEY + little(4, 8), "ends outside the file"),
        stream("cut off", four(whole), KEY + STORED.substring(1), "ends outside the file"),
        stream("rest", four(whole), KEY + STORED + "\u0000", "goes on after its last storage"),
        stream("two files", four(whole), KEY + STORED + MAGIC, "goes on after its last storage"),
        stream("less", four(whole), KEY + little(3, 8) + STORED, "has 3 numbers, and its tensors"),
        stream("more", four(whole), KEY + little(5, 8) + STORED, "has 5 numbers, and its tensors"),
        stream(
            "huge count", four(whole), KEY + little(huge, 8) + STORED, "has 9223372036854775807"),
        stream("negative count", four(whole), KEY + little(-1, 8) + STORED, "has -1 numbers"),
        stream("huge", four(view(whole(huge), "N")), KEY + STORED, "ends outside the file"),
        stream("wrapping", four(view(whole(1L << 62), "N")), KEY + STORED, "ends outside the file"),
        stream("negative", four(view(whole(-1), "N")), KEY + STORED, "ends outside the file"),
        stream("late view", four(view(5, 0)), KEY + STORED, outside),
        stream("long view", four(view(1, 4)), KEY + STORED, outside),
        stream("negative view", four(view(-1, 4)), KEY + STORED, outside),
        stream("view of negative length", four(view(1, -1)), KEY + STORED, outside),
        stream("huge view", four(view(1, huge)), KEY + STORED, outside),
        stream("wrapping view", four(view(huge, huge)), KEY + STORED, outside),
        stream("view of nothing", four(view(whole(4), ")")), KEY + STORED, outside),
        stream("beyond its view", four(view(1, 3)), KEY + STORED, tensorOutside + 3),
        stream("beyond its storage", four(view(4, 0)), KEY + STORED, tensorOutside + 0),
        stream(
            "two lengths",
            "](" + four(whole) + four(view(whole(5), "N")) + "e",
            KEY + STORED,
            "storage \"0\" is described in two ways"),
        stream(
            "two types",
            "](" + four(whole) + four(view(whole(4), "N").replace("Float", "Double")) + "e",
            KEY + STORED,
            "storage \"0\" is described in two ways"),
        stream(
            "a small file for a large model",
            tensor(whole, 0, tuple(1 << 27), tuple(0)),
            KEY + STORED,
            "its tensors have 134217728 elements together, and it stores 4"),
        arguments("endless decimals", pickle("L" + "1".repeat(50) + "L\n" + MAGIC), "not one that"),
        stream("long decimals", "L" + "1".repeat(50) + "L\n", "].", "is no whole number"),
        stream("no decimals", "Ix\n", "].", "\"x\" is no whole number"),
        stream("old text beyond the end", "T" + little(-1, 4), "].", "ends too early"));
  }

  /** What Python 2 wrote: texts of bytes, and tensors by their older name. */
  @Test
  void open_streamOfPython2_isRead() throws IOException {
    String matrix =
        tensor(view(2, 2), 0, tuple(2), tuple(1)).replace("_rebuild_tensor_v2", "_rebuild_tensor");
    Path file =
        Tampering.write(
            file(),
            stream(
                "}(U\u0001x" + matrix + "T" + little(1, 4) + "yI01\nu",
                "]U\u00010a." + little(4, 8) + "\u0000".repeat(14) + "\u0080?"));
    TorchFile read = TorchFile.open(file);
    assertEquals(true, read.values().get("y"));
    try (Scope scope = Scope.open()) {
      assertArrayEquals(new double[] {0, 1}, read.tensor("x", DType.DOUBLE).toDoubles());
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource({"hostilePickles", "hostileTensors", "hostileArchives", "hostileStreams"})
  void open_hostile_isRefused(String what, byte[] content, String message) throws IOException {
    Path file = Tampering.write(file(), content);
    for (long memoryLimit : new long[] {0, content.length}) {
      long before = THREADS.getCurrentThreadAllocatedBytes();
      IOException refusal =
          assertThrows(IOException.class, () -> TorchFile.open(file, memoryLimit));
      long allocated = THREADS.getCurrentThreadAllocatedBytes() - before;
      Tampering.requireSentence(file, refusal);
      String sentence = String.valueOf(refusal.getMessage());
      assertTrue(sentence.contains(message), sentence);
      assertTrue(allocated < MEMORY, allocated + " bytes");
    }
  }

  @Test
  void open_theGoodOnes_areRead() throws IOException {
    Path file = Tampering.write(file(), torch(MATRIX + "."));
    TorchFile good = TorchFile.open(file);
    try (Scope scope = Scope.open()) {
      assertEquals(4, good.tensor("", DType.FLOAT).toDoubles().length);
    }
    Tampering.write(file, torch("}q" + "\u0000" + "(" + text("a") + "]" + text("b") + "Nu."));
    assertEquals(List.of(), TorchFile.open(file).values().get("a"));
  }

  @Test
  void open_truncatedAnywhere_isRefused() throws IOException {
    for (String name :
        List.of(
            "strided.pt", "alone.pt", "values4.pt", "legacy.pt", "legacy-views.pt", "legacy5.pt")) {
      byte[] content = Files.readAllBytes(TorchFileTest.genuine(name));
      for (int length = 0; length < content.length; length++) {
        Path file = Tampering.write(file(), Arrays.copyOf(content, length));
        Tampering.requireSentence(
            file,
            assertThrows(
                IOException.class, () -> TorchFile.open(file), name + " of " + length + " bytes"));
      }
    }
  }

  // ---- by chance ---------------------------------------------------------------------------

  @Test
  void files_loadOrAreRefused() throws IOException {
    List<byte[]> valid = new ArrayList<>();
    for (String name :
        List.of(
            "strided.pt",
            "types.pt",
            "values2.pt",
            "values5.pt",
            "alone.pt",
            "legacy-strided.pt",
            "legacy-types.pt",
            "legacy-views.pt",
            "legacy1.pt",
            "legacy5.pt")) {
      valid.add(Files.readAllBytes(TorchFileTest.genuine(name)));
    }
    Tampering.check(
        file(),
        random -> load(Tampering.bytes(valid.get(random.nextInt(valid.size())), random), random));
  }

  private static final List<String> PIECES =
      List.of(
          "N0", // makes something and drops it
          "K\u00070",
          FOUR + "0",
          MATRIX + "0",
          "q\u0005",
          "r\u0005\u0000\u0001\u0000",
          "(1",
          "\u0080\u0003",
          "(",
          ".",
          "0",
          "1",
          "2",
          "N",
          "\u0088",
          "J\u00ff\u00ff\u00ff\u007f",
          "K\u0000",
          "K\u0001",
          "K\u0004",
          "M\u0010\u0000",
          whole(Long.MAX_VALUE),
          whole(Long.MIN_VALUE),
          whole(1L << 32),
          text(""),
          text("0"),
          text("x"),
          "]",
          "}",
          ")",
          "\u0085",
          "\u0086",
          "\u0087",
          "t",
          "l",
          "d",
          "a",
          "e",
          "s",
          "u",
          "q\u0000",
          "h\u0000",
          "q\u0001",
          "h\u0001",
          "\u0094",
          "R",
          "b",
          "Q",
          FOUR,
          MATRIX,
          tuple(2, 2),
          tuple(0, 1),
          "ccollections\nOrderedDict\n",
          "ctorch._utils\n_rebuild_parameter\n",
          "ctorch\nByteStorage\n",
          "cos\nsystem\n");

  private static final List<String> VALID =
      List.of(
          "\u0080\u0002",
          "}",
          "q\u0000",
          "(",
          text("a"),
          MATRIX,
          text("b"),
          "]",
          "(",
          "K\u0001",
          "K\u0002",
          "e",
          text("c"),
          "ccollections\nOrderedDict\n",
          ")",
          "R",
          "}",
          "b",
          "u",
          ".");

  /** In an archive or a stream that is whole. */
  @Test
  void pickles_loadOrAreRefused() throws IOException {
    Tampering.check(
        file(),
        random -> {
          List<String> operations = new ArrayList<>(VALID);
          for (int i = random.nextInt(3); i >= 0; i--) {
            int at = random.nextInt(operations.size());
            String piece = PIECES.get(random.nextInt(PIECES.size()));
            switch (random.nextInt(4)) {
              case 0 -> operations.remove(at);
              case 1 -> operations.set(at, piece);
              default -> operations.add(at, piece);
            }
          }
          byte[] content = pickle(String.join("", operations));
          if (random.nextInt(4) == 0) {
            content = Tampering.bytes(content, random);
          }
          load(
              random.nextBoolean()
                  ? archive("a/data.pkl", content, "a/data/0", new byte[16])
                  : pickle(PREFACE + new String(content, ISO_8859_1) + KEY + STORED),
              random);
        });
  }

  private void load(byte[] content, Random random) throws IOException {
    Path file = Tampering.write(file(), content);
    TorchFile opened = TorchFile.open(file, random.nextBoolean() ? content.length : 0);
    for (String name : opened.names()) {
      if (opened.elementType(name).isReadable()) {
        assertEquals(opened.shape(name), opened.tensor(name, DType.FLOAT).shape());
      }
    }
  }
}

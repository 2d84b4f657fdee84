package dev.tributary.attribution.server;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** A request that is wrong in a drawn way, or right. */
final class MutatedRequest {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private final byte[] bytes;
  private final boolean isFramed;
  private final String what;

  private MutatedRequest(byte[] bytes, boolean isFramed, String what) {
    this.bytes = bytes;
    this.isFramed = isFramed;
    this.what = what;
  }

  /** All of it. */
  byte[] bytes() {
    return bytes;
  }

  /** Whether it is HTTP all the same, so that the server has to answer in a sentence. */
  boolean isFramed() {
    return isFramed;
  }

  /** What was changed. */
  String what() {
    return what;
  }

  static MutatedRequest of(Server server, String question, Random random) throws IOException {
    byte[] body = question.getBytes(StandardCharsets.UTF_8);
    String what = "";
    int kind = random.nextInt(8);
    if (kind == 0) {
      body = text(question, random);
      what += "text of the body; ";
    } else if (kind <= 2) {
      body = bytes(body, random);
      what += "bytes of the body; ";
    } else if (kind <= 6) {
      JsonNode json = MAPPER.readTree(question);
      for (int i = 0; i <= random.nextInt(2); i++) {
        json = json.isObject() ? field((ObjectNode) json, random) : json;
      }
      body = MAPPER.writeValueAsBytes(json);
      what += "fields of the body; ";
    }
    List<String> head = RawConnection.head(server, body.length, random.nextInt(4) == 0);
    if (random.nextInt(2) == 0) {
      return new MutatedRequest(RawConnection.joined(head, body), true, what);
    }
    return framing(server, head, body, what, random);
  }

  // ---- bodies -------------------------------------------------------------------------------

  private static byte[] bytes(byte[] body, Random random) {
    return switch (random.nextInt(4)) {
      case 0 -> Arrays.copyOf(body, random.nextInt(body.length)); // truncated
      case 1 -> { // doubled
        ByteArrayOutputStream twice = new ByteArrayOutputStream();
        twice.writeBytes(body);
        twice.writeBytes(body);
        yield twice.toByteArray();
      }
      case 2 -> { // random
        byte[] any = new byte[random.nextInt(200)];
        random.nextBytes(any);
        yield any;
      }
      default -> {
        byte[] changed = body.clone();
        for (int i = 0; i <= random.nextInt(4); i++) {
          changed[random.nextInt(changed.length)] = (byte) random.nextInt(256);
        }
        yield changed;
      }
    };
  }

  private static byte[] text(String question, Random random) {
    String text =
        switch (random.nextInt(5)) {
          case 0 -> "[".repeat(1 + random.nextInt(100_000));
          case 1 -> "{\"question\":".repeat(1 + random.nextInt(2_000));
          case 2 -> question.replaceFirst("\\{", "{\"question\": \"inspect\", ");
          case 3 -> "\ufeff" + question;
          default -> "{\"top\": " + "9".repeat(1 + random.nextInt(5_000)) + "}";
        };
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** A field taken out, renamed or with another value. */
  private static ObjectNode field(ObjectNode json, Random random) {
    List<String> names = new ArrayList<>();
    json.fieldNames().forEachRemaining(names::add);
    if (names.isEmpty()) {
      return json;
    }
    String name = names.get(random.nextInt(names.size()));
    JsonNode value = json.get(name);
    switch (random.nextInt(6)) {
      case 0 -> json.remove(name);
      case 1 -> json.set(name + "s", json.remove(name));
      case 2 -> {
        if (value instanceof ObjectNode inner) {
          json.set(name, field(inner, random));
        } else if (value instanceof ArrayNode list) {
          list.add(any(random));
        } else if (value.isTextual()) {
          String text = value.textValue();
          int at = random.nextInt(text.length() + 1);
          json.put(name, text.substring(0, at) + piece(random) + text.substring(at));
        } else {
          json.set(name, any(random));
        }
      }
      default -> json.set(name, any(random));
    }
    return json;
  }

  private static String piece(Random random) {
    List<String> pieces =
        List.of(
            "",
            "\u0000",
            "\ud800",
            "\ud83d\ude00",
            " ",
            "]",
            "[",
            "<-",
            "->",
            "-1",
            "%s",
            "9999999999");
    return pieces.get(random.nextInt(pieces.size()));
  }

  private static JsonNode any(Random random) {
    JsonNodeFactory make = JsonNodeFactory.instance;
    return switch (random.nextInt(16)) {
      case 0 -> make.nullNode();
      case 1 -> make.booleanNode(random.nextBoolean());
      case 2 -> make.numberNode(-1);
      case 3 -> make.numberNode(0);
      case 4 -> make.numberNode(Integer.MAX_VALUE);
      case 5 -> make.numberNode(Integer.MIN_VALUE);
      case 6 -> make.numberNode(Long.MAX_VALUE);
      case 7 -> make.numberNode(BigInteger.TEN.pow(random.nextInt(400)));
      case 8 -> make.numberNode(random.nextGaussian() * Math.pow(10, random.nextInt(600) - 300));
      case 9 -> make.textNode("");
      case 10 -> make.textNode(piece(random).repeat(random.nextInt(2_000)));
      case 11 -> make.textNode("the ".repeat(random.nextInt(3_000)));
      case 12 -> make.arrayNode().add("the").add(make.arrayNode());
      case 13 -> make.objectNode().put("first", random.nextInt(40)).put("last", 2);
      case 14 ->
          make.textNode(
              "L%d.head%d[%d<-%d]"
                  .formatted(
                      random.nextInt(4),
                      random.nextInt(20),
                      random.nextInt(20),
                      random.nextInt(20)));
      default ->
          make.textNode(
              "L%d.neuron%d[%d]"
                  .formatted(random.nextInt(6) - 1, random.nextInt(3_000), random.nextInt(30) - 2));
    };
  }

  // ---- heads --------------------------------------------------------------------------------

  private static MutatedRequest framing(
      Server server, List<String> head, byte[] body, String before, Random random) {
    String own = "127.0.0.1:" + server.port();
    List<String> paths =
        List.of(
            "/",
            "/api",
            "/api/",
            "/api/questions/",
            "/api/words",
            "/api/words?text=%41",
            "/api/words?text=ma&token=x",
            "//api/questions",
            "/api/questions?token=&token=",
            "/%2e%2e/etc/passwd",
            "/" + "a".repeat(5_000));
    List<String> brokenPaths = List.of("*", "http:x", "/api/words?text=%", "/\u0000", "", "/a b");
    int kind = random.nextInt(20);
    boolean isFramed = true;
    String what = before + "head " + kind;
    byte[] sent = body;
    switch (kind) {
      case 0 ->
          head.set(
              0,
              drawn(random, "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PO\u00e9ST", "post")
                  + " "
                  + drawn(random, paths.toArray(String[]::new))
                  + " HTTP/1.1");
      case 1 -> head.set(0, "POST " + drawn(random, paths.toArray(String[]::new)) + " HTTP/1.1");
      case 2 -> {
        isFramed = false;
        head.set(
            0,
            drawn(random, "GET ", "POST ", " ", "")
                + drawn(random, brokenPaths.toArray(String[]::new))
                + drawn(random, " HTTP/1.1", " HTTP/9", "", " x y"));
      }
      case 3 -> head.set(0, "POST /api/questions " + drawn(random, "HTTP/1.0", "HTTP/2", "x"));
      case 4 ->
          head.set(
              1,
              drawn(
                  random,
                  "X: y",
                  "Host: evil.example",
                  "Host: " + own + "\r\nHost: " + own,
                  "Host:",
                  "Host: " + own + "\r\nOrigin: http://evil.example",
                  "Host: " + own + "\r\nOrigin: null"));
      case 5 ->
          head.set(
              2,
              drawn(
                  random,
                  "X: y",
                  "Authorization: Bearer",
                  "Authorization: Basic x",
                  head.get(2) + "x",
                  head.get(2) + "\r\n" + head.get(2)));
      case 6 ->
          head.set(
              3,
              drawn(
                  random,
                  "X: y",
                  "Content-Type: text/plain",
                  "Content-Type:",
                  "Content-Type: application/json; charset=utf-16",
                  "Content-Type: application/json, text/html"));
      case 7 -> { // the rest never comes
        isFramed = false;
        head.set(4, "Content-Length: " + (body.length + 1 + random.nextInt(100)));
      }
      case 8 -> { // more comes, which is no request
        isFramed = false;
        head.set(4, "Content-Length: " + random.nextInt(body.length + 1));
      }
      case 9 -> {
        isFramed = false;
        head.set(
            4,
            "Content-Length: "
                + drawn(random, "-1", "x", "", "99999999999999999999", "1, 2", "0x10"));
      }
      case 10 -> {
        isFramed = false;
        head.set(4, head.get(4) + "\r\nContent-Length: 3");
      }
      case 11 -> {
        isFramed = false;
        head.remove(4);
      }
      case 12 -> {
        head.set(4, "Transfer-Encoding: chunked");
        sent = chunked(body, random);
      }
      case 13 -> {
        isFramed = false;
        head.set(
            4,
            drawn(
                random,
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: gzip",
                head.get(4) + "\r\nTransfer-Encoding: chunked"));
      }
      case 14 -> head.add("Expect: " + drawn(random, "100-continue", "x"));
      case 15 ->
          head.add("Tributary-Client: " + piece(random).repeat(200).replaceAll("\\p{Cntrl}", ""));
      case 16 -> {
        isFramed = false;
        head.add(
            1 + random.nextInt(head.size()),
            drawn(
                random,
                "x",
                ": y",
                "X : y",
                "X\u0001: y",
                " folded",
                "X: " + "y".repeat(100_000),
                "X: y\r\n".repeat(1_000) + "X: y"));
      }
      case 17 -> head.add("Accept: " + drawn(random, "*/*", "text/event-stream", "image/png"));
      case 18 -> { // random bytes of the head
        isFramed = false;
        byte[] all = RawConnection.joined(head, body);
        for (int i = 0; i <= random.nextInt(4); i++) {
          all[random.nextInt(all.length - body.length)] = (byte) random.nextInt(256);
        }
        return new MutatedRequest(all, isFramed, what);
      }
      default -> { // ends somewhere
        byte[] all = RawConnection.joined(head, body);
        return new MutatedRequest(Arrays.copyOf(all, random.nextInt(all.length)), false, what);
      }
    }
    return new MutatedRequest(RawConnection.joined(head, sent), isFramed, what);
  }

  private static byte[] chunked(byte[] body, Random random) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int at = 0; at < body.length; ) {
      int size = Math.min(body.length - at, 1 + random.nextInt(100));
      out.writeBytes((Integer.toHexString(size) + "\r\n").getBytes(StandardCharsets.UTF_8));
      out.write(body, at, size);
      out.writeBytes(new byte[] {'\r', '\n'});
      at += size;
    }
    out.writeBytes("0\r\n\r\n".getBytes(StandardCharsets.UTF_8));
    return out.toByteArray();
  }

  private static String drawn(Random random, String... texts) {
    return texts[random.nextInt(texts.length)];
  }
}

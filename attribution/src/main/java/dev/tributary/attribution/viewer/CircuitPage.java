package dev.tributary.attribution.viewer;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.export.CircuitJson;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;

/** A circuit as one page for a browser, which needs nothing else: no other file and no network. */
public final class CircuitPage {
  private static final Pattern PLACE = Pattern.compile("\\{\\{(\\w+)}}");

  /** In the order in which they need each other. */
  private static final List<String> D3 =
      List.of("d3-path", "d3-shape", "d3-format", "d3-selection");

  private CircuitPage() {}

  /**
   * {@return the text of the page, HTML} It carries all that {@link CircuitJson} says of the
   * circuit.
   *
   * @param circuit what is shown
   */
  public static String of(Circuit circuit) {
    return around(CircuitJson.of(circuit));
  }

  static String around(String json) {
    String style = resource("viewer.css");
    Map<String, String> scripts =
        Map.of(
            "d3", d3(name -> name + ".min.js", "\n"),
            "model", resource("circuit.js"),
            "viewer", resource("viewer.js"));
    Map<String, String> parts = new HashMap<>(scripts);
    parts.put("style", style);
    parts.put("licences", text(d3(name -> "LICENSE", "\n\n")));
    parts.put("circuit", data(json));
    parts.put("policy", policy(style, scripts.values().stream()));
    return PLACE
        .matcher(resource("viewer.html"))
        .replaceAll(
            place -> Matcher.quoteReplacement(Objects.requireNonNull(parts.get(place.group(1)))));
  }

  private static String d3(UnaryOperator<String> file, String between) {
    return D3.stream()
        .map(name -> resource(name + "/" + file.apply(name)))
        .collect(Collectors.joining(between));
  }

  /** What the browser lets this page do: run these scripts, and ask nobody for anything. */
  private static String policy(String style, Stream<String> scripts) {
    return "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src "
        + fingerprint(style)
        + "; script-src "
        + scripts.map(CircuitPage::fingerprint).sorted().collect(Collectors.joining(" "));
  }

  private static String fingerprint(String content) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256").digest(content.getBytes(StandardCharsets.UTF_8));
      return "'sha256-" + Base64.getEncoder().encodeToString(hash) + "'";
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e); // every JVM has it
    }
  }

  /** Compressed, since attention patterns are long, and in letters that end no script. */
  private static String data(String json) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (OutputStream out = new GZIPOutputStream(bytes)) {
      out.write(json.getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return Base64.getEncoder().encodeToString(bytes.toByteArray());
  }

  private static String text(String plain) {
    return plain.replace("&", "&amp;").replace("<", "&lt;");
  }

  private static String resource(String name) {
    try (InputStream in = CircuitPage.class.getResourceAsStream(name)) {
      byte[] bytes = Objects.requireNonNull(in, name).readAllBytes();
      return new String(bytes, StandardCharsets.UTF_8).replace("\r\n", "\n"); // as a browser reads
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

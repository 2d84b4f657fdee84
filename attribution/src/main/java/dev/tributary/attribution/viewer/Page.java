package dev.tributary.attribution.viewer;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;

/**
 * A page for a browser, which needs no other file.
 *
 * @param name of its own resources: {@code .html} (its body), {@code .css} and {@code .js}
 * @param title of the page
 * @param styles that come before its own
 * @param libraries of d3 that it needs, in the order in which they need each other
 * @param scripts of ours that come before its own
 * @param asks whom it may ask over the network, as a content security policy says it
 */
record Page(
    String name,
    String title,
    List<String> styles,
    List<String> libraries,
    List<String> scripts,
    String asks) {
  static final String NOBODY = "'none'";
  static final String ITS_SERVER = "'self'";

  private static final Pattern PLACE = Pattern.compile("\\{\\{(\\w+)}}");

  /** The text of the page with some data, JSON. */
  String around(String json) {
    String style =
        Stream.of(Stream.of("page.css"), styles.stream(), Stream.of(name + ".css"))
            .flatMap(own -> own)
            .map(Page::resource)
            .collect(Collectors.joining());
    List<String> all =
        Stream.of(
                Stream.of(joined(library -> library + ".min.js", "\n")).filter(d3 -> !d3.isEmpty()),
                Stream.of(resource("page.js")),
                scripts.stream().map(Page::resource),
                Stream.of(resource(name + ".js")))
            .flatMap(own -> own)
            .toList();
    String body =
        filled(
            name + ".html",
            Map.of(
                "logo", resource("logo.svg"),
                "buttons", resource("buttons.html"),
                "licences", text(joined(library -> "LICENSE", "\n\n"))));
    return filled(
        "page.html",
        Map.of(
            "title",
            title,
            "style",
            style,
            "scripts",
            all.stream()
                .collect(Collectors.joining("</script>\n<script>", "<script>", "</script>")),
            "body",
            body,
            "data",
            data(json),
            "policy",
            policy(style, all)));
  }

  /** A resource with parts in their places. */
  private static String filled(String name, Map<String, String> parts) {
    return PLACE
        .matcher(resource(name))
        .replaceAll(
            place -> Matcher.quoteReplacement(Objects.requireNonNull(parts.get(place.group(1)))));
  }

  private String joined(UnaryOperator<String> file, String between) {
    return libraries.stream()
        .map(library -> resource(library + "/" + file.apply(library)))
        .collect(Collectors.joining(between));
  }

  /** What the browser lets this page do: run these scripts, and ask no other. */
  private String policy(String style, List<String> all) {
    return "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; connect-src "
        + asks
        + "; style-src "
        + fingerprint(style)
        + "; script-src "
        + all.stream().map(Page::fingerprint).sorted().collect(Collectors.joining(" "));
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
    try (InputStream in = Page.class.getResourceAsStream(name)) {
      byte[] bytes = Objects.requireNonNull(in, name).readAllBytes();
      return new String(bytes, StandardCharsets.UTF_8).replace("\r\n", "\n"); // as a browser reads
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

package dev.tributary.attribution.server;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Who may ask: whoever knows the token, from a page of this server or from no page. A name that
 * somebody made to mean this machine (DNS rebinding) is not its own.
 */
final class Gate {
  private static final int TOKEN_BYTES = 24;
  private static final String BEARER = "Bearer ";

  private final String token;

  /** What it is called, with its port. */
  private final Set<String> hosts;

  private Gate(String token, Set<String> hosts) {
    this.token = token;
    this.hosts = hosts;
  }

  /**
   * A gate with a random token.
   *
   * @param names of the machine that are accepted
   */
  static Gate of(List<String> names, int port) {
    byte[] bytes = new byte[TOKEN_BYTES];
    new SecureRandom().nextBytes(bytes);
    return new Gate(
        Base64.getUrlEncoder().withoutPadding().encodeToString(bytes),
        Set.copyOf(names.stream().map(name -> name(name, port)).toList()));
  }

  /** A host as addresses have it, with its port. */
  static String name(String host, int port) {
    return (host.contains(":") ? "[" + host + "]" : host).toLowerCase(Locale.ROOT) + ":" + port;
  }

  String token() {
    return token;
  }

  /** Refuses requests to another host, and from pages of another. */
  void requireOwn(HttpExchange exchange) {
    Headers headers = exchange.getRequestHeaders();
    List<String> named = headers.getOrDefault("Host", List.of());
    if (named.size() != 1 || !hosts.contains(named.get(0).toLowerCase(Locale.ROOT))) {
      throw new Refused(421, "this server has another name: ask it by the address that it printed");
    }
    List<String> origins = headers.getOrDefault("Origin", List.of());
    if (!origins.stream().allMatch(origin -> origin.equals("http://" + named.get(0)))) {
      throw new Refused(403, "pages of other servers may not ask this one");
    }
    List<String> sites = headers.getOrDefault("Sec-Fetch-Site", List.of());
    if (!sites.stream().allMatch(Set.of("same-origin", "none")::contains)) {
      throw new Refused(403, "pages of other servers may not ask this one");
    }
  }

  /** Refuses requests without the token, in a header or behind the address. */
  void requireToken(HttpExchange exchange) {
    List<String> said =
        Stream.concat(
                exchange.getRequestHeaders().getOrDefault("Authorization", List.of()).stream()
                    .filter(value -> value.startsWith(BEARER))
                    .map(value -> value.substring(BEARER.length())),
                parameter(exchange.getRequestURI(), "token").stream())
            .toList();
    if (said.size() != 1 || !isToken(said.get(0))) {
      throw new Refused(
          401, "the token of this server is missing: it is in the address that it printed");
    }
  }

  /** In a time that does not depend on what is wrong. */
  private boolean isToken(String said) {
    return MessageDigest.isEqual(
        said.getBytes(StandardCharsets.UTF_8), token.getBytes(StandardCharsets.UTF_8));
  }

  /** A parameter behind an address. */
  static Optional<String> parameter(URI address, String name) {
    String query = address.getQuery();
    return query == null
        ? Optional.empty()
        : Stream.of(query.split("&", -1))
            .filter(pair -> pair.startsWith(name + "="))
            .map(pair -> pair.substring(name.length() + 1))
            .findFirst();
  }
}

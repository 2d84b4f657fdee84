package dev.tributary.attribution.server;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * A connection of a client that may send anything and go away at any time, which a well-behaved
 * library would not do.
 */
final class RawConnection implements AutoCloseable {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final byte[] END_OF_HEAD = {'\r', '\n', '\r', '\n'};

  private final Socket socket;

  /** What was read before all else. */
  private final ByteArrayOutputStream first = new ByteArrayOutputStream();

  RawConnection(int port) throws IOException {
    socket = new Socket(InetAddress.getLoopbackAddress(), port);
  }

  /** One that takes no more than so many bytes before it reads. */
  static RawConnection narrow(int port, int bytes) throws IOException {
    Socket socket = new Socket();
    socket.setReceiveBufferSize(bytes);
    socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
    return new RawConnection(socket);
  }

  private RawConnection(Socket socket) {
    this.socket = socket;
  }

  /**
   * What a server answered.
   *
   * @param status of it; 0 if it answered nothing
   * @param head lines of it
   * @param body text of it
   * @param isWhole whether it ended as it had announced
   */
  record Reply(int status, List<String> head, String body, boolean isWhole) {
    /** The body as JSON, or nothing if it is none; of events, what the last one says. */
    JsonNode json() {
      int last = body.lastIndexOf("\ndata: ");
      try {
        return MAPPER.readTree(last >= 0 ? body.substring(last + 7) : body);
      } catch (IOException e) {
        return MissingNode.getInstance();
      }
    }

    /** The status, or that which the last event says in its place. */
    int finalStatus() {
      return body.contains("event: refused") ? json().path("status").intValue() : status;
    }
  }

  /** The head of a question, for others to change. */
  static List<String> head(Server server, int length, boolean streamed) {
    List<String> lines =
        new ArrayList<>(
            List.of(
                "POST /api/questions HTTP/1.1",
                "Host: 127.0.0.1:" + server.port(),
                "Authorization: Bearer " + server.token(),
                "Content-Type: application/json",
                "Content-Length: " + length,
                "Connection: close"));
    if (streamed) {
      lines.add("Accept: text/event-stream");
    }
    return lines;
  }

  /** A question as it is sent. */
  static byte[] request(Server server, String question, boolean streamed, String client) {
    byte[] body = question.getBytes(StandardCharsets.UTF_8);
    List<String> head = head(server, body.length, streamed);
    head.add("Tributary-Client: " + client);
    return joined(head, body);
  }

  static byte[] joined(List<String> head, byte[] body) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    all.writeBytes((String.join("\r\n", head) + "\r\n\r\n").getBytes(StandardCharsets.UTF_8));
    all.writeBytes(body);
    return all.toByteArray();
  }

  void send(byte[] bytes) throws IOException {
    socket.getOutputStream().write(bytes);
  }

  /** Says that nothing more is sent. */
  void sendNoMore() throws IOException {
    socket.shutdownOutput();
  }

  /** Waits for the first line. */
  void awaitAnswer() throws IOException {
    int read;
    do {
      read = socket.getInputStream().read();
      first.write(read);
    } while (read != '\n' && read >= 0);
  }

  /** Reads to the end. */
  Reply reply() throws IOException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    first.writeTo(all);
    all.writeBytes(socket.getInputStream().readAllBytes());
    return parse(all.toByteArray());
  }

  /**
   * Reads to the end, at most so many milliseconds from byte to byte.
   *
   * @throws SocketTimeoutException if it takes longer
   */
  Reply reply(int millis) throws IOException {
    socket.setSoTimeout(millis);
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    long end = System.nanoTime() + 1_000_000L * millis;
    byte[] piece = new byte[1 << 16];
    InputStream in = socket.getInputStream();
    for (int count = in.read(piece); count >= 0; count = in.read(piece)) {
      all.write(piece, 0, count);
      if (System.nanoTime() > end) {
        throw new SocketTimeoutException("no end after " + millis + " ms");
      }
    }
    return parse(all.toByteArray());
  }

  /** Goes away in the middle, as a process does that is killed. */
  void reset() throws IOException {
    socket.setSoLinger(true, 0);
    socket.close();
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }

  // ---- what is read -------------------------------------------------------------------------

  private static Reply parse(byte[] bytes) {
    String text = new String(bytes, StandardCharsets.ISO_8859_1);
    while (text.startsWith("HTTP/1.1 100")) { // go on
      text = text.substring(text.indexOf("\r\n\r\n") + END_OF_HEAD.length);
    }
    int end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      return new Reply(0, List.of(), text, text.isEmpty());
    }
    List<String> head = text.substring(0, end).lines().toList();
    String body = text.substring(end + END_OF_HEAD.length);
    boolean isWhole = true;
    for (String line : head) {
      String header = line.toLowerCase(Locale.ROOT);
      if (header.equals("transfer-encoding: chunked")) {
        isWhole = body.endsWith("0\r\n\r\n");
        body = unchunked(body);
      } else if (header.startsWith("content-length: ")) {
        isWhole = body.length() == Integer.parseInt(header.substring("content-length: ".length()));
      }
    }
    return new Reply(
        Integer.parseInt(head.get(0).split(" ", -1)[1]),
        head,
        new String(body.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8),
        isWhole);
  }

  private static String unchunked(String chunks) {
    StringBuilder whole = new StringBuilder();
    int at = 0;
    while (at < chunks.length()) {
      int line = chunks.indexOf("\r\n", at);
      if (line < 0) {
        break;
      }
      int size = Integer.parseInt(chunks.substring(at, line), 16);
      int begin = line + 2;
      whole.append(chunks, begin, Math.min(begin + size, chunks.length()));
      at = begin + size + 2;
    }
    return whole.toString();
  }
}

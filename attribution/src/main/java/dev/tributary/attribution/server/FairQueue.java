package dev.tributary.attribution.server;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;

/** Who is next: one question of each client in turn, whoever has asked how many. */
final class FairQueue {
  private final int most;
  private final int mostOfOne;

  /** By client, who was served last at the end; none without questions. Guarded by itself. */
  private final Map<String, Deque<Inquiry>> waiting = new LinkedHashMap<>();

  private int count;
  private boolean closed;

  /**
   * @param most how many questions wait at most
   * @param mostOfOne how many of one client
   */
  FairQueue(int most, int mostOfOne) {
    this.most = most;
    this.mostOfOne = mostOfOne;
  }

  /** Waits in line. */
  synchronized void add(String client, Inquiry inquiry) {
    if (closed) {
      throw new Refused(503, "the server ends");
    }
    int own = waiting.getOrDefault(client, new ArrayDeque<>()).size();
    if (count >= most || own >= mostOfOne) {
      throw new Refused(
          429,
          own >= mostOfOne
              ? "%d questions of yours wait for their answers already".formatted(own)
              : "%d questions wait for their answers already".formatted(count));
    }
    waiting.computeIfAbsent(client, any -> new ArrayDeque<>()).add(inquiry);
    count++;
    notifyAll();
  }

  /** Leaves the line, if it still waits. */
  synchronized void remove(String client, Inquiry inquiry) {
    Deque<Inquiry> own = waiting.get(client);
    if (own != null && own.remove(inquiry)) {
      count--;
      if (own.isEmpty()) {
        waiting.remove(client);
      }
    }
  }

  /** The next one; waits until there is one. */
  synchronized Inquiry next() throws InterruptedException {
    while (waiting.isEmpty()) {
      wait();
    }
    Map.Entry<String, Deque<Inquiry>> first = waiting.entrySet().iterator().next();
    Inquiry next = first.getValue().remove();
    count--;
    waiting.remove(first.getKey());
    if (!first.getValue().isEmpty()) {
      waiting.put(first.getKey(), first.getValue()); // behind all others
    }
    return next;
  }

  /** Refuses all that wait, and all that come. */
  synchronized void close() {
    closed = true;
    waiting
        .values()
        .forEach(own -> own.forEach(one -> one.refuse(new Refused(503, "the server ends"))));
    waiting.clear();
    count = 0;
  }
}

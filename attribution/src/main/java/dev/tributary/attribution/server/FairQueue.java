package dev.tributary.attribution.server;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** Who is next: one question of each client in turn, whoever has asked how many. */
final class FairQueue {
  private final int most;
  private final int mostOfOne;

  /** By client, who was served last at the end; none without questions. Guarded by itself. */
  private final Map<String, Deque<Inquiry>> waiting = new LinkedHashMap<>();

  /** By client, how many questions wait, are in work, or have answers that are being read. */
  private final Map<String, Integer> open = new HashMap<>();

  private int count;
  private boolean closed;

  /**
   * @param most how many questions are open at most
   * @param mostOfOne how many of one client
   */
  FairQueue(int most, int mostOfOne) {
    this.most = most;
    this.mostOfOne = mostOfOne;
  }

  /** Waits in line. */
  synchronized void add(String client, Inquiry inquiry) {
    if (closed) {
      throw Refused.end();
    }
    int own = open.getOrDefault(client, 0);
    if (count >= most || own >= mostOfOne) {
      throw new Refused(
          429,
          own >= mostOfOne
              ? "%d questions of yours are open: read their answers first".formatted(own)
              : "%d questions are open: ask again later".formatted(count));
    }
    waiting.computeIfAbsent(client, any -> new ArrayDeque<>()).add(inquiry);
    open.put(client, own + 1);
    count++;
    notifyAll();
  }

  /** Is open no more: its answer was read, or nobody waits for it. */
  synchronized void remove(String client, Inquiry inquiry) {
    Deque<Inquiry> own = waiting.get(client);
    if (own != null && own.remove(inquiry) && own.isEmpty()) {
      waiting.remove(client);
    }
    open.computeIfPresent(client, (any, number) -> number == 1 ? null : number - 1);
    count--;
  }

  /** The next one; waits until there is one, or none will come. */
  synchronized Optional<Inquiry> next() throws InterruptedException {
    while (waiting.isEmpty()) {
      if (closed) {
        return Optional.empty();
      }
      wait();
    }
    Map.Entry<String, Deque<Inquiry>> first = waiting.entrySet().iterator().next();
    Inquiry next = first.getValue().remove();
    waiting.remove(first.getKey());
    if (!first.getValue().isEmpty()) {
      waiting.put(first.getKey(), first.getValue()); // behind all others
    }
    return Optional.of(next);
  }

  /** Refuses all that wait, and all that come. */
  synchronized void close() {
    closed = true;
    waiting.values().forEach(own -> own.forEach(one -> one.refuse(Refused.end())));
    waiting.clear();
    notifyAll();
  }
}

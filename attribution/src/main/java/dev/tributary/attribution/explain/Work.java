package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireState;

import dev.tributary.attribution.NodeAttribution;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;

/**
 * What a session has for its answers, on its own thread: the model, and what several questions
 * share. What is shared lives in scopes inside each other, in the order in which it was made, and
 * is forgotten all at once.
 */
public final class Work {
  /** How much is shared at most before all of it is made anew. */
  private static final int MOST = 24;

  /** What is left of the room for runs when all of them are forgotten. */
  private static final double LEAST_ROOM = 0.5;

  /** Makes what is shared. */
  @FunctionalInterface
  interface Maker<T> {
    T make() throws IOException;
  }

  /** Something, and the scope in which it was made. */
  private record Made<T>(T thing, Scope scope) {}

  private record RunOf(List<Integer> tokens) {}

  private final OpenedModel opened;
  private final Map<Object, Object> shared = new HashMap<>();

  /** Of what is shared, innermost first. */
  private final Deque<Scope> scopes = new ArrayDeque<>();

  private Listener listener = Listener.NONE;
  private @Nullable Transformer transformer;
  private @Nullable Explanations explanations;

  /** Of its weights. */
  private @Nullable Scope weights;

  /** Bytes for runs, when there are none. */
  private long room;

  Work(OpenedModel opened) {
    this.opened = opened;
  }

  /** Answers a question, in the innermost scope of all that is shared. */
  <A extends Record> A answer(Question<A> question, Listener heard) throws IOException {
    listener = heard;
    if (scopes.size() >= MOST || (transformer != null && isShort())) {
      forget();
    }
    return question.answer(this);
  }

  /** Reads all files that answers need. */
  void load(Listener heard) throws IOException {
    listener = heard;
    transformer();
    explanations();
  }

  private boolean isShort() {
    return Scope.roomBytes() < LEAST_ROOM * room;
  }

  /** Frees all that is shared. */
  void forget() {
    shared.clear();
    scopes.forEach(Scope::close);
    scopes.clear();
  }

  /** Frees all that is shared, and the model. */
  void close() {
    forget();
    if (weights != null) {
      weights.close();
    }
  }

  /** The model by its files. */
  OpenedModel opened() {
    return opened;
  }

  /** The model, its weights read the first time. */
  Transformer transformer() throws IOException {
    if (transformer == null) {
      requireState(scopes.isEmpty(), "weights are read before anything is shared");
      Made<Transformer> made = make(() -> opened.load(enter(Phase.WEIGHTS)));
      transformer = made.thing;
      weights = made.scope;
      room = Scope.roomBytes();
    }
    return transformer;
  }

  /** What is said of latents, read the first time. */
  Explanations explanations() throws IOException {
    if (explanations == null) {
      Optional<Path> file = opened.choice().explanations();
      explanations =
          file.isEmpty() ? Explanations.NONE : Explanations.load(file.get(), transformer());
    }
    return explanations;
  }

  /** Says what is being done from now on, and hears of its steps. */
  Progress enter(Phase phase) {
    requireWanted();
    listener.enter(phase);
    return (done, total) -> {
      requireWanted();
      listener.at(done, total);
    };
  }

  /** Says that a text begins. */
  void begin(boolean edited) {
    listener.begun(edited);
  }

  /** Says how a text goes on. */
  void say(boolean edited, String more) {
    requireWanted();
    listener.said(edited, more);
  }

  /** Says that a text goes on no further. */
  void say(boolean edited, Generate.Continued continued) {
    listener.continued(edited, continued);
  }

  private static void requireWanted() {
    if (Thread.currentThread().isInterrupted()) {
      throw new CancellationException("nobody waits for this answer any more");
    }
  }

  /**
   * What several questions share, made by the first of them in a scope of its own. No scope may be
   * open inside those of what is shared.
   *
   * @param key says what it is
   */
  @SuppressWarnings("unchecked") // a key names things of one type
  <T> T shared(Object key, Maker<T> maker) throws IOException {
    Object known = shared.get(key);
    if (known == null) {
      Made<T> made = make(maker);
      known = made.thing;
      scopes.push(made.scope);
      shared.put(key, known);
    }
    return (T) known;
  }

  /** Makes something in a scope of its own, which stays open unless it cannot be made. */
  private static <T> Made<T> make(Maker<T> maker) throws IOException {
    Scope scope = Scope.open();
    try {
      return new Made<>(maker.make(), scope);
    } catch (Throwable e) {
      scope.close();
      throw e;
    }
  }

  /** The run of some tokens, with all that nodes and edges are computed of. */
  Run run(List<Word> tokens) throws IOException {
    Transformer model = transformer();
    List<Integer> ids = tokens.stream().map(Word::id).toList();
    return shared(
        new RunOf(ids),
        () -> {
          enter(Phase.RUN);
          return model.run(
              NodeAttribution.sites(), ids.stream().mapToInt(Integer::intValue).toArray());
        });
  }
}

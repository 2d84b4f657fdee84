package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Keys and values of the tokens of a text so far, of every layer: all that later tokens read of
 * them. It lives in the scope in which it was made.
 */
final class KeyValueCache {
  private final Scope scope = Scope.innermost();

  /** One after the other, [key head, token, dHead] each. */
  private final Map<Place, List<Variable>> rows = new HashMap<>();

  private int length;

  /** The number of tokens whose keys and values it has in every layer. */
  int length() {
    return length;
  }

  /** All tokens so far have been through the model. */
  void advance(int tokens) {
    length += tokens;
  }

  /** Adds those of further tokens, which belong to the innermost scope, and gives all. */
  Variable all(Site site, int layer, Variable more) {
    Scope.innermost().keepIn(scope, more.value());
    List<Variable> own = rows.computeIfAbsent(Place.of(site, layer), place -> new ArrayList<>());
    own.add(more.detach());
    return own.size() == 1 ? more : Variable.concat(-2, own);
  }
}

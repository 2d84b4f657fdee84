package dev.tributary.transformer.file;

import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The variables that a place in a template sees, and what all of it may still use. */
final class JinjaFrame {
  /** Steps, and characters or items that are made, all together. */
  private static final long LIMIT = 20_000_000;

  /** What a step counts for. */
  private static final long STEP = 20;

  /** What Jinja defines beyond {@link JinjaFilters#FUNCTIONS}. */
  private static final Set<String> UNKNOWN =
      Set.of("self", "caller", "varargs", "kwargs", "cycler", "joiner", "lipsum", "context");

  private final @Nullable JinjaFrame outer;
  private final Map<String, Object> variables;
  private final long[] left;

  /** The outermost one. */
  JinjaFrame(Map<String, Object> variables) {
    this(null, new HashMap<>(variables), new long[] {LIMIT});
  }

  private JinjaFrame(@Nullable JinjaFrame outer, Map<String, Object> variables, long[] left) {
    this.outer = outer;
    this.variables = variables;
    this.left = left;
  }

  /** One whose own variables are forgotten with it. */
  JinjaFrame inner() {
    step();
    return new JinjaFrame(this, new HashMap<>(), left);
  }

  Object get(String name) {
    for (JinjaFrame frame = this; frame != null; frame = frame.outer) {
      Object value = frame.variables.get(name);
      if (value != null) {
        return value;
      }
    }
    if (UNKNOWN.contains(name)) {
      throw new JinjaRefusal(name + " is not known here");
    }
    return JinjaFilters.FUNCTIONS.getOrDefault(name, JinjaValues.Nothing.UNDEFINED);
  }

  void set(String name, Object value) {
    variables.put(name, value);
  }

  /** One name for a value, or one for each of its items. */
  void set(List<String> names, Object value) {
    if (names.size() == 1) {
      set(names.get(0), value);
      return;
    }
    List<Object> items = JinjaValues.items(value);
    if (items.size() != names.size()) {
      throw new JinjaRefusal("%d values for %d names".formatted(items.size(), names.size()));
    }
    for (int i = 0; i < names.size(); i++) {
      set(names.get(i), items.get(i));
    }
  }

  void step() {
    use(STEP);
  }

  /** A value that was made. */
  Object counted(Object value) {
    use(
        value instanceof String text
            ? text.length()
            : value instanceof Collection<?> items ? items.size() : 1);
    return value;
  }

  void write(StringBuilder out, String text) {
    use(text.length());
    out.append(text);
  }

  private void use(long amount) {
    left[0] -= amount;
    if (left[0] < 0) {
      throw new JinjaRefusal("it takes too many steps or makes too much text");
    }
  }
}

package dev.tributary.transformer.family;

import dev.tributary.core.Shape;
import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Where the files of a family keep the weights of a config. */
public final class Layout {
  /**
   * One tensor of these files: a weight, or several together.
   *
   * @param name of the tensor
   * @param spelling of the first weight; those of the others differ in the weight alone
   * @param groups into which the columns fall, in each of which is an equal share of every weight
   * @param dHead how many columns a head has
   * @param slots of the weights, those with the first columns first
   */
  public record Entry(String name, Spelling spelling, int groups, int dHead, List<Slot> slots) {
    /** {@return the shape of the weights together, rows for columns if it is transposed} */
    public Shape ours() {
      Shape first = slots.get(0).shape();
      return isShared()
          ? first
          : first.with(-1, slots.stream().mapToInt(slot -> slot.shape().size(-1)).sum());
    }

    /** {@return its shape as it is stored} */
    public Shape stored() {
      Shape ours = ours();
      Shape turned = transposed() ? Shape.of(ours.size(1), ours.size(0)) : ours;
      return turned.with(0, turned.size(0) + spelling.skippedRows());
    }

    /** {@return keys of the config that say how large it is} */
    public String keys() {
      return spelling.keys();
    }

    /** {@return whether its rows are our columns} */
    public boolean transposed() {
      return spelling.transposed();
    }

    /** {@return whether columns i and i + n/2 of the n of a head lie side by side} */
    public boolean inPairs() {
      return spelling.inPairs();
    }

    /** {@return whether all of its weights are the same numbers} */
    public boolean isShared() {
      return spelling.together() == Spelling.Together.SHARED;
    }

    /**
     * {@return the first of the columns of a group that is one of a weight}
     *
     * @param slot of the weight
     */
    public int column(Slot slot) {
      return isShared()
          ? 0
          : slots.stream()
              .takeWhile(other -> !other.equals(slot))
              .mapToInt(other -> other.shape().size(-1) / groups)
              .sum();
    }

    /** {@return which weight it is; of several, the first} */
    public Weight weight() {
      return slots.get(0).weight();
    }

    /** {@return whether it is of the unembedding, which a model without one does not have} */
    public boolean isOfHead() {
      return weight() == Weight.UNEMBEDDING || weight() == Weight.UNEMBEDDING_BIAS;
    }
  }

  private final Architecture family;
  private final Map<String, Entry> byName = new LinkedHashMap<>();
  private final Map<Slot, Entry> bySlot = new HashMap<>();
  private final Set<String> constants = new HashSet<>();

  private Layout(Architecture family, TransformerConfig config) {
    this.family = family;
    Map<Weight, Spelling> spellings = new EnumMap<>(Weight.class);
    List<Spelling> spelled = family.spellings(config);
    spelled.forEach(spelling -> spellings.put(spelling.weight(), spelling));
    List<Weight> order = spelled.stream().map(Spelling::weight).toList();
    Map<String, List<Slot>> slots = new LinkedHashMap<>();
    for (Slot slot : config.slots()) {
      @Nullable Spelling spelling = spellings.get(slot.weight());
      if (spelling == null) {
        throw new IllegalArgumentException(
            "%s is a weight that %s does not have".formatted(slot, family.kind()));
      }
      slots.computeIfAbsent(spelling.name(slot.layer()), name -> new ArrayList<>()).add(slot);
    }
    slots.forEach(
        (name, parts) -> {
          parts.sort(Comparator.comparing(slot -> order.indexOf(slot.weight())));
          Spelling spelling = Objects.requireNonNull(spellings.get(parts.get(0).weight()));
          boolean byHead = spelling.together() == Spelling.Together.BY_KEY_HEAD;
          int layer = parts.get(0).layer();
          AttentionConfig attention = config.layers().get(layer).attention();
          int groups = byHead ? attention.keyHeads() : 1;
          Entry entry = new Entry(name, spelling, groups, attention.dHead(), List.copyOf(parts));
          byName.put(name, entry);
          parts.forEach(slot -> bySlot.put(slot, entry));
        });
    for (String constant : family.constants()) {
      for (int layer = 0; layer < config.layers().size(); layer++) {
        constants.add(Spelling.inLayer(constant, layer));
      }
    }
  }

  /**
   * {@return the layout of a config}
   *
   * @param family whose files they are
   * @param config sizes and kinds of all parts
   * @throws IllegalArgumentException if the family does not have one of the weights
   */
  public static Layout of(Architecture family, TransformerConfig config) {
    return new Layout(family, config);
  }

  /** {@return all tensors, in the order of the forward pass} */
  public Collection<Entry> entries() {
    return byName.values();
  }

  /**
   * {@return the tensor that holds a weight}
   *
   * @param slot of the weight
   */
  public Entry of(Slot slot) {
    Entry entry = bySlot.get(slot);
    if (entry == null) {
      throw new IllegalArgumentException("there is no weight " + slot);
    }
    return entry;
  }

  /**
   * {@return the tensor that holds a weight of the whole model}
   *
   * @param weight such as TOKEN_EMBEDDING
   */
  public Entry of(Weight weight) {
    return entries().stream().filter(entry -> entry.weight() == weight).findFirst().orElseThrow();
  }

  /**
   * {@return whether there is a tensor or a constant of this name}
   *
   * @param name without what may stand before it
   */
  public boolean has(String name) {
    return byName.containsKey(name) || constants.contains(name);
  }

  /**
   * {@return a name without what may stand before it}
   *
   * @param name of a tensor in a file
   */
  public String bare(String name) {
    return name.startsWith(family.prefix()) ? name.substring(family.prefix().length()) : name;
  }

  /**
   * {@return what a tensor is called in a model with an unembedding}
   *
   * @param entry one of the tensors
   */
  public String whole(Entry entry) {
    return entry.isOfHead() ? entry.name() : family.prefix() + entry.name();
  }

  /** {@return whose files they are} */
  public Architecture family() {
    return family;
  }

  /** {@return names of what these files may hold beside weights} */
  public Set<String> constants() {
    return constants;
  }
}

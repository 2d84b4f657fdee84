package dev.tributary.attribution.dataset;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Tasks with pairs of prompts in words that the shipped model knows: the corrupted prompt differs
 * in the words on which the answer hangs.
 */
public enum PromptTemplate {
  /** Who is given something: the one of two who has not been named again. */
  INDIRECT_OBJECT {
    @Override
    Example draw(Random random) {
      List<String> two = distinct(random, FIRST_NAMES, 2);
      String begin =
          "%s %s and %s went to the %s , "
              .formatted(
                  one(random, List.of("When", "After", "Then")),
                  two.get(0),
                  two.get(1),
                  one(random, PLACES));
      String end =
          " %s a %s to"
              .formatted(one(random, List.of("gave", "handed", "passed")), one(random, OBJECTS));
      boolean first = random.nextBoolean();
      String giver = two.get(first ? 0 : 1);
      String other = two.get(first ? 1 : 0);
      return new Example(begin + giver + end, begin + other + end, List.of(other), List.of(giver));
    }
  },

  /** In which year something that lasted ended: in one after it began. */
  GREATER_THAN {
    @Override
    Example draw(Random random) {
      int year = 10 + random.nextInt(80);
      String prompt =
          "The %s lasted from the year 17 %%02d to the year 17".formatted(one(random, EVENTS));
      return new Example(
          prompt.formatted(year), prompt.formatted(1), years(year + 1, 100), years(2, year + 1));
    }
  },

  /** Whether one is or several are, with something else between. */
  AGREEMENT {
    @Override
    Example draw(Random random) {
      int noun = random.nextInt(NOUNS.size());
      int between = (noun + 1 + random.nextInt(NOUNS.size() - 1)) % NOUNS.size();
      String end =
          " %s the %s"
              .formatted(
                  one(random, List.of("near", "behind", "beside")),
                  (random.nextBoolean() ? NOUNS : PLURALS).get(between));
      String one = "The " + NOUNS.get(noun) + end;
      String several = "The " + PLURALS.get(noun) + end;
      return random.nextBoolean()
          ? new Example(several, one, List.of("are"), List.of("is"))
          : new Example(one, several, List.of("is"), List.of("are"));
    }
  },

  /** How a list goes on that is said again, as arguments are in a docstring. */
  DOCSTRING {
    @Override
    Example draw(Random random) {
      List<String> names = distinct(random, FIRST_NAMES, 3);
      List<String> surnames = distinct(random, SURNAMES, 3);
      int asked = 1 + random.nextInt(2);
      List<String> swapped = new ArrayList<>(surnames);
      Collections.swap(swapped, asked, 3 - asked);
      return new Example(
          said(names, surnames, asked),
          said(names, swapped, asked),
          List.of(surnames.get(asked)),
          List.of(swapped.get(asked)));
    }

    private String said(List<String> names, List<String> surnames, int asked) {
      List<String> whole = new ArrayList<>();
      for (int i = 0; i < names.size(); i++) {
        whole.addAll(List.of(names.get(i), surnames.get(i)));
      }
      String list = String.join(" ", whole);
      return list + " . " + String.join(" ", whole.subList(0, 2 * asked + 1));
    }
  },

  /** What somebody is called who has been named before. */
  INDUCTION {
    @Override
    Example draw(Random random) {
      List<String> names = distinct(random, FIRST_NAMES, 2);
      List<String> surnames = distinct(random, SURNAMES, 2);
      String place = one(random, PLACES);
      return new Example(
          said(names, surnames.get(0), surnames.get(1), place),
          said(names, surnames.get(1), surnames.get(0), place),
          List.of(surnames.get(0)),
          List.of(surnames.get(1)));
    }

    private String said(List<String> names, String first, String second, String place) {
      return "%s %s met %s %s at the %s . Later %s %s left . Later %s"
          .formatted(
              names.get(0), first, names.get(1), second, place, names.get(1), second, names.get(0));
    }
  };

  /**
   * A pair of prompts.
   *
   * @param clean the one that is explained
   * @param corrupted the one that it is compared with
   * @param answers words that are right after the clean prompt
   * @param foils words that are wrong after it
   */
  public record Example(String clean, String corrupted, List<String> answers, List<String> foils) {
    /** {@return a row of JSON Lines as {@link PairReader} reads it, without the end of the line} */
    public String json() {
      ObjectNode json = JsonNodeFactory.instance.objectNode();
      json.put("clean", clean).put("corrupted", corrupted);
      put(json, "answer", answers);
      put(json, "foil", foils);
      return json.toString();
    }

    private static void put(ObjectNode json, String name, List<String> words) {
      if (words.size() == 1) {
        json.put(name, words.get(0));
      } else {
        ArrayNode array = json.putArray(name);
        words.forEach(array::add);
      }
    }
  }

  private static final List<String> FIRST_NAMES =
      List.of(
          "Mary", "John", "Alice", "Bob", "Emma", "Tom", "Sarah", "David", "Anna", "James", "Laura",
          "Peter", "Julia", "Mark", "Helen", "Paul", "Rachel", "Simon", "Kate", "Adam");

  private static final List<String> SURNAMES =
      List.of(
          "Smith", "Jones", "Brown", "Taylor", "Wilson", "Clark", "Walker", "Hall", "Young", "King",
          "Wright", "Hill", "Green", "Baker", "Carter", "Mills", "Price", "Wood", "Cole", "Gray");

  private static final List<String> PLACES =
      List.of(
          "store", "park", "school", "office", "station", "garden", "museum", "beach", "library",
          "market");

  private static final List<String> OBJECTS =
      List.of("drink", "book", "key", "ring", "letter", "ball", "gift", "snack", "map", "coat");

  private static final List<String> EVENTS =
      List.of(
          "war",
          "voyage",
          "project",
          "siege",
          "drought",
          "reign",
          "strike",
          "tour",
          "trial",
          "festival");

  private static final List<String> NOUNS =
      List.of(
          "key", "cabinet", "dog", "child", "picture", "teacher", "window", "author", "car",
          "lamp");

  /** Of the nouns. */
  private static final List<String> PLURALS =
      List.of(
          "keys",
          "cabinets",
          "dogs",
          "children",
          "pictures",
          "teachers",
          "windows",
          "authors",
          "cars",
          "lamps");

  abstract Example draw(Random random);

  /**
   * {@return pairs of prompts, drawn independently}
   *
   * @param count how many
   * @param seed of the random numbers
   */
  public List<Example> draw(int count, long seed) {
    Random random = new Random(seed);
    return IntStream.range(0, count).mapToObj(i -> draw(random)).toList();
  }

  private static String one(Random random, List<String> words) {
    return words.get(random.nextInt(words.size()));
  }

  private static List<String> distinct(Random random, List<String> words, int count) {
    List<String> shuffled = new ArrayList<>(words);
    Collections.shuffle(shuffled, random);
    return shuffled.subList(0, count);
  }

  private static List<String> years(int from, int to) {
    return IntStream.range(from, to).mapToObj("%02d"::formatted).toList();
  }
}

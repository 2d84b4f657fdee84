package dev.tributary.transformer.family;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import java.io.IOException;
import java.util.List;

/**
 * What the config of a model says, by key. Whoever asks says of which type a value has to be; of
 * another it is refused with an {@link IOException} that names file and key.
 */
public interface Keys {
  /** {@return all keys} */
  List<String> names();

  /**
   * {@return whether there is a value; null is none}
   *
   * @param key of the config
   */
  boolean has(String key);

  /**
   * {@return whether there is null}
   *
   * @param key of the config
   */
  boolean isNull(String key);

  /**
   * {@return whether there is a list or an object that holds something}
   *
   * @param key of the config
   */
  boolean holdsItems(String key);

  /**
   * {@return a size}
   *
   * @param key of the config
   * @throws IOException if there is no whole number above 0
   */
  int positive(String key) throws IOException;

  /**
   * {@return a size}
   *
   * @param key of the config
   * @param otherwise if there is none
   * @throws IOException if there is anything but a whole number above 0
   */
  int positive(String key, int otherwise) throws IOException;

  /**
   * {@return how many there are}
   *
   * @param key of the config
   * @param otherwise if there is nothing
   * @throws IOException if there is anything but a whole number from 0
   */
  int count(String key, int otherwise) throws IOException;

  /**
   * {@return a number above 0}
   *
   * @param key of the config
   * @param otherwise if there is none
   * @throws IOException if there is anything else
   */
  double positive(String key, double otherwise) throws IOException;

  /**
   * {@return true or false}
   *
   * @param key of the config
   * @param otherwise if there is neither
   * @throws IOException if there is anything else
   */
  boolean flag(String key, boolean otherwise) throws IOException;

  /**
   * {@return a text}
   *
   * @param key of the config
   * @param otherwise if there is none
   * @throws IOException if there is anything else
   */
  String text(String key, String otherwise) throws IOException;

  /**
   * {@return what an object says, by its own keys}
   *
   * @param key of the config
   * @throws IOException if there is no object
   */
  Keys object(String key) throws IOException;

  /**
   * {@return the lists in a list, each by keys that are {@code [0]}, {@code [1]}, and so on}
   *
   * @param key of the config
   * @throws IOException if there is no list of lists
   */
  List<Keys> lists(String key) throws IOException;

  /**
   * {@return the numbers in a list, all above 0}
   *
   * @param key of the config
   * @throws IOException if there is anything else
   */
  List<Double> positives(String key) throws IOException;

  /**
   * {@return the texts in a list; none if there is no list}
   *
   * @param key of the config
   */
  List<String> textsIn(String key);

  /**
   * {@return the refusal of the value at a key}
   *
   * @param key of the config
   * @param expected in its place
   */
  IOException wrong(String key, String expected);

  /**
   * {@return the refusal of what makes an impossible config of ours}
   *
   * @param refused what was wrong with it
   * @param keys that say it
   */
  IOException impossible(IllegalArgumentException refused, String keys);

  /**
   * {@return the refusal of the config}
   *
   * @param reason a sentence with places for values
   * @param values for these places
   */
  @FormatMethod
  IOException because(@FormatString String reason, Object... values);
}

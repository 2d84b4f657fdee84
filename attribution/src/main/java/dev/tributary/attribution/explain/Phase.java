package dev.tributary.attribution.explain;

/**
 * What is being done. Reading weights has a step for each layer, what follows has one each; before,
 * the number of layers is not known.
 */
public enum Phase {
  /** The tokenizer is read. */
  TOKENIZER("reading the tokenizer", 0),
  /** The weights are read. */
  WEIGHTS("reading weights", 0),
  /** The model runs. */
  RUN("running the model", 3),
  /** The gradient of what is explained is taken. */
  GRADIENTS("computing gradients", 2),
  /** Edges of some nodes are computed. */
  EDGES("computing edges", 1),
  /** The largest of all edges are looked for. */
  SEARCH("searching edges", 1),
  /** A circuit is looked for. */
  CIRCUIT("finding the circuit", 2),
  /** Heads that edges pass, and scores of heads, are split. */
  ATTENTION("explaining attention", 1),
  /** The model goes on with a prompt. */
  GENERATION("generating", 1),
  /** Clean prompts are run, for what sources write in the mean. */
  MEANS("running clean prompts for means", 1),
  /** Pairs of prompts are run. */
  PAIRS("running pairs of prompts", 1),
  /** Some edges or nodes are patched, to say how good the scores of all are. */
  SAMPLE("patching a sample", 1),
  /** Nodes of a pair of prompts are patched, one run after the other. */
  NODES("patching nodes of a pair", 1),
  /** A model is written. */
  SAVE("writing the model", 1);

  private final String words;
  private final int stepsLeft;

  Phase(String words, int stepsLeft) {
    this.words = words;
    this.stepsLeft = stepsLeft;
  }

  /** {@return what is being done, in words} */
  public String words() {
    return words;
  }

  /** {@return how many steps there are from its beginning to the end} */
  public int stepsLeft() {
    return stepsLeft;
  }
}

package dev.tributary.attribution.explain;

import dev.tributary.core.DType;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Which model answers, and what is it made of? */
public record Inspect() implements Question<Inspect.Inspected> {
  /**
   * A model.
   *
   * @param model what it is called
   * @param dtype in which it computes
   * @param width of the residual stream
   * @param vocabulary how many words it has
   * @param context how many tokens it reads at most
   * @param layers in order
   * @param dictionaries that split what it writes
   * @param transcoders whether it can be replaced by transcoders
   * @param example a prompt to begin with, if it is the shipped model
   */
  public record Inspected(
      String model,
      DType dtype,
      int width,
      int vocabulary,
      int context,
      List<Layer> layers,
      List<Split> dictionaries,
      boolean transcoders,
      Optional<Example> example) {}

  /**
   * A layer of a model.
   *
   * @param heads how many it has
   * @param neurons how many it has
   */
  public record Layer(int heads, int neurons) {}

  /**
   * A dictionary of a model.
   *
   * @param name as those of its nodes begin
   * @param latents how many it has
   */
  public record Split(String name, int latents) {}

  /**
   * A prompt, and what may be asked about it.
   *
   * @param prompt text
   * @param targets next words
   * @param distractors with which they are compared
   */
  public record Example(String prompt, List<String> targets, List<String> distractors) {}

  @Override
  public Inspected answer(Work work) throws IOException {
    Transformer model = work.transformer();
    TransformerConfig config = model.config();
    List<Layer> layers = new ArrayList<>();
    for (int layer = 0; layer < model.layers(); layer++) {
      layers.add(
          new Layer(model.attention(layer).heads(), config.layers().get(layer).mlp().neurons()));
    }
    List<Split> dictionaries = new ArrayList<>();
    for (Dictionary dictionary : model.dictionaries()) {
      dictionaries.add(
          new Split(
              "L%d.%s".formatted(dictionary.id().layer(), dictionary.id().word()),
              dictionary.latentCount()));
    }
    Subject example = Subject.example();
    return new Inspected(
        work.opened().called(),
        model.dtype(),
        config.dModel(),
        config.vocabulary(),
        config.context(),
        layers,
        dictionaries,
        work.opened().choice().transcoders().isPresent(),
        work.opened().checkpoint().isPresent()
            ? Optional.empty()
            : Optional.of(new Example(Subject.EXAMPLE, example.targets(), example.distractors())));
  }
}

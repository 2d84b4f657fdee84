package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.ReplacementGraph.FirstToken;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.HeldInput;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The output of an MLP as a replacement model has it: what active latents and a recorded error
 * write, what transcoders let pass of what they read, and a constant. Lives in the scope in which
 * it was made.
 */
final class ReplacedMlp {
  /**
   * A decoder of a dictionary.
   *
   * @param dictionary its number in the replacement model
   * @param encoding what the dictionary made of the run
   * @param decoder which of its decoders
   */
  record Writer(int dictionary, Encoding encoding, int decoder) {
    Dictionary.Decoder of() {
      return encoding.dictionary().decoders().get(decoder);
    }

    /** What is added whatever the latents are and whatever is read, [token, n] or [1, n]. */
    private Optional<Tensor> bias() {
      return of().bias()
          .map(bias -> bias.reshape(1, of().width()))
          .map(bias -> encoding.scale().map(bias::times).orElse(bias));
    }

    /** What it lets pass of rows that its dictionary reads. */
    private Optional<Tensor> passing(Tensor rows) {
      Dictionary dictionary = encoding.dictionary();
      return dictionary.passes(decoder)
          ? Optional.of(dictionary.passing(rows, decoder))
          : Optional.empty();
    }
  }

  private final Run run;
  private final Mlp mlp;
  private final FirstToken firstToken;

  /** Where dictionaries write. */
  private final Place place;

  private final List<Writer> writers;

  /** What reconstructions lack there, [token, dModel]. */
  private final Tensor error;

  /**
   * @param all encodings of the dictionaries of a model, in their order
   */
  ReplacedMlp(Run run, Mlp mlp, List<Encoding> all, FirstToken firstToken) {
    this.run = run;
    this.mlp = mlp;
    this.firstToken = firstToken;
    this.writers = writers(all, mlp);
    this.place =
        writers.isEmpty() ? Place.of(Site.MLP_OUTPUT, mlp.layer()) : writers.get(0).of().place();
    for (Writer writer : writers) {
      requireArgument(
          writer.of().place().equals(place),
          "dictionaries write %s and %s: one replaces an MLP's output before its outlet, the"
              + " other after it",
          place,
          writer.of().place());
    }
    try (Scope scope = Scope.open()) {
      Tensor lacking = run.vectors(place);
      for (Writer writer : writers) {
        lacking = lacking.minus(writer.encoding.reconstruction(writer.decoder));
      }
      error = scope.keep(isConstant(0) ? withoutFirst(lacking) : lacking);
    }
  }

  private static List<Writer> writers(List<Encoding> all, Mlp mlp) {
    List<Writer> writers = new ArrayList<>();
    for (int i = 0; i < all.size(); i++) {
      List<Dictionary.Decoder> decoders = all.get(i).dictionary().decoders();
      for (int decoder = 0; decoder < decoders.size(); decoder++) {
        if (decoders.get(decoder).place().layer() == mlp.layer()) {
          writers.add(new Writer(i, all.get(i), decoder));
        }
      }
    }
    return List.copyOf(writers);
  }

  Mlp mlp() {
    return mlp;
  }

  /** What writes, in the order of dictionaries. */
  List<Writer> writers() {
    return writers;
  }

  /** What the MLP wrote and reconstructions lack, where dictionaries write, [token, dModel]. */
  Tensor error() {
    return error;
  }

  private boolean isConstant(int token) {
    return token == 0 && firstToken == FirstToken.CONSTANT;
  }

  private static Tensor withoutFirst(Tensor rows) {
    int tokens = rows.shape().size(0);
    return rows.slice(0, 1, tokens).pad(0, 1, tokens);
  }

  /** Vectors [.., token, dModel] where dictionaries write, in the stream. */
  private Tensor written(int first, Tensor vectors) {
    return place.site() == Site.MLP_OUTPUT || mlp.outlet().isNone()
        ? vectors
        : mlp.outlet().push(run, first, vectors);
  }

  /** What it adds of a stream of zeros without latents and errors, [token, dModel]. */
  Tensor constant() {
    try (Scope scope = Scope.open()) {
      Tensor sum = Tensor.zeros(error.dtype(), error.shape());
      for (Writer writer : writers) {
        sum = writer.bias().map(sum::plus).orElse(sum);
      }
      if (firstToken == FirstToken.CONSTANT) {
        Tensor first = run.vectors(place).slice(0, 0, 1);
        for (Writer writer : writers) {
          Tensor read = writer.encoding.input().slice(0, 0, 1);
          first = writer.passing(read).map(first::minus).orElse(first);
        }
        sum = withoutFirst(sum).plus(first.pad(0, 0, run.length()));
      }
      for (Writer writer : writers) {
        sum =
            HeldInput.of(run, writer.encoding.dictionary())
                .constant()
                .map(read -> read.reshape(1, read.shape().length()))
                .flatMap(writer::passing)
                .map(sum::plus)
                .orElse(sum);
      }
      Tensor written = written(0, sum);
      Optional<Tensor> bias =
          place.site() == Site.MLP_OUTPUT ? Optional.empty() : mlp.outlet().bias();
      return scope.keep(bias.map(written::plus).orElse(written));
    }
  }

  /** What a latent that is set adds, [token, dModel]. */
  Tensor added(ReplacementModel.Added edit) {
    try (Scope scope = Scope.open()) {
      Tensor sum = Tensor.zeros(error.dtype(), error.shape());
      for (Writer writer : writers) {
        Encoding encoding = writer.encoding;
        if (encoding.dictionary().id().equals(edit.dictionary())) {
          double change = edit.value() - encoding.value(edit.token(), edit.latent());
          Tensor row = encoding.rows(writer.decoder, edit.token(), edit.latent()).times(change);
          sum = sum.plus(row.pad(0, edit.token(), run.length()));
        }
      }
      return scope.keep(written(0, sum));
    }
  }

  /**
   * What sources at a token write: active latents by dictionary, then the error, [source, dModel].
   */
  Tensor rows(int token) {
    try (Scope scope = Scope.open()) {
      List<Tensor> parts = new ArrayList<>();
      for (Writer writer : writers) {
        int[] active = isConstant(token) ? new int[0] : writer.encoding.active(token);
        if (active.length > 0) {
          Tensor values = writer.encoding.values(token).reshape(active.length, 1);
          parts.add(writer.encoding.rows(writer.decoder, token, active).times(values));
        }
      }
      parts.add(error.slice(0, token, token + 1));
      Tensor all = Tensor.concat(0, parts);
      Shape perToken = Shape.of(all.shape().size(0), 1, all.shape().size(1));
      return scope.keep(written(token, all.reshape(perToken)).reshape(all.shape()));
    }
  }
}

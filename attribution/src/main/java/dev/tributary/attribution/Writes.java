package dev.tributary.attribution;

import dev.tributary.attribution.Node.Bias;
import dev.tributary.attribution.Node.BiasPart;
import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.PreBias;
import dev.tributary.attribution.Node.ReconstructionError;
import dev.tributary.attribution.Node.Source;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Block;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;

/**
 * What the nodes of a run add to the residual stream. With W the output weights of its block, a
 * neuron writes activation · W[neuron], a head at a pair probability · (value · W[head]) at the
 * query, an embedding and a bias themselves. Together they are the whole residual stream. A latent
 * writes its activation times its decoder row (through W if it encodes neurons); latents, errors
 * and pre-biases of an autoencoder say once more what the nodes of its site write.
 */
final class Writes {
  private final Run run;

  /**
   * What nodes write in a run.
   *
   * @throws IllegalArgumentException if the run was changed after its embeddings, so that this does
   *     not make up its residual stream
   */
  Writes(Run run) {
    run.requireComputed();
    this.run = run;
  }

  /** The write of one node, [dModel]. */
  Tensor of(Source source) {
    int dModel = run.model().config().dModel();
    Tensor row;
    if (source instanceof Embedding e) {
      row = token(embedding(e.part()), e.token());
    } else if (source instanceof Neuron n) {
      Tensor weight = mlp(n.layer()).output().weight();
      row =
          weight
              .slice(0, n.neuron(), n.neuron() + 1)
              .times(run.value(Site.MLP_ACTIVATION, n.layer()).get(n.token(), n.neuron()));
    } else if (source instanceof HeadPair p) {
      Tensor value = run.value(Site.VALUE, p.layer()).slice(0, p.head(), p.head() + 1);
      Tensor weight = attention(p.layer()).outputWeight().slice(0, p.head(), p.head() + 1);
      row =
          value
              .slice(1, p.key(), p.key() + 1)
              .matmul(weight)
              .times(run.value(Site.PATTERN, p.layer()).get(p.head(), p.query(), p.key()));
    } else if (source instanceof Bias b) {
      row = bias(b.part(), b.layer());
    } else {
      row = encoded(source);
    }
    return row.reshape(dModel);
  }

  /** The write of a latent, a reconstruction error or a pre-bias, [1, dModel]. */
  private Tensor encoded(Source source) {
    if (source instanceof Latent l) {
      Encoding encoding = run.encoding(l.site(), l.layer());
      double activation = encoding.latents().get(l.token(), l.latent());
      Tensor decoder = encoding.autoencoder().decoder();
      return toResidual(
          l.site(), l.layer(), decoder.slice(0, l.latent(), l.latent() + 1).times(activation));
    }
    if (source instanceof ReconstructionError e) {
      Tensor error = run.encoding(e.site(), e.layer()).error();
      return toResidual(e.site(), e.layer(), token(error, e.token()));
    }
    PreBias b = (PreBias) source;
    Tensor preBias = run.model().autoencoder(b.site(), b.layer()).preBias();
    return toResidual(b.site(), b.layer(), asRow(preBias));
  }

  /** What vectors at a site add to the residual stream, [row, n] to [row, dModel]. */
  Tensor toResidual(Site site, int layer, Tensor vectors) {
    return site == Site.MLP_ACTIVATION ? vectors.matmul(mlp(layer).output().weight()) : vectors;
  }

  /**
   * ⟨write, gradient⟩ of every node that writes before what the gradient reads, at the tokens it
   * reads.
   */
  EdgeScores dot(ResidualGradient gradient) {
    Tensor rows = gradient.rows();
    int from = gradient.firstToken();
    int to = gradient.endToken();
    UnaryOperator<Tensor> read = reading(rows);
    List<NodeArray> arrays = new ArrayList<>();
    for (EmbeddingPart part : List.of(EmbeddingPart.TOKEN, EmbeddingPart.POSITION)) {
      Tensor products = embedding(part).slice(0, from, to).times(rows).sum(-1);
      arrays.add(NodeArray.embeddings(part, from, products));
    }
    for (int layer = 0; layer < run.model().blocks().size(); layer++) {
      if (2 * layer + 1 <= gradient.afterBlock()) {
        Attention attention = attention(layer);
        Tensor weight = attention.outputWeight();
        int heads = attention.heads();
        int dHead = weight.shape().size(1);
        Tensor byHead =
            read.apply(weight.reshape(heads * dHead, weight.shape().size(2)))
                .reshape(to - from, heads, dHead)
                .permute(1, 0, 2);
        Tensor pattern = run.value(Site.PATTERN, layer).slice(1, from, to);
        Tensor products = byHead.matmulTransposed(run.value(Site.VALUE, layer)).times(pattern);
        arrays.add(NodeArray.headPairs(layer, from, 0, products));
        arrays.add(bias(BiasPart.ATTENTION, layer, gradient));
      }
      if (2 * layer + 2 <= gradient.afterBlock()) {
        Tensor activation = run.value(Site.MLP_ACTIVATION, layer).slice(0, from, to);
        Tensor products = read.apply(mlp(layer).output().weight()).times(activation);
        arrays.add(NodeArray.neurons(layer, from, products));
        arrays.add(bias(BiasPart.MLP, layer, gradient));
      }
    }
    for (Encoding encoding : run.encodings()) {
      SparseAutoencoder autoencoder = encoding.autoencoder();
      Site site = autoencoder.site();
      int layer = autoencoder.layer();
      if (new Latent(site, layer, 0, 0).block() <= gradient.afterBlock()) {
        Tensor atSite =
            site == Site.MLP_ACTIVATION ? read.apply(mlp(layer).output().weight()) : rows;
        arrays.add(NodeArray.latents(site, layer, from, ofLatents(encoding, from, atSite)));
        Tensor errors = encoding.error().slice(0, from, to).times(atSite).sum(-1);
        arrays.add(NodeArray.errors(site, layer, from, errors));
        arrays.add(
            NodeArray.preBiases(site, layer, from, atSite.times(autoencoder.preBias()).sum(-1)));
      }
    }
    return EdgeScores.from(run, arrays);
  }

  /**
   * How rows of a gradient read weights [n, dModel]: row · weight. All rows of a key are multiples
   * of one where the scale is held fixed, and then one row is multiplied instead of all.
   */
  private static UnaryOperator<Tensor> reading(Tensor rows) {
    double[] norms = rows.norm(-1).toDoubles();
    int longest = TopK.indices(norms, 1)[0];
    if (norms.length == 1 || norms[longest] == 0) {
      return rows::matmulTransposed;
    }
    Tensor one = token(rows, longest);
    Tensor factors = rows.matmulTransposed(one).times(1 / (norms[longest] * norms[longest]));
    double[] rests = rows.minus(factors.times(one)).norm(-1).toDoubles();
    double rounding = 16 * rows.dtype().epsilon() * norms[longest];
    return Arrays.stream(rests).allMatch(rest -> rest <= rounding)
        ? weight -> factors.times(one.matmulTransposed(weight))
        : rows::matmulTransposed;
  }

  /** ⟨latent · decoder row, gradient at the site⟩: only decoder rows of active latents are read. */
  private static Tensor ofLatents(Encoding encoding, int firstToken, Tensor read) {
    List<Tensor> products = new ArrayList<>();
    for (int row = 0; row < read.shape().size(0); row++) {
      Tensor latents = token(encoding.latents(), firstToken + row);
      int[] active = active(latents);
      Tensor decoder = encoding.autoencoder().decoder().gather(0, active);
      Tensor product = token(read, row).matmulTransposed(decoder).times(latents.gather(1, active));
      products.add(product.scatterAdd(1, latents.shape().size(1), active));
    }
    return Tensor.concat(0, products);
  }

  /** Indices of what is not zero in a row. */
  static int[] active(Tensor row) {
    double[] values = row.toDoubles();
    return IntStream.range(0, values.length).filter(i -> values[i] != 0).toArray();
  }

  private NodeArray bias(BiasPart part, int layer, ResidualGradient gradient) {
    Tensor products = gradient.rows().times(bias(part, layer)).sum(-1);
    return NodeArray.biases(part, layer, gradient.firstToken(), products);
  }

  /** Euclidean norm of every write, with the sign of the activation if there is one. */
  Readings norms() {
    List<NodeArray> arrays = new ArrayList<>();
    arrays.add(embeddingNorms(EmbeddingPart.TOKEN));
    arrays.add(embeddingNorms(EmbeddingPart.POSITION));
    for (int layer = 0; layer < run.model().blocks().size(); layer++) {
      Tensor written = run.value(Site.VALUE, layer).matmul(attention(layer).outputWeight());
      Tensor norm = written.norm(-1).permute(0, 2, 1);
      arrays.add(NodeArray.headPairs(layer, 0, 0, run.value(Site.PATTERN, layer).times(norm)));
      Tensor weight = mlp(layer).output().weight();
      Tensor rowNorm = weight.norm(-1).reshape(weight.shape().size(0));
      arrays.add(NodeArray.neurons(layer, 0, run.value(Site.MLP_ACTIVATION, layer).times(rowNorm)));
      for (BiasPart part : BiasPart.values()) {
        arrays.add(NodeArray.biases(part, layer, 0, atEveryToken(bias(part, layer).norm(-1))));
      }
    }
    for (Encoding encoding : run.encodings()) {
      Site site = encoding.autoencoder().site();
      int layer = encoding.autoencoder().layer();
      Tensor directions = toResidual(site, layer, encoding.autoencoder().decoder());
      Tensor norm = directions.norm(-1).reshape(directions.shape().size(0));
      arrays.add(NodeArray.latents(site, layer, 0, encoding.latents().times(norm)));
      Tensor errors = toResidual(site, layer, encoding.error()).norm(-1);
      arrays.add(NodeArray.errors(site, layer, 0, errors));
      Tensor preBias = toResidual(site, layer, asRow(encoding.autoencoder().preBias()));
      Tensor ofPreBias = preBias.norm(-1).reshape(1);
      arrays.add(NodeArray.preBiases(site, layer, 0, atEveryToken(ofPreBias)));
    }
    return new Readings(run, arrays, List.of(embeddingNorms(EmbeddingPart.BOTH)));
  }

  private NodeArray embeddingNorms(EmbeddingPart part) {
    return NodeArray.embeddings(part, 0, embedding(part).norm(-1));
  }

  private Tensor atEveryToken(Tensor number) {
    return number.broadcastTo(Shape.of(run.length()));
  }

  private static Tensor asRow(Tensor vector) {
    return vector.reshape(1, vector.shape().length());
  }

  private Tensor embedding(EmbeddingPart part) {
    return run.value(part.site());
  }

  Tensor bias(BiasPart part, int layer) {
    return bias(run, part, layer);
  }

  /** What a bias writes at every token of any run, [dModel]. */
  static Tensor bias(Run run, BiasPart part, int layer) {
    Block block = run.model().block(layer);
    return switch (part) {
      case ATTENTION -> block.attention().outputBias();
      case MLP -> block.mlp().output().bias();
    };
  }

  private static Tensor token(Tensor rows, int token) {
    return rows.slice(0, token, token + 1);
  }

  private Attention attention(int layer) {
    return run.model().block(layer).attention();
  }

  private Mlp mlp(int layer) {
    return run.model().block(layer).mlp();
  }
}

package dev.tributary.attribution;

import dev.tributary.attribution.Node.Bias;
import dev.tributary.attribution.Node.BiasPart;
import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.Source;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Block;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.List;

/**
 * What the nodes of a run add to the residual stream. With W the output weights of its block, a
 * neuron writes activation · W[neuron], a head at a pair probability · (value · W[head]) at the
 * query, an embedding and a bias themselves. Together they are the whole residual stream.
 */
final class Writes {
  private final Run run;

  Writes(Run run) {
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
      throw new AssertionError(source);
    }
    return row.reshape(dModel);
  }

  /**
   * ⟨write, gradient⟩ of every node that writes before what the gradient reads, at the tokens it
   * reads.
   */
  NodeScores dot(ResidualGradient gradient) {
    Tensor rows = gradient.rows();
    int from = gradient.firstToken();
    int to = gradient.endToken();
    List<NodeArray> arrays = new ArrayList<>();
    for (EmbeddingPart part : List.of(EmbeddingPart.TOKEN, EmbeddingPart.POSITION)) {
      Tensor products = embedding(part).slice(0, from, to).times(rows).sum(-1);
      arrays.add(NodeArray.embeddings(part, from, products));
    }
    for (Block block : run.model().blocks()) {
      int layer = run.model().blocks().indexOf(block);
      if (2 * layer + 1 <= gradient.afterBlock()) {
        Attention attention = block.attention();
        Tensor weight = attention.outputWeight();
        int heads = attention.heads();
        int dHead = weight.shape().size(1);
        Tensor read =
            rows.matmulTransposed(weight.reshape(heads * dHead, weight.shape().size(2)))
                .reshape(to - from, heads, dHead)
                .permute(1, 0, 2);
        Tensor pattern = run.value(Site.PATTERN, layer).slice(1, from, to);
        Tensor products = read.matmulTransposed(run.value(Site.VALUE, layer)).times(pattern);
        arrays.add(NodeArray.headPairs(layer, from, 0, products));
        arrays.add(bias(BiasPart.ATTENTION, layer, gradient));
      }
      if (2 * layer + 2 <= gradient.afterBlock()) {
        Tensor activation = run.value(Site.MLP_ACTIVATION, layer).slice(0, from, to);
        Tensor products = rows.matmulTransposed(block.mlp().output().weight()).times(activation);
        arrays.add(NodeArray.neurons(layer, from, products));
        arrays.add(bias(BiasPart.MLP, layer, gradient));
      }
    }
    return new NodeScores(run, arrays);
  }

  private NodeArray bias(BiasPart part, int layer, ResidualGradient gradient) {
    Tensor products = gradient.rows().times(bias(part, layer)).sum(-1);
    return NodeArray.biases(part, layer, gradient.firstToken(), products);
  }

  /** Euclidean norm of every write, with the sign of the activation. */
  NodeScores norms() {
    List<NodeArray> arrays = new ArrayList<>();
    for (EmbeddingPart part : List.of(EmbeddingPart.TOKEN, EmbeddingPart.POSITION)) {
      arrays.add(NodeArray.embeddings(part, 0, embedding(part).norm(-1)));
    }
    for (int layer = 0; layer < run.model().blocks().size(); layer++) {
      Tensor written = run.value(Site.VALUE, layer).matmul(attention(layer).outputWeight());
      Tensor norm = written.norm(-1).permute(0, 2, 1);
      arrays.add(NodeArray.headPairs(layer, 0, 0, run.value(Site.PATTERN, layer).times(norm)));
      Tensor weight = mlp(layer).output().weight();
      Tensor rowNorm = weight.norm(-1).reshape(weight.shape().size(0));
      arrays.add(NodeArray.neurons(layer, 0, run.value(Site.MLP_ACTIVATION, layer).times(rowNorm)));
      for (BiasPart part : BiasPart.values()) {
        Tensor norms = bias(part, layer).norm(-1).broadcastTo(Shape.of(run.length()));
        arrays.add(NodeArray.biases(part, layer, 0, norms));
      }
    }
    return new NodeScores(run, arrays);
  }

  private Tensor embedding(EmbeddingPart part) {
    return run.value(
        switch (part) {
          case TOKEN -> Site.TOKEN_EMBEDDING;
          case POSITION -> Site.POSITION_EMBEDDING;
          case BOTH -> Site.EMBEDDING;
        });
  }

  private Tensor bias(BiasPart part, int layer) {
    return switch (part) {
      case ATTENTION -> attention(layer).outputBias();
      case MLP -> mlp(layer).output().bias();
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

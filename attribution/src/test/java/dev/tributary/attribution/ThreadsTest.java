package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Models;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** A model shared by threads, each with a scope of its own, says what it says to one thread. */
class ThreadsTest {
  private static final int THREADS = 8;

  @Test
  void smallModel_eightThreads_equalOneBitByBit() throws Exception {
    TransformerConfig small = TransformerConfig.gpt2(3, 24, 4, 6, 96, 12, 50, 1e-5, true);
    try (Scope scope = Scope.open()) {
      requireEqual(Transformer.random(small, DType.FLOAT, 1), 200);
    }
  }

  @Test
  void textbook_eightThreads_equalOneBitByBit() throws Exception {
    try (Scope scope = Scope.open()) {
      requireEqual(Models.textbook().with(Dictionaries.textbook(DType.FLOAT)), 2);
    }
  }

  /** Wide enough that the matrix products of every thread are spread over threads themselves. */
  @Test
  void wideLayers_eightThreads_equalOneBitByBit() throws Exception {
    TransformerConfig wide = TransformerConfig.gpt2(2, 768, 12, 64, 3072, 64, 1000, 1e-5, true);
    try (Scope scope = Scope.open()) {
      requireEqual(Transformer.random(wide, DType.FLOAT, 1), 2);
    }
  }

  private static void requireEqual(Transformer model, int runs) throws Exception {
    Random random = new Random(1);
    List<int[]> prompts =
        IntStream.of(1, 3, 7, 12)
            .mapToObj(length -> random.ints(length, 0, model.config().vocabulary()).toArray())
            .toList();
    List<double[]> alone = prompts.stream().map(prompt -> everything(model, prompt)).toList();
    Scope.releaseUnused();
    long live = Scope.liveTensors();
    long reserved = Scope.reservedBytes();
    ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    try {
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int thread = 0; thread < THREADS; thread++) {
        int first = thread;
        tasks.add(
            () -> {
              for (int i = first; i < first + runs; i++) {
                int chosen = i % prompts.size();
                assertArrayEquals(
                    alone.get(chosen), everything(model, prompts.get(chosen)), 0, "run " + i);
              }
              return null;
            });
      }
      for (Future<Void> result : threads.invokeAll(tasks)) {
        result.get();
      }
    } finally {
      threads.shutdown();
    }
    assertEquals(live, Scope.liveTensors());
    Scope.releaseUnused();
    assertEquals(reserved, Scope.reservedBytes());
  }

  /** Logits, the gradient at every site, and edges of every kind in both directions. */
  private static double[] everything(Transformer model, int[] prompt) {
    try (Scope scope = Scope.open()) {
      Run run = model.run(prompt);
      int last = run.lastToken();
      NodeAttribution nodes = NodeAttribution.of(run, Metric.logitDifference(last, 1, 2));
      List<Tensor> tensors = new ArrayList<>();
      tensors.add(model.logits(prompt));
      for (Place place : run.places()) {
        tensors.add(run.value(place));
        tensors.add(nodes.gradient(place));
      }
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      HeadPair pair = new HeadPair(1, 3, last, last / 2);
      nodes.activationTimesGradient().arrays().forEach(array -> tensors.add(array.values()));
      List<EdgeScores> scores =
          List.of(
              edges.into(new Neuron(1, last, 5)),
              edges.into(pair.through(InputPath.QUERY)),
              edges.into(pair.through(InputPath.KEY)),
              edges.into(pair.through(InputPath.VALUE)),
              edges.outOf(new Neuron(0, last / 2, 5)));
      scores.forEach(s -> s.arrays().forEach(array -> tensors.add(array.values())));
      tensors.add(
          edges.between(
              List.of(new Neuron(0, last, 1), new Neuron(0, last, 2), pair),
              List.of(new Neuron(1, last, 3), new Neuron(1, last, 4))));
      return tensors.stream().flatMapToDouble(t -> DoubleStream.of(t.toDoubles())).toArray();
    }
  }
}

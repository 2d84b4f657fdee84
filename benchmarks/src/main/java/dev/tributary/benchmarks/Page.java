package dev.tributary.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.style.Styler;

/** The page that says what was measured, with its charts. No number in it is typed by hand. */
final class Page {
  /** Length of the prompt at which directions are counted. */
  static final int DIRECTION_TOKENS = 16;

  /** Length of the prompt all edges of which are searched. */
  static final int SEARCH_TOKENS = 64;

  private static final int[] LENGTHS = {16, 64, 256};
  private static final int[] DIRECTIONS = {1, 8, 64};
  private static final int ONE_BY_ONE = 8;
  private static final String PEAK = "peak memory, MB";
  private static final String MISSING = "–";

  private final Path results;
  private final Path output;
  private final StringBuilder text = new StringBuilder();

  Page(Path results, Path output) {
    this.results = results;
    this.output = output;
  }

  /** Writes it. */
  void write() throws IOException {
    text.append(
        """
        # Measurements

        Written by the class `Report` from what JMH measured; no number here was typed by hand. GPT-2 small means a random
        model of its shape: 12 layers, dModel 768, 12 heads, 50,257 words, FLOAT. Times are medians. Every ratio is between
        numbers of one run.

        ```
        mvn -q -B -Ppeers -DskipTests -DskipChecks package                           # -Ppeers fetches PyTorch, 111 MB
        java -cp benchmarks/target/benchmarks.jar dev.tributary.benchmarks.Report --output benchmarks
        ```

        """);
    machine();
    peers();
    dataset();
    onePass();
    edges();
    directions();
    search();
    replacement();
    matmul();
    kernels();
    gpu();
    Files.writeString(output.resolve("README.md"), text.toString().stripTrailing() + "\n");
  }

  private void machine() throws IOException {
    JsonNode machine = Machine.read(results);
    List<String> names = new ArrayList<>();
    machine.fieldNames().forEachRemaining(names::add);
    row("on", "");
    rule(2);
    for (String name : names) {
      row(name, machine.path(name).asText());
    }
    text.append("\n");
  }

  private Measurements measured(String... stages) throws IOException {
    return Measurements.read(
        Arrays.stream(stages).map(s -> results.resolve(s + ".json")).toArray(Path[]::new));
  }

  // ---- sections ----------------------------------------------------------------------------

  private void peers() throws IOException {
    if (measured("peers", "peers-smollm2").isEmpty()) {
      return;
    }
    heading(
        "Beside PyTorch",
        "PeerBenchmark",
        """
        The same model in Java with DJL and PyTorch 2.7.1: its fused linear layers and layer norms, in place where no
        gradient needs the operand, memory freed after every layer. Logits, values at nine or ten sites of every layer,
        gradients at nine of GPT-2 and of SmolLM2 at patterns, neurons and residual streams, and all edges, are compared
        before anything is timed. PyTorch ran twice, with its threads spinning (its default) and with
        `OMP_WAIT_POLICY=passive`; its time here is the better. *Gradient* is a pass and the gradient of a logit difference at
        every site; *into a neuron*, the edges from all heads and neurons into one of layer 9 (SmolLM2: 25), which
        PyTorch computes restricted by hand to what that neuron reads. On the right the same with both held to AVX2
        (`DNNL_MAX_CPU_ISA=AVX2`, `-XX:UseAVX=2`; `ATEN_CPU_CAPABILITY=avx2`, `MKL_ENABLE_INSTRUCTIONS=AVX2`).
        """);
    peers("peers", "GPT-2 small");
    peers("peers-smollm2", "SmolLM2");
  }

  private void peers(String stage, String model) throws IOException {
    Peers own = new Peers(measured(stage), measured(stage + "-passive"));
    Peers avx2 = new Peers(measured(stage + "-avx2"), measured(stage + "-avx2-passive"));
    if (own.spinning.isEmpty()) {
      return;
    }
    String[][] works = {
      {"forwardLast", "logits of the last position"},
      {"forwardAll", "logits of all positions"},
      {"gradient", "gradient at every site"},
      {"intoNeuron", "into a neuron"}
    };
    row(
        model + ", ms",
        "tokens",
        "Tributary",
        "PyTorch",
        "PyTorch / Tributary",
        "AVX2: Tributary",
        "PyTorch",
        "PyTorch / Tributary");
    rule(8);
    Chart chart = new Chart(model + ", as many times as fast as PyTorch", "PyTorch / Tributary");
    Chart held = new Chart("The same, held to AVX2", "PyTorch / Tributary");
    for (String[] work : works) {
      List<String> names = new ArrayList<>();
      List<Double> ratios = new ArrayList<>();
      List<Double> heldRatios = new ArrayList<>();
      for (int length : LENGTHS) {
        if (own.ours(work[0], length).isPresent()) {
          row(
              work[1],
              Integer.toString(length),
              number(own.ours(work[0], length)),
              number(own.theirs(work[0], length)),
              times(own.ratio(work[0], length)),
              number(avx2.ours(work[0], length)),
              number(avx2.theirs(work[0], length)),
              times(avx2.ratio(work[0], length)));
          names.add(length + " tokens");
          ratios.add(own.ratio(work[0], length).orElse(0));
          heldRatios.add(avx2.ratio(work[0], length).orElse(0));
        }
      }
      chart.add(work[1], names, ratios);
      held.add(work[1], names, heldRatios);
    }
    chart.write(stage);
    if (!avx2.spinning.isEmpty()) {
      held.write(stage + "-avx2");
    }
  }

  /** Ours and PyTorch with one set of instructions. */
  private record Peers(Measurements spinning, Measurements passive) {
    OptionalDouble ours(String work, int length) {
      return spinning.milliseconds(work + "Tributary", Map.of("tokens", length));
    }

    OptionalDouble theirs(String work, int length) {
      Map<String, ?> at = Map.of("tokens", length);
      return smaller(
          spinning.milliseconds(work + "PyTorch", at), passive.milliseconds(work + "PyTorch", at));
    }

    OptionalDouble ratio(String work, int length) {
      return Page.ratio(theirs(work, length), ours(work, length));
    }
  }

  private void dataset() throws IOException {
    Measurements spinning = measured("dataset");
    Measurements passive = measured("dataset-passive");
    if (spinning.isEmpty()) {
      return;
    }
    heading(
        "Many prompts, beside PyTorch",
        "DatasetBenchmark",
        """
        Scores of all 32,491 edges among components of GPT-2 small, heads split in queries, keys and values, over 32 pairs of
        prompts of 16 tokens; neurons have the exact GELU, for which DJL calls one kernel of PyTorch. In PyTorch 32 pairs
        go through one pass, gain and mean of norms are folded into the weights of heads, and edges of a layer are one
        batch of matrix products. Means of scores and of magnitudes are compared before anything is timed; PyTorch ran
        twice, as above. EAP-IG is on the input, in 5 steps.
        """);
    row("ms", "Tributary", "PyTorch", "PyTorch / Tributary");
    rule(4);
    for (int steps : new int[] {0, 5}) {
      Map<String, ?> at = Map.of("steps", steps);
      OptionalDouble ours = spinning.milliseconds("scoreTributary", at);
      OptionalDouble theirs =
          smaller(
              spinning.milliseconds("scorePyTorch", at), passive.milliseconds("scorePyTorch", at));
      row(steps == 0 ? "EAP" : "EAP-IG", number(ours), number(theirs), times(ratio(theirs, ours)));
    }
    text.append("\n");
  }

  private void onePass() throws IOException {
    Measurements measured = measured("linearize");
    if (measured.isEmpty()) {
      return;
    }
    heading(
        "One pass, recorded, pushed and pulled",
        "LinearizeBenchmark",
        """
        Recording keeps every site and its derivative. A push goes from the embeddings to all logits, a pull back from all
        logits to the embeddings. Peak memory is of the whole process while it measures, with the JVM, the weights and one
        recorded run with its gradients.
        """);
    String[][] works = {
      {"forwardLast", "logits of the last position"},
      {"forwardAll", "logits of all positions"},
      {"forwardRecorded", "the same, recorded"},
      {"push", "one push"},
      {"pull", "one pull"},
      {"gradientOfAllSites", "recorded, and gradient at every site"}
    };
    row("ms", "tokens", "time", "of a forward pass", PEAK);
    rule(5);
    Chart chart = new Chart("GPT-2 small", "of a forward pass to all logits");
    for (String[] work : works) {
      List<String> names = new ArrayList<>();
      List<Double> ratios = new ArrayList<>();
      for (int length : LENGTHS) {
        Map<String, ?> at = Map.of("tokens", length);
        OptionalDouble time = measured.milliseconds(work[0], at);
        OptionalDouble ratio = ratio(time, measured.milliseconds("forwardAll", at));
        if (time.isPresent()) {
          row(
              work[1],
              Integer.toString(length),
              number(time),
              times(ratio),
              whole(measured.noted(Measured.PEAK, work[0], at)));
          names.add(length + " tokens");
          ratios.add(ratio.orElse(0));
        }
      }
      chart.add(work[1], names, ratios);
    }
    chart.write("one-pass");
  }

  private void edges() throws IOException {
    Measurements measured = measured("edges");
    if (measured.isEmpty()) {
      return;
    }
    heading(
        "Edges",
        "EdgeAttributionBenchmark",
        """
        All sources into one node of layer 9, one neuron of layer 2 out to all targets, and 64 neurons of layer 2 to 64 of
        layer 9. The scale of layer norms is detached.
        """);
    String[][] works = {
      {"intoNeuron", "into a neuron"},
      {"intoQuery", "into a query"},
      {"intoKey", "into a key"},
      {"intoValue", "into a value"},
      {"intoLatent", "into a latent"},
      {"intoMetric", "into the metric"},
      {"outOfNeuronAtLast", "out of a neuron at the last token"},
      {"outOfNeuronAtMiddle", "out of one at the middle token"},
      {"between1And1", "between 1 and 1"},
      {"between64And64", "between 64 and 64"}
    };
    row("", "tokens", "ms", "edges", "edges per second", PEAK);
    rule(6);
    Chart chart = new Chart("Edges of GPT-2 small", "ms");
    for (String[] work : works) {
      List<String> names = new ArrayList<>();
      List<Double> times = new ArrayList<>();
      for (int length : LENGTHS) {
        Map<String, ?> at = Map.of("tokens", length);
        OptionalDouble time = measured.milliseconds(work[0], at);
        OptionalDouble count = measured.noted(Measured.EDGES, work[0], at);
        if (time.isPresent()) {
          row(
              work[1],
              Integer.toString(length),
              number(time),
              whole(count),
              whole(scaled(ratio(count, time), 1000)),
              whole(measured.noted(Measured.PEAK, work[0], at)));
          names.add(length + " tokens");
          times.add(time.getAsDouble());
        }
      }
      chart.add(work[1], names, times);
    }
    chart.write("edges");
  }

  private void directions() throws IOException {
    Measurements measured = measured("directions", "one-by-one", "pairs");
    if (measured.isEmpty()) {
      return;
    }
    heading(
        "Many directions at once",
        "DirectionsBenchmark",
        String.format(
            Locale.ROOT,
            """
            At %d tokens: k directions through layers 3 to 9 together, and %d of them one by one.
            """,
            DIRECTION_TOKENS,
            ONE_BY_ONE));
    row("ms", "k = 1", "k = 8", "k = 64", "8 one by one", "as many times as fast together");
    rule(6);
    for (String way : List.of("push", "pull")) {
      List<String> cells = new ArrayList<>(List.of(way));
      for (int k : DIRECTIONS) {
        cells.add(number(measured.milliseconds(way + "Together", Map.of("k", k))));
      }
      OptionalDouble apart = measured.milliseconds(way + "OneByOne", Map.of("k", ONE_BY_ONE));
      cells.add(number(apart));
      cells.add(
          times(ratio(apart, measured.milliseconds(way + "Together", Map.of("k", ONE_BY_ONE)))));
      row(cells.toArray(String[]::new));
    }
    OptionalDouble into =
        scaled(measured.milliseconds("intoEach", Map.of("k", ONE_BY_ONE)), 1.0 / ONE_BY_ONE);
    OptionalDouble out =
        scaled(measured.milliseconds("outOfEach", Map.of("k", ONE_BY_ONE)), 1.0 / ONE_BY_ONE);
    text.append(
        String.format(
            Locale.ROOT,
            """

            Pull or push? All sources into one neuron of layer 9 take %s ms, one neuron of layer 2 out to all targets %s ms.
            So with n sources and m targets that are looked at one by one, pulling from the targets is faster while m is
            below %s n. What `between` takes, which pulls targets of one place together unless there are hundreds for each source:

            """,
            number(into),
            number(out),
            number(ratio(out, into))));
    row("ms", "1 target", "8 targets", "64 targets");
    rule(4);
    for (int sources : DIRECTIONS) {
      List<String> cells =
          new ArrayList<>(List.of(sources + (sources == 1 ? " source" : " sources")));
      for (int targets : DIRECTIONS) {
        cells.add(
            number(
                measured.milliseconds("between", Map.of("sources", sources, "targets", targets))));
      }
      row(cells.toArray(String[]::new));
    }
    text.append("\n");
  }

  private void search() throws IOException {
    Measurements measured = measured("search", "search-all");
    if (measured.isEmpty()) {
      return;
    }
    heading(
        "The largest edges of all",
        "EdgeSearchBenchmark",
        """
        The 10,000 largest of all edges: of GPT-2 small among neurons and between neurons and heads, of a random
        model of the shape of SmolLM2 (135 million parameters) among all nodes.
        """);
    row("of", "tokens", "seconds", "edges", "edges per second", PEAK);
    rule(6);
    searched(measured, "search", "GPT-2 small");
    searched(measured, "searchAll", "SmolLM2");
    text.append("\n");
  }

  private void searched(Measurements measured, String benchmark, String model) {
    Map<String, ?> at = Map.of("tokens", SEARCH_TOKENS);
    OptionalDouble time = measured.milliseconds(benchmark, at);
    OptionalDouble count = measured.noted(Measured.EDGES, benchmark, at);
    row(
        model,
        Integer.toString(SEARCH_TOKENS),
        number(scaled(time, 1e-3)),
        whole(count),
        whole(scaled(ratio(count, time), 1000)),
        whole(measured.noted(Measured.PEAK, benchmark, at)));
  }

  private void replacement() throws IOException {
    Measurements measured = measured("replacement");
    if (measured.isEmpty()) {
      return;
    }
    heading(
        "Replacement graphs",
        "ReplacementGraphBenchmark",
        """
        A run of 32 tokens and the whole graph of its replacement model, with 12 random transcoders of 4,096 latents, ten
        outputs and every active latent. *Plain products* are those alone that it takes if each row passes both
        projections of every attention below it, at tokens up to its own, and then meets what is active there.
        """);
    row("active latents", "seconds", "plain products", "edges", "edges per second", PEAK);
    rule(6);
    for (int active : new int[] {1391, 14_708}) {
      Map<String, ?> at = Map.of("active", active);
      OptionalDouble time = measured.milliseconds("graph", at);
      OptionalDouble count = measured.noted(Measured.EDGES, "graph", at);
      List<String> cells = new ArrayList<>(List.of(String.format(Locale.ROOT, "%,d", active)));
      cells.add(number(scaled(time, 1e-3)));
      cells.add(number(scaled(measured.milliseconds("plainProducts", at), 1e-3)));
      cells.add(whole(count));
      cells.add(whole(scaled(ratio(count, time), 1000)));
      cells.add(whole(measured.noted(Measured.PEAK, "graph", at)));
      present(cells, 1);
    }
    text.append("\n");
  }

  private void matmul() throws IOException {
    Measurements measured = measured("matmul", "matmul-rows");
    if (measured.isEmpty()) {
      return;
    }
    heading(
        "Matrix products",
        "MatmulBenchmark",
        """
        Billions of multiplications and additions a second, each counted as one operation. *Forward* is x · W, *pull* is
        y · Wᵀ, with 64 rows in x unless said; 50257x768 is the embedding, whose *pull* computes logits. *mmul* is ND4J as most
        would write it, *ND4J* its fastest call, into a result made beforehand; ours make and free theirs.
        """);
    row("GFLOP/s", "rows", "Tributary", "BLAS call", "ND4J", "mmul");
    rule(6);
    Chart chart = new Chart("Matrix products of GPT-2 small, 64 rows", "GFLOP/s");
    List<String> names = new ArrayList<>();
    List<List<Double>> bars =
        List.of(new ArrayList<>(), new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
    String[] contenders = {"Tributary", "Blas", "Nd4j", "Nd4jMmul"};
    List<String> weights = List.of("768x768", "768x2304", "768x3072", "3072x768", "50257x768");
    for (String form : List.of("forward", "pull")) {
      for (String weight : weights) {
        int x = weight.indexOf('x');
        double size =
            Double.parseDouble(weight.substring(0, x))
                * Double.parseDouble(weight.substring(x + 1));
        for (int rows : LENGTHS) {
          List<String> cells =
              new ArrayList<>(List.of(form + " " + weight, Integer.toString(rows)));
          for (int i = 0; i < contenders.length; i++) {
            OptionalDouble rate =
                rate(
                    2 * size * rows,
                    measured.milliseconds(
                        form + contenders[i], Map.of("weight", weight, "rows", rows)));
            cells.add(whole(rate));
            if (rows == 64) {
              bars.get(i).add(rate.orElse(0));
            }
          }
          if (rows == 64) {
            names.add(form + " " + weight);
          }
          present(cells, 2);
        }
      }
    }
    for (String form : List.of("scores", "mixed")) {
      for (int rows : LENGTHS) {
        List<String> cells =
            new ArrayList<>(
                List.of(
                    form.equals("scores") ? "12 heads, Q · Kᵀ" : "12 heads, pattern · V",
                    Integer.toString(rows)));
        for (int i = 0; i < contenders.length; i++) {
          cells.add(
              whole(
                  rate(
                      2.0 * 12 * 64 * rows * rows,
                      measured.milliseconds(form + contenders[i], Map.of("rows", rows)))));
        }
        present(cells, 2);
      }
    }
    String[] legend = {"Tributary", "BLAS call", "ND4J", "mmul"};
    for (int i = 0; i < legend.length; i++) {
      chart.add(legend[i], names, bars.get(i));
    }
    chart.write("matmul");
  }

  private void kernels() throws IOException {
    Measurements measured = measured("kernels");
    if (measured.isEmpty()) {
      return;
    }
    heading(
        "Row kernels",
        "KernelBenchmark",
        """
        At 64 tokens, against the chain of ND4J operations that one would write; compared before they are timed. *Value* of
        ND4J includes what its derivative needs.
        """);
    row("µs", "Tributary", "recorded", "ND4J", "ND4J / Tributary");
    rule(5);
    List<String> names = new ArrayList<>();
    List<Double> ratios = new ArrayList<>();
    for (String function : List.of("gelu", "layerNorm", "causalSoftmax")) {
      for (String way : List.of("value", "push", "pull")) {
        Map<String, ?> at = Map.of("function", function);
        OptionalDouble ours = scaled(measured.milliseconds(way + "Tributary", at), 1000);
        OptionalDouble recorded =
            way.equals("value")
                ? scaled(measured.milliseconds("recordedTributary", at), 1000)
                : OptionalDouble.empty();
        OptionalDouble theirs = scaled(measured.milliseconds(way + "Nd4j", at), 1000);
        OptionalDouble ratio = ratio(theirs, recorded.isPresent() ? recorded : ours);
        row(function + ", " + way, whole(ours), whole(recorded), whole(theirs), times(ratio));
        names.add(function + ", " + way);
        ratios.add(ratio.orElse(0));
      }
    }
    Chart chart = new Chart("Row kernels, as many times as fast as ND4J", "ND4J / Tributary");
    chart.add("ND4J / Tributary", names, ratios);
    chart.write("kernels");
  }

  /** Of machines without Java: see {@link CudaTimes}. */
  private void gpu() {
    text.append(
        """

        ## On a GPU

        `cuda-check.sh` measures there, beside PyTorch on the same card: [docs/cuda.md](../docs/cuda.md) has what it said of
        an NVIDIA H200.
        """);
  }

  // ---- text --------------------------------------------------------------------------------

  private void heading(String title, String benchmark, String words) {
    text.append("## ").append(title).append("\n\n").append(words).append("\n");
    text.append("`java -jar benchmarks/target/benchmarks.jar ").append(benchmark).append("`\n\n");
  }

  private void row(String... cells) {
    text.append("| ").append(String.join(" | ", cells)).append(" |\n");
  }

  private void rule(int columns) {
    text.append("|---").append("|---:".repeat(columns - 1)).append("|\n");
  }

  /** A row, unless nothing was measured for it. */
  private void present(List<String> cells, int labels) {
    if (!cells.subList(labels, cells.size()).stream().allMatch(MISSING::equals)) {
      row(cells.toArray(String[]::new));
    }
  }

  private static String number(OptionalDouble value) {
    if (value.isEmpty()) {
      return MISSING;
    }
    double number = value.getAsDouble();
    String format = number >= 100 ? "%,.0f" : number >= 10 ? "%.1f" : "%.2f";
    return String.format(Locale.ROOT, format, number);
  }

  private static String whole(OptionalDouble value) {
    return value.isEmpty() ? MISSING : String.format(Locale.ROOT, "%,.0f", value.getAsDouble());
  }

  private static String times(OptionalDouble ratio) {
    return ratio.isEmpty() ? MISSING : String.format(Locale.ROOT, "%.2f", ratio.getAsDouble());
  }

  private static OptionalDouble ratio(OptionalDouble a, OptionalDouble b) {
    return a.isPresent() && b.isPresent()
        ? OptionalDouble.of(a.getAsDouble() / b.getAsDouble())
        : OptionalDouble.empty();
  }

  private static OptionalDouble scaled(OptionalDouble value, double by) {
    return value.isPresent() ? OptionalDouble.of(value.getAsDouble() * by) : value;
  }

  /** Billions a second. */
  private static OptionalDouble rate(double operations, OptionalDouble milliseconds) {
    return milliseconds.isPresent()
        ? OptionalDouble.of(operations / milliseconds.getAsDouble() / 1e6)
        : milliseconds;
  }

  private static OptionalDouble smaller(OptionalDouble a, OptionalDouble b) {
    return a.isEmpty() || (b.isPresent() && b.getAsDouble() < a.getAsDouble()) ? b : a;
  }

  /** A chart of bars, and its place in the text. */
  private final class Chart {
    private static final int WIDTH = 1000;
    private static final int HEIGHT = 420;

    private final CategoryChart chart;
    private final String title;

    Chart(String title, String unit) {
      this.title = title;
      chart =
          new CategoryChartBuilder()
              .width(WIDTH)
              .height(HEIGHT)
              .title(title)
              .yAxisTitle(unit)
              .build();
      chart.getStyler().setLegendPosition(Styler.LegendPosition.OutsideE);
      chart.getStyler().setAvailableSpaceFill(0.85);
      chart.getStyler().setXAxisLabelRotation(0);
      chart.getStyler().setChartBackgroundColor(java.awt.Color.WHITE);
    }

    void add(String name, List<String> categories, List<Double> values) {
      if (!categories.isEmpty()) {
        chart.addSeries(name, categories, values);
        if (categories.size() > LENGTHS.length) {
          chart.getStyler().setXAxisLabelRotation(30);
        }
      }
    }

    void write(String name) throws IOException {
      text.append("\n");
      if (!chart.getSeriesMap().isEmpty()) {
        Path folder = Files.createDirectories(output.resolve("charts"));
        BitmapEncoder.saveBitmap(chart, folder.resolve(name).toString(), BitmapFormat.PNG);
        text.append("![").append(title).append("](charts/").append(name).append(".png)\n\n");
      }
    }
  }
}

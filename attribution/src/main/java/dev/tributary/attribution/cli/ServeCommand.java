package dev.tributary.attribution.cli;

import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.server.Server;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Answers questions over HTTP until it is ended. */
@Command(
    name = "serve",
    header = "A page on which to ask a model, and answers for programs, over HTTP.",
    description = {
      "Reads the model, then prints one line, an address to open in a browser, with a token that"
          + " every question needs; ends when the process is told to. docs/server.md says what"
          + " programs can ask."
    },
    sortOptions = false,
    sortSynopsis = false)
final class ServeCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Mixin private final ModelOptions model = new ModelOptions();

  @Mixin private final ExplainedDictionaries dictionaries = new ExplainedDictionaries();

  @Option(
      names = "--transcoders",
      paramLabel = "DIR",
      description = "Folder with transcoders for replacement graphs, as for graph.")
  private Optional<String> transcoders = Optional.empty();

  @Option(
      names = "--host",
      paramLabel = "ADDRESS",
      description =
          "Address of this machine to answer at. Others than this machine can ask only if it is"
              + " theirs to reach. Default: ${DEFAULT-VALUE}.")
  private String host = "127.0.0.1";

  @Option(
      names = "--port",
      paramLabel = "N",
      description = "Port to answer at, 0 for any that is free. Default: ${DEFAULT-VALUE}.")
  private int port = 8042;

  ServeCommand(PrintWriter out) {
    this.out = out;
  }

  @Override
  public Integer call() throws IOException {
    ModelChoice choice = dictionaries.of(model.choice());
    choice = transcoders.map(choice::withTranscoders).orElse(choice);
    CountDownLatch end = new CountDownLatch(1);
    CountDownLatch ended = new CountDownLatch(1);
    Thread hook =
        new Thread(
            () -> {
              end.countDown();
              await(ended);
            });
    try (TerminalProgress progress = TerminalProgress.start();
        Session session = Session.open(choice);
        Server server = Server.open(session, host, port)) {
      server.prepare(progress);
      progress.close();
      Runtime.getRuntime().addShutdownHook(hook); // before, nobody has asked
      out.println(server.address());
      out.flush();
      await(end);
    } finally {
      ended.countDown();
    }
    return ExitCode.OK;
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}

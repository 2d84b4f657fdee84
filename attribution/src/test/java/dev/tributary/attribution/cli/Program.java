package dev.tributary.attribution.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** The program as a process of its own. */
record Program(int exitCode, String out, String err) {
  /**
   * Runs it, by way of a file of commands, which holds any character whatever the locale of this
   * process is.
   *
   * @param environment what differs from ours
   * @param folder in which it runs
   * @param scratch folder for our files
   */
  static Program run(
      List<String> arguments, Map<String, String> environment, Path folder, Path scratch)
      throws IOException, InterruptedException {
    return run("", arguments, environment, folder, scratch);
  }

  /**
   * The same behind a command of the shell.
   *
   * @param before that is run first, and ends with a newline
   */
  static Program run(
      String before,
      List<String> arguments,
      Map<String, String> environment,
      Path folder,
      Path scratch)
      throws IOException, InterruptedException {
    List<String> words =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1", // it is done before more would pay
                "-classpath",
                System.getProperty("java.class.path"),
                Main.class.getName()));
    words.addAll(arguments);
    Path commands =
        Files.writeString(
            scratch.resolve("commands"),
            words.stream()
                .map(word -> "'" + word.replace("'", "'\\''") + "'")
                .collect(Collectors.joining(" ", before + "exec ", "\n")));
    Path out = scratch.resolve("out");
    Path err = scratch.resolve("err");
    ProcessBuilder builder =
        new ProcessBuilder("sh", commands.toString())
            .directory(folder.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    builder.environment().remove("MAVEN_CMD_LINE_ARGS"); // of these tests
    builder.environment().putAll(environment);
    return new Program(builder.start().waitFor(), text(out), text(err));
  }

  private static String text(Path file) throws IOException {
    return new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
  }
}

package dev.tributary.attribution.cli;

import dev.tributary.core.Device;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.AutoComplete.GenerateCompletion;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.IExecutionStrategy;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.RunLast;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.UnmatchedArgumentException;

/**
 * The program {@code tributary}. Results go to standard output; a mistake of the caller is one
 * sentence on standard error and exit code 2, anything else that fails exit code 1.
 */
@Command(
    name = "tributary",
    header = "How much each part of a transformer contributed to what it did.",
    mixinStandardHelpOptions = true,
    scope = ScopeType.INHERIT,
    versionProvider = Main.Version.class)
public final class Main {
  private Main() {}

  /**
   * Runs the command that the arguments name and ends the process with its exit code.
   *
   * @param args a command and its options
   */
  public static void main(String[] args) {
    allowUnsafeMemory();
    Locale.setDefault(Locale.ROOT); // digits are those of names and files
    StandardOutput output = new StandardOutput();
    PrintWriter out = new PrintWriter(output, false, StandardCharsets.UTF_8);
    PrintWriter err =
        new PrintWriter(new FileOutputStream(FileDescriptor.err), false, StandardCharsets.UTF_8);
    int exitCode = runTyped(out, err, args);
    boolean lost = out.checkError();
    output.failure().ifPresent(err::println);
    err.flush();
    System.exit(lost ? ExitCode.SOFTWARE : exitCode);
  }

  /** Remembers why something could not be written, which a PrintWriter does not. */
  private static final class StandardOutput extends FilterOutputStream {
    private @Nullable IOException failure;

    StandardOutput() {
      super(new FileOutputStream(FileDescriptor.out));
    }

    @Override
    public void write(byte[] bytes, int from, int count) throws IOException {
      try {
        out.write(bytes, from, count);
      } catch (IOException e) {
        failure = e;
        throw e;
      }
    }

    /** In a sentence; nobody needs one who has closed a pipe, having read enough. */
    Optional<String> failure() {
      return Optional.ofNullable(failure)
          .map(e -> "standard output cannot be written: " + e.getMessage())
          .filter(sentence -> !sentence.toLowerCase(Locale.ROOT).contains("pipe"));
    }
  }

  private static int runTyped(PrintWriter out, PrintWriter err, String... args) {
    try {
      return run(out, err, PlatformText.arguments(args));
    } catch (IllegalArgumentException e) {
      return refuse(err, e);
    }
  }

  /** Like {@link #main}, with writers of the caller's and without ending the process. */
  static int run(PrintWriter out, PrintWriter err, String... args) {
    CommandLine commandLine =
        new CommandLine(new Main())
            .addSubcommand(new AttributeCommand(out))
            .addSubcommand(new AblateCommand(out))
            .addSubcommand(new GenerateCommand(out))
            .addSubcommand(new VerifyCommand(out))
            .addSubcommand(new AttentionCommand(out))
            .addSubcommand(new SearchCommand(out))
            .addSubcommand(new GraphCommand(out, err))
            .addSubcommand(DatasetCommand.of(out, err))
            .addSubcommand(new ViewCommand(out, err))
            .addSubcommand(new ServeCommand(out))
            .addSubcommand(new InspectCommand(out))
            .addSubcommand(new ConvertCommand(out))
            .addSubcommand(new CompletionCommand())
            .setOut(out)
            .setErr(err)
            .registerConverter(Path.class, PlatformText::path)
            .setCaseInsensitiveEnumValuesAllowed(true)
            .setExpandAtFiles(false) // a prompt may begin with @
            .setExecutionStrategy(Main::execute)
            .setParameterExceptionHandler((e, arguments) -> refuse(err, e))
            .setExecutionExceptionHandler((e, command, parsed) -> fail(err, e));
    OptionValues.apply(commandLine.getCommandSpec());
    if (args.length == 0) {
      commandLine.usage(out);
      return ExitCode.OK;
    }
    try {
      return commandLine.execute(args);
    } catch (OutOfMemoryError e) {
      err.println("there is not enough memory for this model and prompt");
      return ExitCode.SOFTWARE;
    } catch (Error e) { // or threads of native libraries keep the process alive
      e.printStackTrace(err);
      return ExitCode.SOFTWARE;
    }
  }

  /** Runs a command on the device that its options name. */
  private static int execute(ParseResult parsed) {
    Integer helped = CommandLine.executeHelpRequest(parsed);
    if (helped != null) {
      return helped;
    }
    ParseResult command = parsed;
    while (command.hasSubcommand()) {
      command = command.subcommand();
    }
    Optional<String> device = command.matchedOptionValue(ModelOptions.DEVICE, Optional.empty());
    IExecutionStrategy last = new RunLast();
    if (device.isEmpty()) {
      return last.execute(parsed);
    }
    Device named;
    try {
      named = Device.named(device.get());
    } catch (IllegalArgumentException e) {
      String message = "%s: %s".formatted(ModelOptions.DEVICE, e.getMessage());
      throw new ParameterException(command.commandSpec().commandLine(), message, e);
    }
    return named.during(() -> last.execute(parsed));
  }

  private static int fail(PrintWriter err, Exception e) {
    if (e instanceof IllegalArgumentException
        || e instanceof IOException
        || e instanceof UncheckedIOException) {
      return refuse(err, e);
    }
    if (e instanceof IllegalStateException) { // such as no device to compute on
      err.println(sentence(e));
    } else {
      e.printStackTrace(err);
    }
    return ExitCode.SOFTWARE;
  }

  private static int refuse(PrintWriter err, ParameterException e) {
    err.println(
        e instanceof UnmatchedArgumentException unmatched && !unmatched.isUnknownOption()
            ? unmatched(unmatched)
            : sentence(e));
    return ExitCode.USAGE;
  }

  private static String unmatched(UnmatchedArgumentException e) {
    String argument = e.getUnmatched().get(0);
    CommandLine command = e.getCommandLine();
    return command.getSubcommands().isEmpty()
        ? "\"%s\" is no option and no value of one: a text with spaces needs quotation marks"
            .formatted(argument)
        : "\"%s\" is no command of %s, which are %s"
            .formatted(
                argument,
                command.getCommandSpec().qualifiedName(),
                String.join(", ", command.getSubcommands().keySet()));
  }

  private static int refuse(PrintWriter err, Exception e) {
    err.println(sentence(e));
    return ExitCode.USAGE;
  }

  private static String sentence(Exception e) {
    Throwable told =
        e instanceof UncheckedIOException ? Objects.requireNonNullElse(e.getCause(), e) : e;
    String words =
        told instanceof InvalidPathException name
            ? PlatformText.refused(name)
            : Objects.requireNonNullElse(told.getMessage(), told.getClass().getSimpleName());
    return PlatformText.explained(words.strip().replaceAll("\\s*\\R\\s*", " "));
  }

  /**
   * From JDK 24 on, four lines on standard error tell the user that the bridge to native code reads
   * memory through sun.misc.Unsafe. The flag that allows it belongs to the command line of the JVM,
   * out of reach of {@code java -jar}, so what remembers that the warning was given is set
   * beforehand. A JVM without it does not warn; one that hides it does, which harms nothing but the
   * eye.
   */
  private static void allowUnsafeMemory() {
    try {
      Field warned = Class.forName("sun.misc.Unsafe").getDeclaredField("memoryAccessWarned");
      warned.setAccessible(true);
      warned.setBoolean(null, true);
    } catch (ReflectiveOperationException | RuntimeException e) {
      return;
    }
  }

  /** Prints what a shell needs to complete the commands of this program. */
  @Command(
      name = "generate-completion",
      header = "Writes a script that completes commands and options in bash and zsh.",
      footer = {"", "Example:", "  source <(tributary generate-completion)"})
  static final class CompletionCommand extends GenerateCompletion {}

  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      String version = Main.class.getPackage().getImplementationVersion();
      return new String[] {"tributary " + (version == null ? "(not packaged)" : version)};
    }
  }
}

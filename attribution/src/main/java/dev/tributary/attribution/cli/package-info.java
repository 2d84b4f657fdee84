/**
 * The command line. {@link dev.tributary.attribution.cli.Main} is the program; each of its commands
 * is a class of that name. Those about a run begin with {@code SubjectOptions}, which load a model
 * and open a {@code Subject}, and end with a {@code TextReport} or a {@code JsonReport}; {@code
 * TerminalProgress} says how far slow work has come. {@code InspectCommand} and {@code
 * ConvertCommand} are about files alone.
 */
@NullMarked
package dev.tributary.attribution.cli;

import org.jspecify.annotations.NullMarked;

/**
 * The command line. {@link dev.tributary.attribution.cli.Main} is the program; each of its commands
 * is a class of that name. Those about a run make a question of their options, ask it of a {@link
 * dev.tributary.attribution.explain.Session} and print the answer as text or as JSON; {@code
 * TerminalProgress} says how far slow work has come. {@code InspectCommand} and {@code
 * ConvertCommand} are about files alone.
 */
@NullMarked
package dev.tributary.attribution.cli;

import org.jspecify.annotations.NullMarked;

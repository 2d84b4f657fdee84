/**
 * The command line. {@link dev.tributary.attribution.cli.Main} is the program, {@code
 * AttributeCommand} its one command: it asks {@code Explainer} for an {@code Explanation}, which
 * {@code TextReport} or {@code JsonReport} prints. {@code TerminalProgress} says how far slow work
 * has come. {@code InspectCommand} and {@code ConvertCommand} are about files alone.
 */
@NullMarked
package dev.tributary.attribution.cli;

import org.jspecify.annotations.NullMarked;

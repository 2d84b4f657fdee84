/**
 * Measurements, one class per question, each with its command, and {@link
 * dev.tributary.benchmarks.Report}, which runs them all and writes the page with their results.
 * Ratios within one run are what counts: the machine may be busy with something else in the next.
 */
@NullMarked
package dev.tributary.benchmarks;

import org.jspecify.annotations.NullMarked;

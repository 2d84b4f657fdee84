/**
 * Measurements, one class per question, each with its command. Ratios within one run are what
 * counts: the machine may be busy with something else in the next.
 */
@NullMarked
package dev.tributary.benchmarks;

import org.jspecify.annotations.NullMarked;

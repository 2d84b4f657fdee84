/**
 * Asking a model: a {@link dev.tributary.attribution.explain.Session} answers {@link
 * dev.tributary.attribution.explain.Question}s about a {@link
 * dev.tributary.attribution.explain.Subject}, each a record with its answer in one file. Answers
 * are numbers and names; the command line, files and pages are made of them.
 */
@NullMarked
package dev.tributary.attribution.explain;

import org.jspecify.annotations.NullMarked;

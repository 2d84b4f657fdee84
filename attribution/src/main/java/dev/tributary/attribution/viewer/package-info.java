/**
 * A circuit as a picture: {@link dev.tributary.attribution.viewer.CircuitPage} writes one page for
 * a browser. What the page is lies beside it, as resources: {@code viewer.html} and {@code
 * viewer.css}; {@code circuit.js} reads a circuit and gives its nodes places, {@code parts.js} says
 * how nodes and tokens are shown, {@code viewer.js} draws it and answers the reader. {@link
 * dev.tributary.attribution.viewer.ExplorePage} asks a server while one looks at it: {@code
 * explore.js} knows what the reader wants to see, {@code ask.js} asks for it, and a script for each
 * region of the page draws it. {@code page.html} is round the body of every page, {@code page.css}
 * and {@code page.js} are in all.
 */
@NullMarked
package dev.tributary.attribution.viewer;

import org.jspecify.annotations.NullMarked;

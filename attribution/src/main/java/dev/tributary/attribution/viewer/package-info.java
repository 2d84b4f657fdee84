/**
 * A circuit as a picture: {@link dev.tributary.attribution.viewer.CircuitPage} writes one page for
 * a browser. What the page is lies beside it, as resources: {@code viewer.html} and {@code
 * viewer.css}; {@code circuit.js} reads a circuit and gives its nodes places, {@code viewer.js}
 * draws it and answers the reader.
 */
@NullMarked
package dev.tributary.attribution.viewer;

import org.jspecify.annotations.NullMarked;

/**
 * A {@link dev.tributary.attribution.Circuit} as text that other programs read. Each format is made
 * of the circuit alone, and the same circuit is always the same text: {@link
 * dev.tributary.attribution.export.CircuitJson} is our own and can be read back, {@link
 * dev.tributary.attribution.export.AttributionGraphJson} what Neuronpedia and circuit-tracer show,
 * {@link dev.tributary.attribution.export.Dot} a drawing for GraphViz, {@link
 * dev.tributary.attribution.export.EdgeTable} a table.
 */
@NullMarked
package dev.tributary.attribution.export;

import org.jspecify.annotations.NullMarked;

/**
 * A {@link dev.tributary.attribution.server.Server} of a session for programs and pages of this
 * machine: {@code Gate} says who may ask, {@code FairQueue} who is next, {@code Inquiry} what has
 * become of a question, {@code EventStream} tells it. {@link
 * dev.tributary.attribution.viewer.ExplorePage} is the page that it shows. See docs/server.md.
 */
@NullMarked
package dev.tributary.attribution.server;

import org.jspecify.annotations.NullMarked;

package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;

/**
 * What a node adds to the residual stream at one token.
 *
 * @param point that it makes
 * @param token at which it is added, from 0
 * @param vector [dModel]
 */
public record Write(Point point, int token, Tensor vector) {}

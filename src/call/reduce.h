/* reduce.h: sums, products, extremes of an expression, without its array ever being made. */
#ifndef TINYWEAVE_REDUCE_H
#define TINYWEAVE_REDUCE_H

#include "evaluation.h"
#include "region.h"

/* Whether reduce_run may know how: a reduction of one array with no keywords but axis and keepdims. */
bool reduce_takes(const struct formula_node *node);

/* Computes such a reduction, whose operand is a region with its leaves' values: values[node] is set to what NumPy's
 * function gives for the operand's array, bit for bit. Returns REGION_REFUSED, with nothing done, where that is not
 * known how: the operand is then computed as an array, and NumPy reduces it. */
enum region_result reduce_run(struct evaluation *evaluation, int node, struct region *region);

#endif

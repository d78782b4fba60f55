/* search.h: argmin and argmax of an expression, without its array ever being made. */
#ifndef TINYWEAVE_SEARCH_H
#define TINYWEAVE_SEARCH_H

#include "evaluation.h"
#include "region.h"

/* Computes argmax, or argmin where `least`, of a region that NumPy would lay out in C's order, over all of it (axis
 * NULL or None) or along its last axis. As reduce_run: REGION_REFUSED where it is anything else. */
enum region_result search_run(struct evaluation *evaluation, int node, struct region *region,
                              bool least, PyObject *axis, bool keepdims);

#endif

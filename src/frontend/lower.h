/* lower.h: a typed graph -> C text: one loop over blocks that fit the L1 cache, a call a step. */
#ifndef TINYWEAVE_LOWER_H
#define TINYWEAVE_LOWER_H

#include "../unit.h"
#include "graph.h"

/* Elements of a block. */
int lower_block(const struct graph *graph);

/* Writes the unit, `void tw_kernel(void *, struct span *)`, whose operands are the graph's slots and then the
 * result. `scratch` gets the bytes of scratch memory it needs. Returns 0, or -1 when memory is out. */
int lower_unit(struct graph *graph, struct unit *unit, size_t *scratch);

#endif

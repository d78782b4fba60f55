/* blocks_level.h: what blocks.c takes from each compilation of blocks_level.c. */
#ifndef TINYWEAVE_BLOCKS_LEVEL_H
#define TINYWEAVE_BLOCKS_LEVEL_H

#include "blocks.h"

/* In the order of blocks.def; blocks_init sorts them by name. */
struct block_level {
    const char *name;
    struct block_primitive *primitives;
    size_t count;
};

#ifdef __x86_64__
extern struct block_level blocks_v2, blocks_v3, blocks_v4;
#else
extern struct block_level blocks_generic;
#endif

#endif

/* blocks.c: the levels of block primitives: which one this processor runs, and names in it. */
#include "blocks.h"

#include <stdlib.h>
#include <string.h>

#include "blocks_level.h"

/* ---- The levels, lowest first ---- */

#ifdef __x86_64__
static struct block_level *const LEVELS[] = {&blocks_v2, &blocks_v3, &blocks_v4};

static bool
level_runs(size_t level)
{
    switch (level) {
    case 0:
        return __builtin_cpu_supports("x86-64-v2");
    case 1:
        return __builtin_cpu_supports("x86-64-v3");
    default:
        return __builtin_cpu_supports("x86-64-v4");
    }
}
#else
static struct block_level *const LEVELS[] = {&blocks_generic};

static bool
level_runs(size_t level)
{
    (void)level;
    return true;
}
#endif

enum { LEVEL_COUNT = sizeof(LEVELS) / sizeof(LEVELS[0]) };

/* A processor below the lowest level has no primitive. */
static struct block_level none = {"generic", NULL, 0};
static struct block_level *chosen = &none;

static int
compare_names(const void *a, const void *b)
{
    const struct block_primitive *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static int
compare_name(const void *key, const void *element)
{
    const struct block_primitive *primitive = element;
    return strcmp(key, primitive->name);
}

/* The highest level that runs and is not above TINYWEAVE_CPU_LEVEL, where that names one. */
static struct block_level *
choose_level(void)
{
    const char *highest = getenv("TINYWEAVE_CPU_LEVEL");
    struct block_level *best = &none;
    for (size_t i = 0; i < LEVEL_COUNT && level_runs(i); i++) {
        best = LEVELS[i];
        if (highest != NULL && strcmp(highest, best->name) == 0) {
            break;
        }
    }
    return best;
}

void
blocks_init(void)
{
    static bool done;
    if (done) {
        return;
    }
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        qsort(LEVELS[i]->primitives, LEVELS[i]->count, sizeof(struct block_primitive),
              compare_names);
    }
    chosen = choose_level();
    done = true;
}

const char *
blocks_level(void)
{
    return chosen->name;
}

const void *
blocks_find(const char *name)
{
    const struct block_primitive *found = bsearch(name, chosen->primitives, chosen->count,
                                                  sizeof(struct block_primitive), compare_name);
    return found == NULL ? NULL : found->address;
}

const struct block_primitive *
blocks_table(const char *level, size_t *count)
{
    for (size_t i = 0; i < LEVEL_COUNT && level_runs(i); i++) {
        if (strcmp(level, LEVELS[i]->name) == 0) {
            *count = LEVELS[i]->count;
            return LEVELS[i]->primitives;
        }
    }
    return NULL;
}

/* vectormath.c: libmvec, and the level whose functions are called. */
#include "vectormath.h"

#ifdef __x86_64__

#include <dlfcn.h>
#include <string.h>

#include "blocks.h"
#include "vectormath_level.h"

static struct vectormath_level *const LEVELS[] = {&vectormath_v2, &vectormath_v3, &vectormath_v4};

/* The level of that name, if the processor runs it. */
static struct vectormath_level *
find_level(const char *name)
{
    size_t count;
    for (size_t i = 0; i < sizeof(LEVELS) / sizeof(LEVELS[0]); i++) {
        if (strcmp(LEVELS[i]->name, name) == 0 && blocks_table(name, &count) != NULL) {
            return LEVELS[i];
        }
    }
    return NULL;
}

/* Never closed: its functions may be in use as long as the process lives. */
static void
open_level(struct vectormath_level *level)
{
    void *library = dlopen("libmvec.so.1", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library != NULL && i < level->count; i++) {
        *level->functions[i].address = dlsym(library, level->functions[i].symbol);
    }
    level->opened = true;
}

static const struct vector_function *
find_function(const struct vectormath_level *level, const char *name, const char *type)
{
    for (size_t i = 0; i < level->count; i++) {
        const struct vector_function *function = &level->functions[i];
        if (strcmp(function->name, name) == 0 && strcmp(function->type, type) == 0) {
            return *function->address != NULL ? function : NULL;
        }
    }
    return NULL;
}

const struct vector_function *
vectormath_find_level(const char *level_name, const char *name, const char *type)
{
    struct vectormath_level *level = find_level(level_name);
    if (level == NULL) {
        return NULL;
    }
    if (!level->opened) {
        open_level(level);
    }
    return find_function(level, name, type);
}

const struct vector_function *
vectormath_find(const char *name, const char *type)
{
    return vectormath_find_level(blocks_level(), name, type);
}

#else

const struct vector_function *
vectormath_find_level(const char *level, const char *name, const char *type)
{
    (void)level, (void)name, (void)type;
    return NULL;
}

const struct vector_function *
vectormath_find(const char *name, const char *type)
{
    return vectormath_find_level("", name, type);
}

#endif

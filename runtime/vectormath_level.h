/* vectormath_level.h: what vectormath.c takes from each compilation of vectormath_level.c. */
#ifndef TINYWEAVE_VECTORMATH_LEVEL_H
#define TINYWEAVE_VECTORMATH_LEVEL_H

#include <stdbool.h>

#include "vectormath.h"

struct vectormath_level {
    const char *name;
    const struct vector_function *functions;
    size_t count;
    bool opened;
};

extern struct vectormath_level vectormath_v2, vectormath_v3, vectormath_v4;

#endif

/* macros.h: macros that would nest too deeply for libtcc. */
#ifndef TINYWEAVE_MACROS_H
#define TINYWEAVE_MACROS_H

#include "lexer.h"

/* A macro may expand to so many brackets and operators: libtcc recurses on each that nests, some
 * hundred bytes a level, on a stack of 256 MiB. */
#define MACROS_LIMIT 100000

/* Looks through the #define lines of `count` scanned sources, macros in macros included (not what arguments
 * multiply). Returns 0; or -1 with the spot of the first that goes past MACROS_LIMIT or refers to more
 * than CHECK_DEPTH macros one inside the other (an empty message: no memory). */
int macros_check(const struct source *sources, size_t count, struct spot *spot);

#endif

/* standalone.h: a program as plain C that any compiler takes and that needs nothing of ours, and its header. */
#ifndef TINYWEAVE_STANDALONE_H
#define TINYWEAVE_STANDALONE_H

#include <stddef.h>

#include "../buffer.h"
#include "../unit.h"
#include "function.h"

struct standalone {
    struct buffer
        *units; /* the text of each translation unit, for each binding; the last is ours: what the
                             others may link to, but for tinyweave/complex.h, which is one more */
    size_t unit_count;
    struct strings exports;     /* the symbols that others may see */
    struct buffer includes;     /* of the header: its #include lines */
    struct buffer declarations; /* of the header: types and prototypes, with the user's comments */
};

/* NumPy's name of a dtype, "float64", by its number; NULL: C has none. */
const char *standalone_dtype(int type);

/* Writes the functions that Python can call and that the sources define. A generic one is there once for each
 * of the bindings (one at least; all of them, the first in front), as `add_float64`, `add_float32` ...; what is
 * not generic belongs to the first. Returns 0; or -1 with the spot of what needs Python or cannot be declared in
 * a header (an empty message: no memory). standalone_free is owed either way. */
int standalone_write(const struct program *program, const struct plans *plans,
                     const struct binding *bindings, size_t count, struct standalone *standalone,
                     struct spot *spot);
void standalone_free(struct standalone *standalone);

#endif

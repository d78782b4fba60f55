/* extension.h: the sources of a CPython extension module -> a unit (tw.extension). */
#ifndef TINYWEAVE_FRONTEND_EXTENSION_H
#define TINYWEAVE_FRONTEND_EXTENSION_H

#include <stdbool.h>
#include <stddef.h>

#include "../unit.h"
#include "preamble.h"

/* A translation unit of the module. */
struct module_text {
    struct source sources[PREAMBLE_TEXTS + 1]; /* macros, headers, the user's text */
    const char *folder;                        /* of the user's file; NULL: a text */
    struct source
        seen[PREAMBLE_TEXTS + 1]; /* the same, but "x.h" of that folder by its full path */
    struct buffer text;           /* of seen[PREAMBLE_TEXTS] */
    struct preamble preamble;
};

struct module_texts {
    struct module_text
        *items; /* sources and folder filled by the caller, not yet scanned; else zero */
    size_t count;
    const struct strings *include_dirs;
    bool compat; /* the sources are of the Python 2 age */
};

/* Reads and checks the sources. Returns 0, or -1 with the spot (an empty message: no memory). extension_free
 * is owed either way; it leaves the items themselves to the caller. */
int extension_read(struct module_texts *texts, struct spot *spot);
void extension_free(struct module_texts *texts);

/* Writes the unit: the texts as they are, macros and headers in front of each. `headers` as in preamble_unit.
 * Returns 0, or -1 when memory is out. */
int extension_unit(const struct module_texts *texts, struct unit *unit, struct buffer *headers);

/* Whether the sources use what only Python 2 had, and nothing of Python 3's modules: compat=True may help. */
bool extension_is_old(const struct module_texts *texts);

#endif

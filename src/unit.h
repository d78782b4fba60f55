/* unit.h: the unit of exchange. A front end makes a unit; the cache keys it, a back end compiles it
 * to an object, the loader turns the object into code.
 */
#ifndef TINYWEAVE_UNIT_H
#define TINYWEAVE_UNIT_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

struct strings {
    char **items; /* each NUL-terminated, owned */
    size_t count;
};

/* Appends a copy of `length` bytes. Returns 0, or -1 when memory is out. */
int strings_append(struct strings *strings, const char *string, size_t length);
void strings_free(struct strings *strings);

struct unit {
    struct buffer text; /* the whole C text, preludes and #line marks included; several translation
                           units have a NUL between them */
    struct strings
        include_dirs; /* the user's folders, searched for "x.h" and <x.h> before all others */
    struct strings
        system_dirs; /* the shims, Python's, NumPy's and libc's folders; empty when the text
                                    includes nothing, and then no file is opened */
    struct strings libraries; /* paths of the shared libraries the user named, resolved */
    struct buffer signature;  /* the arguments' names and types, for people and for the key */
    struct buffer options;    /* macros, headers and support code as given, for people */
    bool interpreter; /* sees all the interpreter exports (real Python.h, or an extension) */
    bool needs_gil;   /* runs with the GIL held, whatever it links to */
    bool strict;      /* what libtcc only warns of, and what ends in wrong numbers, is an error */
    bool extension;   /* a whole module: libc's own printf, an image for each use */
    bool unnamed_members; /* a struct's name alone is a member without a name (-fms-extensions) */
    bool uncacheable;     /* an include could not be followed: never kept on disk */
};

void unit_free(struct unit *unit);

#endif

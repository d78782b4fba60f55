/* include.h: what a unit's #include lines reach, for the key: the user's headers by their contents,
 * the system's by being named.
 */
#ifndef TINYWEAVE_INCLUDE_H
#define TINYWEAVE_INCLUDE_H

#include <limits.h>
#include <stdbool.h>

#include "../buffer.h"
#include "../unit.h"
#include "lexer.h"

struct includes {
    struct buffer
        contents;  /* for each of the user's headers reached, once, in order of first mention:
                               its path, a NUL, its contents' length as decimal text, a NUL, its contents */
    bool any;      /* at least one #include */
    bool computed; /* one names its file by a macro, or a file could not be read */
    bool python;   /* <Python.h> is reached (or a NumPy header, which includes it) */
    bool numpy;    /* a header under numpy/ is reached */
};

/* Follows the #include lines of `count` scanned sources textually (whatever #if says), through the
 * user's folders: "x.h" beside the including file first, then `folders`; <x.h> in `folders`. What is not
 * found there is the system's. Each file once, so circles end. Returns 0, or -1 when memory is out. */
int include_follow(const struct source *sources, size_t count, const struct strings *folders,
                   struct includes *includes);
void includes_free(struct includes *includes);

/* Where an #include looks, and what is done there. */
struct search {
    const struct strings *folders;
    int (*visit)(void *context, const char *path); /* 0: look on; NULL: a path too long */
    void *context;
};

/* Tries the places of the user's headers in their order, until one visit does not return 0. `from` is the path
 * of the including header; NULL: it stands in a source. Returns what the last visit returned. */
int include_search(const struct search *search, const char *name, bool quoted, const char *from);

/* The name in the third token of an #include line. Returns false when there is none as written: it is
 * computed by a macro, not closed, or too long. */
bool include_name(const struct token *token, char name[PATH_MAX]);

#endif

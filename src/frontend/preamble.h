/* preamble.h: what stands in a translation unit around the user's own text: declarations of the prelude's
 * names in use, the user's macros and headers, what Python's and NumPy's headers need.
 */
#ifndef TINYWEAVE_PREAMBLE_H
#define TINYWEAVE_PREAMBLE_H

#include <stdbool.h>
#include <stddef.h>

#include "../unit.h"
#include "include.h"
#include "names.h"

/* The first two texts of every translation unit; the user's own come behind. */
enum { PREAMBLE_MACROS, PREAMBLE_HEADERS, PREAMBLE_TEXTS };

struct preamble {
    const struct source *sources; /* scanned, in the order they stand in the unit */
    size_t count;
    size_t declaring; /* the first so many stand at file scope */
    const struct strings *include_dirs;
    struct names used;    /* every identifier of the sources */
    bool uses_everything; /* ## may paste any name together */
    struct names
        declared; /* what the texts at file scope declare: the prelude keeps out of its way */
    struct includes includes;
};

/* Looks through the sources. Returns 0, or -1 when memory is out; preamble_free is owed either way. */
int preamble_read(struct preamble *preamble);
void preamble_free(struct preamble *preamble);

/* Whether a text uses the name, as far as tokens tell. */
bool preamble_uses(const struct preamble *preamble, const char *name);

/* Appends the declarations of the prelude's names in use, and of those of `more` (ends with NULL). Returns
 * 0, or -1 when memory is out. */
int preamble_declare(const struct preamble *preamble, const char *const *more, struct buffer *text);

/* Appends a text with the #line mark that leads messages back to it. */
void preamble_append(const struct source *source, struct buffer *text);

/* Appends the macros and the headers, and Python's own headers in front of these where they are included;
 * then, behind the user's text, what NumPy's headers need there. */
void preamble_headers(const struct preamble *preamble, struct buffer *text);
void preamble_end(const struct preamble *preamble, struct buffer *text);

/* Notes in the unit what the sources ask for: folders, whether it may be cached, what it may see. `headers`
 * gets the contents of the user's headers appended, for the key. Called for each of the unit's translation
 * units. Returns 0, or -1 when memory is out. */
int preamble_unit(const struct preamble *preamble, struct unit *unit, struct buffer *headers);

#endif

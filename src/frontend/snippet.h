/* snippet.h: a C snippet and the types of its arguments -> a unit (tw.inline). */
#ifndef TINYWEAVE_SNIPPET_H
#define TINYWEAVE_SNIPPET_H

#include <stdbool.h>
#include <stddef.h>

#include "../call/arguments.h"
#include "../unit.h"
#include "preamble.h"

/* The texts of a snippet, in the order they stand in the unit. */
enum {
    SNIPPET_MACROS = PREAMBLE_MACROS,
    SNIPPET_HEADERS = PREAMBLE_HEADERS,
    SNIPPET_SUPPORT,
    SNIPPET_CODE,
    SNIPPET_SOURCES
};

struct snippet {
    struct source sources[SNIPPET_SOURCES];
    const char *const *names; /* of the arguments, UTF-8 */
    const struct argument_type *types;
    size_t count;
    const struct strings *include_dirs;
    bool plain; /* goes into a C file of its own: types are spelled out (snippet_function) */
    struct preamble preamble;
};

/* Room for the longest name an argument may have, with what is derived from it. */
#define SNIPPET_NAME_SIZE 300

/* Writes the name that argument `index` brings along: "N", a and "" make Na. */
void snippet_derive(const struct snippet *snippet, size_t index, const char *prefix,
                    const char *suffix, char name[SNIPPET_NAME_SIZE]);

bool snippet_is_keyword(const char *name);

/* Splits the texts into tokens and checks them; names are not looked at yet. Returns 0, or -1 with the
 * spot. Either way snippet_free is owed. */
int snippet_scan(struct snippet *snippet, struct spot *spot);
void snippet_free(struct snippet *snippet);

/* Checks that no argument is called like a C keyword, a prelude name or another argument's derived name
 * (Na, A1, py_a ...). Returns 0, or -1 with what to say. */
int snippet_check_names(const struct snippet *snippet, char message[300]);

/* Which of A1 ... A4 the snippet uses for argument `index`: bit k for Ak; 0 when it uses none or looks at
 * Da itself, and then an array of any number of dimensions will do. */
unsigned snippet_dimensions(const struct snippet *snippet, size_t index);

/* Writes the unit. `headers` receives the contents of the user's headers, for the key. The folders of system
 * headers are the caller's to add, where snippet->preamble.includes says `any`. Returns 0, or -1 with the
 * spot (an empty message: no memory). */
int snippet_unit(struct snippet *snippet, struct unit *unit, struct buffer *headers,
                 struct spot *spot);

/* Appends the snippet as a function of a C file that has the headers of Python and NumPy and
 * src/tinyweave/ext_tools.h:
 *
 *   static void
 *   NAME(struct tw_call *tw_call, const struct tw_argument *tw_args)
 *
 * The line behind the snippet's own text is `#line 1 "tw:generated"`. `headers` receives the contents of the
 * user's headers; snippet->plain is set. Returns as snippet_unit does. */
int snippet_function(struct snippet *snippet, const char *name, struct buffer *text,
                     struct buffer *headers, struct spot *spot);

#endif

/* pointers.h: a pointer where C wants a number. */
#ifndef TINYWEAVE_POINTERS_H
#define TINYWEAVE_POINTERS_H

#include <stdbool.h>

#include "lexer.h"

/* What a name stands for, as far as this check cares. */
enum name_sort {
    NAME_OTHER,
    NAME_POINTER,
    NAME_NUMBERS, /* pointer to numbers */
    NAME_FLOATING,
    NAME_COMPLEX,   /* a struct tw_complex or tw_complexf */
    NAME_COMPLEXES, /* pointer to these */
    NAME_UNSURE,    /* declared twice, or as something else: nothing is said of it */
};
typedef enum name_sort name_sorter(const void *context, const struct token *name);

/* libtcc turns a pointer into a double without a word where gcc refuses: sqrt(x), double d = x, x[0] = x,
 * -x and (double)x with x an array. Refuses these for the names `sort` knows, and for variables the source
 * declares as `double d` or `double *p`. What takes a compiler to see is not seen: the value of
 * a function, a member, a macro. Returns 0, or -1 with the spot. */
int pointers_check(const struct source *source, name_sorter *sort, const void *context,
                   struct spot *spot);

/* libtcc copies all of a complex number over a double where gcc refuses: d = z, double d = a[i], x[0] = *p. Refuses
 * these for the names that `sort` (NULL: none) knows, and for variables that the source declares with one of the
 * types named in `complexes` (NULL at the end). Returns 0, or -1 with the spot. */
int pointers_check_complex(const struct source *source, const char *const *complexes,
                           name_sorter *sort, const void *context, struct spot *spot);

#endif

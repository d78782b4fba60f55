/* pointers.h: a pointer where C wants a number. */
#ifndef TINYWEAVE_POINTERS_H
#define TINYWEAVE_POINTERS_H

#include <stdbool.h>

#include "lexer.h"

/* What a name of the snippet's stands for, as far as this check cares. */
enum name_sort { NAME_OTHER, NAME_POINTER, NAME_FLOATING };
typedef enum name_sort name_sorter(const void *context, const struct token *name);

/* libtcc turns a pointer into a double without a word where gcc refuses: sqrt(x), double d = x, -x and
 * (double)x with x an array. Refuses these for the names that are pointers. Returns 0, or -1 with the
 * spot. Pointers the user declares are not known here. */
int pointers_check(const struct source *source, name_sorter *sort, const void *context,
                   struct spot *spot);

#endif

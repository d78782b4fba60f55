/* casts.h: casts to structs. */
#ifndef TINYWEAVE_CASTS_H
#define TINYWEAVE_CASTS_H

#include "lexer.h"

/* C casts to numbers and pointers only. libtcc takes a cast to a struct or union without a word, and what comes of
 * (tw_complex)1 or (union u)1 is no value, or a crash. Refuses them: to types spelled by struct or union, to typedefs
 * of these in the same text, and to the types named in `names` (NULL at the end). What a macro hides is not seen. Returns 0,
 * or -1 with the spot (an empty message: no memory). */
extern const char *const COMPLEX_TYPES[]; /* tw_complex, tw_complexf */
int casts_check(const struct source *source, const char *const *names, struct spot *spot);

#endif

/* preprocess.h: the tokens that libtcc's parser gets: macros expanded, the branches of #if chosen, the
 * user's own headers read. For those who must read declarations; libtcc itself gets the text.
 */
#ifndef TINYWEAVE_PREPROCESS_H
#define TINYWEAVE_PREPROCESS_H

#include "../arena.h"
#include "include.h"
#include "lexer.h"

/* What #pragma pack says, from an item on. */
struct pack {
    size_t at;        /* of expanded's items */
    size_t alignment; /* no member is aligned to more; 0: no limit; or PACK_UNKNOWN */
};

/* The line was not understood: what a macro names, what only other compilers have. */
#define PACK_UNKNOWN ((size_t)-1)

/* A macro without parameters that is alive at the end, and what it expands to there. */
struct definition {
    struct token name;         /* behind its #define */
    const struct source *from; /* where that stands */
    struct token *items;       /* ends with TOKEN_END */
    size_t count;              /* without TOKEN_END */
};

/* A translation unit after preprocessing: no directives, no macros. `start` and `length` of a token are
 * where it is spelled, line continuations included: in a source, in a header's text (includes->contents), or
 * in memory of ours (made by # and ##). `line` and `column` are its place in `from`: of a token out of a
 * macro, the place of the outermost macro's name. `directive` is never set; `first` is set on the first
 * that a line leaves. */
struct expanded {
    struct token *items;        /* ends with TOKEN_END */
    const struct source **from; /* of each item: a source given, or a header; TOKEN_END's too */
    size_t count;               /* without TOKEN_END */
    struct pack *packs;         /* in order */
    size_t pack_count;
    struct definition
        *definitions; /* in order of their #defines; without libtcc's own, and without those that
                                       expand to nothing, to very much or to __LINE__ and its like */
    size_t definition_count;
    const struct source *
        *headers; /* the system's that were read, for preprocess_system: label is the path, text
                                      and length are its contents */
    size_t header_count;
    struct arena arena; /* what preprocess_free frees besides */
};

/* What #pragma pack says at an item: 0: nothing; or PACK_UNKNOWN. */
size_t expanded_pack(const struct expanded *expanded, size_t at);

/* Runs the `count` scanned sources one after the other, as they stand in the unit; a macro's call ends in
 * the source, or header, in which it began. Of #include only the user's headers are followed, whose
 * contents `includes` has, and only when named as written, not by a macro; what a system header defines
 * stays unexpanded, and undefined in #if. libtcc's own macros (__x86_64__, __TINYC__ ...) are known.
 * What is wrong in a directive (an #error, a malformed #if) is left for libtcc to tell: such an #if counts
 * as false. Calls with no end or with too few or too many arguments stay as they are.
 * `expanded` points into the sources and into `includes`, which must outlive it.
 * Returns 0; or -1 with the spot, always in a source given, of what goes past a limit: tokens expanded,
 * bytes spelled, calls or headers one in another (an empty message: no memory). */
int preprocess(const struct source *sources, size_t count, const struct includes *includes,
               const struct strings *folders, struct expanded *expanded, struct spot *spot);

/* As preprocess, with the system's headers followed too, #include_next and names made by macros as well: what is not
 * the user's is looked for in `system_folders`, in their order, as libtcc does (the shims, libtcc's own, libc's). A
 * header that is not there is left for libtcc to tell. What comes from the system's has source->system set.
 * Nothing is kept between calls: <zlib.h> takes some ms. */
int preprocess_system(const struct source *sources, size_t count, const struct includes *includes,
                      const struct strings *folders, const struct strings *system_folders,
                      struct expanded *expanded, struct spot *spot);

void preprocess_free(struct expanded *expanded);

#endif

/* names.h: a set of identifiers, spelled in texts that outlive it. */
#ifndef TINYWEAVE_NAMES_H
#define TINYWEAVE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "lexer.h"

struct name_text {
    const char *start;
    size_t length;
};

struct names {
    struct name_text *slots; /* open addressing; start NULL: free */
    size_t capacity;         /* a power of two */
    struct name_text *order; /* as first added */
    size_t count;
};

/* An empty set with room for `most` names. Returns 0, or -1 when memory is out. */
int names_init(struct names *names, size_t most);
void names_free(struct names *names);

void names_add(struct names *names, const char *start, size_t length);
bool names_have(const struct names *names, const char *start, size_t length);

#endif

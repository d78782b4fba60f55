/* names.c: a set of identifiers. */
#include "names.h"

#include <stdlib.h>
#include <string.h>

static size_t
hash_name(const char *start, size_t length)
{
    size_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)start[i]) * 1099511628211u;
    }
    return hash;
}

static struct name_text *
find_slot(const struct names *names, const char *start, size_t length)
{
    size_t mask = names->capacity - 1;
    size_t i = hash_name(start, length) & mask;
    while (names->slots[i].start != NULL && (names->slots[i].length != length ||
                                             memcmp(names->slots[i].start, start, length) != 0)) {
        i = (i + 1) & mask;
    }
    return &names->slots[i];
}

int
names_init(struct names *names, size_t most)
{
    *names = (struct names){.capacity = 64};
    while (names->capacity < 2 * most) {
        names->capacity *= 2;
    }
    names->slots = calloc(names->capacity, sizeof(*names->slots));
    names->order = calloc(most + 1, sizeof(*names->order));
    if (names->slots == NULL || names->order == NULL) {
        names_free(names);
        return -1;
    }
    return 0;
}

void
names_free(struct names *names)
{
    free(names->slots);
    free(names->order);
    *names = (struct names){0};
}

void
names_add(struct names *names, const char *start, size_t length)
{
    struct name_text *slot = find_slot(names, start, length);
    if (slot->start == NULL) {
        *slot = (struct name_text){start, length};
        names->order[names->count++] = *slot;
    }
}

bool
names_have(const struct names *names, const char *start, size_t length)
{
    return find_slot(names, start, length)->start != NULL;
}

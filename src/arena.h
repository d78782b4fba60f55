/* arena.h: memory freed at once. */
#ifndef TINYWEAVE_ARENA_H
#define TINYWEAVE_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_block *last; /* NULL: nothing taken yet */
};

/* `size` bytes, zero, aligned for any type; NULL when memory is out. */
void *arena_take(struct arena *arena, size_t size);

/* A copy of `length` bytes and a NUL; NULL when memory is out. */
char *arena_text(struct arena *arena, const char *text, size_t length);

void arena_free(struct arena *arena);

#endif

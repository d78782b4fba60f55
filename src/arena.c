/* arena.c: memory freed at once. */
#include "arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a block: a small unit needs a few. */
enum { BLOCK_SIZE = 1 << 14 };

struct arena_block {
    struct arena_block *before;
    size_t size, used;
    alignas(max_align_t) char bytes[];
};

void *
arena_take(struct arena *arena, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct arena_block *block = arena->last;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        block = calloc(1, sizeof(*block) + room);
        if (block == NULL) {
            return NULL;
        }
        block->before = arena->last;
        block->size = room;
        arena->last = block;
    }
    void *bytes = block->bytes + block->used;
    block->used += size;
    return bytes;
}

char *
arena_text(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_take(arena, length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
    }
    return copy;
}

void
arena_free(struct arena *arena)
{
    while (arena->last != NULL) {
        struct arena_block *before = arena->last->before;
        free(arena->last);
        arena->last = before;
    }
}

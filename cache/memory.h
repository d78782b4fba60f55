/* memory.h: the cache in memory: key -> what was loaded for it.
 *
 * An entry is embedded in what is cached and counted by references. The `limit` last used entries are
 * kept alive by the cache itself; older ones are found as long as somebody else holds them.
 * All functions are called with the GIL held. destroy() may call any of them but memory_free.
 */
#ifndef TINYWEAVE_MEMORY_H
#define TINYWEAVE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "key.h"

/* Whoever makes an entry sets key, references = 1 and destroy; all else is 0. */
struct memory_entry {
    uint8_t key[KEY_SIZE];
    size_t references;
    void (*destroy)(struct memory_entry *entry); /* called when the last reference goes */
    struct memory_entry *bucket_next;
    struct memory_entry *newer, *older; /* among those the cache keeps alive */
    int kept;
    int listed; /* stands in the table: findable */
};

struct memory {
    struct memory_entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;        /* entries in the table */
    size_t kept;
    size_t limit;
    size_t evictions; /* entries no longer kept because newer ones came */
    struct memory_entry *newest, *oldest;
};

/* Returns 0, or -1 when memory is out. */
int memory_init(struct memory *memory, size_t limit);

/* Lets go of every kept entry; entries others hold live on, unlisted. */
void memory_clear(struct memory *memory);

/* Clears and frees the table. Entries others hold may still be released afterwards. */
void memory_free(struct memory *memory);

/* Returns the entry with one more reference, as the most recently used; or NULL. */
struct memory_entry *memory_find(struct memory *memory, const uint8_t key[KEY_SIZE]);

/* Lists an entry (its key is set, references 1 is the caller's) and keeps it alive; an older one of
 * the same key is unlisted. */
void memory_insert(struct memory *memory, struct memory_entry *entry);

/* Marks an entry the caller holds as the most recently used, and keeps it alive again. An unlisted one
 * stays unlisted. */
void memory_touch(struct memory *memory, struct memory_entry *entry);

/* Gives one reference back. */
void memory_release(struct memory *memory, struct memory_entry *entry);

#endif

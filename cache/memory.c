/* memory.c: the cache in memory: a hash table, and the list of those it keeps alive.
 *
 * destroy() may call back into the table (a dropped Library drops its kernels). So every function
 * brings table and list in order first and gives references back last, one at a time.
 */
#include "memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKET_COUNT                                                                         \
    64 /* a power of two; doubled whenever there is more than one entry a bucket */

/* Keys are SHA-256, so any of their bytes are as good as a hash. */
static struct memory_entry **
bucket_of(const struct memory *memory, const uint8_t key[KEY_SIZE])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof(hash));
    return &memory->buckets[hash & (memory->bucket_count - 1)];
}

static struct memory_entry *
table_find(const struct memory *memory, const uint8_t key[KEY_SIZE])
{
    struct memory_entry *entry = *bucket_of(memory, key);
    while (entry != NULL && memcmp(entry->key, key, KEY_SIZE) != 0) {
        entry = entry->bucket_next;
    }
    return entry;
}

static void
table_link(struct memory *memory, struct memory_entry *entry)
{
    struct memory_entry **bucket = bucket_of(memory, entry->key);
    entry->bucket_next = *bucket;
    *bucket = entry;
}

/* Out of memory here only means longer chains. */
static void
table_grow(struct memory *memory)
{
    size_t count = memory->bucket_count;
    struct memory_entry **old = memory->buckets;
    struct memory_entry **buckets = calloc(2 * count, sizeof(*buckets));
    if (buckets == NULL) {
        return;
    }
    memory->buckets = buckets;
    memory->bucket_count = 2 * count;
    for (size_t i = 0; i < count; i++) {
        for (struct memory_entry *entry = old[i], *next; entry != NULL; entry = next) {
            next = entry->bucket_next;
            table_link(memory, entry);
        }
    }
    free(old);
}

static void
table_add(struct memory *memory, struct memory_entry *entry)
{
    if (memory->count >= memory->bucket_count) {
        table_grow(memory);
    }
    table_link(memory, entry);
    entry->listed = true;
    memory->count++;
}

static void
table_remove(struct memory *memory, struct memory_entry *entry)
{
    struct memory_entry **link = bucket_of(memory, entry->key);
    while (*link != entry) {
        link = &(*link)->bucket_next;
    }
    *link = entry->bucket_next;
    entry->bucket_next = NULL;
    entry->listed = false;
    memory->count--;
}

static void
table_empty(struct memory *memory)
{
    for (size_t i = 0; i < memory->bucket_count; i++) {
        while (memory->buckets[i] != NULL) {
            table_remove(memory, memory->buckets[i]);
        }
    }
}

/* Puts an entry in front of the list. The list's reference is the caller's to add. */
static void
list_add(struct memory *memory, struct memory_entry *entry)
{
    entry->newer = NULL;
    entry->older = memory->newest;
    *(memory->newest != NULL ? &memory->newest->newer : &memory->oldest) = entry;
    memory->newest = entry;
    entry->kept = true;
    memory->kept++;
}

/* Takes an entry off the list. The list's reference is the caller's to give back. */
static void
list_remove(struct memory *memory, struct memory_entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &memory->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &memory->oldest) = entry->newer;
    entry->newer = entry->older = NULL;
    entry->kept = false;
    memory->kept--;
}

/* Moves an entry to the front of the list, or puts it there. */
static void
list_renew(struct memory *memory, struct memory_entry *entry)
{
    if (entry->kept) {
        list_remove(memory, entry);
    }
    else {
        entry->references++;
    }
    list_add(memory, entry);
}

static void
drop_oldest(struct memory *memory)
{
    struct memory_entry *entry = memory->oldest;
    list_remove(memory, entry);
    memory_release(memory, entry);
}

static void
evict(struct memory *memory)
{
    while (memory->kept > memory->limit) {
        memory->evictions++;
        drop_oldest(memory);
    }
}

int
memory_init(struct memory *memory, size_t limit)
{
    *memory = (struct memory){.limit = limit};
    memory->buckets = calloc(FIRST_BUCKET_COUNT, sizeof(*memory->buckets));
    if (memory->buckets == NULL) {
        return -1;
    }
    memory->bucket_count = FIRST_BUCKET_COUNT;
    return 0;
}

void
memory_clear(struct memory *memory)
{
    table_empty(memory);
    /* What a destroy() inserts meanwhile is listed, and newer than all that has to go. */
    while (memory->oldest != NULL && !memory->oldest->listed) {
        drop_oldest(memory);
    }
}

void
memory_free(struct memory *memory)
{
    memory->limit = 0; /* nothing a destroy() inserts is kept */
    memory_clear(memory);
    table_empty(memory);
    free(memory->buckets);
    *memory = (struct memory){0};
}

struct memory_entry *
memory_find(struct memory *memory, const uint8_t key[KEY_SIZE])
{
    struct memory_entry *entry = table_find(memory, key);
    if (entry != NULL) {
        entry->references++;
        memory_touch(memory, entry);
    }
    return entry;
}

void
memory_insert(struct memory *memory, struct memory_entry *entry)
{
    struct memory_entry *dropped = NULL;
    if (!entry->listed) {
        struct memory_entry *old = table_find(memory, entry->key);
        if (old != NULL) {
            table_remove(memory, old);
        }
        if (old != NULL && old->kept) {
            list_remove(memory, old);
            dropped = old;
        }
        table_add(memory, entry);
    }
    list_renew(memory, entry);
    if (dropped != NULL) {
        memory_release(memory, dropped);
    }
    evict(memory);
}

void
memory_touch(struct memory *memory, struct memory_entry *entry)
{
    if (entry == memory->newest || !entry->listed) {
        return; /* one that was unlisted does not come back */
    }
    list_renew(memory, entry);
    evict(memory);
}

void
memory_release(struct memory *memory, struct memory_entry *entry)
{
    if (--entry->references > 0) {
        return;
    }
    if (entry->listed) {
        table_remove(memory, entry);
    }
    entry->destroy(entry);
}

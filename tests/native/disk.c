/* disk.c: the cache as plain functions for the tests, which reach them through ctypes. */
#include <stdlib.h>
#include <string.h>

#include "../../cache/disk.h"
#include "../../cache/key.h"
#include "../../cache/memory.h"

/* ---- Keys ---- */

/* SHA-256 of `bytes`, handed over in pieces of `piece` bytes. */
void
testing_sha256(const char *bytes, size_t size, size_t piece, uint8_t digest[KEY_SIZE])
{
    struct sha256 sha;
    sha256_start(&sha);
    for (size_t done = 0; done < size; done += piece) {
        sha256_update(&sha, bytes + done, size - done < piece ? size - done : piece);
    }
    sha256_finish(&sha, digest);
}

/* The key of `count` fields, as hexadecimal digits. */
void
testing_key(const struct disk_note *fields, size_t count, char hex[KEY_HEX_SIZE + 1])
{
    struct sha256 sha;
    uint8_t key[KEY_SIZE];
    sha256_start(&sha);
    for (size_t i = 0; i < count; i++) {
        key_field(&sha, fields[i].name, fields[i].bytes, fields[i].size);
    }
    sha256_finish(&sha, key);
    key_hex(key, hex);
}

/* ---- Disk ---- */

/* Returns the object's size, copied to `object` when it fits; -1 for a miss; -2 for a miss that did
 * not leave the buffer as it was. */
long
testing_disk_read(struct disk *disk, const uint8_t key[KEY_SIZE], char *object, size_t capacity)
{
    struct buffer buffer = BUFFER_INIT;
    buffer_append_string(&buffer, "before");
    bool hit = disk_read(disk, key, &buffer);
    long size = hit ? (long)buffer.size - 6 : -1;
    if (buffer.failed || memcmp(buffer.data, "before", 6) != 0 ||
        buffer.data[buffer.size] != '\0' || (!hit && buffer.size != 6)) {
        size = -2;
    }
    if (size >= 0 && (size_t)size <= capacity) {
        memcpy(object, buffer.data + 6, (size_t)size);
    }
    buffer_free(&buffer);
    return size;
}

/* hits, writes, evictions, errors */
void
testing_disk_counters(struct disk *disk, size_t counters[4])
{
    struct disk_statistics *statistics = disk_counters(disk);
    counters[0] = statistics->hits;
    counters[1] = statistics->writes;
    counters[2] = statistics->evictions;
    counters[3] = statistics->errors;
}

/* ---- Memory ---- */

struct testing_entry {
    struct memory_entry entry;
    int number;
    void (*destroyed)(int number);
};

static void
destroy(struct memory_entry *entry)
{
    struct testing_entry *self = (struct testing_entry *)entry;
    int number = self->number;
    void (*destroyed)(int) = self->destroyed;
    memset(self, 0xdb, sizeof(*self)); /* so that a later use shows without a sanitizer too */
    free(self);
    destroyed(number);
}

struct memory *
testing_memory_new(size_t limit)
{
    struct memory *memory = malloc(sizeof(*memory));
    if (memory != NULL && memory_init(memory, limit) < 0) {
        free(memory);
        return NULL;
    }
    return memory;
}

void
testing_memory_delete(struct memory *memory)
{
    memory_free(memory);
    free(memory);
}

/* A new entry with one reference; `destroyed` is told its number when it goes. */
struct memory_entry *
testing_memory_entry(const uint8_t key[KEY_SIZE], int number, void (*destroyed)(int))
{
    struct testing_entry *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    memcpy(self->entry.key, key, KEY_SIZE);
    self->entry.references = 1;
    self->entry.destroy = destroy;
    self->number = number;
    self->destroyed = destroyed;
    return &self->entry;
}

int
testing_memory_number(const struct memory_entry *entry)
{
    return ((const struct testing_entry *)entry)->number;
}

/* Walks table and list. Returns 0, or the number of the first rule that does not hold. */
int
testing_memory_check(const struct memory *memory, size_t *count, size_t *kept, size_t *evictions)
{
    size_t listed = 0, chained = 0;
    for (size_t i = 0; i < memory->bucket_count; i++) {
        for (struct memory_entry *entry = memory->buckets[i]; entry; entry = entry->bucket_next) {
            listed++;
            if (!entry->listed || entry->references == 0) {
                return 1;
            }
        }
    }
    const struct memory_entry *newer = NULL;
    for (struct memory_entry *entry = memory->newest; entry; newer = entry, entry = entry->older) {
        chained++;
        if (!entry->kept || !entry->listed || entry->newer != newer || entry->references == 0) {
            return 2;
        }
    }
    *count = memory->count;
    *kept = memory->kept;
    *evictions = memory->evictions;
    if (memory->oldest != newer || listed != memory->count || chained != memory->kept) {
        return 3;
    }
    return memory->kept > memory->limit ? 4 : 0;
}

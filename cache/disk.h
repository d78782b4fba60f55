/* disk.h: the cache on disk. One self-contained, checked file an entry; see disk.c for its grammar.
 *
 * Nothing here raises: anything odd is a miss or a store that did not happen, counted in `errors`.
 * No function needs the GIL; all may be called by several threads and processes at once.
 */
#ifndef TINYWEAVE_DISK_H
#define TINYWEAVE_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../src/buffer.h"
#include "key.h"

enum disk_mode { DISK_ON, DISK_OFF, DISK_READONLY };

struct disk; /* one opened cache folder */

/* Counters for tw.cache.info(); they belong to the process and only grow. */
struct disk_statistics {
    atomic_size_t hits;
    atomic_size_t writes;
    atomic_size_t evictions;
    atomic_size_t errors; /* entries that were not what they should be, writes that failed */
};

/* What stands in an entry's trailer beside the object. */
struct disk_note {
    const char *name; /* "source", "signature", "options", "compile_ns" ... */
    const void *bytes;
    size_t size;
};

/* Prepares the cache: reads TINYWEAVE_CACHE_DIR, TINYWEAVE_CACHE, TINYWEAVE_CACHE_SIZE and the
 * platform's rule for the user's cache folder. Creates nothing yet, touches no disk. NULL: no memory. */
struct disk *disk_open(void);
void disk_close(struct disk *disk);

/* The folder, NUL-terminated, owned by `disk`; "" when there is none (unset HOME ...). */
const char *disk_path(const struct disk *disk);
enum disk_mode disk_mode(const struct disk *disk);
struct disk_statistics *disk_counters(struct disk *disk);

/* Why the folder is not used ("... is writable by others"), or a setting is not followed: each text
 * once; NULL when there is nothing (more) to warn about. May hold a path or a value of the environment,
 * so not always UTF-8. Owned by `disk`. */
const char *disk_warning(struct disk *disk);

/* Reads and checks the entry of `key`; appends its object to `object`. Returns true for a hit; a miss
 * leaves the buffer as it was. */
bool disk_read(struct disk *disk, const uint8_t key[KEY_SIZE], struct buffer *object);

/* Writes an entry: all of it or nothing. Removes those used longest ago where the cap asks for it. */
void disk_write(struct disk *disk, const uint8_t key[KEY_SIZE], const void *object, size_t size,
                const struct disk_note *notes, size_t note_count);

/* Counts entries and their bytes, none where the cache is off or has no folder. */
void disk_measure(struct disk *disk, size_t *entries, size_t *bytes);

/* Removes every entry and temporary file, nothing else; nothing at all where the cache is off or
 * readonly. Returns how many entries. */
size_t disk_clear(struct disk *disk);

#endif

/* code.c: memory that machine code lies in, and its lifetime. */
#include "code.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* 4 MiB of each kind take some 2,000 to 6,000 kernels and three memory maps. Only pages that are used
 * cost memory. */
#define ARENA_SIZE ((size_t)4 << 20)

/* Every page size in use divides it. */
#define MAP_UNIT ((size_t)64 << 10)

/* Code reaches data through signed 32-bit displacements. */
#define REACH (((size_t)1 << 31) - MAP_UNIT)

/* From this size on, giving pages back to the system is quicker than to clear them. */
#define DISCARD_SIZE ((size_t)64 << 10)

enum { WORD_BITS = 64 };

/* One bit a granule. Searches go on from where the last one ended, so that room is not used again
 * at once and finding it takes constant time on average. */
struct region {
    size_t granules;
    size_t free;      /* granules whose bit in `taken` is clear */
    size_t cursor;    /* where the next search begins */
    size_t too_large; /* as many granules in a row, or more, are not to be found */
    uint64_t *taken;
    uint64_t *kept; /* never given back, as a child may run what is there; NULL for data */
};

struct code_arena {
    struct code_arena *next;
    pid_t pid; /* the process that mapped it */
    uint8_t *run;
    uint8_t *write;
    uint8_t *data;
    struct region code;
    struct region variables;
    size_t blocks;
    uint64_t bits[]; /* of the regions */
};

struct code_heap {
    struct code_arena *arenas; /* the newest first */
};

/* ---- the platform ---- */

static int
system_problem(struct problem *problem, const char *call)
{
    return problem_set(problem, PROBLEM_SYSTEM,
                       "no memory to run compiled code from: %s failed: %s", call, strerror(errno));
}

/* A file in memory, open only until it is mapped. */
static int
open_pages(size_t size, struct problem *problem)
{
    int file = memfd_create("tinyweave", MFD_CLOEXEC);
    if (file < 0) {
        return system_problem(problem, "memfd_create");
    }
    if (ftruncate(file, (off_t)size) != 0) {
        system_problem(problem, "ftruncate");
        close(file);
        return -1;
    }
    return file;
}

/* Maps the file's code to run, private data right behind it, and the code once more to write. */
static int
map_file(struct code_arena *arena, int file, size_t code_size, size_t data_size,
         struct problem *problem)
{
    uint8_t *range =
        mmap(NULL, code_size + data_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (range == MAP_FAILED) {
        return system_problem(problem, "mmap");
    }
    const char *failed = NULL;
    uint8_t *write = mmap(NULL, code_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (write == MAP_FAILED) {
        failed = "mmap";
        write = NULL;
    }
    else if (mmap(range, code_size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file, 0) ==
             MAP_FAILED) {
        failed = "mmap of executable memory";
    }
    else if (mprotect(range + code_size, data_size, PROT_READ | PROT_WRITE) != 0) {
        failed = "mprotect";
    }
    if (failed != NULL) {
        system_problem(problem, failed);
        munmap(range, code_size + data_size);
        if (write != NULL) {
            munmap(write, code_size);
        }
        return -1;
    }
    /* One variable should not make the system clear 2 MiB. Where this is unknown, it does no harm. */
    (void)madvise(range + code_size, data_size, MADV_NOHUGEPAGE);
    arena->run = range;
    arena->data = range + code_size;
    arena->write = write;
    return 0;
}

static int
map_pages(struct code_arena *arena, size_t code_size, size_t data_size, struct problem *problem)
{
    int file = open_pages(code_size, problem);
    if (file < 0) {
        return -1;
    }
    int status = map_file(arena, file, code_size, data_size, problem);
    close(file);
    return status;
}

static void
unmap_pages(struct code_arena *arena)
{
    size_t code_size = arena->code.granules * CODE_GRANULE;
    munmap(arena->run, code_size + arena->variables.granules * CODE_GRANULE);
    munmap(arena->write, code_size);
}

/* Turns whole pages of private memory into zeros without touching them. Returns false if it cannot. */
static bool
discard_pages(uint8_t *start, uint8_t *end)
{
    return madvise(start, (size_t)(end - start), MADV_DONTNEED) == 0;
}

/* ---- regions ---- */

static size_t
granules_for(size_t size)
{
    return (size + CODE_GRANULE - 1) / CODE_GRANULE;
}

/* The bits from..to-1, as far as they lie in the given word. */
static uint64_t
span_mask(size_t word, size_t from, size_t to)
{
    uint64_t mask = ~(uint64_t)0;
    if (word == from / WORD_BITS) {
        mask <<= from % WORD_BITS;
    }
    if (word == to / WORD_BITS) {
        mask &= ((uint64_t)1 << to % WORD_BITS) - 1;
    }
    return mask;
}

/* The first granule in from..end-1 that is taken (flip 0) or free (flip ~0), or `end`. */
static size_t
next_granule(const uint64_t *taken, size_t from, size_t end, uint64_t flip)
{
    while (from < end) {
        uint64_t rest = (taken[from / WORD_BITS] ^ flip) >> from % WORD_BITS;
        if (rest != 0) {
            from += (size_t)__builtin_ctzll(rest);
            return from < end ? from : end;
        }
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return end;
}

/* Returns the first of `count` free granules in a row that start in from..end-1, or SIZE_MAX. */
static size_t
find_room(const struct region *region, size_t count, size_t from, size_t end)
{
    while (from < end) {
        from = next_granule(region->taken, from, end, ~(uint64_t)0);
        if (from == end || region->granules - from < count) {
            return SIZE_MAX;
        }
        size_t stop = next_granule(region->taken, from, from + count, 0);
        if (stop == from + count) {
            return from;
        }
        from = stop;
    }
    return SIZE_MAX;
}

/* Returns the first of `count` free granules in a row, or SIZE_MAX. They are not taken yet. */
static size_t
region_find(struct region *region, size_t count)
{
    if (count == 0) {
        return 0;
    }
    if (count > region->free || count >= region->too_large) {
        return SIZE_MAX;
    }
    size_t found = find_room(region, count, region->cursor, region->granules);
    if (found == SIZE_MAX) {
        found = find_room(region, count, 0, region->cursor);
    }
    if (found == SIZE_MAX) {
        region->too_large = count;
    }
    return found;
}

static void
region_take(struct region *region, size_t start, size_t count)
{
    if (count == 0) {
        return;
    }
    size_t end = start + count;
    for (size_t word = start / WORD_BITS; word <= (end - 1) / WORD_BITS; word++) {
        region->taken[word] |= span_mask(word, start, end);
    }
    region->free -= count;
    region->cursor = end;
}

static void
region_give(struct region *region, size_t start, size_t count)
{
    if (count == 0) {
        return;
    }
    size_t end = start + count;
    for (size_t word = start / WORD_BITS; word <= (end - 1) / WORD_BITS; word++) {
        uint64_t mask = span_mask(word, start, end);
        if (region->kept != NULL) {
            mask &= ~region->kept[word];
        }
        region->taken[word] &= ~mask;
        region->free += (size_t)__builtin_popcountll(mask);
    }
    region->too_large = SIZE_MAX;
}

/* Free data is always zero, so it is cleared when it comes back. */
static void
clear_data(uint8_t *start, size_t size)
{
    uint8_t *end = start + size;
    if (size >= DISCARD_SIZE + 2 * MAP_UNIT) {
        uint8_t *first = start + (MAP_UNIT - (uintptr_t)start % MAP_UNIT) % MAP_UNIT;
        uint8_t *last = end - (uintptr_t)end % MAP_UNIT;
        if (discard_pages(first, last)) {
            memset(last, 0, (size_t)(end - last));
            end = first;
        }
    }
    memset(start, 0, (size_t)(end - start));
}

/* ---- arenas ---- */

static size_t
region_size(size_t wanted)
{
    size_t size = (wanted + MAP_UNIT - 1) / MAP_UNIT * MAP_UNIT;
    return size < ARENA_SIZE ? ARENA_SIZE : size;
}

static void
region_init(struct region *region, size_t size, uint64_t *taken, uint64_t *kept)
{
    *region = (struct region){
        .granules = size / CODE_GRANULE,
        .free = size / CODE_GRANULE,
        .too_large = SIZE_MAX,
        .taken = taken,
        .kept = kept,
    };
}

/* Maps an arena that has room for both sizes: of the usual size, or larger to hold just them. */
static struct code_arena *
arena_new(size_t code_size, size_t data_size, struct problem *problem)
{
    code_size = region_size(code_size);
    data_size = region_size(data_size);
    size_t code_words = code_size / CODE_GRANULE / WORD_BITS;
    size_t data_words = data_size / CODE_GRANULE / WORD_BITS;
    struct code_arena *arena =
        calloc(1, sizeof(*arena) + (2 * code_words + data_words) * sizeof(arena->bits[0]));
    if (arena == NULL) {
        problem_set(problem, PROBLEM_MEMORY, "out of memory");
        return NULL;
    }
    uint64_t *kept = arena->bits + code_words;
    region_init(&arena->code, code_size, arena->bits, kept);
    region_init(&arena->variables, data_size, kept + code_words, NULL);
    arena->pid = getpid();
    if (map_pages(arena, code_size, data_size, problem) != 0) {
        free(arena);
        return NULL;
    }
    return arena;
}

static void
arena_free(struct code_arena *arena)
{
    unmap_pages(arena);
    free(arena);
}

/* Takes a block out of the arena. Returns false when there is no room. */
static bool
arena_allocate(struct code_arena *arena, size_t code_size, size_t data_size,
               struct code_block *block)
{
    size_t code_count = granules_for(code_size);
    size_t data_count = granules_for(data_size);
    size_t code = region_find(&arena->code, code_count);
    size_t data = code == SIZE_MAX ? SIZE_MAX : region_find(&arena->variables, data_count);
    if (data == SIZE_MAX) {
        return false;
    }
    region_take(&arena->code, code, code_count);
    region_take(&arena->variables, data, data_count);
    arena->blocks++;
    *block = (struct code_block){
        .arena = arena,
        .run = arena->run + code * CODE_GRANULE,
        .write = arena->write + code * CODE_GRANULE,
        .data = arena->data + data * CODE_GRANULE,
        .code_size = code_size,
        .data_size = data_size,
    };
    return true;
}

/* One empty arena stays mapped, so that loading and freeing one kernel over and over maps nothing. */
static bool
is_spare(const struct code_arena *arena, pid_t pid)
{
    return arena->blocks == 0 && arena->pid == pid &&
           arena->code.free == ARENA_SIZE / CODE_GRANULE &&
           arena->variables.free == ARENA_SIZE / CODE_GRANULE;
}

/* Unmaps an arena that has become empty, unless it is to be the spare one. */
static void
retire_arena(struct code_heap *heap, struct code_arena *empty)
{
    bool keep = is_spare(empty, empty->pid);
    struct code_arena **link = NULL;
    for (struct code_arena **each = &heap->arenas; *each != NULL; each = &(*each)->next) {
        if (*each == empty) {
            link = each;
        }
        else if (is_spare(*each, empty->pid)) {
            keep = false;
        }
    }
    if (!keep && link != NULL) {
        *link = empty->next;
        arena_free(empty);
    }
}

/* ---- the heap ---- */

struct code_heap *
code_heap_new(void)
{
    return calloc(1, sizeof(struct code_heap));
}

void
code_heap_free(struct code_heap *heap)
{
    if (heap == NULL) {
        return;
    }
    struct code_arena *arena = heap->arenas;
    while (arena != NULL) {
        struct code_arena *next = arena->next;
        arena_free(arena);
        arena = next;
    }
    free(heap);
}

int
code_allocate(struct code_heap *heap, size_t code_size, size_t data_size, struct code_block *block,
              struct problem *problem)
{
    if (code_size > REACH || data_size > REACH ||
        region_size(code_size) + region_size(data_size) > REACH) {
        return problem_set(problem, PROBLEM_OBJECT,
                           "%zu bytes of code and %zu of data are more than 2 GiB", code_size,
                           data_size);
    }
    pid_t pid = getpid();
    for (struct code_arena *arena = heap->arenas; arena != NULL; arena = arena->next) {
        if (arena->pid == pid && arena_allocate(arena, code_size, data_size, block)) {
            return 0;
        }
    }
    struct code_arena *arena = arena_new(code_size, data_size, problem);
    if (arena == NULL) {
        return -1;
    }
    arena->next = heap->arenas;
    heap->arenas = arena;
    arena_allocate(arena, code_size, data_size, block);
    return 0;
}

void
code_release(struct code_heap *heap, struct code_block *block)
{
    struct code_arena *arena = block->arena;
    if (arena == NULL || arena->pid != getpid()) {
        return;
    }
    clear_data(block->data, block->data_size);
    region_give(&arena->code, (size_t)(block->run - arena->run) / CODE_GRANULE,
                granules_for(block->code_size));
    region_give(&arena->variables, (size_t)(block->data - arena->data) / CODE_GRANULE,
                granules_for(block->data_size));
    *block = (struct code_block){.arena = NULL};
    arena->blocks--;
    if (arena->blocks == 0) {
        retire_arena(heap, arena);
    }
}

void
code_before_fork(struct code_heap *heap)
{
    for (struct code_arena *arena = heap->arenas; arena != NULL; arena = arena->next) {
        memcpy(arena->code.kept, arena->code.taken, arena->code.granules / 8);
    }
}

void
code_count(const struct code_heap *heap, struct code_statistics *statistics)
{
    *statistics = (struct code_statistics){0};
    for (const struct code_arena *arena = heap->arenas; arena != NULL; arena = arena->next) {
        statistics->arenas++;
        statistics->blocks += arena->blocks;
        statistics->code_bytes += (arena->code.granules - arena->code.free) * CODE_GRANULE;
        statistics->data_bytes +=
            (arena->variables.granules - arena->variables.free) * CODE_GRANULE;
    }
}

/* code.h: memory that machine code lies in, and its lifetime.
 *
 * A heap holds arenas. An arena's code region is a memfd mapped twice, once to write (never
 * executable) and once to run (never writable); its data region is private memory directly behind
 * the mapping to run, so that code reaches its data within 2 GiB. After a fork the child never
 * writes to an inherited arena nor frees in it: a shared mapping would change the parent's kernels.
 * Nor is an inherited arena ever unmapped in the child, where its kernels may still run. The other
 * way round the parent would change the child's: code_before_fork is there for that.
 *
 * All functions are called with the GIL held; that is what makes a heap consistent at any fork.
 */
#ifndef TINYWEAVE_CODE_H
#define TINYWEAVE_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "../problem.h"

struct code_heap;
struct code_arena;

/* Blocks start at multiples of this, and take up multiples of it: a cache line. */
enum { CODE_GRANULE = 64 };

/* Room for one image: `code_size` bytes of code and constants, `data_size` bytes of variables. */
struct code_block {
    struct code_arena *arena;
    uint8_t *run;   /* where the code runs (read, execute) */
    uint8_t *write; /* the same bytes, to be written through (read, write) */
    uint8_t *data;  /* variables (read, write), zeroed */
    size_t code_size;
    size_t data_size;
};

struct code_statistics {
    size_t arenas;
    size_t blocks;
    size_t code_bytes; /* in use, rounded up to the allocator's granule */
    size_t data_bytes;
};

/* Returns an empty heap, or NULL when memory is out. No arena is mapped yet. */
struct code_heap *code_heap_new(void);

/* Unmaps every arena. No code of the heap may run afterwards. */
void code_heap_free(struct code_heap *heap);

/* Finds room for both sizes (either may be 0), mapping an arena if need be. Returns 0; or -1, with
 * PROBLEM_OBJECT when both together are beyond the 2 GiB that code can reach, PROBLEM_MEMORY, or
 * PROBLEM_SYSTEM when the system gives no memory to run code from. */
int code_allocate(struct code_heap *heap, size_t code_size, size_t data_size,
                  struct code_block *block, struct problem *problem);

/* Gives the room back. In a child of the process that allocated it this does nothing. */
void code_release(struct code_heap *heap, struct code_block *block);

/* To be called in the parent before each fork (os.register_at_fork). The child may run whatever lives
 * now for as long as it likes, out of pages it shares with us; so that code stays as it is, and its
 * room is not used again until its whole arena is empty here. */
void code_before_fork(struct code_heap *heap);

/* Counts all arenas, inherited ones too. Room that is kept for a child counts as in use. */
void code_count(const struct code_heap *heap, struct code_statistics *statistics);

#endif

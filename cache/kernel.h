/* kernel.h: a unit, loaded: what a call enters. */
#ifndef TINYWEAVE_KERNEL_H
#define TINYWEAVE_KERNEL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "../src/call/call.h"
#include "../src/state.h"
#include "../src/unit.h"
#include "memory.h"

struct kernel {
    struct memory_entry entry; /* first: a kernel is an entry of state->kernels */
    struct state *state;
    _Atomic(void *)
        entry_point; /* of a snippet: a call_code; a faster tier may swap it between two calls.
                                    Of functions: their table (frontend/function.h) */
    struct image *image;
    struct buffer object; /* of an extension module: what each of its images is made of */
    void **handles;       /* of the libraries the unit names */
    size_t handle_count;
    bool needs_gil;                        /* uses Python's or NumPy's API, or the real headers */
    bool finds_state;                      /* of a module: links to PyState_FindModule */
    bool prints;                           /* links to printf or its kin */
    struct pace pace;                      /* of a snippet's calls */
    void (*forget)(struct kernel *kernel); /* called once, before the kernel is freed */
    void *variants;                        /* what `forget` looks after (call/inline.c) */
};

#define KERNEL_ENTRY                                                                               \
    "tw_kernel" /* the unit's function that is entered, or its table of functions */

/* Where a kernel came from, for verbose=. */
enum kernel_origin { KERNEL_MEMORY, KERNEL_DISK, KERNEL_COMPILED };

/* The one place where it is decided whether to compile: memory, then disk, then libtcc. Several threads
 * that ask for one unit at once compile it once. `force` looks at neither cache. `source` is kept in
 * the entry on disk. Called with the GIL held, which is released while the disk is read or libtcc
 * works. Returns a new reference; or NULL with a problem, or with PROBLEM_NONE and an exception set. */
struct kernel *kernel_obtain(struct state *state, const struct unit *unit,
                             const struct buffer *headers, const char *source, bool force,
                             enum kernel_origin *origin, struct problem *problem);

/* An image of an extension module's kernel that nobody has used yet, from now on the caller's; the symbols it
 * needs are those of the unit's libraries, which the kernel keeps open. NULL with a problem. */
struct image *kernel_take_image(struct kernel *kernel, const struct unit *unit,
                                struct problem *problem);

/* The same for a unit of which only the object is wanted, to be loaded by the caller: its bytes, from disk or
 * libtcc, are appended to `object`. Returns 0, or -1 as above. */
int kernel_object(struct state *state, const struct unit *unit, bool force, struct buffer *object,
                  enum kernel_origin *origin, struct problem *problem);

/* Gives a reference back. */
void kernel_release(struct kernel *kernel);

/* The key of a unit; `headers` are the contents of the user's headers. */
void kernel_key(const struct state *state, const struct unit *unit, const struct buffer *headers,
                uint8_t key[KEY_SIZE]);

#endif

/* sweep.h: a kernel of an array expression over whole arrays, whatever their strides, on several threads.
 *
 * Operands that are not consecutive, aligned and in native byte order along the innermost axis are gathered a block
 * at a time; so is the result.
 */
#ifndef TINYWEAVE_SWEEP_H
#define TINYWEAVE_SWEEP_H

#include "../../runtime/span.h"
#include "call.h"
#include "numpy.h"

struct sweep_operand {
    char *data;
    const npy_intp
        *strides; /* in bytes, by axis of the sweep: the innermost first; 0 where it is broadcast */
    int size;     /* of an element */
    int swap;     /* bytes of a number to be reversed; 0: in native order */
    bool aligned;
    /* Found by sweep_start for what is gathered; NULL: none for such elements. */
    void (*gather)(long count, void *out, const void *in, long stride);
    void (*scatter)(long count, void *out, long stride, const void *in);
    void (*fill)(long count, void *out, const void *value);
};

struct sweep {
    call_code *code;
    const struct span_loop *loops;
    int block;      /* elements the code works on at once */
    size_t scratch; /* bytes it needs */
    int step_count;
    double *cost; /* ns an element: decides about the GIL and threads; long runs are measured */
    bool opaque;  /* the x87 may raise flags, too */
    bool python;  /* the loops need the GIL, or may set an exception */
    bool alone;   /* on this thread only; a loop may set an exception */
    bool
        careful; /* from the start, since the result lies upon an operand; or since flags were raised */
    int array_count;
    int slot_count;               /* arrays and scalars */
    struct sweep_operand *arrays; /* array_count, then the result */
    char *const *scalars;         /* the others' values */
    int dimensions;               /* at least 1 */
    npy_intp *extents;            /* the innermost first */
    unsigned char *flags;         /* by step: NPY_FPE_ bits are added */
    /* Found by sweep_start: */
    npy_intp size;   /* elements */
    bool short_rows; /* several share a block */
    bool *direct;    /* by array, room for array_count + 1: used where it lies */
    bool all_direct;
    bool stream;   /* a large result goes past the caches (found by sweep_run) */
    size_t memory; /* bytes a worker needs */
};

/* Finds how the arrays are gone over; to be called once everything else is filled in. */
void sweep_start(struct sweep *sweep);

/* Computes all elements; several sweeps of as many elements are done part by part, in their order within a part.
 * Called with the GIL, which is released where the work is long. Returns 0, or -1 with an exception: no memory, or
 * a loop's own. */
int sweep_run(struct sweep *sweeps, int count);

/* ---- For those who take the elements themselves (reduce.c) ---- */

struct sweep_worker {
    struct sweep *sweep;
    struct span span;
    char **bases;     /* of each array its first element */
    char **blocks;    /* of each array the block it is gathered to */
    char **positions; /* of each array where the row begins */
    npy_intp *index;  /* of the row, by axis */
    bool fresh;       /* nothing of the row was gathered yet */
    char *values;     /* of sweep_worker_open */
    npy_intp capacity;
    void *memory;
};

/* Prepares a worker of a thread in `sweep->memory` bytes; and hands its flags to the sweep. */
void sweep_worker_start(struct sweep_worker *worker, struct sweep *sweep, char *memory);
void sweep_worker_finish(struct sweep_worker *worker);

/* The same with memory of its own, in which there are also `values`, room for `capacity` elements of the result that
 * are worth computing at once. Returns 0, or -1 when memory is out. */
int sweep_worker_open(struct sweep_worker *worker, struct sweep *sweep);
void sweep_worker_close(struct sweep_worker *worker);

/* Computes `count` elements from number `start` on, in the sweep's order, to consecutive places at `to`, or, where it
 * is NULL, to the result. */
void sweep_range(struct sweep_worker *worker, npy_intp start, npy_intp count, char *to);

/* Runs work(context, part) for each part: on this thread with the GIL where it is short, without it where it is long,
 * on several threads where it may be (`threads`) and pays. `size` elements at `*cost` ns are expected, and what a long
 * run took is kept in `*cost`. */
void sweep_schedule(void (*work)(void *context, size_t part), void *context, size_t parts,
                    bool threads, double size, double *cost);

/* Whether so many elements at so many ns would go to several threads. */
bool sweep_is_threaded(double size, double cost);

/* Elements a thread takes at once. */
enum { SWEEP_PART = 32768 };

#endif

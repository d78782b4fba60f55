/* region.h: elementwise nodes of a formula that are computed together, in one pass over memory.
 *
 * A formula is cut into regions at what is not elementwise: subscripts, reductions, conditions, and nodes that blocks
 * cannot compute. A region has a variant, with its kernel, for each set of types it met.
 */
#ifndef TINYWEAVE_REGION_H
#define TINYWEAVE_REGION_H

#include "../frontend/formula.h"
#include "../frontend/graph.h"
#include "../state.h"
#include "geometry.h"
#include "numpy.h"

struct kernel;

struct variant {
    struct variant *next;
    int result_type;       /* to which the root is cast; -1: as it is */
    struct operand *types; /* of the region's leaves and then its nodes */
    PyObject **
        ufuncs; /* by node of the formula, borrowed from the graph: of FORMULA_NAMED calls; NULL: none */
    struct graph graph;
    struct kernel *kernel;      /* a reference */
    struct span_loop reduction; /* the inner loop that reduces the result (reduce.c) */
    PyObject *reduction_call;   /* which keeps it alive; NULL: not asked for yet */
    size_t scratch;
    int block;   /* elements */
    double cost; /* ns an element: a guess, then what was measured */
};

struct region {
    int *nodes; /* in order, the last is the root */
    int node_count;
    int *leaves;
    int leaf_count;
    bool *exponents; /* by leaf and node, as `types`: the right side of ** */
    struct variant *variants;
    int reduction; /* what reduces it: known to reduce.c; 0: nothing, or not asked for yet */
};

/* A formula cut into regions. */
struct partition {
    size_t references;
    struct state *state;
    const struct formula *formula; /* which outlives it */
    bool *cut;                     /* by node: computed by NumPy */
    struct region **regions;       /* by node: the region whose root it is, or NULL */
    int *readers;                  /* by node: how many nodes and statements read it */
    struct arena arena;
};

/* Cuts a formula, with the further cuts given by node (NULL: none). NULL with an exception when memory is out. */
struct partition *partition_new(struct state *state, const struct formula *formula,
                                const bool *cut);
struct partition *partition_hold(struct partition *partition);
void partition_release(struct partition *partition);

struct evaluation;

enum region_result {
    REGION_FAILED = -1, /* an exception is set */
    REGION_DONE = 0,    /* values[root] is set */
    REGION_REFUSED = 1, /* `*refused` cannot be computed on blocks: cut there and start again */
    REGION_APART = 2,   /* the root has to be computed by NumPy, with `out` */
};

/* Computes a region whose leaves have their values. With an `out` that fits (dtype, shape, alignment, no overlap but
 * an exact one) the result is stored there, and values[root] is `out`; else values[root] is a new array of
 * its dtype and shape, to be copied to it, or it is REGION_APART. Without one values[root] is a new array or scalar. */
enum region_result region_run(struct evaluation *evaluation, struct region *region,
                              PyArrayObject *out, int *refused);

/* The variant for the leaves' values as they are, with the root cast to a type (-1: not at all), compiled if need be.
 * NULL with an exception; or, where blocks are not used or the root is a scalar, without. */
struct variant *region_variant(struct evaluation *evaluation, struct region *region,
                               int result_type);
void variant_free(struct variant *variant);

/* Appends what was made of a region: its steps with their types and what does them, and the C text. Returns 0, or -1
 * when memory is out. */
int region_explain(const struct variant *variant, struct buffer *text);

#endif

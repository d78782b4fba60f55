/* graph.h: nodes of a formula with the types of their leaves -> typed steps on blocks.
 *
 * Types are NumPy's type numbers, and NumPy itself resolves them (ufunc.resolve_dtypes, NEP 50). Only its plain
 * numeric types take part: what has others (strings, times, structures) is computed by interpret.h.
 */
#ifndef TINYWEAVE_GRAPH_H
#define TINYWEAVE_GRAPH_H

#include "../../runtime/span.h"
#include "../arena.h"
#include "../state.h"
#include "formula.h"

/* What a value of a formula is when it is run. */
enum operand_kind {
    OPERAND_RESULT, /* computed on blocks */
    OPERAND_ARRAY,  /* at least one dimension */
    OPERAND_SCALAR, /* a NumPy scalar, an array without dimensions */
    OPERAND_BOOL,   /* Python's */
    OPERAND_INT,    /* Python's: their types are weak */
    OPERAND_FLOAT,
    OPERAND_COMPLEX,
    /* Exponents for which NumPy's ** is another function: */
    OPERAND_INT_TWO,       /* square */
    OPERAND_INT_MINUS_ONE, /* reciprocal */
    OPERAND_FLOAT_HALF,    /* sqrt */
    OPERAND_OTHER,         /* no operand of blocks */
};

struct operand {
    unsigned char kind;
    signed char type; /* NumPy's number; of OPERAND_INT to OPERAND_FLOAT_HALF the default dtype's */
};

enum quantity_kind {
    VALUE_ARRAY,  /* a leaf: node */
    VALUE_SCALAR, /* a leaf or a computed scalar, converted to `type`: node */
    VALUE_STEP,   /* what a step leaves */
};

struct quantity {
    enum quantity_kind kind;
    int type;
    int node;
    int slot; /* of a leaf: which operand of the span it is */
    int uses; /* how many steps read it */
};

enum step_kind { STEP_UFUNC, STEP_CAST, STEP_SELECT };

struct step {
    enum step_kind kind;
    PyObject *ufunc; /* of STEP_UFUNC, owned */
    const char *
        operation; /* of NumPy's ufuncs: what a primitive is called by, "greater" for "less" once the operands
                              have changed places; NULL: no primitive */
    const char *name; /* whose floating-point errors these are, "add"; NULL: nobody's */
    int report;       /* the step whose flags these are: of a cast for a ufunc the ufunc's */
    int type;         /* of all its inputs; -1: they differ */
    int inputs[SPAN_OPERANDS]; /* values */
    int input_count;
    int output;     /* a value */
    int node;       /* of the formula */
    int loop;       /* of NumPy's loops; -1: a block primitive */
    PyObject *call; /* owned: the capsule of the loop, of STEP_UFUNC */
};

struct graph {
    struct quantity *values;
    int value_count;
    struct step *steps;
    int step_count;
    int *slots; /* values by operand of the span: arrays, then scalars */
    int array_count;
    int slot_count;
    struct span_loop *loops;
    int loop_count;
    int result;      /* the value */
    bool fast;       /* math="fast": functions within some ulp instead of NumPy's */
    bool opaque;     /* a loop of NumPy's or long double: the x87 may raise flags, too */
    bool python;     /* a loop needs Python, or may set an exception: one thread, with the GIL */
    bool alone;      /* a caller's ufunc, which may set an exception: on the caller's thread */
    bool unresolved; /* refused, since NumPy has no loop for the types: an exception, in its turn */
    struct arena arena;
};

/* Builds the graph of the `count` nodes `nodes`, in order, the last of which is the result and an OPERAND_RESULT;
 * `operands` are by node: leaves, scalars, and OPERAND_RESULT for what the graph computes; so are `ufuncs`, of
 * FORMULA_NAMED calls. `fast` is math="fast". The result is cast to `result_type` where that is none below 0. Returns 0; or -1 with
 * an exception; or 1 where blocks cannot compute a node, and sets `*refused` to it. graph_free is owed. */
int graph_build(struct state *state, bool fast, const struct formula *formula, const int *nodes,
                int count, const struct operand *operands, PyObject *const *ufuncs, int result_type,
                struct graph *graph, int *refused);
void graph_free(struct graph *graph);

/* NumPy's inner loop of a ufunc for the types of its inputs and its result, on such strides (NULL: on any). `*call`, a
 * new reference, keeps it alive; `*python` is set where it needs the GIL. Returns 0, or 1 where there is none. */
int graph_loop(PyObject *ufunc, const int *types, int inputs, const intptr_t *strides,
               struct span_loop *loop, PyObject **call, bool *python);

/* A type's name in C text and in tw.explain: "f8", "b1", "c16"; NULL for what blocks cannot hold. */
const char *graph_type_name(int type);
int graph_type_size(int type);

/* The block primitive of a step, "tw_add_f8_vs", whose operands may be put into another order for it. Returns
 * false where there is none. */
enum { PRIMITIVE_NAME_SIZE = 64 };
bool graph_primitive(const struct graph *graph, struct step *step, char name[PRIMITIVE_NAME_SIZE]);

#endif

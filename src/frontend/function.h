/* function.h: C functions -> what a call from Python needs to know of each (a plan), and a unit (tw.compile). */
#ifndef TINYWEAVE_FUNCTION_H
#define TINYWEAVE_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>

#include "../unit.h"
#include "declaration.h"
#include "preamble.h"

/* ---- Plans: they outlive the text ---- */

/* Stands for the dtype bound to T, where else a number of NumPy's is. */
#define PLAN_T (-2)

/* What a parameter is to Python. */
enum role {
    ROLE_NUMBER,
    ROLE_HIDDEN, /* an integer that the shapes of the arrays tell */
    ROLE_IN,     /* array, read */
    ROLE_INOUT,  /* array, changed in place */
    ROLE_OUT,    /* array, allocated and returned */
    ROLE_NUMBER_OUT,
    ROLE_STRING,
    ROLE_POINTER, /* void * */
    ROLE_OBJECT,
    ROLE_NOTHING, /* of a result: void */
};

/* One step of an expression in postfix order; see enum expression_kind. A name's value is the index of its
 * parameter. */
struct step {
    enum expression_kind kind;
    long long value;
};

/* The extent of an array along one axis. */
struct extent {
    const char *text; /* as written: "n + 1" */
    bool any;         /* [ ]: whatever comes */
    int parameter;    /* a parameter's index, when the extent is just that; else -1 */
    int solves;       /* the hidden parameter that this extent tells, else -1 */
    size_t step_count;
    struct step *steps;
};

struct plan_parameter {
    const char *name;
    const char *declaration; /* "double a[m][n]" */
    enum role role;
    int type;      /* NumPy's number of it, or of an array's elements; PLAN_T */
    bool readonly; /* ROLE_POINTER: to const */
    bool is_array; /* ROLE_OBJECT: a PyArrayObject */
    int argument;  /* its place among Python's arguments; -1: none */
    int out;       /* its place among the array results; -1 */
    int source;    /* ROLE_HIDDEN: the array that tells it */
    int source_axis;
    int dimensions; /* of an array; -1: any shape */
    struct extent *extents;
};

struct plan {
    const char *name;
    const char *signature; /* in C, on one line */
    const char *comment;   /* without its marks; "" where there is none */
    const char *refusal;   /* why Python cannot call it; NULL: it can */
    struct plan_parameter *parameters;
    int count;
    int argument_count;
    int out_count;        /* array results */
    int number_out_count; /* number results */
    int *arrays;          /* the array parameters */
    int array_count;
    int write_count; /* of them C writes to so many */
    int *hidden;     /* the hidden parameters, in the order in which arrays tell them */
    int hidden_count;
    enum role result; /* NUMBER, STRING, OBJECT, POINTER or NOTHING */
    int result_type;
    bool generic; /* T is in it */
    bool takes_object;
};

struct plans {
    struct plan *items;
    size_t count;
    bool generic;
    struct arena arena;
};

void plans_free(struct plans *plans);

/* Whether both call the same functions in the same way: a header may have changed between two readings. */
bool plans_match(const struct plans *plans, const struct plans *others);

/* Computes an extent, given the integer values of all parameters. Returns 0, or -1 for an overflow or a
 * division by zero. */
int extent_value(const struct extent *extent, const long long *values, long long *result);

/* ---- The sources ---- */

struct translation {
    struct source sources[PREAMBLE_TEXTS + 1]; /* macros, headers, the user's text */
    struct preamble preamble;
    struct expanded expanded;
    struct declarations declarations;
    char *text; /* the user's text without its in and out words, of the same length */
    size_t first_plan;
    size_t plan_count; /* its functions among the plans */
};

struct program {
    struct translation *units; /* their sources filled by the caller, not yet scanned */
    size_t count;
    const struct strings *include_dirs;
    bool generic; /* T stands for dtypes; program_read sets it where a prototype says so */
};

/* Reads and checks the sources, and plans their non-static functions. Returns 0, or -1 with the spot (an
 * empty message: no memory). Either way program_free and plans_free are owed. */
int program_read(struct program *program, struct plans *plans, struct spot *spot);
void program_free(struct program *program);

/* Writes the unit for the dtype T stands for (NumPy's number of it, or -1), with a table `tw_kernel` of entries,
 * `void entry(struct tw_call *, double (*slots)[2])`, one a plan; NULL for a refused one. A slot holds an
 * argument as C has it, the one behind the last the result. `headers` as in preamble_unit. Returns 0, or -1
 * when memory is out. */
int program_unit(const struct program *program, const struct plans *plans, int type,
                 struct unit *unit, struct buffer *headers);

/* C's name of a dtype by NumPy's number. */
const char *plan_c_type(int type);

#endif

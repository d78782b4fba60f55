/* plan.h: what a call from Python needs to know of a C function, by its prototype. */
#ifndef TINYWEAVE_PLAN_H
#define TINYWEAVE_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "declaration.h"

/* ---- Types: NumPy's numbers, and what stands for them ---- */

/* A type variable stands for the dtype bound to it: PLAN_T, PLAN_T - 1 for U ... */
#define PLAN_NONE (-1)
#define PLAN_T (-2)

/* The dtypes that the type variables stand for, by NumPy's numbers; PLAN_NONE where one is not bound. */
struct binding {
    int types[TYPE_VARIABLES];
};

#define BINDING_NONE                                                                               \
    {                                                                                              \
        {                                                                                          \
            PLAN_NONE, PLAN_NONE                                                                   \
        }                                                                                          \
    }

/* The index of a type variable; -1: the type is none. */
static inline int
plan_variable(int type)
{
    return type <= PLAN_T && type > PLAN_T - TYPE_VARIABLES ? PLAN_T - type : -1;
}

/* The dtype's number of a type under a binding. */
static inline int
plan_bound(int type, const struct binding *binding)
{
    int variable = plan_variable(type);
    return variable < 0 ? type : binding->types[variable];
}

/* Whether two arithmetic types are one to NumPy's numbers: long and long long, char and signed char. */
bool plan_same_number(enum basic_type type, enum basic_type other);

/* C's name of a dtype by NumPy's number; NULL: C has none. */
const char *plan_c_type(int type);

/* ---- Plans: they outlive the text ---- */

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
    ROLE_CALLBACK, /* a pointer to a function */
    ROLE_NOTHING,  /* of a result: void */
};

/* The extent of an array along one axis. */
struct extent {
    const char *text; /* as written: "n+1" */
    bool any;         /* [ ]: whatever comes */
    int parameter;    /* a parameter's index, when the extent is just that; else -1 */
    int solves;       /* the hidden parameter that this extent tells, else -1 */
    const struct expression *expression; /* its names' values are indices of parameters */
};

struct plan_parameter {
    const char *name;
    const char *declaration; /* "double a[m][n]" */
    const char *passed;      /* the type that C passes: "double *" */
    enum role role;
    int type;      /* of a number, or of an array's elements */
    bool readonly; /* ROLE_POINTER: to const */
    bool is_array; /* ROLE_OBJECT: a PyArrayObject */
    bool apart;   /* ROLE_HIDDEN: a size that is no parameter in C; it stands behind all that are */
    int argument; /* its place among Python's arguments; -1: none */
    int out;      /* its place among the array results; -1 */
    int source; /* ROLE_HIDDEN: the array that tells it; apart, of a callback: the parameter of the function that
                     takes it */
    int source_axis;
    int dimensions; /* of an array; -1: any shape */
    struct extent *extents;
    struct plan *callback; /* ROLE_CALLBACK: how C calls it */
};

struct plan {
    const char *name;
    const char *signature; /* in C, on one line */
    const char *comment;   /* without its marks; "" where there is none */
    const char *refusal;   /* why Python cannot call it; NULL: it can */
    struct plan_parameter *parameters;
    int count;   /* of parameters, sizes apart included */
    int c_count; /* of C's own */
    int argument_count;
    int out_count;        /* array results */
    int number_out_count; /* number results */
    int *arrays;          /* the array parameters */
    int array_count;
    int write_count; /* of them C writes to so many */
    int *hidden;     /* the hidden parameters, in the order in which arrays tell them */
    int hidden_count;
    int callback_count;
    enum role
        result; /* NUMBER, STRING, OBJECT, POINTER, NOTHING; ROLE_OUT: a pointer to an array */
    const char *result_passed;
    struct plan_parameter returned; /* ROLE_OUT: its dimensions; the type of a result in any case */
    unsigned variables;             /* a bit for each type variable in it */
    bool takes_object;
};

struct plans {
    struct plan *items;
    size_t count;
    unsigned variables; /* a bit for each type variable of the sources */
    struct arena arena;
};

void plans_free(struct plans *plans);

/* Whether both call the same functions in the same way: a header may have changed between two readings. */
bool plans_match(const struct plans *plans, const struct plans *others);

/* The plan of that name, or NULL. */
struct plan *plans_find(const struct plans *plans, const struct token *name);

/* Computes an extent, given the integer values of all parameters. Returns 0, or -1 for an overflow or a
 * division by zero. */
int extent_value(const struct extent *extent, const long long *values, long long *result);

/* ---- Planning ---- */

/* Where a declaration stands. */
struct plan_context {
    const struct source *source;             /* of messages */
    const struct declarations *declarations; /* of the unit */
    unsigned variables; /* a bit for each type variable that stands for dtypes there */
    bool apart;         /* not C's own text: sizes need not be parameters */
};

/* Plans a function and appends it to `plans`. What Python cannot call gets a refusal. Returns 0; or -1 with the
 * spot of what is wrong in the declaration (an empty message: no memory). */
int plan_function(struct plans *plans, const struct plan_context *context,
                  const struct declaration *declaration, struct spot *spot);

#endif

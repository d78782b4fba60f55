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

/* A struct or union: PLAN_RECORD and its index among the plans' records. */
#define PLAN_RECORD 0x10000

static inline bool
plan_is_record(int type)
{
    return type >= PLAN_RECORD;
}

/* Whether two arithmetic types are one to NumPy's numbers: long and long long, char and signed char. */
bool plan_same_number(enum basic_type type, enum basic_type other);

/* C's name of a dtype by NumPy's number; NULL: C has none. */
const char *plan_c_type(int type);

/* ---- Plans: they outlive the text ---- */

/* A member, as a field of a dtype. */
struct plan_field {
    const char *name;
    int type;        /* NumPy's number; NPY_STRING for an array of char; a record */
    size_t offset;   /* bytes from the record's start */
    size_t itemsize; /* of NPY_STRING, bytes */
    int dimensions;
    const long long *shape;
};

/* A struct or union as a dtype. Members of one without a name count as the outer one's. */
struct plan_record {
    const struct record *read; /* while the text is there */
    const char *name;          /* "struct point" */
    const char *short_name;    /* its tag, else that of a typedef; NULL: neither */
    struct plan_field *fields;
    int count;
    size_t size; /* bytes */
    size_t alignment;
};

/* A variable at file scope that is not static. */
struct plan_variable {
    const char *name;
    const char *declaration; /* "double table[3]" */
    enum {
        VARIABLE_FIELD,
        VARIABLE_TEXT,
        VARIABLE_ADDRESS
    } kind;                  /* const char *; any other pointer */
    struct plan_field field; /* its type and shape; the offset is 0 */
    bool readonly;
    const char *refusal; /* why Python cannot see it; NULL: it can */
};

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
    bool by_value; /* ROLE_IN, and a result's ROLE_OUT: one struct, passed itself */
    bool is_text;  /* an array of char or unsigned char: any buffer of bytes will do */
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
    bool by_value; /* a struct is passed or returned itself */
};

/* An enumerator, or a macro that stands for a constant. */
struct plan_constant {
    const char *name;
    struct constant value; /* its tokens are gone */
};

struct plans {
    struct plan *items;
    size_t count;
    struct plan_record *records;
    size_t record_count;
    struct plan_variable *globals;
    size_t global_count;
    struct plan_constant *constants; /* of two with one name the later one holds */
    size_t constant_count;
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
    bool foreign;       /* another compiler's code */
};

/* Plans a function and appends it to `plans`. What Python cannot call gets a refusal. Returns 0; or -1 with the
 * spot of what is wrong in the declaration (an empty message: no memory). */
int plan_function(struct plans *plans, const struct plan_context *context,
                  const struct declaration *declaration, struct spot *spot);

/* Plans a variable and appends it to `plans`; one that Python cannot see gets a refusal. Returns 0, or -1 when
 * memory is out. */
int plan_file_variable(struct plans *plans, const struct declaration *declaration);

/* Appends the constants of a unit that stand in what the user wrote, his headers included. Returns 0, or -1
 * when memory is out. */
int plan_constants(struct plans *plans, const struct declarations *declarations);

/* ---- What plan.c and plan_record.c share ---- */

/* NumPy's number of an arithmetic type, or PLAN_NONE. */
int plan_number(const struct type *type);

/* The type that an array's elements have in the end; how many dimensions there are. */
const struct type *plan_element(const struct type *type, int *dimensions);

/* Why a struct cannot be passed itself; NULL: it can. `foreign`: to code of another compiler. What is passed is a
 * struct of our own with the same members, so that these must lie where they do by nature. */
const char *plan_value_refusal(const struct plans *plans, int record, bool foreign);

/* Names the records without a tag by the typedefs among the declarations. Returns 0, or -1 when memory is out. */
int plan_name_records(struct plans *plans, const struct declarations *declarations);

/* The record of a struct or union, planned on first sight: PLAN_RECORD and its index. PLAN_NONE, with `reason`
 * in words that follow "has" where NumPy has no dtype for it, or it is not complete (NULL); or, without
 * memory, "no memory". */
int plan_record_of(struct plans *plans, const struct type *type, const char **reason);

#endif

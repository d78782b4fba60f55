/* expression.h: an expression, or the assignments of blitz, as a Python object; its names and their values. */
#ifndef TINYWEAVE_EXPRESSION_H
#define TINYWEAVE_EXPRESSION_H

#include "evaluation.h"
#include "interpret.h"
#include "lookup.h"

/* So many names have their values on the stack. */
enum { BINDINGS_SMALL = 32 };

enum expression_kind {
    EXPRESSION_NUMPY,
    EXPRESSION_FAST,       /* math="fast" */
    EXPRESSION_STATEMENTS, /* assignments */
    EXPRESSION_KINDS
};

struct expression {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject *module;
    struct state *state;
    struct formula *formula;
    enum expression_kind kind;
    struct partition *partition; /* NULL: not cut into regions yet */
    struct partition *apart;     /* with its root computed by NumPy, for options; NULL: not yet */
    bool *index_names;           /* by name: stands in indices only */
    Py_ssize_t *hints;           /* by name: where among the caller's fast locals it was */
};

/* Operands by name, owned. */
struct bindings {
    PyObject *small[BINDINGS_SMALL];
    PyObject **values;
    Py_ssize_t count;
};

/* Makes room. Returns 0, or -1 with an exception; bindings_finish is owed either way. */
int bindings_start(struct bindings *names, const struct expression *expression);
void bindings_finish(struct bindings *names);

/* Takes a value (borrowed) as the operand of a name. */
int bindings_set(struct bindings *names, const struct expression *expression, Py_ssize_t index,
                 PyObject *value, const char *function);

/* Takes the values of all names. Where one is not found, a NameError that points into the text; with `missing` its
 * value stays NULL instead. */
int bindings_look_up(struct bindings *names, struct expression *expression,
                     const struct lookup *lookup, bool missing, const char *function);
PyObject *bindings_missing(const struct expression *expression, Py_ssize_t index,
                           const struct lookup *lookup, const char *function);

/* The expression of a text, kept for the next time; a new reference. NULL with an exception. */
struct expression *expression_obtain(PyObject *module, PyObject *text, enum expression_kind kind,
                                     const char *function);

/* A new one, known to nobody else. */
struct expression *expression_new(PyObject *module, PyObject *text, enum expression_kind kind,
                                  const char *function);

/* The partition to start with, borrowed; `apart`: with the root computed by NumPy. NULL with an exception. */
struct partition *expression_partition(struct expression *expression, bool apart);

/* Keeps the cuts that an evaluation found necessary; those of one that failed may be due to its values. */
void expression_keep(struct expression *expression, struct partition *partition, bool apart,
                     bool failed);

/* Evaluates it. NULL with an exception. */
PyObject *expression_run(struct expression *expression, PyObject *const *names,
                         const struct result_options *options, const char *function);

/* Appends what was made of each region, for each set of types. Returns 0, or -1 when memory is out. */
int expression_describe(const struct expression *expression, struct buffer *text);

/* Adds the type to the module; 0, or -1 with an exception. */
int expression_init(PyObject *module);

#endif

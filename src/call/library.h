/* library.h: tw.Library, the object.
 *
 * A Library keeps its sources and options, its plans, and a kernel for each dtype that was asked for
 * (generic sources), or one.
 */
#ifndef TINYWEAVE_CALL_LIBRARY_H
#define TINYWEAVE_CALL_LIBRARY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../frontend/loop.h"
#include "../state.h"
#include "function.h"
#include "options.h"

struct library {
    PyObject_HEAD;
    PyObject *weak_references;
    PyObject *module;    /* whose state is ours */
    PyObject *name;      /* a str */
    PyObject *texts;     /* a tuple of (bytes, path as bytes or None) */
    PyObject *options;   /* canonical; NULL: none */
    PyObject *functions; /* name -> Function */
    PyObject *constants; /* name -> int, float or bytes */
    PyObject *declare;   /* the prototypes that stand apart, as bytes; NULL: none */
    PyObject *wanted;    /* a tuple of str: the only functions to be had; NULL: all */
    PyObject *key;       /* all that was asked for: in the table of Libraries, and in a pickle */
    struct plans plans;
    struct function_library shared;
    unsigned variables; /* those whose list the user gave: they are generic in any case */
    bool force;         /* its kernels are its own */
    enum loop_kind
        loops; /* LOOP_NONE, or it was made for a ufunc of one function, and is not to be seen */
    size_t loop_plan;        /* the index of its plan */
    bool picks;              /* its name picks the function */
    struct buffer headers;   /* the user's headers, as they were read */
    struct kernel **kernels; /* by binding_index of the plans' variables */
};

/* The public function that made it, as messages name it: "compile", "ufunc" or "gufunc". */
const char *library_maker(const struct library *library);
const char *library_maker_name(enum loop_kind loops);

/* What was asked for, from the arguments on. */
struct library_request {
    PyObject *source;
    PyObject *letters[TYPE_VARIABLES];
    PyObject *name;
    PyObject *declare;
    PyObject *functions;
    enum loop_kind loops;
    struct options_given given;
    bool has_options;
    bool force;
    bool lazy; /* out of a pickle: compiled on first use */
};

/* Reads and, where nothing speaks against it, compiles. `texts` are source_read's, `options` canonical or NULL, `key`
 * what stands for all of it. Returns a new reference, or NULL with an exception. */
PyObject *library_new(PyObject *module, const struct library_request *request, PyObject *texts,
                      PyObject *options, PyObject *key);

/* The kernel for a binding, compiled if need be; see function_kernel. */
function_kernel library_kernel;

/* A binding with all of the Library's type variables: the first of the list where one is not bound. */
struct binding library_binding(const struct library *library, const struct binding *given);

/* Keeps a kernel, unless another thread was first. Returns the one that is kept, borrowed; NULL for NULL. */
struct kernel *library_keep_kernel(struct library *library, const struct binding *binding,
                                   struct kernel *kernel);

/* Whether the user's headers are no longer what the Library was made of. */
bool library_headers_changed(struct library *library);

extern PyType_Spec library_spec; /* of tw.Library */

#endif

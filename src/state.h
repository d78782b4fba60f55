/* state.h: all that the module owns; it is passed down. There are no other mutable globals but
 * libtcc's lock (backend/tcc.c), the pool of threads (runtime/threads.c), what a thread is in (runtime/stdio.c,
 * call/callback.c, runtime/extension.c) and the tables that NumPy's import_array sets (call/arguments.c).
 */
#ifndef TINYWEAVE_STATE_H
#define TINYWEAVE_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../cache/disk.h"
#include "../cache/memory.h"
#include "backend/code.h"
#include "backend/loader.h"
#include "backend/tcc.h"

/* Keywords of inline and other names that are compared by identity: interned once. */
#define STATE_NAMES(NAME)                                                                          \
    NAME(code)                                                                                     \
    NAME(arg_names)                                                                                \
    NAME(local_dict)                                                                               \
    NAME(global_dict)                                                                              \
    NAME(support_code)                                                                             \
    NAME(headers)                                                                                  \
    NAME(define_macros)                                                                            \
    NAME(undef_macros)                                                                             \
    NAME(include_dirs)                                                                             \
    NAME(libraries)                                                                                \
    NAME(library_dirs)                                                                             \
    NAME(extra_compile_args)                                                                       \
    NAME(force)                                                                                    \
    NAME(check_size)                                                                               \
    NAME(math)                                                                                     \
    NAME(expr)                                                                                     \
    NAME(verbose)                                                                                  \
    NAME(warnings)                                                                                 \
    NAME(filters)                                                                                  \
    NAME(astype)                                                                                   \
    NAME(casting)                                                                                  \
    NAME(copy)                                                                                     \
    NAME(dtype)                                                                                    \
    NAME(order)                                                                                    \
    NAME(out)                                                                                      \
    NAME(same_kind)                                                                                \
    NAME(where)

struct state {
    PyObject *compile_error;  /* tw.CompileError */
    PyTypeObject *cache_type; /* of tw.cache */
    PyTypeObject *info_type;  /* of tw.cache.info() */
    PyTypeObject *library_type;
    PyTypeObject *function_type;
    struct tcc *tcc;
    struct code_heap *heap;
    struct image *helpers; /* libtcc1.a, loaded when first needed */
    struct disk *disk;
    struct memory kernels;  /* kernels of inline, by key */
    struct flight *flights; /* keys being compiled (cache/kernel.c) */
    PyObject *empty_tuple;
    PyObject *ufuncs; /* a tuple of NumPy's functions (call/ufuncs.h) */
    PyTypeObject *expression_type;
    PyObject
        *errstate; /* the last settings of numpy.errstate seen, and what they say (call/blitz.c) */
    int errstate_raises;
    PyObject *expressions
        [3]; /* text -> Expression, by enum expression_kind: the last ones used (call/expression.c) */
    PyObject *sites;     /* code -> capsule of its struct site (call/inline.c) */
    PyObject *libraries; /* key -> Library: the last ones used, oldest first (call/compile.c) */
    PyObject *thunks;    /* signature -> bytes: the objects of callbacks (call/callback.c) */
    PyObject *living_libraries; /* a WeakValueDictionary of all that live */
    char *package_folder;       /* where the shims lie */
    char *numpy_version;
    void **numpy_api; /* NumPy's tables of functions, for units that include its headers */
    void **numpy_ufunc_api;
    int numpy_runtime_version; /* NPY_FEATURE_VERSION of the running NumPy */
    struct formula_classes
        *formula_classes; /* made when the first formula is read (frontend/formula.c) */
    size_t compiles;
    size_t memory_hits;
    size_t
        extensions; /* modules whose init code was entered: their code stays (call/extension.c) */
    bool
        code_stays; /* the interpreter is ending, and C's threads may still be in a Library (call/library.c) */
    size_t load_errors; /* objects from disk the loader refused */
#define FIELD(name) PyObject *name_##name;
    STATE_NAMES(FIELD)
#undef FIELD
};

/* Raises the exception a problem stands for (not PROBLEM_COMPILE and PROBLEM_SYMBOL, which need the
 * user's text). Returns NULL. */
PyObject *state_raise(const struct problem *problem, PyObject *system_error);

/* Appends the folders of the shims, of Python's and NumPy's headers where `python` asks for them, and of
 * libc's. Returns 0, or -1 (with an exception where Python left one). */
int state_system_folders(struct state *state, bool python, struct strings *folders);

#endif

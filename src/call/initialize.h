/* initialize.h: an extension module's init function -> the module, as CPython's import would have it. */
#ifndef TINYWEAVE_INITIALIZE_H
#define TINYWEAVE_INITIALIZE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* "PyInit_" of the last part of a module's name; "PyInitU_" and its punycode where that is not ASCII (PEP 489);
 * "init" with `old`. Returns bytes, or NULL with an exception. */
PyObject *initialize_function_name(PyObject *name, bool old);

/* What is entered, and how. */
struct module_start {
    PyObject *name;     /* the full name */
    PyObject *path;     /* of the source, bytes; None: it is a text */
    void *function;     /* PyInit_NAME, or initNAME */
    const char *symbol; /* its name, for messages */
    bool old;           /* initNAME: returns nothing */
    bool finds_state;   /* the module calls PyState_FindModule */
};

/* Runs init code and returns what an import would return, or NULL with the exception. While it runs the module
 * stands in sys.modules under its name; afterwards sys.modules has there what it had before. */
PyObject *initialize_module(const struct module_start *start);

#endif

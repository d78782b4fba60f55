/* python.h: Python's macros and inline functions as functions, for code compiled without Python.h.
 *
 * python_Py_INCREF is what user code calls Py_INCREF, and so on: the list is symbols.def's. They take
 * `void *` where the macros cast, so that a pointer to any object passes.
 */
#ifndef TINYWEAVE_PYTHON_H
#define TINYWEAVE_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define PYTHON_MACRO(returns, name, parameters) returns python_##name parameters;
#include "symbols.def"

#endif

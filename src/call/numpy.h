/* numpy.h: NumPy's C API for the files of this folder, through tables that arguments.c imports. */
#ifndef TINYWEAVE_NUMPY_H
#define TINYWEAVE_NUMPY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef NPY_ABI_VERSION
#error "NumPy's own headers come behind this one: else their tables stay empty"
#endif
#define PY_ARRAY_UNIQUE_SYMBOL tinyweave_array_api
#define PY_UFUNC_UNIQUE_SYMBOL tinyweave_ufunc_api
#ifndef TINYWEAVE_IMPORTS_NUMPY /* which one file defines, where the tables then lie */
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/arrayobject.h>
#include <numpy/arrayscalars.h>

#endif

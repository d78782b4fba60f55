/* source.h: the `source` argument of compile and extension: C texts and files. */
#ifndef TINYWEAVE_SOURCE_H
#define TINYWEAVE_SOURCE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../unit.h"

/* A str is C text, an os.PathLike a file, a list or tuple several translation units. Returns a tuple of
 * (bytes, path as bytes or None), one for each; or NULL with an exception that names `function`. A file is read
 * here, without a byte order mark. */
PyObject *source_read(PyObject *source, const char *function);

/* Appends the folder of a path (bytes): the headers beside a file are searched first. Returns 0, or -1 when memory
 * is out. */
int source_add_folder(PyObject *path, struct strings *folders);

#endif

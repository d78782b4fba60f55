/* source.h: the `source` argument of compile and extension: C texts and files. */
#ifndef TINYWEAVE_SOURCE_H
#define TINYWEAVE_SOURCE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../frontend/lexer.h"
#include "../frontend/preamble.h"
#include "options.h"

/* A str is C text, an os.PathLike a file, a list or tuple several translation units. Returns a tuple of
 * (bytes, path as bytes or None), one for each; or NULL with an exception that names `function`. A file is read
 * here, without a byte order mark. */
PyObject *source_read(PyObject *source, const char *function);

/* Appends the folder of a path (bytes): the headers beside a file are searched first. Returns 0, or -1 when memory
 * is out. */
int source_add_folder(PyObject *path, struct strings *folders);

/* The folders of all texts that were files, in front of the user's include_dirs. Returns 0, or -1 when memory is
 * out. */
int source_add_folders(PyObject *texts, struct options *options);

/* How messages call a text. */
struct source_label {
    char label[48];    /* "tw:source", or "tw:source[2]" of several */
    char argument[48]; /* without "tw:" */
};

/* The sources of a unit: macros and headers out of the options, then the text of that index. They point into all of
 * these. */
void source_fill(PyObject *texts, size_t index, const struct options *options,
                 struct source_label *label, struct source sources[PREAMBLE_TEXTS + 1]);

/* The file that a place in a source stands in: the header, or the file that the text was read from; "" for a text.
 * `labels` are those of all texts. */
const char *source_file(PyObject *texts, const struct source_label *labels,
                        const struct source *source);

#endif

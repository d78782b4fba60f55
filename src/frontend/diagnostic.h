/* diagnostic.h: a message of libtcc or of the loader -> tw.CompileError with the user's own line. */
#ifndef TINYWEAVE_DIAGNOSTIC_H
#define TINYWEAVE_DIAGNOSTIC_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../problem.h"
#include "lexer.h"

/* Finds the place a PROBLEM_COMPILE or PROBLEM_SYMBOL speaks of, and a message in the user's terms:
 * the label of a source is turned into its line (clamped to the text), a line of generated text into
 * the last line of the snippet, a missing ';' is shown where it is missing, not one line on;
 * "implicit declaration of function 'sqr'" becomes "undeclared function 'sqr'; did you mean 'sqrt'?".
 * A file of the user's own (after #line, or a header) is kept: `file` then has its name, else is "". */
void diagnostic_locate(const struct problem *problem, const struct source *sources, size_t count,
                       struct spot *spot, char file[256]);

/* Raises `type` (CompileError, a SyntaxError) with msg, filename, lineno, offset, text, so that Python
 * shows the line and a caret. `function` is the public function called ("inline"); the filename names it,
 * the argument and the Python call site: "<inline code, script.py:12>", unless `file` is not "".
 * offset is counted in characters, from 1. Returns NULL. */
PyObject *diagnostic_raise(PyObject *type, const char *function, const struct spot *spot,
                           const char *file);

#endif

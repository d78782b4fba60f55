/* tree.h: a text of Python -> the tree of Python's own parser, and places in the text.
 *
 * The text is only parsed, never compiled or run.
 */
#ifndef TINYWEAVE_TREE_H
#define TINYWEAVE_TREE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#define TREE_TEXT_LIMIT 1000000 /* characters */

/* A part of a text, as it was given: lines from 1, columns from 0 in characters; the end is behind the part. */
struct span {
    int line, column;
    int end_line, end_column;
};

struct tree {
    PyObject *text; /* borrowed: an exact str */
    PyObject *root; /* owned: an ast.Expression or ast.Module */
    bool deep;      /* maybe too deep for the caller's stack */
    struct tree_line *lines;
    int line_count;
    int *
        characters; /* for each byte of the text in UTF-8 the number of characters before it; NULL for ASCII */
};

/* Parses an expression (`statements` false), around which blanks, comments and empty lines may stand, or
 * statements, whose common indentation is taken away as textwrap.dedent does (comments alone do not count).
 * Returns 0, or -1 with a SyntaxError, its filename "<tinyweave>", on a place of the text as it was given. */
int tree_parse(PyObject *text, bool statements, struct tree *tree);
void tree_free(struct tree *tree);

/* The column, in characters, of what the tree calls column `column` (bytes) of line `line` (from 1). */
int tree_column(const struct tree *tree, int line, int column);

/* Sets an exception of that class about a part of the text. A SyntaxError has its fields set (of a very long line
 * text is the start, or None where the part lies behind it); of any other class the message ends with the line and a
 * caret under the part. */
void span_raise(PyObject *text, const struct span *span, PyObject *exception, const char *format,
                ...);
void span_raise_list(PyObject *text, const struct span *span, PyObject *exception,
                     const char *format, va_list values);

#endif

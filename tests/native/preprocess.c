/* preprocess.c: the preprocessor, for tests through ctypes.PyDLL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "../../src/frontend/preprocess.h"

enum { SOURCE_LIMIT = 8 };

struct texts {
    struct source items[SOURCE_LIMIT];
    size_t count;
};

/* (line, column, message, index of the source; -1: in none of them) */
static PyObject *
spot_tuple(const struct spot *spot, const struct texts *texts)
{
    int index = -1;
    for (size_t i = 0; i < texts->count; i++) {
        index = spot->source == &texts->items[i] ? (int)i : index;
    }
    return Py_BuildValue("iisi", spot->line, spot->column, spot->message, index);
}

/* Scans [(label, text)]; the strings stay the list's. Returns 0, or -1 with an exception. */
static int
scan_texts(PyObject *list, struct texts *texts)
{
    for (Py_ssize_t i = 0; i < PyList_Size(list) && i < SOURCE_LIMIT; i++) {
        struct source *source = &texts->items[i];
        struct spot spot;
        Py_ssize_t length;
        if (!PyArg_ParseTuple(PyList_GetItem(list, i), "sy#", &source->label, &source->text,
                              &length)) {
            return -1;
        }
        source->argument = source->label;
        source->length = (size_t)length;
        if (lexer_scan(source, &spot) < 0) {
            PyErr_SetString(PyExc_ValueError, spot.message);
            return -1;
        }
        texts->count++;
    }
    return 0;
}

/* [(kind, directive, first, spelling, line, column, label)], TOKEN_END included. */
static PyObject *
expanded_list(const struct expanded *expanded)
{
    PyObject *list = PyList_New((Py_ssize_t)expanded->count + 1);
    for (size_t i = 0; i <= expanded->count; i++) {
        const struct token *token = &expanded->items[i];
        const struct source *from = expanded->from[i];
        PyList_SetItem(list, (Py_ssize_t)i,
                       Py_BuildValue("iiiy#iis", (int)token->kind, (int)token->directive,
                                     (int)token->first, token->start, (Py_ssize_t)token->length,
                                     token->line, token->column,
                                     from != NULL ? from->label : NULL));
    }
    return list;
}

static PyObject *
expand_texts(const struct texts *texts, const struct strings *folders)
{
    struct includes includes;
    if (include_follow(texts->items, texts->count, folders, &includes) < 0) {
        return PyErr_NoMemory();
    }
    struct expanded expanded;
    struct spot spot;
    int result;
    Py_BEGIN_ALLOW_THREADS;
    result = preprocess(texts->items, texts->count, &includes, folders, &expanded, &spot);
    Py_END_ALLOW_THREADS;
    PyObject *list = result < 0 ? spot_tuple(&spot, texts) : expanded_list(&expanded);
    if (result == 0) {
        preprocess_free(&expanded);
    }
    includes_free(&includes);
    return list;
}

/* The tokens of [(label, text)], or the spot of a limit. */
PyObject *
preprocess_texts(PyObject *list, PyObject *folders)
{
    struct texts texts = {.count = 0};
    struct strings strings = {NULL, 0};
    for (Py_ssize_t i = 0; i < PyList_Size(folders); i++) {
        const char *folder = PyBytes_AsString(PyList_GetItem(folders, i));
        strings_append(&strings, folder, strlen(folder));
    }
    PyObject *result = scan_texts(list, &texts) < 0 ? NULL : expand_texts(&texts, &strings);
    for (size_t i = 0; i < texts.count; i++) {
        lexer_free(&texts.items[i]);
    }
    strings_free(&strings);
    return result;
}

/* text.c: the front end's text functions, for tests through ctypes.PyDLL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "../../src/frontend/diagnostic.h"
#include "../../src/frontend/include.h"
#include "../../src/frontend/lexer.h"

enum { SOURCE_LIMIT = 8 };

struct texts {
    struct source items[SOURCE_LIMIT];
    size_t count;
};

/* (line, column, message) */
static PyObject *
spot_tuple(const struct spot *spot)
{
    return Py_BuildValue(
        "iiN", spot->line, spot->column,
        PyUnicode_DecodeUTF8(spot->message, (Py_ssize_t)strlen(spot->message), "replace"));
}

static void
free_texts(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        lexer_free(&texts->items[i]);
    }
}

/* Scans [(label, argument, text)]; the strings stay the list's. Returns 0, or -1 with the spot or an
 * exception. */
static int
scan_texts(PyObject *list, struct texts *texts, struct spot *spot)
{
    texts->count = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(list) && i < SOURCE_LIMIT; i++) {
        struct source *source = &texts->items[i];
        Py_ssize_t length;
        if (!PyArg_ParseTuple(PyList_GetItem(list, i), "ssy#", &source->label, &source->argument,
                              &source->text, &length)) {
            return -1;
        }
        source->length = (size_t)length;
        if (lexer_scan(source, spot) < 0) {
            return -1;
        }
        texts->count++;
    }
    return 0;
}

static PyObject *
scan_failure(struct texts *texts, const struct spot *spot)
{
    free_texts(texts);
    return PyErr_Occurred() ? NULL : spot_tuple(spot);
}

/* [(kind, directive, first, offset, length, line, column)], TOKEN_END included, or the spot. */
PyObject *
text_tokens(PyObject *list)
{
    struct texts texts;
    struct spot spot;
    if (scan_texts(list, &texts, &spot) < 0) {
        return scan_failure(&texts, &spot);
    }
    const struct source *source = &texts.items[0];
    PyObject *result = PyList_New(0);
    for (size_t i = 0; i <= source->tokens.count; i++) {
        const struct token *token = &source->tokens.items[i];
        PyObject *tuple =
            Py_BuildValue("iiinnii", (int)token->kind, (int)token->directive, (int)token->first,
                          (Py_ssize_t)(token->start - source->text), (Py_ssize_t)token->length,
                          token->line, token->column);
        PyList_Append(result, tuple);
        Py_DECREF(tuple);
    }
    free_texts(&texts);
    return result;
}

/* None, or the spot. */
PyObject *
text_check(PyObject *list, int snippet)
{
    struct texts texts;
    struct spot spot;
    if (scan_texts(list, &texts, &spot) < 0) {
        return scan_failure(&texts, &spot);
    }
    int result = check_source(&texts.items[0], snippet, &spot);
    free_texts(&texts);
    return result < 0 ? spot_tuple(&spot) : Py_NewRef(Py_None);
}

/* Raises `type` for the spot of check_source or of lexer_scan; None when there is none. */
PyObject *
text_check_raise(PyObject *list, int snippet, PyObject *type)
{
    struct texts texts;
    struct spot spot;
    int result = scan_texts(list, &texts, &spot);
    if (result == 0) {
        result = check_source(&texts.items[0], snippet, &spot);
    }
    PyObject *none = PyErr_Occurred() ? NULL : Py_None;
    if (result < 0 && none != NULL) {
        none = diagnostic_raise(type, "inline", &spot, "");
    }
    free_texts(&texts);
    return Py_XNewRef(none);
}

/* Raises `type` for a message of libtcc, or for undefined symbols. */
PyObject *
text_raise(PyObject *list, int kind, const char *message, PyObject *type)
{
    struct texts texts;
    struct spot spot;
    if (scan_texts(list, &texts, &spot) < 0) {
        return scan_failure(&texts, &spot);
    }
    struct problem problem;
    problem_set(&problem, (enum problem_kind)kind, "%s", message);
    char file[256];
    diagnostic_locate(&problem, texts.items, texts.count, &spot, file);
    diagnostic_raise(type, "inline", &spot, file);
    free_texts(&texts);
    return NULL;
}

/* (contents, any, computed, python, numpy), or the spot. */
PyObject *
text_include(PyObject *list, PyObject *folders)
{
    struct texts texts;
    struct spot spot;
    struct strings strings = {NULL, 0};
    if (scan_texts(list, &texts, &spot) < 0) {
        return scan_failure(&texts, &spot);
    }
    for (Py_ssize_t i = 0; i < PyList_Size(folders); i++) {
        const char *folder = PyBytes_AsString(PyList_GetItem(folders, i));
        strings_append(&strings, folder, strlen(folder));
    }
    struct includes includes;
    PyObject *result = NULL;
    if (include_follow(texts.items, texts.count, &strings, &includes) < 0) {
        PyErr_NoMemory();
    }
    else {
        result =
            Py_BuildValue("y#iiii", includes.contents.data != NULL ? includes.contents.data : "",
                          (Py_ssize_t)includes.contents.size, includes.any, includes.computed,
                          includes.python, includes.numpy);
        includes_free(&includes);
    }
    strings_free(&strings);
    free_texts(&texts);
    return result;
}

/* source.c: the `source` argument of compile and extension: C texts and files. */
#include "source.h"

#include <string.h>

static PyObject *
read_file(PyObject *path)
{
    PyObject *io = PyImport_ImportModule("io");
    PyObject *file = io == NULL ? NULL : PyObject_CallMethod(io, "open", "Os", path, "rb");
    PyObject *bytes = file == NULL ? NULL : PyObject_CallMethod(file, "read", NULL);
    PyObject *closed = file == NULL ? NULL : PyObject_CallMethod(file, "close", NULL);
    if (closed == NULL) {
        Py_CLEAR(bytes);
    }
    Py_XDECREF(closed);
    Py_XDECREF(file);
    Py_XDECREF(io);
    return bytes;
}

/* Editors put a byte order mark in front, which is no C. Takes the reference. */
static PyObject *
without_mark(PyObject *bytes)
{
    if (bytes == NULL || !PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) < 3 ||
        memcmp(PyBytes_AS_STRING(bytes), "\xef\xbb\xbf", 3) != 0) {
        return bytes;
    }
    PyObject *rest =
        PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytes) + 3, PyBytes_GET_SIZE(bytes) - 3);
    Py_DECREF(bytes);
    return rest;
}

/* A str is C text, an os.PathLike a file -> (bytes, path or None) */
static PyObject *
read_text(PyObject *source, const char *function)
{
    if (PyUnicode_Check(source)) {
        PyObject *bytes = without_mark(PyUnicode_AsUTF8String(source));
        return bytes == NULL ? NULL : Py_BuildValue("(NO)", bytes, Py_None);
    }
    if (!PyObject_HasAttrString(source, "__fspath__")) {
        PyErr_Format(PyExc_TypeError,
                     "%s(): 'source' must be str, the C text, an os.PathLike of a file, or a "
                     "list of these, not %.100s",
                     function, Py_TYPE(source)->tp_name);
        return NULL;
    }
    PyObject *path = NULL;
    if (PyUnicode_FSConverter(source, &path) == 0) {
        return NULL;
    }
    PyObject *bytes = without_mark(read_file(source));
    PyObject *pair = bytes == NULL ? NULL : PyTuple_Pack(2, bytes, path);
    Py_XDECREF(bytes);
    Py_DECREF(path);
    return pair;
}

PyObject *
source_read(PyObject *source, const char *function)
{
    PyObject *items = PyList_Check(source) || PyTuple_Check(source) ? PySequence_Tuple(source)
                                                                    : PyTuple_Pack(1, source);
    Py_ssize_t count = items == NULL ? 0 : PyTuple_GET_SIZE(items);
    PyObject *texts = items == NULL ? NULL : PyTuple_New(count);
    for (Py_ssize_t i = 0; texts != NULL && i < count; i++) {
        PyObject *text = read_text(PyTuple_GET_ITEM(items, i), function);
        if (text == NULL) {
            Py_CLEAR(texts);
        }
        else {
            PyTuple_SET_ITEM(texts, i, text);
        }
    }
    Py_XDECREF(items);
    if (texts != NULL && count == 0) {
        PyErr_Format(PyExc_ValueError, "%s(): 'source' is an empty list", function);
        Py_CLEAR(texts);
    }
    return texts;
}

int
source_add_folder(PyObject *path, struct strings *folders)
{
    const char *text = PyBytes_AS_STRING(path);
    const char *slash = strrchr(text, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - text);
    return strings_append(folders,
                          length > 0      ? text
                          : slash == text ? "/"
                                          : ".",
                          length > 0 ? length : 1);
}

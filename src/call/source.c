/* source.c: the `source` argument of compile and extension: C texts and files. */
#include "source.h"

#include <stdio.h>
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

static PyObject *
path_at(PyObject *texts, Py_ssize_t index)
{
    return PyTuple_GET_ITEM(PyTuple_GET_ITEM(texts, index), 1);
}

int
source_add_folders(PyObject *texts, struct options *options)
{
    struct strings folders = {0};
    int result = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts) && result == 0; i++) {
        PyObject *path = path_at(texts, i);
        result = path == Py_None ? 0 : source_add_folder(path, &folders);
    }
    for (size_t i = 0; i < options->include_dirs.count && result == 0; i++) {
        const char *folder = options->include_dirs.items[i];
        result = strings_append(&folders, folder, strlen(folder));
    }
    strings_free(&options->include_dirs);
    options->include_dirs = folders;
    return result;
}

static struct source
make_source(const char *label, const char *argument, const char *text, size_t length)
{
    return (struct source){
        .label = label, .argument = argument, .text = length > 0 ? text : "", .length = length};
}

void
source_fill(PyObject *texts, size_t index, const struct options *options,
            struct source_label *label, struct source sources[PREAMBLE_TEXTS + 1])
{
    PyObject *text = PyTuple_GET_ITEM(PyTuple_GET_ITEM(texts, (Py_ssize_t)index), 0);
    bool several = PyTuple_GET_SIZE(texts) > 1;
    snprintf(label->argument, 40, several ? "source[%zu]" : "source", index);
    snprintf(label->label, sizeof(label->label), "tw:%.40s", label->argument);
    sources[PREAMBLE_MACROS] = make_source("tw:define_macros", "define_macros",
                                           options->macros.data, options->macros.size);
    sources[PREAMBLE_HEADERS] =
        make_source("tw:headers", "headers", options->headers.data, options->headers.size);
    sources[PREAMBLE_TEXTS] = make_source(label->label, label->argument, PyBytes_AS_STRING(text),
                                          (size_t)PyBytes_GET_SIZE(text));
}

const char *
source_file(PyObject *texts, const struct source_label *labels, const struct source *source)
{
    if (source != NULL && strncmp(source->label, "tw:", 3) != 0) {
        return source->label;
    }
    for (Py_ssize_t i = 0; source != NULL && i < PyTuple_GET_SIZE(texts); i++) {
        if (strcmp(source->label, labels[i].label) == 0 && path_at(texts, i) != Py_None) {
            return PyBytes_AS_STRING(path_at(texts, i));
        }
    }
    return "";
}

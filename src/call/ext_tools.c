/* ext_tools.c: what tinyweave/ext_tools.py asks of the core: types of values, snippets as C functions. */
#include "ext_tools.h"

#include <stdlib.h>
#include <string.h>

#include "../../runtime/symbols.h"
#include "../frontend/diagnostic.h"
#include "../frontend/snippet.h"
#include "../state.h"
#include "arguments.h"

#define FUNCTION "ext_function"

PyObject *
ext_tools_argument(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *name, *value;
    struct argument argument;
    struct argument_type type;
    if (!PyArg_ParseTuple(arguments, "UO:_ext_argument", &name, &value) ||
        argument_take(value, name, FUNCTION, &argument, &type) < 0) {
        return NULL;
    }
    return Py_BuildValue("siO", argument_kind_name(&type), (int)type.dtype,
                         type.readonly ? Py_True : Py_False);
}

/* ---- A snippet as a function ---- */

/* The arguments of _ext_function, and what is made of them. Texts are the caller's objects' own. */
struct build {
    struct state *state;
    const char *c_name;
    PyObject *names;        /* a tuple of str */
    PyObject *types;        /* a tuple of (kind, dtype, readonly) */
    PyObject *include_dirs; /* a tuple of paths */
    const char **c_names;
    struct argument_type *c_types;
    struct strings folders;
    struct snippet snippet;
};

static int
read_type(PyObject *item, struct argument_type *type)
{
    const char *letters;
    int dtype, readonly;
    if (!PyTuple_Check(item) || !PyArg_ParseTuple(item, "sip", &letters, &dtype, &readonly)) {
        PyErr_SetString(PyExc_TypeError, FUNCTION "(): a type is (kind, dtype, readonly)");
        return -1;
    }
    int kind = argument_kind_named(letters);
    *type =
        (struct argument_type){(unsigned char)kind, (unsigned char)dtype, (unsigned char)readonly};
    if (kind < 0 || argument_c_type(type) == NULL) {
        PyErr_Format(PyExc_ValueError, FUNCTION "(): no type of arguments: %R", item);
        return -1;
    }
    return 0;
}

static int
read_arguments(struct build *build)
{
    size_t count = (size_t)PyTuple_GET_SIZE(build->names);
    build->c_names = calloc(count + 1, sizeof(*build->c_names));
    build->c_types = calloc(count + 1, sizeof(*build->c_types));
    if (build->c_names == NULL || build->c_types == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if ((size_t)PyTuple_GET_SIZE(build->types) != count) {
        PyErr_SetString(PyExc_ValueError, FUNCTION "(): as many types as names are needed");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        build->c_names[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(build->names, (Py_ssize_t)i));
        if (build->c_names[i] == NULL ||
            read_type(PyTuple_GET_ITEM(build->types, (Py_ssize_t)i), &build->c_types[i]) < 0) {
            return -1;
        }
    }
    build->snippet.names = build->c_names;
    build->snippet.types = build->c_types;
    build->snippet.count = count;
    return 0;
}

static int
read_folders(struct build *build)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(build->include_dirs); i++) {
        PyObject *bytes;
        if (!PyUnicode_FSConverter(PyTuple_GET_ITEM(build->include_dirs, i), &bytes)) {
            return -1;
        }
        const char *text = PyBytes_AS_STRING(bytes);
        int result = strings_append(&build->folders, text, strlen(text));
        Py_DECREF(bytes);
        if (result < 0) {
            PyErr_NoMemory();
            return -1;
        }
    }
    build->snippet.include_dirs = &build->folders;
    return 0;
}

static int
read_request(struct build *build, PyObject *arguments)
{
    struct source *sources = build->snippet.sources;
    Py_ssize_t sizes[SNIPPET_SOURCES];
#define TEXT(index) &sources[index].text, &sizes[index]
    if (!PyArg_ParseTuple(arguments, "ss#sO!O!s#s#s#sO!:_ext_function", &build->c_name,
                          TEXT(SNIPPET_CODE), &sources[SNIPPET_CODE].label, &PyTuple_Type,
                          &build->names, &PyTuple_Type, &build->types, TEXT(SNIPPET_MACROS),
                          TEXT(SNIPPET_HEADERS), TEXT(SNIPPET_SUPPORT),
                          &sources[SNIPPET_SUPPORT].label, &PyTuple_Type, &build->include_dirs)) {
        return -1;
    }
#undef TEXT
    static const char *const given[] = {"define_macros", "headers", "support_code", "code"};
    for (int i = 0; i < SNIPPET_SOURCES; i++) {
        sources[i].length = (size_t)sizes[i];
        sources[i].argument = given[i];
    }
    sources[SNIPPET_MACROS].label = given[SNIPPET_MACROS];
    sources[SNIPPET_HEADERS].label = given[SNIPPET_HEADERS];
    build->snippet.plain = true;
    return read_arguments(build) < 0 || read_folders(build) < 0 ? -1 : 0;
}

static int
raise_spot(const struct build *build, const struct spot *spot)
{
    if (spot->message[0] == '\0') {
        PyErr_NoMemory();
        return -1;
    }
    diagnostic_raise(build->state->compile_error, FUNCTION, spot,
                     spot->source != NULL ? spot->source->label : "");
    return -1;
}

static int
write_function(struct build *build, struct buffer *text, struct buffer *headers)
{
    struct spot spot = {0};
    char message[300];
    if (snippet_check_names(&build->snippet, message) < 0) {
        PyErr_Format(PyExc_ValueError, FUNCTION "(): %s", message);
        return -1;
    }
    if (snippet_scan(&build->snippet, &spot) < 0 ||
        snippet_function(&build->snippet, build->c_name, text, headers, &spot) < 0) {
        return raise_spot(build, &spot);
    }
    return 0;
}

static PyObject *
list_dimensions(const struct snippet *snippet)
{
    PyObject *masks = PyTuple_New((Py_ssize_t)snippet->count);
    for (size_t i = 0; masks != NULL && i < snippet->count; i++) {
        PyObject *mask = PyLong_FromUnsignedLong(snippet_dimensions(snippet, i));
        if (mask == NULL) {
            Py_CLEAR(masks);
            break;
        }
        PyTuple_SET_ITEM(masks, (Py_ssize_t)i, mask);
    }
    return masks;
}

static PyObject *
make_result(const struct build *build, const struct buffer *text, const struct buffer *headers)
{
    PyObject *masks = list_dimensions(&build->snippet);
    return masks == NULL ? NULL
                         : Py_BuildValue("s#y#N", text->data, (Py_ssize_t)text->size,
                                         headers->data != NULL ? headers->data : "",
                                         (Py_ssize_t)headers->size, masks);
}

PyObject *
ext_tools_function(PyObject *module, PyObject *arguments)
{
    struct build build = {.state = PyModule_GetState(module)};
    struct buffer text = BUFFER_INIT, headers = BUFFER_INIT;
    PyObject *result = NULL;
    if (read_request(&build, arguments) == 0 && write_function(&build, &text, &headers) == 0) {
        result = make_result(&build, &text, &headers);
    }
    snippet_free(&build.snippet);
    strings_free(&build.folders);
    buffer_free(&text);
    buffer_free(&headers);
    free(build.c_names);
    free(build.c_types);
    return result;
}

/* ---- The macros ---- */

PyObject *
ext_tools_macros(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    size_t count;
    const struct symbol *symbols = symbol_list(&count);
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(symbols[i].name, "tw_", 3) == 0 && symbols[i].declaration[0] == '#') {
            buffer_append_string(&text, symbols[i].declaration);
            buffer_append_string(&text, "\n");
        }
    }
    PyObject *result = text.failed ? PyErr_NoMemory()
                                   : PyUnicode_FromStringAndSize(text.data, (Py_ssize_t)text.size);
    buffer_free(&text);
    return result;
}

/* toolchain.c: the machine's own C compiler, for the Python part of the package. */
#include "toolchain.h"

#include <string.h>

#include "../backend/native.h"
#include "../state.h"

const char toolchain_find_doc[] =
    "_native_compiler($module, command=None, /)\n--\n\nThe words of the C compiler's command.";
const char toolchain_build_doc[] =
    "_native_build($module, /, sources, output, *, include_dirs=(), macros=(), libraries=(),\n"
    "              library_dirs=(), extra_compile_args=(), extra_link_args=(), "
    "compiler=None)\n--\n\n"
    "Make a shared library by the machine's own C compiler; return what that printed.";

/* ---- Words ---- */

/* Appends `prefix` and a path or text, in the file system's encoding. Returns 0, or -1 with an exception. */
static int
append_word(struct strings *words, const char *prefix, PyObject *value)
{
    PyObject *bytes;
    if (!PyUnicode_FSConverter(value, &bytes)) {
        return -1;
    }
    struct buffer word = BUFFER_INIT;
    buffer_append_string(&word, prefix);
    buffer_append(&word, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    int result = word.failed || strings_append(words, word.data, word.size) < 0 ? -1 : 0;
    if (result < 0) {
        PyErr_NoMemory();
    }
    buffer_free(&word);
    Py_DECREF(bytes);
    return result;
}

typedef int append_function(struct strings *words, PyObject *item);

static int
append_plain(struct strings *words, PyObject *item)
{
    return append_word(words, "", item);
}

static int
append_include(struct strings *words, PyObject *item)
{
    return append_word(words, "-I", item);
}

static int
append_folder(struct strings *words, PyObject *item)
{
    return append_word(words, "-L", item);
}

/* "z" -> -lz; a path is itself. */
static int
append_library(struct strings *words, PyObject *item)
{
    PyObject *path = PyOS_FSPath(item);
    PyObject *text = path == NULL || PyUnicode_Check(path)
                         ? Py_XNewRef(path)
                         : PyUnicode_DecodeFSDefault(PyBytes_AS_STRING(path));
    Py_ssize_t slash =
        text == NULL ? -2 : PyUnicode_FindChar(text, '/', 0, PyUnicode_GET_LENGTH(text), 1);
    int result = slash == -2 ? -1 : append_word(words, slash < 0 ? "-l" : "", text);
    Py_XDECREF(path);
    Py_XDECREF(text);
    return result;
}

/* (name, value) -> -Dname=value; (name, None) -> -Uname. */
static int
append_macro(struct strings *words, PyObject *item)
{
    PyObject *name, *value;
    if (!PyTuple_Check(item) || !PyArg_ParseTuple(item, "UO", &name, &value)) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "_native_build(): 'macros' must hold (name, value), not %R",
                     item);
        return -1;
    }
    if (value == Py_None) {
        return append_word(words, "-U", name);
    }
    PyObject *definition = PyUnicode_FromFormat("%U=%S", name, value);
    int result = definition == NULL ? -1 : append_word(words, "-D", definition);
    Py_XDECREF(definition);
    return result;
}

/* NULL and None are no items. */
static int
append_each(struct strings *words, PyObject *items, append_function *append)
{
    if (items == NULL || items == Py_None) {
        return 0;
    }
    if (PyUnicode_Check(items) || PyBytes_Check(items)) {
        PyErr_Format(PyExc_TypeError, "_native_build(): expected a list, not %R", items);
        return -1;
    }
    PyObject *tuple = PySequence_Tuple(items);
    int result = tuple == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(tuple); i++) {
        result = append(words, PyTuple_GET_ITEM(tuple, i));
    }
    Py_XDECREF(tuple);
    return result;
}

/* ---- The compiler ---- */

/* python -m ziglang cc, where that package is installed. Returns 0, or -1 with an exception. */
static int
list_last_resort(struct strings *words)
{
    static const char *const arguments[] = {"-m", "ziglang", "cc"};
    PyObject *importlib = PyImport_ImportModule("importlib.util");
    PyObject *found =
        importlib == NULL ? NULL : PyObject_CallMethod(importlib, "find_spec", "s", "ziglang");
    PyObject *python = PySys_GetObject("executable"); /* borrowed */
    int result = found == NULL ? -1 : 0;
    if (result == 0 && found != Py_None && python != NULL && PyUnicode_Check(python) &&
        PyUnicode_GET_LENGTH(python) > 0) {
        result = append_word(words, "", python);
        for (int i = 0; result == 0 && i < 3; i++) {
            result = strings_append(words, arguments[i], strlen(arguments[i]));
            if (result < 0) {
                PyErr_NoMemory();
            }
        }
    }
    Py_XDECREF(importlib);
    Py_XDECREF(found);
    return result;
}

/* `command`: a str, or None or NULL for any. Returns 0, or -1 with an exception; native_free is owed. */
static int
find_compiler(PyObject *command, struct native *native)
{
    struct strings last = {NULL, 0};
    struct problem problem = {PROBLEM_NONE, ""};
    bool named = command != NULL && command != Py_None;
    PyObject *bytes = NULL;
    *native = (struct native){0};
    if (named && !PyUnicode_FSConverter(command, &bytes)) {
        return -1;
    }
    int result = named ? 0 : list_last_resort(&last);
    if (result == 0) {
        result = native_find(named ? PyBytes_AS_STRING(bytes) : NULL, &last, native, &problem);
        if (result < 0) {
            state_raise(&problem, PyExc_FileNotFoundError);
        }
    }
    Py_XDECREF(bytes);
    strings_free(&last);
    return result;
}

PyObject *
toolchain_find(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *command = Py_None;
    struct native native;
    if (!PyArg_ParseTuple(arguments, "|O:_native_compiler", &command)) {
        return NULL;
    }
    PyObject *words = NULL;
    if (find_compiler(command, &native) == 0) {
        words = PyTuple_New((Py_ssize_t)native.command.count);
    }
    for (size_t i = 0; words != NULL && i < native.command.count; i++) {
        PyObject *word = PyUnicode_DecodeFSDefault(native.command.items[i]);
        if (word == NULL) {
            Py_CLEAR(words);
            break;
        }
        PyTuple_SET_ITEM(words, (Py_ssize_t)i, word);
    }
    native_free(&native);
    return words;
}

/* ---- What it says ---- */

/* The line of the source that a message speaks of, as linecache finds it; None where it does not. */
static PyObject *
source_line(PyObject *filename, int number)
{
    PyObject *linecache = PyImport_ImportModule("linecache");
    PyObject *line = linecache == NULL
                         ? NULL
                         : PyObject_CallMethod(linecache, "getline", "Oi", filename, number);
    Py_XDECREF(linecache);
    if (line == NULL || PyUnicode_GetLength(line) == 0) {
        PyErr_Clear();
        Py_XSETREF(line, Py_NewRef(Py_None));
    }
    return line;
}

/* CompileError's arguments: (text, (file, line, column, source line)). */
static PyObject *
error_arguments(const struct native_error *error)
{
    PyObject *text = PyUnicode_DecodeUTF8(error->text, (Py_ssize_t)error->text_length, "replace");
    if (text == NULL || error->file_length == 0) {
        return text == NULL ? NULL : Py_BuildValue("(N)", text);
    }
    PyObject *filename =
        PyUnicode_DecodeFSDefaultAndSize(error->file, (Py_ssize_t)error->file_length);
    PyObject *line = filename == NULL ? NULL : source_line(filename, error->line);
    if (line == NULL) {
        Py_DECREF(text);
        Py_XDECREF(filename);
        return NULL;
    }
    PyObject *column = error->column > 0 ? PyLong_FromLong(error->column) : Py_NewRef(Py_None);
    return Py_BuildValue("(N(NiNN))", text, filename, error->line, column, line);
}

/* Raises CompileError with the first error's place; all that was said is its note. */
static void
raise_messages(PyObject *type, const char *messages)
{
    struct native_error first;
    PyObject *all = PyUnicode_DecodeUTF8(messages, (Py_ssize_t)strlen(messages), "replace");
    if (all == NULL) {
        return;
    }
    PyObject *arguments = native_first_error(messages, &first) == 0 ? error_arguments(&first)
                                                                    : Py_BuildValue("(O)", all);
    PyObject *error = arguments == NULL ? NULL : PyObject_CallObject(type, arguments);
    PyObject *noted = error == NULL ? NULL : PyObject_CallMethod(error, "add_note", "O", all);
    if (noted != NULL) {
        PyErr_SetObject(type, error);
    }
    Py_XDECREF(noted);
    Py_XDECREF(error);
    Py_XDECREF(arguments);
    Py_DECREF(all);
}

static void
raise_problem(const struct state *state, const struct problem *problem,
              const struct buffer *messages)
{
    if (problem->kind == PROBLEM_COMPILE) {
        raise_messages(state->compile_error, messages->size > 0 ? messages->data : problem->text);
    }
    else {
        state_raise(problem, PyExc_OSError);
    }
}

/* ---- Building ---- */

/* The arguments of _native_build as they came, borrowed. */
struct request {
    PyObject *sources, *output, *include_dirs, *macros, *libraries, *library_dirs;
    PyObject *compile_arguments, *link_arguments, *compiler;
};

static int
read_request(struct request *request, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"sources",
                            "output",
                            "include_dirs",
                            "macros",
                            "libraries",
                            "library_dirs",
                            "extra_compile_args",
                            "extra_link_args",
                            "compiler",
                            NULL};
    return PyArg_ParseTupleAndKeywords(
               arguments, keywords, "OO&|$OOOOOOO:_native_build", names, &request->sources,
               PyUnicode_FSConverter, &request->output, &request->include_dirs, &request->macros,
               &request->libraries, &request->library_dirs, &request->compile_arguments,
               &request->link_arguments, &request->compiler)
               ? 0
               : -1;
}

static int
fill_library(const struct request *request, struct native_library *library)
{
    struct strings *before = &library->compile_arguments, *behind = &library->link_arguments;
    library->output = PyBytes_AS_STRING(request->output);
    return append_each(&library->sources, request->sources, append_plain) < 0 ||
                   append_each(before, request->compile_arguments, append_plain) < 0 ||
                   append_each(before, request->macros, append_macro) < 0 ||
                   append_each(before, request->include_dirs, append_include) < 0 ||
                   append_each(behind, request->library_dirs, append_folder) < 0 ||
                   append_each(behind, request->libraries, append_library) < 0 ||
                   append_each(behind, request->link_arguments, append_plain) < 0
               ? -1
               : 0;
}

/* Runs without the GIL. Returns what was printed, or NULL with an exception. */
static PyObject *
run(const struct state *state, const struct native *native, const struct native_library *library)
{
    struct buffer messages = BUFFER_INIT;
    struct problem problem = {PROBLEM_NONE, ""};
    PyThreadState *thread = PyEval_SaveThread();
    int result = native_build(native, library, &messages, &problem);
    PyEval_RestoreThread(thread);
    PyObject *printed = NULL;
    if (PyErr_CheckSignals() == 0) { /* Ctrl-C ends the compiler as well; it is the reason then */
        if (result < 0) {
            raise_problem(state, &problem, &messages);
        }
        else {
            printed = PyUnicode_DecodeUTF8(messages.data != NULL ? messages.data : "",
                                           (Py_ssize_t)messages.size, "replace");
        }
    }
    buffer_free(&messages);
    return printed;
}

PyObject *
toolchain_build(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    struct request request = {0};
    struct native_library library = {0};
    struct native native = {0};
    PyObject *printed = NULL;
    if (read_request(&request, arguments, keywords) < 0) {
        return NULL;
    }
    if (fill_library(&request, &library) == 0 && find_compiler(request.compiler, &native) == 0) {
        printed = run(PyModule_GetState(module), &native, &library);
    }
    native_free(&native);
    strings_free(&library.sources);
    strings_free(&library.compile_arguments);
    strings_free(&library.link_arguments);
    Py_DECREF(request.output);
    return printed;
}

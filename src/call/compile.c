/* compile.c: tw.compile: its arguments, and the table of Libraries.
 *
 * The same sources and options give the same Library: the last ones are kept alive in state->libraries, all that
 * live are in state->living_libraries.
 */
#include "compile.h"

#include <stdlib.h>
#include <string.h>

#include "library_loops.h"
#include "source.h"

/* Libraries kept alive though nobody holds them. */
#define KEPT_LIBRARIES 128

/* What a Library's key holds: make_key(). */
enum { KEY_LENGTH = 8 };

int
compile_init(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    state->library_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &library_spec, NULL);
    state->function_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &function_spec, NULL);
    PyObject *weakref = PyImport_ImportModule("weakref");
    state->living_libraries =
        weakref == NULL ? NULL : PyObject_CallMethod(weakref, "WeakValueDictionary", NULL);
    Py_XDECREF(weakref);
    state->libraries = PyDict_New();
    state->thunks = PyDict_New();
    if (state->thunks == NULL || state->library_type == NULL || state->function_type == NULL ||
        state->living_libraries == NULL || state->libraries == NULL ||
        PyModule_AddObjectRef(module, "Library", (PyObject *)state->library_type) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Function", (PyObject *)state->function_type);
}

void
compile_clear(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    PyObject *result = PyObject_CallMethod(state->living_libraries, "clear", NULL);
    if (result == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(result);
    PyDict_Clear(state->libraries);
}

/* ---- The table of Libraries ---- */

/* Keeps a Library alive as the last one used, and lets go of the oldest beyond the limit. */
static int
keep_library(struct state *state, PyObject *key, PyObject *library)
{
    if (PyDict_SetItem(state->libraries, key, library) < 0) {
        return -1;
    }
    PyObject *oldest, *value;
    Py_ssize_t position = 0;
    if (PyDict_GET_SIZE(state->libraries) > KEPT_LIBRARIES &&
        PyDict_Next(state->libraries, &position, &oldest, &value)) {
        Py_INCREF(oldest);
        int result = PyDict_DelItem(state->libraries, oldest);
        Py_DECREF(oldest);
        return result;
    }
    return 0;
}

/* Returns a new reference; NULL with or without an exception. */
static PyObject *
find_library(struct state *state, PyObject *key)
{
    PyObject *library = Py_XNewRef(PyDict_GetItemWithError(state->libraries, key));
    if (library != NULL && PyDict_DelItem(state->libraries, key) < 0) {
        Py_CLEAR(library);
    }
    if (library == NULL && !PyErr_Occurred()) {
        library = PyObject_CallMethod(state->living_libraries, "get", "(O)", key);
        if (library == Py_None) {
            Py_CLEAR(library);
        }
    }
    if (library != NULL && library_headers_changed((struct library *)library)) {
        Py_CLEAR(library);
    }
    if (library != NULL && keep_library(state, key, library) < 0) {
        Py_CLEAR(library);
    }
    return library;
}

static PyObject *
make_library(PyObject *module, const struct library_request *request, PyObject *texts,
             PyObject *options, PyObject *key)
{
    struct state *state = PyModule_GetState(module);
    PyObject *library = library_new(module, request, texts, options, key);
    PyObject *first = NULL;
    if (library == NULL) {
        return NULL;
    }
    if (request->force) {
        return library;
    }
    first = find_library(state, key); /* another thread may have been first while libtcc worked */
    if (first != NULL || PyErr_Occurred()) {
        Py_DECREF(library);
        return first;
    }
    if (PyObject_SetItem(state->living_libraries, key, library) < 0 ||
        keep_library(state, key, library) < 0) {
        Py_CLEAR(library);
    }
    return library;
}

/* ---- Reading the arguments of compile itself ---- */

static int
set_text(const struct library_request *request, PyObject *name, PyObject *value, PyObject **place)
{
    if (value == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s(): '%U' must be str, not %.100s",
                     library_maker_name(request->loops), name, Py_TYPE(value)->tp_name);
        return -1;
    }
    *place = value;
    return 0;
}

static int
set_keyword(struct library_request *request, const struct state *state, PyObject *name,
            PyObject *value)
{
    if (PyUnicode_CompareWithASCIIString(name, "source") == 0 && request->source == NULL) {
        request->source = value;
        return 0;
    }
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        const char variable[] = {TYPE_VARIABLE_NAMES[i], '\0'};
        if (PyUnicode_CompareWithASCIIString(name, variable) == 0) {
            return set_text(request, name, value, &request->letters[i]);
        }
    }
    if (PyUnicode_CompareWithASCIIString(name, "declare") == 0) {
        return set_text(request, name, value, &request->declare);
    }
    if (PyUnicode_CompareWithASCIIString(name, "functions") == 0) {
        request->functions = value == Py_None ? NULL : value;
        return 0;
    }
    if (PyUnicode_CompareWithASCIIString(name, "name") == 0) {
        return set_text(request, name, value, &request->name);
    }
    if (PyUnicode_Compare(name, state->name_force) == 0) {
        int truth = PyObject_IsTrue(value);
        request->force = truth > 0;
        return truth < 0 ? -1 : 0;
    }
    if (PyUnicode_Compare(name, state->name_support_code) == 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes no 'support_code': put it in the source, "
                     "or give a list of sources",
                     library_maker_name(request->loops));
        return -1;
    }
    request->has_options = true;
    return options_set(&request->given, state, library_maker_name(request->loops), name, value);
}

static int
read_request(struct library_request *request, const struct state *state, PyObject *const *arguments,
             Py_ssize_t count, PyObject *keywords)
{
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes 1 positional argument (source), %zd given",
                     library_maker_name(request->loops), count);
        return -1;
    }
    request->source = count > 0 ? arguments[0] : NULL;
    Py_ssize_t keyword_count = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < keyword_count; i++) {
        if (set_keyword(request, state, PyTuple_GET_ITEM(keywords, i), arguments[count + i]) < 0) {
            return -1;
        }
    }
    if (request->source == NULL && request->declare == NULL && request->functions == NULL) {
        PyErr_Format(PyExc_TypeError, "%s() missing required argument: 'source'",
                     library_maker_name(request->loops));
        return -1;
    }
    return 0;
}

/* (text, path) -> the same, the path absolute: the process may move, or another one read the pickle. */
static PyObject *
absolute_text(PyObject *pair)
{
    PyObject *path = PyTuple_GET_ITEM(pair, 1);
    if (path == Py_None || PyBytes_AS_STRING(path)[0] == '/') {
        return Py_NewRef(pair);
    }
    PyObject *module = PyImport_ImportModule("os.path");
    PyObject *absolute = module == NULL ? NULL : PyObject_CallMethod(module, "abspath", "O", path);
    PyObject *result =
        absolute == NULL ? NULL : PyTuple_Pack(2, PyTuple_GET_ITEM(pair, 0), absolute);
    Py_XDECREF(module);
    Py_XDECREF(absolute);
    return result;
}

/* Takes the reference. */
static PyObject *
absolute_texts(PyObject *texts)
{
    PyObject *result = texts == NULL ? NULL : PyTuple_New(PyTuple_GET_SIZE(texts));
    for (Py_ssize_t i = 0; result != NULL && i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *pair = absolute_text(PyTuple_GET_ITEM(texts, i));
        if (pair == NULL) {
            Py_CLEAR(result);
            break;
        }
        PyTuple_SET_ITEM(result, i, pair);
    }
    Py_XDECREF(texts);
    return result;
}

/* No source at all is an empty one: functions of libraries. */
static PyObject *
request_texts(const struct library_request *request)
{
    return request->source == NULL
               ? Py_BuildValue("((yO))", "", Py_None)
               : absolute_texts(source_read(request->source, library_maker_name(request->loops)));
}

static PyObject *
or_none(PyObject *object)
{
    return object == NULL ? Py_None : object;
}

/* What was asked for, with the texts read and the options in order: equal for equal Libraries. A new
 * reference, or NULL with an exception. */
static PyObject *
make_key(const struct library_request *request, PyObject *texts, PyObject *options)
{
    return Py_BuildValue("(OOOOOOOs)", texts, or_none(options), or_none(request->letters[0]),
                         or_none(request->letters[1]), or_none(request->name),
                         or_none(request->declare), or_none(request->functions),
                         library_maker_name(request->loops));
}

/* Finds or makes the Library of a request whose texts are read. Returns a new reference, or NULL. */
static PyObject *
obtain_library(PyObject *module, struct library_request *request, PyObject *texts)
{
    struct state *state = PyModule_GetState(module);
    PyObject *options = NULL, *key = NULL, *library = NULL, *names = NULL;
    if (request->functions != NULL) {
        request->functions = names =
            options_names(request->functions, library_maker_name(request->loops), "functions");
    }
    if (!PyErr_Occurred() && request->has_options) {
        options = options_canonical(&request->given, library_maker_name(request->loops));
    }
    if (!PyErr_Occurred()) {
        key = make_key(request, texts, options);
    }
    if (key != NULL) {
        library = request->force ? NULL : find_library(state, key);
        if (library == NULL && !PyErr_Occurred()) {
            library = make_library(module, request, texts, options, key);
        }
    }
    Py_XDECREF(options);
    Py_XDECREF(names);
    Py_XDECREF(key);
    return library;
}

/* A Library out of a pickle may not be compiled yet. Takes the reference. */
static PyObject *
compiled(PyObject *library)
{
    static const struct binding none = BINDING_NONE;
    if (library != NULL && ((struct library *)library)->plans.variables == 0 &&
        library_kernel(library, &none) == NULL) {
        Py_CLEAR(library);
    }
    return library;
}

PyObject *
compile_library(PyObject *module, enum loop_kind loops, PyObject *const *arguments,
                Py_ssize_t count, PyObject *keywords)
{
    struct state *state = PyModule_GetState(module);
    struct library_request request = {.loops = loops};
    if (read_request(&request, state, arguments, count, keywords) < 0) {
        return NULL;
    }
    PyObject *texts = request_texts(&request);
    PyObject *library = texts == NULL ? NULL : compiled(obtain_library(module, &request, texts));
    Py_XDECREF(texts);
    return library;
}

/* ---- Out of a pickle ---- */

/* ((text, path or None), ...), bytes, and one at least. */
static bool
are_texts(PyObject *texts)
{
    bool good = PyTuple_Check(texts) && PyTuple_GET_SIZE(texts) > 0;
    for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *pair = PyTuple_GET_ITEM(texts, i);
        good = PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2 &&
               PyBytes_Check(PyTuple_GET_ITEM(pair, 0)) &&
               (PyTuple_GET_ITEM(pair, 1) == Py_None || PyBytes_Check(PyTuple_GET_ITEM(pair, 1)));
    }
    return good;
}

static PyObject *
none_as_null(PyObject *object)
{
    return object == Py_None ? NULL : object;
}

/* The request that a key of make_key() stands for. Returns 0, or -1 with a TypeError. */
static int
read_key(PyObject *key, struct library_request *request)
{
    PyObject **const places[] = {&request->letters[0], &request->letters[1], &request->name,
                                 &request->declare};
    PyObject *options = PyTuple_GET_SIZE(key) == KEY_LENGTH ? PyTuple_GET_ITEM(key, 1) : NULL;
    bool right = options != NULL && are_texts(PyTuple_GET_ITEM(key, 0)) &&
                 (options == Py_None ||
                  (PyTuple_Check(options) && PyTuple_GET_SIZE(options) == OPTION_COUNT));
    for (size_t i = 0; right && i < 4; i++) {
        PyObject *value = none_as_null(PyTuple_GET_ITEM(key, 2 + (Py_ssize_t)i));
        right = value == NULL || PyUnicode_Check(value);
        *places[i] = value;
    }
    if (!right) {
        PyErr_SetString(PyExc_TypeError, "this is no pickle of a Library of this version");
        return -1;
    }
    request->functions = none_as_null(PyTuple_GET_ITEM(key, 6));
    request->has_options = options != Py_None;
    for (Py_ssize_t i = 0; request->has_options && i < OPTION_COUNT; i++) {
        request->given.values[i] = PyTuple_GET_ITEM(options, i);
    }
    return 0;
}

PyObject *
compile_restore(PyObject *module, PyObject *arguments)
{
    struct library_request request = {.lazy = true};
    PyObject *key;
    int force;
    if (!PyArg_ParseTuple(arguments, "O!p:_library", &PyTuple_Type, &key, &force) ||
        read_key(key, &request) < 0) {
        return NULL;
    }
    request.force = force;
    return obtain_library(module, &request, PyTuple_GET_ITEM(key, 0));
}

PyObject *
compile_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return compile_library(module, LOOP_NONE, arguments, count, keywords);
}

const char compile_doc[] =
    "compile(source='', *, declare=None, functions=None, T=None, U=None, headers=(),\n"
    "        define_macros=(), undef_macros=(), include_dirs=(), libraries=(), library_dirs=(),\n"
    "        extra_compile_args=(), name=None, force=False)\n"
    "--\n\n"
    "Compile C functions; their C99 prototypes say how Python calls them.\n"
    "\n"
    "Parameters\n"
    "----------\n"
    "source : str, os.PathLike, or a list of these\n"
    "    C text, a file, or several translation units. Functions that are not static can be "
    "called:\n"
    "    ``const double a[m][n]`` is an array that is read, converted where needed; ``double "
    "a[n]`` "
    "one\n"
    "    changed in place; ``out double b[m][n]`` is allocated, zero at the start, and returned. "
    "Sizes that\n"
    "    the shapes tell (``m``, ``n``) are no arguments. ``const T *p`` and ``T *p`` take arrays "
    "of "
    "any shape,\n"
    "    C-contiguous, whose extent nobody checks; ``out double *q`` is a number returned. Numbers "
    "are checked\n"
    "    for their range; ``const char *`` is str or bytes, ``void *`` a buffer, an address or "
    "None,\n"
    "    ``PyObject *`` any object, ``double (*f)(double)`` a callable or a C function.\n"
    "declare : str, optional\n"
    "    Prototypes apart from the source, in the functions' own order of parameters, for C that "
    "is not to be\n"
    "    changed and for functions of ``libraries``. A dimension may have a name that is no "
    "parameter.\n"
    "functions : str or list of str, optional\n"
    "    The only functions and variables to be had.\n"
    "T, U : str, optional\n"
    "    Dtype characters, \"fdFD\": the type ``T`` (``U``) of the source stands for each, "
    "compiled "
    "on first use.\n"
    "    Without a list, ``#pragma tinyweave T \"fdFD\"`` in the source, else the integer and "
    "floating "
    "types.\n"
    "headers, define_macros, undef_macros, include_dirs, libraries, library_dirs, "
    "extra_compile_args\n"
    "    As for tw.inline.\n"
    "name : str, optional\n"
    "    The Library's ``__name__``.\n"
    "force : bool\n"
    "    A Library of its own, compiled anew.\n"
    "\n"
    "Returns\n"
    "-------\n"
    "Library\n"
    "    Its attributes are the functions; the same one for the same source and options.\n"
    "\n"
    "Raises\n"
    "------\n"
    "CompileError\n"
    "    The C text is wrong, or a prototype cannot be read; with its line and a caret.\n"
    "TypeError, ValueError, OverflowError\n"
    "    From a call: a dtype, a shape or a number that does not fit; names function and "
    "parameter.\n"
    "OSError\n"
    "    A file or a library is not found.\n"
    "\n"
    "Examples\n"
    "--------\n"
    ">>> lib = tw.compile('''\n"
    "... /* The sum of the squares. */\n"
    "... double energy(int n, const double a[n])\n"
    "... {\n"
    "...     double sum = 0;\n"
    "...     for (int i = 0; i < n; i++) sum += a[i] * a[i];\n"
    "...     return sum;\n"
    "... }''')\n"
    ">>> lib.energy([1, 2, 3])\n"
    "14.0\n";

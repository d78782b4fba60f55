/* options.c: the keywords that change what is compiled. */
#include "options.h"

#include <stdbool.h>
#include <string.h>

/* ---- Canonical forms: each returns a new reference, or NULL with a TypeError ---- */

static PyObject *
wrong_type(const char *function, const char *option, const char *expected, PyObject *value)
{
    PyErr_Format(PyExc_TypeError, "%s(): '%s' must be %s, not %.100s", function, option, expected,
                 Py_TYPE(value)->tp_name);
    return NULL;
}

static PyObject *
canonical_text(PyObject *value, const char *function, const char *option)
{
    if (PyUnicode_Check(value)) {
        return PyUnicode_FromObject(value); /* exactly str, as all that is compared later */
    }
    return value == Py_None ? Py_NewRef(value) : wrong_type(function, option, "str", value);
}

/* A str or path alone counts as a list of one. */
static PyObject *
items_of(PyObject *value, const char *function, const char *option)
{
    if (value == Py_None) {
        return PyTuple_New(0);
    }
    if (PyUnicode_Check(value) || PyObject_HasAttrString(value, "__fspath__")) {
        return PyTuple_Pack(1, value);
    }
    if (PyBytes_Check(value) ||
        !(PySequence_Check(value) || PyIter_Check(value) || PyAnySet_Check(value))) {
        return wrong_type(function, option, "a list of str", value);
    }
    return PySequence_Tuple(value);
}

static PyObject *
canonical_item(PyObject *item, const char *function, const char *option)
{
    PyObject *path = PyOS_FSPath(item);
    if (path == NULL && !PyErr_ExceptionMatches(PyExc_TypeError)) {
        return NULL; /* __fspath__'s own */
    }
    if (path == NULL || !PyUnicode_Check(path)) {
        PyErr_Clear();
        Py_XDECREF(path);
        return wrong_type(function, option, "a list of str", item);
    }
    PyObject *exact = PyUnicode_FromObject(path);
    Py_DECREF(path);
    return exact;
}

typedef PyObject *canonical_function(PyObject *value, const char *function, const char *option);

static PyObject *
canonical_each(PyObject *items, canonical_function *canonical, const char *function,
               const char *option)
{
    if (items == NULL) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    PyObject *result = PyTuple_New(count);
    for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
        PyObject *item = canonical(PyTuple_GET_ITEM(items, i), function, option);
        if (item == NULL) {
            Py_CLEAR(result);
        }
        else {
            PyTuple_SET_ITEM(result, i, item);
        }
    }
    Py_DECREF(items);
    return result;
}

static PyObject *
canonical_strings(PyObject *value, const char *function, const char *option)
{
    return canonical_each(items_of(value, function, option), canonical_item, function, option);
}

/* "include" means another folder once the process has moved. */
static PyObject *
canonical_folder(PyObject *item, const char *function, const char *option)
{
    PyObject *path = canonical_item(item, function, option);
    if (path != NULL && PyUnicode_GET_LENGTH(path) == 0) {
        PyErr_Format(PyExc_ValueError, "%s(): '%s' has an empty path", function, option);
        Py_CLEAR(path);
    }
    if (path == NULL || (PyUnicode_GET_LENGTH(path) > 0 && PyUnicode_READ_CHAR(path, 0) == '/')) {
        return path;
    }
    PyObject *os_path = PyImport_ImportModule("os.path");
    PyObject *absolute =
        os_path == NULL ? NULL : PyObject_CallMethod(os_path, "abspath", "O", path);
    Py_XDECREF(os_path);
    Py_DECREF(path);
    return absolute;
}

/* A library that is a path is made absolute; a name stays. */
static PyObject *
canonical_library(PyObject *item, const char *function, const char *option)
{
    PyObject *name = canonical_item(item, function, option);
    Py_ssize_t slash =
        name == NULL ? -1 : PyUnicode_FindChar(name, '/', 0, PyUnicode_GET_LENGTH(name), 1);
    if (slash < 0) {
        return name;
    }
    PyObject *path = canonical_folder(name, function, option);
    Py_DECREF(name);
    return path;
}

static PyObject *
canonical_libraries(PyObject *value, const char *function, const char *option)
{
    return canonical_each(items_of(value, function, option), canonical_library, function, option);
}

/* -Ifolder is made absolute. */
static PyObject *
canonical_flag(PyObject *item, const char *function, const char *option)
{
    PyObject *flag = canonical_item(item, function, option);
    PyObject *prefix = flag == NULL ? NULL : PyUnicode_Substring(flag, 0, 2);
    PyObject *result = NULL;
    if (prefix == NULL || PyUnicode_CompareWithASCIIString(prefix, "-I") != 0) {
        result = prefix == NULL ? NULL : Py_NewRef(flag);
    }
    else {
        PyObject *folder = PyUnicode_Substring(flag, 2, PyUnicode_GET_LENGTH(flag));
        PyObject *absolute = folder == NULL ? NULL : canonical_folder(folder, function, option);
        result = absolute == NULL ? NULL : PyUnicode_Concat(prefix, absolute);
        Py_XDECREF(folder);
        Py_XDECREF(absolute);
    }
    Py_XDECREF(flag);
    Py_XDECREF(prefix);
    return result;
}

static PyObject *
canonical_flags(PyObject *value, const char *function, const char *option)
{
    return canonical_each(items_of(value, function, option), canonical_flag, function, option);
}

static PyObject *
canonical_folders(PyObject *value, const char *function, const char *option)
{
    return canonical_each(items_of(value, function, option), canonical_folder, function, option);
}

/* (name, value), (name, None), (name,) or name -> (name, str or None) */
static PyObject *
canonical_macro(PyObject *item, const char *function, const char *option)
{
    static const char expected[] = "a dict or a list of (name, value or None)";
    PyObject *pair = PyUnicode_Check(item)                       ? PyTuple_Pack(1, item)
                     : PyTuple_Check(item) || PyList_Check(item) ? PySequence_Tuple(item)
                                                                 : NULL;
    if (pair == NULL) {
        return PyErr_Occurred() ? NULL : wrong_type(function, option, expected, item);
    }
    Py_ssize_t size = PyTuple_GET_SIZE(pair);
    PyObject *result = NULL;
    if (size < 1 || size > 2 || !PyUnicode_Check(PyTuple_GET_ITEM(pair, 0))) {
        wrong_type(function, option, expected, item);
    }
    else {
        PyObject *value = size == 2 ? PyTuple_GET_ITEM(pair, 1) : Py_None;
        PyObject *name = PyUnicode_FromObject(PyTuple_GET_ITEM(pair, 0));
        PyObject *text = value == Py_None ? Py_NewRef(value) : PyObject_Str(value);
        PyObject *exact =
            text == NULL || text == Py_None ? Py_XNewRef(text) : PyUnicode_FromObject(text);
        if (name != NULL && exact != NULL) {
            result = PyTuple_Pack(2, name, exact);
        }
        Py_XDECREF(name);
        Py_XDECREF(text);
        Py_XDECREF(exact);
    }
    Py_DECREF(pair);
    return result;
}

static PyObject *
canonical_macros(PyObject *value, const char *function, const char *option)
{
    PyObject *items = NULL;
    if (PyDict_Check(value)) {
        PyObject *list = PyDict_Items(value);
        items = list == NULL ? NULL : PyList_AsTuple(list);
        Py_XDECREF(list);
    }
    else {
        items = items_of(value, function, option);
    }
    return canonical_each(items, canonical_macro, function, option);
}

static const struct {
    const char *name;
    canonical_function *canonical;
} TABLE[OPTION_COUNT] = {
#define OPTION(name, form) {#name, canonical_##form},
    OPTIONS(OPTION)
#undef OPTION
};

/* ---- Keywords ---- */

/* Keywords of weave.inline and of distutils' Extension, and why they are refused. */
static const struct {
    const char *name;
    const char *reason;
} REFUSED[] = {
    {"debug", "bounds-checked kernels are not in this version"},
    {"compiler", "the compiler is always the embedded libtcc"},
    {"customize", "give support_code, headers, define_macros, libraries themselves"},
    {"type_converters", "conversions are fixed; see inline's table"},
    {"auto_downcast", "a Python float is always double, a NumPy float32 always float"},
    {"newarr_converter", "weave never used it"},
    {"sources", "give C text by support_code"},
    {"extra_objects", "name shared libraries by libraries"},
    {"extra_link_args", "nothing is linked by an external linker; name libraries by libraries"},
    {"runtime_library_dirs", "library_dirs are where libraries are found and loaded"},
    {"export_symbols", "a snippet exports nothing"},
    {"swig_opts", "SWIG is not used"},
    {"depends", "the contents of your headers are looked at by themselves"},
    {"language", "the language is always C"},
};

int
options_set(struct options_given *given, const struct state *state, const char *function,
            PyObject *name, PyObject *value)
{
#define OPTION(option, form)                                                                       \
    if (PyUnicode_Compare(name, state->name_##option) == 0) {                                      \
        given->values[OPTION_##option] = value;                                                    \
        return 0;                                                                                  \
    }
    OPTIONS(OPTION)
#undef OPTION
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(*REFUSED); i++) {
        if (PyUnicode_CompareWithASCIIString(name, REFUSED[i].name) == 0) {
            if (i == 0 && value == Py_False) {
                return 0;
            }
            PyErr_Format(PyExc_TypeError, "%s() takes no '%U': %s", function, name,
                         REFUSED[i].reason);
            return -1;
        }
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
    return -1;
}

PyObject *
options_canonical(const struct options_given *given, const char *function)
{
    PyObject *tuple = PyTuple_New(OPTION_COUNT);
    for (size_t i = 0; tuple != NULL && i < OPTION_COUNT; i++) {
        PyObject *value = given->values[i] == NULL ? Py_None : given->values[i];
        PyObject *canonical = TABLE[i].canonical(value, function, TABLE[i].name);
        if (canonical == NULL) {
            Py_CLEAR(tuple);
        }
        else {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, canonical);
        }
    }
    return tuple;
}

/* ---- Reading ---- */

/* A text that goes into one preprocessor line; it must not start another. */
static const char *
line_text(PyObject *text, const char *function, const char *option)
{
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    if (utf8 != NULL && (strlen(utf8) != (size_t)size || strpbrk(utf8, "\r\n") != NULL)) {
        PyErr_Format(PyExc_ValueError, "%s(): '%s' holds a line break or a NUL: %R", function,
                     option, text);
        return NULL;
    }
    return utf8;
}

/* Appends a path, in the file system's encoding. */
static int
read_path(PyObject *path, const char *function, const char *option, struct strings *strings)
{
    PyObject *bytes = PyUnicode_EncodeFSDefault(path);
    if (bytes == NULL) {
        return -1;
    }
    const char *text = PyBytes_AS_STRING(bytes);
    int result = -1;
    if (strlen(text) != (size_t)PyBytes_GET_SIZE(bytes) || strpbrk(text, ":\r\n") != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%s(): '%s' has a path with a ':', a line break or a NUL: %R", function,
                     option, path);
    }
    else if (strings_append(strings, text, strlen(text)) < 0) {
        PyErr_NoMemory();
    }
    else {
        result = 0;
    }
    Py_DECREF(bytes);
    return result;
}

static int
read_paths(PyObject *tuple, const char *function, const char *option, struct strings *strings)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (read_path(PyTuple_GET_ITEM(tuple, i), function, option, strings) < 0) {
            return -1;
        }
    }
    return 0;
}

/* <x.h> and "x.h" as they are, a bare x.h in quotes. */
static int
read_headers(PyObject *tuple, const char *function, struct buffer *headers)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        const char *text = line_text(PyTuple_GET_ITEM(tuple, i), function, "headers");
        if (text == NULL) {
            return -1;
        }
        bool delimited = text[0] == '<' || text[0] == '"';
        buffer_printf(headers, delimited ? "#include %s\n" : "#include \"%s\"\n", text);
    }
    return 0;
}

static int
add_define(struct buffer *macros, PyObject *name, PyObject *value, const char *function)
{
    const char *text = line_text(name, function, "define_macros");
    const char *definition = value == Py_None ? "1" : line_text(value, function, "define_macros");
    if (text == NULL || definition == NULL) {
        return -1;
    }
    buffer_printf(macros, "#define %s %s\n", text, definition);
    return 0;
}

static int
read_macros(PyObject *defines, PyObject *undefines, const char *function, struct buffer *macros)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(defines); i++) {
        PyObject *pair = PyTuple_GET_ITEM(defines, i);
        if (add_define(macros, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1), function) <
            0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(undefines); i++) {
        const char *name = line_text(PyTuple_GET_ITEM(undefines, i), function, "undef_macros");
        if (name == NULL) {
            return -1;
        }
        buffer_printf(macros, "#undef %s\n", name);
    }
    return 0;
}

/* Flags a compiler takes and libtcc has no use for; they stand in the unit, as a comment, so that
 * changing one recompiles. */
static bool
is_idle_flag(const char *flag)
{
    static const char *const starts[] = {"-O",    "-W", "-g",        "-f",   "-m",
                                         "-std=", "-w", "-pedantic", "-pipe"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        if (strncmp(flag, starts[i], strlen(starts[i])) == 0) {
            return strstr(flag, "*/") == NULL;
        }
    }
    return false;
}

static int
read_flag(const char *flag, const char *function, struct options *options)
{
    const char *rest = flag + (flag[0] == '-' && flag[1] != '\0' ? 2 : 0);
    const char *equals = strchr(rest, '=');
    if (strncmp(flag, "-D", 2) == 0 && *rest != '\0') {
        int length = equals == NULL ? (int)strlen(rest) : (int)(equals - rest);
        buffer_printf(&options->macros, "#define %.*s %s\n", length, rest,
                      equals == NULL ? "1" : equals + 1);
    }
    else if (strncmp(flag, "-U", 2) == 0 && *rest != '\0') {
        buffer_printf(&options->macros, "#undef %s\n", rest);
    }
    else if (strncmp(flag, "-I", 2) == 0 && *rest != '\0') {
        PyObject *folder = PyUnicode_FromString(rest);
        int result = folder == NULL ? -1
                                    : read_path(folder, function, "extra_compile_args",
                                                &options->include_dirs);
        Py_XDECREF(folder);
        return result;
    }
    else if (is_idle_flag(flag)) {
        buffer_printf(&options->macros, "/* %s */\n", flag);
    }
    else {
        PyErr_Format(PyExc_ValueError,
                     "%s(): 'extra_compile_args' has '%s'; -D, -U, -I and flags for optimisation, "
                     "warnings and the standard are taken (libraries go to 'libraries')",
                     function, flag);
        return -1;
    }
    return 0;
}

static int
read_flags(PyObject *tuple, const char *function, struct options *options)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        const char *flag = line_text(PyTuple_GET_ITEM(tuple, i), function, "extra_compile_args");
        if (flag == NULL || read_flag(flag, function, options) < 0) {
            return -1;
        }
    }
    return 0;
}

int
options_read(PyObject *canonical, const char *function, struct options *options)
{
    *options = (struct options){0};
    if (canonical == NULL) {
        return 0;
    }
#define VALUE(name) PyTuple_GET_ITEM(canonical, OPTION_##name)
    options->support_code = VALUE(support_code) == Py_None ? NULL : VALUE(support_code);
    if (read_macros(VALUE(define_macros), VALUE(undef_macros), function, &options->macros) < 0 ||
        read_headers(VALUE(headers), function, &options->headers) < 0 ||
        read_paths(VALUE(include_dirs), function, "include_dirs", &options->include_dirs) < 0 ||
        read_paths(VALUE(libraries), function, "libraries", &options->libraries) < 0 ||
        read_paths(VALUE(library_dirs), function, "library_dirs", &options->library_dirs) < 0 ||
        read_flags(VALUE(extra_compile_args), function, options) < 0) {
        return -1;
    }
#undef VALUE
    if (options->macros.failed || options->headers.failed) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
options_free(struct options *options)
{
    buffer_free(&options->macros);
    buffer_free(&options->headers);
    strings_free(&options->include_dirs);
    strings_free(&options->libraries);
    strings_free(&options->library_dirs);
}

/* ---- arg_names ---- */

/* Exactly a str, in the form Python gives its own names (NFKC). */
static PyObject *
normalized_name(PyObject *name)
{
    if (PyUnicode_IS_ASCII(name)) {
        return PyUnicode_FromObject(name);
    }
    PyObject *unicodedata = PyImport_ImportModule("unicodedata");
    PyObject *normal = unicodedata == NULL
                           ? NULL
                           : PyObject_CallMethod(unicodedata, "normalize", "sO", "NFKC", name);
    Py_XDECREF(unicodedata);
    return normal;
}

static PyObject *
canonical_name(PyObject *item, const char *function, const char *option)
{
    if (!PyUnicode_Check(item)) {
        return wrong_type(function, option, "a list of str", item);
    }
    if (!PyUnicode_IsIdentifier(item)) {
        PyErr_Format(PyExc_ValueError, "%s(): '%s' holds %R, which is no identifier", function,
                     option, item);
        return NULL;
    }
    PyObject *name = normalized_name(item);
    if (name != NULL) {
        PyUnicode_InternInPlace(&name);
    }
    return name;
}

PyObject *
options_names(PyObject *names, const char *function, const char *option)
{
    PyObject *items = NULL;
    if (PyUnicode_Check(names)) {
        PyObject *list = PyUnicode_Split(names, NULL, -1);
        items = list == NULL ? NULL : PyList_AsTuple(list);
        Py_XDECREF(list);
    }
    else {
        items = items_of(names, function, option);
    }
    return canonical_each(items, canonical_name, function, option);
}

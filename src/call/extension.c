/* extension.c: tw.extension: the C source of a CPython extension module -> the module.
 *
 * The unit is compiled once, by way of the caches; each call gets an image of its own, with its own variables.
 * Once init code was entered, nobody can tell what refers to the image (types, capsules, hooks), so it stays for
 * as long as the process, as CPython itself never unloads a module. Before that, all is freed on failure.
 */
#include "extension.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cache/kernel.h"
#include "../backend/library.h"
#include "../frontend/extension.h"
#include "../state.h"
#include "initialize.h"
#include "options.h"
#include "report.h"
#include "source.h"

#define FUNCTION "extension"

/* ---- The arguments ---- */

struct request {
    PyObject *source;
    PyObject *name;
    struct options_given given;
    bool compat;
};

static int
set_once(PyObject **place, const char *name, PyObject *value)
{
    if (*place != NULL) {
        PyErr_Format(PyExc_TypeError, FUNCTION "() got multiple values for argument '%s'", name);
        return -1;
    }
    *place = value;
    return 0;
}

static int
set_keyword(struct request *request, const struct state *state, PyObject *name, PyObject *value)
{
    if (PyUnicode_CompareWithASCIIString(name, "source") == 0) {
        return set_once(&request->source, "source", value);
    }
    if (PyUnicode_CompareWithASCIIString(name, "name") == 0) {
        return set_once(&request->name, "name", value);
    }
    if (PyUnicode_CompareWithASCIIString(name, "compat") == 0) {
        int truth = PyObject_IsTrue(value);
        request->compat = truth > 0;
        return truth < 0 ? -1 : 0;
    }
    if (PyUnicode_Compare(name, state->name_support_code) == 0) {
        PyErr_SetString(PyExc_TypeError,
                        FUNCTION "() takes no 'support_code': put it in the source, "
                                 "or give a list of sources");
        return -1;
    }
    return options_set(&request->given, state, FUNCTION, name, value);
}

/* "pkg._speedups": something in each part. */
static int
check_name(PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, FUNCTION "(): 'name' must be str, not %.100s",
                     Py_TYPE(name)->tp_name);
        return -1;
    }
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (text == NULL) {
        return -1;
    }
    if (size == 0 || text[0] == '.' || text[size - 1] == '.' || strstr(text, "..") != NULL ||
        strlen(text) != (size_t)size) {
        PyErr_Format(PyExc_ValueError,
                     FUNCTION "(): 'name' must be a module's name, \"speedups\" or "
                              "\"pkg.speedups\", not %R",
                     name);
        return -1;
    }
    return 0;
}

static int
read_request(struct request *request, const struct state *state, PyObject *const *arguments,
             Py_ssize_t count, PyObject *keywords)
{
    if (count > 2) {
        PyErr_Format(PyExc_TypeError,
                     FUNCTION "() takes 2 positional arguments (source, name), %zd given", count);
        return -1;
    }
    request->source = count > 0 ? arguments[0] : NULL;
    request->name = count > 1 ? arguments[1] : NULL;
    Py_ssize_t keyword_count = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < keyword_count; i++) {
        if (set_keyword(request, state, PyTuple_GET_ITEM(keywords, i), arguments[count + i]) < 0) {
            return -1;
        }
    }
    if (request->source == NULL || request->name == NULL) {
        PyErr_Format(PyExc_TypeError, FUNCTION "() missing required argument: '%s'",
                     request->source == NULL ? "source" : "name");
        return -1;
    }
    return check_name(request->name);
}

/* ---- Building ---- */

/* What is needed from the sources to the image. */
struct build {
    struct state *state;
    PyObject *sources; /* a tuple of (bytes, path as bytes or None) */
    struct options options;
    struct strings folders; /* of each source; "" for a text */
    struct module_texts texts;
    struct source_label *labels; /* of each text */
    struct unit unit;
    struct buffer headers;
};

static void
free_build(struct build *build)
{
    extension_free(&build->texts);
    free(build->texts.items);
    free(build->labels);
    strings_free(&build->folders);
    unit_free(&build->unit);
    buffer_free(&build->headers);
    options_free(&build->options);
}

static PyObject *
path_at(const struct build *build, size_t index)
{
    return PyTuple_GET_ITEM(PyTuple_GET_ITEM(build->sources, (Py_ssize_t)index), 1);
}

/* The folder of each file is for its own headers, too. */
static int
fill_folders(struct build *build)
{
    int result = 0;
    for (size_t i = 0; i < build->texts.count && result == 0; i++) {
        PyObject *path = path_at(build, i);
        result = path == Py_None ? strings_append(&build->folders, "", 0)
                                 : source_add_folder(path, &build->folders);
    }
    return result < 0 ? -1 : source_add_folders(build->sources, &build->options);
}

static void
fill_text(struct build *build, size_t index)
{
    struct module_text *text = &build->texts.items[index];
    source_fill(build->sources, index, &build->options, &build->labels[index], text->sources);
    const char *folder = build->folders.items[index];
    text->folder = folder[0] != '\0' ? folder : NULL;
}

static int
fill_texts(struct build *build)
{
    size_t count = (size_t)PyTuple_GET_SIZE(build->sources);
    build->texts.items = calloc(count, sizeof(*build->texts.items));
    build->labels = calloc(count, sizeof(*build->labels));
    if (build->texts.items == NULL || build->labels == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    build->texts.count = count;
    if (fill_folders(build) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    build->texts.include_dirs = &build->options.include_dirs;
    for (size_t i = 0; i < count; i++) {
        fill_text(build, i);
    }
    return 0;
}

/* ---- Messages ---- */

static void
raise_spot(const struct build *build, const struct spot *spot, const char *file)
{
    report_spot(build->state, FUNCTION, spot,
                file[0] != '\0' ? file : source_file(build->sources, build->labels, spot->source));
}

/* libtcc stops at a word it does not know (__thread, _Complex): says so in place of what it expected there. */
static void
name_word(struct spot *spot)
{
    struct spot word;
    if (spot->source != NULL && check_source(spot->source, false, &word) < 0 &&
        word.message[0] != '\0' && word.line == spot->line) {
        *spot = word;
    }
}

/* A source that fails for its age is told what helps. */
static void
add_age(const struct build *build, struct spot *spot)
{
    if (!build->texts.compat && extension_is_old(&build->texts)) {
        size_t length = strlen(spot->message);
        snprintf(spot->message + length, sizeof(spot->message) - length,
                 "; a source of the Python 2 age needs compat=True");
    }
}

static void
raise_problem(const struct build *build, const struct problem *problem)
{
    size_t count = 0;
    struct source *sources = calloc(PREAMBLE_TEXTS + build->texts.count, sizeof(*sources));
    if (sources == NULL) {
        PyErr_NoMemory();
        return;
    }
    /* macros and headers once, then each text */
    for (int i = 0; i < PREAMBLE_TEXTS; i++) {
        sources[count++] = build->texts.items[0].sources[i];
    }
    for (size_t i = 0; i < build->texts.count; i++) {
        sources[count++] = build->texts.items[i].sources[PREAMBLE_TEXTS];
    }
    struct spot spot = {0};
    char file[256];
    if (report_locate(problem, sources, count, &spot, file)) {
        if (problem->kind == PROBLEM_COMPILE && file[0] == '\0') {
            name_word(&spot);
        }
        add_age(build, &spot);
        raise_spot(build, &spot, file);
    }
    free(sources);
}

/* ---- The unit ---- */

static int
add_system_folders(struct build *build)
{
    struct strings *folders = &build->unit.system_dirs;
    struct buffer path = BUFFER_INIT;
    buffer_printf(&path, "%s/include/compat", build->state->package_folder);
    int result = path.failed ? -1 : 0;
    if (result == 0 && build->texts.compat) {
        result = strings_append(folders, path.data, path.size);
    }
    buffer_free(&path);
    if (result == 0) {
        result = state_system_folders(build->state, true, folders);
    }
    if (result < 0 && !PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    return result;
}

static int
find_libraries(struct build *build)
{
    struct problem problem = {PROBLEM_NONE, ""};
    int result = library_find_all(&build->options.libraries, &build->options.library_dirs,
                                  &build->unit.libraries, &problem);
    if (result < 0) {
        raise_problem(build, &problem);
    }
    return result;
}

static int
make_unit(struct build *build, PyObject *options)
{
    struct spot spot = {0};
    if (options_read(options, FUNCTION, &build->options) < 0 || fill_texts(build) < 0) {
        return -1;
    }
    if (extension_read(&build->texts, &spot) < 0) {
        raise_spot(build, &spot, "");
        return -1;
    }
    if (extension_unit(&build->texts, &build->unit, &build->headers) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return add_system_folders(build) < 0 || find_libraries(build) < 0 ? -1 : 0;
}

static struct kernel *
obtain_kernel(struct build *build)
{
    struct problem problem = {PROBLEM_NONE, ""};
    enum kernel_origin origin;
    struct kernel *kernel =
        kernel_obtain(build->state, &build->unit, &build->headers,
                      build->texts.items[0].sources[PREAMBLE_TEXTS].text, false, &origin, &problem);
    if (kernel == NULL) {
        raise_problem(build, &problem);
    }
    return kernel;
}

/* ---- The init function ---- */

/* What a source has in place of the function looked for. */
struct inventory {
    bool compat;
    char modern[100]; /* the first PyInit_ */
    char old[100];    /* the first init of the Python 2 age */
    char names[200];  /* other functions: "add, mul" */
};

static void
note_function(void *context, const char *name, void *address, size_t size, bool function)
{
    struct inventory *inventory = context;
    (void)address;
    (void)size;
    if (!function) {
        return;
    }
    if (strncmp(name, "PyInit", 6) == 0) {
        if (inventory->modern[0] == '\0') {
            snprintf(inventory->modern, sizeof(inventory->modern), "%s", name);
        }
    }
    else if (strncmp(name, "init", 4) == 0 && inventory->old[0] == '\0') {
        snprintf(inventory->old, sizeof(inventory->old), "%s", name);
    }
    else if (strlen(inventory->names) + strlen(name) + 3 < sizeof(inventory->names)) {
        size_t length = strlen(inventory->names);
        snprintf(inventory->names + length, sizeof(inventory->names) - length, "%s%s",
                 length > 0 ? ", " : "", name);
    }
}

static void
say_inventory(const struct inventory *inventory, char *text, size_t size)
{
    if (inventory->modern[0] != '\0') {
        snprintf(text, size, "it has %s", inventory->modern);
    }
    else if (inventory->old[0] != '\0') {
        snprintf(text, size, "it has %s%s", inventory->old,
                 inventory->compat ? "" : ", as modules of the Python 2 age do: give compat=True");
    }
    else if (inventory->names[0] != '\0') {
        snprintf(text, size, "it has plain functions (%s): tw.compile makes these callable",
                 inventory->names);
    }
    else {
        snprintf(text, size, "it has no function that is not static");
    }
}

/* The token of that name in the sources, for a message. */
static bool
find_name(const struct build *build, const char *name, struct spot *spot)
{
    for (size_t i = 0; i < build->texts.count; i++) {
        const struct source *source = &build->texts.items[i].sources[PREAMBLE_TEXTS];
        for (size_t k = 0; k < source->tokens.count; k++) {
            const struct token *token = &source->tokens.items[k];
            if (token_is(token, name)) {
                spot->source = source;
                spot->line = token->line;
                spot->column = token->column;
                return true;
            }
        }
    }
    return false;
}

static void
raise_no_init(const struct build *build, const struct image *image, const char *wanted)
{
    struct inventory inventory = {.compat = build->texts.compat};
    char text[400];
    struct spot spot = {.source = &build->texts.items[0].sources[PREAMBLE_TEXTS], .line = 1};
    image_symbols(image, note_function, &inventory);
    say_inventory(&inventory, text, sizeof(text));
    if (find_name(build, wanted, &spot)) {
        snprintf(
            spot.message, sizeof(spot.message),
            "%s is static, left out by an #if, or no function: init functions are PyMODINIT_FUNC",
            wanted);
    }
    else {
        find_name(build, inventory.modern[0] != '\0' ? inventory.modern : inventory.old, &spot);
        snprintf(spot.message, sizeof(spot.message), "the source has no %.100s: %s", wanted, text);
    }
    raise_spot(build, &spot, "");
}

static const char *
find_init(const struct build *build, const struct image *image, PyObject *const wanted[2],
          struct module_start *start)
{
    for (int old = 0; old < (build->texts.compat ? 2 : 1); old++) {
        const char *symbol = PyBytes_AS_STRING(wanted[old]);
        start->function = image_function(image, symbol);
        if (start->function != NULL) {
            start->old = old;
            return symbol;
        }
    }
    raise_no_init(build, image, PyBytes_AS_STRING(wanted[0]));
    return NULL;
}

/* ---- From the kernel to the module ---- */

/* Takes an image and enters it; from then on image and kernel (its libraries) stay. */
static PyObject *
enter_image(struct build *build, struct kernel *kernel, PyObject *const wanted[2],
            struct module_start *start)
{
    struct problem problem = {PROBLEM_NONE, ""};
    struct image *image = kernel_take_image(kernel, &build->unit, &problem);
    if (image == NULL) {
        raise_problem(build, &problem);
        kernel_release(kernel);
        return NULL;
    }
    start->symbol = find_init(build, image, wanted, start);
    if (start->symbol == NULL) {
        image_free(image);
        kernel_release(kernel);
        return NULL;
    }
    start->finds_state = kernel->finds_state;
    build->state->extensions++;
    return initialize_module(start);
}

static PyObject *
load_module(struct state *state, const struct request *request, PyObject *sources,
            PyObject *options, PyObject *const wanted[2])
{
    struct build build = {.state = state,
                          .sources = sources,
                          .texts = {.compat = request->compat},
                          .headers = BUFFER_INIT};
    PyObject *module = NULL;
    struct kernel *kernel = make_unit(&build, options) < 0 ? NULL : obtain_kernel(&build);
    if (kernel != NULL) {
        struct module_start start = {.name = request->name, .path = path_at(&build, 0)};
        module = enter_image(&build, kernel, wanted, &start);
    }
    free_build(&build);
    return module;
}

PyObject *
extension_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    struct state *state = PyModule_GetState(module);
    struct request request = {0};
    if (read_request(&request, state, arguments, count, keywords) < 0) {
        return NULL;
    }
    PyObject *wanted[2] = {initialize_function_name(request.name, false),
                           initialize_function_name(request.name, true)};
    PyObject *sources =
        wanted[0] == NULL || wanted[1] == NULL ? NULL : source_read(request.source, FUNCTION);
    PyObject *options = sources == NULL ? NULL : options_canonical(&request.given, FUNCTION);
    PyObject *result =
        options == NULL ? NULL : load_module(state, &request, sources, options, wanted);
    Py_XDECREF(wanted[0]);
    Py_XDECREF(wanted[1]);
    Py_XDECREF(sources);
    Py_XDECREF(options);
    return result;
}

const char extension_doc[] =
    "extension(source, name, *, headers=(), define_macros=(), undef_macros=(), include_dirs=(),\n"
    "          libraries=(), library_dirs=(), extra_compile_args=(), compat=None)\n"
    "--\n\n"
    "Compile and load a complete CPython extension module from its C source.\n"
    "\n"
    "Parameters\n"
    "----------\n"
    "source : str, os.PathLike, or a list of these\n"
    "    C text, a file (its folder is searched first for its headers), or the several translation "
    "units of one\n"
    "    module. The source is what a compiler would get: it includes <Python.h> itself and has a\n"
    "    ``PyInit_`` function, for single- or multi-phase init.\n"
    "name : str\n"
    "    The module's full name: for \"pkg._speedups\" the function ``PyInit__speedups`` is "
    "called.\n"
    "headers, define_macros, undef_macros, include_dirs, libraries, library_dirs, "
    "extra_compile_args\n"
    "    As for tw.inline.\n"
    "compat : bool, optional\n"
    "    The source is of the Python 2 age (``initNAME``, ``Py_InitModule``, ``PyString_``, "
    "``PyInt_``,\n"
    "    ``PyArray_FromDims`` ...).\n"
    "\n"
    "Returns\n"
    "-------\n"
    "module\n"
    "    A fresh one each time, with C variables of its own; the compiled code comes from the "
    "cache. "
    "It stands in\n"
    "    ``sys.modules`` only while its init code runs. Once that was entered the machine code "
    "stays "
    "for the\n"
    "    life of the process, as that of any extension module.\n"
    "\n"
    "Raises\n"
    "------\n"
    "CompileError\n"
    "    The C text is wrong, with its line and a caret; or it has no ``PyInit_`` of that name.\n"
    "OSError\n"
    "    A file or a library is not found.\n"
    "TypeError, ValueError\n"
    "    An argument is not what it must be.\n"
    "Exception\n"
    "    Whatever the init code raises.\n"
    "\n"
    "Examples\n"
    "--------\n"
    ">>> counter = tw.extension('''\n"
    "... #include <Python.h>\n"
    "... static long count;\n"
    "... static PyObject *next(PyObject *self, PyObject *none)\n"
    "... {\n"
    "...     return PyLong_FromLong(++count);\n"
    "... }\n"
    "... static PyMethodDef methods[] = {{\"next\", next, METH_NOARGS, \"One more.\"}, {NULL}};\n"
    "... static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, \"counter\", NULL, -1, methods};\n"
    "... PyMODINIT_FUNC PyInit_counter(void)\n"
    "... {\n"
    "...     return PyModule_Create(&def);\n"
    "... }''', \"counter\")\n"
    ">>> counter.next(), counter.next()\n"
    "(1, 2)\n";

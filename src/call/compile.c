/* compile.c: tw.compile: C sources -> a Library of Functions.
 *
 * A Library keeps its sources and options, its plans, and a kernel for each dtype that was asked for
 * (generic sources), or one. The same sources and options give the same Library: the last ones are kept
 * alive in state->libraries, all that live are in state->living_libraries.
 */
#include "compile.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <structmember.h>

#include "numpy.h"

#include "../../cache/kernel.h"
#include "../backend/library.h"
#include "../frontend/core.h"
#include "../frontend/function.h"
#include "../frontend/standalone.h"
#include "../state.h"
#include "callback.h"
#include "compile_loops.h"
#include "export.h"
#include "function.h"
#include "options.h"
#include "report.h"
#include "source.h"

/* The public functions that make Libraries, as messages name them. */
static const char *const FUNCTIONS[] = {
    [LOOP_NONE] = "compile", [LOOP_ELEMENTS] = "ufunc", [LOOP_CORE] = "gufunc"};

/* Libraries kept alive though nobody holds them. */
#define KEPT_LIBRARIES 128

/* T's dtypes where no list is given: C's operators work on them all. */
#define DEFAULT_LETTERS "bBhHiIlLqQfd"

struct library {
    PyObject_HEAD;
    PyObject *weak_references;
    PyObject *module;    /* whose state is ours */
    PyObject *name;      /* a str */
    PyObject *texts;     /* a tuple of (bytes, path as bytes or None) */
    PyObject *options;   /* canonical; NULL: none */
    PyObject *functions; /* name -> Function */
    PyObject *constants; /* name -> int, float or bytes */
    PyObject *declare;   /* the prototypes that stand apart, as bytes; NULL: none */
    PyObject *wanted;    /* a tuple of str: the only functions to be had; NULL: all */
    PyObject *key;       /* all that was asked for: in the table of Libraries, and in a pickle */
    struct plans plans;
    struct function_library shared;
    unsigned variables; /* those whose list the user gave: they are generic in any case */
    bool force;         /* its kernels are its own */
    enum loop_kind
        loops; /* LOOP_NONE, or it was made for a ufunc of one function, and is not to be seen */
    size_t loop_plan;        /* the index of its plan */
    bool picks;              /* its name picks the function */
    struct buffer headers;   /* the user's headers, as they were read */
    struct kernel **kernels; /* by binding_index of the plans' variables */
};

static const char *
maker_of(const struct library *library)
{
    return FUNCTIONS[library->loops];
}

/* ---- Building ---- */

/* What is only needed while a unit is made. */
struct build {
    struct state *state;
    const struct library *library;
    struct options options;
    struct program program;
    struct unit unit;
    struct buffer headers;
    struct strings functions;
    struct strings system_dirs; /* where functions of headers are looked for */
    char (*labels)[2][48];      /* of each text: "tw:source", "source" */
};

static void
free_build(struct build *build)
{
    program_free(&build->program);
    free(build->program.units);
    free(build->labels);
    strings_free(&build->functions);
    strings_free(&build->system_dirs);
    unit_free(&build->unit);
    buffer_free(&build->headers);
    options_free(&build->options);
}

static void
fill_source(struct source *source, const char *label, const char *argument, const char *text,
            size_t length)
{
    *source = (struct source){
        .label = label, .argument = argument, .text = length > 0 ? text : "", .length = length};
}

static int
fill_folders(struct build *build)
{
    struct strings folders = {0};
    PyObject *texts = build->library->texts;
    int result = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts) && result == 0; i++) {
        PyObject *path = PyTuple_GET_ITEM(PyTuple_GET_ITEM(texts, i), 1);
        result = path == Py_None ? 0 : source_add_folder(path, &folders);
    }
    for (size_t i = 0; i < build->options.include_dirs.count && result == 0; i++) {
        const char *folder = build->options.include_dirs.items[i];
        result = strings_append(&folders, folder, strlen(folder));
    }
    strings_free(&build->options.include_dirs);
    build->options.include_dirs = folders;
    return result;
}

/* The text of declare= may speak of the types of a source, when there is just one. */
static void
fill_declare(struct build *build)
{
    struct translation *declare = &build->program.declare;
    PyObject *text = build->library->declare;
    if (text == NULL) {
        return;
    }
    const struct source *sources = build->program.units[0].sources;
    for (int i = 0; i < PREAMBLE_TEXTS + (build->program.count == 1); i++) {
        declare->sources[declare->count++] = sources[i];
    }
    fill_source(&declare->sources[declare->count++], "tw:declare", "declare",
                PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text));
}

static int
fill_functions(struct build *build)
{
    PyObject *wanted = build->library->wanted;
    if (wanted == NULL) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(wanted); i++) {
        Py_ssize_t length;
        const char *name = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(wanted, i), &length);
        if (name == NULL || strings_append(&build->functions, name, (size_t)length) < 0) {
            return -1;
        }
    }
    build->program.functions = &build->functions;
    return 0;
}

/* Functions may be asked for that only headers declare. */
static int
fill_headers(struct build *build)
{
    struct translation *headers = &build->program.headers;
    const struct source *sources = build->program.units[0].sources;
    if (build->program.functions == NULL || sources[PREAMBLE_HEADERS].length == 0) {
        return 0;
    }
    for (int i = 0; i < PREAMBLE_TEXTS; i++) {
        headers->sources[headers->count++] = sources[i];
    }
    build->program.system_dirs = &build->system_dirs;
    char *folder = NULL;
    int result = asprintf(&folder, "%s/include", tcc_library_folder(build->state->tcc)) < 0
                     ? -1
                     : state_system_folders(build->state, false, &build->system_dirs);
    if (result == 0) {
        result = strings_append(&build->system_dirs, folder, strlen(folder));
    }
    free(folder);
    return result;
}

static int
fill_program(struct build *build)
{
    PyObject *texts = build->library->texts;
    size_t count = (size_t)PyTuple_GET_SIZE(texts);
    build->program.units = calloc(count, sizeof(*build->program.units));
    build->labels = calloc(count, sizeof(*build->labels));
    if (build->program.units == NULL || build->labels == NULL || fill_folders(build) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    build->program.count = count;
    build->program.include_dirs = &build->options.include_dirs;
    build->program.variables = build->library->variables;
    build->program.loops = build->library->loops;
    build->program.loop_plan = build->library->loop_plan;
    for (size_t i = 0; i < count; i++) {
        struct source *sources = build->program.units[i].sources;
        PyObject *text = PyTuple_GET_ITEM(PyTuple_GET_ITEM(texts, (Py_ssize_t)i), 0);
        char *label = build->labels[i][0], *argument = build->labels[i][1];
        snprintf(argument, 40, count == 1 ? "source" : "source[%zu]", i);
        snprintf(label, sizeof(build->labels[i][0]), "tw:%.40s", argument);
        fill_source(&sources[PREAMBLE_MACROS], "tw:define_macros", "define_macros",
                    build->options.macros.data, build->options.macros.size);
        fill_source(&sources[PREAMBLE_HEADERS], "tw:headers", "headers",
                    build->options.headers.data, build->options.headers.size);
        fill_source(&sources[PREAMBLE_TEXTS], label, argument, PyBytes_AS_STRING(text),
                    (size_t)PyBytes_GET_SIZE(text));
        build->program.units[i].count = PREAMBLE_TEXTS + 1;
    }
    fill_declare(build);
    return fill_functions(build) < 0 ? -1 : fill_headers(build);
}

/* The file a source was read from; "" for a text. */
static const char *
path_of(const struct build *build, const struct source *source)
{
    for (size_t i = 0; source != NULL && i < build->program.count; i++) {
        PyObject *pair = PyTuple_GET_ITEM(build->library->texts, (Py_ssize_t)i);
        bool file = PyTuple_GET_ITEM(pair, 1) != Py_None;
        if (file && source->text == build->program.units[i].sources[PREAMBLE_TEXTS].text) {
            return PyBytes_AS_STRING(PyTuple_GET_ITEM(pair, 1));
        }
    }
    return "";
}

/* A header's own spot names the header. */
static const char *
file_of(const struct build *build, const struct source *source)
{
    bool header = source != NULL && strncmp(source->label, "tw:", 3) != 0;
    return header ? source->label : path_of(build, source);
}

static void
raise_spot(const struct build *build, const struct spot *spot, const char *file)
{
    report_spot(build->state, maker_of(build->library), spot,
                file[0] != '\0' ? file : file_of(build, spot->source));
}

static void
raise_problem(const struct build *build, const struct problem *problem)
{
    struct spot spot = {0};
    char file[256];
    /* macros and headers once, then each text */
    size_t count = 0;
    struct source *sources = calloc(PREAMBLE_TEXTS + build->program.count + 1, sizeof(*sources));
    if (sources == NULL) {
        PyErr_NoMemory();
        return;
    }
    for (int i = 0; i < PREAMBLE_TEXTS; i++) {
        sources[count++] = build->program.units[0].sources[i];
    }
    for (size_t i = 0; i < build->program.count; i++) {
        sources[count++] = build->program.units[i].sources[PREAMBLE_TEXTS];
    }
    if (build->program.declare.count > 0) {
        sources[count++] = build->program.declare.sources[build->program.declare.count - 1];
    }
    if (report_locate(problem, sources, count, &spot, file)) {
        raise_spot(build, &spot, file);
    }
    free(sources);
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

/* Reads the sources. Returns 0, or -1 with an exception; free_build and plans_free are owed either way. */
static int
start_build(struct build *build, struct plans *plans)
{
    struct spot spot = {0};
    *plans = (struct plans){0};
    if (options_read(build->library->options, maker_of(build->library), &build->options) < 0 ||
        fill_program(build) < 0) {
        return -1;
    }
    if (program_read(&build->program, plans, &spot) < 0) {
        raise_spot(build, &spot, "");
        return -1;
    }
    return 0;
}

static int
add_system_folders(struct build *build)
{
    bool any = false, python = false;
    for (size_t i = 0; i < build->program.count; i++) {
        any |= build->program.units[i].preamble.includes.any;
        python |= build->program.units[i].preamble.includes.python;
    }
    if (any && state_system_folders(build->state, python, &build->unit.system_dirs) < 0) {
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
        return -1;
    }
    return 0;
}

/* The contents of the user's headers. */
static void
collect_headers(const struct build *build, struct buffer *headers)
{
    for (size_t i = 0; i < build->program.count; i++) {
        const struct buffer *contents = &build->program.units[i].preamble.includes.contents;
        buffer_append(headers, contents->data, contents->size);
    }
}

/* The kernel for what the type variables stand for, from the caches or the compiler. */
static struct kernel *
build_kernel(struct build *build, const struct plans *plans, const struct binding *binding)
{
    if (program_unit(&build->program, plans, binding, &build->unit, &build->headers) < 0) {
        PyErr_NoMemory();
        return NULL;
    }
    if (add_system_folders(build) < 0 || find_libraries(build) < 0) {
        return NULL;
    }
    struct problem problem = {PROBLEM_NONE, ""};
    enum kernel_origin origin;
    struct kernel *kernel = kernel_obtain(build->state, &build->unit, &build->headers,
                                          build->program.units[0].sources[PREAMBLE_TEXTS].text,
                                          build->library->force, &origin, &problem);
    if (kernel == NULL) {
        raise_problem(build, &problem);
    }
    return kernel;
}

/* Keeps a kernel, unless another thread was first: returns the one that is kept, borrowed. */
static struct kernel *
keep_kernel(struct library *library, const struct binding *binding, struct kernel *kernel)
{
    struct kernel **place = &library->kernels[binding_index(library->plans.variables, binding)];
    if (kernel != NULL && *place == NULL) {
        *place = kernel;
    }
    else if (kernel != NULL) {
        kernel_release(kernel);
    }
    return kernel == NULL ? NULL : *place;
}

/* What a type variable is where a function of a generic source does not say. */
static int
first_type(const struct library *library, int variable)
{
    PyArray_Descr *dtype = PyArray_DescrFromType(library->shared.letters[variable][0]);
    int type = dtype->type_num;
    Py_DECREF(dtype);
    return type;
}

static struct binding
complete_binding(const struct library *library, const struct binding *given)
{
    struct binding binding = *given;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if ((library->plans.variables >> i & 1) && binding.types[i] < 0) {
            binding.types[i] = first_type(library, i);
        }
    }
    return binding;
}

/* Reads the sources of a Library once more. Returns as start_build does. */
static int
read_again(struct build *build, struct plans *plans)
{
    if (start_build(build, plans) < 0) {
        return -1;
    }
    if (plans_match(plans, &build->library->plans)) {
        return 0;
    }
    PyErr_Format(
        PyExc_RuntimeError,
        "%s(): a header of the library has changed its functions since: compile the source again",
        maker_of(build->library));
    return -1;
}

static struct kernel *
library_kernel(PyObject *self, const struct binding *given)
{
    struct library *library = (struct library *)self;
    struct binding binding = complete_binding(library, given);
    struct kernel *kernel = library->kernels[binding_index(library->plans.variables, &binding)];
    if (kernel != NULL) {
        return kernel;
    }
    struct build build = {
        .state = PyModule_GetState(library->module), .library = library, .headers = BUFFER_INIT};
    struct plans plans;
    if (read_again(&build, &plans) == 0) {
        kernel = build_kernel(&build, &plans, &binding);
    }
    plans_free(&plans);
    free_build(&build);
    return keep_kernel(library, &binding, kernel);
}

/* ---- The dtypes of type variables ---- */

/* "fdFD" -> the same, of NumPy's characters that C has. Returns a malloc'ed string, or NULL with an exception. */
static char *
read_letters(const char *letters, int variable, const char *maker)
{
    char name = TYPE_VARIABLE_NAMES[variable];
    static const char known[] = "?bBhHiIlLqQfdFD";
    for (const char *letter = letters; *letter != '\0'; letter++) {
        if (strchr(known, *letter) == NULL) {
            PyErr_Format(PyExc_ValueError, "%s(): '%c' has '%c'; expected dtype characters of %s",
                         maker, name, *letter, known);
            return NULL;
        }
    }
    if (*letters == '\0') {
        PyErr_Format(PyExc_ValueError, "%s(): '%c' is empty; expected dtype characters, \"fd\"",
                     maker, name);
        return NULL;
    }
    char *copy = strdup(letters);
    return copy == NULL ? (char *)PyErr_NoMemory() : copy;
}

/* #pragma tinyweave T "fdFD" of a source: its string token, or NULL. */
static const struct token *
find_pragma(const struct tokens *tokens, int variable)
{
    for (size_t i = 0; i + 4 < tokens->count; i++) {
        const struct token *token = &tokens->items[i];
        if (token->directive && token->first && token_is(token + 1, "pragma") &&
            token_is(token + 2, "tinyweave") && type_variable(token + 3) == 1u << variable &&
            token[4].kind == TOKEN_STRING && token[4].directive && !token[4].first) {
            return &token[4];
        }
    }
    return NULL;
}

static char *
find_letters(const struct build *build, int variable)
{
    for (size_t i = 0; i < build->program.count; i++) {
        const struct token *token =
            find_pragma(&build->program.units[i].sources[PREAMBLE_TEXTS].tokens, variable);
        char letters[64];
        if (token != NULL && token->length >= 2 && token->length - 2 < sizeof(letters)) {
            memcpy(letters, token->start + 1, token->length - 2);
            letters[token->length - 2] = '\0';
            return read_letters(letters, variable, maker_of(build->library));
        }
    }
    return read_letters(DEFAULT_LETTERS, variable, maker_of(build->library));
}

/* The lists that the user did not give. */
static int
complete_letters(struct library *library, const struct build *build)
{
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        char **letters = &library->shared.letters[i];
        if (*letters == NULL && (*letters = find_letters(build, i)) == NULL) {
            return -1;
        }
    }
    return 0;
}

/* ---- A Library's life ---- */

static int
add_functions(struct library *library, struct state *state)
{
    for (size_t i = 0; i < library->plans.count; i++) {
        const struct plan *plan = &library->plans.items[i];
        if (plan->refusal != NULL) {
            continue;
        }
        PyObject *function =
            function_new(state->function_type, (PyObject *)library, &library->shared, i);
        int result =
            function == NULL ? -1 : PyDict_SetItemString(library->functions, plan->name, function);
        Py_XDECREF(function);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
constant_object(const struct constant *constant)
{
    switch (constant->kind) {
    case CONSTANT_INTEGER:
        return constant->is_unsigned
                   ? PyLong_FromUnsignedLongLong((unsigned long long)constant->integer)
                   : PyLong_FromLongLong(constant->integer);
    case CONSTANT_FLOATING:
        return PyFloat_FromDouble(constant->floating);
    default:
        return PyUnicode_DecodeUTF8(constant->text, (Py_ssize_t)constant->length,
                                    "surrogateescape");
    }
}

static int
add_constants(struct library *library)
{
    for (size_t i = 0; i < library->plans.constant_count; i++) {
        const struct plan_constant *constant = &library->plans.constants[i];
        PyObject *value = constant_object(&constant->value);
        int result =
            value == NULL ? -1 : PyDict_SetItemString(library->constants, constant->name, value);
        Py_XDECREF(value);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* Room for the kernels, once it is known for how many dtypes there may be one. */
static int
make_room(struct library *library)
{
    size_t count = binding_count(library->plans.variables);
    library->kernels = PyMem_Calloc(count, sizeof(*library->kernels));
    if (library->kernels == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* ---- The function of a ufunc ---- */

static void
raise_no_function(const struct library *library)
{
    PyObject *names = PyList_New(0);
    for (size_t i = 0; names != NULL && i < library->plans.count; i++) {
        PyObject *name = PyUnicode_FromString(library->plans.items[i].name);
        if (name == NULL || PyList_Append(names, name) < 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(name);
    }
    if (names != NULL && library->picks) {
        PyErr_Format(PyExc_ValueError, "%s(): 'name' is %R, but the source has the functions %R",
                     maker_of(library), library->name, names);
    }
    else if (names != NULL) {
        PyErr_Format(
            PyExc_ValueError,
            "%s(): the source has the functions %R: pick one by 'name', or make the others "
            "static",
            maker_of(library), names);
    }
    Py_XDECREF(names);
}

/* The only function, or the one that has the name asked for. Returns 0, or -1 with an exception. */
static int
pick_function(struct library *library, struct build *build)
{
    const struct plans *plans = &library->plans;
    size_t index = plans->count == 1 ? 0 : plans->count;
    for (size_t i = 0; library->picks && i < plans->count; i++) {
        if (PyUnicode_CompareWithASCIIString(library->name, plans->items[i].name) == 0) {
            index = i;
        }
    }
    if (index == plans->count) {
        raise_no_function(library);
        return -1;
    }
    library->loop_plan = build->program.loop_plan = index;
    return 0;
}

/* Returns 0, or -1 with an exception that says why the function makes no ufunc. */
static int
check_function(const struct library *library, const struct build *build)
{
    const struct plan *plan = &library->plans.items[library->loop_plan];
    struct buffer reason = BUFFER_INIT;
    struct loop_operands operands;
    struct core core = {0};
    struct spot spot;
    int result = 0;
    if (plan->refusal != NULL) {
        buffer_append_string(&reason, plan->refusal);
        result = -1;
    }
    else if (loop_read(plan, library->loops, &operands, &reason) < 0 ||
             (library->loops == LOOP_CORE && core_read(plan, &operands, &core, &reason) < 0)) {
        result = -1;
    }
    if (result < 0 && !reason.failed && reason.size > 0) {
        program_refuse(&build->program, plan, reason.data, &spot);
        raise_spot(build, &spot, "");
    }
    else if (result < 0) {
        PyErr_NoMemory();
    }
    core_free(&core);
    buffer_free(&reason);
    return result;
}

/* All that a ufunc needs, of one reading of the sources. Returns 0, or -1 with an exception. */
static int
build_loops(struct library *library, struct build *build)
{
    unsigned variables = library->plans.items[library->loop_plan].variables;
    size_t count = function_choices(&library->shared, variables);
    for (size_t i = 0; i < count; i++) {
        struct binding choice = function_choice(&library->shared, variables, i);
        struct binding binding = complete_binding(library, &choice);
        unit_free(&build->unit);
        buffer_free(&build->headers);
        build->unit = (struct unit){0};
        struct kernel *kernel = build_kernel(build, &library->plans, &binding);
        if (keep_kernel(library, &binding, kernel) == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Reads the sources, and compiles them where they are not generic, unless that is left for the first use. */
static int
open_library(struct library *library, struct state *state, bool lazy)
{
    static const struct binding none = BINDING_NONE;
    struct build build = {.state = state, .library = library, .headers = BUFFER_INIT};
    int result = start_build(&build, &library->plans);
    if (result == 0) {
        collect_headers(&build, &library->headers);
        result = complete_letters(library, &build) < 0 ? -1 : make_room(library);
        library->shared.records.items = library->plans.records;
        library->shared.records.dtypes = result < 0 ? NULL : record_dtypes(&library->plans);
        result = library->shared.records.dtypes == NULL ? -1 : result;
    }
    if (result == 0 && library->loops != LOOP_NONE) {
        result = pick_function(library, &build) < 0    ? -1
                 : check_function(library, &build) < 0 ? -1
                                                       : build_loops(library, &build);
    }
    else if (result == 0 && library->plans.variables == 0 && !lazy) {
        struct kernel *kernel = build_kernel(&build, &library->plans, &none);
        result = keep_kernel(library, &none, kernel) == NULL ? -1 : 0;
    }
    free_build(&build);
    return result < 0 || add_constants(library) < 0 ? -1
           : library->loops == LOOP_NONE            ? add_functions(library, state)
                                                    : 0;
}

/* What a Library's key holds: make_key(). */
enum { KEY_LENGTH = 8 };

/* What was asked for, from the arguments on. */
struct request {
    PyObject *source;
    PyObject *letters[TYPE_VARIABLES];
    PyObject *name;
    PyObject *declare;
    PyObject *functions;
    enum loop_kind loops;
    struct options_given given;
    bool has_options;
    bool force;
    bool lazy; /* out of a pickle: compiled on first use */
};

static PyObject *
new_library(PyObject *module, const struct request *request, PyObject *texts, PyObject *options,
            PyObject *key)
{
    struct state *state = PyModule_GetState(module);
    struct library *library =
        (struct library *)state->library_type->tp_alloc(state->library_type, 0);
    if (library == NULL) {
        return NULL;
    }
    library->module = Py_NewRef(module);
    library->texts = Py_NewRef(texts);
    library->options = Py_XNewRef(options);
    library->name = request->name != NULL ? Py_NewRef(request->name)
                                          : PyUnicode_FromString("tinyweave library");
    library->functions = PyDict_New();
    library->constants = PyDict_New();
    library->force = request->force;
    library->loops = request->loops;
    library->picks = request->name != NULL;
    library->declare = request->declare == NULL ? NULL : PyUnicode_AsUTF8String(request->declare);
    library->wanted = Py_XNewRef(request->functions);
    library->key = Py_NewRef(key);
    library->shared.plans = &library->plans;
    library->shared.kernel_for = library_kernel;
    library->shared.callbacks = callbacks_new(state, (PyObject *)library);
    for (int i = 0; i < TYPE_VARIABLES && !PyErr_Occurred(); i++) {
        const char *letters =
            request->letters[i] == NULL ? NULL : PyUnicode_AsUTF8(request->letters[i]);
        library->variables |= letters == NULL ? 0 : 1u << i;
        library->shared.letters[i] =
            letters == NULL ? NULL : read_letters(letters, i, maker_of(library));
    }
    if (library->name == NULL || library->functions == NULL || PyErr_Occurred() ||
        open_library(library, state, request->lazy) < 0) {
        Py_DECREF(library);
        return NULL;
    }
    return (PyObject *)library;
}

static int
library_clear(PyObject *self)
{
    struct library *library = (struct library *)self;
    if (library->functions != NULL) {
        PyDict_Clear(library->functions);
    }
    callbacks_clear(library->shared.callbacks);
    return 0;
}

static int
library_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct library *library = (struct library *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(library->module);
    Py_VISIT(library->functions);
    return callbacks_traverse(library->shared.callbacks, visit, arg);
}

static void
library_dealloc(PyObject *self)
{
    struct library *library = (struct library *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (library->weak_references != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    Py_CLEAR(library->functions);
    Py_CLEAR(library->constants);
    callbacks_free(library->shared.callbacks);
    size_t kernels = library->kernels == NULL ? 0 : binding_count(library->plans.variables);
    for (size_t i = 0; i < kernels; i++) {
        if (library->kernels[i] != NULL) {
            kernel_release(library->kernels[i]);
        }
    }
    PyMem_Free(library->kernels);
    plans_free(&library->plans);
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        free(library->shared.letters[i]);
    }
    Py_XDECREF(library->shared.records.dtypes);
    Py_XDECREF(library->declare);
    Py_XDECREF(library->wanted);
    Py_XDECREF(library->key);
    buffer_free(&library->headers);
    Py_XDECREF(library->texts);
    Py_XDECREF(library->options);
    Py_XDECREF(library->name);
    Py_XDECREF(library->module);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- What Python sees of a Library ---- */

static const struct plan *
find_refused(const struct library *library, PyObject *name)
{
    for (size_t i = 0; i < library->plans.count; i++) {
        const struct plan *plan = &library->plans.items[i];
        if (plan->refusal != NULL && PyUnicode_CompareWithASCIIString(name, plan->name) == 0) {
            return plan;
        }
    }
    return NULL;
}

static const struct plan_variable *
find_variable(const struct library *library, PyObject *name)
{
    for (size_t i = 0; i < library->plans.global_count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, library->plans.globals[i].name) == 0) {
            return &library->plans.globals[i];
        }
    }
    return NULL;
}

/* Where a variable lies; NULL with an AttributeError. */
static void *
variable_place(struct library *library, const struct plan_variable *variable)
{
    static const struct binding none = BINDING_NONE;
    const char *reason = library->plans.variables != 0 ? "a generic source has one for each dtype"
                                                       : variable->refusal;
    if (reason != NULL) {
        PyErr_Format(PyExc_AttributeError, "the variable '%s' (%s) cannot be seen from Python: %s",
                     variable->name, variable->declaration, reason);
        return NULL;
    }
    struct kernel *kernel = library_kernel((PyObject *)library, &none);
    if (kernel == NULL) {
        return NULL;
    }
    void **table = atomic_load_explicit(&kernel->entry_point, memory_order_acquire);
    return table[2 * library->plans.count + (size_t)(variable - library->plans.globals)];
}

static int
library_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    struct library *library = (struct library *)self;
    const struct plan_variable *variable = find_variable(library, name);
    if (variable == NULL) {
        bool constant = PyDict_Contains(library->constants, name) > 0;
        PyErr_Format(PyExc_AttributeError,
                     constant ? "%R is a constant of the library"
                              : "the library has no variable %R to be set",
                     name);
        return -1;
    }
    void *place = variable_place(library, variable);
    return place == NULL ? -1
                         : variable_set(variable, &library->shared.records, place, self, value);
}

/* The C functions first: one may be called `source`. */
static PyObject *
library_getattro(PyObject *self, PyObject *name)
{
    struct library *library = (struct library *)self;
    PyObject *function =
        library->functions == NULL ? NULL : PyDict_GetItemWithError(library->functions, name);
    if (function != NULL || PyErr_Occurred()) {
        return Py_XNewRef(function);
    }
    const struct plan_variable *variable = find_variable(library, name);
    if (variable != NULL) {
        void *place = variable_place(library, variable);
        return place == NULL ? NULL : variable_get(variable, &library->shared.records, place, self);
    }
    PyObject *constant =
        library->constants == NULL ? NULL : PyDict_GetItemWithError(library->constants, name);
    if (constant != NULL || PyErr_Occurred()) {
        return Py_XNewRef(constant);
    }
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return value;
    }
    const struct plan *refused = find_refused(library, name);
    if (refused != NULL) {
        PyErr_Clear();
        PyErr_Format(PyExc_AttributeError, "%s(): %s", refused->name, refused->refusal);
    }
    else if (library->functions != NULL) {
        PyErr_Clear();
        PyObject *names = PyDict_Keys(library->functions);
        PyErr_Format(PyExc_AttributeError, "the library has no function %R; it has %R", name,
                     names);
        Py_XDECREF(names);
    }
    return NULL;
}

/* Functions, variables and constants, then what every object has. */
static PyObject *
library_dir(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    const struct library *library = (struct library *)self;
    PyObject *all = PyObject_CallMethod((PyObject *)&PyBaseObject_Type, "__dir__", "O", self);
    PyObject *tables[] = {library->functions, library->constants};
    for (size_t i = 0; i < 2 && all != NULL; i++) {
        Py_SETREF(all, PySequence_InPlaceConcat(all, tables[i]));
    }
    for (size_t i = 0; all != NULL && i < library->plans.global_count; i++) {
        PyObject *name = PyUnicode_FromString(library->plans.globals[i].name);
        int result = name == NULL ? -1 : PyList_Append(all, name);
        Py_XDECREF(name);
        if (result < 0) {
            Py_CLEAR(all);
        }
    }
    return all;
}

static PyObject *
library_get_name(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(((struct library *)self)->name);
}

static PyObject *
library_get_source(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *texts = ((struct library *)self)->texts;
    struct buffer text = BUFFER_INIT;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *bytes = PyTuple_GET_ITEM(PyTuple_GET_ITEM(texts, i), 0);
        buffer_append_string(&text, i > 0 ? "\n" : "");
        buffer_append(&text, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    }
    PyObject *result = text.failed
                           ? PyErr_NoMemory()
                           : PyUnicode_DecodeUTF8(text.data, (Py_ssize_t)text.size, "replace");
    buffer_free(&text);
    return result;
}

static PyObject *
library_repr(PyObject *self)
{
    PyObject *names = PyDict_Keys(((struct library *)self)->functions);
    PyObject *comma = names == NULL ? NULL : PyUnicode_FromString(", ");
    PyObject *list = comma == NULL ? NULL : PyUnicode_Join(comma, names);
    PyObject *result =
        list == NULL ? NULL : PyUnicode_FromFormat("<tinyweave.Library of %U>", list);
    Py_XDECREF(names);
    Py_XDECREF(comma);
    Py_XDECREF(list);
    return result;
}

/* {"point": dtype}, of the structs that functions and variables speak of. */
static PyObject *
library_get_dtypes(PyObject *self, void *Py_UNUSED(closure))
{
    const struct library *library = (struct library *)self;
    PyObject *dtypes = PyDict_New();
    for (size_t i = 0; dtypes != NULL && i < library->plans.record_count; i++) {
        const char *name = library->plans.records[i].short_name;
        PyObject *dtype = PyTuple_GET_ITEM(library->shared.records.dtypes, (Py_ssize_t)i);
        if (name != NULL && PyDict_SetItemString(dtypes, name, dtype) < 0) {
            Py_CLEAR(dtypes);
        }
    }
    return dtypes;
}

static PyMemberDef LIBRARY_MEMBERS[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct library, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* Pickled as all that compile() was asked for, the texts of files with it. */
static PyObject *
library_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct library *library = (struct library *)self;
    PyObject *function = PyObject_GetAttrString(library->module, "_library");
    return function == NULL ? NULL
                            : Py_BuildValue("N(OO)", function, library->key,
                                            library->force ? Py_True : Py_False);
}

/* Multiplies bindings by the dtypes of a type variable. Returns how many there are then. */
static size_t
add_dtypes(struct binding *bindings, size_t count, int variable, const char *letters)
{
    int types[BINDING_TYPES];
    size_t type_count = 0;
    for (; *letters != '\0'; letters++) {
        PyArray_Descr *dtype = PyArray_DescrFromType(*letters);
        bool known = false;
        for (size_t i = 0; i < type_count; i++) {
            known |= strcmp(standalone_dtype(types[i]), standalone_dtype(dtype->type_num)) == 0;
        }
        if (!known) {
            types[type_count++] = dtype->type_num;
        }
        Py_DECREF(dtype);
    }
    for (size_t i = count * type_count; i-- > 0;) {
        bindings[i] = bindings[i / type_count];
        bindings[i].types[variable] = types[i % type_count];
    }
    return count * type_count;
}

/* Every combination of the dtypes that the type variables stand for, the first in front; types of one dtype
 * count once. Returns a malloc'ed array, or NULL with an exception. */
static struct binding *
list_bindings(const struct library *library, size_t *count)
{
    size_t most = binding_count(library->plans.variables);
    struct binding *bindings = PyMem_Calloc(most, sizeof(*bindings));
    if (bindings == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *bindings = (struct binding)BINDING_NONE;
    *count = 1;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if (library->plans.variables >> i & 1) {
            *count = add_dtypes(bindings, *count, i, library->shared.letters[i]);
        }
    }
    return bindings;
}

/* The program as plain C. Returns 0, or -1 with an exception; standalone_free is owed either way. */
static int
write_standalone(struct build *build, const struct plans *plans, struct standalone *standalone)
{
    size_t count;
    struct binding *bindings = list_bindings(build->library, &count);
    struct spot spot = {0};
    if (bindings == NULL) {
        return -1;
    }
    int result = standalone_write(&build->program, plans, bindings, count, standalone, &spot);
    PyMem_Free(bindings);
    if (result < 0) {
        raise_spot(build, &spot, "");
    }
    return result;
}

static PyObject *
library_save(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct library *library = (struct library *)self;
    struct build build = {
        .state = PyModule_GetState(library->module), .library = library, .headers = BUFFER_INIT};
    struct plans plans;
    struct standalone standalone = {0};
    PyObject *result = NULL;
    if (read_again(&build, &plans) == 0 && find_libraries(&build) == 0 &&
        write_standalone(&build, &plans, &standalone) == 0) {
        struct export_program program = {&standalone, &build.options.include_dirs,
                                         &build.unit.libraries, library->options};
        result = export_save(&program, arguments, keywords);
    }
    standalone_free(&standalone);
    plans_free(&plans);
    free_build(&build);
    return result;
}

static PyMethodDef LIBRARY_METHODS[] = {
    {"save", (PyCFunction)(void (*)(void))library_save, METH_VARARGS | METH_KEYWORDS,
     export_save_doc},
    {"__reduce__", library_reduce, METH_NOARGS, "Pickles by its source."},
    {"__copy__", export_itself, METH_NOARGS, "The Library itself."},
    {"__deepcopy__", export_itself, METH_O, "The Library itself."},
    {"__dir__", library_dir, METH_NOARGS, "The functions, and what every object has."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef LIBRARY_GETSET[] = {
    {"__name__", library_get_name, NULL, "The name given to tw.compile.", NULL},
    {"source", library_get_source, NULL, "The C text, a str; several texts one after the other.",
     NULL},
    {"dtypes", library_get_dtypes, NULL,
     "The dtypes of the structs that functions and variables use, by tag or typedef: a dict.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot LIBRARY_SLOTS[] = {
    {Py_tp_doc, "Compiled C functions, as attributes. Made by tw.compile."},
    {Py_tp_members, LIBRARY_MEMBERS},
    {Py_tp_methods, LIBRARY_METHODS},
    {Py_tp_getset, LIBRARY_GETSET},
    {Py_tp_getattro, library_getattro},
    {Py_tp_setattro, library_setattro},
    {Py_tp_repr, library_repr},
    {Py_tp_traverse, library_traverse},
    {Py_tp_clear, library_clear},
    {Py_tp_dealloc, library_dealloc},
    {0, NULL},
};

static PyType_Spec LIBRARY_SPEC = {
    .name = "tinyweave.Library",
    .basicsize = sizeof(struct library),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = LIBRARY_SLOTS,
};

int
compile_init(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    state->library_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &LIBRARY_SPEC, NULL);
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

/* ---- What a ufunc sees of a Library ---- */

const struct function_library *
compile_shared(PyObject *library)
{
    return &((struct library *)library)->shared;
}

const struct plan *
compile_loop_plan(PyObject *library)
{
    const struct library *self = (const struct library *)library;
    return &self->plans.items[self->loop_plan];
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

/* Whether the user's headers are no longer what a Library was made of. */
static bool
headers_changed(struct state *state, const struct library *library)
{
    if (library->headers.size == 0) {
        return false;
    }
    struct build build = {.state = state, .library = library, .headers = BUFFER_INIT};
    struct plans plans;
    struct buffer headers = BUFFER_INIT;
    if (start_build(&build, &plans) < 0) {
        PyErr_Clear(); /* making it anew will tell */
    }
    else {
        collect_headers(&build, &headers);
    }
    bool changed = headers.size != library->headers.size ||
                   memcmp(headers.data, library->headers.data, headers.size) != 0;
    plans_free(&plans);
    free_build(&build);
    buffer_free(&headers);
    return changed;
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
    if (library != NULL && headers_changed(state, (struct library *)library)) {
        Py_CLEAR(library);
    }
    if (library != NULL && keep_library(state, key, library) < 0) {
        Py_CLEAR(library);
    }
    return library;
}

static PyObject *
make_library(PyObject *module, const struct request *request, PyObject *texts, PyObject *options,
             PyObject *key)
{
    struct state *state = PyModule_GetState(module);
    PyObject *library = new_library(module, request, texts, options, key);
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
set_text(const struct request *request, PyObject *name, PyObject *value, PyObject **place)
{
    if (value == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s(): '%U' must be str, not %.100s",
                     FUNCTIONS[request->loops], name, Py_TYPE(value)->tp_name);
        return -1;
    }
    *place = value;
    return 0;
}

static int
set_keyword(struct request *request, const struct state *state, PyObject *name, PyObject *value)
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
                     FUNCTIONS[request->loops]);
        return -1;
    }
    request->has_options = true;
    return options_set(&request->given, state, FUNCTIONS[request->loops], name, value);
}

static int
read_request(struct request *request, const struct state *state, PyObject *const *arguments,
             Py_ssize_t count, PyObject *keywords)
{
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes 1 positional argument (source), %zd given",
                     FUNCTIONS[request->loops], count);
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
                     FUNCTIONS[request->loops]);
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
request_texts(const struct request *request)
{
    return request->source == NULL
               ? Py_BuildValue("((yO))", "", Py_None)
               : absolute_texts(source_read(request->source, FUNCTIONS[request->loops]));
}

static PyObject *
or_none(PyObject *object)
{
    return object == NULL ? Py_None : object;
}

/* What was asked for, with the texts read and the options in order: equal for equal Libraries. A new
 * reference, or NULL with an exception. */
static PyObject *
make_key(const struct request *request, PyObject *texts, PyObject *options)
{
    return Py_BuildValue("(OOOOOOOs)", texts, or_none(options), or_none(request->letters[0]),
                         or_none(request->letters[1]), or_none(request->name),
                         or_none(request->declare), or_none(request->functions),
                         FUNCTIONS[request->loops]);
}

/* Finds or makes the Library of a request whose texts are read. Returns a new reference, or NULL. */
static PyObject *
obtain_library(PyObject *module, struct request *request, PyObject *texts)
{
    struct state *state = PyModule_GetState(module);
    PyObject *options = NULL, *key = NULL, *library = NULL, *names = NULL;
    if (request->functions != NULL) {
        request->functions = names =
            options_names(request->functions, FUNCTIONS[request->loops], "functions");
    }
    if (!PyErr_Occurred() && request->has_options) {
        options = options_canonical(&request->given, FUNCTIONS[request->loops]);
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
    struct request request = {.loops = loops};
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
read_key(PyObject *key, struct request *request)
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
    struct request request = {.lazy = true};
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

/* build.c: the sources of a Library -> plans and kernels. */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cache/kernel.h"
#include "../backend/library.h"
#include "../frontend/casts.h"
#include "../frontend/pointers.h"
#include "report.h"
#include "source.h"

/* T's dtypes where no list is given: C's operators work on them all. */
#define DEFAULT_LETTERS "bBhHiIlLqQfd"

/* ---- The program ---- */

void
build_free(struct build *build)
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
    declare->sources[declare->count++] = (struct source){.label = "tw:declare",
                                                         .argument = "declare",
                                                         .text = PyBytes_AS_STRING(text),
                                                         .length = (size_t)PyBytes_GET_SIZE(text)};
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
    if (build->program.units == NULL || build->labels == NULL ||
        source_add_folders(texts, &build->options) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    build->program.count = count;
    build->program.include_dirs = &build->options.include_dirs;
    build->program.variables = build->library->variables;
    build->program.loops = build->library->loops;
    build->program.loop_plan = build->library->loop_plan;
    for (size_t i = 0; i < count; i++) {
        source_fill(texts, i, &build->options, &build->labels[i], build->program.units[i].sources);
        build->program.units[i].count = PREAMBLE_TEXTS + 1;
    }
    fill_declare(build);
    return fill_functions(build) < 0 ? -1 : fill_headers(build);
}

void
build_raise(const struct build *build, const struct spot *spot, const char *file)
{
    report_spot(build->state, library_maker(build->library), spot,
                file[0] != '\0' ? file
                                : source_file(build->library->texts, build->labels, spot->source));
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
        build_raise(build, &spot, file);
    }
    free(sources);
}

int
build_libraries(struct build *build)
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
int
build_start(struct build *build, struct plans *plans)
{
    struct spot spot = {0};
    *plans = (struct plans){0};
    if (options_read(build->library->options, library_maker(build->library), &build->options) < 0 ||
        fill_program(build) < 0) {
        return -1;
    }
    if (program_read(&build->program, plans, &spot) < 0) {
        build_raise(build, &spot, "");
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
void
build_headers(const struct build *build, struct buffer *headers)
{
    for (size_t i = 0; i < build->program.count; i++) {
        const struct buffer *contents = &build->program.units[i].preamble.includes.contents;
        buffer_append(headers, contents->data, contents->size);
    }
}

/* What declare= and headers speak of may be the C library's, which stands behind those the user names. */
static int
add_c_library(struct build *build)
{
    char *names[] = {"c"};
    struct strings c_library = {.items = names, .count = 1};
    struct strings none = {0};
    struct problem problem = {PROBLEM_NONE, ""};
    bool apart = build->program.declare.count > 0 || build->program.headers.count > 0;
    if (apart && library_find_all(&c_library, &none, &build->unit.libraries, &problem) < 0 &&
        problem.kind == PROBLEM_MEMORY) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* The kernel for what the type variables stand for, from the caches or the compiler. */
struct kernel *
build_kernel(struct build *build, const struct plans *plans, const struct binding *binding)
{
    if (program_unit(&build->program, plans, binding, &build->unit, &build->headers) < 0) {
        PyErr_NoMemory();
        return NULL;
    }
    if (add_system_folders(build) < 0 || build_libraries(build) < 0 || add_c_library(build) < 0) {
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

/* Reads the sources of a Library once more. Returns as start_build does. */
int
build_again(struct build *build, struct plans *plans)
{
    if (build_start(build, plans) < 0) {
        return -1;
    }
    if (plans_match(plans, &build->library->plans)) {
        return 0;
    }
    PyErr_Format(
        PyExc_RuntimeError,
        "%s(): a header of the library has changed its functions since: compile the source again",
        library_maker(build->library));
    return -1;
}

/* ---- The dtypes of type variables ---- */

/* "fdFD" -> the same, of NumPy's characters that C has. Returns a malloc'ed string, or NULL with an exception. */
char *
build_read_letters(const char *letters, int variable, const char *maker)
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
            return build_read_letters(letters, variable, library_maker(build->library));
        }
    }
    return build_read_letters(DEFAULT_LETTERS, variable, library_maker(build->library));
}

/* (T)x and double d = x, where T stands for complex numbers too. Returns 0, or -1 with an exception. */
static int
check_complex(const struct library *library, const struct build *build)
{
    static const char *const variables[TYPE_VARIABLES] = {"T", "U"};
    const char *names[TYPE_VARIABLES + 1] = {NULL};
    int count = 0;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if ((library->plans.variables >> i & 1) &&
            strpbrk(library->shared.letters[i], "FD") != NULL) {
            names[count++] = variables[i];
        }
    }
    for (size_t i = 0; i < build->program.count && count > 0; i++) {
        const struct source *source = &build->program.units[i].sources[PREAMBLE_TEXTS];
        struct spot spot;
        if (casts_check(source, names, &spot) < 0 ||
            pointers_check_complex(source, names, NULL, NULL, &spot) < 0) {
            build_raise(build, &spot, "");
            return -1;
        }
    }
    return 0;
}

/* The lists that the user did not give. */
int
build_letters(struct library *library, const struct build *build)
{
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        char **letters = &library->shared.letters[i];
        if (*letters == NULL && (*letters = find_letters(build, i)) == NULL) {
            return -1;
        }
    }
    return check_complex(library, build);
}

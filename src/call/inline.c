/* inline.c: tw.inline, from the caller's names to the snippet's result.
 *
 * A site is a snippet with its argument names and options; a variant is a site for one set of argument
 * types, and holds the kernel. A warm call finds the site by the code string, takes the arguments and
 * compares their types with the variant's: no text is looked at.
 */
#include "inline.h"

#include <stdlib.h>
#include <string.h>

#include "../../cache/kernel.h"
#include "../backend/library.h"
#include "../frontend/diagnostic.h"
#include "../frontend/snippet.h"
#include "../state.h"
#include "arguments.h"
#include "frame.h"
#include "options.h"

#define FUNCTION "inline"

/* More arguments than this are taken from the heap. */
#define INLINE_STACK_ARGUMENTS 8

struct variant {
    struct variant *next;        /* of the site */
    struct variant *kernel_next; /* of the kernel */
    struct site *site;
    struct kernel *kernel; /* it forgets us when it goes (forget_variants) */
    struct argument_type types[];
};

struct site {
    struct site *next; /* same code, other names or options */
    size_t references; /* the table's, and those of calls that are looking up their arguments */
    PyObject *code;
    PyObject *names;           /* a tuple of interned str */
    PyObject *options;         /* canonical, see options.h; NULL: none given */
    Py_ssize_t *hints;         /* where each name stands among the caller's fast locals */
    unsigned char *dimensions; /* see snippet_dimensions */
    struct variant *variants;
};

/* One call of inline, from its arguments on. */
struct request {
    struct state *state;
    PyObject *code;
    PyObject *arg_names;
    PyObject *local_dict;
    PyObject *global_dict;
    struct options_given given; /* the other keywords, as they came */
    bool has_options;
    bool force;
    int verbose;
};

/* ---- Sites ---- */

#define SITE_CAPSULE "tinyweave.site"

static struct site *
site_list(struct state *state, PyObject *code)
{
    PyObject *capsule = PyDict_GetItemWithError(state->sites, code);
    return capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, SITE_CAPSULE);
}

static int
set_site_list(struct state *state, PyObject *code, struct site *list)
{
    if (list == NULL) {
        return PyDict_DelItem(state->sites, code);
    }
    PyObject *capsule = PyCapsule_New(list, SITE_CAPSULE, NULL);
    int result = capsule == NULL ? -1 : PyDict_SetItem(state->sites, code, capsule);
    Py_XDECREF(capsule);
    return result;
}

static void
release_site(struct site *site)
{
    if (--site->references > 0) {
        return;
    }
    Py_XDECREF(site->code);
    Py_XDECREF(site->names);
    Py_XDECREF(site->options);
    free(site->hints);
    free(site->dimensions);
    free(site);
}

/* Takes an empty site out of the table. */
static void
drop_site(struct state *state, struct site *site)
{
    struct site *list = site_list(state, site->code);
    struct site **link = &list;
    while (*link != NULL && *link != site) {
        link = &(*link)->next;
    }
    if (*link == site) {
        bool first = link == &list;
        *link = site->next;
        if (first && set_site_list(state, site->code, list) < 0) {
            PyErr_Clear();
        }
    }
    release_site(site);
}

static void
drop_variant(struct state *state, struct variant *variant)
{
    struct site *site = variant->site;
    struct variant **link = &site->variants;
    while (*link != variant) {
        link = &(*link)->next;
    }
    *link = variant->next;
    free(variant);
    if (site->variants == NULL) {
        drop_site(state, site);
    }
}

/* The kernel goes: nobody may find it through a site any more. */
static void
forget_variants(struct kernel *kernel)
{
    struct variant *variant = kernel->variants;
    kernel->variants = NULL;
    while (variant != NULL) {
        struct variant *next = variant->kernel_next;
        drop_variant(kernel->state, variant);
        variant = next;
    }
}

/* Whether arg_names, a str "a b" or a sequence, are these names. -1 with an exception. */
static int
same_names(PyObject *names, PyObject *arg_names)
{
    if (!PyList_CheckExact(arg_names) && !PyTuple_CheckExact(arg_names)) {
        PyObject *canonical = options_names(arg_names, FUNCTION);
        int result = canonical == NULL ? -1 : PyObject_RichCompareBool(names, canonical, Py_EQ);
        Py_XDECREF(canonical);
        return result;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    if (PySequence_Fast_GET_SIZE(arg_names) != count) {
        return 0;
    }
    PyObject **given = PySequence_Fast_ITEMS(arg_names);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        if (given[i] != name &&
            (!PyUnicode_Check(given[i]) || PyUnicode_Compare(given[i], name) != 0)) {
            return 0;
        }
    }
    return 1;
}

static int
same_options(const struct site *site, PyObject *options)
{
    if (site->options == NULL || options == NULL) {
        return site->options == options;
    }
    return PyObject_RichCompareBool(site->options, options, Py_EQ);
}

/* Returns the site of these names, a tuple or as they came; or NULL, with or without an exception. */
static struct site *
find_site(const struct request *request, PyObject *names, PyObject *options)
{
    struct site *site = site_list(request->state, request->code);
    for (; site != NULL; site = site->next) {
        int same = same_names(site->names, names);
        if (same > 0) {
            same = same_options(site, options);
        }
        if (same != 0) {
            return same < 0 ? NULL : site;
        }
    }
    return NULL;
}

static struct site *
new_site(PyObject *code, PyObject *names, PyObject *options)
{
    size_t count = (size_t)PyTuple_GET_SIZE(names);
    struct site *site = calloc(1, sizeof(*site));
    if (site == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    site->references = 1;
    site->code = Py_NewRef(code);
    site->names = Py_NewRef(names);
    site->options = Py_XNewRef(options);
    site->hints = malloc((count + 1) * sizeof(*site->hints));
    site->dimensions = calloc(count + 1, 1);
    if (site->hints == NULL || site->dimensions == NULL) {
        release_site(site);
        PyErr_NoMemory();
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        site->hints[i] = -1;
    }
    return site;
}

static struct variant *
find_variant(const struct site *site, const struct argument_type *types)
{
    size_t size = (size_t)PyTuple_GET_SIZE(site->names) * sizeof(*types);
    for (struct variant *variant = site->variants; variant != NULL; variant = variant->next) {
        if (memcmp(variant->types, types, size) == 0) {
            return variant;
        }
    }
    return NULL;
}

/* ---- The values ---- */

/* The arguments of a call: their values, held, and their types. */
struct values {
    Py_ssize_t count;
    struct argument *arguments;
    struct argument_type *types;
    size_t bytes;
    Py_ssize_t held; /* so many objects are referred to */
    struct argument stack_arguments[INLINE_STACK_ARGUMENTS];
    struct argument_type stack_types[INLINE_STACK_ARGUMENTS];
};

static int
values_init(struct values *values, Py_ssize_t count)
{
    values->count = count;
    values->bytes = 0;
    values->held = 0;
    values->arguments = values->stack_arguments;
    values->types = values->stack_types;
    if (count <= INLINE_STACK_ARGUMENTS) {
        return 0;
    }
    values->arguments = malloc((size_t)count * sizeof(*values->arguments));
    values->types = malloc((size_t)count * sizeof(*values->types));
    if (values->arguments == NULL || values->types == NULL) {
        free(values->arguments);
        free(values->types);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void
values_free(struct values *values)
{
    for (Py_ssize_t i = 0; i < values->held; i++) {
        Py_DECREF(values->arguments[i].object);
    }
    if (values->arguments != values->stack_arguments) {
        free(values->arguments);
        free(values->types);
    }
}

static PyObject *
mapping_lookup(PyObject *mapping, PyObject *name)
{
    if (PyDict_CheckExact(mapping)) {
        return Py_XNewRef(PyDict_GetItemWithError(mapping, name));
    }
    PyObject *value = PyObject_GetItem(mapping, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
    }
    return value;
}

static void
name_not_found(const struct request *request, PyObject *name)
{
    if (request->local_dict != NULL) {
        PyErr_Format(PyExc_NameError,
                     FUNCTION "(): name '%U' is not in local_dict, and not a global", name);
    }
    else {
        PyErr_Format(PyExc_NameError,
                     FUNCTION
                     "(): name '%U' is neither a local of the caller nor a global (a name of an "
                     "enclosing function counts only where the caller uses it too)",
                     name);
    }
}

/* Returns a new reference, or NULL with an exception. */
static PyObject *
look_up(const struct request *request, const struct frame *frame, PyObject *name, Py_ssize_t *hint)
{
    PyObject *value = request->local_dict != NULL ? mapping_lookup(request->local_dict, name)
                                                  : frame_local(frame, name, hint);
    if (value != NULL || PyErr_Occurred()) {
        return value;
    }
    PyObject *globals = request->global_dict != NULL ? request->global_dict : frame->globals;
    if (globals != NULL) {
        value = mapping_lookup(globals, name);
    }
    if (value == NULL && !PyErr_Occurred()) {
        name_not_found(request, name);
    }
    return value;
}

/* Looks up and takes every argument. `hints` may be NULL. */
static int
take_values(const struct request *request, PyObject *names, Py_ssize_t *hints,
            struct values *values)
{
    struct frame frame;
    frame_caller(&frame);
    for (Py_ssize_t i = 0; i < values->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        Py_ssize_t no_hint = -1;
        PyObject *value = look_up(request, &frame, name, hints != NULL ? &hints[i] : &no_hint);
        if (value == NULL) {
            return -1;
        }
        values->arguments[i].object = value;
        values->held = i + 1;
        if (argument_take(value, name, FUNCTION, &values->arguments[i], &values->types[i]) < 0) {
            return -1;
        }
        values->bytes += argument_bytes(&values->arguments[i], &values->types[i]);
    }
    return 0;
}

static int
check_dimensions(const struct site *site, const struct values *values)
{
    for (Py_ssize_t i = 0; i < values->count; i++) {
        unsigned mask = site->dimensions[i];
        long dimensions = values->arguments[i].size;
        if (mask != 0 && values->types[i].kind == ARGUMENT_ARRAY &&
            (dimensions > 4 || (mask >> dimensions & 1) == 0)) {
            int used = __builtin_ctz(mask);
            PyErr_Format(
                PyExc_ValueError,
                FUNCTION "(): '%U' has %ld dimension%s, but the snippet indexes it with %d",
                PyTuple_GET_ITEM(site->names, i), dimensions, dimensions == 1 ? "" : "s", used);
            return -1;
        }
    }
    return 0;
}

/* ---- The cold path: a variant is made ---- */

/* What is only needed while a variant is made. */
struct build {
    const struct request *request;
    struct options options;
    struct snippet snippet;
    struct unit unit;
    struct buffer headers;
    const char **names;
};

static int
source_from_object(struct source *source, const char *label, const char *argument, PyObject *text)
{
    Py_ssize_t size = 0;
    *source = (struct source){.label = label, .argument = argument, .text = ""};
    if (text != NULL) {
        source->text = PyUnicode_AsUTF8AndSize(text, &size);
        source->length = (size_t)size;
    }
    return source->text == NULL ? -1 : 0;
}

static void
source_from_buffer(struct source *source, const char *label, const char *argument,
                   const struct buffer *text)
{
    *source = (struct source){.label = label,
                              .argument = argument,
                              .text = text->size ? text->data : "",
                              .length = text->size};
}

static int
fill_snippet(struct build *build, PyObject *names, const struct values *values)
{
    struct snippet *snippet = &build->snippet;
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    build->names = calloc((size_t)count + 1, sizeof(*build->names));
    if (build->names == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        build->names[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, i));
        if (build->names[i] == NULL) {
            return -1;
        }
    }
    snippet->names = build->names;
    snippet->types = values->types;
    snippet->count = (size_t)count;
    snippet->include_dirs = &build->options.include_dirs;
    source_from_buffer(&snippet->sources[SNIPPET_MACROS], "tw:define_macros", "define_macros",
                       &build->options.macros);
    source_from_buffer(&snippet->sources[SNIPPET_HEADERS], "tw:headers", "headers",
                       &build->options.headers);
    if (source_from_object(&snippet->sources[SNIPPET_SUPPORT], "tw:support_code", "support_code",
                           build->options.support_code) < 0) {
        return -1;
    }
    return source_from_object(&snippet->sources[SNIPPET_CODE], "tw:code", "code",
                              build->request->code);
}

static int
raise_spot(struct build *build, const struct spot *spot, const char *file)
{
    if (spot->message[0] == '\0') {
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
        return -1;
    }
    diagnostic_raise(build->request->state->compile_error, FUNCTION, spot, file);
    return -1;
}

static int
raise_problem(struct build *build, const struct problem *problem)
{
    if (problem->kind != PROBLEM_COMPILE && problem->kind != PROBLEM_SYMBOL) {
        if (problem->kind != PROBLEM_NONE) {
            state_raise(problem, PyExc_OSError);
        }
        return -1;
    }
    struct spot spot = {0};
    char file[256];
    diagnostic_locate(problem, build->snippet.sources, SNIPPET_SOURCES, &spot, file);
    return raise_spot(build, &spot, file);
}

static int
find_libraries(struct build *build)
{
    struct problem problem = {PROBLEM_NONE, ""};
    for (size_t i = 0; i < build->options.libraries.count; i++) {
        if (library_find(build->options.libraries.items[i], &build->options.library_dirs,
                         &build->unit.libraries, &problem) < 0) {
            return raise_problem(build, &problem);
        }
    }
    return 0;
}

static int
system_folders(void *context, bool python, struct strings *folders)
{
    return state_system_folders(context, python, folders);
}

static int
make_unit(struct build *build)
{
    struct spot spot = {0};
    char message[300];
    if (snippet_check_names(&build->snippet, message) < 0) {
        PyErr_Format(PyExc_ValueError, FUNCTION "(): %s", message);
        return -1;
    }
    if (snippet_scan(&build->snippet, &spot) < 0 ||
        snippet_unit(&build->snippet, &build->unit, &build->headers, system_folders,
                     build->request->state, &spot) < 0) {
        return raise_spot(build, &spot, "");
    }
    return find_libraries(build);
}

static void
tell_origin(const struct build *build, enum kernel_origin origin)
{
    static const char *const origins[] = {"found in memory", "loaded from disk", "compiled"};
    if (build->request->verbose > 0) {
        PySys_FormatStderr(FUNCTION "(%s): %s\n",
                           build->unit.signature.size ? build->unit.signature.data : "",
                           origins[origin]);
    }
    if (build->request->verbose > 1) {
        PySys_FormatStderr("%s", build->unit.text.data);
    }
}

static struct kernel *
obtain_kernel(struct build *build)
{
    const struct request *request = build->request;
    struct problem problem = {PROBLEM_NONE, ""};
    enum kernel_origin origin;
    struct kernel *kernel =
        kernel_obtain(request->state, &build->unit, &build->headers,
                      build->snippet.sources[SNIPPET_CODE].text, request->force, &origin, &problem);
    if (kernel == NULL) {
        raise_problem(build, &problem);
        return NULL;
    }
    tell_origin(build, origin);
    return kernel;
}

static void
free_build(struct build *build)
{
    snippet_free(&build->snippet);
    unit_free(&build->unit);
    buffer_free(&build->headers);
    options_free(&build->options);
    free(build->names);
}

/* Lists a site under its code. */
static struct site *
add_site(const struct request *request, PyObject *names, PyObject *options,
         const struct snippet *snippet)
{
    struct site *site = new_site(request->code, names, options);
    if (site == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < snippet->count; i++) {
        site->dimensions[i] = (unsigned char)snippet_dimensions(snippet, i);
    }
    site->next = site_list(request->state, request->code);
    if (set_site_list(request->state, request->code, site) < 0) {
        release_site(site);
        return NULL;
    }
    return site;
}

/* Takes a variant of the same types out of the site: force= made a new one. */
static void
replace_variant(struct state *state, struct site *site, const struct variant *variant)
{
    for (struct variant *old = site->variants; old != NULL; old = old->next) {
        if (old != variant &&
            memcmp(old->types, variant->types,
                   (size_t)PyTuple_GET_SIZE(site->names) * sizeof(*old->types)) == 0) {
            struct variant **link = (struct variant **)&old->kernel->variants;
            while (*link != old) {
                link = &(*link)->kernel_next;
            }
            *link = old->kernel_next;
            drop_variant(state, old);
            return;
        }
    }
}

static int
add_variant(struct state *state, struct site *site, struct kernel *kernel,
            const struct values *values)
{
    size_t size = (size_t)values->count * sizeof(*values->types);
    struct variant *variant = malloc(sizeof(*variant) + size);
    if (variant == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    variant->site = site;
    variant->kernel = kernel;
    memcpy(variant->types, values->types, size);
    variant->next = site->variants;
    site->variants = variant;
    variant->kernel_next = kernel->variants;
    kernel->variants = variant;
    kernel->forget = forget_variants;
    replace_variant(state, site, variant);
    return 0;
}

/* Makes the variant for these types, and the site if it is not there yet. Returns the kernel, a new
 * reference. */
static struct kernel *
compile_variant(const struct request *request, PyObject *names, PyObject *options,
                const struct values *values)
{
    struct build build = {.request = request, .headers = BUFFER_INIT};
    struct kernel *kernel = NULL;
    if (options_read(options, FUNCTION, &build.options) == 0 &&
        fill_snippet(&build, names, values) == 0 && make_unit(&build) == 0) {
        kernel = obtain_kernel(&build);
    }
    if (kernel != NULL) {
        /* Looked for only now: while libtcc worked without the GIL another thread may have added it. */
        struct site *site = find_site(request, names, options);
        if (site == NULL && !PyErr_Occurred()) {
            site = add_site(request, names, options, &build.snippet);
        }
        if (site == NULL || add_variant(request->state, site, kernel, values) < 0) {
            kernel_release(kernel);
            kernel = NULL;
        }
    }
    free_build(&build);
    return kernel;
}

/* ---- The call ---- */

static struct kernel *
warm_kernel(struct state *state, struct site *site, const struct values *values)
{
    struct variant *variant = find_variant(site, values->types);
    if (variant == NULL) {
        return NULL;
    }
    struct kernel *kernel = variant->kernel;
    memory_touch(&state->kernels, &kernel->entry);
    kernel->entry.references++;
    state->memory_hits++;
    return kernel;
}

static PyObject *
run_request(const struct request *request, struct site *site, PyObject *names, PyObject *options)
{
    struct values values;
    PyObject *result = NULL;
    if (values_init(&values, PyTuple_GET_SIZE(names)) < 0) {
        return NULL;
    }
    if (take_values(request, names, site == NULL ? NULL : site->hints, &values) == 0) {
        struct kernel *kernel = NULL;
        if (site != NULL && !request->force) {
            kernel = warm_kernel(request->state, site, &values);
        }
        if (kernel == NULL) {
            kernel = compile_variant(request, names, options, &values);
            site = kernel == NULL ? NULL : ((struct variant *)kernel->variants)->site;
        }
        if (kernel != NULL) {
            if (check_dimensions(site, &values) == 0) {
                result = call_kernel(kernel, values.arguments, values.bytes, FUNCTION);
            }
            kernel_release(kernel);
        }
    }
    values_free(&values);
    return result;
}

static PyObject *
find_and_run(const struct request *request, PyObject *options)
{
    struct site *site = find_site(request, request->arg_names, options);
    if (site == NULL && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *names =
        site != NULL ? Py_NewRef(site->names) : options_names(request->arg_names, FUNCTION);
    if (names == NULL) {
        return NULL;
    }
    if (site != NULL) {
        site->references++; /* a local_dict of the user's own may run anything when it is asked */
    }
    PyObject *result = run_request(request, site, names, options);
    if (site != NULL) {
        release_site(site);
    }
    Py_DECREF(names);
    return result;
}

/* ---- Reading the arguments of inline itself ---- */

static int
set_flag(PyObject *value, bool *flag)
{
    int truth = PyObject_IsTrue(value);
    *flag = truth > 0;
    return truth < 0 ? -1 : 0;
}

static int
set_verbose(PyObject *value, int *verbose)
{
    long level = PyLong_AsLong(value);
    *verbose = level > 2 ? 2 : (int)level;
    return level == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
set_keyword(struct request *request, PyObject *name, PyObject *value)
{
    struct state *state = request->state;
    PyObject **slots[] = {&request->code, &request->arg_names, &request->local_dict,
                          &request->global_dict};
    PyObject *const names[] = {state->name_code, state->name_arg_names, state->name_local_dict,
                               state->name_global_dict};
    for (size_t i = 0; i < 4; i++) {
        if (name == names[i] || PyUnicode_Compare(name, names[i]) == 0) {
            if (*slots[i] != NULL) {
                PyErr_Format(PyExc_TypeError, FUNCTION "() got multiple values for argument '%U'",
                             name);
                return -1;
            }
            *slots[i] = value;
            return 0;
        }
    }
    if (PyUnicode_Compare(name, state->name_force) == 0) {
        return set_flag(value, &request->force);
    }
    if (PyUnicode_Compare(name, state->name_verbose) == 0) {
        return set_verbose(value, &request->verbose);
    }
    request->has_options = true;
    return options_set(&request->given, state, FUNCTION, name, value);
}

static int
check_request(struct request *request)
{
    if (request->code == NULL) {
        PyErr_SetString(PyExc_TypeError, FUNCTION "() missing required argument: 'code'");
        return -1;
    }
    if (!PyUnicode_Check(request->code)) {
        PyErr_Format(PyExc_TypeError, FUNCTION "(): 'code' must be str, the C text, not %.100s",
                     Py_TYPE(request->code)->tp_name);
        return -1;
    }
    PyObject **mappings[] = {&request->local_dict, &request->global_dict};
    static const char *const names[] = {"local_dict", "global_dict"};
    for (size_t i = 0; i < 2; i++) {
        if (*mappings[i] == Py_None) {
            *mappings[i] = NULL;
        }
        if (*mappings[i] != NULL && !PyMapping_Check(*mappings[i])) {
            PyErr_Format(PyExc_TypeError, FUNCTION "(): '%s' must be a mapping, not %.100s",
                         names[i], Py_TYPE(*mappings[i])->tp_name);
            return -1;
        }
    }
    return 0;
}

static int
read_request(struct request *request, PyObject *const *arguments, Py_ssize_t count,
             PyObject *keywords)
{
    PyObject **slots[] = {&request->code, &request->arg_names, &request->local_dict,
                          &request->global_dict};
    if (count > 4) {
        PyErr_Format(PyExc_TypeError,
                     FUNCTION
                     "() takes at most 4 positional arguments (code, arg_names, local_dict, "
                     "global_dict), %zd given",
                     count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        *slots[i] = arguments[i];
    }
    Py_ssize_t keyword_count = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < keyword_count; i++) {
        if (set_keyword(request, PyTuple_GET_ITEM(keywords, i), arguments[count + i]) < 0) {
            return -1;
        }
    }
    return check_request(request);
}

/* arg_names as they can be looked at more than once: an iterator is used up by the first look. */
static PyObject *
hold_names(const struct request *request)
{
    PyObject *names = request->arg_names;
    if (names == NULL) {
        return Py_NewRef(request->state->empty_tuple);
    }
    if (PyUnicode_Check(names) || PyTuple_CheckExact(names) || PyList_CheckExact(names)) {
        return Py_NewRef(names);
    }
    return options_names(names, FUNCTION);
}

PyObject *
inline_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    struct request request = {.state = PyModule_GetState(module)};
    if (read_request(&request, arguments, count, keywords) < 0) {
        return NULL;
    }
    PyObject *names = hold_names(&request);
    PyObject *options = request.has_options ? options_canonical(&request.given, FUNCTION) : NULL;
    PyObject *result = NULL;
    if (names != NULL && (options != NULL || !request.has_options)) {
        request.arg_names = names;
        result = find_and_run(&request, options);
    }
    Py_XDECREF(names);
    Py_XDECREF(options);
    return result;
}

void
inline_clear(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    memory_clear(&state->kernels);
}

const char inline_doc[] =
    "inline(code, arg_names=(), local_dict=None, global_dict=None, *, support_code=None,\n"
    "       headers=(), define_macros=(), undef_macros=(), include_dirs=(), libraries=(),\n"
    "       library_dirs=(), extra_compile_args=(), force=False, verbose=0)\n"
    "--\n\n"
    "Run a C snippet over Python values; compiled on first use, cached from then on.\n"
    "\n"
    "Parameters\n"
    "----------\n"
    "code : str\n"
    "    The body of a C function. ``return_val = expr;`` sets the result, ``return;`` leaves "
    "early,\n"
    "    ``tw_raise(PyExc_ValueError, \"n is %ld\", n);`` raises. printf and its kin print to "
    "sys.stdout.\n"
    "arg_names : list of str, or one str \"a b\"\n"
    "    Names the snippet sees, looked up in `local_dict` (default: the caller's locals), then "
    "in\n"
    "    `global_dict` (default: the caller's globals). int is ``long``, bool ``int``, float "
    "``double``,\n"
    "    float32 ``float``, complex ``tw_complex``, str and bytes ``const char *`` with its length "
    "``Na``.\n"
    "    An array is a pointer ``a`` to its data, ``Na`` its shape, ``Sa`` its strides in bytes, "
    "``Da`` its\n"
    "    number of dimensions; ``A1(i)`` ... ``A4(i,j,k,l)`` index it by its strides. Anything "
    "else is a\n"
    "    borrowed ``PyObject *``, as is ``py_a`` of every argument.\n"
    "local_dict, global_dict : mapping, optional\n"
    "    Where names are looked up.\n"
    "support_code : str, optional\n"
    "    C text at file scope before the snippet: functions, types, static variables.\n"
    "headers : list of str\n"
    "    ``\"<math.h>\"``, ``'\"mine.h\"'``: included before `support_code`. libm and the common "
    "functions of\n"
    "    libc need none. ``<Python.h>`` and ``<numpy/arrayobject.h>`` bring the real ones.\n"
    "define_macros : list of (name, value or None), or dict\n"
    "undef_macros, include_dirs, libraries, library_dirs : list of str\n"
    "extra_compile_args : list of str\n"
    "    ``-D``, ``-U`` and ``-I``; flags for optimisation, warnings and the standard are "
    "accepted.\n"
    "force : bool\n"
    "    Compile anew, whatever is cached.\n"
    "verbose : int\n"
    "    1 tells on sys.stderr whether the kernel was compiled or found, 2 shows the C text as "
    "well.\n"
    "\n"
    "Returns\n"
    "-------\n"
    "object\n"
    "    What `return_val` was last set to: int, float, complex, bool, str or any object; else "
    "None.\n"
    "\n"
    "Raises\n"
    "------\n"
    "CompileError\n"
    "    The C text is wrong; with its line and a caret.\n"
    "NameError, TypeError, ValueError, OverflowError\n"
    "    A name is not found, has a dtype C cannot take, a name that C code has already or the "
    "wrong number\n"
    "    of dimensions, or does not fit C's long.\n"
    "OSError\n"
    "    A library is not found.\n"
    "\n"
    "Examples\n"
    "--------\n"
    ">>> a = 3\n"
    ">>> tw.inline(\"return_val = a + 1;\", [\"a\"])\n"
    "4\n"
    ">>> x = np.arange(6.0)\n"
    ">>> tw.inline(\"for (int i = 0; i < Nx[0]; i++) x[i] *= 2;\", [\"x\"])\n"
    ">>> x\n"
    "array([ 0.,  2.,  4.,  6.,  8., 10.])\n";

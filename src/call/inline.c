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
#include "lookup.h"
#include "options.h"

#define FUNCTION "inline"

/* More arguments than this are taken from the heap. */
#define INLINE_STACK_ARGUMENTS 8

struct variant {
    struct variant *next;        /* of the site */
    struct variant *kernel_next; /* of the kernel */
    struct site *site;
    struct kernel *kernel;     /* it forgets us when it goes (forget_variants) */
    unsigned char *dimensions; /* see snippet_dimensions; behind the types */
    struct argument_type types[];
};

struct site {
    struct site *next; /* same code, other names or options */
    size_t references; /* the table's, and those of calls that are looking up their arguments */
    PyObject *code;
    PyObject *names;   /* a tuple of interned str */
    PyObject *options; /* canonical, see options.h; NULL: none given */
    Py_ssize_t *hints; /* where each name stands among the caller's fast locals */
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

#define SITE_CAPSULE "tinyweave.sites"

/* More sites than this of one code string: the oldest goes. */
#define MOST_SITES 64

/* The sites of one code string, in a capsule in state->sites; changed in place, which cannot fail. */
struct sites {
    struct site *newest;
    size_t count;
};

static void
free_sites(PyObject *capsule)
{
    free(PyCapsule_GetPointer(capsule, SITE_CAPSULE));
}

/* Returns NULL, without an exception, when the code has none. The key is exactly a str. */
static struct sites *
sites_of(const struct state *state, PyObject *code)
{
    PyObject *capsule = PyDict_GetItemWithError(state->sites, code);
    return capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, SITE_CAPSULE);
}

/* Returns the code's sites, made if need be; NULL with an exception. */
static struct sites *
make_sites(struct state *state, PyObject *code)
{
    struct sites *sites = sites_of(state, code);
    if (sites != NULL || PyErr_Occurred()) {
        return sites;
    }
    sites = calloc(1, sizeof(*sites));
    PyObject *capsule =
        sites == NULL ? PyErr_NoMemory() : PyCapsule_New(sites, SITE_CAPSULE, free_sites);
    if (capsule == NULL) {
        free(sites);
        return NULL;
    }
    if (PyDict_SetItem(state->sites, code, capsule) < 0) {
        sites = NULL;
    }
    Py_DECREF(capsule);
    return sites;
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
    free(site);
}

/* Takes an empty site out of the table. */
static void
drop_site(struct state *state, struct site *site)
{
    struct sites *sites = sites_of(state, site->code);
    struct site **link = &sites->newest;
    while (*link != site) {
        link = &(*link)->next;
    }
    *link = site->next;
    if (--sites->count == 0 && PyDict_DelItem(state->sites, site->code) < 0) {
        PyErr_Clear(); /* an empty list stays */
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

/* Takes a variant away from its kernel and its site. */
static void
remove_variant(struct state *state, struct variant *variant)
{
    struct variant **link = (struct variant **)&variant->kernel->variants;
    while (*link != variant) {
        link = &(*link)->kernel_next;
    }
    *link = variant->kernel_next;
    drop_variant(state, variant);
}

/* The kernel goes: nobody may find it through a site any more. An exception may be set meanwhile. */
static void
forget_variants(struct kernel *kernel)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    struct variant *variant = kernel->variants;
    kernel->variants = NULL;
    while (variant != NULL) {
        struct variant *next = variant->kernel_next;
        drop_variant(kernel->state, variant);
        variant = next;
    }
    PyErr_Restore(type, value, traceback);
}

/* Whether arg_names, a str "a b" or a sequence, are these names. -1 with an exception. */
static int
same_names(PyObject *names, PyObject *arg_names)
{
    if (!PyList_CheckExact(arg_names) && !PyTuple_CheckExact(arg_names)) {
        PyObject *canonical = options_names(arg_names, FUNCTION, "arg_names");
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
    const struct sites *sites = sites_of(request->state, request->code);
    for (struct site *site = sites == NULL ? NULL : sites->newest; site != NULL;
         site = site->next) {
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
    if (site->hints == NULL) {
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

/* Returns a new reference, or NULL with an exception. */
static PyObject *
look_up(const struct lookup *lookup, PyObject *name, Py_ssize_t *hint)
{
    PyObject *value = lookup_name(lookup, name, hint);
    if (value == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_NameError, FUNCTION "(): name '%U' is not defined%s", name,
                     lookup_hint(lookup));
    }
    return value;
}

/* Looks up and takes every argument. `hints` may be NULL. */
static int
take_values(const struct request *request, PyObject *names, Py_ssize_t *hints,
            struct values *values)
{
    struct lookup lookup;
    lookup_start(&lookup, request->local_dict, request->global_dict);
    for (Py_ssize_t i = 0; i < values->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        Py_ssize_t no_hint = -1;
        PyObject *value = look_up(&lookup, name, hints != NULL ? &hints[i] : &no_hint);
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
check_dimensions(const struct variant *variant, const struct values *values)
{
    for (Py_ssize_t i = 0; i < values->count; i++) {
        unsigned mask = variant->dimensions[i];
        long dimensions = values->arguments[i].size;
        if (mask != 0 && values->types[i].kind == ARGUMENT_ARRAY &&
            (dimensions > 4 || (mask >> dimensions & 1) == 0)) {
            int used = __builtin_ctz(mask);
            PyErr_Format(PyExc_ValueError,
                         FUNCTION
                         "(): '%U' has %ld dimension%s, but the snippet indexes it with %d",
                         PyTuple_GET_ITEM(variant->site->names, i), dimensions,
                         dimensions == 1 ? "" : "s", used);
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
    return library_find_all(&build->options.libraries, &build->options.library_dirs,
                            &build->unit.libraries, &problem) < 0
               ? raise_problem(build, &problem)
               : 0;
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
        snippet_unit(&build->snippet, &build->unit, &build->headers, &spot) < 0) {
        return raise_spot(build, &spot, "");
    }
    const struct includes *includes = &build->snippet.preamble.includes;
    if (includes->any && state_system_folders(build->request->state, includes->python,
                                              &build->unit.system_dirs) < 0) {
        return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
    }
    return find_libraries(build);
}

static void
tell_origin(enum kernel_origin origin)
{
    static const char *const origins[] = {"found in memory", "loaded from disk", "compiled"};
    PySys_FormatStderr(FUNCTION "(): %s\n", origins[origin]);
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
    if (request->verbose > 0) {
        tell_origin(origin);
    }
    if (request->verbose > 1) {
        PySys_FormatStderr("%s", build->unit.text.data);
    }
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

/* Forgets the oldest site of a code string when there are too many: options made up for ever must not
 * grow. One that is being looked up lives on until that is done. */
static void
trim_sites(struct state *state, struct sites *sites)
{
    if (sites->count <= MOST_SITES) {
        return;
    }
    struct site *oldest = sites->newest;
    while (oldest->next != NULL) {
        oldest = oldest->next;
    }
    for (struct variant *variant = oldest->variants, *next; variant != NULL; variant = next) {
        next = variant->next; /* the site goes with its last variant */
        remove_variant(state, variant);
    }
}

/* Lists a site under its code. */
static struct site *
add_site(const struct request *request, PyObject *names, PyObject *options)
{
    struct site *site = new_site(request->code, names, options);
    struct sites *sites = site == NULL ? NULL : make_sites(request->state, request->code);
    if (sites == NULL) {
        if (site != NULL) {
            release_site(site);
        }
        return NULL;
    }
    site->next = sites->newest;
    sites->newest = site;
    sites->count++;
    return site;
}

static struct variant *
new_variant(const struct values *values, const struct snippet *snippet)
{
    size_t count = (size_t)values->count;
    size_t size = count * sizeof(*values->types);
    struct variant *variant = malloc(sizeof(*variant) + size + count);
    if (variant == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(variant->types, values->types, size);
    variant->dimensions = (unsigned char *)variant->types + size;
    for (size_t i = 0; i < count; i++) {
        variant->dimensions[i] = (unsigned char)snippet_dimensions(snippet, i);
    }
    return variant;
}

/* Joins a kernel to the site of its code, names and options, which is made if need be: it is looked for
 * only now, since another thread may have added it while libtcc worked without the GIL. */
static struct variant *
add_variant(const struct request *request, PyObject *names, PyObject *options,
            struct variant *variant, struct kernel *kernel)
{
    struct site *site = find_site(request, names, options);
    if (site == NULL && !PyErr_Occurred()) {
        site = add_site(request, names, options);
    }
    if (site == NULL) {
        free(variant);
        return NULL;
    }
    struct variant *old = find_variant(site, variant->types); /* force= makes a new one */
    variant->site = site;
    variant->kernel = kernel;
    variant->next = site->variants;
    site->variants = variant;
    variant->kernel_next = kernel->variants;
    kernel->variants = variant;
    kernel->forget = forget_variants;
    if (old != NULL) {
        remove_variant(request->state, old);
    }
    trim_sites(request->state, sites_of(request->state, request->code));
    return variant;
}

/* Makes the variant for these types. Returns it with a new reference to its kernel. */
static struct variant *
compile_variant(const struct request *request, PyObject *names, PyObject *options,
                const struct values *values)
{
    struct build build = {.request = request, .headers = BUFFER_INIT};
    struct variant *variant = NULL;
    struct kernel *kernel = NULL;
    if (options_read(options, FUNCTION, &build.options) == 0 &&
        fill_snippet(&build, names, values) == 0 && make_unit(&build) == 0 &&
        (variant = new_variant(values, &build.snippet)) != NULL) {
        kernel = obtain_kernel(&build);
    }
    free_build(&build);
    if (kernel == NULL) {
        free(variant);
        return NULL;
    }
    variant = add_variant(request, names, options, variant, kernel);
    if (variant == NULL) {
        kernel_release(kernel);
    }
    return variant;
}

/* ---- The call ---- */

/* Returns the variant for these types with a new reference to its kernel; or NULL. */
static struct variant *
warm_variant(const struct request *request, const struct site *site, const struct values *values)
{
    struct variant *variant =
        site == NULL || request->force ? NULL : find_variant(site, values->types);
    if (variant != NULL) {
        memory_touch(&request->state->kernels, &variant->kernel->entry);
        variant->kernel->entry.references++;
        request->state->memory_hits++;
        if (request->verbose > 0) {
            tell_origin(KERNEL_MEMORY);
        }
    }
    return variant;
}

static PyObject *
run_values(const struct request *request, const struct site *site, PyObject *names,
           PyObject *options, const struct values *values)
{
    struct variant *variant = warm_variant(request, site, values);
    if (variant == NULL) {
        variant = compile_variant(request, names, options, values);
    }
    if (variant == NULL) {
        return NULL;
    }
    struct kernel *kernel = variant->kernel;
    PyObject *result = NULL;
    if (check_dimensions(variant, values) == 0) {
        result = call_kernel(kernel, values->arguments, values->bytes, FUNCTION);
    }
    kernel_release(kernel);
    return result;
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
        result = run_values(request, site, names, options, &values);
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
    PyObject *names = site != NULL ? Py_NewRef(site->names)
                                   : options_names(request->arg_names, FUNCTION, "arg_names");
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
    return options_names(names, FUNCTION, "arg_names");
}

PyObject *
inline_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    struct request request = {.state = PyModule_GetState(module)};
    if (read_request(&request, arguments, count, keywords) < 0) {
        return NULL;
    }
    PyObject *code = PyUnicode_FromObject(request.code); /* exactly str: no user's own __eq__ */
    PyObject *names = code == NULL ? NULL : hold_names(&request);
    PyObject *options = NULL;
    PyObject *result = NULL;
    if (names != NULL && request.has_options) {
        options = options_canonical(&request.given, FUNCTION);
    }
    if (names != NULL && (options != NULL || !request.has_options)) {
        request.code = code;
        request.arg_names = names;
        result = find_and_run(&request, options);
    }
    Py_XDECREF(code);
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

/* library.c: tw.Library, the object: its kernels, its life, its attributes. */
#include "build.h"

#include <stddef.h>
#include <string.h>

#include <structmember.h>

#include "../../cache/kernel.h"
#include "../frontend/standalone.h"
#include "callback.h"
#include "export.h"
#include "library_loops.h"
#include "numpy.h"

static const char *const MAKERS[] = {
    [LOOP_NONE] = "compile", [LOOP_ELEMENTS] = "ufunc", [LOOP_CORE] = "gufunc"};

const char *
library_maker_name(enum loop_kind loops)
{
    return MAKERS[loops];
}

const char *
library_maker(const struct library *library)
{
    return MAKERS[library->loops];
}

/* ---- Kernels ---- */

/* Keeps a kernel, unless another thread was first: returns the one that is kept, borrowed. */
struct kernel *
library_keep_kernel(struct library *library, const struct binding *binding, struct kernel *kernel)
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

struct binding
library_binding(const struct library *library, const struct binding *given)
{
    struct binding binding = *given;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if ((library->plans.variables >> i & 1) && binding.types[i] < 0) {
            binding.types[i] = first_type(library, i);
        }
    }
    return binding;
}

struct kernel *
library_kernel(PyObject *self, const struct binding *given)
{
    struct library *library = (struct library *)self;
    struct binding binding = library_binding(library, given);
    struct kernel *kernel = library->kernels[binding_index(library->plans.variables, &binding)];
    if (kernel != NULL) {
        return kernel;
    }
    struct build build = BUILD_OF(library);
    struct plans plans;
    if (build_again(&build, &plans) == 0) {
        kernel = build_kernel(&build, &plans, &binding);
    }
    plans_free(&plans);
    build_free(&build);
    return library_keep_kernel(library, &binding, kernel);
}

/* Whether the user's headers are no longer what a Library was made of. */
bool
library_headers_changed(struct library *library)
{
    if (library->headers.size == 0) {
        return false;
    }
    struct build build = BUILD_OF(library);
    struct plans plans;
    struct buffer headers = BUFFER_INIT;
    if (build_start(&build, &plans) < 0) {
        PyErr_Clear(); /* making it anew will tell */
    }
    else {
        build_headers(&build, &headers);
    }
    bool changed = headers.size != library->headers.size ||
                   memcmp(headers.data, library->headers.data, headers.size) != 0;
    plans_free(&plans);
    build_free(&build);
    buffer_free(&headers);
    return changed;
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

/* Reads the sources, and compiles them where they are not generic, unless that is left for the first use. */
static int
open_library(struct library *library, struct state *state, bool lazy)
{
    static const struct binding none = BINDING_NONE;
    struct build build = BUILD_OF(library);
    int result = build_start(&build, &library->plans);
    if (result == 0) {
        build_headers(&build, &library->headers);
        result = build_letters(library, &build) < 0 ? -1 : make_room(library);
        library->shared.records.items = library->plans.records;
        library->shared.records.dtypes = result < 0 ? NULL : record_dtypes(&library->plans);
        result = library->shared.records.dtypes == NULL ? -1 : result;
    }
    if (result == 0 && library->loops != LOOP_NONE) {
        result = library_build_loops(library, &build);
    }
    else if (result == 0 && library->plans.variables == 0 && !lazy) {
        struct kernel *kernel = build_kernel(&build, &library->plans, &none);
        result = library_keep_kernel(library, &none, kernel) == NULL ? -1 : 0;
    }
    build_free(&build);
    return result < 0 || add_constants(library) < 0 ? -1
           : library->loops == LOOP_NONE            ? add_functions(library, state)
                                                    : 0;
}

PyObject *
library_new(PyObject *module, const struct library_request *request, PyObject *texts,
            PyObject *options, PyObject *key)
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
    library->shared.callbacks = callbacks_new(state, (PyObject *)library, &library->shared.records);
    for (int i = 0; i < TYPE_VARIABLES && !PyErr_Occurred(); i++) {
        const char *letters =
            request->letters[i] == NULL ? NULL : PyUnicode_AsUTF8(request->letters[i]);
        library->variables |= letters == NULL ? 0 : 1u << i;
        library->shared.letters[i] =
            letters == NULL ? NULL : build_read_letters(letters, i, library_maker(library));
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

/* Gives the code back. When the interpreter is ending it stays: a thread that C started may run it to the very
 * end. */
static void
release_kernels(struct library *library)
{
    size_t count = library->kernels == NULL ? 0 : binding_count(library->plans.variables);
    bool stays = callback_python_is_ending();
    for (size_t i = 0; i < count; i++) {
        if (library->kernels[i] != NULL && !stays) {
            kernel_release(library->kernels[i]);
        }
        else if (library->kernels[i] != NULL) {
            library->kernels[i]->state->code_stays = true;
        }
    }
    PyMem_Free(library->kernels);
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
    release_kernels(library);
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
        build_raise(build, &spot, "");
    }
    return result;
}

static PyObject *
library_save(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct library *library = (struct library *)self;
    struct build build = BUILD_OF(library);
    struct plans plans;
    struct standalone standalone = {0};
    PyObject *result = NULL;
    if (build_again(&build, &plans) == 0 && build_libraries(&build) == 0 &&
        write_standalone(&build, &plans, &standalone) == 0) {
        struct export_program program = {&standalone, &build.options.include_dirs,
                                         &build.unit.libraries, library->options};
        result = export_save(&program, arguments, keywords);
    }
    standalone_free(&standalone);
    plans_free(&plans);
    build_free(&build);
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

PyType_Spec library_spec = {
    .name = "tinyweave.Library",
    .basicsize = sizeof(struct library),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = LIBRARY_SLOTS,
};

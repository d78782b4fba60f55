/* export.c: what leaves a Library: addresses, ctypes objects, capsules, pickles.
 *
 * What ctypes and SciPy want is put together in Python, tinyweave/_interop.py, from a description: tuples that
 * say what C passes,
 *
 *   double f(int n, const double a[n], void *data)   is
 *   (("number", "d"), (("number", "i"), ("array", "d", 1, False), ("address",)))
 */
#include "export.h"

#include <stdlib.h>
#include <string.h>

#include "numpy.h"

#include "../../cache/kernel.h"
#include "function.h"
#include "options.h"

#define BRIDGE "tinyweave._interop"

/* ---- Where a function is ---- */

/* What the type variables stand for, where each has one dtype only. Returns 0, or -1 with an `error`. */
static int
settle_binding(const struct function_parts *parts, PyObject *error, struct binding *binding)
{
    *binding = (struct binding)BINDING_NONE;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if ((parts->plan->variables >> i & 1) == 0) {
            continue;
        }
        const char *letters = parts->shared->letters[i];
        if (letters[1] != '\0') {
            PyErr_Format(error,
                         "%s(): %c stands for any of \"%s\", and a function has an address for "
                         "one dtype: compile the source with %c=\"%c\"",
                         parts->plan->name, TYPE_VARIABLE_NAMES[i], letters, TYPE_VARIABLE_NAMES[i],
                         strchr(letters, 'd') != NULL ? 'd' : letters[0]);
            return -1;
        }
        PyArray_Descr *dtype = PyArray_DescrFromType(letters[0]);
        binding->types[i] = dtype->type_num;
        Py_DECREF(dtype);
    }
    return 0;
}

/* A C function that is compiled. */
struct place {
    struct function_parts parts;
    struct binding binding;
    struct kernel *kernel; /* the Library's */
    void *address;
};

/* Returns 0; or -1 with an exception: `error` where there is no one address. */
static int
find_place(PyObject *function, PyObject *error, struct place *place)
{
    place->parts = function_parts(function);
    const struct function_parts *parts = &place->parts;
    if (settle_binding(parts, error, &place->binding) < 0) {
        return -1;
    }
    place->kernel = function_address(function, &place->binding, &place->address);
    return place->kernel == NULL ? -1 : 0;
}

PyObject *
export_address(PyObject *function, void *Py_UNUSED(closure))
{
    struct place place;
    return find_place(function, PyExc_AttributeError, &place) < 0
               ? NULL
               : PyLong_FromVoidPtr(place.address);
}

/* ---- What C passes, for ctypes ---- */

/* NumPy's character of a number, a dtype of a record. A new reference, or NULL with an exception. */
static PyObject *
element_of(const struct place *place, int type)
{
    if (plan_is_record(type)) {
        return PySequence_GetItem(place->parts.shared->records.dtypes, type - PLAN_RECORD);
    }
    PyArray_Descr *dtype = PyArray_DescrFromType(plan_bound(type, &place->binding));
    PyObject *letter = dtype == NULL ? NULL : PyUnicode_FromFormat("%c", dtype->type);
    Py_XDECREF(dtype);
    return letter;
}

static PyObject *describe_plan(const struct place *place, const struct plan *plan);

static PyObject *
describe_parameter(const struct place *place, const struct plan_parameter *parameter)
{
    switch (parameter->role) {
    case ROLE_NUMBER:
    case ROLE_HIDDEN:
        return Py_BuildValue("(sN)", "number", element_of(place, parameter->type));
    case ROLE_IN:
    case ROLE_INOUT:
    case ROLE_OUT:
        if (parameter->by_value) {
            return Py_BuildValue("(sN)", "struct", element_of(place, parameter->type));
        }
        return Py_BuildValue("(sNiO)", "array", element_of(place, parameter->type),
                             parameter->dimensions,
                             parameter->role == ROLE_IN ? Py_False : Py_True);
    case ROLE_NUMBER_OUT:
        return Py_BuildValue("(sN)", "place", element_of(place, parameter->type));
    case ROLE_STRING:
        return Py_BuildValue("(s)", "string");
    case ROLE_OBJECT:
        return Py_BuildValue("(s)", "object");
    case ROLE_CALLBACK:
        return Py_BuildValue("(sN)", "callback", describe_plan(place, parameter->callback));
    default:
        return Py_BuildValue("(s)", "address");
    }
}

static PyObject *
describe_result(const struct place *place, const struct plan *plan)
{
    if (plan->result == ROLE_NOTHING) {
        return Py_NewRef(Py_None);
    }
    if (plan->result == ROLE_OUT && !plan->returned.by_value) {
        return Py_BuildValue("(sN)", "place", element_of(place, plan->returned.type));
    }
    struct plan_parameter returned = plan->returned;
    returned.role = plan->result;
    return describe_parameter(place, &returned);
}

/* (result, (parameter, ...)), C's own parameters */
static PyObject *
describe_plan(const struct place *place, const struct plan *plan)
{
    PyObject *parameters = PyTuple_New(plan->c_count);
    for (int i = 0; parameters != NULL && i < plan->c_count; i++) {
        PyObject *parameter = describe_parameter(place, &plan->parameters[i]);
        if (parameter == NULL) {
            Py_CLEAR(parameters);
            break;
        }
        PyTuple_SET_ITEM(parameters, i, parameter);
    }
    PyObject *result = parameters == NULL ? NULL : describe_result(place, plan);
    if (result == NULL) {
        Py_XDECREF(parameters);
        return NULL;
    }
    return Py_BuildValue("(NN)", result, parameters);
}

static PyObject *
make_ctypes(const struct place *place)
{
    PyObject *description = describe_plan(place, place->parts.plan);
    PyObject *bridge = description == NULL ? NULL : PyImport_ImportModule(BRIDGE);
    PyObject *address = bridge == NULL ? NULL : PyLong_FromVoidPtr(place->address);
    PyObject *result = address == NULL
                           ? NULL
                           : PyObject_CallMethod(bridge, "make_function", "sOOOO",
                                                 place->parts.plan->name, address, description,
                                                 place->kernel->needs_gil ? Py_True : Py_False,
                                                 place->parts.library);
    Py_XDECREF(description);
    Py_XDECREF(bridge);
    Py_XDECREF(address);
    return result;
}

PyObject *
export_ctypes(PyObject *function, void *Py_UNUSED(closure))
{
    struct place place;
    PyObject **kept = function_parts(function).ctypes;
    if (*kept == NULL) {
        PyObject *made =
            find_place(function, PyExc_AttributeError, &place) < 0 ? NULL : make_ctypes(&place);
        if (*kept == NULL) { /* another thread may have been first */
            *kept = Py_XNewRef(made);
        }
        Py_XDECREF(made);
    }
    return Py_XNewRef(*kept);
}

/* ---- For SciPy: a capsule named by the signature ---- */

/* A capsule's context would be the function's user_data, so what the capsule keeps alive stands before its
 * name. */
struct label {
    PyObject *library;
    char signature[];
};

static void
free_capsule(PyObject *capsule)
{
    const char *signature = PyCapsule_GetName(capsule);
    struct label *label = (struct label *)(signature - offsetof(struct label, signature));
    Py_DECREF(label->library);
    free(label);
}

/* "double", "T *" -> "double *" */
static void
append_passed(struct buffer *text, const char *passed, int type, const struct binding *binding)
{
    if (plan_variable(type) < 0) {
        buffer_append_string(text, passed);
    }
    else {
        buffer_printf(text, "%s%s", plan_c_type(plan_bound(type, binding)),
                      strchr(passed, '*') != NULL ? " *" : "");
    }
}

/* "double (int, double *)", as SciPy compares it */
static void
append_signature(struct buffer *text, const struct place *place)
{
    const struct plan *plan = place->parts.plan;
    append_passed(text, plan->result_passed, plan->returned.type, &place->binding);
    buffer_append_string(text, " (");
    for (int i = 0; i < plan->c_count; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        buffer_append_string(text, i > 0 ? ", " : "");
        append_passed(text, parameter->passed, parameter->type, &place->binding);
    }
    buffer_append_string(text, ")");
}

static PyObject *
make_capsule(const struct place *place)
{
    struct buffer signature = BUFFER_INIT;
    append_signature(&signature, place);
    struct label *label = signature.failed ? NULL : malloc(sizeof(*label) + signature.size + 1);
    if (label == NULL) {
        buffer_free(&signature);
        return PyErr_NoMemory();
    }
    memcpy(label->signature, signature.data, signature.size + 1);
    buffer_free(&signature);
    label->library = Py_NewRef(place->parts.library);
    PyObject *capsule = PyCapsule_New(place->address, label->signature, free_capsule);
    if (capsule == NULL) {
        Py_DECREF(label->library);
        free(label);
    }
    return capsule;
}

const char export_low_level_callable_doc[] =
    "low_level_callable($self, /, user_data=None)\n--\n\n"
    "The C function as a scipy.LowLevelCallable, for quad, generic_filter and their like.\n\n"
    "Parameters\n"
    "----------\n"
    "user_data : None, int, ctypes pointer or array, buffer or capsule\n"
    "    What SciPy passes as the function's last parameter, a void *: an address, or the memory "
    "of an\n"
    "    ndarray or any contiguous buffer, which is kept alive.\n\n"
    "Returns\n"
    "-------\n"
    "scipy.LowLevelCallable\n"
    "    It keeps the Library alive.\n\n"
    "Raises\n"
    "------\n"
    "ImportError\n"
    "    SciPy is not installed.\n"
    "TypeError\n"
    "    The function is generic, and its dtypes are several; or user_data has no address.\n"
    "ValueError\n"
    "    user_data is not contiguous, or no address.\n\n"
    "Examples\n"
    "--------\n"
    ">>> from scipy.integrate import quad\n"
    ">>> lib = tw.compile('double square(double x) { return x * x; }')\n"
    ">>> round(quad(lib.square.low_level_callable(), 0, 3)[0], 12)\n"
    "9.0";

PyObject *
export_low_level_callable(PyObject *function, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"user_data", NULL};
    PyObject *user_data = Py_None;
    struct place place;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:low_level_callable", names,
                                     &user_data) ||
        find_place(function, PyExc_TypeError, &place) < 0) {
        return NULL;
    }
    PyObject *capsule = make_capsule(&place);
    PyObject *bridge = capsule == NULL ? NULL : PyImport_ImportModule(BRIDGE);
    PyObject *result = bridge == NULL ? NULL
                                      : PyObject_CallMethod(bridge, "make_low_level_callable", "OO",
                                                            capsule, user_data);
    Py_XDECREF(capsule);
    Py_XDECREF(bridge);
    return result;
}

/* ---- A shared library ---- */

static PyObject *
text_of(const struct buffer *text)
{
    return PyBytes_FromStringAndSize(text->data, (Py_ssize_t)text->size);
}

/* The texts of the units, a tuple of bytes. */
static PyObject *
list_units(const struct standalone *standalone)
{
    PyObject *units = PyTuple_New((Py_ssize_t)standalone->unit_count);
    for (size_t i = 0; units != NULL && i < standalone->unit_count; i++) {
        PyObject *text = text_of(&standalone->units[i]);
        if (text == NULL) {
            Py_CLEAR(units);
            break;
        }
        PyTuple_SET_ITEM(units, (Py_ssize_t)i, text);
    }
    return units;
}

static PyObject *
list_strings(const struct strings *strings)
{
    PyObject *list = PyTuple_New((Py_ssize_t)strings->count);
    for (size_t i = 0; list != NULL && i < strings->count; i++) {
        PyObject *item = PyUnicode_DecodeFSDefault(strings->items[i]);
        if (item == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyTuple_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *
list_flags(PyObject *options)
{
    return options == NULL ? PyTuple_New(0)
                           : Py_NewRef(PyTuple_GET_ITEM(options, OPTION_extra_compile_args));
}

const char export_save_doc[] =
    "save($self, /, path, *, flags=())\n--\n\n"
    "Write the functions as a shared library, and a C header beside it, for use without Python.\n\n"
    "The machine's own C compiler makes it, at -O2: $TINYWEAVE_CC, $CC, cc, gcc or clang. A "
    "generic\n"
    "function is there once for each dtype of its list, as add_float64, add_int32 ...\n\n"
    "Parameters\n"
    "----------\n"
    "path : str or os.PathLike\n"
    "    The library, \"kernels.so\"; the header is \"kernels.h\".\n"
    "flags : str or list of str\n"
    "    More arguments for the compiler, \"-O3 -march=native\"; the optimisation and warning "
    "flags of\n"
    "    extra_compile_args come before them.\n\n"
    "Returns\n"
    "-------\n"
    "tuple of str\n"
    "    The paths of the library and of the header.\n\n"
    "Raises\n"
    "------\n"
    "CompileError\n"
    "    The source uses Python's API, or the compiler refuses it.\n"
    "FileNotFoundError\n"
    "    There is no C compiler.\n"
    "OSError, TypeError, ValueError\n"
    "    The files cannot be written; an argument is wrong.\n\n"
    "Examples\n"
    "--------\n"
    ">>> import os, tempfile\n"
    ">>> lib = tw.compile('int answer(void) { return 42; }')\n"
    ">>> with tempfile.TemporaryDirectory() as folder:\n"
    "...     library, header = lib.save(os.path.join(folder, 'kernels.so'))\n"
    "...     print(os.listdir(folder) != [])\n"
    "True";

PyObject *
export_save(const struct export_program *program, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"path", "flags", NULL};
    PyObject *path, *flags = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$O:save", names, &path, &flags)) {
        return NULL;
    }
    PyObject *bridge = PyImport_ImportModule(BRIDGE);
    PyObject *description =
        bridge == NULL
            ? NULL
            : Py_BuildValue("(NNNNNNN)", list_units(program->standalone),
                            list_strings(&program->standalone->exports),
                            text_of(&program->standalone->includes),
                            text_of(&program->standalone->declarations),
                            list_strings(program->include_dirs), list_strings(program->libraries),
                            list_flags(program->options));
    PyObject *result = description == NULL
                           ? NULL
                           : PyObject_CallMethod(bridge, "save", "OOO", description, path,
                                                 flags == NULL ? Py_None : flags);
    Py_XDECREF(bridge);
    Py_XDECREF(description);
    return result;
}

/* ---- Pickles and copies ---- */

PyObject *
export_reduce_function(PyObject *function, PyObject *Py_UNUSED(ignored))
{
    struct function_parts parts = function_parts(function);
    PyObject *builtins = PyImport_ImportModule("builtins");
    PyObject *getter = builtins == NULL ? NULL : PyObject_GetAttrString(builtins, "getattr");
    Py_XDECREF(builtins);
    return getter == NULL ? NULL : Py_BuildValue("N(Os)", getter, parts.library, parts.plan->name);
}

PyObject *
export_itself(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

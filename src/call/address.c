/* address.c: Python objects that stand for a C function: its address. */
#include "address.h"

#include <string.h>

#include "numpy.h"

#include "../../cache/kernel.h"
#include "conversion.h"
#include "function.h"

/* Raises "FUNCTION(): 'PARAMETER' MESSAGE (DECLARATION)". Returns -1. */
static int
fail(const struct address_request *request, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    PyObject *message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (message != NULL) {
        PyErr_Format(PyExc_TypeError, "%s(): '%s' %U (%s)", request->function,
                     request->parameter->name, message, request->parameter->declaration);
        Py_DECREF(message);
    }
    return -1;
}

/* ---- What C passes ---- */

enum kind { KIND_INTEGER, KIND_REAL, KIND_STRUCT, KIND_POINTER, KIND_VOID, KIND_UNKNOWN };

struct passed {
    enum kind kind;
    size_t size;
};

static struct passed
passed_number(int type)
{
    PyArray_Descr *dtype = PyArray_DescrFromType(type);
    bool real = type == NPY_FLOAT || type == NPY_DOUBLE;
    bool pair = type == NPY_CFLOAT || type == NPY_CDOUBLE;
    struct passed passed = {real   ? KIND_REAL
                            : pair ? KIND_STRUCT
                                   : KIND_INTEGER,
                            (size_t)PyDataType_ELSIZE(dtype)};
    Py_DECREF(dtype);
    return passed;
}

static bool
is_number(enum role role)
{
    return role == ROLE_NUMBER || role == ROLE_HIDDEN;
}

static struct passed
passed_by(enum role role, int type, const struct binding *binding)
{
    if (is_number(role)) {
        return passed_number(plan_bound(type, binding));
    }
    return role == ROLE_NOTHING ? (struct passed){KIND_VOID, 0}
                                : (struct passed){KIND_POINTER, sizeof(void *)};
}

static bool
passes_alike(struct passed one, struct passed two)
{
    return one.kind == KIND_UNKNOWN || (one.kind == two.kind && one.size == two.size);
}

/* ---- Functions of Libraries ---- */

/* The two sides of a match: what C calls, and what it is given. */
struct match {
    const struct plan *wanted, *given;
    const struct binding *binding; /* of what is wanted */
    struct binding found;          /* of what is given */
    PyObject *function;
};

/* A type variable of the function given becomes what the parameter asks for. */
static bool
numbers_match(struct match *match, int wanted, int given)
{
    int variable = plan_variable(given), type = plan_bound(wanted, match->binding);
    if (variable >= 0 && match->found.types[variable] < 0) {
        match->found.types[variable] = function_variable_type(match->function, variable, type);
    }
    int other = plan_bound(given, &match->found);
    return other >= 0 && same_type(type, other);
}

/* Pointers to what they say, or to anything: void *. */
static bool
pointers_match(struct match *match, const struct plan_parameter *wanted,
               const struct plan_parameter *given)
{
    bool any = strcmp(wanted->passed, "void *") == 0 || strcmp(given->passed, "void *") == 0;
    bool arrays = wanted->type != PLAN_NONE && given->type != PLAN_NONE;
    if (any || strcmp(wanted->passed, given->passed) == 0) {
        return plan_variable(given->type) < 0 || !arrays ||
               numbers_match(match, wanted->type, given->type);
    }
    return arrays && numbers_match(match, wanted->type, given->type);
}

static bool
parameters_match(struct match *match, int index)
{
    const struct plan_parameter *wanted = &match->wanted->parameters[index];
    const struct plan_parameter *given = &match->given->parameters[index];
    if (is_number(wanted->role) != is_number(given->role)) {
        return false;
    }
    return is_number(wanted->role) ? numbers_match(match, wanted->type, given->type)
                                   : pointers_match(match, wanted, given);
}

static bool
results_match(struct match *match)
{
    const struct plan *wanted = match->wanted, *given = match->given;
    if (wanted->result == ROLE_NUMBER && given->result == ROLE_NUMBER) {
        return numbers_match(match, wanted->returned.type, given->returned.type);
    }
    bool values = wanted->result != ROLE_NUMBER && given->result != ROLE_NUMBER &&
                  wanted->result != ROLE_NOTHING && given->result != ROLE_NOTHING;
    bool any =
        strcmp(wanted->result_passed, "void *") == 0 || strcmp(given->result_passed, "void *") == 0;
    return wanted->result == given->result &&
           (wanted->result == ROLE_NOTHING || (values && any) ||
            strcmp(wanted->result_passed, given->result_passed) == 0);
}

static bool
plans_alike(struct match *match)
{
    bool alike = match->wanted->c_count == match->given->c_count && results_match(match);
    for (int i = 0; i < match->wanted->c_count && alike; i++) {
        alike = parameters_match(match, i);
    }
    return alike;
}

static int
find_function(const struct address_request *request, PyObject *value, struct address *address)
{
    struct match match = {.wanted = request->parameter->callback,
                          .given = function_plan(value),
                          .binding = request->binding,
                          .found = BINDING_NONE,
                          .function = value};
    if (!plans_alike(&match)) {
        return fail(request, "expects another C function than %s", match.given->signature);
    }
    struct kernel *kernel = function_address(value, &match.found, &address->pointer);
    if (kernel == NULL) {
        return -1;
    }
    address->needs_gil = kernel->needs_gil;
    address->prints = kernel->prints;
    return 1;
}

/* ---- Pointers of ctypes ---- */

/* By the letter of ctypes' simple types. */
static struct passed
passed_letter(char letter)
{
    static const struct {
        const char *letters;
        struct passed passed;
    } known[] = {
        {"?cbB", {KIND_INTEGER, 1}},
        {"hH", {KIND_INTEGER, sizeof(short)}},
        {"iI", {KIND_INTEGER, sizeof(int)}},
        {"lL", {KIND_INTEGER, sizeof(long)}},
        {"qQ", {KIND_INTEGER, sizeof(long long)}},
        {"u", {KIND_INTEGER, sizeof(wchar_t)}},
        {"f", {KIND_REAL, sizeof(float)}},
        {"d", {KIND_REAL, sizeof(double)}},
        {"PzZO", {KIND_POINTER, sizeof(void *)}},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strchr(known[i].letters, letter) != NULL) {
            return known[i].passed;
        }
    }
    return (struct passed){KIND_UNKNOWN, 0};
}

/* A type of an argtypes or restype. What is no type of ctypes' own is not looked into. */
static int
passed_ctypes(PyObject *type, struct passed *passed)
{
    *passed = (struct passed){type == Py_None ? KIND_VOID : KIND_UNKNOWN, 0};
    if (!PyType_Check(type)) {
        return 0;
    }
    PyObject *inner = PyObject_GetAttrString(type, "_type_");
    if (inner == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    if (PyUnicode_Check(inner) && PyUnicode_GET_LENGTH(inner) == 1) {
        *passed = passed_letter((char)PyUnicode_READ_CHAR(inner, 0));
    }
    else if (PyType_Check(inner)) {
        *passed = (struct passed){KIND_POINTER, sizeof(void *)};
    }
    Py_DECREF(inner);
    return 0;
}

static int
check_ctypes(const struct address_request *request, PyObject *type, struct passed wanted,
             const char *wanted_text, const char *what, int number)
{
    struct passed given;
    if (passed_ctypes(type, &given) < 0) {
        return -1;
    }
    if (passes_alike(given, wanted)) {
        return 0;
    }
    char place[32];
    snprintf(place, sizeof(place), number > 0 ? "%.20s %d" : "%.20s", what, number);
    return type == Py_None
               ? fail(request, "is a ctypes function without a result, expected %s", wanted_text)
               : fail(request, "is a ctypes function whose %s is %s, expected %s", place,
                      PyType_Check(type) ? ((PyTypeObject *)type)->tp_name : "no type",
                      wanted_text);
}

static int
check_arguments(const struct address_request *request, PyObject *types)
{
    const struct plan *plan = request->parameter->callback;
    if (PyTuple_GET_SIZE(types) != plan->c_count) {
        return fail(request, "is a ctypes function of %zd arguments, expected %d",
                    PyTuple_GET_SIZE(types), plan->c_count);
    }
    for (int i = 0; i < plan->c_count; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        struct passed wanted = passed_by(parameter->role, parameter->type, request->binding);
        if (check_ctypes(request, PyTuple_GET_ITEM(types, i), wanted, parameter->passed, "argument",
                         i + 1) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Without argtypes nothing is known: restype is int then, whatever the function returns. */
static int
check_prototype(const struct address_request *request, PyObject *value)
{
    const struct plan *plan = request->parameter->callback;
    PyObject *types = PyObject_GetAttrString(value, "argtypes");
    PyObject *result = types == NULL ? NULL : PyObject_GetAttrString(value, "restype");
    int status = result == NULL ? -1 : 0;
    if (status == 0 && PyTuple_Check(types)) {
        struct passed wanted = passed_by(plan->result, plan->returned.type, request->binding);
        bool checked = PyType_Check(result) || result == Py_None;
        status = check_arguments(request, types);
        if (status == 0 && checked) {
            status = check_ctypes(request, result, wanted, plan->result_passed, "result", 0);
        }
    }
    Py_XDECREF(types);
    Py_XDECREF(result);
    return status;
}

/* What ctypes.pythonapi has wants the GIL. */
static int
read_flags(PyObject *value, struct address *address)
{
    enum { FLAG_PYTHON_API = 4 };
    PyObject *flags = PyObject_GetAttrString(value, "_flags_");
    long bits = flags == NULL ? -1 : PyLong_AsLong(flags);
    Py_XDECREF(flags);
    if (bits == -1 && PyErr_Occurred()) {
        return -1;
    }
    address->needs_gil = (bits & FLAG_PYTHON_API) != 0;
    return 0;
}

static int
find_ctypes(const struct address_request *request, PyObject *value, struct address *address)
{
    Py_buffer view;
    if (check_prototype(request, value) < 0 || read_flags(value, address) < 0 ||
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (view.len == (Py_ssize_t)sizeof(void *)) {
        memcpy(&address->pointer, view.buf, sizeof(void *));
    }
    PyBuffer_Release(&view);
    address->calls_python = true;
    return 1;
}

/* No object can be a pointer of ctypes' before that is imported. Returns 1, 0, or -1 with an exception. */
static int
is_ctypes(PyObject *value)
{
    PyObject *name = PyUnicode_FromString("_ctypes");
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *type = module == NULL ? NULL : PyObject_GetAttrString(module, "CFuncPtr");
    int result = type != NULL ? PyObject_IsInstance(value, type) : PyErr_Occurred() ? -1 : 0;
    Py_XDECREF(type);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return result;
}

/* ---- Capsules ---- */

/* Other words for the same types, longest first where one begins another. */
static const char *
plain_word(const char *word, size_t length)
{
    static const char *const words[][2] = {
        {"ulonglong", "unsignedlonglong"},
        {"ulong", "unsignedlong"},
        {"uint", "unsignedint"},
        {"ushort", "unsignedshort"},
        {"ubyte", "unsignedchar"},
        {"byte", "signedchar"},
        {"longlong", "longlong"},
        {"npy_intp", "long"},
        {"Py_ssize_t", "long"},
        {"ssize_t", "long"},
        {"size_t", "unsignedlong"},
        {"intptr_t", "long"},
        {"int64_t", "long"},
        {"uint64_t", "unsignedlong"},
        {"int32_t", "int"},
        {"uint32_t", "unsignedint"},
        {"bool", "_Bool"},
        {"bint", "int"},
        {"const", ""},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strlen(words[i][0]) == length && memcmp(words[i][0], word, length) == 0) {
            return words[i][1];
        }
    }
    return NULL;
}

static bool
in_word(char character)
{
    return character == '_' || (character >= '0' && character <= '9') ||
           ((character | 32) >= 'a' && (character | 32) <= 'z');
}

/* "const double * (size_t)" -> "double*(unsignedlong)", long long as long */
static void
normalise(const char *text, struct buffer *plain)
{
    while (*text != '\0') {
        size_t length = 0;
        while (in_word(text[length])) {
            length++;
        }
        const char *other = plain_word(text, length);
        if (length == 0) {
            buffer_append(plain, text, *text == ' ' ? 0 : 1);
            text++;
            continue;
        }
        if (other != NULL) {
            buffer_append_string(plain, other);
        }
        else {
            buffer_append(plain, text, length);
        }
        text += length;
        if (plain->size >= 8 && memcmp(plain->data + plain->size - 8, "longlong", 8) == 0) {
            plain->size -= 4;
            plain->data[plain->size] = '\0';
        }
    }
}

/* "double (double, void *)", a type variable as what it stands for */
static void
write_signature(const struct address_request *request, struct buffer *text)
{
    const struct plan *plan = request->parameter->callback;
    const char *result = plan_c_type(plan_bound(plan->returned.type, request->binding));
    buffer_printf(text, "%s (", plan->result == ROLE_NUMBER ? result : plan->result_passed);
    for (int i = 0; i < plan->c_count; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        const char *number = plan_c_type(plan_bound(parameter->type, request->binding));
        bool variable = plan_variable(parameter->type) >= 0;
        buffer_append_string(text, i > 0 ? ", " : "");
        if (is_number(parameter->role)) {
            buffer_append_string(text, number);
        }
        else if (variable) {
            buffer_printf(text, "%s *", number);
        }
        else {
            buffer_append_string(text, parameter->passed);
        }
    }
    buffer_append_string(text, ")");
}

static int
check_signature(const struct address_request *request, const char *given)
{
    struct buffer wanted = BUFFER_INIT, plain_wanted = BUFFER_INIT, plain_given = BUFFER_INIT;
    write_signature(request, &wanted);
    int result = 0;
    if (!wanted.failed) {
        normalise(wanted.data, &plain_wanted);
        normalise(given, &plain_given);
    }
    if (wanted.failed || plain_wanted.failed || plain_given.failed) {
        PyErr_NoMemory();
        result = -1;
    }
    else if (strcmp(plain_wanted.data, plain_given.data == NULL ? "" : plain_given.data) != 0) {
        result = fail(request, "is a C function '%.200s', expected '%s'", given, wanted.data);
    }
    buffer_free(&wanted);
    buffer_free(&plain_wanted);
    buffer_free(&plain_given);
    return result;
}

static int
find_capsule(const struct address_request *request, PyObject *capsule, struct address *address)
{
    const char *name = PyCapsule_GetName(capsule);
    if (name == NULL) {
        return PyErr_Occurred()
                   ? -1
                   : fail(request, "is a capsule without a name: it must be the C signature");
    }
    if (check_signature(request, name) < 0) {
        return -1;
    }
    address->pointer = PyCapsule_GetPointer(capsule, name);
    address->user_data = PyCapsule_GetContext(capsule);
    address->calls_python = true;
    return address->pointer == NULL || PyErr_Occurred() ? -1 : 1;
}

/* scipy.LowLevelCallable is a tuple of a capsule and what it was made of. */
static bool
is_low_level(PyObject *value)
{
    return PyTuple_Check(value) && !PyTuple_CheckExact(value) && PyTuple_GET_SIZE(value) > 0 &&
           PyCapsule_CheckExact(PyTuple_GET_ITEM(value, 0));
}

/* ---- All of them ---- */

int
address_find(const struct address_request *request, PyObject *value, struct address *address)
{
    *address = (struct address){0};
    if (PyFunction_Check(value) || PyMethod_Check(value) || PyCFunction_Check(value)) {
        return 0;
    }
    if (Py_IS_TYPE(value, request->state->function_type)) {
        return find_function(request, value, address);
    }
    if (PyCapsule_CheckExact(value)) {
        return find_capsule(request, value, address);
    }
    if (is_low_level(value)) {
        return find_capsule(request, PyTuple_GET_ITEM(value, 0), address);
    }
    int ctypes = is_ctypes(value);
    return ctypes <= 0 ? ctypes : find_ctypes(request, value, address);
}

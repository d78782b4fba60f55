/* function.c: tw.Function: a call of a C function, by its plan.
 *
 * The way of a call: the arguments are bound to the plan's parameters; T is found where the function is
 * generic; values become numbers in slots and arrays of the right dtype; the arrays' shapes tell the hidden
 * sizes and are checked against the rest; results are allocated; what overlaps is copied; the code is
 * entered; copies are written back and the results handed over.
 */
#include "function.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include <structmember.h>

#include "numpy.h"

#include "../../cache/kernel.h"
#include "callback.h"
#include "conversion.h"
#include "export.h"

/* More parameters than this take memory from the heap. */
#define STACK_PARAMETERS 12

/* Where a function's code is for one dtype. */
struct target {
    struct kernel *kernel; /* the Library's; NULL: not asked for yet */
    call_code *code;
    struct pace pace;
};

struct function {
    PyObject_HEAD;
    vectorcallfunc vectorcall;
    PyObject *library; /* which owns the plan and the kernels */
    const struct function_library *shared;
    const struct plan *plan;
    size_t index;
    PyObject *names; /* of the parameters: a tuple of interned str */
    PyObject *out_name;
    struct target *targets; /* by binding_index of the plan's variables */
    PyObject *ctypes;       /* what `ctypes` returned; NULL: not asked for yet */
};

/* ---- Bindings ---- */

size_t
binding_count(unsigned variables)
{
    size_t count = 1;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        count *= variables >> i & 1 ? BINDING_TYPES : 1;
    }
    return count;
}

size_t
binding_index(unsigned variables, const struct binding *binding)
{
    size_t index = 0;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if (variables >> i & 1) {
            index = index * BINDING_TYPES + (size_t)binding->types[i];
        }
    }
    return index;
}

size_t
function_choices(const struct function_library *shared, unsigned variables)
{
    size_t count = 1;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        count *= variables >> i & 1 ? strlen(shared->letters[i]) : 1;
    }
    return count;
}

struct binding
function_choice(const struct function_library *shared, unsigned variables, size_t number)
{
    struct binding binding = BINDING_NONE;
    for (int i = TYPE_VARIABLES - 1; i >= 0; i--) {
        if (variables >> i & 1) {
            size_t count = strlen(shared->letters[i]);
            PyArray_Descr *dtype = PyArray_DescrFromType(shared->letters[i][number % count]);
            binding.types[i] = dtype->type_num;
            Py_DECREF(dtype);
            number /= count;
        }
    }
    return binding;
}

/* ---- One call ---- */

typedef double slot[2];

struct invocation {
    struct function *function;
    const struct plan *plan;
    struct binding binding;
    slot *slots;              /* one a parameter, one for the result */
    PyObject **given;         /* what was passed for each parameter, borrowed; NULL: nothing */
    PyObject **arrays;        /* what C sees of each array parameter, references of ours */
    long long *values;        /* of the integer parameters that extents speak of */
    Py_buffer *views;         /* of void * parameters; NULL: there are none */
    size_t bytes;             /* of all arrays */
    struct callback_run *run; /* of a call that C may call Python in, else NULL */
};

static inline int
type_of(const struct invocation *invocation, int type)
{
    return plan_bound(type, &invocation->binding);
}

static struct conversion
conversion_of(const struct invocation *invocation, int index)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[index];
    return (struct conversion){invocation->plan->name, parameter->name, parameter->declaration,
                               type_of(invocation, parameter->type)};
}

/* ---- Binding ---- */

static int
wrong_count(const struct plan *plan, Py_ssize_t count)
{
    PyErr_Format(PyExc_TypeError, "%s() takes %d positional argument%s but %zd %s given",
                 plan->name, plan->argument_count, plan->argument_count == 1 ? "" : "s", count,
                 count == 1 ? "was" : "were");
    return -1;
}

/* Takes out=: an array, or a tuple of as many as there are. */
static int
bind_outs(struct invocation *invocation, PyObject *value)
{
    const struct plan *plan = invocation->plan;
    bool tuple = PyTuple_Check(value);
    if (value == Py_None) {
        return 0;
    }
    if (plan->out_count == 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument 'out': it has no out array",
                     plan->name);
        return -1;
    }
    if (tuple ? PyTuple_GET_SIZE(value) != plan->out_count : plan->out_count != 1) {
        PyErr_Format(PyExc_TypeError, "%s(): 'out' must be %s%d array%s", plan->name,
                     plan->out_count == 1 ? "" : "a tuple of ", plan->out_count,
                     plan->out_count == 1 ? "" : "s");
        return -1;
    }
    for (int i = 0; i < plan->count; i++) {
        int place = plan->parameters[i].out;
        PyObject *array = place < 0 ? Py_None : tuple ? PyTuple_GET_ITEM(value, place) : value;
        if (array == Py_None) {
            continue;
        }
        if (invocation->given[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s(): both 'out' and '%s' are given", plan->name,
                         plan->parameters[i].name);
            return -1;
        }
        invocation->given[i] = array;
    }
    return 0;
}

/* The parameter a keyword names; -1 for `out`, -2 with a TypeError. */
static int
find_keyword(const struct invocation *invocation, PyObject *name)
{
    const struct function *function = invocation->function;
    for (int i = 0; i < invocation->plan->count; i++) {
        PyObject *own = PyTuple_GET_ITEM(function->names, i);
        if (own != name && PyUnicode_Compare(own, name) != 0) {
            continue;
        }
        const struct plan_parameter *parameter = &invocation->plan->parameters[i];
        if (parameter->argument >= 0 || parameter->role == ROLE_OUT) {
            return i;
        }
        PyErr_Format(
            PyExc_TypeError, "%s() takes no argument '%U': %s", invocation->plan->name, name,
            parameter->role == ROLE_HIDDEN ? "it is inferred from the arrays" : "it is a result");
        return -2;
    }
    if (PyUnicode_Compare(function->out_name, name) == 0) {
        return -1;
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                 invocation->plan->name, name);
    return -2;
}

static int
bind_keywords(struct invocation *invocation, PyObject *const *values, PyObject *keywords)
{
    PyObject *outs = NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keywords); i++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, i);
        int index = find_keyword(invocation, name);
        if (index < -1) {
            return -1;
        }
        if (index == -1) {
            outs = values[i];
            continue;
        }
        if (invocation->given[index] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                         invocation->plan->name, name);
            return -1;
        }
        bool none = invocation->plan->parameters[index].role == ROLE_OUT && values[i] == Py_None;
        invocation->given[index] = none ? NULL : values[i];
    }
    return outs == NULL ? 0 : bind_outs(invocation, outs);
}

static int
check_missing(const struct invocation *invocation)
{
    for (int i = 0; i < invocation->plan->count; i++) {
        const struct plan_parameter *parameter = &invocation->plan->parameters[i];
        if (parameter->argument >= 0 && invocation->given[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'",
                         invocation->plan->name, parameter->name);
            return -1;
        }
    }
    return 0;
}

static int
bind(struct invocation *invocation, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    const struct plan *plan = invocation->plan;
    if (count > plan->argument_count) {
        return wrong_count(plan, count);
    }
    for (int i = 0; i < plan->count; i++) {
        int argument = plan->parameters[i].argument;
        invocation->given[i] = argument >= 0 && argument < count ? values[argument] : NULL;
    }
    if (keywords != NULL && bind_keywords(invocation, values + count, keywords) < 0) {
        return -1;
    }
    return count == plan->argument_count ? 0 : check_missing(invocation);
}

/* ---- What the type variables stand for ---- */

/* Nothing tells what a type variable is: its list does, when that is one dtype. Returns 0, or -1 with a TypeError. */
static int
bind_untold(struct invocation *invocation, int variable)
{
    const struct plan *plan = invocation->plan;
    const char *letters = invocation->function->shared->letters[variable];
    char name = TYPE_VARIABLE_NAMES[variable];
    if (letters[1] == '\0') {
        PyArray_Descr *dtype = PyArray_DescrFromType(letters[0]);
        invocation->binding.types[variable] = dtype->type_num;
        Py_DECREF(dtype);
        return 0;
    }
    bool has_out = false;
    for (int i = 0; i < plan->count; i++) {
        has_out |= plan->parameters[i].role == ROLE_OUT &&
                   plan_variable(plan->parameters[i].type) == variable;
    }
    PyErr_Format(PyExc_TypeError,
                 has_out ? "%s(): no argument tells what %c is: pass out="
                         : "%s(): no argument tells what %c is: compile the source for one dtype, "
                           "%c=\"%c\"",
                 plan->name, name, name, letters[0]);
    return -1;
}

static int
bind_variable(struct invocation *invocation, int variable)
{
    const struct plan *plan = invocation->plan;
    PyObject *bound[plan->count + 1];
    Py_ssize_t count = 0;
    for (int i = 0; i < plan->count; i++) {
        if (plan_variable(plan->parameters[i].type) == variable && invocation->given[i] != NULL &&
            plan->parameters[i].role != ROLE_OUT) {
            bound[count++] = invocation->given[i];
        }
    }
    for (int i = 0; i < plan->count && count == 0; i++) {
        if (plan_variable(plan->parameters[i].type) == variable && invocation->given[i] != NULL) {
            bound[count++] = invocation->given[i]; /* only an out tells */
        }
    }
    if (count == 0) {
        return bind_untold(invocation, variable);
    }
    invocation->binding.types[variable] = convert_common_type(
        plan->name, bound, count, invocation->function->shared->letters[variable]);
    return invocation->binding.types[variable] < 0 ? -1 : 0;
}

static int
bind_variables(struct invocation *invocation)
{
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if ((invocation->plan->variables >> i & 1) && bind_variable(invocation, i) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Numbers ---- */

/* Integer C types, as they lie in a slot. */
#define INTEGERS(INTEGER)                                                                          \
    INTEGER(NPY_BYTE, signed char, SCHAR_MIN, SCHAR_MAX)                                           \
    INTEGER(NPY_UBYTE, unsigned char, 0, UCHAR_MAX)                                                \
    INTEGER(NPY_SHORT, short, SHRT_MIN, SHRT_MAX)                                                  \
    INTEGER(NPY_USHORT, unsigned short, 0, USHRT_MAX)                                              \
    INTEGER(NPY_INT, int, INT_MIN, INT_MAX)                                                        \
    INTEGER(NPY_UINT, unsigned int, 0, UINT_MAX)                                                   \
    INTEGER(NPY_LONG, long, LONG_MIN, LONG_MAX)                                                    \
    INTEGER(NPY_ULONG, unsigned long, 0, LONG_MAX)                                                 \
    INTEGER(NPY_LONGLONG, long long, LLONG_MIN, LLONG_MAX)                                         \
    INTEGER(NPY_ULONGLONG, unsigned long long, 0, LLONG_MAX)

static long long
read_integer(int type, const void *slot)
{
    switch (type) {
#define INTEGER(number, c_type, least, most)                                                       \
    case number:                                                                                   \
        return (long long)*(const c_type *)slot;
        INTEGERS(INTEGER)
#undef INTEGER
    default:
        return 0;
    }
}

/* Returns 0, or -1 when it does not fit. */
int
function_write_integer(int type, long long value, void *slot)
{
    switch (type) {
#define INTEGER(number, c_type, least, most)                                                       \
    case number:                                                                                   \
        if (value < (long long)(least) || value > (long long)(most)) {                             \
            return -1;                                                                             \
        }                                                                                          \
        *(c_type *)slot = (c_type)value;                                                           \
        return 0;
        INTEGERS(INTEGER)
#undef INTEGER
    default:
        return -1;
    }
}

/* ---- Values to slots ---- */

static int
take_pointer(struct invocation *invocation, int index)
{
    struct conversion to = conversion_of(invocation, index);
    if (invocation->views == NULL) {
        invocation->views = PyMem_Calloc((size_t)invocation->plan->count, sizeof(Py_buffer));
        if (invocation->views == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return convert_pointer(&to, invocation->given[index],
                           invocation->plan->parameters[index].readonly, &invocation->views[index],
                           (void **)invocation->slots[index]);
}

static int
take_object(struct invocation *invocation, int index)
{
    PyObject *value = invocation->given[index];
    if (invocation->plan->parameters[index].is_array && !PyArray_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s(): '%s' must be an ndarray, not %.100s (%s)",
                     invocation->plan->name, invocation->plan->parameters[index].name,
                     Py_TYPE(value)->tp_name, invocation->plan->parameters[index].declaration);
        return -1;
    }
    *(PyObject **)invocation->slots[index] = value;
    return 0;
}

static int
take_string(struct invocation *invocation, int index)
{
    struct conversion to = conversion_of(invocation, index);
    const char *text = convert_string(&to, invocation->given[index]);
    *(const char **)invocation->slots[index] = text;
    return text == NULL ? -1 : 0;
}

static int
take_number(struct invocation *invocation, int index)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[index];
    PyObject *value = invocation->given[index];
    if (parameter->type == NPY_DOUBLE && PyFloat_CheckExact(value)) {
        invocation->slots[index][0] = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    struct conversion to = conversion_of(invocation, index);
    if (convert_number(&to, value, invocation->slots[index]) < 0) {
        return -1;
    }
    invocation->values[index] = read_integer(to.type, invocation->slots[index]);
    return 0;
}

/* An array as C wants it already, so that it is used itself. */
static inline bool
is_right(PyObject *value, int type, int flags)
{
    return PyArray_CheckExact(value) && PyArray_TYPE((PyArrayObject *)value) == type &&
           PyArray_CHKFLAGS((PyArrayObject *)value, flags) &&
           PyArray_ISNOTSWAPPED((PyArrayObject *)value);
}

static int
wrong_dimensions(const struct invocation *invocation, int index, int dimensions)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[index];
    PyErr_Format(PyExc_ValueError, "%s(): '%s' has %d dimension%s, expected %d (%s)",
                 invocation->plan->name, parameter->name, dimensions, dimensions == 1 ? "" : "s",
                 parameter->dimensions, parameter->declaration);
    return -1;
}

/* A pointer to a struct may be a handle that C gave: an address, or None. */
static int
take_address(struct invocation *invocation, int index)
{
    Py_buffer view = {.obj = NULL};
    struct conversion to = conversion_of(invocation, index);
    return convert_pointer(&to, invocation->given[index], 1, &view,
                           (void **)invocation->slots[index]);
}

static PyObject *
take_records(struct invocation *invocation, int index)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[index];
    const struct records *records = &invocation->function->shared->records;
    struct conversion to = conversion_of(invocation, index);
    return (parameter->role == ROLE_IN ? record_array : record_inout)(&to, records, parameter->type,
                                                                      invocation->given[index]);
}

/* A buffer of bytes, whatever its items are: bytearray, an array of dtype S8 ... The value itself where it is
 * none. A new reference. */
static PyObject *
text_array(PyObject *value)
{
    bool bytes = PyArray_Check(value) && PyArray_TYPE((PyArrayObject *)value) == NPY_BYTE;
    if (bytes || PyBytes_Check(value) || !PyObject_CheckBuffer(value)) {
        return Py_NewRef(value);
    }
    return PyArray_FromBuffer(value, PyArray_DescrFromType(NPY_BYTE), -1, 0);
}

static PyObject *
convert_text(const struct conversion *to, PyObject *value, bool in)
{
    PyObject *array = text_array(value);
    PyObject *result = NULL;
    if (array != NULL) {
        result = in ? convert_array(to, array) : convert_inout(to, array);
        Py_DECREF(array);
    }
    return result;
}

static int
take_array(struct invocation *invocation, int index)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[index];
    PyObject *value = invocation->given[index];
    bool in = parameter->role == ROLE_IN;
    bool record = plan_is_record(parameter->type);
    if (record && parameter->dimensions < 0 && (value == Py_None || PyLong_Check(value))) {
        return take_address(invocation, index);
    }
    if (record) {
        invocation->arrays[index] = take_records(invocation, index);
    }
    else if (is_right(value, type_of(invocation, parameter->type),
                      in ? NPY_ARRAY_CARRAY_RO : NPY_ARRAY_CARRAY)) {
        invocation->arrays[index] = Py_NewRef(value);
    }
    else {
        struct conversion to = conversion_of(invocation, index);
        invocation->arrays[index] = parameter->is_text ? convert_text(&to, value, in)
                                    : in               ? convert_array(&to, value)
                                                       : convert_inout(&to, value);
    }
    if (invocation->arrays[index] == NULL) {
        return -1;
    }
    int dimensions = PyArray_NDIM((PyArrayObject *)invocation->arrays[index]);
    return parameter->dimensions >= 0 && dimensions != parameter->dimensions
               ? wrong_dimensions(invocation, index, dimensions)
               : 0;
}

static int
take_callback(struct invocation *invocation, int index)
{
    if (invocation->run == NULL) {
        invocation->run = callback_run_new(invocation->function->shared->callbacks,
                                           invocation->plan, &invocation->binding);
    }
    return invocation->run == NULL ? -1
                                   : callback_take(invocation->run, index, invocation->given[index],
                                                   (void **)invocation->slots[index]);
}

static int
take_values(struct invocation *invocation)
{
    for (int i = 0; i < invocation->plan->count; i++) {
        int result = 0;
        if (invocation->given[i] == NULL) {
            continue;
        }
        switch (invocation->plan->parameters[i].role) {
        case ROLE_NUMBER:
            result = take_number(invocation, i);
            break;
        case ROLE_IN:
        case ROLE_INOUT:
        case ROLE_OUT:
            result = take_array(invocation, i);
            break;
        case ROLE_STRING:
            result = take_string(invocation, i);
            break;
        case ROLE_POINTER:
            result = take_pointer(invocation, i);
            break;
        case ROLE_OBJECT:
            result = take_object(invocation, i);
            break;
        case ROLE_CALLBACK:
            result = take_callback(invocation, i);
            break;
        default:
            break;
        }
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Shapes ---- */

static int
wrong_extent(const struct invocation *invocation, int index, int axis, long long length,
             long long expected)
{
    const struct plan *plan = invocation->plan;
    const struct plan_parameter *parameter = &plan->parameters[index];
    const struct extent *extent = &parameter->extents[axis];
    const struct plan_parameter *named =
        extent->parameter >= 0 ? &plan->parameters[extent->parameter] : NULL;
    bool inferred = named != NULL && named->role == ROLE_HIDDEN;
    PyErr_Format(PyExc_ValueError,
                 "%s(): '%s' has %lld element%s along axis %d, %s = %lld%s%s%s (%s)", plan->name,
                 parameter->name, length, length == 1 ? "" : "s", axis, extent->text, expected,
                 inferred ? " from '" : "", inferred ? plan->parameters[named->source].name : "",
                 inferred ? "'" : "", parameter->declaration);
    return -1;
}

static int
cannot_compute(const struct invocation *invocation, const struct plan_parameter *parameter,
               int axis)
{
    PyErr_Format(
        PyExc_ValueError,
        "%s(): the extent %s of '%s' cannot be computed: it overflows, or divides by zero (%s)",
        invocation->plan->name, parameter->extents[axis].text, parameter->name,
        parameter->declaration);
    return -1;
}

static int
set_hidden(struct invocation *invocation, int hidden, long long value)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[hidden];
    invocation->values[hidden] = value;
    if (function_write_integer(parameter->type, value, invocation->slots[hidden]) < 0) {
        PyErr_Format(PyExc_OverflowError, "%s(): '%s' = %lld from '%s' does not fit C's %s",
                     invocation->plan->name, parameter->name, value,
                     invocation->plan->parameters[parameter->source].name,
                     plan_c_type(parameter->type));
        return -1;
    }
    return 0;
}

/* Finds the x for which an extent linear in x has this length. */
static int
solve(struct invocation *invocation, int index, int axis, long long length)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[index];
    const struct extent *extent = &parameter->extents[axis];
    int hidden = extent->solves;
    long long at_zero, at_one, factor, rest;
    if (extent->parameter >= 0) {
        return set_hidden(invocation, hidden, length);
    }
    invocation->values[hidden] = 0;
    int result = extent_value(extent, invocation->values, &at_zero);
    invocation->values[hidden] = 1;
    if (result < 0 || extent_value(extent, invocation->values, &at_one) < 0 ||
        __builtin_sub_overflow(at_one, at_zero, &factor) ||
        __builtin_sub_overflow(length, at_zero, &rest)) {
        return cannot_compute(invocation, parameter, axis);
    }
    if (factor == 0 || rest % factor != 0) {
        PyErr_Format(PyExc_ValueError,
                     "%s(): '%s' has %lld element%s along axis %d: no %s makes that %s (%s)",
                     invocation->plan->name, parameter->name, length, length == 1 ? "" : "s", axis,
                     invocation->plan->parameters[hidden].name, extent->text,
                     parameter->declaration);
        return -1;
    }
    return set_hidden(invocation, hidden, rest / factor);
}

/* Hidden sizes are told in the order in which the plan hid them: one may need another. */
static int
infer(struct invocation *invocation)
{
    const struct plan *plan = invocation->plan;
    for (int i = 0; i < plan->hidden_count; i++) {
        const struct plan_parameter *hidden = &plan->parameters[plan->hidden[i]];
        PyArrayObject *array = (PyArrayObject *)invocation->arrays[hidden->source];
        if (solve(invocation, hidden->source, hidden->source_axis,
                  PyArray_DIM(array, hidden->source_axis)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
extent_of(const struct invocation *invocation, const struct plan_parameter *parameter, int axis,
          long long *value)
{
    const struct extent *extent = &parameter->extents[axis];
    if (extent->parameter >= 0) {
        *value = invocation->values[extent->parameter];
        return 0;
    }
    return extent_value(extent, invocation->values, value) < 0
               ? cannot_compute(invocation, parameter, axis)
               : 0;
}

static int
check_shape(const struct invocation *invocation, int index)
{
    const struct plan_parameter *parameter = &invocation->plan->parameters[index];
    PyArrayObject *array = (PyArrayObject *)invocation->arrays[index];
    for (int axis = 0; axis < parameter->dimensions; axis++) {
        long long expected, length = PyArray_DIM(array, axis);
        if (parameter->extents[axis].any) {
            continue;
        }
        if (extent_of(invocation, parameter, axis, &expected) < 0) {
            return -1;
        }
        if (length != expected) {
            return wrong_extent(invocation, index, axis, length, expected);
        }
    }
    return 0;
}

static PyArray_Descr *
dtype_of(const struct invocation *invocation, int type)
{
    if (plan_is_record(type)) {
        return record_descr(&invocation->function->shared->records, type);
    }
    return PyArray_DescrFromType(type_of(invocation, type));
}

/* A new array, zero, as its extents say. */
static PyObject *
new_array(const struct invocation *invocation, const struct plan_parameter *parameter)
{
    npy_intp shape[NPY_MAXDIMS];
    for (int axis = 0; axis < parameter->dimensions; axis++) {
        long long extent;
        if (extent_of(invocation, parameter, axis, &extent) < 0) {
            return NULL;
        }
        if (extent < 0) {
            PyErr_Format(PyExc_ValueError,
                         "%s(): '%s' would have %s = %lld elements along axis %d (%s)",
                         invocation->plan->name, parameter->name, parameter->extents[axis].text,
                         extent, axis, parameter->declaration);
            return NULL;
        }
        shape[axis] = extent;
    }
    PyArray_Descr *dtype = dtype_of(invocation, parameter->type);
    return dtype == NULL ? NULL : PyArray_Zeros(parameter->dimensions, shape, dtype, 0);
}

static int
allocate(struct invocation *invocation, int index)
{
    invocation->arrays[index] = new_array(invocation, &invocation->plan->parameters[index]);
    return invocation->arrays[index] == NULL ? -1 : 0;
}

static int
settle_shapes(struct invocation *invocation)
{
    if (infer(invocation) < 0) {
        return -1;
    }
    for (int i = 0; i < invocation->plan->array_count; i++) {
        int index = invocation->plan->arrays[i];
        bool given = invocation->given[index] != NULL;
        if (given && invocation->arrays[index] == NULL) {
            continue; /* an address */
        }
        if ((given ? check_shape(invocation, index) : allocate(invocation, index)) < 0) {
            return -1;
        }
        invocation->bytes += (size_t)PyArray_NBYTES((PyArrayObject *)invocation->arrays[index]);
    }
    return 0;
}

/* ---- Overlap ---- */

/* Whether the memory of two contiguous arrays meets. */
static inline bool
meets(PyObject *a, PyObject *b)
{
    if (a == NULL || b == NULL) { /* an address that C gave */
        return false;
    }
    const char *start = PyArray_BYTES((PyArrayObject *)a);
    const char *other = PyArray_BYTES((PyArrayObject *)b);
    return start < other + PyArray_NBYTES((PyArrayObject *)b) &&
           other < start + PyArray_NBYTES((PyArrayObject *)a);
}

/* An array that C reads, in the memory of one it writes to, is copied, as NumPy's ufuncs do. */
static int
part_read(struct invocation *invocation, int index, int written)
{
    PyObject **array = &invocation->arrays[index];
    if (!meets(*array, invocation->arrays[written])) {
        return 0;
    }
    PyObject *copy = PyArray_NewCopy((PyArrayObject *)*array, NPY_CORDER);
    if (copy == NULL) {
        return -1;
    }
    Py_SETREF(*array, copy);
    return 0;
}

static int
refuse_overlap(const struct invocation *invocation, int index, int other)
{
    PyObject *one = invocation->given[index], *two = invocation->given[other];
    int overlap = one == NULL || two == NULL ? 0 : arrays_overlap(one, two);
    if (overlap > 0) {
        PyErr_Format(PyExc_ValueError, "%s(): '%s' and '%s' share memory, and both are written to",
                     invocation->plan->name, invocation->plan->parameters[index].name,
                     invocation->plan->parameters[other].name);
    }
    return overlap == 0 ? 0 : -1;
}

static int
part_overlaps(struct invocation *invocation)
{
    const struct plan *plan = invocation->plan;
    for (int i = 0; plan->write_count > 0 && i < plan->array_count; i++) {
        int index = plan->arrays[i];
        if (plan->parameters[index].role == ROLE_IN || invocation->given[index] == NULL) {
            continue;
        }
        for (int k = 0; k < plan->array_count; k++) {
            int other = plan->arrays[k];
            bool in = plan->parameters[other].role == ROLE_IN;
            if (in ? part_read(invocation, other, index) < 0
                   : k > i && plan->write_count > 1 &&
                         refuse_overlap(invocation, index, other) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

/* ---- Entering, and the results ---- */

static void
fill_pointers(struct invocation *invocation)
{
    const struct plan *plan = invocation->plan;
    for (int i = 0; i < plan->array_count; i++) {
        int index = plan->arrays[i];
        PyArrayObject *array = (PyArrayObject *)invocation->arrays[index];
        if (array == NULL) {
            continue; /* an address, in its slot already */
        }
        *(void **)invocation->slots[index] = PyArray_DATA(array);
        if (plan->parameters[index].role == ROLE_OUT && invocation->given[index] != NULL) {
            memset(PyArray_DATA(array), 0, (size_t)PyArray_NBYTES(array));
        }
    }
}

/* Numbers that C writes through pointers get places of their own. */
static void
place_numbers(struct invocation *invocation, slot *numbers)
{
    for (int i = 0; i < invocation->plan->count; i++) {
        if (invocation->plan->parameters[i].role == ROLE_NUMBER_OUT) {
            numbers[i][0] = numbers[i][1] = 0;
            *(void **)invocation->slots[i] = numbers[i];
        }
    }
}

static PyObject *
returned_text(const char *text)
{
    if (text == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), NULL);
}

/* A copy of the array that a returned pointer leads to: nobody can tell how long that lives. */
static PyObject *
returned_array(const struct invocation *invocation, const void *data)
{
    const struct plan_parameter *returned = &invocation->plan->returned;
    if (data == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *array = new_array(invocation, returned);
    if (array != NULL) {
        memcpy(PyArray_DATA((PyArrayObject *)array), data,
               (size_t)PyArray_NBYTES((PyArrayObject *)array));
    }
    return array;
}

/* The address; of a struct, a view of it, so that it can be passed on as what it is. */
static PyObject *
returned_pointer(const struct invocation *invocation, void *data)
{
    const struct plan_parameter *returned = &invocation->plan->returned;
    if (!plan_is_record(returned->type)) {
        return PyLong_FromVoidPtr(data);
    }
    if (data == NULL) {
        Py_RETURN_NONE;
    }
    return record_view(&invocation->function->shared->records, returned->type, data,
                       returned->readonly, invocation->function->library);
}

/* What the C function returned. */
static PyObject *
returned(const struct invocation *invocation)
{
    const struct plan *plan = invocation->plan;
    const void *slot = invocation->slots[plan->count];
    switch (plan->result) {
    case ROLE_NUMBER:
        return number_object(type_of(invocation, plan->returned.type), slot);
    case ROLE_STRING:
        return returned_text(*(const char *const *)slot);
    case ROLE_OUT:
        return returned_array(invocation, *(void *const *)slot);
    case ROLE_OBJECT:
        if (*(PyObject *const *)slot == NULL) {
            PyErr_Format(PyExc_SystemError, "%s() returned NULL, and no exception is set",
                         plan->name);
        }
        return *(PyObject *const *)slot;
    default:
        return returned_pointer(invocation, *(void *const *)slot);
    }
}

/* One value, or a tuple; None for nothing. `items` are references handed over. */
static PyObject *
pack(PyObject **items, Py_ssize_t count)
{
    if (count == 1) {
        return items[0];
    }
    if (count == 0) {
        Py_RETURN_NONE;
    }
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, i, items[i]);
        }
        else {
            Py_DECREF(items[i]);
        }
    }
    return tuple;
}

static PyObject *
collect(const struct invocation *invocation, slot *numbers)
{
    const struct plan *plan = invocation->plan;
    PyObject *items[plan->count + 1];
    Py_ssize_t count = 0;
    bool failed = false;
    if (plan->result != ROLE_NOTHING) {
        items[count] = returned(invocation);
        failed = items[count++] == NULL;
    }
    int last = plan->out_count + plan->number_out_count > 0 ? plan->count : 0;
    for (int i = 0; i < last && !failed; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        if (parameter->role == ROLE_NUMBER_OUT) {
            items[count] = number_object(type_of(invocation, parameter->type), numbers[i]);
            failed = items[count++] == NULL;
        }
        else if (parameter->role == ROLE_OUT) {
            bool passed = invocation->given[i] != NULL; /* which may have been copied */
            bool one = !passed && parameter->dimensions == 0;
            items[count] = one ? record_scalar(Py_NewRef(invocation->arrays[i]))
                               : Py_NewRef(passed ? invocation->given[i] : invocation->arrays[i]);
            failed = items[count++] == NULL;
        }
    }
    if (!failed) {
        return pack(items, count);
    }
    while (--count >= 0) {
        Py_XDECREF(items[count]);
    }
    return NULL;
}

/* Gives back what the call held. `keep`: C ran, and what it wrote to copies goes to the user's arrays. */
static int
release(struct invocation *invocation, int keep)
{
    const struct plan *plan = invocation->plan;
    int result = 0;
    for (int i = 0; i < plan->array_count; i++) {
        int index = plan->arrays[i];
        PyObject *array = invocation->arrays[index], *given = invocation->given[index];
        bool copy = array != given && given != NULL && plan->parameters[index].role != ROLE_IN;
        if (array != NULL && copy) {
            result |= array_write_back(array, keep);
        }
        else {
            Py_XDECREF(array);
        }
    }
    for (int i = 0; invocation->views != NULL && i < plan->count; i++) {
        if (invocation->views[i].obj != NULL) {
            PyBuffer_Release(&invocation->views[i]);
        }
    }
    PyMem_Free(invocation->views);
    if (invocation->run != NULL) {
        callback_run_free(invocation->run);
    }
    return result;
}

/* The code for the dtype at hand, compiled on first use. */
static struct target *
find_target(struct invocation *invocation)
{
    struct function *function = invocation->function;
    struct target *target =
        &function->targets[binding_index(invocation->plan->variables, &invocation->binding)];
    if (target->kernel == NULL) {
        struct kernel *kernel =
            function->shared->kernel_for(function->library, &invocation->binding);
        if (kernel == NULL) {
            return NULL;
        }
        void **table = atomic_load_explicit(&kernel->entry_point, memory_order_acquire);
        *(void **)&target->code = table[function->index];
        target->kernel = kernel;
    }
    return target;
}

/* C may have kept a callback of an earlier call, and call it now. */
static int
call_target(struct invocation *invocation, struct target *target)
{
    struct callbacks *callbacks = invocation->function->shared->callbacks;
    if (invocation->run == NULL && callbacks_any(callbacks)) {
        invocation->run = callback_run_new(callbacks, invocation->plan, &invocation->binding);
        if (invocation->run == NULL) {
            return -1;
        }
    }
    return invocation->run == NULL
               ? call_function(target->kernel, target->code, invocation->slots, invocation->bytes,
                               &target->pace)
               : callback_run_enter(invocation->run, target->kernel, target->code,
                                    invocation->slots, invocation->values, &target->pace);
}

static PyObject *
enter_target(struct invocation *invocation, struct target *target)
{
    slot numbers[invocation->plan->number_out_count > 0 ? invocation->plan->count : 1];
    fill_pointers(invocation);
    if (invocation->plan->number_out_count > 0) {
        place_numbers(invocation, numbers);
    }
    PyObject **object = (PyObject **)invocation->slots[invocation->plan->count];
    *object = NULL;
    int result = call_target(invocation, target);
    PyObject *value = result < 0 ? NULL : collect(invocation, numbers);
    if (result < 0 && invocation->plan->result == ROLE_OBJECT) {
        Py_XDECREF(*object); /* returned, though an exception is set */
    }
    if (release(invocation, 1) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

static PyObject *
invoke(struct invocation *invocation, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    struct target *target = NULL;
    if (bind(invocation, values, count, keywords) == 0 &&
        (invocation->plan->variables == 0 || bind_variables(invocation) == 0) &&
        take_values(invocation) == 0 && settle_shapes(invocation) == 0 &&
        part_overlaps(invocation) == 0) {
        target = find_target(invocation);
    }
    if (target == NULL) {
        release(invocation, 0);
        return NULL;
    }
    return enter_target(invocation, target);
}

/* All parameters on the heap, for functions with many. */
static PyObject *
invoke_large(struct invocation *invocation, PyObject *const *values, Py_ssize_t count,
             PyObject *keywords)
{
    size_t size = (size_t)invocation->plan->count + 1;
    char *memory = PyMem_Calloc(size, sizeof(slot) + 2 * sizeof(PyObject *) + sizeof(long long));
    if (memory == NULL) {
        return PyErr_NoMemory();
    }
    invocation->slots = (slot *)memory;
    invocation->given = (PyObject **)(invocation->slots + size);
    invocation->arrays = invocation->given + size;
    invocation->values = (long long *)(invocation->arrays + size);
    PyObject *result = invoke(invocation, values, count, keywords);
    PyMem_Free(memory);
    return result;
}

static PyObject *
function_call(PyObject *self, PyObject *const *values, size_t flagged_count, PyObject *keywords)
{
    struct function *function = (struct function *)self;
    struct invocation invocation = {
        .function = function, .plan = function->plan, .binding = BINDING_NONE};
    Py_ssize_t count = PyVectorcall_NARGS(flagged_count);
    if (function->plan->count > STACK_PARAMETERS) {
        return invoke_large(&invocation, values, count, keywords);
    }
    slot slots[STACK_PARAMETERS + 1];
    PyObject *given[STACK_PARAMETERS], *arrays[STACK_PARAMETERS];
    long long integers[STACK_PARAMETERS];
    for (int i = 0; i < function->plan->count; i++) {
        given[i] = arrays[i] = NULL;
    }
    invocation.slots = slots;
    invocation.given = given;
    invocation.arrays = arrays;
    invocation.values = integers;
    return invoke(&invocation, values, count, keywords);
}

/* ---- What Python sees of a Function ---- */

/* "a, *, b=None, out=None" */
static void
write_parameters(const struct plan *plan, struct buffer *text)
{
    const char *comma = "";
    for (int i = 0; i < plan->count; i++) {
        if (plan->parameters[i].argument >= 0) {
            buffer_printf(text, "%s%s", comma, plan->parameters[i].name);
            comma = ", ";
        }
    }
    bool named_out = false; /* a parameter is called `out` itself */
    for (int i = 0; i < plan->count; i++) {
        named_out |= strcmp(plan->parameters[i].name, "out") == 0;
    }
    if (plan->out_count > 0) {
        buffer_printf(text, "%s*", comma);
        for (int i = 0; i < plan->count; i++) {
            if (plan->parameters[i].out >= 0) {
                buffer_printf(text, ", %s=None", plan->parameters[i].name);
            }
        }
        buffer_append_string(text, named_out ? "" : ", out=None");
    }
}

static PyObject *
finish_text(struct buffer *text)
{
    PyObject *result = text->failed
                           ? PyErr_NoMemory()
                           : PyUnicode_DecodeUTF8(text->data, (Py_ssize_t)text->size, "replace");
    buffer_free(text);
    return result;
}

static PyObject *
get_text_signature(PyObject *self, void *Py_UNUSED(closure))
{
    struct buffer text = BUFFER_INIT;
    buffer_append_string(&text, "(");
    write_parameters(((struct function *)self)->plan, &text);
    buffer_append_string(&text, ")");
    return finish_text(&text);
}

/* "T", "double" */
static const char *
number_name(int type)
{
    static const char *const names[TYPE_VARIABLES] = {"T", "U"};
    int variable = plan_variable(type);
    return variable < 0 ? plan_c_type(type) : names[variable];
}

static void
write_results(const struct plan *plan, struct buffer *text)
{
    const char *comma = " -> ";
    if (plan->result != ROLE_NOTHING) {
        const char *type = plan->result == ROLE_STRING   ? "str"
                           : plan->result == ROLE_OBJECT ? "object"
                           : plan->result == ROLE_NUMBER ? number_name(plan->returned.type)
                           : plan->result == ROLE_OUT || plan_is_record(plan->returned.type)
                               ? "array"
                               : "address";
        buffer_printf(text, "%s%s", comma, type);
        comma = ", ";
    }
    for (int i = 0; i < plan->count; i++) {
        enum role role = plan->parameters[i].role;
        if (role == ROLE_OUT || role == ROLE_NUMBER_OUT) {
            buffer_printf(text, "%s%s", comma, plan->parameters[i].name);
            comma = ", ";
        }
    }
}

static PyObject *
get_doc(PyObject *self)
{
    const struct plan *plan = ((struct function *)self)->plan;
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "%s(", plan->name);
    write_parameters(plan, &text);
    buffer_append_string(&text, ")");
    write_results(plan, &text);
    buffer_printf(&text, "\n\n%s\n", plan->signature);
    if (plan->comment[0] != '\0') {
        buffer_printf(&text, "\n%s\n", plan->comment);
    }
    return finish_text(&text);
}

static PyObject *
get_name(PyObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((struct function *)self)->plan->name);
}

static PyObject *
get_module(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((struct function *)self)->library, "__name__");
}

static PyObject *
get_source(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((struct function *)self)->library, "source");
}

/* inspect.signature() reads this. */
static PyObject *
get_signature(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *inspect = PyImport_ImportModule("inspect");
    PyObject *globals = PyDict_New();
    struct buffer text = BUFFER_INIT;
    buffer_append_string(&text, "lambda ");
    write_parameters(((struct function *)self)->plan, &text);
    buffer_append_string(&text, ": None");
    PyObject *model = NULL, *result = NULL;
    if (inspect != NULL && globals != NULL && !text.failed) {
        model = PyRun_String(text.data, Py_eval_input, globals, globals);
    }
    if (model != NULL) {
        result = PyObject_CallMethod(inspect, "signature", "O", model);
    }
    else if (PyErr_ExceptionMatches(PyExc_SyntaxError)) { /* a parameter is called like a keyword */
        PyErr_Clear();
        PyErr_SetString(PyExc_AttributeError, "__signature__");
    }
    buffer_free(&text);
    Py_XDECREF(model);
    Py_XDECREF(globals);
    Py_XDECREF(inspect);
    return result;
}

static PyObject *
function_repr(PyObject *self)
{
    const struct plan *plan = ((struct function *)self)->plan;
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "<tinyweave.Function %s(", plan->name);
    write_parameters(plan, &text);
    buffer_append_string(&text, ")>");
    return finish_text(&text);
}

static int
function_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct function *function = (struct function *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(function->library);
    Py_VISIT(function->ctypes);
    return 0;
}

/* The Library is given up only with the Function itself: somebody may still call it. A cycle of the two is
 * broken at the Library's end. */
static void
function_dealloc(PyObject *self)
{
    struct function *function = (struct function *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    PyMem_Free(function->targets);
    Py_XDECREF(function->ctypes);
    Py_XDECREF(function->names);
    Py_XDECREF(function->out_name);
    Py_XDECREF(function->library);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef FUNCTION_MEMBERS[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct function, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef FUNCTION_GETSET[] = {
    {"__name__", get_name, NULL, "The C function's name.", NULL},
    {"__qualname__", get_name, NULL, "The C function's name.", NULL},
    {"__module__", get_module, NULL, "The Library's name.", NULL},
    {"__text_signature__", get_text_signature, NULL, "Python's signature, as text.", NULL},
    {"__signature__", get_signature, NULL, "Python's signature, for inspect.", NULL},
    {"source", get_source, NULL, "The C text of the Library, a str.", NULL},
    {"address", export_address, NULL, "Where the C function's code is, an int.", NULL},
    {"ctypes", export_ctypes, NULL,
     "The C function as a ctypes object; it keeps the Library alive.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef FUNCTION_METHODS[] = {
    {"low_level_callable", (PyCFunction)(void (*)(void))export_low_level_callable,
     METH_VARARGS | METH_KEYWORDS, export_low_level_callable_doc},
    {"__reduce__", export_reduce_function, METH_NOARGS, "Pickles by the Library's source."},
    {"__copy__", export_itself, METH_NOARGS, "The Function itself."},
    {"__deepcopy__", export_itself, METH_O, "The Function itself."},
    {NULL, NULL, 0, NULL},
};

/* A getset of that name would take the place of the type's own docstring. */
static PyObject *
function_getattro(PyObject *self, PyObject *name)
{
    if (PyUnicode_CompareWithASCIIString(name, "__doc__") == 0) {
        return get_doc(self);
    }
    return PyObject_GenericGetAttr(self, name);
}

static PyType_Slot FUNCTION_SLOTS[] = {
    {Py_tp_doc, "A C function; a call converts and checks its arguments by the prototype."},
    {Py_tp_getattro, function_getattro},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, FUNCTION_MEMBERS},
    {Py_tp_methods, FUNCTION_METHODS},
    {Py_tp_getset, FUNCTION_GETSET},
    {Py_tp_repr, function_repr},
    {Py_tp_traverse, function_traverse},
    {Py_tp_dealloc, function_dealloc},
    {0, NULL},
};

struct function_parts
function_parts(PyObject *self)
{
    struct function *function = (struct function *)self;
    return (struct function_parts){function->library, function->shared, function->plan,
                                   function->index, &function->ctypes};
}

PyType_Spec function_spec = {
    .name = "tinyweave.Function",
    .basicsize = sizeof(struct function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = FUNCTION_SLOTS,
};

PyObject *
function_new(PyTypeObject *type, PyObject *library, const struct function_library *shared,
             size_t index)
{
    const struct plan *plan = &shared->plans->items[index];
    struct function *function = (struct function *)type->tp_alloc(type, 0);
    if (function == NULL) {
        return NULL;
    }
    function->vectorcall = function_call;
    function->library = Py_NewRef(library);
    function->shared = shared;
    function->plan = plan;
    function->index = index;
    function->targets = PyMem_Calloc(binding_count(plan->variables), sizeof(*function->targets));
    function->out_name = PyUnicode_InternFromString("out");
    function->names = PyTuple_New(plan->count);
    for (int i = 0; function->names != NULL && i < plan->count; i++) {
        PyObject *name = PyUnicode_InternFromString(plan->parameters[i].name);
        if (name == NULL) {
            Py_CLEAR(function->names);
            break;
        }
        PyTuple_SET_ITEM(function->names, i, name);
    }
    if (function->targets == NULL && !PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    if (function->names == NULL || function->out_name == NULL || function->targets == NULL) {
        Py_DECREF(function);
        return NULL;
    }
    return (PyObject *)function;
}

/* ---- What a Function is in C ---- */

const struct plan *
function_plan(PyObject *self)
{
    return ((struct function *)self)->plan;
}

int
function_variable_type(PyObject *self, int variable, int type)
{
    const char *letters = ((struct function *)self)->shared->letters[variable];
    for (; *letters != '\0'; letters++) {
        PyArray_Descr *dtype = PyArray_DescrFromType(*letters);
        int listed = dtype->type_num;
        Py_DECREF(dtype);
        if (same_type(listed, type)) {
            return listed;
        }
    }
    return PLAN_NONE;
}

struct kernel *
function_address(PyObject *self, const struct binding *binding, void **address)
{
    struct function *function = (struct function *)self;
    struct kernel *kernel = function->shared->kernel_for(function->library, binding);
    if (kernel != NULL) {
        void **table = atomic_load_explicit(&kernel->entry_point, memory_order_acquire);
        *address = table[function->shared->plans->count + function->index];
    }
    return kernel;
}

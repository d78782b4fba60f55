/* invoke.c: a call of a Function, by its plan.
 *
 * The way of a call: the arguments are bound to the plan's parameters; T is found where the function is
 * generic; values become numbers in slots and arrays of the right dtype; the arrays' shapes tell the hidden
 * sizes and are checked against the rest; results are allocated; what overlaps is copied; the code is
 * entered; copies are written back and the results handed over.
 */
#include "invoke.h"

#include <limits.h>
#include <string.h>

#include "../../cache/kernel.h"
#include "callback.h"
#include "conversion.h"

/* More parameters than this take memory from the heap. */
#define STACK_PARAMETERS 12

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
    PyObject *result;         /* of a struct that C returns itself, else NULL */
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

/* The bytes of a contiguous array of texts: with an axis more where the parameter has one, else along one axis. */
static PyObject *
text_bytes(const struct conversion *to, PyArrayObject *texts, int dimensions)
{
    npy_intp shape[NPY_MAXDIMS] = {PyArray_NBYTES(texts)};
    bool inner = dimensions > 1 && dimensions == PyArray_NDIM(texts) + 1;
    if (inner) {
        memcpy(shape, PyArray_DIMS(texts), (size_t)PyArray_NDIM(texts) * sizeof(*shape));
        shape[dimensions - 1] = PyArray_ITEMSIZE(texts);
    }
    int flags = PyArray_ISWRITEABLE(texts) ? NPY_ARRAY_CARRAY : NPY_ARRAY_CARRAY_RO;
    PyObject *bytes = PyArray_New(&PyArray_Type, inner ? dimensions : 1, shape, to->type, NULL,
                                  PyArray_DATA(texts), 0, flags, NULL);
    PyObject *owner = Py_NewRef((PyObject *)texts);
    if (bytes == NULL) {
        Py_DECREF(owner);
    }
    else if (PyArray_SetBaseObject((PyArrayObject *)bytes, owner) < 0) {
        Py_CLEAR(bytes);
    }
    return bytes;
}

/* What has a buffer of bytes or of texts, as bytearray and arrays of dtype S8 do, as an array of C's characters;
 * any other value as it is. A new reference, or NULL with an exception. */
static PyObject *
text_array(const struct conversion *to, PyObject *value, int dimensions, bool in)
{
    if (PyBytes_Check(value) || !PyObject_CheckBuffer(value)) {
        return Py_NewRef(value);
    }
    int flags = NPY_ARRAY_ENSUREARRAY | (in ? NPY_ARRAY_C_CONTIGUOUS : 0);
    PyObject *array = PyArray_FromAny(value, NULL, 0, 0, flags, NULL);
    PyArrayObject *texts = (PyArrayObject *)array;
    PyObject *result;
    if (array != NULL && PyArray_TYPE(texts) == NPY_UBYTE) {
        result = PyArray_View(texts, PyArray_DescrFromType(to->type), &PyArray_Type);
    }
    else if (array == NULL || PyArray_TYPE(texts) != NPY_STRING) {
        return array;
    }
    else if (PyArray_IS_C_CONTIGUOUS(texts)) {
        result = text_bytes(to, texts, dimensions);
    }
    else {
        PyErr_Format(PyExc_ValueError,
                     "%s(): '%s' must be C-contiguous, as its texts are written to (%s)",
                     to->function, to->parameter, to->declaration);
        result = NULL;
    }
    Py_DECREF(array);
    return result;
}

static PyObject *
convert_text(const struct conversion *to, PyObject *value, int dimensions, bool in)
{
    PyObject *array = text_array(to, value, dimensions, in);
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
        invocation->arrays[index] = parameter->is_text
                                        ? convert_text(&to, value, parameter->dimensions, in)
                                    : in ? convert_array(&to, value)
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

/* Says which array NumPy cannot make, where it says why. */
static void
fail_new_array(const struct invocation *invocation, const struct plan_parameter *parameter)
{
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyErr_Format(PyExc_ValueError, "%s(): '%s' cannot be made: %S (%s)", invocation->plan->name,
                 parameter->name, value, parameter->declaration);
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
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
    PyObject *array = dtype == NULL ? NULL : PyArray_Zeros(parameter->dimensions, shape, dtype, 0);
    if (array == NULL) {
        fail_new_array(invocation, parameter);
    }
    return array;
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

/* What C's writes reach in the end: of a copy that is written back, the user's array. NULL: an address. */
static PyObject *
written_array(const struct invocation *invocation, int index)
{
    PyObject *array = invocation->arrays[index];
    bool copy = array != NULL && array != invocation->given[index] &&
                PyArray_CHKFLAGS((PyArrayObject *)array, NPY_ARRAY_WRITEBACKIFCOPY);
    return copy ? PyArray_BASE((PyArrayObject *)array) : array;
}

static int
refuse_overlap(const struct invocation *invocation, int index, int other)
{
    PyObject *one = written_array(invocation, index), *two = written_array(invocation, other);
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
        return plan->returned.by_value ? record_scalar(Py_NewRef(invocation->result))
                                       : returned_array(invocation, *(void *const *)slot);
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
    Py_XDECREF(invocation->result);
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
    if (invocation->result != NULL) {
        *(void **)object = PyArray_DATA((PyArrayObject *)invocation->result);
    }
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

/* The memory of a struct that C returns itself. */
static int
make_result(struct invocation *invocation)
{
    if (invocation->plan->returned.by_value) {
        invocation->result = new_array(invocation, &invocation->plan->returned);
        return invocation->result == NULL ? -1 : 0;
    }
    return 0;
}

static PyObject *
invoke(struct invocation *invocation, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    struct target *target = NULL;
    if (bind(invocation, values, count, keywords) == 0 &&
        (invocation->plan->variables == 0 || bind_variables(invocation) == 0) &&
        take_values(invocation) == 0 && settle_shapes(invocation) == 0 &&
        part_overlaps(invocation) == 0 && make_result(invocation) == 0) {
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

PyObject *
invoke_function(PyObject *self, PyObject *const *values, size_t flagged_count, PyObject *keywords)
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

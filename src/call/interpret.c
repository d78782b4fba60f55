/* interpret.c: a formula's nodes, one after another, by Python's numbers and NumPy's own functions on whole arrays. */
#include "interpret.h"

#include <string.h>

#include "conversion.h"
#include "numpy.h"
#include "ufuncs.h"
#include <numpy/ufuncobject.h>

/* ---- Messages ---- */

/* Where a message points to; no formula: nowhere. */
struct place {
    const struct formula *formula;
    int node;
};

/* Raises the message, and the text with a caret. Returns NULL. */
static PyObject *
fail(const struct place *place, PyObject *exception, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    PyObject *message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (message == NULL) {
        return NULL;
    }
    if (place->formula == NULL) {
        PyErr_SetObject(exception, message);
    }
    else {
        formula_raise(place->formula, place->node, exception, "%U", message);
    }
    Py_DECREF(message);
    return NULL;
}

static const char *const OPERATOR_SIGNS[] = {
#define OPERATOR(name, sign, ufunc) [FORMULA_##name] = sign,
    FORMULA_OPERATORS(OPERATOR)
#undef OPERATOR
};

/* ---- Values ---- */

static bool
is_array(PyObject *value)
{
    return PyArray_CheckExact(value);
}

static bool
is_text(PyObject *value)
{
    return PyUnicode_Check(value) || PyBytes_Check(value);
}

/* What numbers and arrays are computed from: not what only indexes and calls have. */
static bool
is_value(PyObject *value)
{
    return is_array(value) || !(value == Py_None || value == Py_Ellipsis || PySlice_Check(value) ||
                                PyTuple_Check(value) || Py_IS_TYPE(value, &PyUFunc_Type));
}

static bool
check_values(const struct place *place, PyObject *const *values, int count)
{
    for (int i = 0; i < count; i++) {
        if (!is_value(values[i])) {
            fail(place, PyExc_TypeError, "expected an array, a number or a string, not %s",
                 Py_TYPE(values[i])->tp_name);
            return false;
        }
    }
    return true;
}

/* What NumPy returned, unless Python objects are in it. Takes the reference, which may be NULL. */
static PyObject *
check_result(const struct place *place, PyObject *result)
{
    if (result == NULL) {
        return NULL;
    }
    bool allowed = is_value(result) &&
                   !(is_array(result) && PyArray_TYPE((PyArrayObject *)result) == NPY_OBJECT);
    if (!allowed) {
        fail(place, PyExc_TypeError, "the result would be Python objects, not numbers");
        Py_CLEAR(result);
    }
    return result;
}

/* ---- Operators ---- */

static PyObject *
power(PyObject *x, PyObject *y)
{
    return PyNumber_Power(x, y, Py_None);
}

static PyObject *
power_in_place(PyObject *x, PyObject *y)
{
    return PyNumber_InPlacePower(x, y, Py_None);
}

static const struct {
    binaryfunc compute, in_place;
} ARITHMETIC[FORMULA_OPERATOR_COUNT] = {
    [FORMULA_ADD] = {PyNumber_Add, PyNumber_InPlaceAdd},
    [FORMULA_SUBTRACT] = {PyNumber_Subtract, PyNumber_InPlaceSubtract},
    [FORMULA_MULTIPLY] = {PyNumber_Multiply, PyNumber_InPlaceMultiply},
    [FORMULA_DIVIDE] = {PyNumber_TrueDivide, PyNumber_InPlaceTrueDivide},
    [FORMULA_FLOOR_DIVIDE] = {PyNumber_FloorDivide, PyNumber_InPlaceFloorDivide},
    [FORMULA_REMAINDER] = {PyNumber_Remainder, PyNumber_InPlaceRemainder},
    [FORMULA_POWER] = {power, power_in_place},
    [FORMULA_LEFT_SHIFT] = {PyNumber_Lshift, PyNumber_InPlaceLshift},
    [FORMULA_RIGHT_SHIFT] = {PyNumber_Rshift, PyNumber_InPlaceRshift},
    [FORMULA_AND] = {PyNumber_And, PyNumber_InPlaceAnd},
    [FORMULA_OR] = {PyNumber_Or, PyNumber_InPlaceOr},
    [FORMULA_XOR] = {PyNumber_Xor, PyNumber_InPlaceXor},
};

static int
comparison(int operation)
{
    switch (operation) {
    case FORMULA_LESS:
        return Py_LT;
    case FORMULA_LESS_EQUAL:
        return Py_LE;
    case FORMULA_EQUAL:
        return Py_EQ;
    case FORMULA_NOT_EQUAL:
        return Py_NE;
    case FORMULA_GREATER:
        return Py_GT;
    default:
        return Py_GE;
    }
}

static PyObject *
compute_unary(int operation, PyObject *value)
{
    switch (operation) {
    case FORMULA_NEGATIVE:
        return PyNumber_Negative(value);
    case FORMULA_POSITIVE:
        return PyNumber_Positive(value);
    default:
        return PyNumber_Invert(value);
    }
}

static PyObject *
compute_binary(int operation, PyObject *left, PyObject *right)
{
    binaryfunc compute = ARITHMETIC[operation].compute;
    return compute != NULL ? compute(left, right)
                           : PyObject_RichCompare(left, right, comparison(operation));
}

/* Strings are compared, and NumPy adds arrays of them; Python's own operators repeat and format. */
static bool
check_text(const struct place *place, int operation, PyObject *left, PyObject *right)
{
    if (ARITHMETIC[operation].compute == NULL || (!is_text(left) && !is_text(right))) {
        return true;
    }
    bool formats = operation == FORMULA_REMAINDER && is_text(left);
    if (!formats && (is_array(left) || is_array(right))) {
        return true;
    }
    fail(place, PyExc_TypeError, "'%s' is not for strings: they are compared only",
         OPERATOR_SIGNS[operation]);
    return false;
}

/* ---- Python's integers ---- */

/* x where it fits; else 1 or -1 in `overflow`, by its sign. */
static long long
small_integer(PyObject *integer, int *overflow)
{
    return PyLong_AsLongLongAndOverflow(integer, overflow);
}

/* Whether x ** y or x << y is far beyond 64 bits. */
static bool
is_far_too_large(int operation, PyObject *left, PyObject *right)
{
    int left_overflow, right_overflow;
    long long x = small_integer(left, &left_overflow);
    long long y = small_integer(right, &right_overflow);
    bool long_way = right_overflow > 0 || (right_overflow == 0 && y > 64);
    switch (operation) {
    case FORMULA_POWER:
        return long_way && (left_overflow != 0 || x < -1 || x > 1);
    case FORMULA_LEFT_SHIFT:
        return long_way && (left_overflow != 0 || x != 0);
    default:
        return false;
    }
}

static PyObject *
fail_integer(const struct place *place, int operation)
{
    return fail(place, PyExc_OverflowError,
                "the integer that '%s' gives does not fit into 64 bits: expected -2**63 to 2**64-1",
                OPERATOR_SIGNS[operation]);
}

static PyObject *
compute_integer(const struct place *place, int operation, PyObject *left, PyObject *right)
{
    if (right != NULL && is_far_too_large(operation, left, right)) {
        return fail_integer(place, operation);
    }
    PyObject *result =
        right == NULL ? compute_unary(operation, left) : compute_binary(operation, left, right);
    if (result != NULL && PyLong_CheckExact(result) && !operand_integer_fits(result)) {
        Py_DECREF(result);
        return fail_integer(place, operation);
    }
    return result;
}

/* An operand that nobody else holds NumPy would take for a temporary of Python's, and write the result into it;
 * so there is one more reference. */
static PyObject *
compute_held(int operation, PyObject *left, PyObject *right)
{
    Py_INCREF(left);
    Py_XINCREF(right);
    PyObject *result =
        right == NULL ? compute_unary(operation, left) : compute_binary(operation, left, right);
    Py_DECREF(left);
    Py_XDECREF(right);
    return result;
}

static PyObject *
compute_operator(const struct place *place, const struct formula_node *node,
                 PyObject *const *values)
{
    PyObject *left = values[node->children[0]];
    PyObject *right = node->child_count > 1 ? values[node->children[1]] : NULL;
    if (!check_values(place, &left, 1) || (right != NULL && !check_values(place, &right, 1))) {
        return NULL;
    }
    if (PyLong_Check(left) && (right == NULL || PyLong_Check(right))) {
        return compute_integer(place, node->operation, left, right);
    }
    if (right != NULL && !check_text(place, node->operation, left, right)) {
        return NULL;
    }
    return check_result(place, compute_held(node->operation, left, right));
}

/* ---- Indexes ---- */

static PyObject *
compute_subscript(const struct place *place, PyObject *array, PyObject *index)
{
    if (!is_array(array)) {
        return fail(place, PyExc_TypeError, "only an array has an index, not %s",
                    Py_TYPE(array)->tp_name);
    }
    return check_result(place, PyObject_GetItem(array, index));
}

static PyObject *
compute_slice(const struct formula_node *node, PyObject *const *values)
{
    PyObject *parts[3] = {NULL, NULL, NULL};
    for (int i = 0; i < node->child_count && i < 3; i++) {
        parts[i] = node->children[i] < 0 ? NULL : values[node->children[i]];
    }
    return PySlice_New(parts[0], parts[1], parts[2]);
}

static PyObject *
compute_tuple(const struct formula_node *node, PyObject *const *values)
{
    PyObject *tuple = PyTuple_New(node->child_count);
    for (int i = 0; tuple != NULL && i < node->child_count; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(values[node->children[i]]));
    }
    return tuple;
}

/* ---- Calls ---- */

/* The arguments of a call: positional ones, then keywords' values. */
struct arguments {
    PyObject **values;
    int count, positional;
    PyObject *few[16];
};

static int
arguments_of(const struct formula_node *node, PyObject *const *values, int more,
             struct arguments *arguments)
{
    int keywords = node->keywords == NULL ? 0 : (int)PyTuple_GET_SIZE(node->keywords);
    size_t room = (size_t)node->child_count + (size_t)more;
    arguments->values = arguments->few;
    if (room > sizeof(arguments->few) / sizeof(arguments->few[0])) {
        arguments->values = PyMem_New(PyObject *, room);
        if (arguments->values == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    for (int i = 0; i < node->child_count; i++) {
        arguments->values[i] = values[node->children[i]];
    }
    arguments->count = node->child_count;
    arguments->positional = node->child_count - keywords;
    return 0;
}

static void
arguments_free(struct arguments *arguments)
{
    if (arguments->values != arguments->few) {
        PyMem_Free(arguments->values);
    }
}

/* Whether all loops of a ufunc are for Python objects, as those of numpy.frompyfunc are. */
static bool
runs_python(const PyUFuncObject *ufunc)
{
    for (int loop = 0; loop < ufunc->ntypes; loop++) {
        const char *types = ufunc->types + (ptrdiff_t)loop * ufunc->nargs;
        if (memchr(types, NPY_OBJECT, (size_t)ufunc->nargs) == NULL) {
            return false;
        }
    }
    return ufunc->ntypes > 0;
}

/* The value of the name that is called; borrowed. */
static PyObject *
named_ufunc(const struct place *place, int name, PyObject *const *names)
{
    PyObject *value = names[name];
    PyObject *text = PyTuple_GET_ITEM(place->formula->names, name);
    if (!Py_IS_TYPE(value, &PyUFunc_Type)) {
        return fail(place, PyExc_TypeError, "'%U' must be a numpy.ufunc to be called, not %s", text,
                    Py_TYPE(value)->tp_name);
    }
    PyUFuncObject *ufunc = (PyUFuncObject *)value;
    if (ufunc->nout != 1) {
        return fail(place, PyExc_TypeError, "'%U' has %d results, expected a numpy.ufunc with one",
                    text, ufunc->nout);
    }
    if (runs_python(ufunc)) {
        return fail(place, PyExc_TypeError,
                    "'%U' runs Python code for each element, expected a numpy.ufunc for numbers",
                    text);
    }
    return value;
}

static PyObject *
called_function(const struct place *place, const struct formula_node *node, PyObject *const *names)
{
    return node->operation == FORMULA_NAMED ? named_ufunc(place, node->index, names) : node->object;
}

/* How many of the positional arguments are operands: what follows may be None, an axis ... */
static int
operand_count(const struct formula_node *node, const struct arguments *arguments)
{
    bool first_only = node->operation == FORMULA_CLIP || node->operation == FORMULA_REDUCTION;
    return first_only && arguments->positional > 1 ? 1 : arguments->positional;
}

/* numpy.float64(x): of an array astype, of a scalar the scalar's type itself. */
static PyObject *
cast(struct state *state, const struct formula_node *node, struct arguments *arguments)
{
    if (arguments->count != 1 || !is_array(arguments->values[0])) {
        return PyObject_Vectorcall(node->object, arguments->values, (size_t)arguments->positional,
                                   node->keywords);
    }
    PyObject *const stack[] = {arguments->values[0], node->object};
    return PyObject_VectorcallMethod(state->name_astype, stack, 2, NULL);
}

static PyObject *
call(struct state *state, const struct place *place, const struct formula_node *node,
     struct arguments *arguments, PyObject *const *names)
{
    PyObject *function = called_function(place, node, names);
    if (function == NULL ||
        !check_values(place, arguments->values, operand_count(node, arguments))) {
        return NULL;
    }
    PyObject *result = node->operation == FORMULA_CAST
                           ? cast(state, node, arguments)
                           : PyObject_Vectorcall(function, arguments->values,
                                                 (size_t)arguments->positional, node->keywords);
    return check_result(place, result);
}

static PyObject *
compute_call(struct state *state, const struct place *place, const struct formula_node *node,
             PyObject *const *values, PyObject *const *names)
{
    struct arguments arguments;
    if (arguments_of(node, values, 0, &arguments) < 0) {
        return NULL;
    }
    PyObject *result = call(state, place, node, &arguments, names);
    arguments_free(&arguments);
    return result;
}

static PyObject *
compute_condition(const struct place *place, const struct formula_node *node,
                  PyObject *const *values)
{
    PyObject *const parts[] = {values[node->children[0]], values[node->children[1]],
                               values[node->children[2]]};
    return check_values(place, parts, 3)
               ? check_result(place, PyArray_Where(parts[0], parts[1], parts[2]))
               : NULL;
}

/* ---- Nodes ---- */

PyObject *
interpret_node(struct state *state, const struct formula *formula, int node,
               PyObject *const *values, PyObject *const *names, const char *Py_UNUSED(function))
{
    const struct formula_node *it = &formula->nodes[node];
    const struct place place = {formula, node};
    switch (it->kind) {
    case FORMULA_CONSTANT:
        return Py_NewRef(it->object);
    case FORMULA_NAME:
        return Py_NewRef(names[it->index]);
    case FORMULA_OPERATOR:
        return compute_operator(&place, it, values);
    case FORMULA_CONDITION:
        return compute_condition(&place, it, values);
    case FORMULA_ATTRIBUTE:
        return check_values(&place, &values[it->children[0]], 1)
                   ? PyObject_GetAttr(values[it->children[0]], it->object)
                   : NULL;
    case FORMULA_SUBSCRIPT:
        return compute_subscript(&place, values[it->children[0]], values[it->children[1]]);
    case FORMULA_SLICE:
        return compute_slice(it, values);
    case FORMULA_TUPLE:
        return compute_tuple(it, values);
    case FORMULA_CALL:
        return compute_call(state, &place, it, values, names);
    }
    PyErr_Format(PyExc_SystemError, "no kind of node: %d", it->kind);
    return NULL;
}

/* ---- Options of the result ---- */

/* struct result_options, read. All owned, NULL where not given. */
struct wanted {
    PyObject *out;   /* as the user gave it */
    PyObject *array; /* its elements as a plain array */
    PyObject *dtype; /* a PyArray_Descr */
    PyObject *casting, *order;
    PyObject *where; /* an operand */
};

static void
wanted_free(struct wanted *wanted)
{
    Py_XDECREF(wanted->out);
    Py_XDECREF(wanted->array);
    Py_XDECREF(wanted->dtype);
    Py_XDECREF(wanted->casting);
    Py_XDECREF(wanted->order);
    Py_XDECREF(wanted->where);
}

static int
read_out(struct wanted *wanted, PyObject *out, const char *function)
{
    if (out != NULL && PyTuple_Check(out) && PyTuple_GET_SIZE(out) == 1) {
        out = PyTuple_GET_ITEM(out, 0);
    }
    if (out == NULL || out == Py_None) {
        return 0;
    }
    if (!PyArray_Check(out)) {
        PyErr_Format(PyExc_TypeError, "%s(): 'out' must be an array, not %s", function,
                     Py_TYPE(out)->tp_name);
        return -1;
    }
    PyObject *name = PyUnicode_FromString("out");
    wanted->array = name == NULL ? NULL : interpret_operand(NULL, out, name, function);
    Py_XDECREF(name);
    wanted->out = Py_NewRef(out);
    return wanted->array == NULL ? -1 : 0;
}

static int
read_dtype(struct wanted *wanted, PyObject *dtype, const char *function)
{
    PyArray_Descr *descr = NULL;
    if (dtype == NULL || dtype == Py_None) {
        return 0;
    }
    if (PyArray_DescrConverter(dtype, &descr) == NPY_FAIL) {
        return -1;
    }
    wanted->dtype = (PyObject *)descr;
    if (!operand_dtype_allowed(wanted->dtype)) {
        PyErr_Format(PyExc_TypeError, "%s(): 'dtype' is %S, whose elements run Python code",
                     function, descr);
        return -1;
    }
    return 0;
}

static int
read_where(struct state *state, struct wanted *wanted, PyObject *where, const char *function)
{
    if (where == NULL || where == Py_True) {
        return 0;
    }
    wanted->where = interpret_operand(state, where, state->name_where, function);
    return wanted->where == NULL ? -1 : 0;
}

static int
read_wanted(struct state *state, const struct result_options *options, struct wanted *wanted,
            const char *function)
{
    *wanted = (struct wanted){.casting = Py_XNewRef(options->casting),
                              .order = Py_XNewRef(options->order)};
    return read_out(wanted, options->out, function) < 0 ||
                   read_dtype(wanted, options->dtype, function) < 0 ||
                   read_where(state, wanted, options->where, function) < 0
               ? -1
               : 0;
}

/* Keywords behind the positional arguments of a call, with interned names. */
enum { MAX_KEYWORDS = 5 };

struct keywords {
    PyObject *names[MAX_KEYWORDS];
    PyObject *values[MAX_KEYWORDS];
    int count;
};

static void
add_keyword(struct keywords *keywords, PyObject *name, PyObject *value)
{
    if (value != NULL) {
        keywords->names[keywords->count] = name;
        keywords->values[keywords->count++] = value;
    }
}

/* Calls with the positional arguments; there is room for the keywords behind them. */
static PyObject *
call_with(PyObject *function, PyObject **stack, int positional, const struct keywords *keywords)
{
    PyObject *names = PyTuple_New(keywords->count);
    if (names == NULL) {
        return NULL;
    }
    for (int i = 0; i < keywords->count; i++) {
        PyTuple_SET_ITEM(names, i, Py_NewRef(keywords->names[i]));
        stack[positional + i] = keywords->values[i];
    }
    PyObject *result = PyObject_Vectorcall(function, stack, (size_t)positional, names);
    Py_DECREF(names);
    return result;
}

/* ---- The result by a ufunc ---- */

/* Whether a ufunc is NumPy's own, which has it by its name. */
static bool
is_numpys(PyObject *ufunc)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *found =
        numpy == NULL ? NULL : PyObject_GetAttrString(numpy, ((PyUFuncObject *)ufunc)->name);
    Py_XDECREF(numpy);
    Py_XDECREF(found);
    PyErr_Clear();
    return found == ufunc;
}

/* Whether the node is one call of a ufunc that takes all the options. NumPy hands masked loops pointers that it goes
 * on with, and loops of others move them (SciPy's): with where= a caller's ufunc is none. */
static bool
takes_options(const struct formula_node *node, PyObject *const *names, const struct wanted *wanted)
{
    if (node->kind == FORMULA_OPERATOR) {
        return true;
    }
    if (node->kind != FORMULA_CALL || node->keywords != NULL) {
        return false;
    }
    PyObject *function = node->operation == FORMULA_NAMED ? names[node->index] : node->object;
    return (node->operation == FORMULA_UFUNC || node->operation == FORMULA_NAMED) &&
           Py_IS_TYPE(function, &PyUFunc_Type) && !((PyUFuncObject *)function)->core_enabled &&
           (wanted->where == NULL || is_numpys(function));
}

/* The function by which NumPy computes a ** 2, a ** -1 and a ** 0.5 of an array, or -1. */
static int
fast_power(const struct formula_node *node, PyObject *const *values)
{
    if (node->kind != FORMULA_OPERATOR || node->operation != FORMULA_POWER ||
        !is_array(values[0])) {
        return -1;
    }
    PyArrayObject *base = (PyArrayObject *)values[0];
    bool inexact = PyArray_ISFLOAT(base) || PyArray_ISCOMPLEX(base);
    int overflow = 0;
    long exponent =
        PyLong_CheckExact(values[1]) ? PyLong_AsLongAndOverflow(values[1], &overflow) : 0;
    bool half = PyFloat_CheckExact(values[1]) && PyFloat_AS_DOUBLE(values[1]) == .5;
    return exponent == 2                            ? UFUNC_SQUARE
           : exponent == -1 && !overflow && inexact ? UFUNC_RECIPROCAL
           : half && inexact                        ? UFUNC_SQRT
                                                    : -1;
}

static PyObject *
call_ufunc(struct state *state, const struct place *place, const struct formula_node *node,
           struct arguments *arguments, PyObject *const *names, const struct wanted *wanted)
{
    int fast = fast_power(node, arguments->values);
    PyObject *ufunc = node->kind == FORMULA_CALL
                          ? called_function(place, node, names)
                          : ufunc_get(state, fast >= 0 ? fast : node->operation);
    arguments->count = fast >= 0 ? 1 : arguments->count;
    if (ufunc == NULL || !check_values(place, arguments->values, arguments->count)) {
        return NULL;
    }
    struct keywords keywords = {.count = 0};
    add_keyword(&keywords, state->name_out, wanted->array);
    add_keyword(&keywords, state->name_dtype, wanted->dtype);
    add_keyword(&keywords, state->name_casting, wanted->casting);
    add_keyword(&keywords, state->name_order, wanted->order);
    add_keyword(&keywords, state->name_where, wanted->where);
    return check_result(place, call_with(ufunc, arguments->values, arguments->count, &keywords));
}

static PyObject *
result_by_ufunc(struct state *state, const struct place *place, PyObject *const *values,
                PyObject *const *names, const struct wanted *wanted)
{
    const struct formula_node *node = &place->formula->nodes[place->node];
    struct arguments arguments;
    if (arguments_of(node, values, MAX_KEYWORDS, &arguments) < 0) {
        return NULL;
    }
    PyObject *result = call_ufunc(state, place, node, &arguments, names, wanted);
    arguments_free(&arguments);
    return result;
}

/* ---- The result by a copy ---- */

/* The least type that stands for Python's numbers of that class, which take any dtype of their kind. */
static int
weak_type(PyObject *value)
{
    return PyBool_Check(value)           ? NPY_BOOL
           : PyLong_CheckExact(value)    ? NPY_UBYTE
           : PyFloat_CheckExact(value)   ? NPY_HALF
           : PyComplex_CheckExact(value) ? NPY_CFLOAT
                                         : NPY_NOTYPE;
}

/* The array to cast: of a Python number in the wanted dtype already where its kind allows. */
static PyObject *
array_to_cast(PyObject *value, const struct wanted *wanted)
{
    int weak = weak_type(value);
    PyArray_Descr *dtype = (PyArray_Descr *)wanted->dtype;
    if (dtype == NULL || weak == NPY_NOTYPE) {
        return PyArray_FROM_O(value);
    }
    PyArray_Descr *least = PyArray_DescrFromType(weak);
    bool fits = PyArray_CanCastTypeTo(least, dtype, NPY_SAME_KIND_CASTING);
    Py_DECREF(least);
    if (!fits) {
        return PyArray_FROM_O(value);
    }
    Py_INCREF(dtype); /* FromAny takes a reference */
    return PyArray_FromAny(value, dtype, 0, 0, 0, NULL);
}

/* As an array's astype(dtype, order, casting, copy=False); a scalar stays one. */
static PyObject *
convert(struct state *state, PyObject *value, const struct wanted *wanted)
{
    PyObject *array = array_to_cast(value, wanted);
    if (array == NULL) {
        return NULL;
    }
    PyObject *dtype =
        wanted->dtype != NULL ? wanted->dtype : (PyObject *)PyArray_DESCR((PyArrayObject *)array);
    struct keywords keywords = {.count = 0};
    add_keyword(&keywords, state->name_order, wanted->order);
    add_keyword(&keywords, state->name_casting,
                wanted->casting != NULL ? wanted->casting : state->name_same_kind);
    add_keyword(&keywords, state->name_copy, Py_False);
    PyObject *method = PyObject_GetAttr(array, state->name_astype);
    PyObject *stack[1 + MAX_KEYWORDS] = {dtype};
    PyObject *converted = method == NULL ? NULL : call_with(method, stack, 1, &keywords);
    Py_XDECREF(method);
    Py_DECREF(array);
    if (converted != NULL && !is_array(value)) {
        converted = PyArray_Return((PyArrayObject *)converted);
    }
    return converted;
}

/* A value that shares no memory with an array it is to be stored to: a new reference, to a copy where it does. NumPy's
 * own copies are wrong for some 1-D views of one buffer. */
static PyObject *
lying_elsewhere(PyObject *array, PyObject *value)
{
    int overlap = is_array(value) ? arrays_overlap(array, value) : 0;
    return overlap < 0   ? NULL
           : overlap > 0 ? PyArray_NewCopy((PyArrayObject *)value, NPY_KEEPORDER)
                         : Py_NewRef(value);
}

/* The mask as an array of bool that does not change while `array`, which may be NULL, is written to. */
static PyObject *
take_mask(PyObject *where, PyObject *array)
{
    PyObject *mask = PyArray_FromAny(where, PyArray_DescrFromType(NPY_BOOL), 0, 0, 0, NULL);
    if (mask != NULL && array != NULL) {
        Py_SETREF(mask, lying_elsewhere(array, mask));
    }
    return mask;
}

/* numpy.copyto(out, value, casting=, where=). */
static int
copy_to(struct state *state, PyObject *value, const struct wanted *wanted, PyObject *mask)
{
    struct keywords keywords = {.count = 0};
    add_keyword(&keywords, state->name_casting, wanted->casting);
    add_keyword(&keywords, state->name_where, mask);
    PyObject *copyto = ufunc_get(state, UFUNC_COPYTO);
    PyObject *copied = copyto == NULL ? NULL : lying_elsewhere(wanted->array, value);
    PyObject *stack[2 + MAX_KEYWORDS] = {wanted->array, copied};
    PyObject *none = copied == NULL ? NULL : call_with(copyto, stack, 2, &keywords);
    Py_XDECREF(copied);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* Copies to out, or widens to the mask's shape; takes the reference. */
static PyObject *
place_result(struct state *state, PyObject *value, const struct wanted *wanted)
{
    PyObject *mask = wanted->where == NULL ? NULL : take_mask(wanted->where, wanted->array);
    bool failed = wanted->where != NULL && mask == NULL;
    if (!failed && wanted->array != NULL) {
        failed = copy_to(state, value, wanted, mask) < 0;
    }
    else if (!failed && mask != NULL) {
        bool scalar = !is_array(value);
        Py_SETREF(value, PyArray_Where(mask, value, value));
        if (value != NULL && scalar) {
            value = PyArray_Return((PyArrayObject *)value);
        }
    }
    Py_XDECREF(mask);
    if (failed) {
        Py_CLEAR(value);
    }
    return value;
}

static PyObject *
result_by_copy(struct state *state, const struct place *place, PyObject *const *values,
               PyObject *const *names, const struct wanted *wanted)
{
    PyObject *value = interpret_node(state, place->formula, place->node, values, names, NULL);
    if (value == NULL || !check_values(place, &value, 1)) {
        Py_XDECREF(value);
        return NULL;
    }
    if (wanted->dtype != NULL || wanted->order != NULL || wanted->casting != NULL) {
        PyObject *converted = convert(state, value, wanted);
        if (converted == NULL || wanted->dtype != NULL || is_array(value)) {
            Py_SETREF(value, converted);
        }
        else { /* a scalar, whose options were only looked at */
            Py_DECREF(converted);
        }
    }
    return value == NULL ? NULL : place_result(state, value, wanted);
}

static bool
any_wanted(const struct wanted *wanted)
{
    return wanted->out != NULL || wanted->dtype != NULL || wanted->casting != NULL ||
           wanted->order != NULL || wanted->where != NULL;
}

PyObject *
interpret_result(struct state *state, const struct formula *formula, int node,
                 PyObject *const *values, PyObject *const *names,
                 const struct result_options *options, const char *function)
{
    const struct place place = {formula, node};
    struct wanted wanted;
    PyObject *result = NULL;
    if (read_wanted(state, options, &wanted, function) == 0) {
        result = !any_wanted(&wanted)
                     ? interpret_node(state, formula, node, values, names, function)
                 : takes_options(&formula->nodes[node], names, &wanted)
                     ? result_by_ufunc(state, &place, values, names, &wanted)
                     : result_by_copy(state, &place, values, names, &wanted);
    }
    if (result != NULL && wanted.out != NULL) {
        Py_SETREF(result, Py_NewRef(wanted.out));
    }
    wanted_free(&wanted);
    return result;
}

/* ---- Statements ---- */

static bool
check_target(const struct place *place, PyObject *target, PyObject *value)
{
    if (!is_array(target)) {
        fail(place, PyExc_TypeError, "only an array is assigned to, not %s",
             Py_TYPE(target)->tp_name);
        return false;
    }
    return check_values(place, &value, 1);
}

/* target op= value. Returns the target or, of a scalar, the result. */
static PyObject *
compute_in_place(const struct place *place, int operation, PyObject *target, PyObject *value)
{
    return check_text(place, operation, target, value)
               ? check_result(place, ARITHMETIC[operation].in_place(target, value))
               : NULL;
}

/* target[index] = value, as if the value lay elsewhere: NumPy itself may read what it has written, where it goes over
 * one dimension with different strides, or through an array as the index. */
static int
set_item(PyObject *target, PyObject *index, PyObject *value)
{
    PyObject *stored = lying_elsewhere(target, value);
    int result = stored == NULL ? -1 : PyObject_SetItem(target, index, stored);
    Py_XDECREF(stored);
    return result;
}

static int
store(const struct place *place, PyObject *target, int operation, PyObject *value)
{
    if (!check_target(place, target, value)) {
        return -1;
    }
    if (operation < 0) {
        return set_item(target, Py_Ellipsis, value);
    }
    PyObject *result = compute_in_place(place, operation, target, value);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
store_item(const struct place *place, PyObject *target, PyObject *index, int operation,
           PyObject *value)
{
    if (!check_target(place, target, value)) {
        return -1;
    }
    if (operation < 0) {
        return set_item(target, index, value);
    }
    PyObject *item = PyObject_GetItem(target, index);
    PyObject *result = item == NULL ? NULL : compute_in_place(place, operation, item, value);
    int status = result == NULL ? -1 : PyObject_SetItem(target, index, result);
    Py_XDECREF(item);
    Py_XDECREF(result);
    return status;
}

int
interpret_store(struct state *Py_UNUSED(state), PyObject *target, int operation, PyObject *value)
{
    return store(&(struct place){0}, target, operation, value);
}

int
interpret_store_item(struct state *Py_UNUSED(state), PyObject *target, PyObject *index,
                     int operation, PyObject *value)
{
    return store_item(&(struct place){0}, target, index, operation, value);
}

int
interpret_statement(struct state *Py_UNUSED(state), const struct formula *formula,
                    const struct formula_statement *statement, PyObject *const *values)
{
    const struct place place = {formula, statement->target};
    const struct formula_node *target = &formula->nodes[statement->target];
    PyObject *value = values[statement->value];
    return target->kind == FORMULA_SUBSCRIPT
               ? store_item(&place, values[target->children[0]], values[target->children[1]],
                            statement->operation, value)
               : store(&place, values[statement->target], statement->operation, value);
}

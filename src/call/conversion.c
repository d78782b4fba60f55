/* conversion.c: Python values -> C numbers and arrays of one dtype, and back. */
#include "conversion.h"

#include <fenv.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "numpy.h"

/* ---- Types ---- */

/* In the order of what converts to what: a kind to itself and to those behind it. */
enum kind { KIND_OTHER, KIND_BOOL, KIND_INTEGER, KIND_REAL, KIND_COMPLEX };

struct number_type {
    enum kind kind;
    int size;      /* of a number, or of each part of a complex one, in bytes */
    long long low; /* of integers, as is `high` */
    unsigned long long high;
    const char *c_name;
    const char *expected; /* the range of floats, for messages */
};

#define FLOAT_RANGE "at most 3.40282e+38 in magnitude"
#define DOUBLE_RANGE "at most 1.79769e+308 in magnitude"

/* By NumPy's type number; those left out are KIND_OTHER. */
static const struct number_type NUMBER_TYPES[] = {
    [NPY_BOOL] = {KIND_BOOL, 1, 0, 1, "bool", NULL},
    [NPY_BYTE] = {KIND_INTEGER, 1, SCHAR_MIN, SCHAR_MAX, "signed char", NULL},
    [NPY_UBYTE] = {KIND_INTEGER, 1, 0, UCHAR_MAX, "unsigned char", NULL},
    [NPY_SHORT] = {KIND_INTEGER, sizeof(short), SHRT_MIN, SHRT_MAX, "short", NULL},
    [NPY_USHORT] = {KIND_INTEGER, sizeof(short), 0, USHRT_MAX, "unsigned short", NULL},
    [NPY_INT] = {KIND_INTEGER, sizeof(int), INT_MIN, INT_MAX, "int", NULL},
    [NPY_UINT] = {KIND_INTEGER, sizeof(int), 0, UINT_MAX, "unsigned int", NULL},
    [NPY_LONG] = {KIND_INTEGER, sizeof(long), LONG_MIN, LONG_MAX, "long", NULL},
    [NPY_ULONG] = {KIND_INTEGER, sizeof(long), 0, ULONG_MAX, "unsigned long", NULL},
    [NPY_LONGLONG] = {KIND_INTEGER, sizeof(long long), LLONG_MIN, LLONG_MAX, "long long", NULL},
    [NPY_ULONGLONG] = {KIND_INTEGER, sizeof(long long), 0, ULLONG_MAX, "unsigned long long", NULL},
    [NPY_HALF] = {KIND_REAL, 2, 0, 0, "_Float16", NULL},
    [NPY_FLOAT] = {KIND_REAL, sizeof(float), 0, 0, "float", FLOAT_RANGE},
    [NPY_DOUBLE] = {KIND_REAL, sizeof(double), 0, 0, "double", DOUBLE_RANGE},
    [NPY_LONGDOUBLE] = {KIND_REAL, sizeof(long double), 0, 0, "long double", NULL},
    [NPY_CFLOAT] = {KIND_COMPLEX, sizeof(float), 0, 0, "float complex", FLOAT_RANGE},
    [NPY_CDOUBLE] = {KIND_COMPLEX, sizeof(double), 0, 0, "double complex", DOUBLE_RANGE},
    [NPY_CLONGDOUBLE] = {KIND_COMPLEX, sizeof(long double), 0, 0, "long double complex", NULL},
};

static const struct number_type *
number_type(int type)
{
    const int count = (int)(sizeof(NUMBER_TYPES) / sizeof(NUMBER_TYPES[0]));
    return &NUMBER_TYPES[type >= 0 && type < count ? type : NPY_OBJECT];
}

int
same_type(int type, int other)
{
    if (type == other) {
        return 1;
    }
    const struct number_type *a = number_type(type), *b = number_type(other);
    return a->kind == KIND_INTEGER && b->kind == KIND_INTEGER && a->size == b->size &&
           (a->low < 0) == (b->low < 0);
}

/* ---- Messages ---- */

/* Raises "FUNCTION(): 'PARAMETER' MESSAGE (DECLARATION)". Returns -1. */
static int
fail(const struct conversion *to, PyObject *exception, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    PyObject *message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (message != NULL) {
        PyErr_Format(exception, "%s(): '%s' %U (%s)", to->function, to->parameter, message,
                     to->declaration);
        Py_DECREF(message);
    }
    return -1;
}

/* An int with more bits is not printed: 38 digits, and Python refuses to print some thousands. */
enum { SHOWN_BITS = 127 };

static PyObject *
integer_text(PyObject *number)
{
    PyObject *object = PyObject_CallMethod((PyObject *)&PyLong_Type, "bit_length", "O", number);
    size_t bits = object == NULL ? 0 : PyLong_AsSize_t(object);
    Py_XDECREF(object);
    if (PyErr_Occurred()) {
        return NULL;
    }
    return bits > SHOWN_BITS ? PyUnicode_FromFormat("an int of %zu bits", bits)
                             : PyLong_Type.tp_repr(number); /* its own, of a subclass too */
}

/* Raises OverflowError for the value that `text` shows; takes the reference, which may be NULL with an
 * exception. Returns -1. */
static int
fail_overflow(const struct conversion *to, PyObject *text)
{
    const struct number_type *type = number_type(to->type);
    if (text == NULL) {
        return -1;
    }
    if (type->kind == KIND_INTEGER) {
        fail(to, PyExc_OverflowError, "does not fit C's %s: expected %lld to %llu, got %U",
             type->c_name, type->low, type->high, text);
    }
    else {
        fail(to, PyExc_OverflowError, "does not fit C's %s: expected %s, got %U", type->c_name,
             type->expected, text);
    }
    Py_DECREF(text);
    return -1;
}

static int
fail_number(const struct conversion *to, PyObject *value)
{
    static const char *const WANTED[] = {
        [KIND_BOOL] = " bool (True or False)",
        [KIND_INTEGER] = "n integer",
        [KIND_REAL] = " real number",
        [KIND_COMPLEX] = " number",
    };
    const char *wanted = WANTED[number_type(to->type)->kind];
    if (PyArray_Check(value)) {
        PyArrayObject *array = (PyArrayObject *)value;
        return fail(to, PyExc_TypeError, "must be a%s, not a %d-d array of dtype %S", wanted,
                    PyArray_NDIM(array), PyArray_DESCR(array));
    }
    return fail(to, PyExc_TypeError, "must be a%s, not %s", wanted, Py_TYPE(value)->tp_name);
}

/* ---- Numbers: writing ---- */

static void
write_integer(int size, unsigned long long bits, void *slot)
{
    switch (size) {
    case 1:
        *(npy_uint8 *)slot = (npy_uint8)bits;
        break;
    case 2:
        *(npy_uint16 *)slot = (npy_uint16)bits;
        break;
    case 4:
        *(npy_uint32 *)slot = (npy_uint32)bits;
        break;
    default:
        *(npy_uint64 *)slot = bits;
    }
}

/* `number` is a Python int, True and False among them. */
static int
store_integer(const struct conversion *to, PyObject *number, void *slot)
{
    const struct number_type *type = number_type(to->type);
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    bool fits = overflow == 0 && value >= type->low &&
                (value < 0 || (unsigned long long)value <= type->high);
    if (fits) {
        write_integer(type->size, (unsigned long long)value, slot);
        return 0;
    }
    if (overflow > 0 && type->high == ULLONG_MAX) {
        unsigned long long large = PyLong_AsUnsignedLongLong(number);
        if (!PyErr_Occurred()) {
            write_integer(type->size, large, slot);
            return 0;
        }
        PyErr_Clear();
    }
    return fail_overflow(to, integer_text(number));
}

/* What rounds to float32's infinity, from here up: half a step beyond FLT_MAX. */
static const double FLOAT_OVERFLOW = 0x1.ffffffp127;

/* Writes the real parts of one number, as C's float or double. */
static int
store_parts(const struct conversion *to, const double *parts, int count, void *slot)
{
    if (number_type(to->type)->size == (int)sizeof(double)) {
        memcpy(slot, parts, (size_t)count * sizeof(double));
        return 0;
    }
    for (int i = 0; i < count; i++) {
        if (fabs(parts[i]) >= FLOAT_OVERFLOW && !isinf(parts[i])) {
            PyObject *number = PyFloat_FromDouble(parts[i]);
            PyObject *text = number == NULL ? NULL : PyObject_Repr(number);
            Py_XDECREF(number);
            return fail_overflow(to, text);
        }
        ((float *)slot)[i] = (float)parts[i];
    }
    return 0;
}

/* ---- Numbers: reading ---- */

static int
read_integer(const struct conversion *to, PyObject *value, void *slot)
{
    if (PyLong_Check(value)) {
        return store_integer(to, value, slot);
    }
    if (!PyIndex_Check(value)) {
        return fail_number(to, value);
    }
    PyObject *number = PyNumber_Index(value);
    int result = number == NULL ? -1 : store_integer(to, number, slot);
    Py_XDECREF(number);
    return result;
}

/* An int as a double, rounded. */
static int
read_large(const struct conversion *to, PyObject *number, double *real)
{
    *real = PyLong_AsDouble(number);
    if (*real == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
        return fail_overflow(to, integer_text(number));
    }
    return 0;
}

static int
read_real(const struct conversion *to, PyObject *value, double *real)
{
    if (PyFloat_Check(value)) {
        *real = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    if (PyLong_Check(value)) {
        return read_large(to, value, real);
    }
    const PyNumberMethods *methods = Py_TYPE(value)->tp_as_number;
    if (PyComplex_Check(value) || PyArray_IsScalar(value, ComplexFloating) || methods == NULL ||
        (methods->nb_float == NULL && methods->nb_index == NULL)) {
        return fail_number(to, value);
    }
    if (methods->nb_float != NULL) {
        *real = PyFloat_AsDouble(value);
        return *real == -1 && PyErr_Occurred() ? -1 : 0;
    }
    PyObject *number = PyNumber_Index(value);
    int result = number == NULL ? -1 : read_large(to, number, real);
    Py_XDECREF(number);
    return result;
}

static int
read_complex(const struct conversion *to, PyObject *value, double *parts)
{
    bool complex_like = PyComplex_Check(value) ||
                        (!PyFloat_Check(value) && !PyLong_Check(value) &&
                         PyObject_HasAttrString((PyObject *)Py_TYPE(value), "__complex__"));
    if (!complex_like) {
        parts[1] = 0;
        return read_real(to, value, parts);
    }
    Py_complex number = PyComplex_AsCComplex(value);
    parts[0] = number.real;
    parts[1] = number.imag;
    return number.real == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Any value that is no array, nor for a bool. */
static int
read_number(const struct conversion *to, PyObject *value, void *slot)
{
    double parts[2];
    switch (number_type(to->type)->kind) {
    case KIND_INTEGER:
        return read_integer(to, value, slot);
    case KIND_REAL:
        return read_real(to, value, parts) < 0 ? -1 : store_parts(to, parts, 1, slot);
    case KIND_COMPLEX:
        return read_complex(to, value, parts) < 0 ? -1 : store_parts(to, parts, 2, slot);
    default:
        return fail_number(to, value);
    }
}

/* NumPy gives every scalar of its own a __float__, so those that stand for a number of C are listed. */
static int
read_numpy_scalar(const struct conversion *to, PyObject *value, void *slot)
{
    if (PyArray_IsScalar(value, Bool)) {
        return read_number(to, PyArrayScalar_VAL(value, Bool) ? Py_True : Py_False, slot);
    }
    if (PyArray_IsScalar(value, Half) || PyArray_IsScalar(value, LongDouble) ||
        PyArray_IsScalar(value, CLongDouble)) {
        return number_type(to->type)->kind == KIND_INTEGER
                   ? fail_number(to, value)
                   : fail(to, PyExc_TypeError, "is a %s, which no number of C is made from",
                          Py_TYPE(value)->tp_name);
    }
    if ((PyArray_IsScalar(value, Integer) && !PyArray_IsScalar(value, Timedelta)) ||
        PyArray_IsScalar(value, Floating) || PyArray_IsScalar(value, ComplexFloating)) {
        return read_number(to, value, slot);
    }
    return fail_number(to, value);
}

static int
read_zero_dimensional(const struct conversion *to, PyArrayObject *array, void *slot)
{
    int type = PyArray_TYPE(array);
    if (PyArray_NDIM(array) != 0 || number_type(type)->kind == KIND_OTHER) {
        return fail_number(to, (PyObject *)array);
    }
    PyObject *scalar = PyArray_ToScalar(PyArray_DATA(array), array);
    int result = scalar == NULL ? -1 : read_numpy_scalar(to, scalar, slot);
    Py_XDECREF(scalar);
    return result;
}

static int
read_bool(const struct conversion *to, PyObject *value, void *slot)
{
    if (!PyBool_Check(value) && !PyArray_IsScalar(value, Bool)) {
        return fail_number(to, value);
    }
    *(npy_bool *)slot =
        PyBool_Check(value) ? value == Py_True : PyArrayScalar_VAL(value, Bool) != 0;
    return 0;
}

int
convert_number(const struct conversion *to, PyObject *value, void *slot)
{
    if (PyFloat_CheckExact(value) && to->type == NPY_DOUBLE) {
        *(double *)slot = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    if (to->type == NPY_BOOL) {
        return read_bool(to, value, slot);
    }
    if (PyLong_CheckExact(value) || PyFloat_CheckExact(value)) {
        return read_number(to, value, slot);
    }
    if (PyArray_Check(value)) {
        return read_zero_dimensional(to, (PyArrayObject *)value, slot);
    }
    return PyArray_IsScalar(value, Generic) ? read_numpy_scalar(to, value, slot)
                                            : read_number(to, value, slot);
}

/* ---- Numbers: back ---- */

static long long
signed_number(int size, const void *slot)
{
    switch (size) {
    case 1:
        return *(const npy_int8 *)slot;
    case 2:
        return *(const npy_int16 *)slot;
    case 4:
        return *(const npy_int32 *)slot;
    default:
        return *(const npy_int64 *)slot;
    }
}

static unsigned long long
unsigned_number(int size, const void *slot)
{
    switch (size) {
    case 1:
        return *(const npy_uint8 *)slot;
    case 2:
        return *(const npy_uint16 *)slot;
    case 4:
        return *(const npy_uint32 *)slot;
    default:
        return *(const npy_uint64 *)slot;
    }
}

PyObject *
number_object(int type, const void *slot)
{
    const struct number_type *number = number_type(type);
    const float *floats = slot;
    const double *doubles = slot;
    bool single = number->size == (int)sizeof(float);
    switch (number->kind) {
    case KIND_BOOL:
        return PyBool_FromLong(*(const npy_bool *)slot);
    case KIND_INTEGER:
        return number->low < 0 ? PyLong_FromLongLong(signed_number(number->size, slot))
                               : PyLong_FromUnsignedLongLong(unsigned_number(number->size, slot));
    case KIND_REAL:
        return PyFloat_FromDouble(single ? floats[0] : doubles[0]);
    case KIND_COMPLEX:
        return single ? PyComplex_FromDoubles(floats[0], floats[1])
                      : PyComplex_FromDoubles(doubles[0], doubles[1]);
    default:
        PyErr_Format(PyExc_SystemError, "no number of C has NumPy's type number %d", type);
        return NULL;
    }
}

size_t
number_size(int type)
{
    const struct number_type *number = number_type(type);
    return (size_t)number->size * (number->kind == KIND_COMPLEX ? 2 : 1);
}

long long
number_integer(int type, const void *slot)
{
    const struct number_type *number = number_type(type);
    if (number->kind != KIND_INTEGER) {
        return 0;
    }
    return number->low < 0 ? signed_number(number->size, slot)
                           : (long long)unsigned_number(number->size, slot);
}

/* ---- Arrays: casts ---- */

static int
fail_dtype(const struct conversion *to, PyArrayObject *array)
{
    PyArray_Descr *wanted = PyArray_DescrFromType(to->type);
    fail(to, PyExc_TypeError, "has dtype %S, expected %S%s", PyArray_DESCR(array), wanted,
         to->type == NPY_BOOL ? "" : " or what converts to it");
    Py_DECREF(wanted);
    return -1;
}

/* As an ndarray of that type: C-contiguous, aligned, native. Returns a new reference, to the array itself
 * where it is that. The processor's floating-point flags stay as they were. */
static PyArrayObject *
cast(PyArrayObject *array, int type)
{
    fexcept_t flags;
    fegetexceptflag(&flags, FE_ALL_EXCEPT);
    PyArrayObject *result = (PyArrayObject *)PyArray_FromArray(
        array, PyArray_DescrFromType(type),
        NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSUREARRAY);
    fesetexceptflag(&flags, FE_ALL_EXCEPT);
    return result;
}

/* Raises OverflowError for an element of a native array. Returns -1. */
static int
fail_element(const struct conversion *to, PyArrayObject *plain, npy_intp index)
{
    char *item = PyArray_BYTES(plain) + index * PyArray_ITEMSIZE(plain);
    PyObject *scalar = PyArray_ToScalar(item, plain);
    PyObject *text = scalar == NULL ? NULL : PyObject_Str(scalar);
    Py_XDECREF(scalar);
    return fail_overflow(to, text);
}

/* Index of the first integer that `wanted` does not hold; there is one. */
static npy_intp
find_outside(PyArrayObject *plain, const struct number_type *wanted)
{
    const struct number_type *type = number_type(PyArray_TYPE(plain));
    const char *item = PyArray_BYTES(plain);
    npy_intp last = PyArray_SIZE(plain) - 1;
    npy_intp index = 0;
    for (; index < last; index++, item += type->size) {
        long long value = signed_number(type->size, item);
        bool negative = type->low < 0 && value < 0;
        bool fits =
            negative ? value >= wanted->low : unsigned_number(type->size, item) <= wanted->high;
        if (!fits) {
            break;
        }
    }
    return index;
}

/* The bits that any distance from `low` has. A range of integers has 2**n values, so that those bits tell
 * whether one is outside; and unlike a search, and comparisons of 64 bits, this loop is vectorised. */
#define INTEGER_TYPES(TYPE)                                                                        \
    TYPE(npy_int8)                                                                                 \
    TYPE(npy_int16)                                                                                \
    TYPE(npy_int32)                                                                                \
    TYPE(npy_int64)                                                                                \
    TYPE(npy_uint8)                                                                                \
    TYPE(npy_uint16)                                                                               \
    TYPE(npy_uint32)                                                                               \
    TYPE(npy_uint64)

#define TYPE(c_type)                                                                               \
    static npy_uint64 distance_bits_##c_type(const c_type *items, npy_intp count, npy_uint64 low)  \
    {                                                                                              \
        npy_uint64 bits = 0;                                                                       \
        for (npy_intp i = 0; i < count; i++) {                                                     \
            bits |= (npy_uint64)items[i] - low;                                                    \
        }                                                                                          \
        return bits;                                                                               \
    }
INTEGER_TYPES(TYPE)
#undef TYPE

static bool
any_outside(PyArrayObject *plain, const struct number_type *wanted)
{
    const struct number_type *type = number_type(PyArray_TYPE(plain));
    npy_intp count = PyArray_SIZE(plain);
    long long low = type->low > wanted->low ? type->low : wanted->low;
    npy_uint64 high = type->high < wanted->high ? type->high : wanted->high;
    npy_uint64 range = high - (npy_uint64)low;
#define TYPE(c_type)                                                                               \
    if (type->size == (int)sizeof(c_type) && (type->low < 0) == ((c_type) - 1 < 1)) {              \
        return distance_bits_##c_type(PyArray_DATA(plain), count, (npy_uint64)low) > range;        \
    }
    INTEGER_TYPES(TYPE)
#undef TYPE
    return false;
}

static PyArrayObject *
cast_integers(const struct conversion *to, PyArrayObject *array)
{
    const struct number_type *from = number_type(PyArray_TYPE(array));
    const struct number_type *wanted = number_type(to->type);
    if (from->low >= wanted->low && from->high <= wanted->high) {
        return cast(array, to->type);
    }
    PyArrayObject *plain = cast(array, PyArray_TYPE(array));
    if (plain == NULL) {
        return NULL;
    }
    PyArrayObject *result = NULL;
    if (any_outside(plain, wanted)) {
        fail_element(to, plain, find_outside(plain, wanted));
    }
    else {
        result = cast(plain, to->type);
    }
    Py_DECREF(plain);
    return result;
}

/* np.errstate(all="ignore"), entered; or NULL with an exception. */
static PyObject *
enter_errstate(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *type = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "errstate");
    PyObject *none = PyTuple_New(0);
    PyObject *ignore = Py_BuildValue("{ss}", "all", "ignore");
    PyObject *state = NULL;
    if (type != NULL && none != NULL && ignore != NULL) {
        state = PyObject_Call(type, none, ignore);
    }
    PyObject *entered = state == NULL ? NULL : PyObject_CallMethod(state, "__enter__", NULL);
    if (entered == NULL) {
        Py_CLEAR(state);
    }
    Py_XDECREF(entered);
    Py_XDECREF(ignore);
    Py_XDECREF(none);
    Py_XDECREF(type);
    Py_XDECREF(numpy);
    return state;
}

/* Leaves it, with an exception set or not; that one stays. Returns 0, or -1 with an exception of its own. */
static int
leave_errstate(PyObject *state)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *left = PyObject_CallMethod(state, "__exit__", "OOO", Py_None, Py_None, Py_None);
    Py_DECREF(state);
    Py_XDECREF(left);
    if (type != NULL) {
        PyErr_Clear();
        PyErr_Restore(type, value, traceback);
    }
    return left == NULL ? -1 : 0;
}

/* A cast that rounds: NumPy would warn, or raise, by the user's np.errstate. */
static PyArrayObject *
cast_quietly(PyArrayObject *array, int type)
{
    PyObject *state = enter_errstate();
    if (state == NULL) {
        return NULL;
    }
    PyArrayObject *result = cast(array, type);
    if (leave_errstate(state) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* By the bits: a comparison would raise a flag for a signaling NaN. */
static bool
is_infinite_float(const float *number)
{
    npy_uint32 bits;
    memcpy(&bits, number, sizeof(bits));
    return bits << 1 == 0xff000000U;
}

static bool
is_infinite_double(const double *number)
{
    npy_uint64 bits;
    memcpy(&bits, number, sizeof(bits));
    return bits << 1 == 0xffe0000000000000U;
}

static bool
is_infinite(int size, const void *parts, npy_intp index)
{
    if (size == (int)sizeof(float)) {
        return is_infinite_float((const float *)parts + index);
    }
    if (size == (int)sizeof(double)) {
        return is_infinite_double((const double *)parts + index);
    }
    return isinf(((const long double *)parts)[index]);
}

static int
part_count(const struct number_type *type)
{
    return type->kind == KIND_COMPLEX ? 2 : 1;
}

/* In an array of float, double or complex numbers of them. */
static bool
has_infinity(PyArrayObject *plain)
{
    const struct number_type *type = number_type(PyArray_TYPE(plain));
    npy_intp count = PyArray_SIZE(plain) * part_count(type);
    const float *floats = PyArray_DATA(plain);
    const double *doubles = PyArray_DATA(plain);
    npy_uint32 any_float = 0; /* as wide as the numbers, which is what vectorises */
    npy_uint64 any_double = 0;
    if (type->size == (int)sizeof(float)) {
        for (npy_intp i = 0; i < count; i++) {
            any_float |= is_infinite_float(floats + i);
        }
    }
    else {
        for (npy_intp i = 0; i < count; i++) {
            any_double |= is_infinite_double(doubles + i);
        }
    }
    return any_float != 0 || any_double != 0;
}

/* Index of the first element of `source` with a finite part that is infinite in `result`, or -1. */
static npy_intp
find_overflow(PyArrayObject *source, PyArrayObject *result)
{
    const struct number_type *from = number_type(PyArray_TYPE(source));
    const struct number_type *to = number_type(PyArray_TYPE(result));
    int parts = part_count(from);
    npy_intp count = PyArray_SIZE(source) * parts;
    for (npy_intp i = 0; i < count; i++) {
        npy_intp converted = i / parts * part_count(to) + i % parts;
        if (is_infinite(to->size, PyArray_DATA(result), converted) &&
            !is_infinite(from->size, PyArray_DATA(source), i)) {
            return i / parts;
        }
    }
    return -1;
}

/* Raises OverflowError if a finite number of `array` became infinite. */
static int
check_overflow(const struct conversion *to, PyArrayObject *array, PyArrayObject *result)
{
    if (number_type(PyArray_TYPE(array))->size <= number_type(to->type)->size ||
        !has_infinity(result)) {
        return 0;
    }
    PyArrayObject *plain = cast(array, PyArray_TYPE(array));
    if (plain == NULL) {
        return -1;
    }
    npy_intp index = find_overflow(plain, result);
    int status = index < 0 ? 0 : fail_element(to, plain, index);
    Py_DECREF(plain);
    return status;
}

static void
convert_parts(int size, const void *from, void *to, npy_intp count)
{
    const float *floats = from;
    const double *doubles = from;
    fexcept_t flags;
    fegetexceptflag(&flags, FE_ALL_EXCEPT);
    if (size == (int)sizeof(float)) {
        for (npy_intp i = 0; i < count; i++) {
            ((double *)to)[i] = floats[i];
        }
    }
    else {
        for (npy_intp i = 0; i < count; i++) {
            ((float *)to)[i] = (float)doubles[i];
        }
    }
    fesetexceptflag(&flags, FE_ALL_EXCEPT);
}

/* float to double or back, or complex numbers of them: without NumPy, whose np.errstate takes longer than a
 * small array. */
static PyArrayObject *
cast_parts(PyArrayObject *array, int type)
{
    const struct number_type *from = number_type(PyArray_TYPE(array));
    PyArrayObject *plain = cast(array, PyArray_TYPE(array));
    PyArrayObject *result = NULL;
    if (plain != NULL) {
        result = (PyArrayObject *)PyArray_SimpleNew(PyArray_NDIM(plain), PyArray_DIMS(plain), type);
    }
    if (result != NULL) {
        convert_parts(from->size, PyArray_DATA(plain), PyArray_DATA(result),
                      PyArray_SIZE(plain) * part_count(from));
    }
    Py_XDECREF(plain);
    return result;
}

static bool
is_float_or_double(const struct number_type *type)
{
    return type->size == (int)sizeof(float) || type->size == (int)sizeof(double);
}

static PyArrayObject *
cast_floats(const struct conversion *to, PyArrayObject *array)
{
    const struct number_type *from = number_type(PyArray_TYPE(array));
    bool parts = from->kind == number_type(to->type)->kind && is_float_or_double(from);
    PyArrayObject *result = parts ? cast_parts(array, to->type) : cast_quietly(array, to->type);
    if (result != NULL && check_overflow(to, array, result) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* An ndarray, of any dtype and layout. */
static PyArrayObject *
cast_array(const struct conversion *to, PyArrayObject *array)
{
    enum kind from = number_type(PyArray_TYPE(array))->kind;
    enum kind wanted = number_type(to->type)->kind;
    if (from == KIND_OTHER || from > wanted) {
        fail_dtype(to, array);
        return NULL;
    }
    if (same_type(PyArray_TYPE(array), to->type)) {
        return cast(array, to->type);
    }
    if (wanted == KIND_INTEGER) {
        return cast_integers(to, array);
    }
    return from >= KIND_REAL ? cast_floats(to, array) : cast(array, to->type);
}

/* ---- Arrays: from anything ---- */

/* Whether an array of objects may be converted one by one: what is in it are Python's own numbers, which
 * NumPy had no dtype for. */
static bool
are_numbers(PyArrayObject *objects, enum kind wanted)
{
    PyObject **items = PyArray_DATA(objects);
    npy_intp count = PyArray_SIZE(objects);
    for (npy_intp i = 0; i < count; i++) {
        bool number = items[i] != NULL &&
                      (PyLong_Check(items[i]) || (wanted >= KIND_REAL && PyFloat_Check(items[i])) ||
                       (wanted == KIND_COMPLEX && PyComplex_Check(items[i])));
        if (!number) {
            return false;
        }
    }
    return wanted != KIND_BOOL;
}

/* Whether NumPy may have made an array of float64 from ints that no integer type of its own holds together,
 * as [2**63, 1]. */
static bool
is_from_large(PyObject *value, PyArrayObject *array)
{
    if (PyArray_TYPE(array) != NPY_DOUBLE || !(PyList_Check(value) || PyTuple_Check(value))) {
        return false;
    }
    const double *items = PyArray_DATA(array);
    npy_intp count = PyArray_SIZE(array);
    for (npy_intp i = 0; i < count; i++) {
        if (items[i] >= 0x1p63) {
            return true;
        }
    }
    return false;
}

/* Converts the objects of a C-contiguous array one by one. */
static PyArrayObject *
convert_objects(const struct conversion *to, PyArrayObject *objects)
{
    PyArrayObject *result =
        (PyArrayObject *)PyArray_SimpleNew(PyArray_NDIM(objects), PyArray_DIMS(objects), to->type);
    if (result == NULL) {
        return NULL;
    }
    PyObject **items = PyArray_DATA(objects);
    npy_intp count = PyArray_SIZE(objects);
    for (npy_intp i = 0; i < count; i++) {
        char *slot = PyArray_BYTES(result) + i * PyArray_ITEMSIZE(result);
        if (convert_number(to, items[i], slot) < 0) {
            Py_DECREF(result);
            return NULL;
        }
    }
    return result;
}

/* Lists of ints for which NumPy chose no integer dtype but object, or float64. `array` is what NumPy made of `value`. */
static PyArrayObject *
convert_large(const struct conversion *to, PyObject *value, PyArrayObject *array)
{
    PyArrayObject *objects = (PyArrayObject *)PyArray_FromAny(
        PyArray_TYPE(array) == NPY_OBJECT ? (PyObject *)array : value,
        PyArray_DescrFromType(NPY_OBJECT), 0, 0, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSUREARRAY, NULL);
    if (objects == NULL) {
        return NULL;
    }
    PyArrayObject *result = NULL;
    if (are_numbers(objects, number_type(to->type)->kind)) {
        result = convert_objects(to, objects);
    }
    else {
        fail_dtype(to, array);
    }
    Py_DECREF(objects);
    return result;
}

/* Says of which parameter the ValueError is that is set. */
static void
fail_ragged(const struct conversion *to)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    fail(to, PyExc_ValueError, "makes no array: %S", value);
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
}

/* Whatever is no ndarray. */
static PyObject *
convert_other(const struct conversion *to, PyObject *value)
{
    PyArrayObject *array =
        (PyArrayObject *)PyArray_FromAny(value, NULL, 0, 0, NPY_ARRAY_ENSUREARRAY, NULL);
    if (array == NULL) {
        if ((PyList_Check(value) || PyTuple_Check(value)) &&
            PyErr_ExceptionMatches(PyExc_ValueError)) {
            fail_ragged(to);
        }
        return NULL;
    }
    int type = PyArray_TYPE(array);
    PyArrayObject *result;
    if (type == NPY_DOUBLE && PyArray_SIZE(array) == 0) { /* as NumPy has it for [] */
        result = cast(array, to->type);
    }
    else if (type == NPY_OBJECT ||
             (number_type(to->type)->kind == KIND_INTEGER && is_from_large(value, array))) {
        result = convert_large(to, value, array);
    }
    else {
        result = cast_array(to, array);
    }
    Py_DECREF(array);
    return (PyObject *)result;
}

static PyObject *
bytes_array(int type, PyObject *bytes)
{
    npy_intp size = PyBytes_GET_SIZE(bytes);
    PyObject *array = PyArray_New(&PyArray_Type, 1, &size, type, NULL, PyBytes_AS_STRING(bytes), 0,
                                  NPY_ARRAY_CARRAY_RO, NULL);
    if (array != NULL && PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(bytes)) < 0) {
        Py_CLEAR(array);
    }
    return array;
}

static bool
has_layout(PyArrayObject *array, int flags)
{
    return PyArray_CHKFLAGS(array, flags) && PyArray_ISNOTSWAPPED(array);
}

PyObject *
convert_array(const struct conversion *to, PyObject *value)
{
    if (PyArray_CheckExact(value)) {
        PyArrayObject *array = (PyArrayObject *)value;
        if (same_type(PyArray_TYPE(array), to->type) && has_layout(array, NPY_ARRAY_CARRAY_RO)) {
            return Py_NewRef(value);
        }
    }
    if (PyArray_Check(value)) {
        return (PyObject *)cast_array(to, (PyArrayObject *)value);
    }
    if (PyBytes_Check(value) && (to->type == NPY_BYTE || to->type == NPY_UBYTE)) {
        return bytes_array(to->type, value);
    }
    return convert_other(to, value);
}

/* ---- Arrays that C writes to ---- */

static PyObject *
fail_inout(const struct conversion *to, PyObject *value)
{
    static const char FORMAT[] = "must be an ndarray of dtype %S, as it is written to; got %s%S";
    PyArray_Descr *wanted = PyArray_DescrFromType(to->type);
    PyObject *dtype = PyArray_Check(value)
                          ? PyObject_Str((PyObject *)PyArray_DESCR((PyArrayObject *)value))
                          : PyUnicode_FromString(Py_TYPE(value)->tp_name);
    if (dtype != NULL) {
        fail(to, PyExc_TypeError, FORMAT, wanted, PyArray_Check(value) ? "dtype " : "", dtype);
    }
    Py_XDECREF(dtype);
    Py_DECREF(wanted);
    return NULL;
}

PyObject *
convert_inout(const struct conversion *to, PyObject *value)
{
    if (!PyArray_Check(value) || !same_type(PyArray_TYPE((PyArrayObject *)value), to->type)) {
        return fail_inout(to, value);
    }
    PyArrayObject *array = (PyArrayObject *)value;
    if (!PyArray_ISWRITEABLE(array)) {
        fail(to, PyExc_ValueError, "is read-only, but is written to");
        return NULL;
    }
    if (!has_layout(array, NPY_ARRAY_CARRAY)) {
        return PyArray_FromArray(array, PyArray_DescrFromType(to->type),
                                 NPY_ARRAY_CARRAY | NPY_ARRAY_WRITEBACKIFCOPY |
                                     NPY_ARRAY_ENSUREARRAY);
    }
    if (PyArray_CHKFLAGS(array, NPY_ARRAY_WRITEBACKIFCOPY)) { /* owed by someone else */
        return PyArray_View(array, NULL, &PyArray_Type);
    }
    return Py_NewRef(value);
}

int
array_write_back(PyObject *object, int keep)
{
    PyArrayObject *array = (PyArrayObject *)object;
    int result = 0;
    if (PyArray_CHKFLAGS(array, NPY_ARRAY_WRITEBACKIFCOPY)) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        if (keep) {
            result = PyArray_ResolveWritebackIfCopy(array) < 0 ? -1 : 0;
        }
        else {
            PyArray_DiscardWritebackIfCopy(array);
        }
        if (type != NULL) { /* the first exception is the one to tell */
            PyErr_Clear();
            PyErr_Restore(type, value, traceback);
        }
    }
    Py_DECREF(object);
    return result;
}

/* ---- The dtype that T stands for ---- */

static int
letter_type(char letter)
{
    PyArray_Descr *descr = PyArray_DescrFromType(letter);
    if (descr == NULL) {
        return -1;
    }
    int type = descr->type_num;
    Py_DECREF(descr);
    return type;
}

/* The list's own type number for that type, or -1 without an exception. */
static int
find_type(int type, const char *letters)
{
    for (const char *letter = letters; *letter != '\0'; letter++) {
        int listed = letter_type(*letter);
        if (listed < 0 || same_type(listed, type)) {
            return listed;
        }
    }
    return -1;
}

/* The first type of the list that the dtype casts to safely, or -1. */
static int
find_safe_type(PyArray_Descr *dtype, const char *letters)
{
    for (const char *letter = letters; *letter != '\0'; letter++) {
        PyArray_Descr *listed = PyArray_DescrFromType(*letter);
        if (listed == NULL) {
            return -1;
        }
        int type = listed->type_num;
        bool safe = PyArray_CanCastTypeTo(dtype, listed, NPY_SAFE_CASTING);
        Py_DECREF(listed);
        if (safe) {
            return type;
        }
    }
    return -1;
}

/* The type number that all values share as exact ndarrays, or -1. */
static int
shared_type(PyObject *const *values, Py_ssize_t count)
{
    int type = -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyArray_CheckExact(values[i])) {
            return -1;
        }
        int own = PyArray_TYPE((PyArrayObject *)values[i]);
        if (i > 0 && own != type) {
            return -1;
        }
        type = own;
    }
    return type;
}

/* What result_type is to see of a value: a dtype, or for Python's own numbers one that counts as weak. Its
 * size does not matter, and an int of any size has to be taken. */
static PyObject *
representative(PyObject *value)
{
    if (PyArray_Check(value)) {
        return Py_NewRef((PyObject *)PyArray_DESCR((PyArrayObject *)value));
    }
    if (PyArray_IsScalar(value, Generic)) {
        return (PyObject *)PyArray_DescrFromScalar(value);
    }
    if (PyLong_CheckExact(value)) {
        return PyLong_FromLong(0);
    }
    if (PyFloat_CheckExact(value) || PyComplex_CheckExact(value) || PyBool_Check(value)) {
        return Py_NewRef(value);
    }
    PyObject *array = PyArray_FromAny(value, NULL, 0, 0, 0, NULL);
    PyObject *dtype =
        array == NULL ? NULL : Py_NewRef((PyObject *)PyArray_DESCR((PyArrayObject *)array));
    Py_XDECREF(array);
    return dtype;
}

/* numpy.result_type of the values; or NULL with an exception, a TypeError when they have none. */
static PyObject *
result_type(PyObject *const *values, Py_ssize_t count)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *function = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "result_type");
    Py_XDECREF(numpy);
    PyObject *arguments = function == NULL ? NULL : PyTuple_New(count);
    PyObject *result = NULL;
    for (Py_ssize_t i = 0; i < count && arguments != NULL; i++) {
        PyObject *argument = representative(values[i]);
        if (argument == NULL) {
            Py_CLEAR(arguments);
            break;
        }
        PyTuple_SET_ITEM(arguments, i, argument);
    }
    if (arguments != NULL) {
        result = PyObject_CallObject(function, arguments);
    }
    Py_XDECREF(arguments);
    Py_XDECREF(function);
    return result;
}

/* "float32, float64" */
static PyObject *
list_text(const char *letters)
{
    PyObject *text = PyUnicode_FromString("");
    for (const char *letter = letters; *letter != '\0' && text != NULL; letter++) {
        PyArray_Descr *dtype = PyArray_DescrFromType(*letter);
        PyObject *longer =
            dtype == NULL
                ? NULL
                : PyUnicode_FromFormat("%U%s%S", text, letter > letters ? ", " : "", dtype);
        Py_XDECREF(dtype);
        Py_SETREF(text, longer);
    }
    return text;
}

/* `dtype`: that of the values, or NULL where they have none in common. Returns -1. */
static int
fail_common(const char *function, PyObject *dtype, const char *letters)
{
    PyObject *list = list_text(letters);
    if (list != NULL && dtype != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s(): the arguments have dtype %S in common, which does not cast safely to "
                     "any of %U",
                     function, dtype, list);
    }
    else if (list != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s(): the arguments have no dtype in common: expected one of %U", function,
                     list);
    }
    Py_XDECREF(list);
    return -1;
}

int
convert_common_type(const char *function, PyObject *const *values, Py_ssize_t count,
                    const char *letters)
{
    int type = shared_type(values, count);
    if (type >= 0) {
        int listed = find_type(type, letters);
        if (listed >= 0) {
            return listed;
        }
    }
    PyObject *dtype = result_type(values, count);
    if (dtype == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            fail_common(function, NULL, letters);
        }
        return -1;
    }
    type = find_type(((PyArray_Descr *)dtype)->type_num, letters);
    if (type < 0) {
        type = find_safe_type((PyArray_Descr *)dtype, letters);
    }
    if (type < 0) {
        fail_common(function, dtype, letters);
    }
    Py_DECREF(dtype);
    return type;
}

/* ---- Overlap ---- */

/* Steps that NumPy's search may take, some milliseconds; usual slices need a few. */
enum { OVERLAP_WORK = 100000 };

/* The bytes from *low to before *high hold all elements. */
static void
memory_bounds(PyArrayObject *array, npy_uintp *low, npy_uintp *high)
{
    *low = *high = (npy_uintp)PyArray_DATA(array);
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp extent = (PyArray_DIM(array, i) - 1) * PyArray_STRIDE(array, i);
        *(extent < 0 ? low : high) += (npy_uintp)extent;
    }
    *high += (npy_uintp)PyArray_ITEMSIZE(array);
}

static bool
is_dense(PyArrayObject *array)
{
    return PyArray_IS_C_CONTIGUOUS(array) || PyArray_IS_F_CONTIGUOUS(array);
}

/* Turns numpy.exceptions.TooHardError into 1. Returns 1 or -1. */
static int
forgive_hard(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *exceptions = PyImport_ImportModule("numpy.exceptions");
    PyObject *hard = exceptions == NULL ? NULL : PyObject_GetAttrString(exceptions, "TooHardError");
    Py_XDECREF(exceptions);
    PyErr_Clear();
    int result = hard != NULL && PyErr_GivenExceptionMatches(type, hard) ? 1 : -1;
    Py_XDECREF(hard);
    PyErr_Restore(type, value, traceback);
    if (result > 0) {
        PyErr_Clear();
    }
    return result;
}

/* As plain ndarrays, as a subclass may have a shares_memory of its own. */
static int
shares_memory(PyArrayObject *a, PyArrayObject *b)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *plain_a = PyArray_FromArray(a, NULL, NPY_ARRAY_ENSUREARRAY);
    PyObject *plain_b = PyArray_FromArray(b, NULL, NPY_ARRAY_ENSUREARRAY);
    PyObject *answer = NULL;
    int result = -1;
    if (numpy != NULL && plain_a != NULL && plain_b != NULL) {
        answer = PyObject_CallMethod(numpy, "shares_memory", "OOi", plain_a, plain_b, OVERLAP_WORK);
        result = answer == NULL ? forgive_hard() : PyObject_IsTrue(answer);
    }
    Py_XDECREF(answer);
    Py_XDECREF(plain_b);
    Py_XDECREF(plain_a);
    Py_XDECREF(numpy);
    return result;
}

int
arrays_overlap(PyObject *first, PyObject *second)
{
    PyArrayObject *a = (PyArrayObject *)first, *b = (PyArrayObject *)second;
    if (PyArray_SIZE(a) == 0 || PyArray_SIZE(b) == 0) {
        return 0;
    }
    npy_uintp a_low, a_high, b_low, b_high;
    memory_bounds(a, &a_low, &a_high);
    memory_bounds(b, &b_low, &b_high);
    if (a_high <= b_low || b_high <= a_low) {
        return 0;
    }
    if (a == b || (is_dense(a) && is_dense(b))) {
        return 1;
    }
    return shares_memory(a, b);
}

/* ---- Strings and pointers ---- */

const char *
convert_string(const struct conversion *to, PyObject *value)
{
    if (PyBytes_Check(value)) {
        return PyBytes_AS_STRING(value);
    }
    if (!PyUnicode_Check(value)) {
        fail(to, PyExc_TypeError, "must be a str or bytes, not %s", Py_TYPE(value)->tp_name);
        return NULL;
    }
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(value, &length);
    if (text != NULL && strlen(text) != (size_t)length) {
        fail(to, PyExc_ValueError, "has a NUL character, where C's string would end");
        return NULL;
    }
    return text;
}

static int
read_address(const struct conversion *to, PyObject *number, void **pointer)
{
    size_t address = PyLong_AsSize_t(number);
    if (address == (size_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        PyObject *text = integer_text(number);
        if (text != NULL) {
            fail(to, PyExc_OverflowError, "is no address: expected 0 to %zu, got %U", SIZE_MAX,
                 text);
            Py_DECREF(text);
        }
        return -1;
    }
    *pointer = (void *)address;
    return 0;
}

/* Raises BufferError with the text of the BufferError or ValueError (NumPy's) that is set. Returns -1. */
static int
fail_buffer(const struct conversion *to, int readonly)
{
    if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError)) {
        return -1;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    fail(to, PyExc_BufferError, "gives no contiguous memory%s: %S", readonly ? "" : " to write to",
         value);
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
    return -1;
}

int
convert_pointer(const struct conversion *to, PyObject *value, int readonly, Py_buffer *view,
                void **pointer)
{
    view->obj = NULL;
    *pointer = NULL;
    if (value == Py_None) {
        return 0;
    }
    if (PyLong_Check(value) && !PyBool_Check(value)) {
        return read_address(to, value, pointer);
    }
    /* NumPy's integers give a buffer too, their own: not what was meant by an address */
    if (!PyObject_CheckBuffer(value) || PyArray_IsScalar(value, Generic)) {
        return fail(to, PyExc_TypeError,
                    "must have a buffer, as arrays and bytes do, or be an int address or None, "
                    "not %s",
                    Py_TYPE(value)->tp_name);
    }
    int flags = PyBUF_ANY_CONTIGUOUS | (readonly ? 0 : PyBUF_WRITABLE);
    if (PyObject_GetBuffer(value, view, flags) < 0) {
        view->obj = NULL;
        return fail_buffer(to, readonly);
    }
    *pointer = view->buf;
    return 0;
}

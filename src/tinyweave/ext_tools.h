/* ---- What the functions of this module are made of: tinyweave's ext_tools puts this text into each ---- */

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Not every module uses all that stands here. */
#if defined(__GNUC__) || defined(__TINYC__)
#define TW_STATIC static __attribute__((unused))
#else
#define TW_STATIC static
#endif

#define TW_FUNCTION TW_STATIC
#include <tinyweave/complex.h>

typedef const npy_intp *tw_shape;
typedef long tw_long;
typedef int tw_int;
typedef PyObject *tw_object;

/* One argument, as C code sees it. */
struct tw_argument {
    union {
        long tw_l;
        int tw_i;
        double tw_d;
        float tw_f;
        double tw_complex_d[2];
        float tw_complex_f[2];
        void *tw_p;
    } tw_value;
    const npy_intp *tw_dims;
    const npy_intp *tw_strides;
    long tw_size; /* number of dimensions of an array, bytes of a string */
    PyObject *tw_object;
};

/* One call: what return_val was set to last. */
struct tw_call {
    PyObject *tw_result; /* a reference of its own, or NULL */
    int tw_set;
};

enum {
    TW_LONG,
    TW_BOOL,
    TW_DOUBLE,
    TW_FLOAT,
    TW_COMPLEX,
    TW_COMPLEXF,
    TW_STR,
    TW_OBJECT,
    TW_ARRAY
};

struct tw_parameter {
    const char *tw_name;
    const char *tw_expected; /* in messages */
    int tw_kind;
    int tw_dtype;           /* of an array: NumPy's type number */
    int tw_writable;        /* the array must be */
    unsigned tw_dimensions; /* bit k: k are allowed; 0: any number is */
};

struct tw_function {
    const char *tw_name;
    const struct tw_parameter *tw_parameters;
    Py_ssize_t tw_count;
    void (*tw_code)(struct tw_call *, const struct tw_argument *);
};

/* ---- The result: return_val = ... ---- */

/* Takes the reference; NULL is an exception, or a NULL of the code's own. */
TW_STATIC void
tw_return_object(struct tw_call *call, PyObject *value)
{
    PyObject *old = call->tw_result;
    call->tw_result = value;
    call->tw_set = 1;
    Py_XDECREF(old);
}

TW_STATIC void
tw_return_borrowed(struct tw_call *call, PyObject *value)
{
    Py_XINCREF(value);
    tw_return_object(call, value);
}

TW_STATIC void
tw_return_int(struct tw_call *call, long long value)
{
    tw_return_object(call, PyLong_FromLongLong(value));
}

TW_STATIC void
tw_return_unsigned(struct tw_call *call, unsigned long long value)
{
    tw_return_object(call, PyLong_FromUnsignedLongLong(value));
}

TW_STATIC void
tw_return_bool(struct tw_call *call, int value)
{
    tw_return_object(call, PyBool_FromLong(value != 0));
}

TW_STATIC void
tw_return_double(struct tw_call *call, double value)
{
    tw_return_object(call, PyFloat_FromDouble(value));
}

TW_STATIC void
tw_return_tw_complex(struct tw_call *call, tw_complex value)
{
    tw_return_object(call, PyComplex_FromDoubles(value.real, value.imag));
}

TW_STATIC void
tw_return_tw_complexf(struct tw_call *call, tw_complexf value)
{
    tw_return_object(call, PyComplex_FromDoubles(value.real, value.imag));
}

/* A copy; NULL is None. */
TW_STATIC void
tw_return_string(struct tw_call *call, const char *value)
{
    if (value == NULL) {
        tw_return_borrowed(call, Py_None);
    }
    else {
        tw_return_object(call, PyUnicode_FromString(value));
    }
}

TW_STATIC void
tw_return_signed_string(struct tw_call *call, const signed char *value)
{
    tw_return_string(call, (const char *)value);
}

TW_STATIC void
tw_return_unsigned_string(struct tw_call *call, const unsigned char *value)
{
    tw_return_string(call, (const char *)value);
}

/* tw_raise: formats as printf does. An exception that is set already stays. */
TW_STATIC void
tw_raise_error(struct tw_call *call, PyObject *type, const char *format, ...)
{
    char short_text[500], *text = short_text;
    va_list arguments;
    (void)call;
    if (PyErr_Occurred()) {
        return;
    }
    va_start(arguments, format);
    int size = vsnprintf(short_text, sizeof(short_text), format, arguments);
    va_end(arguments);
    if (size >= (int)sizeof(short_text)) {
        text = PyMem_Malloc((size_t)size + 1);
        if (text == NULL) {
            PyErr_NoMemory();
            return;
        }
        va_start(arguments, format);
        vsnprintf(text, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    PyObject *message =
        PyUnicode_DecodeUTF8(text, size < 0 ? 0 : (Py_ssize_t)strlen(text), "replace");
    if (message != NULL && type != NULL && !PyExceptionClass_Check(type)) {
        PyErr_Format(PyExc_TypeError, "tw_raise: expected an exception class, got %R", type);
    }
    else if (message != NULL) {
        PyErr_SetObject(type == NULL ? PyExc_SystemError : type, message);
    }
    Py_XDECREF(message);
    if (text != short_text) {
        PyMem_Free(text);
    }
}

/* ---- The arguments: which value is whose ---- */

/* The place of a keyword; tw_count for local_dict, which weave's functions take and nobody reads. Returns -1
 * with an exception. */
TW_STATIC Py_ssize_t
tw_find_parameter(const struct tw_function *function, PyObject *keyword)
{
    const char *name = PyUnicode_AsUTF8(keyword);
    for (Py_ssize_t i = 0; name != NULL && i < function->tw_count; i++) {
        if (strcmp(function->tw_parameters[i].tw_name, name) == 0) {
            return i;
        }
    }
    if (name != NULL && strcmp(name, "local_dict") == 0) {
        return function->tw_count;
    }
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function->tw_name,
                 keyword);
    return -1;
}

/* Puts the values in the order of the parameters; `values` has room for one more. */
TW_STATIC int
tw_bind(const struct tw_function *function, PyObject *const *given, Py_ssize_t count,
        PyObject *keywords, PyObject **values)
{
    Py_ssize_t all = function->tw_count;
    if (count > all + 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd argument%s, but %zd were given",
                     function->tw_name, all, all == 1 ? "" : "s", count);
        return -1;
    }
    for (Py_ssize_t i = 0; i <= all; i++) {
        values[i] = i < count ? given[i] : NULL;
    }
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        Py_ssize_t place = tw_find_parameter(function, PyTuple_GET_ITEM(keywords, i));
        if (place < 0) {
            return -1;
        }
        if (values[place] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                         function->tw_name, PyTuple_GET_ITEM(keywords, i));
            return -1;
        }
        values[place] = given[count + i];
    }
    for (Py_ssize_t i = 0; i < all; i++) {
        if (values[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", function->tw_name,
                         function->tw_parameters[i].tw_name);
            return -1;
        }
    }
    return 0;
}

/* ---- The arguments: Python values -> C values. Each function returns 0, or -1 with an exception ---- */

/* What a call of tw_take works on. */
struct tw_taking {
    const char *tw_function;
    const struct tw_parameter *tw_parameter;
    PyObject *tw_value;
    struct tw_argument *tw_argument;
};

TW_STATIC int
tw_refuse(const struct tw_taking *taking)
{
    PyErr_Format(PyExc_TypeError, "%s(): '%s' must be %s, not %s", taking->tw_function,
                 taking->tw_parameter->tw_name, taking->tw_parameter->tw_expected,
                 Py_TYPE(taking->tw_value)->tp_name);
    return -1;
}

TW_STATIC int
tw_refuse_array(const struct tw_taking *taking, const char *got)
{
    PyErr_Format(PyExc_TypeError, "%s(): '%s' must be %s, not %s", taking->tw_function,
                 taking->tw_parameter->tw_name, taking->tw_parameter->tw_expected, got);
    return -1;
}

TW_STATIC int
tw_take_python_int(const struct tw_taking *taking, PyObject *number)
{
    int overflow;
    long value = PyLong_AsLongAndOverflow(number, &overflow);
    if (overflow != 0) {
        PyErr_Format(PyExc_OverflowError, "%s(): '%s' does not fit C's long: expected %ld to %ld",
                     taking->tw_function, taking->tw_parameter->tw_name, LONG_MIN, LONG_MAX);
        return -1;
    }
    taking->tw_argument->tw_value.tw_l = value;
    return value == -1 && PyErr_Occurred() ? -1 : 0;
}

TW_STATIC int
tw_take_int(const struct tw_taking *taking)
{
    PyObject *value = taking->tw_value;
    if (PyLong_Check(value)) {
        return tw_take_python_int(taking, value);
    }
    /* NumPy counts timedelta64 among the integers. */
    if (!PyArray_IsScalar(value, Integer) || PyArray_IsScalar(value, Timedelta)) {
        return tw_refuse(taking);
    }
    PyObject *number = PyNumber_Index(value);
    int result = number == NULL ? -1 : tw_take_python_int(taking, number);
    Py_XDECREF(number);
    return result;
}

TW_STATIC int
tw_take_bool(const struct tw_taking *taking)
{
    npy_bool truth = 0;
    if (PyArray_IsScalar(taking->tw_value, Bool)) {
        PyArray_ScalarAsCtype(taking->tw_value, &truth);
    }
    else if (PyBool_Check(taking->tw_value)) {
        truth = taking->tw_value == Py_True;
    }
    else {
        return tw_refuse(taking);
    }
    taking->tw_argument->tw_value.tw_i = truth != 0;
    return 0;
}

TW_STATIC int
tw_take_double(const struct tw_taking *taking)
{
    if (!PyFloat_Check(taking->tw_value)) { /* float64 is one */
        return tw_refuse(taking);
    }
    taking->tw_argument->tw_value.tw_d = PyFloat_AS_DOUBLE(taking->tw_value);
    return 0;
}

TW_STATIC int
tw_take_complex(const struct tw_taking *taking)
{
    if (!PyComplex_Check(taking->tw_value)) { /* complex128 is one */
        return tw_refuse(taking);
    }
    Py_complex number = PyComplex_AsCComplex(taking->tw_value);
    taking->tw_argument->tw_value.tw_complex_d[0] = number.real;
    taking->tw_argument->tw_value.tw_complex_d[1] = number.imag;
    return 0;
}

TW_STATIC int
tw_take_float(const struct tw_taking *taking)
{
    if (!PyArray_IsScalar(taking->tw_value, Float)) {
        return tw_refuse(taking);
    }
    PyArray_ScalarAsCtype(taking->tw_value, &taking->tw_argument->tw_value);
    return 0;
}

TW_STATIC int
tw_take_complexf(const struct tw_taking *taking)
{
    if (!PyArray_IsScalar(taking->tw_value, CFloat)) {
        return tw_refuse(taking);
    }
    PyArray_ScalarAsCtype(taking->tw_value, &taking->tw_argument->tw_value);
    return 0;
}

TW_STATIC int
tw_take_str(const struct tw_taking *taking)
{
    struct tw_argument *argument = taking->tw_argument;
    Py_ssize_t size = 0;
    if (PyUnicode_Check(taking->tw_value)) {
        argument->tw_value.tw_p = (void *)PyUnicode_AsUTF8AndSize(taking->tw_value, &size);
        argument->tw_size = (long)size;
        return argument->tw_value.tw_p == NULL ? -1 : 0;
    }
    if (!PyBytes_Check(taking->tw_value)) {
        return tw_refuse(taking);
    }
    argument->tw_value.tw_p = PyBytes_AS_STRING(taking->tw_value);
    argument->tw_size = (long)PyBytes_GET_SIZE(taking->tw_value);
    return 0;
}

TW_STATIC int
tw_check_array(const struct tw_taking *taking, PyArrayObject *array)
{
    if (!PyArray_EquivTypenums(PyArray_TYPE(array), taking->tw_parameter->tw_dtype)) {
        PyErr_Format(PyExc_TypeError, "%s(): '%s' must be %s, not an array of %S",
                     taking->tw_function, taking->tw_parameter->tw_name,
                     taking->tw_parameter->tw_expected, (PyObject *)PyArray_DESCR(array));
        return -1;
    }
    if (!PyArray_ISNOTSWAPPED(array)) {
        return tw_refuse_array(taking, "one in the other byte order");
    }
    if (!PyArray_ISALIGNED(array)) {
        return tw_refuse_array(taking, "a misaligned one");
    }
    if (taking->tw_parameter->tw_writable && !PyArray_ISWRITEABLE(array)) {
        return tw_refuse_array(taking, "a read-only one: it was declared by one that C may write");
    }
    return 0;
}

TW_STATIC int
tw_check_dimensions(const struct tw_taking *taking, int dimensions)
{
    unsigned mask = taking->tw_parameter->tw_dimensions;
    int used = 1;
    if (mask == 0 || (dimensions <= 4 && (mask >> dimensions & 1) != 0)) {
        return 0;
    }
    while ((mask >> used & 1) == 0) {
        used++;
    }
    PyErr_Format(PyExc_ValueError, "%s(): '%s' has %d dimension%s, but the code indexes it with %d",
                 taking->tw_function, taking->tw_parameter->tw_name, dimensions,
                 dimensions == 1 ? "" : "s", used);
    return -1;
}

TW_STATIC int
tw_take_array(const struct tw_taking *taking)
{
    if (!PyArray_Check(taking->tw_value)) {
        return tw_refuse(taking);
    }
    PyArrayObject *array = (PyArrayObject *)taking->tw_value;
    if (tw_check_array(taking, array) < 0 || tw_check_dimensions(taking, PyArray_NDIM(array)) < 0) {
        return -1;
    }
    taking->tw_argument->tw_value.tw_p = PyArray_DATA(array);
    taking->tw_argument->tw_dims = PyArray_DIMS(array);
    taking->tw_argument->tw_strides = PyArray_STRIDES(array);
    taking->tw_argument->tw_size = PyArray_NDIM(array);
    return 0;
}

TW_STATIC int
tw_take(const struct tw_taking *taking)
{
    taking->tw_argument->tw_object = taking->tw_value;
    switch (taking->tw_parameter->tw_kind) {
    case TW_LONG:
        return tw_take_int(taking);
    case TW_BOOL:
        return tw_take_bool(taking);
    case TW_DOUBLE:
        return tw_take_double(taking);
    case TW_FLOAT:
        return tw_take_float(taking);
    case TW_COMPLEX:
        return tw_take_complex(taking);
    case TW_COMPLEXF:
        return tw_take_complexf(taking);
    case TW_STR:
        return tw_take_str(taking);
    case TW_ARRAY:
        return tw_take_array(taking);
    default:
        taking->tw_argument->tw_value.tw_p = taking->tw_value;
        return 0;
    }
}

/* ---- A call ---- */

TW_STATIC PyObject *
tw_finish(struct tw_call *call, const struct tw_function *function)
{
    if (PyErr_Occurred()) {
        Py_XDECREF(call->tw_result);
        return NULL;
    }
    if (!call->tw_set) {
        Py_RETURN_NONE;
    }
    if (call->tw_result == NULL) {
        PyErr_Format(PyExc_SystemError,
                     "%s(): return_val is a NULL PyObject *, and no exception is set",
                     function->tw_name);
    }
    return call->tw_result;
}

/* `values` has room for the parameters and local_dict, `arguments` for the parameters. */
TW_STATIC PyObject *
tw_run(const struct tw_function *function, PyObject *const *given, Py_ssize_t count,
       PyObject *keywords, PyObject **values, struct tw_argument *arguments)
{
    struct tw_call call = {NULL, 0};
    if (tw_bind(function, given, count, keywords, values) < 0) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < function->tw_count; i++) {
        struct tw_taking taking = {function->tw_name, &function->tw_parameters[i], values[i],
                                   &arguments[i]};
        if (tw_take(&taking) < 0) {
            return NULL;
        }
    }
    function->tw_code(&call, arguments);
    return tw_finish(&call, function);
}

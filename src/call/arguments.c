/* arguments.c: Python values -> what C sees of them. */
#include "arguments.h"

#define TINYWEAVE_IMPORTS_NUMPY
#include "numpy.h"
#include <numpy/ufuncobject.h>

#include "../state.h"

int
argument_import_numpy(struct state *state)
{
    import_array1(-1);
    import_umath1(-1);
    state->numpy_api = PyArray_API;
    state->numpy_ufunc_api = PyUFunc_API;
    state->numpy_runtime_version = PyArray_RUNTIME_VERSION;
    return 0;
}

static const char *const KIND_SIGNATURES[] = {
#define KIND(name, signature, c_type) [ARGUMENT_##name] = signature,
    ARGUMENT_KINDS(KIND)
#undef KIND
};

static const char *const KIND_C_TYPES[] = {
#define KIND(name, signature, c_type) [ARGUMENT_##name] = c_type,
    ARGUMENT_KINDS(KIND)
#undef KIND
};

static const char *
dtype_c_type(int type_number)
{
    switch (type_number) {
#define DTYPE(name, c_type)                                                                        \
    case NPY_##name:                                                                               \
        return c_type;
        ARGUMENT_DTYPES(DTYPE)
#undef DTYPE
    default:
        return NULL;
    }
}

const char *
argument_c_type(const struct argument_type *type)
{
    return type->kind == ARGUMENT_ARRAY ? dtype_c_type(type->dtype) : KIND_C_TYPES[type->kind];
}

const char *
argument_kind_name(const struct argument_type *type)
{
    return KIND_SIGNATURES[type->kind];
}

int
argument_kind_named(const char *signature)
{
    int count = (int)(sizeof(KIND_SIGNATURES) / sizeof(*KIND_SIGNATURES));
    for (int kind = 0; kind < count; kind++) {
        if (strcmp(KIND_SIGNATURES[kind], signature) == 0) {
            return kind;
        }
    }
    return -1;
}

void
argument_describe(const struct argument_type *type, struct buffer *text)
{
    buffer_append_string(text, KIND_SIGNATURES[type->kind]);
    if (type->kind == ARGUMENT_ARRAY) {
        buffer_printf(text, "%s %s", type->readonly ? " const" : "", dtype_c_type(type->dtype));
    }
}

size_t
argument_bytes(const struct argument *argument, const struct argument_type *type)
{
    if (type->kind != ARGUMENT_ARRAY) {
        return 0;
    }
    return (size_t)PyArray_NBYTES((PyArrayObject *)argument->object);
}

/* ---- Arrays ---- */

static int
refuse_array(PyArrayObject *array, PyObject *name, const char *function, const char *why)
{
    PyErr_Format(PyExc_TypeError, "%s(): '%U' is an array of dtype %S, %s", function, name,
                 PyArray_DESCR(array), why);
    return -1;
}

static int
take_array(PyArrayObject *array, PyObject *name, const char *function, struct argument *argument,
           struct argument_type *type)
{
    int dtype = PyArray_TYPE(array);
    if (dtype_c_type(dtype) == NULL) {
        return refuse_array(array, name, function,
                            "which C snippets cannot take: expected bool, an integer, float32, "
                            "float64, complex64 or complex128");
    }
    if (!PyArray_ISNOTSWAPPED(array)) {
        return refuse_array(array, name, function,
                            "in the other byte order: expected native, as from a.astype(a.dtype"
                            ".newbyteorder('='))");
    }
    if (!PyArray_ISALIGNED(array)) {
        return refuse_array(array, name, function,
                            "and not aligned: expected aligned, as from a.copy()");
    }
    *type =
        (struct argument_type){ARGUMENT_ARRAY, (unsigned char)dtype, !PyArray_ISWRITEABLE(array)};
    argument->value.p = PyArray_DATA(array);
    argument->dims = PyArray_DIMS(array);
    argument->strides = PyArray_STRIDES(array);
    argument->size = PyArray_NDIM(array);
    return 0;
}

/* ---- Scalars ---- */

static int
take_int(PyObject *value, PyObject *name, const char *function, struct argument *argument,
         struct argument_type *type)
{
    int overflow;
    argument->value.l = PyLong_AsLongAndOverflow(value, &overflow);
    type->kind = ARGUMENT_INT;
    if (overflow != 0) {
        PyErr_Format(PyExc_OverflowError, "%s(): '%U' does not fit C's long: expected %ld to %ld",
                     function, name, LONG_MIN, LONG_MAX);
        return -1;
    }
    return argument->value.l == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
take_string(PyObject *value, struct argument *argument, struct argument_type *type)
{
    argument->value.p = (void *)PyUnicode_AsUTF8AndSize(value, &argument->size);
    type->kind = ARGUMENT_STRING;
    return argument->value.p == NULL ? -1 : 0;
}

static void
take_bytes(PyObject *value, struct argument *argument, struct argument_type *type)
{
    argument->value.p = PyBytes_AS_STRING(value);
    argument->size = PyBytes_GET_SIZE(value);
    type->kind = ARGUMENT_STRING;
}

static void
take_complex(PyObject *value, struct argument *argument, struct argument_type *type)
{
    Py_complex number = PyComplex_AsCComplex(value);
    argument->value.complex_d[0] = number.real;
    argument->value.complex_d[1] = number.imag;
    type->kind = ARGUMENT_COMPLEX;
}

static int
refuse_scalar(PyObject *value, PyObject *name, const char *function)
{
    PyErr_Format(PyExc_TypeError,
                 "%s(): '%U' is a NumPy scalar of type %s, which C snippets cannot take", function,
                 name, Py_TYPE(value)->tp_name);
    return -1;
}

/* NumPy's integer scalars go through int, which knows their range. */
static int
take_numpy_integer(PyObject *value, PyObject *name, const char *function, struct argument *argument,
                   struct argument_type *type)
{
    PyObject *number = PyNumber_Index(value);
    int result = number == NULL ? -1 : take_int(number, name, function, argument, type);
    Py_XDECREF(number);
    return result;
}

/* Returns 1 for a scalar that Python's own types describe as well (str_, bytes_). */
static int
take_numpy_scalar(PyObject *value, PyObject *name, const char *function, struct argument *argument,
                  struct argument_type *type)
{
    if (PyArray_IsScalar(value, Bool)) {
        argument->value.i = PyArrayScalar_VAL(value, Bool) != 0;
        type->kind = ARGUMENT_BOOL;
    }
    else if (PyArray_IsScalar(value, Timedelta)) { /* which NumPy counts among the integers */
        return refuse_scalar(value, name, function);
    }
    else if (PyArray_IsScalar(value, Integer)) {
        return take_numpy_integer(value, name, function, argument, type);
    }
    else if (PyArray_IsScalar(value, Double)) {
        argument->value.d = PyArrayScalar_VAL(value, Double);
        type->kind = ARGUMENT_DOUBLE;
    }
    else if (PyArray_IsScalar(value, Float)) {
        argument->value.f = PyArrayScalar_VAL(value, Float);
        type->kind = ARGUMENT_FLOAT;
    }
    else if (PyArray_IsScalar(value, CDouble)) {
        take_complex(value, argument, type);
    }
    else if (PyArray_IsScalar(value, CFloat)) {
        npy_cfloat number = PyArrayScalar_VAL(value, CFloat);
        argument->value.complex_f[0] = npy_crealf(number);
        argument->value.complex_f[1] = npy_cimagf(number);
        type->kind = ARGUMENT_COMPLEX_FLOAT;
    }
    else if (PyArray_IsScalar(value, Unicode) || PyArray_IsScalar(value, String)) {
        return 1;
    }
    else {
        return refuse_scalar(value, name, function);
    }
    return 0;
}

/* Everything that the quick tests of argument_take did not settle. */
static int
take_other(PyObject *value, PyObject *name, const char *function, struct argument *argument,
           struct argument_type *type)
{
    if (PyArray_Check(value)) {
        return take_array((PyArrayObject *)value, name, function, argument, type);
    }
    if (PyArray_IsScalar(value, Generic)) {
        int result = take_numpy_scalar(value, name, function, argument, type);
        if (result <= 0) {
            return result;
        }
    }
    if (PyLong_Check(value)) {
        return take_int(value, name, function, argument, type);
    }
    if (PyUnicode_Check(value)) {
        return take_string(value, argument, type);
    }
    if (PyFloat_Check(value)) {
        argument->value.d = PyFloat_AS_DOUBLE(value);
        type->kind = ARGUMENT_DOUBLE;
    }
    else if (PyComplex_Check(value)) {
        take_complex(value, argument, type);
    }
    else if (PyBytes_Check(value)) {
        take_bytes(value, argument, type);
    }
    else {
        argument->value.p = value;
        type->kind = ARGUMENT_OBJECT;
    }
    return 0;
}

int
argument_take(PyObject *value, PyObject *name, const char *function, struct argument *argument,
              struct argument_type *type)
{
    argument->object = value;
    *type = (struct argument_type){0};
    if (PyFloat_CheckExact(value)) {
        argument->value.d = PyFloat_AS_DOUBLE(value);
        type->kind = ARGUMENT_DOUBLE;
        return 0;
    }
    if (PyLong_CheckExact(value)) {
        return take_int(value, name, function, argument, type);
    }
    if (PyArray_CheckExact(value)) {
        return take_array((PyArrayObject *)value, name, function, argument, type);
    }
    if (PyBool_Check(value)) {
        argument->value.i = value == Py_True;
        type->kind = ARGUMENT_BOOL;
        return 0;
    }
    return take_other(value, name, function, argument, type);
}

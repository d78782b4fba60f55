/* operand.c: a caller's values -> operands of array expressions. */
#include "operand.h"

#include <string.h>

#include "numpy.h"
#include <numpy/ufuncobject.h>

/* ---- Dtypes ---- */

/* numpy.record is NumPy's own; a class of the user's has methods. */
static bool
scalar_type_allowed(PyTypeObject *type)
{
    if (type == &PyVoidArrType_Type) {
        return true;
    }
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *record = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "record");
    bool allowed = (PyObject *)type == record;
    Py_XDECREF(numpy);
    Py_XDECREF(record);
    PyErr_Clear();
    return allowed;
}

static bool
fields_allowed(PyArray_Descr *dtype)
{
    PyObject *fields = PyDataType_FIELDS(dtype), *key, *field;
    Py_ssize_t position = 0;
    while (fields != NULL && PyDict_Next(fields, &position, &key, &field)) {
        if (!operand_dtype_allowed(PyTuple_GET_ITEM(field, 0))) {
            return false;
        }
    }
    return true;
}

/* The value that stands for a missing string may be any object. */
static bool
missing_allowed(PyArray_Descr *dtype)
{
    PyObject *missing = ((PyArray_StringDTypeObject *)dtype)->na_object;
    return missing == NULL || PyFloat_CheckExact(missing);
}

bool
operand_dtype_allowed(PyObject *object)
{
    PyArray_Descr *dtype = (PyArray_Descr *)object;
    if (dtype->type_num == NPY_VSTRING) {
        return missing_allowed(dtype);
    }
    if (dtype->type_num != NPY_VOID) {
        return !PyDataType_REFCHK(dtype);
    }
    const PyArray_ArrayDescr *inner = PyDataType_SUBARRAY(dtype);
    return scalar_type_allowed(dtype->typeobj) && fields_allowed(dtype) &&
           (inner == NULL || operand_dtype_allowed((PyObject *)inner->base));
}

/* ---- Messages ---- */

static PyObject *
refuse(PyObject *value, PyObject *name, const char *function)
{
    PyErr_Format(PyExc_TypeError,
                 "%s(): '%U' must be an array, a number, a string or a list of them%s, not %s",
                 function, name, PyCallable_Check(value) ? ", or a numpy.ufunc to be called" : "",
                 Py_TYPE(value)->tp_name);
    return NULL;
}

static PyObject *
refuse_objects(PyArray_Descr *dtype, PyObject *name, const char *function)
{
    PyErr_Format(PyExc_TypeError,
                 "%s(): '%U' has dtype %S, whose elements run Python code: expected numbers, "
                 "times or strings",
                 function, name, dtype);
    return NULL;
}

/* ---- Numbers and strings ---- */

bool
operand_integer_fits(PyObject *integer)
{
    int overflow;
    PyLong_AsLongLongAndOverflow(integer, &overflow);
    if (overflow > 0 && PyLong_AsUnsignedLongLong(integer) == (unsigned long long)-1 &&
        PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return overflow >= 0;
}

/* Takes the reference. */
static PyObject *
check_integer(PyObject *integer, PyObject *name, const char *function)
{
    if (integer != NULL && !operand_integer_fits(integer)) {
        PyErr_Format(PyExc_OverflowError,
                     "%s(): '%U' does not fit into 64 bits: expected an int from -2**63 to 2**64-1",
                     function, name);
        Py_CLEAR(integer);
    }
    return integer;
}

/* NULL without an exception where it is none of them. */
static PyObject *
take_python_scalar(PyObject *value, PyObject *name, const char *function)
{
    if (PyBool_Check(value)) {
        return Py_NewRef(value);
    }
    if (PyLong_Check(value)) { /* int's own "+x" makes a plain int of one of a subclass */
        return check_integer(PyLong_Type.tp_as_number->nb_positive(value), name, function);
    }
    if (PyFloat_Check(value)) {
        return PyFloat_FromDouble(PyFloat_AS_DOUBLE(value));
    }
    if (PyComplex_Check(value)) {
        return PyComplex_CheckExact(value)
                   ? Py_NewRef(value)
                   : PyComplex_FromCComplex(((PyComplexObject *)value)->cval);
    }
    if (PyUnicode_Check(value)) {
        return PyUnicode_FromObject(value);
    }
    if (PyBytes_Check(value)) {
        return PyBytes_CheckExact(value)
                   ? Py_NewRef(value)
                   : PyBytes_FromStringAndSize(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    }
    return NULL;
}

/* Whether NumPy knows the dtype of that class, which Python code derived from one of NumPy's, or another package
 * made for its own dtype. */
static bool
has_dtype(PyTypeObject *type)
{
    PyArray_Descr *dtype = PyType_IsSubtype(type, &PyVoidArrType_Type)
                               ? NULL
                               : PyArray_DescrFromTypeObject((PyObject *)type);
    bool known = dtype != NULL && dtype->type_num != NPY_OBJECT;
    Py_XDECREF(dtype);
    PyErr_Clear();
    return known;
}

/* By way of an array, whose elements are of a class of NumPy's. */
static PyObject *
take_derived_scalar(PyObject *value, PyObject *name, const char *function)
{
    if (!has_dtype(Py_TYPE(value))) {
        return refuse(value, name, function);
    }
    PyArrayObject *array = (PyArrayObject *)PyArray_FromScalar(value, NULL);
    PyObject *scalar = array == NULL ? NULL : PyArray_ToScalar(PyArray_DATA(array), array);
    Py_XDECREF(array);
    return scalar;
}

static PyObject *
take_numpy_scalar(PyObject *value, PyObject *name, const char *function)
{
    if (PyType_HasFeature(Py_TYPE(value), Py_TPFLAGS_HEAPTYPE)) {
        return take_derived_scalar(value, name, function);
    }
    if (PyArray_IsScalar(value, Void)) {
        PyArray_Descr *dtype = (PyArray_Descr *)((PyVoidScalarObject *)value)->descr;
        if (!operand_dtype_allowed((PyObject *)dtype)) {
            return refuse_objects(dtype, name, function);
        }
    }
    return Py_NewRef(value);
}

/* ---- Arrays ---- */

static PyObject *
take_array(PyArrayObject *array, PyObject *name, const char *function)
{
    if (!operand_dtype_allowed((PyObject *)PyArray_DESCR(array))) {
        return refuse_objects(PyArray_DESCR(array), name, function);
    }
    return PyArray_CheckExact(array) ? Py_NewRef((PyObject *)array)
                                     : PyArray_View(array, NULL, &PyArray_Type);
}

static PyObject *
take_list(PyObject *list, PyObject *name, const char *function)
{
    PyObject *array = PyArray_FROM_O(list);
    PyObject *operand = array == NULL ? NULL : take_array((PyArrayObject *)array, name, function);
    Py_XDECREF(array);
    return operand;
}

/* Everything that the quick tests of interpret_operand did not settle. */
static PyObject *
take_other(PyObject *value, PyObject *name, const char *function)
{
    if (PyArray_Check(value)) {
        return take_array((PyArrayObject *)value, name, function);
    }
    if (PyArray_IsScalar(value, Generic)) {
        return take_numpy_scalar(value, name, function);
    }
    PyObject *scalar = take_python_scalar(value, name, function);
    if (scalar != NULL || PyErr_Occurred()) {
        return scalar;
    }
    if (PyList_Check(value) || PyTuple_Check(value)) {
        return take_list(value, name, function);
    }
    return Py_IS_TYPE(value, &PyUFunc_Type) ? Py_NewRef(value) : refuse(value, name, function);
}

PyObject *
interpret_operand(struct state *Py_UNUSED(state), PyObject *value, PyObject *name,
                  const char *function)
{
    if (PyArray_CheckExact(value) && (PyTypeNum_ISNUMBER(PyArray_TYPE((PyArrayObject *)value)) ||
                                      PyTypeNum_ISBOOL(PyArray_TYPE((PyArrayObject *)value)))) {
        return Py_NewRef(value);
    }
    if (PyFloat_CheckExact(value)) {
        return Py_NewRef(value);
    }
    if (PyLong_CheckExact(value)) {
        return check_integer(Py_NewRef(value), name, function);
    }
    return take_other(value, name, function);
}

/* ---- Indexes ---- */

static PyObject *
take_slice_part(PyObject *part, PyObject *name, const char *function)
{
    return part == Py_None ? Py_NewRef(part) : interpret_operand(NULL, part, name, function);
}

static PyObject *
take_slice(PySliceObject *slice, PyObject *name, const char *function)
{
    PyObject *start = take_slice_part(slice->start, name, function);
    PyObject *stop = start == NULL ? NULL : take_slice_part(slice->stop, name, function);
    PyObject *step = stop == NULL ? NULL : take_slice_part(slice->step, name, function);
    PyObject *taken = step == NULL ? NULL : PySlice_New(start, stop, step);
    Py_XDECREF(start);
    Py_XDECREF(stop);
    Py_XDECREF(step);
    return taken;
}

/* As NumPy reads an index: an empty list has integers. */
static PyObject *
take_index_list(PyObject *list, PyObject *name, const char *function)
{
    PyObject *array = take_list(list, name, function);
    if (array != NULL && PyArray_SIZE((PyArrayObject *)array) == 0) {
        Py_SETREF(array, PyArray_Cast((PyArrayObject *)array, NPY_INTP));
    }
    return array;
}

/* All but a tuple with its own meaning. */
static PyObject *
take_index_part(PyObject *value, PyObject *name, const char *function)
{
    if (value == Py_None || value == Py_Ellipsis) {
        return Py_NewRef(value);
    }
    if (PySlice_Check(value)) {
        return take_slice((PySliceObject *)value, name, function);
    }
    if (PyList_Check(value) || PyTuple_Check(value)) {
        return take_index_list(value, name, function);
    }
    return interpret_operand(NULL, value, name, function);
}

PyObject *
interpret_index_operand(struct state *Py_UNUSED(state), PyObject *value, PyObject *name,
                        const char *function)
{
    if (!PyTuple_Check(value)) {
        return take_index_part(value, name, function);
    }
    Py_ssize_t count = PyTuple_GET_SIZE(value);
    PyObject *taken = PyTuple_New(count);
    for (Py_ssize_t i = 0; taken != NULL && i < count; i++) {
        PyObject *part = take_index_part(PyTuple_GET_ITEM(value, i), name, function);
        if (part == NULL) {
            Py_CLEAR(taken);
        }
        else {
            PyTuple_SET_ITEM(taken, i, part);
        }
    }
    return taken;
}

/* The first of a node's children that stands as an index does. */
static int
first_index_child(const struct formula_node *node)
{
    switch (node->kind) {
    case FORMULA_SUBSCRIPT:
        return 1;
    case FORMULA_SLICE:
    case FORMULA_TUPLE:
        return 0;
    case FORMULA_CALL:
        return node->child_count -
               (node->keywords == NULL ? 0 : (int)PyTuple_GET_SIZE(node->keywords));
    default:
        return node->child_count;
    }
}

void
interpret_index_names(const struct formula *formula, bool *flags)
{
    memset(flags, true, (size_t)PyTuple_GET_SIZE(formula->names) * sizeof(*flags));
    for (int i = 0; i < formula->node_count; i++) {
        const struct formula_node *node = &formula->nodes[i];
        int end = first_index_child(node);
        for (int c = 0; c < end; c++) {
            const struct formula_node *child = &formula->nodes[node->children[c]];
            if (child->kind == FORMULA_NAME) {
                flags[child->index] = false;
            }
        }
    }
    for (int i = 0; i < formula->statement_count; i++) {
        const struct formula_statement *statement = &formula->statements[i];
        const int roots[] = {statement->target, statement->value};
        for (int r = 0; r < 2; r++) {
            if (roots[r] >= 0 && formula->nodes[roots[r]].kind == FORMULA_NAME) {
                flags[formula->nodes[roots[r]].index] = false;
            }
        }
    }
}

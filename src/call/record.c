/* record.c: C's structs as NumPy's structured dtypes, and the variables of a Library. */
#include "record.h"

#include <stdio.h>
#include <string.h>

/* ---- dtypes ---- */

/* The dtype of one element of a field. A new reference. */
static PyArray_Descr *
element_dtype(const struct plan_field *field, PyObject *dtypes)
{
    if (plan_is_record(field->type)) {
        PyObject *dtype = PyTuple_GET_ITEM(dtypes, field->type - PLAN_RECORD);
        return (PyArray_Descr *)Py_NewRef(dtype);
    }
    PyArray_Descr *dtype = field->type == NPY_STRING ? PyArray_DescrNewFromType(NPY_STRING)
                                                     : PyArray_DescrFromType(field->type);
    if (dtype != NULL && field->type == NPY_STRING) {
        PyDataType_SET_ELSIZE(dtype, (npy_intp)field->itemsize);
    }
    return dtype;
}

static PyObject *
shape_tuple(const struct plan_field *field)
{
    PyObject *shape = PyTuple_New(field->dimensions);
    for (int i = 0; shape != NULL && i < field->dimensions; i++) {
        PyObject *length = PyLong_FromLongLong(field->shape[i]);
        if (length == NULL) {
            Py_CLEAR(shape);
            break;
        }
        PyTuple_SET_ITEM(shape, i, length);
    }
    return shape;
}

/* A field's format for numpy.dtype: (dtype, shape). */
static PyObject *
field_format(const struct plan_field *field, PyObject *dtypes)
{
    PyObject *shape = shape_tuple(field);
    PyArray_Descr *dtype = element_dtype(field, dtypes);
    PyObject *format = shape == NULL || dtype == NULL ? NULL : PyTuple_Pack(2, dtype, shape);
    Py_XDECREF(shape);
    Py_XDECREF(dtype);
    return format;
}

/* {"names": [...], "formats": [...], "offsets": [...], "itemsize": n} */
static PyObject *
describe_record(const struct plan_record *record, PyObject *dtypes)
{
    PyObject *names = PyList_New(0), *formats = PyList_New(0), *offsets = PyList_New(0);
    bool failed = names == NULL || formats == NULL || offsets == NULL;
    for (int i = 0; i < record->count && !failed; i++) {
        PyObject *name = PyUnicode_FromString(record->fields[i].name);
        PyObject *format = field_format(&record->fields[i], dtypes);
        PyObject *offset = PyLong_FromSize_t(record->fields[i].offset);
        failed = name == NULL || format == NULL || offset == NULL ||
                 PyList_Append(names, name) < 0 || PyList_Append(formats, format) < 0 ||
                 PyList_Append(offsets, offset) < 0;
        Py_XDECREF(name);
        Py_XDECREF(format);
        Py_XDECREF(offset);
    }
    PyObject *description =
        failed ? NULL
               : Py_BuildValue("{sOsOsOsn}", "names", names, "formats", formats, "offsets", offsets,
                               "itemsize", (Py_ssize_t)record->size);
    Py_XDECREF(names);
    Py_XDECREF(formats);
    Py_XDECREF(offsets);
    return description;
}

/* An aligned dtype where C's layout is the natural one; of a packed struct NumPy refuses that. */
static PyObject *
record_dtype(const struct plan_record *record, PyObject *dtypes)
{
    PyObject *description = describe_record(record, dtypes);
    PyArray_Descr *dtype = NULL;
    if (description != NULL && PyArray_DescrAlignConverter(description, &dtype) == NPY_FAIL &&
        PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        PyArray_DescrConverter(description, &dtype);
    }
    Py_XDECREF(description);
    return (PyObject *)dtype;
}

PyObject *
record_dtypes(const struct plans *plans)
{
    PyObject *dtypes = PyTuple_New((Py_ssize_t)plans->record_count);
    for (size_t i = 0; dtypes != NULL && i < plans->record_count; i++) {
        PyObject *dtype = record_dtype(&plans->records[i], dtypes); /* inner ones come first */
        if (dtype == NULL) {
            Py_CLEAR(dtypes);
            break;
        }
        PyTuple_SET_ITEM(dtypes, (Py_ssize_t)i, dtype);
    }
    return dtypes;
}

PyArray_Descr *
record_descr(const struct records *records, int type)
{
    return (PyArray_Descr *)Py_NewRef(PyTuple_GET_ITEM(records->dtypes, type - PLAN_RECORD));
}

PyObject *
record_scalar(PyObject *array)
{
    PyObject *scalar = array == NULL ? NULL
                                     : PyArray_ToScalar(PyArray_DATA((PyArrayObject *)array),
                                                        (PyArrayObject *)array);
    Py_XDECREF(array);
    return scalar;
}

/* ---- Arrays of records ---- */

static PyArray_Descr *
dtype_of(const struct records *records, int type)
{
    return (PyArray_Descr *)PyTuple_GET_ITEM(records->dtypes, type - PLAN_RECORD);
}

static PyObject *
fail(const struct conversion *to, PyObject *exception, PyArray_Descr *dtype, const char *got,
     PyObject *what)
{
    PyErr_Format(exception, "%s(): '%s' must be %s of dtype %S; got %s%S (%s)", to->function,
                 to->parameter, exception == PyExc_TypeError ? "an array" : "a writable array",
                 dtype, got, what, to->declaration);
    return NULL;
}

static PyObject *
fail_type(const struct conversion *to, PyArray_Descr *dtype, PyObject *value)
{
    if (PyArray_Check(value)) {
        return fail(to, PyExc_TypeError, dtype, "dtype ",
                    (PyObject *)PyArray_DESCR((PyArrayObject *)value));
    }
    PyObject *name = PyUnicode_FromString(Py_TYPE(value)->tp_name);
    if (name != NULL) {
        fail(to, PyExc_TypeError, dtype, "", name);
        Py_DECREF(name);
    }
    return NULL;
}

static PyObject *
array_on(PyArray_Descr *dtype, void *data, bool readonly, PyObject *owner)
{
    PyObject *array =
        PyArray_NewFromDescr(&PyArray_Type, (PyArray_Descr *)Py_NewRef(dtype), 0, NULL, NULL, data,
                             readonly ? 0 : NPY_ARRAY_WRITEABLE, NULL);
    if (array != NULL && PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(owner)) < 0) {
        Py_CLEAR(array);
    }
    return array;
}

/* A NumPy scalar is a view of the array it came from: its memory is used itself. */
static PyObject *
scalar_array(PyObject *scalar)
{
    PyVoidScalarObject *record = (PyVoidScalarObject *)scalar;
    return array_on((PyArray_Descr *)record->descr, record->obval,
                    (record->flags & NPY_ARRAY_WRITEABLE) == 0, scalar);
}

/* ---- Python's values into a record ---- */

static int fill_record(const struct conversion *to, const struct records *records, int type,
                       PyObject *value, char *memory);

static int
wrong_length(const struct conversion *to, Py_ssize_t given, Py_ssize_t expected, const char *what)
{
    PyErr_Format(PyExc_ValueError, "%s(): '%s' has %zd value%s for the %zd %s (%s)", to->function,
                 to->parameter, given, given == 1 ? "" : "s", expected, what, to->declaration);
    return -1;
}

static int
fill_text(const struct conversion *to, const struct plan_field *field, PyObject *value,
          char *memory)
{
    Py_ssize_t length;
    const char *text = convert_string(to, value);
    if (text == NULL) {
        return -1;
    }
    length = PyBytes_Check(value) ? PyBytes_GET_SIZE(value) : (Py_ssize_t)strlen(text);
    if ((size_t)length > field->itemsize) {
        return wrong_length(to, length, (Py_ssize_t)field->itemsize, "bytes there is room for");
    }
    memset(memory, 0, field->itemsize);
    memcpy(memory, text, (size_t)length);
    return 0;
}

static int
fill_elements(const struct conversion *to, const struct records *records,
              const struct plan_field *field, int axis, PyObject *value, char *memory)
{
    if (axis == field->dimensions) {
        double slot[2];
        if (plan_is_record(field->type)) {
            return fill_record(to, records, field->type, value, memory);
        }
        if (field->type == NPY_STRING) {
            return fill_text(to, field, value, memory);
        }
        if (convert_number(to, value, slot) < 0) {
            return -1;
        }
        memcpy(memory, slot, number_size(field->type));
        return 0;
    }
    PyArray_Descr *dtype = element_dtype(field, records->dtypes);
    PyObject *items = dtype == NULL ? NULL : PySequence_Fast(value, "");
    npy_intp size = dtype == NULL ? 0 : PyDataType_ELSIZE(dtype);
    Py_XDECREF(dtype);
    if (items == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError, "%s(): '%s' needs a sequence for '%s', not %.100s (%s)",
                         to->function, to->parameter, field->name, Py_TYPE(value)->tp_name,
                         to->declaration);
        }
        return -1;
    }
    for (int i = axis + 1; i < field->dimensions; i++) {
        size *= field->shape[i];
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    int result = count == field->shape[axis]
                     ? 0
                     : wrong_length(to, count, (Py_ssize_t)field->shape[axis], field->name);
    for (Py_ssize_t i = 0; i < count && result == 0; i++) {
        result = fill_elements(to, records, field, axis + 1, PySequence_Fast_GET_ITEM(items, i),
                               memory + i * size);
    }
    Py_DECREF(items);
    return result;
}

static int
fill_record(const struct conversion *to, const struct records *records, int type, PyObject *value,
            char *memory)
{
    const struct plan_record *record = &records->items[type - PLAN_RECORD];
    if (!PyTuple_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s(): '%s' needs a tuple for a %s, not %.100s (%s)",
                     to->function, to->parameter, record->name, Py_TYPE(value)->tp_name,
                     to->declaration);
        return -1;
    }
    if (PyTuple_GET_SIZE(value) != record->count) {
        return wrong_length(to, PyTuple_GET_SIZE(value), record->count, "members");
    }
    for (int i = 0; i < record->count; i++) {
        struct conversion member = *to;
        char name[120];
        snprintf(name, sizeof(name), "%s.%s", to->parameter, record->fields[i].name);
        member.parameter = name;
        member.type = record->fields[i].type;
        if (fill_elements(&member, records, &record->fields[i], 0, PyTuple_GET_ITEM(value, i),
                          memory + record->fields[i].offset) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A tuple is one record; a list, records along an axis. */
static PyObject *
fill_array(const struct conversion *to, const struct records *records, int type, PyObject *value)
{
    bool one = PyTuple_Check(value);
    npy_intp count = one ? 1 : PyList_GET_SIZE(value);
    PyArray_Descr *dtype = dtype_of(records, type);
    npy_intp size = PyDataType_ELSIZE(dtype);
    PyObject *array = PyArray_Zeros(one ? 0 : 1, &count, (PyArray_Descr *)Py_NewRef(dtype), 0);
    for (npy_intp i = 0; array != NULL && i < count; i++) {
        PyObject *item = one                          ? value
                         : i < PyList_GET_SIZE(value) ? PyList_GET_ITEM(value, i)
                                                      : NULL;
        char *memory = PyArray_BYTES((PyArrayObject *)array) + i * size;
        if (item == NULL) {
            break; /* the list shrank meanwhile */
        }
        Py_INCREF(item);
        bool same = PyArray_IsScalar(item, Void) &&
                    PyArray_EquivTypes((PyArray_Descr *)((PyVoidScalarObject *)item)->descr, dtype);
        int result = same ? 0 : fill_record(to, records, type, item, memory);
        if (same) {
            memcpy(memory, ((PyVoidScalarObject *)item)->obval, (size_t)size);
        }
        Py_DECREF(item);
        if (result < 0) {
            Py_CLEAR(array);
        }
    }
    return array;
}

/* ---- The conversions ---- */

static bool
same_names(PyArray_Descr *dtype, PyArray_Descr *other)
{
    PyObject *names = PyDataType_NAMES(dtype), *others = PyDataType_NAMES(other);
    return names != NULL && others != NULL && PyObject_RichCompareBool(names, others, Py_EQ) == 1;
}

static PyObject *
convert_records(const struct conversion *to, PyArray_Descr *dtype, PyObject *array)
{
    PyArray_Descr *own = PyArray_DESCR((PyArrayObject *)array);
    bool fits = PyArray_EquivTypes(own, dtype) ||
                (same_names(own, dtype) && PyArray_CanCastTypeTo(own, dtype, NPY_SAFE_CASTING));
    if (!fits) {
        return PyErr_Occurred() ? NULL : fail_type(to, dtype, array);
    }
    return PyArray_FromArray((PyArrayObject *)array, (PyArray_Descr *)Py_NewRef(dtype),
                             NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSUREARRAY | NPY_ARRAY_FORCECAST);
}

PyObject *
record_array(const struct conversion *to, const struct records *records, int type, PyObject *value)
{
    PyArray_Descr *dtype = dtype_of(records, type);
    if (PyArray_IsScalar(value, Void)) {
        PyObject *array = scalar_array(value);
        PyObject *result = array == NULL ? NULL : convert_records(to, dtype, array);
        Py_XDECREF(array);
        return result;
    }
    if (PyArray_Check(value)) {
        return convert_records(to, dtype, value);
    }
    return PyTuple_Check(value) || PyList_Check(value) ? fill_array(to, records, type, value)
                                                       : fail_type(to, dtype, value);
}

static PyObject *
write_array(const struct conversion *to, PyArray_Descr *dtype, PyArrayObject *array)
{
    if (!PyArray_EquivTypes(PyArray_DESCR(array), dtype)) {
        return fail_type(to, dtype, (PyObject *)array);
    }
    if (!PyArray_ISWRITEABLE(array)) {
        PyErr_Format(PyExc_ValueError, "%s(): '%s' is read-only, but is written to (%s)",
                     to->function, to->parameter, to->declaration);
        return NULL;
    }
    if (PyArray_CHKFLAGS(array, NPY_ARRAY_CARRAY)) {
        return Py_NewRef((PyObject *)array);
    }
    return PyArray_FromArray(array, (PyArray_Descr *)Py_NewRef(dtype),
                             NPY_ARRAY_CARRAY | NPY_ARRAY_WRITEBACKIFCOPY | NPY_ARRAY_ENSUREARRAY);
}

PyObject *
record_inout(const struct conversion *to, const struct records *records, int type, PyObject *value)
{
    PyArray_Descr *dtype = dtype_of(records, type);
    if (PyArray_IsScalar(value, Void)) {
        PyObject *array = scalar_array(value);
        PyObject *result = array == NULL ? NULL : write_array(to, dtype, (PyArrayObject *)array);
        Py_XDECREF(array);
        return result;
    }
    return PyArray_Check(value) ? write_array(to, dtype, (PyArrayObject *)value)
                                : fail_type(to, dtype, value);
}

PyObject *
record_view(const struct records *records, int type, void *data, int readonly, PyObject *owner)
{
    return record_scalar(array_on(dtype_of(records, type), data, readonly, owner));
}

/* ---- Variables ---- */

static PyObject *
variable_array(const struct plan_variable *variable, const struct records *records, void *data,
               PyObject *owner)
{
    npy_intp shape[NPY_MAXDIMS];
    const struct plan_field *field = &variable->field;
    for (int i = 0; i < field->dimensions; i++) {
        shape[i] = (npy_intp)field->shape[i];
    }
    PyArray_Descr *dtype = element_dtype(field, records->dtypes);
    PyObject *array =
        dtype == NULL
            ? NULL
            : PyArray_NewFromDescr(&PyArray_Type, dtype, field->dimensions, shape, NULL, data,
                                   variable->readonly ? 0 : NPY_ARRAY_WRITEABLE, NULL);
    if (array != NULL && PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(owner)) < 0) {
        Py_CLEAR(array);
    }
    return array;
}

PyObject *
variable_get(const struct plan_variable *variable, const struct records *records, void *data,
             PyObject *owner)
{
    const struct plan_field *field = &variable->field;
    if (variable->kind == VARIABLE_ADDRESS) {
        return PyLong_FromVoidPtr(*(void **)data);
    }
    if (variable->kind == VARIABLE_TEXT) {
        const char *text = *(const char **)data;
        return text == NULL ? Py_NewRef(Py_None)
                            : PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), NULL);
    }
    if (field->dimensions > 0) {
        return variable_array(variable, records, data, owner);
    }
    if (plan_is_record(field->type)) {
        return record_view(records, field->type, data, variable->readonly, owner);
    }
    return field->type == NPY_STRING
               ? PyBytes_FromStringAndSize(data, (Py_ssize_t)strnlen(data, field->itemsize))
               : number_object(field->type, data);
}

static int
set_number(const struct conversion *to, void *data, PyObject *value)
{
    double slot[2];
    if (convert_number(to, value, slot) < 0) {
        return -1;
    }
    memcpy(data, slot, number_size(to->type));
    return 0;
}

/* Texts for an array of char, none longer than its room: NumPy would cut them. */
static PyObject *
texts_array(const struct conversion *to, const struct plan_field *field, PyObject *value)
{
    PyObject *array = PyArray_FromAny(value, NULL, 0, 0, NPY_ARRAY_ENSUREARRAY, NULL);
    if (array == NULL) {
        return NULL;
    }
    PyArray_Descr *dtype = PyArray_DESCR((PyArrayObject *)array);
    npy_intp length = PyDataType_ELSIZE(dtype);
    bool unicode = dtype->type_num == NPY_UNICODE;
    length /= unicode ? (npy_intp)sizeof(npy_ucs4) : 1;
    if (!unicode && dtype->type_num != NPY_STRING) {
        PyErr_Format(PyExc_TypeError, "%s(): '%s' must be str or bytes, not of dtype %S (%s)",
                     to->function, to->parameter, dtype, to->declaration);
        Py_CLEAR(array);
    }
    else if ((size_t)length > field->itemsize) {
        wrong_length(to, length, (Py_ssize_t)field->itemsize, "bytes there is room for");
        Py_CLEAR(array);
    }
    return array;
}

static int
wrong_variable_shape(const struct conversion *to, PyArrayObject *given, PyArrayObject *wanted)
{
    PyObject *shape = PyArray_IntTupleFromIntp(PyArray_NDIM(given), PyArray_SHAPE(given));
    PyObject *expected = PyArray_IntTupleFromIntp(PyArray_NDIM(wanted), PyArray_SHAPE(wanted));
    if (shape != NULL && expected != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%s(): '%s' has shape %R, which does not broadcast to %R (%s)", to->function,
                     to->parameter, shape, expected, to->declaration);
    }
    Py_XDECREF(shape);
    Py_XDECREF(expected);
    return -1;
}

/* Whether NumPy broadcasts the one shape to the other. */
static bool
broadcasts(PyArrayObject *array, PyArrayObject *to)
{
    int more = PyArray_NDIM(array) - PyArray_NDIM(to);
    bool fits = true;
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp length = PyArray_DIM(array, i);
        fits &= length == 1 || (i >= more && length == PyArray_DIM(to, i - more));
    }
    return fits;
}

/* An array of the right dtype, or one that broadcasts, into the variable's memory. */
static int
set_array(const struct plan_variable *variable, const struct records *records,
          const struct conversion *to, void *data, PyObject *owner, PyObject *value)
{
    PyObject *target = variable_array(variable, records, data, owner);
    bool record = plan_is_record(variable->field.type);
    bool text = variable->field.type == NPY_STRING;
    PyArrayObject *source =
        (PyArrayObject *)(target == NULL ? NULL
                          : record       ? record_array(to, records, variable->field.type, value)
                          : text         ? texts_array(to, &variable->field, value)
                                         : convert_array(to, value));
    int result = -1;
    if (source != NULL && !broadcasts(source, (PyArrayObject *)target)) {
        wrong_variable_shape(to, source, (PyArrayObject *)target);
    }
    else if (source != NULL) {
        result = PyArray_CopyInto((PyArrayObject *)target, source);
    }
    Py_XDECREF(source);
    Py_XDECREF(target);
    return result;
}

int
variable_set(const struct plan_variable *variable, const struct records *records, void *data,
             PyObject *owner, PyObject *value)
{
    const struct plan_field *field = &variable->field;
    struct conversion to = {"library", variable->name, variable->declaration, field->type};
    if (value == NULL || variable->readonly) {
        PyErr_Format(PyExc_AttributeError, "the variable '%s' %s (%s)", variable->name,
                     value == NULL ? "cannot be deleted" : "is const", variable->declaration);
        return -1;
    }
    if (variable->kind == VARIABLE_ADDRESS) {
        to.type = NPY_ULONG;
        return value == Py_None ? (*(void **)data = NULL, 0) : set_number(&to, data, value);
    }
    if (field->dimensions > 0) {
        return set_array(variable, records, &to, data, owner, value);
    }
    if (field->type == NPY_STRING) {
        return fill_text(&to, field, value, data);
    }
    if (!plan_is_record(field->type)) {
        return set_number(&to, data, value);
    }
    PyObject *record = record_array(&to, records, field->type, value);
    PyArray_Descr *dtype = dtype_of(records, field->type);
    if (record != NULL && PyArray_SIZE((PyArrayObject *)record) != 1) {
        Py_CLEAR(record);
        fail_type(&to, dtype, value);
    }
    if (record == NULL) {
        return -1;
    }
    memcpy(data, PyArray_DATA((PyArrayObject *)record), (size_t)PyDataType_ELSIZE(dtype));
    Py_DECREF(record);
    return 0;
}

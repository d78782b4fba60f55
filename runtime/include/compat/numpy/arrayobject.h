/* numpy/arrayobject.h: in front of NumPy's own, for C sources of the Python 2 age.
 *
 * a->data, a->nd, a->dimensions, a->strides, a->descr->type_num, elsize ... are members as they were. PyArray_DOUBLE
 * and its kin are NPY_DOUBLE ..., NPY_CONTIGUOUS and its kin NPY_ARRAY_C_CONTIGUOUS .... PyArray_FromDims,
 * PyArray_FromDimsAndData and PyArray_FromDimsAndDataAndDescr take C ints, as in Numeric, or npy_intp.
 * The members a->dimensions and a->strides are npy_intp, not int.
 */
#ifndef TINYWEAVE_COMPAT_ARRAYOBJECT_H
#define TINYWEAVE_COMPAT_ARRAYOBJECT_H

#include <Python.h>

#ifndef NPY_TARGET_VERSION
#define NPY_TARGET_VERSION 0x00000012 /* NumPy 2.0: PyArray_Descr has its members */
#endif
#include_next <numpy/arrayobject.h>

/* ---- names of types ---- */

#define PyArray_BOOL NPY_BOOL
#define PyArray_CHAR NPY_STRING
#define PyArray_BYTE NPY_BYTE
#define PyArray_SBYTE NPY_BYTE
#define PyArray_UBYTE NPY_UBYTE
#define PyArray_SHORT NPY_SHORT
#define PyArray_USHORT NPY_USHORT
#define PyArray_INT NPY_INT
#define PyArray_UINT NPY_UINT
#define PyArray_LONG NPY_LONG
#define PyArray_ULONG NPY_ULONG
#define PyArray_LONGLONG NPY_LONGLONG
#define PyArray_ULONGLONG NPY_ULONGLONG
#define PyArray_FLOAT NPY_FLOAT
#define PyArray_DOUBLE NPY_DOUBLE
#define PyArray_LONGDOUBLE NPY_LONGDOUBLE
#define PyArray_CFLOAT NPY_CFLOAT
#define PyArray_CDOUBLE NPY_CDOUBLE
#define PyArray_OBJECT NPY_OBJECT
#define PyArray_STRING NPY_STRING
#define PyArray_UNICODE NPY_UNICODE
#define PyArray_VOID NPY_VOID
#define PyArray_NTYPES NPY_NTYPES_LEGACY
#define PyArray_NOTYPE NPY_NOTYPE
#define PyArray_INTP NPY_INTP
#define PyArray_UINTP NPY_UINTP
#define PyArray_INT8 NPY_INT8
#define PyArray_UINT8 NPY_UINT8
#define PyArray_INT16 NPY_INT16
#define PyArray_UINT16 NPY_UINT16
#define PyArray_INT32 NPY_INT32
#define PyArray_UINT32 NPY_UINT32
#define PyArray_INT64 NPY_INT64
#define PyArray_UINT64 NPY_UINT64
#define PyArray_FLOAT32 NPY_FLOAT32
#define PyArray_FLOAT64 NPY_FLOAT64
#define PyArray_COMPLEX64 NPY_COMPLEX64
#define PyArray_COMPLEX128 NPY_COMPLEX128

/* ---- flags ---- */

#define CONTIGUOUS NPY_ARRAY_C_CONTIGUOUS
#define C_CONTIGUOUS NPY_ARRAY_C_CONTIGUOUS
#define F_CONTIGUOUS NPY_ARRAY_F_CONTIGUOUS
#define OWN_DATA NPY_ARRAY_OWNDATA
#define OWNDATA NPY_ARRAY_OWNDATA
#define OWN_DIMENSIONS 0
#define OWN_STRIDES 0
#define SAVESPACE 0
#define NPY_CONTIGUOUS NPY_ARRAY_C_CONTIGUOUS
#define NPY_C_CONTIGUOUS NPY_ARRAY_C_CONTIGUOUS
#define NPY_F_CONTIGUOUS NPY_ARRAY_F_CONTIGUOUS
#define NPY_OWNDATA NPY_ARRAY_OWNDATA
#define NPY_FORCECAST NPY_ARRAY_FORCECAST
#define NPY_ENSURECOPY NPY_ARRAY_ENSURECOPY
#define NPY_ENSUREARRAY NPY_ARRAY_ENSUREARRAY
#define NPY_ALIGNED NPY_ARRAY_ALIGNED
#define NPY_NOTSWAPPED NPY_ARRAY_NOTSWAPPED
#define NPY_WRITEABLE NPY_ARRAY_WRITEABLE
#define NPY_BEHAVED NPY_ARRAY_BEHAVED
#define NPY_CARRAY NPY_ARRAY_CARRAY
#define NPY_CARRAY_RO NPY_ARRAY_CARRAY_RO
#define NPY_FARRAY NPY_ARRAY_FARRAY
#define NPY_DEFAULT NPY_ARRAY_DEFAULT
#define NPY_IN_ARRAY NPY_ARRAY_IN_ARRAY
#define NPY_OUT_ARRAY NPY_ARRAY_OUT_ARRAY
#define NPY_INOUT_ARRAY NPY_ARRAY_INOUT_ARRAY
#define MAX_DIMS NPY_MAXDIMS

/* ---- arrays by their dimensions ---- */

static inline PyObject *
tw_from_intps(int count, const void *dimensions, PyArray_Descr *descr, char *data)
{
    if (descr == NULL) {
        return NULL;
    }
    PyObject *array =
        PyArray_NewFromDescr(&PyArray_Type, descr, count, (npy_intp const *)dimensions, NULL, data,
                             data == NULL ? 0 : NPY_ARRAY_CARRAY, NULL);
    if (array != NULL && data == NULL) { /* as Numeric did */
        memset(PyArray_DATA((PyArrayObject *)array), 0, PyArray_NBYTES((PyArrayObject *)array));
    }
    return array;
}

static inline PyObject *
tw_from_ints(int count, const void *dimensions, PyArray_Descr *descr, char *data)
{
    npy_intp sizes[NPY_MAXDIMS];
    if (count < 0 || count > NPY_MAXDIMS) {
        Py_XDECREF(descr);
        PyErr_SetString(PyExc_ValueError, "the number of dimensions is out of range");
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        sizes[i] = ((const int *)dimensions)[i];
    }
    return tw_from_intps(count, sizes, descr, data);
}

#define TW_FROM_DIMS(count, dimensions, descr, data)                                               \
    _Generic((dimensions), npy_intp *: tw_from_intps, const npy_intp *: tw_from_intps,             \
        default: tw_from_ints)((count), (const void *)(dimensions), (descr), (char *)(data))
#define PyArray_FromDims(count, dimensions, type)                                                  \
    TW_FROM_DIMS(count, dimensions, PyArray_DescrFromType(type), NULL)
#define PyArray_FromDimsAndData(count, dimensions, type, data)                                     \
    TW_FROM_DIMS(count, dimensions, PyArray_DescrFromType(type), data)
#define PyArray_FromDimsAndDataAndDescr(count, dimensions, descr, data)                            \
    TW_FROM_DIMS(count, dimensions, descr, data)

#endif

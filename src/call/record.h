/* record.h: C's structs as NumPy's structured dtypes, and the variables of a Library. */
#ifndef TINYWEAVE_CALL_RECORD_H
#define TINYWEAVE_CALL_RECORD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../frontend/plan.h"
#include "conversion.h"
#include "numpy.h"

/* The dtypes of all records of the plans: a tuple, with the fields' names, offsets and padding as C has them.
 * Returns a new reference, or NULL with an exception. */
PyObject *record_dtypes(const struct plans *plans);

/* Where records come from. */
struct records {
    const struct plan_record *items;
    PyObject *dtypes; /* a tuple */
};

/* The dtype of a record. A new reference. */
PyArray_Descr *record_descr(const struct records *records, int type);

/* Of an array with no dimensions: the NumPy scalar, which is a view of it. Takes the reference; NULL stays NULL. */
PyObject *record_scalar(PyObject *array);

/* What C reads as an array of records: an ndarray or a NumPy scalar of that dtype, or of one with the same names
 * whose fields cast safely; a tuple, one record; a list of them. `type` is the record's. Returns a new
 * reference to a C-contiguous aligned array, which may share memory with `value`; or NULL with TypeError or
 * OverflowError. */
PyObject *record_array(const struct conversion *to, const struct records *records, int type,
                       PyObject *value);

/* What C writes to: an ndarray or a NumPy scalar of just that dtype. As convert_inout. */
PyObject *record_inout(const struct conversion *to, const struct records *records, int type,
                       PyObject *value);

/* A NumPy scalar, or for several an array, that is the memory at `data`; `owner` is kept. Returns a new
 * reference, or NULL with an exception. */
PyObject *record_view(const struct records *records, int type, void *data, int readonly,
                      PyObject *owner);

/* A variable's value: a number, str, bytes, an address; an array or a record is the variable's own memory, which
 * keeps `owner`. NULL with an exception. */
PyObject *variable_get(const struct plan_variable *variable, const struct records *records,
                       void *data, PyObject *owner);

/* Stores a value: numbers as convert_number takes them, arrays broadcast. Returns 0, or -1 with an exception
 * (AttributeError for what is const). */
int variable_set(const struct plan_variable *variable, const struct records *records, void *data,
                 PyObject *owner, PyObject *value);

#endif

/* conversion.h: Python values -> C numbers and arrays of one dtype, and back.
 *
 * The rules: integers convert to any integer type that holds every value, else OverflowError; integers and
 * floats to floats (which may round); anything real to complex; bool to any number; all else is a
 * TypeError. Nothing wraps. A type is NumPy's number of it, NPY_BOOL to NPY_CDOUBLE but for NPY_LONGDOUBLE.
 */
#ifndef TINYWEAVE_CONVERSION_H
#define TINYWEAVE_CONVERSION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* What a message says of the parameter: "smooth(): 'a' ... (double a[m][n])". */
struct conversion {
    const char *function;    /* UTF-8 */
    const char *parameter;   /* UTF-8 */
    const char *declaration; /* the parameter in C, UTF-8 */
    int type;                /* NPY_... number of what C wants */
};

/* Writes a number at `slot`, which has room for a double complex: as C's type of that size. Returns 0, or -1
 * with TypeError (a float for an integer, a complex number for a real one, a str, float16, longdouble, an
 * array that is not 0-d; for NPY_BOOL anything but a bool) or OverflowError (an integer out of range, an int
 * too large for a float, a finite float that float32 cannot hold). */
int convert_number(const struct conversion *to, PyObject *value, void *slot);

/* The number at `slot` as a Python bool, int, float or complex. NULL with an exception. */
PyObject *number_object(int type, const void *slot);

/* The bytes of a number in C; the value of an integer, a larger one wrapped. */
size_t number_size(int type);
long long number_integer(int type, const void *slot);

/* Anything array-like as an ndarray of that dtype, C-contiguous, aligned, in native byte order; bytes too, for
 * a type of one byte. It may be read-only, or share memory with `value`. No warning is given, whatever
 * np.errstate is. Returns a new reference, to `value` itself where that is right already; or NULL with
 * TypeError, OverflowError or what NumPy raises for it (ragged lists). */
PyObject *convert_array(const struct conversion *to, PyObject *value);

/* An ndarray that C writes to. Returns a new reference: to `value` itself, or to a copy of it
 * (NPY_ARRAY_WRITEBACKIFCOPY) when it is not contiguous, aligned or native; array_write_back is then owed,
 * also for `value` itself, where it does nothing. Until then a copied `value` is read-only, as NumPy has it. NULL with a TypeError for what is no ndarray or has another
 * dtype, ValueError for a read-only one. */
PyObject *convert_inout(const struct conversion *to, PyObject *value);

/* Ends the use of what convert_inout returned, and gives its reference back. `keep`: what C wrote goes to the
 * user's array; else it is dropped. May be called with an exception set, which stays. Returns 0, or -1 with
 * an exception. */
int array_write_back(PyObject *array, int keep);

/* The dtype that T stands for, given all values bound to it: NumPy's result_type, Python's own numbers weak.
 * `letters` are dtype characters ("fdFD") in the list's order: the result itself if it is there, else the
 * first that it casts to safely. `l` and `q` count as one type. Values may be anything array-like. Returns its
 * type number (the list's, where `l` and `q` differ in name only), or -1 with a TypeError that names the
 * function, the dtype and the list, or what NumPy raises for a value. `count` is at least 1. */
int convert_common_type(const char *function, PyObject *const *values, Py_ssize_t count,
                        const char *letters);

/* For two ndarrays. 1: they share an element; 0: they do not; -1 with an exception. Exact, but for arrays too
 * hard to tell, which count as sharing. */
int arrays_overlap(PyObject *a, PyObject *b);

/* str (as UTF-8, without NUL; kept by the object) or bytes: its characters. NULL with TypeError, or
 * ValueError for a str with a NUL. */
const char *convert_string(const struct conversion *to, PyObject *value);

/* void *: the memory of an object with a buffer (writable unless `readonly`; contiguous), an int address (no
 * bool, and no scalar of NumPy), or None for NULL. `view` is then to be released if view->obj is set. Returns 0, or -1 with TypeError,
 * BufferError or OverflowError. */
int convert_pointer(const struct conversion *to, PyObject *value, int readonly, Py_buffer *view,
                    void **pointer);

/* Whether an array's dtype is that number's: same kind and size, whatever its name (long and long long) and
 * byte order. */
int same_type(int type, int other);

#endif

/* blocks.c: the block primitives of every level, and the floating-point status, for tests through ctypes.PyDLL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fenv.h>
#include <stdint.h>
#include <string.h>

#include "../../runtime/blocks.h"
#include "../../runtime/fpstatus.h"
#include "../../runtime/vectormath.h"

typedef void operation(long, void *, const void *, const void *, const void *, const void *);
typedef void gathering(long, void *, const void *, long);
typedef void scattering(long, void *, long, const void *);

/* [(name, address)] of a level; None when the processor lacks it. */
PyObject *
blocks_list(const char *level)
{
    size_t count;
    blocks_init();
    const struct block_primitive *table = blocks_table(level, &count);
    if (table == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; i < count; i++) {
        PyList_SetItem(
            list, (Py_ssize_t)i,
            Py_BuildValue("sK", table[i].name, (unsigned long long)(uintptr_t)table[i].address));
    }
    return list;
}

/* Each returns the flags that were raised. */
int
blocks_run(const void *address, long count, void *out, const void *x, const void *y, const void *z,
           const void *last)
{
    fp_status_clear();
    ((operation *)address)(count, out, x, y, z, last);
    return fp_status_get();
}

int
blocks_gather(const void *address, long count, void *out, const void *in, long stride)
{
    fp_status_clear();
    ((gathering *)address)(count, out, in, stride);
    return fp_status_get();
}

int
blocks_scatter(const void *address, long count, void *out, long stride, const void *in)
{
    fp_status_clear();
    ((scattering *)address)(count, out, stride, in);
    return fp_status_get();
}

/* (operand count, ulp, address), or None. */
PyObject *
vectormath_entry(const char *level, const char *name, const char *type)
{
    blocks_init();
    const struct vector_function *found = vectormath_find_level(level, name, type);
    if (found == NULL) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("idK", found->operand_count, found->ulp,
                         (unsigned long long)(uintptr_t)found->function);
}

/* NumPy's flags after the exception was raised in long double's unit (or in SSE's), and after clearing: a number of
 * two digits, base 16. */
int
fpstatus_check(int exception, int long_double)
{
    const volatile long double large = 1e4900L, zero = 0, one = 1, negative = -1;
    volatile long double result;
    feclearexcept(FE_ALL_EXCEPT);
    if (!long_double) {
        feraiseexcept(exception);
    }
    else if (exception == FE_OVERFLOW) {
        result = large * large;
    }
    else if (exception == FE_UNDERFLOW) {
        result = one / large / large;
    }
    else if (exception == FE_DIVBYZERO) {
        result = one / zero;
    }
    else {
        result = __builtin_sqrtl(negative);
    }
    (void)result;
    const int raised = fp_status_get();
    fp_status_clear();
    return raised << 4 | fp_status_get();
}

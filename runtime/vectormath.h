/* vectormath.h: math="fast": functions on blocks by the C library's vector functions (libmvec), within some ulp.
 *
 * libmvec is opened at first need. Where it lacks a function, or there is no libmvec, vectormath_find returns NULL
 * and NumPy's own loop is to be used. Results that are infinite, NaN, subnormal or zero are the C library's scalar
 * function's, so special values are as exact as there, and only what they raise is raised.
 */
#ifndef TINYWEAVE_VECTORMATH_H
#define TINYWEAVE_VECTORMATH_H

#include <stddef.h>

/* `out` may be the same block as x or y. A function of one operand ignores y. */
typedef void vectormath_function(long count, void *out, const void *x, const void *y);

struct vector_function {
    const char *name; /* the ufunc's: "arcsin", "power" */
    const char *type; /* "f4" or "f8" */
    int operand_count;
    double ulp; /* the most that a result is off */
    vectormath_function *function;
    const char *symbol; /* libmvec's */
    void **address;     /* where the symbol's address goes; NULL in there when libmvec lacks it */
};

/* The function at the level of blocks_level(), or NULL. The GIL is held, until a function is found; it may be called
 * without it. */
const struct vector_function *vectormath_find(const char *name, const char *type);

/* The same at any level that the processor runs, for tests. */
const struct vector_function *vectormath_find_level(const char *level, const char *name,
                                                    const char *type);

#endif

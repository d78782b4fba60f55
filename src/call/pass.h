/* pass.h: one pass of a variant's kernel over the arrays at hand. */
#ifndef TINYWEAVE_PASS_H
#define TINYWEAVE_PASS_H

#include "evaluation.h"
#include "geometry.h"
#include "region.h"
#include "sweep.h"

/* So much memory of a pass lies in it. */
enum { PASS_SMALL = 6144 };

struct pass {
    struct variant *variant;
    PyArrayObject **arrays; /* by slot, borrowed from the evaluation */
    char **scalars;
    struct geometry geometry; /* of the result */
    struct sweep sweep;
    npy_intp extents[NPY_MAXDIMS];
    npy_intp *strides; /* of each array and the result, NPY_MAXDIMS each */
    void *memory;      /* NULL: `small` is enough */
    _Alignas(16) char small[PASS_SMALL];
};

/* Takes the values of the variant's leaves and finds the result's shape and order. Returns 0; 1 where only NumPy can
 * say what is to be done: shapes that do not broadcast, scalars that do not fit; -1 with an exception. pass_finish is
 * owed either way. */
int pass_start(struct pass *pass, const struct evaluation *evaluation, struct variant *variant);
void pass_finish(struct pass *pass);

/* Whether the result can be stored at once in `out`, which matches: it is aligned, and shares no memory
 * with an operand but where they are the same elements, which `*upon` tells. */
bool pass_fits(const struct pass *pass, PyArrayObject *out, bool *upon);

/* Whether two arrays share memory, as far as their bounds tell; SHARED_SAME where they are the same elements. */
enum shared { SHARED_NOT, SHARED_SAME, SHARED_OTHERWISE };
enum shared pass_shared(PyArrayObject *x, PyArrayObject *y);

/* Whether the result has no elements, but an array has some: a step of those alone may raise flags. */
bool pass_is_partly_empty(const struct pass *pass);

/* Whether `out` is writeable, and of the result's dtype and shape. */
bool pass_matches(const struct pass *pass, PyArrayObject *out);

/* A new array for the result. */
PyArrayObject *pass_array(const struct pass *pass);

/* Makes pass->sweep ready to store into `result`, of the geometry's shape; NULL: to go over the elements in the order
 * of the result (sweep_range). */
void pass_aim(struct pass *pass, PyArrayObject *result, bool upon);

/* Reports the floating-point errors of each step, in their order, as NumPy does behind each ufunc. Returns 0, or -1
 * with an exception. */
int pass_report(const struct pass *pass);

#endif

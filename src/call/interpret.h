/* interpret.h: a formula's nodes, one after another, by Python's numbers and NumPy's own functions on whole arrays:
 * what an expression means. The fused engine (region.h) gives the same, faster, where it can.
 *
 * Values are exact types only: numpy.ndarray, NumPy scalars, Python bool, int, float, complex, str, bytes; inside an
 * index None, Ellipsis, slices and tuples of them. So no code of the user's ever runs.
 */
#ifndef TINYWEAVE_INTERPRET_H
#define TINYWEAVE_INTERPRET_H

#include "../frontend/formula.h"

/* What a caller's value is as an operand: arrays of subclasses lose their class and mask (numpy.asarray), lists and
 * tuples become arrays, Python numbers of subclasses plain ones, a numpy.ufunc stays (for FORMULA_NAMED). Returns a
 * new reference, or NULL with a TypeError that names `name`: an object array, or what is no operand at all. */
PyObject *interpret_operand(struct state *state, PyObject *value, PyObject *name,
                            const char *function);

/* Computes node `node` from its children's values. `values` are by node, borrowed; `names` by name. A chosen branch
 * of a condition is the caller's business: FORMULA_CONDITION is numpy.where here. NAME returns its operand.
 * Returns a new reference, or NULL with the exception that NumPy raises. */
PyObject *interpret_node(struct state *state, const struct formula *formula, int node,
                         PyObject *const *values, PyObject *const *names, const char *function);

/* How the result is wanted; each NULL where not given. */
struct result_options {
    PyObject *out, *dtype, *casting, *order, *where;
};

/* The root with options, as a last ufunc would take them: an operator or ufunc call is called with them, anything
 * else is computed, then converted (dtype, order) and copied to out under casting and where. */
PyObject *interpret_result(struct state *state, const struct formula *formula, int node,
                           PyObject *const *values, PyObject *const *names,
                           const struct result_options *options, const char *function);

/* Stores `value` into the target array view of a statement: target[...] = value, or in place with the operator.
 * Returns 0, or -1 with NumPy's exception. */
int interpret_store(struct state *state, PyObject *target, int operation, PyObject *value);

#endif

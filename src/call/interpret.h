/* interpret.h: a formula's nodes, one after another, by Python's numbers and NumPy's own functions on whole arrays:
 * what an expression means. The fused engine (region.h) gives the same, faster, where it can.
 *
 * Values are exact types only (operand.h); inside an index and as keywords' values also None, Ellipsis, slices and
 * tuples of them. So no code of the user's ever runs. No value is an array of Python objects, nor an int beyond 64
 * bits.
 */
#ifndef TINYWEAVE_INTERPRET_H
#define TINYWEAVE_INTERPRET_H

#include "../frontend/formula.h"
#include "operand.h"

/* Computes node `node` from its children's values. `values` are by node, borrowed; `names` by name. A chosen branch
 * of a condition is the caller's business: FORMULA_CONDITION is numpy.where here. NAME returns its operand.
 * Returns a new reference, or NULL with the exception that NumPy or Python raises; or one that points into the
 * text: TypeError for what is no operand there (None + 1, a[0][0] of a scalar, "a" * 3, a result of Python objects),
 * OverflowError for integers of Python beyond 64 bits, before they are computed. */
PyObject *interpret_node(struct state *state, const struct formula *formula, int node,
                         PyObject *const *values, PyObject *const *names, const char *function);

/* How the result is wanted; each NULL where not given. */
struct result_options {
    PyObject *out, *dtype, *casting, *order, *where;
};

/* The root with options, as a last ufunc would take them: an operator or ufunc call is called with them, anything
 * else is computed, then converted (dtype, order) and copied to out under casting and where. `out` may be a tuple
 * of one, and of a subclass of ndarray; it is what is returned. Of anything else where= without out= leaves the
 * elements as they are. */
PyObject *interpret_result(struct state *state, const struct formula *formula, int node,
                           PyObject *const *values, PyObject *const *names,
                           const struct result_options *options, const char *function);

/* Stores `value` into the target, an operand: target[...] = value, or in place with the operator (-1: none).
 * Returns 0, or -1 with NumPy's exception, or a TypeError for a target that is no array. */
int interpret_store(struct state *state, PyObject *target, int operation, PyObject *value);

/* target[index] = value, or target[index] op= value, as Python does it: the index need not give a view. `value` may
 * share memory with the target. Returns as interpret_store does. */
int interpret_store_item(struct state *state, PyObject *target, PyObject *index, int operation,
                         PyObject *value);

/* One of these two for a statement with a target, given its values: of statement->value, and of the target or, where
 * that is a SUBSCRIPT, of the target's children (the target itself is not needed). Returns as they do; for a target
 * that is no array with a TypeError that points into the text. */
int interpret_statement(struct state *state, const struct formula *formula,
                        const struct formula_statement *statement, PyObject *const *values);

/* Gives back what the state holds for this file. */
void interpret_clear(struct state *state);

#endif

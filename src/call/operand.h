/* operand.h: a caller's values -> operands of array expressions.
 *
 * An operand is of an exact type: numpy.ndarray, a NumPy scalar, Python's bool, int (of 64 bits), float, complex,
 * str or bytes, or a numpy.ufunc, which only FORMULA_NAMED calls. Nothing about them runs code of the user's; only
 * to make one of a list may (the elements' own __array__ or __float__, as for numpy.asarray).
 */
#ifndef TINYWEAVE_OPERAND_H
#define TINYWEAVE_OPERAND_H

#include "../frontend/formula.h"

/* What a caller's value is as an operand: arrays of subclasses lose their class and mask (numpy.asarray, no copy),
 * lists and tuples become arrays, numbers and strings of subclasses plain ones. Returns a new reference, to `value`
 * itself where it is an operand already; or NULL with a TypeError that names `name`: an array with Python objects in
 * it, or what is no operand at all; an OverflowError for an int beyond 64 bits; or what NumPy raises for a list. */
PyObject *interpret_operand(struct state *state, PyObject *value, PyObject *name,
                            const char *function);

/* The same where the name stands as an index, or in one, or as the value of a keyword (axis=): None, Ellipsis,
 * slices and tuples are allowed too, with operands in them. */
PyObject *interpret_index_operand(struct state *state, PyObject *value, PyObject *name,
                                  const char *function);

/* Says for each name whether it stands only where interpret_index_operand is meant. `flags` has room for all. */
void interpret_index_names(const struct formula *formula, bool *flags);

/* Whether arrays of the dtype (a PyArray_Descr) hold no Python objects, nor their scalars methods of the user's. */
bool operand_dtype_allowed(PyObject *dtype);

/* Whether Python's exact int fits int64 or uint64. */
bool operand_integer_fits(PyObject *integer);

#endif

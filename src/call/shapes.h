/* shapes.h: the shapes of assignments, before the first of them is made. */
#ifndef TINYWEAVE_SHAPES_H
#define TINYWEAVE_SHAPES_H

#include "evaluation.h"

/* Checks, as far as shapes can be told before anything is computed, that every statement's value fits its target.
 * Views are made on the way (values of SUBSCRIPT nodes). Returns 0, or -1 with a ValueError that points into the text,
 * or what NumPy raises for an index. */
int shapes_check(struct evaluation *evaluation);

/* Whether an index gives a view: integers, slices, None, Ellipsis, and tuples of them. */
bool shapes_is_basic(PyObject *index);

#endif

/* geometry.h: shapes and memory orders of an expression's arrays. */
#ifndef TINYWEAVE_GEOMETRY_H
#define TINYWEAVE_GEOMETRY_H

#include "../arena.h"
#include "../frontend/graph.h"
#include "numpy.h"

struct geometry {
    int dimensions; /* of the result */
    bool plain;     /* in C's order or Fortran's */
    bool fortran;
    npy_intp shape[NPY_MAXDIMS];
    npy_intp strides
        [NPY_MAXDIMS]; /* of the result, as NumPy would lay it out step by step (order="K") */
};

/* Finds shape and order of the graph's result; `arrays` by slot. Returns 0; 1 where the shapes do not broadcast; -1
 * when memory is out. */
int geometry_find(const struct graph *graph, PyArrayObject *const *arrays,
                  struct geometry *geometry);

/* The axes along which a sweep goes: those of the result by falling strides, the innermost first, without those of
 * one element, and joined where every array allows it. `result` has the result's strides by axis. Fills `extents` and,
 * for each of the arrays and then the result, `strides[array * NPY_MAXDIMS + axis]`. Returns the number of axes, at
 * least 1. */
int geometry_axes(const struct geometry *geometry, PyArrayObject *const *arrays, int array_count,
                  const npy_intp *result, npy_intp *extents, npy_intp *strides);

/* A new array of that shape and order; NULL with an exception. */
PyArrayObject *geometry_array(const struct geometry *geometry, int type);

#endif

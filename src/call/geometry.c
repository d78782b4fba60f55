/* geometry.c: broadcasting, and the order in which NumPy lays out results. */
#include "geometry.h"

#include <stdlib.h>
#include <string.h>

/* Shape and strides of one value, in the result's axes; the stride is 0 where there is one element. */
struct layout {
    npy_intp *shape;
    npy_intp *strides;
};

static bool
same_shape(PyArrayObject *x, PyArrayObject *y)
{
    return PyArray_NDIM(x) == PyArray_NDIM(y) &&
           PyArray_CompareLists(PyArray_DIMS(x), PyArray_DIMS(y), PyArray_NDIM(x));
}

/* All arrays of one shape and contiguous in one order: so is the result. */
static bool
find_plain(const struct graph *graph, PyArrayObject *const *arrays, struct geometry *geometry)
{
    int order = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS;
    for (int i = 0; i < graph->array_count; i++) {
        order &= PyArray_FLAGS(arrays[i]);
        if (order == 0 || (i > 0 && !same_shape(arrays[0], arrays[i]))) {
            return false;
        }
    }
    npy_intp stride = graph_type_size(graph->values[graph->result].type);
    int dimensions = geometry->dimensions = PyArray_NDIM(arrays[0]);
    bool last_first = (order & NPY_ARRAY_C_CONTIGUOUS) != 0;
    geometry->plain = true;
    geometry->fortran = !last_first;
    for (int i = 0; i < dimensions; i++) {
        int axis = last_first ? dimensions - 1 - i : i;
        geometry->shape[axis] = PyArray_DIM(arrays[0], axis);
        geometry->strides[axis] = stride;
        stride *= geometry->shape[axis];
    }
    return true;
}

/* Broadcasts a shape, right-aligned, into the geometry's. */
static bool
broadcast(struct geometry *geometry, PyArrayObject *array)
{
    int offset = geometry->dimensions - PyArray_NDIM(array);
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp *extent = &geometry->shape[offset + i], other = PyArray_DIM(array, i);
        if (*extent == 1) {
            *extent = other;
        }
        else if (other != *extent && other != 1) {
            return false;
        }
    }
    return true;
}

static bool
find_shape(const struct graph *graph, PyArrayObject *const *arrays, struct geometry *geometry)
{
    geometry->dimensions = 0;
    for (int i = 0; i < graph->array_count; i++) {
        int dimensions = PyArray_NDIM(arrays[i]);
        geometry->dimensions =
            dimensions > geometry->dimensions ? dimensions : geometry->dimensions;
    }
    for (int axis = 0; axis < geometry->dimensions; axis++) {
        geometry->shape[axis] = 1;
    }
    for (int i = 0; i < graph->array_count; i++) {
        if (!broadcast(geometry, arrays[i])) {
            return false;
        }
    }
    return true;
}

static npy_intp
magnitude(npy_intp stride)
{
    return stride < 0 ? -stride : stride;
}

/* Compares two axes over all inputs of a step, as NumPy's iterator does: -1: they stand right as they are, 1: the
 * outer one (`axis`) should be further in, 0: nothing tells. Where inputs disagree, C's order wins. */
static int
compare_axes(const struct layout *layouts, const struct step *step, int axis, int other)
{
    int verdict = 0;
    for (int i = 0; i < step->input_count; i++) {
        const npy_intp *strides = layouts[step->inputs[i]].strides;
        if (strides == NULL || strides[axis] == 0 || strides[other] == 0) {
            continue;
        }
        if (magnitude(strides[other]) <= magnitude(strides[axis])) {
            verdict = -1;
        }
        else if (verdict == 0) {
            verdict = 1;
        }
    }
    return verdict;
}

/* The axes of a step's result from the fastest to the slowest: an insertion sort that starts from C's order. */
static void
sort_axes(const struct layout *layouts, const struct step *step, int dimensions, int *order)
{
    for (int i = 0; i < dimensions; i++) {
        int axis = dimensions - 1 - i, place = i;
        for (int j = i - 1; j >= 0; j--) {
            int verdict = compare_axes(layouts, step, axis, order[j]);
            if (verdict < 0) {
                break;
            }
            place = verdict > 0 ? j : place;
        }
        memmove(order + place + 1, order + place, (size_t)(i - place) * sizeof(*order));
        order[place] = axis;
    }
}

/* The same of an array's astype(), which is laid out by the strides alone: a repeated axis is the fastest. */
static void
sort_axes_of_copy(const npy_intp *strides, int dimensions, int *order)
{
    for (int i = 0; i < dimensions; i++) {
        int axis = dimensions - 1 - i, place = i;
        for (; place > 0 && magnitude(strides[order[place - 1]]) > magnitude(strides[axis]);
             place--) {
            order[place] = order[place - 1];
        }
        order[place] = axis;
    }
}

/* A ufunc's result is laid out in the order of its operands; a cast of an operand keeps its order. */
static void
lay_out_step(const struct graph *graph, const struct step *step, struct layout *layouts,
             int dimensions)
{
    struct layout *layout = &layouts[step->output];
    int order[NPY_MAXDIMS];
    for (int axis = 0; axis < dimensions; axis++) {
        layout->shape[axis] = 1;
        for (int i = 0; i < step->input_count; i++) {
            const npy_intp *shape = layouts[step->inputs[i]].shape;
            layout->shape[axis] =
                shape != NULL && shape[axis] != 1 ? shape[axis] : layout->shape[axis];
        }
    }
    if (step->kind == STEP_CAST && step->name == NULL && step->output != graph->result) {
        memcpy(layout->strides, layouts[step->inputs[0]].strides,
               (size_t)dimensions * sizeof(npy_intp));
        return;
    }
    if (step->kind == STEP_CAST && step->name != NULL) {
        sort_axes_of_copy(layouts[step->inputs[0]].strides, dimensions, order);
    }
    else {
        sort_axes(layouts, step, dimensions, order);
    }
    npy_intp stride = graph_type_size(graph->values[step->output].type);
    for (int i = 0; i < dimensions; i++) {
        npy_intp extent = layout->shape[order[i]];
        layout->strides[order[i]] = extent == 1 ? 0 : stride;
        stride *= extent;
    }
}

static void
lay_out_array(PyArrayObject *array, struct layout *layout, int dimensions)
{
    int offset = dimensions - PyArray_NDIM(array);
    for (int axis = 0; axis < dimensions; axis++) {
        layout->shape[axis] = axis < offset ? 1 : PyArray_DIM(array, axis - offset);
        layout->strides[axis] = layout->shape[axis] == 1 ? 0 : PyArray_STRIDE(array, axis - offset);
    }
}

/* NumPy gives an axis of one element some stride too; C's or Fortran's is as good as any. */
static void
finish_strides(struct geometry *geometry, npy_intp itemsize)
{
    for (int axis = geometry->dimensions - 1; axis >= 0; axis--) {
        if (geometry->shape[axis] == 1) {
            geometry->strides[axis] = itemsize;
        }
    }
}

int
geometry_find(const struct graph *graph, PyArrayObject *const *arrays, struct geometry *geometry)
{
    if (find_plain(graph, arrays, geometry)) {
        return 0;
    }
    geometry->plain = false;
    if (!find_shape(graph, arrays, geometry)) {
        return 1;
    }
    size_t dimensions = (size_t)geometry->dimensions, values = (size_t)graph->value_count;
    struct layout *layouts = calloc(values, sizeof(*layouts));
    npy_intp *numbers = malloc(values * 2 * dimensions * sizeof(*numbers) + 1);
    if (layouts == NULL || numbers == NULL) {
        free(layouts);
        free(numbers);
        return -1;
    }
    for (size_t i = 0; i < values; i++) {
        if (graph->values[i].kind != VALUE_SCALAR) {
            layouts[i] =
                (struct layout){numbers + 2 * i * dimensions, numbers + (2 * i + 1) * dimensions};
        }
        if (graph->values[i].kind == VALUE_ARRAY) {
            lay_out_array(arrays[graph->values[i].slot], &layouts[i], (int)dimensions);
        }
    }
    for (int i = 0; i < graph->step_count; i++) {
        lay_out_step(graph, &graph->steps[i], layouts, (int)dimensions);
    }
    memcpy(geometry->strides, layouts[graph->result].strides, dimensions * sizeof(npy_intp));
    finish_strides(geometry, graph_type_size(graph->values[graph->result].type));
    free(layouts);
    free(numbers);
    return 0;
}

/* ---- The axes of a sweep ---- */

/* The stride of an array along an axis of the result; 0 where it is broadcast. */
static npy_intp
array_stride(const struct geometry *geometry, PyArrayObject *array, int axis)
{
    int own = axis - (geometry->dimensions - PyArray_NDIM(array));
    return own < 0 || PyArray_DIM(array, own) == 1 ? 0 : PyArray_STRIDE(array, own);
}

/* The axes of more than one element, the smallest stride of the result first. */
static int
order_axes(const struct geometry *geometry, const npy_intp *result, int *order)
{
    int count = 0;
    for (int axis = geometry->dimensions - 1; axis >= 0; axis--) {
        if (geometry->shape[axis] == 1) {
            continue;
        }
        int place = count++;
        while (place > 0 && magnitude(result[order[place - 1]]) > magnitude(result[axis])) {
            order[place] = order[place - 1];
            place--;
        }
        order[place] = axis;
    }
    return count;
}

static bool
joins(const npy_intp *strides, int array_count, int axis, npy_intp extent)
{
    for (int array = 0; array <= array_count; array++) {
        const npy_intp *own = strides + array * NPY_MAXDIMS;
        if (own[axis] != own[axis - 1] * extent) {
            return false;
        }
    }
    return true;
}

int
geometry_axes(const struct geometry *geometry, PyArrayObject *const *arrays, int array_count,
              const npy_intp *result, npy_intp *extents, npy_intp *strides)
{
    int order[NPY_MAXDIMS];
    int count = order_axes(geometry, result, order), axes = 0;
    for (int i = 0; i < count; i++) {
        extents[axes] = geometry->shape[order[i]];
        for (int array = 0; array <= array_count; array++) {
            strides[array * NPY_MAXDIMS + axes] =
                array < array_count ? array_stride(geometry, arrays[array], order[i])
                                    : result[order[i]];
        }
        if (axes > 0 && joins(strides, array_count, axes, extents[axes - 1])) {
            extents[axes - 1] *= extents[axes];
            continue;
        }
        axes++;
    }
    if (axes == 0) {
        extents[axes++] = 1;
        for (int array = 0; array <= array_count; array++) {
            strides[array * NPY_MAXDIMS] = 0;
        }
    }
    return axes;
}

PyArrayObject *
geometry_array(const struct geometry *geometry, int type)
{
    PyArray_Descr *descr = PyArray_DescrFromType(type);
    bool simple =
        geometry->plain || PyArray_MultiplyList(geometry->shape, geometry->dimensions) == 0;
    bool fortran = geometry->plain && geometry->fortran;
    return (PyArrayObject *)PyArray_NewFromDescr(&PyArray_Type, descr, geometry->dimensions,
                                                 geometry->shape, simple ? NULL : geometry->strides,
                                                 NULL, fortran, NULL);
}

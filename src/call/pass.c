/* pass.c: arrays and scalars of a pass, its sweep, its floating-point errors. */
#include "pass.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../cache/kernel.h"
#include <numpy/ufuncobject.h>

/* Room for the value of a scalar, the widest of which is clongdouble. */
#define SCALAR_SIZE 32

/* ---- Scalars and arrays ---- */

/* Whether a number overflows or underflows in float16 or float32, and so raises a flag. */
static bool
leaves_range(double number, int type)
{
    double most = type == NPY_HALF ? 65504. : FLT_MAX, least = type == NPY_HALF ? 0x1p-14 : FLT_MIN;
    double size = fabs(number);
    return (size > most && !isinf(number)) || (size > 0 && size < least);
}

/* Converts a scalar as a ufunc would. Returns 0; 1 where NumPy has something to say about it. */
static int
convert_scalar(PyObject *value, int type, char *item)
{
    if (type == NPY_DOUBLE && PyFloat_CheckExact(value)) {
        *(double *)item = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    if (type == NPY_DOUBLE && PyLong_CheckExact(value)) {
        *(double *)item = PyLong_AsDouble(value); /* of 64 bits at most: it fits */
        return 0;
    }
    bool narrow = type == NPY_FLOAT || type == NPY_CFLOAT || type == NPY_HALF;
    if (narrow && PyFloat_CheckExact(value) && leaves_range(PyFloat_AS_DOUBLE(value), type)) {
        return 1;
    }
    if (narrow && PyComplex_CheckExact(value)) {
        Py_complex number = PyComplex_AsCComplex(value);
        if (leaves_range(number.real, type) || leaves_range(number.imag, type)) {
            return 1;
        }
    }
    PyArray_Descr *descr = PyArray_DescrFromType(type);
    int result = PyArray_Pack(descr, item, value);
    Py_DECREF(descr);
    if (result < 0) {
        PyErr_Clear(); /* NumPy, computing the node, says it again */
        return 1;
    }
    return 0;
}

static int
convert_scalars(const struct pass *pass, const struct evaluation *evaluation)
{
    const struct graph *graph = &pass->variant->graph;
    for (int slot = graph->array_count; slot < graph->slot_count; slot++) {
        const struct quantity *value = &graph->values[graph->slots[slot]];
        char *item = pass->scalars[slot - graph->array_count];
        if (convert_scalar(evaluation->values[value->node], value->type, item) != 0) {
            return 1;
        }
    }
    return 0;
}

/* The bytes an array may reach. */
static void
find_bounds(PyArrayObject *array, uintptr_t *low, uintptr_t *high)
{
    *low = *high = (uintptr_t)PyArray_DATA(array);
    *high += (uintptr_t)PyArray_ITEMSIZE(array);
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp reach = (PyArray_DIM(array, i) - 1) * PyArray_STRIDE(array, i);
        *low += reach < 0 ? (uintptr_t)reach : 0;
        *high += reach > 0 ? (uintptr_t)reach : 0;
    }
}

static bool
same_elements(PyArrayObject *x, PyArrayObject *y)
{
    return PyArray_DATA(x) == PyArray_DATA(y) && PyArray_ITEMSIZE(x) == PyArray_ITEMSIZE(y) &&
           PyArray_NDIM(x) == PyArray_NDIM(y) &&
           PyArray_CompareLists(PyArray_DIMS(x), PyArray_DIMS(y), PyArray_NDIM(x)) &&
           PyArray_CompareLists(PyArray_STRIDES(x), PyArray_STRIDES(y), PyArray_NDIM(x));
}

/* Whether no element of the array is another one of it, as far as is easily seen. */
static bool
is_plain(PyArrayObject *array)
{
    npy_intp size = PyArray_ITEMSIZE(array);
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp stride = PyArray_STRIDE(array, i);
        if (PyArray_DIM(array, i) > 1 && stride < size && -stride < size) {
            return false;
        }
    }
    return true;
}

bool
pass_is_partly_empty(const struct pass *pass)
{
    if (PyArray_MultiplyList(pass->geometry.shape, pass->geometry.dimensions) > 0) {
        return false;
    }
    for (int slot = 0; slot < pass->variant->graph.array_count; slot++) {
        if (PyArray_SIZE(pass->arrays[slot]) > 0) {
            return true;
        }
    }
    return false;
}

bool
pass_matches(const struct pass *pass, PyArrayObject *out)
{
    const struct graph *graph = &pass->variant->graph;
    const struct geometry *geometry = &pass->geometry;
    return PyArray_TYPE(out) == graph->values[graph->result].type && PyArray_ISWRITEABLE(out) &&
           PyArray_NDIM(out) == geometry->dimensions &&
           PyArray_CompareLists(PyArray_DIMS(out), geometry->shape, geometry->dimensions);
}

enum shared
pass_shared(PyArrayObject *x, PyArrayObject *y)
{
    uintptr_t low, high, other_low, other_high;
    find_bounds(x, &low, &high);
    find_bounds(y, &other_low, &other_high);
    if (other_low >= high || low >= other_high) {
        return SHARED_NOT;
    }
    return same_elements(x, y) ? SHARED_SAME : SHARED_OTHERWISE;
}

bool
pass_fits(const struct pass *pass, PyArrayObject *out, bool *upon)
{
    *upon = false;
    if (!PyArray_ISBEHAVED(out) || !is_plain(out)) {
        return false;
    }
    for (int i = 0; i < pass->variant->graph.array_count; i++) {
        enum shared shared = pass_shared(out, pass->arrays[i]);
        if (shared == SHARED_OTHERWISE) {
            return false;
        }
        *upon |= shared == SHARED_SAME;
    }
    return true;
}

PyArrayObject *
pass_array(const struct pass *pass)
{
    const struct graph *graph = &pass->variant->graph;
    return geometry_array(&pass->geometry, graph->values[graph->result].type);
}

/* ---- Memory ---- */

static char *
carve(char **memory, size_t size)
{
    char *piece = *memory;
    *memory += (size + 15) & ~(size_t)15;
    return piece;
}

/* Shares out the memory; returns how much it takes. */
static size_t
share_out(struct pass *pass, char *memory)
{
    const struct graph *graph = &pass->variant->graph;
    size_t arrays = (size_t)graph->array_count + 1,
           scalars = (size_t)(graph->slot_count - graph->array_count);
    char *start = memory, *items;
    pass->arrays = (PyArrayObject **)carve(&memory, arrays * sizeof(PyArrayObject *));
    pass->scalars = (char **)carve(&memory, scalars * sizeof(char *));
    items = carve(&memory, scalars * SCALAR_SIZE);
    pass->strides = (npy_intp *)carve(&memory, arrays * NPY_MAXDIMS * sizeof(npy_intp));
    pass->sweep.arrays =
        (struct sweep_operand *)carve(&memory, arrays * sizeof(struct sweep_operand));
    pass->sweep.direct = (bool *)carve(&memory, arrays);
    pass->sweep.flags = (unsigned char *)carve(&memory, (size_t)graph->step_count);
    for (size_t i = 0; start != NULL && i < scalars; i++) {
        pass->scalars[i] = items + i * SCALAR_SIZE;
    }
    return (size_t)(memory - start);
}

int
pass_start(struct pass *pass, const struct evaluation *evaluation, struct variant *variant)
{
    const struct graph *graph = &variant->graph;
    pass->variant = variant;
    pass->memory = NULL;
    size_t size = share_out(pass, NULL);
    if (size > PASS_SMALL && (pass->memory = malloc(size)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    share_out(pass, pass->memory != NULL ? pass->memory : pass->small);
    for (int slot = 0; slot < graph->array_count; slot++) {
        pass->arrays[slot] =
            (PyArrayObject *)evaluation->values[graph->values[graph->slots[slot]].node];
    }
    if (convert_scalars(pass, evaluation) != 0) {
        return 1;
    }
    int found = geometry_find(graph, pass->arrays, &pass->geometry);
    if (found < 0) {
        PyErr_NoMemory();
    }
    return found;
}

void
pass_finish(struct pass *pass)
{
    free(pass->memory);
}

/* ---- The sweep ---- */

static void
fill_array(struct sweep_operand *operand, PyArrayObject *array, const npy_intp *strides)
{
    const PyArray_Descr *descr = PyArray_DESCR(array);
    int size = (int)PyArray_ITEMSIZE(array);
    bool swapped = !PyArray_ISNBO(descr->byteorder);
    *operand = (struct sweep_operand){.data = PyArray_BYTES(array),
                                      .strides = strides,
                                      .size = size,
                                      .swap = !swapped                               ? 0
                                              : PyTypeNum_ISCOMPLEX(descr->type_num) ? size / 2
                                                                                     : size,
                                      .aligned = PyArray_ISALIGNED(array)};
}

void
pass_aim(struct pass *pass, PyArrayObject *result, bool upon)
{
    const struct variant *variant = pass->variant;
    const struct graph *graph = &variant->graph;
    int count = graph->array_count, size = graph_type_size(graph->values[graph->result].type);
    struct sweep_operand *arrays = pass->sweep.arrays;
    pass->sweep = (struct sweep){.loops = graph->loops,
                                 .block = variant->block,
                                 .scratch = variant->scratch,
                                 .step_count = graph->step_count,
                                 .cost = &pass->variant->cost,
                                 .opaque = graph->opaque,
                                 .python = graph->python,
                                 .alone = graph->alone,
                                 .careful = upon,
                                 .array_count = count,
                                 .slot_count = graph->slot_count,
                                 .arrays = arrays,
                                 .scalars = pass->scalars,
                                 .extents = pass->extents,
                                 .flags = pass->sweep.flags,
                                 .direct = pass->sweep.direct};
    memset(pass->sweep.flags, 0, (size_t)graph->step_count);
    *(void **)&pass->sweep.code =
        atomic_load_explicit(&variant->kernel->entry_point, memory_order_acquire);
    pass->sweep.dimensions =
        geometry_axes(&pass->geometry, pass->arrays, count,
                      result != NULL ? PyArray_STRIDES(result) : pass->geometry.strides,
                      pass->extents, pass->strides);
    for (int i = 0; i < count; i++) {
        fill_array(&arrays[i], pass->arrays[i], pass->strides + i * NPY_MAXDIMS);
    }
    arrays[count] = (struct sweep_operand){
        .strides = pass->strides + count * NPY_MAXDIMS, .size = size, .aligned = true};
    if (result != NULL) {
        fill_array(&arrays[count], result, pass->strides + count * NPY_MAXDIMS);
    }
    sweep_start(&pass->sweep);
}

int
pass_report(const struct pass *pass)
{
    const struct graph *graph = &pass->variant->graph;
    for (int i = 0; i < graph->step_count; i++) {
        const struct step *step = &graph->steps[i];
        if (pass->sweep.flags[i] != 0 && step->name != NULL &&
            PyUFunc_GiveFloatingpointErrors(step->name, pass->sweep.flags[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

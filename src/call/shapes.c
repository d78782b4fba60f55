/* shapes.c: the shapes of values and targets, node by node. */
#include "shapes.h"

#include <stdlib.h>
#include <string.h>

/* The shape of a node's value; -1 dimensions: not known. */
struct shape {
    int dimensions;
    npy_intp extents[NPY_MAXDIMS];
};

bool
shapes_is_basic(PyObject *index)
{
    if (PyTuple_CheckExact(index)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(index); i++) {
            if (PyTuple_Check(PyTuple_GET_ITEM(index, i)) ||
                !shapes_is_basic(PyTuple_GET_ITEM(index, i))) {
                return false;
            }
        }
        return true;
    }
    return index == Py_None || index == Py_Ellipsis || PySlice_Check(index) ||
           PyLong_CheckExact(index) || PyArray_IsScalar(index, Integer);
}

static struct shape
shape_of_value(PyObject *value)
{
    struct shape shape = {.dimensions = 0};
    if (value == NULL) {
        shape.dimensions = -1;
    }
    else if (PyArray_Check(value)) {
        PyArrayObject *array = (PyArrayObject *)value;
        shape.dimensions = PyArray_NDIM(array);
        memcpy(shape.extents, PyArray_DIMS(array), (size_t)shape.dimensions * sizeof(npy_intp));
    }
    return shape;
}

/* Widens a shape by another one's. Returns whether they broadcast. */
static bool
broadcast(struct shape *shape, const struct shape *other)
{
    if (shape->dimensions < 0 || other->dimensions < 0) {
        shape->dimensions = -1;
        return true;
    }
    struct shape wide = shape->dimensions >= other->dimensions ? *shape : *other;
    const struct shape *narrow = shape->dimensions >= other->dimensions ? other : shape;
    int offset = wide.dimensions - narrow->dimensions;
    for (int i = 0; i < narrow->dimensions; i++) {
        npy_intp *extent = &wide.extents[offset + i], own = narrow->extents[i];
        if (*extent != own && *extent != 1 && own != 1) {
            return false;
        }
        *extent = *extent == 1 ? own : *extent;
    }
    *shape = wide;
    return true;
}

/* The view an index gives of an array that is there already; -1 with an exception. */
static int
make_view(struct evaluation *evaluation, int node)
{
    const int *children = evaluation->formula->nodes[node].children;
    PyObject *base = evaluation->values[children[0]];
    if (base == NULL || !PyArray_Check(base)) {
        return 0;
    }
    const struct formula_node *index = &evaluation->formula->nodes[children[1]];
    for (int i = 0; i < index->child_count; i++) {
        if (index->children[i] >= 0 &&
            evaluation->formula->nodes[index->children[i]].kind == FORMULA_SUBSCRIPT) {
            return 0; /* an element that an earlier statement may change */
        }
    }
    bool plain = index->kind == FORMULA_SLICE || index->kind == FORMULA_TUPLE ||
                 index->kind == FORMULA_NAME || index->kind == FORMULA_CONSTANT;
    if (!plain || evaluation_compute(evaluation, children[1], NULL) < 0) {
        return plain ? -1 : 0;
    }
    return shapes_is_basic(evaluation->values[children[1]])
               ? evaluation_compute(evaluation, node, NULL)
               : 0;
}

static int
shape_of_elementwise(const struct evaluation *evaluation, int index, struct shape *shapes,
                     int first)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    struct shape *shape = &shapes[index - first];
    shape->dimensions = 0;
    for (int i = 0; i < node->child_count; i++) {
        if (!broadcast(shape, &shapes[node->children[i] - first])) {
            formula_raise(evaluation->formula, index, PyExc_ValueError,
                          "%s(): operands could not be broadcast together", evaluation->function);
            return -1;
        }
    }
    return 0;
}

static int
shape_of_node(struct evaluation *evaluation, int index, struct shape *shapes, int first)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    if (node->kind == FORMULA_SUBSCRIPT && evaluation->values[index] == NULL &&
        make_view(evaluation, index) < 0) {
        return -1;
    }
    bool scalar = evaluation->values[index] != NULL && !PyArray_Check(evaluation->values[index]);
    if (node->elementwise && !scalar) {
        return shape_of_elementwise(evaluation, index, shapes, first);
    }
    shapes[index - first] = shape_of_value(evaluation->values[index]);
    return 0;
}

/* Whether numpy's target[...] = value takes it: more dimensions than the target's must have one element. */
static bool
fits(const struct shape *target, const struct shape *value, bool in_place)
{
    int offset = target->dimensions - value->dimensions;
    for (int i = 0; i < value->dimensions; i++) {
        npy_intp extent = i + offset < 0 ? 1 : target->extents[i + offset];
        if ((i + offset < 0 && in_place) ||
            (value->extents[i] != 1 && value->extents[i] != extent)) {
            return false;
        }
    }
    return true;
}

static int
check_statement(struct evaluation *evaluation, const struct formula_statement *statement, int end,
                struct shape *shapes)
{
    int first = statement->first_node;
    for (int node = first; node < end; node++) {
        if (node != statement->combined && shape_of_node(evaluation, node, shapes, first) < 0) {
            return -1;
        }
    }
    const struct shape *target = &shapes[statement->target - first];
    const struct shape *value = &shapes[statement->value - first];
    if (target->dimensions < 0 || value->dimensions < 0 ||
        evaluation->values[statement->target] == NULL ||
        fits(target, value, statement->combined >= 0)) {
        return 0;
    }
    formula_raise(evaluation->formula, statement->target, PyExc_ValueError,
                  "%s(): the value's shape does not fit the target's", evaluation->function);
    return -1;
}

int
shapes_check(struct evaluation *evaluation)
{
    const struct formula *formula = evaluation->formula;
    struct shape *shapes = malloc((size_t)formula->node_count * sizeof(*shapes));
    int result = 0;
    if (shapes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; result == 0 && i < formula->statement_count; i++) {
        int end = i + 1 < formula->statement_count ? formula->statements[i + 1].first_node
                                                   : formula->node_count;
        result = check_statement(evaluation, &formula->statements[i], end, shapes);
    }
    free(shapes);
    return result;
}

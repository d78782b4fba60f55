/* shapes.c: the shapes of values and targets, node by node. */
#include "shapes.h"

#include <stdlib.h>

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
    if (PySlice_Check(index)) {
        const PySliceObject *slice = (PySliceObject *)index;
        return !PyArray_Check(slice->start) && !PyArray_Check(slice->stop) &&
               !PyArray_Check(slice->step);
    }
    return index == Py_None || index == Py_Ellipsis || PyLong_CheckExact(index) ||
           PyArray_IsScalar(index, Integer);
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
        for (int i = 0; i < shape.dimensions; i++) {
            shape.extents[i] = PyArray_DIM(array, i);
        }
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

/* Whether a part of an index has its value before any statement is run, and keeps it: no array's element may be in
 * it. */
static bool
is_settled(const struct evaluation *evaluation, int node)
{
    const struct formula_node *found = &evaluation->formula->nodes[node];
    if (found->kind == FORMULA_NAME || found->kind == FORMULA_CONSTANT) {
        PyObject *value = evaluation->values[node];
        return value != NULL && (found->kind == FORMULA_CONSTANT || shapes_is_basic(value));
    }
    bool settled = found->kind == FORMULA_SLICE || found->kind == FORMULA_TUPLE ||
                   found->kind == FORMULA_OPERATOR;
    for (int i = 0; settled && i < found->child_count; i++) {
        settled = found->children[i] < 0 || is_settled(evaluation, found->children[i]);
    }
    return settled;
}

/* The view an index gives of an array that is there already; -1 with an exception. Returns 1 for an element, which is
 * not kept: earlier statements may change it. */
static int
make_view(struct evaluation *evaluation, int node)
{
    const int *children = evaluation->formula->nodes[node].children;
    PyObject *base = evaluation->values[children[0]];
    if (base == NULL || !PyArray_Check(base) || !is_settled(evaluation, children[1])) {
        return 0;
    }
    if (evaluation_compute(evaluation, children[1], NULL) < 0) {
        return -1;
    }
    if (!shapes_is_basic(evaluation->values[children[1]])) {
        return 0;
    }
    if (evaluation_compute(evaluation, node, NULL) < 0) {
        return -1;
    }
    bool element = !PyArray_Check(evaluation->values[node]);
    if (element) {
        Py_CLEAR(evaluation->values[node]);
    }
    return element;
}

static int
shape_of_subscript(struct evaluation *evaluation, int index, struct shape *shape)
{
    int made = make_view(evaluation, index);
    *shape = shape_of_value(evaluation->values[index]);
    shape->dimensions = made == 1 ? 0 : shape->dimensions;
    return made < 0 ? -1 : 0;
}

/* Broadcasts a node's children from the given one on. */
static int
shape_of_elementwise(const struct evaluation *evaluation, int index, int child,
                     struct shape *shapes)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    struct shape *shape = &shapes[index];
    shape->dimensions = 0;
    for (; child < node->child_count; child++) {
        if (!broadcast(shape, &shapes[node->children[child]])) {
            formula_raise(evaluation->formula, index, PyExc_ValueError,
                          "%s(): operands could not be broadcast together", evaluation->function);
            return -1;
        }
    }
    return 0;
}

/* Of an array's condition as where's; of a scalar's the chosen branch's, which is known where both are alike. */
static int
shape_of_condition(const struct evaluation *evaluation, int index, struct shape *shapes)
{
    const int *children = evaluation->formula->nodes[index].children;
    const struct shape *x = &shapes[children[1]], *y = &shapes[children[2]];
    if (shapes[children[0]].dimensions > 0) {
        return shape_of_elementwise(evaluation, index, 0, shapes);
    }
    bool same = x->dimensions == y->dimensions && x->dimensions >= 0 &&
                PyArray_CompareLists(x->extents, y->extents, x->dimensions);
    shapes[index] = *x;
    shapes[index].dimensions = same && shapes[children[0]].dimensions == 0 ? x->dimensions : -1;
    return 0;
}

/* Of an array that is there already the attribute is a view too. */
static int
shape_of_attribute(struct evaluation *evaluation, int index, struct shape *shapes)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    const struct shape *of = &shapes[node->children[0]];
    PyObject *base = evaluation->values[node->children[0]];
    if (base != NULL && PyArray_Check(base)) {
        int result = evaluation_compute(evaluation, index, NULL);
        shapes[index] = shape_of_value(evaluation->values[index]);
        return result;
    }
    bool transposed = PyUnicode_CompareWithASCIIString(node->object, "T") == 0;
    shapes[index] = *of;
    for (int i = 0; transposed && i < of->dimensions; i++) {
        shapes[index].extents[i] = of->extents[of->dimensions - 1 - i];
    }
    return 0;
}

/* Takes away, or with keepdims shortens to 1, the axes of a reduction; what is not plain is not known. */
static struct shape
shape_of_reduction(const struct evaluation *evaluation, const struct formula_node *node,
                   const struct shape *of)
{
    Py_ssize_t count = node->keywords == NULL ? 0 : PyTuple_GET_SIZE(node->keywords);
    struct shape shape = {.dimensions = 0};
    PyObject *axis = NULL;
    bool keepdims = false, known = of->dimensions >= 0 && node->child_count - count == 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *keyword = PyTuple_GET_ITEM(node->keywords, i);
        PyObject *value = evaluation->values[node->children[node->child_count - count + i]];
        bool is_axis = PyUnicode_CompareWithASCIIString(keyword, "axis") == 0;
        axis = is_axis ? value : axis;
        keepdims |= !is_axis && value == Py_True;
        known &= value != NULL &&
                 (is_axis ? value == Py_None || PyLong_CheckExact(value)
                          : PyBool_Check(value) &&
                                PyUnicode_CompareWithASCIIString(keyword, "keepdims") == 0);
    }
    bool all = axis == NULL || axis == Py_None;
    long number = known && !all ? PyLong_AsLong(axis) : 0;
    PyErr_Clear();
    number += number < 0 ? of->dimensions : 0;
    if (!known || (!all && (number < 0 || number >= of->dimensions))) {
        shape.dimensions = -1;
        return shape;
    }
    for (int i = 0; i < of->dimensions; i++) {
        bool reduced = all || i == number;
        if (!reduced || keepdims) {
            shape.extents[shape.dimensions++] = reduced ? 1 : of->extents[i];
        }
    }
    return shape;
}

/* What a name will be that an earlier statement makes. */
static struct shape
shape_of_new_name(const struct formula *formula, int index, const struct shape *shapes)
{
    for (int i = 0; i < formula->statement_count; i++) {
        const struct formula_statement *statement = &formula->statements[i];
        const struct formula_node *target = &formula->nodes[statement->target];
        if (target->kind == FORMULA_NAME && target->index == formula->nodes[index].index) {
            return statement->target < index ? shapes[statement->value]
                                             : (struct shape){.dimensions = -1};
        }
    }
    return (struct shape){.dimensions = -1};
}

static int
shape_of_node(struct evaluation *evaluation, int index, struct shape *shapes)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    PyObject *value = evaluation->values[index];
    if (value != NULL) {
        shapes[index] = shape_of_value(value);
        return 0;
    }
    if (node->elementwise) {
        return shape_of_elementwise(evaluation, index, 0, shapes);
    }
    switch (node->kind) {
    case FORMULA_NAME:
        shapes[index] = shape_of_new_name(evaluation->formula, index, shapes);
        return 0;
    case FORMULA_SUBSCRIPT:
        return shape_of_subscript(evaluation, index, &shapes[index]);
    case FORMULA_CONDITION:
        return shape_of_condition(evaluation, index, shapes);
    case FORMULA_ATTRIBUTE:
        return shape_of_attribute(evaluation, index, shapes);
    case FORMULA_CALL:
        shapes[index] = node->operation == FORMULA_REDUCTION && node->child_count > 0
                            ? shape_of_reduction(evaluation, node, &shapes[node->children[0]])
                            : (struct shape){.dimensions = -1};
        return 0;
    default:
        shapes[index].dimensions = -1;
        return 0;
    }
}

/* Whether numpy's target[...] = value takes it: dimensions beyond the target's must have one element; with op= there may
 * be none, but an element that is a scalar is replaced by what comes of it. */
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
    for (int node = statement->first_node; node < end; node++) {
        if (node != statement->combined && shape_of_node(evaluation, node, shapes) < 0) {
            return -1;
        }
    }
    const struct shape *target = &shapes[statement->target];
    const struct shape *value = &shapes[statement->value];
    bool scalar = target->dimensions == 0 && evaluation->values[statement->target] == NULL;
    bool named = evaluation->formula->nodes[statement->target].kind == FORMULA_NAME;
    if (target->dimensions < 0 || value->dimensions < 0 || (scalar && named) ||
        fits(target, value, statement->combined >= 0 && !scalar)) {
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

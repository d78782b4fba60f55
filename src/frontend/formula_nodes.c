/* formula_nodes.c: the nodes of a formula, of which no two in a statement are equal. */
#include "formula_reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NODE_LIMIT 100000
#define SMALL_TABLE 64 /* slots that a table has at first */

/* ---- Which nodes are equal ---- */

static uint64_t
mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9E3779B97F4A7C15u ^ (hash >> 29);
}

static uint64_t
hash_constant(PyObject *object)
{
    uint64_t bits[2] = {0, 0};
    if (PyFloat_CheckExact(object)) {
        double value = PyFloat_AS_DOUBLE(object);
        memcpy(bits, &value, sizeof(value));
    }
    else if (PyComplex_CheckExact(object)) {
        Py_complex value = ((PyComplexObject *)object)->cval;
        memcpy(bits, &value, sizeof(value));
    }
    else if (PyLong_Check(object) || PyUnicode_CheckExact(object) || PyBytes_CheckExact(object)) {
        bits[0] = (uint64_t)PyObject_Hash(object);
    }
    return mix(mix((uint64_t)(uintptr_t)Py_TYPE(object), bits[0]), bits[1]);
}

/* Arrays of indices. */
static bool
equal_memory(PyObject *a, PyObject *b)
{
    Py_buffer first, second;
    bool equal = false;
    if (PyObject_GetBuffer(a, &first, PyBUF_FORMAT) == 0) {
        if (PyObject_GetBuffer(b, &second, PyBUF_FORMAT) == 0) {
            equal = first.itemsize == second.itemsize && first.len == second.len &&
                    first.format[0] == second.format[0] &&
                    memcmp(first.buf, second.buf, (size_t)first.len) == 0;
            PyBuffer_Release(&second);
        }
        PyBuffer_Release(&first);
    }
    PyErr_Clear();
    return equal;
}

/* 1, 1.0 and True differ, and so do 0.0 and -0.0. */
static bool
equal_constants(PyObject *a, PyObject *b)
{
    if (a == b) {
        return true;
    }
    if (Py_TYPE(a) != Py_TYPE(b)) {
        return false;
    }
    if (PyFloat_CheckExact(a)) {
        return memcmp(&((PyFloatObject *)a)->ob_fval, &((PyFloatObject *)b)->ob_fval,
                      sizeof(double)) == 0;
    }
    if (PyComplex_CheckExact(a)) {
        return memcmp(&((PyComplexObject *)a)->cval, &((PyComplexObject *)b)->cval,
                      sizeof(Py_complex)) == 0;
    }
    if (PyLong_CheckExact(a) || PyUnicode_CheckExact(a) || PyBytes_CheckExact(a)) {
        return PyObject_RichCompareBool(a, b, Py_EQ) == 1;
    }
    return PyObject_CheckBuffer(a) && equal_memory(a, b);
}

static uint64_t
hash_node(const struct formula_node *node)
{
    uint64_t hash = mix((uint64_t)node->kind, (uint64_t)(unsigned)node->operation);
    hash = mix(hash, (uint64_t)(unsigned)node->index);
    if (node->kind == FORMULA_CONSTANT) {
        hash = mix(hash, hash_constant(node->object));
    }
    else {
        hash = mix(hash, (uint64_t)(uintptr_t)node->object);
    }
    for (int i = 0; i < node->child_count; i++) {
        hash = mix(hash, (uint64_t)(unsigned)node->children[i]);
    }
    return hash ^ (hash >> 32);
}

/* The keywords' names are interned. */
static bool
equal_keywords(PyObject *a, PyObject *b)
{
    if (a == NULL || b == NULL || PyTuple_GET_SIZE(a) != PyTuple_GET_SIZE(b)) {
        return a == b;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a); i++) {
        if (PyTuple_GET_ITEM(a, i) != PyTuple_GET_ITEM(b, i)) {
            return false;
        }
    }
    return true;
}

static bool
equal_nodes(const struct formula_node *a, const struct formula_node *b)
{
    if (a->kind != b->kind || a->operation != b->operation || a->index != b->index ||
        a->child_count != b->child_count || !equal_keywords(a->keywords, b->keywords)) {
        return false;
    }
    for (int i = 0; i < a->child_count; i++) {
        if (a->children[i] != b->children[i]) {
            return false;
        }
    }
    return a->kind == FORMULA_CONSTANT ? equal_constants(a->object, b->object)
                                       : a->object == b->object;
}

/* ---- The table of nodes ---- */

/* The slot of an equal node, or the free one where it belongs. */
static int *
find_slot(const struct reader *reader, const struct formula_node *node)
{
    size_t mask = reader->slot_count - 1;
    size_t at = (size_t)hash_node(node) & mask;
    while (reader->slots[at] >= 0 &&
           !equal_nodes(&reader->formula->nodes[reader->slots[at]], node)) {
        at = (at + 1) & mask;
    }
    return &reader->slots[at];
}

static void
empty_slots(struct reader *reader)
{
    if (reader->slots != NULL) {
        memset(reader->slots, 0xFF, reader->slot_count * sizeof(*reader->slots));
    }
}

/* The table of a long statement is not emptied again for each short one behind it. */
void
node_end_sharing(struct reader *reader)
{
    if (reader->slot_count > SMALL_TABLE) {
        free(reader->slots);
        reader->slots = NULL;
        reader->slot_count = 0;
    }
    empty_slots(reader);
}

/* Nodes from `first` on are in the table; at most half of it is used. */
static int
grow_slots(struct reader *reader, int first)
{
    size_t count = reader->slot_count == 0 ? SMALL_TABLE : 2 * reader->slot_count;
    int *slots = malloc(count * sizeof(*slots));
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    free(reader->slots);
    reader->slots = slots;
    reader->slot_count = count;
    empty_slots(reader);
    for (int i = first; i < reader->formula->node_count; i++) {
        *find_slot(reader, &reader->formula->nodes[i]) = i;
    }
    return 0;
}

static int
grow_nodes(struct reader *reader)
{
    struct formula *formula = reader->formula;
    if (formula->node_count < reader->node_capacity) {
        return 0;
    }
    int capacity = reader->node_capacity == 0 ? 32 : 2 * reader->node_capacity;
    struct formula_node *nodes =
        realloc(formula->nodes, (size_t)capacity * sizeof(*formula->nodes));
    if (nodes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    formula->nodes = nodes;
    reader->node_capacity = capacity;
    return 0;
}

static int
append_node(struct reader *reader, const struct formula_node *node, struct place place)
{
    struct formula *formula = reader->formula;
    struct span span;
    if (formula->node_count >= NODE_LIMIT) {
        return reader_refuse(reader, place.last, PyExc_SyntaxError,
                             "the text has more than %d different parts", NODE_LIMIT);
    }
    if (reader_span(reader, place, &span) < 0 || grow_nodes(reader) < 0) {
        return -1;
    }
    struct formula_node *added = &formula->nodes[formula->node_count];
    *added = *node;
    added->line = span.line;
    added->column = span.column;
    added->end_line = span.end_line;
    added->end_column = span.end_column;
    return formula->node_count++;
}

int *
node_children(struct reader *reader, Py_ssize_t count)
{
    int *children = arena_take(&reader->formula->arena, (size_t)(count + 1) * sizeof(*children));
    if (children == NULL) {
        PyErr_NoMemory();
    }
    return children;
}

int
node_add(struct reader *reader, struct formula_node *node, struct place place)
{
    const struct formula *formula = reader->formula;
    int first = formula->statements[formula->statement_count - 1].first_node;
    int number = -1;
    size_t used = (size_t)(formula->node_count - first);
    if (2 * (used + 1) <= reader->slot_count || grow_slots(reader, first) == 0) {
        int *slot = find_slot(reader, node);
        number = *slot;
        if (number < 0) {
            number = append_node(reader, node, place);
            *slot = number;
            if (number >= 0) {
                return number;
            }
        }
    }
    Py_XDECREF(node->object);
    Py_XDECREF(node->keywords);
    return number;
}

int
node_add_parent(struct reader *reader, struct formula_node *node, PyObject *tree, int count,
                int first, int second, int third)
{
    int *children = node_children(reader, 3);
    if (children == NULL) {
        Py_XDECREF(node->object);
        return -1;
    }
    children[0] = first;
    children[1] = second;
    children[2] = third;
    node->child_count = count;
    node->children = children;
    return node_add(reader, node, (struct place){tree, tree});
}

int
node_add_operator(struct reader *reader, int operation, int first, int second, struct place place)
{
    int *children = node_children(reader, 2);
    if (children == NULL) {
        return -1;
    }
    children[0] = first;
    children[1] = second;
    struct formula_node node = {.kind = FORMULA_OPERATOR,
                                .operation = operation,
                                .child_count = second < 0 ? 1 : 2,
                                .children = children,
                                .elementwise = true};
    return node_add(reader, &node, place);
}

int
node_add_constant(struct reader *reader, PyObject *object, PyObject *tree)
{
    struct formula_node node = {.kind = FORMULA_CONSTANT, .object = Py_NewRef(object)};
    return node_add(reader, &node, (struct place){tree, tree});
}

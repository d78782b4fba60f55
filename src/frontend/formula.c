/* formula.c: the tree of an array expression, or of assignments -> nodes.
 *
 * Only what stands here by name is allowed; every other class of Python's tree ends in a SyntaxError.
 */
#include "formula.h"

#include <stdint.h>
#include <stdlib.h>

#include "formula_reader.h"

#define DEPTH_LIMIT 500

/* ---- Names and constants ---- */

int
reader_find_name(struct reader *reader, PyObject *name, PyObject *tree)
{
    PyObject *known = PyDict_GetItemWithError(reader->names, name);
    if (known != NULL) {
        return (int)PyLong_AsLong(known);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    if (length > 4 && PyUnicode_READ_CHAR(name, 0) == '_' && PyUnicode_READ_CHAR(name, 1) == '_' &&
        PyUnicode_READ_CHAR(name, length - 1) == '_' &&
        PyUnicode_READ_CHAR(name, length - 2) == '_') {
        return reader_refuse(reader, tree, PyExc_SyntaxError, "the name %U is not allowed", name);
    }
    int index = (int)PyDict_GET_SIZE(reader->names);
    PyObject *number = PyLong_FromLong(index);
    int result = number == NULL ? -1 : PyDict_SetItem(reader->names, name, number);
    Py_XDECREF(number);
    return result < 0 ? -1 : index;
}

static int
read_name(struct reader *reader, PyObject *tree)
{
    PyObject *name = borrow(tree, reader->classes->name_id);
    int index = name == NULL ? -1 : reader_find_name(reader, name, tree);
    if (index < 0) {
        return -1;
    }
    struct formula_node node = {.kind = FORMULA_NAME, .index = index};
    return node_add(reader, &node, (struct place){tree, tree});
}

/* Whether 0 <= value <= limit; `value` is a literal, which has no sign. */
static bool
is_at_most(PyObject *value, unsigned long long limit)
{
    unsigned long long number = PyLong_AsUnsignedLongLong(value);
    if (number == (unsigned long long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return number <= limit;
}

/* `any`: None and Ellipsis too. */
static int
read_constant(struct reader *reader, PyObject *tree, bool any)
{
    PyObject *value = borrow(tree, reader->classes->name_value);
    if (value == NULL) {
        return -1;
    }
    if (!any && (value == Py_None || value == Py_Ellipsis)) {
        return reader_refuse(reader, tree, PyExc_SyntaxError,
                             "%R is allowed only in an index or as the value of a keyword", value);
    }
    if (PyLong_CheckExact(value) && !is_at_most(value, UINT64_MAX)) {
        return reader_refuse_integer(reader, tree);
    }
    return node_add_constant(reader, value, tree);
}

/* None where the text has None, else an expression. */
int
read_value_or_none(struct reader *reader, PyObject *tree)
{
    return is_class(reader, tree, CLASS_Constant) ? read_constant(reader, tree, true)
                                                  : read_expression(reader, tree);
}

int
read_tuple(struct reader *reader, PyObject *tree, int (*read)(struct reader *, PyObject *))
{
    PyObject *items = reader_list(tree, reader->classes->name_elts);
    Py_ssize_t count = items == NULL ? 0 : PyList_GET_SIZE(items);
    int *children = items == NULL ? NULL : node_children(reader, count);
    if (children == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        children[i] = read(reader, PyList_GET_ITEM(items, i));
        if (children[i] < 0) {
            return -1;
        }
    }
    struct formula_node node = {
        .kind = FORMULA_TUPLE, .child_count = (int)count, .children = children};
    return node_add(reader, &node, (struct place){tree, tree});
}

/* ---- Indices ---- */

/* An integer or a bool of a list, with its sign: a new reference, or NULL, without an exception where it is neither. */
static PyObject *
list_item(const struct reader *reader, PyObject *tree)
{
    const struct formula_classes *classes = reader->classes;
    bool negative = false;
    if (is_class(reader, tree, CLASS_UnaryOp)) {
        PyObject *operation = borrow(tree, classes->name_op);
        negative = operation != NULL && is_class(reader, operation, CLASS_USub);
        tree = negative ? borrow(tree, classes->name_operand) : NULL;
    }
    PyObject *value = tree != NULL && is_class(reader, tree, CLASS_Constant)
                          ? borrow(tree, classes->name_value)
                          : NULL;
    if (value == NULL || !(PyLong_CheckExact(value) || (PyBool_Check(value) && !negative))) {
        return NULL;
    }
    return negative ? PyNumber_Negative(value) : Py_NewRef(value);
}

/* The array, which nobody may change: calls share it. */
static PyObject *
index_array(const struct reader *reader, PyObject *values, bool flags)
{
    PyObject *numpy = reader->classes->numpy;
    PyObject *array = PyObject_CallMethod(numpy, "array", "Os", values, flags ? "bool" : "intp");
    PyObject *done = array == NULL ? NULL : PyObject_CallMethod(array, "setflags", "O", Py_False);
    if (done == NULL) {
        Py_CLEAR(array);
    }
    Py_XDECREF(done);
    return array;
}

static int
read_list_items(struct reader *reader, PyObject *tree, PyObject *items, PyObject *values)
{
    bool flags = PyList_GET_SIZE(items) > 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        PyObject *value = list_item(reader, item);
        if (value == NULL) {
            return PyErr_Occurred() ? -1
                                    : reader_refuse(reader, item, PyExc_SyntaxError,
                                                    "a list in an index holds integers only");
        }
        flags = flags && PyBool_Check(value);
        int result = PyList_Append(values, value);
        Py_DECREF(value);
        if (result < 0) {
            return -1;
        }
    }
    PyObject *array = index_array(reader, values, flags);
    if (array == NULL) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Clear();
            reader_refuse_integer(reader, tree);
        }
        return -1;
    }
    int number = node_add_constant(reader, array, tree);
    Py_DECREF(array);
    return number;
}

/* a[[0, 2]]: an array of integers, or of bools where all are bools, as numpy.array makes it. */
static int
read_list(struct reader *reader, PyObject *tree)
{
    PyObject *items = reader_list(tree, reader->classes->name_elts);
    PyObject *values = items == NULL ? NULL : PyList_New(0);
    int number = values == NULL ? -1 : read_list_items(reader, tree, items, values);
    Py_XDECREF(values);
    return number;
}

/* A part of a slice: -1 where it is left out, -2 with an exception. */
static int
read_bound(struct reader *reader, PyObject *tree, PyObject *name)
{
    PyObject *bound = borrow(tree, name);
    if (bound == NULL || bound == Py_None) {
        return bound == NULL ? -2 : -1;
    }
    if (is_class(reader, bound, CLASS_Constant) &&
        borrow(bound, reader->classes->name_value) == Py_None) {
        return -1;
    }
    int number = read_expression(reader, bound);
    return number < 0 ? -2 : number;
}

static int
read_slice(struct reader *reader, PyObject *tree)
{
    int lower = read_bound(reader, tree, reader->classes->name_lower);
    int upper = lower < -1 ? -2 : read_bound(reader, tree, reader->classes->name_upper);
    int step = upper < -1 ? -2 : read_bound(reader, tree, reader->classes->name_step);
    struct formula_node node = {.kind = FORMULA_SLICE};
    return step < -1 ? -1 : node_add_parent(reader, &node, tree, 3, lower, upper, step);
}

/* What may stand in an index, or in the tuple that is one. */
static int
read_index_item(struct reader *reader, PyObject *tree)
{
    if (is_class(reader, tree, CLASS_Slice)) {
        return read_slice(reader, tree);
    }
    if (is_class(reader, tree, CLASS_List)) {
        return read_list(reader, tree);
    }
    if (is_class(reader, tree, CLASS_Tuple)) {
        return reader_refuse(reader, tree, PyExc_SyntaxError,
                             "a tuple inside an index is not allowed: write a list, [0, 2]");
    }
    return read_value_or_none(reader, tree);
}

static int
read_subscript(struct reader *reader, PyObject *tree)
{
    PyObject *value = borrow(tree, reader->classes->name_value);
    PyObject *slice = borrow(tree, reader->classes->name_slice);
    int array = value == NULL || slice == NULL ? -1 : read_expression(reader, value);
    if (array < 0) {
        return -1;
    }
    int index = is_class(reader, slice, CLASS_Tuple) ? read_tuple(reader, slice, read_index_item)
                                                     : read_index_item(reader, slice);
    struct formula_node node = {.kind = FORMULA_SUBSCRIPT};
    return index < 0 ? -1 : node_add_parent(reader, &node, tree, 2, array, index, -1);
}

static int
read_attribute(struct reader *reader, PyObject *tree)
{
    const struct formula_classes *classes = reader->classes;
    PyObject *value = borrow(tree, classes->name_value);
    PyObject *name = borrow(tree, classes->name_attr);
    if (value == NULL || name == NULL) {
        return -1;
    }
    PyObject *known = name == classes->name_real   ? classes->name_real
                      : name == classes->name_imag ? classes->name_imag
                      : name == classes->name_T    ? classes->name_T
                                                   : NULL;
    if (known == NULL) {
        return reader_refuse(reader, tree, PyExc_SyntaxError,
                             "'.%U' is not allowed: only .real, .imag and .T are", name);
    }
    int child = read_expression(reader, value);
    struct formula_node node = {.kind = FORMULA_ATTRIBUTE};
    if (child < 0) {
        return -1;
    }
    node.object = Py_NewRef(known);
    return node_add_parent(reader, &node, tree, 1, child, -1, -1);
}

/* ---- Operators ---- */

static int
push_spine(struct reader *reader, PyObject *tree)
{
    if (reader->spine_size == reader->spine_capacity) {
        size_t capacity = reader->spine_capacity == 0 ? 16 : 2 * reader->spine_capacity;
        PyObject **spine = realloc(reader->spine, capacity * sizeof(*spine));
        if (spine == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        reader->spine = spine;
        reader->spine_capacity = capacity;
    }
    reader->spine[reader->spine_size++] = tree;
    return 0;
}

/* The operator `tree`, whose left operand is the node `left`. */
static int
read_right(struct reader *reader, PyObject *tree, int left)
{
    PyObject *sign = borrow(tree, reader->classes->name_op);
    PyObject *operand = borrow(tree, reader->classes->name_right);
    if (sign == NULL || operand == NULL) {
        return -1;
    }
    int operation = reader_find_class(reader, sign, CLASS_Add, CLASS_BitXor);
    if (operation < 0) {
        return reader_refuse_class(reader, tree, sign, "this operator is not allowed");
    }
    int right = read_expression(reader, operand);
    return right < 0
               ? -1
               : node_add_operator(reader, operation, left, right, (struct place){tree, tree});
}

/* a + b + c ... is as deep as it is long: down its left side without recursion. */
static int
read_binary(struct reader *reader, PyObject *tree)
{
    size_t bottom = reader->spine_size;
    while (tree != NULL && is_class(reader, tree, CLASS_BinOp)) {
        if (push_spine(reader, tree) < 0) {
            return -1;
        }
        tree = borrow(tree, reader->classes->name_left);
    }
    int number = tree == NULL ? -1 : read_expression(reader, tree);
    while (number >= 0 && reader->spine_size > bottom) {
        number = read_right(reader, reader->spine[--reader->spine_size], number);
    }
    return number;
}

static int
read_unary(struct reader *reader, PyObject *tree)
{
    PyObject *sign = borrow(tree, reader->classes->name_op);
    PyObject *operand = borrow(tree, reader->classes->name_operand);
    if (sign == NULL || operand == NULL) {
        return -1;
    }
    int operation = reader_find_class(reader, sign, CLASS_USub, CLASS_Invert);
    if (operation < 0) {
        return reader_refuse_class(reader, tree, sign, "this operator is not allowed");
    }
    if (operation == FORMULA_NEGATIVE && is_class(reader, operand, CLASS_Constant)) {
        PyObject *value = borrow(operand, reader->classes->name_value);
        if (value != NULL && PyLong_CheckExact(value) &&
            !is_at_most(value, (unsigned long long)1 << 63)) {
            return reader_refuse_integer(reader, tree);
        }
    }
    int child = read_expression(reader, operand);
    return child < 0 ? -1
                     : node_add_operator(reader, operation, child, -1, (struct place){tree, tree});
}

/* One comparison of a chain: `left` of the tree is the node `first`; `right` gives the node `second`. */
static int
read_comparison(struct reader *reader, PyObject *tree, PyObject *sign, PyObject *left,
                PyObject *right, int first, int *second)
{
    int operation = reader_find_class(reader, sign, CLASS_Lt, CLASS_GtE);
    if (operation < 0) {
        return reader_refuse_class(reader, tree, sign, "this comparison is not allowed");
    }
    *second = read_expression(reader, right);
    return *second < 0
               ? -1
               : node_add_operator(reader, operation, first, *second, (struct place){left, right});
}

/* a < b < c is (a < b) & (b < c). */
static int
read_compare(struct reader *reader, PyObject *tree)
{
    PyObject *left = borrow(tree, reader->classes->name_left);
    PyObject *signs = reader_list(tree, reader->classes->name_ops);
    PyObject *operands = reader_list(tree, reader->classes->name_comparators);
    if (left == NULL || signs == NULL || operands == NULL) {
        return -1;
    }
    PyObject *start = left;
    int first = read_expression(reader, left);
    int all = -1;
    for (Py_ssize_t i = 0; first >= 0 && i < PyList_GET_SIZE(operands); i++) {
        PyObject *right = PyList_GET_ITEM(operands, i);
        int number =
            read_comparison(reader, tree, PyList_GET_ITEM(signs, i), left, right, first, &first);
        if (number >= 0 && i > 0) {
            number =
                node_add_operator(reader, FORMULA_AND, all, number, (struct place){start, right});
        }
        if (number < 0) {
            return -1;
        }
        all = number;
        left = right;
    }
    return first < 0 ? -1 : all;
}

static int
read_condition(struct reader *reader, PyObject *tree)
{
    PyObject *test = borrow(tree, reader->classes->name_test);
    PyObject *body = borrow(tree, reader->classes->name_body);
    PyObject *otherwise = borrow(tree, reader->classes->name_orelse);
    if (test == NULL || body == NULL || otherwise == NULL) {
        return -1;
    }
    int condition = read_expression(reader, test);
    int chosen = condition < 0 ? -1 : read_expression(reader, body);
    int other = chosen < 0 ? -1 : read_expression(reader, otherwise);
    struct formula_node node = {.kind = FORMULA_CONDITION};
    return other < 0 ? -1 : node_add_parent(reader, &node, tree, 3, condition, chosen, other);
}

/* ---- Expressions ---- */

static int
refuse_expression(struct reader *reader, PyObject *tree)
{
    PyObject *what = tree;
    if (is_class(reader, tree, CLASS_BoolOp)) {
        what = borrow(tree, reader->classes->name_op);
    }
    return what == NULL
               ? -1
               : reader_refuse_class(reader, tree, what, "this is not allowed in an expression");
}

static int
read_by_class(struct reader *reader, PyObject *tree)
{
    static const struct {
        enum class class;
        int (*read)(struct reader *reader, PyObject *tree);
    } READERS[] = {
        {CLASS_Name, read_name},           {CLASS_BinOp, read_binary},
        {CLASS_Call, read_call},           {CLASS_UnaryOp, read_unary},
        {CLASS_Subscript, read_subscript}, {CLASS_Compare, read_compare},
        {CLASS_IfExp, read_condition},     {CLASS_Attribute, read_attribute},
    };
    if (is_class(reader, tree, CLASS_Constant)) {
        return read_constant(reader, tree, false);
    }
    for (size_t i = 0; i < sizeof(READERS) / sizeof(READERS[0]); i++) {
        if (is_class(reader, tree, READERS[i].class)) {
            return READERS[i].read(reader, tree);
        }
    }
    return refuse_expression(reader, tree);
}

/* The node of an expression, or -1 with an exception. */
int
read_expression(struct reader *reader, PyObject *tree)
{
    if (reader->depth >= DEPTH_LIMIT) {
        return reader_refuse(reader, tree, PyExc_SyntaxError,
                             "the expression nests deeper than %d levels", DEPTH_LIMIT);
    }
    reader->depth++;
    int number = read_by_class(reader, tree);
    reader->depth--;
    return number;
}

/* ---- Statements ---- */

static struct formula_statement *
begin_statement(struct reader *reader)
{
    struct formula *formula = reader->formula;
    if (formula->statement_count == reader->statement_capacity) {
        int capacity = reader->statement_capacity == 0 ? 4 : 2 * reader->statement_capacity;
        struct formula_statement *statements =
            realloc(formula->statements, (size_t)capacity * sizeof(*statements));
        if (statements == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        formula->statements = statements;
        reader->statement_capacity = capacity;
    }
    struct formula_statement *statement = &formula->statements[formula->statement_count++];
    *statement = (struct formula_statement){
        .target = -1, .operation = -1, .value = -1, .line = 1, .first_node = formula->node_count};
    node_end_sharing(reader);
    return statement;
}

/* A name, or what a name's array holds at an index. */
static int
read_target(struct reader *reader, PyObject *tree)
{
    PyObject *base = tree;
    while (base != NULL && is_class(reader, base, CLASS_Subscript)) {
        base = borrow(base, reader->classes->name_value);
    }
    if (base == NULL) {
        return -1;
    }
    if (!is_class(reader, base, CLASS_Name)) {
        return reader_refuse(reader, tree, PyExc_SyntaxError,
                             "cannot assign to this: write a name, or a name with an index");
    }
    return read_expression(reader, tree);
}

/* The one target of an assignment, borrowed, or NULL with an exception. */
static PyObject *
single_target(const struct reader *reader, PyObject *tree)
{
    PyObject *targets = reader_list(tree, reader->classes->name_targets);
    if (targets == NULL) {
        return NULL;
    }
    if (PyList_GET_SIZE(targets) != 1) {
        reader_refuse(reader, tree, PyExc_SyntaxError,
                      "a = b = c is not allowed: write two assignments, one a line");
        return NULL;
    }
    return PyList_GET_ITEM(targets, 0);
}

static int
read_assignment(struct reader *reader, PyObject *tree, struct formula_statement *statement)
{
    PyObject *target = single_target(reader, tree);
    PyObject *value = target == NULL ? NULL : borrow(tree, reader->classes->name_value);
    if (value == NULL) {
        return -1;
    }
    statement->value = read_expression(reader, value);
    statement->target = statement->value < 0 ? -1 : read_target(reader, target);
    return statement->target < 0 ? -1 : 0;
}

static int
read_in_place(struct reader *reader, PyObject *tree, struct formula_statement *statement)
{
    PyObject *sign = borrow(tree, reader->classes->name_op);
    PyObject *target = borrow(tree, reader->classes->name_target);
    PyObject *value = borrow(tree, reader->classes->name_value);
    if (sign == NULL || target == NULL || value == NULL) {
        return -1;
    }
    statement->operation = reader_find_class(reader, sign, CLASS_Add, CLASS_BitXor);
    if (statement->operation < 0) {
        return reader_refuse_class(reader, tree, sign, "this operator is not allowed");
    }
    statement->target = read_target(reader, target);
    statement->value = statement->target < 0 ? -1 : read_expression(reader, value);
    return statement->value < 0 ? -1 : 0;
}

static int
read_statement(struct reader *reader, PyObject *tree)
{
    struct formula_statement *statement = begin_statement(reader);
    struct span span;
    if (statement == NULL || reader_span(reader, (struct place){tree, tree}, &span) < 0) {
        return -1;
    }
    statement->line = span.line;
    if (is_class(reader, tree, CLASS_Assign)) {
        return read_assignment(reader, tree, statement);
    }
    if (is_class(reader, tree, CLASS_AugAssign)) {
        return read_in_place(reader, tree, statement);
    }
    if (is_class(reader, tree, CLASS_Expr)) {
        return reader_refuse(
            reader, tree, PyExc_SyntaxError,
            "an expression alone does nothing here: write an assignment, as in a = b + c");
    }
    return reader_refuse_class(reader, tree, tree, "only assignments are allowed, as in a = b + c");
}

static int
read_statements(struct reader *reader)
{
    PyObject *body = reader_list(reader->tree.root, reader->classes->name_body);
    if (body == NULL) {
        return -1;
    }
    if (PyList_GET_SIZE(body) == 0) {
        struct span start = {1, 0, 1, 1};
        span_raise(reader->formula->text, &start, PyExc_SyntaxError,
                   "the text has no assignment, such as a = b + c");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(body); i++) {
        if (read_statement(reader, PyList_GET_ITEM(body, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
read_single(struct reader *reader)
{
    PyObject *body = borrow(reader->tree.root, reader->classes->name_body);
    struct formula_statement *statement = body == NULL ? NULL : begin_statement(reader);
    if (statement == NULL) {
        return -1;
    }
    statement->value = read_expression(reader, body);
    if (statement->value < 0) {
        return -1;
    }
    statement->line = reader->formula->nodes[statement->value].line;
    return 0;
}

/* ---- The formula ---- */

static int
read_formula(struct reader *reader, bool statements)
{
    struct formula *formula = reader->formula;
    if (tree_parse(formula->text, statements, &reader->tree) < 0) {
        return -1;
    }
    reader->names = PyDict_New();
    if (reader->names == NULL || (statements ? read_statements(reader) : read_single(reader)) < 0) {
        return -1;
    }
    PyObject *names = PyDict_Keys(reader->names);
    formula->names = names == NULL ? NULL : PyList_AsTuple(names);
    Py_XDECREF(names);
    return formula->names == NULL ? -1 : 0;
}

struct formula *
formula_read(struct state *state, PyObject *text, bool statements, const char *function)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%s() takes the text of %s, a str, not %.100s", function,
                     statements ? "assignments" : "an expression", Py_TYPE(text)->tp_name);
        return NULL;
    }
    struct reader reader = {.classes = formula_classes_get(state)};
    reader.formula = reader.classes == NULL ? NULL : calloc(1, sizeof(*reader.formula));
    if (reader.formula == NULL) {
        return reader.classes == NULL ? NULL : (struct formula *)PyErr_NoMemory();
    }
    reader.formula->text = PyUnicode_FromObject(text);
    if (reader.formula->text == NULL || read_formula(&reader, statements) < 0) {
        formula_free(reader.formula);
        reader.formula = NULL;
    }
    tree_free(&reader.tree);
    Py_XDECREF(reader.names);
    free(reader.slots);
    free(reader.spine);
    return reader.formula;
}

void
formula_free(struct formula *formula)
{
    if (formula == NULL) {
        return;
    }
    for (int i = 0; i < formula->node_count; i++) {
        Py_XDECREF(formula->nodes[i].object);
        Py_XDECREF(formula->nodes[i].keywords);
    }
    free(formula->nodes);
    free(formula->statements);
    arena_free(&formula->arena);
    Py_XDECREF(formula->text);
    Py_XDECREF(formula->names);
    free(formula);
}

PyObject *
formula_raise(const struct formula *formula, int node, PyObject *exception, const char *format, ...)
{
    const struct formula_node *place = &formula->nodes[node];
    struct span span = {place->line, place->column, place->end_line, place->end_column};
    va_list values;
    va_start(values, format);
    span_raise_list(formula->text, &span, exception, format, values);
    va_end(values);
    return NULL;
}

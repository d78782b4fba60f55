/* formula.c: the tree of an array expression, or of assignments -> nodes.
 *
 * Only what stands here by name is allowed; every other class of Python's tree ends in a SyntaxError.
 */
#include "formula.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

#define NODE_LIMIT 100000
#define DEPTH_LIMIT 500
#define DTYPE_TEXT_LIMIT 32 /* characters of dtype="..." */

/* ---- What is looked up once ---- */

/* Classes of Python's module _ast. The operators first, in the order of FORMULA_OPERATORS. */
#define CLASSES(CLASS)                                                                             \
    CLASS(Add)                                                                                     \
    CLASS(Sub)                                                                                     \
    CLASS(Mult)                                                                                    \
    CLASS(Div)                                                                                     \
    CLASS(FloorDiv)                                                                                \
    CLASS(Mod)                                                                                     \
    CLASS(Pow)                                                                                     \
    CLASS(LShift)                                                                                  \
    CLASS(RShift)                                                                                  \
    CLASS(BitAnd)                                                                                  \
    CLASS(BitOr)                                                                                   \
    CLASS(BitXor)                                                                                  \
    CLASS(Lt)                                                                                      \
    CLASS(LtE)                                                                                     \
    CLASS(Eq)                                                                                      \
    CLASS(NotEq)                                                                                   \
    CLASS(Gt)                                                                                      \
    CLASS(GtE)                                                                                     \
    CLASS(USub)                                                                                    \
    CLASS(UAdd)                                                                                    \
    CLASS(Invert)                                                                                  \
    CLASS(MatMult)                                                                                 \
    CLASS(And)                                                                                     \
    CLASS(Or)                                                                                      \
    CLASS(Not)                                                                                     \
    CLASS(Is)                                                                                      \
    CLASS(IsNot)                                                                                   \
    CLASS(In)                                                                                      \
    CLASS(NotIn)                                                                                   \
    CLASS(BoolOp)                                                                                  \
    CLASS(NamedExpr)                                                                               \
    CLASS(BinOp)                                                                                   \
    CLASS(UnaryOp)                                                                                 \
    CLASS(Lambda)                                                                                  \
    CLASS(IfExp)                                                                                   \
    CLASS(Dict)                                                                                    \
    CLASS(Set)                                                                                     \
    CLASS(ListComp)                                                                                \
    CLASS(SetComp)                                                                                 \
    CLASS(DictComp)                                                                                \
    CLASS(GeneratorExp)                                                                            \
    CLASS(Await)                                                                                   \
    CLASS(Yield)                                                                                   \
    CLASS(YieldFrom)                                                                               \
    CLASS(Compare)                                                                                 \
    CLASS(Call)                                                                                    \
    CLASS(JoinedStr)                                                                               \
    CLASS(Constant)                                                                                \
    CLASS(Attribute)                                                                               \
    CLASS(Subscript)                                                                               \
    CLASS(Starred)                                                                                 \
    CLASS(Name)                                                                                    \
    CLASS(List)                                                                                    \
    CLASS(Tuple)                                                                                   \
    CLASS(Slice)                                                                                   \
    CLASS(Assign)                                                                                  \
    CLASS(AugAssign)                                                                               \
    CLASS(AnnAssign)                                                                               \
    CLASS(Expr)                                                                                    \
    CLASS(Pass)                                                                                    \
    CLASS(Delete)

enum class {
#define CLASS(name) CLASS_##name,
    CLASSES(CLASS)
#undef CLASS
        CLASS_COUNT
};

/* Attributes of the tree's objects and other names. */
#define NAMES(NAME)                                                                                \
    NAME(args)                                                                                     \
    NAME(arg)                                                                                      \
    NAME(attr)                                                                                     \
    NAME(body)                                                                                     \
    NAME(col_offset)                                                                               \
    NAME(comparators)                                                                              \
    NAME(elts)                                                                                     \
    NAME(end_col_offset)                                                                           \
    NAME(end_lineno)                                                                               \
    NAME(func)                                                                                     \
    NAME(id)                                                                                       \
    NAME(keywords)                                                                                 \
    NAME(left)                                                                                     \
    NAME(lineno)                                                                                   \
    NAME(lower)                                                                                    \
    NAME(op)                                                                                       \
    NAME(operand)                                                                                  \
    NAME(ops)                                                                                      \
    NAME(orelse)                                                                                   \
    NAME(right)                                                                                    \
    NAME(slice)                                                                                    \
    NAME(step)                                                                                     \
    NAME(target)                                                                                   \
    NAME(targets)                                                                                  \
    NAME(test)                                                                                     \
    NAME(upper)                                                                                    \
    NAME(value)                                                                                    \
    NAME(values)                                                                                   \
    NAME(real)                                                                                     \
    NAME(imag)                                                                                     \
    NAME(T)                                                                                        \
    NAME(axis)                                                                                     \
    NAME(dtype)                                                                                    \
    NAME(nin)                                                                                      \
    NAME(nout)                                                                                     \
    NAME(signature)                                                                                \
    NAME(hasobject)

struct formula_classes {
    PyTypeObject *classes[CLASS_COUNT];
    PyObject *numpy;      /* the module */
    PyObject *fixed;      /* dict: name -> its place in FIXED */
    PyObject *ufunc;      /* numpy.ufunc */
    PyObject *dtype;      /* numpy.dtype */
    PyObject *number;     /* numpy.number */
    PyObject *bool_type;  /* numpy.bool */
    PyObject *time_delta; /* numpy.timedelta64, a number in NumPy's classes */
#define NAME(name) PyObject *name_##name;
    NAMES(NAME)
#undef NAME
};

/* Keywords of calls. */
#define KEYWORDS(KEYWORD)                                                                          \
    KEYWORD(AXIS, "axis")                                                                          \
    KEYWORD(KEEPDIMS, "keepdims")                                                                  \
    KEYWORD(DTYPE, "dtype")                                                                        \
    KEYWORD(INITIAL, "initial")                                                                    \
    KEYWORD(WHERE, "where")                                                                        \
    KEYWORD(CASTING, "casting")                                                                    \
    KEYWORD(ORDER, "order")                                                                        \
    KEYWORD(MIN, "min")                                                                            \
    KEYWORD(MAX, "max")                                                                            \
    KEYWORD(A_MIN, "a_min")                                                                        \
    KEYWORD(A_MAX, "a_max")

enum keyword_number {
#define KEYWORD(name, text) NUMBER_##name,
    KEYWORDS(KEYWORD)
#undef KEYWORD
        KEYWORD_COUNT
};

enum keyword {
#define KEYWORD(name, text) KEYWORD_##name = 1 << NUMBER_##name,
    KEYWORDS(KEYWORD)
#undef KEYWORD
};

static const char *const KEYWORD_TEXTS[] = {
#define KEYWORD(name, text) text,
    KEYWORDS(KEYWORD)
#undef KEYWORD
};

#define UFUNC_KEYWORDS (KEYWORD_DTYPE | KEYWORD_CASTING | KEYWORD_ORDER | KEYWORD_WHERE)
#define REDUCTION_KEYWORDS (KEYWORD_AXIS | KEYWORD_KEEPDIMS)

/* Functions beside NumPy's ufuncs, and Python's names of types. */
static const struct fixed {
    const char *name;
    const char *numpy; /* NumPy's name of it */
    enum formula_function function;
    int keywords;
} FIXED[] = {
    {"where", "where", FORMULA_WHERE, 0},
    {"clip", "clip", FORMULA_CLIP, KEYWORD_MIN | KEYWORD_MAX | KEYWORD_A_MIN | KEYWORD_A_MAX},
    {"sum", "sum", FORMULA_REDUCTION,
     REDUCTION_KEYWORDS | KEYWORD_DTYPE | KEYWORD_INITIAL | KEYWORD_WHERE},
    {"prod", "prod", FORMULA_REDUCTION,
     REDUCTION_KEYWORDS | KEYWORD_DTYPE | KEYWORD_INITIAL | KEYWORD_WHERE},
    {"min", "min", FORMULA_REDUCTION, REDUCTION_KEYWORDS | KEYWORD_INITIAL | KEYWORD_WHERE},
    {"max", "max", FORMULA_REDUCTION, REDUCTION_KEYWORDS | KEYWORD_INITIAL | KEYWORD_WHERE},
    {"amin", "min", FORMULA_REDUCTION, REDUCTION_KEYWORDS | KEYWORD_INITIAL | KEYWORD_WHERE},
    {"amax", "max", FORMULA_REDUCTION, REDUCTION_KEYWORDS | KEYWORD_INITIAL | KEYWORD_WHERE},
    {"mean", "mean", FORMULA_REDUCTION, REDUCTION_KEYWORDS | KEYWORD_DTYPE | KEYWORD_WHERE},
    {"any", "any", FORMULA_REDUCTION, REDUCTION_KEYWORDS | KEYWORD_WHERE},
    {"all", "all", FORMULA_REDUCTION, REDUCTION_KEYWORDS | KEYWORD_WHERE},
    {"argmin", "argmin", FORMULA_REDUCTION, REDUCTION_KEYWORDS},
    {"argmax", "argmax", FORMULA_REDUCTION, REDUCTION_KEYWORDS},
    {"bool", "bool", FORMULA_CAST, 0},
    {"int", "int_", FORMULA_CAST, 0},
    {"float", "float64", FORMULA_CAST, 0},
    {"complex", "complex128", FORMULA_CAST, 0},
};

enum { FIXED_COUNT = sizeof(FIXED) / sizeof(FIXED[0]) };

static int
find_classes(struct formula_classes *classes)
{
    static const char *const CLASS_TEXTS[] = {
#define CLASS(name) #name,
        CLASSES(CLASS)
#undef CLASS
    };
    PyObject *module = PyImport_ImportModule("_ast");
    int result = module == NULL ? -1 : 0;
    for (int i = 0; result == 0 && i < CLASS_COUNT; i++) {
        classes->classes[i] = (PyTypeObject *)PyObject_GetAttrString(module, CLASS_TEXTS[i]);
        result = classes->classes[i] == NULL ? -1 : 0;
    }
    Py_XDECREF(module);
    return result;
}

static int
find_numpy(struct formula_classes *classes)
{
    classes->numpy = PyImport_ImportModule("numpy");
    if (classes->numpy == NULL) {
        return -1;
    }
    classes->ufunc = PyObject_GetAttrString(classes->numpy, "ufunc");
    classes->dtype = PyObject_GetAttrString(classes->numpy, "dtype");
    classes->number = PyObject_GetAttrString(classes->numpy, "number");
    classes->bool_type = PyObject_GetAttrString(classes->numpy, "bool");
    classes->time_delta = PyObject_GetAttrString(classes->numpy, "timedelta64");
    return PyErr_Occurred() ? -1 : 0;
}

static int
fill_names(struct formula_classes *classes)
{
#define NAME(name)                                                                                 \
    classes->name_##name = PyUnicode_InternFromString(#name);                                      \
    if (classes->name_##name == NULL) {                                                            \
        return -1;                                                                                 \
    }
    NAMES(NAME)
#undef NAME
    classes->fixed = PyDict_New();
    int result = classes->fixed == NULL ? -1 : 0;
    for (int i = 0; result == 0 && i < FIXED_COUNT; i++) {
        PyObject *place = PyLong_FromLong(i);
        result = place == NULL ? -1 : PyDict_SetItemString(classes->fixed, FIXED[i].name, place);
        Py_XDECREF(place);
    }
    return result;
}

static void
free_classes(struct formula_classes *classes)
{
    for (int i = 0; i < CLASS_COUNT; i++) {
        Py_XDECREF(classes->classes[i]);
    }
#define NAME(name) Py_XDECREF(classes->name_##name);
    NAMES(NAME)
#undef NAME
    Py_XDECREF(classes->numpy);
    Py_XDECREF(classes->fixed);
    Py_XDECREF(classes->ufunc);
    Py_XDECREF(classes->dtype);
    Py_XDECREF(classes->number);
    Py_XDECREF(classes->bool_type);
    Py_XDECREF(classes->time_delta);
    free(classes);
}

void
formula_classes_free(struct state *state)
{
    if (state->formula_classes != NULL) {
        free_classes(state->formula_classes);
        state->formula_classes = NULL;
    }
}

static struct formula_classes *
get_classes(struct state *state)
{
    if (state->formula_classes != NULL) {
        return state->formula_classes;
    }
    struct formula_classes *classes = calloc(1, sizeof(*classes));
    if (classes == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (find_classes(classes) < 0 || find_numpy(classes) < 0 || fill_names(classes) < 0) {
        free_classes(classes);
        return NULL;
    }
    if (state->formula_classes == NULL) { /* an import may have let another thread in */
        state->formula_classes = classes;
    }
    else {
        free_classes(classes);
    }
    return state->formula_classes;
}

/* ---- The reader ---- */

struct reader {
    const struct formula_classes *classes;
    struct formula *formula;
    struct tree tree;
    PyObject *names; /* dict: name -> index */
    int depth;
    int node_capacity;
    int statement_capacity;
    int *slots; /* nodes of the statement by hash, -1: free */
    size_t slot_count;
    PyObject **spine; /* borrowed: operators whose left operand is being read, outermost first */
    size_t spine_size, spine_capacity;
};

/* What a node is made of, beside what struct formula_node says: its place. */
struct place {
    PyObject *first, *last; /* of the tree, borrowed */
};

static bool
is_class(const struct reader *reader, PyObject *tree, enum class number)
{
    return Py_TYPE(tree) == reader->classes->classes[number];
}

/* The class among those from `first` to `last`, or -1. */
static int
find_class(const struct reader *reader, PyObject *tree, int first, int last)
{
    for (int i = first; i <= last; i++) {
        if (Py_TYPE(tree) == reader->classes->classes[i]) {
            return i;
        }
    }
    return -1;
}

/* An attribute, which the tree keeps alive. */
static PyObject *
borrow(PyObject *tree, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(tree, name);
    Py_XDECREF(value);
    return value;
}

static PyObject *
borrow_list(PyObject *tree, PyObject *name)
{
    PyObject *value = borrow(tree, name);
    if (value != NULL && !PyList_Check(value)) {
        PyErr_SetString(PyExc_SystemError, "Python's parser made no list");
        return NULL;
    }
    return value;
}

static int
number_of(PyObject *tree, PyObject *name)
{
    PyObject *value = borrow(tree, name);
    return value == NULL ? -1 : (int)PyLong_AsLong(value);
}

static int
find_span(const struct reader *reader, struct place place, struct span *span)
{
    const struct formula_classes *classes = reader->classes;
    span->line = number_of(place.first, classes->name_lineno);
    span->end_line = number_of(place.last, classes->name_end_lineno);
    int column = number_of(place.first, classes->name_col_offset);
    int end_column = number_of(place.last, classes->name_end_col_offset);
    if (PyErr_Occurred()) {
        return -1;
    }
    span->column = tree_column(&reader->tree, span->line, column);
    span->end_column = tree_column(&reader->tree, span->end_line, end_column);
    return 0;
}

/* Sets an exception that points to a part of the text. Returns -1. */
static int
refuse(const struct reader *reader, PyObject *tree, PyObject *exception, const char *format, ...)
{
    struct span span;
    if (find_span(reader, (struct place){tree, tree}, &span) < 0) {
        return -1;
    }
    va_list values;
    va_start(values, format);
    span_raise_list(reader->formula->text, &span, exception, format, values);
    va_end(values);
    return -1;
}

/* ---- Equal nodes are one ---- */

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

/* A new statement shares nothing with those before it. */
static void
empty_slots(struct reader *reader)
{
    if (reader->slots != NULL) {
        memset(reader->slots, 0xFF, reader->slot_count * sizeof(*reader->slots));
    }
}

/* Nodes from `first` on are in the table; at most half of it is used. */
static int
grow_slots(struct reader *reader, int first)
{
    size_t count = reader->slot_count == 0 ? 64 : 2 * reader->slot_count;
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
        return refuse(reader, place.last, PyExc_SyntaxError,
                      "the text has more than %d different parts", NODE_LIMIT);
    }
    if (find_span(reader, place, &span) < 0 || grow_nodes(reader) < 0) {
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

static int *
take_children(struct reader *reader, Py_ssize_t count)
{
    int *children = arena_take(&reader->formula->arena, (size_t)(count + 1) * sizeof(*children));
    if (children == NULL) {
        PyErr_NoMemory();
    }
    return children;
}

/* The number of the node, or of an equal one that was there. The node's references are taken over; -1 with an
 * exception. */
static int
add_node(struct reader *reader, struct formula_node *node, struct place place)
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

/* A node of up to three children. */
static int
add_parent(struct reader *reader, struct formula_node *node, PyObject *tree, int count, int first,
           int second, int third)
{
    int *children = take_children(reader, 3);
    if (children == NULL) {
        Py_XDECREF(node->object);
        return -1;
    }
    children[0] = first;
    children[1] = second;
    children[2] = third;
    node->child_count = count;
    node->children = children;
    return add_node(reader, node, (struct place){tree, tree});
}

static int
add_operator(struct reader *reader, int operation, int first, int second, struct place place)
{
    int *children = take_children(reader, 2);
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
    return add_node(reader, &node, place);
}

static int
add_constant(struct reader *reader, PyObject *object, PyObject *tree)
{
    struct formula_node node = {.kind = FORMULA_CONSTANT, .object = Py_NewRef(object)};
    return add_node(reader, &node, (struct place){tree, tree});
}

/* ---- Names and constants ---- */

/* The index of the name among the formula's names. */
static int
find_name(struct reader *reader, PyObject *name, PyObject *tree)
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
        return refuse(reader, tree, PyExc_SyntaxError, "the name %U is not allowed", name);
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
    int index = name == NULL ? -1 : find_name(reader, name, tree);
    if (index < 0) {
        return -1;
    }
    struct formula_node node = {.kind = FORMULA_NAME, .index = index};
    return add_node(reader, &node, (struct place){tree, tree});
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

static int
refuse_integer(const struct reader *reader, PyObject *tree)
{
    return refuse(reader, tree, PyExc_OverflowError, "an integer does not fit into 64 bits");
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
        return refuse(reader, tree, PyExc_SyntaxError,
                      "%R is allowed only in an index or as the value of a keyword", value);
    }
    if (PyLong_CheckExact(value) && !is_at_most(value, UINT64_MAX)) {
        return refuse_integer(reader, tree);
    }
    return add_constant(reader, value, tree);
}

/* ---- Refusals, and what to write instead ---- */

static const struct {
    enum class class;
    const char *sign, *hint;
} REFUSED[] = {
    {CLASS_And, "'and'", "write &, as in (a > 0) & (b > 0)"},
    {CLASS_Or, "'or'", "write |, as in (a > 0) | (b > 0)"},
    {CLASS_Not, "'not'", "write ~, as in ~(a > 0)"},
    {CLASS_In, "'in'", "compare with each value, as in (a == 1) | (a == 2)"},
    {CLASS_NotIn, "'not in'", "compare with each value, as in (a != 1) & (a != 2)"},
    {CLASS_Is, "'is'", "write =="},
    {CLASS_IsNot, "'is not'", "write !="},
    {CLASS_MatMult, "'@'", "write matmul(a, b)"},
    {CLASS_NamedExpr, "':='", "write the part where it is used; equal parts are computed once"},
    {CLASS_Lambda, "lambda", "write the expression itself"},
    {CLASS_ListComp, "a comprehension", "write an expression of whole arrays"},
    {CLASS_SetComp, "a comprehension", "write an expression of whole arrays"},
    {CLASS_DictComp, "a comprehension", "write an expression of whole arrays"},
    {CLASS_GeneratorExp, "a generator expression", "write an expression of whole arrays"},
    {CLASS_JoinedStr, "an f-string", "write a plain string"},
    {CLASS_Await, "'await'", "an expression only computes"},
    {CLASS_Yield, "'yield'", "an expression only computes"},
    {CLASS_YieldFrom, "'yield from'", "an expression only computes"},
    {CLASS_Starred, "'*' before an operand", "write the operands one by one"},
    {CLASS_Dict, "a dict", "operands are arrays and numbers"},
    {CLASS_Set, "a set", "operands are arrays and numbers"},
    {CLASS_List, "a list outside an index", "give it a name, and pass it as an array"},
    {CLASS_Tuple, "a tuple outside an index", "write one expression"},
    {CLASS_Slice, "a slice outside an index", "write it in brackets behind an array"},
    {CLASS_Pass, "'pass'", "write an assignment, as in a = b + c"},
    {CLASS_Delete, "'del'", "only assignments are allowed"},
    {CLASS_AnnAssign, "an annotation", "write a plain assignment"},
};

/* `tree` is the part the message points to, `what` the class it is about. */
static int
refuse_class(const struct reader *reader, PyObject *tree, PyObject *what, const char *otherwise)
{
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); i++) {
        if (is_class(reader, what, REFUSED[i].class)) {
            return refuse(reader, tree, PyExc_SyntaxError, "%s is not allowed: %s", REFUSED[i].sign,
                          REFUSED[i].hint);
        }
    }
    return refuse(reader, tree, PyExc_SyntaxError, "%s", otherwise);
}

/* ---- Functions ---- */

/* What a name means as a function. */
struct callee {
    enum formula_function function;
    PyObject *object; /* owned; NULL for FORMULA_NAMED */
    PyObject *name;   /* borrowed */
    int keywords;     /* the allowed ones */
    int least, most;  /* positional arguments; most -1: any number */
    bool elementwise;
};

/* NumPy's name, borrowed: what the module itself has, without its __getattr__. */
static PyObject *
numpy_object(const struct reader *reader, PyObject *name)
{
    return PyDict_GetItemWithError(PyModule_GetDict(reader->classes->numpy), name);
}

/* Types like float64; not what they are derived from, such as floating. */
static bool
is_scalar_type(const struct reader *reader, PyObject *object)
{
    const struct formula_classes *classes = reader->classes;
    if (!PyType_Check(object)) {
        return false;
    }
    PyTypeObject *type = (PyTypeObject *)object;
    newfunc abstract = ((PyTypeObject *)classes->number)->tp_new;
    return object == classes->bool_type ||
           (PyType_IsSubtype(type, (PyTypeObject *)classes->number) && type->tp_new != abstract &&
            object != classes->time_delta);
}

static const struct fixed *
find_fixed(const struct reader *reader, PyObject *name)
{
    PyObject *place = PyDict_GetItemWithError(reader->classes->fixed, name);
    return place == NULL ? NULL : &FIXED[PyLong_AsLong(place)];
}

static int
use_fixed(const struct reader *reader, const struct fixed *fixed, struct callee *callee)
{
    callee->object = PyObject_GetAttrString(reader->classes->numpy, fixed->numpy);
    callee->function = fixed->function;
    callee->keywords = fixed->keywords;
    callee->elementwise = fixed->function != FORMULA_REDUCTION;
    callee->least = fixed->function == FORMULA_WHERE ? 3 : 1;
    callee->most = fixed->function == FORMULA_WHERE || fixed->function == FORMULA_CLIP ? 3
                   : fixed->function == FORMULA_REDUCTION                              ? 2
                                                                                       : 1;
    return callee->object == NULL ? -1 : 0;
}

static int
use_ufunc(const struct reader *reader, PyObject *ufunc, PyObject *tree, struct callee *callee)
{
    int results = number_of(ufunc, reader->classes->name_nout);
    PyObject *signature = PyObject_GetAttr(ufunc, reader->classes->name_signature);
    Py_XDECREF(signature);
    callee->least = callee->most = number_of(ufunc, reader->classes->name_nin);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (results != 1) {
        return refuse(reader, tree, PyExc_TypeError,
                      "%U() has %d results: only functions with one are allowed", callee->name,
                      results);
    }
    callee->function = FORMULA_UFUNC;
    callee->object = Py_NewRef(ufunc);
    callee->keywords = UFUNC_KEYWORDS;
    callee->elementwise = signature == Py_None;
    return 0;
}

/* `tree` is the function's name. Returns 0, or -1 with an exception. */
static int
find_function(const struct reader *reader, PyObject *name, PyObject *tree, struct callee *callee)
{
    *callee = (struct callee){.function = FORMULA_NAMED, .name = name, .least = 1, .most = -1};
    const struct fixed *fixed = find_fixed(reader, name);
    if (fixed != NULL) {
        return use_fixed(reader, fixed, callee);
    }
    PyObject *object = numpy_object(reader, name);
    if (object == NULL && PyErr_Occurred()) {
        return -1;
    }
    if (object != NULL && Py_TYPE(object) == (PyTypeObject *)reader->classes->ufunc) {
        return use_ufunc(reader, object, tree, callee);
    }
    if (object != NULL && is_scalar_type(reader, object)) {
        callee->function = FORMULA_CAST;
        callee->object = Py_NewRef(object);
        callee->most = 1;
        callee->elementwise = true;
        return 0;
    }
    callee->keywords = UFUNC_KEYWORDS;
    return 0;
}

/* np.sin(a) or a.sum(): whether the last word is a function here. */
static int
refuse_callee(const struct reader *reader, PyObject *tree)
{
    if (is_class(reader, tree, CLASS_Attribute)) {
        PyObject *name = borrow(tree, reader->classes->name_attr);
        struct callee callee = {0};
        if (name == NULL) {
            return -1;
        }
        if (find_function(reader, name, tree, &callee) < 0) {
            return -1;
        }
        Py_XDECREF(callee.object);
        if (callee.function != FORMULA_NAMED) {
            return refuse(reader, tree, PyExc_SyntaxError,
                          "a function is called by its name alone: write %U(...)", name);
        }
    }
    return refuse(reader, tree, PyExc_SyntaxError,
                  "only NumPy's functions, and ufuncs that have a name, can be called");
}

/* ---- Calls ---- */

static int read_expression(struct reader *reader, PyObject *tree);

/* A call's arguments so far. */
struct arguments {
    int *children;
    int count;          /* of children */
    PyObject *keywords; /* owned: a list of names */
    int seen;           /* enum keyword */
};

/* None where the text has None, else an expression. */
static int
read_value_or_none(struct reader *reader, PyObject *tree)
{
    return is_class(reader, tree, CLASS_Constant) ? read_constant(reader, tree, true)
                                                  : read_expression(reader, tree);
}

static int
read_tuple(struct reader *reader, PyObject *tree, int (*read)(struct reader *, PyObject *))
{
    PyObject *items = borrow_list(tree, reader->classes->name_elts);
    Py_ssize_t count = items == NULL ? 0 : PyList_GET_SIZE(items);
    int *children = items == NULL ? NULL : take_children(reader, count);
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
    return add_node(reader, &node, (struct place){tree, tree});
}

static int
refuse_dtype(const struct reader *reader, PyObject *tree)
{
    PyErr_Clear();
    return refuse(reader, tree, PyExc_TypeError,
                  "dtype= takes the name of a NumPy type of numbers, as in dtype=float32");
}

/* The name of a type, float32, or a str, "float32". Returns what numpy.dtype() takes: a new reference, or NULL. */
static PyObject *
dtype_source(const struct reader *reader, PyObject *tree)
{
    const struct formula_classes *classes = reader->classes;
    if (is_class(reader, tree, CLASS_Constant)) {
        PyObject *value = borrow(tree, classes->name_value);
        bool good = value != NULL && PyUnicode_CheckExact(value) &&
                    PyUnicode_GET_LENGTH(value) <= DTYPE_TEXT_LIMIT;
        return good ? Py_NewRef(value) : NULL;
    }
    PyObject *name = is_class(reader, tree, CLASS_Name) ? borrow(tree, classes->name_id) : NULL;
    struct callee callee = {0};
    if (name == NULL || find_function(reader, name, tree, &callee) < 0) {
        return NULL;
    }
    if (callee.function != FORMULA_CAST) {
        Py_CLEAR(callee.object);
    }
    return callee.object;
}

static int
read_dtype(struct reader *reader, PyObject *tree)
{
    const struct formula_classes *classes = reader->classes;
    if (is_class(reader, tree, CLASS_Constant) && borrow(tree, classes->name_value) == Py_None) {
        return add_constant(reader, Py_None, tree);
    }
    PyObject *source = dtype_source(reader, tree);
    PyObject *dtype = source == NULL ? NULL : PyObject_CallOneArg(classes->dtype, source);
    Py_XDECREF(source);
    PyObject *objects = dtype == NULL ? NULL : PyObject_GetAttr(dtype, classes->name_hasobject);
    int number =
        objects == Py_False ? add_constant(reader, dtype, tree) : refuse_dtype(reader, tree);
    Py_XDECREF(objects);
    Py_XDECREF(dtype);
    return number;
}

static int
read_keyword_value(struct reader *reader, enum keyword keyword, PyObject *tree)
{
    if (keyword == KEYWORD_DTYPE) {
        return read_dtype(reader, tree);
    }
    if (keyword == KEYWORD_CASTING || keyword == KEYWORD_ORDER) {
        PyObject *value = is_class(reader, tree, CLASS_Constant)
                              ? borrow(tree, reader->classes->name_value)
                              : Py_None;
        if (value == NULL || !PyUnicode_CheckExact(value)) {
            return value == NULL ? -1
                                 : refuse(reader, tree, PyExc_TypeError, "%s= takes a string",
                                          keyword == KEYWORD_ORDER ? "order" : "casting");
        }
    }
    if (keyword == KEYWORD_AXIS && is_class(reader, tree, CLASS_Tuple)) {
        return read_tuple(reader, tree, read_expression);
    }
    return read_value_or_none(reader, tree);
}

/* The keyword of that name among the allowed ones, or 0. */
static int
find_keyword(PyObject *name, int allowed)
{
    for (int i = 0; i < KEYWORD_COUNT; i++) {
        if ((allowed & 1 << i) && PyUnicode_CompareWithASCIIString(name, KEYWORD_TEXTS[i]) == 0) {
            return 1 << i;
        }
    }
    return 0;
}

/* The place among clip's children of a keyword, or -1. */
static int
clip_bound(int keyword)
{
    return keyword & (KEYWORD_MIN | KEYWORD_A_MIN)   ? 1
           : keyword & (KEYWORD_MAX | KEYWORD_A_MAX) ? 2
                                                     : -1;
}

static int
store_keyword(struct reader *reader, PyObject *tree, PyObject *name, int keyword, int number,
              struct arguments *arguments)
{
    int bound = clip_bound(keyword);
    if (bound < 0) {
        arguments->children[arguments->count++] = number;
        return PyList_Append(arguments->keywords, name);
    }
    if (arguments->children[bound] >= 0) {
        return refuse(reader, tree, PyExc_TypeError, "clip() got its %s twice",
                      bound == 1 ? "min" : "max");
    }
    arguments->children[bound] = number;
    return 0;
}

static int
read_keyword(struct reader *reader, const struct callee *callee, PyObject *tree,
             struct arguments *arguments)
{
    PyObject *name = borrow(tree, reader->classes->name_arg);
    PyObject *value = borrow(tree, reader->classes->name_value);
    if (name == NULL || value == NULL) {
        return -1;
    }
    if (name == Py_None) {
        return refuse(reader, tree, PyExc_SyntaxError,
                      "'**' is not allowed: write the keywords one by one");
    }
    int keyword = find_keyword(name, callee->keywords);
    if (keyword == 0) {
        return refuse(reader, tree, PyExc_TypeError, "%U() takes no keyword '%U'", callee->name,
                      name);
    }
    if (arguments->seen & keyword) {
        return refuse(reader, tree, PyExc_TypeError, "%U() got its %U twice", callee->name, name);
    }
    arguments->seen |= keyword;
    int number = read_keyword_value(reader, keyword, value);
    return number < 0 ? -1 : store_keyword(reader, tree, name, keyword, number, arguments);
}

static int
refuse_count(const struct reader *reader, const struct callee *callee, PyObject *tree,
             Py_ssize_t count)
{
    if (callee->function == FORMULA_CLIP) {
        return refuse(reader, tree, PyExc_TypeError,
                      "clip() takes an array, a min and a max, not %zd arguments", count);
    }
    if (callee->function == FORMULA_REDUCTION) {
        return refuse(reader, tree, PyExc_TypeError,
                      "%U() takes one array, and an axis, not %zd arguments", callee->name, count);
    }
    if (callee->function == FORMULA_NAMED) {
        return refuse(reader, tree, PyExc_TypeError, "%U() takes an argument", callee->name);
    }
    return refuse(reader, tree, PyExc_TypeError, "%U() takes %d argument%s, not %zd", callee->name,
                  callee->most, callee->most == 1 ? "" : "s", count);
}

/* Whether a second argument of a reduction can be its axis. */
static bool
is_axis(const struct reader *reader, PyObject *tree)
{
    if (is_class(reader, tree, CLASS_UnaryOp)) {
        tree = borrow(tree, reader->classes->name_operand);
    }
    if (tree == NULL || is_class(reader, tree, CLASS_Tuple)) {
        return tree != NULL;
    }
    PyObject *value =
        is_class(reader, tree, CLASS_Constant) ? borrow(tree, reader->classes->name_value) : NULL;
    return value == Py_None || (value != NULL && PyLong_CheckExact(value));
}

static int
refuse_axis(const struct reader *reader, const struct callee *callee, PyObject *tree)
{
    bool least = PyUnicode_READ_CHAR(callee->name, PyUnicode_GET_LENGTH(callee->name) - 1) == 'n';
    if (find_fixed(reader, callee->name)->keywords ==
        (REDUCTION_KEYWORDS | KEYWORD_INITIAL | KEYWORD_WHERE)) {
        return refuse(reader, tree, PyExc_TypeError,
                      "%U() takes one array, and an axis: of two arrays write %s(a, b)",
                      callee->name, least ? "minimum" : "maximum");
    }
    return refuse(reader, tree, PyExc_TypeError,
                  "%U() takes one array; another argument is the axis, an integer", callee->name);
}

/* The second argument of a reduction, as if it were axis=... */
static int
read_axis(struct reader *reader, const struct callee *callee, PyObject *tree,
          struct arguments *arguments)
{
    if (!is_axis(reader, tree)) {
        return refuse_axis(reader, callee, tree);
    }
    int number = read_keyword_value(reader, KEYWORD_AXIS, tree);
    arguments->seen |= KEYWORD_AXIS;
    return number < 0 ? -1
                      : store_keyword(reader, tree, reader->classes->name_axis, KEYWORD_AXIS,
                                      number, arguments);
}

static int
read_positional(struct reader *reader, const struct callee *callee, PyObject *tree, Py_ssize_t i,
                struct arguments *arguments)
{
    if (is_class(reader, tree, CLASS_Starred)) {
        return refuse(reader, tree, PyExc_SyntaxError,
                      "'*' is not allowed: write the arguments one by one");
    }
    if (callee->function == FORMULA_REDUCTION && i == 1) {
        return read_axis(reader, callee, tree, arguments);
    }
    bool bound = callee->function == FORMULA_CLIP && i > 0;
    int number = bound ? read_value_or_none(reader, tree) : read_expression(reader, tree);
    if (number < 0) {
        return -1;
    }
    arguments->children[i] = number;
    arguments->count = (int)i + 1;
    return 0;
}

/* clip's missing bound is None; one must be there. */
static int
complete_clip(struct reader *reader, PyObject *tree, struct arguments *arguments)
{
    bool bounded = false;
    for (int i = 1; i <= 2; i++) {
        if (arguments->children[i] < 0) {
            arguments->children[i] = add_constant(reader, Py_None, tree);
        }
        if (arguments->children[i] < 0) {
            return -1;
        }
        const struct formula_node *node = &reader->formula->nodes[arguments->children[i]];
        if (node->kind == FORMULA_CONSTANT && node->object == Py_Ellipsis) {
            return refuse(reader, tree, PyExc_TypeError, "clip() takes no Ellipsis");
        }
        bounded |= node->kind != FORMULA_CONSTANT || node->object != Py_None;
    }
    arguments->count = 3;
    return bounded ? 0 : refuse(reader, tree, PyExc_TypeError, "clip() takes a min, a max or both");
}

/* Whether there is a *a or **a, which is refused where it stands, whatever the number of arguments. */
static bool
has_stars(const struct reader *reader, PyObject *items, PyObject *keywords)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++) {
        if (is_class(reader, PyList_GET_ITEM(items, i), CLASS_Starred)) {
            return true;
        }
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(keywords); i++) {
        if (borrow(PyList_GET_ITEM(keywords, i), reader->classes->name_arg) == Py_None) {
            return true;
        }
    }
    return false;
}

static int
read_arguments(struct reader *reader, const struct callee *callee, PyObject *tree,
               struct arguments *arguments)
{
    PyObject *items = borrow_list(tree, reader->classes->name_args);
    PyObject *keywords = borrow_list(tree, reader->classes->name_keywords);
    if (items == NULL || keywords == NULL) {
        return -1;
    }
    Py_ssize_t count = PyList_GET_SIZE(items), keyword_count = PyList_GET_SIZE(keywords);
    bool fits = count >= callee->least && (callee->most < 0 || count <= callee->most);
    if (!fits && !has_stars(reader, items, keywords)) {
        return refuse_count(reader, callee, tree, count);
    }
    arguments->children = take_children(reader, count + keyword_count + 3);
    arguments->keywords = PyList_New(0);
    if (arguments->children == NULL || arguments->keywords == NULL) {
        return -1;
    }
    memset(arguments->children, 0xFF, 3 * sizeof(*arguments->children));
    for (Py_ssize_t i = 0; i < count; i++) {
        if (read_positional(reader, callee, PyList_GET_ITEM(items, i), i, arguments) < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < keyword_count; i++) {
        if (read_keyword(reader, callee, PyList_GET_ITEM(keywords, i), arguments) < 0) {
            return -1;
        }
    }
    return callee->function == FORMULA_CLIP ? complete_clip(reader, tree, arguments) : 0;
}

static int
add_call(struct reader *reader, PyObject *tree, int index, const struct callee *callee,
         const struct arguments *arguments)
{
    bool plain = PyList_GET_SIZE(arguments->keywords) == 0;
    PyObject *keywords = plain ? NULL : PyList_AsTuple(arguments->keywords);
    if (!plain && keywords == NULL) {
        return -1;
    }
    struct formula_node node = {.kind = FORMULA_CALL,
                                .operation = (int)callee->function,
                                .index = index,
                                .object = Py_XNewRef(callee->object),
                                .keywords = keywords,
                                .child_count = arguments->count,
                                .children = arguments->children,
                                .elementwise = callee->elementwise && plain};
    return add_node(reader, &node, (struct place){tree, tree});
}

static int
read_call(struct reader *reader, PyObject *tree)
{
    PyObject *function = borrow(tree, reader->classes->name_func);
    if (function == NULL || !is_class(reader, function, CLASS_Name)) {
        return function == NULL ? -1 : refuse_callee(reader, function);
    }
    PyObject *name = borrow(function, reader->classes->name_id);
    struct callee callee = {0};
    if (name == NULL || find_function(reader, name, function, &callee) < 0) {
        return -1;
    }
    int index = callee.function == FORMULA_NAMED ? find_name(reader, name, function) : 0;
    struct arguments arguments = {0};
    int number = -1;
    if (index >= 0 && read_arguments(reader, &callee, tree, &arguments) == 0) {
        number = add_call(reader, tree, index, &callee, &arguments);
    }
    Py_XDECREF(arguments.keywords);
    Py_XDECREF(callee.object);
    return number;
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
                                    : refuse(reader, item, PyExc_SyntaxError,
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
            refuse_integer(reader, tree);
        }
        return -1;
    }
    int number = add_constant(reader, array, tree);
    Py_DECREF(array);
    return number;
}

/* a[[0, 2]]: an array of integers, or of bools where all are bools, as numpy.array makes it. */
static int
read_list(struct reader *reader, PyObject *tree)
{
    PyObject *items = borrow_list(tree, reader->classes->name_elts);
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
    return step < -1 ? -1 : add_parent(reader, &node, tree, 3, lower, upper, step);
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
        return refuse(reader, tree, PyExc_SyntaxError,
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
    return index < 0 ? -1 : add_parent(reader, &node, tree, 2, array, index, -1);
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
        return refuse(reader, tree, PyExc_SyntaxError,
                      "'.%U' is not allowed: only .real, .imag and .T are", name);
    }
    int child = read_expression(reader, value);
    struct formula_node node = {.kind = FORMULA_ATTRIBUTE};
    if (child < 0) {
        return -1;
    }
    node.object = Py_NewRef(known);
    return add_parent(reader, &node, tree, 1, child, -1, -1);
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
    int operation = find_class(reader, sign, CLASS_Add, CLASS_BitXor);
    if (operation < 0) {
        return refuse_class(reader, tree, sign, "this operator is not allowed");
    }
    int right = read_expression(reader, operand);
    return right < 0 ? -1
                     : add_operator(reader, operation, left, right, (struct place){tree, tree});
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
    int operation = find_class(reader, sign, CLASS_USub, CLASS_Invert);
    if (operation < 0) {
        return refuse_class(reader, tree, sign, "this operator is not allowed");
    }
    if (operation == FORMULA_NEGATIVE && is_class(reader, operand, CLASS_Constant)) {
        PyObject *value = borrow(operand, reader->classes->name_value);
        if (value != NULL && PyLong_CheckExact(value) &&
            !is_at_most(value, (unsigned long long)1 << 63)) {
            return refuse_integer(reader, tree);
        }
    }
    int child = read_expression(reader, operand);
    return child < 0 ? -1 : add_operator(reader, operation, child, -1, (struct place){tree, tree});
}

/* One comparison of a chain: `left` of the tree is the node `first`; `right` gives the node `second`. */
static int
read_comparison(struct reader *reader, PyObject *tree, PyObject *sign, PyObject *left,
                PyObject *right, int first, int *second)
{
    int operation = find_class(reader, sign, CLASS_Lt, CLASS_GtE);
    if (operation < 0) {
        return refuse_class(reader, tree, sign, "this comparison is not allowed");
    }
    *second = read_expression(reader, right);
    return *second < 0
               ? -1
               : add_operator(reader, operation, first, *second, (struct place){left, right});
}

/* a < b < c is (a < b) & (b < c). */
static int
read_compare(struct reader *reader, PyObject *tree)
{
    PyObject *left = borrow(tree, reader->classes->name_left);
    PyObject *signs = borrow_list(tree, reader->classes->name_ops);
    PyObject *operands = borrow_list(tree, reader->classes->name_comparators);
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
            number = add_operator(reader, FORMULA_AND, all, number, (struct place){start, right});
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
    return other < 0 ? -1 : add_parent(reader, &node, tree, 3, condition, chosen, other);
}

/* ---- Expressions ---- */

static int
refuse_expression(struct reader *reader, PyObject *tree)
{
    PyObject *what = tree;
    if (is_class(reader, tree, CLASS_BoolOp)) {
        what = borrow(tree, reader->classes->name_op);
    }
    return what == NULL ? -1
                        : refuse_class(reader, tree, what, "this is not allowed in an expression");
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
static int
read_expression(struct reader *reader, PyObject *tree)
{
    if (reader->depth >= DEPTH_LIMIT) {
        return refuse(reader, tree, PyExc_SyntaxError, "the expression nests deeper than %d levels",
                      DEPTH_LIMIT);
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
    empty_slots(reader);
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
        return refuse(reader, tree, PyExc_SyntaxError,
                      "cannot assign to this: write a name, or a name with an index");
    }
    return read_expression(reader, tree);
}

/* The one target of an assignment, borrowed, or NULL with an exception. */
static PyObject *
single_target(const struct reader *reader, PyObject *tree)
{
    PyObject *targets = borrow_list(tree, reader->classes->name_targets);
    if (targets == NULL) {
        return NULL;
    }
    if (PyList_GET_SIZE(targets) != 1) {
        refuse(reader, tree, PyExc_SyntaxError,
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
    statement->operation = find_class(reader, sign, CLASS_Add, CLASS_BitXor);
    if (statement->operation < 0) {
        return refuse_class(reader, tree, sign, "this operator is not allowed");
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
    if (statement == NULL || find_span(reader, (struct place){tree, tree}, &span) < 0) {
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
        return refuse(
            reader, tree, PyExc_SyntaxError,
            "an expression alone does nothing here: write an assignment, as in a = b + c");
    }
    return refuse_class(reader, tree, tree, "only assignments are allowed, as in a = b + c");
}

static int
read_statements(struct reader *reader)
{
    PyObject *body = borrow_list(reader->tree.root, reader->classes->name_body);
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
    struct reader reader = {.classes = get_classes(state)};
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

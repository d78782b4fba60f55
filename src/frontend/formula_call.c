/* formula_call.c: calls in formulas: which functions there are, and their arguments. */
#include "formula_reader.h"

#include <string.h>

#define DTYPE_TEXT_LIMIT 32 /* characters of dtype="..." */

/* ---- Functions ---- */

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

/* where= without out= would show what is left in memory. */
#define UFUNC_KEYWORDS (KEYWORD_DTYPE | KEYWORD_CASTING | KEYWORD_ORDER)
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

PyObject *
formula_functions(void)
{
    PyObject *functions = PyDict_New();
    for (int i = 0; functions != NULL && i < FIXED_COUNT; i++) {
        PyObject *place = PyLong_FromLong(i);
        if (place == NULL || PyDict_SetItemString(functions, FIXED[i].name, place) < 0) {
            Py_CLEAR(functions);
        }
        Py_XDECREF(place);
    }
    return functions;
}

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
    PyObject *place = PyDict_GetItemWithError(reader->classes->functions, name);
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
    int results = reader_number(ufunc, reader->classes->name_nout);
    PyObject *signature = PyObject_GetAttr(ufunc, reader->classes->name_signature);
    Py_XDECREF(signature);
    callee->least = callee->most = reader_number(ufunc, reader->classes->name_nin);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (results != 1) {
        return reader_refuse(reader, tree, PyExc_TypeError,
                             "%U() has %d results: only functions with one are allowed",
                             callee->name, results);
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
            return reader_refuse(reader, tree, PyExc_SyntaxError,
                                 "a function is called by its name alone: write %U(...)", name);
        }
    }
    return reader_refuse(reader, tree, PyExc_SyntaxError,
                         "only NumPy's functions, and ufuncs that have a name, can be called");
}

/* ---- Calls ---- */

/* A call's arguments so far. */
struct arguments {
    int *children;
    int count;          /* of children */
    PyObject *keywords; /* owned: a list of names */
    int seen;           /* enum keyword */
};

/* What NumPy says of a str that is no dtype does not matter here. */
static int
refuse_dtype(const struct reader *reader, PyObject *tree)
{
    if (PyErr_Occurred() &&
        (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))) {
        return -1;
    }
    PyErr_Clear();
    return reader_refuse(reader, tree, PyExc_TypeError,
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
        return node_add_constant(reader, Py_None, tree);
    }
    PyObject *source = dtype_source(reader, tree);
    PyObject *dtype = source == NULL ? NULL : PyObject_CallOneArg(classes->dtype, source);
    Py_XDECREF(source);
    PyObject *objects = dtype == NULL ? NULL : PyObject_GetAttr(dtype, classes->name_hasobject);
    int number =
        objects == Py_False ? node_add_constant(reader, dtype, tree) : refuse_dtype(reader, tree);
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
            return value == NULL
                       ? -1
                       : reader_refuse(reader, tree, PyExc_TypeError, "%s= takes a string",
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
        return reader_refuse(reader, tree, PyExc_TypeError, "clip() got its %s twice",
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
        return reader_refuse(reader, tree, PyExc_SyntaxError,
                             "'**' is not allowed: write the keywords one by one");
    }
    int keyword = find_keyword(name, callee->keywords);
    if (keyword == 0) {
        return reader_refuse(reader, tree, PyExc_TypeError, "%U() takes no keyword '%U'",
                             callee->name, name);
    }
    if (arguments->seen & keyword) {
        return reader_refuse(reader, tree, PyExc_TypeError, "%U() got its %U twice", callee->name,
                             name);
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
        return reader_refuse(reader, tree, PyExc_TypeError,
                             "clip() takes an array, a min and a max, not %zd arguments", count);
    }
    if (callee->function == FORMULA_REDUCTION) {
        return reader_refuse(reader, tree, PyExc_TypeError,
                             "%U() takes one array, and an axis, not %zd arguments", callee->name,
                             count);
    }
    if (callee->function == FORMULA_NAMED) {
        return reader_refuse(reader, tree, PyExc_TypeError, "%U() takes an argument", callee->name);
    }
    return reader_refuse(reader, tree, PyExc_TypeError, "%U() takes %d argument%s, not %zd",
                         callee->name, callee->most, callee->most == 1 ? "" : "s", count);
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
        return reader_refuse(reader, tree, PyExc_TypeError,
                             "%U() takes one array, and an axis: of two arrays write %s(a, b)",
                             callee->name, least ? "minimum" : "maximum");
    }
    return reader_refuse(reader, tree, PyExc_TypeError,
                         "%U() takes one array; another argument is the axis, an integer",
                         callee->name);
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
        return reader_refuse(reader, tree, PyExc_SyntaxError,
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
            arguments->children[i] = node_add_constant(reader, Py_None, tree);
        }
        if (arguments->children[i] < 0) {
            return -1;
        }
        const struct formula_node *node = &reader->formula->nodes[arguments->children[i]];
        if (node->kind == FORMULA_CONSTANT && node->object == Py_Ellipsis) {
            return reader_refuse(reader, tree, PyExc_TypeError, "clip() takes no Ellipsis");
        }
        bounded |= node->kind != FORMULA_CONSTANT || node->object != Py_None;
    }
    arguments->count = 3;
    return bounded
               ? 0
               : reader_refuse(reader, tree, PyExc_TypeError, "clip() takes a min, a max or both");
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
    PyObject *items = reader_list(tree, reader->classes->name_args);
    PyObject *keywords = reader_list(tree, reader->classes->name_keywords);
    if (items == NULL || keywords == NULL) {
        return -1;
    }
    Py_ssize_t count = PyList_GET_SIZE(items), keyword_count = PyList_GET_SIZE(keywords);
    bool fits = count >= callee->least && (callee->most < 0 || count <= callee->most);
    if (!fits && !has_stars(reader, items, keywords)) {
        return refuse_count(reader, callee, tree, count);
    }
    arguments->children = node_children(reader, count + keyword_count + 3);
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
    return node_add(reader, &node, (struct place){tree, tree});
}

int
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
    int index = callee.function == FORMULA_NAMED ? reader_find_name(reader, name, function) : 0;
    struct arguments arguments = {0};
    int number = -1;
    if (index >= 0 && read_arguments(reader, &callee, tree, &arguments) == 0) {
        number = add_call(reader, tree, index, &callee, &arguments);
    }
    Py_XDECREF(arguments.keywords);
    Py_XDECREF(callee.object);
    return number;
}

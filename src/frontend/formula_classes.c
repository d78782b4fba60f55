/* formula_classes.c: Python's tree as formulas are read from it: its classes, its places, and what is refused. */
#include "formula_reader.h"

#include <stdlib.h>

/* ---- What is looked up once ---- */

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
    classes->functions = formula_functions();
    return classes->functions == NULL ? -1 : 0;
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
    Py_XDECREF(classes->functions);
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

const struct formula_classes *
formula_classes_get(struct state *state)
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

/* ---- Parts of the tree ---- */

int
reader_find_class(const struct reader *reader, PyObject *tree, int first, int last)
{
    for (int i = first; i <= last; i++) {
        if (Py_TYPE(tree) == reader->classes->classes[i]) {
            return i;
        }
    }
    return -1;
}

PyObject *
reader_list(PyObject *tree, PyObject *name)
{
    PyObject *value = borrow(tree, name);
    if (value != NULL && !PyList_Check(value)) {
        PyErr_SetString(PyExc_SystemError, "Python's parser made no list");
        return NULL;
    }
    return value;
}

int
reader_number(PyObject *tree, PyObject *name)
{
    PyObject *value = borrow(tree, name);
    return value == NULL ? -1 : (int)PyLong_AsLong(value);
}

int
reader_span(const struct reader *reader, struct place place, struct span *span)
{
    const struct formula_classes *classes = reader->classes;
    span->line = reader_number(place.first, classes->name_lineno);
    span->end_line = reader_number(place.last, classes->name_end_lineno);
    int column = reader_number(place.first, classes->name_col_offset);
    int end_column = reader_number(place.last, classes->name_end_col_offset);
    if (PyErr_Occurred()) {
        return -1;
    }
    span->column = tree_column(&reader->tree, span->line, column);
    span->end_column = tree_column(&reader->tree, span->end_line, end_column);
    return 0;
}

int
reader_refuse(const struct reader *reader, PyObject *tree, PyObject *exception, const char *format,
              ...)
{
    struct span span;
    if (reader_span(reader, (struct place){tree, tree}, &span) < 0) {
        return -1;
    }
    va_list values;
    va_start(values, format);
    span_raise_list(reader->formula->text, &span, exception, format, values);
    va_end(values);
    return -1;
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

int
reader_refuse_class(const struct reader *reader, PyObject *tree, PyObject *what,
                    const char *otherwise)
{
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); i++) {
        if (is_class(reader, what, REFUSED[i].class)) {
            return reader_refuse(reader, tree, PyExc_SyntaxError, "%s is not allowed: %s",
                                 REFUSED[i].sign, REFUSED[i].hint);
        }
    }
    return reader_refuse(reader, tree, PyExc_SyntaxError, "%s", otherwise);
}

int
reader_refuse_integer(const struct reader *reader, PyObject *tree)
{
    return reader_refuse(reader, tree, PyExc_OverflowError, "an integer does not fit into 64 bits");
}

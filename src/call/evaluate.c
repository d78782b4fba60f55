/* evaluate.c: tw.evaluate, tw.expression and tw.explain. */
#include "evaluate.h"

#include "../state.h"
#include "expression.h"

/* ---- tw.evaluate ---- */

enum { EVALUATE_POSITIONAL = 3 };

struct request {
    PyObject *text, *local_dict, *global_dict, *math;
    struct result_options options;
};

static int
set_keyword(const struct state *state, struct request *request, PyObject *name, PyObject *value,
            const char *function)
{
    const struct {
        PyObject *name, **place;
    } keywords[] = {
        {state->name_out, &request->options.out},
        {state->name_local_dict, &request->local_dict},
        {state->name_global_dict, &request->global_dict},
        {state->name_dtype, &request->options.dtype},
        {state->name_casting, &request->options.casting},
        {state->name_order, &request->options.order},
        {state->name_where, &request->options.where},
        {state->name_math, &request->math},
        {state->name_expr, &request->text},
    };
    for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++) {
        if (name == keywords[i].name || PyUnicode_Compare(name, keywords[i].name) == 0) {
            if (*keywords[i].place != NULL) {
                PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                             function, name);
                return -1;
            }
            *keywords[i].place = value;
            return 0;
        }
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
    return -1;
}

/* None, "same_kind", "K" and True say what is so anyway. */
static void
drop_defaults(struct request *request)
{
    struct result_options *options = &request->options;
    options->out = options->out == Py_None ? NULL : options->out;
    options->dtype = options->dtype == Py_None ? NULL : options->dtype;
    options->where = options->where == Py_True ? NULL : options->where;
    if (options->casting != NULL && PyUnicode_CheckExact(options->casting) &&
        PyUnicode_CompareWithASCIIString(options->casting, "same_kind") == 0) {
        options->casting = NULL;
    }
    if (options->order != NULL && PyUnicode_CheckExact(options->order) &&
        PyUnicode_CompareWithASCIIString(options->order, "K") == 0) {
        options->order = NULL;
    }
    request->local_dict = request->local_dict == Py_None ? NULL : request->local_dict;
    request->global_dict = request->global_dict == Py_None ? NULL : request->global_dict;
}

static int
read_request(const struct state *state, struct request *request, PyObject *const *arguments,
             Py_ssize_t count, PyObject *keywords, const char *function)
{
    PyObject **positional[EVALUATE_POSITIONAL] = {&request->text, &request->local_dict,
                                                  &request->global_dict};
    if (count > EVALUATE_POSITIONAL) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
                     function, EVALUATE_POSITIONAL, count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        *positional[i] = arguments[i];
    }
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        if (set_keyword(state, request, PyTuple_GET_ITEM(keywords, i), arguments[count + i],
                        function) < 0) {
            return -1;
        }
    }
    if (request->text == NULL) {
        PyErr_Format(PyExc_TypeError, "%s() missing required argument 'expr'", function);
        return -1;
    }
    drop_defaults(request);
    return 0;
}

/* math= as a kind of expression, or -1 with an exception. */
static int
read_math(PyObject *math, const char *function)
{
    if (math == NULL || math == Py_None) {
        return EXPRESSION_NUMPY;
    }
    if (PyUnicode_Check(math) && PyUnicode_CompareWithASCIIString(math, "numpy") == 0) {
        return EXPRESSION_NUMPY;
    }
    if (PyUnicode_Check(math) && PyUnicode_CompareWithASCIIString(math, "fast") == 0) {
        return EXPRESSION_FAST;
    }
    PyErr_Format(PyUnicode_Check(math) ? PyExc_ValueError : PyExc_TypeError,
                 "%s(): 'math' must be \"numpy\" or \"fast\", not %R", function, math);
    return -1;
}

PyObject *
evaluate_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    struct request request = {NULL};
    struct bindings names;
    struct lookup lookup;
    PyObject *result = NULL;
    if (read_request(PyModule_GetState(module), &request, arguments, count, keywords, "evaluate") <
        0) {
        return NULL;
    }
    int kind = read_math(request.math, "evaluate");
    struct expression *expression =
        kind < 0 ? NULL
                 : expression_obtain(module, request.text, (enum expression_kind)kind, "evaluate");
    if (expression == NULL) {
        return NULL;
    }
    lookup_start(&lookup, request.local_dict, request.global_dict);
    if (bindings_start(&names, expression) == 0 &&
        bindings_look_up(&names, expression, &lookup, false, "evaluate") == 0) {
        result = expression_run(expression, names.values, &request.options, "evaluate");
    }
    bindings_finish(&names);
    Py_DECREF(expression);
    return result;
}

/* ---- tw.expression ---- */

PyObject *
expression_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    const struct state *state = PyModule_GetState(module);
    struct request request = {NULL};
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "expression() takes 1 positional argument (%zd given)",
                     count);
        return NULL;
    }
    request.text = count > 0 ? arguments[0] : NULL;
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
        bool text = PyUnicode_CompareWithASCIIString(keyword, "text") == 0;
        PyObject **place = text                                                ? &request.text
                           : PyUnicode_Compare(keyword, state->name_math) == 0 ? &request.math
                                                                               : NULL;
        if (place == NULL || *place != NULL) {
            PyErr_Format(PyExc_TypeError, "expression() got %s argument '%U'",
                         place == NULL ? "an unexpected keyword" : "multiple values for", keyword);
            return NULL;
        }
        *place = arguments[count + i];
    }
    if (request.text == NULL) {
        PyErr_SetString(PyExc_TypeError, "expression() missing required argument 'text'");
        return NULL;
    }
    int kind = read_math(request.math, "expression");
    return kind < 0 ? NULL
                    : (PyObject *)expression_obtain(module, request.text,
                                                    (enum expression_kind)kind, "expression");
}

PyObject *
expression_restore(PyObject *module, PyObject *arguments)
{
    PyObject *text;
    int kind;
    if (!PyArg_ParseTuple(arguments, "Ui:expression", &text, &kind)) {
        return NULL;
    }
    kind = kind == EXPRESSION_FAST ? EXPRESSION_FAST : EXPRESSION_NUMPY;
    return (PyObject *)expression_obtain(module, text, (enum expression_kind)kind, "expression");
}

/* ---- tw.explain ---- */

/* A value among the keywords, borrowed; NULL: it has none. */
static PyObject *
find_keyword(PyObject *const *arguments, PyObject *keywords, PyObject *name)
{
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        if (PyUnicode_Compare(PyTuple_GET_ITEM(keywords, i), name) == 0) {
            return arguments[i];
        }
    }
    return NULL;
}

/* Binds the names: keywords first, then as evaluate() does. */
static int
bind_explained(struct bindings *names, struct expression *expression, const struct lookup *lookup,
               PyObject *const *arguments, PyObject *keywords)
{
    for (Py_ssize_t i = 0; i < names->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(expression->formula->names, i);
        PyObject *value = Py_XNewRef(find_keyword(arguments, keywords, name));
        value = value == NULL ? lookup_name(lookup, name, &expression->hints[i]) : value;
        if (value == NULL) {
            return PyErr_Occurred() ? -1 : (bindings_missing(expression, i, lookup, "explain"), -1);
        }
        int result = bindings_set(names, expression, i, value, "explain");
        Py_DECREF(value);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* "a: f8 (3, 4)", a line each. */
static int
describe_names(const struct bindings *names, const struct expression *expression,
               struct buffer *text)
{
    for (Py_ssize_t i = 0; i < names->count; i++) {
        PyObject *value = names->values[i];
        PyObject *line =
            PyArray_Check(value)
                ? PyUnicode_FromFormat(
                      "%U: %S, %d-D, %zd elements", PyTuple_GET_ITEM(expression->formula->names, i),
                      PyArray_DESCR((PyArrayObject *)value), PyArray_NDIM((PyArrayObject *)value),
                      PyArray_SIZE((PyArrayObject *)value))
                : PyUnicode_FromFormat("%U: %s", PyTuple_GET_ITEM(expression->formula->names, i),
                                       Py_TYPE(value)->tp_name);
        const char *bytes = line == NULL ? NULL : PyUnicode_AsUTF8(line);
        if (bytes != NULL) {
            buffer_printf(text, "%s\n", bytes);
        }
        Py_XDECREF(line);
        if (bytes == NULL) {
            return -1;
        }
    }
    buffer_append_string(text, "\n");
    return 0;
}

static PyObject *
explain(struct expression *expression, const struct bindings *names)
{
    struct result_options options = {NULL};
    struct buffer text = BUFFER_INIT;
    PyObject *value = expression_run(expression, names->values, &options, "explain"),
             *result = NULL;
    if (value != NULL && describe_names(names, expression, &text) == 0 &&
        expression_describe(expression, &text) == 0) {
        result = PyUnicode_DecodeUTF8(text.data, (Py_ssize_t)text.size, NULL);
    }
    else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    Py_XDECREF(value);
    buffer_free(&text);
    return result;
}

PyObject *
explain_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    const struct state *state = PyModule_GetState(module);
    PyObject *const *values = arguments + count;
    if (count < 1 || count > EVALUATE_POSITIONAL) {
        PyErr_Format(PyExc_TypeError, "explain() takes 1 to %d positional arguments (%zd given)",
                     EVALUATE_POSITIONAL, count);
        return NULL;
    }
    PyObject *local_dict =
        count > 1 ? arguments[1] : find_keyword(values, keywords, state->name_local_dict);
    PyObject *global_dict =
        count > 2 ? arguments[2] : find_keyword(values, keywords, state->name_global_dict);
    struct expression *expression =
        expression_new(module, arguments[0], EXPRESSION_NUMPY, "explain");
    struct bindings names;
    struct lookup lookup;
    PyObject *result = NULL;
    if (expression == NULL) {
        return NULL;
    }
    lookup_start(&lookup, local_dict == Py_None ? NULL : local_dict,
                 global_dict == Py_None ? NULL : global_dict);
    if (bindings_start(&names, expression) == 0 &&
        bind_explained(&names, expression, &lookup, values, keywords) == 0) {
        result = explain(expression, &names);
    }
    bindings_finish(&names);
    Py_DECREF(expression);
    return result;
}

void
evaluate_clear(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    for (int kind = 0; kind < EXPRESSION_KINDS; kind++) {
        PyDict_Clear(state->expressions[kind]);
    }
}

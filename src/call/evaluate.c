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
    struct expression *expression = expression_obtain(module, request.text, false, "evaluate");
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
    if (count != 1 || (keywords != NULL && PyTuple_GET_SIZE(keywords) > 0)) {
        PyErr_SetString(PyExc_TypeError, "expression() takes one argument, the text");
        return NULL;
    }
    return (PyObject *)expression_obtain(module, arguments[0], false, "expression");
}

void
evaluate_clear(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    PyDict_Clear(state->expressions);
    PyDict_Clear(state->blitzes);
}

const char evaluate_doc[] =
    "evaluate(expr, local_dict=None, global_dict=None, *, out=None, dtype=None,\n"
    "         casting=\"same_kind\", order=\"K\", where=True)\n"
    "--\n\n"
    "Evaluate an array expression in one pass over memory; the result is NumPy's own.\n";
const char expression_doc[] = "expression(text, /)\n--\n\nCompile an array expression.\n";
const char blitz_doc[] = "blitz(expr, local_dict=None, global_dict=None, check_size=1, "
                         "verbose=0)\n--\n\nAssign to arrays.\n";

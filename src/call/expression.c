/* expression.c: expressions as Python objects. */
#include "expression.h"

#include <stdlib.h>
#include <string.h>

#include "../state.h"
#include "region.h"
#include "ufuncs.h"
#include <structmember.h>

/* The last expressions that are kept though nobody holds them. */
#define KEPT_EXPRESSIONS 1024

/* ---- Values of names ---- */

int
bindings_start(struct bindings *names, const struct expression *expression)
{
    names->count = PyTuple_GET_SIZE(expression->formula->names);
    names->values = names->count <= BINDINGS_SMALL
                        ? names->small
                        : malloc((size_t)names->count * sizeof(PyObject *));
    if (names->values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(names->values, 0, (size_t)names->count * sizeof(PyObject *));
    return 0;
}

void
bindings_finish(struct bindings *names)
{
    for (Py_ssize_t i = 0; names->values != NULL && i < names->count; i++) {
        Py_XDECREF(names->values[i]);
    }
    if (names->values != names->small) {
        free(names->values);
    }
}

int
bindings_set(struct bindings *names, const struct expression *expression, Py_ssize_t index,
             PyObject *value, const char *function)
{
    PyObject *name = PyTuple_GET_ITEM(expression->formula->names, index);
    names->values[index] = expression->index_names[index]
                               ? interpret_index_operand(expression->state, value, name, function)
                               : interpret_operand(expression->state, value, name, function);
    return names->values[index] == NULL ? -1 : 0;
}

static int
node_of_name(const struct formula *formula, Py_ssize_t index)
{
    for (int i = 0; i < formula->node_count; i++) {
        const struct formula_node *node = &formula->nodes[i];
        bool named = node->kind == FORMULA_CALL && node->operation == FORMULA_NAMED;
        if ((node->kind == FORMULA_NAME || named) && node->index == index) {
            return i;
        }
    }
    return 0;
}

PyObject *
bindings_missing(const struct expression *expression, Py_ssize_t index, const struct lookup *lookup,
                 const char *function)
{
    const struct formula *formula = expression->formula;
    return formula_raise(formula, node_of_name(formula, index), PyExc_NameError,
                         "%s(): name '%U' is not defined%s", function,
                         PyTuple_GET_ITEM(formula->names, index), lookup_hint(lookup));
}

int
bindings_look_up(struct bindings *names, struct expression *expression, const struct lookup *lookup,
                 bool missing, const char *function)
{
    for (Py_ssize_t i = 0; i < names->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(expression->formula->names, i);
        PyObject *value = lookup_name(lookup, name, &expression->hints[i]);
        if (value == NULL && (PyErr_Occurred() || !missing)) {
            return PyErr_Occurred() ? -1 : (bindings_missing(expression, i, lookup, function), -1);
        }
        int result = value == NULL ? 0 : bindings_set(names, expression, i, value, function);
        Py_XDECREF(value);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Running ---- */

struct partition *
expression_partition(struct expression *expression, bool apart)
{
    const struct formula *formula = expression->formula;
    struct partition **partition = apart ? &expression->apart : &expression->partition;
    if (*partition == NULL) {
        bool *cut = calloc((size_t)formula->node_count, 1);
        if (cut == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        cut[formula->statements[0].value] = apart;
        *partition = partition_new(expression->state, formula, cut);
        free(cut);
    }
    return *partition;
}

void
expression_keep(struct expression *expression, struct partition *partition, bool apart, bool failed)
{
    struct partition **kept = apart ? &expression->apart : &expression->partition;
    if (*kept != partition && !failed) {
        partition_hold(partition);
        if (*kept != NULL) {
            partition_release(*kept);
        }
        *kept = partition;
    }
}

static bool
any_option(const struct result_options *options)
{
    return options->dtype != NULL || options->casting != NULL || options->order != NULL ||
           options->where != NULL;
}

/* A result that has no place in `out` yet is cast to it as a ufunc's. */
static PyObject *
put_out(struct state *state, PyObject *out, PyObject *value)
{
    PyObject *copyto = ufunc_get(state, UFUNC_COPYTO);
    PyObject *done = copyto == NULL ? NULL : PyObject_CallFunctionObjArgs(copyto, out, value, NULL);
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    return Py_NewRef(out);
}

static PyObject *
finish_value(struct state *state, PyObject *value, PyObject *out)
{
    return out == NULL || value == out ? Py_NewRef(value) : put_out(state, out, value);
}

/* The children of a node that NumPy shall compute with options. */
static int
compute_children(struct evaluation *evaluation, int node)
{
    const struct formula_node *found = &evaluation->formula->nodes[node];
    for (int i = 0; i < found->child_count; i++) {
        if (found->children[i] >= 0 &&
            evaluation_compute(evaluation, found->children[i], NULL) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
take_out(PyObject *out, const char *function)
{
    if (out != NULL && PyTuple_Check(out) && PyTuple_GET_SIZE(out) == 1) {
        out = PyTuple_GET_ITEM(out, 0);
    }
    if (out != NULL && !PyArray_Check(out)) {
        PyErr_Format(PyExc_TypeError, "%s(): 'out' must be numpy.ndarray, not %.100s", function,
                     Py_TYPE(out)->tp_name);
        return NULL;
    }
    return out;
}

PyObject *
expression_run(struct expression *expression, PyObject *const *names,
               const struct result_options *options, const char *function)
{
    const struct formula *formula = expression->formula;
    int root = formula->statements[0].value;
    bool apart = any_option(options);
    PyObject *out = apart ? NULL : take_out(options->out, function);
    struct partition *partition =
        out == NULL && PyErr_Occurred() ? NULL : expression_partition(expression, apart);
    struct evaluation evaluation;
    PyObject *result = NULL;
    if (partition == NULL) {
        return NULL;
    }
    if (evaluation_start(&evaluation, expression->state, formula, partition, names, function) ==
            0 &&
        (out == NULL || (evaluation.apart = expression_partition(expression, true)) != NULL)) {
        evaluation.fast = expression->kind == EXPRESSION_FAST;
        if (apart && compute_children(&evaluation, root) == 0) {
            result = interpret_result(expression->state, formula, root, evaluation.values, names,
                                      options, function);
        }
        else if (!apart && evaluation_compute(&evaluation, root, (PyArrayObject *)out) == 0) {
            result = finish_value(expression->state, evaluation.values[root], out);
        }
        expression_keep(expression, evaluation.partition, apart || evaluation.is_apart,
                        result == NULL);
    }
    evaluation_finish(&evaluation);
    return result;
}

/* ---- Calls of an expression ---- */

/* The index of a keyword among the names, or -1. */
static Py_ssize_t
find_name(const struct expression *expression, PyObject *keyword)
{
    PyObject *names = expression->formula->names;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        if (PyTuple_GET_ITEM(names, i) == keyword) {
            return i;
        }
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        if (PyUnicode_Compare(PyTuple_GET_ITEM(names, i), keyword) == 0) {
            return i;
        }
    }
    return -1;
}

static int
bind_keyword(struct bindings *names, struct expression *expression, PyObject *keyword,
             PyObject *value, PyObject **out)
{
    Py_ssize_t index = find_name(expression, keyword);
    if (index < 0 && PyUnicode_CompareWithASCIIString(keyword, "out") == 0) {
        *out = value == Py_None ? NULL : value;
        return 0;
    }
    if (index < 0) {
        PyErr_Format(PyExc_TypeError, "expression() has no name '%U'; its names are %R", keyword,
                     expression->formula->names);
        return -1;
    }
    if (names->values[index] != NULL) {
        PyErr_Format(PyExc_TypeError, "expression() got multiple values for '%U'", keyword);
        return -1;
    }
    return bindings_set(names, expression, index, value, "expression");
}

static int
bind_arguments(struct bindings *names, struct expression *expression, PyObject *const *arguments,
               Py_ssize_t count, PyObject *keywords, PyObject **out)
{
    if (count > names->count) {
        PyErr_Format(PyExc_TypeError, "expression() takes %zd values (%zd given); its names are %R",
                     names->count, count, expression->formula->names);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (bindings_set(names, expression, i, arguments[i], "expression") < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        if (bind_keyword(names, expression, PyTuple_GET_ITEM(keywords, i), arguments[count + i],
                         out) < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < names->count; i++) {
        if (names->values[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "expression() is missing a value for '%U'",
                         PyTuple_GET_ITEM(expression->formula->names, i));
            return -1;
        }
    }
    return 0;
}

static PyObject *
call_expression(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *keywords)
{
    struct expression *expression = (struct expression *)self;
    struct result_options options = {NULL};
    struct bindings names;
    PyObject *result = NULL;
    if (bindings_start(&names, expression) == 0 &&
        bind_arguments(&names, expression, arguments, PyVectorcall_NARGS(flags), keywords,
                       &options.out) == 0) {
        result = expression_run(expression, names.values, &options, "expression");
    }
    bindings_finish(&names);
    return result;
}

/* ---- Making expressions ---- */

struct expression *
expression_new(PyObject *module, PyObject *text, enum expression_kind kind, const char *function)
{
    struct state *state = PyModule_GetState(module);
    struct formula *formula = formula_read(state, text, kind == EXPRESSION_STATEMENTS, function);
    if (formula == NULL) {
        return NULL;
    }
    size_t count = (size_t)PyTuple_GET_SIZE(formula->names);
    struct expression *expression = PyObject_GC_New(struct expression, state->expression_type);
    if (expression == NULL) {
        formula_free(formula);
        return NULL;
    }
    expression->vectorcall = call_expression;
    expression->module = Py_NewRef(module);
    expression->state = state;
    expression->formula = formula;
    expression->kind = kind;
    expression->partition = expression->apart = NULL;
    expression->index_names = calloc(count + 1, 1);
    expression->hints = malloc((count + 1) * sizeof(Py_ssize_t));
    PyObject_GC_Track((PyObject *)expression);
    if (expression->index_names == NULL || expression->hints == NULL) {
        Py_DECREF(expression);
        PyErr_NoMemory();
        return NULL;
    }
    memset(expression->hints, 0xff, count * sizeof(Py_ssize_t));
    interpret_index_names(formula, expression->index_names);
    return expression;
}

/* Removes the oldest entry. */
static int
forget_oldest(PyObject *dictionary)
{
    Py_ssize_t position = 0;
    PyObject *key, *value;
    if (!PyDict_Next(dictionary, &position, &key, &value)) {
        return 0;
    }
    Py_INCREF(key);
    int result = PyDict_DelItem(dictionary, key);
    Py_DECREF(key);
    return result;
}

struct expression *
expression_obtain(PyObject *module, PyObject *text, enum expression_kind kind, const char *function)
{
    struct state *state = PyModule_GetState(module);
    PyObject *kept = state->expressions[kind];
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%s(): the text must be str, not %.100s", function,
                     Py_TYPE(text)->tp_name);
        return NULL;
    }
    PyObject *exact = PyUnicode_FromObject(text); /* no user's own __eq__ */
    PyObject *found = exact == NULL ? NULL : PyDict_GetItemWithError(kept, exact);
    struct expression *expression = (struct expression *)Py_XNewRef(found);
    if (found == NULL && exact != NULL && !PyErr_Occurred()) {
        expression = expression_new(module, exact, kind, function);
        if (expression != NULL &&
            (PyDict_SetItem(kept, exact, (PyObject *)expression) < 0 ||
             (PyDict_GET_SIZE(kept) > KEPT_EXPRESSIONS && forget_oldest(kept) < 0))) {
            Py_CLEAR(expression);
        }
    }
    Py_XDECREF(exact);
    return expression;
}

/* ---- Expression ---- */

static PyObject *
represent(PyObject *self)
{
    struct expression *expression = (struct expression *)self;
    return PyUnicode_FromFormat("tinyweave.expression(%R%s)", expression->formula->text,
                                expression->kind == EXPRESSION_FAST ? ", math='fast'" : "");
}

/* Pickled as a call of expression() with its text, which tw's module and its math= stand for. */
static PyObject *
reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct expression *expression = (struct expression *)self;
    PyObject *function = PyObject_GetAttrString(expression->module, "_expression");
    return function == NULL
               ? NULL
               : Py_BuildValue("N(Oi)", function, expression->formula->text, (int)expression->kind);
}

static PyObject *
get_text(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(((struct expression *)self)->formula->text);
}

static PyObject *
get_names(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(((struct expression *)self)->formula->names);
}

int
expression_describe(const struct expression *expression, struct buffer *text)
{
    const struct partition *partition = expression->partition;
    for (int node = 0; partition != NULL && node < partition->formula->node_count; node++) {
        const struct region *region = partition->regions[node];
        for (const struct variant *variant = region == NULL ? NULL : region->variants;
             variant != NULL; variant = variant->next) {
            if (region_explain(variant, text) < 0) {
                return -1;
            }
        }
    }
    return text->failed ? -1 : 0;
}

static PyObject *
get_source(PyObject *self, void *Py_UNUSED(closure))
{
    struct buffer text = BUFFER_INIT;
    PyObject *result = NULL;
    if (expression_describe((struct expression *)self, &text) == 0) {
        result =
            PyUnicode_DecodeUTF8(text.data == NULL ? "" : text.data, (Py_ssize_t)text.size, NULL);
    }
    else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    buffer_free(&text);
    return result;
}

static int
traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct expression *)self)->module);
    return 0;
}

static void
deallocate(PyObject *self)
{
    struct expression *expression = (struct expression *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (expression->partition != NULL) {
        partition_release(expression->partition);
    }
    if (expression->apart != NULL) {
        partition_release(expression->apart);
    }
    formula_free(expression->formula);
    free(expression->index_names);
    free(expression->hints);
    Py_CLEAR(expression->module);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef EXPRESSION_METHODS[] = {
    {"__reduce__", reduce, METH_NOARGS, "Pickles as its text."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef EXPRESSION_GETSET[] = {
    {"text", get_text, NULL, "The text, a str.", NULL},
    {"names", get_names, NULL, "Its names, a tuple of str, in order of first appearance.", NULL},
    {"source", get_source, NULL,
     "The steps and the C text for each set of types it was called with, a str; empty before the "
     "first call.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef EXPRESSION_MEMBERS[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct expression, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot EXPRESSION_SLOTS[] = {
    {Py_tp_doc,
     "A compiled array expression: call it with a value for each of its names, by position in "
     "order of\n"
     "first appearance or by keyword; out= takes an array for the result. Made by expression()."},
    {Py_tp_methods, EXPRESSION_METHODS},
    {Py_tp_getset, EXPRESSION_GETSET},
    {Py_tp_members, EXPRESSION_MEMBERS},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_repr, represent},
    {Py_tp_traverse, traverse},
    {Py_tp_dealloc, deallocate},
    {0, NULL},
};

static PyType_Spec EXPRESSION_SPEC = {
    .name = "tinyweave.Expression",
    .basicsize = sizeof(struct expression),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = EXPRESSION_SLOTS,
};

int
expression_init(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    for (int kind = 0; kind < EXPRESSION_KINDS; kind++) {
        if ((state->expressions[kind] = PyDict_New()) == NULL) {
            return -1;
        }
    }
    state->expression_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &EXPRESSION_SPEC, NULL);
    return state->expression_type == NULL
               ? -1
               : PyModule_AddObjectRef(module, "Expression", (PyObject *)state->expression_type);
}

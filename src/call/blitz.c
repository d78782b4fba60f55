/* blitz.c: tw.blitz: assignments to arrays that are there already.
 *
 * A statement whose value has the target's dtype and shape is computed right into it. Neighbouring statements of one
 * shape that read what they write only at the same places go over memory together, part by part; what else they
 * write would be seen too early or too late.
 */
#include <stdlib.h>
#include <string.h>

#include "../state.h"
#include "evaluate.h"
#include "expression.h"
#include "pass.h"
#include "shapes.h"
#include "sweep.h"
#include "ufuncs.h"

#define FUNCTION "blitz"

/* Statements that go over memory together. */
enum { GROUP = 8 };

/* A statement ready to be computed into its target. */
struct store {
    struct pass pass;
    struct partition *partition; /* a reference: it has the pass's variant */
    PyArrayObject *target;       /* a reference */
    bool upon;
};

struct group {
    struct store *stores[GROUP];
    int count;
};

struct blitz {
    struct expression *expression;
    struct evaluation evaluation;
    struct bindings bindings;
    struct lookup lookup;
    bool apart; /* an exception for a floating-point error must find the targets untouched */
    struct group group;
};

/* ---- Groups ---- */

static void
free_store(struct store *store)
{
    pass_finish(&store->pass);
    partition_release(store->partition);
    Py_XDECREF(store->target);
    free(store);
}

static void
empty(struct group *group)
{
    for (int i = 0; i < group->count; i++) {
        free_store(group->stores[i]);
    }
    group->count = 0;
}

/* Computes the group's statements. */
static int
flush(struct blitz *blitz)
{
    struct group *group = &blitz->group;
    struct sweep sweeps[GROUP];
    int result = 0;
    bool any = group->count > 0 && PyArray_SIZE(group->stores[0]->target) > 0;
    for (int i = 0; any && i < group->count; i++) {
        struct store *store = group->stores[i];
        pass_aim(&store->pass, store->target, store->upon);
        sweeps[i] = store->pass.sweep;
    }
    if (any) {
        result = sweep_run(sweeps, group->count);
    }
    for (int i = 0; any && result == 0 && i < group->count; i++) {
        result = pass_report(&group->stores[i]->pass);
    }
    empty(group);
    return result;
}

/* Whether two arrays of statements that go together may be one written, the other used. */
static bool
may_meet(PyArrayObject *x, PyArrayObject *y)
{
    return pass_shared(x, y) != SHARED_OTHERWISE;
}

/* Whether both are laid out alike, so that part n of one sweep has the elements of part n of the other. */
static bool
same_order(PyArrayObject *x, PyArrayObject *y)
{
    if (PyArray_NDIM(x) != PyArray_NDIM(y) ||
        !PyArray_CompareLists(PyArray_DIMS(x), PyArray_DIMS(y), PyArray_NDIM(x))) {
        return false;
    }
    for (int i = 0; i < PyArray_NDIM(x); i++) {
        if (PyArray_STRIDE(x, i) * PyArray_ITEMSIZE(y) !=
            PyArray_STRIDE(y, i) * PyArray_ITEMSIZE(x)) {
            return false;
        }
    }
    return true;
}

static bool
reads_apart(const struct pass *pass, PyArrayObject *target)
{
    for (int i = 0; i < pass->variant->graph.array_count; i++) {
        if (!may_meet(pass->arrays[i], target)) {
            return false;
        }
    }
    return true;
}

/* Whether a loop may set an exception, after which no other statement is due. */
static bool
may_fail(const struct store *store)
{
    return store->pass.variant->graph.python || store->pass.variant->graph.alone;
}

static bool
joins(const struct group *group, const struct store *store)
{
    if (group->count == GROUP || may_fail(store)) {
        return false;
    }
    for (int i = 0; i < group->count; i++) {
        const struct store *other = group->stores[i];
        if (may_fail(other) || !same_order(other->target, store->target) ||
            !may_meet(other->target, store->target) || !reads_apart(&store->pass, other->target) ||
            !reads_apart(&other->pass, store->target)) {
            return false;
        }
    }
    return true;
}

/* ---- Statements ---- */

/* Whether making a statement ready reads elements: of what is computed before its region is, and of arrays that count
 * as scalars. Then it cannot be made ready while others are still to be computed. */
static bool
reads_ahead(const struct evaluation *evaluation, const struct formula_statement *statement, int end)
{
    const struct partition *partition = evaluation->partition;
    int root = statement->combined >= 0 ? statement->combined : statement->value;
    for (int i = statement->first_node; i < end; i++) {
        const struct formula_node *node = &evaluation->formula->nodes[i];
        PyObject *value = evaluation->values[i];
        bool fused =
            node->elementwise && !partition->cut[i] && (partition->regions[i] == NULL || i == root);
        bool index = node->kind == FORMULA_SLICE || node->kind == FORMULA_TUPLE;
        if (value != NULL ? PyArray_Check(value) && PyArray_NDIM((PyArrayObject *)value) == 0
                          : !fused && !index && node->kind != FORMULA_NAME) {
            return true;
        }
    }
    return false;
}

/* The target as an array whose memory is the named array's; NULL without an exception where it is none such. */
static PyArrayObject *
find_target(struct evaluation *evaluation, int node)
{
    const struct formula *formula = evaluation->formula;
    for (int base = node; formula->nodes[base].kind == FORMULA_SUBSCRIPT;
         base = formula->nodes[base].children[0]) {
        int index = formula->nodes[base].children[1];
        if (evaluation_compute(evaluation, index, NULL) < 0 ||
            !shapes_is_basic(evaluation->values[index])) {
            return NULL;
        }
    }
    if (evaluation_compute(evaluation, node, NULL) < 0) {
        return NULL;
    }
    PyObject *value = evaluation->values[node];
    bool array = PyArray_CheckExact(value) && PyArray_NDIM((PyArrayObject *)value) > 0;
    return array ? (PyArrayObject *)Py_NewRef(value) : NULL;
}

/* The region at the root, its leaves computed; NULL with an exception, or where there is none. Computing a leaf may cut
 * the formula anew, and the regions are others then. */
static struct region *
prepare_region(struct evaluation *evaluation, int root)
{
    struct region *region = evaluation->partition->regions[root];
    for (int i = 0; region != NULL && i < region->leaf_count;) {
        int leaf = region->leaves[i];
        if (evaluation->values[leaf] != NULL) {
            i++;
            continue;
        }
        if (evaluation_compute(evaluation, leaf, NULL) < 0) {
            return NULL;
        }
        region = evaluation->partition->regions[root];
        i = 0;
    }
    return region;
}

/* Makes a store ready: its leaves are computed, its pass is started. Returns NULL, with an exception or without: the
 * value cannot be computed right into the target. */
static struct store *
make_store(struct blitz *blitz, const struct formula_statement *statement)
{
    struct evaluation *evaluation = &blitz->evaluation;
    int root = statement->combined >= 0 ? statement->combined : statement->value;
    struct region *region = evaluation->partition->regions[root];
    PyArrayObject *target =
        region == NULL || blitz->apart ? NULL : find_target(evaluation, statement->target);
    if (target == NULL) {
        return NULL;
    }
    region = prepare_region(evaluation, root);
    struct variant *variant = region == NULL ? NULL : region_variant(evaluation, region, -1);
    struct store *store = variant == NULL ? NULL : malloc(sizeof(*store));
    if (store == NULL) {
        Py_DECREF(target);
        return variant == NULL ? NULL : (PyErr_NoMemory(), NULL);
    }
    store->target = target;
    store->partition = partition_hold(evaluation->partition);
    if (pass_start(&store->pass, evaluation, variant) != 0 || !pass_matches(&store->pass, target) ||
        pass_is_partly_empty(&store->pass) || !pass_fits(&store->pass, target, &store->upon)) {
        free_store(store);
        return NULL;
    }
    return store;
}

/* Gives a new name its value, an array of its own. */
static int
create_name(struct blitz *blitz, const struct formula_statement *statement)
{
    struct evaluation *evaluation = &blitz->evaluation;
    const struct formula *formula = evaluation->formula;
    int index = formula->nodes[statement->target].index;
    PyObject *name = PyTuple_GET_ITEM(formula->names, index),
             *value = evaluation->values[statement->value];
    bool computed = formula->nodes[statement->value].elementwise;
    PyObject *made = PyArray_Check(value) && !computed
                         ? PyArray_NewCopy((PyArrayObject *)value, NPY_KEEPORDER)
                         : Py_NewRef(value);
    if (made == NULL || PyObject_SetItem(blitz->lookup.local_dict, name, made) < 0) {
        Py_XDECREF(made);
        return -1;
    }
    blitz->bindings.values[index] = made;
    for (int i = 0; i < formula->node_count; i++) {
        if (formula->nodes[i].kind == FORMULA_NAME && formula->nodes[i].index == index) {
            Py_XSETREF(evaluation->values[i], Py_NewRef(made));
        }
    }
    return 0;
}

/* A statement of its own: its value as an array, which NumPy stores. */
static int
run_alone(struct blitz *blitz, const struct formula_statement *statement)
{
    struct evaluation *evaluation = &blitz->evaluation;
    const struct formula_node *target = &evaluation->formula->nodes[statement->target];
    if (evaluation_compute(evaluation, statement->value, NULL) < 0) {
        return -1;
    }
    if (target->kind == FORMULA_NAME && evaluation->values[statement->target] == NULL) {
        return create_name(blitz, statement);
    }
    for (int i = 0; target->kind == FORMULA_SUBSCRIPT && i < target->child_count; i++) {
        if (evaluation_compute(evaluation, target->children[i], NULL) < 0) {
            return -1;
        }
    }
    return interpret_statement(evaluation->state, evaluation->formula, statement,
                               evaluation->values);
}

static int
run_statement(struct blitz *blitz, const struct formula_statement *statement, int end)
{
    const struct formula_node *target = &blitz->evaluation.formula->nodes[statement->target];
    bool creates = target->kind == FORMULA_NAME && blitz->bindings.values[target->index] == NULL;
    if (reads_ahead(&blitz->evaluation, statement, end) && flush(blitz) < 0) {
        return -1;
    }
    struct store *store = creates ? NULL : make_store(blitz, statement);
    if (store == NULL) {
        return PyErr_Occurred() || flush(blitz) < 0 ? -1 : run_alone(blitz, statement);
    }
    if (!joins(&blitz->group, store) && flush(blitz) < 0) {
        free_store(store);
        return -1;
    }
    blitz->group.stores[blitz->group.count++] = store;
    return 0;
}

/* After a statement failed: those before it are computed. */
static int
finish_others(struct blitz *blitz)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (flush(blitz) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    else {
        PyErr_Restore(type, value, traceback);
    }
    return -1;
}

static int
run_statements(struct blitz *blitz)
{
    const struct formula *formula = blitz->evaluation.formula;
    if (formula->statement_count > 1 && shapes_check(&blitz->evaluation) < 0) {
        return -1;
    }
    for (int i = 0; i < formula->statement_count; i++) {
        int end = i + 1 < formula->statement_count ? formula->statements[i + 1].first_node
                                                   : formula->node_count;
        if (run_statement(blitz, &formula->statements[i], end) < 0) {
            return finish_others(blitz);
        }
    }
    return flush(blitz);
}

/* ---- Names ---- */

/* A name without a value is a new one where a statement assigns to it, whole, before any other use, and there is a
 * local_dict to put it into. */
static int
check_missing(const struct blitz *blitz)
{
    const struct formula *formula = blitz->expression->formula;
    for (Py_ssize_t i = 0; i < blitz->bindings.count; i++) {
        int use = -1, created = -1;
        for (int node = 0; blitz->bindings.values[i] == NULL && node < formula->node_count;
             node++) {
            const struct formula_node *found = &formula->nodes[node];
            bool call = found->kind == FORMULA_CALL && found->operation == FORMULA_NAMED;
            if ((found->kind == FORMULA_NAME || call) && found->index == i) {
                use = node;
                break;
            }
        }
        for (int j = 0; use >= 0 && j < formula->statement_count; j++) {
            const struct formula_statement *statement = &formula->statements[j];
            bool read =
                statement->combined >= 0 || statement->value >= use; /* t = t + a: one node */
            created = statement->target == use && !read ? use : created;
        }
        if (use >= 0 && (created < 0 || blitz->lookup.local_dict == NULL)) {
            bindings_missing(blitz->expression, i, &blitz->lookup, FUNCTION);
            return -1;
        }
    }
    return 0;
}

/* Whether a filter of the warnings module makes an exception of a RuntimeWarning. */
static int
filter_raises(PyObject *filter)
{
    if (!PyTuple_Check(filter) || PyTuple_GET_SIZE(filter) < 3) {
        return 0;
    }
    PyObject *action = PyTuple_GET_ITEM(filter, 0), *category = PyTuple_GET_ITEM(filter, 2);
    bool error = PyUnicode_Check(action) && PyUnicode_CompareWithASCIIString(action, "error") == 0;
    return error ? PyObject_IsSubclass(PyExc_RuntimeWarning, category) : 0;
}

static int
warnings_raise(const struct state *state)
{
    PyObject *module = PyImport_GetModule(state->name_warnings);
    PyObject *filters = module == NULL ? NULL : PyObject_GetAttr(module, state->name_filters);
    int raises = PyErr_Occurred() ? -1 : 0;
    for (Py_ssize_t i = 0;
         filters != NULL && raises == 0 && PyList_Check(filters) && i < PyList_GET_SIZE(filters);
         i++) {
        raises = filter_raises(PyList_GET_ITEM(filters, i));
    }
    Py_XDECREF(module);
    Py_XDECREF(filters);
    return raises;
}

/* Whether numpy.geterr() has "raise" or "call". */
static int
settings_raise(struct state *state)
{
    PyObject *geterr = ufunc_get(state, UFUNC_GETERR);
    PyObject *settings = geterr == NULL ? NULL : PyObject_CallNoArgs(geterr);
    PyObject *key, *value;
    Py_ssize_t position = 0;
    int raises = settings == NULL ? -1 : 0;
    while (settings != NULL && PyDict_Next(settings, &position, &key, &value)) {
        raises |=
            PyUnicode_Check(value) && (PyUnicode_CompareWithASCIIString(value, "raise") == 0 ||
                                       PyUnicode_CompareWithASCIIString(value, "call") == 0);
    }
    Py_XDECREF(settings);
    return raises;
}

/* Whether a floating-point error may end in an exception, or in a call of the user's. Asking takes longer than a
 * small statement: the answer is kept for as long as the settings are the same object. */
static int
errors_raise(struct state *state)
{
    PyObject *variable = ufunc_get(state, UFUNC_ERRSTATE), *settings = NULL;
    if (variable == NULL) {
        return -1;
    }
    if (!PyContextVar_CheckExact(variable)) {
        return settings_raise(state);
    }
    if (PyContextVar_Get(variable, NULL, &settings) < 0) {
        return -1;
    }
    int raises = 0; /* as NumPy begins: warnings */
    if (settings != NULL && settings == state->errstate) {
        raises = state->errstate_raises;
    }
    else if ((raises = settings_raise(state)) >= 0 && settings != NULL) {
        Py_XSETREF(state->errstate, Py_NewRef(settings));
        state->errstate_raises = raises;
    }
    Py_XDECREF(settings);
    return raises;
}

/* ---- Targets ---- */

/* The name a statement's target is, or is part of. */
static int
find_base(const struct formula *formula, const struct formula_statement *statement)
{
    int node = statement->target;
    while (formula->nodes[node].kind == FORMULA_SUBSCRIPT) {
        node = formula->nodes[node].children[0];
    }
    return node;
}

/* What is assigned to must be an array itself: of a list a copy was made that nobody would see, and who holds an array
 * alone may have been given one of those. */
static int
check_targets(const struct blitz *blitz)
{
    struct expression *expression = blitz->expression;
    const struct formula *formula = expression->formula;
    for (int i = 0; i < formula->statement_count; i++) {
        int node = find_base(formula, &formula->statements[i]), index = formula->nodes[node].index;
        PyObject *value = blitz->bindings.values[index];
        if (value == NULL || !PyArray_Check(value) || Py_REFCNT(value) > 1) {
            continue;
        }
        PyObject *given = lookup_name(&blitz->lookup, PyTuple_GET_ITEM(formula->names, index),
                                      &expression->hints[index]);
        if (given != NULL && !PyArray_Check(given)) {
            formula_raise(formula, node, PyExc_TypeError,
                          "%s(): only an array is assigned to, not %s", FUNCTION,
                          Py_TYPE(given)->tp_name);
        }
        Py_XDECREF(given);
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

/* ---- tw.blitz ---- */

static int
run(struct blitz *blitz)
{
    struct expression *expression = blitz->expression;
    int raises = errors_raise(expression->state);
    raises = raises == 0 ? warnings_raise(expression->state) : raises;
    blitz->apart = raises > 0;
    if (raises < 0 ||
        bindings_look_up(&blitz->bindings, expression, &blitz->lookup, true, FUNCTION) < 0 ||
        check_missing(blitz) < 0 || check_targets(blitz) < 0) {
        return -1;
    }
    struct partition *partition = expression_partition(expression, false);
    if (partition == NULL) {
        return -1;
    }
    int result = evaluation_start(&blitz->evaluation, expression->state, expression->formula,
                                  partition, blitz->bindings.values, FUNCTION);
    result = result == 0 ? run_statements(blitz) : result;
    expression_keep(expression, blitz->evaluation.partition, false, result < 0);
    evaluation_finish(&blitz->evaluation);
    return result;
}

enum { BLITZ_POSITIONAL = 5 };

static int
read_arguments(const struct state *state, PyObject *const *arguments, Py_ssize_t count,
               PyObject *keywords, PyObject **values)
{
    PyObject *const names[BLITZ_POSITIONAL] = {state->name_expr, state->name_local_dict,
                                               state->name_global_dict, state->name_check_size,
                                               state->name_verbose};
    if (count > BLITZ_POSITIONAL) {
        PyErr_Format(PyExc_TypeError, "blitz() takes at most %d arguments (%zd given)",
                     BLITZ_POSITIONAL, count);
        return -1;
    }
    memcpy(values, arguments, (size_t)count * sizeof(*values));
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
        int place = 0;
        while (place < BLITZ_POSITIONAL && PyUnicode_Compare(keyword, names[place]) != 0) {
            place++;
        }
        if (place == BLITZ_POSITIONAL || values[place] != NULL) {
            PyErr_Format(PyExc_TypeError, "blitz() got %s argument '%U'",
                         place == BLITZ_POSITIONAL ? "an unexpected keyword"
                                                   : "multiple values for",
                         keyword);
            return -1;
        }
        values[place] = arguments[count + i];
    }
    if (values[0] == NULL) {
        PyErr_SetString(PyExc_TypeError, "blitz() missing required argument 'expr'");
        return -1;
    }
    return 0;
}

PyObject *
blitz_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    PyObject *values[BLITZ_POSITIONAL] = {NULL};
    struct blitz blitz = {.group = {.count = 0}};
    if (read_arguments(PyModule_GetState(module), arguments, count, keywords, values) < 0) {
        return NULL;
    }
    blitz.expression = expression_obtain(module, values[0], EXPRESSION_STATEMENTS, FUNCTION);
    if (blitz.expression == NULL) {
        return NULL;
    }
    lookup_start(&blitz.lookup, values[1] == Py_None ? NULL : values[1],
                 values[2] == Py_None ? NULL : values[2]);
    int result = bindings_start(&blitz.bindings, blitz.expression);
    result = result == 0 ? run(&blitz) : result;
    bindings_finish(&blitz.bindings);
    Py_DECREF(blitz.expression);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* evaluation.c: which node next, and who computes it: a region on blocks, or NumPy. */
#include "evaluation.h"

#include <stdlib.h>
#include <string.h>

#include "interpret.h"
#include "reduce.h"

int
evaluation_start(struct evaluation *evaluation, struct state *state, const struct formula *formula,
                 struct partition *partition, PyObject *const *names, const char *function)
{
    size_t count = (size_t)formula->node_count;
    evaluation->state = state;
    evaluation->formula = formula;
    evaluation->partition = partition_hold(partition);
    evaluation->apart = NULL;
    evaluation->is_apart = false;
    evaluation->fast = false;
    evaluation->names = names;
    evaluation->function = function;
    evaluation->values =
        count <= EVALUATION_SMALL ? evaluation->small : malloc(count * sizeof(PyObject *));
    if (evaluation->values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const struct formula_node *node = &formula->nodes[i];
        evaluation->values[i] = node->kind == FORMULA_NAME       ? Py_XNewRef(names[node->index])
                                : node->kind == FORMULA_CONSTANT ? Py_NewRef(node->object)
                                                                 : NULL;
    }
    return 0;
}

void
evaluation_finish(struct evaluation *evaluation)
{
    for (int i = 0; evaluation->values != NULL && i < evaluation->formula->node_count; i++) {
        Py_XDECREF(evaluation->values[i]);
    }
    if (evaluation->values != evaluation->small) {
        free(evaluation->values);
    }
    partition_release(evaluation->partition);
}

/* ---- What a node needs ---- */

static int
first_missing(const struct evaluation *evaluation, const int *nodes, int count)
{
    for (int i = 0; i < count; i++) {
        if (nodes[i] >= 0 && evaluation->values[nodes[i]] == NULL) {
            return nodes[i];
        }
    }
    return -1;
}

static bool
is_scalar(PyObject *value)
{
    return !PyArray_Check(value) || PyArray_NDIM((PyArrayObject *)value) == 0;
}

/* The branch a condition with a scalar takes: 1 or 2; 0: it is no scalar; -1 with an exception. */
static int
chosen_branch(const struct evaluation *evaluation, const struct formula_node *node)
{
    PyObject *condition = evaluation->values[node->children[0]];
    if (!is_scalar(condition)) {
        return 0;
    }
    int truth = PyObject_IsTrue(condition);
    return truth < 0 ? -1 : truth ? 1 : 2;
}

/* The region that is the operand of a reduction and of nothing else, and not computed as an array; or NULL. */
static struct region *
reduced_region(const struct evaluation *evaluation, int index)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    bool reduction =
        node->kind == FORMULA_CALL && node->operation == FORMULA_REDUCTION && node->child_count > 0;
    return reduction && evaluation->values[node->children[0]] == NULL &&
                   evaluation->partition->readers[node->children[0]] == 1 && reduce_takes(node)
               ? evaluation->partition->regions[node->children[0]]
               : NULL;
}

/* A node that has to be computed before this one: -1: none; -2 with an exception. */
static int
next_needed(const struct evaluation *evaluation, int index)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    const struct region *region = evaluation->partition->regions[index];
    if (region != NULL) {
        return first_missing(evaluation, region->leaves, region->leaf_count);
    }
    region = reduced_region(evaluation, index);
    if (region != NULL) {
        int needed = first_missing(evaluation, region->leaves, region->leaf_count);
        return needed >= 0 ? needed
                           : first_missing(evaluation, node->children + 1, node->child_count - 1);
    }
    if (node->kind != FORMULA_CONDITION || evaluation->values[node->children[0]] == NULL) {
        return first_missing(evaluation, node->children,
                             node->kind == FORMULA_CONDITION ? 1 : node->child_count);
    }
    int branch = chosen_branch(evaluation, node);
    return branch < 0    ? -2
           : branch == 0 ? first_missing(evaluation, node->children + 1, 2)
                         : first_missing(evaluation, node->children + branch, 1);
}

/* ---- Computing it ---- */

static PyObject *
interpret(struct evaluation *evaluation, int index, PyArrayObject *out)
{
    const struct result_options options = {.out = (PyObject *)out};
    return interpret_result(evaluation->state, evaluation->formula, index, evaluation->values,
                            evaluation->names, &options, evaluation->function);
}

static int
compute_plain(struct evaluation *evaluation, int index, PyArrayObject *out)
{
    const struct formula_node *node = &evaluation->formula->nodes[index];
    int branch = node->kind == FORMULA_CONDITION ? chosen_branch(evaluation, node) : 0;
    PyObject *value = branch > 0   ? Py_NewRef(evaluation->values[node->children[branch]])
                      : branch < 0 ? NULL
                                   : interpret(evaluation, index, out);
    evaluation->values[index] = value;
    return value == NULL ? -1 : 0;
}

static int
cut_at(struct evaluation *evaluation, int node)
{
    size_t count = (size_t)evaluation->formula->node_count;
    bool *cut = malloc(count);
    struct partition *partition = NULL;
    if (cut == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(cut, evaluation->partition->cut, count);
    cut[node] = true;
    partition = partition_new(evaluation->state, evaluation->formula, cut);
    free(cut);
    if (partition == NULL) {
        return -1;
    }
    partition_release(evaluation->partition);
    evaluation->partition = partition;
    return 0;
}

static int
turn_apart(struct evaluation *evaluation)
{
    partition_release(evaluation->partition);
    evaluation->partition = partition_hold(evaluation->apart);
    evaluation->is_apart = true;
    return 0;
}

/* A region as an array or, where `out` fits, in it. */
static int
compute_region(struct evaluation *evaluation, struct region *region, PyArrayObject *out)
{
    int refused;
    enum region_result result = region_run(evaluation, region, out, &refused);
    return result == REGION_REFUSED ? cut_at(evaluation, refused)
           : result == REGION_APART ? turn_apart(evaluation)
                                    : (int)result;
}

static int
compute(struct evaluation *evaluation, int index, PyArrayObject *out)
{
    struct region *region = evaluation->partition->regions[index];
    if (region != NULL) {
        return compute_region(evaluation, region, out);
    }
    region = reduced_region(evaluation, index);
    if (region == NULL) {
        return compute_plain(evaluation, index, out);
    }
    enum region_result result = reduce_run(evaluation, index, region);
    return result == REGION_REFUSED ? compute_region(evaluation, region, NULL) : (int)result;
}

int
evaluation_compute(struct evaluation *evaluation, int node, PyArrayObject *out)
{
    int count = 0, result = 0;
    int small[EVALUATION_SMALL];
    size_t most = (size_t)evaluation->formula->node_count;
    int *pending = most <= EVALUATION_SMALL ? small : malloc(most * sizeof(*pending));
    if (pending == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    pending[count++] = node;
    while (result == 0 && count > 0) {
        int top = pending[count - 1];
        int needed = evaluation->values[top] != NULL ? -1 : next_needed(evaluation, top);
        if (evaluation->values[top] != NULL) {
            count--;
        }
        else if (needed >= 0) {
            pending[count++] = needed;
        }
        else {
            result = needed < -1 ? -1 : compute(evaluation, top, top == node ? out : NULL);
        }
    }
    if (pending != small) {
        free(pending);
    }
    return result;
}

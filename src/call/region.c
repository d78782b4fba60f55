/* region.c: what the values are, the variant for them, and running it. */
#include "region.h"

#include <stdlib.h>
#include <string.h>

#include "../../cache/kernel.h"
#include "../frontend/lower.h"
#include "evaluation.h"
#include "interpret.h"
#include "pass.h"
#include <numpy/ufuncobject.h>

/* So many nodes and types are looked at on the stack. */
#define SMALL 256

void
variant_free(struct variant *variant)
{
    if (variant->kernel != NULL) {
        kernel_release(variant->kernel);
    }
    graph_free(&variant->graph);
    Py_XDECREF(variant->reduction_call);
    free(variant->types);
    free(variant->ufuncs);
    free(variant);
}

/* ---- What values are ---- */

#define SCALAR_TYPES(TYPE)                                                                         \
    TYPE(Double, DOUBLE)                                                                           \
    TYPE(Float, FLOAT)                                                                             \
    TYPE(Long, LONG)                                                                               \
    TYPE(Int, INT)                                                                                 \
    TYPE(Bool, BOOL)                                                                               \
    TYPE(Byte, BYTE)                                                                               \
    TYPE(UByte, UBYTE)                                                                             \
    TYPE(Short, SHORT)                                                                             \
    TYPE(UShort, USHORT)                                                                           \
    TYPE(UInt, UINT)                                                                               \
    TYPE(ULong, ULONG)                                                                             \
    TYPE(LongLong, LONGLONG)                                                                       \
    TYPE(ULongLong, ULONGLONG)                                                                     \
    TYPE(Half, HALF)                                                                               \
    TYPE(LongDouble, LONGDOUBLE)                                                                   \
    TYPE(CFloat, CFLOAT)                                                                           \
    TYPE(CDouble, CDOUBLE)                                                                         \
    TYPE(CLongDouble, CLONGDOUBLE)

static struct operand
scalar_operand(PyTypeObject *type)
{
#define TYPE(name, number)                                                                         \
    if (type == &Py##name##ArrType_Type) {                                                         \
        return (struct operand){OPERAND_SCALAR, NPY_##number};                                     \
    }
    SCALAR_TYPES(TYPE)
#undef TYPE
    return (struct operand){OPERAND_OTHER, -1};
}

static struct operand
int_operand(PyObject *value, bool exponent)
{
    int overflow;
    long number = exponent ? PyLong_AsLongAndOverflow(value, &overflow) : 0;
    return (struct operand){number == 2                 ? OPERAND_INT_TWO
                            : number == -1 && !overflow ? OPERAND_INT_MINUS_ONE
                                                        : OPERAND_INT,
                            NPY_LONG};
}

static struct operand
find_operand(PyObject *value, bool exponent)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyArray_Type) {
        PyArrayObject *array = (PyArrayObject *)value;
        int number = PyArray_TYPE(array);
        if (graph_type_name(number) == NULL) {
            return (struct operand){OPERAND_OTHER, -1};
        }
        return (struct operand){PyArray_NDIM(array) > 0 ? OPERAND_ARRAY : OPERAND_SCALAR,
                                (signed char)number};
    }
    if (type == &PyFloat_Type) {
        bool half = exponent && PyFloat_AS_DOUBLE(value) == .5;
        return (struct operand){half ? OPERAND_FLOAT_HALF : OPERAND_FLOAT, NPY_DOUBLE};
    }
    if (type == &PyLong_Type) {
        return int_operand(value, exponent);
    }
    if (type == &PyBool_Type) {
        return (struct operand){OPERAND_BOOL, NPY_BOOL};
    }
    if (type == &PyComplex_Type) {
        return (struct operand){OPERAND_COMPLEX, NPY_CDOUBLE};
    }
    return scalar_operand(type);
}

/* Whether a node of the region has an array among its operands. */
static bool
is_computed(const struct formula_node *node, const struct operand *operands)
{
    for (int i = 0; i < node->child_count; i++) {
        int kind = operands[node->children[i]].kind;
        if (kind == OPERAND_ARRAY || kind == OPERAND_RESULT) {
            return true;
        }
    }
    return false;
}

/* Tells what leaves and nodes are, by node in `operands` and in the region's order in `types`; nodes on scalars alone
 * are computed. Returns 0, or 1 where a leaf is nothing for blocks or a scalar fails. */
static int
find_types(struct evaluation *evaluation, const struct region *region, struct operand *operands,
           struct operand *types)
{
    int result = 0;
    for (int i = 0; i < region->leaf_count; i++) {
        int leaf = region->leaves[i];
        types[i] = operands[leaf] = find_operand(evaluation->values[leaf], region->exponents[i]);
        result |= types[i].kind == OPERAND_OTHER &&
                  evaluation->values[leaf] != Py_None; /* None: a bound of clip */
    }
    for (int i = 0; result == 0 && i < region->node_count; i++) {
        int node = region->nodes[i], place = region->leaf_count + i;
        operands[node] = (struct operand){OPERAND_RESULT, -1};
        if (!is_computed(&evaluation->formula->nodes[node], operands)) {
            if (evaluation->values[node] == NULL) {
                evaluation->values[node] =
                    interpret_node(evaluation->state, evaluation->formula, node, evaluation->values,
                                   evaluation->names, evaluation->function);
            }
            if (evaluation->values[node] == NULL) {
                PyErr_Clear(); /* NumPy, computing all in order, may meet another error before */
                return 1;
            }
            operands[node] = find_operand(evaluation->values[node], region->exponents[place]);
            result |= operands[node].kind == OPERAND_OTHER;
        }
        types[place] = operands[node];
    }
    return result;
}

/* ---- Variants ---- */

/* The ufuncs a caller's names stand for, by node; NULL in `*ufuncs`: none are called. 1 where one is none for
 * blocks. */
static int
find_named(const struct evaluation *evaluation, const struct region *region, PyObject ***ufuncs,
           int *refused)
{
    const struct formula *formula = evaluation->formula;
    for (int i = 0; i < region->node_count; i++) {
        const struct formula_node *node = &formula->nodes[region->nodes[i]];
        if (node->kind != FORMULA_CALL || node->operation != FORMULA_NAMED) {
            continue;
        }
        PyObject *ufunc = evaluation->names[node->index];
        if (ufunc == NULL || Py_TYPE(ufunc) != &PyUFunc_Type) {
            *refused = region->nodes[i];
            return 1;
        }
        if (*ufuncs == NULL &&
            (*ufuncs = calloc((size_t)formula->node_count, sizeof(PyObject *))) == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        (*ufuncs)[region->nodes[i]] = ufunc;
    }
    return 0;
}

static bool
same_ufuncs(const struct evaluation *evaluation, const struct region *region,
            const struct variant *variant)
{
    for (int i = 0; variant->ufuncs != NULL && i < region->node_count; i++) {
        PyObject *ufunc = variant->ufuncs[region->nodes[i]];
        if (ufunc != NULL &&
            ufunc != evaluation->names[evaluation->formula->nodes[region->nodes[i]].index]) {
            return false;
        }
    }
    return true;
}

static struct variant *
find_variant(const struct evaluation *evaluation, const struct region *region,
             const struct operand *types, int result_type)
{
    size_t size = (size_t)(region->leaf_count + region->node_count) * sizeof(*types);
    for (struct variant *variant = region->variants; variant != NULL; variant = variant->next) {
        if (variant->result_type == result_type && memcmp(variant->types, types, size) == 0 &&
            same_ufuncs(evaluation, region, variant)) {
            return variant;
        }
    }
    return NULL;
}

/* Nanoseconds an element, before any was computed. */
static double
guess_cost(const struct graph *graph)
{
    double cost = .03 * (graph->array_count + 1);
    for (int i = 0; i < graph->step_count; i++) {
        cost += graph->steps[i].loop < 0 ? .06 : 1;
    }
    return cost;
}

static int
compile_variant(struct state *state, struct variant *variant)
{
    struct unit unit = {.strict = false};
    struct buffer headers = BUFFER_INIT;
    struct problem problem = {PROBLEM_NONE, ""};
    enum kernel_origin origin;
    if (lower_unit(&variant->graph, &unit, &variant->scratch) < 0) {
        PyErr_NoMemory();
    }
    else {
        variant->kernel =
            kernel_obtain(state, &unit, &headers, unit.signature.data, false, &origin, &problem);
        if (variant->kernel == NULL && !PyErr_Occurred()) {
            state_raise(&problem, PyExc_OSError);
        }
    }
    unit_free(&unit);
    buffer_free(&headers);
    return variant->kernel == NULL ? -1 : 0;
}

static struct variant *
new_variant(struct evaluation *evaluation, struct region *region, const struct operand *operands,
            const struct operand *types, int result_type, int *refused)
{
    struct state *state = evaluation->state;
    size_t size = (size_t)(region->leaf_count + region->node_count) * sizeof(*types);
    struct variant *variant = calloc(1, sizeof(*variant));
    if (variant == NULL || (variant->types = malloc(size)) == NULL) {
        free(variant);
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(variant->types, types, size);
    variant->result_type = result_type;
    int result = find_named(evaluation, region, &variant->ufuncs, refused);
    if (result == 0) {
        result = graph_build(state, evaluation->fast, evaluation->formula, region->nodes,
                             region->node_count, operands, variant->ufuncs, result_type,
                             &variant->graph, refused);
    }
    if (result > 0 && variant->graph.unresolved) {
        *refused = -1; /* what NumPy computes before that may fail first */
    }
    if (result != 0 || compile_variant(state, variant) < 0) {
        variant_free(variant);
        return NULL;
    }
    variant->cost = guess_cost(&variant->graph);
    variant->block = lower_block(&variant->graph);
    variant->next = region->variants;
    region->variants = variant;
    return variant;
}

/* ---- Running ---- */

static enum region_result
run_variant(struct evaluation *evaluation, const struct region *region, struct variant *variant,
            PyArrayObject *out)
{
    struct pass pass;
    bool upon = false;
    PyArrayObject *result = NULL;
    int started = pass_start(&pass, evaluation, variant);
    bool refused = started > 0 || (started == 0 && pass_is_partly_empty(&pass));
    bool apart = out != NULL && (refused || (started == 0 && !pass_matches(&pass, out)));
    if (started == 0 && !refused && !apart) {
        result = out != NULL && pass_fits(&pass, out, &upon) ? (PyArrayObject *)Py_NewRef(out)
                                                             : pass_array(&pass);
    }
    if (result != NULL && PyArray_SIZE(result) > 0) {
        pass_aim(&pass, result, upon);
        bool failed = sweep_run(&pass.sweep, 1) < 0;
        if (failed || pass_report(&pass) < 0) {
            Py_CLEAR(result);
        }
        if (failed && !upon) {
            PyErr_Clear(); /* NumPy tells first what steps before the one that failed have to tell */
            refused = true;
            apart = out != NULL;
        }
    }
    pass_finish(&pass);
    if (apart || refused) {
        return apart ? REGION_APART : REGION_REFUSED;
    }
    evaluation->values[region->nodes[region->node_count - 1]] = (PyObject *)result;
    return result == NULL ? REGION_FAILED : REGION_DONE;
}

/* By NumPy, node by node: what blocks are not made for, and what ends in an exception. */
static enum region_result
interpret_region(struct evaluation *evaluation, const struct region *region)
{
    for (int i = 0; i < region->node_count; i++) {
        int node = region->nodes[i];
        if (evaluation->values[node] == NULL) {
            evaluation->values[node] =
                interpret_node(evaluation->state, evaluation->formula, node, evaluation->values,
                               evaluation->names, evaluation->function);
        }
        if (evaluation->values[node] == NULL) {
            return REGION_FAILED;
        }
    }
    return REGION_DONE;
}

/* Whether the region has a leaf of at least one dimension, without which its root is a scalar. */
static bool
any_array(const struct evaluation *evaluation, const struct region *region)
{
    for (int i = 0; i < region->leaf_count; i++) {
        PyObject *value = evaluation->values[region->leaves[i]];
        if (PyArray_Check(value) && PyArray_NDIM((PyArrayObject *)value) > 0) {
            return true;
        }
    }
    return false;
}

/* The variant for the values as they are; NULL: `*result` says why. */
static struct variant *
obtain_variant(struct evaluation *evaluation, struct region *region, int result_type,
               enum region_result *result, int *refused)
{
    int root = region->nodes[region->node_count - 1];
    size_t node_count = (size_t)evaluation->formula->node_count;
    size_t type_count = (size_t)(region->leaf_count + region->node_count);
    struct operand small[SMALL];
    bool is_small = node_count + type_count <= SMALL;
    struct operand *operands =
        is_small ? small : malloc((node_count + type_count) * sizeof(*operands));
    struct operand *types = operands + node_count;
    struct variant *variant = NULL;
    *result = REGION_FAILED;
    *refused = -1;
    int found =
        operands == NULL ? (PyErr_NoMemory(), -1) : find_types(evaluation, region, operands, types);
    if (found > 0) {
        *result = REGION_REFUSED;
    }
    else if (found == 0 && operands[root].kind != OPERAND_RESULT) {
        *result = REGION_DONE; /* a scalar */
    }
    else if (found == 0) {
        variant = find_variant(evaluation, region, types, result_type);
        variant = variant == NULL
                      ? new_variant(evaluation, region, operands, types, result_type, refused)
                      : variant;
        *result = variant != NULL ? REGION_DONE : PyErr_Occurred() ? REGION_FAILED : REGION_REFUSED;
    }
    if (!is_small) {
        free(operands);
    }
    return variant;
}

enum region_result
region_run(struct evaluation *evaluation, struct region *region, PyArrayObject *out, int *refused)
{
    if (out != NULL && !any_array(evaluation, region)) {
        return REGION_APART;
    }
    enum region_result result;
    struct variant *variant = obtain_variant(evaluation, region, -1, &result, refused);
    if (variant != NULL) {
        result = run_variant(evaluation, region, variant, out);
        return result == REGION_REFUSED ? interpret_region(evaluation, region) : result;
    }
    /* Without a node to cut at, NumPy computes all. */
    bool all = result == REGION_REFUSED && *refused < 0;
    return !all ? result : out != NULL ? REGION_APART : interpret_region(evaluation, region);
}

struct variant *
region_variant(struct evaluation *evaluation, struct region *region, int result_type)
{
    enum region_result result;
    int refused;
    return obtain_variant(evaluation, region, result_type, &result, &refused);
}

/* ---- For people ---- */

static void
append_operand(const struct graph *graph, int value, struct buffer *text)
{
    const struct quantity *found = &graph->values[value];
    buffer_printf(text, "%s%s", graph_type_name(found->type),
                  found->kind == VALUE_SCALAR ? "" : "[]");
}

/* One line: "  3  multiply  f8[], f8 -> f8[]  tw_multiply_f8_vs". */
static void
explain_step(struct graph *graph, int index, struct buffer *text)
{
    struct step *step = &graph->steps[index];
    char primitive[PRIMITIVE_NAME_SIZE];
    const char *name = step->kind == STEP_UFUNC  ? step->name
                       : step->kind == STEP_CAST ? "cast"
                                                 : "where";
    const char *means = graph_primitive(graph, step, primitive)   ? primitive
                        : graph->loops[step->loop].vector != NULL ? "libmvec"
                                                                  : "NumPy's loop";
    buffer_printf(text, "%4d  %-16s", index + 1, name);
    for (int i = 0; i < step->input_count; i++) {
        buffer_append_string(text, i == 0 ? "" : ", ");
        append_operand(graph, step->inputs[i], text);
    }
    buffer_append_string(text, " -> ");
    append_operand(graph, step->output, text);
    buffer_printf(text, "  %s\n", means);
}

int
region_explain(const struct variant *variant, struct buffer *text)
{
    struct graph *graph = (struct graph *)&variant->graph;
    struct unit unit = {.strict = false};
    size_t scratch;
    if (lower_unit(graph, &unit, &scratch) < 0) {
        unit_free(&unit);
        return -1;
    }
    buffer_printf(text, "%.*s\n", (int)unit.signature.size, unit.signature.data);
    for (int i = 0; i < graph->step_count; i++) {
        explain_step(graph, i, text);
    }
    buffer_append_string(text, "\n");
    buffer_append(text, unit.text.data, unit.text.size);
    unit_free(&unit);
    return text->failed ? -1 : 0;
}

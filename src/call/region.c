/* region.c: partitions, variants, and running them. */
#include "region.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../cache/kernel.h"
#include "../frontend/lower.h"
#include "evaluation.h"
#include "interpret.h"
#include "sweep.h"
#include <numpy/ufuncobject.h>

/* Room for the value of a scalar, the widest of which is clongdouble. */
#define SCALAR_SIZE 32

/* So many nodes and types are looked at on the stack, and so many arrays have their strides there. */
#define SMALL 256
#define SMALL_ARRAYS 8

/* ---- Partitions ---- */

static bool
is_elementwise(const struct partition *partition, int node)
{
    const struct formula_node *found = &partition->formula->nodes[node];
    bool named = found->kind == FORMULA_CALL && found->operation == FORMULA_NAMED && found->keywords == NULL;
    return (found->elementwise || named) && !partition->cut[node];
}

/* The root of the region each elementwise node belongs to: its reader's, if all its readers are of one. */
static void
find_roots(const struct partition *partition, int *roots)
{
    const struct formula *formula = partition->formula;
    for (int node = 0; node < formula->node_count; node++) {
        roots[node] = -1;
    }
    for (int node = formula->node_count - 1; node >= 0; node--) {
        if (is_elementwise(partition, node) && roots[node] == -1) {
            roots[node] = node;
        }
        for (int i = 0; i < formula->nodes[node].child_count; i++) {
            int child = formula->nodes[node].children[i];
            if (child < 0 || !is_elementwise(partition, child)) {
                continue;
            }
            int root = is_elementwise(partition, node) ? roots[node] : child;
            roots[child] = roots[child] == -1 || roots[child] == root ? root : child;
        }
    }
    for (int i = 0; i < formula->statement_count; i++) {
        int value = formula->statements[i].value;
        roots[value] = is_elementwise(partition, value) ? value : roots[value];
    }
}

static bool
holds(const int *items, int count, int item)
{
    for (int i = count - 1; i >= 0; i--) {
        if (items[i] == item) {
            return true;
        }
    }
    return false;
}

/* Marks what the region reads; `marks` has the root it was last marked for. */
static void
add_leaves(const struct formula *formula, struct region *region, const int *roots, int root, int *marks)
{
    for (int i = 0; i < region->node_count; i++) {
        const struct formula_node *node = &formula->nodes[region->nodes[i]];
        for (int j = 0; j < node->child_count; j++) {
            int child = node->children[j];
            if (marks[child] != root && (roots[child] != root)) {
                marks[child] = root;
                region->leaves[region->leaf_count++] = child;
            }
        }
    }
}

static void
find_exponents(const struct formula *formula, struct region *region)
{
    for (int i = 0; i < region->node_count; i++) {
        const struct formula_node *node = &formula->nodes[region->nodes[i]];
        if (node->kind != FORMULA_OPERATOR || node->operation != FORMULA_POWER) {
            continue;
        }
        for (int j = 0; j < region->leaf_count + region->node_count; j++) {
            int place = j < region->leaf_count ? region->leaves[j] : region->nodes[j - region->leaf_count];
            region->exponents[j] |= place == node->children[1];
        }
    }
}

static struct region *
new_region(struct partition *partition, const int *roots, const int *members, int count, int root, int *marks)
{
    const struct formula *formula = partition->formula;
    struct arena *arena = &partition->arena;
    size_t children = 0;
    for (int i = 0; i < count; i++) {
        children += (size_t)formula->nodes[members[i]].child_count;
    }
    struct region *region = arena_take(arena, sizeof(*region));
    if (region == NULL) {
        return NULL;
    }
    region->nodes = arena_take(arena, (size_t)count * sizeof(int));
    region->leaves = arena_take(arena, children * sizeof(int) + 1);
    region->exponents = arena_take(arena, children + (size_t)count);
    if (region->nodes == NULL || region->leaves == NULL || region->exponents == NULL) {
        return NULL;
    }
    memcpy(region->nodes, members, (size_t)count * sizeof(int));
    region->node_count = count;
    add_leaves(formula, region, roots, root, marks);
    find_exponents(formula, region);
    return region;
}

/* Sorts the nodes by root (stably, by counting) and makes the regions. */
static int
make_regions(struct partition *partition, const int *roots, int *starts, int *members, int *marks)
{
    int count = partition->formula->node_count;
    for (int node = 0; node < count; node++) {
        starts[roots[node] + 1] += roots[node] >= 0;
        marks[node] = -1;
    }
    for (int node = 0; node < count; node++) {
        starts[node + 1] += starts[node];
    }
    for (int node = 0; node < count; node++) {
        if (roots[node] >= 0) {
            members[starts[roots[node]]++] = node;
        }
    }
    for (int root = 0, first = 0; root < count; root++) { /* starts[root] is now the end of the root's */
        if (starts[root] > first) {
            partition->regions[root] = new_region(partition, roots, members + first, starts[root] - first, root, marks);
            if (partition->regions[root] == NULL) {
                return -1;
            }
        }
        first = starts[root];
    }
    return 0;
}

struct partition *
partition_new(struct state *state, const struct formula *formula, const bool *cut)
{
    size_t count = (size_t)formula->node_count;
    struct partition *partition = calloc(1, sizeof(*partition));
    int *work = calloc(4 * count + 2, sizeof(int));
    int result = partition == NULL || work == NULL ? -1 : 0;
    if (result == 0) {
        *partition = (struct partition){.references = 1, .state = state, .formula = formula};
        partition->cut = arena_take(&partition->arena, count);
        partition->regions = arena_take(&partition->arena, count * sizeof(*partition->regions));
        result = partition->cut == NULL || partition->regions == NULL ? -1 : 0;
    }
    if (result == 0) {
        if (cut != NULL) {
            memcpy(partition->cut, cut, count);
        }
        find_roots(partition, work);
        result = make_regions(partition, work, work + count, work + 2 * count + 1, work + 3 * count + 1);
    }
    free(work);
    if (result < 0) {
        if (partition != NULL) {
            partition_release(partition);
        }
        PyErr_NoMemory();
        return NULL;
    }
    return partition;
}

static void
free_variant(struct variant *variant)
{
    if (variant->kernel != NULL) {
        kernel_release(variant->kernel);
    }
    graph_free(&variant->graph);
    free(variant->types);
    free(variant->ufuncs);
    free(variant);
}

struct partition *
partition_hold(struct partition *partition)
{
    partition->references++;
    return partition;
}

void
partition_release(struct partition *partition)
{
    if (--partition->references > 0) {
        return;
    }
    for (int node = 0; partition->regions != NULL && node < partition->formula->node_count; node++) {
        struct variant *variant = partition->regions[node] == NULL ? NULL : partition->regions[node]->variants;
        while (variant != NULL) {
            struct variant *next = variant->next;
            free_variant(variant);
            variant = next;
        }
    }
    arena_free(&partition->arena);
    free(partition);
}

/* ---- What values are ---- */

#define SCALAR_TYPES(TYPE)                                                                                             \
    TYPE(Double, DOUBLE)                                                                                               \
    TYPE(Float, FLOAT)                                                                                                 \
    TYPE(Long, LONG)                                                                                                   \
    TYPE(Int, INT)                                                                                                     \
    TYPE(Bool, BOOL)                                                                                                   \
    TYPE(Byte, BYTE)                                                                                                   \
    TYPE(UByte, UBYTE)                                                                                                 \
    TYPE(Short, SHORT)                                                                                                 \
    TYPE(UShort, USHORT)                                                                                               \
    TYPE(UInt, UINT)                                                                                                   \
    TYPE(ULong, ULONG)                                                                                                 \
    TYPE(LongLong, LONGLONG)                                                                                           \
    TYPE(ULongLong, ULONGLONG)                                                                                         \
    TYPE(Half, HALF)                                                                                                   \
    TYPE(LongDouble, LONGDOUBLE)                                                                                       \
    TYPE(CFloat, CFLOAT)                                                                                               \
    TYPE(CDouble, CDOUBLE)                                                                                             \
    TYPE(CLongDouble, CLONGDOUBLE)

static struct operand
scalar_operand(PyTypeObject *type)
{
#define TYPE(name, number)                                                                                             \
    if (type == &Py##name##ArrType_Type) {                                                                             \
        return (struct operand){OPERAND_SCALAR, NPY_##number};                                                         \
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
    return (struct operand){number == 2 ? OPERAND_INT_TWO : number == -1 && !overflow ? OPERAND_INT_MINUS_ONE : OPERAND_INT,
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
        return (struct operand){PyArray_NDIM(array) > 0 ? OPERAND_ARRAY : OPERAND_SCALAR, (signed char)number};
    }
    if (type == &PyFloat_Type) {
        bool half = exponent && PyFloat_AS_DOUBLE(value) == .5;
        return (struct operand){half ? OPERAND_FLOAT_HALF : OPERAND_FLOAT, NPY_DOUBLE};
    }
    if (type == &PyLong_Type) {
        return int_operand(value, exponent);
    }
    if (type == &PyBool_Type) {
        return (struct operand){OPERAND_SCALAR, NPY_BOOL};
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
        if (kind == OPERAND_ARRAY || kind == OPERAND_RESULT || kind == OPERAND_OTHER) {
            return true;
        }
    }
    return false;
}

/* Tells what leaves and nodes are, by node in `operands` and in the region's order in `types`; nodes on scalars alone
 * are computed. Returns 0, 1 where a leaf is nothing for blocks, or -1 with an exception. */
static int
find_types(struct evaluation *evaluation, const struct region *region, struct operand *operands, struct operand *types)
{
    int result = 0;
    for (int i = 0; i < region->leaf_count; i++) {
        int leaf = region->leaves[i];
        types[i] = operands[leaf] = find_operand(evaluation->values[leaf], region->exponents[i]);
        result |= types[i].kind == OPERAND_OTHER;
    }
    for (int i = 0; result == 0 && i < region->node_count; i++) {
        int node = region->nodes[i], place = region->leaf_count + i;
        operands[node] = (struct operand){OPERAND_RESULT, -1};
        if (!is_computed(&evaluation->formula->nodes[node], operands)) {
            if (evaluation->values[node] == NULL) {
                evaluation->values[node] = interpret_node(evaluation->state, evaluation->formula, node,
                                                          evaluation->values, evaluation->names, evaluation->function);
            }
            if (evaluation->values[node] == NULL) {
                return -1;
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
find_named(const struct evaluation *evaluation, const struct region *region, PyObject ***ufuncs, int *refused)
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
        if (*ufuncs == NULL && (*ufuncs = calloc((size_t)formula->node_count, sizeof(PyObject *))) == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        (*ufuncs)[region->nodes[i]] = ufunc;
    }
    return 0;
}

static bool
same_ufuncs(const struct evaluation *evaluation, const struct region *region, const struct variant *variant)
{
    for (int i = 0; variant->ufuncs != NULL && i < region->node_count; i++) {
        PyObject *ufunc = variant->ufuncs[region->nodes[i]];
        if (ufunc != NULL && ufunc != evaluation->names[evaluation->formula->nodes[region->nodes[i]].index]) {
            return false;
        }
    }
    return true;
}

static struct variant *
find_variant(const struct evaluation *evaluation, const struct region *region, const struct operand *types)
{
    size_t size = (size_t)(region->leaf_count + region->node_count) * sizeof(*types);
    for (struct variant *variant = region->variants; variant != NULL; variant = variant->next) {
        if (memcmp(variant->types, types, size) == 0 && same_ufuncs(evaluation, region, variant)) {
            return variant;
        }
    }
    return NULL;
}

/* Tenths of a nanosecond an element, roughly: it decides about threads and the GIL, nothing else. */
static unsigned
find_cost(const struct graph *graph)
{
    unsigned cost = 3 * (unsigned)(graph->array_count + 1);
    for (int i = 0; i < graph->step_count; i++) {
        cost += graph->steps[i].loop < 0 ? 2 : 15;
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
        variant->kernel = kernel_obtain(state, &unit, &headers, unit.signature.data, false, &origin, &problem);
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
            const struct operand *types, int *refused)
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
    int result = find_named(evaluation, region, &variant->ufuncs, refused);
    if (result == 0) {
        result = graph_build(state, evaluation->formula, region->nodes, region->node_count, operands, variant->ufuncs,
                             &variant->graph, refused);
    }
    if (result != 0 || compile_variant(state, variant) < 0) {
        free_variant(variant);
        return NULL;
    }
    variant->cost = find_cost(&variant->graph);
    variant->next = region->variants;
    region->variants = variant;
    return variant;
}

/* ---- Operands ---- */

/* Converts a scalar as a ufunc would. Returns 0; 1 where NumPy has something to say about it. */
static int
convert_scalar(PyObject *value, int type, char *item)
{
    if (type == NPY_DOUBLE && PyFloat_CheckExact(value)) {
        *(double *)item = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    if (PyFloat_CheckExact(value) && (type == NPY_FLOAT || type == NPY_CFLOAT || type == NPY_HALF)) {
        double limit = type == NPY_HALF ? 65504. : FLT_MAX, number = PyFloat_AS_DOUBLE(value);
        if (fabs(number) > limit && !isinf(number)) {
            return 1;
        }
    }
    if (PyComplex_CheckExact(value) && type == NPY_CFLOAT) {
        Py_complex number = PyComplex_AsCComplex(value);
        if (fabs(number.real) > FLT_MAX || fabs(number.imag) > FLT_MAX) {
            return 1;
        }
    }
    PyArray_Descr *descr = PyArray_DescrFromType(type);
    int result = PyArray_Pack(descr, item, value);
    Py_DECREF(descr);
    if (result < 0) {
        PyErr_Clear(); /* NumPy, computing the node, says it again */
        return 1;
    }
    return 0;
}

static int
convert_scalars(const struct evaluation *evaluation, const struct graph *graph, char *items, char **scalars)
{
    for (int slot = graph->array_count; slot < graph->slot_count; slot++) {
        const struct value *value = &graph->values[graph->slots[slot]];
        char *item = items + (slot - graph->array_count) * SCALAR_SIZE;
        scalars[slot - graph->array_count] = item;
        if (convert_scalar(evaluation->values[value->node], value->type, item) != 0) {
            return 1;
        }
    }
    return 0;
}

/* The bytes an array may reach. */
static void
find_bounds(PyArrayObject *array, uintptr_t *low, uintptr_t *high)
{
    *low = *high = (uintptr_t)PyArray_DATA(array);
    *high += (uintptr_t)PyArray_ITEMSIZE(array);
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp reach = (PyArray_DIM(array, i) - 1) * PyArray_STRIDE(array, i);
        *low += reach < 0 ? (uintptr_t)reach : 0;
        *high += reach > 0 ? (uintptr_t)reach : 0;
    }
}

static bool
same_elements(PyArrayObject *x, PyArrayObject *y)
{
    return PyArray_DATA(x) == PyArray_DATA(y) && PyArray_ITEMSIZE(x) == PyArray_ITEMSIZE(y) &&
           PyArray_NDIM(x) == PyArray_NDIM(y) &&
           PyArray_CompareLists(PyArray_DIMS(x), PyArray_DIMS(y), PyArray_NDIM(x)) &&
           PyArray_CompareLists(PyArray_STRIDES(x), PyArray_STRIDES(y), PyArray_NDIM(x));
}

/* Whether no element of the array is another one of it, as far as is easily seen. */
static bool
is_plain(PyArrayObject *array)
{
    npy_intp size = PyArray_ITEMSIZE(array);
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp stride = PyArray_STRIDE(array, i);
        if (PyArray_DIM(array, i) > 1 && stride < size && -stride < size) {
            return false;
        }
    }
    return true;
}

/* Whether the result can be stored there at once; `*upon` tells whether it lies upon an operand. */
static bool
out_fits(PyArrayObject *out, const struct geometry *geometry, const struct graph *graph, PyArrayObject *const *arrays,
         bool *upon)
{
    if (PyArray_TYPE(out) != graph->values[graph->result].type || !PyArray_ISBEHAVED(out) || !is_plain(out) ||
        PyArray_NDIM(out) != geometry->dimensions ||
        !PyArray_CompareLists(PyArray_DIMS(out), geometry->shape, geometry->dimensions)) {
        return false;
    }
    uintptr_t low, high, other_low, other_high;
    find_bounds(out, &low, &high);
    for (int i = 0; i < graph->array_count; i++) {
        find_bounds(arrays[i], &other_low, &other_high);
        if (other_low < high && low < other_high) {
            if (!same_elements(out, arrays[i])) {
                return false;
            }
            *upon = true;
        }
    }
    return true;
}

/* ---- Running ---- */

static void
fill_array(struct sweep_operand *operand, PyArrayObject *array, const npy_intp *strides)
{
    const PyArray_Descr *descr = PyArray_DESCR(array);
    int size = (int)PyArray_ITEMSIZE(array);
    bool swapped = !PyArray_ISNBO(descr->byteorder);
    *operand = (struct sweep_operand){.data = PyArray_BYTES(array),
                                      .strides = strides,
                                      .size = size,
                                      .swap = !swapped                             ? 0
                                              : PyTypeNum_ISCOMPLEX(descr->type_num) ? size / 2
                                                                                     : size,
                                      .aligned = PyArray_ISALIGNED(array)};
}

/* Reports what each step raised, in their order, as NumPy does behind each ufunc. */
static int
report_flags(const struct graph *graph, const unsigned char *flags)
{
    for (int i = 0; i < graph->step_count; i++) {
        if (flags[i] != 0 && graph->steps[i].name != NULL &&
            PyUFunc_GiveFloatingpointErrors(graph->steps[i].name, flags[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
sweep_variant(struct variant *variant, const struct geometry *geometry, PyArrayObject *const *arrays,
              char *const *scalars, PyArrayObject *result, bool upon)
{
    const struct graph *graph = &variant->graph;
    int array_count = graph->array_count;
    npy_intp small[SMALL_ARRAYS * NPY_MAXDIMS];
    npy_intp *strides = array_count < SMALL_ARRAYS ? small
                                                   : malloc((size_t)(array_count + 1) * NPY_MAXDIMS * sizeof(*strides));
    npy_intp extents[NPY_MAXDIMS], result_strides[NPY_MAXDIMS];
    struct sweep_operand operands[array_count + 1];
    unsigned char flags[graph->step_count];
    memset(flags, 0, sizeof(flags));
    if (strides == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(result_strides, PyArray_STRIDES(result), (size_t)geometry->dimensions * sizeof(npy_intp));
    struct sweep sweep = {.loops = graph->loops,
                          .block = lower_block(graph),
                          .scratch = variant->scratch,
                          .step_count = graph->step_count,
                          .cost = variant->cost,
                          .python = graph->python,
                          .careful = upon,
                          .array_count = array_count,
                          .slot_count = graph->slot_count,
                          .arrays = operands,
                          .scalars = scalars,
                          .extents = extents,
                          .flags = flags};
    *(void **)&sweep.code = atomic_load_explicit(&variant->kernel->entry_point, memory_order_acquire);
    sweep.dimensions = geometry_axes(geometry, arrays, array_count, result_strides, extents, strides);
    for (int i = 0; i <= array_count; i++) {
        fill_array(&operands[i], i < array_count ? arrays[i] : result, strides + i * NPY_MAXDIMS);
    }
    int done = sweep_run(&sweep);
    if (strides != small) {
        free(strides);
    }
    return done < 0 ? -1 : report_flags(graph, flags);
}

static enum region_result
run_variant(struct evaluation *evaluation, const struct region *region, struct variant *variant, PyArrayObject *out)
{
    const struct graph *graph = &variant->graph;
    int scalar_count = graph->slot_count - graph->array_count;
    PyArrayObject *arrays[graph->array_count + 1];
    char *scalars[scalar_count + 1];
    _Alignas(16) char items[(scalar_count + 1) * SCALAR_SIZE];
    struct geometry geometry;
    for (int slot = 0; slot < graph->array_count; slot++) {
        arrays[slot] = (PyArrayObject *)evaluation->values[graph->values[graph->slots[slot]].node];
    }
    if (convert_scalars(evaluation, graph, items, scalars) != 0) {
        return REGION_REFUSED;
    }
    int found = geometry_find(graph, arrays, &geometry);
    if (found != 0) {
        return found < 0 ? (PyErr_NoMemory(), REGION_FAILED) : REGION_REFUSED;
    }
    bool upon = false;
    PyArrayObject *result = out != NULL && out_fits(out, &geometry, graph, arrays, &upon)
                                ? (PyArrayObject *)Py_NewRef(out)
                                : geometry_array(&geometry, graph->values[graph->result].type);
    if (result == NULL) {
        return REGION_FAILED;
    }
    if (PyArray_SIZE(result) > 0 && sweep_variant(variant, &geometry, arrays, scalars, result, upon) < 0) {
        Py_DECREF(result);
        return REGION_FAILED;
    }
    evaluation->values[region->nodes[region->node_count - 1]] = (PyObject *)result;
    return REGION_DONE;
}

/* By NumPy, node by node: what blocks are not made for, and what ends in an exception. */
static enum region_result
interpret_region(struct evaluation *evaluation, const struct region *region)
{
    for (int i = 0; i < region->node_count; i++) {
        int node = region->nodes[i];
        if (evaluation->values[node] == NULL) {
            evaluation->values[node] = interpret_node(evaluation->state, evaluation->formula, node, evaluation->values,
                                                      evaluation->names, evaluation->function);
        }
        if (evaluation->values[node] == NULL) {
            return REGION_FAILED;
        }
    }
    return REGION_DONE;
}

/* The variant for the values as they are; NULL: `*result` says why. */
static struct variant *
obtain_variant(struct evaluation *evaluation, struct region *region, enum region_result *result, int *refused)
{
    int root = region->nodes[region->node_count - 1];
    size_t node_count = (size_t)evaluation->formula->node_count;
    size_t type_count = (size_t)(region->leaf_count + region->node_count);
    struct operand small[SMALL];
    bool is_small = node_count + type_count <= SMALL;
    struct operand *operands = is_small ? small : malloc((node_count + type_count) * sizeof(*operands));
    struct operand *types = operands + node_count;
    struct variant *variant = NULL;
    *result = REGION_FAILED;
    *refused = -1;
    int found = operands == NULL ? (PyErr_NoMemory(), -1) : find_types(evaluation, region, operands, types);
    if (found > 0) {
        *result = REGION_REFUSED;
    }
    else if (found == 0 && operands[root].kind != OPERAND_RESULT) {
        *result = REGION_DONE; /* a scalar */
    }
    else if (found == 0) {
        variant = find_variant(evaluation, region, types);
        variant = variant == NULL ? new_variant(evaluation, region, operands, types, refused) : variant;
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
    enum region_result result;
    struct variant *variant = obtain_variant(evaluation, region, &result, refused);
    if (variant != NULL) {
        result = run_variant(evaluation, region, variant, out);
        return result == REGION_REFUSED ? interpret_region(evaluation, region) : result;
    }
    /* Without a node to cut at, NumPy computes all. */
    return result == REGION_REFUSED && *refused < 0 ? interpret_region(evaluation, region) : result;
}

struct variant *
region_variant(struct evaluation *evaluation, struct region *region, int *refused)
{
    enum region_result result;
    return obtain_variant(evaluation, region, &result, refused);
}

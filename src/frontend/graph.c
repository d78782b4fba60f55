/* graph.c: nodes and types -> steps on blocks. */
#include "graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/blocks.h"
#include "../../runtime/vectormath.h"
#include "../call/numpy.h"
#include "../call/ufuncs.h"
#include <numpy/ufuncobject.h>

/* What ufunc._resolve_dtypes_and_context and _get_strided_loop fill in, as NumPy documents it. */
#define CALL_INFO "numpy_1.24_ufunc_call_info"
struct call_info {
    int (*strided_loop)(void *context, char *const *data, const intptr_t *count,
                        const intptr_t *strides, void *auxdata);
    void *context;
    void *auxdata;
    npy_bool requires_pyapi;
    npy_bool no_floatingpoint_errors;
};

/* What graph_build keeps while it works. */
struct builder {
    struct state *state;
    const struct formula *formula;
    const struct operand *operands;
    PyObject *const *ufuncs;
    struct graph *graph;
    int *node_values; /* the value of each node, -1: none yet */
};

/* A node's step refused: not an error. */
enum { REFUSED = 1 };

/* ---- Types ---- */

/* By NumPy's number: the name in C text, and the bytes of an element. */
static const struct {
    const char *name;
    int size;
} TYPES[] = {
    [NPY_BOOL] = {"b1", sizeof(npy_bool)},
    [NPY_BYTE] = {"i1", 1},
    [NPY_UBYTE] = {"u1", 1},
    [NPY_SHORT] = {"i2", sizeof(short)},
    [NPY_USHORT] = {"u2", sizeof(short)},
    [NPY_INT] = {"i4", sizeof(int)},
    [NPY_UINT] = {"u4", sizeof(int)},
    [NPY_LONG] = {sizeof(long) == 8 ? "i8" : "i4", sizeof(long)},
    [NPY_ULONG] = {sizeof(long) == 8 ? "u8" : "u4", sizeof(long)},
    [NPY_LONGLONG] = {"i8", sizeof(long long)},
    [NPY_ULONGLONG] = {"u8", sizeof(long long)},
    [NPY_HALF] = {"f2", sizeof(npy_half)},
    [NPY_FLOAT] = {"f4", sizeof(float)},
    [NPY_DOUBLE] = {"f8", sizeof(double)},
    [NPY_LONGDOUBLE] = {"g16", sizeof(npy_longdouble)},
    [NPY_CFLOAT] = {"c8", 2 * sizeof(float)},
    [NPY_CDOUBLE] = {"c16", 2 * sizeof(double)},
    [NPY_CLONGDOUBLE] = {"g32", 2 * sizeof(npy_longdouble)},
};

const char *
graph_type_name(int type)
{
    return type >= 0 && (size_t)type < sizeof(TYPES) / sizeof(*TYPES) ? TYPES[type].name : NULL;
}

int
graph_type_size(int type)
{
    return TYPES[type].size;
}

/* The type of a descriptor, or -1 when it is none of the plain, native ones. */
static int
plain_type(PyObject *object)
{
    if (!PyArray_DescrCheck(object)) {
        return -1;
    }
    PyArray_Descr *descr = (PyArray_Descr *)object;
    return graph_type_name(descr->type_num) != NULL && PyArray_ISNBO(descr->byteorder)
               ? descr->type_num
               : -1;
}

/* ---- Values and steps ---- */

static int
add_value(struct graph *graph, enum quantity_kind kind, int type, int node)
{
    struct quantity *value = &graph->values[graph->value_count];
    *value = (struct quantity){.kind = kind, .type = type, .node = node, .slot = -1};
    return graph->value_count++;
}

static int
find_leaf(const struct graph *graph, enum quantity_kind kind, int type, int node)
{
    for (int i = 0; i < graph->value_count; i++) {
        const struct quantity *value = &graph->values[i];
        if (value->kind == kind && value->node == node && value->type == type) {
            return i;
        }
    }
    return -1;
}

static struct step *
add_step(struct graph *graph, enum step_kind kind, const char *name, int type)
{
    struct step *step = &graph->steps[graph->step_count];
    *step = (struct step){
        .kind = kind, .name = name, .report = graph->step_count, .type = -1, .loop = -1};
    step->output = add_value(graph, VALUE_STEP, type, -1);
    graph->step_count++;
    return step;
}

static void
add_input(struct graph *graph, struct step *step, int value)
{
    step->inputs[step->input_count++] = value;
    graph->values[value].uses++;
}

static bool
is_scalar(const struct operand *operand)
{
    return operand->kind >= OPERAND_SCALAR && operand->kind < OPERAND_OTHER;
}

/* A number of Python's, bool aside. */
static bool
is_weak(const struct operand *operand)
{
    return operand->kind >= OPERAND_INT && operand->kind < OPERAND_OTHER;
}

/* A node as an array: a leaf, or what a step left. */
static int
array_value(struct builder *builder, int node)
{
    const struct operand *operand = &builder->operands[node];
    if (operand->kind == OPERAND_ARRAY && builder->node_values[node] < 0) {
        builder->node_values[node] = add_value(builder->graph, VALUE_ARRAY, operand->type, node);
    }
    return builder->node_values[node];
}

/* A value cast to a type; an equal cast is not done twice. */
static int
cast_value(struct builder *builder, int value, int type)
{
    struct graph *graph = builder->graph;
    if (graph->values[value].type == type) {
        return value;
    }
    for (int i = 0; i < graph->step_count; i++) {
        const struct step *step = &graph->steps[i];
        if (step->kind == STEP_CAST && step->inputs[0] == value &&
            graph->values[step->output].type == type && step->name == NULL) {
            return step->output;
        }
    }
    struct step *step = add_step(graph, STEP_CAST, NULL, type);
    add_input(graph, step, value);
    return step->output;
}

/* A node as an operand of that type. */
static int
operand_value(struct builder *builder, int node, int type)
{
    struct graph *graph = builder->graph;
    if (!is_scalar(&builder->operands[node])) {
        return cast_value(builder, array_value(builder, node), type);
    }
    int value = find_leaf(graph, VALUE_SCALAR, type, node);
    return value >= 0 ? value : add_value(graph, VALUE_SCALAR, type, node);
}

/* ---- NumPy's resolution of types ---- */

/* What stands for a node in a resolution: its dtype, or Python's type where the type is weak. */
static PyObject *
resolution_operand(struct builder *builder, int node)
{
    const struct operand *operand = &builder->operands[node];
    switch (operand->kind) {
    case OPERAND_INT:
    case OPERAND_INT_TWO:
    case OPERAND_INT_MINUS_ONE:
        return Py_NewRef((PyObject *)&PyLong_Type);
    case OPERAND_FLOAT:
    case OPERAND_FLOAT_HALF:
        return Py_NewRef((PyObject *)&PyFloat_Type);
    case OPERAND_COMPLEX:
        return Py_NewRef((PyObject *)&PyComplex_Type);
    case OPERAND_RESULT:
        return (PyObject *)PyArray_DescrFromType(
            builder->graph->values[builder->node_values[node]].type);
    default:
        return (PyObject *)PyArray_DescrFromType(operand->type);
    }
}

/* A tuple of what stands for the children, with a None for each result behind. */
static PyObject *
resolution_operands(struct builder *builder, const int *children, int count, int results)
{
    PyObject *tuple = PyTuple_New(count + results);
    for (int i = 0; tuple != NULL && i < count; i++) {
        PyTuple_SET_ITEM(tuple, i, resolution_operand(builder, children[i]));
    }
    for (int i = 0; tuple != NULL && i < results; i++) {
        PyTuple_SET_ITEM(tuple, count + i, Py_NewRef(Py_None));
    }
    return tuple;
}

/* object.method(argument, keyword=value) */
static PyObject *
call_method(PyObject *object, const char *method, PyObject *argument, const char *keyword,
            PyObject *value)
{
    PyObject *stack[2] = {argument, value};
    PyObject *found = PyObject_GetAttrString(object, method);
    PyObject *names = Py_BuildValue("(s)", keyword);
    PyObject *result =
        found == NULL || names == NULL ? NULL : PyObject_Vectorcall(found, stack, 1, names);
    Py_XDECREF(found);
    Py_XDECREF(names);
    return result;
}

/* Calls ufunc.resolve_dtypes; `types` gets the inputs' and the result's. */
static int
resolve_types(struct builder *builder, PyObject *ufunc, const int *children, int count, int *types)
{
    PyObject *operands = resolution_operands(builder, children, count, 1);
    PyObject *resolved = operands == NULL ? NULL
                                          : call_method(ufunc, "resolve_dtypes", operands,
                                                        "casting", builder->state->name_same_kind);
    Py_XDECREF(operands);
    if (resolved == NULL) {
        PyErr_Clear(); /* NumPy itself, computing the node, says what is wrong */
        builder->graph->unresolved = true;
        return REFUSED;
    }
    int result = 0;
    for (int i = 0; i <= count; i++) {
        types[i] = plain_type(PyTuple_GET_ITEM(resolved, i));
        result = types[i] < 0 ? REFUSED : result;
    }
    Py_DECREF(resolved);
    return result;
}

static PyObject *
tuple_of_dtypes(const int *types, int count)
{
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; tuple != NULL && i < count; i++) {
        PyTuple_SET_ITEM(tuple, i, (PyObject *)PyArray_DescrFromType(types[i]));
    }
    return tuple;
}

static PyObject *
tuple_of_strides(const intptr_t *strides, int count)
{
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; tuple != NULL && i < count; i++) {
        PyObject *stride = PyLong_FromSsize_t(strides[i]);
        if (stride == NULL) {
            Py_CLEAR(tuple);
        }
        else {
            PyTuple_SET_ITEM(tuple, i, stride);
        }
    }
    return tuple;
}

int
graph_loop(PyObject *ufunc, const int *types, int inputs, const intptr_t *strides,
           struct span_loop *loop, PyObject **call, bool *python)
{
    PyObject *dtypes = tuple_of_dtypes(types, inputs + 1);
    PyObject *fixed = strides == NULL ? Py_NewRef(Py_None) : tuple_of_strides(strides, inputs + 1);
    PyObject *resolved =
        dtypes == NULL || fixed == NULL
            ? NULL
            : PyObject_CallMethod(ufunc, "_resolve_dtypes_and_context", "(O)", dtypes);
    PyObject *done = NULL;
    if (resolved != NULL) {
        *call = Py_NewRef(PyTuple_GET_ITEM(resolved, 1));
        done = call_method(ufunc, "_get_strided_loop", *call, "fixed_strides", fixed);
    }
    Py_XDECREF(dtypes);
    Py_XDECREF(fixed);
    Py_XDECREF(resolved);
    if (done == NULL) {
        PyErr_Clear();
        return REFUSED;
    }
    Py_DECREF(done);
    const struct call_info *info = PyCapsule_GetPointer(*call, CALL_INFO);
    loop->ufunc = info->strided_loop;
    loop->context = info->context;
    loop->auxdata = info->auxdata;
    loop->inputs = inputs;
    *python |= info->requires_pyapi;
    return 0;
}

/* The strided loop of a step's ufunc for its values. */
static int
get_loop(struct graph *graph, struct step *step)
{
    struct span_loop *loop = &graph->loops[graph->loop_count];
    int types[SPAN_OPERANDS + 1];
    for (int i = 0; i <= step->input_count; i++) {
        const struct quantity *value =
            &graph->values[i < step->input_count ? step->inputs[i] : step->output];
        types[i] = value->type;
        loop->strides[i] = value->kind == VALUE_SCALAR ? 0 : graph_type_size(value->type);
    }
    step->loop = graph->loop_count++;
    return graph_loop(step->ufunc, types, step->input_count, loop->strides, loop, &step->call,
                      &graph->python);
}

/* A vector function of the C library's, on blocks; false where there is none. */
static bool
get_vector_function(struct graph *graph, struct step *step)
{
    const char *type = step->type < 0 ? NULL : graph_type_name(step->type);
    if (type == NULL || step->kind != STEP_UFUNC || step->input_count > 2) {
        return false;
    }
    const struct vector_function *found = vectormath_find(step->name, type);
    for (int i = 0; i < step->input_count; i++) {
        if (graph->values[step->inputs[i]].kind == VALUE_SCALAR) {
            return false;
        }
    }
    if (found == NULL || found->operand_count != step->input_count) {
        return false;
    }
    graph->loops[graph->loop_count] =
        (struct span_loop){.vector = found->function, .inputs = step->input_count};
    step->loop = graph->loop_count++;
    return true;
}

/* NumPy's plain cast of the type, of consecutive elements. Casts to float16 are not among them. */
static int
get_cast(struct graph *graph, struct step *step)
{
    PyArray_Descr *from = PyArray_DescrFromType(graph->values[step->inputs[0]].type);
    int type = graph->values[step->output].type;
    PyArray_VectorUnaryFunc *cast =
        type < NPY_NTYPES_ABI_COMPATIBLE ? PyDataType_GetArrFuncs(from)->cast[type] : NULL;
    Py_DECREF(from);
    if (cast == NULL) {
        return REFUSED;
    }
    graph->loops[graph->loop_count] =
        (struct span_loop){.cast = (void (*)(void *, void *, intptr_t, void *, void *))cast};
    step->loop = graph->loop_count++;
    return 0;
}

/* ---- Block primitives ---- */

/* Ufuncs whose primitive has another name, or whose operands may change places. */
static const struct {
    const char *ufunc, *primitive, *swapped;
} PRIMITIVES[] = {
    {"add", "add", "add"},
    {"multiply", "multiply", "multiply"},
    {"equal", "equal", "equal"},
    {"not_equal", "not_equal", "not_equal"},
    {"less", "less", "greater"},
    {"less_equal", "less_equal", "greater_equal"},
    {"greater", "greater", "less"},
    {"greater_equal", "greater_equal", "less_equal"},
    {"bitwise_and", "bitwise_and", "bitwise_and"},
    {"bitwise_or", "bitwise_or", "bitwise_or"},
    {"bitwise_xor", "bitwise_xor", "bitwise_xor"},
    {"logical_and", "logical_and", "logical_and"},
    {"logical_or", "logical_or", "logical_or"},
    {"logical_xor", "logical_xor", "logical_xor"},
    {"minimum", "minimum", "minimum"},
    {"maximum", "maximum", "maximum"},
};

/* On bools NumPy's bitwise functions are the logical ones. */
static const char *
bool_name(const char *ufunc)
{
    static const char *const names[][2] = {{"bitwise_and", "logical_and"},
                                           {"bitwise_or", "logical_or"},
                                           {"bitwise_xor", "logical_xor"},
                                           {"invert", "logical_not"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(ufunc, names[i][0]) == 0) {
            return names[i][1];
        }
    }
    return ufunc;
}

static char
operand_form(const struct graph *graph, int value)
{
    return graph->values[value].kind == VALUE_SCALAR ? 's' : 'v';
}

/* Whether there is a primitive for the ufunc on values of one type, in that order. */
static bool
try_primitive(const struct graph *graph, const char *ufunc, const int *inputs, int count,
              char *name)
{
    int type = graph->values[inputs[0]].type;
    char forms[SPAN_OPERANDS + 1] = "";
    for (int i = 0; i < count; i++) {
        forms[i] = operand_form(graph, inputs[i]);
    }
    const char *operation = type == NPY_BOOL ? bool_name(ufunc) : ufunc;
    snprintf(name, PRIMITIVE_NAME_SIZE, "tw_%s_%s_%s", operation, graph_type_name(type), forms);
    return blocks_find(name) != NULL;
}

static bool
find_ufunc_primitive(const struct graph *graph, struct step *step, char *name)
{
    if (step->type < 0 || step->operation == NULL) {
        return false;
    }
    if (try_primitive(graph, step->operation, step->inputs, step->input_count, name)) {
        return true;
    }
    const int swapped[2] = {step->inputs[1], step->inputs[0]};
    for (size_t i = 0; step->input_count == 2 && i < sizeof(PRIMITIVES) / sizeof(*PRIMITIVES);
         i++) {
        if (strcmp(step->operation, PRIMITIVES[i].ufunc) == 0 &&
            try_primitive(graph, PRIMITIVES[i].swapped, swapped, 2, name)) {
            step->operation = PRIMITIVES[i].swapped;
            step->inputs[0] = swapped[0];
            step->inputs[1] = swapped[1];
            return true;
        }
    }
    return false;
}

bool
graph_primitive(const struct graph *graph, struct step *step, char name[PRIMITIVE_NAME_SIZE])
{
    const struct quantity *output = &graph->values[step->output];
    switch (step->kind) {
    case STEP_UFUNC:
        return find_ufunc_primitive(graph, step, name);
    case STEP_CAST:
        snprintf(name, PRIMITIVE_NAME_SIZE, "tw_cast_%s_%s_v",
                 graph_type_name(graph->values[step->inputs[0]].type),
                 graph_type_name(output->type));
        return blocks_find(name) != NULL;
    case STEP_SELECT:
        snprintf(name, PRIMITIVE_NAME_SIZE, "tw_select_%d_%c%c", graph_type_size(output->type),
                 operand_form(graph, step->inputs[1]), operand_form(graph, step->inputs[2]));
        return blocks_find(name) != NULL;
    }
    return false;
}

/* ---- Nodes ---- */

/* Casts of a step's inputs raise their flags in the ufunc's name. */
static void
report_casts(struct graph *graph, int first_step, int step)
{
    for (int i = first_step; i < step; i++) {
        graph->steps[i].report = step;
    }
}

static int
build_ufunc(struct builder *builder, PyObject *ufunc, const int *children, int count)
{
    struct graph *graph = builder->graph;
    const PyUFuncObject *object = (PyUFuncObject *)ufunc;
    int types[SPAN_OPERANDS + 1], inputs[SPAN_OPERANDS];
    if (count > SPAN_OPERANDS || ufunc == NULL || Py_TYPE(ufunc) != &PyUFunc_Type ||
        object->nin != count || object->nout != 1 || object->core_enabled ||
        resolve_types(builder, ufunc, children, count, types) != 0) {
        return -1;
    }
    int first_step = graph->step_count;
    for (int i = 0; i < count; i++) {
        inputs[i] = operand_value(builder, children[i], types[i]);
    }
    report_casts(graph, first_step, graph->step_count);
    struct step *step = add_step(graph, STEP_UFUNC, object->name, types[count]);
    step->ufunc = Py_NewRef(ufunc);
    step->operation = object->name;
    step->type = types[0];
    for (int i = 0; i < count; i++) {
        add_input(graph, step, inputs[i]);
        step->type = types[i] == step->type ? step->type : -1;
    }
    /* Integers to negative powers: the loop sets an exception. */
    graph->python |= strcmp(object->name, "power") == 0 && PyTypeNum_ISINTEGER(types[count]);
    return step->output;
}

/* NumPy's result type of two operands of where(). */
static int
where_type(struct builder *builder, const int *children)
{
    PyObject *operands[2] = {NULL, NULL}, *result = NULL;
    for (int i = 0; i < 2; i++) {
        PyObject *operand = resolution_operand(builder, children[i]);
        operands[i] = operand != NULL && PyType_Check(operand) ? PyObject_CallNoArgs(operand)
                                                               : Py_XNewRef(operand);
        Py_XDECREF(operand);
    }
    if (operands[0] != NULL && operands[1] != NULL) {
        result = PyObject_CallFunctionObjArgs(ufunc_get(builder->state, UFUNC_RESULT_TYPE),
                                              operands[0], operands[1], NULL);
    }
    int type = result == NULL ? -1 : plain_type(result);
    PyErr_Clear();
    Py_XDECREF(operands[0]);
    Py_XDECREF(operands[1]);
    Py_XDECREF(result);
    return type;
}

static int
build_where(struct builder *builder, const int *children, int count)
{
    struct graph *graph = builder->graph;
    if (count != 3 || is_scalar(&builder->operands[children[0]])) {
        return -1;
    }
    int type = where_type(builder, children + 1);
    if (type < 0) {
        return -1;
    }
    int inputs[3] = {operand_value(builder, children[0], NPY_BOOL),
                     operand_value(builder, children[1], type),
                     operand_value(builder, children[2], type)};
    struct step *step = add_step(graph, STEP_SELECT, NULL, type);
    for (int i = 0; i < 3; i++) {
        add_input(graph, step, inputs[i]);
    }
    return step->output;
}

/* astype() to a type that holds the values, up to rounding. */
static int
build_cast(struct builder *builder, const struct formula_node *node)
{
    PyArray_Descr *descr = NULL;
    if (node->child_count != 1 || !PyArray_DescrConverter(node->object, &descr)) {
        PyErr_Clear();
        return -1;
    }
    int type = plain_type((PyObject *)descr), value = array_value(builder, node->children[0]);
    PyArray_Descr *from = PyArray_DescrFromType(builder->graph->values[value].type);
    bool castable = type >= 0 && from->type_num != type &&
                    PyArray_CanCastTypeTo(from, descr, NPY_SAME_KIND_CASTING);
    Py_DECREF(descr);
    Py_DECREF(from);
    if (!castable) {
        return -1;
    }
    struct step *step = add_step(builder->graph, STEP_CAST, "cast", type);
    add_input(builder->graph, step, value);
    return step->output;
}

/* NumPy computes x ** 2, x ** -1 and x ** 0.5 of arrays by other functions. */
static int
build_power(struct builder *builder, const struct formula_node *node)
{
    struct state *state = builder->state;
    int base = node->children[0];
    int exponent = builder->operands[node->children[1]].kind;
    int type = is_scalar(&builder->operands[base])
                   ? -1
                   : builder->graph->values[array_value(builder, base)].type;
    bool inexact = type >= 0 && (PyTypeNum_ISFLOAT(type) || PyTypeNum_ISCOMPLEX(type));
    PyObject *ufunc = type >= 0 && exponent == OPERAND_INT_TWO ? ufunc_get(state, UFUNC_SQUARE)
                      : inexact && exponent == OPERAND_INT_MINUS_ONE
                          ? ufunc_get(state, UFUNC_RECIPROCAL)
                      : inexact && exponent == OPERAND_FLOAT_HALF ? ufunc_get(state, UFUNC_SQRT)
                                                                  : NULL;
    return ufunc != NULL ? build_ufunc(builder, ufunc, node->children, 1)
                         : build_ufunc(builder, ufunc_get(state, FORMULA_POWER), node->children, 2);
}

/* A number of Python's leaves its comparison to the array: 1 > a is a < 1. */
static int
build_comparison(struct builder *builder, const struct formula_node *node)
{
    static const unsigned char turned[] = {
        [FORMULA_LESS] = FORMULA_GREATER, [FORMULA_LESS_EQUAL] = FORMULA_GREATER_EQUAL,
        [FORMULA_EQUAL] = FORMULA_EQUAL,  [FORMULA_NOT_EQUAL] = FORMULA_NOT_EQUAL,
        [FORMULA_GREATER] = FORMULA_LESS, [FORMULA_GREATER_EQUAL] = FORMULA_LESS_EQUAL};
    const struct operand *left = &builder->operands[node->children[0]];
    const int swapped[2] = {node->children[1], node->children[0]};
    bool turns = is_weak(left) || left->kind == OPERAND_BOOL;
    return build_ufunc(builder,
                       ufunc_get(builder->state, turns ? turned[node->operation] : node->operation),
                       turns ? swapped : node->children, 2);
}

static bool
is_none(const struct builder *builder, int node)
{
    return builder->formula->nodes[node].object == Py_None;
}

/* A Python int that no integer of the array passes is no bound to numpy.clip: which matters where the other bound is of
 * another type than the array. */
static bool
drops_bound(struct builder *builder, const int *children, int bound, int other)
{
    const struct operand *array = &builder->operands[children[0]],
                         *limit = &builder->operands[children[other]];
    int type = is_scalar(array) ? array->type
                                : builder->graph->values[array_value(builder, children[0])].type;
    int kind = builder->operands[children[bound]].kind;
    bool whole = kind == OPERAND_INT || kind == OPERAND_INT_TWO || kind == OPERAND_INT_MINUS_ONE;
    int limit_type = is_scalar(limit)
                         ? limit->type
                         : builder->graph->values[array_value(builder, children[other])].type;
    bool same = limit_type == type || (is_weak(limit) && limit->type == NPY_LONG);
    return PyTypeNum_ISINTEGER(type) && whole && !same;
}

/* With one bound numpy.clip is minimum or maximum. */
static int
build_clip(struct builder *builder, const struct formula_node *node)
{
    const int *children = node->children;
    bool low = !is_none(builder, children[1]), high = !is_none(builder, children[2]);
    if (is_weak(&builder->operands[children[0]])) {
        return -1; /* numpy.clip makes it an array, whose type is not weak */
    }
    if (low && high &&
        (drops_bound(builder, children, 1, 2) || drops_bound(builder, children, 2, 1))) {
        return -1;
    }
    if (low && high) {
        return build_ufunc(builder, ufunc_get(builder->state, UFUNC_CLIP), children, 3);
    }
    const int pair[2] = {children[0], low ? children[1] : children[2]};
    return low || high ? build_ufunc(builder,
                                     ufunc_get(builder->state, low ? UFUNC_MAXIMUM : UFUNC_MINIMUM),
                                     pair, 2)
                       : -1;
}

/* A ufunc of the caller's, which may have the name of one of NumPy's. */
static int
build_named(struct builder *builder, PyObject *ufunc, const int *children, int count)
{
    int value = build_ufunc(builder, ufunc, children, count);
    if (value >= 0) {
        builder->graph->steps[builder->graph->step_count - 1].operation = NULL;
    }
    return value;
}

static int
build_call(struct builder *builder, int index, const struct formula_node *node)
{
    switch (node->operation) {
    case FORMULA_UFUNC:
        return build_ufunc(builder, node->object, node->children, node->child_count);
    case FORMULA_NAMED:
        builder->graph->alone = true;
        return build_named(builder, builder->ufuncs[index], node->children, node->child_count);
    case FORMULA_WHERE:
        return build_where(builder, node->children, node->child_count);
    case FORMULA_CLIP:
        return build_clip(builder, node);
    case FORMULA_CAST:
        return build_cast(builder, node);
    default:
        return -1;
    }
}

/* Returns the node's value, or -1: refused. */
static int
build_node(struct builder *builder, int index)
{
    const struct formula_node *node = &builder->formula->nodes[index];
    for (int i = 0; i < node->child_count; i++) {
        int child = node->children[i];
        const struct operand *operand = &builder->operands[child];
        if ((operand->kind == OPERAND_OTHER && !is_none(builder, child)) ||
            (operand->kind == OPERAND_RESULT && builder->node_values[child] < 0)) {
            return -1;
        }
    }
    if (node->kind == FORMULA_CALL) {
        return build_call(builder, index, node);
    }
    if (node->kind != FORMULA_OPERATOR) {
        return -1;
    }
    return node->operation == FORMULA_POWER ? build_power(builder, node)
           : node->operation >= FORMULA_LESS && node->operation <= FORMULA_GREATER_EQUAL
               ? build_comparison(builder, node)
               : build_ufunc(builder, ufunc_get(builder->state, node->operation), node->children,
                             node->child_count);
}

/* ---- The whole ---- */

static void
number_slots(struct graph *graph)
{
    for (int kind = VALUE_ARRAY; kind <= VALUE_SCALAR; kind++) {
        for (int i = 0; i < graph->value_count; i++) {
            if ((int)graph->values[i].kind == kind) {
                graph->values[i].slot = graph->slot_count;
                graph->slots[graph->slot_count++] = i;
            }
        }
        graph->array_count = kind == VALUE_ARRAY ? graph->slot_count : graph->array_count;
    }
}

/* Finds each step's primitive, or else NumPy's loop. */
static int
find_code(struct graph *graph, int *refused)
{
    char name[PRIMITIVE_NAME_SIZE];
    for (int i = 0; i < graph->step_count; i++) {
        struct step *step = &graph->steps[i];
        if (graph_primitive(graph, step, name)) {
            continue;
        }
        graph->opaque = true;
        if (graph->fast && get_vector_function(graph, step)) {
            continue;
        }
        int result = step->kind == STEP_UFUNC  ? get_loop(graph, step)
                     : step->kind == STEP_CAST ? get_cast(graph, step)
                                               : REFUSED;
        if (result != 0) {
            *refused = step->node;
            return result;
        }
    }
    return 0;
}

static int
allocate(struct builder *builder, int node_count, int count)
{
    struct graph *graph = builder->graph;
    size_t steps = (size_t)count * (SPAN_OPERANDS + 1),
           values = steps + (size_t)count * (SPAN_OPERANDS + 1);
    graph->values = arena_take(&graph->arena, values * sizeof(*graph->values));
    graph->steps = arena_take(&graph->arena, steps * sizeof(*graph->steps));
    graph->slots = arena_take(&graph->arena, values * sizeof(*graph->slots));
    graph->loops = arena_take(&graph->arena, steps * sizeof(*graph->loops));
    builder->node_values = malloc((size_t)node_count * sizeof(int) + 1);
    if (graph->values == NULL || graph->steps == NULL || graph->slots == NULL ||
        graph->loops == NULL || builder->node_values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(builder->node_values, 0xff, (size_t)node_count * sizeof(int));
    return 0;
}

int
graph_build(struct state *state, bool fast, const struct formula *formula, const int *nodes,
            int count, const struct operand *operands, PyObject *const *ufuncs, int result_type,
            struct graph *graph, int *refused)
{
    struct builder builder = {state, formula, operands, ufuncs, graph, NULL};
    *graph = (struct graph){.result = -1, .fast = fast};
    int result = allocate(&builder, formula->node_count, count);
    for (int i = 0; result == 0 && i < count; i++) {
        if (operands[nodes[i]].kind == OPERAND_RESULT) {
            int steps = graph->step_count;
            int value = build_node(&builder, nodes[i]);
            builder.node_values[nodes[i]] = value;
            *refused = nodes[i];
            result = value < 0 ? REFUSED : 0;
            for (int step = steps; result == 0 && step < graph->step_count; step++) {
                graph->steps[step].node = nodes[i];
            }
            graph->result = value;
        }
    }
    if (result == 0 && result_type >= 0) {
        graph->result = cast_value(&builder, graph->result, result_type);
    }
    if (result == 0) {
        number_slots(graph);
        result = find_code(graph, refused);
    }
    free(builder.node_values);
    return result;
}

void
graph_free(struct graph *graph)
{
    for (int i = 0; i < graph->step_count; i++) {
        Py_XDECREF(graph->steps[i].ufunc);
        Py_XDECREF(graph->steps[i].call);
    }
    arena_free(&graph->arena);
    *graph = (struct graph){.result = -1};
}

/* reduce.c: reductions as the elements come, in NumPy's order.
 *
 * NumPy goes over a contiguous operand in the order of memory, and joins neighbouring axes that are both reduced or
 * both kept. Its inner loop gets a run along the innermost of those axes: reduced, a run becomes one number (for sums
 * of floats by a tree: halves, rounded down to a multiple of 8, down to at most 128 elements; numpy/_core/src/umath/
 * loops_utils.h.src); kept, it is added to the results element by element. So a run is cut where the tree cuts it,
 * and the same inner loops are called in the same order.
 */
#include "reduce.h"

#include <stdlib.h>
#include <string.h>

#include "../../runtime/blocks.h"
#include "../../runtime/fpstatus.h"
#include "pass.h"
#include "search.h"
#include "sweep.h"
#include "ufuncs.h"
#include <numpy/ufuncobject.h>

/* A tree's branches of at most so many elements are summed by one thread. */
#define BRANCH SWEEP_PART

enum kind {
    KIND_UNKNOWN,
    KIND_SUM,
    KIND_PROD,
    KIND_MIN,
    KIND_MAX,
    KIND_ANY,
    KIND_ALL,
    KIND_MEAN,
    KIND_ARGMIN,
    KIND_ARGMAX,
    KIND_OTHER
};

/* What a reduction is called, its inner loop, and whether it is the same in any order. */
static const struct {
    const char *name;
    enum kind kind;
    int ufunc;
} KINDS[] = {
    {"sum", KIND_SUM, FORMULA_ADD},      {"prod", KIND_PROD, FORMULA_MULTIPLY},
    {"min", KIND_MIN, UFUNC_MINIMUM},    {"max", KIND_MAX, UFUNC_MAXIMUM},
    {"any", KIND_ANY, UFUNC_LOGICAL_OR}, {"all", KIND_ALL, UFUNC_LOGICAL_AND},
    {"mean", KIND_MEAN, FORMULA_ADD},    {"argmin", KIND_ARGMIN, -1},
    {"argmax", KIND_ARGMAX, -1},
};

struct reduction {
    struct evaluation *evaluation;
    enum kind kind;
    bool reduced[NPY_MAXDIMS]; /* by axis of the operand */
    bool keepdims;
    int type; /* of the operand, the accumulators and the result (of a mean before it is divided) */
    int size; /* of an element */
    bool tree;    /* a sum of floats: the order counts, and it is a tree's */
    bool ordered; /* the order counts */
    const struct span_loop *loop;
    void (*pairwise)(long count, void *out, const void *x); /* a tree's leaf; NULL: the loop */
    struct pass pass;
    PyArrayObject *result;
    unsigned flags;
    bool failed;
};

/* ---- What is asked for ---- */

static enum kind
read_kind(const struct formula_node *node)
{
    PyObject *name = PyObject_GetAttrString(node->object, "__name__");
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8(name);
    enum kind kind = KIND_OTHER;
    for (size_t i = 0; text != NULL && i < sizeof(KINDS) / sizeof(*KINDS); i++) {
        kind = strcmp(text, KINDS[i].name) == 0 ? KINDS[i].kind : kind;
    }
    Py_XDECREF(name);
    PyErr_Clear();
    return kind;
}

static int
ufunc_of(enum kind kind)
{
    size_t i = 0;
    while (KINDS[i].kind != kind) {
        i++;
    }
    return KINDS[i].ufunc;
}

static bool
mark_axis(struct reduction *reduction, PyObject *axis, int dimensions)
{
    if (!PyLong_CheckExact(axis)) {
        return false;
    }
    int overflow;
    long number = PyLong_AsLongAndOverflow(axis, &overflow);
    number += number < 0 ? dimensions : 0;
    if (overflow || number < 0 || number >= dimensions || reduction->reduced[number]) {
        return false;
    }
    return reduction->reduced[number] = true;
}

/* axis= as None, an int or a tuple of them; anything wrong is left to NumPy. */
static bool
read_axis(struct reduction *reduction, PyObject *axis, int dimensions)
{
    memset(reduction->reduced, 0, sizeof(reduction->reduced));
    if (axis == NULL || axis == Py_None) {
        memset(reduction->reduced, true, (size_t)dimensions * sizeof(bool));
        return true;
    }
    if (!PyTuple_CheckExact(axis)) {
        return mark_axis(reduction, axis, dimensions);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(axis); i++) {
        if (!mark_axis(reduction, PyTuple_GET_ITEM(axis, i), dimensions)) {
            return false;
        }
    }
    return PyTuple_GET_SIZE(axis) > 0;
}

static bool
is_keyword(PyObject *keyword, const char *name)
{
    return PyUnicode_CompareWithASCIIString(keyword, name) == 0;
}

bool
reduce_takes(const struct formula_node *node)
{
    Py_ssize_t count = node->keywords == NULL ? 0 : PyTuple_GET_SIZE(node->keywords);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *keyword = PyTuple_GET_ITEM(node->keywords, i);
        if (!is_keyword(keyword, "axis") && !is_keyword(keyword, "keepdims")) {
            return false;
        }
    }
    return node->child_count - count == 1;
}

/* Finds the values of axis= and keepdims=; a keepdims that is no bool is left to NumPy. */
static bool
read_keywords(const struct evaluation *evaluation, const struct formula_node *node, PyObject **axis,
              bool *keepdims)
{
    Py_ssize_t count = node->keywords == NULL ? 0 : PyTuple_GET_SIZE(node->keywords);
    PyObject *keep = Py_False;
    *axis = NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = evaluation->values[node->children[1 + i]];
        *(is_keyword(PyTuple_GET_ITEM(node->keywords, i), "axis") ? axis : &keep) = value;
    }
    *keepdims = keep == Py_True;
    return PyBool_Check(keep);
}

/* ---- Types ---- */

/* The type in which NumPy reduces an operand of that type; -1: with casts in its buffers, which are left to it. */
static int
reduction_type(enum kind kind, int type)
{
    bool whole = PyTypeNum_ISBOOL(type) || PyTypeNum_ISINTEGER(type);
    if (kind == KIND_ANY || kind == KIND_ALL) {
        return NPY_BOOL;
    }
    if (kind == KIND_MIN || kind == KIND_MAX) {
        return PyTypeNum_ISCOMPLEX(type) || type == NPY_HALF || type == NPY_LONGDOUBLE ? -1 : type;
    }
    if (whole && kind != KIND_MEAN) {
        bool narrow = graph_type_size(type) < (int)sizeof(npy_intp);
        return !narrow ? type : PyTypeNum_ISUNSIGNED(type) ? NPY_UINTP : NPY_INTP;
    }
    bool plain =
        type == NPY_DOUBLE || type == NPY_FLOAT || type == NPY_CDOUBLE || type == NPY_CFLOAT;
    return plain ? type : -1;
}

/* NumPy's inner loop, which the variant keeps. */
static int
get_loop(struct reduction *reduction, struct variant *variant)
{
    PyObject *ufunc = ufunc_get(reduction->evaluation->state, ufunc_of(reduction->kind));
    const int types[3] = {reduction->type, reduction->type, reduction->type};
    bool python = false;
    reduction->loop = &variant->reduction;
    if (variant->reduction_call != NULL) {
        return 0;
    }
    if (ufunc == NULL || graph_loop(ufunc, types, 2, NULL, &variant->reduction,
                                    &variant->reduction_call, &python) != 0) {
        return -1;
    }
    if (python) {
        Py_CLEAR(variant->reduction_call);
    }
    return python ? -1 : 0;
}

/* ---- Accumulating ---- */

/* Calls the inner loop as NumPy's reductions do: the accumulators, moved on by `stride`, are first operand and
 * result. */
static void
accumulate(const struct reduction *reduction, char *accumulators, npy_intp stride,
           const char *values, npy_intp count)
{
    char *data[3] = {accumulators, (char *)values, accumulators};
    const intptr_t strides[3] = {stride, reduction->size, stride};
    const intptr_t length = count;
    reduction->loop->ufunc(reduction->loop->context, data, &length, strides,
                           reduction->loop->auxdata);
}

/* An accumulator to which x is added without a change, -0.0 or 0; of products 1, of all() true. */
static void
set_neutral(const struct reduction *reduction, char *accumulator)
{
    memset(accumulator, 0, (size_t)reduction->size);
    switch (reduction->kind) {
    case KIND_SUM:
    case KIND_MEAN:
        if (reduction->type == NPY_DOUBLE || reduction->type == NPY_CDOUBLE) {
            for (int i = 0; i < reduction->size; i += 8) {
                *(double *)(accumulator + i) = -0.0;
            }
        }
        else if (reduction->type == NPY_FLOAT || reduction->type == NPY_CFLOAT) {
            for (int i = 0; i < reduction->size; i += 4) {
                *(float *)(accumulator + i) = -0.0F;
            }
        }
        break;
    case KIND_PROD:
    case KIND_ALL:
        if (reduction->type == NPY_DOUBLE || reduction->type == NPY_CDOUBLE) {
            *(double *)accumulator = 1;
        }
        else if (reduction->type == NPY_FLOAT || reduction->type == NPY_CFLOAT) {
            *(float *)accumulator = 1;
        }
        else {
            *accumulator = 1; /* little-endian integers */
        }
        break;
    default:
        break;
    }
}

/* What NumPy starts from: 0, 1, false or true; an extreme starts from its first element. */
static void
set_initial(const struct reduction *reduction, char *accumulator)
{
    set_neutral(reduction, accumulator);
    if (reduction->kind == KIND_SUM || reduction->kind == KIND_MEAN) {
        memset(accumulator, 0, (size_t)reduction->size);
    }
}

static bool
is_extreme(const struct reduction *reduction)
{
    return reduction->kind == KIND_MIN || reduction->kind == KIND_MAX;
}

/* ---- Runs of one thread ---- */

/* The widest element. */
enum { ELEMENT = 16 };

struct worker {
    struct reduction *reduction;
    struct sweep_worker sweep;
    unsigned flags; /* of the inner loops */
};

/* The flags of the inner loops so far, none of which is of long double, are told apart from those of the steps. */
static void
fetch(struct worker *worker, npy_intp start, npy_intp count)
{
    unsigned raised = (unsigned)fp_status_get_sse();
    if (raised != 0) {
        fp_status_clear_sse();
        worker->flags |= raised;
    }
    sweep_range(&worker->sweep, start, count, worker->sweep.values);
}

/* Where NumPy's tree cuts so many elements: the parts of complex numbers are counted. */
static npy_intp
tree_half(const struct reduction *reduction, npy_intp count)
{
    npy_intp parts = PyTypeNum_ISCOMPLEX(reduction->type) ? 2 : 1;
    npy_intp half = count * parts / 2;
    return (half - half % 8) / parts;
}

static void
add_to(const struct reduction *reduction, char *sum, const char *other)
{
    switch (reduction->type) {
    case NPY_CDOUBLE:
        ((double *)sum)[1] += ((const double *)other)[1];
        /* fall through */
    case NPY_DOUBLE:
        *(double *)sum += *(const double *)other;
        break;
    case NPY_CFLOAT:
        ((float *)sum)[1] += ((const float *)other)[1];
        /* fall through */
    default:
        *(float *)sum += *(const float *)other;
    }
}

/* The tree's sum of elements; its depth is the logarithm of their number. */
static void
sum_tree(struct worker *worker, npy_intp start, npy_intp count, char *sum)
{
    const struct reduction *reduction = worker->reduction;
    if (count <= worker->sweep.capacity) {
        fetch(worker, start, count);
        if (reduction->pairwise != NULL) {
            reduction->pairwise(count, sum, worker->sweep.values);
            return;
        }
        set_neutral(reduction, sum);
        accumulate(reduction, sum, 0, worker->sweep.values, count);
        return;
    }
    _Alignas(16) char right[ELEMENT];
    npy_intp half = tree_half(reduction, count);
    sum_tree(worker, start, half, sum);
    sum_tree(worker, start + half, count - half, right);
    add_to(reduction, sum, right);
}

static void
finish_worker(struct worker *worker)
{
    __atomic_fetch_or(&worker->reduction->flags, worker->flags | (unsigned)fp_status_get_sse(),
                      __ATOMIC_RELAXED);
    sweep_worker_close(&worker->sweep);
}

/* ---- Runs of axes ---- */

/* Neighbouring axes of one kind, joined; the innermost first. */
struct axis_run {
    npy_intp extent;
    npy_intp stride; /* of the result; 0 where reduced */
    bool reduced;
};

struct layout {
    struct axis_run runs[NPY_MAXDIMS];
    int count;
    npy_intp row;  /* elements of the innermost run */
    npy_intp rows; /* how many of them there are */
};

/* The axes of the operand from the smallest stride to the largest, without those of one element. */
static int
sort_axes(const struct geometry *geometry, int *order)
{
    int count = 0;
    for (int axis = geometry->dimensions - 1; axis >= 0; axis--) {
        if (geometry->shape[axis] == 1) {
            continue;
        }
        int place = count++;
        for (; place > 0 && geometry->strides[order[place - 1]] > geometry->strides[axis];
             place--) {
            order[place] = order[place - 1];
        }
        order[place] = axis;
    }
    return count;
}

/* Finds the runs, and shape and strides of the result, which is laid out in the operand's order. */
static void
lay_out(const struct reduction *reduction, struct layout *layout, struct geometry *result)
{
    const struct geometry *operand = &reduction->pass.geometry;
    int order[NPY_MAXDIMS], count = sort_axes(operand, order), axes = 0;
    npy_intp stride = reduction->size, strides[NPY_MAXDIMS];
    for (int axis = 0; axis < operand->dimensions; axis++) {
        strides[axis] = reduction->size;
    }
    layout->count = 0;
    layout->rows = 1;
    for (int i = 0; i < count; i++) {
        npy_intp extent = operand->shape[order[i]];
        bool reduced = reduction->reduced[order[i]];
        struct axis_run *last = &layout->runs[layout->count > 0 ? layout->count - 1 : 0];
        if (layout->count > 0 && last->reduced == reduced) {
            last->extent *= extent;
        }
        else {
            layout->runs[layout->count++] =
                (struct axis_run){extent, reduced ? 0 : stride, reduced};
        }
        strides[order[i]] = stride;
        stride *= reduced ? 1 : extent;
    }
    if (layout->count == 0) {
        layout->runs[layout->count++] = (struct axis_run){1, 0, true};
    }
    layout->row = layout->runs[0].extent;
    for (int i = 1; i < layout->count; i++) {
        layout->rows *= layout->runs[i].extent;
    }
    for (int axis = 0; axis < operand->dimensions; axis++) {
        if (!reduction->reduced[axis] || reduction->keepdims) {
            result->shape[axes] = reduction->reduced[axis] ? 1 : operand->shape[axis];
            result->strides[axes++] = reduction->reduced[axis] ? reduction->size : strides[axis];
        }
    }
    result->dimensions = axes;
}

/* Where the results of a row are; `*first` tells whether nothing was added to them before. */
static char *
find_results(const struct layout *layout, char *data, npy_intp row, bool *first)
{
    *first = true;
    for (int i = 1; i < layout->count; i++) {
        npy_intp index = row % layout->runs[i].extent;
        row /= layout->runs[i].extent;
        data += index * layout->runs[i].stride;
        *first &= !layout->runs[i].reduced || index == 0;
    }
    return data;
}

/* ---- Axes of an operand ---- */

/* Adds a piece of a row, which is in the worker's block, to the row's results. */
static void
add_piece(const struct reduction *reduction, const struct layout *layout, char *results, bool first,
          const char *values, npy_intp count)
{
    npy_intp stride = layout->runs[0].reduced ? 0 : reduction->size;
    if (first && is_extreme(reduction)) {
        npy_intp copied = stride == 0 ? 1 : count;
        memcpy(results, values, (size_t)(copied * reduction->size));
        values += copied * reduction->size;
        count -= copied;
    }
    if (count > 0 && stride == 0 && reduction->pairwise != NULL) {
        _Alignas(16) char sum[ELEMENT];
        reduction->pairwise(count, sum, values);
        add_to(reduction, results, sum);
    }
    else if (count > 0) {
        accumulate(reduction, results, stride, values, count);
    }
}

/* Rows that do not fit a block; of kept ones the columns from `column` to `end`. */
static void
reduce_long_row(struct worker *worker, const struct layout *layout, npy_intp row, npy_intp column,
                npy_intp end)
{
    const struct reduction *reduction = worker->reduction;
    bool first;
    char *results = find_results(layout, PyArray_BYTES(reduction->result), row, &first);
    npy_intp start = row * layout->row;
    if (layout->runs[0].reduced && reduction->tree) {
        _Alignas(16) char sum[ELEMENT];
        sum_tree(worker, start, layout->row, sum);
        add_to(reduction, results, sum);
        return;
    }
    for (npy_intp done = column; done < end; done += worker->sweep.capacity) {
        npy_intp length = end - done < worker->sweep.capacity ? end - done : worker->sweep.capacity;
        fetch(worker, start + done, length);
        add_piece(reduction, layout,
                  layout->runs[0].reduced ? results : results + done * reduction->size,
                  first && (done == 0 || !layout->runs[0].reduced), worker->sweep.values, length);
    }
}

/* So many rows as fit a block at once. */
static void
reduce_short_rows(struct worker *worker, const struct layout *layout, npy_intp row, npy_intp end)
{
    const struct reduction *reduction = worker->reduction;
    npy_intp group = worker->sweep.capacity / layout->row;
    for (; row < end; row += group) {
        npy_intp count = end - row < group ? end - row : group;
        fetch(worker, row * layout->row, count * layout->row);
        for (npy_intp i = 0; i < count; i++) {
            bool first;
            char *results = find_results(layout, PyArray_BYTES(reduction->result), row + i, &first);
            add_piece(reduction, layout, results, first,
                      worker->sweep.values + i * layout->row * reduction->size, layout->row);
        }
    }
}

static void
reduce_rows(struct worker *worker, const struct layout *layout, npy_intp row, npy_intp end,
            npy_intp column, npy_intp last_column)
{
    if (layout->row <= worker->sweep.capacity && column == 0 && last_column == layout->row) {
        reduce_short_rows(worker, layout, row, end);
        return;
    }
    for (; row < end; row++) {
        reduce_long_row(worker, layout, row, column, last_column);
    }
}

/* ---- Parts for threads ---- */

enum cut { CUT_NOT, CUT_ROWS, CUT_COLUMNS, CUT_BRANCHES, CUT_PIECES };

struct branch {
    npy_intp start, count;
    _Alignas(16) char sum[ELEMENT];
};

struct parts {
    struct reduction *reduction;
    const struct layout *layout;
    enum cut cut;
    npy_intp part;           /* rows, columns or elements of one */
    struct branch *branches; /* of a sum of all: the tree's; else one a piece */
};

/* Parts must not share results, nor change the order of what has one. */
static enum cut
find_cut(const struct reduction *reduction, const struct layout *layout)
{
    const struct axis_run *outer = &layout->runs[layout->count - 1];
    if (layout->count == 1 && outer->reduced) {
        return reduction->tree ? CUT_BRANCHES : reduction->ordered ? CUT_NOT : CUT_PIECES;
    }
    if (!outer->reduced && layout->count > 1) {
        return CUT_ROWS;
    }
    return layout->count <= 2 && !layout->runs[0].reduced ? CUT_COLUMNS : CUT_NOT;
}

static void
run_branch(struct worker *worker, struct branch *branch)
{
    const struct reduction *reduction = worker->reduction;
    if (reduction->tree) {
        sum_tree(worker, branch->start, branch->count, branch->sum);
        return;
    }
    for (npy_intp done = 0; done < branch->count; done += worker->sweep.capacity) {
        npy_intp length = branch->count - done < worker->sweep.capacity ? branch->count - done
                                                                        : worker->sweep.capacity;
        fetch(worker, branch->start + done, length);
        if (done == 0 && is_extreme(reduction)) {
            memcpy(branch->sum, worker->sweep.values, (size_t)reduction->size);
        }
        else if (done == 0) {
            set_neutral(reduction, branch->sum);
        }
        accumulate(reduction, branch->sum, 0, worker->sweep.values, length);
    }
}

static npy_intp
smaller(npy_intp x, npy_intp y)
{
    return x < y ? x : y;
}

static void
run_part(void *context, size_t index)
{
    struct parts *parts = context;
    struct reduction *reduction = parts->reduction;
    const struct layout *layout = parts->layout;
    struct worker worker = {.reduction = reduction};
    npy_intp first = (npy_intp)index * parts->part;
    if (sweep_worker_open(&worker.sweep, &reduction->pass.sweep) < 0) {
        __atomic_store_n(&reduction->failed, true, __ATOMIC_RELAXED);
        return;
    }
    switch (parts->cut) {
    case CUT_NOT:
        reduce_rows(&worker, layout, 0, layout->rows, 0, layout->row);
        break;
    case CUT_ROWS:
        reduce_rows(&worker, layout, first, smaller(first + parts->part, layout->rows), 0,
                    layout->row);
        break;
    case CUT_COLUMNS:
        reduce_rows(&worker, layout, 0, layout->rows, first,
                    smaller(first + parts->part, layout->row));
        break;
    case CUT_BRANCHES:
    case CUT_PIECES:
        run_branch(&worker, &parts->branches[index]);
        break;
    }
    finish_worker(&worker);
}

/* ---- Everything as one number ---- */

/* The tree down to branches of a part, in order; returns how many. Without `branches` only counts. */
static size_t
find_branches(const struct reduction *reduction, npy_intp start, npy_intp count,
              struct branch *branches)
{
    if (count <= BRANCH) {
        if (branches != NULL) {
            branches->start = start;
            branches->count = count;
        }
        return 1;
    }
    npy_intp half = tree_half(reduction, count);
    size_t left = find_branches(reduction, start, half, branches);
    return left + find_branches(reduction, start + half, count - half,
                                branches == NULL ? NULL : branches + left);
}

/* Adds the branches up as the tree does; returns the first one behind. */
static struct branch *
join_branches(const struct reduction *reduction, struct branch *branch, npy_intp count, char *sum)
{
    if (count <= BRANCH) {
        memcpy(sum, branch->sum, ELEMENT);
        return branch + 1;
    }
    _Alignas(16) char right[ELEMENT];
    npy_intp half = tree_half(reduction, count);
    branch = join_branches(reduction, branch, half, sum);
    branch = join_branches(reduction, branch, count - half, right);
    add_to(reduction, sum, right);
    return branch;
}

static void
join(const struct reduction *reduction, const struct parts *parts, size_t count, npy_intp size)
{
    char *result = PyArray_BYTES(reduction->result);
    if (parts->cut == CUT_BRANCHES) {
        _Alignas(16) char sum[ELEMENT];
        join_branches(reduction, parts->branches, size, sum);
        add_to(reduction, result, sum);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (i == 0 && is_extreme(reduction)) {
            memcpy(result, parts->branches[i].sum, (size_t)reduction->size);
        }
        accumulate(reduction, result, 0, parts->branches[i].sum, 1);
    }
}

/* ---- The whole ---- */

static size_t
cut_up(struct parts *parts, npy_intp size)
{
    const struct layout *layout = parts->layout;
    npy_intp together = layout->rows / layout->runs[layout->count - 1].extent;
    switch (parts->cut) {
    case CUT_ROWS: /* those of one index of the outermost axes share results */
        parts->part = (SWEEP_PART / layout->row / together + 1) * together;
        return (size_t)((layout->rows + parts->part - 1) / parts->part);
    case CUT_COLUMNS:
        parts->part = 4096;
        return (size_t)((layout->row + parts->part - 1) / parts->part);
    case CUT_BRANCHES:
        return find_branches(parts->reduction, 0, size, NULL);
    case CUT_PIECES:
        return (size_t)((size + SWEEP_PART - 1) / SWEEP_PART);
    default:
        return 1;
    }
}

static void
fill_branches(struct parts *parts, size_t count, npy_intp size)
{
    if (parts->cut == CUT_BRANCHES) {
        find_branches(parts->reduction, 0, size, parts->branches);
    }
    for (size_t i = 0; parts->cut == CUT_PIECES && i < count; i++) {
        npy_intp start = (npy_intp)i * SWEEP_PART;
        parts->branches[i].start = start;
        parts->branches[i].count = smaller(SWEEP_PART, size - start);
    }
}

static int
compute(struct reduction *reduction, const struct layout *layout)
{
    npy_intp size = layout->row * layout->rows;
    struct parts parts = {
        .reduction = reduction, .layout = layout, .cut = find_cut(reduction, layout)};
    double *cost = reduction->pass.sweep.cost;
    bool threaded = sweep_is_threaded((double)size, *cost);
    if (!threaded && (parts.cut == CUT_ROWS || parts.cut == CUT_COLUMNS)) {
        parts.cut = CUT_NOT;
    }
    size_t count = cut_up(&parts, size);
    bool joined = parts.cut == CUT_BRANCHES || parts.cut == CUT_PIECES;
    if (joined && (parts.branches = malloc(count * sizeof(*parts.branches))) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    fill_branches(&parts, count, size);
    sweep_schedule(run_part, &parts, count, threaded, (double)size, cost);
    if (joined && !reduction->failed) {
        fp_status_clear_sse();
        join(reduction, &parts, count, size);
        reduction->flags |= (unsigned)fp_status_get_sse();
    }
    free(parts.branches);
    if (reduction->failed) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Of 0.0 and -0.0 NumPy's vector loops take one or the other: such a result is left to it. */
static bool
has_zero(const struct reduction *reduction)
{
    if (!is_extreme(reduction) || !PyTypeNum_ISFLOAT(reduction->type)) {
        return false;
    }
    npy_intp count = PyArray_SIZE(reduction->result);
    const char *data = PyArray_BYTES(reduction->result);
    for (npy_intp i = 0; i < count; i++, data += reduction->size) {
        static const char zero[ELEMENT];
        char value[ELEMENT];
        memcpy(value, data, (size_t)reduction->size);
        value[reduction->size - 1] &= 0x7f;
        if (memcmp(value, zero, (size_t)reduction->size) == 0) {
            return true;
        }
    }
    return false;
}

/* numpy.true_divide(sum, number, out=sum, casting="unsafe") */
static PyObject *
true_divide_into(struct state *state, PyObject *sum, PyObject *number)
{
    PyObject *ufunc = ufunc_get(state, FORMULA_DIVIDE);
    PyObject *arguments = PyTuple_Pack(2, sum, number);
    PyObject *keywords = Py_BuildValue("{s:O,s:s}", "out", sum, "casting", "unsafe");
    PyObject *result = ufunc == NULL || arguments == NULL || keywords == NULL
                           ? NULL
                           : PyObject_Call(ufunc, arguments, keywords);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    return result;
}

/* sum / number of elements, as numpy.mean does it. */
static PyObject *
divide(struct state *state, PyObject *sum, npy_intp count)
{
    PyObject *number =
        PyObject_CallFunction((PyObject *)&PyLongArrType_Type, "n", (Py_ssize_t)count);
    PyObject *result = NULL;
    if (number != NULL && PyArray_Check(sum)) {
        result = true_divide_into(state, sum, number);
    }
    else if (number != NULL) {
        PyObject *quotient = PyNumber_TrueDivide(sum, number);
        result = quotient == NULL ? NULL : PyObject_CallOneArg((PyObject *)Py_TYPE(sum), quotient);
        Py_XDECREF(quotient);
    }
    Py_XDECREF(number);
    return result;
}

static PyObject *
finish(struct reduction *reduction, npy_intp size)
{
    if (pass_report(&reduction->pass) < 0 ||
        (reduction->flags != 0 &&
         PyUFunc_GiveFloatingpointErrors("reduce", (int)reduction->flags) < 0)) {
        return NULL;
    }
    npy_intp results = PyArray_SIZE(reduction->result);
    PyObject *value = PyArray_Return((PyArrayObject *)Py_NewRef(reduction->result));
    if (value == NULL || reduction->kind != KIND_MEAN) {
        return value;
    }
    PyObject *mean = divide(reduction->evaluation->state, value, size / results);
    Py_DECREF(value);
    return mean;
}

static enum region_result
run(struct reduction *reduction, PyObject **value)
{
    struct layout layout;
    struct geometry result = {.plain = false};
    npy_intp size =
        PyArray_MultiplyList(reduction->pass.geometry.shape, reduction->pass.geometry.dimensions);
    if (size == 0 ||
        (reduction->pass.variant->graph.python || reduction->pass.variant->graph.alone)) {
        return REGION_REFUSED;
    }
    pass_aim(&reduction->pass, NULL, false);
    lay_out(reduction, &layout, &result);
    reduction->result = geometry_array(&result, reduction->type);
    if (reduction->result == NULL) {
        return REGION_FAILED;
    }
    for (npy_intp i = 0; i < PyArray_SIZE(reduction->result); i++) {
        set_initial(reduction, PyArray_BYTES(reduction->result) + i * reduction->size);
    }
    if (compute(reduction, &layout) < 0) {
        return REGION_FAILED;
    }
    if (has_zero(reduction)) {
        return REGION_REFUSED;
    }
    *value = finish(reduction, size);
    return *value == NULL ? REGION_FAILED : REGION_DONE;
}

/* The variant whose root has the type to reduce in; NULL with or without an exception. */
static struct variant *
find_variant(struct reduction *reduction, struct region *region)
{
    struct variant *variant = region_variant(reduction->evaluation, region, -1);
    if (variant == NULL) {
        return NULL;
    }
    int type = variant->graph.values[variant->graph.result].type;
    reduction->type = reduction_type(reduction->kind, type);
    if (reduction->type < 0) {
        return NULL;
    }
    reduction->size = graph_type_size(reduction->type);
    bool inexact = PyTypeNum_ISFLOAT(reduction->type) || PyTypeNum_ISCOMPLEX(reduction->type);
    reduction->tree = inexact && (reduction->kind == KIND_SUM || reduction->kind == KIND_MEAN);
    reduction->ordered = inexact && !is_extreme(reduction);
    *(const void **)&reduction->pairwise =
        !reduction->tree                ? NULL
        : reduction->type == NPY_DOUBLE ? blocks_find("tw_pairwise_f8")
        : reduction->type == NPY_FLOAT  ? blocks_find("tw_pairwise_f4")
                                        : NULL;
    return type == reduction->type ? variant
                                   : region_variant(reduction->evaluation, region, reduction->type);
}

enum region_result
reduce_run(struct evaluation *evaluation, int node, struct region *region)
{
    const struct formula_node *found = &evaluation->formula->nodes[node];
    struct reduction reduction = {.evaluation = evaluation};
    PyObject *axis;
    if (region->reduction == KIND_UNKNOWN) {
        region->reduction = read_kind(found);
    }
    reduction.kind = (enum kind)region->reduction;
    if (reduction.kind == KIND_OTHER ||
        !read_keywords(evaluation, found, &axis, &reduction.keepdims)) {
        return REGION_REFUSED;
    }
    if (reduction.kind == KIND_ARGMIN || reduction.kind == KIND_ARGMAX) {
        return search_run(evaluation, node, region, reduction.kind == KIND_ARGMIN, axis,
                          reduction.keepdims);
    }
    struct variant *variant = find_variant(&reduction, region);
    if (variant == NULL || get_loop(&reduction, variant) < 0) {
        return PyErr_Occurred() ? REGION_FAILED : REGION_REFUSED;
    }
    enum region_result result = REGION_REFUSED;
    int started = pass_start(&reduction.pass, evaluation, variant);
    if (started == 0 && read_axis(&reduction, axis, reduction.pass.geometry.dimensions)) {
        result = run(&reduction, &evaluation->values[node]);
    }
    pass_finish(&reduction.pass);
    Py_XDECREF(reduction.result);
    return started < 0 ? REGION_FAILED : result;
}

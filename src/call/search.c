/* search.c: argmin and argmax block by block, by the functions NumPy's descriptors have for them.
 *
 * The best of a block meets the best so far as a pair, in which the first of equals wins and NaN wins over all, as in
 * a block.
 */
#include "search.h"

#include <stdlib.h>
#include <string.h>

#include "../../runtime/fpstatus.h"
#include "pass.h"
#include "sweep.h"

/* The widest element. */
enum { ELEMENT = 32 };

struct best {
    _Alignas(16) char value[ELEMENT];
    npy_intp index;
};

struct search {
    struct pass pass;
    PyArray_ArgFunc *find;
    npy_intp size;     /* of an element */
    npy_intp row;      /* elements of which one is searched for */
    npy_intp rows;     /* how many such */
    npy_intp part;     /* rows of one part; with a single row, its elements */
    npy_intp *results; /* by row */
    struct best *best; /* by part of a single row */
    bool failed;
};

struct worker {
    struct search *search;
    struct sweep_worker sweep;
};

/* ---- A part ---- */

/* Computes elements; what flags searching those before has raised is nobody's. */
static void
fetch(struct worker *worker, npy_intp start, npy_intp count)
{
    fp_status_clear();
    sweep_range(&worker->sweep, start, count, worker->sweep.values);
}

static npy_intp
find(const struct search *search, const char *values, npy_intp count)
{
    npy_intp place = 0;
    search->find((void *)values, count, &place, NULL);
    return place;
}

static void
meet(const struct search *search, struct best *best, const char *value, npy_intp index, bool first)
{
    _Alignas(16) char pair[2 * ELEMENT];
    memcpy(pair, best->value, (size_t)search->size);
    memcpy(pair + search->size, value, (size_t)search->size);
    if (first || find(search, pair, 2) == 1) {
        memcpy(best->value, value, (size_t)search->size);
        best->index = index;
    }
}

static void
search_range(struct worker *worker, npy_intp start, npy_intp count, struct best *best)
{
    const struct search *search = worker->search;
    for (npy_intp done = 0; done < count; done += worker->sweep.capacity) {
        npy_intp length =
            count - done < worker->sweep.capacity ? count - done : worker->sweep.capacity;
        fetch(worker, start + done, length);
        npy_intp place = find(search, worker->sweep.values, length);
        meet(search, best, worker->sweep.values + place * search->size, done + place, done == 0);
    }
}

/* Rows that fit are computed several at once. */
static void
search_rows(struct worker *worker, npy_intp row, npy_intp end)
{
    const struct search *search = worker->search;
    npy_intp together = worker->sweep.capacity / search->row;
    if (together == 0) {
        for (; row < end; row++) {
            struct best best;
            search_range(worker, row * search->row, search->row, &best);
            search->results[row] = best.index;
        }
        return;
    }
    for (; row < end; row += together) {
        npy_intp count = end - row < together ? end - row : together;
        fetch(worker, row * search->row, count * search->row);
        for (npy_intp i = 0; i < count; i++) {
            search->results[row + i] =
                find(search, worker->sweep.values + i * search->row * search->size, search->row);
        }
    }
}

static void
run_part(void *context, size_t index)
{
    struct search *search = context;
    struct worker worker = {.search = search};
    npy_intp first = (npy_intp)index * search->part;
    npy_intp rest = (search->rows == 1 ? search->row : search->rows) - first;
    npy_intp count = rest < search->part ? rest : search->part;
    if (sweep_worker_open(&worker.sweep, &search->pass.sweep) < 0) {
        __atomic_store_n(&search->failed, true, __ATOMIC_RELAXED);
        return;
    }
    if (search->rows == 1) {
        search_range(&worker, first, count, &search->best[index]);
    }
    else {
        search_rows(&worker, first, first + count);
    }
    sweep_worker_close(&worker.sweep);
}

/* ---- The whole ---- */

static void
join(struct search *search, size_t count)
{
    struct best best;
    for (size_t i = 0; i < count; i++) {
        meet(search, &best, search->best[i].value,
             (npy_intp)i * search->part + search->best[i].index, i == 0);
    }
    search->results[0] = best.index;
}

static int
compute(struct search *search)
{
    bool single = search->rows == 1;
    search->part = single ? SWEEP_PART : SWEEP_PART / search->row + 1;
    npy_intp whole = single ? search->row : search->rows;
    size_t count = (size_t)((whole + search->part - 1) / search->part);
    if (single && (search->best = malloc(count * sizeof(*search->best))) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    sweep_schedule(run_part, search, count, true, (double)(search->row * search->rows),
                   search->pass.sweep.cost);
    if (single && !search->failed) {
        join(search, count);
    }
    free(search->best);
    fp_status_clear();
    return search->failed ? (PyErr_NoMemory(), -1) : 0;
}

static bool
is_c_order(const struct geometry *geometry, npy_intp size)
{
    for (int axis = geometry->dimensions - 1; axis >= 0; axis--) {
        if (geometry->shape[axis] != 1 && geometry->strides[axis] != size) {
            return false;
        }
        size *= geometry->shape[axis];
    }
    return true;
}

/* Whether the axis is all of them, or the last; the latter in `*last`. */
static bool
read_axis(PyObject *axis, int dimensions, bool *last)
{
    *last = axis != NULL && axis != Py_None;
    if (!*last) {
        return true;
    }
    int overflow;
    long number = PyLong_CheckExact(axis) ? PyLong_AsLongAndOverflow(axis, &overflow) : dimensions;
    return number == -1 || number == dimensions - 1;
}

/* The array of the results. */
static PyArrayObject *
make_result(struct search *search, bool last, bool keepdims)
{
    const struct geometry *geometry = &search->pass.geometry;
    int kept = last ? geometry->dimensions - 1 : 0;
    npy_intp shape[NPY_MAXDIMS];
    search->row = search->rows = 1;
    for (int axis = 0; axis < geometry->dimensions; axis++) {
        shape[axis] = axis < kept ? geometry->shape[axis] : 1;
        *(axis < kept ? &search->rows : &search->row) *= geometry->shape[axis];
    }
    return (PyArrayObject *)PyArray_SimpleNew(keepdims ? geometry->dimensions : kept, shape,
                                              NPY_INTP);
}

static enum region_result
run(struct search *search, bool least, bool last, bool keepdims, PyObject **value)
{
    const struct graph *graph = &search->pass.variant->graph;
    const struct geometry *geometry = &search->pass.geometry;
    int type = graph->values[graph->result].type;
    search->size = graph_type_size(type);
    if (graph->python || graph->alone || !is_c_order(geometry, search->size) ||
        PyArray_MultiplyList(geometry->shape, geometry->dimensions) == 0) {
        return REGION_REFUSED;
    }
    PyArray_Descr *descr = PyArray_DescrFromType(type);
    PyArray_ArrFuncs *functions = PyDataType_GetArrFuncs(descr);
    search->find = least ? functions->argmin : functions->argmax;
    Py_DECREF(descr);
    if (search->find == NULL || search->size > ELEMENT) {
        return REGION_REFUSED;
    }
    PyArrayObject *result = make_result(search, last, keepdims);
    if (result == NULL) {
        return REGION_FAILED;
    }
    search->results = PyArray_DATA(result);
    pass_aim(&search->pass, NULL, false);
    if (compute(search) < 0 || pass_report(&search->pass) < 0) {
        Py_DECREF(result);
        return REGION_FAILED;
    }
    *value = PyArray_Return(result);
    return *value == NULL ? REGION_FAILED : REGION_DONE;
}

enum region_result
search_run(struct evaluation *evaluation, int node, struct region *region, bool least,
           PyObject *axis, bool keepdims)
{
    struct variant *variant = region_variant(evaluation, region, -1);
    if (variant == NULL) {
        return PyErr_Occurred() ? REGION_FAILED : REGION_REFUSED;
    }
    struct search search = {.failed = false};
    enum region_result result = REGION_REFUSED;
    int started = pass_start(&search.pass, evaluation, variant);
    bool last;
    if (started == 0 && read_axis(axis, search.pass.geometry.dimensions, &last)) {
        result = run(&search, least, last, keepdims, &evaluation->values[node]);
    }
    pass_finish(&search.pass);
    return started < 0 ? REGION_FAILED : result;
}

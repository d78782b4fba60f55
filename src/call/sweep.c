/* sweep.c: over the elements: threads, rows, blocks. */
#include "sweep.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/blocks.h"
#include "../../runtime/fpstatus.h"
#include "../../runtime/threads.h"

/* Work longer than this is done without the GIL, and than that on several threads (in tenths of nanoseconds). */
#define LONG_WORK 100000
#define THREADED_WORK 400000

/* Elements a thread takes at once; a multiple of any block. */
#define PART 32768

/* Rows shorter than this share blocks. */
#define SHORT_ROW 128

/* So much scratch lies on the stack. */
#define STACK_SCRATCH 49152

/* Between two blocks of gathered operands. */
#define GAP 320

/* How the elements are cut up: a unit is a piece of a row, or several short rows. */
struct plan {
    struct sweep *sweep;
    npy_intp row;   /* elements of a row */
    npy_intp rows;
    npy_intp piece; /* elements of a unit: of long rows */
    npy_intp pieces; /* units of a row; 0: short rows */
    npy_intp group;  /* rows of a unit: of short rows */
    npy_intp units;
    npy_intp part; /* units of a thread's part */
    bool *direct;  /* by array: used where it lies */
    bool all_direct;
    size_t memory; /* bytes: scratch of the code, blocks of what is gathered */
    atomic_uchar *flags;
    atomic_bool careful;
    atomic_bool failed;
};

/* ---- Gathering ---- */

#define COPY_STRIDED(type)                                                                                             \
    for (npy_intp i = 0; i < count; i++) {                                                                             \
        type element;                                                                                                  \
        memcpy(&element, from + i * from_stride, sizeof(type));                                                        \
        memcpy(to + i * to_stride, &element, sizeof(type));                                                            \
    }                                                                                                                  \
    break

struct wide {
    uint64_t halves[2];
};

static void
copy_strided(char *to, npy_intp to_stride, const char *from, npy_intp from_stride, int size, npy_intp count)
{
    if (to_stride == size && from_stride == size) {
        memcpy(to, from, (size_t)(count * size));
        return;
    }
    switch (size) {
    case 1:
        COPY_STRIDED(uint8_t);
    case 2:
        COPY_STRIDED(uint16_t);
    case 4:
        COPY_STRIDED(uint32_t);
    case 8:
        COPY_STRIDED(uint64_t);
    case 16:
        COPY_STRIDED(struct wide);
    default:
        for (npy_intp i = 0; i < count; i++) {
            memcpy(to + i * to_stride, from + i * from_stride, (size_t)size);
        }
    }
}

static void
swap_bytes(char *data, int number, npy_intp bytes)
{
    for (char *end = data + bytes; data < end; data += number) {
        for (int i = 0, j = number - 1; i < j; i++, j--) {
            char byte = data[i];
            data[i] = data[j];
            data[j] = byte;
        }
    }
}

/* ---- Spans ---- */

/* What a thread works with. */
struct worker {
    struct plan *plan;
    struct span span;
    char **blocks;    /* of each array the block it is gathered to */
    char **positions; /* of each array where the row begins */
    npy_intp *index;  /* of the row, by axis */
};

static void
enter(struct worker *worker, npy_intp count)
{
    worker->span.count = count;
    worker->plan->sweep->code(NULL, &worker->span);
}

/* Moves every array's position to a row. */
static void
find_row(struct worker *worker, npy_intp row)
{
    const struct sweep *sweep = worker->plan->sweep;
    for (int array = 0; array <= sweep->array_count; array++) {
        worker->positions[array] = sweep->arrays[array].data;
    }
    for (int axis = 1; axis < sweep->dimensions; axis++) {
        worker->index[axis] = row % sweep->extents[axis];
        row /= sweep->extents[axis];
        for (int array = 0; array <= sweep->array_count; array++) {
            worker->positions[array] += worker->index[axis] * sweep->arrays[array].strides[axis];
        }
    }
}

static void
next_row(struct worker *worker)
{
    const struct sweep *sweep = worker->plan->sweep;
    for (int axis = 1; axis < sweep->dimensions; axis++) {
        bool wraps = ++worker->index[axis] == sweep->extents[axis];
        npy_intp steps = wraps ? 1 - sweep->extents[axis] : 1;
        worker->index[axis] = wraps ? 0 : worker->index[axis];
        for (int array = 0; array <= sweep->array_count; array++) {
            worker->positions[array] += steps * sweep->arrays[array].strides[axis];
        }
        if (!wraps) {
            return;
        }
    }
}

static void
gather(struct worker *worker, int array, npy_intp at, npy_intp start, npy_intp count)
{
    const struct sweep_operand *operand = &worker->plan->sweep->arrays[array];
    char *to = worker->blocks[array] + at * operand->size;
    copy_strided(to, operand->size, worker->positions[array] + start * operand->strides[0], operand->strides[0],
                 operand->size, count);
    if (operand->swap > 0) {
        swap_bytes(to, operand->swap, count * operand->size);
    }
}

static void
scatter(struct worker *worker, npy_intp at, npy_intp start, npy_intp count)
{
    int array = worker->plan->sweep->array_count;
    const struct sweep_operand *result = &worker->plan->sweep->arrays[array];
    char *from = worker->blocks[array] + at * result->size;
    if (result->swap > 0) {
        swap_bytes(from, result->swap, count * result->size);
    }
    copy_strided(worker->positions[array] + start * result->strides[0], result->strides[0], from, result->size,
                 result->size, count);
}

/* Elements start to start + count of the row that the positions are at. */
static void
run_piece(struct worker *worker, npy_intp start, npy_intp count)
{
    const struct plan *plan = worker->plan;
    const struct sweep *sweep = plan->sweep;
    npy_intp step = plan->all_direct ? count : sweep->block;
    for (npy_intp done = 0; done < count; done += step) {
        npy_intp length = count - done < step ? count - done : step;
        for (int array = 0; array <= sweep->array_count; array++) {
            int slot = array < sweep->array_count ? array : sweep->slot_count;
            worker->span.data[slot] = plan->direct[array]
                                          ? worker->positions[array] + (start + done) * sweep->arrays[array].size
                                          : worker->blocks[array];
            if (!plan->direct[array] && array < sweep->array_count) {
                gather(worker, array, 0, start + done, length);
            }
        }
        enter(worker, length);
        if (!plan->direct[sweep->array_count]) {
            scatter(worker, 0, start + done, length);
        }
    }
}

/* Several short rows as one block. */
static void
run_rows(struct worker *worker, npy_intp first, npy_intp count)
{
    const struct plan *plan = worker->plan;
    const struct sweep *sweep = plan->sweep;
    int result = sweep->array_count;
    find_row(worker, first);
    for (int array = 0; array <= result; array++) {
        int slot = array < result ? array : sweep->slot_count;
        worker->span.data[slot] = plan->direct[array] ? worker->positions[array] : worker->blocks[array];
    }
    for (npy_intp row = 0; row < count; row++, next_row(worker)) {
        for (int array = 0; array < result; array++) {
            if (!plan->direct[array]) {
                gather(worker, array, row * plan->row, 0, plan->row);
            }
        }
    }
    enter(worker, count * plan->row);
    if (!plan->direct[result]) {
        find_row(worker, first);
        for (npy_intp row = 0; row < count; row++, next_row(worker)) {
            scatter(worker, row * plan->row, 0, plan->row);
        }
    }
}

static void
run_units(struct worker *worker, npy_intp first, npy_intp last)
{
    const struct plan *plan = worker->plan;
    for (npy_intp unit = first; unit < last; unit++) {
        if (plan->pieces == 0) {
            npy_intp row = unit * plan->group;
            run_rows(worker, row, plan->rows - row < plan->group ? plan->rows - row : plan->group);
            continue;
        }
        npy_intp start = unit % plan->pieces * plan->piece;
        if (start == 0 || unit == first) {
            find_row(worker, unit / plan->pieces);
        }
        run_piece(worker, start, plan->row - start < plan->piece ? plan->row - start : plan->piece);
    }
}

/* ---- Memory of a thread ---- */

static size_t
rounded(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

static size_t
pointers_size(const struct sweep *sweep)
{
    size_t arrays = (size_t)sweep->array_count + 1;
    return rounded((size_t)(sweep->slot_count + 1) * sizeof(char *)) + rounded(2 * arrays * sizeof(char *)) +
           rounded((size_t)sweep->dimensions * sizeof(npy_intp)) + rounded((size_t)sweep->step_count);
}

static size_t
worker_memory(const struct plan *plan)
{
    const struct sweep *sweep = plan->sweep;
    size_t size = pointers_size(sweep) + rounded(sweep->scratch) + 64;
    for (int array = 0; array <= sweep->array_count; array++) {
        size += plan->direct[array] ? 0 : rounded((size_t)(sweep->block * sweep->arrays[array].size) + GAP);
    }
    return size;
}

static char *
carve(char **memory, size_t size)
{
    char *piece = *memory;
    *memory += rounded(size);
    return piece;
}

static void
prepare_worker(struct worker *worker, struct plan *plan, char *memory)
{
    const struct sweep *sweep = plan->sweep;
    size_t arrays = (size_t)sweep->array_count + 1;
    memory = (char *)rounded((size_t)memory);
    *worker = (struct worker){.plan = plan};
    worker->span.data = (char **)carve(&memory, (size_t)(sweep->slot_count + 1) * sizeof(char *));
    worker->blocks = (char **)carve(&memory, 2 * arrays * sizeof(char *));
    worker->positions = worker->blocks + arrays;
    worker->index = (npy_intp *)carve(&memory, (size_t)sweep->dimensions * sizeof(npy_intp));
    worker->span.flags = (unsigned char *)carve(&memory, (size_t)sweep->step_count);
    memset(worker->span.flags, 0, (size_t)sweep->step_count);
    worker->span.scratch = carve(&memory, sweep->scratch);
    worker->span.loops = sweep->loops;
    worker->span.careful = atomic_load_explicit(&plan->careful, memory_order_relaxed);
    for (int array = 0; array <= sweep->array_count; array++) {
        if (!plan->direct[array]) {
            worker->blocks[array] = carve(&memory, (size_t)(sweep->block * sweep->arrays[array].size) + GAP);
        }
    }
    for (int slot = sweep->array_count; slot < sweep->slot_count; slot++) {
        worker->span.data[slot] = sweep->scalars[slot - sweep->array_count];
    }
}

static void
run_with(struct plan *plan, char *memory, npy_intp first, npy_intp last)
{
    struct worker worker;
    prepare_worker(&worker, plan, memory);
    fp_status_clear();
    run_units(&worker, first, last);
    if (worker.span.careful) {
        atomic_store_explicit(&plan->careful, true, memory_order_relaxed);
        for (int step = 0; step < plan->sweep->step_count; step++) {
            atomic_fetch_or_explicit(&plan->flags[step], worker.span.flags[step], memory_order_relaxed);
        }
    }
}

static void
run_part(void *context, size_t part)
{
    struct plan *plan = context;
    npy_intp first = (npy_intp)part * plan->part;
    npy_intp last = plan->units - first < plan->part ? plan->units : first + plan->part;
    if (plan->memory <= STACK_SCRATCH) {
        char memory[STACK_SCRATCH];
        run_with(plan, memory, first, last);
        return;
    }
    char *memory = malloc(plan->memory);
    if (memory == NULL) {
        atomic_store(&plan->failed, true);
        return;
    }
    run_with(plan, memory, first, last);
    free(memory);
}

/* ---- Cutting up ---- */

/* Whether the array's rows follow one another without a gap. */
static bool
rows_follow(const struct sweep *sweep, const struct sweep_operand *operand)
{
    npy_intp stride = operand->size;
    for (int axis = 0; axis < sweep->dimensions; axis++) {
        if (operand->strides[axis] != stride) {
            return false;
        }
        stride *= sweep->extents[axis];
    }
    return true;
}

static void
find_direct(struct plan *plan)
{
    const struct sweep *sweep = plan->sweep;
    plan->all_direct = true;
    for (int array = 0; array <= sweep->array_count; array++) {
        const struct sweep_operand *operand = &sweep->arrays[array];
        plan->direct[array] = operand->aligned && operand->swap == 0 &&
                              (plan->pieces > 0 ? operand->strides[0] == operand->size || plan->row == 1
                                                : rows_follow(sweep, operand));
        plan->all_direct &= plan->direct[array];
    }
}

static void
cut_up(struct plan *plan)
{
    const struct sweep *sweep = plan->sweep;
    plan->row = sweep->extents[0];
    plan->rows = 1;
    for (int axis = 1; axis < sweep->dimensions; axis++) {
        plan->rows *= sweep->extents[axis];
    }
    if (plan->rows > 1 && plan->row < SHORT_ROW) {
        plan->group = sweep->block / plan->row;
        plan->units = (plan->rows + plan->group - 1) / plan->group;
        plan->part = PART / (plan->group * plan->row) + 1;
    }
    else {
        plan->piece = PART;
        plan->pieces = (plan->row + PART - 1) / PART;
        plan->units = plan->rows * plan->pieces;
        plan->part = plan->row >= PART ? 1 : PART / plan->row;
    }
}

static void
run_plan(struct plan *plan, double work)
{
    bool threaded = work >= THREADED_WORK && !plan->sweep->python && plan->units > plan->part;
    if (!threaded) {
        plan->part = plan->units;
        run_part(plan, 0);
        return;
    }
    threads_run(run_part, plan, (size_t)((plan->units + plan->part - 1) / plan->part));
}

int
sweep_run(struct sweep *sweep)
{
    struct plan plan = {.sweep = sweep};
    bool direct[sweep->array_count + 1];
    atomic_uchar flags[sweep->step_count + 1];
    plan.direct = direct;
    plan.flags = flags;
    memset(flags, 0, sizeof(flags));
    atomic_init(&plan.careful, sweep->careful);
    cut_up(&plan);
    find_direct(&plan);
    plan.memory = worker_memory(&plan);
    double work = (double)plan.row * (double)plan.rows * sweep->cost;
    if (sweep->python || work < LONG_WORK) {
        run_plan(&plan, work);
    }
    else {
        Py_BEGIN_ALLOW_THREADS run_plan(&plan, work);
        Py_END_ALLOW_THREADS
    }
    for (int step = 0; step < sweep->step_count; step++) {
        sweep->flags[step] |= atomic_load_explicit(&flags[step], memory_order_relaxed);
    }
    if (atomic_load(&plan.failed)) {
        PyErr_NoMemory();
        return -1;
    }
    return sweep->python && PyErr_Occurred() ? -1 : 0;
}

/* sweep.c: over the elements: threads, rows, blocks. */
#include "sweep.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../runtime/blocks.h"
#include "../../runtime/fpstatus.h"
#include "../../runtime/threads.h"

/* Work longer than this is done without the GIL, and than that on several threads, in ns: to wake a thread takes
 * some 50 us, of which the caller spends 10. */
#define LONG_WORK 10000
#define THREADED_WORK 100000

/* Rows shorter than this share blocks. */
#define SHORT_ROW 128

/* So much memory of a worker lies on the stack. */
#define STACK_MEMORY 49152

/* Between two blocks of gathered operands. */
#define GAP 320

/* ---- Gathering ---- */

/* The primitives of an element's size; those without any are copied one by one. */
static void
find_copies(struct sweep_operand *operand)
{
#define NAMES(size) [size] = {"tw_gather_" #size, "tw_scatter_" #size, "tw_fill_" #size}
    static const char *const names[][3] = {NAMES(1), NAMES(2), NAMES(4), NAMES(8), NAMES(16)};
#undef NAMES
    bool known = operand->size <= 16 && names[operand->size][0] != NULL;
    *(const void **)&operand->gather = known ? blocks_find(names[operand->size][0]) : NULL;
    *(const void **)&operand->scatter = known ? blocks_find(names[operand->size][1]) : NULL;
    *(const void **)&operand->fill = known ? blocks_find(names[operand->size][2]) : NULL;
}

static void
copy_in(const struct sweep_operand *operand, char *to, const char *from, npy_intp stride,
        npy_intp count)
{
    if (stride == operand->size) {
        memcpy(to, from, (size_t)(count * stride));
    }
    else if (stride == 0 && operand->fill != NULL) {
        operand->fill(count, to, from);
    }
    else if (operand->gather != NULL) {
        operand->gather(count, to, from, stride);
    }
    else {
        for (npy_intp i = 0; i < count; i++) {
            memcpy(to + i * operand->size, from + i * stride, (size_t)operand->size);
        }
    }
}

static void
copy_out(const struct sweep_operand *operand, char *to, npy_intp stride, const char *from,
         npy_intp count)
{
    if (stride == operand->size) {
        memcpy(to, from, (size_t)(count * stride));
    }
    else if (operand->scatter != NULL) {
        operand->scatter(count, to, stride, from);
    }
    else {
        for (npy_intp i = 0; i < count; i++) {
            memcpy(to + i * stride, from + i * operand->size, (size_t)operand->size);
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

/* ---- Positions ---- */

/* Moves every array's position to a row. */
static void
find_row(struct sweep_worker *worker, npy_intp row)
{
    const struct sweep *sweep = worker->sweep;
    for (int array = 0; array <= sweep->array_count; array++) {
        worker->positions[array] = worker->bases[array];
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
next_row(struct sweep_worker *worker)
{
    const struct sweep *sweep = worker->sweep;
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

/* Copies elements of the row to the array's block, from `at` on. */
static void
gather(struct sweep_worker *worker, int array, npy_intp at, npy_intp start, npy_intp count)
{
    const struct sweep_operand *operand = &worker->sweep->arrays[array];
    char *to = worker->blocks[array] + at * operand->size;
    copy_in(operand, to, worker->positions[array] + start * operand->strides[0],
            operand->strides[0], count);
    if (operand->swap > 0) {
        swap_bytes(to, operand->swap, count * operand->size);
    }
}

static void
scatter(struct sweep_worker *worker, npy_intp at, npy_intp start, npy_intp count)
{
    int array = worker->sweep->array_count;
    const struct sweep_operand *result = &worker->sweep->arrays[array];
    char *from = worker->blocks[array] + at * result->size;
    if (result->swap > 0) {
        swap_bytes(from, result->swap, count * result->size);
    }
    copy_out(result, worker->positions[array] + start * result->strides[0], result->strides[0],
             from, count);
}

/* ---- Ranges ---- */

static unsigned
raised_flags(const struct sweep *sweep)
{
    return (unsigned)(sweep->opaque ? fp_status_get() : fp_status_get_sse());
}

/* Reading the flags costs some ns: it is done once for so many elements. */
#define SPAN 16384

/* So many elements are worth a span of its own before the first cache line; so many arrays are asked. */
#define LINED 2048
#define COMPARED 7

static void
enter(struct sweep_worker *worker, npy_intp count)
{
    struct span *span = &worker->span;
    span->count = count;
    worker->sweep->code(NULL, span);
    if (!span->careful && (raised_flags(worker->sweep) | span->seen) != 0) {
        fp_status_clear();
        span->careful = true;
        worker->sweep->code(NULL, span);
    }
}

static int
slot_of(const struct sweep *sweep, int array)
{
    return array < sweep->array_count ? array : sweep->slot_count;
}

/* Elements start to start + count of the row that the positions are at, at once. */
static void
run_block(struct sweep_worker *worker, npy_intp start, npy_intp count)
{
    const struct sweep *sweep = worker->sweep;
    for (int array = 0; array <= sweep->array_count; array++) {
        worker->span.data[slot_of(sweep, array)] =
            sweep->direct[array] ? worker->positions[array] + start * sweep->arrays[array].size
                                 : worker->blocks[array];
        if (!sweep->direct[array] && array < sweep->array_count &&
            (worker->fresh || sweep->arrays[array].strides[0] != 0)) {
            gather(worker, array, 0, start, count);
        }
    }
    worker->fresh = false;
    enter(worker, count);
    if (!sweep->direct[sweep->array_count]) {
        scatter(worker, 0, start, count);
    }
}

/* How many bytes stand before an array's next cache line. */
static unsigned
before_line(const struct sweep_worker *worker, int array, npy_intp start)
{
    npy_intp offset = start * worker->sweep->arrays[array].size;
    return (unsigned)(-(uintptr_t)(worker->positions[array] + offset) % 64);
}

/* How many elements stand before the next cache line of most of the arrays: large arrays mostly begin at the same place
 * of one, and blocks that begin with a line are read and written faster. */
static npy_intp
head_of_line(const struct sweep_worker *worker, npy_intp start)
{
    const struct sweep *sweep = worker->sweep;
    int result = sweep->array_count, first = result < COMPARED ? 0 : result - COMPARED;
    unsigned bytes = before_line(worker, result, start);
    int most = 0;
    for (int array = result; array >= first; array--) {
        int alike = 0;
        for (int other = first; other <= result; other++) {
            alike += before_line(worker, other, start) == before_line(worker, array, start);
        }
        if (alike > most) {
            most = alike;
            bytes = before_line(worker, array, start);
        }
    }
    return bytes / sweep->arrays[result].size;
}

/* The same, cut to blocks. */
static void
run_piece(struct sweep_worker *worker, npy_intp start, npy_intp count)
{
    const struct sweep *sweep = worker->sweep;
    npy_intp step = sweep->all_direct ? SPAN : sweep->block;
    npy_intp done = sweep->all_direct && count >= LINED ? head_of_line(worker, start) : 0;
    if (done > 0) {
        run_block(worker, start, done);
    }
    for (; done < count; done += step) {
        run_block(worker, start + done, count - done < step ? count - done : step);
    }
}

static void
run_long_rows(struct sweep_worker *worker, npy_intp start, npy_intp count)
{
    npy_intp row = worker->sweep->extents[0], offset = start % row;
    find_row(worker, start / row);
    while (count > 0) {
        npy_intp length = row - offset < count ? row - offset : count;
        worker->fresh = true;
        run_piece(worker, offset, length);
        count -= length;
        offset = 0;
        if (count > 0) {
            next_row(worker);
        }
    }
}

/* Visits the pieces of rows that a block is made of. */
static void
visit_rows(struct sweep_worker *worker, npy_intp start, npy_intp count,
           void (*visit)(struct sweep_worker *worker, npy_intp at, npy_intp offset,
                         npy_intp length))
{
    npy_intp row = worker->sweep->extents[0], offset = start % row;
    find_row(worker, start / row);
    for (npy_intp at = 0; at < count; offset = 0) {
        npy_intp length = row - offset < count - at ? row - offset : count - at;
        visit(worker, at, offset, length);
        at += length;
        if (at < count) {
            next_row(worker);
        }
    }
}

static void
gather_operands(struct sweep_worker *worker, npy_intp at, npy_intp offset, npy_intp length)
{
    for (int array = 0; array < worker->sweep->array_count; array++) {
        if (!worker->sweep->direct[array]) {
            gather(worker, array, at, offset, length);
        }
    }
}

static void
run_short_rows(struct sweep_worker *worker, npy_intp start, npy_intp count)
{
    const struct sweep *sweep = worker->sweep;
    for (npy_intp done = 0; done < count; done += sweep->block) {
        npy_intp length = count - done < sweep->block ? count - done : sweep->block;
        for (int array = 0; array <= sweep->array_count; array++) {
            worker->span.data[slot_of(sweep, array)] =
                sweep->direct[array]
                    ? worker->bases[array] + (start + done) * sweep->arrays[array].size
                    : worker->blocks[array];
        }
        visit_rows(worker, start + done, length, gather_operands);
        enter(worker, length);
        if (!sweep->direct[sweep->array_count]) {
            visit_rows(worker, start + done, length, scatter);
        }
    }
}

void
sweep_range(struct sweep_worker *worker, npy_intp start, npy_intp count, char *to)
{
    const struct sweep *sweep = worker->sweep;
    int result = sweep->array_count;
    worker->bases[result] =
        to == NULL ? sweep->arrays[result].data : to - start * sweep->arrays[result].size;
    if (sweep->short_rows) {
        run_short_rows(worker, start, count);
    }
    else {
        run_long_rows(worker, start, count);
    }
}

/* ---- A worker's memory ---- */

static size_t
rounded(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

static size_t
pointers_size(const struct sweep *sweep)
{
    size_t arrays = (size_t)sweep->array_count + 1;
    return rounded((size_t)(sweep->slot_count + 1) * sizeof(char *)) +
           rounded(3 * arrays * sizeof(char *)) +
           rounded((size_t)sweep->dimensions * sizeof(npy_intp)) +
           rounded((size_t)sweep->step_count);
}

static size_t
block_size(const struct sweep *sweep, int array)
{
    return rounded((size_t)(sweep->block * sweep->arrays[array].size) + GAP);
}

static char *
carve(char **memory, size_t size)
{
    char *piece = *memory;
    *memory += rounded(size);
    return piece;
}

void
sweep_worker_start(struct sweep_worker *worker, struct sweep *sweep, char *memory)
{
    size_t arrays = (size_t)sweep->array_count + 1;
    memory = (char *)rounded((size_t)memory);
    worker->sweep = sweep;
    worker->span = (struct span){.loops = sweep->loops};
    worker->span.data = (char **)carve(&memory, (size_t)(sweep->slot_count + 1) * sizeof(char *));
    worker->bases = (char **)carve(&memory, 3 * arrays * sizeof(char *));
    worker->blocks = worker->bases + arrays;
    worker->positions = worker->blocks + arrays;
    worker->index = (npy_intp *)carve(&memory, (size_t)sweep->dimensions * sizeof(npy_intp));
    worker->span.flags = (unsigned char *)carve(&memory, (size_t)sweep->step_count);
    memset(worker->span.flags, 0, (size_t)sweep->step_count);
    worker->span.scratch = carve(&memory, sweep->scratch);
    worker->span.stream = sweep->stream;
    worker->span.careful = __atomic_load_n(&sweep->careful, __ATOMIC_RELAXED);
    for (int array = 0; array <= sweep->array_count; array++) {
        worker->bases[array] = sweep->arrays[array].data;
        worker->blocks[array] =
            sweep->direct[array] ? NULL : carve(&memory, block_size(sweep, array));
    }
    for (int slot = sweep->array_count; slot < sweep->slot_count; slot++) {
        worker->span.data[slot] = sweep->scalars[slot - sweep->array_count];
    }
    if (sweep->opaque || worker->span.careful) {
        fp_status_clear();
    }
    else {
        fp_status_clear_sse();
    }
}

void
sweep_worker_finish(struct sweep_worker *worker)
{
    struct sweep *sweep = worker->sweep;
    if (!worker->span.careful) {
        return;
    }
    __atomic_store_n(&sweep->careful, true, __ATOMIC_RELAXED);
    for (int step = 0; step < sweep->step_count; step++) {
        __atomic_fetch_or(&sweep->flags[step], worker->span.flags[step], __ATOMIC_RELAXED);
    }
}

/* So many blocks are computed before somebody takes them. */
#define FETCH 4

int
sweep_worker_open(struct sweep_worker *worker, struct sweep *sweep)
{
    npy_intp capacity = FETCH * sweep->block;
    size_t size = rounded((size_t)(capacity * sweep->arrays[sweep->array_count].size));
    char *memory = malloc(size + sweep->memory + 64);
    if (memory == NULL) {
        return -1;
    }
    char *values = (char *)rounded((size_t)memory);
    sweep_worker_start(worker, sweep, values + size);
    worker->values = values;
    worker->capacity = capacity;
    worker->memory = memory;
    return 0;
}

void
sweep_worker_close(struct sweep_worker *worker)
{
    sweep_worker_finish(worker);
    free(worker->memory);
}

/* A result of so many bytes has left the caches before anybody reads it. */
#define STREAMED 16777216

/* ---- How the arrays are gone over ---- */

/* Whether the elements follow one another without a gap. */
static bool
is_consecutive(const struct sweep *sweep, const struct sweep_operand *operand)
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

static bool
is_direct(const struct sweep *sweep, const struct sweep_operand *operand)
{
    if (!operand->aligned || operand->swap > 0) {
        return false;
    }
    return sweep->short_rows ? is_consecutive(sweep, operand)
                             : operand->strides[0] == operand->size || sweep->extents[0] == 1;
}

void
sweep_start(struct sweep *sweep)
{
    sweep->size = 1;
    for (int axis = 0; axis < sweep->dimensions; axis++) {
        sweep->size *= sweep->extents[axis];
    }
    sweep->short_rows = sweep->extents[0] < SHORT_ROW && sweep->size > sweep->extents[0];
    sweep->all_direct = true;
    sweep->memory = pointers_size(sweep) + rounded(sweep->scratch) + 64;
    for (int array = 0; array <= sweep->array_count; array++) {
        sweep->direct[array] = is_direct(sweep, &sweep->arrays[array]);
        if (!sweep->direct[array]) {
            find_copies(&sweep->arrays[array]);
        }
        sweep->all_direct &= sweep->direct[array];
        sweep->memory += sweep->direct[array] ? 0 : block_size(sweep, array);
    }
}

/* ---- All elements ---- */

struct group {
    struct sweep *sweeps;
    int count;
    npy_intp part;
    size_t memory;
    atomic_bool failed;
};

static void
run_group(struct group *group, char *memory, npy_intp start, npy_intp count)
{
    for (int i = 0; i < group->count; i++) {
        struct sweep_worker worker;
        sweep_worker_start(&worker, &group->sweeps[i], memory);
        sweep_range(&worker, start, count, NULL);
        sweep_worker_finish(&worker);
    }
}

static void
run_part(void *context, size_t part)
{
    struct group *group = context;
    npy_intp start = (npy_intp)part * group->part, rest = group->sweeps[0].size - start;
    npy_intp count = rest < group->part ? rest : group->part;
    if (group->memory <= STACK_MEMORY) {
        char memory[STACK_MEMORY];
        run_group(group, memory, start, count);
        return;
    }
    char *memory = malloc(group->memory);
    if (memory == NULL) {
        atomic_store(&group->failed, true);
        return;
    }
    run_group(group, memory, start, count);
    free(memory);
}

/* ---- Now or on threads ---- */

static double
now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* What a run took becomes the cost: at once where it is less, by and by where it is more, since others may have had
 * the processor meanwhile. Of a run on threads only what is less counts. */
static void
learn(double *cost, double measured, bool threaded)
{
    if (measured < *cost) {
        *cost = measured;
    }
    else if (!threaded) {
        *cost += (measured - *cost) / 4;
    }
}

bool
sweep_is_threaded(double size, double cost)
{
    return size * cost >= THREADED_WORK && threads_count() > 1;
}

static void
run_here(void (*work)(void *context, size_t part), void *context, size_t parts)
{
    for (size_t part = 0; part < parts; part++) {
        work(context, part);
    }
}

void
sweep_schedule(void (*work)(void *context, size_t part), void *context, size_t parts, bool threads,
               double size, double *cost)
{
    if (size * *cost < LONG_WORK) {
        run_here(work, context, parts);
        return;
    }
    bool threaded = threads && parts > 1 && sweep_is_threaded(size, *cost);
    double workers = !threaded ? 1 : threads_count() < (int)parts ? threads_count() : (double)parts;
    double start = now_ns();
    Py_BEGIN_ALLOW_THREADS if (threaded)
    {
        threads_run(work, context, parts);
    }
    else
    {
        run_here(work, context, parts);
    }
    Py_END_ALLOW_THREADS learn(cost, (now_ns() - start) * workers / size, threaded);
}

/* So many ns a part on a thread should take, and so few elements it has at least. */
#define PART_WORK 20000
#define LEAST_PART 2048

/* One sweep alone on one thread goes through in one; several stay together within what the cache holds; on threads
 * parts are small where elements are slow, so that all threads end together. */
static void
find_parts(struct group *group, bool threaded, double cost)
{
    double fitting = PART_WORK / cost;
    group->part = SWEEP_PART;
    if (!threaded && group->count == 1) {
        group->part = group->sweeps[0].size;
    }
    else if (threaded && fitting < SWEEP_PART) {
        group->part =
            fitting < LEAST_PART ? LEAST_PART : (npy_intp)fitting / LEAST_PART * LEAST_PART;
    }
}

int
sweep_run(struct sweep *sweeps, int count)
{
    struct group group = {.sweeps = sweeps, .count = count};
    npy_intp size = sweeps[0].size;
    double total = 0;
    bool python = false, alone = false;
    for (int i = 0; i < count; i++) {
        group.memory = sweeps[i].memory > group.memory ? sweeps[i].memory : group.memory;
        total += *sweeps[i].cost;
        python |= sweeps[i].python;
        alone |= sweeps[i].alone;
    }
    const struct sweep_operand *result = &sweeps[0].arrays[sweeps[0].array_count];
    sweeps[0].stream =
        count == 1 && sweeps[0].all_direct && !sweeps[0].careful && size * result->size >= STREAMED;
    bool threads = !python && !alone && sweep_is_threaded((double)size, total);
    find_parts(&group, threads, total);
    size_t parts = (size_t)((size + group.part - 1) / group.part);
    if (python) {
        run_here(run_part, &group, parts);
    }
    else {
        sweep_schedule(run_part, &group, parts, threads, (double)size,
                       count == 1 ? sweeps[0].cost : &total);
    }
    if (atomic_load(&group.failed)) {
        PyErr_NoMemory();
        return -1;
    }
    return (python || alone) && PyErr_Occurred() ? -1 : 0;
}

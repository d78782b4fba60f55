/* loops.c: the inner loops of a ufunc: compiled for each set of dtypes, and run on NumPy's behalf.
 *
 * NumPy calls the loops of a ufunc's unit itself. Those that need the GIL or print, and all of gufuncs, run through
 * functions of this file, which find their loop by the ufunc and the dtypes at hand.
 */
#include "loops.h"

#include <stdlib.h>
#include <string.h>

#include "../../cache/kernel.h"
#include "../../runtime/stdio.h"
#include "compile.h"
#include "library_loops.h"

/* ---- A call of C code that needs care ---- */

/* Returns 0, or -1 with an exception. The GIL is held. */
static int
leave_guarded(const struct loop *loop, struct call *call)
{
    bool failed = PyErr_Occurred() != NULL;
    if (loop->kernel->prints && stdio_leave(call) < 0) {
        failed = true;
    }
    return failed ? -1 : 0;
}

static void
enter_guarded(const struct loop *loop, struct call *call)
{
    if (loop->kernel->prints) {
        stdio_enter(call, loop->kernel->needs_gil);
    }
}

/* ---- Loops over elements ---- */

/* An exception of Python's API ends the loop: element after element. */
static int
run_one_by_one(const struct loop *loop, PyArrayMethod_Context *context, char *const *data,
               npy_intp count, const npy_intp *strides)
{
    char *at[LOOP_OPERANDS];
    int operands = loop->loops->operands.count;
    static const npy_intp one = 1;
    memcpy(at, data, (size_t)operands * sizeof(*at));
    for (npy_intp i = 0; i < count && !PyErr_Occurred(); i++) {
        loop->strided(context, at, &one, strides, NULL);
        for (int k = 0; k < operands; k++) {
            at[k] += strides[k];
        }
    }
    return 0;
}

static int
run_guarded(const struct loop *loop, PyArrayMethod_Context *context, char *const *data,
            const npy_intp *dimensions, const npy_intp *strides)
{
    struct call call = {0};
    enter_guarded(loop, &call);
    if (loop->kernel->needs_gil) {
        run_one_by_one(loop, context, data, dimensions[0], strides);
    }
    else {
        loop->strided(context, data, dimensions, strides, NULL);
    }
    return leave_guarded(loop, &call);
}

/* ---- Core arrays ---- */

/* A core array as it lies in memory, and as C wants it. */
struct core_array {
    int dimensions;
    const int *axes;       /* the indices of its dimensions among the sizes */
    const npy_intp *sizes; /* of all core dimensions */
    const npy_intp *strides;
    npy_intp itemsize;
    npy_intp bytes;
    bool is_array; /* else a number */
    bool is_bool;  /* its byte may be any in memory */
    bool out;
    char *scratch; /* in C's order; NULL: the array is so itself */
};

static bool
is_consecutive(const struct core_array *array)
{
    npy_intp expected = array->itemsize;
    for (int axis = array->dimensions - 1; axis >= 0; axis--) {
        npy_intp size = array->sizes[array->axes[axis]];
        if (size != 1 && array->strides[axis] != expected) {
            return false;
        }
        expected *= size;
    }
    return true;
}

/* Copies between an array and its scratch, from an axis on. Returns the place in the scratch behind it. */
static char *
copy_axis(const struct core_array *array, int axis, char *data, char *scratch)
{
    if (axis == array->dimensions) {
        memcpy(array->out ? data : scratch, array->out ? scratch : data, (size_t)array->itemsize);
        return scratch + array->itemsize;
    }
    npy_intp size = array->sizes[array->axes[axis]];
    for (npy_intp i = 0; i < size; i++) {
        scratch = copy_axis(array, axis + 1, data + i * array->strides[axis], scratch);
    }
    return scratch;
}

typedef double slot[2];

/* One inner loop of a gufunc. */
struct core_run {
    const struct loop *loop;
    struct core_array arrays[LOOP_OPERANDS];
    slot *slots;   /* one a parameter, one for the result */
    slot *numbers; /* of each parameter that is the address of a number */
};

/* Fills the core arrays, and makes scratch for those that C cannot take as they lie. Returns 0, or -1: no memory. */
static int
fill_arrays(struct core_run *run, PyArrayMethod_Context *context, const npy_intp *dimensions,
            const npy_intp *strides)
{
    const struct loops *loops = run->loop->loops;
    const npy_intp *core_strides = strides + loops->operands.count;
    for (int i = 0; i < loops->operands.count; i++) {
        struct core_array *array = &run->arrays[i];
        int index = loops->operands.items[i].parameter;
        int first = loops->core.first[i];
        *array = (struct core_array){
            .dimensions = loops->core.first[i + 1] - first,
            .axes = loops->core.axes + first,
            .sizes = dimensions + 1,
            .strides = core_strides + first,
            .itemsize = PyDataType_ELSIZE(context->descriptors[i]),
            .is_bool = context->descriptors[i]->type_num == NPY_BOOL,
            .out = i >= loops->operands.in_count,
        };
        array->is_array = index >= 0 && array->dimensions > 0;
        array->bytes = array->itemsize;
        for (int axis = 0; axis < array->dimensions; axis++) {
            array->bytes *= array->sizes[array->axes[axis]];
        }
        if (array->is_array && array->bytes > 0 && !is_consecutive(array)) {
            array->scratch = malloc((size_t)array->bytes);
            if (array->scratch == NULL) {
                return -1;
            }
        }
    }
    return 0;
}

/* NumPy may have let go of the GIL. */
static int
raise_no_memory(void)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyErr_NoMemory();
    PyGILState_Release(gil);
    return -1;
}

static int
raise_size(const struct loops *loops, int parameter, npy_intp size)
{
    const struct plan_parameter *named = &loops->plan->parameters[parameter];
    PyGILState_STATE gil = PyGILState_Ensure();
    PyErr_Format(PyExc_OverflowError, "%s(): %s = %zd is too large for '%s'", loops->name,
                 named->name, (Py_ssize_t)size, named->declaration);
    PyGILState_Release(gil);
    return -1;
}

/* The sizes are the same in all calls of an inner loop. Returns 0, or -1 with an exception. */
static int
fill_sizes(const struct core_run *run, const npy_intp *dimensions)
{
    const struct loops *loops = run->loop->loops;
    for (int i = 0; i < loops->core.count; i++) {
        int parameter = loops->core.dimensions[i].parameter;
        npy_intp size = dimensions[1 + i];
        if (parameter >= 0 && function_write_integer(loops->plan->parameters[parameter].type, size,
                                                     run->slots[parameter]) < 0) {
            return raise_size(loops, parameter, size);
        }
    }
    return 0;
}

static void
take_input(const struct core_run *run, int operand, char *data)
{
    const struct core_array *array = &run->arrays[operand];
    void *place = run->slots[run->loop->loops->operands.items[operand].parameter];
    if (!array->is_array) {
        memcpy(place, data, (size_t)array->itemsize);
        if (array->is_bool) {
            *(bool *)place = *data != 0;
        }
        return;
    }
    if (array->scratch != NULL) {
        copy_axis(array, 0, data, array->scratch);
        data = array->scratch;
    }
    *(void **)place = data;
}

/* Outs are zero when C starts. */
static void
take_output(const struct core_run *run, int operand, char *data)
{
    const struct core_array *array = &run->arrays[operand];
    int parameter = run->loop->loops->operands.items[operand].parameter;
    if (parameter < 0) {
        return;
    }
    void *memory = !array->is_array         ? (void *)run->numbers[parameter]
                   : array->scratch != NULL ? array->scratch
                                            : data;
    memset(memory, 0, (size_t)array->bytes);
    *(void **)run->slots[parameter] = memory;
}

static void
give_output(const struct core_run *run, int operand, char *data)
{
    const struct core_array *array = &run->arrays[operand];
    const struct loops *loops = run->loop->loops;
    int parameter = loops->operands.items[operand].parameter;
    if (array->scratch != NULL) {
        copy_axis(array, 0, data, array->scratch);
    }
    else if (!array->is_array) {
        memcpy(data, parameter < 0 ? run->slots[loops->plan->count] : run->numbers[parameter],
               (size_t)array->itemsize);
    }
}

static void
enter_core(const struct core_run *run, struct call *call, char *const *data)
{
    const struct loop_operands *operands = &run->loop->loops->operands;
    for (int i = 0; i < operands->in_count; i++) {
        take_input(run, i, data[i]);
    }
    for (int i = operands->in_count; i < operands->count; i++) {
        take_output(run, i, data[i]);
    }
    run->loop->entry(call, run->slots);
    for (int i = operands->in_count; i < operands->count; i++) {
        give_output(run, i, data[i]);
    }
}

/* Returns 0, or -1 with an exception. */
static int
run_calls(const struct core_run *run, char *const *data, npy_intp count, const npy_intp *strides)
{
    const struct loop *loop = run->loop;
    int operands = loop->loops->operands.count;
    char *at[LOOP_OPERANDS];
    struct call call = {0};
    memcpy(at, data, (size_t)operands * sizeof(*at));
    if (loop->guarded) {
        enter_guarded(loop, &call);
    }
    for (npy_intp i = 0; i < count; i++) {
        enter_core(run, &call, at);
        if (loop->guarded && PyErr_Occurred()) {
            break;
        }
        for (int k = 0; k < operands; k++) {
            at[k] += strides[k];
        }
    }
    return loop->guarded ? leave_guarded(loop, &call) : 0;
}

static int
run_core(const struct loop *loop, PyArrayMethod_Context *context, char *const *data,
         const npy_intp *dimensions, const npy_intp *strides)
{
    size_t slots = (size_t)loop->loops->plan->count + 1;
    struct core_run run = {.loop = loop};
    run.slots = calloc(2 * slots, sizeof(*run.slots));
    run.numbers = run.slots == NULL ? NULL : run.slots + slots;
    int result = -1;
    if (run.slots == NULL || fill_arrays(&run, context, dimensions, strides) < 0) {
        raise_no_memory();
    }
    else if (fill_sizes(&run, dimensions) == 0) {
        result = run_calls(&run, data, dimensions[0], strides);
    }
    for (int i = 0; i < loop->loops->operands.count; i++) {
        free(run.arrays[i].scratch);
    }
    free(run.slots);
    return result;
}

/* ---- What NumPy calls ---- */

static bool
has_types(const char *types, PyArray_Descr *const *descriptors, int count)
{
    for (int i = 0; i < count; i++) {
        if (types[i] != descriptors[i]->type_num) {
            return false;
        }
    }
    return true;
}

/* The loop of the ufunc that is called, for the dtypes at hand. NULL with an exception: NumPy asks for none that it
 * was not given. */
static const struct loop *
loop_of(const PyArrayMethod_Context *context)
{
    const PyUFuncObject *ufunc = (const PyUFuncObject *)context->caller;
    for (int i = 0; i < ufunc->ntypes; i++) {
        if (has_types(ufunc->types + i * ufunc->nargs, context->descriptors, ufunc->nargs)) {
            return ufunc->data[i];
        }
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    PyErr_Format(PyExc_SystemError, "%s(): there is no loop for these dtypes", ufunc->name);
    PyGILState_Release(gil);
    return NULL;
}

static int
guarded_loop(PyArrayMethod_Context *context, char *const *data, const npy_intp *dimensions,
             const npy_intp *strides, NpyAuxData *Py_UNUSED(auxdata))
{
    const struct loop *loop = loop_of(context);
    return loop == NULL ? -1 : run_guarded(loop, context, data, dimensions, strides);
}

static int
core_loop(PyArrayMethod_Context *context, char *const *data, const npy_intp *dimensions,
          const npy_intp *strides, NpyAuxData *Py_UNUSED(auxdata))
{
    const struct loop *loop = loop_of(context);
    return loop == NULL ? -1 : run_core(loop, context, data, dimensions, strides);
}

PyArrayMethod_StridedLoop *
loops_strided(const struct loop *loop)
{
    return loop->loops->kind == LOOP_CORE ? core_loop
           : loop->guarded                ? guarded_loop
                                          : loop->strided;
}

/* A loop as NumPy 1 called it: those who look into a ufunc find it. An exception stays set. */
static void
plain_loop(char **data, const npy_intp *dimensions, const npy_intp *strides, void *pointer)
{
    const struct loop *loop = pointer;
    PyArray_Descr *descriptors[LOOP_OPERANDS];
    const struct loops *loops = loop->loops;
    const char *types = loops->types + (loop - loops->items) * loops->operands.count;
    PyGILState_STATE gil = PyGILState_Ensure();
    for (int i = 0; i < loops->operands.count; i++) {
        descriptors[i] = PyArray_DescrFromType(types[i]); /* NumPy's own: they live on */
        Py_DECREF(descriptors[i]);
    }
    PyArrayMethod_Context context = {.descriptors = descriptors};
    if (loops->kind == LOOP_CORE) {
        run_core(loop, &context, data, dimensions, strides);
    }
    else {
        run_guarded(loop, &context, data, dimensions, strides);
    }
    PyGILState_Release(gil);
}

/* ---- Making them ---- */

/* The dtypes of a binding's operands, behind those of the loops there are. */
static char *
fill_types(struct loops *loops, const struct binding *binding)
{
    char *types = loops->types + loops->count * loops->operands.count;
    for (int i = 0; i < loops->operands.count; i++) {
        types[i] = (char)plan_bound(loops->operands.items[i].type, binding);
    }
    return types;
}

/* A letter may stand twice in a list. */
static bool
is_known(const struct loops *loops, const char *types)
{
    size_t row = (size_t)loops->operands.count;
    for (int i = 0; i < loops->count; i++) {
        if (memcmp(loops->types + (size_t)i * row, types, row) == 0) {
            return true;
        }
    }
    return false;
}

static int
add_loop(struct loops *loops, const struct binding *binding)
{
    struct loop *loop = &loops->items[loops->count];
    if (is_known(loops, fill_types(loops, binding))) {
        return 0;
    }
    struct kernel *kernel = library_shared(loops->library)->kernel_for(loops->library, binding);
    if (kernel == NULL) {
        return -1;
    }
    void **table = atomic_load_explicit(&kernel->entry_point, memory_order_acquire);
    *loop = (struct loop){
        .loops = loops, .kernel = kernel, .guarded = kernel->needs_gil || kernel->prints};
    if (loops->kind == LOOP_CORE) {
        *(void **)&loop->entry = table[loops->plan - library_shared(loops->library)->plans->items];
    }
    else {
        *(void **)&loop->strided = table[0];
    }
    loops->functions[loops->count] = plain_loop;
    loops->data[loops->count] = loop;
    loops->count++;
    return 0;
}

/* A loop for each choice of dtypes from the lists. */
static int
add_loops(struct loops *loops)
{
    const struct function_library *shared = library_shared(loops->library);
    unsigned variables = loops->plan->variables;
    for (size_t i = 0; i < function_choices(shared, variables); i++) {
        struct binding binding = function_choice(shared, variables, i);
        if (add_loop(loops, &binding) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
make_room(struct loops *loops)
{
    size_t count = function_choices(library_shared(loops->library), loops->plan->variables);
    loops->items = PyMem_Calloc(count, sizeof(*loops->items));
    loops->types = PyMem_Calloc(count, (size_t)loops->operands.count);
    loops->functions = PyMem_Calloc(count, sizeof(*loops->functions));
    loops->data = PyMem_Calloc(count, sizeof(*loops->data));
    return loops->items == NULL || loops->types == NULL || loops->functions == NULL ||
                   loops->data == NULL
               ? -1
               : 0;
}

/* What could be refused was refused when the Library was made: only memory may be out. */
static int
read_plan(struct loops *loops)
{
    struct buffer reason = BUFFER_INIT;
    int result = loop_read(loops->plan, loops->kind, &loops->operands, &reason);
    if (result == 0 && loops->kind == LOOP_CORE) {
        result = core_read(loops->plan, &loops->operands, &loops->core, &reason);
    }
    buffer_free(&reason);
    return result;
}

struct loops *
loops_new(PyObject *library, enum loop_kind kind)
{
    struct loops *loops = PyMem_Calloc(1, sizeof(*loops));
    if (loops == NULL) {
        Py_DECREF(library);
        PyErr_NoMemory();
        return NULL;
    }
    loops->library = library;
    loops->plan = library_loop_plan(library);
    loops->kind = kind;
    if (read_plan(loops) < 0 || make_room(loops) < 0) {
        PyErr_NoMemory();
    }
    else if (add_loops(loops) == 0) {
        return loops;
    }
    loops_free(loops);
    return NULL;
}

void
loops_free(struct loops *loops)
{
    core_free(&loops->core);
    PyMem_Free(loops->name);
    PyMem_Free(loops->doc);
    PyMem_Free(loops->types);
    PyMem_Free(loops->items);
    PyMem_Free(loops->functions);
    PyMem_Free(loops->data);
    Py_DECREF(loops->library);
    PyMem_Free(loops);
}

/* callback.c: what Python gives C to call: thunks, their lives, and the way from C into Python and back.
 *
 * A thunk is the object of frontend/thunk.c, loaded once more for each callable: `tw_context` is its struct
 * callback. It puts C's arguments into slots and calls callback_enter.
 */
#include "callback.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numpy.h"

#include "../../cache/kernel.h"
#include "../../runtime/stdio.h"
#include "../frontend/thunk.h"
#include "address.h"
#include "conversion.h"
#include "exception.h"

typedef double slot[2];

/* What C was given to call. */
struct callback {
    struct callbacks *owner;
    const struct plan *plan; /* how C calls it */
    struct binding binding;
    const void *self,
        *target;     /* the value's identity: its own, or what a bound method is made of */
    PyObject *value; /* NULL: its Library is going */
    PyObject *kept;  /* a str that was returned to C, until the next one */
    char *title;     /* "the callback 'f' of integrate" */
    int result_slot;
    struct image *image; /* the thunk; NULL: the pointer is another's */
    struct address address;
    size_t references; /* the table's, and one a use */
    struct callback_use *uses;
    struct callback *bucket_next, *newer, *older; /* in the table */
    struct callback *buried_next;
};

/* A running call that passed it. */
struct callback_use {
    struct callback *callback;
    struct callback_run *run;
    struct callback_use *next, **link; /* among the callback's, the latest first */
    int parameter;
};

struct callback_run {
    struct callbacks *callbacks;
    const struct plan *plan;
    const struct binding *binding;
    const long long *values;    /* of the function's integer parameters */
    struct callback_run *outer; /* the call this one happened in, on the same thread */
    PyObject *exception;        /* the first one that a callback raised */
    atomic_bool failed;         /* from then on callbacks return 0 */
    bool ending;                /* the interpreter was ending when it began */
    bool calls_python;          /* a callback may want the GIL, on any thread */
    struct call_needs needs;
    struct callback *buried; /* thunks that may still be on the stack; freed with the run */
    int count;
    struct callback_use uses[];
};

enum { BUCKETS = CALLBACKS_KEPT };

struct callbacks {
    struct state *state;
    PyObject *library;             /* borrowed: whose they are */
    const struct records *records; /* the Library's */
    struct callback **buckets;     /* BUCKETS; NULL: none was needed yet */
    struct callback *newest, *oldest;
    size_t count;            /* in the table */
    size_t thunks;           /* that live, in the table or not */
    struct callback *buried; /* thunks that may still be on the stack of some thread */
    bool closed;             /* the Library is going */
};

/* The call this thread is in. What C calls back has no parameter to pass it in. */
static _Thread_local struct callback_run *innermost;

/* ---- The interpreter's end ---- */

bool
callback_python_is_ending(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return !Py_IsInitialized() || Py_IsFinalizing();
#else
    return !Py_IsInitialized() || _Py_IsFinalizing();
#endif
}

/* ---- From C to Python ---- */

/* One call by C. */
struct entry {
    const struct callback *callback;
    slot *slots;
    long long *values; /* of the integer parameters */
};

static struct conversion
conversion_of(const struct callback *callback, const struct plan_parameter *parameter)
{
    return (struct conversion){callback->title, parameter->name, parameter->declaration,
                               plan_bound(parameter->type, &callback->binding)};
}

static void *
pointer_in(const struct entry *entry, int index)
{
    return *(void **)entry->slots[index];
}

static const struct records *
records_of(const struct entry *entry)
{
    return entry->callback->owner->records;
}

static PyObject *
new_array(const struct entry *entry, const struct plan_parameter *parameter, npy_intp *shape)
{
    int type = plan_bound(parameter->type, &entry->callback->binding);
    return plan_is_record(type) ? PyArray_Empty(parameter->dimensions, shape,
                                                record_descr(records_of(entry), type), 0)
                                : PyArray_SimpleNew(parameter->dimensions, shape, type);
}

/* The shape of an array of C's. Returns 0; 1 with the axis whose extent cannot be computed; 2 with one that is negative. */
static int
shape_of(const struct entry *entry, int index, npy_intp *shape, int *axis)
{
    const struct plan_parameter *parameter = &entry->callback->plan->parameters[index];
    for (*axis = 0; *axis < parameter->dimensions; ++*axis) {
        long long extent;
        if (extent_value(&parameter->extents[*axis], entry->values, &extent) < 0) {
            return 1;
        }
        shape[*axis] = extent;
        if (extent < 0) {
            return 2;
        }
    }
    return 0;
}

static int
check_shape(const struct entry *entry, int index, npy_intp *shape)
{
    const struct plan_parameter *parameter = &entry->callback->plan->parameters[index];
    int axis, wrong = shape_of(entry, index, shape, &axis);
    if (wrong == 1) {
        PyErr_Format(PyExc_ValueError,
                     "%s(): the extent %s of '%s' cannot be computed: it overflows, or divides by "
                     "zero (%s)",
                     entry->callback->title, parameter->extents[axis].text, parameter->name,
                     parameter->declaration);
    }
    else if (wrong == 2) {
        PyErr_Format(PyExc_ValueError,
                     "%s(): C calls it with a '%s' of %s = %zd elements along axis %d (%s)",
                     entry->callback->title, parameter->name, parameter->extents[axis].text,
                     (Py_ssize_t)shape[axis], axis, parameter->declaration);
    }
    return wrong == 0 ? 0 : -1;
}

/* A copy of an array of C's: nobody can tell how long C's own lives. None for NULL. */
static PyObject *
array_argument(const struct entry *entry, int index)
{
    const struct plan_parameter *parameter = &entry->callback->plan->parameters[index];
    npy_intp shape[NPY_MAXDIMS];
    if (pointer_in(entry, index) == NULL) {
        Py_RETURN_NONE;
    }
    if (check_shape(entry, index, shape) < 0) {
        return NULL;
    }
    PyObject *array = new_array(entry, parameter, shape);
    if (array != NULL) {
        memcpy(PyArray_DATA((PyArrayObject *)array), pointer_in(entry, index),
               (size_t)PyArray_NBYTES((PyArrayObject *)array));
    }
    return parameter->dimensions == 0 ? record_scalar(array) : array;
}

static PyObject *
text_argument(const char *text)
{
    if (text == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), NULL);
}

static PyObject *
argument(const struct entry *entry, int index)
{
    const struct plan_parameter *parameter = &entry->callback->plan->parameters[index];
    PyObject *object;
    switch (parameter->role) {
    case ROLE_NUMBER:
        return number_object(plan_bound(parameter->type, &entry->callback->binding),
                             entry->slots[index]);
    case ROLE_IN:
    case ROLE_INOUT:
        return array_argument(entry, index);
    case ROLE_STRING:
        return text_argument(pointer_in(entry, index));
    case ROLE_OBJECT:
        object = pointer_in(entry, index);
        return Py_NewRef(object == NULL ? Py_None : object);
    default:
        return PyLong_FromVoidPtr(pointer_in(entry, index));
    }
}

/* Fills the arguments, references of the caller's. Returns how many there are, or -1: none is left. */
static Py_ssize_t
make_arguments(const struct entry *entry, PyObject **arguments)
{
    const struct plan *plan = entry->callback->plan;
    Py_ssize_t count = 0;
    for (int i = 0; i < plan->c_count; i++) {
        if (plan->parameters[i].argument < 0) {
            continue;
        }
        arguments[count] = argument(entry, i);
        if (arguments[count] == NULL) {
            while (--count >= 0) {
                Py_DECREF(arguments[count]);
            }
            return -1;
        }
        count++;
    }
    return count;
}

/* ---- And back ---- */

static int
wrong_shape(const struct entry *entry, int index, PyArrayObject *array, const npy_intp *shape)
{
    const struct plan_parameter *parameter = &entry->callback->plan->parameters[index];
    PyObject *expected = PyArray_IntTupleFromIntp(parameter->dimensions, shape);
    PyObject *given = PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_SHAPE(array));
    if (expected != NULL && given != NULL) {
        PyErr_Format(PyExc_ValueError, "%s(): '%s' has shape %R, expected %R (%s)",
                     entry->callback->title, parameter->name, given, expected,
                     parameter->declaration);
    }
    Py_XDECREF(expected);
    Py_XDECREF(given);
    return -1;
}

static bool
has_shape(PyArrayObject *array, int dimensions, const npy_intp *shape)
{
    return PyArray_NDIM(array) == dimensions &&
           PyArray_CompareLists(PyArray_SHAPE(array), shape, dimensions);
}

/* Copies an array into C's own. */
static int
store_array(const struct entry *entry, int index, PyObject *value)
{
    const struct plan_parameter *parameter = &entry->callback->plan->parameters[index];
    struct conversion to = conversion_of(entry->callback, parameter);
    npy_intp shape[NPY_MAXDIMS];
    if (pointer_in(entry, index) == NULL) {
        return 0;
    }
    PyArrayObject *array = NULL;
    if (check_shape(entry, index, shape) == 0) {
        array = (PyArrayObject *)(plan_is_record(to.type)
                                      ? record_array(&to, records_of(entry), to.type, value)
                                      : convert_array(&to, value));
    }
    if (array == NULL) {
        return -1;
    }
    int result = 0;
    if (!has_shape(array, parameter->dimensions, shape)) {
        result = wrong_shape(entry, index, array, shape);
    }
    else {
        memmove(pointer_in(entry, index), PyArray_DATA(array), (size_t)PyArray_NBYTES(array));
    }
    Py_DECREF(array);
    return result;
}

/* A str or bytes that C is given stays alive until the next one. */
static int
store_string(struct callback *callback, const struct conversion *to, PyObject *value, void *place)
{
    const char *text = value == Py_None ? NULL : convert_string(to, value);
    if (text == NULL && value != Py_None) {
        return -1;
    }
    *(const char **)place = text;
    PyObject *previous = callback->kept;
    callback->kept = Py_NewRef(value);
    Py_XDECREF(previous);
    return 0;
}

/* An address, or None for NULL. */
static int
store_pointer(const struct conversion *to, PyObject *value, void *place)
{
    Py_buffer view;
    if (value != Py_None && !PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s(): '%s' must be an int address or None, not %.100s (%s)",
                     to->function, to->parameter, Py_TYPE(value)->tp_name, to->declaration);
        return -1;
    }
    return convert_pointer(to, value, 1, &view, place);
}

static int
store_result(const struct entry *entry, PyObject *value)
{
    struct callback *callback = (struct callback *)entry->callback;
    const struct plan *plan = callback->plan;
    void *place = entry->slots[callback->result_slot];
    struct conversion to = {callback->title, "the result", plan->result_passed,
                            plan_bound(plan->returned.type, &callback->binding)};
    switch (plan->result) {
    case ROLE_NUMBER:
        return convert_number(&to, value, place);
    case ROLE_STRING:
        return store_string(callback, &to, value, place);
    case ROLE_OBJECT:
        *(PyObject **)place = Py_NewRef(value);
        return 0;
    default:
        return store_pointer(&to, value, place);
    }
}

static int
store_number(const struct entry *entry, int index, PyObject *value)
{
    const struct plan_parameter *parameter = &entry->callback->plan->parameters[index];
    struct conversion to = conversion_of(entry->callback, parameter);
    slot number;
    if (convert_number(&to, value, number) < 0) {
        return -1;
    }
    if (pointer_in(entry, index) != NULL) {
        memcpy(pointer_in(entry, index), number, number_size(to.type));
    }
    return 0;
}

/* What was given to be changed goes back. */
static int
write_back(const struct entry *entry, PyObject *const *arguments)
{
    const struct plan *plan = entry->callback->plan;
    for (int i = 0; i < plan->c_count; i++) {
        if (plan->parameters[i].role == ROLE_INOUT &&
            store_array(entry, i, arguments[plan->parameters[i].argument]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
wrong_results(const struct entry *entry, PyObject *value, int count)
{
    const char *title = entry->callback->title;
    if (count == 0) {
        PyErr_Format(PyExc_TypeError, "%s() must return None, not %.100s (%s)", title,
                     Py_TYPE(value)->tp_name, entry->callback->plan->signature);
    }
    else if (PyTuple_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s() must return a tuple of %d, not of %zd (%s)", title,
                     count, PyTuple_GET_SIZE(value), entry->callback->plan->signature);
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s() must return a tuple of %d, not %.100s (%s)", title,
                     count, Py_TYPE(value)->tp_name, entry->callback->plan->signature);
    }
    return -1;
}

/* What C gets as the result, then the outs, in order. The result last: it may be a reference. */
static int
store_items(const struct entry *entry, PyObject *const *items)
{
    const struct plan *plan = entry->callback->plan;
    int next = plan->result != ROLE_NOTHING;
    for (int i = 0; i < plan->c_count; i++) {
        enum role role = plan->parameters[i].role;
        if ((role == ROLE_OUT && store_array(entry, i, items[next++]) < 0) ||
            (role == ROLE_NUMBER_OUT && store_number(entry, i, items[next++]) < 0)) {
            return -1;
        }
    }
    return plan->result == ROLE_NOTHING ? 0 : store_result(entry, items[0]);
}

static int
store(const struct entry *entry, PyObject *value)
{
    const struct plan *plan = entry->callback->plan;
    int count = (plan->result != ROLE_NOTHING) + plan->out_count + plan->number_out_count;
    if (count == 1) {
        return store_items(entry, &value);
    }
    if (count == 0 ? value != Py_None : !PyTuple_Check(value) || PyTuple_GET_SIZE(value) != count) {
        return wrong_results(entry, value, count);
    }
    return count == 0 ? 0 : store_items(entry, PySequence_Fast_ITEMS(value));
}

/* Calls Python. The GIL is held, and no exception set. Returns 0, or -1 with an exception. */
static int
call_value(const struct entry *entry)
{
    PyObject *stack[entry->callback->plan->c_count + 2];
    PyObject **arguments = stack + 1;
    Py_ssize_t count = make_arguments(entry, arguments);
    if (count < 0) {
        return -1;
    }
    PyObject *function = Py_NewRef(entry->callback->value);
    PyObject *result = PyObject_Vectorcall(function, arguments,
                                           (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    int status = result == NULL ? -1 : write_back(entry, arguments);
    if (status == 0) {
        status = store(entry, result);
    }
    Py_XDECREF(result);
    Py_DECREF(function);
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_DECREF(arguments[i]);
    }
    return status;
}

/* ---- Failing ---- */

/* A callback that fails gives C zeros. This asks nothing of Python. */
static void
store_zeros(const struct entry *entry)
{
    const struct plan *plan = entry->callback->plan;
    memset(entry->slots[entry->callback->result_slot], 0, sizeof(slot));
    for (int i = 0; i < plan->c_count; i++) {
        const struct plan_parameter *parameter = &plan->parameters[i];
        bool out = parameter->role == ROLE_OUT || parameter->role == ROLE_NUMBER_OUT;
        npy_intp shape[NPY_MAXDIMS];
        int axis;
        if (!out || pointer_in(entry, i) == NULL || shape_of(entry, i, shape, &axis) != 0) {
            continue;
        }
        int type = plan_bound(parameter->type, &entry->callback->binding);
        size_t size = plan_is_record(type) ? records_of(entry)->items[type - PLAN_RECORD].size
                                           : number_size(type);
        for (axis = 0; axis < parameter->dimensions; axis++) {
            size *= (size_t)shape[axis];
        }
        memset(pointer_in(entry, i), 0, size);
    }
}

static bool
has_passed(const struct callback_run *run, const struct callback *callback)
{
    for (int i = 0; i < run->count; i++) {
        if (run->uses[i].callback == callback) {
            return true;
        }
    }
    return false;
}

/* The innermost call on this thread that passed the callback. */
static struct callback_run *
passing_run(const struct callback *callback)
{
    struct callback_run *run = innermost;
    while (run != NULL && !has_passed(run, callback)) {
        run = run->outer;
    }
    return run;
}

/* The call that an exception belongs to: of those on this thread, the innermost that passed the callback, then the
 * innermost of its Library, which C may have kept it for; else the latest that passed it. NULL: none runs. */
static struct callback_run *
find_run(const struct callback *callback)
{
    struct callback_run *run = passing_run(callback);
    if (run != NULL) {
        return run;
    }
    for (run = innermost; run != NULL; run = run->outer) {
        if (run->callbacks == callback->owner) {
            return run;
        }
    }
    return callback->uses == NULL ? NULL : callback->uses->run;
}

/* Hands the exception that is set to the call it belongs to, or to sys.unraisablehook. */
static void
keep_exception(const struct callback *callback)
{
    struct callback_run *run = find_run(callback);
    if (run == NULL || run->exception != NULL) {
        PyErr_WriteUnraisable(callback->value);
        return;
    }
    run->exception = exception_take();
    atomic_store(&run->failed, true);
}

/* ---- Entering ---- */

static void leave_callback(struct callback *callback);

static void
read_values(const struct entry *entry)
{
    const struct plan *plan = entry->callback->plan;
    for (int i = 0; i < plan->c_count; i++) {
        enum role role = plan->parameters[i].role;
        int type = plan_bound(plan->parameters[i].type, &entry->callback->binding);
        bool number = role == ROLE_NUMBER || role == ROLE_HIDDEN;
        entry->values[i] = number ? number_integer(type, entry->slots[i]) : 0;
    }
}

/* Sizes that are parameters of the function that took the callback: -1 when that call is over. */
static void
read_outer_values(const struct entry *entry, const struct callback_run *run)
{
    const struct plan *plan = entry->callback->plan;
    for (int i = plan->c_count; i < plan->count; i++) {
        entry->values[i] = run == NULL ? -1 : run->values[plan->parameters[i].source];
    }
}

/* With the GIL, which guards the uses. */
static const struct callback_run *
latest_run(const struct callback *callback)
{
    const struct callback_run *run = passing_run(callback);
    return run != NULL || callback->uses == NULL ? run : callback->uses->run;
}

static bool
is_silent(const struct callback *callback)
{
    const struct callback_run *run = find_run(callback);
    return (run != NULL && atomic_load(&run->failed)) || callback->value == NULL ||
           callback->owner == NULL || callback->owner->closed || PyErr_Occurred();
}

/* With the GIL. What Python does may let go of the callback, and of its Library. */
static void
enter_python(struct callback *callback, const struct entry *entry)
{
    if (is_silent(callback)) {
        store_zeros(entry);
        return;
    }
    read_outer_values(entry, latest_run(callback));
    struct stdio_pause pause;
    PyObject *library = Py_NewRef(callback->owner->library);
    callback->references++;
    stdio_pause(&pause);
    if (call_value(entry) < 0) {
        keep_exception(callback);
        store_zeros(entry);
    }
    stdio_resume(&pause);
    Py_DECREF(library);
    leave_callback(callback);
}

/* What a thunk calls: from any thread, with the GIL or without. */
static void
callback_enter(struct callback *callback, slot *slots)
{
    slots[callback->result_slot][0] = slots[callback->result_slot][1] = 0;
    bool began_late = innermost != NULL && innermost->ending;
    if (callback_python_is_ending() && !began_late) {
        return;
    }
    long long values[callback->plan->count + 1];
    struct entry entry = {callback, slots, values};
    read_values(&entry);
    read_outer_values(&entry, passing_run(callback));
    if (innermost != NULL && atomic_load(&innermost->failed)) {
        store_zeros(&entry);
        return;
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    enter_python(callback, &entry);
    PyGILState_Release(gil);
}

/* ---- A callback's life ---- */

/* Frees the function. At the end of the interpreter it stays, as C may still call it. */
static void
free_thunk(struct callback *callback)
{
    if (callback->image != NULL && callback_python_is_ending()) {
        return;
    }
    if (callback->image != NULL) {
        image_free(callback->image);
    }
    free(callback->title);
    free(callback);
}

static void
free_buried(struct callback *callback)
{
    while (callback != NULL) {
        struct callback *next = callback->buried_next;
        free_thunk(callback);
        callback = next;
    }
}

/* Lets go of the Python objects, which may call anything. */
static void
drop_value(struct callback *callback)
{
    PyObject *value = callback->value, *kept = callback->kept;
    callback->value = callback->kept = NULL;
    Py_XDECREF(value);
    Py_XDECREF(kept);
}

/* Takes a reference away. Returns whether it was the last: the function is then the caller's to free. */
static bool
give_back(struct callback *callback)
{
    if (--callback->references > 0) {
        return false;
    }
    if (callback->owner != NULL) {
        callback->owner->thunks -= callback->image != NULL;
    }
    return true;
}

static void
callback_release(struct callback *callback)
{
    if (give_back(callback)) {
        drop_value(callback);
        free_thunk(callback);
    }
}

/* The same when the thunk is about to return: its code must outlive that. Where nothing tells how long, and its
 * Library is gone too, it stays for good. */
static void
leave_callback(struct callback *callback)
{
    if (!give_back(callback)) {
        return;
    }
    struct callback **buried = innermost != NULL         ? &innermost->buried
                               : callback->owner != NULL ? &callback->owner->buried
                                                         : NULL;
    if (buried != NULL) {
        callback->buried_next = *buried;
        *buried = callback;
    }
    drop_value(callback);
}

/* Builtin methods of objects are new at each access, as bound methods are: list.append of a list. */
static void
identify(PyObject *value, const void **self, const void **target)
{
    *self = NULL;
    *target = value;
    if (PyMethod_Check(value)) {
        *self = PyMethod_GET_SELF(value);
        *target = PyMethod_GET_FUNCTION(value);
    }
    else if (PyCFunction_CheckExact(value) && PyCFunction_GET_SELF(value) != NULL) {
        *self = PyCFunction_GET_SELF(value);
        *target = ((PyCFunctionObject *)value)->m_ml;
    }
}

/* ---- The objects of thunks ---- */

static const void *
resolve(void *context, const char *name)
{
    bool enter = strcmp(name, THUNK_ENTER) == 0;
    return strcmp(name, THUNK_CONTEXT) == 0 ? context : enter ? (const void *)callback_enter : NULL;
}

/* The object of a signature, compiled once. New bytes, or NULL with an exception, or with a problem. */
static PyObject *
make_object(struct state *state, const struct callback *callback, bool force,
            enum kernel_origin *origin, struct problem *problem)
{
    struct unit unit = {0};
    struct buffer object = BUFFER_INIT;
    PyObject *bytes = NULL;
    if (thunk_unit(callback->plan, &callback->binding, &unit) < 0) {
        PyErr_NoMemory();
    }
    else if (kernel_object(state, &unit, force, &object, origin, problem) == 0) {
        bytes = PyBytes_FromStringAndSize(object.data, (Py_ssize_t)object.size);
    }
    unit_free(&unit);
    buffer_free(&object);
    return bytes;
}

static int
load(struct state *state, struct callback *callback, PyObject *bytes, struct problem *problem)
{
    struct object object = {(const unsigned char *)PyBytes_AS_STRING(bytes),
                            (size_t)PyBytes_GET_SIZE(bytes)};
    callback->image = image_load(state->heap, &object, 1, resolve, callback, problem);
    callback->address.pointer =
        callback->image == NULL ? NULL : image_symbol(callback->image, KERNEL_ENTRY);
    if (callback->image != NULL && callback->address.pointer == NULL) {
        return problem_set(problem, PROBLEM_OBJECT, "the object of a callback has no function");
    }
    return callback->image == NULL ? -1 : 0;
}

/* An object from disk that the loader refuses is compiled anew. */
static int
load_new(struct state *state, struct callback *callback, PyObject *key, struct problem *problem)
{
    enum kernel_origin origin;
    PyObject *bytes = make_object(state, callback, false, &origin, problem);
    int result = bytes == NULL ? -1 : load(state, callback, bytes, problem);
    if (result < 0 && bytes != NULL && origin == KERNEL_DISK && callback->image == NULL) {
        state->load_errors++;
        Py_DECREF(bytes);
        bytes = make_object(state, callback, true, &origin, problem);
        result = bytes == NULL ? -1 : load(state, callback, bytes, problem);
    }
    if (result == 0) {
        result = PyDict_SetItem(state->thunks, key, bytes);
    }
    Py_XDECREF(bytes);
    return result;
}

/* Makes the C function of a callable. Returns 0, or -1 with an exception. */
static int
make_thunk(struct callback *callback)
{
    struct state *state = callback->owner->state;
    struct problem problem = {PROBLEM_NONE, ""};
    struct buffer signature = BUFFER_INIT;
    thunk_signature(callback->plan, &callback->binding, &signature);
    PyObject *key = signature.failed
                        ? PyErr_NoMemory()
                        : PyUnicode_FromStringAndSize(signature.data, (Py_ssize_t)signature.size);
    buffer_free(&signature);
    PyObject *bytes = key == NULL ? NULL : PyDict_GetItemWithError(state->thunks, key);
    int result = -1;
    if (bytes != NULL) {
        result = load(state, callback, bytes, &problem);
    }
    else if (key != NULL && !PyErr_Occurred()) {
        result = load_new(state, callback, key, &problem);
    }
    Py_XDECREF(key);
    if (result < 0 && !PyErr_Occurred()) {
        state_raise(&problem, PyExc_OSError);
    }
    return result;
}

/* ---- The table ---- */

struct callbacks *
callbacks_new(struct state *state, PyObject *library, const struct records *records)
{
    struct callbacks *callbacks = PyMem_Calloc(1, sizeof(*callbacks));
    if (callbacks == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    callbacks->state = state;
    callbacks->library = library;
    callbacks->records = records;
    return callbacks;
}

bool
callbacks_any(const struct callbacks *callbacks)
{
    return callbacks->thunks > 0;
}

int
callbacks_traverse(const struct callbacks *callbacks, visitproc visit, void *arg)
{
    if (callbacks == NULL) {
        return 0;
    }
    for (struct callback *callback = callbacks->oldest; callback != NULL;
         callback = callback->newer) {
        Py_VISIT(callback->value);
        Py_VISIT(callback->kept);
    }
    return 0;
}

void
callbacks_clear(struct callbacks *callbacks)
{
    struct callback *callback = callbacks == NULL ? NULL : callbacks->newest;
    while (callback != NULL) {
        callback->references++; /* what goes may call anything */
        Py_CLEAR(callback->value);
        Py_CLEAR(callback->kept);
        struct callback *older = callback->older;
        callback_release(callback);
        callback = older;
    }
}

static struct callback **
bucket_of(struct callbacks *callbacks, const struct plan *plan, const void *self,
          const void *target)
{
    uintptr_t hash = (uintptr_t)plan / 16 + (uintptr_t)self / 16 * 31 + (uintptr_t)target / 16 * 7;
    return &callbacks->buckets[(hash ^ hash >> 10) % BUCKETS];
}

/* Takes a callback out of the list, not out of its bucket. */
static void
unlink_callback(struct callbacks *callbacks, struct callback *callback)
{
    *(callback->newer == NULL ? &callbacks->newest : &callback->newer->older) = callback->older;
    *(callback->older == NULL ? &callbacks->oldest : &callback->older->newer) = callback->newer;
    callback->newer = callback->older = NULL;
}

static void
link_newest(struct callbacks *callbacks, struct callback *callback)
{
    callback->newer = NULL;
    callback->older = callbacks->newest;
    *(callbacks->newest == NULL ? &callbacks->oldest : &callbacks->newest->newer) = callback;
    callbacks->newest = callback;
}

static void
forget(struct callbacks *callbacks, struct callback *callback)
{
    struct callback **link = bucket_of(callbacks, callback->plan, callback->self, callback->target);
    while (*link != callback) {
        link = &(*link)->bucket_next;
    }
    *link = callback->bucket_next;
    unlink_callback(callbacks, callback);
    callbacks->count--;
    callback->owner = callbacks->closed ? NULL : callbacks;
    callback_release(callback);
}

static struct callback *
find(struct callbacks *callbacks, const struct plan *plan, const struct binding *binding,
     PyObject *value)
{
    const void *self, *target;
    identify(value, &self, &target);
    struct callback *callback =
        callbacks->buckets == NULL ? NULL : *bucket_of(callbacks, plan, self, target);
    while (callback != NULL && (callback->plan != plan || callback->self != self ||
                                callback->target != target || callback->value == NULL ||
                                memcmp(&callback->binding, binding, sizeof(*binding)) != 0)) {
        callback = callback->bucket_next;
    }
    if (callback != NULL && callback != callbacks->newest) {
        unlink_callback(callbacks, callback);
        link_newest(callbacks, callback);
    }
    return callback;
}

/* Takes over the caller's reference. Returns 0, or -1 with MemoryError. */
static int
keep(struct callbacks *callbacks, struct callback *callback)
{
    if (callbacks->buckets == NULL) {
        callbacks->buckets = PyMem_Calloc(BUCKETS, sizeof(*callbacks->buckets));
    }
    if (callbacks->buckets == NULL) {
        callback_release(callback);
        PyErr_NoMemory();
        return -1;
    }
    struct callback **bucket =
        bucket_of(callbacks, callback->plan, callback->self, callback->target);
    callback->bucket_next = *bucket;
    *bucket = callback;
    link_newest(callbacks, callback);
    callbacks->count++;
    while (callbacks->count > CALLBACKS_KEPT) {
        forget(callbacks, callbacks->oldest);
    }
    return 0;
}

void
callbacks_free(struct callbacks *callbacks)
{
    if (callbacks == NULL) {
        return;
    }
    callbacks->closed = true;
    while (callbacks->oldest != NULL) {
        forget(callbacks, callbacks->oldest);
    }
    free_buried(callbacks->buried);
    PyMem_Free(callbacks->buckets);
    PyMem_Free(callbacks);
}

/* ---- Values to pointers ---- */

/* A callback of a value, not yet in the table. NULL with MemoryError. */
static struct callback *
new_callback(struct callback_run *run, const struct plan_parameter *parameter, PyObject *value)
{
    struct callback *callback = calloc(1, sizeof(*callback));
    if (callback == NULL || asprintf(&callback->title, "the callback '%s' of %s", parameter->name,
                                     run->plan->name) < 0) {
        free(callback);
        PyErr_NoMemory();
        return NULL;
    }
    callback->owner = run->callbacks;
    callback->plan = parameter->callback;
    callback->binding = *run->binding;
    callback->value = Py_NewRef(value);
    callback->result_slot = parameter->callback->c_count;
    callback->references = 1;
    identify(value, &callback->self, &callback->target);
    return callback;
}

static int
refuse(const struct callback_run *run, const struct plan_parameter *parameter, PyObject *value)
{
    PyErr_Format(PyExc_TypeError,
                 "%s(): '%s' must be a callable, a C function or None, not %.100s (%s)",
                 run->plan->name, parameter->name, Py_TYPE(value)->tp_name, parameter->declaration);
    return -1;
}

/* Fills a new callback: with the address that the value stands for, else with a thunk. */
static int
settle(const struct callback_run *run, const struct plan_parameter *parameter,
       struct callback *callback)
{
    struct address_request request = {run->callbacks->state, run->plan->name, parameter,
                                      run->binding};
    int found = address_find(&request, callback->value, &callback->address);
    if (found != 0) {
        return found < 0 ? -1 : 0;
    }
    if (!PyCallable_Check(callback->value)) {
        return refuse(run, parameter, callback->value);
    }
    int result = make_thunk(callback);
    callback->owner->thunks += callback->image != NULL;
    return result;
}

/* The callback of a value, known or new: a reference. NULL with an exception. */
static struct callback *
obtain(struct callback_run *run, const struct plan_parameter *parameter, PyObject *value)
{
    struct callback *callback = find(run->callbacks, parameter->callback, run->binding, value);
    if (callback != NULL) {
        callback->references++;
        return callback;
    }
    callback = new_callback(run, parameter, value);
    if (callback == NULL || settle(run, parameter, callback) < 0) {
        if (callback != NULL) {
            PyObject *exception = exception_take();
            callback_release(callback);
            exception_set(exception);
        }
        return NULL;
    }
    struct callback *first = find(run->callbacks, parameter->callback, run->binding, value);
    if (first != NULL) { /* another thread was faster while libtcc worked */
        first->references++;
        callback_release(callback);
        return first;
    }
    callback->references++; /* the table takes the other one */
    if (keep(run->callbacks, callback) < 0) {
        callback_release(callback);
        return NULL;
    }
    return callback;
}

/* Takes over the reference. */
static void
add_use(struct callback_run *run, int index, struct callback *callback)
{
    struct callback_use *use = &run->uses[run->count++];
    *use = (struct callback_use){callback, run, callback->uses, &callback->uses, index};
    if (use->next != NULL) {
        use->next->link = &use->next;
    }
    callback->uses = use;
    run->calls_python |= callback->image != NULL || callback->address.calls_python;
    run->needs.gil |= callback->address.needs_gil;
    run->needs.prints |= callback->address.prints;
}

int
callback_take(struct callback_run *run, int index, PyObject *value, void **pointer)
{
    *pointer = NULL;
    if (value == Py_None) {
        return 0;
    }
    struct callback *callback = obtain(run, &run->plan->parameters[index], value);
    if (callback == NULL) {
        return -1;
    }
    add_use(run, index, callback);
    *pointer = callback->address.pointer;
    return 0;
}

/* ---- Running ---- */

struct callback_run *
callback_run_new(struct callbacks *callbacks, const struct plan *plan,
                 const struct binding *binding)
{
    struct callback_run *run =
        PyMem_Calloc(1, sizeof(*run) + (size_t)plan->callback_count * sizeof(struct callback_use));
    if (run == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    run->callbacks = callbacks;
    run->plan = plan;
    run->binding = binding;
    run->calls_python = callbacks_any(callbacks);
    return run;
}

/* From here on no callback finds the run. */
static void
unlink_uses(struct callback_run *run)
{
    for (int i = 0; i < run->count; i++) {
        struct callback_use *use = &run->uses[i];
        if (use->link != NULL) {
            *use->link = use->next;
        }
        if (use->next != NULL) {
            use->next->link = use->link;
        }
        use->next = NULL;
        use->link = NULL;
    }
}

void
callback_run_free(struct callback_run *run)
{
    PyObject *exception = exception_take();
    unlink_uses(run);
    for (int i = 0; i < run->count; i++) {
        callback_release(run->uses[i].callback);
    }
    free_buried(run->buried);
    PyMem_Free(run);
    if (exception != NULL) {
        exception_set(exception);
    }
}

/* What a LowLevelCallable has for the void * behind its function, where the caller gave none. */
static void
pass_user_data(const struct callback_run *run, slot *slots)
{
    for (int i = 0; i < run->count; i++) {
        void *data = run->uses[i].callback->address.user_data;
        for (int k = run->uses[i].parameter + 1; data != NULL && k < run->plan->c_count; k++) {
            const struct plan_parameter *parameter = &run->plan->parameters[k];
            if (parameter->role == ROLE_POINTER && strcmp(parameter->passed, "void *") == 0) {
                void **place = (void **)slots[k];
                *place = *place == NULL ? data : *place;
                break;
            }
        }
    }
}

int
callback_run_enter(struct callback_run *run, struct kernel *kernel, call_code *code, slot *slots,
                   const long long *values, struct pace *pace)
{
    run->values = values;
    pass_user_data(run, slots);
    run->ending = callback_python_is_ending();
    run->outer = innermost;
    innermost = run;
    int result = run->calls_python || run->needs.gil || run->needs.prints
                     ? call_function_calling(kernel, code, slots, &run->needs)
                     : call_function(kernel, code, slots, 0, pace);
    innermost = run->outer;
    unlink_uses(run);
    if (run->exception != NULL) {
        exception_set(run->exception);
        run->exception = NULL;
        result = -1;
    }
    return result;
}

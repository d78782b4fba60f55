/* call.c: code -> result: entering a kernel, and what comes back from it. */
#include "call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../cache/kernel.h"
#include "../../runtime/stdio.h"

/* Saving and restoring the thread costs 60 ns, and waiting for the GIL may cost more: a call over fewer
 * bytes than this (some 10 us of work) keeps it. */
#define CALL_LONG_BYTES 65536

/* A call measured longer than this runs without the GIL from then on. The coarse clock costs 5 ns and
 * ticks every 1 to 4 ms, so only a difference of two ticks and more means anything. */
#define CALL_LONG_NS 8000000
#define CALL_SAMPLE 16

/* ---- What code leaves behind ---- */

static void
drop_result(struct call *call)
{
    if (call->kind == RESULT_STRING) {
        free(call->result.s);
    }
    else if (call->kind == RESULT_OBJECT) {
        Py_XDECREF(call->result.o);
    }
    call->kind = RESULT_NONE;
}

void
call_return_int(struct call *call, long long value)
{
    drop_result(call);
    call->kind = RESULT_INT;
    call->result.i = value;
}

void
call_return_unsigned(struct call *call, unsigned long long value)
{
    drop_result(call);
    call->kind = RESULT_UNSIGNED;
    call->result.u = value;
}

void
call_return_bool(struct call *call, int value)
{
    drop_result(call);
    call->kind = RESULT_BOOL;
    call->result.i = value;
}

void
call_return_double(struct call *call, double value)
{
    drop_result(call);
    call->kind = RESULT_DOUBLE;
    call->result.d = value;
}

void
call_return_complex(struct call *call, double real, double imag)
{
    drop_result(call);
    call->kind = RESULT_COMPLEX;
    call->result.c[0] = real;
    call->result.c[1] = imag;
}

/* The copy is made before the old result goes: `value` may point into it. */
void
call_return_string(struct call *call, const char *value)
{
    char *copy = value == NULL ? NULL : strdup(value);
    drop_result(call);
    if (copy != NULL) {
        call->kind = RESULT_STRING;
        call->result.s = copy;
    }
    else if (value != NULL) {
        call->out_of_memory = true;
    }
}

void
call_return_object(struct call *call, PyObject *value)
{
    drop_result(call);
    call->kind = RESULT_OBJECT;
    call->result.o = value;
}

void
call_return_borrowed(struct call *call, PyObject *value)
{
    Py_XINCREF(value);
    call_return_object(call, value);
}

void
call_raise(struct call *call, PyObject *type, const char *format, ...)
{
    if (call->raised != NULL) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&call->raise_message, format, arguments) < 0) {
        call->raise_message = NULL;
        call->out_of_memory = true;
    }
    va_end(arguments);
    call->raised = type == NULL ? PyExc_SystemError : type;
}

/* ---- From there to Python ---- */

static void
set_raised(struct call *call)
{
    if (!PyExceptionClass_Check(call->raised)) {
        PyErr_Format(PyExc_TypeError, "tw_raise: expected an exception class, got %R",
                     call->raised);
        return;
    }
    const char *text = call->raise_message == NULL ? "" : call->raise_message;
    PyObject *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (message != NULL) {
        PyErr_SetObject(call->raised, message);
        Py_DECREF(message);
    }
}

static PyObject *
result_object(struct call *call, const char *function)
{
    PyObject *object = call->result.o;
    call->kind = RESULT_NONE; /* its reference is the caller's now */
    if (object == NULL) {
        PyErr_Format(PyExc_SystemError,
                     "%s(): return_val is a NULL PyObject *, and no exception is set", function);
    }
    return object;
}

static PyObject *
convert_result(struct call *call, const char *function)
{
    switch (call->kind) {
    case RESULT_NONE:
        Py_RETURN_NONE;
    case RESULT_INT:
        return PyLong_FromLongLong(call->result.i);
    case RESULT_UNSIGNED:
        return PyLong_FromUnsignedLongLong(call->result.u);
    case RESULT_BOOL:
        return PyBool_FromLong(call->result.i != 0);
    case RESULT_DOUBLE:
        return PyFloat_FromDouble(call->result.d);
    case RESULT_COMPLEX:
        return PyComplex_FromDoubles(call->result.c[0], call->result.c[1]);
    case RESULT_STRING:
        return PyUnicode_DecodeUTF8(call->result.s, (Py_ssize_t)strlen(call->result.s), NULL);
    case RESULT_OBJECT:
        return result_object(call, function);
    }
    Py_UNREACHABLE();
}

static const struct call_needs NO_NEEDS = {0};

/* An exception that the code's calls of Python left goes first, then its own, then sys.stdout's. Returns
 * whether there is one. */
static bool
leave(struct call *call, const struct kernel *kernel, const struct call_needs *needs)
{
    bool failed = (needs->gil || kernel->needs_gil || kernel->handle_count > 0) && PyErr_Occurred();
    if (!failed && call->raised != NULL) {
        set_raised(call);
        failed = true;
    }
    if (!failed && call->out_of_memory) {
        PyErr_NoMemory();
        failed = true;
    }
    if ((needs->prints || kernel->prints) && stdio_leave(call) < 0) {
        failed = true;
    }
    return failed;
}

static PyObject *
finish(struct call *call, const struct kernel *kernel, const char *function)
{
    PyObject *result = leave(call, kernel, &NO_NEEDS) ? NULL : convert_result(call, function);
    drop_result(call);
    free(call->raise_message);
    return result;
}

/* ---- Entering ---- */

/* Compiled code about to be entered: a snippet with its arguments, or a function with its slots. */
struct entry {
    struct kernel *kernel;
    call_code *code;
    const void *arguments;
    struct pace *pace;
};

/* The one place where compiled code is entered; a guard against crashes stands here. */
static inline void
enter(const struct entry *entry, struct call *call)
{
    entry->code(call, entry->arguments);
}

static inline long long
coarse_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void
enter_without_gil(const struct entry *entry, struct call *call)
{
    call->gil_released = true;
    call->thread = PyEval_SaveThread();
    enter(entry, call);
    PyEval_RestoreThread(call->thread);
    call->gil_released = false;
}

/* Reading the clock twice costs as much as a small function: after the first calls, one in CALL_SAMPLE is
 * measured. */
static inline void
enter_and_measure(const struct entry *entry, struct call *call)
{
    unsigned calls = entry->pace->calls++;
    if (calls >= CALL_SAMPLE && calls % CALL_SAMPLE != 0) {
        enter(entry, call);
        return;
    }
    long long start = coarse_ns();
    enter(entry, call);
    entry->pace->slow = coarse_ns() - start >= CALL_LONG_NS;
}

static void
run(const struct entry *entry, struct call *call, size_t bytes)
{
    const struct kernel *kernel = entry->kernel;
    if (kernel->prints) {
        stdio_enter(call, kernel->needs_gil);
    }
    if (kernel->needs_gil) {
        enter(entry, call);
    }
    else if (entry->pace->slow || bytes >= CALL_LONG_BYTES) {
        enter_without_gil(entry, call);
    }
    else {
        enter_and_measure(entry, call);
    }
}

PyObject *
call_kernel(struct kernel *kernel, const struct argument *arguments, size_t bytes,
            const char *function)
{
    struct call call = {0};
    struct entry entry = {kernel, NULL, arguments, &kernel->pace};
    *(void **)&entry.code = atomic_load_explicit(&kernel->entry_point, memory_order_acquire);
    kernel->entry.references++; /* the code may drop its own kernel from the cache */
    run(&entry, &call, bytes);
    PyObject *result = finish(&call, kernel, function);
    kernel_release(kernel);
    return result;
}

int
call_function(struct kernel *kernel, call_code *code, void *slots, size_t bytes, struct pace *pace)
{
    struct entry entry = {kernel, code, slots, pace};
    if (!kernel->prints && !kernel->needs_gil && !pace->slow && bytes < CALL_LONG_BYTES) {
        enter_and_measure(&entry, NULL); /* it looks at no call */
        return kernel->handle_count > 0 && PyErr_Occurred() ? -1 : 0;
    }
    struct call call = {0};
    run(&entry, &call, bytes);
    return leave(&call, kernel, &NO_NEEDS) ? -1 : 0;
}

int
call_function_calling(struct kernel *kernel, call_code *code, void *slots,
                      const struct call_needs *needs)
{
    struct entry entry = {kernel, code, slots, NULL};
    struct call call = {0};
    bool gil = needs->gil || kernel->needs_gil;
    if (needs->prints || kernel->prints) {
        stdio_enter(&call, gil);
    }
    if (gil) {
        enter(&entry, &call);
    }
    else {
        enter_without_gil(&entry, &call);
    }
    return leave(&call, kernel, needs) ? -1 : 0;
}

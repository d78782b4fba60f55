/* threads.c: jobs for the pool of threads. Each function takes the GIL's place: it lets it go for the job. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "../../runtime/threads.h"

/* What a job leaves behind, part by part. */
struct record {
    size_t parts;
    atomic_int *calls;
    long long *squares;
    pthread_t *threads;
    int spins;
    int started; /* part 0 writes a byte to this file and reads one from the other; -1: it does not */
    int release;
};

static PyObject *
record_free(struct record *record, PyObject *result)
{
    PyMem_RawFree(record->calls);
    PyMem_RawFree(record->squares);
    PyMem_RawFree(record->threads);
    return result;
}

/* One more than needed: a part too many is seen. */
static int
record_init(struct record *record, size_t parts)
{
    record->parts = parts;
    record->calls = PyMem_RawCalloc(parts + 1, sizeof(*record->calls));
    record->squares = PyMem_RawCalloc(parts + 1, sizeof(*record->squares));
    record->threads = PyMem_RawCalloc(parts + 1, sizeof(*record->threads));
    if (record->calls == NULL || record->squares == NULL || record->threads == NULL) {
        record_free(record, NULL);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void
hold(struct record *record)
{
    char byte = 0;
    while (write(record->started, &byte, 1) < 0 || read(record->release, &byte, 1) < 0) {
        continue;
    }
}

static void
square(void *context, size_t part)
{
    struct record *record = context;
    size_t place = part < record->parts ? part : record->parts;
    if (part == 0 && record->started >= 0) {
        hold(record);
    }
    for (volatile int i = 0; i < record->spins; i++) {
    }
    atomic_fetch_add(&record->calls[place], 1);
    record->squares[place] = (long long)(part * part);
    record->threads[place] = pthread_self();
}

static PyObject *
record_lists(const struct record *record)
{
    PyObject *calls = PyList_New(0), *squares = PyList_New(0), *threads = PyList_New(0);
    for (size_t i = 0; i <= record->parts; i++) {
        PyObject *items[] = {PyLong_FromLong(atomic_load(&record->calls[i])),
                             PyLong_FromLongLong(record->squares[i]),
                             PyLong_FromUnsignedLong((unsigned long)record->threads[i])};
        PyList_Append(calls, items[0]);
        PyList_Append(squares, items[1]);
        PyList_Append(threads, items[2]);
        Py_DECREF(items[0]);
        Py_DECREF(items[1]);
        Py_DECREF(items[2]);
    }
    return Py_BuildValue("NNN", calls, squares, threads);
}

/* Runs a job; ([calls], [squares], [thread]) of each part, and of one place behind the last. */
PyObject *
threads_squares(size_t parts, int spins, int started, int release)
{
    struct record record = {.spins = spins, .started = started, .release = release};
    if (record_init(&record, parts) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS threads_run(square, &record, parts);
    Py_END_ALLOW_THREADS return record_free(&record, record_lists(&record));
}

/* A job in each part of a job. */
struct nest {
    size_t inner_parts;
    atomic_int inner_calls;
    atomic_int strangers; /* inner parts done by another thread than the outer part's */
};

struct nested {
    struct nest *nest;
    pthread_t thread;
};

static void
inner_part(void *context, size_t part)
{
    struct nested *nested = context;
    (void)part;
    atomic_fetch_add(&nested->nest->inner_calls, 1);
    if (!pthread_equal(nested->thread, pthread_self())) {
        atomic_fetch_add(&nested->nest->strangers, 1);
    }
}

static void
outer_part(void *context, size_t part)
{
    struct nested nested = {context, pthread_self()};
    (void)part;
    threads_run(inner_part, &nested, nested.nest->inner_parts);
}

/* (inner calls, inner calls on another thread) */
PyObject *
threads_nested(size_t outer_parts, size_t inner_parts)
{
    struct nest nest = {.inner_parts = inner_parts};
    Py_BEGIN_ALLOW_THREADS threads_run(outer_part, &nest, outer_parts);
    Py_END_ALLOW_THREADS return Py_BuildValue("ii", atomic_load(&nest.inner_calls),
                                              atomic_load(&nest.strangers));
}

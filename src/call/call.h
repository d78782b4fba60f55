/* call.h: code -> result. One call of a kernel, and all it can leave behind. */
#ifndef TINYWEAVE_CALL_H
#define TINYWEAVE_CALL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#include "../buffer.h"

/* ---- What generated code sees. runtime/symbols.def declares the same for libtcc. ---- */

union value {
    long l;
    int i;
    double d;
    float f;
    double complex_d[2];
    float complex_f[2];
    void *p;
};

/* One argument of a snippet. An array's dims and strides point into the array object. */
struct argument {
    union value
        value;        /* the scalar; the data of an array; the characters of a string; the object */
    const long *dims; /* Na of an array */
    const long *strides; /* Sa, in bytes */
    long size;           /* Da of an array, Na of a string */
    PyObject *object;    /* py_a, borrowed */
};

enum result_kind {
    RESULT_NONE,
    RESULT_INT,
    RESULT_UNSIGNED,
    RESULT_BOOL,
    RESULT_DOUBLE,
    RESULT_COMPLEX,
    RESULT_STRING, /* a copy of ours, malloc'ed */
    RESULT_OBJECT, /* a reference of ours; NULL when the code handed over NULL */
};

struct call {
    enum result_kind kind;
    union {
        long long i;
        unsigned long long u;
        double d;
        double c[2];
        char *s;
        PyObject *o;
    } result;
    PyObject *raised;    /* exception class given to tw_raise, borrowed; NULL: nothing raised */
    char *raise_message; /* malloc'ed */
    bool out_of_memory;
    bool direct;           /* what it prints is written at once (runtime/stdio.c) */
    bool gil_released;     /* this thread runs the code without the GIL */
    PyThreadState *thread; /* saved while it does */
    struct output *output; /* what was printed; NULL until something is (runtime/stdio.c) */
    struct call *outer;    /* the call this one happened in (same thread), for printf */
};

/* tw_return_...: set the result, replacing (and freeing) what was there. */
void call_return_int(struct call *call, long long value);
void call_return_unsigned(struct call *call, unsigned long long value);
void call_return_bool(struct call *call, int value);
void call_return_double(struct call *call, double value);
void call_return_complex(struct call *call, double real, double imag);
void call_return_string(struct call *call, const char *value); /* copied; NULL is None */
void call_return_object(struct call *call, PyObject *value);   /* takes the reference */
void call_return_borrowed(struct call *call, PyObject *value); /* makes one of its own */
/* tw_raise: formats like printf. The first error of a call stays. */
void call_raise(struct call *call, PyObject *type, const char *format, ...);

/* ---- What the package sees. ---- */

struct kernel;

/* Enters a kernel and returns the result as a Python object, or NULL with an exception: the code's own, or
 * the one sys.stdout raised. `bytes` is the size of all array arguments: a call over much memory runs
 * without the GIL where the kernel allows it. `function` names the public function in messages. The
 * caller owns references to all arguments' objects. */
PyObject *call_kernel(struct kernel *kernel, const struct argument *arguments, size_t bytes,
                      const char *function);

/* A snippet's or a function's entry: its arguments, or its slots (frontend/function.h). */
typedef void call_code(struct call *call, const void *arguments);

/* What was learned of earlier calls. */
struct pace {
    unsigned calls;
    bool slow; /* the last one measured was long: the GIL is released */
};

/* Enters a function of a kernel. `pace` is the function's own. Returns 0, or -1 with an exception: the code's own, or the one sys.stdout raised. The caller keeps the kernel and all
 * that the slots refer to. */
int call_function(struct kernel *kernel, call_code *code, void *slots, size_t bytes,
                  struct pace *pace);

/* What a call asks for beyond what its kernel does. */
struct call_needs {
    bool gil;    /* C calls Python's API */
    bool prints; /* C calls a function that links to printf */
};

/* call_function for C that may call Python from any thread: without the GIL, unless it is needed. */
int call_function_calling(struct kernel *kernel, call_code *code, void *slots,
                          const struct call_needs *needs);

#endif

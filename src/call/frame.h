/* frame.h: the caller's names. */
#ifndef TINYWEAVE_FRAME_H
#define TINYWEAVE_FRAME_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* The Python frame that called us; valid while it runs. Without one, all members are NULL. */
struct frame {
    void *interpreter_frame; /* CPython's own frame, whose fast locals are read */
    PyObject *names;         /* borrowed: the names of the fast locals, a tuple */
    PyObject *locals;        /* borrowed: the mapping of a module or class body, or NULL */
    PyObject *globals;       /* borrowed */
};

void frame_caller(struct frame *frame);

/* Looks a name up in the locals of the frame. `hint` is where it was last time, or -1; updated. Returns a
 * new reference; or NULL, with or without an exception. A local that has no value yet is a NameError. */
PyObject *frame_local(const struct frame *frame, PyObject *name, Py_ssize_t *hint);

/* Looks a name up in any mapping. Returns a new reference; or NULL, with an exception or, where there is no
 * such key, without. */
PyObject *frame_mapping_value(PyObject *mapping, PyObject *name);

/* Compares what this file reads with what Python says, once at import, since the fast locals are no public
 * interface. Returns 0; or -1 with an ImportError. */
int frame_self_test(void);

#endif

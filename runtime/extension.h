/* extension.h: what modules made by tw.extension call in place of the interpreter's own, and the module whose
 * init code runs.
 */
#ifndef TINYWEAVE_RUNTIME_EXTENSION_H
#define TINYWEAVE_RUNTIME_EXTENSION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Init code that runs on this thread, from extension_enter to extension_leave. */
struct initialization {
    PyObject *name; /* the full name, borrowed; its UTF-8 form is `text` */
    const char *text;
    PyObject *
        module; /* what PyModule_Create made for that name, and sys.modules got; NULL: nothing yet */
    struct initialization *outer;
};

void extension_enter(struct initialization *initialization);

/* Lets go of the module too. */
void extension_leave(struct initialization *initialization);

/* The address that a name has in an extension module where it is not the one that the process exports, or NULL. */
const void *extension_symbol(const char *name);

#endif

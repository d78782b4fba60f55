/* lookup.h: a caller's names: in local_dict or the caller's locals, then in global_dict or the caller's globals. */
#ifndef TINYWEAVE_LOOKUP_H
#define TINYWEAVE_LOOKUP_H

#include "frame.h"

struct lookup {
    PyObject *local_dict; /* borrowed; NULL: the caller's */
    PyObject *global_dict;
    struct frame frame;
};

/* Starts a look-up for the Python function that called us. */
void lookup_start(struct lookup *lookup, PyObject *local_dict, PyObject *global_dict);

/* The value of a name. `hint` as in frame_local. A new reference; NULL with an exception or, where there is none,
 * without. */
PyObject *lookup_name(const struct lookup *lookup, PyObject *name, Py_ssize_t *hint);

/* What to say behind "name is not defined". */
const char *lookup_hint(const struct lookup *lookup);

#endif

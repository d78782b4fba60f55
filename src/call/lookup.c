/* lookup.c: where a caller's names stand. */
#include "lookup.h"

void
lookup_start(struct lookup *lookup, PyObject *local_dict, PyObject *global_dict)
{
    lookup->local_dict = local_dict;
    lookup->global_dict = global_dict;
    frame_caller(&lookup->frame);
}

PyObject *
lookup_name(const struct lookup *lookup, PyObject *name, Py_ssize_t *hint)
{
    PyObject *value = lookup->local_dict != NULL ? frame_mapping_value(lookup->local_dict, name)
                                                 : frame_local(&lookup->frame, name, hint);
    if (value != NULL || PyErr_Occurred()) {
        return value;
    }
    PyObject *globals = lookup->global_dict != NULL ? lookup->global_dict : lookup->frame.globals;
    return globals == NULL ? NULL : frame_mapping_value(globals, name);
}

const char *
lookup_hint(const struct lookup *lookup)
{
    return lookup->local_dict != NULL
               ? " in local_dict, and no global"
               : " (a name of an enclosing function counts only where the caller uses it too)";
}

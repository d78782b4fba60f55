/* conversion.c: the conversions of values, for the tests. */
#include "../../src/call/conversion.h"

#include "../../src/call/arguments.h"
#include "../../src/state.h"

/* Each module of the core does this at its import. */
int
conversion_import(void)
{
    struct state state = {0};
    return argument_import_numpy(&state);
}

/* The type number for a list of values. */
int
conversion_common_type(const char *function, PyObject *list, const char *letters)
{
    return convert_common_type(function, PySequence_Fast_ITEMS(list), PyList_GET_SIZE(list),
                               letters);
}

/* (address, whether a buffer is held) */
PyObject *
conversion_pointer(const struct conversion *to, PyObject *value, int readonly)
{
    Py_buffer view;
    void *pointer;
    if (convert_pointer(to, value, readonly, &view, &pointer) < 0) {
        return view.obj == NULL ? NULL : Py_NewRef(Py_None);
    }
    bool held = view.obj != NULL;
    if (held) {
        PyBuffer_Release(&view);
    }
    return Py_BuildValue("KO", (unsigned long long)(size_t)pointer, held ? Py_True : Py_False);
}

/* convert_inout, then `write` with the array, then the end of its use; raising says that C raised. */
PyObject *
conversion_inout(const struct conversion *to, PyObject *value, PyObject *write, int keep,
                 int raising)
{
    PyObject *array = convert_inout(to, value);
    if (array == NULL) {
        return NULL;
    }
    Py_XDECREF(PyObject_CallOneArg(write, array));
    if (raising) {
        PyErr_SetString(PyExc_KeyError, "raised before");
    }
    return array_write_back(array, keep) < 0 || PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

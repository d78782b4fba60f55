/* ufuncs.c: looking NumPy's functions up. */
#include "ufuncs.h"

static const char *const NAMES[UFUNC_CLIP] = {
#define OPERATOR(name, sign, ufunc) [FORMULA_##name] = ufunc,
    FORMULA_OPERATORS(OPERATOR)
#undef OPERATOR
#define UFUNC(name, function) [UFUNC_##name] = function,
        UFUNCS(UFUNC)
#undef UFUNC
};

/* What NumPy keeps to itself; None where there is no such thing. */
static PyObject *
import_inner(const char *name)
{
    PyObject *module = PyImport_ImportModule("numpy._core.umath");
    PyObject *found = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    if (found == NULL) {
        PyErr_Clear();
        return Py_NewRef(Py_None);
    }
    return found;
}

static PyObject *
import_all(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *functions = numpy == NULL ? NULL : PyTuple_New(UFUNC_COUNT);
    for (int i = 0; functions != NULL && i < UFUNC_COUNT; i++) {
        PyObject *function = i == UFUNC_CLIP       ? import_inner("clip")
                             : i == UFUNC_ERRSTATE ? import_inner("_extobj_contextvar")
                                                   : PyObject_GetAttrString(numpy, NAMES[i]);
        if (function == NULL) {
            Py_CLEAR(functions);
        }
        else {
            PyTuple_SET_ITEM(functions, i, function);
        }
    }
    Py_XDECREF(numpy);
    return functions;
}

PyObject *
ufunc_get(struct state *state, int index)
{
    if (state->ufuncs == NULL) {
        state->ufuncs = import_all();
    }
    return state->ufuncs == NULL ? NULL : PyTuple_GET_ITEM(state->ufuncs, index);
}

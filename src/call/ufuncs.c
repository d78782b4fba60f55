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

/* numpy.clip is a function of Python's around this ufunc. */
static PyObject *
import_clip(void)
{
    PyObject *module = PyImport_ImportModule("numpy._core.umath");
    PyObject *clip = module == NULL ? NULL : PyObject_GetAttrString(module, "clip");
    Py_XDECREF(module);
    if (clip == NULL) {
        PyErr_Clear();
        return Py_NewRef(Py_None);
    }
    return clip;
}

static PyObject *
import_all(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *functions = numpy == NULL ? NULL : PyTuple_New(UFUNC_COUNT);
    for (int i = 0; functions != NULL && i < UFUNC_COUNT; i++) {
        PyObject *function =
            i == UFUNC_CLIP ? import_clip() : PyObject_GetAttrString(numpy, NAMES[i]);
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

/* exception.h: the exception that is set, put aside and back: PyErr_GetRaisedException before Python 3.12. */
#ifndef TINYWEAVE_EXCEPTION_H
#define TINYWEAVE_EXCEPTION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Takes the exception that is set, with its traceback; NULL: there is none. The caller owns it. */
static inline PyObject *
exception_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
#endif
}

/* Sets it again, replacing what is set. Takes the reference. */
static inline void
exception_set(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
#endif
}

#endif

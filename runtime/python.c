/* python.c: Python's macros and inline functions as functions, for code compiled without Python.h. */
#include "python.h"

/* int name(object) */
#define TEST(name)                                                                                 \
    int python_##name(void *object)                                                                \
    {                                                                                              \
        return (int)name((PyObject *)object);                                                      \
    }

TEST(PyAnySet_Check)
TEST(PyAnySet_CheckExact)
TEST(PyBool_Check)
TEST(PyByteArray_Check)
TEST(PyByteArray_CheckExact)
TEST(PyBytes_Check)
TEST(PyBytes_CheckExact)
TEST(PyCapsule_CheckExact)
TEST(PyComplex_Check)
TEST(PyComplex_CheckExact)
TEST(PyDict_Check)
TEST(PyDict_CheckExact)
TEST(PyExceptionClass_Check)
TEST(PyExceptionInstance_Check)
TEST(PyFloat_Check)
TEST(PyFloat_CheckExact)
TEST(PyFrozenSet_Check)
TEST(PyFunction_Check)
TEST(PyList_Check)
TEST(PyList_CheckExact)
TEST(PyLong_Check)
TEST(PyLong_CheckExact)
TEST(PyMemoryView_Check)
TEST(PyMethod_Check)
TEST(PyModule_Check)
TEST(PySet_Check)
TEST(PySlice_Check)
TEST(PyTuple_Check)
TEST(PyTuple_CheckExact)
TEST(PyType_Check)
TEST(PyUnicode_Check)
TEST(PyUnicode_CheckExact)
TEST(Py_IsNone)
TEST(Py_IsTrue)
TEST(Py_IsFalse)
TEST(PyUnicode_IS_ASCII)
TEST(PyUnicode_KIND)

/* Py_ssize_t name(object) */
#define COUNT(name)                                                                                \
    Py_ssize_t python_##name(void *object)                                                         \
    {                                                                                              \
        return name((PyObject *)object);                                                           \
    }

COUNT(PyList_GET_SIZE)
COUNT(PyTuple_GET_SIZE)
COUNT(PyDict_GET_SIZE)
COUNT(PySet_GET_SIZE)
COUNT(PyBytes_GET_SIZE)
COUNT(PyByteArray_GET_SIZE)
COUNT(PyUnicode_GET_LENGTH)
COUNT(PySequence_Fast_GET_SIZE)
COUNT(Py_SIZE)
COUNT(Py_REFCNT)

/* PyObject *name(object, index) */
#define ITEM(name)                                                                                 \
    PyObject *python_##name(void *object, Py_ssize_t index)                                        \
    {                                                                                              \
        return name((PyObject *)object, index);                                                    \
    }

ITEM(PyList_GET_ITEM)
ITEM(PyTuple_GET_ITEM)
ITEM(PySequence_Fast_GET_ITEM)
ITEM(PySequence_ITEM)

/* void name(object) */
#define REFERENCE(name)                                                                            \
    void python_##name(void *object)                                                               \
    {                                                                                              \
        name((PyObject *)object);                                                                  \
    }

REFERENCE(Py_INCREF)
REFERENCE(Py_DECREF)
REFERENCE(Py_XINCREF)
REFERENCE(Py_XDECREF)

char *
python_PyByteArray_AS_STRING(void *object)
{
    return PyByteArray_AS_STRING((PyObject *)object);
}

char *
python_PyBytes_AS_STRING(void *object)
{
    return PyBytes_AS_STRING((PyObject *)object);
}

double
python_PyFloat_AS_DOUBLE(void *object)
{
    return PyFloat_AS_DOUBLE((PyObject *)object);
}

void
python_PyList_SET_ITEM(void *object, Py_ssize_t index, void *value)
{
    PyList_SET_ITEM((PyObject *)object, index, (PyObject *)value);
}

int
python_PyMapping_DelItem(void *object, void *key)
{
    return PyMapping_DelItem((PyObject *)object, (PyObject *)key);
}

int
python_PyMapping_DelItemString(void *object, const char *name)
{
    return PyMapping_DelItemString((PyObject *)object, name);
}

PyObject *
python_PyObject_CallMethodNoArgs(void *object, void *name)
{
    return PyObject_CallMethodNoArgs((PyObject *)object, (PyObject *)name);
}

PyObject *
python_PyObject_CallMethodOneArg(void *object, void *name, void *argument)
{
    return PyObject_CallMethodOneArg((PyObject *)object, (PyObject *)name, (PyObject *)argument);
}

PyObject *
python_PyObject_CallOneArg(void *callable, void *argument)
{
    return PyObject_CallOneArg((PyObject *)callable, (PyObject *)argument);
}

int
python_PyObject_DelAttr(void *object, void *name)
{
    return PyObject_DelAttr((PyObject *)object, (PyObject *)name);
}

int
python_PyObject_DelAttrString(void *object, const char *name)
{
    return PyObject_DelAttrString((PyObject *)object, name);
}

int
python_PyObject_TypeCheck(void *object, PyTypeObject *type)
{
    return PyObject_TypeCheck((PyObject *)object, type);
}

PyObject **
python_PySequence_Fast_ITEMS(void *object)
{
    return PySequence_Fast_ITEMS((PyObject *)object);
}

void
python_PyTuple_SET_ITEM(void *object, Py_ssize_t index, void *value)
{
    PyTuple_SET_ITEM((PyObject *)object, index, (PyObject *)value);
}

void *
python_PyUnicode_DATA(void *object)
{
    return PyUnicode_DATA((PyObject *)object);
}

Py_UCS4
python_PyUnicode_READ_CHAR(void *object, Py_ssize_t index)
{
    return PyUnicode_READ_CHAR((PyObject *)object, index);
}

int
python_Py_IS_TYPE(void *object, PyTypeObject *type)
{
    return Py_IS_TYPE((PyObject *)object, type);
}

int
python_Py_Is(void *x, void *y)
{
    return Py_Is((PyObject *)x, (PyObject *)y);
}

PyObject *
python_Py_NewRef(void *object)
{
    return Py_NewRef((PyObject *)object);
}

PyTypeObject *
python_Py_TYPE(void *object)
{
    return Py_TYPE((PyObject *)object);
}

PyObject *
python_Py_XNewRef(void *object)
{
    return Py_XNewRef((PyObject *)object);
}

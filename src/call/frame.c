/* frame.c: the caller's names, read where the interpreter keeps them.
 *
 * The only file that looks into CPython's frames. sys._getframe().f_locals builds a dictionary of all
 * locals, PyFrame_GetVar makes a frame object and compares names one by one: both cost more the
 * more locals there are. The layout comes from the headers of the Python this is built for;
 * frame_self_test checks it at import.
 */
#define Py_BUILD_CORE
#include "frame.h"

#include <internal/pycore_code.h>
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE

#if PY_VERSION_HEX >= 0x030D0000
#define CURRENT_FRAME(thread) ((thread)->current_frame)
#define FRAME_CODE(frame) ((PyCodeObject *)(frame)->f_executable)
#else
#define CURRENT_FRAME(thread) ((thread)->cframe->current_frame)
#define FRAME_CODE(frame) ((frame)->f_code)
#endif

void
frame_caller(struct frame *frame)
{
    struct _PyInterpreterFrame *current = CURRENT_FRAME(PyThreadState_Get());
    *frame = (struct frame){0};
    if (current == NULL || !PyCode_Check(FRAME_CODE(current))) {
        return;
    }
    frame->interpreter_frame = current;
    frame->names = FRAME_CODE(current)->co_localsplusnames;
    frame->locals = FRAME_CODE(current)->co_flags & CO_OPTIMIZED ? NULL : current->f_locals;
    frame->globals = current->f_globals;
}

/* Names are interned, so that identity finds them. */
static Py_ssize_t
find_fast(PyObject *names, PyObject *name)
{
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PyTuple_GET_ITEM(names, i) == name) {
            return i;
        }
    }
    return -1;
}

static PyObject *
fast_value(const struct frame *frame, Py_ssize_t index)
{
    struct _PyInterpreterFrame *current = frame->interpreter_frame;
    PyObject *kinds = FRAME_CODE(current)->co_localspluskinds;
    PyObject *value = current->localsplus[index];
    char kind = PyBytes_AS_STRING(kinds)[index];
    if (value != NULL && (kind & (CO_FAST_CELL | CO_FAST_FREE)) != 0 && PyCell_Check(value)) {
        value = PyCell_GET(value);
    }
    return Py_XNewRef(value);
}

PyObject *
frame_mapping_value(PyObject *mapping, PyObject *name)
{
    if (PyDict_CheckExact(mapping)) {
        return Py_XNewRef(PyDict_GetItemWithError(mapping, name));
    }
    PyObject *value = PyObject_GetItem(mapping, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
    }
    return value;
}

PyObject *
frame_local(const struct frame *frame, PyObject *name, Py_ssize_t *hint)
{
    if (frame->names == NULL) {
        return NULL;
    }
    Py_ssize_t index = *hint;
    if (index < 0 || index >= PyTuple_GET_SIZE(frame->names) ||
        PyTuple_GET_ITEM(frame->names, index) != name) {
        index = *hint = find_fast(frame->names, name);
    }
    if (index >= 0) {
        PyObject *value = fast_value(frame, index);
        if (value != NULL || frame->locals == NULL) {
            if (value == NULL) {
                PyErr_Format(PyExc_NameError,
                             "name '%U' is a local variable of the caller that has no value yet",
                             name);
            }
            return value;
        }
    }
    return frame->locals == NULL ? NULL : frame_mapping_value(frame->locals, name);
}

/* ---- Self-test ---- */

static PyObject *
read_probe(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    struct frame frame;
    Py_ssize_t hint = -1;
    frame_caller(&frame);
    PyObject *first = NULL, *second = NULL, *result = NULL;
    PyObject *first_name = PyUnicode_InternFromString("tinyweave_local");
    PyObject *second_name = PyUnicode_InternFromString("tinyweave_cell");
    if (first_name != NULL && second_name != NULL) {
        first = frame_local(&frame, first_name, &hint);
        second = first == NULL ? NULL : frame_local(&frame, second_name, &hint);
    }
    if (second != NULL) {
        result = PyTuple_Pack(2, first, second);
    }
    else if (!PyErr_Occurred()) {
        result = Py_NewRef(Py_None);
    }
    Py_XDECREF(first_name);
    Py_XDECREF(second_name);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return result;
}

static PyMethodDef PROBE = {"probe", read_probe, METH_NOARGS, NULL};

/* A function with a plain local and a cell: what it says of them, and what frame_local does. */
static const char SELF_TEST[] =
    "def test(probe):\n"
    "    before, tinyweave_local, tinyweave_cell = 1, object(), object()\n"
    "    keep = lambda: tinyweave_cell\n"
    "    return probe() == (tinyweave_local, tinyweave_cell)\n"
    "passed = test(probe)\n";

static int
run_self_test(PyObject *names, PyObject *probe)
{
    if (PyDict_SetItemString(names, "probe", probe) < 0) {
        return -1;
    }
    PyObject *builtins = PyEval_GetBuiltins();
    if (builtins == NULL || PyDict_SetItemString(names, "__builtins__", builtins) < 0) {
        return -1;
    }
    PyObject *done = PyRun_String(SELF_TEST, Py_file_input, names, names);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    return PyDict_GetItemString(names, "passed") == Py_True ? 0 : -1;
}

int
frame_self_test(void)
{
    PyObject *names = PyDict_New();
    PyObject *probe = names == NULL ? NULL : PyCFunction_New(&PROBE, NULL);
    int result = probe == NULL ? -1 : run_self_test(names, probe);
    Py_XDECREF(names);
    Py_XDECREF(probe);
    if (result < 0) {
        PyErr_Clear();
        PyErr_SetString(PyExc_ImportError,
                        "tinyweave does not know the frames of this build of Python " PY_VERSION);
    }
    return result;
}

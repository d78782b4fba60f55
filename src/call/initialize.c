/* initialize.c: an extension module's init function -> the module, as CPython's import would have it.
 *
 * What importdl.c and importlib do, step by step, with their messages; but nothing is noted under a file's name,
 * so that the same name may be loaded again and again.
 */
#include "initialize.h"

#include "../../runtime/extension.h"

/* ---- The function's name ---- */

/* "pkg._speedups" -> "_speedups" */
static PyObject *
last_part(PyObject *name)
{
    Py_ssize_t length = PyUnicode_GetLength(name);
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, length, -1);
    return dot < -1 ? NULL : PyUnicode_Substring(name, dot + 1, length);
}

static PyObject *
punycode(PyObject *part)
{
    PyObject *encoded = PyUnicode_AsEncodedString(part, "punycode", NULL);
    PyObject *result =
        encoded == NULL ? NULL : PyObject_CallMethod(encoded, "replace", "yy", "-", "_");
    Py_XDECREF(encoded);
    return result;
}

PyObject *
initialize_function_name(PyObject *name, bool old)
{
    PyObject *part = last_part(name);
    if (part == NULL) {
        return NULL;
    }
    bool ascii = PyUnicode_IS_ASCII(part);
    const char *prefix = !ascii ? "PyInitU_" : old ? "init" : "PyInit_";
    PyObject *encoded = ascii ? PyUnicode_AsASCIIString(part) : punycode(part);
    PyObject *result = encoded == NULL ? NULL : PyBytes_FromString(prefix);
    if (result != NULL) {
        PyBytes_Concat(&result, encoded);
    }
    Py_XDECREF(encoded);
    Py_DECREF(part);
    return result;
}

/* ---- What importlib sets ---- */

static PyObject *
make_spec(const struct module_start *start, PyObject *path)
{
    PyObject *machinery = PyImport_ImportModule("importlib.machinery");
    PyObject *origin = path != Py_None ? Py_NewRef(path) : PyUnicode_FromString("tinyweave");
    PyObject *type = machinery == NULL ? NULL : PyObject_GetAttrString(machinery, "ModuleSpec");
    PyObject *arguments =
        type == NULL || origin == NULL ? NULL : PyTuple_Pack(2, start->name, Py_None);
    PyObject *keywords = arguments == NULL ? NULL : Py_BuildValue("{sO}", "origin", origin);
    PyObject *spec = keywords == NULL ? NULL : PyObject_Call(type, arguments, keywords);
    if (spec != NULL && path != Py_None &&
        PyObject_SetAttrString(spec, "has_location", Py_True) < 0) {
        Py_CLEAR(spec);
    }
    Py_XDECREF(machinery);
    Py_XDECREF(origin);
    Py_XDECREF(type);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    return spec;
}

/* An object that is no module may refuse attributes. Takes the reference to the value. */
static int
set_attribute(PyObject *module, const char *name, PyObject *value)
{
    if (value == NULL) {
        return -1;
    }
    int result = PyObject_SetAttrString(module, name, value);
    Py_DECREF(value);
    if (result < 0 && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 0;
    }
    return result;
}

static int
set_attributes(PyObject *module, PyObject *spec, PyObject *name, PyObject *path)
{
    if (set_attribute(module, "__name__", Py_NewRef(name)) < 0 ||
        set_attribute(module, "__loader__", PyObject_GetAttrString(spec, "loader")) < 0 ||
        set_attribute(module, "__package__", PyObject_GetAttrString(spec, "parent")) < 0 ||
        set_attribute(module, "__spec__", Py_NewRef(spec)) < 0) {
        return -1;
    }
    return path == Py_None ? 0 : set_attribute(module, "__file__", Py_NewRef(path));
}

/* ---- Init ---- */

/* SystemError, caused by the exception that is set. */
static void
raise_unreported(const char *symbol)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    PyErr_Format(PyExc_SystemError, "initialization of %s raised unreported exception", symbol);
    PyObject *cause = value;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyException_SetContext(value, Py_NewRef(cause));
    PyException_SetCause(value, cause);
    PyErr_Restore(type, value, traceback);
}

/* Runs PyInit_NAME. Returns a module or a definition, a new reference as that of importdl.c. */
static PyObject *
run_init(const struct module_start *start)
{
    PyObject *result = ((PyObject * (*)(void)) start->function)();
    if (result == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_SystemError,
                         "initialization of %s failed without raising an exception", start->symbol);
        }
        return NULL;
    }
    if (PyErr_Occurred()) {
        raise_unreported(start->symbol);
        return NULL;
    }
    if (Py_TYPE(result) == NULL) { /* a PyModuleDef without PyModuleDef_Init */
        PyErr_Format(PyExc_SystemError, "init function of %s returned uninitialized object",
                     start->symbol);
        return NULL;
    }
    return result;
}

/* Runs initNAME, which tells by an exception alone how it went. */
static PyObject *
run_old_init(const struct module_start *start, const struct initialization *running)
{
    ((void (*)(void))start->function)();
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (running->module == NULL) {
        PyErr_Format(PyExc_SystemError,
                     "%s made no module '%U': it calls no Py_InitModule of that name",
                     start->symbol, start->name);
        return NULL;
    }
    return Py_NewRef(running->module);
}

static PyObject *
modules(void)
{
    return PyImport_GetModuleDict();
}

static int
add_to_modules(const struct module_start *start, PyObject *module)
{
    return PyObject_SetItem(modules(), start->name, module);
}

/* A module may have put something else in its place. Takes the reference. */
static PyObject *
replaced(const struct module_start *start, PyObject *module)
{
    PyObject *found = PyObject_GetItem(modules(), start->name);
    if (found == NULL) {
        PyErr_Clear();
        return module;
    }
    Py_DECREF(module);
    return found;
}

/* Single-phase init: the module is complete. Takes the reference. */
static PyObject *
finish_single(const struct module_start *start, PyObject *spec, PyObject *path, PyObject *module)
{
    PyModuleDef *def = PyModule_Check(module) ? PyModule_GetDef(module) : NULL;
    if (def == NULL && !start->old) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_SystemError,
                         "initialization of %s did not return an extension module", start->symbol);
        }
        Py_DECREF(module);
        return NULL;
    }
    bool register_state = start->finds_state && def != NULL && PyState_FindModule(def) == NULL;
    if ((register_state && PyState_AddModule(module, def) < 0) ||
        set_attributes(module, spec, start->name, path) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return replaced(start, module);
}

/* Multi-phase init: creation, then execution. */
static PyObject *
finish_multi(const struct module_start *start, PyObject *spec, PyObject *path, PyModuleDef *def)
{
    PyObject *module = PyModule_FromDefAndSpec(def, spec);
    if (module == NULL) {
        return NULL;
    }
    int result = set_attributes(module, spec, start->name, path);
    if (result == 0) {
        result = add_to_modules(start, module);
    }
    if (result == 0 && PyModule_Check(module) && PyModule_GetDef(module) != NULL &&
        PyModule_GetState(module) == NULL) {
        result = PyModule_ExecDef(module, PyModule_GetDef(module));
    }
    if (result < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return replaced(start, module);
}

static PyObject *
initialize(const struct module_start *start, PyObject *spec, PyObject *path,
           struct initialization *running)
{
    PyObject *result = start->old ? run_old_init(start, running) : run_init(start);
    if (result == NULL) {
        return NULL;
    }
    if (PyObject_TypeCheck(result, &PyModuleDef_Type)) { /* borrowed, as PEP 489 has it */
        return finish_multi(start, spec, path, (PyModuleDef *)result);
    }
    return finish_single(start, spec, path, result);
}

/* ---- sys.modules ---- */

/* Puts back what was there, or nothing; keeps the exception that is set. */
static int
restore_modules(PyObject *name, PyObject *before)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int result = before != NULL ? PyObject_SetItem(modules(), name, before)
                                : PyObject_DelItem(modules(), name);
    if (result < 0 && before == NULL && PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
        result = 0;
    }
    if (type != NULL) {
        PyErr_Restore(type, value, traceback);
    }
    return result;
}

/* "/home/me/speedups.c", or None. */
static PyObject *
absolute_path(PyObject *path)
{
    if (path == Py_None) {
        return Py_NewRef(path);
    }
    PyObject *text = PyUnicode_DecodeFSDefault(PyBytes_AS_STRING(path));
    PyObject *module = text == NULL ? NULL : PyImport_ImportModule("os.path");
    PyObject *absolute = module == NULL ? NULL : PyObject_CallMethod(module, "abspath", "O", text);
    Py_XDECREF(text);
    Py_XDECREF(module);
    return absolute;
}

PyObject *
initialize_module(const struct module_start *start)
{
    struct initialization running = {.name = start->name, .text = PyUnicode_AsUTF8(start->name)};
    PyObject *path = absolute_path(start->path);
    PyObject *spec = path == NULL || running.text == NULL ? NULL : make_spec(start, path);
    if (spec == NULL) {
        Py_XDECREF(path);
        return NULL;
    }
    PyObject *before = PyObject_GetItem(modules(), start->name);
    if (before == NULL) {
        PyErr_Clear();
    }
    extension_enter(&running);
    PyObject *module = initialize(start, spec, path, &running);
    extension_leave(&running);
    if (restore_modules(start->name, before) < 0) {
        Py_CLEAR(module);
    }
    Py_XDECREF(before);
    Py_DECREF(spec);
    Py_DECREF(path);
    return module;
}

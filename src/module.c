/* module.c: what Python may call: the method table, types and module state, nothing else. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "../runtime/blocks.h"
#include "backend/library.h"
#include "call/arguments.h"
#include "call/compile.h"
#include "call/evaluate.h"
#include "call/expression.h"
#include "call/ext_tools.h"
#include "call/extension.h"
#include "call/frame.h"
#include "call/inline.h"
#include "call/toolchain.h"
#include "../runtime/threads.h"
#include "frontend/formula.h"
#include "call/interpret.h"
#include "call/interpret.h"
#include "call/ufunc.h"
#include "frontend/formula.h"
#include "state.h"

/* The last kernels of inline that are kept alive though nobody calls them. */
#define KEPT_KERNELS 1024

/* ---- State ---- */

PyObject *
state_raise(const struct problem *problem, PyObject *system_error)
{
    switch (problem->kind) {
    case PROBLEM_MEMORY:
        return PyErr_NoMemory();
    case PROBLEM_SYSTEM:
        PyErr_SetString(system_error, problem->text);
        return NULL;
    default:
        PyErr_SetString(PyExc_RuntimeError, problem->text);
        return NULL;
    }
}

/* Appends what function() of a module returns, a path. */
static int
append_path(struct strings *folders, const char *module_name, const char *function,
            const char *argument)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *path = module == NULL     ? NULL
                     : argument == NULL ? PyObject_CallMethod(module, function, NULL)
                                        : PyObject_CallMethod(module, function, "s", argument);
    Py_XDECREF(module);
    PyObject *bytes = path == NULL ? NULL : PyUnicode_EncodeFSDefault(path);
    const char *text = bytes == NULL ? NULL : PyBytes_AS_STRING(bytes);
    int result = text == NULL ? -1 : strings_append(folders, text, strlen(text));
    Py_XDECREF(path);
    Py_XDECREF(bytes);
    return result;
}

static int
append_shims(const struct state *state, struct strings *folders)
{
    struct buffer path = BUFFER_INIT;
    buffer_printf(&path, "%s/include", state->package_folder);
    int result = path.failed ? -1 : strings_append(folders, path.data, path.size);
    buffer_free(&path);
    return result;
}

int
state_system_folders(struct state *state, bool python, struct strings *folders)
{
    if (append_shims(state, folders) < 0) {
        return -1;
    }
    if (python && (append_path(folders, "sysconfig", "get_path", "include") < 0 ||
                   append_path(folders, "numpy", "get_include", NULL) < 0)) {
        return -1;
    }
    return library_header_folders(folders);
}

static struct state *
get_state(PyObject *module)
{
    return PyModule_GetState(module);
}

/* ---- tw.cache ---- */

static PyStructSequence_Field INFO_FIELDS[] = {
    {"compiles", "how often libtcc compiled a unit in this process"},
    {"memory_hits", "calls served by a kernel in memory"},
    {"disk_hits", "kernels loaded from the cache on disk"},
    {"disk_writes", "entries written to disk"},
    {"evictions", "entries removed from disk to keep below the cap"},
    {"errors", "entries that were damaged or could not be written; each cost a recompile only"},
    {"entries", "entries on disk now"},
    {"bytes", "their size"},
    {"path", "the cache's folder; '' when there is none"},
    {NULL, NULL},
};

static PyStructSequence_Desc INFO_DESCRIPTION = {
    "tinyweave._core.CacheInfo",
    "What tw.cache.info() returns: counts of this process, and the folder's size.", INFO_FIELDS, 9};

struct cache_object {
    PyObject_HEAD PyObject *module;
};

static PyObject *
cache_info(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct state *state = get_state(((struct cache_object *)self)->module);
    struct disk_statistics *counters = disk_counters(state->disk);
    size_t entries = 0, bytes = 0;
    Py_BEGIN_ALLOW_THREADS disk_measure(state->disk, &entries, &bytes);
    Py_END_ALLOW_THREADS const size_t numbers[] = {state->compiles,
                                                   state->memory_hits,
                                                   counters->hits,
                                                   counters->writes,
                                                   counters->evictions,
                                                   counters->errors + state->load_errors,
                                                   entries,
                                                   bytes};
    PyObject *info = PyStructSequence_New(state->info_type);
    for (Py_ssize_t i = 0; info != NULL && i < 9; i++) {
        PyObject *value = i < 8 ? PyLong_FromSize_t(numbers[i])
                                : PyUnicode_DecodeFSDefault(disk_path(state->disk));
        if (value == NULL) {
            Py_CLEAR(info);
        }
        else {
            PyStructSequence_SetItem(info, i, value);
        }
    }
    return info;
}

static PyObject *
cache_clear(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *module = ((struct cache_object *)self)->module;
    struct state *state = get_state(module);
    inline_clear(module);
    compile_clear(module);
    evaluate_clear(module);
    size_t removed;
    Py_BEGIN_ALLOW_THREADS removed = disk_clear(state->disk);
    Py_END_ALLOW_THREADS return PyLong_FromSize_t(removed);
}

static PyObject *
cache_get_path(PyObject *self, void *Py_UNUSED(closure))
{
    struct state *state = get_state(((struct cache_object *)self)->module);
    return PyUnicode_DecodeFSDefault(disk_path(state->disk));
}

static int
cache_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct cache_object *)self)->module);
    return 0;
}

static void
cache_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((struct cache_object *)self)->module);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef CACHE_METHODS[] = {
    {"info", cache_info, METH_NOARGS,
     "info($self, /)\n--\n\nCounts of this process, and the number and size of the entries on "
     "disk.\n\n"
     "Returns a named tuple with compiles, memory_hits, disk_hits, disk_writes, evictions, "
     "errors,\n"
     "entries, bytes and path."},
    {"clear", cache_clear, METH_NOARGS,
     "clear($self, /)\n--\n\nForget every kernel in memory and remove every entry on disk.\n\n"
     "Returns the number of entries removed. Nothing but entries is removed."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef CACHE_GETSET[] = {
    {"path", cache_get_path, NULL, "The cache's folder, a str; '' when there is none.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot CACHE_SLOTS[] = {
    {Py_tp_doc, "The cache of compiled kernels, in memory and on disk."},
    {Py_tp_methods, CACHE_METHODS},
    {Py_tp_getset, CACHE_GETSET},
    {Py_tp_traverse, cache_traverse},
    {Py_tp_dealloc, cache_dealloc},
    {0, NULL},
};

static PyType_Spec CACHE_SPEC = {
    .name = "tinyweave.Cache",
    .basicsize = sizeof(struct cache_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = CACHE_SLOTS,
};

static int
add_cache(PyObject *module, struct state *state)
{
    state->info_type = PyStructSequence_NewType(&INFO_DESCRIPTION);
    state->cache_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &CACHE_SPEC, NULL);
    if (state->info_type == NULL || state->cache_type == NULL ||
        PyModule_AddObjectRef(module, "CacheInfo", (PyObject *)state->info_type) < 0) {
        return -1;
    }
    struct cache_object *cache = PyObject_GC_New(struct cache_object, state->cache_type);
    if (cache == NULL) {
        return -1;
    }
    cache->module = Py_NewRef(module);
    PyObject_GC_Track(cache);
    int result = PyModule_AddObjectRef(module, "cache", (PyObject *)cache);
    Py_DECREF(cache);
    return result;
}

/* ---- Threads ---- */

#define THREADS_VARIABLE "TINYWEAVE_NUM_THREADS"

static PyObject *
core_get_num_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(threads_count());
}

/* A bool is refused: set_num_threads(False) would be a slip. */
static PyObject *
core_set_num_threads(PyObject *Py_UNUSED(module), PyObject *value)
{
    if (!PyIndex_Check(value) || PyBool_Check(value)) {
        PyErr_Format(PyExc_TypeError, "set_num_threads(): 'n' must be int, not %.100s",
                     Py_TYPE(value)->tp_name);
        return NULL;
    }
    Py_ssize_t count = PyNumber_AsSsize_t(value, NULL);
    if (count == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (count < 1 || count > THREADS_MOST) {
        PyErr_Format(PyExc_ValueError, "set_num_threads(): 'n' must be from 1 to %d, not %S",
                     THREADS_MOST, value);
        return NULL;
    }
    return PyLong_FromLong(threads_set((int)count));
}

static int
configure_threads(void)
{
    const char *text = getenv(THREADS_VARIABLE);
    if (threads_configure(text) == 0) {
        return 0;
    }
    return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                            THREADS_VARIABLE " is \"%.100s\": expected a number from 1 to %d", text,
                            THREADS_MOST);
}

/* ---- Opening: the Python package says where things lie ---- */

static PyObject *
core_open(PyObject *module, PyObject *arguments)
{
    struct state *state = get_state(module);
    PyObject *libtcc_folder, *package_folder;
    struct problem problem = {PROBLEM_NONE, ""};
    if (!PyArg_ParseTuple(arguments, "O&O&:open", PyUnicode_FSConverter, &libtcc_folder,
                          PyUnicode_FSConverter, &package_folder)) {
        return NULL;
    }
    if (state->tcc == NULL) {
        state->tcc = tcc_open(PyBytes_AS_STRING(libtcc_folder), &problem);
        free(state->package_folder);
        state->package_folder = strdup(PyBytes_AS_STRING(package_folder));
    }
    Py_DECREF(libtcc_folder);
    Py_DECREF(package_folder);
    if (state->tcc == NULL) {
        return state_raise(&problem, PyExc_ImportError);
    }
    Py_RETURN_NONE;
}

static PyObject *
core_before_fork(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    code_before_fork(get_state(module)->heap);
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"inline", (PyCFunction)(void (*)(void))inline_call, METH_FASTCALL | METH_KEYWORDS, inline_doc},
    {"compile", (PyCFunction)(void (*)(void))compile_call, METH_FASTCALL | METH_KEYWORDS,
     compile_doc},
    {"extension", (PyCFunction)(void (*)(void))extension_call, METH_FASTCALL | METH_KEYWORDS,
     extension_doc},
    {"ufunc", (PyCFunction)(void (*)(void))ufunc_call, METH_FASTCALL | METH_KEYWORDS, ufunc_doc},
    {"gufunc", (PyCFunction)(void (*)(void))gufunc_call, METH_FASTCALL | METH_KEYWORDS, gufunc_doc},
    {"blitz", (PyCFunction)(void (*)(void))blitz_call, METH_FASTCALL | METH_KEYWORDS, blitz_doc},
    {"evaluate", (PyCFunction)(void (*)(void))evaluate_call, METH_FASTCALL | METH_KEYWORDS,
     evaluate_doc},
    {"expression", (PyCFunction)(void (*)(void))expression_call, METH_FASTCALL | METH_KEYWORDS,
     expression_doc},
    {"explain", (PyCFunction)(void (*)(void))explain_call, METH_FASTCALL | METH_KEYWORDS,
     explain_doc},
    {"_library", compile_restore, METH_VARARGS, "what a pickled Library calls"},
    {"_expression", expression_restore, METH_VARARGS, "what a pickled Expression calls"},
    {"_ext_argument", ext_tools_argument, METH_VARARGS,
     "the C type of a value, as ext_tools has it"},
    {"_ext_function", ext_tools_function, METH_VARARGS, "a snippet as a C function, for ext_tools"},
    {"_ext_macros", ext_tools_macros, METH_NOARGS, "the macros that snippets see, as C text"},
    {"_native_compiler", toolchain_find, METH_VARARGS, toolchain_find_doc},
    {"_native_build", (PyCFunction)(void (*)(void))toolchain_build, METH_VARARGS | METH_KEYWORDS,
     toolchain_build_doc},
    {"get_num_threads", core_get_num_threads, METH_NOARGS,
     "get_num_threads($module, /)\n--\n\n"
     "How many threads an array expression may run on, the caller's own included.\n\n"
     "Initially what the environment variable " THREADS_VARIABLE
     " says, else the number of processors\n"
     "this process may use."},
    {"set_num_threads", core_set_num_threads, METH_O,
     "set_num_threads($module, n, /)\n--\n\n"
     "Set how many threads an array expression may run on; return the number before.\n\n"
     "Parameters\n"
     "----------\n"
     "n : int\n"
     "    From 1, the caller's own thread alone, to 256. It holds for the whole process; an "
     "expression\n"
     "    that runs already goes on as it began.\n\n"
     "Raises\n"
     "------\n"
     "TypeError, ValueError\n"
     "    When n is no int, or out of range.\n\n"
     "Examples\n"
     "--------\n"
     ">>> before = tw.set_num_threads(2)\n"
     ">>> tw.get_num_threads()\n"
     "2\n"
     ">>> tw.set_num_threads(before)\n"
     "2"},
    {"open", core_open, METH_VARARGS, "open(libtcc_folder, package_folder): once, at import"},
    {"before_fork", core_before_fork, METH_NOARGS,
     "for os.register_at_fork: what a child may run stays as it is"},
    {NULL, NULL, 0, NULL},
};

/* ---- The module's life ---- */

static int
intern_names(struct state *state)
{
#define INTERN(name)                                                                               \
    state->name_##name = PyUnicode_InternFromString(#name);                                        \
    if (state->name_##name == NULL) {                                                              \
        return -1;                                                                                 \
    }
    STATE_NAMES(INTERN)
#undef INTERN
    return 0;
}

static int
read_numpy_version(struct state *state)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *version = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "__version__");
    const char *text = version == NULL ? NULL : PyUnicode_AsUTF8(version);
    state->numpy_version = text == NULL ? NULL : strdup(text);
    Py_XDECREF(numpy);
    Py_XDECREF(version);
    return state->numpy_version == NULL ? -1 : 0;
}

static int
add_compile_error(PyObject *module, struct state *state)
{
    state->compile_error =
        PyErr_NewExceptionWithDoc("tinyweave.CompileError",
                                  "C text that cannot be compiled. A SyntaxError: filename, "
                                  "lineno, offset and text say where.",
                                  PyExc_SyntaxError, NULL);
    return state->compile_error == NULL
               ? -1
               : PyModule_AddObjectRef(module, "CompileError", state->compile_error);
}

static int
exec_module(PyObject *module)
{
    struct state *state = get_state(module);
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "tinyweave does not run in a subinterpreter");
        return -1;
    }
#ifdef Py_GIL_DISABLED
    PyErr_SetString(PyExc_ImportError, "tinyweave does not run on a free-threaded build of Python");
    return -1;
#endif
    if (argument_import_numpy(state) < 0 || read_numpy_version(state) < 0 ||
        intern_names(state) < 0 || frame_self_test() < 0 || configure_threads() < 0 ||
        add_compile_error(module, state) < 0) {
        return -1;
    }
    blocks_init();
    state->heap = code_heap_new();
    state->disk = disk_open();
    if (state->heap == NULL || state->disk == NULL ||
        memory_init(&state->kernels, KEPT_KERNELS) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    state->sites = PyDict_New();
    state->empty_tuple = PyTuple_New(0);
    if (state->sites == NULL || state->empty_tuple == NULL || add_cache(module, state) < 0 ||
        compile_init(module) < 0 || expression_init(module) < 0) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "__version__", TINYWEAVE_VERSION);
}

/* Not the sites: they hold no object that could lead back, and kernels look there when they go, at the very end. */
static int
traverse_module(PyObject *module, visitproc visit, void *arg)
{
    struct state *state = get_state(module);
    Py_VISIT(state->compile_error);
    Py_VISIT(state->cache_type);
    Py_VISIT(state->info_type);
    Py_VISIT(state->library_type);
    Py_VISIT(state->function_type);
    Py_VISIT(state->libraries);
    Py_VISIT(state->expression_type);
    for (int kind = 0; kind < EXPRESSION_KINDS; kind++) {
        Py_VISIT(state->expressions[kind]);
    }
    Py_VISIT(state->living_libraries);
    return 0;
}

static int
clear_module(PyObject *module)
{
    struct state *state = get_state(module);
    Py_CLEAR(state->compile_error);
    Py_CLEAR(state->cache_type);
    Py_CLEAR(state->info_type);
    for (int kind = 0; kind < EXPRESSION_KINDS; kind++) {
        Py_CLEAR(state->expressions[kind]);
    }
    Py_CLEAR(state->expression_type);
    Py_CLEAR(state->libraries); /* each refers to the module */
    Py_CLEAR(state->living_libraries);
    Py_CLEAR(state->library_type);
    Py_CLEAR(state->function_type);
    return 0;
}

/* A thread that still runs code when the interpreter ends keeps its kernel, and so the heap. */
static void
free_heap(struct code_heap *heap)
{
    struct code_statistics statistics = {0};
    if (heap != NULL) {
        code_count(heap, &statistics);
    }
    if (heap != NULL && statistics.blocks == 0) {
        code_heap_free(heap);
    }
}

static void
free_module(void *pointer)
{
    PyObject *module = pointer;
    struct state *state = get_state(module);
    if (state->kernels.buckets != NULL) {
        memory_free(&state->kernels); /* which empties the sites */
    }
    clear_module(module);
    Py_CLEAR(state->sites);
    Py_CLEAR(state->empty_tuple);
    Py_CLEAR(state->thunks);
    formula_classes_free(state);
    Py_CLEAR(state->ufuncs);
    Py_CLEAR(state->errstate);
    /* modules, and C's threads, call them to the very end */
    if (state->helpers != NULL && state->extensions == 0 && !state->code_stays) {
        image_free(state->helpers);
    }
    free_heap(state->heap);
    if (state->disk != NULL) {
        disk_close(state->disk);
    }
    if (state->tcc != NULL) {
        tcc_close(state->tcc);
    }
    free(state->package_folder);
    free(state->numpy_version);
#define CLEAR(name) Py_CLEAR(state->name_##name);
    STATE_NAMES(CLEAR)
#undef CLEAR
}

static PyModuleDef_Slot SLOTS[] = {
    {Py_mod_exec, exec_module},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,          .m_name = "tinyweave._core", .m_doc = "tinyweave's C core.",
    .m_size = sizeof(struct state), .m_methods = METHODS,        .m_slots = SLOTS,
    .m_traverse = traverse_module,  .m_clear = clear_module,     .m_free = free_module,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&MODULE);
}

"""tw.extension: whole extension modules from their C source."""

import gc
import importlib.machinery
import os
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from pathlib import Path

import numpy as np
import pytest

import tinyweave as tw

COUNTER = """
#include <Python.h>
static long count;
static PyObject *step(PyObject *self, PyObject *none)
{
    return PyLong_FromLong(++count);
}
static PyMethodDef methods[] = {{"step", step, METH_NOARGS, "One more."}, {NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "counter", "Counts.", -1, methods};
PyMODINIT_FUNC PyInit_counter(void)
{
    return PyModule_Create(&def);
}
"""

# Multi-phase, with a heap type, state, a member, a getset, a constant and an exception.
POINT = """
#include <Python.h>
#include <structmember.h>
#include <stddef.h>
typedef struct { PyObject_HEAD double x, y; PyObject *tag; } Point;
typedef struct { PyObject *type, *error; } State;
static int point_init(Point *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"x", "y", NULL};
    return PyArg_ParseTupleAndKeywords(args, keywords, "dd", names, &self->x, &self->y) ? 0 : -1;
}
static PyObject *point_norm(Point *self, void *closure)
{
    return PyFloat_FromDouble(self->x * self->x + self->y * self->y);
}
static int point_traverse(Point *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->tag);
    return 0;
}
static int point_clear(Point *self) { Py_CLEAR(self->tag); return 0; }
static void point_dealloc(Point *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    point_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}
static PyMemberDef members[] = {
    {"x", T_DOUBLE, offsetof(Point, x), 0, "x"}, {"tag", T_OBJECT_EX, offsetof(Point, tag), 0, ""}, {NULL}};
static PyGetSetDef getset[] = {{"norm", (getter)point_norm, NULL, "squared"}, {NULL}};
static PyType_Slot slots[] = {
    {Py_tp_init, point_init}, {Py_tp_members, members}, {Py_tp_getset, getset},
    {Py_tp_traverse, point_traverse},
    {Py_tp_clear, point_clear}, {Py_tp_dealloc, point_dealloc}, {Py_tp_doc, "A point."}, {0, NULL}};
static PyType_Spec spec = {"shapes.Point", sizeof(Point), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};
static PyObject *fail(PyObject *module, PyObject *none)
{
    PyErr_SetString(((State *)PyModule_GetState(module))->error, "as asked");
    return NULL;
}
static PyMethodDef methods[] = {{"fail", fail, METH_NOARGS, ""}, {NULL}};
static int execute(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->type = PyType_FromModuleAndSpec(module, &spec, NULL);
    state->error = PyErr_NewException("shapes.Error", PyExc_ValueError, NULL);
    return state->type == NULL || state->error == NULL ||
           PyModule_AddObjectRef(module, "Point", state->type) < 0 ||
           PyModule_AddObjectRef(module, "Error", state->error) < 0 ||
           PyModule_AddIntConstant(module, "ANSWER", 42) < 0 ? -1 : 0;
}
static int traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->type);
    Py_VISIT(state->error);
    return 0;
}
static int clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->type);
    Py_CLEAR(state->error);
    return 0;
}
static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "shapes", "Shapes.", sizeof(State), methods,
                                 module_slots, traverse, clear};
PyMODINIT_FUNC PyInit_shapes(void) { return PyModuleDef_Init(&def); }
"""

# Init code that runs the Python text RUN, and then does what BODY says.
TEMPLATE = """
#include <Python.h>
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "made", NULL, SIZE, NULL};
static int run(void)
{
    PyObject *names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    PyObject *result = PyRun_String(RUN, Py_file_input, names, names);
    Py_XDECREF(result);
    Py_DECREF(names);
    return result == NULL ? -1 : 0;
}
PyMODINIT_FUNC PyInit_made(void)
{
    BODY
}
"""


def made(body, run="pass", size=-1, name="made"):
    text = '"' + run.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    source = TEMPLATE.replace("BODY", body).replace("RUN", text).replace("SIZE", str(size))
    return tw.extension(source, name)


# ---- Loading ----


def test_single_phase():
    module = tw.extension(COUNTER, "counter")
    assert type(module) is types.ModuleType
    assert (module.step(), module.step()) == (1, 2)
    assert module.__name__ == "counter" and module.__doc__ == "Counts."
    assert module.step.__doc__ == "One more." and module.step.__module__ == "counter"


def test_qualified_names():
    module = tw.extension(COUNTER, "package.part.counter")
    assert module.__name__ == "package.part.counter"
    assert module.__package__ == "package.part"
    assert module.step.__module__ == "package.part.counter"
    assert isinstance(module.__spec__, importlib.machinery.ModuleSpec)
    assert module.__spec__.name == "package.part.counter" and module.__spec__.parent == "package.part"
    assert module.__loader__ is module.__spec__.loader
    assert not hasattr(module, "__file__")
    assert "package.part.counter" in repr(module)


def test_multi_phase():
    module = tw.extension(POINT, "pkg.shapes")
    point = module.Point(3, 4)
    assert (point.x, point.norm, module.ANSWER) == (3.0, 25.0, 42)
    assert module.Point.__doc__ == "A point." and module.__spec__.name == "pkg.shapes"
    with pytest.raises(module.Error, match="as asked") as caught:
        module.fail()
    assert isinstance(caught.value, ValueError)
    with pytest.raises(TypeError):
        module.Point(1)


def test_each_call_gives_a_fresh_module_without_a_compile():
    first = tw.extension(COUNTER, "counter")
    first.step()
    before = tw.cache.info()
    second = tw.extension(COUNTER, "counter")
    third = tw.extension(COUNTER, "other.counter")
    after = tw.cache.info()
    assert first is not second and first.step is not second.step
    assert (second.step(), third.step(), first.step()) == (1, 1, 2)
    assert after.compiles == before.compiles
    assert after.memory_hits == before.memory_hits + 2


def test_two_modules_of_one_source_have_types_of_their_own():
    first, second = tw.extension(POINT, "shapes"), tw.extension(POINT, "shapes")
    assert first.Point is not second.Point
    assert not isinstance(first.Point(1, 2), second.Point)


def test_from_disk(tmp_path):
    code = f"import tinyweave as tw; m = tw.extension({COUNTER!r}, 'counter')"
    code += "; print(m.step(), tw.cache.info().compiles)"
    environment = {**os.environ, "TINYWEAVE_CACHE_DIR": str(tmp_path)}
    printed = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert printed == ["1 1\n", "1 0\n"]


def test_static_types_with_slots():
    module = tw.extension(
        """
        #include <Python.h>
        typedef struct { PyObject_HEAD long n; } Number;
        static PyTypeObject NumberType;
        static PyObject *add(PyObject *a, PyObject *b)
        {
            if (!PyObject_TypeCheck(a, &NumberType) || !PyObject_TypeCheck(b, &NumberType)) {
                Py_RETURN_NOTIMPLEMENTED;
            }
            Number *r = PyObject_New(Number, &NumberType);
            if (r != NULL) r->n = ((Number *)a)->n + ((Number *)b)->n;
            return (PyObject *)r;
        }
        static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *keywords)
        {
            long n;
            if (!PyArg_ParseTuple(args, "l", &n)) return NULL;
            Number *r = (Number *)type->tp_alloc(type, 0);
            if (r != NULL) r->n = n;
            return (PyObject *)r;
        }
        static PyObject *repr(Number *self) { return PyUnicode_FromFormat("Number(%ld)", self->n); }
        static PyNumberMethods number = {.nb_add = add};
        static PyTypeObject NumberType = {
            PyVarObject_HEAD_INIT(NULL, 0)
            .tp_name = "numbers.Number", .tp_basicsize = sizeof(Number), .tp_new = new,
            .tp_repr = (reprfunc)repr, .tp_as_number = &number,
            .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        };
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "numbers", NULL, 0, NULL};
        PyMODINIT_FUNC PyInit_numbers(void)
        {
            if (PyType_Ready(&NumberType) < 0) return NULL;
            PyObject *module = PyModule_Create(&def);
            if (module == NULL || PyModule_AddObjectRef(module, "Number", (PyObject *)&NumberType) < 0) {
                return NULL;
            }
            return module;
        }
        """,
        "numbers",
    )
    number = module.Number

    class Derived(number):
        pass

    assert repr(number(2) + number(3)) == "Number(5)"
    assert repr(Derived(2) + number(1)) == "Number(3)"
    with pytest.raises(TypeError):
        number(1) + 1


def test_create_slot_may_return_any_object():
    module = tw.extension(
        """
        #include <Python.h>
        static PyObject *create(PyObject *spec, PyModuleDef *def)
        {
            PyObject *types = PyImport_ImportModule("types");
            PyObject *made = PyObject_CallMethod(types, "SimpleNamespace", NULL);
            PyObject *name = PyObject_GetAttrString(spec, "name");
            PyObject_SetAttrString(made, "seen", name);
            Py_DECREF(types);
            Py_DECREF(name);
            return made;
        }
        static PyModuleDef_Slot slots[] = {{Py_mod_create, create}, {0, NULL}};
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "made", NULL, 0, NULL, slots};
        PyMODINIT_FUNC PyInit_made(void) { return PyModuleDef_Init(&def); }
        """,
        "a.made",
    )
    assert type(module) is types.SimpleNamespace
    assert module.seen == module.__name__ == "a.made"


def test_non_ascii_names():
    source = COUNTER.replace("PyInit_counter", "PyInitU_zhler_gra")
    assert tw.extension(source, "a.zähler").step() == 1


def test_state_is_found():
    module = tw.extension(
        """
        #include <Python.h>
        static struct PyModuleDef def;
        static PyObject *find(PyObject *self, PyObject *none)
        {
            PyObject *found = PyState_FindModule(&def);
            return Py_NewRef(found == NULL ? Py_None : found);
        }
        static PyMethodDef methods[] = {{"find", find, METH_NOARGS, ""}, {NULL}};
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "finder", NULL, 8, methods};
        PyMODINIT_FUNC PyInit_finder(void) { return PyModule_Create(&def); }
        """,
        "finder",
    )
    assert module.find() is module


def test_prints_to_the_real_stdout(capfd):
    tw.extension(
        """
        #include <Python.h>
        #include <stdio.h>
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "prints", NULL, -1, NULL};
        PyMODINIT_FUNC PyInit_prints(void)
        {
            printf("%s %d\\n", "from C", 3);
            fflush(stdout);
            return PyModule_Create(&def);
        }
        """,
        "prints",
    )
    assert capfd.readouterr().out == "from C 3\n"


# ---- Sources ----


def test_a_file_and_the_header_beside_it(tmp_path):
    (tmp_path / "size.h").write_text("#define SIZE 7\n")
    path = tmp_path / "made.c"
    path.write_text(
        TEMPLATE.replace("BODY", "(void)run; return PyModule_Create(&def);")
        .replace("RUN", '""')
        .replace("#include <Python.h>", '#include <Python.h>\n#include "size.h"')
    )
    module = tw.extension(path, "made")
    assert (
        module.__file__ == str(path) and module.__spec__.origin == str(path) and module.__spec__.has_location
    )


def test_a_changed_header_is_seen(tmp_path):
    header = tmp_path / "value.h"
    path = tmp_path / "value.c"
    path.write_text("""
        #include "value.h"
        #include <Python.h>
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "value", NULL, -1, NULL};
        PyMODINIT_FUNC PyInit_value(void)
        {
            PyObject *module = PyModule_Create(&def);
            PyModule_AddIntConstant(module, "value", VALUE);
            return module;
        }
    """)
    for value in (1, 2):
        header.write_text(f"#define VALUE {value}\n")
        assert tw.extension(path, "value").value == value


def test_several_files(tmp_path):
    """Statics of one name in both, a shared header, and each file's own header of one name."""
    (tmp_path / "shared.h").write_text("int other(void);\n#define SHARED 100\n")
    for folder, number in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.h").write_text(f"#define OWN {number}\n")
    (tmp_path / "one" / "main.c").write_text("""
        #include "own.h"
        #include "../shared.h"
        #include <Python.h>
        static int helper(void) { return OWN + SHARED; }
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "several", NULL, -1, NULL};
        PyMODINIT_FUNC PyInit_several(void)
        {
            PyObject *module = PyModule_Create(&def);
            PyModule_AddIntConstant(module, "mine", helper());
            PyModule_AddIntConstant(module, "other", other());
            return module;
        }
    """)
    (tmp_path / "two" / "other.c").write_text("""
        #include <shared.h>
        #include "own.h"
        static int helper(void) { return 10 * OWN + SHARED; }
        int other(void) { return helper(); }
    """)
    sources = [tmp_path / "one" / "main.c", tmp_path / "two" / "other.c"]
    module = tw.extension(sources, "several", include_dirs=[tmp_path])
    assert (module.mine, module.other) == (101, 120)


MAIN = """
#define PY_ARRAY_UNIQUE_SYMBOL several_ARRAY_API
#define PY_UFUNC_UNIQUE_SYMBOL several_UFUNC_API
#include <Python.h>
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>
PyObject *twice(PyObject *self, PyObject *object);
static void loop(char **args, const npy_intp *dimensions, const npy_intp *steps, void *data)
{
    for (npy_intp i = 0; i < dimensions[0]; i++) {
        *(double *)(args[1] + i * steps[1]) = 3 * *(double *)(args[0] + i * steps[0]);
    }
}
static PyUFuncGenericFunction loops[] = {loop};
static char types[] = {NPY_DOUBLE, NPY_DOUBLE};
static PyMethodDef methods[] = {{"twice", twice, METH_O, ""}, {NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "arrays", NULL, -1, methods};
PyMODINIT_FUNC PyInit_arrays(void)
{
    import_array();
    import_umath();
    PyObject *module = PyModule_Create(&def);
    PyObject *ufunc = PyUFunc_FromFuncAndData(loops, NULL, types, 1, 1, 1, PyUFunc_None, "thrice", "", 0);
    PyModule_AddObject(module, "thrice", ufunc);
    return module;
}
"""

SECOND = """
#define PY_ARRAY_UNIQUE_SYMBOL several_ARRAY_API
#define NO_IMPORT_ARRAY
#include <Python.h>
#include <numpy/arrayobject.h>
PyObject *twice(PyObject *self, PyObject *object)
{
    PyArrayObject *a = (PyArrayObject *)PyArray_FROMANY(object, NPY_DOUBLE, 1, 1, NPY_ARRAY_IN_ARRAY);
    if (a == NULL) return NULL;
    PyArrayObject *b = (PyArrayObject *)PyArray_NewLikeArray(a, NPY_CORDER, NULL, 0);
    for (npy_intp i = 0; b != NULL && i < PyArray_DIM(a, 0); i++) {
        *(double *)PyArray_GETPTR1(b, i) = 2 * *(double *)PyArray_GETPTR1(a, i);
    }
    Py_DECREF(a);
    return (PyObject *)b;
}
"""


def test_numpy_over_several_files():
    module = tw.extension([MAIN, SECOND], "arrays")
    np.testing.assert_array_equal(module.twice([1, 2, 3]), [2.0, 4.0, 6.0])
    np.testing.assert_array_equal(module.thrice(np.arange(4.0)[::2]), [0.0, 6.0])
    assert isinstance(module.thrice, np.ufunc)
    with pytest.raises(ValueError):
        module.twice([["a"]])


def test_macros_headers_and_libraries():
    module = tw.extension(
        """
        #include <Python.h>
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "options", NULL, -1, NULL};
        PyMODINIT_FUNC PyInit_options(void)
        {
            PyObject *module = PyModule_Create(&def);
            PyModule_AddIntConstant(module, "n", N);
            PyModule_AddIntConstant(module, "root", (long)ROOT(81.0));
            return module;
        }
        """,
        "options",
        define_macros=[("N", 5), ("ROOT", "sqrt")],
        headers=["<math.h>"],
        libraries=["m"],
        extra_compile_args=["-O2", "-Wall"],
    )
    assert (module.n, module.root) == (5, 9)


def test_what_libtcc_lacks():
    """Parentheses around a string, and gcc's built-in functions."""
    module = tw.extension(
        """
        #include <Python.h>
        #include <stdatomic.h>
        static char doc[] = ("in "
                             "parentheses");
        static long a = 5;
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "lacks", doc, -1, NULL};
        PyMODINIT_FUNC PyInit_lacks(void)
        {
            PyObject *module = PyModule_Create(&def);
            PyModule_AddObject(module, "got", Py_BuildValue("llliik", __sync_fetch_and_add(&a, 2),
                __sync_val_compare_and_swap(&a, 7, 9), __atomic_exchange_n(&a, 1, 5),
                (int)__sync_bool_compare_and_swap(&a, 2, 3), (int)__builtin_bswap32(0x01000000),
                __builtin_bswap64(0x0200000000000000)));
            return module;
        }
        """,
        "lacks",
    )
    assert module.__doc__ == "in parentheses"
    assert module.got == (5, 7, 9, 0, 1, 2)


# ---- sys.modules ----


@pytest.mark.parametrize("before", [None, types.ModuleType("made"), 3])
def test_sys_modules_while_init_runs_and_after(monkeypatch, before):
    monkeypatch.delitem(sys.modules, "made", raising=False)
    if before is not None:
        monkeypatch.setitem(sys.modules, "made", before)
    run = "import sys; assert sys.modules['made'].__name__ == 'made', sys.modules['made']"
    module = made("PyObject *m = PyModule_Create(&def); if (run() < 0) Py_CLEAR(m); return m;", run)
    assert module.__name__ == "made"
    assert sys.modules.get("made") is before
    with pytest.raises(RuntimeError, match="no"):
        made(
            "PyObject *m = PyModule_Create(&def); if (run() < 0) Py_CLEAR(m); return m;",
            "raise RuntimeError('no')",
        )
    assert sys.modules.get("made") is before
    assert ("made" in sys.modules) == (before is not None)


EXECUTES = """
#include <Python.h>
static int execute(PyObject *module)
{
    PyObject *names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    PyObject *result = PyRun_String(RUN, Py_file_input, names, names);
    Py_DECREF(names);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}
static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "phases", NULL, 0, NULL, slots};
PyMODINIT_FUNC PyInit_phases(void) { return PyModuleDef_Init(&def); }
"""


def test_sys_modules_in_multi_phase_init():
    run = "import sys; assert sys.modules['p.phases'].__spec__.name == 'p.phases'"
    assert tw.extension(EXECUTES.replace("RUN", f'"{run}"'), "p.phases").__name__ == "p.phases"
    assert "p.phases" not in sys.modules
    with pytest.raises(AssertionError):
        tw.extension(EXECUTES.replace("RUN", '"assert 0"'), "p.phases")
    assert "p.phases" not in sys.modules


def test_a_module_may_replace_itself():
    run = "import sys; sys.modules['p.phases'] = 'instead'"
    assert tw.extension(EXECUTES.replace("RUN", f'"{run}"'), "p.phases") == "instead"
    assert "p.phases" not in sys.modules


def test_no_lock_is_held_while_init_runs(monkeypatch):
    """Init code that waits for a thread that compiles and loads the same and another source."""
    import builtins

    results = []

    def work():
        results.append(tw.extension(COUNTER, "counter").step())
        results.append(tw.inline("return_val = 6 * 7;"))

    def hook():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
        results.append(thread.is_alive())

    monkeypatch.setattr(builtins, "extension_hook", hook, raising=False)
    made("PyObject *m = PyModule_Create(&def); if (run() < 0) Py_CLEAR(m); return m;", "extension_hook()")
    assert results == [1, 42, False]


def test_loading_within_init(monkeypatch):
    import builtins

    inner = []
    monkeypatch.setattr(
        builtins, "extension_hook", lambda: inner.append(tw.extension(COUNTER, "in.counter")), raising=False
    )
    module = made("if (run() < 0) return NULL; return PyModule_Create(&def);", "extension_hook()")
    assert (module.__name__, inner[0].__name__, inner[0].step()) == ("made", "in.counter", 1)


# ---- What importdl.c says ----


def test_exceptions_of_init_come_as_themselves():
    with pytest.raises(ZeroDivisionError, match="made so"):
        made('PyErr_SetString(PyExc_ZeroDivisionError, "made so"); return NULL;')


def test_null_without_an_exception():
    with pytest.raises(
        SystemError, match="initialization of PyInit_made failed without raising an exception"
    ):
        made("return NULL;")


def test_a_module_with_an_exception():
    with pytest.raises(
        SystemError, match="initialization of PyInit_made raised unreported exception"
    ) as caught:
        made('PyErr_SetString(PyExc_KeyError, "hidden"); return PyModule_Create(&def);')
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_uninitialised_definition():
    with pytest.raises(SystemError, match="init function of PyInit_made returned uninitialized object"):
        made("return (PyObject *)&def;")


def test_not_a_module():
    with pytest.raises(SystemError, match="initialization of PyInit_made did not return an extension module"):
        made("return PyLong_FromLong(3);")


# ---- Errors ----


def test_compile_errors_are_on_the_users_line(tmp_path):
    with pytest.raises(tw.CompileError) as caught:
        tw.extension("#include <Python.h>\nint f(void) { return q; }\n", "m")
    assert (caught.value.lineno, caught.value.text) == (2, "int f(void) { return q; }")
    assert caught.value.filename.startswith("<extension source, ") and "'q'" in caught.value.msg
    path = tmp_path / "broken.c"
    path.write_text("#include <Python.h>\n\nint f(void) { return q; }\n")
    with pytest.raises(tw.CompileError) as caught:
        tw.extension(["int g(void) { return 1; }", path], "m")
    assert (caught.value.filename, caught.value.lineno) == (str(path), 3)
    (tmp_path / "wrong.h").write_text("int a;\nint b = ;\n")
    path.write_text('#include "wrong.h"\n')
    with pytest.raises(tw.CompileError) as caught:
        tw.extension(path, "m")
    assert (caught.value.filename, caught.value.lineno) == (str(tmp_path / "wrong.h"), 2)


@pytest.mark.parametrize(
    "source, message",
    [
        (COUNTER, "the source has no PyInit_m: it has PyInit_counter"),
        ("int add(int a) { return a; }", r"it has plain functions \(add\): tw.compile makes these callable"),
        ("static int add(int a) { return a; }", "it has no function that is not static"),
        ("", "it has no function that is not static"),
        ("void initm(void) {}", "it has initm, as modules of the Python 2 age do: give compat=True"),
        ("static void PyInit_m(void) {}", "PyInit_m is static, left out by an #if, or no function"),
        ("#if 0\nvoid PyInit_m(void) {}\n#endif", "PyInit_m is static, left out by an #if, or no function"),
        ("int PyInit_m = 3;", "PyInit_m is static, left out by an #if, or no function"),
    ],
)
def test_a_source_without_its_init_function(source, message):
    with pytest.raises(tw.CompileError, match=message):
        tw.extension(source, "m")


def test_old_sources_are_told_of_compat():
    with pytest.raises(tw.CompileError, match="Py_InitModule.*compat=True"):
        tw.extension('#include <Python.h>\nvoid initm(void) { Py_InitModule("m", NULL); }', "m")
    with pytest.raises(tw.CompileError, match=r"it has initother \("):
        tw.extension(
            '#include <Python.h>\nvoid initother(void) { Py_InitModule("m", NULL); }', "m", compat=True
        )


def test_undefined_symbols():
    with pytest.raises(tw.CompileError, match="undefined symbol 'nowhere'"):
        tw.extension("int nowhere(void);\nint PyInit_m(void) { return nowhere(); }", "m")


def test_long_double_arithmetic_is_refused_and_its_mention_is_not():
    with pytest.raises(tw.CompileError, match="long double is not supported") as caught:
        tw.extension(COUNTER + "long double f(long double x) { return 10 / (1 + x); }", "counter")
    assert caught.value.lineno == COUNTER.count("\n") + 1
    for member in ("u.d", "(&u)->d"):
        with pytest.raises(tw.CompileError, match="long double is not supported"):
            text = "static union { long double d; } u;\ndouble f(void) { return 10 / (1 + MEMBER); }"
            tw.extension(COUNTER + text.replace("MEMBER", member), "counter")
    mention = "union align { long double d; long l; };\nenum { size = sizeof(long double) };\n"
    assert tw.extension(mention + COUNTER, "counter").step() == 1


@pytest.mark.parametrize("word", ["__thread int x;", "_Thread_local int x;", "double _Complex z;"])
def test_words_that_libtcc_lacks_are_named(word):
    with pytest.raises(tw.CompileError, match="not supported"):
        tw.extension(COUNTER + word, "counter")
    assert tw.extension(f"#ifdef NOWHERE\n{word}\n#endif\n" + COUNTER, "counter").step() == 1


def test_strides_that_libtcc_gets_wrong_are_refused():
    with pytest.raises(tw.CompileError, match="strides wrongly"):
        tw.extension(COUNTER + "double f(int n, double (*a)[n]) { return a[1][0]; }", "counter")


def test_branches_may_leave_brackets_open():
    head = "#ifdef NOWHERE\nint f(int a) {\n#else\nint f(long a) {\n#endif\n  return (int)a;\n}\n"
    assert tw.extension('#ifdef __cplusplus\nextern "C" {\n#endif\n' + head + COUNTER, "counter").step() == 1


@pytest.mark.parametrize(
    "arguments, keywords, error, message",
    [
        ((COUNTER,), {}, TypeError, r"extension\(\) missing required argument: 'name'"),
        ((), {"name": "m"}, TypeError, r"extension\(\) missing required argument: 'source'"),
        ((COUNTER, "m", 1), {}, TypeError, "takes 2 positional arguments"),
        ((COUNTER, "m"), {"name": "m"}, TypeError, "multiple values for argument 'name'"),
        ((3, "m"), {}, TypeError, "'source' must be str, the C text, .* not int"),
        ((COUNTER, 3), {}, TypeError, "'name' must be str, not int"),
        ((COUNTER, ""), {}, ValueError, "'name' must be a module's name"),
        ((COUNTER, "a..b"), {}, ValueError, "'name' must be a module's name"),
        ((COUNTER, "a\0b"), {}, ValueError, "'name' must be a module's name"),
        (([], "m"), {}, ValueError, "'source' is an empty list"),
        ((COUNTER, "m"), {"support_code": ""}, TypeError, "takes no 'support_code'"),
        ((COUNTER, "m"), {"debug": True}, TypeError, "takes no 'debug'"),
        ((COUNTER, "m"), {"include_dirs": 3}, TypeError, r"extension\(\): 'include_dirs' must be"),
        ((COUNTER, "m"), {"libraries": ["nowhere"]}, OSError, "library 'nowhere' not found"),
        ((Path("nowhere.c"), "m"), {}, FileNotFoundError, "nowhere.c"),
    ],
)
def test_bad_arguments(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        tw.extension(*arguments, **keywords)


# ---- Lifetime ----


def test_code_outlives_the_module():
    module = tw.extension(POINT, "shapes")
    alive = weakref.ref(module)
    point, fail = module.Point(3, 4), module.fail
    del module
    gc.collect()
    assert point.norm == 25.0 and alive() is not None  # a function keeps its module
    with pytest.raises(ValueError):
        fail()
    del fail, point
    gc.collect()
    assert alive() is None


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_failures_before_init_leak_nothing():
    kinds = [
        "int f(void) { return q; }",
        "int f(void) { return 1; }",
        "int nowhere(void); int f(void) { return nowhere(); }",
    ]

    def fail(count):
        for i in range(count):
            with pytest.raises(tw.CompileError):
                tw.extension(kinds[i % 3], "m")

    fail(600)
    gc.collect()
    maps, blocks, before = len(Path("/proc/self/maps").read_text()), sys.getallocatedblocks(), resident()
    fail(3000)
    gc.collect()
    assert resident() - before < 3 << 20
    assert abs(sys.getallocatedblocks() - blocks) < 300
    assert len(Path("/proc/self/maps").read_text()) < maps + 1000


def test_references_of_the_arguments():
    name, macros = "pkg." + "counter", [("A", "B" * 10)]
    counts = sys.getrefcount(name), sys.getrefcount(macros), sys.getrefcount(COUNTER)
    for _ in range(10):
        tw.extension(COUNTER, name, define_macros=macros)
        with pytest.raises(tw.CompileError):
            tw.extension("int f;", name, define_macros=macros)
    gc.collect()
    after = sys.getrefcount(name), sys.getrefcount(macros), sys.getrefcount(COUNTER)
    assert max(b - a for a, b in zip(counts, after, strict=True)) <= 10  # each module has its name


def test_the_interpreter_ends():
    """Objects of the module's types in globals, in sys and in cycles go when the interpreter does."""
    code = textwrap.dedent("""
        import atexit, sys, threading
        import tinyweave as tw
        module = tw.extension(SOURCE, "shapes")
        old = tw.extension(COUNTER, "counter")
        kept = [module.Point(1, 2) for _ in range(10)]
        kept[0].tag = kept
        class Derived(module.Point):
            def __del__(self):
                assert self.norm == 25.0
                print("gone")
        sys.kept = Derived(3, 4)
        sys.modules["shapes"] = module
        atexit.register(module.Point(5, 6).__class__, 1, 2)
        cycle = [module, old.step]; cycle.append(cycle)
        print("end")
    """)
    code = code.replace("SOURCE", repr(POINT)).replace("COUNTER", repr(COUNTER))
    for _ in range(3):
        ran = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("end\n")


LATE = r"""
#include <Python.h>
#include <stdio.h>
static PyTypeObject T;
static void gone(PyObject *object) { printf("gone %s\n", Py_TYPE(object)->tp_name); PyObject_Free(object); }
static PyTypeObject T = {
    PyVarObject_HEAD_INIT(NULL, 0) .tp_name = "late.T", .tp_basicsize = sizeof(PyObject), .tp_dealloc = gone,
    .tp_new = PyType_GenericNew, .tp_flags = Py_TPFLAGS_DEFAULT,
};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "late", NULL, 0, NULL};
static unsigned long number = 7; /* converted by a function of libtcc1.a */
static void last(void) { printf("last %.1f\n", (double)number); fflush(stdout); }
PyMODINIT_FUNC PyInit_late(void)
{
    if (PyType_Ready(&T) < 0) return NULL;
    atexit(last);
    Py_AtExit(last);
    PyObject *one = PyObject_CallNoArgs((PyObject *)&T), *two = PyObject_CallNoArgs((PyObject *)&T);
    PyDict_SetItemString(PyInterpreterState_GetDict(PyInterpreterState_Get()), "late", one);
    PyDict_SetItemString(PyThreadState_GetDict(), "late", two);
    Py_DECREF(one);
    Py_DECREF(two);
    return PyModule_Create(&def);
}
"""


def test_code_is_there_to_the_very_end():
    """Objects and functions that the interpreter and libc let go of behind all modules."""
    code = f"import tinyweave as tw; tw.extension({LATE!r}, 'late')"
    ran = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "gone late.T\n" * 2 + "last 7.0\n" * 2


def test_threads_load_at_once():
    steps = []
    source = COUNTER + "/* of the threads */"

    def load():
        steps.append(tw.extension(source, "counter").step())

    before = tw.cache.info().compiles
    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps == [1] * 8
    assert tw.cache.info().compiles - before <= 1

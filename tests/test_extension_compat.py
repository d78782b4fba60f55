"""tw.extension(..., compat=True): sources of the Python 2 age."""

import gc
import sys
import warnings

import numpy as np
import pytest

import tinyweave as tw

POINT = r"""
#include "Python.h"

staticforward PyTypeObject PointType;

typedef struct {
    PyObject_HEAD
    double x;
    int n;
} Point;

static PyObject *point_new(PyObject *self, PyObject *args)
{
    double x;
    Point *p;
    if (!PyArg_ParseTuple(args, "d", &x)) return NULL;
    p = PyObject_NEW(Point, &PointType);
    if (p == NULL) return NULL;
    p->x = x;
    p->n = 0;
    return (PyObject *)p;
}
static void point_dealloc(Point *self) { PyMem_DEL(self); }
static PyObject *point_get(Point *self, PyObject *args)
{
    if (!PyArg_NoArgs(args)) return NULL;
    return Py_BuildValue("d", self->x);
}
static PyObject *point_set(Point *self, PyObject *args)
{
    if (!PyArg_Parse(args, "(di)", &self->x, &self->n)) return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}
static struct PyMethodDef point_methods[] = {
    {"get", (PyCFunction)point_get},
    {"set", (PyCFunction)point_set, METH_OLDARGS},
    {NULL, NULL}
};
static PyObject *point_getattr(Point *self, char *name)
{
    if (strcmp(name, "x") == 0) return PyFloat_FromDouble(self->x);
    if (strcmp(name, "type") == 0) return PyString_FromString(self->ob_type->tp_name);
    return Py_FindMethod(point_methods, (PyObject *)self, name);
}
static int point_print(Point *self, FILE *fp, int flags) { fprintf(fp, "point"); return 0; }
static int point_compare(Point *a, Point *b) { return a->x < b->x ? -1 : a->x > b->x; }
static PyObject *point_repr(Point *self) { return PyString_FromFormat("Point(%d)", (int)self->x); }
static PyObject *point_add(Point *a, Point *b)
{
    Point *p = PyObject_NEW(Point, &PointType);
    p->x = a->x + b->x;
    return (PyObject *)p;
}
static PyObject *point_div(Point *a, Point *b) { return PyFloat_FromDouble(a->x / b->x); }
static int point_nonzero(Point *a) { return a->x != 0; }
static int point_coerce(PyObject **pv, PyObject **pw)
{
    Point *p;
    if (!PyInt_Check(*pw)) return 1;
    p = PyObject_NEW(Point, &PointType);
    p->x = PyInt_AS_LONG(*pw);
    *pw = (PyObject *)p;
    Py_INCREF(*pv);
    return 0;
}
static PyNumberMethods point_as_number = {
    (binaryfunc)point_add, 0, 0, (binaryfunc)point_div, 0, 0, 0, 0, 0, 0,
    (inquiry)point_nonzero, 0, 0, 0, 0, 0, 0, (coercion)point_coerce,
};
static int point_length(Point *a) { return 5; }
static PyObject *point_item(Point *a, int i)
{
    if (i < 0 || i >= 5) { PyErr_SetString(PyExc_IndexError, "out"); return NULL; }
    return PyInt_FromLong(i * 10);
}
static PyObject *point_slice(Point *a, int i, int j) { return Py_BuildValue("ii", i, j); }
static int point_ass_slice(Point *a, int i, int j, PyObject *v) { a->x = 100 * i + j; return 0; }
static PySequenceMethods point_as_sequence = {
    (inquiry)point_length, 0, 0, (intargfunc)point_item, (intintargfunc)point_slice,
    0, (intintobjargproc)point_ass_slice,
};
static int point_getread(Point *self, int segment, void **data) { *data = &self->x; return sizeof(double); }
static int point_segments(Point *self, int *length) { if (length) *length = 8; return 1; }
static PyBufferProcs point_as_buffer = {
    (getreadbufferproc)point_getread, 0, (getsegcountproc)point_segments, 0,
};
statichere PyTypeObject PointType = {
    PyObject_HEAD_INIT(NULL)
    0,                     /*ob_size*/
    "Point",               /*tp_name*/
    sizeof(Point),         /*tp_basicsize*/
    0,                     /*tp_itemsize*/
    (destructor)point_dealloc,
    (printfunc)point_print,
    (getattrfunc)point_getattr,
    0,
    (cmpfunc)point_compare,
    (reprfunc)point_repr,
    &point_as_number,
    &point_as_sequence,
    0,
    0, 0, 0, 0, 0,
    &point_as_buffer,
    Py_TPFLAGS_DEFAULT,
    "A point.",
};
static PyMethodDef methods[] = {{"Point", point_new, 1}, {NULL, NULL}};

DL_EXPORT(void) initpoint(void)
{
    PyObject *m, *d;
    PointType.ob_type = &PyType_Type;
    m = Py_InitModule4("point", methods, "Points.", (PyObject *)NULL, PYTHON_API_VERSION);
    d = PyModule_GetDict(m);
    PyDict_SetItemString(d, "error", PyString_FromString("point.error"));
    if (PyErr_Occurred()) Py_FatalError("can't initialize module point");
}
"""


@pytest.fixture(scope="module")
def point():
    return tw.extension(POINT, "old.point", compat=True)


def test_module(point):
    assert (point.__name__, point.__doc__, point.error) == ("old.point", "Points.", "point.error")
    assert point.__package__ == "old" and point.Point.__module__ == "old.point"
    assert "old.point" not in sys.modules and "point" not in sys.modules


def test_attributes_and_methods(point):
    p = point.Point(3.0)
    assert (p.x, p.type, p.get(), repr(p)) == (3.0, "Point", 3.0, "Point(3)")
    assert p.set(1.5, 2) is None and p.x == 1.5
    with pytest.raises(TypeError, match="takes no arguments"):
        p.get(1)
    with pytest.raises(AttributeError, match="nothing"):
        p.nothing  # noqa: B018
    assert p.__class__ is type(p)


def test_comparison(point):
    p, q = point.Point(3), point.Point(4)
    assert p < q and p <= q and p != q and (p == q) is False and q > p and q >= p
    assert sorted([q, p]) == [p, q]
    assert p != 3
    with pytest.raises(TypeError):
        p < 3  # noqa: B015


def test_numbers(point):
    p, q = point.Point(3), point.Point(4)
    assert (p + q).x == 7 and q / p == 4 / 3
    assert (p + 2).x == 5 and (2 + p).x == 5  # by nb_coerce
    assert bool(p) and not point.Point(0)
    for other in ("a", 1.5, None, 1 << 80):
        with pytest.raises(TypeError):
            p + other


def test_sequence(point):
    p = point.Point(1)
    assert len(p) == 5 and p[1] == 10 and p[-1] == 40 and list(p) == [0, 10, 20, 30, 40]
    assert (p[1:3], p[:], p[-2:]) == ((1, 3), (0, 5), (3, 5))
    p[2:4] = None
    assert p.x == 204
    for wrong, error in ((10, IndexError), ("a", TypeError), (slice(0, 4, 2), TypeError)):
        with pytest.raises(error):
            p[wrong]


def test_buffer(point):
    assert np.frombuffer(point.Point(2.5)).tolist() == [2.5]
    with pytest.raises((TypeError, BufferError)):
        memoryview(point.Point(2.5))[0] = 1


def test_references(point):
    p = point.Point(1)
    for operation in (
        lambda: p + 2,
        lambda: p[1:2],
        lambda: p < point.Point(2),
        lambda: p.set(1.0, 2),
        lambda: p.get,
        lambda: bytes(p),
        lambda: p == 3,
        lambda: (p.x, p.type),
    ):
        operation()
        gc.collect()
        before, blocks = sys.getrefcount(p), sys.getallocatedblocks()
        for _ in range(200):
            operation()
        assert sys.getrefcount(p) == before
        assert abs(sys.getallocatedblocks() - blocks) < 20


FUNCTIONS = r"""
#include "Python.h"

static PyObject *parse(PyObject *self, PyObject *args)
{
    char *s; int n; char c = '?'; PyObject *o = NULL;
    if (!PyArg_ParseTuple(args, "s#|cS:parse", &s, &n, &c, &o)) return NULL;
    return Py_BuildValue("is#cO", n, s, n, c, o ? o : Py_None);
}
static PyObject *typed(PyObject *self, PyObject *args)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, "O!", &PyString_Type, &o)) return NULL;
    return PyInt_FromLong(PyString_GET_SIZE(o));
}
static PyObject *keywords(PyObject *self, PyObject *args, PyObject *named)
{
    static char *names[] = {"text", "size", NULL};
    char *s; int n, size = 7;
    if (!PyArg_ParseTupleAndKeywords(args, named, "s#|i", names, &s, &n, &size)) return NULL;
    return Py_BuildValue("(ii)", n, size);
}
static PyObject *one(PyObject *self, PyObject *arg)
{
    int i;
    return PyArg_GetInt(arg, &i) ? PyInt_FromLong(i + 1) : NULL;
}
static PyObject *kind(PyObject *self, PyObject *args)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, "O", &o)) return NULL;
    return PyString_FromString(PyInt_Check(o) ? "int" : PyLong_Check(o) ? "long"
                               : PyString_Check(o) ? "string" : PyUnicode_Check(o) ? "unicode" : "other");
}
static PyObject *binary(PyObject *self, PyObject *args)
{
    PyObject *a = PyString_FromStringAndSize("\xff\0b", 3), *b = PyString_FromString("caf\303\251"), *c;
    c = PyString_FromStringAndSize(NULL, 10);
    strcpy(PyString_AS_STRING(c), "abc");
    _PyString_Resize(&c, 3);
    PyString_ConcatAndDel(&c, PyString_FromString("def"));
    return Py_BuildValue("NNN", a, b, c);
}
static int freed;
static void release(void *p) { freed += (int)(long)p; }
static PyObject *pointer(PyObject *self, PyObject *args)
{
    return PyCObject_FromVoidPtr((void *)42, release);
}
static PyObject *value(PyObject *self, PyObject *args)
{
    PyObject *o;
    void *p;
    if (!PyArg_ParseTuple(args, "O", &o)) return NULL;
    p = PyCObject_AsVoidPtr(o);
    return p ? Py_BuildValue("li", (long)p, freed) : NULL;
}
static PyObject *call(PyObject *self, PyObject *args)
{
    PyObject *f, *t, *r;
    if (!PyArg_ParseTuple(args, "O", &f)) return NULL;
    t = Py_BuildValue("(ii)", 3, 4);
    r = PyEval_CallObject(f, t);
    Py_DECREF(t);
    return r;
}
static PyObject *method(PyObject *self, PyObject *args)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, "O", &o)) return NULL;
    return PyObject_CallMethod(o, "join", "((ss))", "a", "b");
}
static PyObject *arithmetic(PyObject *self, PyObject *args)
{
    PyObject *a, *b;
    if (!PyArg_ParseTuple(args, "OO", &a, &b)) return NULL;
    return Py_BuildValue("Ni", PyNumber_Divide(a, b), PyObject_Compare(a, b));
}
static PyMethodDef methods[] = {
    {"parse", parse, METH_VARARGS}, {"typed", typed, METH_VARARGS},
    {"keywords", (PyCFunction)keywords, METH_VARARGS | METH_KEYWORDS}, {"one", one},
    {"kind", kind, METH_VARARGS},
    {"binary", binary, METH_VARARGS}, {"pointer", pointer, METH_VARARGS}, {"value", value, METH_VARARGS},
    {"call", call, METH_VARARGS}, {"method", method, METH_VARARGS}, {"arithmetic", arithmetic, METH_VARARGS},
    {NULL, NULL}
};
PyMODINIT_FUNC initfunctions(void)
{
    Py_InitModule("functions", methods);
}
"""


@pytest.fixture(scope="module")
def functions():
    return tw.extension(FUNCTIONS, "functions", compat=True)


def test_arguments(functions):
    assert functions.parse("héllo", "é", "x") == (6, "héllo", "é", "x")
    assert functions.parse(b"ab", "c") == (2, "ab", "c", None)
    assert functions.parse("x") == (1, "x", "?", None)
    assert functions.typed("abc") == functions.typed(b"abc") == 3
    assert functions.keywords(size=2, text="abcd") == (4, 2) and functions.keywords("abc") == (3, 7)
    assert functions.one(3) == 4
    for function, wrong in (
        (functions.parse, (3,)),
        (functions.parse, ("a", "bc")),
        (functions.parse, ("a", "b", 3)),
        (functions.typed, (3,)),
        (functions.keywords, ()),
        (functions.one, ("a",)),
        (functions.one, (1, 2)),
        (functions.one, ()),
    ):
        with pytest.raises(TypeError):
            function(*wrong)


def test_int_and_str(functions):
    kinds = {3: "int", 1 << 70: "long", "abc": "string", b"abc": "string", "é": "unicode", 1.5: "other"}
    assert {value: functions.kind(value) for value in kinds} == kinds
    assert functions.binary() == (b"\xff\0b", "café", "abcdef")


def test_calls(functions):
    capsule = functions.pointer()
    assert functions.value(capsule) == (42, 0)
    del capsule
    assert functions.value(functions.pointer()) == (42, 42)
    with pytest.raises(TypeError, match="PyCObject_AsVoidPtr with non-C-object"):
        functions.value(3)
    assert functions.call(lambda a, b: a * b) == 12
    with pytest.raises(ZeroDivisionError):
        functions.call(lambda a, b: a // 0)
    assert functions.method("-") == "a-b"
    assert functions.arithmetic(7, 2) == (3, 1) and functions.arithmetic(1.0, 2) == (0.5, -1)


def test_references_of_functions(functions):
    for operation in (
        lambda: functions.parse("héllo", "é", "x"),
        lambda: functions.keywords(size=2, text="abcd"),
        functions.binary,
        functions.pointer,
        lambda: functions.method("-"),
        lambda: functions.arithmetic(7, 2),
        lambda: functions.kind("é"),
        lambda: functions.one(3),
    ):
        operation()
        gc.collect()
        blocks = sys.getallocatedblocks()
        for _ in range(500):
            operation()
        assert sys.getallocatedblocks() - blocks < 200


ARRAYS = r"""
#include "Python.h"
#include "Numeric/arrayobject.h"

static PyObject *table(PyObject *self, PyObject *args)
{
    int dims[2], i;
    PyArrayObject *a;
    if (!PyArg_ParseTuple(args, "ii", &dims[0], &dims[1])) return NULL;
    a = (PyArrayObject *)PyArray_FromDims(2, dims, PyArray_DOUBLE);
    if (a == NULL) return NULL;
    for (i = 0; i < a->dimensions[0]; i++) {
        *(double *)(a->data + i * a->strides[0]) = a->dimensions[1] + a->nd + a->descr->elsize
            + a->descr->type_num;
    }
    return PyArray_Return(a);
}
static PyObject *like(PyObject *self, PyObject *args)
{
    PyObject *o;
    PyArrayObject *a;
    if (!PyArg_ParseTuple(args, "O!", &PyArray_Type, &o)) return NULL;
    a = (PyArrayObject *)o;
    return PyArray_FromDims(a->nd, a->dimensions, a->descr->type_num);
}
static PyObject *sum(PyObject *self, PyObject *args)
{
    PyObject *o;
    double s = 0;
    int i;
    PyArrayObject *a;
    if (!PyArg_ParseTuple(args, "O", &o)) return NULL;
    a = (PyArrayObject *)PyArray_ContiguousFromObject(o, PyArray_DOUBLE, 1, 1);
    if (a == NULL) return NULL;
    for (i = 0; i < a->dimensions[0]; i++) s += ((double *)a->data)[i];
    Py_DECREF(a);
    return Py_BuildValue("d", s);
}
static double data[3] = {1, 2, 3};
static PyObject *view(PyObject *self, PyObject *args)
{
    int n = 3;
    return PyArray_FromDimsAndData(1, &n, PyArray_DOUBLE, (char *)data);
}
static PyMethodDef methods[] = {
    {"table", table, METH_VARARGS}, {"like", like, METH_VARARGS}, {"sum", sum, METH_VARARGS},
    {"view", view, METH_VARARGS}, {NULL, NULL}
};
void initarrays()
{
    Py_InitModule3("arrays", methods, "Arrays.");
    import_array();
}
"""


def test_arrays():
    arrays = tw.extension(ARRAYS, "arrays", compat=True)
    np.testing.assert_array_equal(arrays.table(2, 3), [[25.0, 0.0, 0.0], [25.0, 0.0, 0.0]])
    assert arrays.sum([1, 2, 3]) == 6.0 and arrays.sum(np.arange(8)[::2]) == 12.0
    made = arrays.like(np.ones((2, 5), np.int16))
    assert made.shape == (2, 5) and made.dtype == np.int16 and not made.any()
    view = arrays.view()
    view[0] = 9
    assert arrays.view().tolist() == [9.0, 2.0, 3.0]
    with pytest.raises(ValueError):
        arrays.sum([[1.0]])
    with pytest.raises(ValueError):
        arrays.table(-1, 2)


# ---- Py_UNICODE, which Python 3.12 has no more ----

UNICODE = r"""
#include "Python.h"

static PyObject *reversed(PyObject *self, PyObject *args)
{
    PyObject *o, *result;
    Py_UNICODE *text, *copy;
    int i, n;
    if (!PyArg_ParseTuple(args, "U", &o)) return NULL;
    text = PyUnicode_AS_UNICODE(o);
    n = PyUnicode_GET_SIZE(o);
    copy = malloc((n + 1) * sizeof(Py_UNICODE));
    for (i = 0; i < n; i++) copy[i] = text[n - 1 - i];
    result = PyUnicode_FromUnicode(copy, n);
    free(copy);
    return result;
}
/* The texts of all of them are in use at the same time. */
static PyObject *last_characters(PyObject *self, PyObject *args)
{
    PyObject *list, *result;
    Py_UNICODE **texts;
    int i, n;
    if (!PyArg_ParseTuple(args, "O!", &PyList_Type, &list)) return NULL;
    n = PyList_GET_SIZE(list);
    texts = malloc(n * sizeof(Py_UNICODE *));
    for (i = 0; i < n; i++) texts[i] = PyUnicode_AS_UNICODE(PyList_GET_ITEM(list, i));
    result = PyList_New(n);
    for (i = 0; i < n; i++) {
        int length = PyUnicode_GetSize(PyList_GET_ITEM(list, i));
        if (texts[i] != PyUnicode_AsUnicode(PyList_GET_ITEM(list, i)) || texts[i][length] != 0) abort();
        PyList_SET_ITEM(result, i, PyUnicode_FromUnicode(texts[i] + length - 1, 1));
    }
    free(texts);
    return result;
}
static PyObject *parse(PyObject *self, PyObject *args)
{
    Py_UNICODE *a, *b = NULL;
    int n, m = -1;
    if (!PyArg_ParseTuple(args, "u#|u:parse", &a, &n, &b)) return NULL;
    if (b) for (m = 0; b[m]; m++) ;
    return Py_BuildValue("u#ii", a, n, n, m);
}
static PyObject *encode(PyObject *self, PyObject *args)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, "U", &o)) return NULL;
    return Py_BuildValue("NN", PyUnicode_EncodeUTF8(PyUnicode_AS_UNICODE(o), PyUnicode_GET_SIZE(o), "strict"),
                         PyUnicode_EncodeASCII(PyUnicode_AS_UNICODE(o), PyUnicode_GET_SIZE(o), "ignore"));
}
static PyObject *no_str(PyObject *self, PyObject *args)
{
    return PyUnicode_AsUnicode(Py_None) == NULL ? NULL : Py_None;
}
static PyMethodDef methods[] = {
    {"reversed", reversed, METH_VARARGS}, {"last_characters", last_characters, METH_VARARGS},
    {"parse", parse, METH_VARARGS}, {"encode", encode, METH_VARARGS}, {"no_str", no_str, METH_VARARGS},
    {NULL, NULL}
};
void initunicode(void)
{
    Py_InitModule("unicode", methods);
}
"""


@pytest.fixture(scope="module")
def unicode():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return tw.extension(UNICODE, "unicode", compat=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_unicode(unicode):
    for text in ("", "abc", "né", "λx", "a\0b", "x\U0001f600y"):
        assert unicode.reversed(text) == text[::-1]
        assert unicode.encode(text) == (text.encode(), text.encode("ascii", "ignore"))
    assert unicode.parse("aé\0b") == ("aé\0b", 4, -1)
    assert unicode.parse("λ", "xy") == ("λ", 1, 2)
    with pytest.raises(ValueError, match="embedded null character"):
        unicode.parse("a", "b\0")
    with pytest.raises(TypeError):
        unicode.parse(b"a")
    with pytest.raises(TypeError, match="bad argument type"):
        unicode.no_str()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_unicode_texts_live_as_long_as_their_str(unicode):
    texts = [f"{i}é{chr(945 + i % 20)}" for i in range(3000)]
    assert unicode.last_characters(texts) == [text[-1] for text in texts]
    assert unicode.last_characters(texts) == [text[-1] for text in texts]
    del texts
    blocks = []
    for _ in range(2):  # dropped now and then; what is kept does not grow
        for i in range(20000):
            unicode.reversed(f"é{i}")
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert blocks[1] - blocks[0] < 20000


# ---- Sources that cannot work say so ----


def test_members_that_are_gone():
    source = FUNCTIONS + "char *f(PyObject *o) { return ((PyStringObject *)o)->ob_sval; }"
    with pytest.raises(tw.CompileError, match="field not found: ob_sval"):
        tw.extension(source, "functions", compat=True)


@pytest.mark.parametrize(
    "text", ["int *d = a->dimensions; d[0] = 1;", "int i, *d; i = 0; d = (a)->strides; d[i] = 1;"]
)
def test_int_pointers_to_dimensions_are_refused(text):
    source = ARRAYS + "void f(PyArrayObject *a) { " + text + " }"
    with pytest.raises(tw.CompileError, match="an int pointer cannot read '(dimensions|strides)'"):
        tw.extension(source, "arrays", compat=True)
    tw.extension(
        source.replace("int *d", "npy_intp *d").replace("int i, *d", "npy_intp *d; int i"),
        "arrays",
        compat=True,
    )


def test_init_errors_and_missing_modules():
    with pytest.raises(ZeroDivisionError):
        tw.extension(
            '#include <Python.h>\nvoid initm(void) { PyErr_SetString(PyExc_ZeroDivisionError, ""); }',
            "m",
            compat=True,
        )
    with pytest.raises(SystemError, match="initm made no module 'm'"):
        tw.extension("#include <Python.h>\nvoid initm(void) { }", "m", compat=True)


def test_sources_of_today_work_too():
    source = """
        #include <Python.h>
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "now", "Today.", -1, NULL};
        PyMODINIT_FUNC PyInit_now(void) { return PyModule_Create(&def); }
    """
    assert tw.extension(source, "now", compat=True).__doc__ == "Today."


def test_a_source_for_both_has_the_slots_of_today():
    source = """
        #include <Python.h>
        typedef struct { PyObject_HEAD long n; } Number;
        static PyTypeObject NumberType;
        static PyObject *divide(PyObject *a, PyObject *b) { return PyString_FromString("remainder"); }
        static PyNumberMethods number = {0, 0, 0, divide};
        static PyTypeObject NumberType = {
            PyVarObject_HEAD_INIT(NULL, 0) "both.Number", sizeof(Number), .tp_as_number = &number,
            .tp_new = PyType_GenericNew, .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_CHECKTYPES,
        };
        static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "both", NULL, -1, NULL};
        PyMODINIT_FUNC PyInit_both(void)
        {
            PyObject *module = PyModule_Create(&def);
            NumberType.ob_type = &PyType_Type;
            if (PyType_Ready(&NumberType) < 0) return NULL;
            PyModule_AddObject(module, "number", PyObject_CallFunction((PyObject *)&NumberType, NULL));
            PyModule_AddObject(module, "five", PyInt_FromLong(5));
            return module;
        }
    """
    module = tw.extension(source, "both", compat=True)
    assert (module.five, module.number % 3) == (5, "remainder")

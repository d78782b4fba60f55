/* ufunc.c: tw.ufunc and tw.gufunc: a C function -> a numpy.ufunc.
 *
 * The loops are registered as NumPy 2 has them, so that they may fail and may ask for the GIL; the ufunc also
 * lists their dtypes as older ones do, so that NumPy picks the first loop to which the inputs cast safely.
 */
#include "ufunc.h"

#include <string.h>

#include "loops.h"

#include "../../cache/kernel.h"
#include "compile.h"
#include "library_loops.h"

/* Versions of NumPy's API that older headers do not name. */
enum { API_2_1 = 0x13, API_2_4 = 0x15 };

static const char *const MAKERS[] = {[LOOP_ELEMENTS] = "ufunc", [LOOP_CORE] = "gufunc"};

/* What was asked for beside what compile takes. */
struct request {
    const char *maker;
    enum loop_kind kind;
    PyObject *identity; /* borrowed; NULL: not given */
    PyObject *name;
    PyObject *doc;
    int identity_kind; /* PyUFunc_None ... */
};

/* ---- What a ufunc keeps ---- */

#define CAPSULE "tinyweave.loops"

static void
free_capsule(PyObject *capsule)
{
    loops_free(PyCapsule_GetPointer(capsule, CAPSULE));
}

/* Takes the loops. */
static PyObject *
new_capsule(struct loops *loops)
{
    PyObject *capsule = PyCapsule_New(loops, CAPSULE, free_capsule);
    if (capsule == NULL) {
        loops_free(loops);
    }
    return capsule;
}

static char *
copy_text(const char *text)
{
    char *copy = PyMem_Malloc(strlen(text) + 1);
    return copy == NULL ? (char *)PyErr_NoMemory() : strcpy(copy, text);
}

static int
set_name(struct loops *loops, const struct request *request)
{
    const char *name = request->name == NULL ? loops->plan->name : PyUnicode_AsUTF8(request->name);
    loops->name = name == NULL ? NULL : copy_text(name);
    return loops->name == NULL ? -1 : 0;
}

/* The prototype, then the comment above the function. */
static int
set_doc(struct loops *loops, const struct request *request)
{
    const struct plan *plan = loops->plan;
    if (request->doc != NULL) {
        const char *doc = PyUnicode_AsUTF8(request->doc);
        loops->doc = doc == NULL ? NULL : copy_text(doc);
        return loops->doc == NULL ? -1 : 0;
    }
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "%s%s%s", plan->signature, plan->comment[0] == '\0' ? "" : "\n\n",
                  plan->comment);
    loops->doc = text.failed ? (char *)PyErr_NoMemory() : copy_text(text.data);
    buffer_free(&text);
    return loops->doc == NULL ? -1 : 0;
}

/* ---- The identity ---- */

static int
is_number(PyObject *value)
{
    return PyLong_Check(value) || PyFloat_Check(value) || PyComplex_Check(value) ||
           PyArray_IsScalar(value, Number) || PyArray_IsScalar(value, Bool);
}

/* Returns 0, or -1 with a TypeError. */
static int
read_identity(struct request *request)
{
    static const int kinds[] = {PyUFunc_MinusOne, PyUFunc_Zero, PyUFunc_One};
    PyObject *value = request->identity;
    request->identity_kind = value == NULL ? PyUFunc_None : PyUFunc_ReorderableNone;
    if (value == NULL || value == Py_None) {
        return 0;
    }
    if (!is_number(value)) {
        PyErr_Format(PyExc_TypeError, "%s(): 'identity' must be a number or None, not %.100s",
                     request->maker, Py_TYPE(value)->tp_name);
        return -1;
    }
    int overflow = 0;
    long number = PyLong_CheckExact(value) ? PyLong_AsLongAndOverflow(value, &overflow) : 2;
    request->identity_kind =
        overflow == 0 && number >= -1 && number <= 1 ? kinds[number + 1] : PyUFunc_IdentityValue;
    return 0;
}

/* The identity as an object; a new reference. */
static PyObject *
identity_of(const PyUFuncObject *ufunc)
{
    switch (ufunc->identity) {
    case PyUFunc_Zero:
        return PyLong_FromLong(0);
    case PyUFunc_One:
        return PyLong_FromLong(1);
    case PyUFunc_MinusOne:
        return PyLong_FromLong(-1);
    default:
        return Py_NewRef(ufunc->identity_value);
    }
}

/* Whether a number is an integer: inf is none. Returns -1 with an exception. */
static int
is_whole(PyObject *value)
{
    if (PyLong_Check(value) || PyArray_IsScalar(value, Integer) || PyArray_IsScalar(value, Bool)) {
        return 1;
    }
    if (!PyFloat_Check(value) && !PyArray_IsScalar(value, Floating)) {
        return 0;
    }
    PyObject *number = PyNumber_Float(value);
    PyObject *whole = number == NULL ? NULL : PyObject_CallMethod(number, "is_integer", NULL);
    int result = whole == NULL ? -1 : PyObject_IsTrue(whole);
    Py_XDECREF(number);
    Py_XDECREF(whole);
    return result;
}

/* -1 is all bits set in NumPy's ufuncs, of unsigned integers too. Takes the reference. */
static PyObject *
with_all_bits(PyObject *identity, const PyArray_Descr *dtype)
{
    int overflow = 0;
    if (identity == NULL || !PyTypeNum_ISUNSIGNED(dtype->type_num) ||
        !PyLong_CheckExact(identity) || PyLong_AsLongAndOverflow(identity, &overflow) != -1 ||
        overflow != 0) {
        return identity;
    }
    Py_DECREF(identity);
    return PyObject_CallFunction((PyObject *)&PyLongArrType_Type, "i", -1);
}

/* Writes the identity where a reduction starts. Returns 1; 0 where the dtype has no such number, so that the first
 * element starts it; or -1 with an exception. */
static int
start_reduction(PyArrayMethod_Context *context, npy_bool is_empty, void *initial)
{
    PyArray_Descr *dtype = context->descriptors[0];
    const PyUFuncObject *ufunc = (const PyUFuncObject *)context->caller;
    PyObject *identity = with_all_bits(identity_of(ufunc), dtype);
    bool integers = PyTypeNum_ISINTEGER(dtype->type_num) || dtype->type_num == NPY_BOOL;
    int fits = identity == NULL ? -1 : integers ? is_whole(identity) : 1;
    if (fits == 1 && PyArray_Pack(dtype, initial, identity) < 0) {
        bool refused =
            PyErr_ExceptionMatches(PyExc_OverflowError) || PyErr_ExceptionMatches(PyExc_TypeError);
        fits = refused ? 0 : -1;
        if (refused) {
            PyErr_Clear();
        }
    }
    if (fits == 0 && is_empty) {
        PyErr_Format(PyExc_ValueError, "%s(): the identity %R is no %S", ufunc->name, identity,
                     dtype);
        fits = -1;
    }
    Py_XDECREF(identity);
    return fits;
}

/* ---- Core dimensions ---- */

/* A ufunc as NumPy 2.1 and later have it. */
struct later_ufunc {
    PyUFuncObject ufunc;
    int (*process_core_dims)(PyUFuncObject *ufunc, npy_intp *sizes);
};

/* Fills the size of an out's dimension, or compares it with that of out=. */
static int
compute_size(const struct loops *loops, int dimension, const long long *values, npy_intp *size)
{
    const struct extent *extent = loops->core.dimensions[dimension].extent;
    long long value = 0;
    if (extent == NULL) {
        return 0;
    }
    if (extent_value(extent, values, &value) < 0 || value < 0) {
        PyErr_Format(PyExc_ValueError, "%s(): an out has the extent %s, which is no size here",
                     loops->name, extent->text);
        return -1;
    }
    if (*size >= 0 && *size != value) {
        PyErr_Format(PyExc_ValueError, "%s(): 'out' has %zd elements along an axis of %s = %lld",
                     loops->name, (Py_ssize_t)*size, extent->text, value);
        return -1;
    }
    *size = value;
    return 0;
}

static int
process_sizes(PyUFuncObject *ufunc, npy_intp *sizes)
{
    const struct loops *loops = PyCapsule_GetPointer(ufunc->obj, CAPSULE);
    long long *values =
        loops == NULL ? NULL : PyMem_Calloc((size_t)loops->plan->count + 1, sizeof(*values));
    int result = 0;
    if (values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < loops->core.count; i++) {
        int parameter = loops->core.dimensions[i].parameter;
        if (parameter >= 0) {
            values[parameter] = sizes[i];
        }
    }
    for (int i = 0; i < loops->core.count && result == 0; i++) {
        result = compute_size(loops, i, values, &sizes[i]);
    }
    PyMem_Free(values);
    return result;
}

/* NumPy's default takes an out that is the very memory of an input for one that a loop over elements may write. Here
 * C may read any element after it wrote another: NumPy is to copy, as in matmul. */
static void
set_outs(PyUFuncObject *ufunc)
{
    for (int i = ufunc->nin; i < ufunc->nargs; i++) {
        ufunc->op_flags[i] = NPY_ITER_WRITEONLY | NPY_ITER_UPDATEIFCOPY | NPY_ITER_ALIGNED |
                             NPY_ITER_ALLOCATE | NPY_ITER_NO_BROADCAST | NPY_ITER_NO_SUBTYPE;
    }
}

static int
set_core(PyUFuncObject *ufunc, const struct loops *loops)
{
    set_outs(ufunc);
    if (!loops->core.computed) {
        return 0;
    }
    if (PyArray_RUNTIME_VERSION < API_2_1) {
        PyErr_SetString(PyExc_NotImplementedError,
                        "gufunc(): an extent of an out that is an expression needs NumPy 2.1");
        return -1;
    }
    ((struct later_ufunc *)ufunc)->process_core_dims = process_sizes;
    return 0;
}

/* ---- The ufunc ---- */

/* Before 2.4 NumPy's PyUFunc_AddLoopFromSpec forgets a reference to the tuple that it puts into the list of loops. */
static void
release_loop(const PyUFuncObject *ufunc)
{
    if (PyArray_RUNTIME_VERSION >= API_2_4 || !PyList_CheckExact(ufunc->_loops)) {
        return;
    }
    PyObject *last = PyList_GET_ITEM(ufunc->_loops, PyList_GET_SIZE(ufunc->_loops) - 1);
    if (Py_REFCNT(last) == 2) {
        Py_DECREF(last);
    }
}

static int
add_loop(PyUFuncObject *ufunc, const struct loop *loop, const char *types)
{
    PyArray_DTypeMeta *dtypes[LOOP_OPERANDS];
    PyType_Slot slots[3] = {{NPY_METH_strided_loop, (void *)loops_strided(loop)}};
    for (int i = 0; i < ufunc->nargs; i++) {
        PyArray_Descr *dtype = PyArray_DescrFromType(types[i]); /* NumPy's own: it lives on */
        dtypes[i] = NPY_DTYPE(dtype);
        Py_DECREF(dtype);
    }
    bool reorderable = ufunc->identity != PyUFunc_None;
    if (reorderable && ufunc->identity != PyUFunc_ReorderableNone && ufunc->nin == 2 &&
        ufunc->nout == 1) {
        slots[1] = (PyType_Slot){NPY_METH_get_reduction_initial, (void *)start_reduction};
    }
    PyArrayMethod_Spec spec = {
        .name = ufunc->name,
        .nin = ufunc->nin,
        .nout = ufunc->nout,
        .casting = NPY_NO_CASTING,
        .flags = (loop->guarded ? NPY_METH_REQUIRES_PYAPI : 0) |
                 (reorderable ? NPY_METH_IS_REORDERABLE : 0),
        .dtypes = dtypes,
        .slots = slots,
    };
    if (PyUFunc_AddLoopFromSpec((PyObject *)ufunc, &spec) < 0) {
        return -1;
    }
    release_loop(ufunc);
    return 0;
}

/* NumPy's rule of types looks at these lists alone. */
static int
add_loops(PyUFuncObject *ufunc, const struct loops *loops)
{
    for (int i = 0; i < loops->count; i++) {
        if (add_loop(ufunc, &loops->items[i], loops->types + i * ufunc->nargs) < 0) {
            return -1;
        }
    }
    ufunc->functions = loops->functions;
    ufunc->data = loops->data;
    ufunc->types = loops->types;
    ufunc->ntypes = loops->count;
    return 0;
}

/* Takes the loops. */
static PyObject *
new_ufunc(struct loops *loops, const struct request *request)
{
    PyObject *capsule = new_capsule(loops);
    if (capsule == NULL) {
        return NULL;
    }
    const struct loop_operands *operands = &loops->operands;
    PyUFuncObject *ufunc = (PyUFuncObject *)PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        NULL, NULL, NULL, 0, operands->in_count, operands->count - operands->in_count,
        request->identity_kind, loops->name, loops->doc, 0,
        loops->kind == LOOP_CORE ? loops->core.signature.data : NULL, request->identity);
    if (ufunc == NULL) {
        Py_DECREF(capsule);
        return NULL;
    }
    ufunc->obj = capsule;
    if (add_loops(ufunc, loops) < 0 || (loops->kind == LOOP_CORE && set_core(ufunc, loops) < 0)) {
        Py_DECREF(ufunc);
        return NULL;
    }
    if (!PyObject_GC_IsTracked((PyObject *)ufunc)) {
        PyObject_GC_Track((PyObject *)ufunc);
    }
    return (PyObject *)ufunc;
}

/* ---- Reading the arguments ---- */

static int
check_text(struct request *request, PyObject *name, PyObject *value, PyObject **place)
{
    Py_ssize_t length;
    const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &length) : "";
    if (value == Py_None || text == NULL) {
        return text == NULL ? -1 : 0;
    }
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s(): '%U' must be str, not %.100s", request->maker, name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    if (strlen(text) != (size_t)length) {
        PyErr_Format(PyExc_ValueError, "%s(): '%U' has a NUL character", request->maker, name);
        return -1;
    }
    if (length == 0 && place == &request->name) {
        PyErr_Format(PyExc_ValueError, "%s(): '%U' is empty", request->maker, name);
        return -1;
    }
    *place = value;
    return 0;
}

/* Takes what is ours. Returns 1 when it was, 0 when the keyword is compile's, -1 with an exception. */
static int
take_keyword(struct request *request, PyObject *name, PyObject *value)
{
    if (request->kind == LOOP_ELEMENTS && PyUnicode_CompareWithASCIIString(name, "identity") == 0) {
        request->identity = value;
        return 1;
    }
    if (PyUnicode_CompareWithASCIIString(name, "doc") == 0) {
        return check_text(request, name, value, &request->doc) < 0 ? -1 : 1;
    }
    if (PyUnicode_CompareWithASCIIString(name, "name") == 0) {
        return check_text(request, name, value, &request->name); /* compile's too */
    }
    return 0;
}

/* The Library of what is left of the arguments. */
static PyObject *
make_library(PyObject *module, struct request *request, PyObject *const *arguments,
             Py_ssize_t count, PyObject *keywords)
{
    Py_ssize_t given = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    PyObject **rest = PyMem_Calloc((size_t)(count + given) + 1, sizeof(*rest));
    PyObject *names = PyList_New(0);
    PyObject *tuple = NULL, *library = NULL;
    if (rest == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    memcpy(rest, arguments, (size_t)count * sizeof(*rest));
    Py_ssize_t kept = count;
    for (Py_ssize_t i = 0; names != NULL && i < given; i++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, i);
        int taken = take_keyword(request, name, arguments[count + i]);
        if (taken < 0 || (taken == 0 && PyList_Append(names, name) < 0)) {
            goto done;
        }
        rest[kept] = arguments[count + i];
        kept += taken == 0;
    }
    tuple = names == NULL ? NULL : PyList_AsTuple(names);
    if (tuple != NULL && read_identity(request) == 0) {
        library = compile_library(module, request->kind, rest, count, tuple);
    }
done:
    Py_XDECREF(names);
    Py_XDECREF(tuple);
    PyMem_Free(rest);
    return library;
}

static PyObject *
make(PyObject *module, enum loop_kind kind, PyObject *const *arguments, Py_ssize_t count,
     PyObject *keywords)
{
    struct request request = {.maker = MAKERS[kind], .kind = kind};
    PyObject *library = make_library(module, &request, arguments, count, keywords);
    struct loops *loops = library == NULL ? NULL : loops_new(library, kind);
    if (loops == NULL) {
        return NULL;
    }
    if (set_name(loops, &request) < 0 || set_doc(loops, &request) < 0) {
        loops_free(loops);
        return NULL;
    }
    return new_ufunc(loops, &request);
}

PyObject *
ufunc_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return make(module, LOOP_ELEMENTS, arguments, count, keywords);
}

PyObject *
gufunc_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    return make(module, LOOP_CORE, arguments, count, keywords);
}

const char ufunc_doc[] =
    "ufunc(source, *, T=None, U=None, identity=None, name=None, doc=None, headers=(),\n"
    "      define_macros=(), undef_macros=(), include_dirs=(), libraries=(), library_dirs=(),\n"
    "      extra_compile_args=(), declare=None, functions=None, force=False)\n"
    "--\n\n"
    "Make a numpy.ufunc of a C function of numbers.\n"
    "\n"
    "Parameters\n"
    "----------\n"
    "source : str, os.PathLike, or a list of these\n"
    "    As for tw.compile, with one function that is not static, or more and ``name``. Its "
    "parameters are\n"
    "    numbers, the inputs, and ``out T *q``, outputs behind the result.\n"
    "T, U : str, optional\n"
    "    Dtype characters, \"fd\": a loop for each, or for each pair of T and U. NumPy takes the "
    "first loop\n"
    "    to which the inputs cast safely. Without a list, as for tw.compile.\n"
    "identity : number, optional\n"
    "    Where a reduction starts: the result of an empty one. A number, or None, also says that "
    "the order\n"
    "    of a reduction does not matter, so that one over several axes is possible; when it is not "
    "given, it\n"
    "    does. A dtype that has no such number starts with the first element.\n"
    "name : str, optional\n"
    "    The function, where the source has several; else the ufunc's name, if not the "
    "function's.\n"
    "doc : str, optional\n"
    "    Its docstring, instead of the prototype and the comment above the function.\n"
    "headers, define_macros, undef_macros, include_dirs, libraries, library_dirs, "
    "extra_compile_args\n"
    "    As for tw.inline.\n"
    "declare, functions, force\n"
    "    As for tw.compile.\n"
    "\n"
    "Returns\n"
    "-------\n"
    "numpy.ufunc\n"
    "    Broadcasting, ``out``, ``where``, ``dtype``, ``reduce``, ``accumulate``, ``at`` and the "
    "rest are NumPy's.\n"
    "\n"
    "Raises\n"
    "------\n"
    "CompileError\n"
    "    The C text is wrong, or the function is no ufunc's: a parameter is an array, a string "
    "...\n"
    "TypeError, ValueError\n"
    "    A keyword's value does not fit; there are several functions and no name.\n"
    "\n"
    "Examples\n"
    "--------\n"
    ">>> hypotenuse = tw.ufunc('''\n"
    "... T hypotenuse(T a, T b)\n"
    "... {\n"
    "...     return sqrt(a * a + b * b);\n"
    "... }''', T=\"fd\", identity=0)\n"
    ">>> hypotenuse([3, 5], [[4], [12]])\n"
    "array([[ 5.        ,  6.40312424],\n"
    "       [12.36931688, 13.        ]])\n"
    ">>> hypotenuse.reduce([1, 2, 2])\n"
    "np.float64(3.0)\n";

const char gufunc_doc[] =
    "gufunc(source, *, T=None, U=None, name=None, doc=None, headers=(), define_macros=(),\n"
    "       undef_macros=(), include_dirs=(), libraries=(), library_dirs=(),\n"
    "       extra_compile_args=(), declare=None, functions=None, force=False)\n"
    "--\n\n"
    "Make a generalized numpy.ufunc of a C function of arrays.\n"
    "\n"
    "The prototype gives the signature: ``const T a[m][n], const T x[n], out T y[m]`` is "
    "\"(m,n),(n)->(m)\".\n"
    "C gets the arrays C-contiguous, outs are zero when it starts, and NumPy loops over all "
    "leading dimensions.\n"
    "\n"
    "Parameters\n"
    "----------\n"
    "source : str, os.PathLike, or a list of these\n"
    "    As for tw.compile, with one function that is not static, or more and ``name``. Arrays "
    "that are read\n"
    "    are ``const`` and have parameters or constants as extents; numbers that are no sizes are "
    "inputs, too;\n"
    "    outs are ``out`` arrays, whose extents may be expressions (with NumPy 2.1 or later), "
    "``out "
    "T *q``, and\n"
    "    the result.\n"
    "T, U, name, doc\n"
    "    As for tw.ufunc.\n"
    "headers, define_macros, undef_macros, include_dirs, libraries, library_dirs, "
    "extra_compile_args\n"
    "    As for tw.inline.\n"
    "declare, functions, force\n"
    "    As for tw.compile.\n"
    "\n"
    "Returns\n"
    "-------\n"
    "numpy.ufunc\n"
    "    With ``signature``; ``axis``, ``axes``, ``keepdims`` and ``out`` are NumPy's.\n"
    "\n"
    "Raises\n"
    "------\n"
    "CompileError\n"
    "    The C text is wrong, or the function is no gufunc's: no input tells a size, an array is "
    "changed in\n"
    "    place ...\n"
    "TypeError, ValueError\n"
    "    A keyword's value does not fit; there are several functions and no name.\n"
    "\n"
    "Examples\n"
    "--------\n"
    ">>> matvec = tw.gufunc('''\n"
    "... void matvec(int m, int n, const T a[m][n], const T x[n], out T y[m])\n"
    "... {\n"
    "...     for (int i = 0; i < m; i++)\n"
    "...         for (int j = 0; j < n; j++) y[i] += a[i][j] * x[j];\n"
    "... }''', T=\"fd\")\n"
    ">>> matvec.signature\n"
    "'(m,n),(n)->(m)'\n"
    ">>> matvec(np.ones((5, 2, 3)), [1, 2, 3]).shape\n"
    "(5, 2)\n";

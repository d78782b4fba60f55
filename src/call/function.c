/* function.c: tw.Function, the object: its dtypes, what Python sees of it, what it is in C. */
#include "invoke.h"

#include <stddef.h>
#include <string.h>

#include <structmember.h>

#include "../../cache/kernel.h"
#include "conversion.h"
#include "export.h"

/* ---- Bindings ---- */

size_t
binding_count(unsigned variables)
{
    size_t count = 1;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        count *= variables >> i & 1 ? BINDING_TYPES : 1;
    }
    return count;
}

size_t
binding_index(unsigned variables, const struct binding *binding)
{
    size_t index = 0;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        if (variables >> i & 1) {
            index = index * BINDING_TYPES + (size_t)binding->types[i];
        }
    }
    return index;
}

size_t
function_choices(const struct function_library *shared, unsigned variables)
{
    size_t count = 1;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        count *= variables >> i & 1 ? strlen(shared->letters[i]) : 1;
    }
    return count;
}

struct binding
function_choice(const struct function_library *shared, unsigned variables, size_t number)
{
    struct binding binding = BINDING_NONE;
    for (int i = TYPE_VARIABLES - 1; i >= 0; i--) {
        if (variables >> i & 1) {
            size_t count = strlen(shared->letters[i]);
            PyArray_Descr *dtype = PyArray_DescrFromType(shared->letters[i][number % count]);
            binding.types[i] = dtype->type_num;
            Py_DECREF(dtype);
            number /= count;
        }
    }
    return binding;
}

/* ---- What Python sees of a Function ---- */

/* "a, *, b=None, out=None" */
static void
write_parameters(const struct plan *plan, struct buffer *text)
{
    const char *comma = "";
    for (int i = 0; i < plan->count; i++) {
        if (plan->parameters[i].argument >= 0) {
            buffer_printf(text, "%s%s", comma, plan->parameters[i].name);
            comma = ", ";
        }
    }
    bool named_out = false; /* a parameter is called `out` itself */
    for (int i = 0; i < plan->count; i++) {
        named_out |= strcmp(plan->parameters[i].name, "out") == 0;
    }
    if (plan->out_count > 0) {
        buffer_printf(text, "%s*", comma);
        for (int i = 0; i < plan->count; i++) {
            if (plan->parameters[i].out >= 0) {
                buffer_printf(text, ", %s=None", plan->parameters[i].name);
            }
        }
        buffer_append_string(text, named_out ? "" : ", out=None");
    }
}

static PyObject *
finish_text(struct buffer *text)
{
    PyObject *result = text->failed
                           ? PyErr_NoMemory()
                           : PyUnicode_DecodeUTF8(text->data, (Py_ssize_t)text->size, "replace");
    buffer_free(text);
    return result;
}

static PyObject *
get_text_signature(PyObject *self, void *Py_UNUSED(closure))
{
    struct buffer text = BUFFER_INIT;
    buffer_append_string(&text, "(");
    write_parameters(((struct function *)self)->plan, &text);
    buffer_append_string(&text, ")");
    return finish_text(&text);
}

/* "T", "double" */
static const char *
number_name(int type)
{
    static const char *const names[TYPE_VARIABLES] = {"T", "U"};
    int variable = plan_variable(type);
    return variable < 0 ? plan_c_type(type) : names[variable];
}

static void
write_results(const struct plan *plan, struct buffer *text)
{
    const char *comma = " -> ";
    if (plan->result != ROLE_NOTHING) {
        const char *type = plan->result == ROLE_STRING   ? "str"
                           : plan->result == ROLE_OBJECT ? "object"
                           : plan->result == ROLE_NUMBER ? number_name(plan->returned.type)
                           : plan->result == ROLE_OUT || plan_is_record(plan->returned.type)
                               ? "array"
                               : "address";
        buffer_printf(text, "%s%s", comma, type);
        comma = ", ";
    }
    for (int i = 0; i < plan->count; i++) {
        enum role role = plan->parameters[i].role;
        if (role == ROLE_OUT || role == ROLE_NUMBER_OUT) {
            buffer_printf(text, "%s%s", comma, plan->parameters[i].name);
            comma = ", ";
        }
    }
}

static PyObject *
get_doc(PyObject *self)
{
    const struct plan *plan = ((struct function *)self)->plan;
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "%s(", plan->name);
    write_parameters(plan, &text);
    buffer_append_string(&text, ")");
    write_results(plan, &text);
    buffer_printf(&text, "\n\n%s\n", plan->signature);
    if (plan->comment[0] != '\0') {
        buffer_printf(&text, "\n%s\n", plan->comment);
    }
    return finish_text(&text);
}

static PyObject *
get_name(PyObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((struct function *)self)->plan->name);
}

static PyObject *
get_module(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((struct function *)self)->library, "__name__");
}

static PyObject *
get_source(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((struct function *)self)->library, "source");
}

/* inspect.signature() reads this. */
static PyObject *
get_signature(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *inspect = PyImport_ImportModule("inspect");
    PyObject *globals = PyDict_New();
    struct buffer text = BUFFER_INIT;
    buffer_append_string(&text, "lambda ");
    write_parameters(((struct function *)self)->plan, &text);
    buffer_append_string(&text, ": None");
    PyObject *model = NULL, *result = NULL;
    if (inspect != NULL && globals != NULL && !text.failed) {
        model = PyRun_String(text.data, Py_eval_input, globals, globals);
    }
    if (model != NULL) {
        result = PyObject_CallMethod(inspect, "signature", "O", model);
    }
    else if (PyErr_ExceptionMatches(PyExc_SyntaxError)) { /* a parameter is called like a keyword */
        PyErr_Clear();
        PyErr_SetString(PyExc_AttributeError, "__signature__");
    }
    buffer_free(&text);
    Py_XDECREF(model);
    Py_XDECREF(globals);
    Py_XDECREF(inspect);
    return result;
}

static PyObject *
function_repr(PyObject *self)
{
    const struct plan *plan = ((struct function *)self)->plan;
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "<tinyweave.Function %s(", plan->name);
    write_parameters(plan, &text);
    buffer_append_string(&text, ")>");
    return finish_text(&text);
}

static int
function_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct function *function = (struct function *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(function->library);
    Py_VISIT(function->ctypes);
    return 0;
}

/* The Library is given up only with the Function itself: somebody may still call it. A cycle of the two is
 * broken at the Library's end. */
static void
function_dealloc(PyObject *self)
{
    struct function *function = (struct function *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    PyMem_Free(function->targets);
    Py_XDECREF(function->ctypes);
    Py_XDECREF(function->names);
    Py_XDECREF(function->out_name);
    Py_XDECREF(function->library);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef FUNCTION_MEMBERS[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct function, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef FUNCTION_GETSET[] = {
    {"__name__", get_name, NULL, "The C function's name.", NULL},
    {"__qualname__", get_name, NULL, "The C function's name.", NULL},
    {"__module__", get_module, NULL, "The Library's name.", NULL},
    {"__text_signature__", get_text_signature, NULL, "Python's signature, as text.", NULL},
    {"__signature__", get_signature, NULL, "Python's signature, for inspect.", NULL},
    {"source", get_source, NULL, "The C text of the Library, a str.", NULL},
    {"address", export_address, NULL, "Where the C function's code is, an int.", NULL},
    {"ctypes", export_ctypes, NULL,
     "The C function as a ctypes object; it keeps the Library alive.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef FUNCTION_METHODS[] = {
    {"low_level_callable", (PyCFunction)(void (*)(void))export_low_level_callable,
     METH_VARARGS | METH_KEYWORDS, export_low_level_callable_doc},
    {"__reduce__", export_reduce_function, METH_NOARGS, "Pickles by the Library's source."},
    {"__copy__", export_itself, METH_NOARGS, "The Function itself."},
    {"__deepcopy__", export_itself, METH_O, "The Function itself."},
    {NULL, NULL, 0, NULL},
};

/* A getset of that name would take the place of the type's own docstring. */
static PyObject *
function_getattro(PyObject *self, PyObject *name)
{
    if (PyUnicode_CompareWithASCIIString(name, "__doc__") == 0) {
        return get_doc(self);
    }
    return PyObject_GenericGetAttr(self, name);
}

static PyType_Slot FUNCTION_SLOTS[] = {
    {Py_tp_doc, "A C function; a call converts and checks its arguments by the prototype."},
    {Py_tp_getattro, function_getattro},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, FUNCTION_MEMBERS},
    {Py_tp_methods, FUNCTION_METHODS},
    {Py_tp_getset, FUNCTION_GETSET},
    {Py_tp_repr, function_repr},
    {Py_tp_traverse, function_traverse},
    {Py_tp_dealloc, function_dealloc},
    {0, NULL},
};

struct function_parts
function_parts(PyObject *self)
{
    struct function *function = (struct function *)self;
    return (struct function_parts){function->library, function->shared, function->plan,
                                   function->index, &function->ctypes};
}

PyType_Spec function_spec = {
    .name = "tinyweave.Function",
    .basicsize = sizeof(struct function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = FUNCTION_SLOTS,
};

PyObject *
function_new(PyTypeObject *type, PyObject *library, const struct function_library *shared,
             size_t index)
{
    const struct plan *plan = &shared->plans->items[index];
    struct function *function = (struct function *)type->tp_alloc(type, 0);
    if (function == NULL) {
        return NULL;
    }
    function->vectorcall = invoke_function;
    function->library = Py_NewRef(library);
    function->shared = shared;
    function->plan = plan;
    function->index = index;
    function->targets = PyMem_Calloc(binding_count(plan->variables), sizeof(*function->targets));
    function->out_name = PyUnicode_InternFromString("out");
    function->names = PyTuple_New(plan->count);
    for (int i = 0; function->names != NULL && i < plan->count; i++) {
        PyObject *name = PyUnicode_InternFromString(plan->parameters[i].name);
        if (name == NULL) {
            Py_CLEAR(function->names);
            break;
        }
        PyTuple_SET_ITEM(function->names, i, name);
    }
    if (function->targets == NULL && !PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    if (function->names == NULL || function->out_name == NULL || function->targets == NULL) {
        Py_DECREF(function);
        return NULL;
    }
    return (PyObject *)function;
}

/* ---- What a Function is in C ---- */

const struct plan *
function_plan(PyObject *self)
{
    return ((struct function *)self)->plan;
}

int
function_variable_type(PyObject *self, int variable, int type)
{
    const char *letters = ((struct function *)self)->shared->letters[variable];
    for (; *letters != '\0'; letters++) {
        PyArray_Descr *dtype = PyArray_DescrFromType(*letters);
        int listed = dtype->type_num;
        Py_DECREF(dtype);
        if (same_type(listed, type)) {
            return listed;
        }
    }
    return PLAN_NONE;
}

struct kernel *
function_address(PyObject *self, const struct binding *binding, void **address)
{
    struct function *function = (struct function *)self;
    struct kernel *kernel = function->shared->kernel_for(function->library, binding);
    if (kernel != NULL) {
        void **table = atomic_load_explicit(&kernel->entry_point, memory_order_acquire);
        *address = table[function->shared->plans->count + function->index];
    }
    return kernel;
}

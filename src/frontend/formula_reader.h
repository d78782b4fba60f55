/* formula_reader.h: what the files that read formulas share: the classes of Python's tree, the reader, its nodes. */
#ifndef TINYWEAVE_FORMULA_READER_H
#define TINYWEAVE_FORMULA_READER_H

#include "formula.h"
#include "tree.h"

/* Classes of Python's module _ast. The operators first, in the order of FORMULA_OPERATORS. */
#define CLASSES(CLASS)                                                                             \
    CLASS(Add)                                                                                     \
    CLASS(Sub)                                                                                     \
    CLASS(Mult)                                                                                    \
    CLASS(Div)                                                                                     \
    CLASS(FloorDiv)                                                                                \
    CLASS(Mod)                                                                                     \
    CLASS(Pow)                                                                                     \
    CLASS(LShift)                                                                                  \
    CLASS(RShift)                                                                                  \
    CLASS(BitAnd)                                                                                  \
    CLASS(BitOr)                                                                                   \
    CLASS(BitXor)                                                                                  \
    CLASS(Lt)                                                                                      \
    CLASS(LtE)                                                                                     \
    CLASS(Eq)                                                                                      \
    CLASS(NotEq)                                                                                   \
    CLASS(Gt)                                                                                      \
    CLASS(GtE)                                                                                     \
    CLASS(USub)                                                                                    \
    CLASS(UAdd)                                                                                    \
    CLASS(Invert)                                                                                  \
    CLASS(MatMult)                                                                                 \
    CLASS(And)                                                                                     \
    CLASS(Or)                                                                                      \
    CLASS(Not)                                                                                     \
    CLASS(Is)                                                                                      \
    CLASS(IsNot)                                                                                   \
    CLASS(In)                                                                                      \
    CLASS(NotIn)                                                                                   \
    CLASS(BoolOp)                                                                                  \
    CLASS(NamedExpr)                                                                               \
    CLASS(BinOp)                                                                                   \
    CLASS(UnaryOp)                                                                                 \
    CLASS(Lambda)                                                                                  \
    CLASS(IfExp)                                                                                   \
    CLASS(Dict)                                                                                    \
    CLASS(Set)                                                                                     \
    CLASS(ListComp)                                                                                \
    CLASS(SetComp)                                                                                 \
    CLASS(DictComp)                                                                                \
    CLASS(GeneratorExp)                                                                            \
    CLASS(Await)                                                                                   \
    CLASS(Yield)                                                                                   \
    CLASS(YieldFrom)                                                                               \
    CLASS(Compare)                                                                                 \
    CLASS(Call)                                                                                    \
    CLASS(JoinedStr)                                                                               \
    CLASS(Constant)                                                                                \
    CLASS(Attribute)                                                                               \
    CLASS(Subscript)                                                                               \
    CLASS(Starred)                                                                                 \
    CLASS(Name)                                                                                    \
    CLASS(List)                                                                                    \
    CLASS(Tuple)                                                                                   \
    CLASS(Slice)                                                                                   \
    CLASS(Assign)                                                                                  \
    CLASS(AugAssign)                                                                               \
    CLASS(AnnAssign)                                                                               \
    CLASS(Expr)                                                                                    \
    CLASS(Pass)                                                                                    \
    CLASS(Delete)

enum class {
#define CLASS(name) CLASS_##name,
    CLASSES(CLASS)
#undef CLASS
        CLASS_COUNT
};

/* Attributes of the tree's objects and other names. */
#define NAMES(NAME)                                                                                \
    NAME(args)                                                                                     \
    NAME(arg)                                                                                      \
    NAME(attr)                                                                                     \
    NAME(body)                                                                                     \
    NAME(col_offset)                                                                               \
    NAME(comparators)                                                                              \
    NAME(elts)                                                                                     \
    NAME(end_col_offset)                                                                           \
    NAME(end_lineno)                                                                               \
    NAME(func)                                                                                     \
    NAME(id)                                                                                       \
    NAME(keywords)                                                                                 \
    NAME(left)                                                                                     \
    NAME(lineno)                                                                                   \
    NAME(lower)                                                                                    \
    NAME(op)                                                                                       \
    NAME(operand)                                                                                  \
    NAME(ops)                                                                                      \
    NAME(orelse)                                                                                   \
    NAME(right)                                                                                    \
    NAME(slice)                                                                                    \
    NAME(step)                                                                                     \
    NAME(target)                                                                                   \
    NAME(targets)                                                                                  \
    NAME(test)                                                                                     \
    NAME(upper)                                                                                    \
    NAME(value)                                                                                    \
    NAME(values)                                                                                   \
    NAME(real)                                                                                     \
    NAME(imag)                                                                                     \
    NAME(T)                                                                                        \
    NAME(axis)                                                                                     \
    NAME(dtype)                                                                                    \
    NAME(nin)                                                                                      \
    NAME(nout)                                                                                     \
    NAME(signature)                                                                                \
    NAME(hasobject)

struct formula_classes {
    PyTypeObject *classes[CLASS_COUNT];
    PyObject *numpy;      /* the module */
    PyObject *functions;  /* dict: what formula_functions() made */
    PyObject *ufunc;      /* numpy.ufunc */
    PyObject *dtype;      /* numpy.dtype */
    PyObject *number;     /* numpy.number */
    PyObject *bool_type;  /* numpy.bool */
    PyObject *time_delta; /* numpy.timedelta64, a number in NumPy's classes */
#define NAME(name) PyObject *name_##name;
    NAMES(NAME)
#undef NAME
};

/* The classes, made at the first call; NULL with an exception. */
const struct formula_classes *formula_classes_get(struct state *state);

/* ---- The reader ---- */

struct reader {
    const struct formula_classes *classes;
    struct formula *formula;
    struct tree tree;
    PyObject *names; /* dict: name -> index */
    int depth;
    int node_capacity;
    int statement_capacity;
    int *slots; /* nodes of the statement by hash, -1: free */
    size_t slot_count;
    PyObject **spine; /* borrowed: operators whose left operand is being read, outermost first */
    size_t spine_size, spine_capacity;
};

/* What a node is made of, beside what struct formula_node says: its place. */
struct place {
    PyObject *first, *last; /* of the tree, borrowed */
};

static inline bool
is_class(const struct reader *reader, PyObject *tree, enum class number)
{
    return Py_TYPE(tree) == reader->classes->classes[number];
}

/* An attribute, which the tree keeps alive. */
static inline PyObject *
borrow(PyObject *tree, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(tree, name);
    Py_XDECREF(value);
    return value;
}

/* As borrow, a list. */
PyObject *reader_list(PyObject *tree, PyObject *name);

/* As borrow, the value of an integer; -1 with an exception. */
int reader_number(PyObject *tree, PyObject *name);

/* The class among those from `first` to `last`, or -1. */
int reader_find_class(const struct reader *reader, PyObject *tree, int first, int last);

/* Where a part of the tree stands in the text. Returns 0 or -1. */
int reader_span(const struct reader *reader, struct place place, struct span *span);

/* Sets an exception that points to a part of the text. Returns -1. */
int reader_refuse(const struct reader *reader, PyObject *tree, PyObject *exception,
                  const char *format, ...);

/* Refuses a class of the tree, with what to write instead: the class of `what` at `tree`. Returns -1. */
int reader_refuse_class(const struct reader *reader, PyObject *tree, PyObject *what,
                        const char *otherwise);
int reader_refuse_integer(const struct reader *reader, PyObject *tree);

/* ---- Nodes: each function returns the node's number, or -1 with an exception ---- */

/* Room for children. */
int *node_children(struct reader *reader, Py_ssize_t count);

/* The node, or an equal one that the statement has. The node's references are taken over. */
int node_add(struct reader *reader, struct formula_node *node, struct place place);

/* A node of up to three children. */
int node_add_parent(struct reader *reader, struct formula_node *node, PyObject *tree, int count,
                    int first, int second, int third);

/* `second` is -1 for an operator of one operand. */
int node_add_operator(struct reader *reader, int operation, int first, int second,
                      struct place place);
int node_add_constant(struct reader *reader, PyObject *object, PyObject *tree);

/* What comes behind shares nothing with the nodes so far. */
void node_end_sharing(struct reader *reader);

/* ---- Parts of the tree: each function returns a node's number, or -1 with an exception ---- */

int read_expression(struct reader *reader, PyObject *tree);

/* None and Ellipsis too. */
int read_value_or_none(struct reader *reader, PyObject *tree);
int read_tuple(struct reader *reader, PyObject *tree, int (*read)(struct reader *, PyObject *));
int read_call(struct reader *reader, PyObject *tree);

/* The index of a name among the formula's names. */
int reader_find_name(struct reader *reader, PyObject *name, PyObject *tree);

/* A dict of the functions beside NumPy's ufuncs: a new reference, or NULL. */
PyObject *formula_functions(void);

#endif

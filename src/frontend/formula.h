/* formula.h: the text of an array expression, or of assignments -> nodes.
 *
 * Python's own parser reads the text (it is never run); what its tree may hold is a short list, and all else is a
 * SyntaxError that points into the text. The nodes stand in the order in which Python would compute them: children
 * before parents, left before right. Equal parts of the text are one node.
 */
#ifndef TINYWEAVE_FORMULA_H
#define TINYWEAVE_FORMULA_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../arena.h"
#include "../state.h"

enum formula_kind {
    FORMULA_CONSTANT, /* object: an exact bool, int, float, complex, str or bytes; None and Ellipsis only in an
                          index, as a keyword's value or as a bound of clip; of a list in an index a read-only
                          ndarray of intp or bool; of the keyword dtype a numpy.dtype, which holds no objects */
    FORMULA_NAME,      /* index: into names */
    FORMULA_OPERATOR,  /* operation; 1 or 2 children */
    FORMULA_CONDITION, /* x if c else y; children c, x, y */
    FORMULA_ATTRIBUTE, /* object: "real", "imag" or "T", interned; the child */
    FORMULA_SUBSCRIPT, /* children: the array, the index */
    FORMULA_SLICE, /* children start, stop, step, each -1 where it is left out or None; only inside an index */
    FORMULA_TUPLE, /* children; only as an index or a keyword's value */
    FORMULA_CALL, /* function; children: positional arguments, then the values of the keywords. clip always has
                      three and no keywords, a reduction one; its axis is a keyword also where it was positional */
};

/* Python's operators: its number protocol's function, and the ufunc that NumPy's arrays answer with. */
#define FORMULA_OPERATORS(OPERATOR)                                                                \
    OPERATOR(ADD, "+", "add")                                                                      \
    OPERATOR(SUBTRACT, "-", "subtract")                                                            \
    OPERATOR(MULTIPLY, "*", "multiply")                                                            \
    OPERATOR(DIVIDE, "/", "divide")                                                                \
    OPERATOR(FLOOR_DIVIDE, "//", "floor_divide")                                                   \
    OPERATOR(REMAINDER, "%", "remainder")                                                          \
    OPERATOR(POWER, "**", "power")                                                                 \
    OPERATOR(LEFT_SHIFT, "<<", "left_shift")                                                       \
    OPERATOR(RIGHT_SHIFT, ">>", "right_shift")                                                     \
    OPERATOR(AND, "&", "bitwise_and")                                                              \
    OPERATOR(OR, "|", "bitwise_or")                                                                \
    OPERATOR(XOR, "^", "bitwise_xor")                                                              \
    OPERATOR(LESS, "<", "less")                                                                    \
    OPERATOR(LESS_EQUAL, "<=", "less_equal")                                                       \
    OPERATOR(EQUAL, "==", "equal")                                                                 \
    OPERATOR(NOT_EQUAL, "!=", "not_equal")                                                         \
    OPERATOR(GREATER, ">", "greater")                                                              \
    OPERATOR(GREATER_EQUAL, ">=", "greater_equal")                                                 \
    OPERATOR(NEGATIVE, "-", "negative")                                                            \
    OPERATOR(POSITIVE, "+", "positive")                                                            \
    OPERATOR(INVERT, "~", "invert")

enum formula_operator {
#define OPERATOR(name, sign, ufunc) FORMULA_##name,
    FORMULA_OPERATORS(OPERATOR)
#undef OPERATOR
        FORMULA_OPERATOR_COUNT
};

enum formula_function {
    FORMULA_UFUNC,     /* a numpy.ufunc with one result */
    FORMULA_WHERE,     /* numpy.where with three arguments */
    FORMULA_CLIP,      /* numpy.clip */
    FORMULA_REDUCTION, /* sum prod min max mean any all argmin argmax, and numpy's amin amax */
    FORMULA_CAST, /* a name of a NumPy scalar type, float64(a): the array in that dtype; object: the type */
    FORMULA_NAMED, /* a caller's name: at the call its value must be a numpy.ufunc */
};

struct formula_node {
    enum formula_kind kind;
    int operation;      /* enum formula_operator, or of a call enum formula_function */
    int index;          /* of a name; of a FORMULA_NAMED call the name's */
    PyObject *object;   /* owned; of a call NumPy's function (NULL for FORMULA_NAMED) */
    PyObject *keywords; /* owned: a tuple of str, or NULL for none */
    int child_count;
    const int *children; /* in the arena */
    /* An operator, or a call of a ufunc without core dimensions, where, clip or a cast, without keywords: may be
     * fused with its neighbours. Never set for FORMULA_NAMED. */
    bool elementwise;
    int line, column; /* where the node stands in the text: from 1; from 0, in characters */
    int end_line, end_column;
};

/* target = value, or target op= value. A plain expression is one statement without a target. No node belongs to two
 * statements: a statement's nodes are those from its first_node to the next one's. The value's nodes stand before
 * the target's, of an in-place operator behind them; what target and value share (a[i] = a[i] + 1) is one node. */
struct formula_statement {
    int target;    /* a NAME, or a SUBSCRIPT (maybe of a SUBSCRIPT ...) of a NAME; -1: none */
    int operation; /* enum formula_operator of an in-place operator; -1: plain */
    int value;
    int combined; /* of an in-place operator: target operator value, as a node; -1 */
    int line;
    int first_node;
};

struct formula {
    PyObject *text;  /* owned, as given; an exact str */
    PyObject *names; /* owned: a tuple of interned str, in order of first appearance */
    struct formula_node *nodes;
    int node_count;
    struct formula_statement *statements;
    int statement_count;
    struct arena arena;
};

/* Limits: the text is at most 1,000,000 characters, the tree at most 100,000 nodes, and nests at most 500 levels
 * (a chain of binary operators, a + b + c ..., nests one, and has at most some 60,000 terms). 10,000 terms and 100 levels work on however deep a stack. A keyword
 * `where` of a ufunc, which has no out here, leaves the other elements of its result uninitialised, as NumPy does:
 * whoever calls it gives it an out. */

/* Reads an expression (`statements` false) or assignments, separated by newlines or ';'. Blanks, empty lines and
 * comments may stand around an expression; statements are dedented as textwrap.dedent does. `function` is the public
 * function, for messages. NULL with an exception that points into the text: SyntaxError (filename "<tinyweave>",
 * lineno, offset, end_lineno, end_offset, text), TypeError for wrong arguments of a function (and for no str at all),
 * OverflowError for an integer beyond 64 bits, -2**63 to 2**64-1. */
struct formula *formula_read(struct state *state, PyObject *text, bool statements,
                             const char *function);
void formula_free(struct formula *formula);

/* Sets an exception of that class whose message ends with the node's line of text and a caret under it; a SyntaxError
 * has it in its fields. Returns NULL. */
PyObject *formula_raise(const struct formula *formula, int node, PyObject *exception,
                        const char *format, ...);

/* Frees what reading keeps in the state: classes and names. */
void formula_classes_free(struct state *state);

#endif

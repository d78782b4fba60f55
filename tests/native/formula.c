/* formula.c: reading formulas, for tests through ctypes.PyDLL. */
#include "../../src/frontend/formula.h"

static struct state state; /* of which reading only uses what it keeps itself */

static PyObject *
children_tuple(const struct formula_node *node)
{
    PyObject *children = PyTuple_New(node->child_count);
    for (int i = 0; children != NULL && i < node->child_count; i++) {
        PyTuple_SET_ITEM(children, i, PyLong_FromLong(node->children[i]));
    }
    return children;
}

/* (kind, operation, index, object, keywords, children, elementwise, line, column, end_line, end_column); a call
 * without object or keywords has None. */
static PyObject *
node_tuple(const struct formula_node *node)
{
    return Py_BuildValue("iiiOONOiiii", (int)node->kind, node->operation, node->index,
                         node->object == NULL ? Py_None : node->object,
                         node->keywords == NULL ? Py_None : node->keywords, children_tuple(node),
                         node->elementwise ? Py_True : Py_False, node->line, node->column,
                         node->end_line, node->end_column);
}

/* (names, [(target, operation, value, line, first_node)], [nodes]) */
PyObject *
formula_tuple(PyObject *text, int statements)
{
    struct formula *formula = formula_read(&state, text, statements, "evaluate");
    if (formula == NULL) {
        return NULL;
    }
    PyObject *statement_list = PyList_New(formula->statement_count);
    for (int i = 0; i < formula->statement_count; i++) {
        const struct formula_statement *statement = &formula->statements[i];
        PyList_SET_ITEM(statement_list, i,
                        Py_BuildValue("iiiii", statement->target, statement->operation,
                                      statement->value, statement->line, statement->first_node));
    }
    PyObject *nodes = PyList_New(formula->node_count);
    for (int i = 0; i < formula->node_count; i++) {
        PyList_SET_ITEM(nodes, i, node_tuple(&formula->nodes[i]));
    }
    PyObject *result = Py_BuildValue("ONN", formula->names, statement_list, nodes);
    formula_free(formula);
    return result;
}

/* Raises an exception of that class about a node. */
PyObject *
formula_raise_at(PyObject *text, int statements, int node, PyObject *exception, PyObject *message)
{
    struct formula *formula = formula_read(&state, text, statements, "evaluate");
    if (formula != NULL) {
        formula_raise(formula, node, exception, "%U", message);
        formula_free(formula);
    }
    return NULL;
}

/* Reads `count` times and gives back nothing: for measuring. */
PyObject *
formula_repeat(PyObject *text, int statements, int count)
{
    for (int i = 0; i < count; i++) {
        struct formula *formula = formula_read(&state, text, statements, "evaluate");
        if (formula == NULL) {
            return NULL;
        }
        formula_free(formula);
    }
    return Py_NewRef(Py_None);
}

/* interpret.c: array expressions node by node, for the tests. */
#include "../../src/call/interpret.h"

#include <stdlib.h>
#include <time.h>

#include "../../src/call/arguments.h"

static struct state state;

/* Each module of the core does this at its import. */
int
interpret_test_import(void)
{
#define INTERN(name)                                                                               \
    state.name_##name = PyUnicode_InternFromString(#name);                                         \
    if (state.name_##name == NULL) {                                                               \
        return -1;                                                                                 \
    }
    STATE_NAMES(INTERN)
#undef INTERN
    state.empty_tuple = PyTuple_New(0);
    return state.empty_tuple == NULL ? -1 : argument_import_numpy(&state);
}

void
interpret_test_clear(void)
{
    interpret_clear(&state);
}

PyObject *
interpret_test_operand(PyObject *value, PyObject *name, int index)
{
    return index ? interpret_index_operand(&state, value, name, "evaluate")
                 : interpret_operand(&state, value, name, "evaluate");
}

/* The nanoseconds that one of them takes. */
double
interpret_test_time(PyObject *value, PyObject *name, int times)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < times; i++) {
        Py_XDECREF(interpret_operand(&state, value, name, "evaluate"));
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
           times;
}

/* A run: the text, its operands, the nodes' values, and which nodes the statement at hand needs. */
struct run {
    struct formula *formula;
    const char *function;
    PyObject **names, **values;
    bool *needed;
};

static void
clear_values(struct run *run)
{
    for (int i = 0; i < run->formula->node_count; i++) {
        Py_CLEAR(run->values[i]);
        run->needed[i] = false;
    }
}

static void
run_end(struct run *run)
{
    if (run->values != NULL && run->needed != NULL) {
        clear_values(run);
    }
    for (Py_ssize_t i = 0; run->names != NULL && i < PyTuple_GET_SIZE(run->formula->names); i++) {
        Py_XDECREF(run->names[i]);
    }
    free(run->names);
    free(run->values);
    free(run->needed);
    formula_free(run->formula);
}

static int
take_names(struct run *run, PyObject *dictionary)
{
    PyObject *names = run->formula->names;
    bool index[256];
    if (PyTuple_GET_SIZE(names) > 256) {
        PyErr_SetString(PyExc_ValueError, "more names than this test has room for");
        return -1;
    }
    interpret_index_names(run->formula, index);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        PyObject *value = PyDict_GetItemWithError(dictionary, name);
        if (value == NULL) {
            PyErr_Format(PyExc_NameError, "name '%U' is not defined", name);
            return -1;
        }
        run->names[i] = index[i] ? interpret_index_operand(&state, value, name, run->function)
                                 : interpret_operand(&state, value, name, run->function);
        if (run->names[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

static int
run_start(struct run *run, PyObject *text, bool statements, PyObject *names)
{
    *run = (struct run){.function = statements ? "blitz" : "evaluate"};
    run->formula = formula_read(&state, text, statements, run->function);
    if (run->formula == NULL) {
        return -1;
    }
    size_t count = (size_t)run->formula->node_count + 1;
    run->names = calloc((size_t)PyTuple_GET_SIZE(run->formula->names) + 1, sizeof(PyObject *));
    run->values = calloc(count, sizeof(PyObject *));
    run->needed = calloc(count, sizeof(bool));
    return take_names(run, names);
}

/* Marks what the statement needs: children stand before parents. */
static void
mark(struct run *run, const struct formula_statement *statement)
{
    run->needed[statement->value] = true;
    if (statement->target >= 0) {
        const struct formula_node *target = &run->formula->nodes[statement->target];
        bool item = target->kind == FORMULA_SUBSCRIPT;
        run->needed[item ? target->children[0] : statement->target] = true;
        run->needed[item ? target->children[1] : statement->target] = true;
    }
    for (int i = run->formula->node_count - 1; i >= 0; i--) {
        const struct formula_node *node = &run->formula->nodes[i];
        for (int c = 0; run->needed[i] && c < node->child_count; c++) {
            if (node->children[c] >= 0) {
                run->needed[node->children[c]] = true;
            }
        }
    }
}

/* Computes the needed nodes but `last`, which may be -1. */
static int
compute(struct run *run, int last)
{
    for (int i = 0; i < run->formula->node_count; i++) {
        if (!run->needed[i] || i == last) {
            continue;
        }
        run->values[i] =
            interpret_node(&state, run->formula, i, run->values, run->names, run->function);
        if (run->values[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
option(PyObject *options, const char *name)
{
    return PyDict_GetItemString(options, name);
}

PyObject *
interpret_test_evaluate(PyObject *text, PyObject *names, PyObject *options)
{
    const struct result_options wanted = {option(options, "out"), option(options, "dtype"),
                                          option(options, "casting"), option(options, "order"),
                                          option(options, "where")};
    struct run run;
    PyObject *result = NULL;
    if (run_start(&run, text, false, names) == 0) {
        int root = run.formula->statements[0].value;
        mark(&run, &run.formula->statements[0]);
        if (compute(&run, root) == 0) {
            result = interpret_result(&state, run.formula, root, run.values, run.names, &wanted,
                                      run.function);
        }
    }
    if (run.formula != NULL) {
        run_end(&run);
    }
    return result;
}

static int
run_statement(struct run *run, const struct formula_statement *statement)
{
    mark(run, statement);
    int status = compute(run, -1);
    if (status == 0) {
        status = interpret_statement(&state, run->formula, statement, run->values);
    }
    clear_values(run);
    return status;
}

PyObject *
interpret_test_blitz(PyObject *text, PyObject *names)
{
    struct run run;
    int status = run_start(&run, text, true, names);
    for (int i = 0; status == 0 && i < run.formula->statement_count; i++) {
        status = run_statement(&run, &run.formula->statements[i]);
    }
    if (run.formula != NULL) {
        run_end(&run);
    }
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* The stores without a text. */
PyObject *
interpret_test_store(PyObject *target, PyObject *index, int operation, PyObject *value)
{
    int status = index == Py_None ? interpret_store(&state, target, operation, value)
                                  : interpret_store_item(&state, target, index, operation, value);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

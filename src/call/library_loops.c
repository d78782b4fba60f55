/* library_loops.c: the Libraries of tw.ufunc and tw.gufunc. */
#include "library_loops.h"

#include "../frontend/core.h"

static void
raise_no_function(const struct library *library)
{
    PyObject *names = PyList_New(0);
    for (size_t i = 0; names != NULL && i < library->plans.count; i++) {
        PyObject *name = PyUnicode_FromString(library->plans.items[i].name);
        if (name == NULL || PyList_Append(names, name) < 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(name);
    }
    if (names != NULL && library->picks) {
        PyErr_Format(PyExc_ValueError, "%s(): 'name' is %R, but the source has the functions %R",
                     library_maker(library), library->name, names);
    }
    else if (names != NULL) {
        PyErr_Format(
            PyExc_ValueError,
            "%s(): the source has the functions %R: pick one by 'name', or make the others "
            "static",
            library_maker(library), names);
    }
    Py_XDECREF(names);
}

/* The only function, or the one that has the name asked for. Returns 0, or -1 with an exception. */
static int
pick_function(struct library *library, struct build *build)
{
    const struct plans *plans = &library->plans;
    size_t index = plans->count == 1 ? 0 : plans->count;
    for (size_t i = 0; library->picks && i < plans->count; i++) {
        if (PyUnicode_CompareWithASCIIString(library->name, plans->items[i].name) == 0) {
            index = i;
        }
    }
    if (index == plans->count) {
        raise_no_function(library);
        return -1;
    }
    library->loop_plan = build->program.loop_plan = index;
    return 0;
}

/* Returns 0, or -1 with an exception that says why the function makes no ufunc. */
static int
check_function(const struct library *library, const struct build *build)
{
    const struct plan *plan = &library->plans.items[library->loop_plan];
    struct buffer reason = BUFFER_INIT;
    struct loop_operands operands;
    struct core core = {0};
    struct spot spot;
    int result = 0;
    if (plan->refusal != NULL) {
        buffer_append_string(&reason, plan->refusal);
        result = -1;
    }
    else if (loop_read(plan, library->loops, &operands, &reason) < 0 ||
             (library->loops == LOOP_CORE && core_read(plan, &operands, &core, &reason) < 0)) {
        result = -1;
    }
    if (result < 0 && !reason.failed && reason.size > 0) {
        program_refuse(&build->program, plan, reason.data, &spot);
        build_raise(build, &spot, "");
    }
    else if (result < 0) {
        PyErr_NoMemory();
    }
    core_free(&core);
    buffer_free(&reason);
    return result;
}

/* All that a ufunc needs, of one reading of the sources. Returns 0, or -1 with an exception. */
static int
build_kernels(struct library *library, struct build *build)
{
    unsigned variables = library->plans.items[library->loop_plan].variables;
    size_t count = function_choices(&library->shared, variables);
    for (size_t i = 0; i < count; i++) {
        struct binding choice = function_choice(&library->shared, variables, i);
        struct binding binding = library_binding(library, &choice);
        unit_free(&build->unit);
        buffer_free(&build->headers);
        build->unit = (struct unit){0};
        struct kernel *kernel = build_kernel(build, &library->plans, &binding);
        if (library_keep_kernel(library, &binding, kernel) == NULL) {
            return -1;
        }
    }
    return 0;
}

int
library_build_loops(struct library *library, struct build *build)
{
    return pick_function(library, build) < 0    ? -1
           : check_function(library, build) < 0 ? -1
                                                : build_kernels(library, build);
}

/* ---- What a ufunc sees of a Library ---- */

const struct function_library *
library_shared(PyObject *library)
{
    return &((struct library *)library)->shared;
}

const struct plan *
library_loop_plan(PyObject *library)
{
    const struct library *self = (const struct library *)library;
    return &self->plans.items[self->loop_plan];
}

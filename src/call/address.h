/* address.h: Python objects that stand for a C function: its address, for a parameter that is a pointer to one. */
#ifndef TINYWEAVE_ADDRESS_H
#define TINYWEAVE_ADDRESS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#include "../frontend/plan.h"
#include "../state.h"

/* The parameter, and what messages say of it. */
struct address_request {
    const struct state *state;
    const char *function;
    const struct plan_parameter *parameter; /* ROLE_CALLBACK */
    const struct binding *binding;          /* of the call */
};

struct address {
    void *pointer;
    void *
        user_data; /* of a scipy.LowLevelCallable: for the void * behind the parameter; NULL: none */
    bool needs_gil;    /* it calls Python's API */
    bool prints;       /* it links to printf */
    bool calls_python; /* it may take the GIL by itself */
};

/* A tw.Function, a ctypes function pointer, a scipy.LowLevelCallable or a capsule named by its signature,
 * checked against the parameter. Returns 1; 0 when the value is none of these; -1 with TypeError. The address
 * is good as long as the object lives. */
int address_find(const struct address_request *request, PyObject *value, struct address *address);

#endif

/* callback.h: what Python gives C to call: parameters that are pointers to functions.
 *
 * A Python callable becomes a C function of its own, a thunk. C may keep a pointer beyond the call, so that a
 * Library keeps alive what the last CALLBACKS_KEPT different values were, and frees older ones once no
 * running call has passed them. A callable that comes again for the same parameter gets the same pointer.
 */
#ifndef TINYWEAVE_CALLBACK_H
#define TINYWEAVE_CALLBACK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../frontend/plan.h"
#include "../state.h"
#include "call.h"
#include "record.h"

enum { CALLBACKS_KEPT = 1024 };

/* Whether the interpreter has begun to end: from then on C's threads do without Python. */
bool callback_python_is_ending(void);

/* ---- Of a Library ---- */

struct callbacks;

/* `library` is who owns them, and the records. Both are borrowed. NULL with MemoryError. */
struct callbacks *callbacks_new(struct state *state, PyObject *library,
                                const struct records *records);

int callbacks_traverse(const struct callbacks *callbacks, visitproc visit, void *arg);

/* Lets go of the Python objects: the functions stay, and return 0. */
void callbacks_clear(struct callbacks *callbacks);

/* Frees all; `callbacks` may be NULL. No call of the Library is running. When the interpreter is ending, what C may
 * still call stays where it is, and returns 0. */
void callbacks_free(struct callbacks *callbacks);

/* Whether C may have a pointer to a Python callable of this Library. */
bool callbacks_any(const struct callbacks *callbacks);

/* ---- Of a call ---- */

struct callback_run;

/* A call of the plan's function. The callbacks, the plan and the binding outlive it. NULL with MemoryError. */
struct callback_run *callback_run_new(struct callbacks *callbacks, const struct plan *plan,
                                      const struct binding *binding);

/* Gives back what the call held. */
void callback_run_free(struct callback_run *run);

/* Takes the value of the parameter of that index, and puts the pointer to pass at `pointer`. The caller keeps
 * the value alive until callback_run_free. Returns 0, or -1 with TypeError, or CompileError. */
int callback_take(struct callback_run *run, int index, PyObject *value, void **pointer);

/* Enters the function; once for a run. `values` are those of its integer parameters. Returns 0, or -1 with the exception that a callback raised, the first one, or
 * that of call_function. */
int callback_run_enter(struct callback_run *run, struct kernel *kernel, call_code *code,
                       double (*slots)[2], const long long *values, struct pace *pace);

#endif

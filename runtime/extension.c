/* extension.c: what modules made by tw.extension call in place of the interpreter's own.
 *
 * CPython tells a single-phase module its full name by a variable that is not exported; here PyModule_Create
 * does that, and enters the module into sys.modules while its init code runs.
 */
#include "extension.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static _Thread_local struct initialization *running;

void
extension_enter(struct initialization *initialization)
{
    initialization->outer = running;
    running = initialization;
}

void
extension_leave(struct initialization *initialization)
{
    running = initialization->outer;
    Py_CLEAR(initialization->module);
}

/* "pkg._speedups" is meant by "_speedups" and by "other._speedups". */
static bool
is_meant(const char *full, const char *name)
{
    const char *dot = strrchr(full, '.');
    const char *own_dot = name == NULL ? NULL : strrchr(name, '.');
    return name != NULL &&
           strcmp(dot == NULL ? full : dot + 1, own_dot == NULL ? name : own_dot + 1) == 0;
}

/* PyModule_Create of the module that is being initialised: under its full name, as importlib would have it. */
static PyObject *
create_module(PyModuleDef *def, int version)
{
    struct initialization *current = running;
    if (current == NULL || current->module != NULL || !is_meant(current->text, def->m_name)) {
        return PyModule_Create2(def, version);
    }
    const char *name = def->m_name;
    def->m_name = current->text;
    PyObject *module = PyModule_Create2(def, version);
    def->m_name = name;
    if (module != NULL) {
        current->module = Py_NewRef(module);
        if (PyObject_SetItem(PyImport_GetModuleDict(), current->name, module) < 0) {
            Py_CLEAR(module);
        }
    }
    return module;
}

/* Those of libc's are linked into each program, and exported by none. */
static const struct {
    const char *name;
    const void *address;
} SYMBOLS[] = {
    {"PyModule_Create2", (const void *)create_module},
    {"atexit", (const void *)atexit},
    {"fstat", (const void *)fstat},
    {"fstatat", (const void *)fstatat},
    {"lstat", (const void *)lstat},
    {"mknod", (const void *)mknod},
    {"mknodat", (const void *)mknodat},
    {"pthread_atfork", (const void *)pthread_atfork},
    {"stat", (const void *)stat},
};

const void *
extension_symbol(const char *name)
{
    for (size_t i = 0; i < sizeof(SYMBOLS) / sizeof(*SYMBOLS); i++) {
        if (strcmp(SYMBOLS[i].name, name) == 0) {
            return SYMBOLS[i].address;
        }
    }
    return NULL;
}

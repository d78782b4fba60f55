/* options.h: the keywords that change what is compiled: support_code, headers, define_macros ... */
#ifndef TINYWEAVE_OPTIONS_H
#define TINYWEAVE_OPTIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../state.h"
#include "../unit.h"

/* Every option: its name, and how its value is made canonical (options.c). */
#define OPTIONS(OPTION)                                                                            \
    OPTION(support_code, text)                                                                     \
    OPTION(headers, strings)                                                                       \
    OPTION(define_macros, macros)                                                                  \
    OPTION(undef_macros, strings)                                                                  \
    OPTION(include_dirs, folders)                                                                  \
    OPTION(libraries, libraries)                                                                   \
    OPTION(library_dirs, folders)                                                                  \
    OPTION(extra_compile_args, flags)

enum option_index {
#define OPTION(name, form) OPTION_##name,
    OPTIONS(OPTION)
#undef OPTION
        OPTION_COUNT
};

/* The values as they came, borrowed; NULL where none was given. */
struct options_given {
    PyObject *values[OPTION_COUNT];
};

/* What a front end needs of them. */
struct options {
    PyObject *support_code; /* borrowed from the canonical tuple; NULL: none */
    struct buffer macros;   /* a #define or #undef a line */
    struct buffer headers;  /* an #include a line */
    struct strings include_dirs;
    struct strings libraries;
    struct strings library_dirs;
};

/* Takes one keyword. One that is weave's, and has no meaning here, is a TypeError that says so. */
int options_set(struct options_given *given, const struct state *state, const char *function,
                PyObject *name, PyObject *value);

/* Returns a tuple that is equal for equal options, and never changes; or NULL with a TypeError. */
PyObject *options_canonical(const struct options_given *given, const char *function);

/* Reads the canonical tuple (NULL: no options). Returns 0, or -1 with an exception; options_free is owed
 * either way. */
int options_read(PyObject *canonical, const char *function, struct options *options);
void options_free(struct options *options);

/* "a b" or a sequence of str -> a tuple of interned str; NULL with an exception that names the option. */
PyObject *options_names(PyObject *names, const char *function, const char *option);

#endif

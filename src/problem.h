/* problem.h: what went wrong, told by code that holds no GIL.
 *
 * A function that can fail takes a `struct problem *`, fills it and returns -1 or NULL. Whoever holds
 * the GIL turns it into a Python exception (module.c: problem_raise, frontend/diagnostic.c for
 * PROBLEM_COMPILE and PROBLEM_SYMBOL).
 */
#ifndef TINYWEAVE_PROBLEM_H
#define TINYWEAVE_PROBLEM_H

enum problem_kind {
    PROBLEM_NONE,
    PROBLEM_MEMORY,  /* MemoryError */
    PROBLEM_COMPILE, /* libtcc's own message, "FILE:LINE: error: TEXT" */
    PROBLEM_OBJECT, /* an object file that is malformed, or holds what the loader refuses by name */
    PROBLEM_SYMBOL, /* undefined symbols: the text is their names, separated by one space */
    PROBLEM_SYSTEM, /* the operating system said no: OSError, or ImportError while libtcc is opened */
};

struct problem {
    enum problem_kind kind;
    char text[1000]; /* NUL-terminated, cut where it does not fit */
};

/* Sets kind and text as printf would, replacing what was there. Returns -1. */
int problem_set(struct problem *problem, enum problem_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

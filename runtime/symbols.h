/* symbols.h: what compiled code may call without naming a library: the whitelist.
 *
 * One list (symbols.def) gives the C declaration put in front of user code, the address the loader
 * binds, whether the GIL is needed, and the names a "did you mean" can offer.
 */
#ifndef TINYWEAVE_SYMBOLS_H
#define TINYWEAVE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>

#include "../src/buffer.h"

enum symbol_class {
    SYMBOL_TYPE,        /* a typedef or an object-like macro: declared, nothing to bind */
    SYMBOL_C,           /* libm, libc: needs no GIL */
    SYMBOL_STDIO,       /* prints to sys.stdout: our own printf and its kin */
    SYMBOL_RUNTIME,     /* tw_...: tinyweave's own, needs no GIL */
    SYMBOL_PYTHON,      /* Python's stable API: the GIL is held */
    SYMBOL_PYTHON_DATA, /* PyExc_...: addresses only, no GIL needed */
};

struct symbol {
    const char *name;
    const char *declaration; /* C text, "" where user code cannot name it but may link to it */
    enum symbol_class symbol_class;
    const void *address; /* NULL for SYMBOL_TYPE */
};

/* Returns the entry of that name, or NULL. */
const struct symbol *symbol_find(const char *name, size_t length);

/* The whole list, sorted by name. */
const struct symbol *symbol_list(size_t *count);

/* Appends the declarations of the names in use, and of all that those need, each once, in an order
 * that compiles, before or after any system header. Unknown names do nothing. */
struct prelude {
    unsigned char *emitted; /* a flag for each entry of the list */
    bool real_python;       /* <Python.h> is included: leave Python's names to it */
};

int prelude_start(struct prelude *prelude); /* 0, or -1: no memory */
void prelude_use(struct prelude *prelude, const char *name, size_t length, struct buffer *text);
void prelude_use_all(struct prelude *prelude, struct buffer *text);
void prelude_end(struct prelude *prelude);

/* What goes in front of `#include <Python.h>`, so that libtcc can read the headers of this Python. */
const char *prelude_python_shim(void);

/* The same for NumPy's headers, and what goes behind them. With these, the undefined symbols of the unit
 * are tw_numpy_api (void **), tw_numpy_apiPyArray_RUNTIME_VERSION (int) and tw_numpy_ufunc_api (void **),
 * each a variable; and import_array() does nothing. */
const char *prelude_numpy_shim(void);
const char *prelude_after_numpy(void);

#endif

/* arguments.h: Python values -> what C sees of them. */
#ifndef TINYWEAVE_ARGUMENTS_H
#define TINYWEAVE_ARGUMENTS_H

#include "call.h"

/* Every kind of argument: its name, the letters of a signature, the C type of its variable. */
#define ARGUMENT_KINDS(KIND)                                                                       \
    KIND(INT, "long", "long")                                                                      \
    KIND(BOOL, "bool", "int")                                                                      \
    KIND(DOUBLE, "double", "double")                                                               \
    KIND(FLOAT, "float", "float")                                                                  \
    KIND(COMPLEX, "complex", "tw_complex")                                                         \
    KIND(COMPLEX_FLOAT, "complexf", "tw_complexf")                                                 \
    KIND(STRING, "str", "const char *")                                                            \
    KIND(OBJECT, "object", "struct _object *")                                                     \
    KIND(ARRAY, "array", "")

enum argument_kind {
#define KIND(name, signature, c_type) ARGUMENT_##name,
    ARGUMENT_KINDS(KIND)
#undef KIND
};

/* The dtypes of arrays: NumPy's name, and the C type of an element. Where a new dtype goes. */
#define ARGUMENT_DTYPES(DTYPE)                                                                     \
    DTYPE(BOOL, "unsigned char")                                                                   \
    DTYPE(BYTE, "signed char")                                                                     \
    DTYPE(UBYTE, "unsigned char")                                                                  \
    DTYPE(SHORT, "short")                                                                          \
    DTYPE(USHORT, "unsigned short")                                                                \
    DTYPE(INT, "int")                                                                              \
    DTYPE(UINT, "unsigned int")                                                                    \
    DTYPE(LONG, "long")                                                                            \
    DTYPE(ULONG, "unsigned long")                                                                  \
    DTYPE(LONGLONG, "long long")                                                                   \
    DTYPE(ULONGLONG, "unsigned long long")                                                         \
    DTYPE(FLOAT, "float")                                                                          \
    DTYPE(DOUBLE, "double")                                                                        \
    DTYPE(CFLOAT, "tw_complexf")                                                                   \
    DTYPE(CDOUBLE, "tw_complex")

/* What a kernel is specialised on. */
struct argument_type {
    unsigned char kind;     /* enum argument_kind */
    unsigned char dtype;    /* an array's NumPy type number */
    unsigned char readonly; /* an array that C may not write to */
};

/* Converts `value`, called `name` by the user, and tells its type. Nothing is owned: the caller keeps a
 * reference to `value` as long as `argument` is used. Returns 0; or -1 with a TypeError (a dtype C code
 * cannot take, byte order, alignment) or OverflowError that names `function` and the variable. */
int argument_take(PyObject *value, PyObject *name, const char *function, struct argument *argument,
                  struct argument_type *type);

/* The C type of the variable; of an array, of its elements. */
const char *argument_c_type(const struct argument_type *type);

/* The kind with these letters of a signature ("long", "array"), or -1. */
int argument_kind_named(const char *signature);

/* The letters of a kind. */
const char *argument_kind_name(const struct argument_type *type);

/* Appends "long", "array double", "array const float" ... for signatures. */
void argument_describe(const struct argument_type *type, struct buffer *text);

/* Bytes of an array argument, 0 for others. */
size_t argument_bytes(const struct argument *argument, const struct argument_type *type);

/* NumPy's C API for this file; called once at import. Returns 0, or -1 with an exception. */
struct state;
int argument_import_numpy(struct state *state);

#endif

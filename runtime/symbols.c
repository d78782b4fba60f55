/* symbols.c: what compiled code may call without naming a library: the whitelist. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "complex.h"
#include "python.h"
#include "span.h"
#include "stdio.h"
#include "symbols.h"

/* Some of Python's functions are deprecated in one of its versions and without successor in another. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* ---- Functions that C only has as macros ---- */

static int
symbol_isfinite(double x)
{
    return isfinite(x) != 0;
}

static int
symbol_isnormal(double x)
{
    return isnormal(x) != 0;
}

static int
symbol_signbit(double x)
{
    return signbit(x) != 0;
}

static int
symbol_fpclassify(double x)
{
    return fpclassify(x);
}

static int
symbol_isgreater(double x, double y)
{
    return isgreater(x, y);
}

static int
symbol_isgreaterequal(double x, double y)
{
    return isgreaterequal(x, y);
}

static int
symbol_isless(double x, double y)
{
    return isless(x, y);
}

static int
symbol_islessequal(double x, double y)
{
    return islessequal(x, y);
}

static int
symbol_islessgreater(double x, double y)
{
    return islessgreater(x, y);
}

static int
symbol_isunordered(double x, double y)
{
    return isunordered(x, y);
}

static void
symbol_return_signed_string(struct call *call, const signed char *value)
{
    call_return_string(call, (const char *)value);
}

static void
symbol_return_unsigned_string(struct call *call, const unsigned char *value)
{
    call_return_string(call, (const char *)value);
}

/* In libc, but in no header. */
extern void __stack_chk_fail(void);
extern int __isoc99_scanf(const char *, ...);
extern int __isoc99_fscanf(FILE *, const char *, ...);
extern int __isoc99_sscanf(const char *, const char *, ...);
extern int __isoc99_vsscanf(const char *, const char *, va_list);
extern int __xpg_strerror_r(int, char *, size_t);
extern void __assert_fail(const char *, const char *, unsigned int, const char *)
    __attribute__((noreturn));

/* ---- The list, once as prototypes: the compiler compares them with the headers' ---- */

#define tw_call call

#define FUNCTION(class, returns, name, parameters) returns(name) parameters;
#define ALIAS(class, returns, name, parameters, function) returns(function) parameters;
#define DATA(class, type, name) extern type name;
#include "symbols.def"

#undef tw_call

/* ---- and once as the table. A name next to # is not expanded, as a macro in Python's or libc's headers,
 * but its address is that of what the macro stands for. ---- */

#define DEFINE(name, parameters, value)                                                            \
    "#ifndef " name "\n#define " name parameters " " value "\n#endif"

#define FUNCTION(class, returns, name, parameters)                                                 \
    {#name, #returns " (" #name ")" #parameters ";", class, (const void *)(name)},
#define ALIAS(class, returns, name, parameters, function)                                          \
    {#name, #returns " (" #name ")" #parameters ";", class, (const void *)(function)},
#define PYTHON_MACRO(returns, name, parameters)                                                    \
    {#name, #returns " (" #name ")" #parameters ";", SYMBOL_PYTHON, (const void *)python_##name},
#define DATA(class, type, name) {#name, "extern " #type " " #name ";", class, &(name)},
#define SINGLETON(name) {#name, "extern PyObject " #name ";", SYMBOL_PYTHON, &(name)},
#define LINKED(class, name) {#name, "", class, (const void *)(name)},
#define LINKED_DATA(class, name) {#name, "", class, &(name)},
#define LINKED_AS(class, name, function) {#name, "", class, (const void *)(function)},
#define TYPE(name, text) {#name, text, SYMBOL_TYPE, NULL},
#define MACRO(name, value) {#name, DEFINE(#name, "", value), SYMBOL_TYPE, NULL},
#define FUNCTION_MACRO(name, parameters, value)                                                    \
    {#name, DEFINE(#name, parameters, value), SYMBOL_TYPE, NULL},
#define EITHER_MACRO(name, libtcc, other)                                                          \
    {#name,                                                                                        \
     "#ifndef " #name "\n#ifdef __TINYC__\n#define " #name " " libtcc "\n#else\n#define " #name    \
     " " other "\n#endif\n#endif",                                                                 \
     SYMBOL_TYPE, NULL},
#define EITHER_FUNCTION_MACRO(name, parameters, libtcc, other)                                     \
    {#name,                                                                                        \
     "#ifndef " #name "\n#ifdef __TINYC__\n#define " #name parameters " " libtcc                   \
     "\n#else\n#define " #name parameters " " other "\n#endif\n#endif",                            \
     SYMBOL_TYPE, NULL},
#define ARITHMETIC(name, operator, wide, narrow)                                                   \
    {#name,                                                                                        \
     DEFINE(#name, "(x, y)",                                                                       \
            "tw_binary_(x, y, " wide ", \\\n"                                                      \
            "    " #narrow "(tw_narrow_(tw_x), tw_narrow_(tw_y)), \\\n"                            \
            "    tw_number_(tw_x) " operator" tw_number_(tw_y))"),                                 \
     SYMBOL_TYPE, NULL},
#define MATHEMATICS(name)                                                                          \
    {"tw_" #name,                                                                                  \
     DEFINE("tw_" #name, "(x)",                                                                    \
            "tw_unary_(x, tw_complex_" #name "(tw_wide_(tw_x)), \\\n"                              \
            "    tw_complexf_" #name "(tw_narrow_(tw_x)), \\\n"                                    \
            "    float: " #name "f(tw_number_(tw_x)), default: " #name "(tw_number_(tw_x)))"),     \
     SYMBOL_TYPE, NULL},

/* Up to eight operands from left to right: tw_add(a, b, c) is f(f(a, b), c). */
#define TW_FOLD(function)                                                                          \
    "tw_operands_(__VA_ARGS__, tw_fold8_, tw_fold7_, tw_fold6_, tw_fold5_, tw_fold4_, \\\n"        \
    "    tw_fold3_, tw_fold2_, )(" function ", x, __VA_ARGS__)"

static const struct symbol symbols[] = {
#include "symbols.def"
};

static const size_t symbol_count = sizeof symbols / sizeof symbols[0];

const struct symbol *
symbol_list(size_t *count)
{
    *count = symbol_count;
    return symbols;
}

/* strcmp, for a name that `length` ends. */
static int
compare_name(const char *name, size_t length, const char *other)
{
    int order = strncmp(name, other, length);
    return order != 0 ? order : -(other[length] != '\0');
}

const struct symbol *
symbol_find(const char *name, size_t length)
{
    size_t low = 0;
    size_t high = symbol_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare_name(name, length, symbols[middle].name);
        if (order == 0) {
            return &symbols[middle];
        }
        if (order < 0) {
            high = middle;
        }
        else {
            low = middle + 1;
        }
    }
    return NULL;
}

/* ---- The prelude ---- */

int
prelude_start(struct prelude *prelude)
{
    prelude->emitted = calloc(symbol_count, 1);
    prelude->real_python = false;
    return prelude->emitted == NULL ? -1 : 0;
}

void
prelude_end(struct prelude *prelude)
{
    free(prelude->emitted);
    prelude->emitted = NULL;
}

/* What Python.h declares; tw_return_object, also of class SYMBOL_PYTHON, is ours. */
static bool
is_pythons(const struct symbol *symbol)
{
    const char *name = symbol->name;
    return strncmp(name, "Py", 2) == 0 || strncmp(name, "PY_", 3) == 0 ||
           strncmp(name, "_Py", 3) == 0;
}

static bool
is_word(char character)
{
    return isalnum((unsigned char)character) || character == '_';
}

/* Emits what the declaration itself refers to. Numbers are skipped whole: 1e10000f has no name in it. */
static void
use_words(struct prelude *prelude, const char *declaration, struct buffer *text)
{
    const char *c = declaration;
    while (*c != '\0') {
        const char *start = c;
        while (is_word(*c)) {
            c++;
        }
        if (c == start) {
            c++;
        }
        else if (!isdigit((unsigned char)*start)) {
            prelude_use(prelude, start, (size_t)(c - start), text);
        }
    }
}

static void
use_symbol(struct prelude *prelude, const struct symbol *symbol, struct buffer *text)
{
    unsigned char *emitted = &prelude->emitted[symbol - symbols];
    if (*emitted || symbol->declaration[0] == '\0' ||
        (prelude->real_python && is_pythons(symbol))) {
        return;
    }
    *emitted = 1; /* before its words are looked at: the first of them may be its own name */
    use_words(prelude, symbol->declaration, text);
    buffer_append_string(text, symbol->declaration);
    buffer_append(text, "\n", 1);
}

void
prelude_use(struct prelude *prelude, const char *name, size_t length, struct buffer *text)
{
    const struct symbol *symbol = symbol_find(name, length);
    if (symbol != NULL) {
        use_symbol(prelude, symbol, text);
    }
}

void
prelude_use_all(struct prelude *prelude, struct buffer *text)
{
    for (size_t i = 0; i < symbol_count; i++) {
        use_symbol(prelude, &symbols[i], text);
    }
}

const char *
prelude_python_shim(void)
{
    return "#define PY_SSIZE_T_CLEAN\n"
#if PY_VERSION_HEX >= 0x030D0000
           "#ifdef __TINYC__\n#define Py_ATOMIC_H\n#endif\n"
#endif
        ;
}

const char *
prelude_numpy_shim(void)
{
    return "#define PY_ARRAY_UNIQUE_SYMBOL tw_numpy_api\n"
           "#define PY_UFUNC_UNIQUE_SYMBOL tw_numpy_ufunc_api\n"
           "#define NO_IMPORT_ARRAY\n"
           "#define NO_IMPORT_UFUNC\n"
           "#ifndef NPY_NO_DEPRECATED_API\n"
           "#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION\n"
           "#endif\n";
}

const char *
prelude_after_numpy(void)
{
    return "#undef import_umath\n"
           "#undef import_umath1\n"
           "#undef import_umath2\n"
           "#undef import_ufunc\n"
           "#define _import_array() 0\n"
           "#define import_array() ((void)0)\n"
           "#define import_array1(value) ((void)0)\n"
           "#define import_array2(message, value) ((void)0)\n"
           "#define import_umath() ((void)0)\n"
           "#define import_umath1(value) ((void)0)\n"
           "#define import_umath2(message, value) ((void)0)\n"
           "#define import_ufunc() ((void)0)\n";
}

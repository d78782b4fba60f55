/* declaration.h: the declarations of a translation unit: C99's declarators in full.
 *
 * What is kept is what an interface is made of: functions, with their parameters' types as written, the
 * comment above each, and what structs and unions hold. Bodies and initialisers are skipped.
 */
#ifndef TINYWEAVE_DECLARATION_H
#define TINYWEAVE_DECLARATION_H

#include <stdbool.h>
#include <stddef.h>

#include "../arena.h"
#include "lexer.h"
#include "preprocess.h"

/* ---- Types ---- */

/* The names that stand for dtypes: one letter each. */
enum { TYPE_VARIABLES = 2 };
extern const char TYPE_VARIABLE_NAMES[TYPE_VARIABLES + 1]; /* "TU" */

/* The bit of the type variable that a token names; 0: none. */
unsigned type_variable(const struct token *name);

/* Every arithmetic type of C: its name here, how C writes it. */
#define BASIC_TYPES(BASIC)                                                                         \
    BASIC(BOOL, "_Bool")                                                                           \
    BASIC(CHAR, "char")                                                                            \
    BASIC(SCHAR, "signed char")                                                                    \
    BASIC(UCHAR, "unsigned char")                                                                  \
    BASIC(SHORT, "short")                                                                          \
    BASIC(USHORT, "unsigned short")                                                                \
    BASIC(INT, "int")                                                                              \
    BASIC(UINT, "unsigned int")                                                                    \
    BASIC(LONG, "long")                                                                            \
    BASIC(ULONG, "unsigned long")                                                                  \
    BASIC(LONGLONG, "long long")                                                                   \
    BASIC(ULONGLONG, "unsigned long long")                                                         \
    BASIC(FLOAT, "float")                                                                          \
    BASIC(DOUBLE, "double")                                                                        \
    BASIC(LONGDOUBLE, "long double")                                                               \
    BASIC(COMPLEXF, "tw_complexf")                                                                 \
    BASIC(COMPLEX, "tw_complex")

enum basic_type {
#define BASIC(name, spelling) BASIC_##name,
    BASIC_TYPES(BASIC)
#undef BASIC
};

enum type_kind {
    TYPE_VOID,
    TYPE_BASIC,
    TYPE_POINTER,  /* to `target` */
    TYPE_ARRAY,    /* of `target`s */
    TYPE_FUNCTION, /* that returns `target` */
    TYPE_STRUCT,   /* named by `name`, or without a tag */
    TYPE_UNION,
    TYPE_ENUM,
    TYPE_NAMED, /* by an identifier nothing in the unit or the prelude declares: T, a system header's */
};

enum qualifier {
    QUALIFIER_CONST = 1,
    QUALIFIER_VOLATILE = 2,
    QUALIFIER_RESTRICT = 4,
    QUALIFIER_ATOMIC = 8
};

/* A function of two parameters like the one before doubles it: whoever walks through a type would not come to an
 * end. */
#define TYPE_WEIGHT 20000

/* typedefs are resolved: their names do not show. */
struct type {
    enum type_kind kind;
    unsigned qualifiers;   /* its own; of an array in a parameter, what stands in the [ ] */
    enum basic_type basic; /* TYPE_BASIC */
    size_t alignment;      /* that a typedef with an attribute asks for; 0: the type's own */
    const struct type *target;
    int depth;   /* how many types nest in it, parameters' too: at most CHECK_DEPTH */
    long weight; /* how many it is made of, each as often as it is met: at most TYPE_WEIGHT */
    const struct token *name; /* of a struct, union, enum or TYPE_NAMED; NULL: none */
    const char *known; /* of a type that came by a typedef of the prelude and is no number: its name
                          there, "PyObject", "FILE"; else NULL. It stays through pointers' targets */
    const struct record
        *record; /* TYPE_STRUCT, TYPE_UNION, TYPE_ENUM: what all uses of the tag share */
    /* TYPE_ARRAY */
    const struct expression *extent; /* NULL: [ ]; [*] is an extent of kind EXPRESSION_STAR */
    bool is_static;                  /* [static n] */
    /* TYPE_FUNCTION */
    const struct parameter *parameters;
    size_t parameter_count;
    bool variadic;
    bool no_prototype; /* () */
};

enum parameter_word { WORD_NONE, WORD_OUT, WORD_INOUT };

struct parameter {
    const struct token *name;  /* NULL: none */
    const struct token *first; /* of its specifiers */
    const struct token *last;
    const struct type *type; /* as written: an array is not turned into a pointer here */
    enum parameter_word word;
    const struct token *word_token; /* the `out` or `inout` itself, which is no C; NULL: none */
};

/* What a tag stands for, or a body without one. A declaration that a body completes later is the same record. */
struct record {
    enum type_kind kind;      /* TYPE_STRUCT, TYPE_UNION or TYPE_ENUM */
    const struct token *name; /* NULL: none */
    bool begun;               /* its body was begun to be read */
    bool complete;            /* its body was read */
    struct member *members;   /* of a struct or union, in order */
    size_t member_count;
    int depth; /* how many records with bodies nest in it: at most CHECK_DEPTH */
    /* Why the size, alignment and offsets below are not given, in words that follow "has": "a bit-field", "a
     * flexible array member", "a long double"; NULL: they are given, if it is complete. */
    const char *why_not;
    const struct token
        *culprit; /* the member that why_not is about; NULL: none, or without a name */
    size_t size;  /* in bytes */
    size_t alignment;
    enum basic_type basic; /* TYPE_ENUM: the integer type it is compatible with */
};

struct member {
    const struct token
        *name; /* NULL: a struct or union whose members count as the outer one's; or a
                                 bit-field without a name */
    const struct type *type;
    int bits; /* the width of a bit-field; -1: it is none */
    size_t offset;
    size_t asked; /* the alignment that its attributes ask for; 0: none */
    bool packed;  /* by an attribute of its own */
};

/* sizeof and _Alignof, by the ABI of x86-64 and aarch64 on Linux. Returns 0; or -1 for what has none, or none that
 * is known here: functions, void, arrays of variable or unknown length, TYPE_NAMED, a record that is not complete
 * or has a why_not. */
int type_layout(const struct type *type, size_t *size, size_t *alignment);

/* ---- Integer constant and dimension expressions ---- */

/* A constant's value, with its type in C: one of the integer types, BASIC_FLOAT or BASIC_DOUBLE. */
struct number {
    enum basic_type basic;
    unsigned long long bits; /* of an integer: sign-extended */
    double floating;
};

/* An operator is named by what it does; `-a` is EXPRESSION_NEGATE. Enumerators are replaced by their
 * values, as are sizeof and _Alignof of a type whose layout is known, and casts of constants to an integer type.
 * Other casts, sizeof of an object, calls, strings and floating numbers are EXPRESSION_OTHER. */
enum expression_kind {
    EXPRESSION_CONSTANT, /* value */
    EXPRESSION_NAME,     /* name */
    EXPRESSION_STAR,
    EXPRESSION_OTHER,
    EXPRESSION_NEGATE, /* one operand: operands[0] */
    EXPRESSION_INVERT, /* ~ */
    EXPRESSION_NOT,
    EXPRESSION_MULTIPLY, /* two */
    EXPRESSION_DIVIDE,
    EXPRESSION_REMAINDER,
    EXPRESSION_ADD,
    EXPRESSION_SUBTRACT,
    EXPRESSION_SHIFT_LEFT,
    EXPRESSION_SHIFT_RIGHT,
    EXPRESSION_LESS,
    EXPRESSION_GREATER,
    EXPRESSION_LESS_EQUAL,
    EXPRESSION_GREATER_EQUAL,
    EXPRESSION_EQUAL,
    EXPRESSION_NOT_EQUAL,
    EXPRESSION_AND, /* & */
    EXPRESSION_XOR,
    EXPRESSION_OR,
    EXPRESSION_BOTH,   /* && */
    EXPRESSION_EITHER, /* || */
    EXPRESSION_CHOOSE, /* a ? b : c: three */
};

struct expression {
    enum expression_kind kind;
    long long value;
    const struct token *name;
    const struct token *first, *last; /* its tokens */
    const struct expression *operands[3];
    /* For number_compute (parse.h), also where the kind is EXPRESSION_OTHER. */
    const struct type *cast; /* of operands[0]; NULL: it is none */
    bool has_number;
    struct number number;
};

/* Computes an expression as C does in long long; a name has the value that `names` has at the index which is
 * the node's own `value`. Returns 0; or -1 for a *, a division by zero, an overflow, a shift out of range or
 * EXPRESSION_OTHER. */
int expression_value(const struct expression *expression, const long long *names, long long *value);

/* The same for an expression without names; with one it is -1. */
int expression_constant(const struct expression *expression, long long *value);

/* ---- Constants ---- */

enum constant_kind { CONSTANT_INTEGER, CONSTANT_FLOATING, CONSTANT_STRING };

/* An enumerator at file scope, or a macro without parameters that stands for a constant. */
struct constant {
    const struct token *name;
    const struct source *from; /* where it is declared: a source given, or a header */
    bool is_macro;
    enum constant_kind kind;
    bool
        is_unsigned; /* CONSTANT_INTEGER: of an unsigned type; the value is (unsigned long long)integer */
    long long integer; /* CONSTANT_INTEGER */
    double floating;   /* CONSTANT_FLOATING */
    const char *text;  /* CONSTANT_STRING: the bytes, escapes decoded, and a NUL */
    size_t length;     /* without that NUL */
};

/* ---- Declarations ---- */

enum storage { STORAGE_NONE, STORAGE_EXTERN, STORAGE_STATIC, STORAGE_TYPEDEF };

/* One declarator at file scope: `int a, f(void);` are two. typedefs are in the list too; tags and
 * enumerators alone are not. `const` on a variable itself is in its type's qualifiers, of an array in its
 * elements'. */
struct declaration {
    enum storage storage;
    bool is_inline;
    bool is_definition;   /* of a function: it has a body */
    bool has_initializer; /* of a variable */
    long long
        elements; /* of `int a[] = {1, 2}`: 2; -1: it is no array without a length, or they cannot be
                             counted */
    const struct token *name;
    const struct type *type;
    const struct token *first; /* of its specifiers */
    const struct token *last;  /* of the declarator, before { ; = or , */
    const struct token
        *out; /* the word of ours in front of a function's declaration: what it returns is written
                                  by it; NULL: none. Only declarations_read_declare takes it */
    /* In the source's text: the block comment, or the run of // lines, that ends right above `first` (white
     * space with at most one line break between, and nothing else on its first line before it); NULL: none */
    const char *comment;
    size_t comment_length; /* its marks included */
};

struct declarations {
    struct declaration *items; /* in order */
    size_t count;
    /* Those whose value could be computed: enumerators in order, then the macros alive at the end of the unit, in
     * order of definition. A name may be in it twice; the macro wins then. */
    struct constant *constants;
    size_t constant_count;
    /* A bit for each type variable that is a type in a non-static function's declaration, by way of a typedef
     * too, and that nothing declares. */
    unsigned type_variables;
    struct arena arena; /* what declarations_free frees */
};

/* Reads a unit. Types that the prelude knows (size_t, int32_t, npy_double, PyObject, bool ...:
 * runtime/symbols.h) are known unless the unit declares them itself.
 * `out` and `inout` in a parameter's specifiers, before its type, are words of ours, unless a typedef of the
 * unit has that name; elsewhere they are names like any.
 * Returns 0; or -1 with the spot of what is no declaration of C99, or refused: K&R definitions, implicit
 * int, C++ (class, namespace, template, references, ::), nested functions, nesting deeper than CHECK_DEPTH
 * (an empty message: no memory). What cannot be read in a header of the system's is passed over, to its ; or the
 * end of its body. Either way declarations_free is owed. */
int declarations_read(const struct expanded *unit, struct declarations *declarations,
                      struct spot *spot);

/* As declarations_read, for the text of `declare=`: `out` may stand among the specifiers of a function at file scope
 * too ("out double (*table(int n))[n];"), unless a typedef has that name. Either way extents may name what is no
 * parameter, or one declared later. */
int declarations_read_declare(const struct expanded *unit, struct declarations *declarations,
                              struct spot *spot);

void declarations_free(struct declarations *declarations);

/* Whether a declaration declares the function that the other one names. */
static inline bool
declaration_declares(const struct declaration *declaration, const struct declaration *other)
{
    return declaration->type->kind == TYPE_FUNCTION && declaration->storage != STORAGE_TYPEDEF &&
           token_compare(declaration->name, other->name) == 0;
}

/* Appends the type as C writes it with a name: "double a[m][n]", "double (*f)(double, void *)"; extents as
 * written. `name` may be "". Qualifiers and in/out words are left out where `bare`. */
void type_describe(const struct type *type, const char *name, bool bare, struct buffer *text);

#endif

/* type.c: makes and prints types of the declaration reader. */
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "parse.h"

const char TYPE_VARIABLE_NAMES[TYPE_VARIABLES + 1] = "TU";

unsigned
type_variable(const struct token *name)
{
    const char *letter = name->length == 1 ? strchr(TYPE_VARIABLE_NAMES, name->start[0]) : NULL;
    return letter == NULL ? 0 : 1u << (letter - TYPE_VARIABLE_NAMES);
}

struct type *
type_make(struct parser *parser, enum type_kind kind, const struct token *name)
{
    struct type *type = parse_allocate(parser, sizeof(*type));
    if (type != NULL) {
        type->kind = kind;
        type->name = name;
    }
    return type;
}

const struct type *
type_qualify(struct parser *parser, const struct type *type, unsigned qualifiers)
{
    if (qualifiers == 0 || type->kind == TYPE_FUNCTION) {
        return type;
    }
    struct type *copy = parse_allocate(parser, sizeof(*copy));
    if (copy == NULL) {
        return NULL;
    }
    *copy = *type;
    if (type->kind != TYPE_ARRAY) {
        copy->qualifiers |= qualifiers;
        return copy;
    }
    copy->target = type_qualify(parser, type->target, qualifiers);
    return copy->target == NULL ? NULL : copy;
}

/* ---- Sizes ---- */

enum { POINTER_SIZE = 8 };

/* Size and alignment of each basic type; a complex number is aligned as its parts. */
static const struct {
    unsigned char size, alignment;
} basic_layouts[] = {
    [BASIC_BOOL] = {1, 1},     [BASIC_CHAR] = {1, 1},     [BASIC_SCHAR] = {1, 1},
    [BASIC_UCHAR] = {1, 1},    [BASIC_SHORT] = {2, 2},    [BASIC_USHORT] = {2, 2},
    [BASIC_INT] = {4, 4},      [BASIC_UINT] = {4, 4},     [BASIC_LONG] = {8, 8},
    [BASIC_ULONG] = {8, 8},    [BASIC_LONGLONG] = {8, 8}, [BASIC_ULONGLONG] = {8, 8},
    [BASIC_FLOAT] = {4, 4},    [BASIC_DOUBLE] = {8, 8},   [BASIC_LONGDOUBLE] = {16, 16},
    [BASIC_COMPLEXF] = {8, 4}, [BASIC_COMPLEX] = {16, 8},
};

static int
array_layout(const struct type *type, size_t *size, size_t *alignment)
{
    long long extent;
    if (type->extent == NULL || expression_constant(type->extent, &extent) < 0 || extent < 0 ||
        type_layout(type->target, size, alignment) < 0 ||
        __builtin_mul_overflow(*size, (size_t)extent, size)) {
        return -1;
    }
    return *size <= PTRDIFF_MAX ? 0 : -1;
}

static int
natural_layout(const struct type *type, size_t *size, size_t *alignment)
{
    const struct record *record = type->record;
    switch (type->kind) {
    case TYPE_BASIC:
        *size = basic_layouts[type->basic].size;
        *alignment = basic_layouts[type->basic].alignment;
        return 0;
    case TYPE_POINTER:
        *size = *alignment = POINTER_SIZE;
        return 0;
    case TYPE_ARRAY:
        return array_layout(type, size, alignment);
    case TYPE_STRUCT:
    case TYPE_UNION:
    case TYPE_ENUM:
        if (record == NULL || !record->complete || record->why_not != NULL) {
            return -1;
        }
        *size = record->size;
        *alignment = record->alignment;
        return 0;
    default:
        return -1;
    }
}

int
type_layout(const struct type *type, size_t *size, size_t *alignment)
{
    if (natural_layout(type, size, alignment) < 0) {
        return -1;
    }
    *alignment = type->alignment != 0 ? type->alignment : *alignment;
    return 0;
}

/* ---- As C writes it ---- */

struct printer {
    struct buffer *text;
    size_t start; /* what stands before in the buffer is the caller's */
    bool bare;
};

/* A space, but for what follows an opening bracket, a star or nothing. */
static void
separate(struct printer *printer)
{
    const struct buffer *text = printer->text;
    if (text->size > printer->start && !text->failed) {
        char last = text->data[text->size - 1];
        if (last != '*' && last != '(' && last != '[' && last != ' ') {
            buffer_append(printer->text, " ", 1);
        }
    }
}

static void
print_word(struct printer *printer, const char *word)
{
    separate(printer);
    buffer_append_string(printer->text, word);
}

static void
print_qualifiers(struct printer *printer, unsigned qualifiers)
{
    static const char *const words[] = {"const", "volatile", "restrict", "_Atomic"};
    for (unsigned i = 0; i < 4 && !printer->bare; i++) {
        if (qualifiers & (1u << i)) {
            print_word(printer, words[i]);
        }
    }
}

static void
print_tag(struct printer *printer, const char *keyword, const struct token *name)
{
    print_word(printer, keyword);
    if (name == NULL) {
        buffer_append_string(printer->text, " {...}");
        return;
    }
    buffer_append(printer->text, " ", 1);
    parse_append_tokens(name, name, printer->text);
}

/* A type that is no pointer, array or function, or that has a name in the prelude. */
static void
print_base(struct printer *printer, const struct type *type)
{
    static const char *const spellings[] = {
#define BASIC(name, spelling) spelling,
        BASIC_TYPES(BASIC)
#undef BASIC
    };
    print_qualifiers(printer, type->qualifiers);
    if (type->known != NULL) {
        print_word(printer, type->known);
    }
    else if (type->kind == TYPE_BASIC) {
        print_word(printer, spellings[type->basic]);
    }
    else if (type->kind == TYPE_VOID) {
        print_word(printer, "void");
    }
    else if (type->kind == TYPE_NAMED) {
        separate(printer);
        parse_append_tokens(type->name, type->name, printer->text);
    }
    else {
        print_tag(printer,
                  type->kind == TYPE_STRUCT  ? "struct"
                  : type->kind == TYPE_UNION ? "union"
                                             : "enum",
                  type->name);
    }
}

static bool
is_derived(const struct type *type)
{
    return type->known == NULL &&
           (type->kind == TYPE_POINTER || type->kind == TYPE_ARRAY || type->kind == TYPE_FUNCTION);
}

/* Whether what is declared as a pointer to the type stands in brackets: (*p)[3]. */
static bool
needs_brackets(const struct type *type)
{
    return is_derived(type) && type->kind != TYPE_POINTER;
}

/* What stands before the name. */
static void
print_before(struct printer *printer, const struct type *type)
{
    if (!is_derived(type)) {
        print_base(printer, type);
        return;
    }
    print_before(printer, type->target);
    if (type->kind == TYPE_POINTER) {
        separate(printer);
        buffer_append_string(printer->text, needs_brackets(type->target) ? "(*" : "*");
        print_qualifiers(printer, type->qualifiers);
    }
}

static void print_type(struct printer *printer, const struct type *type, const char *name,
                       const struct token *token);

static void
print_parameters(struct printer *printer, const struct type *type)
{
    buffer_append(printer->text, "(", 1);
    for (size_t i = 0; i < type->parameter_count; i++) {
        const struct parameter *parameter = &type->parameters[i];
        if (i > 0) {
            buffer_append(printer->text, ", ", 2);
        }
        if (parameter->word != WORD_NONE && !printer->bare) {
            print_word(printer, parameter->word == WORD_OUT ? "out" : "inout");
        }
        print_type(printer, parameter->type, "", parameter->name);
    }
    if (type->variadic) {
        buffer_append_string(printer->text, ", ...");
    }
    else if (type->parameter_count == 0 && !type->no_prototype) {
        buffer_append_string(printer->text, "void");
    }
    buffer_append(printer->text, ")", 1);
}

static void
print_extent(struct printer *printer, const struct type *type)
{
    buffer_append(printer->text, "[", 1);
    if (type->is_static && !printer->bare) {
        print_word(printer, "static");
    }
    print_qualifiers(printer, type->qualifiers);
    if (type->extent != NULL) {
        if (!printer->bare) {
            separate(printer);
        }
        parse_append_tokens(type->extent->first, type->extent->last, printer->text);
    }
    buffer_append(printer->text, "]", 1);
}

/* What stands behind the name. */
static void
print_behind(struct printer *printer, const struct type *type)
{
    if (!is_derived(type)) {
        return;
    }
    if (type->kind == TYPE_ARRAY) {
        print_extent(printer, type);
    }
    else if (type->kind == TYPE_FUNCTION) {
        print_parameters(printer, type);
    }
    else if (needs_brackets(type->target)) {
        buffer_append(printer->text, ")", 1);
    }
    print_behind(printer, type->target);
}

/* A type with its name: the text or, if there is one, the token. */
static void
print_type(struct printer *printer, const struct type *type, const char *name,
           const struct token *token)
{
    print_before(printer, type);
    if (token != NULL) {
        separate(printer);
        parse_append_tokens(token, token, printer->text);
    }
    else if (name[0] != '\0') {
        print_word(printer, name);
    }
    else if (needs_brackets(type)) {
        separate(printer);
    }
    print_behind(printer, type);
}

void
type_describe(const struct type *type, const char *name, bool bare, struct buffer *text)
{
    struct printer printer = {text, text->size, bare};
    print_type(&printer, type, name, NULL);
}

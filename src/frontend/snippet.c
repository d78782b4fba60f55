/* snippet.c: a C snippet and the types of its arguments -> a unit (tw.inline).
 *
 *   return_val = a + 2;       with a: long      becomes
 *
 *   <declarations of the names in use; types of the arguments>
 *   <define_macros, headers>
 *   #line 1 "tw:support_code"
 *   ...
 *   tw_nothing tw_kernel(tw_call_pointer tw_call, tw_arguments tw_args)
 *   {
 *       tw_type_0 a = tw_args[0].tw_value.tw_l;
 *       {
 *   #line 1 "tw:code"
 *   tw_return(a + 2);
 *       }
 *   }
 */
#include "snippet.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <numpy/ndarraytypes.h>

#include "../../cache/kernel.h"
#include "../../runtime/symbols.h"
#include "arithmetic.h"
#include "casts.h"
#include "macros.h"
#include "pointers.h"
#include "return_val.h"

#define MAX_DIMENSION_MACRO 4 /* A1 ... A4, as in weave */

#define NAME_LIMIT 250 /* bytes of an argument's name */

/* Whether the code itself says the name, or a macro may: a function of the support code has names of its own,
 * and a variable nobody uses is a warning of other compilers. */
static bool
uses_closely(const struct snippet *snippet, const char *name)
{
    for (int i = 0; i < SNIPPET_SOURCES; i++) {
        const struct tokens *tokens = &snippet->sources[i].tokens;
        for (size_t k = 0; k < tokens->count; k++) {
            const struct token *token = &tokens->items[k];
            if ((i == SNIPPET_CODE || token->directive) && token->kind == TOKEN_IDENTIFIER &&
                token_is(token, name)) {
                return true;
            }
        }
    }
    return snippet->preamble.uses_everything;
}

static bool
uses(const struct snippet *snippet, const char *name)
{
    return snippet->plain ? uses_closely(snippet, name) : preamble_uses(&snippet->preamble, name);
}

void
snippet_derive(const struct snippet *snippet, size_t index, const char *prefix, const char *suffix,
               char name[SNIPPET_NAME_SIZE])
{
    snprintf(name, SNIPPET_NAME_SIZE, "%s%s%s", prefix, snippet->names[index], suffix);
}

static bool
uses_derived(const struct snippet *snippet, size_t index, const char *prefix, const char *suffix)
{
    char name[SNIPPET_NAME_SIZE];
    snippet_derive(snippet, index, prefix, suffix, name);
    return uses(snippet, name);
}

/* ---- Scanning ---- */

static int
out_of_memory(struct spot *spot)
{
    *spot = (struct spot){0};
    return -1;
}

int
snippet_scan(struct snippet *snippet, struct spot *spot)
{
    for (int i = 0; i < SNIPPET_SOURCES; i++) {
        struct source *source = &snippet->sources[i];
        if (lexer_scan(source, spot) < 0) {
            return -1;
        }
        if (i >= SNIPPET_SUPPORT &&
            (check_source(source, i == SNIPPET_CODE, spot) < 0 ||
             arithmetic_check(source, spot) < 0 || casts_check(source, COMPLEX_TYPES, spot) < 0)) {
            return -1;
        }
    }
    if (macros_check(snippet->sources, SNIPPET_SOURCES, spot) < 0) {
        return -1;
    }
    snippet->preamble = (struct preamble){.sources = snippet->sources,
                                          .count = SNIPPET_SOURCES,
                                          .declaring = SNIPPET_CODE,
                                          .include_dirs = snippet->include_dirs};
    return preamble_read(&snippet->preamble) < 0 ? out_of_memory(spot) : 0;
}

void
snippet_free(struct snippet *snippet)
{
    for (int i = 0; i < SNIPPET_SOURCES; i++) {
        lexer_free(&snippet->sources[i]);
    }
    preamble_free(&snippet->preamble);
}

/* ---- Names ---- */

static const char *const C_KEYWORDS[] = {
    "auto",           "break",         "case",       "char",
    "const",          "continue",      "default",    "do",
    "double",         "else",          "enum",       "extern",
    "float",          "for",           "goto",       "if",
    "inline",         "int",           "long",       "register",
    "restrict",       "return",        "short",      "signed",
    "sizeof",         "static",        "struct",     "switch",
    "typedef",        "union",         "unsigned",   "void",
    "volatile",       "while",         "asm",        "typeof",
    "_Alignas",       "_Alignof",      "_Atomic",    "_Bool",
    "_Complex",       "_Generic",      "_Imaginary", "_Noreturn",
    "_Static_assert", "_Thread_local",
};

bool
snippet_is_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof(C_KEYWORDS) / sizeof(*C_KEYWORDS); i++) {
        if (strcmp(name, C_KEYWORDS[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_prelude_name(const char *name)
{
    const struct symbol *symbol = symbol_find(name, strlen(name));
    return (symbol != NULL && symbol->declaration[0] != '\0') || strncmp(name, "tw_", 3) == 0 ||
           strcmp(name, "return_val") == 0;
}

static void
upper_case(const char *name, char *upper, size_t size)
{
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < size; i++) {
        upper[i] = (char)toupper((unsigned char)name[i]);
    }
    upper[i] = '\0';
}

/* Whether `name` is one that `owner`, of this type, brings along: Na, Sa, Da, a_array, A1 ..., py_a. */
static bool
is_derived(const char *name, const char *owner, const struct argument_type *type)
{
    size_t length = strlen(owner);
    if (strncmp(name, "py_", 3) == 0 && strcmp(name + 3, owner) == 0) {
        return true;
    }
    bool array = type->kind == ARGUMENT_ARRAY;
    if ((array || type->kind == ARGUMENT_STRING) && name[0] == 'N' &&
        strcmp(name + 1, owner) == 0) {
        return true;
    }
    if (!array) {
        return false;
    }
    if ((name[0] == 'S' || name[0] == 'D') && strcmp(name + 1, owner) == 0) {
        return true;
    }
    if (strncmp(name, owner, length) == 0 && strcmp(name + length, "_array") == 0) {
        return true;
    }
    char upper[SNIPPET_NAME_SIZE];
    upper_case(owner, upper, sizeof(upper));
    length = strlen(upper);
    return strncmp(name, upper, length) == 0 && name[length] >= '1' &&
           name[length] <= '0' + MAX_DIMENSION_MACRO && name[length + 1] == '\0';
}

static int
check_name(const struct snippet *snippet, size_t index, char message[300])
{
    const char *name = snippet->names[index];
    if (strlen(name) > NAME_LIMIT || strncmp(name, "__", 2) == 0) {
        snprintf(message, 300, "'%.100s' cannot name an argument: it %s", name,
                 name[0] == '_' ? "starts with '__', as the compiler's own names do"
                                : "is too long");
        return -1;
    }
    if (snippet_is_keyword(name)) {
        snprintf(message, 300, "'%s' is a keyword of C and cannot name an argument", name);
        return -1;
    }
    if (is_prelude_name(name)) {
        snprintf(message, 300, "'%s' is a name C code has already, and cannot name an argument",
                 name);
        return -1;
    }
    for (size_t i = 0; i < snippet->count; i++) {
        const char *owner = snippet->names[i];
        if (i != index && strcmp(owner, name) == 0) {
            snprintf(message, 300, "'%s' is named twice in arg_names", name);
            return -1;
        }
        if (i != index && is_derived(name, owner, &snippet->types[i])) {
            snprintf(message, 300, "'%s' cannot name an argument: argument '%s' brings it along",
                     name, owner);
            return -1;
        }
    }
    return 0;
}

int
snippet_check_names(const struct snippet *snippet, char message[300])
{
    for (size_t i = 0; i < snippet->count; i++) {
        if (check_name(snippet, i, message) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- A1 ... A4 ---- */

static void
macro_name(const char *name, int dimensions, char macro[SNIPPET_NAME_SIZE])
{
    upper_case(name, macro, SNIPPET_NAME_SIZE - 2);
    size_t length = strlen(macro);
    macro[length] = (char)('0' + dimensions);
    macro[length + 1] = '\0';
}

unsigned
snippet_dimensions(const struct snippet *snippet, size_t index)
{
    char name[SNIPPET_NAME_SIZE];
    unsigned mask = 0;
    if (snippet->types[index].kind != ARGUMENT_ARRAY || uses_derived(snippet, index, "D", "")) {
        return 0;
    }
    for (int i = 1; i <= MAX_DIMENSION_MACRO; i++) {
        macro_name(snippet->names[index], i, name);
        mask |= uses(snippet, name) ? 1u << i : 0;
    }
    return mask;
}

/* Returns the other array argument with the same upper-cased name, or -1. */
static int
same_macro(const struct snippet *snippet, size_t index)
{
    char upper[SNIPPET_NAME_SIZE], other[SNIPPET_NAME_SIZE];
    upper_case(snippet->names[index], upper, sizeof(upper));
    for (size_t i = 0; i < snippet->count; i++) {
        upper_case(snippet->names[i], other, sizeof(other));
        if (i != index && snippet->types[i].kind == ARGUMENT_ARRAY && strcmp(upper, other) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static const struct token *
find_identifier(const struct tokens *tokens, const char *name)
{
    for (size_t i = 0; i < tokens->count; i++) {
        if (tokens->items[i].kind == TOKEN_IDENTIFIER && token_is(&tokens->items[i], name)) {
            return &tokens->items[i];
        }
    }
    return NULL;
}

static const struct token *
find_in_sources(const struct snippet *snippet, const char *name, const struct source **source)
{
    for (int i = SNIPPET_CODE; i >= 0; i--) {
        const struct token *token = find_identifier(&snippet->sources[i].tokens, name);
        if (token != NULL) {
            *source = &snippet->sources[i];
            return token;
        }
    }
    return NULL;
}

static int
check_ambiguous(const struct snippet *snippet, size_t index, struct spot *spot)
{
    int other = same_macro(snippet, index);
    for (int i = 1; i <= MAX_DIMENSION_MACRO && other >= 0; i++) {
        char macro[SNIPPET_NAME_SIZE];
        macro_name(snippet->names[index], i, macro);
        const struct source *code = NULL;
        const struct token *token = find_in_sources(snippet, macro, &code);
        if (token != NULL) {
            return spot_fail(
                spot, code, token,
                "'%s' is ambiguous: both '%s' and '%s' are arrays; index one of them by hand",
                macro, snippet->names[index], snippet->names[other]);
        }
    }
    return 0;
}

/* "tw_type_0 a", or its type spelled out: "long a", "double *x". */
static void
emit_variable(struct buffer *text, const struct snippet *snippet, size_t index)
{
    const struct argument_type *type = &snippet->types[index];
    const char *name = snippet->names[index];
    bool array = type->kind == ARGUMENT_ARRAY;
    const char *c_type = type->kind == ARGUMENT_OBJECT ? "PyObject *" : argument_c_type(type);
    if (!snippet->plain) {
        buffer_printf(text, "tw_type_%zu %s", index, name);
    }
    else {
        bool pointer = c_type[strlen(c_type) - 1] == '*';
        buffer_printf(text, "%s%s%s%s", array && type->readonly ? "const " : "", c_type,
                      array     ? " *"
                      : pointer ? ""
                                : " ",
                      name);
    }
}

static void
emit_element(struct buffer *text, const struct snippet *snippet, size_t index)
{
    const struct argument_type *type = &snippet->types[index];
    if (snippet->plain) {
        buffer_printf(text, "%s%s", type->readonly ? "const " : "", argument_c_type(type));
    }
    else {
        buffer_printf(text, "tw_element_%zu", index);
    }
}

/* #define A2(i,j) (*(tw_element_0 *)(tw_a + (i)*tw_Sa[0] + (j)*tw_Sa[1])) */
static void
emit_macro(struct buffer *text, const struct snippet *snippet, size_t index, int dimensions)
{
    static const char *const parameters[] = {"", "i", "i,j", "i,j,k", "i,j,k,l"};
    const char *name = snippet->names[index];
    char macro[SNIPPET_NAME_SIZE];
    macro_name(name, dimensions, macro);
    if (!uses(snippet, macro)) {
        return;
    }
    buffer_printf(text, "#define %s(%s) (*(", macro, parameters[dimensions]);
    emit_element(text, snippet, index);
    buffer_printf(text, " *)(tw_%s", name);
    for (int i = 0; i < dimensions; i++) {
        buffer_printf(text, " + (%c)*tw_S%s[%d]", "ijkl"[i], name, i);
    }
    buffer_append_string(text, "))\n");
}

/* ---- The variables ----
 *
 * Their types are written in front of the user's macros, so that "#define const" or "#define size 3"
 * changes nothing of ours:
 *
 *   typedef double tw_element_0;
 *   typedef tw_element_0 *tw_type_0;
 *   typedef const long *tw_shape;
 */

static void
emit_types(struct buffer *text, const struct snippet *snippet)
{
    for (size_t i = 0; i < snippet->count; i++) {
        const struct argument_type *type = &snippet->types[i];
        bool array = type->kind == ARGUMENT_ARRAY;
        if (array) {
            buffer_printf(text, "typedef %s%s tw_element_%zu;\n", type->readonly ? "const " : "",
                          argument_c_type(type), i);
            buffer_printf(text, "typedef tw_element_%zu *tw_type_%zu;\n", i, i);
            buffer_printf(text, "typedef %schar *tw_bytes_%zu;\n", type->readonly ? "const " : "",
                          i);
        }
        else {
            buffer_printf(text, "typedef %s tw_type_%zu;\n", argument_c_type(type), i);
        }
    }
    buffer_append_string(text, "typedef const long *tw_shape;\n"
                               "typedef long tw_long;\n"
                               "typedef int tw_int;\n"
                               "typedef struct _object *tw_object;\n"
                               "typedef struct tw_call *tw_call_pointer;\n"
                               "typedef const struct tw_argument *tw_arguments;\n"
                               "typedef void tw_nothing;\n");
}

static const char *
scalar_member(enum argument_kind kind)
{
    switch (kind) {
    case ARGUMENT_INT:
        return "tw_l";
    case ARGUMENT_BOOL:
        return "tw_i";
    case ARGUMENT_DOUBLE:
        return "tw_d";
    case ARGUMENT_FLOAT:
        return "tw_f";
    default:
        return "tw_p";
    }
}

static void
emit_complex(struct buffer *text, const struct snippet *snippet, size_t index, const char *member)
{
    emit_variable(text, snippet, index);
    buffer_printf(text, " = {tw_args[%zu].tw_value.%s[0], tw_args[%zu].tw_value.%s[1]};\n", index,
                  member, index, member);
}

/* "tw_shape Na = (tw_shape)tw_args[0].tw_dims;" when the snippet says Na. */
static void
emit_derived(struct buffer *text, const struct snippet *snippet, size_t index, const char *type,
             const char *prefix, const char *suffix, const char *member)
{
    char name[SNIPPET_NAME_SIZE];
    snippet_derive(snippet, index, prefix, suffix, name);
    if (uses(snippet, name)) {
        buffer_printf(text, "%s %s = (%s)tw_args[%zu].%s;\n", type, name, type, index, member);
    }
}

static void
emit_array(struct buffer *text, const struct snippet *snippet, size_t index)
{
    const char *name = snippet->names[index];
    if (uses(snippet, name)) {
        emit_variable(text, snippet, index);
        buffer_printf(text, " = tw_args[%zu].tw_value.tw_p;\n", index);
    }
    emit_derived(text, snippet, index, "tw_shape", "N", "", "tw_dims");
    emit_derived(text, snippet, index, "tw_shape", "S", "", "tw_strides");
    emit_derived(text, snippet, index, "tw_int", "D", "", "tw_size");
    emit_derived(text, snippet, index,
                 snippet->plain || snippet->preamble.includes.numpy ? "PyArrayObject *"
                                                                    : "tw_object",
                 "", "_array", "tw_object");
    if (same_macro(snippet, index) >= 0) {
        return;
    }
    size_t before = text->size;
    for (int i = 1; i <= MAX_DIMENSION_MACRO; i++) {
        emit_macro(text, snippet, index, i);
    }
    if (text->size > before) {
        if (snippet->plain) {
            buffer_append_string(text, snippet->types[index].readonly ? "const char *" : "char *");
        }
        else {
            buffer_printf(text, "tw_bytes_%zu ", index);
        }
        buffer_printf(text, "tw_%s = tw_args[%zu].tw_value.tw_p;\n", name, index);
        buffer_printf(text, "tw_shape tw_S%s = tw_args[%zu].tw_strides;\n", name, index);
    }
}

static void
emit_argument(struct buffer *text, const struct snippet *snippet, size_t index)
{
    enum argument_kind kind = snippet->types[index].kind;
    const char *name = snippet->names[index];
    emit_derived(text, snippet, index, "tw_object", "py_", "", "tw_object");
    if (kind == ARGUMENT_ARRAY) {
        emit_array(text, snippet, index);
        return;
    }
    if (kind == ARGUMENT_STRING) {
        emit_derived(text, snippet, index, "tw_long", "N", "", "tw_size");
    }
    if (!uses(snippet, name)) {
        return;
    }
    if (kind == ARGUMENT_COMPLEX || kind == ARGUMENT_COMPLEX_FLOAT) {
        emit_complex(text, snippet, index,
                     kind == ARGUMENT_COMPLEX ? "tw_complex_d" : "tw_complex_f");
    }
    else {
        emit_variable(text, snippet, index);
        buffer_printf(text, " = tw_args[%zu].tw_value.%s;\n", index, scalar_member(kind));
    }
}

static int
check_support(const struct snippet *snippet, struct spot *spot)
{
    static const char *const only_in_code[] = {"return_val", "tw_raise"};
    for (int i = SNIPPET_MACROS; i <= SNIPPET_SUPPORT; i++) {
        for (size_t k = 0; k < sizeof(only_in_code) / sizeof(*only_in_code); k++) {
            const struct source *source = &snippet->sources[i];
            const struct token *token = find_identifier(&source->tokens, only_in_code[k]);
            if (token != NULL) {
                return spot_fail(
                    spot, source, token,
                    "'%s' belongs to the snippet's own text; a function in %s returns what it "
                    "has to say",
                    only_in_code[k], source->argument);
            }
        }
    }
    return 0;
}

/* ---- The unit ---- */

/* The variables and the snippet, behind the function's head. */
static int
emit_body(struct buffer *text, const struct snippet *snippet, struct spot *spot)
{
    for (size_t i = 0; i < snippet->count; i++) {
        emit_argument(text, snippet, i);
    }
    buffer_printf(text, "{\n#line 1 \"%s\"\n", snippet->sources[SNIPPET_CODE].label);
    if (return_val_rewrite(snippet, text, spot) < 0) {
        return -1;
    }
    buffer_append_string(text, "\n\n#line 1 \"tw:generated\"\n}\n}\n");
    return 0;
}

static int
emit_function(struct buffer *text, const struct snippet *snippet, struct spot *spot)
{
    buffer_append_string(text, "#line 1 \"tw:generated\"\n");
    buffer_append_string(text, "tw_nothing " KERNEL_ENTRY
                               "(tw_call_pointer tw_call, tw_arguments tw_args)\n{\n");
    return emit_body(text, snippet, spot);
}

/* A snippet that sees an object may look into it: the GIL is held, whatever it links to. */
static bool
takes_object(const struct snippet *snippet)
{
    for (size_t i = 0; i < snippet->count; i++) {
        enum argument_kind kind = snippet->types[i].kind;
        if ((kind == ARGUMENT_OBJECT && uses(snippet, snippet->names[i])) ||
            uses_derived(snippet, i, "py_", "") ||
            (kind == ARGUMENT_ARRAY && uses_derived(snippet, i, "", "_array"))) {
            return true;
        }
    }
    return false;
}

static void
emit_signature(struct buffer *signature, const struct snippet *snippet)
{
    for (size_t i = 0; i < snippet->count; i++) {
        buffer_printf(signature, "%s%s: ", i ? ", " : "", snippet->names[i]);
        argument_describe(&snippet->types[i], signature);
    }
}

/* Na or Sa of an array. */
static bool
is_shape(const struct token *name, const char *array)
{
    return name->length == strlen(array) + 1 && (name->start[0] == 'N' || name->start[0] == 'S') &&
           memcmp(name->start + 1, array, name->length - 1) == 0;
}

static enum name_sort
sort_name(const void *context, const struct token *name)
{
    const struct snippet *snippet = context;
    for (size_t i = 0; i < snippet->count; i++) {
        enum argument_kind kind = snippet->types[i].kind;
        bool array = kind == ARGUMENT_ARRAY;
        if (array && is_shape(name, snippet->names[i])) {
            return NAME_NUMBERS;
        }
        if (token_is(name, snippet->names[i])) {
            bool complex_array = array && (snippet->types[i].dtype == NPY_CDOUBLE ||
                                           snippet->types[i].dtype == NPY_CFLOAT);
            return array && complex_array                                       ? NAME_COMPLEXES
                   : array                                                      ? NAME_NUMBERS
                   : kind == ARGUMENT_STRING || kind == ARGUMENT_OBJECT         ? NAME_POINTER
                   : kind == ARGUMENT_DOUBLE || kind == ARGUMENT_FLOAT          ? NAME_FLOATING
                   : kind == ARGUMENT_COMPLEX || kind == ARGUMENT_COMPLEX_FLOAT ? NAME_COMPLEX
                                                                                : NAME_OTHER;
        }
    }
    return NAME_OTHER;
}

/* support_code sees no argument. */
static enum name_sort
sort_nothing(const void *context, const struct token *name)
{
    (void)context;
    (void)name;
    return NAME_OTHER;
}

/* "#define a ..." in front of the snippet would replace the argument's own name. */
static int
check_defined(const struct snippet *snippet, struct spot *spot)
{
    for (int i = SNIPPET_MACROS; i <= SNIPPET_SUPPORT; i++) {
        const struct source *source = &snippet->sources[i];
        for (size_t k = 1; k < source->tokens.count; k++) {
            const struct token *token = &source->tokens.items[k];
            if (!token->directive || !token_is(token - 1, "define")) {
                continue;
            }
            if (token->length > 3 && memcmp(token->start, "tw_", 3) == 0) {
                return spot_fail(spot, source, token,
                                 "names that start with tw_ are tinyweave's own");
            }
            for (size_t n = 0; n < snippet->count; n++) {
                if (token_is(token, snippet->names[n])) {
                    return spot_fail(spot, source, token,
                                     "'%s' is an argument, and cannot be a macro too",
                                     snippet->names[n]);
                }
            }
        }
    }
    return 0;
}

static int
check_uses(const struct snippet *snippet, struct spot *spot)
{
    for (size_t i = 0; i < snippet->count; i++) {
        if (snippet->types[i].kind == ARGUMENT_ARRAY && check_ambiguous(snippet, i, spot) < 0) {
            return -1;
        }
    }
    for (int i = SNIPPET_SUPPORT; i <= SNIPPET_CODE; i++) {
        name_sorter *sort = i == SNIPPET_CODE ? sort_name : sort_nothing;
        const struct source *source = &snippet->sources[i];
        if (pointers_check(source, sort, snippet, spot) < 0 ||
            pointers_check_complex(source, COMPLEX_TYPES, sort, snippet, spot) < 0) {
            return -1;
        }
    }
    return check_defined(snippet, spot) < 0 ? -1 : check_support(snippet, spot);
}

/* Na, A1 ... that the snippet uses and the user's own text in front of it declares as well: one of
 * both would hide the other. */
static int
check_derived(const struct snippet *snippet, struct spot *spot)
{
    const struct names *declared = &snippet->preamble.declared;
    for (size_t k = 0; k < declared->count; k++) {
        char name[SNIPPET_NAME_SIZE];
        const struct name_text *spelled = &declared->order[k];
        if (spelled->length >= sizeof(name)) {
            continue;
        }
        memcpy(name, spelled->start, spelled->length);
        name[spelled->length] = '\0';
        const struct source *source = &snippet->sources[SNIPPET_CODE];
        const struct token *token = find_identifier(&source->tokens, name);
        for (size_t i = 0; token != NULL && i < snippet->count; i++) {
            if (is_derived(name, snippet->names[i], &snippet->types[i])) {
                return spot_fail(
                    spot, source, token,
                    "'%s' is what argument '%s' brings along, and declared in front of "
                    "the snippet as well: give that another name",
                    name, snippet->names[i]);
            }
        }
    }
    return 0;
}

/* Declares the names in use, and the types of the arguments. */
static int
emit_declarations(struct buffer *text, const struct snippet *snippet)
{
    size_t count = 0;
    const char **more = calloc(snippet->count + 5, sizeof(*more));
    if (more == NULL) {
        return -1;
    }
    more[count++] = "tw_argument";
    more[count++] = "PyObject";
    more[count++] = "tw_return_borrowed";
    for (size_t i = 0; i < snippet->count; i++) {
        more[count++] = argument_c_type(&snippet->types[i]);
    }
    if (uses(snippet, "return_val")) {
        more[count++] = "tw_return";
    }
    int result = preamble_declare(&snippet->preamble, more, text);
    free(more);
    return result;
}

int
snippet_unit(struct snippet *snippet, struct unit *unit, struct buffer *headers, struct spot *spot)
{
    if (check_uses(snippet, spot) < 0 || check_derived(snippet, spot) < 0) {
        return -1;
    }
    *spot = (struct spot){0};
    struct buffer *text = &unit->text;
    unit->needs_gil = takes_object(snippet);
    if (preamble_unit(&snippet->preamble, unit, headers) < 0 ||
        emit_declarations(text, snippet) < 0) {
        return out_of_memory(spot);
    }
    emit_types(text, snippet);
    preamble_headers(&snippet->preamble, text);
    preamble_append(&snippet->sources[SNIPPET_SUPPORT], text);
    preamble_end(&snippet->preamble, text);
    emit_signature(&unit->signature, snippet);
    if (emit_function(text, snippet, spot) < 0) {
        return -1;
    }
    return text->failed || unit->signature.failed || headers->failed ? out_of_memory(spot) : 0;
}

/* ---- A function of a C file ---- */

/* The next function may have an array of the same name. */
static void
emit_undefines(struct buffer *text, const struct snippet *snippet)
{
    for (size_t i = 0; i < snippet->count; i++) {
        for (int k = 1; k <= MAX_DIMENSION_MACRO; k++) {
            char macro[SNIPPET_NAME_SIZE];
            macro_name(snippet->names[i], k, macro);
            if (snippet->types[i].kind == ARGUMENT_ARRAY && same_macro(snippet, i) < 0 &&
                uses(snippet, macro)) {
                buffer_printf(text, "#undef %s\n", macro);
            }
        }
    }
}

int
snippet_function(struct snippet *snippet, const char *name, struct buffer *text,
                 struct buffer *headers, struct spot *spot)
{
    if (check_uses(snippet, spot) < 0 || check_derived(snippet, spot) < 0) {
        return -1;
    }
    *spot = (struct spot){0};
    const struct buffer *contents = &snippet->preamble.includes.contents;
    buffer_append(headers, contents->data, contents->size);
    buffer_printf(text,
                  "static void\n%s(struct tw_call *tw_call, const struct tw_argument *tw_args)\n"
                  "{\n(void)tw_call;\n(void)tw_args;\n",
                  name);
    if (emit_body(text, snippet, spot) < 0) {
        return -1;
    }
    emit_undefines(text, snippet);
    return text->failed || headers->failed ? out_of_memory(spot) : 0;
}

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
#include "include.h"
#include "macros.h"
#include "pointers.h"
#include "return_val.h"

#define MAX_DIMENSION_MACRO 4 /* A1 ... A4, as in weave */

#define NAME_LIMIT 250 /* bytes of an argument's name */

/* ---- The set of identifiers in use ---- */

struct name {
    const char *start;
    size_t length;
};

struct names {
    struct name *slots; /* open addressing; start NULL: free */
    size_t capacity;    /* a power of two */
    size_t count;
    struct name *order; /* as first met */
    bool everything;    /* ## may paste any name together: declare all */
};

static size_t
hash_name(const char *start, size_t length)
{
    size_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)start[i]) * 1099511628211u;
    }
    return hash;
}

static struct name *
names_slot(const struct names *names, const char *start, size_t length)
{
    size_t mask = names->capacity - 1;
    size_t i = hash_name(start, length) & mask;
    while (names->slots[i].start != NULL && (names->slots[i].length != length ||
                                             memcmp(names->slots[i].start, start, length) != 0)) {
        i = (i + 1) & mask;
    }
    return &names->slots[i];
}

/* `most` is at least the number of names to come. */
static struct names *
names_new(size_t most)
{
    struct names *names = calloc(1, sizeof(*names));
    if (names == NULL) {
        return NULL;
    }
    names->capacity = 64;
    while (names->capacity < 2 * most) {
        names->capacity *= 2;
    }
    names->slots = calloc(names->capacity, sizeof(*names->slots));
    names->order = calloc(most + 1, sizeof(*names->order));
    if (names->slots == NULL || names->order == NULL) {
        free(names->slots);
        free(names->order);
        free(names);
        return NULL;
    }
    return names;
}

static void
names_free(struct names *names)
{
    if (names != NULL) {
        free(names->slots);
        free(names->order);
        free(names);
    }
}

static void
names_add(struct names *names, const struct tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++) {
        const struct token *token = &tokens->items[i];
        names->everything |= token_is(token, "##");
        if (token->kind != TOKEN_IDENTIFIER) {
            continue;
        }
        struct name *slot = names_slot(names, token->start, token->length);
        if (slot->start == NULL) {
            *slot = (struct name){token->start, token->length};
            names->order[names->count++] = *slot;
        }
    }
}

static bool
uses(const struct snippet *snippet, const char *name)
{
    return snippet->used->everything ||
           names_slot(snippet->used, name, strlen(name))->start != NULL;
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
    size_t count = 0;
    for (int i = 0; i < SNIPPET_SOURCES; i++) {
        struct source *source = &snippet->sources[i];
        if (lexer_scan(source, spot) < 0) {
            return -1;
        }
        if (i >= SNIPPET_SUPPORT && check_source(source, i == SNIPPET_CODE, spot) < 0) {
            return -1;
        }
        count += source->tokens.count;
    }
    if (macros_check(snippet->sources, SNIPPET_SOURCES, spot) < 0) {
        return -1;
    }
    snippet->used = names_new(count);
    if (snippet->used == NULL) {
        return out_of_memory(spot);
    }
    for (int i = 0; i < SNIPPET_SOURCES; i++) {
        names_add(snippet->used, &snippet->sources[i].tokens);
    }
    return 0;
}

void
snippet_free(struct snippet *snippet)
{
    for (int i = 0; i < SNIPPET_SOURCES; i++) {
        lexer_free(&snippet->sources[i]);
    }
    names_free(snippet->used);
    snippet->used = NULL;
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
    buffer_printf(text, "#define %s(%s) (*(tw_element_%zu *)(tw_%s", macro, parameters[dimensions],
                  index, name);
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
emit_complex(struct buffer *text, const char *name, size_t index, const char *member)
{
    buffer_printf(text,
                  "tw_type_%zu %s = {tw_args[%zu].tw_value.%s[0], tw_args[%zu].tw_value.%s[1]};\n",
                  index, name, index, member, index, member);
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
        buffer_printf(text, "tw_type_%zu %s = tw_args[%zu].tw_value.tw_p;\n", index, name, index);
    }
    emit_derived(text, snippet, index, "tw_shape", "N", "", "tw_dims");
    emit_derived(text, snippet, index, "tw_shape", "S", "", "tw_strides");
    emit_derived(text, snippet, index, "tw_int", "D", "", "tw_size");
    emit_derived(text, snippet, index, snippet->numpy ? "PyArrayObject *" : "tw_object", "",
                 "_array", "tw_object");
    if (same_macro(snippet, index) >= 0) {
        return;
    }
    size_t before = text->size;
    for (int i = 1; i <= MAX_DIMENSION_MACRO; i++) {
        emit_macro(text, snippet, index, i);
    }
    if (text->size > before) {
        buffer_printf(text, "tw_bytes_%zu tw_%s = tw_args[%zu].tw_value.tw_p;\n", index, name,
                      index);
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
        emit_complex(text, name, index, kind == ARGUMENT_COMPLEX ? "tw_complex_d" : "tw_complex_f");
    }
    else {
        buffer_printf(text, "tw_type_%zu %s = tw_args[%zu].tw_value.%s;\n", index, name, index,
                      scalar_member(kind));
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

static void
emit_source(struct buffer *text, const struct source *source)
{
    if (source->length > 0) {
        buffer_printf(text, "#line 1 \"%s\"\n", source->label);
        buffer_append(text, source->text, source->length);
        buffer_append_string(text, "\n\n"); /* the second for a text that ends in a backslash */
    }
}

/* Names that the user's own headers use are declared too: they may count on the prelude. */
static void
use_header_names(struct prelude *prelude, const struct buffer *contents, struct buffer *text)
{
    const char *end = contents->data + contents->size;
    for (const char *at = contents->data; at < end;) {
        const char *start = at;
        while (at < end && (isalnum((unsigned char)*at) || *at == '_')) {
            at++;
        }
        if (at > start) {
            prelude_use(prelude, start, (size_t)(at - start), text);
        }
        else {
            at++;
        }
    }
}

/* Whether a name in the user's own text at file scope is being declared there: "static double round(",
 * "typedef unsigned char bool;", "int exp = 5;", "enum { log }", "#define bool". */
static bool
is_declared_here(const struct token *token, int depth, bool in_enum)
{
    static const char *const ends[] = {"(", ";", "=", "[", ",", "}"};
    const struct token *before = token - 1;
    if (token->directive) {
        return token_is(before, "define");
    }
    if (in_enum) {
        return token_is(before, "{") || token_is(before, ",");
    }
    bool declarator = before->kind == TOKEN_IDENTIFIER || token_is(before, "*") ||
                      token_is(before, "}") || token_is(before, ",");
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends) && depth == 0 && declarator; i++) {
        if (token_is(token + 1, ends[i])) {
            return true;
        }
    }
    return false;
}

/* "enum {" or "enum name {" before this brace. */
static bool
opens_enum(const struct tokens *tokens, const struct token *brace)
{
    const struct token *first = tokens->items;
    return (brace - first >= 1 && token_is(brace - 1, "enum")) ||
           (brace - first >= 2 && token_is(brace - 2, "enum"));
}

/* The names that macros and support code declare: the prelude keeps out of their way. */
static struct names *
declared_names(const struct snippet *snippet)
{
    struct names *names = names_new(snippet->used->count);
    for (int i = SNIPPET_MACROS; names != NULL && i <= SNIPPET_SUPPORT; i++) {
        const struct tokens *tokens = &snippet->sources[i].tokens;
        int depth = 0, enum_depth = 0;
        for (size_t k = 0; k < tokens->count; k++) {
            const struct token *token = &tokens->items[k];
            if (!token->directive) {
                depth += token_opens(token) - token_closes(token);
                enum_depth = token_is(token, "{") && opens_enum(tokens, token) ? depth
                             : depth < enum_depth                              ? 0
                                                                               : enum_depth;
            }
            if (k > 0 && token->kind == TOKEN_IDENTIFIER &&
                is_declared_here(token, depth, enum_depth > 0 && depth == enum_depth)) {
                *names_slot(names, token->start, token->length) =
                    (struct name){token->start, token->length};
            }
        }
    }
    return names;
}

static void
emit_prelude(struct buffer *text, const struct snippet *snippet, struct prelude *prelude,
             const struct names *declared, const struct includes *includes)
{
    static const char *const always[] = {"tw_argument", "PyObject", "tw_return_borrowed"};
    const struct names *used = snippet->used;
    if (used->everything) {
        prelude_use_all(prelude, text);
    }
    for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++) {
        prelude_use(prelude, always[i], strlen(always[i]), text);
    }
    for (size_t i = 0; i < snippet->count; i++) {
        const char *type = argument_c_type(&snippet->types[i]);
        prelude_use(prelude, type, strlen(type), text);
    }
    if (uses(snippet, "return_val")) {
        prelude_use(prelude, "tw_return", strlen("tw_return"), text);
    }
    for (size_t i = 0; i < used->count; i++) {
        const struct name *name = &used->order[i];
        if (names_slot(declared, name->start, name->length)->start == NULL) {
            prelude_use(prelude, name->start, name->length, text);
        }
    }
    use_header_names(prelude, &includes->contents, text);
}

static void
emit_headers(struct buffer *text, const struct snippet *snippet, const struct includes *includes)
{
    emit_source(text, &snippet->sources[SNIPPET_MACROS]);
    if (includes->python) {
        buffer_append_string(text, "#line 1 \"tw:generated\"\n");
        buffer_append_string(text, prelude_python_shim());
        buffer_append_string(text, includes->numpy ? prelude_numpy_shim() : "");
        buffer_append_string(text, "#include <Python.h>\n");
    }
    emit_source(text, &snippet->sources[SNIPPET_HEADERS]);
    emit_source(text, &snippet->sources[SNIPPET_SUPPORT]);
    if (includes->numpy) {
        buffer_append_string(text, "#line 1 \"tw:generated\"\n");
        buffer_append_string(text, prelude_after_numpy());
    }
}

static int
emit_function(struct buffer *text, const struct snippet *snippet, struct spot *spot)
{
    buffer_append_string(text, "#line 1 \"tw:generated\"\n");
    buffer_append_string(text, "tw_nothing " KERNEL_ENTRY
                               "(tw_call_pointer tw_call, tw_arguments tw_args)\n{\n");
    for (size_t i = 0; i < snippet->count; i++) {
        emit_argument(text, snippet, i);
    }
    buffer_append_string(text, "{\n#line 1 \"tw:code\"\n");
    if (return_val_rewrite(snippet, text, spot) < 0) {
        return -1;
    }
    buffer_append_string(text, "\n\n#line 1 \"tw:generated\"\n}\n}\n");
    return 0;
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
            return array && !complex_array                                       ? NAME_NUMBERS
                   : array || kind == ARGUMENT_STRING || kind == ARGUMENT_OBJECT ? NAME_POINTER
                   : kind == ARGUMENT_DOUBLE || kind == ARGUMENT_FLOAT           ? NAME_FLOATING
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
        if (pointers_check(&snippet->sources[i], i == SNIPPET_CODE ? sort_name : sort_nothing,
                           snippet, spot) < 0) {
            return -1;
        }
    }
    return check_defined(snippet, spot) < 0 ? -1 : check_support(snippet, spot);
}

/* Na, A1 ... that the snippet uses and the user's own text in front of it declares as well: one of
 * both would hide the other. */
static int
check_derived(const struct snippet *snippet, const struct names *declared, struct spot *spot)
{
    for (size_t k = 0; k < declared->capacity; k++) {
        char name[SNIPPET_NAME_SIZE];
        const struct name *slot = &declared->slots[k];
        if (slot->start == NULL || slot->length >= sizeof(name)) {
            continue;
        }
        memcpy(name, slot->start, slot->length);
        name[slot->length] = '\0';
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

static int
build_unit(struct snippet *snippet, struct unit *unit, const struct includes *includes,
           struct spot *spot)
{
    struct prelude prelude;
    if (prelude_start(&prelude) < 0) {
        return out_of_memory(spot);
    }
    struct names *declared = declared_names(snippet);
    if (declared == NULL) {
        prelude_end(&prelude);
        return out_of_memory(spot);
    }
    if (check_derived(snippet, declared, spot) < 0) {
        names_free(declared);
        prelude_end(&prelude);
        return -1;
    }
    prelude.real_python = includes->python;
    snippet->numpy = includes->numpy;
    emit_prelude(&unit->text, snippet, &prelude, declared, includes);
    names_free(declared);
    prelude_end(&prelude);
    emit_types(&unit->text, snippet);
    emit_headers(&unit->text, snippet, includes);
    emit_signature(&unit->signature, snippet);
    unit->needs_gil = includes->python || takes_object(snippet);
    if (emit_function(&unit->text, snippet, spot) < 0) {
        return -1;
    }
    return unit->text.failed || unit->signature.failed ? out_of_memory(spot) : 0;
}

/* __has_include makes what is compiled depend on files that the key knows nothing of. */
static bool
asks_for_headers(const struct snippet *snippet, const struct includes *includes)
{
    static const char *const questions[] = {"__has_include", "__has_include_next"};
    for (size_t i = 0; i < 2; i++) {
        const struct source *source;
        if (find_in_sources(snippet, questions[i], &source) != NULL) {
            return true;
        }
    }
    return includes->contents.size > 0 &&
           memmem(includes->contents.data, includes->contents.size, "__has_include", 13) != NULL;
}

/* What was asked for beside the snippet, for those who read the cache. */
static void
describe_options(const struct snippet *snippet, struct unit *unit)
{
    for (int i = SNIPPET_MACROS; i <= SNIPPET_SUPPORT; i++) {
        buffer_append(&unit->options, snippet->sources[i].text, snippet->sources[i].length);
    }
    for (size_t i = 0; i < snippet->include_dirs->count; i++) {
        buffer_printf(&unit->options, "/* include_dirs: %s */\n", snippet->include_dirs->items[i]);
    }
}

static int
copy_strings(struct strings *to, const struct strings *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (strings_append(to, from->items[i], strlen(from->items[i])) < 0) {
            return -1;
        }
    }
    return 0;
}

int
snippet_unit(struct snippet *snippet, struct unit *unit, struct buffer *headers,
             snippet_system_folders *system_folders, void *context, struct spot *spot)
{
    struct includes includes = {.contents = BUFFER_INIT};
    if (check_uses(snippet, spot) < 0) {
        return -1;
    }
    *spot = (struct spot){0};
    int result =
        include_follow(snippet->sources, SNIPPET_SOURCES, snippet->include_dirs, &includes);
    if (result == 0) {
        unit->strict = true;
        unit->interpreter = includes.python;
        unit->cacheable = !includes.computed && !asks_for_headers(snippet, &includes);
        describe_options(snippet, unit);
        result = copy_strings(&unit->include_dirs, snippet->include_dirs);
    }
    if (result == 0 && includes.any) {
        result = system_folders(context, includes.python, &unit->system_dirs);
    }
    if (result == 0) {
        result = build_unit(snippet, unit, &includes, spot);
    }
    *headers = includes.contents;
    includes.contents = (struct buffer)BUFFER_INIT;
    includes_free(&includes);
    return result;
}

/* interface.c: functions -> the types and prototypes of a header.
 *
 * Prototypes are spelled as the source spells them, out and inout left out, and the types they name are copied
 * from the unit behind them: what stands at file scope is split into chunks, each a declaration or a function,
 * and those chunks are taken that define a name in use.
 *
 *   double a[m][n] is no C++, so such a prototype stands there in two forms: const double *a in the other.
 */
#include "interface.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/symbols.h"

/* ---- Chunks ---- */

/* From one ; or } at file scope to the next; of a function without its body. */
struct chunk {
    const struct token *first, *last;
    bool used;
};

/* A name that a chunk defines as a type: a tag, a typedef's, an enumerator's. */
struct tag_definition {
    const struct token *name;
    bool tag;
    size_t chunk;
};

struct interface {
    const struct program *program;
    const struct translation *unit; /* at hand */
    struct chunk *chunks;
    size_t chunk_count, chunk_capacity;
    struct tag_definition *definitions;
    size_t definition_count, definition_capacity;
    bool generic;     /* the function at hand has type variables */
    bool uses_system; /* a name comes from a system header, as it seems */
    struct prelude prelude;
    struct strings printed; /* types that stand in the header already */
    struct buffer *includes;
    struct buffer *types;
    struct spot *spot;
};

static int
no_memory(struct interface *interface)
{
    *interface->spot = (struct spot){0};
    return -1;
}

/* Room for one more item. Returns where the items are now, or NULL. */
static void *
grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return items;
    }
    size_t more = *capacity == 0 ? 32 : 2 * *capacity;
    void *moved = realloc(items, more * size);
    *capacity = moved == NULL ? *capacity : more;
    return moved;
}

/* Whether a token is one of the words, which NULL ends. */
static bool
is_one_of(const struct token *token, const char *const *words)
{
    for (; token->kind == TOKEN_IDENTIFIER && *words != NULL; words++) {
        if (token_is(token, *words)) {
            return true;
        }
    }
    return false;
}

static bool
is_keyword(const struct token *token)
{
    static const char *const keywords[] = {
        "typedef",     "extern",        "static",        "inline",     "__inline",   "__inline__",
        "register",    "_Noreturn",     "const",         "volatile",   "restrict",   "__restrict",
        "_Atomic",     "__restrict__",  "__const",       "__volatile", "void",       "char",
        "short",       "int",           "long",          "float",      "double",     "signed",
        "unsigned",    "_Bool",         "struct",        "union",      "enum",       "sizeof",
        "_Alignof",    "__attribute__", "__extension__", "_Alignas",   "__signed__", "__volatile__",
        "__alignof__", "__attribute",   "__const__",     NULL};
    return is_one_of(token, keywords);
}

static bool
is_restrict(const struct token *token)
{
    static const char *const words[] = {"restrict", "__restrict", "__restrict__", NULL};
    return is_one_of(token, words);
}

static bool
is_attribute(const struct token *token)
{
    static const char *const words[] = {"__attribute__", "__attribute", NULL};
    return is_one_of(token, words);
}

/* Names in C that are words of C++. */
static bool
is_cplusplus_word(const struct token *token)
{
    static const char *const words[] = {"alignas",       "alignof",     "and",
                                        "and_eq",        "asm",         "bitand",
                                        "bitor",         "catch",       "class",
                                        "compl",         "concept",     "constexpr",
                                        "const_cast",    "consteval",   "constinit",
                                        "co_await",      "co_return",   "co_yield",
                                        "decltype",      "delete",      "dynamic_cast",
                                        "explicit",      "export",      "friend",
                                        "mutable",       "namespace",   "new",
                                        "noexcept",      "not",         "not_eq",
                                        "nullptr",       "operator",    "or",
                                        "or_eq",         "private",     "protected",
                                        "public",        "requires",    "reinterpret_cast",
                                        "static_assert", "static_cast", "template",
                                        "this",          "throw",       "thread_local",
                                        "try",           "typeid",      "typename",
                                        "using",         "virtual",     "xor",
                                        "xor_eq",        NULL};
    return is_one_of(token, words);
}

static bool
is_record(const struct token *token)
{
    return token_is(token, "struct") || token_is(token, "union") || token_is(token, "enum");
}

/* The partner of a bracket, or the last token of the unit. */
static const struct token *
behind_group(const struct token *open, const struct token *end)
{
    int depth = 0;
    const struct token *token = open;
    for (; token < end; token++) {
        depth += token_opens(token) - token_closes(token);
        if (depth == 0) {
            break;
        }
    }
    return token;
}

/* The brace behind "struct name", with attributes or without; NULL: no definition. */
static const struct token *
body_of(const struct token *record, const struct token *end)
{
    const struct token *token = record + 1;
    while (token < end && (token->kind == TOKEN_IDENTIFIER || token_is(token, "("))) {
        bool attribute = is_attribute(token);
        token = token_is(token, "(")               ? behind_group(token, end) + 1
                : attribute || token == record + 1 ? token + 1
                : token_is(token - 1, ")")         ? token + 1
                                                   : end;
    }
    return token < end && token_is(token, "{") ? token : NULL;
}

/* Fills in the last token of the chunk, behind its first. Returns where the next one starts. */
static const struct token *
find_end(struct chunk *chunk, const struct token *end)
{
    const struct token *body = NULL;
    for (const struct token *token = chunk->first; token < end; token++) {
        if (is_record(token) && body_of(token, end) != NULL) {
            body = body_of(token, end);
        }
        chunk->last = token;
        if (token_is(token, ";")) {
            return token + 1;
        }
        if (token_is(token, "{") && token != body && token > chunk->first &&
            !token_is(token - 1, "=")) {
            chunk->last = token - 1;
            return behind_group(token, end) + 1;
        }
        token = token_opens(token) ? behind_group(token, end) : token;
    }
    return end;
}

static int
add_definition(struct interface *interface, const struct token *name, bool tag)
{
    struct tag_definition *items = grow(interface->definitions, interface->definition_count,
                                        &interface->definition_capacity, sizeof(*items));
    if (items == NULL) {
        return no_memory(interface);
    }
    interface->definitions = items;
    items[interface->definition_count++] =
        (struct tag_definition){name, tag, interface->chunk_count - 1};
    return 0;
}

/* The names between the braces of an enum. */
static int
add_enumerators(struct interface *interface, const struct token *open, const struct token *end)
{
    const struct token *close = behind_group(open, end);
    for (const struct token *token = open + 1; token < close; token++) {
        bool starts = token_is(token - 1, ",") || token == open + 1;
        if (starts && token->kind == TOKEN_IDENTIFIER &&
            add_definition(interface, token, false) < 0) {
            return -1;
        }
        token = token_opens(token) ? behind_group(token, close) : token;
    }
    return 0;
}

/* The tags and enumerators that a chunk defines. */
static int
add_records(struct interface *interface, const struct chunk *chunk)
{
    for (const struct token *token = chunk->first; token < chunk->last; token++) {
        const struct token *body = is_record(token) ? body_of(token, chunk->last) : NULL;
        const struct token *tag = token + 1;
        while (body != NULL && tag < body && is_attribute(tag)) {
            tag = behind_group(tag + 1, body) + 1;
        }
        if ((body != NULL && tag < body && add_definition(interface, tag, true) < 0) ||
            (body != NULL && token_is(token, "enum") &&
             add_enumerators(interface, body, chunk->last) < 0)) {
            return -1;
        }
    }
    return 0;
}

static int
add_typedefs(struct interface *interface, const struct chunk *chunk)
{
    const struct declarations *declarations = &interface->unit->declarations;
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *declaration = &declarations->items[i];
        if (declaration->storage == STORAGE_TYPEDEF && declaration->name >= chunk->first &&
            declaration->name <= chunk->last &&
            add_definition(interface, declaration->name, false) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Splits the unit at hand, and notes what its chunks define. */
static int
split(struct interface *interface)
{
    const struct token *token = interface->unit->expanded.items;
    const struct token *end = token + interface->unit->expanded.count;
    interface->chunk_count = interface->definition_count = 0;
    while (token < end) {
        struct chunk *chunks = grow(interface->chunks, interface->chunk_count,
                                    &interface->chunk_capacity, sizeof(*chunks));
        if (chunks == NULL) {
            return no_memory(interface);
        }
        interface->chunks = chunks;
        struct chunk *chunk = &chunks[interface->chunk_count++];
        *chunk = (struct chunk){.first = token};
        token = find_end(chunk, end);
        if (add_records(interface, chunk) < 0 ||
            (token_is(chunk->first, "typedef") && add_typedefs(interface, chunk) < 0)) {
            return -1;
        }
    }
    return 0;
}

/* ---- Which names a header needs ---- */

/* The standard header of a type that the prelude knows; NULL: none, the prelude's own text will do. */
static const char *
standard_header(const char *name)
{
    static const struct {
        const char *name;
        const char *header;
    } headers[] = {
        {"size_t", "stddef"},     {"ptrdiff_t", "stddef"}, {"wchar_t", "stddef"},
        {"NULL", "stddef"},       {"bool", "stdbool"},     {"true", "stdbool"},
        {"false", "stdbool"},     {"FILE", "stdio"},       {"time_t", "time"},
        {"clock_t", "time"},      {"float_t", "math"},     {"double_t", "math"},
        {"ssize_t", "sys/types"}, {"va_list", "stdarg"},
    };
    size_t length = strlen(name);
    bool integer = strncmp(name, "int", 3) == 0 || strncmp(name, "uint", 4) == 0;
    if (integer && length > 2 && strcmp(name + length - 2, "_t") == 0) {
        return "stdint";
    }
    for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
        if (strcmp(headers[i].name, name) == 0) {
            return headers[i].header;
        }
    }
    return NULL;
}

static void
add_include(struct interface *interface, const char *header)
{
    char line[300];
    int length = snprintf(line, sizeof(line), "#include <%s.h>\n", header);
    struct buffer *includes = interface->includes;
    if (includes->size == 0 ||
        memmem(includes->data, includes->size, line, (size_t)length) == NULL) {
        buffer_append_string(includes, line);
    }
}

/* tw_complex is a type without a tag: two headers must not both define it. */
static void
add_complex(struct interface *interface)
{
    static const char text[] = "#ifndef TW_COMPLEX\n"
                               "#define TW_COMPLEX\n"
                               "typedef struct { double real, imag; } tw_complex;\n"
                               "typedef struct { float real, imag; } tw_complexf;\n"
                               "#endif\n\n";
    if (interface->types->size == 0 ||
        memmem(interface->types->data, interface->types->size, "TW_COMPLEX", 10) == NULL) {
        buffer_append_string(interface->types, text);
    }
}

static void
add_known(struct interface *interface, const struct symbol *symbol)
{
    const char *header = standard_header(symbol->name);
    if (header != NULL) {
        add_include(interface, header);
    }
    else if (strncmp(symbol->name, "tw_complex", strlen("tw_complex")) == 0) {
        add_complex(interface);
    }
    else {
        prelude_use(&interface->prelude, symbol->name, strlen(symbol->name), interface->types);
    }
}

/* What of a chunk goes into a header, from `from` on: a typedef as a whole, of others the types that they define.
 * Returns the first token and fills in the last; NULL: nothing more. */
static const struct token *
next_type(const struct chunk *chunk, const struct token *from, const struct token **last)
{
    if (token_is(chunk->first, "typedef")) {
        *last = chunk->last;
        return from == chunk->first ? from : NULL;
    }
    for (const struct token *token = from; token < chunk->last; token++) {
        const struct token *body = is_record(token) ? body_of(token, chunk->last + 1) : NULL;
        if (body == NULL) {
            continue;
        }
        *last = behind_group(body, chunk->last);
        if (*last < chunk->last && is_attribute(*last + 1)) {
            *last = behind_group(*last + 2, chunk->last);
        }
        return token;
    }
    return NULL;
}

static int use_tokens(struct interface *interface, const struct token *first,
                      const struct token *last, const struct type *function);
static int add_type(struct interface *interface, const struct token *first,
                    const struct token *last, const char *end);

/* Takes the chunks that define a name. Returns how many there are, or -1 with the spot. */
static int
use_definitions(struct interface *interface, const struct token *name, bool tag)
{
    int found = 0;
    for (size_t i = 0; i < interface->definition_count; i++) {
        const struct tag_definition *definition = &interface->definitions[i];
        struct chunk *chunk = &interface->chunks[definition->chunk];
        if (definition->tag != tag || token_compare(definition->name, name) != 0) {
            continue;
        }
        found++;
        if (chunk->used) {
            continue;
        }
        chunk->used = true;
        const struct token *first = chunk->first, *last;
        while ((first = next_type(chunk, first, &last)) != NULL) {
            if (use_tokens(interface, first, last, NULL) < 0) {
                return -1;
            }
            first = last + 1;
        }
    }
    return found;
}

static bool
is_parameter(const struct type *function, const struct token *name)
{
    for (size_t i = 0; function != NULL && i < function->parameter_count; i++) {
        const struct token *own = function->parameters[i].name;
        if (own != NULL && token_compare(own, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A type variable of a prototype becomes its dtype; of a type it cannot. */
static int
check_variable(struct interface *interface, const struct token *name, bool prototype)
{
    if (prototype || !interface->generic) {
        return 0;
    }
    const struct translation *unit = interface->unit;
    return spot_fail(interface->spot, unit->expanded.from[name - unit->expanded.items], name,
                     "a header cannot hold a type made of '%.*s'", (int)name->length, name->start);
}

/* Notes what the identifiers of some tokens stand for. `function`: they are its prototype. */
static int
use_tokens(struct interface *interface, const struct token *first, const struct token *last,
           const struct type *function)
{
    for (const struct token *token = first; token <= last; token++) {
        if (token->kind != TOKEN_IDENTIFIER ||
            (token > first && (token_is(token - 1, ".") || token_is(token - 1, "->")))) {
            continue;
        }
        if (is_keyword(token)) {
            if (token_is(token, "_Bool")) {
                add_include(interface, "stdbool");
            }
            continue;
        }
        bool tag = token > first && is_record(token - 1);
        int found = use_definitions(interface, token, tag);
        if (found < 0) {
            return -1;
        }
        if (tag && found == 0 && !token_is(token - 1, "enum") &&
            add_type(interface, token - 1, token, ";") < 0) {
            return -1; /* known by its name only: struct sqlite3; */
        }
        const struct symbol *symbol = symbol_find(token->start, token->length);
        if (found > 0 || tag || is_parameter(function, token)) {
            continue;
        }
        if ((type_variable(token) & interface->program->variables) != 0) {
            if (check_variable(interface, token, function != NULL) < 0) {
                return -1;
            }
        }
        else if (symbol != NULL && symbol->symbol_class == SYMBOL_TYPE) {
            add_known(interface, symbol);
        }
        else {
            interface->uses_system = true;
        }
    }
    return 0;
}

/* ---- Printing tokens ---- */

struct printer {
    struct buffer *text;
    const struct token *previous;    /* NULL: nothing was printed yet */
    const struct instance *instance; /* whose type variables and name are replaced; NULL: none */
    bool cplusplus;
};

static bool
is_tight(const struct printer *printer, const struct token *token)
{
    const struct token *previous = printer->previous;
    return previous == NULL || token_is(previous, "(") || token_is(previous, "[") ||
           token_is(previous, "*") || token_is(token, ")") || token_is(token, "]") ||
           token_is(token, "[") || token_is(token, ",") || token_is(token, ";") ||
           (token_is(token, "(") && token_is(previous, ")")) ||
           (token_is(token, "(") && previous->kind == TOKEN_IDENTIFIER &&
            !token_is(token + 1, "*"));
}

/* What stands for a token in the header; NULL: itself. */
static const char *
replacement(const struct printer *printer, const struct token *token)
{
    const struct instance *instance = printer->instance;
    if (token_is(token, "_Bool")) {
        return "bool";
    }
    if (instance == NULL) {
        return NULL;
    }
    if (token == instance->declaration->name) {
        return instance->name;
    }
    unsigned variable = type_variable(token) & instance->variables;
    if (variable == 0 || is_parameter(instance->declaration->type, token)) {
        return NULL;
    }
    const char *type = plan_c_type(instance->binding->types[__builtin_ctz(variable)]);
    return strcmp(type, "_Bool") == 0 ? "bool" : type;
}

static void
append_spelling(const struct token *token, struct buffer *text)
{
    char *room = buffer_reserve(text, token->length);
    text->size += room == NULL ? 0 : token_spell(token, room);
}

static void
print_token(struct printer *printer, const struct token *token)
{
    const char *other = replacement(printer, token);
    buffer_append_string(printer->text, is_tight(printer, token) ? "" : " ");
    if (other != NULL) {
        buffer_append_string(printer->text, other);
    }
    else {
        append_spelling(token, printer->text);
        bool name = printer->previous == NULL || !is_record(printer->previous);
        buffer_append_string(printer->text,
                             printer->cplusplus && name && is_cplusplus_word(token) ? "_" : "");
    }
    printer->previous = token;
}

/* ---- Types ---- */

static void
print_line(struct printer *printer, int depth)
{
    buffer_printf(printer->text, "\n%*s", 4 * depth, "");
    printer->previous = NULL;
}

/* Whether what follows a token in a type's braces stands on a line of its own. */
static bool
ends_line(const struct token *token, bool in_enum)
{
    return token_is(token, "{") || token_is(token, ";") || (in_enum && token_is(token, ","));
}

static bool
opens_enum(const struct token *brace, const struct token *first)
{
    return (brace > first && token_is(brace - 1, "enum")) ||
           (brace > first + 1 && token_is(brace - 2, "enum"));
}

/* A type's definition, a member a line. */
static void
print_type(const struct token *first, const struct token *last, struct buffer *text)
{
    struct printer printer = {.text = text};
    int depth = 0, enumeration = 0, nesting = 0; /* of braces, the enum's, of other brackets */
    for (const struct token *token = first; token <= last; token++) {
        bool opens = token_is(token, "{"), closes = token_is(token, "}");
        nesting += opens || closes ? 0 : token_opens(token) - token_closes(token);
        if (closes) {
            enumeration = enumeration == depth ? 0 : enumeration;
            print_line(&printer, --depth);
        }
        else if (token > first && depth > 0 && nesting == 0 &&
                 ends_line(token - 1, enumeration == depth)) {
            print_line(&printer, depth);
        }
        print_token(&printer, token);
        depth += opens;
        enumeration = opens && opens_enum(token, first) ? depth : enumeration;
    }
}

/* What #pragma pack says where a type is defined; 0: nothing. */
static size_t
pack_of(const struct interface *interface, const struct token *first, const struct token *last)
{
    for (const struct token *token = first; token <= last; token++) {
        if (token_is(token, "{")) {
            const struct expanded *unit = &interface->unit->expanded;
            return expanded_pack(unit, (size_t)(token - unit->items));
        }
    }
    return 0;
}

/* Appends a type, unless the same one stands there. */
static int
add_type(struct interface *interface, const struct token *first, const struct token *last,
         const char *end)
{
    struct buffer text = BUFFER_INIT;
    size_t pack = pack_of(interface, first, last);
    if (pack == PACK_UNKNOWN) {
        const struct translation *unit = interface->unit;
        return spot_fail(
            interface->spot, unit->expanded.from[first - unit->expanded.items], first,
            "a #pragma pack that is not understood here: a header cannot hold the type");
    }
    if (pack != 0) {
        buffer_printf(&text, "#pragma pack(push, %zu)\n", pack);
    }
    print_type(first, last, &text);
    buffer_append_string(&text, end);
    buffer_append_string(&text, pack != 0 ? "\n#pragma pack(pop)\n\n" : "\n\n");
    bool known = false;
    for (size_t i = 0; i < interface->printed.count && !text.failed; i++) {
        known |= strcmp(interface->printed.items[i], text.data) == 0;
    }
    int result = text.failed ? -1 : 0;
    if (result == 0 && !known) {
        buffer_append(interface->types, text.data, text.size);
        result = strings_append(&interface->printed, text.data, text.size);
    }
    buffer_free(&text);
    return result < 0 ? no_memory(interface) : 0;
}

static int
add_chunk(struct interface *interface, const struct chunk *chunk)
{
    const struct token *first = chunk->first, *last;
    while ((first = next_type(chunk, first, &last)) != NULL) {
        if (add_type(interface, first, last, token_is(last, ";") ? "" : ";") < 0) {
            return -1;
        }
        first = last + 1;
    }
    return 0;
}

/* The system headers that the sources include, where a name is known to nobody else. */
static void
add_system_includes(struct interface *interface)
{
    const struct translation *unit = interface->unit;
    const struct buffer *own = &unit->preamble.includes.contents;
    for (size_t i = 0; i < unit->count; i++) {
        const struct tokens *tokens = &unit->sources[i].tokens;
        for (size_t k = 2; k < tokens->count; k++) {
            const struct token *header = &tokens->items[k];
            char name[300];
            if (header->kind != TOKEN_HEADER || header->length < 5 ||
                header->length >= sizeof(name) || !token_is(header - 1, "include")) {
                continue;
            }
            int length =
                snprintf(name, sizeof(name), "/%.*s", (int)header->length - 2, header->start + 1);
            bool users =
                own->size > 0 && memmem(own->data, own->size, name, (size_t)length + 1) != NULL;
            if (!users && length > 3 && strcmp(name + length - 2, ".h") == 0) {
                name[length - 2] = '\0';
                add_include(interface, name + 1);
            }
        }
    }
}

/* ---- Prototypes ---- */

/* Words that a header leaves out. */
static bool
is_left_out(const struct printer *printer, const struct token *token)
{
    static const char *const words[] = {"extern",   "inline",    "__inline", "__inline__",
                                        "register", "_Noreturn", NULL};
    return is_one_of(token, words) || (printer->cplusplus && is_restrict(token));
}

/* Whether a token is an `out` or `inout`, of a parameter or of a parameter's parameters. */
static bool
is_word(const struct type *type, const struct token *token)
{
    for (; type != NULL; type = type->target) {
        for (size_t i = 0; type->kind == TYPE_FUNCTION && i < type->parameter_count; i++) {
            if (type->parameters[i].word_token == token ||
                is_word(type->parameters[i].type, token)) {
                return true;
            }
        }
    }
    return false;
}

static void
print_tokens(struct printer *printer, const struct token *first, const struct token *last)
{
    const struct declaration *declaration = printer->instance->declaration;
    const struct token *body = NULL; /* of a struct that is defined in the midst of it */
    for (const struct token *token = first; token <= last; token++) {
        body = is_record(token) && body_of(token, last) != NULL ? body_of(token, last) : body;
        if (token == body) {
            token = behind_group(token, last);
            continue;
        }
        if (is_left_out(printer, token) || is_word(declaration->type, token)) {
            continue;
        }
        if (declaration->type->no_prototype && token == declaration->name + 2) {
            buffer_append_string(printer->text, "void"); /* f() */
        }
        print_token(printer, token);
    }
}

static bool
is_array(const struct type *type)
{
    return type->kind == TYPE_ARRAY ||
           (type->kind == TYPE_POINTER && type->target->kind == TYPE_ARRAY);
}

/* Whether a token is the name of a parameter, or of a parameter's parameter. */
static bool
names_parameter(const struct type *type, const struct token *token)
{
    for (; type != NULL; type = type->target) {
        for (size_t i = 0; type->kind == TYPE_FUNCTION && i < type->parameter_count; i++) {
            const struct parameter *parameter = &type->parameters[i];
            if ((parameter->name != NULL && token_compare(parameter->name, token) == 0) ||
                names_parameter(parameter->type, token)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether C++ reads the declaration otherwise than C, or not at all. */
static bool
differs(const struct declaration *declaration)
{
    bool brackets = false;
    for (const struct token *token = declaration->first; token <= declaration->last; token++) {
        brackets = token_is(token, "[") || (brackets && !token_is(token, "]"));
        if (is_restrict(token) || is_cplusplus_word(token) ||
            (brackets && (names_parameter(declaration->type, token) || token_is(token, "static") ||
                          token_is(token, "*")))) {
            return true;
        }
    }
    return false;
}

/* "const double a[m][n]" -> "const double *a" */
static void
print_flat(struct printer *printer, const struct parameter *parameter)
{
    const struct token *token = parameter->first;
    while (token <= parameter->last && token != parameter->name && !token_is(token, "(") &&
           !token_is(token, "[")) {
        print_tokens(printer, token, token);
        token++;
    }
    buffer_append_string(printer->text, token_is(token - 1, "*") ? "*" : " *");
    if (parameter->name != NULL) {
        printer->previous = NULL;
        print_token(printer, parameter->name);
    }
}

/* The parameter of a function that stands between two tokens, the first one behind `from`; NULL: none. */
static const struct parameter *
next_parameter(const struct type *type, const struct token *from, const struct token *last)
{
    for (; type != NULL; type = type->target) {
        for (size_t i = 0; type->kind == TYPE_FUNCTION && i < type->parameter_count; i++) {
            if (type->parameters[i].first > from && type->parameters[i].first <= last) {
                return &type->parameters[i];
            }
        }
    }
    return NULL;
}

/* A parameter as C++ knows it, those of a callback too. */
static void
print_parameter(struct printer *printer, const struct parameter *parameter)
{
    if (is_array(parameter->type)) {
        print_flat(printer, parameter);
        return;
    }
    const struct token *from = parameter->first;
    const struct parameter *inner;
    while ((inner = next_parameter(parameter->type, from, parameter->last)) != NULL) {
        print_tokens(printer, from, inner->first - 1);
        print_parameter(printer, inner);
        from = inner->last + 1;
    }
    print_tokens(printer, from, parameter->last);
}

/* The same prototype for C++. */
static void
print_cplusplus(struct printer *printer)
{
    const struct declaration *declaration = printer->instance->declaration;
    const struct type *type = declaration->type;
    print_tokens(printer, declaration->first, declaration->name);
    buffer_append_string(printer->text, "(");
    for (size_t i = 0; i < type->parameter_count; i++) {
        const struct parameter *parameter = &type->parameters[i];
        buffer_append_string(printer->text, i > 0 ? ", " : "");
        printer->previous = NULL;
        print_parameter(printer, parameter);
    }
    buffer_append_string(printer->text, type->variadic ? ", ...)" : ")");
}

static void
print_form(const struct instance *instances, size_t count, bool cplusplus, struct buffer *text)
{
    for (size_t i = 0; i < count; i++) {
        const struct declaration *declaration = instances[i].declaration;
        struct printer printer = {.text = text, .instance = &instances[i], .cplusplus = cplusplus};
        if (cplusplus && is_cplusplus_word(declaration->name)) {
            continue; /* C++ cannot call it */
        }
        if (cplusplus) {
            print_cplusplus(&printer);
        }
        else {
            print_tokens(&printer, declaration->first, declaration->last);
        }
        buffer_append_string(text, ";\n");
    }
}

/* One declaration's function, under each of its names. */
static void
print_prototype(const struct instance *instances, size_t count, struct buffer *text)
{
    const struct declaration *declaration = instances[0].declaration;
    bool two = differs(declaration);
    buffer_append(text, declaration->comment, declaration->comment_length);
    buffer_append_string(text, declaration->comment_length > 0 ? "\n" : "");
    if (two) {
        buffer_append_string(text, "#ifdef __cplusplus\n");
        print_form(instances, count, true, text);
        buffer_append_string(text, "#else\n");
    }
    print_form(instances, count, false, text);
    buffer_append_string(text, two ? "#endif\n" : "");
}

static void
print_prototypes(const struct instance *instances, size_t count, struct buffer *text)
{
    for (size_t i = 0; i < count;) {
        size_t first = i;
        while (i < count && instances[i].declaration == instances[first].declaration) {
            i++;
        }
        buffer_append_string(text, first > 0 ? "\n" : "");
        print_prototype(&instances[first], i - first, text);
    }
}

/* ---- A header ---- */

/* The types of one unit's functions. */
static int
write_types(struct interface *interface, const struct instance *instances, size_t count)
{
    interface->unit = instances[0].unit;
    interface->uses_system = false;
    if (split(interface) < 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const struct declaration *declaration = instances[i].declaration;
        interface->generic = instances[i].variables != 0;
        for (int k = 0; k < TYPE_VARIABLES; k++) {
            int type = instances[i].variables >> k & 1 ? instances[i].binding->types[k] : PLAN_NONE;
            const char *name = plan_c_type(type);
            if (name != NULL && strncmp(name, "tw_", 3) == 0) {
                add_complex(interface);
            }
            else if (name != NULL && strcmp(name, "_Bool") == 0) {
                add_include(interface, "stdbool");
            }
        }
        /* in two parts: the function's own name is no type */
        if (use_tokens(interface, declaration->first, declaration->name - 1, declaration->type) <
                0 ||
            use_tokens(interface, declaration->name + 1, declaration->last, declaration->type) <
                0) {
            return -1;
        }
    }
    for (size_t i = 0; i < interface->chunk_count; i++) {
        if (interface->chunks[i].used && add_chunk(interface, &interface->chunks[i]) < 0) {
            return -1;
        }
    }
    if (interface->uses_system) {
        add_system_includes(interface);
    }
    return 0;
}

static int
write_all_types(struct interface *interface, const struct instance *instances, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t first = i;
        while (i < count && instances[i].unit == instances[first].unit) {
            i++;
        }
        if (write_types(interface, &instances[first], i - first) < 0) {
            return -1;
        }
    }
    return 0;
}

int
interface_write(const struct program *program, const struct instance *instances, size_t count,
                struct buffer *includes, struct buffer *declarations, struct spot *spot)
{
    struct interface interface = {
        .program = program, .includes = includes, .types = declarations, .spot = spot};
    int result = prelude_start(&interface.prelude) < 0 ? no_memory(&interface) : 0;
    if (result == 0) {
        result = write_all_types(&interface, instances, count);
    }
    if (result == 0) {
        print_prototypes(instances, count, declarations);
        result = declarations->failed || includes->failed ? no_memory(&interface) : 0;
    }
    prelude_end(&interface.prelude);
    strings_free(&interface.printed);
    free(interface.chunks);
    free(interface.definitions);
    return result;
}

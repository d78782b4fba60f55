/* parse.c: what the parts of the declaration reader share: the tokens, the memory, the names in scope. */
#include "parse.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* ---- Memory ---- */

void *
parse_allocate(struct parser *parser, size_t size)
{
    void *result = arena_take(&parser->declarations->arena, size);
    if (result == NULL) {
        *parser->spot = (struct spot){.source = NULL};
    }
    return result;
}

void *
parse_grow(struct parser *parser, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return items;
    }
    size_t room = *capacity > 0 ? 2 * *capacity : 4;
    void *grown = parse_allocate(parser, room * size);
    if (grown == NULL) {
        return NULL;
    }
    if (count > 0) {
        memcpy(grown, items, count * size);
    }
    *capacity = room;
    return grown;
}

/* ---- Errors ---- */

int
parse_error(struct parser *parser, const struct token *token, const char *format, ...)
{
    const struct source *source = parser->unit->from[token - parser->unit->items];
    char message[sizeof(parser->spot->message)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    return spot_fail(parser->spot, source, token, "%s", message);
}

int
parse_shown(const struct token *token)
{
    return shown(token);
}

static bool
is_double_colon(const struct token *token)
{
    return token_is(token, ":") && token_is(token + 1, ":");
}

static const char *
hint(const struct token *token)
{
    if (token_is(token, "&") || token_is(token, "&&")) {
        return "; references are C++";
    }
    if (token_is(token, "<")) {
        return "; templates are C++";
    }
    return "";
}

int
parse_unexpected(struct parser *parser, const char *expected)
{
    const struct token *token = parse_token(parser);
    if (token->kind == TOKEN_END) {
        return parse_error(parser, token, "expected %s, found the end of the text", expected);
    }
    if (is_double_colon(token)) {
        return parse_error(parser, token, "expected %s, found '::', which is C++", expected);
    }
    return parse_error(parser, token, "expected %s, found '%.*s'%s", expected, shown(token),
                       token->start, hint(token));
}

/* ---- Tokens ---- */

const struct token *
parse_token(const struct parser *parser)
{
    return &parser->unit->items[parser->at];
}

const struct token *
parse_last(const struct parser *parser)
{
    return &parser->unit->items[parser->at - 1];
}

const struct token *
parse_ahead(const struct parser *parser, size_t count)
{
    size_t left = parser->unit->count - parser->at;
    return &parser->unit->items[parser->at + (count < left ? count : left)];
}

bool
parse_is(const struct token *token, const char *text)
{
    return token_is(token, text) || (text[1] == '\0' && check_bracket(token) == text[0]);
}

bool
parse_at(const struct parser *parser, const char *text)
{
    return parse_is(parse_token(parser), text);
}

bool
parse_accept(struct parser *parser, const char *text)
{
    if (!parse_at(parser, text)) {
        return false;
    }
    parser->at++;
    return true;
}

int
parse_expect(struct parser *parser, const char *text)
{
    if (parse_accept(parser, text)) {
        return 0;
    }
    char quoted[16];
    snprintf(quoted, sizeof(quoted), "'%s'", text);
    return parse_unexpected(parser, quoted);
}

void
parse_skip_group(struct parser *parser)
{
    parser->at = parser->partners[parser->at] + 1;
}

void
parse_skip_keyword(struct parser *parser)
{
    parser->at++;
    while (parse_keyword(parse_token(parser))->keyword_class == KEYWORD_QUALIFIER) {
        parser->at++; /* asm volatile ("...") */
    }
    if (parse_at(parser, "(")) {
        parse_skip_group(parser);
    }
}

static bool
pairs(char open, char close)
{
    return (open == '(' && close == ')') || (open == '[' && close == ']') ||
           (open == '{' && close == '}');
}

static int
close_bracket(struct parser *parser, size_t *partners, size_t *open, int *depth, size_t at)
{
    const struct token *items = parser->unit->items;
    char close = check_bracket(&items[at]);
    if (*depth == 0) {
        return parse_error(parser, &items[at], "'%c' closes nothing", close);
    }
    size_t start = open[--*depth];
    if (!pairs(check_bracket(&items[start]), close)) {
        return parse_error(parser, &items[at], "'%c' closes the '%c' of line %d", close,
                           check_bracket(&items[start]), items[start].line);
    }
    partners[start] = at;
    partners[at] = start;
    return 0;
}

static int
pair_brackets(struct parser *parser, size_t *partners)
{
    const struct token *items = parser->unit->items;
    size_t open[CHECK_DEPTH];
    int depth = 0;
    for (size_t i = 0; i < parser->unit->count; i++) {
        char bracket = check_bracket(&items[i]);
        if (bracket == 0) {
            continue;
        }
        if (bracket == ')' || bracket == ']' || bracket == '}') {
            if (close_bracket(parser, partners, open, &depth, i) < 0) {
                return -1;
            }
        }
        else if (depth == CHECK_DEPTH) {
            return parse_error(parser, &items[i],
                               "nested too deeply: more than %d brackets one in another",
                               CHECK_DEPTH);
        }
        else {
            open[depth++] = i;
        }
    }
    if (depth > 0) {
        const struct token *last = &items[open[depth - 1]];
        return parse_error(parser, last, "this '%c' is never closed", check_bracket(last));
    }
    return 0;
}

int
parse_start(struct parser *parser)
{
    size_t *partners = parse_allocate(parser, (parser->unit->count + 1) * sizeof(*partners));
    parser->partners = partners;
    return partners == NULL ? -1 : pair_brackets(parser, partners);
}

/* ---- Spelling ---- */

/* What a line continuation is made of; no other token of interest has it. */
static bool
is_continuation(char character)
{
    return character == '\\' || character == '\n' || character == '\r';
}

size_t
parse_spell(const struct token *token, char *characters, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < token->length && count < size; i++) {
        if (!is_continuation(token->start[i])) {
            characters[count++] = token->start[i];
        }
    }
    return count;
}

static void
append_token(const struct token *token, struct buffer *text)
{
    if (token->kind == TOKEN_STRING || token->kind == TOKEN_CHARACTER) {
        buffer_append(text, token->start, token->length);
        return;
    }
    for (size_t i = 0; i < token->length; i++) {
        if (!is_continuation(token->start[i])) {
            buffer_append(text, token->start + i, 1);
        }
    }
}

void
parse_append_tokens(const struct token *first, const struct token *last, struct buffer *text)
{
    for (const struct token *token = first; token <= last; token++) {
        if (token > first && token[-1].start + token[-1].length != token->start) {
            buffer_append(text, " ", 1);
        }
        append_token(token, text);
    }
}

/* ---- Keywords ---- */

/* In the order of strcmp. */
static const struct keyword keywords[] = {
    {"_Alignas", KEYWORD_ALIGNAS, 0},
    {"_Alignof", KEYWORD_OPERATOR, 0},
    {"_Atomic", KEYWORD_QUALIFIER, QUALIFIER_ATOMIC},
    {"_Bool", KEYWORD_TYPE, TYPE_WORD_BOOL},
    {"_Complex", KEYWORD_COMPLEX, 0},
    {"_Generic", KEYWORD_OPERATOR, 0},
    {"_Imaginary", KEYWORD_COMPLEX, 0},
    {"_Noreturn", KEYWORD_FUNCTION, false},
    {"_Static_assert", KEYWORD_ASSERT, 0},
    {"_Thread_local", KEYWORD_THREAD, 0},
    {"__alignof", KEYWORD_OPERATOR, 0},
    {"__alignof__", KEYWORD_OPERATOR, 0},
    {"__asm", KEYWORD_ASM, 0},
    {"__asm__", KEYWORD_ASM, 0},
    {"__attribute", KEYWORD_ATTRIBUTE, 0},
    {"__attribute__", KEYWORD_ATTRIBUTE, 0},
    {"__complex", KEYWORD_COMPLEX, 0},
    {"__complex__", KEYWORD_COMPLEX, 0},
    {"__const", KEYWORD_QUALIFIER, QUALIFIER_CONST},
    {"__const__", KEYWORD_QUALIFIER, QUALIFIER_CONST},
    {"__declspec", KEYWORD_ATTRIBUTE, 0},
    {"__extension__", KEYWORD_EXTENSION, 0},
    {"__inline", KEYWORD_FUNCTION, true},
    {"__inline__", KEYWORD_FUNCTION, true},
    {"__restrict", KEYWORD_QUALIFIER, QUALIFIER_RESTRICT},
    {"__restrict__", KEYWORD_QUALIFIER, QUALIFIER_RESTRICT},
    {"__signed", KEYWORD_TYPE, TYPE_WORD_SIGNED},
    {"__signed__", KEYWORD_TYPE, TYPE_WORD_SIGNED},
    {"__thread", KEYWORD_THREAD, 0},
    {"__typeof", KEYWORD_TYPEOF, 0},
    {"__typeof__", KEYWORD_TYPEOF, 0},
    {"__volatile", KEYWORD_QUALIFIER, QUALIFIER_VOLATILE},
    {"__volatile__", KEYWORD_QUALIFIER, QUALIFIER_VOLATILE},
    {"asm", KEYWORD_ASM, 0},
    {"auto", KEYWORD_LOCAL, 0},
    {"break", KEYWORD_STATEMENT, 0},
    {"case", KEYWORD_STATEMENT, 0},
    {"char", KEYWORD_TYPE, TYPE_WORD_CHAR},
    {"const", KEYWORD_QUALIFIER, QUALIFIER_CONST},
    {"continue", KEYWORD_STATEMENT, 0},
    {"default", KEYWORD_STATEMENT, 0},
    {"do", KEYWORD_STATEMENT, 0},
    {"double", KEYWORD_TYPE, TYPE_WORD_DOUBLE},
    {"else", KEYWORD_STATEMENT, 0},
    {"enum", KEYWORD_ENUM, 0},
    {"extern", KEYWORD_STORAGE, STORAGE_EXTERN},
    {"float", KEYWORD_TYPE, TYPE_WORD_FLOAT},
    {"for", KEYWORD_STATEMENT, 0},
    {"goto", KEYWORD_STATEMENT, 0},
    {"if", KEYWORD_STATEMENT, 0},
    {"inline", KEYWORD_FUNCTION, true},
    {"int", KEYWORD_TYPE, TYPE_WORD_INT},
    {"long", KEYWORD_TYPE, TYPE_WORD_LONG},
    {"register", KEYWORD_LOCAL, 0},
    {"restrict", KEYWORD_QUALIFIER, QUALIFIER_RESTRICT},
    {"return", KEYWORD_STATEMENT, 0},
    {"short", KEYWORD_TYPE, TYPE_WORD_SHORT},
    {"signed", KEYWORD_TYPE, TYPE_WORD_SIGNED},
    {"sizeof", KEYWORD_OPERATOR, 0},
    {"static", KEYWORD_STORAGE, STORAGE_STATIC},
    {"struct", KEYWORD_RECORD, TYPE_STRUCT},
    {"switch", KEYWORD_STATEMENT, 0},
    {"typedef", KEYWORD_STORAGE, STORAGE_TYPEDEF},
    {"typeof", KEYWORD_TYPEOF, 0},
    {"union", KEYWORD_RECORD, TYPE_UNION},
    {"unsigned", KEYWORD_TYPE, TYPE_WORD_UNSIGNED},
    {"void", KEYWORD_TYPE, TYPE_WORD_VOID},
    {"volatile", KEYWORD_QUALIFIER, QUALIFIER_VOLATILE},
    {"while", KEYWORD_STATEMENT, 0},
};

enum { KEYWORD_SIZE = 16 /* bytes: the longest keyword and a NUL */ };

static int
compare_spelling(const void *spelled, const void *keyword)
{
    return strcmp(spelled, ((const struct keyword *)keyword)->spelling);
}

const struct keyword *
parse_keyword(const struct token *token)
{
    static const struct keyword none = {"", KEYWORD_NOT, 0};
    char spelled[KEYWORD_SIZE];
    if (token->kind != TOKEN_IDENTIFIER) {
        return &none;
    }
    size_t length = parse_spell(token, spelled, sizeof(spelled));
    if (length == sizeof(spelled)) {
        return &none;
    }
    spelled[length] = '\0';
    const struct keyword *found = bsearch(spelled, keywords, sizeof(keywords) / sizeof(keywords[0]),
                                          sizeof(keywords[0]), compare_spelling);
    return found != NULL ? found : &none;
}

bool
parse_is_specifier(const struct keyword *keyword)
{
    switch (keyword->keyword_class) {
    case KEYWORD_NOT:
    case KEYWORD_ASM:
    case KEYWORD_ASSERT:
    case KEYWORD_OPERATOR:
    case KEYWORD_STATEMENT:
        return false;
    default:
        return true;
    }
}

bool
parse_is_name(const struct token *token)
{
    return token->kind == TOKEN_IDENTIFIER && parse_keyword(token)->keyword_class == KEYWORD_NOT;
}

/* ---- Names ---- */

/* FNV-1a, of the characters without line continuations. */
static size_t
hash_name(const struct token *name)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < name->length; i++) {
        if (!is_continuation(name->start[i])) {
            hash = (hash ^ (unsigned char)name->start[i]) * 16777619u;
        }
    }
    return hash;
}

static size_t
skip_continuation(const struct token *token, size_t at)
{
    while (at < token->length && is_continuation(token->start[at])) {
        at++;
    }
    return at;
}

static bool
same_name(const struct token *a, const struct token *b)
{
    size_t i = skip_continuation(a, 0);
    size_t j = skip_continuation(b, 0);
    while (i < a->length && j < b->length && a->start[i] == b->start[j]) {
        i = skip_continuation(a, i + 1);
        j = skip_continuation(b, j + 1);
    }
    return i == a->length && j == b->length;
}

static struct entity **
find_bucket(const struct names *names, const struct token *name)
{
    return &names->buckets[hash_name(name) % names->bucket_count];
}

int
names_start(struct parser *parser, struct names *names, size_t bucket_count)
{
    *names = (struct names){.bucket_count = bucket_count};
    names->buckets = parse_allocate(parser, bucket_count * sizeof(struct entity *));
    return names->buckets == NULL ? -1 : 0;
}

struct entity *
names_find(const struct names *names, const struct token *name)
{
    struct entity *entity = *find_bucket(names, name);
    while (entity != NULL && !same_name(entity->name, name)) {
        entity = entity->next;
    }
    return entity;
}

struct entity *
names_declare(struct parser *parser, struct names *names, enum entity_kind kind,
              const struct token *name)
{
    struct entity *entity = parse_allocate(parser, sizeof(*entity));
    if (entity == NULL) {
        return NULL;
    }
    struct entity **bucket = find_bucket(names, name);
    entity->kind = kind;
    entity->name = name;
    entity->scope = names->scope;
    entity->next = *bucket;
    entity->earlier = names->latest;
    *bucket = names->latest = entity;
    return entity;
}

void
names_enter(struct names *names)
{
    names->scope++;
}

void
names_leave(struct names *names)
{
    while (names->latest != NULL && names->latest->scope == names->scope) {
        *find_bucket(names, names->latest->name) = names->latest->next;
        names->latest = names->latest->earlier;
    }
    names->scope--;
}

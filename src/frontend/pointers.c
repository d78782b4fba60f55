/* pointers.c: a pointer where C wants a number, which libtcc takes silently. */
#include "pointers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/symbols.h"

/* A variable the source declares. */
struct declaration {
    const struct token *name;
    enum name_sort sort;
};

struct reader {
    const struct tokens *tokens;
    struct declaration *declarations;
    size_t declaration_count;
    name_sorter *sort; /* NULL: nothing is known of names before the source declares them */
    const void *context;
    const char *const *complexes; /* types of complex numbers; NULL: none that matter */
};

/* Tokens from `from` up to, not including, `to`. */
struct range {
    const struct token *from;
    const struct token *to;
};

static bool
is_any(const struct token *token, const char *const *texts)
{
    for (; token != NULL && *texts != NULL; texts++) {
        if (token_is(token, *texts)) {
            return true;
        }
    }
    return false;
}

/* The token before, or NULL at the start. */
static const struct token *
before(const struct reader *reader, const struct token *token)
{
    return token > reader->tokens->items ? token - 1 : NULL;
}

static int
nesting(const struct token *token)
{
    return token_opens(token) - token_closes(token);
}

/* ---- What names stand for ---- */

static const char *const FLOATING[] = {"double", "float", NULL};
static const char *const NUMBERS[] = {"double", "float", "int",      "long",
                                      "short",  "char",  "unsigned", NULL};

static int
compare_declarations(const void *a, const void *b)
{
    const struct declaration *first = a, *second = b;
    return token_compare(first->name, second->name);
}

/* Words that may stand before a name without declaring it. */
static const char *const NO_TYPES[] = {"return", "else", "case", "goto", "sizeof", "do", NULL};

/* Whether an identifier begins a declaration: "x" of "x *p" after a ';', not of "y = x * p". */
static bool
begins_statement(const struct reader *reader, const struct token *type)
{
    static const char *const starts[] = {";", "{", "}", "(", ",", "*", NULL};
    const struct token *token = before(reader, type);
    return token == NULL || token->kind == TOKEN_IDENTIFIER || token->first ||
           is_any(token, starts);
}

/* "x[n]", and no "x[m][n]". Of characters one may be given a string. */
static bool
is_plain_array(const struct token *name)
{
    const struct token *token = name + 1;
    int depth = 0;
    do {
        depth += nesting(token);
        token++;
    } while (depth > 0 && token->kind != TOKEN_END);
    return token_is(name + 1, "[") && !token_is(token, "[");
}

/* What this mention of a name declares: "double d" a number, "double *p" and "double a[n]" a pointer to
 * numbers; NAME_UNSURE for any other type ("int d", "size_t d", "V *d", "} d", and ", d" outside of brackets); NAME_OTHER when
 * it declares nothing. */
static enum name_sort
declared_here(const struct reader *reader, const struct token *name, bool in_brackets)
{
    const struct token *token = before(reader, name);
    int stars = 0;
    for (; token != NULL && token_is(token, "*"); token = before(reader, token)) {
        stars++;
    }
    if (token == NULL || is_any(token, NO_TYPES)) {
        return NAME_OTHER;
    }
    if (token->kind != TOKEN_IDENTIFIER) {
        bool follows = token_is(token, "}") || (token_is(token, ",") && !in_brackets);
        return follows ? NAME_UNSURE : NAME_OTHER;
    }
    if (stars > 0 && !begins_statement(reader, token)) {
        return NAME_OTHER;
    }
    if (stars == 0 && is_any(token, NUMBERS) && !token_is(token, "char") && is_plain_array(name)) {
        return NAME_NUMBERS;
    }
    if (reader->complexes != NULL && is_any(token, reader->complexes) && stars <= 1 &&
        !token_is(name + 1, "(")) {
        return stars == 0 && !token_is(name + 1, "[") ? NAME_COMPLEX : NAME_COMPLEXES;
    }
    bool array = token_is(name + 1, "[") || token_is(name + 1, "(");
    if (array || stars > 1) {
        return NAME_UNSURE;
    }
    return stars == 0 ? (is_any(token, FLOATING) ? NAME_FLOATING : NAME_UNSURE)
                      : (is_any(token, NUMBERS) ? NAME_NUMBERS : NAME_UNSURE);
}

/* Collects what the source declares. Returns 0, or -1: no memory. */
static int
read_declarations(struct reader *reader)
{
    size_t count = reader->tokens->count;
    reader->declarations = malloc((count + 1) * sizeof(*reader->declarations));
    if (reader->declarations == NULL) {
        return -1;
    }
    int brackets = 0; /* round and square ones; a brace inside of them starts anew */
    for (size_t i = 0; i < count; i++) {
        const struct token *token = &reader->tokens->items[i];
        bool brace = token_is(token, "{") || token_is(token, "}");
        brackets = brace || token_is(token, ";") ? 0 : brackets + nesting(token);
        if (token->kind != TOKEN_IDENTIFIER || token->directive) {
            continue;
        }
        enum name_sort sort = declared_here(reader, token, brackets > 0);
        if (sort != NAME_OTHER) {
            reader->declarations[reader->declaration_count++] = (struct declaration){token, sort};
        }
    }
    qsort(reader->declarations, reader->declaration_count, sizeof(*reader->declarations),
          compare_declarations);
    return 0;
}

/* The index of the first declaration that is not before the name. */
static size_t
first_declaration(const struct reader *reader, const struct token *name)
{
    size_t low = 0, high = reader->declaration_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (token_compare(reader->declarations[middle].name, name) < 0) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

/* What the source declares a name as; NAME_OTHER when it says nothing, NAME_UNSURE when two things. */
static enum name_sort
declared(const struct reader *reader, const struct token *name)
{
    enum name_sort sort = NAME_OTHER;
    for (size_t i = first_declaration(reader, name); i < reader->declaration_count; i++) {
        const struct declaration *declaration = &reader->declarations[i];
        if (token_compare(declaration->name, name) != 0) {
            break;
        }
        if (sort != NAME_OTHER && sort != declaration->sort) {
            return NAME_UNSURE;
        }
        sort = declaration->sort;
    }
    return sort;
}

static enum name_sort
sort_of(const struct reader *reader, const struct token *name)
{
    if (name->kind != TOKEN_IDENTIFIER) {
        return NAME_OTHER;
    }
    enum name_sort argument =
        reader->sort == NULL ? NAME_OTHER : reader->sort(reader->context, name);
    enum name_sort own = declared(reader, name); /* which may hide an argument */
    if (own == NAME_OTHER) {
        return argument;
    }
    return argument == NAME_OTHER || argument == own ? own : NAME_UNSURE;
}

static bool
is_pointer_name(const struct reader *reader, const struct token *name)
{
    enum name_sort sort = sort_of(reader, name);
    return sort == NAME_POINTER || sort == NAME_NUMBERS || sort == NAME_COMPLEXES;
}

/* ---- Expressions ---- */

/* Returns the first of these operators outside of all brackets, or NULL. */
static const struct token *
find_operator(struct range range, const char *const *operators)
{
    int depth = 0;
    for (const struct token *token = range.from; token < range.to; token++) {
        depth += nesting(token);
        if (depth == 0 && is_any(token, operators)) {
            return token;
        }
    }
    return NULL;
}

static struct range
without_brackets(struct range range)
{
    while (range.to - range.from >= 2 && token_is(range.from, "(") && token_is(range.to - 1, ")")) {
        int depth = 0;
        const struct token *token = range.from;
        for (; token < range.to - 1; token++) {
            depth += nesting(token);
            if (depth == 0) {
                return range; /* "(a)+(b)" */
            }
        }
        range.from++;
        range.to--;
    }
    return range;
}

/* x, (x), x + 1, &x[1], "text" */
static bool
is_pointer(const struct reader *reader, struct range range)
{
    static const char *const scalar[] = {"==", "!=", "<", ">", "<=", ">=", "&&", "||", "?",
                                         "-",  "*",  "/", "%", ".",  "->", "=",  NULL};
    range = without_brackets(range);
    if (range.from >= range.to || find_operator(range, scalar) != NULL) {
        return false;
    }
    if (range.to - range.from == 1) {
        return range.from->kind == TOKEN_STRING || is_pointer_name(reader, range.from);
    }
    return token_is(range.from, "&") ||
           (token_is(range.from + 1, "+") && is_pointer_name(reader, range.from));
}

/* z, a[i], *a: a whole complex number */
static bool
is_complex(const struct reader *reader, struct range range)
{
    range = without_brackets(range);
    if (range.to - range.from == 2 && token_is(range.from, "*")) {
        return sort_of(reader, range.from + 1) == NAME_COMPLEXES;
    }
    if (range.to - range.from <= 1) {
        return range.from < range.to && sort_of(reader, range.from) == NAME_COMPLEX;
    }
    int depth = 0;
    for (const struct token *token = range.from + 1; token < range.to; token++) {
        if (depth == 0 && !token_is(token, "[")) {
            return false;
        }
        depth += nesting(token);
    }
    return sort_of(reader, range.from) == NAME_COMPLEXES;
}

/* Up to the ',' or the closing bracket or ';' that ends the expression. */
static struct range
expression(const struct reader *reader, const struct token *from)
{
    const struct token *end = reader->tokens->items + reader->tokens->count;
    int depth = 0;
    const struct token *token = from;
    for (; token < end; token++) {
        depth += nesting(token);
        if (depth < 0 || (depth == 0 && (token_is(token, ",") || token_is(token, ";")))) {
            break;
        }
    }
    return (struct range){from, token};
}

static int
refuse(const struct source *source, const struct token *token, const char *where, struct spot *spot)
{
    int length = (int)(token->length > 100 ? 100 : token->length);
    if (token->kind != TOKEN_IDENTIFIER) {
        return spot_fail(spot, source, token, "a number is expected%s, and a pointer is given",
                         where);
    }
    return spot_fail(spot, source, token,
                     "a number is expected%s, and '%.*s' is a pointer; an element is %.*s[i]",
                     where, length, token->start, length, token->start);
}

/* ---- The places where a number is expected ---- */

/* Whether parameter `index` of "double (pow)(double, double);" is a number. */
static bool
wants_number(const char *declaration, int index)
{
    const char *parameter = strstr(declaration, ")(");
    if (parameter == NULL) {
        return false;
    }
    parameter += 2;
    for (; index > 0; index--) {
        parameter = strchr(parameter, ',');
        if (parameter == NULL) {
            return false;
        }
        parameter++;
    }
    size_t length = strcspn(parameter, ",)");
    return memchr(parameter, '*', length) == NULL && memchr(parameter, '.', length) == NULL &&
           memchr(parameter, '(', length) == NULL;
}

/* "sqrt(x)": a function of the whitelist that takes a number there. */
static int
check_call(const struct reader *reader, const struct source *source, const struct token *name,
           struct spot *spot)
{
    const struct symbol *symbol = symbol_find(name->start, name->length);
    if (symbol == NULL || symbol->symbol_class != SYMBOL_C || !token_is(name + 1, "(")) {
        return 0;
    }
    struct range argument = {name + 2, name + 1};
    for (int i = 0; argument.to == name + 1 || token_is(argument.to, ","); i++) {
        argument = expression(reader, argument.to + 1);
        if (wants_number(symbol->declaration, i) && is_pointer(reader, argument)) {
            char where[130];
            snprintf(where, sizeof(where), " by %.100s()", symbol->name);
            return refuse(source, without_brackets(argument).from, where, spot);
        }
    }
    return 0;
}

/* "d = x", "double d = x", "x[0] = y": is the target of this '=' a number? */
static bool
assigns_number(const struct reader *reader, const struct token *equals)
{
    static const char *const parts[] = {".", "->", "*", "]", NULL};
    const struct token *target = before(reader, equals);
    if (target != NULL && token_is(target, "]")) {
        int depth = 0;
        while (target != NULL && (depth += nesting(target)) != 0) {
            target = before(reader, target);
        }
        const struct token *array = target == NULL ? NULL : before(reader, target);
        return array != NULL && sort_of(reader, array) == NAME_NUMBERS &&
               !is_any(before(reader, array), parts);
    }
    return target != NULL && sort_of(reader, target) == NAME_FLOATING &&
           !is_any(before(reader, target), parts);
}

/* "-x" where the minus has no left operand. */
static bool
is_negated(const struct reader *reader, const struct token *name)
{
    const struct token *minus = before(reader, name);
    if (minus == NULL || !token_is(minus, "-")) {
        return false;
    }
    const struct token *left = before(reader, minus);
    bool operand = left != NULL && !token_is(left, "return") &&
                   (left->kind != TOKEN_PUNCTUATOR || token_is(left, ")") || token_is(left, "]") ||
                    token_is(left, "++") || token_is(left, "--"));
    return !operand;
}

/* "(double)x" */
static bool
is_cast(const struct reader *reader, const struct token *name)
{
    const struct token *close = before(reader, name);
    const struct token *type = close == NULL ? NULL : before(reader, close);
    const struct token *open = type == NULL ? NULL : before(reader, type);
    return open != NULL && token_is(close, ")") && is_any(type, FLOATING) && token_is(open, "(");
}

static bool
stands_for_its_value(const struct token *next)
{
    static const char *const operators[] = {"[", "(", ".", "->", "++", "--", NULL};
    return !is_any(next, operators);
}

static int
check_token(const struct reader *reader, const struct source *source, const struct token *token,
            struct spot *spot)
{
    if (token_is(token, "=") && assigns_number(reader, token)) {
        struct range value = expression(reader, token + 1);
        if (is_pointer(reader, value)) {
            return refuse(source, without_brackets(value).from, "", spot);
        }
    }
    if (token->kind != TOKEN_IDENTIFIER) {
        return 0;
    }
    bool prefixed = is_negated(reader, token) || is_cast(reader, token);
    if (prefixed && stands_for_its_value(token + 1) && is_pointer_name(reader, token)) {
        return refuse(source, token, "", spot);
    }
    return check_call(reader, source, token, spot);
}

int
pointers_check(const struct source *source, name_sorter *sort, const void *context,
               struct spot *spot)
{
    struct reader reader = {.tokens = &source->tokens, .sort = sort, .context = context};
    *spot = (struct spot){0};
    int result = read_declarations(&reader);
    for (size_t i = 0; i < source->tokens.count && result == 0; i++) {
        const struct token *token = &source->tokens.items[i];
        if (!token->directive) {
            result = check_token(&reader, source, token, spot);
        }
    }
    free(reader.declarations);
    return result;
}

int
pointers_check_complex(const struct source *source, const char *const *complexes, name_sorter *sort,
                       const void *context, struct spot *spot)
{
    struct reader reader = {
        .tokens = &source->tokens, .sort = sort, .context = context, .complexes = complexes};
    *spot = (struct spot){0};
    int result = read_declarations(&reader);
    for (size_t i = 0; i < source->tokens.count && result == 0; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token->directive || !token_is(token, "=") || !assigns_number(&reader, token)) {
            continue;
        }
        struct range value = expression(&reader, token + 1);
        if (is_complex(&reader, value)) {
            result = spot_fail(spot, source, without_brackets(value).from,
                               "a real number is expected, and this one is complex: tw_real(z), "
                               "tw_abs(z) or tw_cast(type, z) make one of it");
        }
    }
    free(reader.declarations);
    return result;
}

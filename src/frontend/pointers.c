/* pointers.c: a pointer where C wants a number, which libtcc takes silently. */
#include "pointers.h"

#include <stdio.h>
#include <string.h>

#include "../../runtime/symbols.h"

/* The tokens before the one looked at are always there: the check stops at the first. */
struct reader {
    const struct token *first;
    const struct token *at;
    name_sorter *sort;
    const void *context;
};

static const struct token *
before(const struct reader *reader, const struct token *token)
{
    return token > reader->first ? token - 1 : NULL;
}

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

static const char *const FLOATING[] = {"double", "float", NULL};

/* "-x" where the minus has no left operand. */
static bool
is_negated(const struct reader *reader)
{
    const struct token *minus = before(reader, reader->at);
    if (minus == NULL || !token_is(minus, "-")) {
        return false;
    }
    const struct token *left = before(reader, minus);
    bool operand = left != NULL && !token_is(left, "return") &&
                   (left->kind == TOKEN_IDENTIFIER || left->kind == TOKEN_NUMBER ||
                    token_is(left, ")") || token_is(left, "]"));
    return !operand;
}

/* "(double)x" */
static bool
is_cast(const struct reader *reader)
{
    const struct token *close = before(reader, reader->at);
    const struct token *type = close == NULL ? NULL : before(reader, close);
    const struct token *open = type == NULL ? NULL : before(reader, type);
    return open != NULL && token_is(close, ")") && is_any(type, FLOATING) && token_is(open, "(");
}

/* "double d = x;", or "d = x;" with d known to be floating. */
static bool
is_assigned(const struct reader *reader)
{
    static const char *const ends[] = {";", ",", ")", NULL};
    const struct token *equals = before(reader, reader->at);
    const struct token *target = equals == NULL ? NULL : before(reader, equals);
    if (target == NULL || !token_is(equals, "=") || target->kind != TOKEN_IDENTIFIER ||
        !is_any(reader->at + 1, ends)) {
        return false;
    }
    const struct token *type = before(reader, target);
    return is_any(type, FLOATING) ||
           (reader->sort(reader->context, target) == NAME_FLOATING &&
            (type == NULL || (type->kind == TOKEN_PUNCTUATOR && !token_is(type, "*") &&
                              !token_is(type, ".") && !token_is(type, "->"))));
}

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

/* The function whose argument this token is, with the argument's index; NULL: of none. */
static const struct token *
called_function(const struct reader *reader, int *index)
{
    int depth = 0;
    *index = 0;
    for (const struct token *token = before(reader, reader->at); token != NULL;
         token = before(reader, token)) {
        depth += (token_is(token, ")") || token_is(token, "]")) -
                 (token_is(token, "(") || token_is(token, "["));
        if (depth < 0) {
            const struct token *name = before(reader, token);
            return name != NULL && name->kind == TOKEN_IDENTIFIER ? name : NULL;
        }
        if (depth == 0 && (token_is(token, ";") || token_is(token, "{") || token_is(token, "}"))) {
            return NULL;
        }
        *index += depth == 0 && token_is(token, ",");
    }
    return NULL;
}

/* "sqrt(x)": the whole argument, of a function that is known to take a number there. */
static const struct token *
takes_number(const struct reader *reader)
{
    static const char *const starts[] = {"(", ",", NULL};
    static const char *const ends[] = {")", ",", NULL};
    if (!is_any(before(reader, reader->at), starts) || !is_any(reader->at + 1, ends)) {
        return NULL;
    }
    int index;
    const struct token *function = called_function(reader, &index);
    const struct symbol *symbol =
        function == NULL ? NULL : symbol_find(function->start, function->length);
    bool number = symbol != NULL && symbol->symbol_class == SYMBOL_C &&
                  wants_number(symbol->declaration, index);
    return number ? function : NULL;
}

static bool
stands_for_its_value(const struct token *next)
{
    static const char *const operators[] = {"[", "(", ".", "->", "++", "--", NULL};
    return !is_any(next, operators);
}

static int
refuse(const struct reader *reader, const struct source *source, const char *where,
       struct spot *spot)
{
    const struct token *token = reader->at;
    *spot = (struct spot){.source = source, .line = token->line, .column = token->column};
    snprintf(spot->message, sizeof(spot->message),
             "'%.*s' is a pointer, and a number is expected%.200s; an element is %.*s[i]",
             (int)(token->length > 100 ? 100 : token->length), token->start, where,
             (int)(token->length > 100 ? 100 : token->length), token->start);
    return -1;
}

int
pointers_check(const struct source *source, name_sorter *sort, const void *context,
               struct spot *spot)
{
    struct reader reader = {source->tokens.items, source->tokens.items, sort, context};
    for (; reader.at->kind != TOKEN_END; reader.at++) {
        if (reader.at->kind != TOKEN_IDENTIFIER || reader.at->directive ||
            sort(context, reader.at) != NAME_POINTER || !stands_for_its_value(reader.at + 1)) {
            continue;
        }
        const struct token *function = takes_number(&reader);
        if (function != NULL) {
            char where[120];
            snprintf(where, sizeof(where), " by %.*s()",
                     (int)(function->length > 100 ? 100 : function->length), function->start);
            return refuse(&reader, source, where, spot);
        }
        if (is_negated(&reader) || is_cast(&reader) || is_assigned(&reader)) {
            return refuse(&reader, source, "", spot);
        }
    }
    return 0;
}

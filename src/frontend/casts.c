/* casts.c: casts to structs, which libtcc takes silently.
 *
 *   (tw_complex)1    (struct point)p    return (T)x;      casts
 *   (tw_complex){1}  sizeof(tw_complex) * 2   f(tw_complex);   none
 */
#include "casts.h"

#include <stdlib.h>

const char *const COMPLEX_TYPES[] = {"tw_complex", "tw_complexf", NULL};

struct reader {
    const struct tokens *tokens;
    const char *const *names;
    const struct token **typedefs; /* names that the text itself gives to structs */
    size_t typedef_count;
};

static bool
is_any(const struct token *token, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        if (token_is(token, *texts)) {
            return true;
        }
    }
    return false;
}

static bool
is_struct_name(const struct reader *reader, const struct token *token)
{
    if (token->kind != TOKEN_IDENTIFIER) {
        return false;
    }
    for (size_t i = 0; i < reader->typedef_count; i++) {
        if (token_compare(reader->typedefs[i], token) == 0) {
            return true;
        }
    }
    return is_any(token, reader->names);
}

/* ---- Types ---- */

static const struct token *
behind_qualifiers(const struct token *token)
{
    static const char *const qualifiers[] = {"const", "volatile", "__const", "__const__", NULL};
    while (is_any(token, qualifiers)) {
        token++;
    }
    return token;
}

static const struct token *
behind_brackets(const struct token *token)
{
    int depth = 0;
    do {
        depth += token_opens(token) - token_closes(token);
        token++;
    } while (depth > 0 && token->kind != TOKEN_END);
    return token;
}

/* The token behind "const struct point", "struct { ... }" or the name of a struct; NULL: no such type. */
static const struct token *
behind_struct(const struct reader *reader, const struct token *token)
{
    static const char *const words[] = {"struct", "union", NULL};
    token = behind_qualifiers(token);
    if (!is_any(token, words)) {
        return is_struct_name(reader, token) ? behind_qualifiers(token + 1) : NULL;
    }
    token++;
    token += token->kind == TOKEN_IDENTIFIER;
    return behind_qualifiers(token_is(token, "{") ? behind_brackets(token) : token);
}

/* "typedef struct { ... } point;" Of several names the first. */
static void
read_typedef(struct reader *reader, const struct token *word)
{
    const struct token *name = behind_struct(reader, word + 1);
    if (name != NULL && name->kind == TOKEN_IDENTIFIER &&
        (token_is(name + 1, ";") || token_is(name + 1, ","))) {
        reader->typedefs[reader->typedef_count++] = name;
    }
}

/* ---- Casts ---- */

/* Whether a ')' in front of this token may be a cast's end. */
static bool
begins_operand(const struct token *token)
{
    static const char *const operators[] = {"(", "-", "+", "!", "~", "*", "&", "++", "--", NULL};
    static const char *const others[] = {"__attribute__", "__attribute", "__asm__", "asm", NULL};
    return token->kind == TOKEN_PUNCTUATOR ? is_any(token, operators)
                                           : token->kind != TOKEN_END && !is_any(token, others);
}

/* Whether a '(' behind this token belongs to it: a call, a prototype, sizeof(T). */
static bool
takes_brackets(const struct token *token)
{
    static const char *const words[] = {"return", "else", "do", "case", NULL};
    return token->kind == TOKEN_IDENTIFIER && !is_any(token, words);
}

static bool
is_cast(const struct reader *reader, const struct token *open)
{
    if (!token_is(open, "(") || (open > reader->tokens->items && takes_brackets(open - 1))) {
        return false;
    }
    const struct token *close = behind_struct(reader, open + 1);
    return close != NULL && token_is(close, ")") && begins_operand(close + 1);
}

static int
refuse(const struct reader *reader, const struct source *source, const struct token *open,
       struct spot *spot)
{
    const struct token *type = behind_qualifiers(open + 1);
    if (is_any(type, reader->names)) {
        return spot_fail(spot, source, open,
                         "C casts to no struct, and '%.*s' is one: tw_cast(%.*s, x) makes a "
                         "complex number of any other",
                         (int)type->length, type->start, (int)type->length, type->start);
    }
    return spot_fail(spot, source, open, "C casts to no struct or union");
}

int
casts_check(const struct source *source, const char *const *names, struct spot *spot)
{
    struct reader reader = {.tokens = &source->tokens, .names = names};
    *spot = (struct spot){0};
    reader.typedefs = malloc((source->tokens.count + 1) * sizeof(*reader.typedefs));
    if (reader.typedefs == NULL) {
        return -1;
    }
    int result = 0;
    for (size_t i = 0; i < source->tokens.count && result == 0; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token_is(token, "typedef")) {
            read_typedef(&reader, token);
        }
        else if (!token->directive && is_cast(&reader, token)) {
            result = refuse(&reader, source, token, spot);
        }
    }
    free(reader.typedefs);
    return result;
}

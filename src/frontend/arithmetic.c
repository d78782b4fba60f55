/* arithmetic.c: calls of tw_add and its kin, before they are expanded. */
#include "arithmetic.h"

#include <stdlib.h>
#include <string.h>

#include "../../runtime/symbols.h"

/* An open bracket. */
struct open {
    const struct token *call; /* tw_add of "tw_add(", else NULL */
    int depth;                /* such calls around it, with itself */
    int operands;
};

/* A macro of the prelude that takes numbers of any type. */
static bool
is_arithmetic(const struct token *token)
{
    static const char *const others[] = {"tw_make", "tw_makef", "tw_raise", "tw_return"};
    if (token->kind != TOKEN_IDENTIFIER || token->length < 4 ||
        memcmp(token->start, "tw_", 3) != 0 || !token_is(token + 1, "(")) {
        return false;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        if (token_is(token, others[i])) {
            return false;
        }
    }
    const struct symbol *symbol = symbol_find(token->start, token->length);
    return symbol != NULL && symbol->symbol_class == SYMBOL_TYPE;
}

static int
check_operands(const struct source *source, const struct open *open, struct spot *spot)
{
    const struct token *call = open->call;
    bool folds = call != NULL && (token_is(call, "tw_add") || token_is(call, "tw_mul"));
    if (!folds || open->operands <= ARITHMETIC_OPERANDS) {
        return 0;
    }
    return spot_fail(spot, source, call, "%.*s takes 2 to %d operands, %d given", (int)call->length,
                     call->start, ARITHMETIC_OPERANDS, open->operands);
}

static int
check_depth(const struct source *source, const struct open *open, struct spot *spot)
{
    const struct token *call = open->call;
    if (call == NULL || open->depth <= ARITHMETIC_DEPTH) {
        return 0;
    }
    return spot_fail(spot, source, call,
                     "%.*s is nested more than %d calls deep: give inner results a name",
                     (int)call->length, call->start, ARITHMETIC_DEPTH);
}

/* What a bracket opens, in `around`. */
static struct open
open_at(const struct source *source, const struct token *bracket, const struct open *around)
{
    const struct token *before = bracket > source->tokens.items ? bracket - 1 : NULL;
    bool call = before != NULL && is_arithmetic(before);
    return (struct open){.call = call ? before : NULL,
                         .depth = around->depth + call,
                         .operands = !token_closes(bracket + 1)};
}

static int
check_tokens(const struct source *source, struct open *opens, struct spot *spot)
{
    size_t count = 1;
    opens[0] = (struct open){0};
    for (size_t i = 0; i < source->tokens.count; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token_opens(token)) {
            opens[count] = open_at(source, token, &opens[count - 1]);
            if (check_depth(source, &opens[count++], spot) < 0) {
                return -1;
            }
        }
        else if (token_closes(token) && count > 1) {
            if (check_operands(source, &opens[--count], spot) < 0) {
                return -1;
            }
        }
        else if (token_is(token, ",")) {
            opens[count - 1].operands++;
        }
    }
    return 0;
}

int
arithmetic_check(const struct source *source, struct spot *spot)
{
    if (source->text == NULL || memmem(source->text, source->length, "tw_", 3) == NULL) {
        return 0;
    }
    *spot = (struct spot){.source = source};
    struct open *opens = malloc((source->tokens.count + 1) * sizeof(*opens));
    if (opens == NULL) {
        return -1;
    }
    int result = check_tokens(source, opens, spot);
    free(opens);
    return result;
}

/* arithmetic.c: calls of tw_add and its kin, before they are expanded. */
#include "arithmetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/symbols.h"

/* An open bracket. */
struct open {
    const struct token *call; /* tw_add of "tw_add(", else NULL */
    bool round; /* a parenthesis: only these keep commas together in a macro's operands */
    int depth;  /* such calls around it, with itself */
    int operands;
};

/* ---- Calls ---- */

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

/* How many operands a macro takes, by its definition. `most` is 0 for what is no macro with operands. */
static void
read_operands(const struct token *call, int *least, int *most)
{
    const struct symbol *symbol = symbol_find(call->start, call->length);
    const char *define = strstr(symbol->declaration, "#define ");
    const char *at = define == NULL ? "" : define + strlen("#define ") + call->length;
    *least = *most = *at == '(';
    for (; *least > 0 && *at != ')'; at++) {
        *least += *at == ',';
        *most = *at == '.' ? ARITHMETIC_OPERANDS : *most + (*at == ',');
    }
}

static int
check_operands(const struct source *source, const struct open *open, struct spot *spot)
{
    const struct token *call = open->call;
    int least = 0, most = 0;
    if (call != NULL) {
        read_operands(call, &least, &most);
    }
    bool few = open->operands < least && !call->directive; /* there, __VA_ARGS__ may be several */
    if (most == 0 || (!few && open->operands <= most)) {
        return 0;
    }
    char range[32];
    snprintf(range, sizeof(range), least == most ? "%d operand%s" : "2 to %d operands", most,
             most == 1 ? "" : "s");
    return spot_fail(spot, source, call, "%.*s takes %s, %d given", (int)call->length, call->start,
                     range, open->operands);
}

/* In tw_add((tw_complex){1, 2}, z) the first comma, too, separates operands, as in every macro. */
static int
check_comma(const struct source *source, const struct open *open, const struct token *comma,
            struct spot *spot)
{
    const struct open *inner = open;
    while (!inner->round && inner->depth > 0) {
        inner--;
    }
    if (inner == open || inner->call == NULL || comma->directive) {
        return 0;
    }
    return spot_fail(spot, source, comma,
                     "this comma separates operands of %.*s: put the operand in parentheses, or "
                     "write tw_make(re, im)",
                     (int)inner->call->length, inner->call->start);
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

/* ---- Tokens ---- */

/* The variables in the macros' text: they would hide the user's. */
static bool
is_taken(const struct token *token)
{
    static const char *const names[] = {"tw_x",    "tw_y",    "tw_r",   "tw_sum5",
                                        "tw_sum6", "tw_sum7", "tw_sum8"};
    for (size_t i = 0; token->kind == TOKEN_IDENTIFIER && i < sizeof(names) / sizeof(*names); i++) {
        if (token_is(token, names[i])) {
            return true;
        }
    }
    return false;
}

/* What a bracket opens, in `around`. */
static struct open
open_at(const struct source *source, const struct token *bracket, const struct open *around)
{
    const struct token *before = bracket > source->tokens.items ? bracket - 1 : NULL;
    bool call = before != NULL && is_arithmetic(before);
    return (struct open){.call = call ? before : NULL,
                         .round = token_is(bracket, "("),
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
            if (check_comma(source, &opens[count - 1], token, spot) < 0) {
                return -1;
            }
            opens[count - 1].operands++;
        }
        else if (is_taken(token)) {
            return spot_fail(
                spot, source, token,
                "'%.*s' is a name that tw_add and its kin use themselves: take another",
                (int)token->length, token->start);
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

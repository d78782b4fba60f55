/* return_val.c: "return_val = expr;" of a snippet -> a call of the prelude's.
 *
 *   if (n > 3) return_val = "big";     ->     if (n > 3) tw_return(( "big"));
 */
#include "return_val.h"

#include <string.h>

/* Returns the token that opens the bracket this one closes, or `first` where there is none. */
static const struct token *
find_opening(const struct token *first, const struct token *close)
{
    int depth = 0;
    for (; close > first; close--) {
        depth += token_closes(close) - token_opens(close);
        if (depth == 0) {
            break;
        }
    }
    return close;
}

/* Whether this ':' ends a label, and does not belong to a '?' of its statement. */
static bool
ends_label(const struct token *first, const struct token *colon)
{
    int open = 1;
    for (const struct token *token = colon; token > first; token--) {
        if (token_closes(token - 1) && !token_is(token - 1, "}")) {
            token = find_opening(first, token - 1) + 1;
            continue;
        }
        if (token_is(token - 1, ";") || token_is(token - 1, "{") || token_is(token - 1, "}")) {
            break;
        }
        open += token_is(token - 1, ":") - token_is(token - 1, "?");
    }
    return open > 0;
}

/* "if (x)", "for (...)": the ')' of a head, or of a macro that stands for one; not "(void)". */
static bool
ends_head(const struct token *first, const struct token *close)
{
    const struct token *open = find_opening(first, close);
    return open > first && open[-1].kind == TOKEN_IDENTIFIER && !token_is(&open[-1], "return") &&
           !token_is(&open[-1], "sizeof");
}

/* A macro that is a statement without a ';', as Py_END_ALLOW_THREADS: a name alone, on a line before. */
static bool
is_statement_macro(const struct token *token)
{
    char name[SNIPPET_NAME_SIZE];
    size_t length = token->length < SNIPPET_NAME_SIZE ? token->length : SNIPPET_NAME_SIZE - 1;
    memcpy(name, token->start, length);
    name[length] = '\0';
    return token->kind == TOKEN_IDENTIFIER && token[1].first && !snippet_is_keyword(name);
}

/* Whether a statement may begin behind this token (NULL: at the start). */
static bool
ends_statement(const struct token *first, const struct token *token)
{
    static const char *const ends[] = {";", "{", "}", "else", "do"};
    for (size_t i = 0; token != NULL && i < sizeof(ends) / sizeof(*ends); i++) {
        if (token_is(token, ends[i])) {
            return true;
        }
    }
    return token == NULL || is_statement_macro(token) ||
           (token_is(token, ")") && ends_head(first, token)) ||
           (token_is(token, ":") && ends_label(first, token));
}

/* Returns the ';' that ends the expression behind `from`, or NULL. */
static const struct token *
find_semicolon(const struct token *from)
{
    int depth = 0;
    for (; from->kind != TOKEN_END; from++) {
        depth += token_opens(from) - token_closes(from);
        if (depth < 0) {
            return NULL;
        }
        if (depth == 0 && token_is(from, ";")) {
            return from;
        }
    }
    return NULL;
}

/* How the reference of a returned object is held: by the expression itself, by somebody else, by nobody
 * (NULL); or differently by the branches of a choice. */
enum ownership { OWNED, BORROWED, NOBODY, MIXED };

/* "#define L lst": the one token a macro stands for, or NULL. */
static const struct token *
macro_token(const struct snippet *snippet, const struct token *name)
{
    for (int i = SNIPPET_MACROS; i < SNIPPET_SOURCES; i++) {
        const struct tokens *tokens = &snippet->sources[i].tokens;
        for (size_t k = 1; k + 1 < tokens->count; k++) {
            const struct token *token = &tokens->items[k];
            if (token->directive && token_is(token - 1, "define") &&
                token_compare(token, name) == 0 && token[1].directive && !token[1].first &&
                (token[2].first || !token[2].directive)) {
                return token + 1;
            }
        }
    }
    return NULL;
}

/* A singleton, an argument that is an object, py_a or a_array: none of them gives its reference away. */
static bool
names_borrowed(const struct snippet *snippet, const struct token *name)
{
    static const char *const singletons[] = {"Py_None", "Py_True", "Py_False", "Py_NotImplemented",
                                             "Py_Ellipsis"};
    for (size_t i = 0; i < sizeof(singletons) / sizeof(*singletons); i++) {
        if (token_is(name, singletons[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < snippet->count; i++) {
        char derived[SNIPPET_NAME_SIZE];
        snippet_derive(snippet, i, "py_", "", derived);
        bool object =
            snippet->types[i].kind == ARGUMENT_OBJECT && token_is(name, snippet->names[i]);
        if (object || token_is(name, derived)) {
            return true;
        }
        snippet_derive(snippet, i, "", "_array", derived);
        if (snippet->types[i].kind == ARGUMENT_ARRAY && token_is(name, derived)) {
            return true;
        }
    }
    return false;
}

/* The ':' of this '?', or NULL. */
static const struct token *
find_colon(const struct token *question, const struct token *to)
{
    int depth = 0, open = 0;
    for (const struct token *token = question; token < to; token++) {
        depth += token_opens(token) - token_closes(token);
        open += depth == 0 ? token_is(token, "?") - token_is(token, ":") : 0;
        if (depth == 0 && open == 0) {
            return token;
        }
    }
    return NULL;
}

/* The first token spelled so outside of all brackets, or NULL. */
static const struct token *
find_outside(const struct token *from, const struct token *to, const char *text)
{
    int depth = 0;
    for (; from < to; from++) {
        depth += token_opens(from) - token_closes(from);
        if (depth == 0 && token_is(from, text)) {
            return from;
        }
    }
    return NULL;
}

/* Whether what stands in front of the last name changes nothing of it: brackets, casts to object pointers,
 * "n," and "p =". */
static bool
leaves_alone(const struct token *from, const struct token *last)
{
    static const char *const words[] = {
        "PyObject", "PyArrayObject", "struct", "_object", "void", "const", "(", ")", "*", ",", "="};
    for (; from < last; from++) {
        bool known = token_is(from + 1, ",") || token_is(from + 1, "=");
        for (size_t i = 0; i < sizeof(words) / sizeof(*words) && !known; i++) {
            known = token_is(from, words[i]);
        }
        if (!known) {
            return false;
        }
    }
    return true;
}

/* "a", "(a)", "(PyObject *)a", "(n, a)", "p = a" end in the object itself. */
static enum ownership
ownership_of_last(const struct snippet *snippet, const struct token *from, const struct token *to)
{
    while (to > from && token_is(to - 1, ")")) {
        to--;
    }
    if (to == from || !leaves_alone(from, to - 1)) {
        return OWNED;
    }
    const struct token *last = to - 1;
    if (token_is(last, "NULL") || token_is(last, "0")) {
        return NOBODY;
    }
    const struct token *body = last->kind == TOKEN_IDENTIFIER ? macro_token(snippet, last) : NULL;
    bool borrowed =
        last->kind == TOKEN_IDENTIFIER &&
        (names_borrowed(snippet, last) || (body != NULL && names_borrowed(snippet, body)));
    return borrowed ? BORROWED : OWNED;
}

static enum ownership
ownership(const struct snippet *snippet, const struct token *from, const struct token *to)
{
    if (to - from >= 3 && token_is(from, "(") && find_opening(from, to - 1) == from) {
        return ownership(snippet, from + 1, to - 1);
    }
    const struct token *question = find_outside(from, to, "?");
    const struct token *colon = question == NULL ? NULL : find_colon(question, to);
    if (colon == NULL) {
        return ownership_of_last(snippet, from, to);
    }
    enum ownership first = ownership(snippet, question + 1, colon);
    enum ownership second = ownership(snippet, colon + 1, to);
    return first == NOBODY ? second : second == NOBODY || first == second ? first : MIXED;
}

static const char RETURN_VAL_HINT[] =
    "return_val can only be assigned to, in a statement of its own: return_val = ...;";

/* Why "return_val = expr;" cannot be taken, or NULL. `end`: its ';', or NULL. */
static const char *
refuse_return(const struct snippet *snippet, const struct token *name, const struct token *end)
{
    if (!token_is(name + 1, "=")) {
        return RETURN_VAL_HINT;
    }
    if (end == NULL) {
        return "';' expected at the end of return_val = ...";
    }
    if (end == name + 2) {
        return "expression expected before ';'";
    }
    for (const struct token *token = name + 2; token < end; token++) {
        if (token_is(token, "return_val")) {
            return RETURN_VAL_HINT;
        }
    }
    if (find_outside(name + 2, end, ",") != NULL) {
        return "return_val takes one expression: put one with a ',' in brackets";
    }
    if (ownership(snippet, name + 2, end) == MIXED) {
        return "one branch is a borrowed object, the other a new reference: write Py_NewRef(...) "
               "around the borrowed one";
    }
    return NULL;
}

/* Writes "tw_return(expr);" for "return_val = expr;", line by line; `end` is its ';'. */
static void
emit_return(struct buffer *text, const struct snippet *snippet, const struct token *name,
            const struct token *end)
{
    const struct token *equals = name + 1;
    const char *behind_name = name->start + name->length;
    const char *behind_equals = equals->start + equals->length;
    buffer_append_string(text, ownership(snippet, name + 2, end) == BORROWED
                                   ? "tw_return_borrowed(tw_call, (tw_object)("
                                   : "tw_return((");
    buffer_append(text, behind_name, (size_t)(equals->start - behind_name));
    buffer_append(text, behind_equals, (size_t)(end->start - behind_equals));
    buffer_append_string(text, "));");
}

/* How an #if, #else or #endif changes the depth of conditionals, given its '#'. */
static int
conditional_step(const struct token *hash)
{
    if (!hash->directive || !token_is(hash, "#") || !hash[1].directive) {
        return 0;
    }
    return (token_is(hash + 1, "if") || token_is(hash + 1, "ifdef") ||
            token_is(hash + 1, "ifndef")) -
           token_is(hash + 1, "endif");
}

int
return_val_rewrite(const struct snippet *snippet, struct buffer *text, struct spot *spot)
{
    const struct source *code = &snippet->sources[SNIPPET_CODE];
    const struct token *end = code->tokens.items + code->tokens.count;
    const struct token *previous = NULL;
    const char *copied = code->text;
    char nesting[CHECK_DEPTH + 1];
    size_t depth = 0;
    int conditionals = 0; /* what stands in one may be dead, and is then libtcc's to judge */
    for (const struct token *token = code->tokens.items; token < end; token++) {
        conditionals += conditional_step(token);
        if (token_is(token, "return_val")) {
            bool statement = !token->directive && ends_statement(code->tokens.items, previous) &&
                             (depth == 0 || nesting[depth - 1] == '{');
            const struct token *semicolon =
                token_is(token + 1, "=") ? find_semicolon(token + 2) : NULL;
            const char *refusal =
                statement ? refuse_return(snippet, token, semicolon) : RETURN_VAL_HINT;
            if (refusal != NULL && conditionals > 0) {
                continue;
            }
            if (refusal != NULL) {
                return spot_fail(spot, code, token, "%s", refusal);
            }
            buffer_append(text, copied, (size_t)(token->start - copied));
            emit_return(text, snippet, token, semicolon);
            token = semicolon;
            copied = token->start + token->length;
        }
        else if (!token->directive && token_opens(token) && depth < CHECK_DEPTH) {
            nesting[depth++] = token_is(token, "{") ? '{' : '(';
        }
        else if (!token->directive && token_closes(token) && depth > 0) {
            depth--;
        }
        previous = token->directive ? previous : token;
    }
    buffer_append(text, copied, (size_t)(code->text + code->length - copied));
    return 0;
}

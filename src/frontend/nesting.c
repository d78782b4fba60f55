/* nesting.c: pairs brackets and #if, and bounds how deep a text nests.
 *
 * Each branch of a conditional goes on from the same open brackets, and must end with the same ones;
 * libtcc sees one branch, and only it knows which.
 */
#include "check.h"

#include <string.h>

/* '<%' -> '{'; 0 for what is no bracket. */
char
check_bracket(const struct token *token)
{
    static const char *const digraphs[] = {"<%", "{", "%>", "}", "<:", "[", ":>", "]"};
    if (token->kind != TOKEN_PUNCTUATOR) {
        return 0;
    }
    if (token->length == 1) {
        return strchr("()[]{}", token->start[0]) != NULL ? token->start[0] : 0;
    }
    for (int i = 0; i < 8; i += 2) {
        if (token_is(token, digraphs[i])) {
            return digraphs[i + 1][0];
        }
    }
    return 0;
}

static char
closer_of(char open)
{
    return open == '(' ? ')' : open == '[' ? ']' : '}';
}

static int
node_depth(const struct node *node)
{
    return node->base + node->questions + node->chain + node->prefix + node->nested;
}

static const struct token *
code_token(const struct check *check, size_t back)
{
    return back <= check->code_count ? check->code[check->code_count - back].token : NULL;
}

static bool
code_is(const struct check *check, size_t back, const char *text)
{
    const struct token *token = code_token(check, back);
    return token != NULL && token_is(token, text);
}

/* Whether the { about to be opened is a struct's or union's: "struct {", "struct name {". */
static bool
opens_record(const struct check *check)
{
    for (size_t back = 1; back <= 2; back++) {
        if (code_is(check, back, "struct") || code_is(check, back, "union")) {
            return true;
        }
    }
    return false;
}

static void
open_bracket(struct check *check, const struct token *token, char kind)
{
    const struct node *parent = &check->nodes[check->node];
    bool body = kind == '{' && parent->kind == 0 && code_is(check, 1, ")");
    check->nodes[check->node_count] = (struct node){
        .open = token,
        .parent = check->node,
        .kind = kind,
        .function = parent->function || body,
        .record = kind == '{' && opens_record(check),
        .base = node_depth(parent) + 1,
    };
    check->node = check->node_count++;
}

/* Whether what just closed was, as far as one can tell, a type in parentheses: "(int)", "(char *)". */
static bool
closes_type(const struct check *check, const struct node *closed)
{
    static const char *const types[] = {"int",   "char",   "long",  "short", "unsigned", "signed",
                                        "float", "double", "void",  "const", "volatile", "struct",
                                        "union", "enum",   "_Bool", "bool",  NULL};
    const struct token *last = code_token(check, 1);
    if (last != NULL && last > closed->open && token_is(last, "*")) {
        return true;
    }
    const struct token *first = closed->open + 1;
    return is_identifier(first) &&
           (token_in(first, types) ||
            (first->length > 2 && memcmp(first->start + first->length - 2, "_t", 2) == 0));
}

/* Whether an operand goes on behind ")" as one more level of libtcc's parser: a cast's operand, ")(". */
static bool
goes_deeper(const struct token *next, bool type)
{
    static const char *const prefixes[] = {"+", "-", "*", "&", "&&", "++", "--", NULL};
    switch (next->kind) {
    case TOKEN_IDENTIFIER:
    case TOKEN_NUMBER:
    case TOKEN_STRING:
    case TOKEN_CHARACTER:
        return true;
    default:
        return token_is(next, "(") || token_is(next, "!") || token_is(next, "~") ||
               (type && token_in(next, prefixes));
    }
}

static void
end_statement(struct node *node, const struct token *next)
{
    node->questions = node->chain = node->prefix = 0;
    if (!token_is(next, "else")) {
        node->nested = 0;
    }
}

static int
close_bracket(struct check *check, const struct token *token, char close)
{
    const struct node *closed = &check->nodes[check->node];
    if (closed->kind == 0) {
        return check_refuse(check, token, "unbalanced '%c': no '%c' is open here", close,
                            close == ')'   ? '('
                            : close == ']' ? '['
                                           : '{');
    }
    if (closer_of(closed->kind) != close) {
        return check_refuse(check, token, "unbalanced '%c': the '%c' of line %d is still open",
                            close, closed->kind, closed->open->line);
    }
    bool type = close == ')' && closes_type(check, closed);
    check->node = closed->parent;
    struct node *node = &check->nodes[check->node];
    const struct token *next = token + 1;
    if (close == '}') {
        end_statement(node, next);
    }
    else if (close == ')' ? goes_deeper(next, type) : check_bracket(next) == '[') {
        node->prefix++;
    }
    else {
        node->prefix = 0;
    }
    return 0;
}

bool
check_is_assignment(const struct token *token)
{
    static const char *const operators[] = {
        "=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", NULL};
    return token->kind == TOKEN_PUNCTUATOR && token_in(token, operators);
}

static void
nest_keyword(struct check *check, struct node *node, const struct token *token)
{
    static const char *const statements[] = {"if", "else", "for", "while", "do", "switch", NULL};
    static const char *const operators[] = {"sizeof",      "_Alignof",  "alignof",
                                            "__alignof__", "__alignof", "__extension__",
                                            "__real__",    "__imag__",  NULL};
    if (token_in(token, operators)) {
        node->prefix++;
        return;
    }
    node->prefix = 0;
    bool else_if = token_is(token, "if") && code_is(check, 1, "else");
    if (!else_if && token_in(token, statements)) {
        node->nested++;
    }
}

static void
nest_operator(struct node *node, const struct token *token)
{
    static const char *const prefixes[] = {"!", "~", "+", "-", "*", "&", "&&", "++", "--", NULL};
    if (token_in(token, prefixes)) {
        node->prefix++;
        return;
    }
    node->prefix = 0;
    if (token_is(token, ";")) {
        end_statement(node, token + 1);
    }
    else if (token_is(token, ",")) {
        node->chain = 0;
    }
    else if (token_is(token, "?")) {
        node->questions++;
    }
    else if (token_is(token, ":") && node->questions > 0) {
        node->questions--;
        node->chain++;
    }
    else if (check_is_assignment(token)) {
        node->chain++;
    }
}

/* Follows brackets and operators through one token. */
static int
nest_token(struct check *check, const struct token *token)
{
    char bracket = check_bracket(token);
    struct node *node = &check->nodes[check->node];
    if (bracket == '(' || bracket == '[' || bracket == '{') {
        open_bracket(check, token, bracket);
    }
    else if (bracket != 0) {
        if (close_bracket(check, token, bracket) < 0) {
            return -1;
        }
    }
    else if (token->kind == TOKEN_PUNCTUATOR) {
        nest_operator(node, token);
    }
    else if (is_identifier(token)) {
        nest_keyword(check, node, token);
    }
    else {
        node->prefix = 0;
    }
    if (node_depth(&check->nodes[check->node]) > CHECK_DEPTH) {
        check->too_deep = true;
        return check_refuse(
            check, token,
            "nested too deeply: more than %d brackets, operators or statements one in another",
            CHECK_DEPTH);
    }
    return 0;
}

/* A directive's own brackets need not pair up, but must not be too deep: #if is parsed as well, and a
 * macro's body will be. */
static int
nest_directive(struct check *check, const struct token *token)
{
    int before = check->node;
    check->nodes[check->node_count] = (struct node){.kind = 0, .parent = before};
    int root = check->node = check->node_count++;
    for (bool first = true; token->directive && (first || !token->first); token++, first = false) {
        char bracket = check_bracket(token);
        bool closing = bracket == ')' || bracket == ']' || bracket == '}';
        if (closing &&
            (check->node == root || closer_of(check->nodes[check->node].kind) != bracket)) {
            continue;
        }
        if (nest_token(check, token) < 0) {
            return -1;
        }
    }
    check->node = before;
    return 0;
}

/* Whether two places have the same brackets open. */
static bool
same_brackets(const struct check *check, int a, int b)
{
    while (a != b) {
        const struct node *left = &check->nodes[a];
        const struct node *right = &check->nodes[b];
        if (left->kind != right->kind || left->kind == 0) {
            return false;
        }
        a = left->parent;
        b = right->parent;
    }
    return true;
}

/* Compares the end of a branch (`node`) with the branches before it. */
static int
end_branch(struct check *check, struct conditional *conditional, int node,
           const struct token *token)
{
    if (conditional->end < 0) {
        conditional->end = node;
    }
    else if (!same_brackets(check, conditional->end, node)) {
        return check_refuse(check, token,
                            "the branches of the #if of line %d leave different brackets open: "
                            "close in each branch what it opens",
                            conditional->open->line);
    }
    return 0;
}

enum condition { CONDITION_UNKNOWN, CONDITION_FALSE, CONDITION_TRUE };

/* "#if 0", "#if 1", and the C++ part of headers are known; everything else is not. */
static enum condition
condition_of(const struct token *hash)
{
    const struct token *word = hash + 1;
    int count = 0;
    while (word[count + 1].directive && !word[count + 1].first) {
        count++;
    }
    /* __cplusplus / defined __cplusplus / defined(__cplusplus) */
    int place = count == 4 ? 3 : count;
    bool plusplus =
        (count == 1 || count == 2 || count == 4) && token_is(word + place, "__cplusplus");
    if (token_is(word, "ifdef") || (token_is(word, "if") && token_is(word + 1, "defined"))) {
        return plusplus ? CONDITION_FALSE : CONDITION_UNKNOWN;
    }
    if (token_is(word, "ifndef")) {
        return plusplus ? CONDITION_TRUE : CONDITION_UNKNOWN;
    }
    if (count != 1 || !(token_is(word + 1, "0") || token_is(word + 1, "1"))) {
        return CONDITION_UNKNOWN;
    }
    return token_is(word + 1, "0") ? CONDITION_FALSE : CONDITION_TRUE;
}

static void
update_dead(struct check *check)
{
    check->dead = false;
    if (check->conditional_count > 0) {
        const struct conditional *top = &check->conditionals[check->conditional_count - 1];
        check->dead = top->outer_dead || top->dead;
    }
}

static void
conditional_open(struct check *check, const struct token *hash)
{
    enum condition condition = condition_of(hash);
    check->conditionals[check->conditional_count++] = (struct conditional){
        .open = hash,
        .start = check->node,
        .end = -1,
        .outer_dead = check->dead,
        .dead = condition == CONDITION_FALSE,
        .rest_dead = condition == CONDITION_TRUE,
    };
}

/* #elif, #else */
static int
conditional_else(struct check *check, const struct token *hash, bool is_else)
{
    const char *word = is_else ? "#else" : "#elif";
    if (check->conditional_count == 0) {
        return check_refuse(check, hash, "%s without #if", word);
    }
    struct conditional *top = &check->conditionals[check->conditional_count - 1];
    if (top->has_else) {
        return check_refuse(check, hash, "%s after #else, in the #if of line %d", word,
                            top->open->line);
    }
    if (!check->dead && end_branch(check, top, check->node, hash) < 0) {
        return -1;
    }
    top->has_else = is_else;
    top->dead = top->rest_dead;
    check->node = top->start;
    return 0;
}

static int
conditional_close(struct check *check, const struct token *hash)
{
    if (check->conditional_count == 0) {
        return check_refuse(check, hash, "#endif without #if");
    }
    struct conditional *top = &check->conditionals[check->conditional_count - 1];
    if (!check->dead && end_branch(check, top, check->node, hash) < 0) {
        return -1;
    }
    bool may_be_none = !top->has_else && !top->rest_dead && !top->outer_dead;
    if (may_be_none && end_branch(check, top, top->start, hash) < 0) {
        return -1;
    }
    check->node = top->end >= 0 ? top->end : top->start;
    check->conditional_count--;
    return 0;
}

static int
follow_conditional(struct check *check, const struct token *hash)
{
    const struct token *word = hash + 1;
    int result = 0;
    if (!word->directive || word->first) {
        return 0;
    }
    if (token_is(word, "if") || token_is(word, "ifdef") || token_is(word, "ifndef")) {
        conditional_open(check, hash);
    }
    else if (token_is(word, "else") || token_is(word, "elif")) {
        result = conditional_else(check, hash, token_is(word, "else"));
    }
    else if (token_is(word, "endif")) {
        result = conditional_close(check, hash);
    }
    update_dead(check);
    return result;
}

static void
note_code(struct check *check, const struct token *token, int node)
{
    check->code[check->code_count++] = (struct live){token, node};
    check->has_atomic =
        check->has_atomic ||
        (is_identifier(token) && token->length > 6 &&
         (memcmp(token->start, "_Atomic", 7) == 0 || memcmp(token->start, "atomic_", 7) == 0));
    check->has_alignment = check->has_alignment || token_is(token, "_Alignas") ||
                           token_is(token, "alignas") || token_is(token, "aligned") ||
                           token_is(token, "__aligned__");
}

static int
nest_live(struct check *check, const struct token *token)
{
    int before = check->node;
    if (nest_token(check, token) < 0) {
        return -1;
    }
    /* An opening bracket stands outside itself, and so does a closing one. */
    bool opens = check->nodes[check->node].open == token;
    note_code(check, token, opens ? before : check->node);
    return 0;
}

static int
nest_all(struct check *check)
{
    const struct tokens *tokens = &check->source->tokens;
    for (size_t i = 0; i < tokens->count; i++) {
        const struct token *token = &tokens->items[i];
        bool dead = check->dead;
        if (token->directive && token->first && follow_conditional(check, token) < 0) {
            return -1;
        }
        if (dead || check->dead) {
            continue;
        }
        check->live[check->live_count++] = token;
        if (token->directive) {
            if (token->first && nest_directive(check, token) < 0) {
                return -1;
            }
        }
        else if (nest_live(check, token) < 0) {
            return -1;
        }
    }
    note_code(check, &tokens->items[tokens->count], 0);
    check->live[check->live_count] = &tokens->items[tokens->count];
    return 0;
}

int
check_nesting(struct check *check)
{
    if (nest_all(check) < 0) {
        return -1;
    }
    if (check->conditional_count > 0) {
        const struct conditional *top = &check->conditionals[check->conditional_count - 1];
        return check_refuse(check, top->open, "this #if is never closed by #endif");
    }
    const struct node *node = &check->nodes[check->node];
    if (node->kind != 0) {
        return check_refuse(check, node->open, "'%c' is never closed by '%c'", node->kind,
                            closer_of(node->kind));
    }
    return 0;
}

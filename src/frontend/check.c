/* check.c: refuses, before libtcc sees it, what it would take wrongly or not survive.
 *
 * First one pass over the tokens pairs brackets and #if (live tokens are noted with the bracket they
 * stand in), then each rule walks those tokens.
 */
#include "lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An open bracket and how deep libtcc's parser is in it. Nodes form a tree and are never removed, so
 * that each branch of a conditional goes on from the same one. */
struct node {
    const struct token *open; /* NULL: the text itself */
    int parent;
    char kind;     /* ( [ { or 0 */
    bool function; /* in the body of a function */
    bool record;   /* the { of a struct or union */
    int base;      /* depth outside */
    int questions; /* ? without their : */
    int chain;     /* right-associative operators since the last , or ; */
    int prefix;    /* prefix operators and casts in a row */
    int nested;    /* if, else, for ... since the last statement ended */
};

struct conditional {
    const struct token *open;
    int start; /* node at the #if */
    int end;   /* node at the end of its first live branch; -1: none ended yet */
    bool has_else;
    bool outer_dead; /* the whole of it is left out */
    bool dead;       /* this branch is left out: #if 0 */
    bool rest_dead;  /* what follows #if 1 */
};

struct live {
    const struct token *token;
    int node; /* a bracket's own node is its content's; the brackets themselves stand in the parent */
};

enum name_flags {
    NAME_CONSTANT = 1, /* #define or enum */
    NAME_GLOBAL = 2,   /* declared at file scope */
    NAME_ATOMIC = 4,
    NAME_ATOMIC_TARGET = 8, /* a pointer to an atomic */
    NAME_ATOMIC_MEMBER = 16,
};

struct name {
    const char *start;
    size_t length;
    unsigned flags;
    int scope;      /* node of the { an atomic was declared in */
    int parameters; /* node of the parameter list that has it last; -1: none */
};

struct check {
    const struct source *source;
    bool snippet;
    struct spot *spot;
    struct node *nodes;
    int node_count;
    int node; /* the innermost open bracket */
    struct conditional *conditionals;
    size_t conditional_count;
    bool dead;
    struct live *code; /* live tokens outside directives, then one TOKEN_END */
    size_t code_count;
    const struct token **live; /* live tokens, directives too */
    size_t live_count;
    struct name *names; /* hash table, open addressing */
    size_t name_capacity;
    bool has_atomic;
    bool has_alignment;
};

static int refuse(struct check *check, const struct token *token, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int
refuse(struct check *check, const struct token *token, const char *format, ...)
{
    struct spot *spot = check->spot;
    spot->source = check->source;
    spot->line = token->line;
    spot->column = token->column;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(spot->message, sizeof(spot->message), format, arguments);
    va_end(arguments);
    return -1;
}

static bool
token_in(const struct token *token, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (token_is(token, *words)) {
            return true;
        }
    }
    return false;
}

static bool
is_identifier(const struct token *token)
{
    return token->kind == TOKEN_IDENTIFIER;
}

/* A token's length for "%.*s", cut so that a message stays readable. */
static int
shown(const struct token *token)
{
    return token->length < 60 ? (int)token->length : 60;
}

/* ---- brackets and #if ---- */

/* '<%' -> '{'; 0 for what is no bracket. */
static char
bracket_of(const struct token *token)
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
        return refuse(check, token, "unbalanced '%c': no '%c' is open here", close,
                      close == ')'   ? '('
                      : close == ']' ? '['
                                     : '{');
    }
    if (closer_of(closed->kind) != close) {
        return refuse(check, token, "unbalanced '%c': the '%c' of line %d is still open", close,
                      closed->kind, closed->open->line);
    }
    bool type = close == ')' && closes_type(check, closed);
    check->node = closed->parent;
    struct node *node = &check->nodes[check->node];
    const struct token *next = token + 1;
    if (close == '}') {
        end_statement(node, next);
    }
    else if (close == ')' ? goes_deeper(next, type) : bracket_of(next) == '[') {
        node->prefix++;
    }
    else {
        node->prefix = 0;
    }
    return 0;
}

static bool
is_assignment(const struct token *token)
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
    else if (is_assignment(token)) {
        node->chain++;
    }
}

/* Follows brackets and operators through one token. */
static int
nest_token(struct check *check, const struct token *token)
{
    char bracket = bracket_of(token);
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
        return refuse(
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
        char bracket = bracket_of(token);
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
        return refuse(check, token,
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
        return refuse(check, hash, "%s without #if", word);
    }
    struct conditional *top = &check->conditionals[check->conditional_count - 1];
    if (top->has_else) {
        return refuse(check, hash, "%s after #else, in the #if of line %d", word, top->open->line);
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
        return refuse(check, hash, "#endif without #if");
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

static int
check_pairs(struct check *check)
{
    if (nest_all(check) < 0) {
        return -1;
    }
    if (check->conditional_count > 0) {
        const struct conditional *top = &check->conditionals[check->conditional_count - 1];
        return refuse(check, top->open, "this #if is never closed by #endif");
    }
    const struct node *node = &check->nodes[check->node];
    if (node->kind != 0) {
        return refuse(check, node->open, "'%c' is never closed by '%c'", node->kind,
                      closer_of(node->kind));
    }
    return 0;
}

/* ---- names ---- */

static struct name *
name_slot(const struct check *check, const struct token *token)
{
    size_t hash = 14695981039346656037u;
    for (size_t i = 0; i < token->length; i++) {
        hash = (hash ^ (unsigned char)token->start[i]) * 1099511628211u;
    }
    for (size_t i = hash;; i++) {
        struct name *name = &check->names[i & (check->name_capacity - 1)];
        if (name->start == NULL || (name->length == token->length &&
                                    memcmp(name->start, token->start, token->length) == 0)) {
            return name;
        }
    }
}

static struct name *
name_add(struct check *check, const struct token *token)
{
    struct name *name = name_slot(check, token);
    if (name->start == NULL) {
        *name = (struct name){token->start, token->length, 0, 0, -1};
    }
    return name;
}

/* "#define N 3" */
static void
note_macros(struct check *check)
{
    for (size_t i = 2; i < check->live_count; i++) {
        const struct token *token = check->live[i];
        if (is_identifier(token) && token->directive && token_is(token - 1, "define") &&
            (token - 2)->first) {
            name_add(check, token)->flags |= NAME_CONSTANT;
        }
    }
}

/* "enum e { A, B = 2 }": the names right in those braces, in front of = , or the end */
static size_t
note_enum(struct check *check, size_t i)
{
    i += is_identifier(check->code[i + 1].token) ? 2 : 1;
    if (bracket_of(check->code[i].token) != '{') {
        return i;
    }
    int inside = check->code[i + 1].node;
    for (i++; i < check->code_count && check->code[i].node >= inside; i++) {
        const struct token *token = check->code[i].token;
        const struct token *before = check->code[i - 1].token;
        if (check->code[i].node == inside && is_identifier(token) &&
            (bracket_of(before) == '{' || token_is(before, ","))) {
            name_add(check, token)->flags |= NAME_CONSTANT;
        }
    }
    return i;
}

static void
note_names(struct check *check)
{
    note_macros(check);
    for (size_t i = 1; i + 2 < check->code_count; i++) {
        const struct live *code = &check->code[i];
        if (is_identifier(code->token) && !check->nodes[code->node].kind &&
            (is_identifier(code[-1].token) || token_is(code[-1].token, "*")) &&
            (token_is(code[1].token, ";") || token_is(code[1].token, "=") ||
             token_is(code[1].token, ","))) {
            name_add(check, code->token)->flags |= NAME_GLOBAL;
        }
    }
    for (size_t i = 0; i + 2 < check->code_count;) {
        i = token_is(check->code[i].token, "enum") ? note_enum(check, i) : i + 1;
    }
}

/* ---- words libtcc does not know or gets wrong ---- */

#define LONG_DOUBLE "long double is not supported (libtcc gets its arithmetic wrong): use double"

/* 1.5L, 1e3l, 0x1p3L; not 15L, 0x1EL */
static bool
is_long_double_literal(const struct token *token)
{
    const char *text = token->start;
    size_t length = token->length;
    if (token->kind != TOKEN_NUMBER || (text[length - 1] != 'L' && text[length - 1] != 'l')) {
        return false;
    }
    bool hexadecimal = length > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    for (size_t i = 0; i < length; i++) {
        bool exponent =
            hexadecimal ? text[i] == 'p' || text[i] == 'P' : text[i] == 'e' || text[i] == 'E';
        if (text[i] == '.' || exponent) {
            return true;
        }
    }
    return false;
}

/* long and double among the words of one declaration, in any order */
struct specifiers {
    const struct token *first; /* of the two */
    bool is_long, is_double;
};

static int
check_long_double(struct check *check, struct specifiers *specifiers, const struct token *token)
{
    static const char *const words[] = {"const",   "volatile", "static",   "extern", "register",
                                        "auto",    "typedef",  "inline",   "int",    "unsigned",
                                        "signed",  "_Atomic",  "restrict", "short",  "_Complex",
                                        "complex", NULL};
    bool is_long = token_is(token, "long");
    bool is_double = token_is(token, "double");
    if (is_long || is_double) {
        specifiers->first = specifiers->first != NULL ? specifiers->first : token;
        specifiers->is_long = specifiers->is_long || is_long;
        specifiers->is_double = specifiers->is_double || is_double;
        if (specifiers->is_long && specifiers->is_double) {
            return refuse(check, specifiers->first, LONG_DOUBLE);
        }
    }
    else if (!token_in(token, words)) {
        *specifiers = (struct specifiers){NULL, false, false};
    }
    return 0;
}

/* "double complex z", "complex double"; `double complex = 1;` is a variable of that name. */
static bool
is_complex_type(const struct check *check, size_t i)
{
    const struct token *next = check->live[i + 1];
    if (token_is(next, "double") || token_is(next, "float")) {
        return true;
    }
    const struct token *before = i > 0 ? check->live[i - 1] : NULL;
    if (before == NULL || !(token_is(before, "double") || token_is(before, "float"))) {
        return false;
    }
    if (token_is(next, ")")) {
        bool cast = i > 1 && token_is(check->live[i - 2], "(");
        return cast && (i == 2 || !is_identifier(check->live[i - 3]));
    }
    return is_identifier(next) || token_is(next, "*") || token_is(next, "(");
}

static int
check_identifier(struct check *check, size_t i)
{
    static const char *const complexes[] = {"_Complex", "__complex__", "__complex", NULL};
    static const char *const threads[] = {"_Thread_local", "thread_local", "__thread", NULL};
    static const char *const longs[] = {"npy_longdouble", "npy_clongdouble", NULL};
    const struct token *token = check->live[i];
    if (token_in(token, complexes) || (token_is(token, "complex") && is_complex_type(check, i))) {
        return refuse(check, token, "C's complex types are not supported: use tw_complex");
    }
    if (token_in(token, threads)) {
        return refuse(check, token,
                      "'%.*s' is not supported: thread-local variables cannot be loaded",
                      shown(token), token->start);
    }
    if (token_in(token, longs)) {
        return refuse(check, token, LONG_DOUBLE);
    }
    return 0;
}

static int
check_digraph(struct check *check, const struct token *token)
{
    if (token->kind != TOKEN_PUNCTUATOR || token->length < 2) {
        return 0;
    }
    char bracket = bracket_of(token);
    bool hash = token_is(token, "%:") || token_is(token, "%:%:");
    if (bracket == 0 && !hash) {
        return 0;
    }
    return refuse(check, token, "the digraph '%.*s' is not supported: write '%c'", shown(token),
                  token->start, hash ? '#' : bracket);
}

/* Directives whose text is prose or names for the compiler. */
static bool
is_prose(const struct token *hash)
{
    static const char *const words[] = {"error", "warning", "pragma", "include", "line", NULL};
    return token_in(hash + 1, words);
}

static int
check_words(struct check *check)
{
    struct specifiers specifiers = {NULL, false, false};
    bool prose = false;
    for (size_t i = 0; i < check->live_count; i++) {
        const struct token *token = check->live[i];
        if (token->first) {
            prose = token->directive && is_prose(token);
        }
        if (prose && token->directive) {
            continue;
        }
        if (check_long_double(check, &specifiers, token) < 0 || check_digraph(check, token) < 0 ||
            (is_identifier(token) && check_identifier(check, i) < 0)) {
            return -1;
        }
        if (is_long_double_literal(token)) {
            return refuse(check, token, "the long double constant %.*s: write it without the L",
                          shown(token), token->start);
        }
    }
    return 0;
}

/* ---- directives ---- */

/* #line 3 "tw:code", # 3 "tw:code" */
static int
check_line_mark(struct check *check, const struct token *hash)
{
    const struct token *token = hash + 1;
    if (!token_is(token, "line") && token->kind != TOKEN_NUMBER) {
        return 0;
    }
    for (; token->directive && !token->first; token++) {
        if (token->kind == TOKEN_STRING && token->length > 3 &&
            memcmp(token->start, "\"tw:", 4) == 0) {
            return refuse(check, token, "file names that start with tw: are tinyweave's own");
        }
    }
    return 0;
}

static int
check_directives(struct check *check)
{
    for (size_t i = 0; i < check->live_count; i++) {
        const struct token *token = check->live[i];
        if (!token->directive || !token->first) {
            continue;
        }
        if (check_line_mark(check, token) < 0) {
            return -1;
        }
        if (check->snippet && token_is(token + 1, "include")) {
            return refuse(check, token,
                          "#include stands inside a function here: "
                          "name the header in headers=[...]");
        }
    }
    return 0;
}

/* ---- return with a value ---- */

static int
check_returns(struct check *check)
{
    for (size_t i = 0; i + 1 < check->code_count; i++) {
        const struct token *next = check->code[i + 1].token;
        if (token_is(check->code[i].token, "return") && !token_is(next, ";") &&
            next->kind != TOKEN_END) {
            return refuse(
                check, check->code[i].token,
                "a snippet returns its result by return_val = ...; (return; leaves it early)");
        }
    }
    return 0;
}

/* ---- parameters double (*a)[n] ---- */

/* The index of the bracket that closes the one at `i`, or of the end. */
static size_t
close_of(const struct check *check, size_t i)
{
    int node = check->code[i].node;
    size_t j = i + 1;
    while (j < check->code_count && check->code[j].node != node) {
        j++;
    }
    return j;
}

static bool
is_variable(const struct check *check, const struct token *token, int parameters)
{
    const struct name *name = name_slot(check, token);
    if (name->start == NULL || name->flags & NAME_CONSTANT) {
        return false;
    }
    return name->parameters == parameters || name->flags & NAME_GLOBAL;
}

/* The first variable of the sizes from the [ at `i` on: [3][n] -> n */
static const struct token *
variable_size(const struct check *check, size_t i, int parameters)
{
    while (bracket_of(check->code[i].token) == '[') {
        size_t end = close_of(check, i);
        for (size_t j = i + 1; j < end; j++) {
            const struct token *token = check->code[j].token;
            if (is_identifier(token) && is_variable(check, token, parameters) &&
                !token_is(check->code[j - 2].token, "sizeof")) {
                return token;
            }
        }
        i = end < check->code_count ? end + 1 : end;
    }
    return NULL;
}

static void
note_parameters(struct check *check, size_t open, size_t close, int parameters)
{
    for (size_t i = open + 1; i < close; i++) {
        const struct token *next = check->code[i + 1].token;
        if (check->code[i].node == parameters && is_identifier(check->code[i].token) &&
            (token_is(next, ",") || token_is(next, ")") || bracket_of(next) == '[')) {
            name_add(check, check->code[i].token)->parameters = parameters;
        }
    }
}

static int
check_parameter_list(struct check *check, size_t open)
{
    size_t close = close_of(check, open);
    int parameters = check->code[open + 1].node;
    note_parameters(check, open, close, parameters);
    for (size_t i = open + 1; i < close; i++) {
        const struct live *code = &check->code[i];
        if (code->node != parameters || !token_is(code->token, "(") ||
            !token_is(code[1].token, "*")) {
            continue;
        }
        size_t end = close_of(check, i);
        const struct token *size =
            end + 1 < close ? variable_size(check, end + 1, parameters) : NULL;
        if (size != NULL) {
            const struct token *name = check->code[end - 1].token;
            int length = is_identifier(name) ? shown(name) : 1;
            const char *start = is_identifier(name) ? name->start : "a";
            return refuse(
                check, code->token,
                "libtcc strides wrongly through a parameter (*%.*s)[%.*s] of variable size: "
                "write %.*s[][%.*s]",
                length, start, shown(size), size->start, length, start, shown(size), size->start);
        }
    }
    return 0;
}

static int
check_parameters(struct check *check)
{
    for (size_t i = 1; i + 1 < check->code_count; i++) {
        const struct live *code = &check->code[i];
        if (token_is(code->token, "(") && !check->nodes[code->node].function &&
            (is_identifier(code[-1].token) || token_is(code[-1].token, ")")) &&
            check->nodes[code->node].kind != '(' && check_parameter_list(check, i) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- ++ on atomics ---- */

/* The node of the innermost { a token stands in. */
static int
scope_of(const struct check *check, int node)
{
    while (check->nodes[node].kind == '(' || check->nodes[node].kind == '[') {
        node = check->nodes[node].parent;
    }
    return node;
}

static bool
is_atomic_type(const struct check *check, size_t i)
{
    const struct token *token = check->code[i].token;
    if (!is_identifier(token)) {
        return false;
    }
    return token_is(token, "_Atomic") ||
           (token->length > 7 && memcmp(token->start, "atomic_", 7) == 0 &&
            (is_identifier(check->code[i + 1].token) || token_is(check->code[i + 1].token, "*")));
}

/* The node of the function body behind the parameter at `i`; -1: a mere prototype. */
static int
body_of(const struct check *check, size_t i)
{
    int outside = scope_of(check, check->code[i].node);
    if (check->nodes[outside].function) {
        return outside; /* for (_Atomic int i ...) */
    }
    while (i < check->code_count && check->code[i].node != outside) {
        i++;
    }
    bool body = i + 2 < check->code_count && bracket_of(check->code[i + 1].token) == '{';
    return body && check->code[i + 2].node != outside ? check->code[i + 2].node : -1;
}

static void
note_atomic(struct check *check, size_t i, bool pointer)
{
    struct name *name = name_add(check, check->code[i].token);
    const struct node *node = &check->nodes[check->code[i].node];
    if (node->record) {
        name->flags |= NAME_ATOMIC_MEMBER;
        return;
    }
    name->flags = (name->flags & ~(unsigned)(NAME_ATOMIC | NAME_ATOMIC_TARGET)) |
                  (pointer ? NAME_ATOMIC_TARGET : NAME_ATOMIC);
    name->scope = node->kind == '(' ? body_of(check, i) : scope_of(check, check->code[i].node);
}

/* One declarator, "*p", "x = 0", "x[3]": returns the index of what ends it. */
static size_t
declare_atomic(struct check *check, size_t i)
{
    int node = check->code[i].node;
    bool pointer = false;
    while (is_identifier(check->code[i].token) || token_is(check->code[i].token, "*")) {
        const struct token *next = check->code[i + 1].token;
        if (token_is(check->code[i].token, "*")) {
            pointer = true;
        }
        else if (!is_identifier(next) && !token_is(next, "*")) {
            note_atomic(check, i, pointer);
        }
        i++;
    }
    while (i + 1 < check->code_count && check->code[i].node != check->nodes[node].parent) {
        const struct token *token = check->code[i].token;
        if (check->code[i].node == node && (token_is(token, ",") || token_is(token, ";"))) {
            break;
        }
        i++;
    }
    return i;
}

/* The declaration behind an atomic type: all declarators, or the one of a parameter. */
static size_t
declare_atomics(struct check *check, size_t i)
{
    int node = check->code[i].node;
    bool parameter = check->nodes[node].kind == '(';
    if (token_is(check->code[i].token, "_Atomic") && token_is(check->code[i + 1].token, "(")) {
        i = close_of(check, i + 1);
    }
    do {
        i = declare_atomic(check, i + 1 < check->code_count ? i + 1 : i);
    } while (!parameter && i + 1 < check->code_count && check->code[i].node == node &&
             token_is(check->code[i].token, ","));
    return i;
}

static bool
is_member_access(const struct token *token)
{
    return token_is(token, ".") || token_is(token, "->");
}

/* Whether the name at `i` is a live atomic; `target`: or points to one. */
static bool
is_atomic_name(const struct check *check, size_t i, bool target)
{
    const struct token *token = check->code[i].token;
    if (!is_identifier(token)) {
        return false;
    }
    const struct name *name = name_slot(check, token);
    if (i > 0 && is_member_access(check->code[i - 1].token)) {
        return name->flags & NAME_ATOMIC_MEMBER;
    }
    if (!(name->flags & (target ? NAME_ATOMIC_TARGET | NAME_ATOMIC : NAME_ATOMIC))) {
        return false;
    }
    int node = check->code[i].node;
    while (node != name->scope && node != 0) {
        node = check->nodes[node].parent;
    }
    return node == name->scope;
}

static bool
is_operand_end(const struct token *token)
{
    char bracket = bracket_of(token);
    return is_identifier(token) || bracket == ')' || bracket == ']';
}

/* The atomic in front of `i` ("x", "x[2]", "(*p)", "*p"), or NULL; `postfix`: *p++ changes p only. */
static const struct token *
atomic_before(const struct check *check, size_t i, bool postfix)
{
    size_t j = i - 1;
    bool target = false;
    if (bracket_of(check->code[j].token) == ']') {
        int node = check->code[j].node;
        while (j > 0 && (check->code[j].node != node || bracket_of(check->code[j].token) != '[')) {
            j--;
        }
        j = j > 0 ? j - 1 : 0;
        target = true;
    }
    else if (token_is(check->code[j].token, ")") && j > 1) {
        j--;
        target = token_is(check->code[j - 1].token, "*");
    }
    else if (!postfix && j > 1 && token_is(check->code[j - 1].token, "*")) {
        target = !is_operand_end(check->code[j - 2].token);
    }
    return is_atomic_name(check, j, target) ? check->code[j].token : NULL;
}

/* The atomic behind the prefix ++ at `i`: "x", "s.x", "*p", "(x)", or NULL. */
static const struct token *
atomic_after(const struct check *check, size_t i)
{
    size_t j = i + 1;
    bool target = false;
    while (token_is(check->code[j].token, "(") || token_is(check->code[j].token, "*")) {
        target = target || token_is(check->code[j].token, "*");
        j++;
    }
    while (is_identifier(check->code[j].token) && j + 2 < check->code_count &&
           is_member_access(check->code[j + 1].token)) {
        j += 2;
    }
    target = target || bracket_of(check->code[j + (j + 1 < check->code_count)].token) == '[';
    return is_atomic_name(check, j, target) ? check->code[j].token : NULL;
}

static const struct token *
atomic_changed(const struct check *check, size_t i)
{
    static const char *const keywords[] = {"return", "else", "do", "case", "sizeof", NULL};
    const struct token *token = check->code[i].token;
    if (token->kind != TOKEN_PUNCTUATOR || i == 0) {
        return NULL;
    }
    const struct token *before = check->code[i - 1].token;
    bool step = token_is(token, "++") || token_is(token, "--");
    bool prefix = step && (!is_operand_end(before) || token_in(before, keywords));
    if (prefix) {
        return atomic_after(check, i);
    }
    if (!step && (!is_assignment(token) || token_is(token, "="))) {
        return NULL;
    }
    const struct token *name = atomic_before(check, i, step);
    bool statement = step && token_is(before, ")"); /* if (c) ++x; */
    return name == NULL && statement ? atomic_after(check, i) : name;
}

static int
check_atomics(struct check *check)
{
    size_t declared = 0; /* a declaration's own tokens are walked too: x = y++ */
    for (size_t i = 0; i + 1 < check->code_count; i++) {
        if (i >= declared && is_atomic_type(check, i)) {
            declared = declare_atomics(check, i);
        }
        const struct token *name = atomic_changed(check, i);
        if (name != NULL) {
            return refuse(check, check->code[i].token,
                          "%.*s does not change the atomic '%.*s' in one step here: "
                          "use atomic_fetch_add and its kin",
                          shown(check->code[i].token), check->code[i].token->start, shown(name),
                          name->start);
        }
    }
    return 0;
}

/* ---- alignment of locals ---- */

static bool
is_static(const struct check *check, size_t i)
{
    for (int back = 0; back < 32 && i > 0; back++) {
        const struct token *token = check->code[--i].token;
        char bracket = bracket_of(token);
        if (token_is(token, ";") || bracket == '{' || bracket == '}') {
            return false;
        }
        if (token_is(token, "static") || token_is(token, "extern")) {
            return true;
        }
    }
    return false;
}

static int
check_alignment(struct check *check)
{
    static const char *const words[] = {"_Alignas", "alignas", "aligned", "__aligned__", NULL};
    for (size_t i = 0; i + 3 < check->code_count; i++) {
        const struct live *code = &check->code[i];
        if (!check->nodes[code->node].function || !token_in(code->token, words) ||
            !token_is(code[1].token, "(") || code[2].token->kind != TOKEN_NUMBER) {
            continue;
        }
        if (strtoul(code[2].token->start, NULL, 0) > 16 && !is_static(check, i)) {
            return refuse(
                check, code->token,
                "a local variable is aligned to 16 bytes at most here: make it static, or "
                "round a pointer into a larger array");
        }
    }
    return 0;
}

/* ---- all of it ---- */

static int
check_allocate(struct check *check)
{
    size_t count = check->source->tokens.count + 1;
    check->name_capacity = 16;
    while (check->name_capacity < 2 * count) {
        check->name_capacity *= 2;
    }
    /* A directive may need a node of its own besides those of its brackets. */
    check->nodes = calloc(2 * count + 1, sizeof(*check->nodes));
    check->conditionals = calloc(count, sizeof(*check->conditionals));
    check->code = calloc(count, sizeof(*check->code));
    check->live = calloc(count, sizeof(*check->live));
    check->names = calloc(check->name_capacity, sizeof(*check->names));
    if (!check->nodes || !check->conditionals || !check->code || !check->live || !check->names) {
        check->spot->message[0] = '\0';
        return -1;
    }
    check->nodes[0] = (struct node){.parent = -1, .function = check->snippet};
    check->node_count = 1;
    return 0;
}

static void
check_free(struct check *check)
{
    free(check->nodes);
    free(check->conditionals);
    free(check->code);
    free(check->live);
    free(check->names);
}

static int
check_rules(struct check *check)
{
    if (check_pairs(check) < 0 || check_words(check) < 0 || check_directives(check) < 0) {
        return -1;
    }
    if (check->snippet ? check_returns(check) < 0
                       : (note_names(check), check_parameters(check) < 0)) {
        return -1;
    }
    if (check->has_atomic && check_atomics(check) < 0) {
        return -1;
    }
    return check->has_alignment ? check_alignment(check) : 0;
}

int
check_source(const struct source *source, bool snippet, struct spot *spot)
{
    *spot = (struct spot){.source = source};
    struct check check = {.source = source, .snippet = snippet, .spot = spot};
    int result = check_allocate(&check);
    if (result == 0) {
        result = check_rules(&check);
    }
    check_free(&check);
    return result;
}

/* check.c: refuses, before libtcc sees it, what it would take wrongly or not survive.
 *
 * First one pass over the tokens pairs brackets and #if (nesting.c; live tokens are noted with the bracket
 * they stand in), then each rule walks those tokens.
 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
check_refuse(struct check *check, const struct token *token, const char *format, ...)
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
    if (check_bracket(check->code[i].token) != '{') {
        return i;
    }
    int inside = check->code[i + 1].node;
    for (i++; i < check->code_count && check->code[i].node >= inside; i++) {
        const struct token *token = check->code[i].token;
        const struct token *before = check->code[i - 1].token;
        if (check->code[i].node == inside && is_identifier(token) &&
            (check_bracket(before) == '{' || token_is(before, ","))) {
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
            return check_refuse(check, specifiers->first, LONG_DOUBLE);
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
        return check_refuse(check, token, "C's complex types are not supported: use tw_complex");
    }
    if (token_in(token, threads)) {
        return check_refuse(check, token,
                            "'%.*s' is not supported: thread-local variables cannot be loaded",
                            shown(token), token->start);
    }
    if (token_in(token, longs)) {
        return check_refuse(check, token, LONG_DOUBLE);
    }
    return 0;
}

static int
check_digraph(struct check *check, const struct token *token)
{
    if (token->kind != TOKEN_PUNCTUATOR || token->length < 2) {
        return 0;
    }
    char bracket = check_bracket(token);
    bool hash = token_is(token, "%:") || token_is(token, "%:%:");
    if (bracket == 0 && !hash) {
        return 0;
    }
    return check_refuse(check, token, "the digraph '%.*s' is not supported: write '%c'",
                        shown(token), token->start, hash ? '#' : bracket);
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
            return check_refuse(check, token,
                                "the long double constant %.*s: write it without the L",
                                shown(token), token->start);
        }
    }
    return 0;
}

/* "long double" or "double long" at `i`; its place as one token counts for NumPy's names. */
static size_t
long_double_at(const struct check *check, size_t i)
{
    const struct token *token = check->code[i].token, *next = check->code[i + 1].token;
    if (token_is(token, "npy_longdouble") || token_is(token, "npy_clongdouble")) {
        return 1;
    }
    bool type = (token_is(token, "long") && token_is(next, "double")) ||
                (token_is(token, "double") && token_is(next, "long"));
    return type ? 2 : 0;
}

/* What is only measured: "sizeof(long double)". A member that is there for its alignment is noted. */
static bool
is_mere_type(struct check *check, size_t i, size_t length)
{
    const struct live *code = &check->code[i];
    if (check->nodes[code->node].record && is_identifier(code[length].token)) {
        name_add(check, code[length].token)->flags |= NAME_LONG_DOUBLE;
        return true;
    }
    static const char *const measures[] = {"sizeof", "_Alignof", "alignof", "__alignof__", NULL};
    return i > 1 && token_is(code[-1].token, "(") && token_in(code[-2].token, measures);
}

/* ".d" of such a member */
static bool
reads_long_double(const struct check *check, size_t i)
{
    const struct token *token = check->code[i].token;
    if (i == 0 || !is_identifier(token) ||
        !(token_is(token - 1, ".") || token_is(token - 1, "->"))) {
        return false;
    }
    return name_slot(check, token)->flags & NAME_LONG_DOUBLE;
}

static int
check_long_doubles(struct check *check)
{
    for (size_t i = 0; i + 3 < check->code_count; i++) {
        const struct token *token = check->code[i].token;
        size_t length = long_double_at(check, i);
        if ((length > 0 && !is_mere_type(check, i, length)) || is_long_double_literal(token) ||
            reads_long_double(check, i)) {
            return check_refuse(check, token, LONG_DOUBLE);
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
            return check_refuse(check, token, "file names that start with tw: are tinyweave's own");
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
            return check_refuse(check, token,
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
            return check_refuse(
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
    while (check_bracket(check->code[i].token) == '[') {
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
            (token_is(next, ",") || token_is(next, ")") || check_bracket(next) == '[')) {
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
            return check_refuse(
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
    bool body = i + 2 < check->code_count && check_bracket(check->code[i + 1].token) == '{';
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
    char bracket = check_bracket(token);
    return is_identifier(token) || bracket == ')' || bracket == ']';
}

/* The atomic in front of `i` ("x", "x[2]", "(*p)", "*p"), or NULL; `postfix`: *p++ changes p only. */
static const struct token *
atomic_before(const struct check *check, size_t i, bool postfix)
{
    size_t j = i - 1;
    bool target = false;
    if (check_bracket(check->code[j].token) == ']') {
        int node = check->code[j].node;
        while (j > 0 &&
               (check->code[j].node != node || check_bracket(check->code[j].token) != '[')) {
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
    target = target || check_bracket(check->code[j + (j + 1 < check->code_count)].token) == '[';
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
    if (!step && (!check_is_assignment(token) || token_is(token, "="))) {
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
            return check_refuse(check, check->code[i].token,
                                "%.*s does not change the atomic '%.*s' in one step here: "
                                "use atomic_fetch_add and its kin",
                                shown(check->code[i].token), check->code[i].token->start,
                                shown(name), name->start);
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
        char bracket = check_bracket(token);
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
            return check_refuse(
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
    if (check_nesting(check) < 0 || check_words(check) < 0 || check_directives(check) < 0) {
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

/* What a module mentions and libtcc refuses by itself is left to it: the text may stand where #if leaves it out. */
static int
check_module_rules(struct check *check)
{
    if (check_nesting(check) < 0) {
        /* brackets that pair up only with the right #if are no error yet */
        return check->too_deep ? -1 : 0;
    }
    note_names(check);
    if (check_long_doubles(check) < 0 || check_directives(check) < 0 ||
        check_parameters(check) < 0 || (check->has_atomic && check_atomics(check) < 0)) {
        return -1;
    }
    return check->has_alignment ? check_alignment(check) : 0;
}

int
check_module(const struct source *source, struct spot *spot)
{
    *spot = (struct spot){.source = source};
    struct check check = {.source = source, .spot = spot};
    int result = check_allocate(&check);
    if (result == 0) {
        result = check_module_rules(&check);
    }
    check_free(&check);
    return result;
}

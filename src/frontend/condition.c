/* condition.c: the integer constant expression of #if and #elif. */
#include "condition.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* Longer names of headers are not asked for. */
enum { NAME_LIMIT = 1000 };
/* Operands one in another, some hundred bytes of stack each: CHECK_DEPTH brackets pass. */
enum { OPERAND_DEPTH = 4 * CHECK_DEPTH };

/* An intmax_t or uintmax_t. */
struct value {
    uint64_t bits;
    bool is_unsigned;
};

struct condition {
    struct expander *expander;
    const struct header_question *question;
    struct item current; /* TOKEN_END behind the last */
    int unevaluated;     /* inside operands that && || ?: leave out */
    int depth;
    bool malformed;
    bool failed; /* the expander */
    char text
        [NAME_LIMIT]; /* a token's spelling, or a header's name; not on the stack of what recurses */
};

static struct value
signed_value(int64_t value)
{
    return (struct value){(uint64_t)value, false};
}

static int64_t
as_signed(struct value value)
{
    return (int64_t)value.bits;
}

static struct value
refuse(struct condition *condition)
{
    condition->malformed = true;
    condition->current.token = (struct token){.kind = TOKEN_END, .start = ""};
    return signed_value(0);
}

/* ---- Tokens ---- */

static void
note_read(struct condition *condition, int result)
{
    condition->failed |= result < 0;
    if (result <= 0 || condition->malformed) {
        condition->current.token = (struct token){.kind = TOKEN_END, .start = ""};
    }
}

static void
advance(struct condition *condition)
{
    note_read(condition, expander_next(condition->expander, &condition->current));
}

/* The next token without expanding it. */
static void
advance_raw(struct condition *condition)
{
    note_read(condition, expander_raw(condition->expander, &condition->current));
}

static bool
at(const struct condition *condition, const char *text)
{
    return condition->current.token.kind != TOKEN_END && token_is(&condition->current.token, text);
}

static bool
skip(struct condition *condition, const char *text)
{
    bool there = at(condition, text);
    if (there) {
        advance(condition);
    }
    return there;
}

/* ---- Operands ---- */

static int
digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

/* u, l, ul, llu ... */
static bool
read_suffix(const char *text, bool *is_unsigned)
{
    static const char *const suffixes[] = {"", "l", "L", "ll", "LL", NULL};
    bool before = *text == 'u' || *text == 'U';
    text += before;
    for (int i = 0; suffixes[i] != NULL; i++) {
        size_t length = strlen(suffixes[i]);
        if (strncmp(text, suffixes[i], length) != 0) {
            continue;
        }
        const char *rest = text + length;
        bool after = !before && (*rest == 'u' || *rest == 'U');
        if (rest[after] == '\0') {
            *is_unsigned = before || after;
            return true;
        }
    }
    return false;
}

/* Digits, from `text` on. Returns what follows them, or NULL when they are too large. */
static const char *
read_digits(const char *text, int base, uint64_t *value)
{
    *value = 0;
    for (; digit_of(*text) < base; text++) {
        uint64_t digit = (uint64_t)digit_of(*text);
        if (*value > (UINT64_MAX - digit) / (uint64_t)base) {
            return NULL;
        }
        *value = *value * (uint64_t)base + digit;
    }
    return text;
}

/* Spells the current token into condition->text. Returns false when it is too long. */
static bool
spell(struct condition *condition)
{
    const struct token *token = &condition->current.token;
    if (token->length >= NAME_LIMIT) {
        return false;
    }
    condition->text[token_spell(token, condition->text)] = '\0';
    return true;
}

static struct value
read_number(struct condition *condition)
{
    const char *text = condition->text;
    if (!spell(condition)) {
        return refuse(condition);
    }
    int base = 10;
    const char *digits = text;
    if (text[0] == '0') {
        bool hex = text[1] == 'x' || text[1] == 'X';
        bool binary = text[1] == 'b' || text[1] == 'B';
        base = hex ? 16 : binary ? 2 : 8;
        digits += hex || binary ? 2 : 0;
    }
    struct value value;
    const char *rest = read_digits(digits, base, &value.bits);
    if (rest == NULL || rest == digits || !read_suffix(rest, &value.is_unsigned)) {
        return refuse(condition);
    }
    value.is_unsigned |= value.bits > INT64_MAX;
    advance(condition);
    return value;
}

/* One character or escape sequence of '...'. Returns what follows it, or NULL for none of C's. */
static const char *
read_character(const char *text, uint64_t *value)
{
    static const char escapes[] = "n\nt\tr\rv\vf\fa\ab\be\x1b\\\\''\"\"??";
    if (*text != '\\') {
        *value = (unsigned char)*text;
        return text + 1;
    }
    text++;
    if (*text == 'x') {
        const char *rest = read_digits(text + 1, 16, value);
        return rest == text + 1 ? NULL : rest;
    }
    if (digit_of(*text) < 8) {
        *value = 0;
        for (int i = 0; i < 3 && digit_of(*text) < 8; i++) {
            *value = *value * 8 + (uint64_t)digit_of(*text++);
        }
        return text;
    }
    for (const char *escape = escapes; *escape != '\0'; escape += 2) {
        if (*text == *escape) {
            *value = (unsigned char)escape[1];
            return text + 1;
        }
    }
    return NULL;
}

/* 'a', 'ab' (an int, a byte each), L'a'. */
static struct value
read_characters(struct condition *condition)
{
    const char *text = condition->text;
    if (!spell(condition)) {
        return refuse(condition);
    }
    bool wide = text[0] != '\'';
    const char *character = strchr(text, '\'') + 1;
    uint64_t value = 0;
    int count = 0;
    while (*character != '\'' && *character != '\0') {
        uint64_t one;
        bool plain = (unsigned char)*character < 0x80;
        character = read_character(character, &one);
        if (character == NULL || (wide && (count > 0 || !plain)) || (!wide && one > UCHAR_MAX)) {
            return refuse(condition);
        }
        value = value << 8 | one;
        count++;
    }
    if (count == 0 || *character == '\0') {
        return refuse(condition);
    }
    advance(condition);
    return signed_value(wide || count > 1 ? (int32_t)value : (signed char)value);
}

/* "defined name", "defined ( name )": from behind "defined". */
static struct value
read_defined(struct condition *condition)
{
    advance_raw(condition);
    bool paren = at(condition, "(");
    if (paren) {
        advance_raw(condition);
    }
    if (condition->current.token.kind != TOKEN_IDENTIFIER) {
        return refuse(condition);
    }
    bool defined = expander_is_defined(condition->expander, &condition->current.token);
    advance_raw(condition);
    if (paren) {
        if (!at(condition, ")")) {
            return refuse(condition);
        }
        advance(condition);
    }
    return signed_value(defined);
}

/* Joins the tokens of <a/b.h> up to the >. */
static bool
read_angled(struct condition *condition)
{
    size_t length = 0;
    for (advance_raw(condition); !at(condition, ">"); advance_raw(condition)) {
        const struct token *token = &condition->current.token;
        if (token->kind == TOKEN_END || token->length >= NAME_LIMIT - length) {
            return false;
        }
        length += token_spell(token, condition->text + length);
    }
    condition->text[length] = '\0';
    return true;
}

/* ( "x.h" ), ( <x.h> ): from behind __has_include. */
static struct value
read_has_include(struct condition *condition)
{
    char *name = condition->text;
    advance_raw(condition);
    if (!at(condition, "(")) {
        return refuse(condition);
    }
    advance_raw(condition);
    bool quoted = condition->current.token.kind == TOKEN_STRING;
    bool named = quoted ? spell(condition) : at(condition, "<") && read_angled(condition);
    advance_raw(condition);
    if (!named || !at(condition, ")") || (quoted && (name[0] != '"' || strlen(name) < 2))) {
        return refuse(condition);
    }
    if (quoted) {
        name[strlen(name) - 1] = '\0';
    }
    const struct header_question *question = condition->question;
    struct value found = signed_value(question->answer(question->context, name + quoted, quoted));
    advance(condition);
    return found;
}

static struct value
read_identifier(struct condition *condition)
{
    if (at(condition, "defined")) {
        return read_defined(condition);
    }
    if (at(condition, "__has_include") || at(condition, "__has_include_next")) {
        return read_has_include(condition);
    }
    advance(condition);
    return signed_value(0);
}

/* ---- Operators ---- */

static struct value read_choice(struct condition *condition);

static struct value
read_parentheses(struct condition *condition)
{
    struct value value = read_choice(condition);
    while (skip(condition, ",")) {
        value = read_choice(condition);
    }
    return skip(condition, ")") ? value : refuse(condition);
}

static struct value
read_primary(struct condition *condition)
{
    switch (condition->current.token.kind) {
    case TOKEN_NUMBER:
        return read_number(condition);
    case TOKEN_CHARACTER:
        return read_characters(condition);
    case TOKEN_IDENTIFIER:
        return read_identifier(condition);
    default:
        return skip(condition, "(") ? read_parentheses(condition) : refuse(condition);
    }
}

static struct value
read_unary(struct condition *condition)
{
    static const char *const operators[] = {"+", "-", "~", "!", NULL};
    if (++condition->depth > OPERAND_DEPTH) {
        return refuse(condition);
    }
    int operation = 0;
    while (operators[operation] != NULL && !at(condition, operators[operation])) {
        operation++;
    }
    struct value value;
    if (operators[operation] == NULL) {
        value = read_primary(condition);
    }
    else {
        advance(condition);
        value = read_unary(condition);
    }
    condition->depth--;
    switch (operation) {
    case 1:
        return (struct value){0 - value.bits, value.is_unsigned};
    case 2:
        return (struct value){~value.bits, value.is_unsigned};
    case 3:
        return signed_value(value.bits == 0);
    default:
        return value;
    }
}

enum binary {
    BINARY_EITHER,
    BINARY_BOTH,
    BINARY_OR,
    BINARY_XOR,
    BINARY_AND,
    BINARY_EQUAL,
    BINARY_NOT_EQUAL,
    BINARY_LESS,
    BINARY_GREATER,
    BINARY_LESS_EQUAL,
    BINARY_GREATER_EQUAL,
    BINARY_SHIFT_LEFT,
    BINARY_SHIFT_RIGHT,
    BINARY_ADD,
    BINARY_SUBTRACT,
    BINARY_MULTIPLY,
    BINARY_DIVIDE,
    BINARY_REMAINDER,
    BINARY_NONE,
};

static const struct {
    const char *spelling;
    int precedence;
} binaries[BINARY_NONE] = {
    [BINARY_EITHER] = {"||", 1},
    [BINARY_BOTH] = {"&&", 2},
    [BINARY_OR] = {"|", 3},
    [BINARY_XOR] = {"^", 4},
    [BINARY_AND] = {"&", 5},
    [BINARY_EQUAL] = {"==", 6},
    [BINARY_NOT_EQUAL] = {"!=", 6},
    [BINARY_LESS] = {"<", 7},
    [BINARY_GREATER] = {">", 7},
    [BINARY_LESS_EQUAL] = {"<=", 7},
    [BINARY_GREATER_EQUAL] = {">=", 7},
    [BINARY_SHIFT_LEFT] = {"<<", 8},
    [BINARY_SHIFT_RIGHT] = {">>", 8},
    [BINARY_ADD] = {"+", 9},
    [BINARY_SUBTRACT] = {"-", 9},
    [BINARY_MULTIPLY] = {"*", 10},
    [BINARY_DIVIDE] = {"/", 10},
    [BINARY_REMAINDER] = {"%", 10},
};

static enum binary
binary_operator(const struct condition *condition)
{
    enum binary operation = BINARY_EITHER;
    while (operation < BINARY_NONE && !at(condition, binaries[operation].spelling)) {
        operation++;
    }
    return operation;
}

/* As gcc has it: a negative count shifts the other way, a large one shifts all out. */
static struct value
shift(struct value value, struct value count, bool left)
{
    uint64_t places = count.bits;
    if (!count.is_unsigned && as_signed(count) < 0) {
        left = !left;
        places = 0 - places;
    }
    bool negative = !value.is_unsigned && as_signed(value) < 0;
    if (left) {
        value.bits = places > 63 ? 0 : value.bits << places;
    }
    else if (places > 63) {
        value.bits = negative ? UINT64_MAX : 0;
    }
    else if (places > 0) {
        value.bits = value.bits >> places | (negative ? UINT64_MAX << (64 - places) : 0);
    }
    return value;
}

/* a / b or a % b, toward zero. */
static struct value
divide(struct condition *condition, struct value a, struct value b, bool quotient)
{
    if (b.bits == 0) {
        return condition->unevaluated > 0 ? b : refuse(condition);
    }
    bool is_unsigned = a.is_unsigned || b.is_unsigned;
    bool a_negative = !is_unsigned && as_signed(a) < 0;
    bool b_negative = !is_unsigned && as_signed(b) < 0;
    uint64_t dividend = a_negative ? 0 - a.bits : a.bits;
    uint64_t divisor = b_negative ? 0 - b.bits : b.bits;
    uint64_t bits = quotient ? dividend / divisor : dividend % divisor;
    bool negative = quotient ? a_negative != b_negative : a_negative;
    return (struct value){negative ? 0 - bits : bits, is_unsigned};
}

static bool
is_less(struct value a, struct value b)
{
    return a.is_unsigned || b.is_unsigned ? a.bits < b.bits : as_signed(a) < as_signed(b);
}

static struct value
compute(struct condition *condition, enum binary operation, struct value a, struct value b)
{
    bool is_unsigned = a.is_unsigned || b.is_unsigned;
    switch (operation) {
    case BINARY_EITHER:
        return signed_value(a.bits != 0 || b.bits != 0);
    case BINARY_BOTH:
        return signed_value(a.bits != 0 && b.bits != 0);
    case BINARY_OR:
        return (struct value){a.bits | b.bits, is_unsigned};
    case BINARY_XOR:
        return (struct value){a.bits ^ b.bits, is_unsigned};
    case BINARY_AND:
        return (struct value){a.bits & b.bits, is_unsigned};
    case BINARY_EQUAL:
        return signed_value(a.bits == b.bits);
    case BINARY_NOT_EQUAL:
        return signed_value(a.bits != b.bits);
    case BINARY_LESS:
        return signed_value(is_less(a, b));
    case BINARY_GREATER:
        return signed_value(is_less(b, a));
    case BINARY_LESS_EQUAL:
        return signed_value(!is_less(b, a));
    case BINARY_GREATER_EQUAL:
        return signed_value(!is_less(a, b));
    case BINARY_SHIFT_LEFT:
    case BINARY_SHIFT_RIGHT:
        return shift(a, b, operation == BINARY_SHIFT_LEFT);
    case BINARY_ADD:
        return (struct value){a.bits + b.bits, is_unsigned};
    case BINARY_SUBTRACT:
        return (struct value){a.bits - b.bits, is_unsigned};
    case BINARY_MULTIPLY:
        return (struct value){a.bits * b.bits, is_unsigned};
    default:
        return divide(condition, a, b, operation == BINARY_DIVIDE);
    }
}

/* Operands joined by operators that bind at least as tightly as `precedence`. */
static struct value
read_binary(struct condition *condition, int precedence)
{
    struct value value = read_unary(condition);
    for (;;) {
        enum binary operation = binary_operator(condition);
        if (operation == BINARY_NONE || binaries[operation].precedence < precedence) {
            return value;
        }
        advance(condition);
        bool decided = (operation == BINARY_EITHER && value.bits != 0) ||
                       (operation == BINARY_BOTH && value.bits == 0);
        condition->unevaluated += decided;
        condition->depth++;
        struct value right = read_binary(condition, binaries[operation].precedence + 1);
        condition->depth--;
        condition->unevaluated -= decided;
        value = compute(condition, operation, value, right);
    }
}

/* a ? b : c */
static struct value
read_choice(struct condition *condition)
{
    struct value chosen = read_binary(condition, 1);
    if (!at(condition, "?")) {
        return chosen;
    }
    if (++condition->depth > OPERAND_DEPTH) {
        return refuse(condition);
    }
    advance(condition);
    condition->unevaluated += chosen.bits == 0;
    struct value yes = read_choice(condition);
    while (skip(condition, ",")) {
        yes = read_choice(condition);
    }
    condition->unevaluated += (chosen.bits != 0) - (chosen.bits == 0);
    if (!skip(condition, ":")) {
        return refuse(condition);
    }
    struct value no = read_choice(condition);
    condition->unevaluated -= chosen.bits != 0;
    condition->depth--;
    return (struct value){chosen.bits != 0 ? yes.bits : no.bits, yes.is_unsigned || no.is_unsigned};
}

int
condition_evaluate(struct expander *expander, const struct token *tokens, size_t count,
                   const struct header_question *question)
{
    struct condition condition = {.expander = expander, .question = question};
    if (expander_enter(expander, tokens, count) < 0) {
        return -1;
    }
    advance(&condition);
    struct value value = read_choice(&condition);
    if (condition.failed) {
        return -1;
    }
    bool whole = condition.current.token.kind == TOKEN_END && !condition.malformed;
    expander_leave(expander);
    return whole && value.bits != 0;
}

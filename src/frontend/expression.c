/* expression.c: the expressions that declarations hold: extents of arrays, enumerators' values.
 *
 * What depends on objects (sizeof of one, calls, members) is read over as EXPRESSION_OTHER.
 */
#include <limits.h>
#include <string.h>

#include "check.h"
#include "literal.h"
#include "parse.h"

/* ---- The tree ---- */

/* An expression whose tokens are those from `first` to the last one taken. */
static struct expression *
make(struct parser *parser, enum expression_kind kind, const struct token *first)
{
    struct expression *expression = parse_allocate(parser, sizeof(*expression));
    if (expression != NULL) {
        expression->kind = kind;
        expression->first = first;
        expression->last = parse_last(parser);
    }
    return expression;
}

/* A number; one that does not fit in a long long, or is floating, is EXPRESSION_OTHER. */
static struct expression *
make_number(struct parser *parser, const struct token *first, const struct number *number)
{
    bool integer = number->basic != BASIC_FLOAT && number->basic != BASIC_DOUBLE;
    bool fits = integer && (!number_is_unsigned(number) || number->bits <= LLONG_MAX);
    struct expression *expression =
        make(parser, fits ? EXPRESSION_CONSTANT : EXPRESSION_OTHER, first);
    if (expression != NULL) {
        expression->value = fits ? (long long)number->bits : 0;
        expression->has_number = true;
        expression->number = *number;
    }
    return expression;
}

/* Bounds how deep the tree gets, and so every recursion over it. */
static int
count_operator(struct parser *parser)
{
    if (++parser->operators <= CHECK_DEPTH) {
        return 0;
    }
    return parse_error(parser, parse_token(parser),
                       "nested too deeply: more than %d operators in one expression", CHECK_DEPTH);
}

/* ---- Constants ---- */

/* constant:
 *     integer-constant
 *     floating-constant
 *     enumeration-constant
 *     character-constant
 */
static struct expression *
constant(struct parser *parser)
{
    const struct token *token = parse_token(parser);
    struct number number;
    int result = token->kind == TOKEN_NUMBER ? literal_number(token, &number)
                                             : literal_character(token, &number);
    parser->at++;
    return result < 0 ? make(parser, EXPRESSION_OTHER, token) : make_number(parser, token, &number);
}

/* Its type is the first of int, unsigned int and long that has the value. */
static struct expression *
enumeration_constant(struct parser *parser, const struct token *token, const struct entity *entity)
{
    bool is_int = entity->value >= INT_MIN && entity->value <= INT_MAX;
    bool is_uint = entity->value >= 0 && entity->value <= UINT_MAX;
    const struct number number = {.basic = is_int    ? BASIC_INT
                                           : is_uint ? BASIC_UINT
                                                     : BASIC_LONG,
                                  .bits = (unsigned long long)entity->value};
    return entity->has_value ? make_number(parser, token, &number)
                             : make(parser, EXPRESSION_OTHER, token);
}

/* An enumeration constant, or an object's or a parameter's name. */
static struct expression *
identifier(struct parser *parser)
{
    const struct token *token = parse_token(parser);
    const struct entity *entity = names_find(&parser->names, token);
    parser->at++;
    if (entity != NULL && entity->kind == ENTITY_ENUMERATOR) {
        return enumeration_constant(parser, token, entity);
    }
    struct expression *expression = make(parser, EXPRESSION_NAME, token);
    if (expression != NULL) {
        expression->name = token;
    }
    return expression;
}

/* ---- Primary and postfix ---- */

static struct expression *conditional_expression(struct parser *parser);

/* What the group's tokens are is not looked at, but for a type variable. */
static void
skip_operand(struct parser *parser)
{
    const struct token *inner = parse_ahead(parser, 1);
    if (names_find(&parser->names, inner) == NULL) {
        parser->met_variables |= type_variable(inner);
    }
    parse_skip_group(parser);
}

static struct expression *
bracketed(struct parser *parser)
{
    const struct token *first = parse_token(parser);
    parser->at++;
    struct expression *expression = conditional_expression(parser);
    if (expression == NULL || parse_expect(parser, ")") < 0) {
        return NULL;
    }
    expression->first = first;
    expression->last = parse_last(parser);
    return expression;
}

/* primary-expression:
 *     identifier
 *     constant
 *     string-literal
 *     ( expression )
 */
static struct expression *
primary_expression(struct parser *parser)
{
    const struct token *token = parse_token(parser);
    switch (token->kind) {
    case TOKEN_NUMBER:
    case TOKEN_CHARACTER:
        return constant(parser);
    case TOKEN_STRING:
        while (parse_token(parser)->kind == TOKEN_STRING) {
            parser->at++;
        }
        return make(parser, EXPRESSION_OTHER, token);
    case TOKEN_IDENTIFIER:
        if (parse_is_name(token)) {
            return identifier(parser);
        }
        break;
    default:
        if (parse_at(parser, "(") && parse_is(parse_ahead(parser, 1), "{")) {
            parse_skip_group(parser); /* GNU's ({ ... }) */
            return make(parser, EXPRESSION_OTHER, token);
        }
        if (parse_at(parser, "(")) {
            return bracketed(parser);
        }
    }
    parse_unexpected(parser, "an expression");
    return NULL;
}

/* Takes one of postfix-expression's endings. Returns 1; 0: there is none; -1. */
static int
postfix_ending(struct parser *parser)
{
    if (parse_at(parser, "[") || parse_at(parser, "(")) {
        parse_skip_group(parser);
        return 1;
    }
    if (parse_accept(parser, ".") || parse_accept(parser, "->")) {
        if (!parse_is_name(parse_token(parser))) {
            return parse_unexpected(parser, "a member's name");
        }
        parser->at++;
        return 1;
    }
    return parse_accept(parser, "++") || parse_accept(parser, "--");
}

/* postfix-expression:
 *     primary-expression
 *     postfix-expression [ expression ]
 *     postfix-expression ( argument-expression-list(opt) )
 *     postfix-expression . identifier
 *     postfix-expression -> identifier
 *     postfix-expression ++
 *     postfix-expression --
 *     ( type-name ) { initializer-list }
 */
static struct expression *
postfix_expression(struct parser *parser)
{
    const struct token *first = parse_token(parser);
    struct expression *expression = primary_expression(parser);
    int taken = 0;
    bool other = false;
    while (expression != NULL && (taken = postfix_ending(parser)) > 0) {
        other = true;
    }
    if (expression == NULL || taken < 0) {
        return NULL;
    }
    return other ? make(parser, EXPRESSION_OTHER, first) : expression;
}

/* ---- Prefix operators ---- */

/* Whether ( opens a type-name. Of a name nothing declares only what follows tells: "(T)x". */
int
expression_opens_type_name(struct parser *parser)
{
    const struct token *inner = parse_ahead(parser, 1);
    if (!parse_at(parser, "(") || inner->kind != TOKEN_IDENTIFIER) {
        return 0;
    }
    if (!parse_is_name(inner)) {
        return parse_is_specifier(parse_keyword(inner));
    }
    const struct entity *entity;
    int known = declaration_find_type(parser, inner, &entity);
    if (known != 0 || names_find(&parser->names, inner) != NULL) {
        return known;
    }
    const struct token *behind = parse_ahead(parser, 3);
    return parse_is(parse_ahead(parser, 2), "*")
               ? parse_is(behind, "*") || parse_is(behind, ")")
               : parse_is(parse_ahead(parser, 2), ")") &&
                     (behind->kind == TOKEN_IDENTIFIER || behind->kind == TOKEN_NUMBER ||
                      behind->kind == TOKEN_CHARACTER || behind->kind == TOKEN_STRING);
}

static struct expression *cast_expression(struct parser *parser);

static struct expression *
make_cast(struct parser *parser, const struct token *first, const struct type *type,
          const struct expression *operand)
{
    struct number number;
    struct expression *expression = make(parser, EXPRESSION_OTHER, first);
    if (expression == NULL) {
        return NULL;
    }
    expression->cast = type;
    expression->operands[0] = operand;
    if (number_compute(expression, &number) < 0) {
        return expression;
    }
    return make_number(parser, first, &number);
}

/* A ( type-name ), from the ( on. Returns the type, or NULL. */
static const struct type *
bracketed_type(struct parser *parser)
{
    parser->at++;
    const struct type *type = declaration_type_name(parser);
    return type == NULL || parse_expect(parser, ")") < 0 ? NULL : type;
}

/* Takes a compound literal's braces, if they follow, and what stands behind it. Returns 1; 0: there are none; -1. */
static int
compound_literal(struct parser *parser)
{
    if (!parse_at(parser, "{")) {
        return 0;
    }
    parse_skip_group(parser);
    int taken;
    while ((taken = postfix_ending(parser)) > 0) {
    }
    return taken < 0 ? -1 : 1;
}

/* sizeof ( type-name )
 * _Alignof ( type-name )
 */
static struct expression *
layout_expression(struct parser *parser, const struct token *first)
{
    const struct type *type = bracketed_type(parser);
    int literal = type == NULL ? -1 : compound_literal(parser);
    if (literal < 0) {
        return NULL;
    }
    size_t size, alignment;
    bool known = literal == 0 && type_layout(type, &size, &alignment) == 0;
    if (!known) {
        return make(parser, EXPRESSION_OTHER, first);
    }
    const struct number number = {.basic = BASIC_ULONG,
                                  .bits = token_is(first, "sizeof") ? size : alignment};
    return make_number(parser, first, &number);
}

/* sizeof ( type-name ), _Alignof ( type-name ), _Generic ( ... ), sizeof unary-expression */
static struct expression *
operator_expression(struct parser *parser)
{
    const struct token *first = parse_token(parser);
    parser->at++;
    int type = token_is(first, "_Generic") ? 0 : expression_opens_type_name(parser);
    if (type != 0) {
        return type < 0 ? NULL : layout_expression(parser, first);
    }
    if (parse_at(parser, "(")) {
        skip_operand(parser);
        int taken;
        while ((taken = postfix_ending(parser)) > 0) {
        }
        return taken < 0 ? NULL : make(parser, EXPRESSION_OTHER, first);
    }
    return cast_expression(parser) == NULL ? NULL : make(parser, EXPRESSION_OTHER, first);
}

struct prefix {
    const char *spelling;
    enum expression_kind kind;
};

static const struct prefix *
find_prefix(const struct token *token)
{
    static const struct prefix prefixes[] = {
        {"+", EXPRESSION_CONSTANT}, /* the operand itself */
        {"-", EXPRESSION_NEGATE},   {"~", EXPRESSION_INVERT}, {"!", EXPRESSION_NOT},
        {"*", EXPRESSION_OTHER},    {"&", EXPRESSION_OTHER},  {"++", EXPRESSION_OTHER},
        {"--", EXPRESSION_OTHER},
    };
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (token_is(token, prefixes[i].spelling)) {
            return &prefixes[i];
        }
    }
    return NULL;
}

/* unary-expression:
 *     postfix-expression
 *     ++ unary-expression
 *     -- unary-expression
 *     unary-operator cast-expression
 *     sizeof unary-expression
 *     sizeof ( type-name )
 */
static struct expression *
unary_expression(struct parser *parser)
{
    const struct token *first = parse_token(parser);
    if (parse_keyword(first)->keyword_class == KEYWORD_OPERATOR) {
        return operator_expression(parser);
    }
    const struct prefix *prefix = find_prefix(first);
    if (prefix == NULL) {
        return postfix_expression(parser);
    }
    parser->at++;
    struct expression *operand = cast_expression(parser);
    if (operand == NULL) {
        return NULL;
    }
    if (prefix->kind == EXPRESSION_CONSTANT) {
        operand->first = first;
        return operand;
    }
    struct expression *expression = make(parser, prefix->kind, first);
    if (expression != NULL && prefix->kind != EXPRESSION_OTHER) {
        expression->operands[0] = operand;
    }
    return expression;
}

/* cast-expression:
 *     unary-expression
 *     ( type-name ) cast-expression
 */
static struct expression *
cast_expression(struct parser *parser)
{
    if (count_operator(parser) < 0) {
        return NULL;
    }
    const struct token *first = parse_token(parser);
    int cast = expression_opens_type_name(parser);
    if (cast <= 0) {
        return cast < 0 ? NULL : unary_expression(parser);
    }
    const struct type *type = bracketed_type(parser);
    int literal = type == NULL ? -1 : compound_literal(parser); /* of postfix-expression */
    if (literal != 0) {
        return literal < 0 ? NULL : make(parser, EXPRESSION_OTHER, first);
    }
    const struct expression *operand = cast_expression(parser);
    return operand == NULL ? NULL : make_cast(parser, first, type, operand);
}

/* ---- Operators with two and three operands ---- */

struct binary {
    const char *spelling;
    enum expression_kind kind;
    int precedence; /* higher binds tighter */
};

static const struct binary binaries[] = {
    {"*", EXPRESSION_MULTIPLY, 10},
    {"/", EXPRESSION_DIVIDE, 10},
    {"%", EXPRESSION_REMAINDER, 10},
    {"+", EXPRESSION_ADD, 9},
    {"-", EXPRESSION_SUBTRACT, 9},
    {"<<", EXPRESSION_SHIFT_LEFT, 8},
    {">>", EXPRESSION_SHIFT_RIGHT, 8},
    {"<", EXPRESSION_LESS, 7},
    {">", EXPRESSION_GREATER, 7},
    {"<=", EXPRESSION_LESS_EQUAL, 7},
    {">=", EXPRESSION_GREATER_EQUAL, 7},
    {"==", EXPRESSION_EQUAL, 6},
    {"!=", EXPRESSION_NOT_EQUAL, 6},
    {"&", EXPRESSION_AND, 5},
    {"^", EXPRESSION_XOR, 4},
    {"|", EXPRESSION_OR, 3},
    {"&&", EXPRESSION_BOTH, 2},
    {"||", EXPRESSION_EITHER, 1},
};

static const struct binary *
find_binary(const struct token *token)
{
    for (size_t i = 0; i < sizeof(binaries) / sizeof(binaries[0]); i++) {
        if (token->kind == TOKEN_PUNCTUATOR && token_is(token, binaries[i].spelling)) {
            return &binaries[i];
        }
    }
    return NULL;
}

/* multiplicative-expression:
 *     cast-expression
 *     multiplicative-expression * cast-expression      / and % alike
 * additive-expression:
 *     multiplicative-expression
 *     additive-expression + multiplicative-expression  - alike
 * and so on for shift-, relational-, equality-, AND-, exclusive-OR-, inclusive-OR-, logical-AND- and
 * logical-OR-expression: one function for all, which reads the operators that bind at least so tightly.
 */
static struct expression *
binary_expression(struct parser *parser, int precedence)
{
    const struct token *first = parse_token(parser);
    struct expression *left = cast_expression(parser);
    while (left != NULL) {
        const struct binary *binary = find_binary(parse_token(parser));
        if (binary == NULL || binary->precedence < precedence) {
            break;
        }
        parser->at++;
        const struct expression *right = binary_expression(parser, binary->precedence + 1);
        struct expression *both = right != NULL ? make(parser, binary->kind, first) : NULL;
        if (both == NULL) {
            return NULL;
        }
        both->operands[0] = left;
        both->operands[1] = right;
        left = both;
    }
    return left;
}

/* conditional-expression:
 *     logical-OR-expression
 *     logical-OR-expression ? expression : conditional-expression
 */
static struct expression *
conditional_expression(struct parser *parser)
{
    const struct token *first = parse_token(parser);
    struct expression *condition = binary_expression(parser, 0);
    if (condition == NULL || !parse_accept(parser, "?")) {
        return condition;
    }
    if (parse_accept(parser, ":")) { /* GNU's a ?: b */
        return conditional_expression(parser) == NULL ? NULL
                                                      : make(parser, EXPRESSION_OTHER, first);
    }
    const struct expression *yes = conditional_expression(parser);
    if (yes == NULL || parse_expect(parser, ":") < 0) {
        return NULL;
    }
    const struct expression *no = conditional_expression(parser);
    struct expression *expression = no != NULL ? make(parser, EXPRESSION_CHOOSE, first) : NULL;
    if (expression != NULL) {
        expression->operands[0] = condition;
        expression->operands[1] = yes;
        expression->operands[2] = no;
    }
    return expression;
}

/* constant-expression:
 *     conditional-expression
 * assignment-expression:
 *     conditional-expression
 *     unary-expression assignment-operator assignment-expression
 */
const struct expression *
expression_parse(struct parser *parser)
{
    const struct token *first = parse_token(parser);
    parser->operators = parser->expressions > 0 ? parser->operators : 0;
    parser->expressions++;
    const struct expression *expression = conditional_expression(parser);
    while (expression != NULL && check_is_assignment(parse_token(parser))) {
        parser->at++;
        expression =
            conditional_expression(parser) == NULL ? NULL : make(parser, EXPRESSION_OTHER, first);
    }
    parser->expressions--;
    return expression;
}

/* ---- Values ---- */

/* The operators whose result is in range whatever their operands are. */
static long long
compare(enum expression_kind kind, long long a, long long b)
{
    switch (kind) {
    case EXPRESSION_LESS:
        return a < b;
    case EXPRESSION_GREATER:
        return a > b;
    case EXPRESSION_LESS_EQUAL:
        return a <= b;
    case EXPRESSION_GREATER_EQUAL:
        return a >= b;
    case EXPRESSION_EQUAL:
        return a == b;
    case EXPRESSION_NOT_EQUAL:
        return a != b;
    case EXPRESSION_AND:
        return a & b;
    case EXPRESSION_XOR:
        return a ^ b;
    default:
        return a | b;
    }
}

static int
divide(enum expression_kind kind, long long a, long long b, long long *value)
{
    if (b == 0 || (a == LLONG_MIN && b == -1)) {
        return -1;
    }
    *value = kind == EXPRESSION_DIVIDE ? a / b : a % b;
    return 0;
}

/* A negative number is not shifted left: C leaves it undefined, as what gets out of range. */
static int
shift(enum expression_kind kind, long long a, long long b, long long *value)
{
    if (b < 0 || b >= (long long)(sizeof(a) * CHAR_BIT)) {
        return -1;
    }
    if (kind == EXPRESSION_SHIFT_RIGHT) {
        *value = a >> b;
        return 0;
    }
    if (a < 0 || a > LLONG_MAX >> b) {
        return -1;
    }
    *value = a << b;
    return 0;
}

static int
compute(enum expression_kind kind, long long a, long long b, long long *value)
{
    switch (kind) {
    case EXPRESSION_MULTIPLY:
        return __builtin_mul_overflow(a, b, value) ? -1 : 0;
    case EXPRESSION_ADD:
        return __builtin_add_overflow(a, b, value) ? -1 : 0;
    case EXPRESSION_SUBTRACT:
        return __builtin_sub_overflow(a, b, value) ? -1 : 0;
    case EXPRESSION_DIVIDE:
    case EXPRESSION_REMAINDER:
        return divide(kind, a, b, value);
    case EXPRESSION_SHIFT_LEFT:
    case EXPRESSION_SHIFT_RIGHT:
        return shift(kind, a, b, value);
    default:
        *value = compare(kind, a, b);
        return 0;
    }
}

/* && || ?: compute of their other operands only what decides. */
static int
decide(const struct expression *expression, long long condition, const long long *names,
       long long *value)
{
    const struct expression *const *operands = expression->operands;
    if (expression->kind == EXPRESSION_CHOOSE) {
        return expression_value(condition ? operands[1] : operands[2], names, value);
    }
    bool either = expression->kind == EXPRESSION_EITHER;
    if ((condition != 0) == either) {
        *value = either;
        return 0;
    }
    if (expression_value(operands[1], names, value) < 0) {
        return -1;
    }
    *value = *value != 0;
    return 0;
}

static int
negate(enum expression_kind kind, long long a, long long *value)
{
    *value = kind == EXPRESSION_NOT ? !a : ~a;
    return kind == EXPRESSION_NEGATE && __builtin_sub_overflow(0LL, a, value) ? -1 : 0;
}

int
expression_value(const struct expression *expression, const long long *names, long long *value)
{
    long long first = 0;
    long long second = 0;
    switch (expression->kind) {
    case EXPRESSION_CONSTANT:
        *value = expression->value;
        return 0;
    case EXPRESSION_NAME:
        if (names == NULL) {
            return -1;
        }
        *value = names[expression->value];
        return 0;
    case EXPRESSION_STAR:
    case EXPRESSION_OTHER:
        return -1;
    default:
        break;
    }
    if (expression_value(expression->operands[0], names, &first) < 0) {
        return -1;
    }
    switch (expression->kind) {
    case EXPRESSION_NEGATE:
    case EXPRESSION_INVERT:
    case EXPRESSION_NOT:
        return negate(expression->kind, first, value);
    case EXPRESSION_BOTH:
    case EXPRESSION_EITHER:
    case EXPRESSION_CHOOSE:
        return decide(expression, first, names, value);
    default:
        return expression_value(expression->operands[1], names, &second) < 0
                   ? -1
                   : compute(expression->kind, first, second, value);
    }
}

int
expression_constant(const struct expression *expression, long long *value)
{
    return expression_value(expression, NULL, value);
}

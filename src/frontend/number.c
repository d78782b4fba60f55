/* number.c: the value and type of a constant expression, as C computes it: C99's 6.3.1 and 6.6.
 *
 * Signed overflow, which C leaves undefined, wraps as compilers let it.
 */
#include <limits.h>
#include <math.h>

#include "parse.h"

/* ---- Types ---- */

static bool
is_floating(const struct number *number)
{
    return number->basic == BASIC_FLOAT || number->basic == BASIC_DOUBLE;
}

bool
number_is_unsigned(const struct number *number)
{
    switch (number->basic) {
    case BASIC_BOOL:
    case BASIC_UCHAR:
    case BASIC_USHORT:
    case BASIC_UINT:
    case BASIC_ULONG:
    case BASIC_ULONGLONG:
        return true;
    case BASIC_CHAR:
        return CHAR_MIN == 0;
    default:
        return false;
    }
}

/* The bits, cut to the type's width and sign-extended from there. */
static void
wrap(struct number *number)
{
    switch (number->basic) {
    case BASIC_BOOL:
        number->bits = number->bits != 0;
        break;
    case BASIC_CHAR:
        number->bits = (unsigned long long)(char)number->bits;
        break;
    case BASIC_SCHAR:
        number->bits = (unsigned long long)(signed char)number->bits;
        break;
    case BASIC_UCHAR:
        number->bits = (unsigned char)number->bits;
        break;
    case BASIC_SHORT:
        number->bits = (unsigned long long)(short)number->bits;
        break;
    case BASIC_USHORT:
        number->bits = (unsigned short)number->bits;
        break;
    case BASIC_INT:
        number->bits = (unsigned long long)(int)number->bits;
        break;
    case BASIC_UINT:
        number->bits = (unsigned int)number->bits;
        break;
    default:
        break;
    }
}

static double
as_double(const struct number *number)
{
    if (is_floating(number)) {
        return number->floating;
    }
    return number_is_unsigned(number) ? (double)number->bits : (double)(long long)number->bits;
}

/* Whether a floating number's integer part has a place in 64 bits of the sign. */
static bool
fits(double value, bool is_unsigned)
{
    return is_unsigned ? value > -1 && value < 18446744073709551616.0
                       : value >= -9223372036854775808.0 && value < 9223372036854775808.0;
}

static int
convert_to_floating(struct number *number, enum basic_type basic)
{
    double value = as_double(number);
    *number = (struct number){.basic = basic,
                              .floating = basic == BASIC_FLOAT ? (double)(float)value : value};
    return 0;
}

/* Returns -1 for a floating number out of the range. */
static int
convert_to_integer(struct number *number, enum basic_type basic)
{
    struct number result = {.basic = basic, .bits = number->bits};
    if (!is_floating(number) || basic == BASIC_BOOL) {
        result.bits = is_floating(number) ? number->floating != 0 : number->bits;
        wrap(&result);
        *number = result;
        return 0;
    }
    bool is_unsigned = number_is_unsigned(&result);
    if (!fits(number->floating, is_unsigned)) {
        return -1;
    }
    result.bits = is_unsigned ? (unsigned long long)number->floating
                              : (unsigned long long)(long long)number->floating;
    wrap(&result);
    bool same = as_double(&result) == trunc(number->floating);
    *number = result;
    return same ? 0 : -1;
}

static int
convert(struct number *number, enum basic_type basic)
{
    switch (basic) {
    case BASIC_FLOAT:
    case BASIC_DOUBLE:
        return convert_to_floating(number, basic);
    case BASIC_LONGDOUBLE:
    case BASIC_COMPLEX:
    case BASIC_COMPLEXF:
        return -1;
    default:
        return convert_to_integer(number, basic);
    }
}

static int
cast(struct number *number, const struct type *type)
{
    if (type->kind == TYPE_ENUM && type->record->complete && type->record->why_not == NULL) {
        return convert(number, type->record->basic);
    }
    return type->kind == TYPE_BASIC ? convert(number, type->basic) : -1;
}

/* integer-promotions */
static enum basic_type
promoted(enum basic_type basic)
{
    switch (basic) {
    case BASIC_LONGLONG:
        return BASIC_LONG;
    case BASIC_ULONGLONG:
        return BASIC_ULONG;
    case BASIC_UINT:
    case BASIC_LONG:
    case BASIC_ULONG:
    case BASIC_FLOAT:
    case BASIC_DOUBLE:
        return basic;
    default:
        return BASIC_INT;
    }
}

/* The usual arithmetic conversions: of the two promoted types the later one here. */
static enum basic_type
common(enum basic_type a, enum basic_type b)
{
    static const enum basic_type order[] = {BASIC_INT,   BASIC_UINT,  BASIC_LONG,
                                            BASIC_ULONG, BASIC_FLOAT, BASIC_DOUBLE};
    enum basic_type result = BASIC_INT;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (order[i] == promoted(a) || order[i] == promoted(b)) {
            result = order[i];
        }
    }
    return result;
}

static struct number
truth(bool value)
{
    return (struct number){.basic = BASIC_INT, .bits = value};
}

static bool
is_true(const struct number *number)
{
    return is_floating(number) ? number->floating != 0 : number->bits != 0;
}

/* ---- Operators ---- */

static int
compute_floating(enum expression_kind kind, double a, double b, struct number *result)
{
    switch (kind) {
    case EXPRESSION_MULTIPLY:
        result->floating = a * b;
        break;
    case EXPRESSION_DIVIDE:
        result->floating = a / b;
        break;
    case EXPRESSION_ADD:
        result->floating = a + b;
        break;
    case EXPRESSION_SUBTRACT:
        result->floating = a - b;
        break;
    default:
        return -1;
    }
    return convert_to_floating(result, result->basic);
}

static int
divide(bool quotient, bool is_unsigned, unsigned long long a, unsigned long long b,
       unsigned long long *result)
{
    if (b == 0) {
        return -1;
    }
    if (is_unsigned) {
        *result = quotient ? a / b : a % b;
    }
    else if (b == ULLONG_MAX) { /* -1: the least number has no opposite */
        *result = quotient ? 0 - a : 0;
    }
    else {
        *result = (unsigned long long)(quotient ? (long long)a / (long long)b
                                                : (long long)a % (long long)b);
    }
    return 0;
}

static int
compute_integer(enum expression_kind kind, unsigned long long a, unsigned long long b,
                struct number *result)
{
    switch (kind) {
    case EXPRESSION_MULTIPLY:
        result->bits = a * b;
        break;
    case EXPRESSION_ADD:
        result->bits = a + b;
        break;
    case EXPRESSION_SUBTRACT:
        result->bits = a - b;
        break;
    case EXPRESSION_AND:
        result->bits = a & b;
        break;
    case EXPRESSION_XOR:
        result->bits = a ^ b;
        break;
    case EXPRESSION_OR:
        result->bits = a | b;
        break;
    case EXPRESSION_DIVIDE:
    case EXPRESSION_REMAINDER:
        if (divide(kind == EXPRESSION_DIVIDE, number_is_unsigned(result), a, b, &result->bits) <
            0) {
            return -1;
        }
        break;
    default:
        return -1;
    }
    wrap(result);
    return 0;
}

/* -1, 0 or 1; 2 where one is no number. Both are of the same type. */
static int
order_of(const struct number *a, const struct number *b)
{
    if (is_floating(a)) {
        return isnan(a->floating) || isnan(b->floating)
                   ? 2
                   : (a->floating > b->floating) - (a->floating < b->floating);
    }
    if (number_is_unsigned(a)) {
        return (a->bits > b->bits) - (a->bits < b->bits);
    }
    return ((long long)a->bits > (long long)b->bits) - ((long long)a->bits < (long long)b->bits);
}

static bool
compare(enum expression_kind kind, int order)
{
    switch (kind) {
    case EXPRESSION_LESS:
        return order == -1;
    case EXPRESSION_GREATER:
        return order == 1;
    case EXPRESSION_LESS_EQUAL:
        return order == -1 || order == 0;
    case EXPRESSION_GREATER_EQUAL:
        return order == 1 || order == 0;
    case EXPRESSION_EQUAL:
        return order == 0;
    default:
        return order != 0;
    }
}

/* The type is the promoted left operand's. */
static int
shift(bool left, const struct number *a, const struct number *b, struct number *result)
{
    *result = *a;
    if (is_floating(a) || is_floating(b)) {
        return -1;
    }
    convert_to_integer(result, promoted(a->basic));
    bool wide = result->basic == BASIC_LONG || result->basic == BASIC_ULONG;
    if (b->bits >= (wide ? 64u : 32u)) {
        return -1;
    }
    if (left) {
        result->bits <<= b->bits;
    }
    else if (number_is_unsigned(result)) {
        result->bits >>= b->bits;
    }
    else {
        result->bits = (unsigned long long)((long long)result->bits >> b->bits);
    }
    wrap(result);
    return 0;
}

static int
binary(enum expression_kind kind, struct number a, struct number b, struct number *result)
{
    if (kind == EXPRESSION_SHIFT_LEFT || kind == EXPRESSION_SHIFT_RIGHT) {
        return shift(kind == EXPRESSION_SHIFT_LEFT, &a, &b, result);
    }
    enum basic_type basic = common(a.basic, b.basic);
    if (convert(&a, basic) < 0 || convert(&b, basic) < 0) {
        return -1;
    }
    if (kind >= EXPRESSION_LESS && kind <= EXPRESSION_NOT_EQUAL) {
        *result = truth(compare(kind, order_of(&a, &b)));
        return 0;
    }
    *result = (struct number){.basic = basic};
    return is_floating(result) ? compute_floating(kind, a.floating, b.floating, result)
                               : compute_integer(kind, a.bits, b.bits, result);
}

static int
unary(enum expression_kind kind, struct number *number)
{
    if (kind == EXPRESSION_NOT) {
        *number = truth(!is_true(number));
        return 0;
    }
    if (is_floating(number)) {
        number->floating = -number->floating;
        return kind == EXPRESSION_NEGATE ? 0 : -1;
    }
    convert_to_integer(number, promoted(number->basic));
    number->bits = kind == EXPRESSION_NEGATE ? 0 - number->bits : ~number->bits;
    wrap(number);
    return 0;
}

/* ---- Expressions ---- */

/* && || compute of their second operand only what decides. */
static int
logical(const struct expression *expression, const struct number *first, struct number *result)
{
    bool either = expression->kind == EXPRESSION_EITHER;
    if (is_true(first) == either) {
        *result = truth(either);
        return 0;
    }
    struct number second;
    if (number_compute(expression->operands[1], &second) < 0) {
        return -1;
    }
    *result = truth(is_true(&second));
    return 0;
}

/* a ? b : c has the type that b and c have in common. */
static int
choose(const struct expression *expression, const struct number *condition, struct number *result)
{
    struct number other;
    bool first = is_true(condition);
    if (number_compute(expression->operands[first ? 1 : 2], result) < 0 ||
        number_compute(expression->operands[first ? 2 : 1], &other) < 0) {
        return -1;
    }
    return convert(result, common(result->basic, other.basic));
}

static int
leaf(const struct expression *expression, struct number *number)
{
    if (expression->cast != NULL) {
        return number_compute(expression->operands[0], number) < 0 ? -1
                                                                   : cast(number, expression->cast);
    }
    *number = expression->number;
    return expression->has_number ? 0 : -1;
}

int
number_compute(const struct expression *expression, struct number *number)
{
    struct number second;
    if (expression->kind <= EXPRESSION_OTHER) {
        return leaf(expression, number);
    }
    if (number_compute(expression->operands[0], number) < 0) {
        return -1;
    }
    switch (expression->kind) {
    case EXPRESSION_NEGATE:
    case EXPRESSION_INVERT:
    case EXPRESSION_NOT:
        return unary(expression->kind, number);
    case EXPRESSION_BOTH:
    case EXPRESSION_EITHER:
        second = *number;
        return logical(expression, &second, number);
    case EXPRESSION_CHOOSE:
        second = *number;
        return choose(expression, &second, number);
    default:
        return number_compute(expression->operands[1], &second) < 0
                   ? -1
                   : binary(expression->kind, *number, second, number);
    }
}

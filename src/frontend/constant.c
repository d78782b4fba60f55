/* constant.c: the names of a unit that stand for constants: enumerators, and macros without parameters whose
 * expansion is a number or a string.
 */
#include <string.h>

#include "literal.h"
#include "parse.h"

static int
append(struct parser *parser, const struct constant *constant)
{
    struct declarations *declarations = parser->declarations;
    struct constant *items =
        parse_grow(parser, declarations->constants, declarations->constant_count,
                   &parser->constant_capacity, sizeof(*items));
    if (items == NULL) {
        return -1;
    }
    declarations->constants = items;
    items[declarations->constant_count++] = *constant;
    return 0;
}

int
constant_append_enumerator(struct parser *parser, const struct token *name, long long value)
{
    const struct constant constant = {
        .name = name,
        .from = parser->unit->from[name - parser->unit->items],
        .kind = CONSTANT_INTEGER,
        .integer = value,
    };
    return append(parser, &constant);
}

/* ---- Macros ---- */

/* The macro's expansion as a unit of its own, which the parser reads next. Returns 1; 0: its brackets do not pair up;
 * -1: no memory. */
static int
enter(struct parser *parser, const struct definition *definition, struct expanded *unit)
{
    const struct source **from =
        parse_allocate(parser, (definition->count + 1) * sizeof(*unit->from));
    if (from == NULL) {
        return -1;
    }
    for (size_t i = 0; i <= definition->count; i++) {
        from[i] = definition->from;
    }
    *unit = (struct expanded){.items = definition->items, .from = from, .count = definition->count};
    parser->unit = unit;
    parser->at = 0;
    parser->operators = parser->expressions = 0;
    if (parse_start(parser) < 0) {
        return parser->spot->message[0] == '\0' ? -1 : 0;
    }
    return 1;
}

/* Strings, one behind the other, perhaps in brackets. Returns 1; 0: they are not; -1: no memory. */
static int
read_strings(struct parser *parser, struct constant *constant)
{
    struct buffer bytes = BUFFER_INIT;
    size_t depth = 0;
    bool bad = false;
    for (; parse_accept(parser, "("); depth++) {
    }
    const struct token *first = parse_token(parser);
    for (; parse_token(parser)->kind == TOKEN_STRING; parser->at++) {
        bad = bad || literal_string(parse_token(parser), &bytes) < 0;
    }
    bad = bad || parse_token(parser) == first;
    for (; parse_accept(parser, ")"); depth--) {
    }
    int result = !bad && depth == 0 && parse_token(parser)->kind == TOKEN_END;
    if (result > 0) {
        char *text = bytes.failed ? NULL : parse_allocate(parser, bytes.size + 1);
        if (text != NULL && bytes.size > 0) {
            memcpy(text, bytes.data, bytes.size);
        }
        constant->kind = CONSTANT_STRING;
        constant->text = text;
        constant->length = bytes.size;
        result = text != NULL ? 1 : -1;
    }
    buffer_free(&bytes);
    return result;
}

/* Returns 1; 0: it is none; -1: no memory. */
static int
read_number(struct parser *parser, struct constant *constant)
{
    struct number number;
    const struct expression *expression = expression_parse(parser);
    if (expression == NULL) {
        return parser->spot->message[0] == '\0' ? -1 : 0;
    }
    if (parse_token(parser)->kind != TOKEN_END || number_compute(expression, &number) < 0) {
        return 0;
    }
    if (number.basic == BASIC_FLOAT || number.basic == BASIC_DOUBLE) {
        constant->kind = CONSTANT_FLOATING;
        constant->floating = number.floating;
        return 1;
    }
    constant->kind = CONSTANT_INTEGER;
    constant->is_unsigned = number_is_unsigned(&number);
    constant->integer = (long long)number.bits;
    return 1;
}

static int
read_macro(struct parser *parser, const struct definition *definition)
{
    struct expanded unit;
    struct constant constant = {
        .name = &definition->name, .from = definition->from, .is_macro = true};
    int result = enter(parser, definition, &unit);
    if (result <= 0) {
        return result;
    }
    result = read_strings(parser, &constant);
    if (result == 0) {
        parser->at = 0;
        result = read_number(parser, &constant);
    }
    return result > 0 ? append(parser, &constant) : result;
}

int
constant_read_macros(struct parser *parser)
{
    struct parser outer = *parser;
    struct spot ignored;
    int result = 0;
    parser->spot = &ignored;
    for (size_t i = 0; i < outer.unit->definition_count && result == 0; i++) {
        ignored.message[0] = '\0';
        result = read_macro(parser, &outer.unit->definitions[i]);
    }
    parser->unit = outer.unit;
    parser->at = outer.at;
    parser->partners = outer.partners;
    parser->spot = outer.spot;
    parser->met_variables = outer.met_variables;
    if (result < 0) {
        *parser->spot = (struct spot){.source = NULL};
    }
    return result;
}

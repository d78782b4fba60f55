/* attribute.c: GNU's attributes and C11's _Alignas, as far as they say how something lies in memory. */
#include <string.h>

#include "parse.h"

/* aligned without a number: the largest alignment of any type. */
enum { LARGEST_ALIGNMENT = 16 };
/* Larger ones are taken for a mistake. */
enum { ALIGNMENT_LIMIT = 1 << 20 };

/* Whether the token is the word, or the word in double underscores. */
static bool
is_word(const struct token *token, const char *word)
{
    char spelled[40];
    size_t length = parse_spell(token, spelled, sizeof(spelled));
    size_t size = strlen(word);
    if (length == size + 4 && memcmp(spelled, "__", 2) == 0 &&
        memcmp(spelled + 2 + size, "__", 2) == 0) {
        return memcmp(spelled + 2, word, size) == 0;
    }
    return length == size && memcmp(spelled, word, size) == 0;
}

static bool
is_power(long long value)
{
    return value > 0 && value <= ALIGNMENT_LIMIT && (value & (value - 1)) == 0;
}

static void
ask(struct attributes *attributes, long long alignment)
{
    if (!is_power(alignment)) {
        attributes->strange = true;
    }
    else if ((size_t)alignment > attributes->aligned) {
        attributes->aligned = (size_t)alignment;
    }
}

/* aligned, aligned ( constant-expression ): from behind the word. */
static int
read_aligned(struct parser *parser, struct attributes *attributes)
{
    if (!parse_accept(parser, "(")) {
        ask(attributes, LARGEST_ALIGNMENT);
        return 0;
    }
    const struct expression *expression = expression_parse(parser);
    if (expression == NULL || parse_expect(parser, ")") < 0) {
        return -1;
    }
    long long value;
    ask(attributes, expression_constant(expression, &value) < 0 ? -1 : value);
    return 0;
}

/* attribute:
 *     empty
 *     word
 *     word ( ... )
 */
static int
read_one(struct parser *parser, struct attributes *attributes)
{
    static const char *const strange[] = {"mode", "vector_size", "ms_struct",
                                          "scalar_storage_order", "transparent_union"};
    const struct token *word = parse_token(parser);
    parser->at++;
    if (is_word(word, "aligned")) {
        return read_aligned(parser, attributes);
    }
    attributes->packed |= is_word(word, "packed");
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        attributes->strange |= is_word(word, strange[i]);
    }
    if (parse_at(parser, "(")) {
        parse_skip_group(parser);
    }
    return 0;
}

/* attribute-specifier:
 *     __attribute__ ( ( attribute-list ) )
 */
static int
attribute_specifier(struct parser *parser, struct attributes *attributes)
{
    parser->at++;
    if (!parse_at(parser, "(")) {
        return 0;
    }
    size_t end = parser->partners[parser->at];
    if (!parse_is(parse_ahead(parser, 1), "(")) { /* __declspec(...) */
        parser->at = end + 1;
        return 0;
    }
    size_t list_end = parser->partners[parser->at + 1];
    for (parser->at += 2; parser->at < list_end;) {
        if (!parse_accept(parser, ",") && read_one(parser, attributes) < 0) {
            return -1;
        }
    }
    parser->at = end + 1;
    return 0;
}

/* alignment-specifier:
 *     _Alignas ( type-name )
 *     _Alignas ( constant-expression )
 */
static int
alignment_specifier(struct parser *parser, struct attributes *attributes)
{
    parser->at++;
    size_t start = parser->at;
    if (!parse_at(parser, "(")) {
        return 0;
    }
    int opens = expression_opens_type_name(parser);
    if (opens < 0) {
        return -1;
    }
    parser->at++;
    long long value = -1;
    if (opens) {
        size_t size, alignment;
        const struct type *type = declaration_type_name(parser);
        if (type == NULL) {
            return -1;
        }
        value = type_layout(type, &size, &alignment) < 0 ? -1 : (long long)alignment;
    }
    else {
        const struct expression *expression = expression_parse(parser);
        if (expression == NULL) {
            return -1;
        }
        value = expression_constant(expression, &value) < 0 ? -1 : value;
    }
    if (value != 0) { /* 0 asks for nothing */
        ask(attributes, value);
    }
    parser->at = parser->partners[start] + 1;
    return 0;
}

int
attribute_read(struct parser *parser, struct attributes *attributes)
{
    for (;;) {
        int result;
        switch (parse_keyword(parse_token(parser))->keyword_class) {
        case KEYWORD_ATTRIBUTE:
            result = attribute_specifier(parser, attributes);
            break;
        case KEYWORD_ALIGNAS:
            result = alignment_specifier(parser, attributes);
            break;
        default:
            return 0;
        }
        if (result < 0) {
            return -1;
        }
    }
}

void
attribute_skip(struct parser *parser)
{
    while (parse_keyword(parse_token(parser))->keyword_class == KEYWORD_ATTRIBUTE) {
        parser->at++;
        if (parse_at(parser, "(")) {
            parse_skip_group(parser);
        }
    }
}

/* ---- What they do to a type ---- */

const struct type *
attribute_apply(struct parser *parser, const struct type *type, const struct attributes *attributes,
                const struct token *name)
{
    if ((attributes->aligned == 0 && !attributes->strange) || type->kind == TYPE_FUNCTION) {
        return type;
    }
    struct type *copy = parse_allocate(parser, sizeof(*copy));
    if (copy == NULL) {
        return NULL;
    }
    *copy = *type;
    copy->alignment = attributes->aligned != 0 ? attributes->aligned : type->alignment;
    if (attributes->strange) {
        *copy = (struct type){
            .kind = TYPE_NAMED, .name = name, .qualifiers = type->qualifiers, .depth = type->depth};
    }
    return copy;
}

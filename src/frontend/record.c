/* record.c: struct, union and enum: the grammar of C99's 6.7.2.1 to 6.7.2.3.
 *
 * Tags have a table of their own. A tag that is only mentioned is one of the file's, also in a prototype, where C
 * would make it the prototype's own: nobody means that.
 */
#include <limits.h>

#include "check.h"
#include "parse.h"

/* ---- Tags ---- */

static const char *
keyword_of(enum type_kind kind)
{
    return kind == TYPE_STRUCT ? "struct" : kind == TYPE_UNION ? "union" : "enum";
}

/* The record of the tag that the braces at hand define, or that is mentioned; a new one where there is none. */
static struct entity *
find_tag(struct parser *parser, const struct token *name, bool defines)
{
    struct names *inner = &parser->inner_tags;
    struct entity *entity = names_find(inner, name);
    if (entity != NULL && (!defines || entity->scope == inner->scope)) {
        return entity;
    }
    if (defines && inner->scope > 0) {
        return names_declare(parser, inner, ENTITY_TAG, name);
    }
    entity = names_find(&parser->tags, name);
    return entity != NULL ? entity : names_declare(parser, &parser->tags, ENTITY_TAG, name);
}

static struct record *
make_record(struct parser *parser, enum type_kind kind, const struct token *name)
{
    struct record *record = parse_allocate(parser, sizeof(*record));
    if (record != NULL) {
        record->kind = kind;
        record->name = name;
    }
    return record;
}

/* `first`: the keyword. */
static struct record *
find_record(struct parser *parser, enum type_kind kind, const struct token *first,
            const struct token *name, bool defines)
{
    if (name == NULL) {
        return make_record(parser, kind, NULL);
    }
    struct entity *entity = find_tag(parser, name, defines);
    if (entity == NULL) {
        return NULL;
    }
    if (entity->record == NULL) {
        entity->record = make_record(parser, kind, name);
    }
    else if (entity->record->kind != kind) {
        parse_error(parser, first, "'%.*s' is %s %s", parse_shown(name), name->start,
                    entity->record->kind == TYPE_ENUM ? "an" : "a",
                    keyword_of(entity->record->kind));
        return NULL;
    }
    else if (defines && (entity->record->complete || entity->record->begun)) {
        parse_error(parser, first, "'%s %.*s' has its members already", keyword_of(kind),
                    parse_shown(name), name->start);
        return NULL;
    }
    return entity->record;
}

/* struct, union or enum, with its attributes and its tag; *name is NULL where there is none. */
static int
read_tag(struct parser *parser, struct attributes *attributes, const struct token **name)
{
    parser->at++;
    if (attribute_read(parser, attributes) < 0) {
        return -1;
    }
    *name = parse_is_name(parse_token(parser)) ? parse_token(parser) : NULL;
    parser->at += *name != NULL;
    return 0;
}

/* The type of a record, which starts at `first`. */
static int
set_record(struct parser *parser, struct specifiers *specifiers, const struct token *first,
           const struct record *record)
{
    struct type *type = type_make(parser, record->kind, record->name);
    if (type != NULL) {
        type->record = record;
    }
    return declaration_set_type(parser, specifiers, first, type);
}

/* ---- Enumerations ---- */

/* The values of an enumeration so far. */
struct range {
    long long least, greatest;
    bool known;
};

static bool
enumerator_value(const struct expression *expression, long long *value)
{
    struct number number;
    if (number_compute(expression, &number) < 0 || number.basic == BASIC_FLOAT ||
        number.basic == BASIC_DOUBLE || (number_is_unsigned(&number) && number.bits > LLONG_MAX)) {
        return false;
    }
    *value = (long long)number.bits;
    return true;
}

/* enumerator:
 *     enumeration-constant
 *     enumeration-constant = constant-expression
 */
static int
enumerator(struct parser *parser, struct entity *next, struct range *range)
{
    const struct token *name = parse_token(parser);
    if (!parse_is_name(name)) {
        return parse_unexpected(parser, "an enumerator");
    }
    parser->at++;
    attribute_skip(parser);
    if (parse_accept(parser, "=")) {
        const struct expression *expression = expression_parse(parser);
        if (expression == NULL) {
            return -1;
        }
        next->has_value = enumerator_value(expression, &next->value);
    }
    struct entity *entity = names_declare(parser, &parser->names, ENTITY_ENUMERATOR, name);
    if (entity == NULL) {
        return -1;
    }
    entity->has_value = next->has_value;
    entity->value = next->value;
    if (next->has_value && parser->names.scope == 0 &&
        constant_append_enumerator(parser, name, next->value) < 0) {
        return -1;
    }
    range->known = range->known && next->has_value;
    range->least = next->value < range->least ? next->value : range->least;
    range->greatest = next->value > range->greatest ? next->value : range->greatest;
    next->has_value = next->has_value && !__builtin_add_overflow(next->value, 1, &next->value);
    return 0;
}

/* The integer type of an enumeration: of 32 bits where the values fit. Where only the sign keeps them from
 * fitting, compilers differ. */
static void
settle_enum(struct record *record, const struct range *range, const struct attributes *attributes)
{
    bool fits = range->greatest <= UINT_MAX && range->least >= INT_MIN;
    record->basic = range->least < 0 ? fits ? BASIC_INT : BASIC_LONG
                    : fits           ? BASIC_UINT
                                     : BASIC_ULONG;
    record->size = record->alignment = fits ? sizeof(int) : sizeof(long);
    record->complete = true;
    if (!range->known || attributes->packed || attributes->strange || attributes->aligned != 0 ||
        (fits && range->least < 0 && range->greatest > INT_MAX)) {
        record->why_not = "values of an enum that cannot be computed here";
    }
}

/* enumerator-list:
 *     enumerator
 *     enumerator-list , enumerator
 */
static int
enumerator_list(struct parser *parser, struct record *record, struct attributes *attributes)
{
    struct entity next = {.has_value = true, .value = 0};
    struct range range = {0, 0, true};
    parser->at++;
    do {
        if (enumerator(parser, &next, &range) < 0) {
            return -1;
        }
    } while (parse_accept(parser, ",") && !parse_at(parser, "}"));
    if (parse_expect(parser, "}") < 0 || attribute_read(parser, attributes) < 0) {
        return -1;
    }
    settle_enum(record, &range, attributes);
    return 0;
}

/* enum-specifier:
 *     enum identifier(opt) { enumerator-list }
 *     enum identifier(opt) { enumerator-list , }
 *     enum identifier
 */
int
record_enum_specifier(struct parser *parser, struct specifiers *specifiers)
{
    const struct token *first = parse_token(parser);
    const struct token *name;
    struct attributes attributes = {.packed = false};
    if (read_tag(parser, &attributes, &name) < 0) {
        return -1;
    }
    bool defines = parse_at(parser, "{");
    if (!defines && name == NULL) {
        return parse_unexpected(parser, "a name or '{' behind 'enum'");
    }
    struct record *record = find_record(parser, TYPE_ENUM, first, name, defines);
    if (record == NULL || (defines && enumerator_list(parser, record, &attributes) < 0)) {
        return -1;
    }
    return set_record(parser, specifiers, first, record);
}

/* ---- Members ---- */

/* The members of a body as they are read. */
struct body {
    struct record *record;
    size_t capacity;
};

static int
append_member(struct parser *parser, struct body *body, const struct member *member)
{
    struct record *record = body->record;
    struct member *members = parse_grow(parser, record->members, record->member_count,
                                        &body->capacity, sizeof(*members));
    if (members == NULL) {
        return -1;
    }
    record->members = members;
    members[record->member_count++] = *member;
    return 0;
}

/* Bounds how deep the recursion over members goes. */
static int
count_depth(struct parser *parser, struct body *body, const struct type *type)
{
    while (type->kind == TYPE_ARRAY) {
        type = type->target;
    }
    struct record *record = body->record;
    if (type->record != NULL && type->record->depth >= record->depth) {
        record->depth = type->record->depth + 1;
    }
    if (record->depth <= CHECK_DEPTH) {
        return 0;
    }
    return parse_error(parser, parse_last(parser),
                       "nested too deeply: more than %d structs one in another", CHECK_DEPTH);
}

/* The width of a bit-field behind its colon; one that cannot be computed is 0. */
static int
bit_field(struct parser *parser, struct member *member)
{
    const struct expression *width = expression_parse(parser);
    if (width == NULL) {
        return -1;
    }
    long long value;
    bool known = expression_constant(width, &value) == 0 && value > 0 && value <= 64;
    member->bits = known ? (int)value : 0;
    return 0;
}

/* struct-declarator:
 *     declarator
 *     declarator(opt) : constant-expression
 */
static int
struct_declarator(struct parser *parser, struct body *body, const struct specifiers *specifiers)
{
    struct declarator inner = {.context = CONTEXT_MEMBER};
    if ((!parse_at(parser, ":") && declarator_read(parser, &inner) < 0) ||
        declarator_finish(parser, &inner, specifiers->type) < 0) {
        return -1;
    }
    struct attributes attributes = specifiers->attributes;
    attributes.strange |= inner.attributes.strange;
    struct member member = {.name = inner.name, .type = inner.type, .bits = -1};
    if (inner.type->kind == TYPE_FUNCTION) {
        return parse_error(parser, inner.name, "'%.*s' is a function, and no member can be one",
                           parse_shown(inner.name), inner.name->start);
    }
    if ((parse_accept(parser, ":") && bit_field(parser, &member) < 0) ||
        attribute_read(parser, &attributes) < 0) {
        return -1;
    }
    member.packed = attributes.packed;
    member.asked = attributes.aligned;
    attributes.aligned = 0;
    member.type = attribute_apply(parser, inner.type, &attributes, inner.name);
    return member.type == NULL || count_depth(parser, body, member.type) < 0
               ? -1
               : append_member(parser, body, &member);
}

/* A struct or union without a tag and without a declarator: its members count as the outer one's. */
static int
anonymous_member(struct parser *parser, struct body *body, const struct specifiers *specifiers)
{
    const struct type *type = specifiers->type;
    if ((type->kind != TYPE_STRUCT && type->kind != TYPE_UNION) || type->name != NULL) {
        return 0;
    }
    struct member member = {.type = type,
                            .bits = -1,
                            .packed = specifiers->attributes.packed,
                            .asked = specifiers->attributes.aligned};
    return count_depth(parser, body, type) < 0 ? -1 : append_member(parser, body, &member);
}

/* struct-declaration:
 *     specifier-qualifier-list struct-declarator-list ;
 *     specifier-qualifier-list ;              C11: anonymous members
 *     static_assert-declaration               C11
 *     ;                                       GNU C
 * struct-declarator-list:
 *     struct-declarator
 *     struct-declarator-list , struct-declarator
 */
static int
struct_declaration(struct parser *parser, struct body *body)
{
    if (parse_keyword(parse_token(parser))->keyword_class == KEYWORD_ASSERT) {
        parse_skip_keyword(parser);
        return parse_expect(parser, ";");
    }
    if (parse_accept(parser, ";")) {
        return 0;
    }
    struct specifiers specifiers = {.context = CONTEXT_MEMBER};
    if (declaration_specifiers(parser, &specifiers) < 0) {
        return -1;
    }
    if (parse_accept(parser, ";")) {
        return anonymous_member(parser, body, &specifiers);
    }
    do {
        if (struct_declarator(parser, body, &specifiers) < 0) {
            return -1;
        }
    } while (parse_accept(parser, ","));
    return parse_expect(parser, ";");
}

/* What #pragma pack says at the next token. */
static size_t
pack_at(const struct parser *parser)
{
    return expanded_pack(parser->unit, parser->at);
}

/* { struct-declaration-list }
 * struct-declaration-list:
 *     struct-declaration
 *     struct-declaration-list struct-declaration
 */
static int
struct_body(struct parser *parser, struct record *record, struct attributes *attributes)
{
    struct body body = {record, 0};
    unsigned met_variables =
        parser->met_variables; /* a T inside says nothing about those who use the tag */
    size_t pack = pack_at(parser);
    record->begun = true;
    parser->at++;
    while (!parse_at(parser, "}")) {
        if (struct_declaration(parser, &body) < 0) {
            return -1;
        }
    }
    if (pack_at(parser) != pack || pack == PACK_UNKNOWN) {
        record->why_not = "a #pragma pack that is not understood here";
    }
    parser->at++;
    if (attribute_read(parser, attributes) < 0) {
        return -1;
    }
    layout_record(record, attributes, pack);
    record->complete = true;
    parser->met_variables = met_variables;
    return 0;
}

/* struct-or-union-specifier:
 *     struct-or-union identifier(opt) { struct-declaration-list }
 *     struct-or-union identifier
 */
int
record_specifier(struct parser *parser, struct specifiers *specifiers, enum type_kind kind)
{
    const struct token *first = parse_token(parser);
    const struct token *name;
    struct attributes attributes = {.packed = false};
    if (read_tag(parser, &attributes, &name) < 0) {
        return -1;
    }
    bool defines = parse_at(parser, "{");
    if (!defines && name == NULL) {
        return parse_unexpected(parser, kind == TYPE_STRUCT ? "a name or '{' behind 'struct'"
                                                            : "a name or '{' behind 'union'");
    }
    struct record *record = find_record(parser, kind, first, name, defines);
    if (record == NULL || (defines && struct_body(parser, record, &attributes) < 0)) {
        return -1;
    }
    return set_record(parser, specifiers, first, record);
}

/* declaration.c: the declarations of a translation unit: the grammar of C99's 6.7 and 6.9. */
#include "declaration.h"

#include <string.h>

#include "../../runtime/symbols.h"
#include "check.h"
#include "literal.h"
#include "parse.h"

/* ---- Types ---- */

static struct type *
make_basic(struct parser *parser, enum basic_type basic)
{
    struct type *type = type_make(parser, TYPE_BASIC, NULL);
    if (type != NULL) {
        type->basic = basic;
    }
    return type;
}

/* Refuses with the tokens' text, cut to a readable length, in the message. */
static int
refuse_tokens(struct parser *parser, const struct token *place, const struct token *first,
              const struct token *last, const char *what)
{
    struct buffer text = BUFFER_INIT;
    parse_append_tokens(first, last, &text);
    if (text.failed) {
        *parser->spot = (struct spot){.source = NULL};
    }
    else {
        parse_error(parser, place, "'%.120s' %s", text.data, what);
    }
    buffer_free(&text);
    return -1;
}

/* ---- The prelude's types ---- */

static int start_names(struct parser *parser, size_t bucket_count);
static int translation_unit(struct parser *parser);

/* Numbers of the prelude that are no typedefs of numbers. */
static struct type *
make_prelude_number(struct parser *parser, const char *name)
{
    static const struct {
        const char *name;
        enum basic_type basic;
    } numbers[] = {
        {"bool", BASIC_BOOL},
        {"tw_complex", BASIC_COMPLEX},
        {"tw_complexf", BASIC_COMPLEXF},
        {"Py_complex", BASIC_COMPLEX},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return make_basic(parser, numbers[i].basic);
        }
    }
    return NULL;
}

/* A text of the prelude as a unit of its own, in the parser's memory. */
static struct expanded *
make_unit(struct parser *parser, const char *text)
{
    struct spot spot;
    struct source *source = parse_allocate(parser, sizeof(*source));
    struct expanded *unit = parse_allocate(parser, sizeof(*unit));
    if (source == NULL || unit == NULL) {
        return NULL;
    }
    *source = (struct source){.label = "", .argument = "", .text = text, .length = strlen(text)};
    if (lexer_scan(source, &spot) < 0) {
        *parser->spot = (struct spot){.source = NULL};
        return NULL;
    }
    size_t size = source->tokens.count + 1;
    unit->count = source->tokens.count;
    unit->items = parse_allocate(parser, size * sizeof(*unit->items));
    unit->from = parse_allocate(parser, size * sizeof(*unit->from));
    if (unit->items != NULL && unit->from != NULL) {
        memcpy(unit->items, source->tokens.items, size * sizeof(*unit->items));
        for (size_t i = 0; i < size; i++) {
            unit->from[i] = source;
        }
    }
    lexer_free(source);
    return unit->items != NULL && unit->from != NULL ? unit : NULL;
}

/* The type of the typedef of that name among the declarations. */
static const struct type *
find_typedef(const struct declarations *declarations, const char *name)
{
    for (size_t i = 0; i < declarations->count; i++) {
        const struct declaration *item = &declarations->items[i];
        if (item->storage == STORAGE_TYPEDEF && token_is(item->name, name)) {
            return item->type;
        }
    }
    return NULL;
}

/* Reads a text of the prelude with a parser of its own, which sees the prelude's names alone. */
static int
read_prelude(struct parser *parser, const struct symbol *symbol, const struct type **type)
{
    struct spot spot = {.source = NULL};
    struct expanded *unit = make_unit(parser, symbol->declaration);
    if (unit == NULL) {
        return -1;
    }
    struct declarations own = {.arena = parser->declarations->arena};
    struct parser inner = {
        .unit = unit,
        .prelude = parser->prelude,
        .is_prelude = true,
        .declarations = &own,
        .spot = &spot,
    };
    int result = start_names(&inner, 8);
    if (result == 0) {
        result = parse_start(&inner);
    }
    if (result == 0) {
        result = translation_unit(&inner);
    }
    parser->declarations->arena = own.arena;
    if (result < 0 && spot.message[0] == '\0') {
        *parser->spot = spot;
        return -1;
    }
    *type = result == 0 ? find_typedef(&own, symbol->name) : NULL;
    return 0;
}

static int
make_prelude_type(struct parser *parser, const struct symbol *symbol, const struct type **type)
{
    *type = make_prelude_number(parser, symbol->name);
    if (*type != NULL || strstr(symbol->declaration, "typedef") == NULL) {
        return 0;
    }
    if (read_prelude(parser, symbol, type) < 0) {
        return -1;
    }
    if (*type == NULL || (*type)->kind == TYPE_BASIC) {
        return 0;
    }
    struct type *copy = parse_allocate(parser, sizeof(*copy));
    if (copy == NULL) {
        return -1;
    }
    *copy = **type;
    copy->known = symbol->name;
    *type = copy;
    return 0;
}

/* As declaration_find_type, of a name that was not asked for before. */
static int
load_prelude_type(struct parser *parser, const struct token *name, const struct entity **entity)
{
    char text[64]; /* no name of the prelude is as long */
    size_t length = parse_spell(name, text, sizeof(text));
    const struct symbol *symbol = length < sizeof(text) ? symbol_find(text, length) : NULL;
    if (symbol == NULL || symbol->symbol_class != SYMBOL_TYPE) {
        return 0;
    }
    const struct type *type;
    int result = make_prelude_type(parser, symbol, &type);
    if (result < 0 || type == NULL) {
        return result;
    }
    struct entity *made = names_declare(parser, parser->prelude, ENTITY_TYPEDEF, name);
    if (made == NULL) {
        return -1;
    }
    made->type = type;
    *entity = made;
    return 1;
}

int
declaration_find_type(struct parser *parser, const struct token *name, const struct entity **entity)
{
    *entity = names_find(&parser->names, name);
    if (*entity == NULL) {
        *entity = names_find(parser->prelude, name);
    }
    if (*entity != NULL) {
        return (*entity)->kind == ENTITY_TYPEDEF;
    }
    return load_prelude_type(parser, name, entity);
}

/* ---- Specifiers: macros that are not defined ---- */

static bool
is_in_capitals(const struct token *token)
{
    for (size_t i = 0; i < token->length; i++) {
        if (token->start[i] >= 'a' && token->start[i] <= 'z') {
            return false;
        }
    }
    return token->length > 1;
}

/* "DECLARE(f)": a name in capitals with a bracket behind it. */
static bool
looks_like_macro(const struct parser *parser, const struct token *token)
{
    return is_in_capitals(token) && parse_is(parse_ahead(parser, 1), "(");
}

static int
refuse_macro(struct parser *parser, const struct token *token)
{
    return parse_error(parser, token,
                       "'%.*s(...)' has no type, and no macro of that name is defined here",
                       parse_shown(token), token->start);
}

/* ---- Specifiers: types ---- */

int
declaration_set_type(struct parser *parser, struct specifiers *specifiers,
                     const struct token *token, const struct type *type)
{
    if (type == NULL) {
        return -1;
    }
    const struct token *before = specifiers->type_token;
    if (specifiers->type != NULL && specifiers->type->kind == TYPE_NAMED &&
        is_in_capitals(before)) {
        return parse_error(parser, before,
                           "'%.*s' is no type, and no macro of that name is defined here: "
                           "define_macros={\"%.*s\": \"\"} leaves it out",
                           parse_shown(before), before->start, parse_shown(before), before->start);
    }
    if (specifiers->type != NULL || specifiers->words != 0) {
        return parse_error(parser, token,
                           "'%.*s' behind the type '%.*s': a second type; is a ';' missing?",
                           parse_shown(token), token->start, parse_shown(specifiers->type_token),
                           specifiers->type_token->start);
    }
    specifiers->type = type;
    specifiers->type_token = token;
    return 1;
}

/* ---- Specifiers: names ---- */

/* Refuses what only C++ has: "class Grid {", "template <", "std::", "vector<int>". Returns 0 or -1. */
static int
refuse_cpp(struct parser *parser)
{
    static const char *const words[] = {
        "class",   "namespace", "template", "typename", "using",   "operator",  "friend",
        "virtual", "constexpr", "explicit", "public",   "private", "protected", NULL};
    const struct token *token = parse_token(parser);
    const struct token *next = parse_ahead(parser, 1);
    bool is_scope = token_is(next, ":") && token_is(next + 1, ":");
    if (token_in(token, words) && (next->kind == TOKEN_IDENTIFIER || parse_is(next, "{") ||
                                   token_is(next, ":") || token_is(next, "<"))) {
        return parse_error(parser, token, "'%.*s' is C++, and this is C", parse_shown(token),
                           token->start);
    }
    if (is_scope || token_is(next, "<")) {
        parser->at++;
        return parse_unexpected(parser, "a name");
    }
    return 0;
}

/* Whether a name that nothing declares is a type, as far as what follows tells. In a parameter list there is
 * nothing else it can be. At file scope "f(x)" is a function without a type, "T (*f)(x)" has one. */
static bool
stands_as_type(const struct parser *parser, enum context context)
{
    const struct token *next = parse_ahead(parser, 1);
    if (context != CONTEXT_FILE || next->kind == TOKEN_IDENTIFIER || token_is(next, "*") ||
        token_is(next, "&") || token_is(next, "&&")) {
        return true;
    }
    if (!parse_is(next, "(")) {
        return false;
    }
    const struct token *behind = &parser->unit->items[parser->partners[parser->at + 1] + 1];
    return token_is(parse_ahead(parser, 2), "*") || parse_is(behind, "(") || parse_is(behind, "[");
}

static int
unknown_name(struct parser *parser, struct specifiers *specifiers)
{
    if (refuse_cpp(parser) < 0) {
        return -1;
    }
    if (!stands_as_type(parser, specifiers->context)) {
        return 0;
    }
    const struct token *name = parse_token(parser);
    if (specifiers->context == CONTEXT_FILE && looks_like_macro(parser, name) &&
        parse_is_specifier(parse_keyword(parse_ahead(parser, 2)))) {
        return refuse_macro(parser, name);
    }
    parser->met_variables |= type_variable(name);
    parser->at++;
    return declaration_set_type(parser, specifiers, name, type_make(parser, TYPE_NAMED, name));
}

/* parameter-word, of ours:
 *     out
 *     inout
 */
static int
parameter_word(struct parser *parser, struct specifiers *specifiers, enum parameter_word word)
{
    const struct token *token = parse_token(parser);
    if (specifiers->word != WORD_NONE) {
        return parse_error(parser, token, "'%.*s' behind '%.*s': a parameter takes one of them",
                           parse_shown(token), token->start, parse_shown(specifiers->word_token),
                           specifiers->word_token->start);
    }
    specifiers->word = word;
    specifiers->word_token = token;
    parser->at++;
    return 1;
}

static enum parameter_word
find_word(const struct token *token)
{
    return token_is(token, "out") ? WORD_OUT : token_is(token, "inout") ? WORD_INOUT : WORD_NONE;
}

/* Whether a word of ours may stand at the next token; at file scope only in front of a type. */
static bool
takes_word(const struct parser *parser, enum context context)
{
    bool before_type = parse_ahead(parser, 1)->kind == TOKEN_IDENTIFIER;
    return context == CONTEXT_PARAMETER ||
           (context == CONTEXT_FILE && parser->is_declare && before_type);
}

/* typedef-name:
 *     identifier
 */
static int
typedef_name(struct parser *parser, struct specifiers *specifiers)
{
    const struct token *name = parse_token(parser);
    if (specifiers->type != NULL || specifiers->words != 0 || !parse_is_name(name)) {
        return 0;
    }
    const struct entity *entity;
    int found = declaration_find_type(parser, name, &entity);
    if (found < 0) {
        return -1;
    }
    if (found > 0) {
        parser->met_variables |= entity->type_variables;
        parser->at++;
        return declaration_set_type(parser, specifiers, name, entity->type);
    }
    enum parameter_word word = find_word(name);
    if (word != WORD_NONE && takes_word(parser, specifiers->context)) {
        return parameter_word(parser, specifiers, word);
    }
    if (entity == NULL) {
        return unknown_name(parser, specifiers);
    }
    return 0;
}

/* type-name:
 *     specifier-qualifier-list abstract-declarator(opt)
 */
const struct type *
declaration_type_name(struct parser *parser)
{
    struct specifiers specifiers = {.context = CONTEXT_TYPE_NAME};
    struct declarator abstract = {.context = CONTEXT_TYPE_NAME};
    if (declaration_specifiers(parser, &specifiers) < 0 || declarator_read(parser, &abstract) < 0 ||
        declarator_finish(parser, &abstract, specifiers.type) < 0) {
        return NULL;
    }
    return abstract.type;
}

/* ---- Specifiers: words ---- */

/* storage-class-specifier:
 *     typedef
 *     extern
 *     static
 *     auto
 *     register
 */
static int
storage_class_specifier(struct parser *parser, struct specifiers *specifiers,
                        const struct keyword *keyword)
{
    const struct token *token = parse_token(parser);
    bool is_register = specifiers->context == CONTEXT_PARAMETER && token_is(token, "register");
    parser->at++;
    if (is_register) {
        return 1;
    }
    if (keyword->keyword_class == KEYWORD_LOCAL || specifiers->context != CONTEXT_FILE) {
        return parse_error(parser, token, "'%.*s' cannot stand here", parse_shown(token),
                           token->start);
    }
    if (specifiers->storage != STORAGE_NONE) {
        return parse_error(parser, token, "'%.*s' is a second storage class", parse_shown(token),
                           token->start);
    }
    if (keyword->value == STORAGE_EXTERN && parse_token(parser)->kind == TOKEN_STRING) {
        return parse_error(parser, token, "'extern %.*s' is C++, and this is C",
                           parse_shown(parse_token(parser)), parse_token(parser)->start);
    }
    specifiers->storage = (enum storage)keyword->value;
    return 1;
}

/* type-specifier, the words among them:
 *     void
 *     char
 *     short
 *     int
 *     long
 *     float
 *     double
 *     signed
 *     unsigned
 *     _Bool
 */
static int
type_word(struct parser *parser, struct specifiers *specifiers, unsigned word)
{
    const struct token *token = parse_token(parser);
    if (specifiers->type != NULL) {
        return declaration_set_type(parser, specifiers, token, specifiers->type);
    }
    if (word == TYPE_WORD_LONG && (specifiers->words & TYPE_WORD_LONG)) {
        specifiers->words &= ~(unsigned)TYPE_WORD_LONG;
        word = TYPE_WORD_LONGLONG;
    }
    if (specifiers->words & word ||
        (word == TYPE_WORD_LONG && specifiers->words & TYPE_WORD_LONGLONG)) {
        return parse_error(parser, token, "'%.*s' once too often in one type", parse_shown(token),
                           token->start);
    }
    specifiers->words |= word;
    specifiers->type_token = token;
    parser->at++;
    return 1;
}

/* type-qualifier:
 *     const
 *     restrict
 *     volatile
 *     _Atomic
 * atomic-type-specifier:
 *     _Atomic ( type-name )
 */
static int
type_qualifier(struct parser *parser, struct specifiers *specifiers, unsigned qualifier)
{
    const struct token *token = parse_token(parser);
    parser->at++;
    specifiers->qualifiers |= qualifier;
    if (qualifier != QUALIFIER_ATOMIC || !parse_accept(parser, "(")) {
        return 1;
    }
    const struct type *type = declaration_type_name(parser);
    if (type == NULL || parse_expect(parser, ")") < 0) {
        return -1;
    }
    return declaration_set_type(parser, specifiers, token, type);
}

/* typeof-specifier, which only the compiler can read:
 *     typeof ( expression )
 *     typeof ( type-name )
 */
static int
typeof_specifier(struct parser *parser, struct specifiers *specifiers)
{
    const struct token *token = parse_token(parser);
    parse_skip_keyword(parser);
    return declaration_set_type(parser, specifiers, token, type_make(parser, TYPE_NAMED, token));
}

/* declaration-specifiers, one of them:
 *     storage-class-specifier
 *     type-specifier
 *     type-qualifier
 *     function-specifier
 * Returns 1; 0: none follows; -1.
 */
static int
declaration_specifier(struct parser *parser, struct specifiers *specifiers)
{
    const struct token *token = parse_token(parser);
    const struct keyword *keyword = parse_keyword(token);
    switch (keyword->keyword_class) {
    case KEYWORD_NOT:
        return typedef_name(parser, specifiers);
    case KEYWORD_STORAGE:
    case KEYWORD_LOCAL:
        return storage_class_specifier(parser, specifiers, keyword);
    case KEYWORD_FUNCTION:
        specifiers->is_inline = specifiers->is_inline || keyword->value;
        parser->at++;
        return 1;
    case KEYWORD_QUALIFIER:
        return type_qualifier(parser, specifiers, keyword->value);
    case KEYWORD_TYPE:
        return type_word(parser, specifiers, keyword->value);
    case KEYWORD_RECORD:
        return record_specifier(parser, specifiers, (enum type_kind)keyword->value);
    case KEYWORD_ENUM:
        return record_enum_specifier(parser, specifiers);
    case KEYWORD_TYPEOF:
        return typeof_specifier(parser, specifiers);
    case KEYWORD_COMPLEX:
        return parse_error(parser, token, "'%.*s' is not supported: use tw_complex or tw_complexf",
                           parse_shown(token), token->start);
    case KEYWORD_THREAD:
    case KEYWORD_EXTENSION:
        parser->at++;
        return 1;
    case KEYWORD_ATTRIBUTE:
    case KEYWORD_ALIGNAS:
        return attribute_read(parser, &specifiers->attributes) < 0 ? -1 : 1;
    default:
        return 0;
    }
}

/* ---- Specifiers: the whole ---- */

static int
refuse_no_type(struct parser *parser, const struct specifiers *specifiers)
{
    const struct token *token = parse_token(parser);
    if (specifiers->word != WORD_NONE) {
        return parse_unexpected(parser, specifiers->word == WORD_OUT ? "a type behind 'out'"
                                                                     : "a type behind 'inout'");
    }
    if (parse_is_name(token) && names_find(&parser->names, token) != NULL &&
        !parse_is(parse_ahead(parser, 1), "(")) {
        return parse_error(parser, token, "'%.*s' is not a type", parse_shown(token), token->start);
    }
    if (parse_is_name(token) && looks_like_macro(parser, token)) {
        return refuse_macro(parser, token);
    }
    if (parse_is_name(token)) {
        return parse_error(parser, token, "'%.*s' has no type: C99 has no implicit int",
                           parse_shown(token), token->start);
    }
    return parse_unexpected(parser, "a type");
}

/* What the words of C99 6.7.2 paragraph 2 mean. `int` is left out where it says nothing. */
static const struct {
    unsigned words;
    int basic; /* -1: void */
} spelled_types[] = {
    {TYPE_WORD_VOID, -1},
    {TYPE_WORD_BOOL, BASIC_BOOL},
    {TYPE_WORD_CHAR, BASIC_CHAR},
    {TYPE_WORD_SIGNED | TYPE_WORD_CHAR, BASIC_SCHAR},
    {TYPE_WORD_UNSIGNED | TYPE_WORD_CHAR, BASIC_UCHAR},
    {TYPE_WORD_SHORT, BASIC_SHORT},
    {TYPE_WORD_SIGNED | TYPE_WORD_SHORT, BASIC_SHORT},
    {TYPE_WORD_UNSIGNED | TYPE_WORD_SHORT, BASIC_USHORT},
    {TYPE_WORD_INT, BASIC_INT},
    {TYPE_WORD_SIGNED, BASIC_INT},
    {TYPE_WORD_UNSIGNED, BASIC_UINT},
    {TYPE_WORD_LONG, BASIC_LONG},
    {TYPE_WORD_SIGNED | TYPE_WORD_LONG, BASIC_LONG},
    {TYPE_WORD_UNSIGNED | TYPE_WORD_LONG, BASIC_ULONG},
    {TYPE_WORD_LONGLONG, BASIC_LONGLONG},
    {TYPE_WORD_SIGNED | TYPE_WORD_LONGLONG, BASIC_LONGLONG},
    {TYPE_WORD_UNSIGNED | TYPE_WORD_LONGLONG, BASIC_ULONGLONG},
    {TYPE_WORD_FLOAT, BASIC_FLOAT},
    {TYPE_WORD_DOUBLE, BASIC_DOUBLE},
    {TYPE_WORD_LONG | TYPE_WORD_DOUBLE, BASIC_LONGDOUBLE},
};

/* type-specifier: the words together. */
static const struct type *
spelled_type(struct parser *parser, const struct specifiers *specifiers)
{
    const unsigned integers = TYPE_WORD_SHORT | TYPE_WORD_LONG | TYPE_WORD_LONGLONG |
                              TYPE_WORD_SIGNED | TYPE_WORD_UNSIGNED;
    const unsigned others = TYPE_WORD_CHAR | TYPE_WORD_DOUBLE;
    unsigned words = specifiers->words;
    if (words & integers && !(words & others)) {
        words &= ~(unsigned)TYPE_WORD_INT;
    }
    for (size_t i = 0; i < sizeof(spelled_types) / sizeof(spelled_types[0]); i++) {
        if (spelled_types[i].words == words) {
            return spelled_types[i].basic < 0
                       ? type_make(parser, TYPE_VOID, NULL)
                       : make_basic(parser, (enum basic_type)spelled_types[i].basic);
        }
    }
    refuse_tokens(parser, specifiers->type_token, specifiers->first, parse_last(parser),
                  "is not a type");
    return NULL;
}

/* declaration-specifiers:
 *     storage-class-specifier declaration-specifiers(opt)
 *     type-specifier declaration-specifiers(opt)
 *     type-qualifier declaration-specifiers(opt)
 *     function-specifier declaration-specifiers(opt)
 */
int
declaration_specifiers(struct parser *parser, struct specifiers *specifiers)
{
    specifiers->first = parse_token(parser);
    int taken;
    do {
        taken = declaration_specifier(parser, specifiers);
    } while (taken > 0);
    if (taken < 0) {
        return -1;
    }
    if (specifiers->type == NULL && specifiers->words == 0) {
        return refuse_no_type(parser, specifiers);
    }
    if (specifiers->words != 0) {
        specifiers->type = spelled_type(parser, specifiers);
    }
    if (specifiers->type == NULL) {
        return -1;
    }
    specifiers->type = type_qualify(parser, specifiers->type, specifiers->qualifiers);
    return specifiers->type == NULL ? -1 : 0;
}

/* ---- Declarators: their parts ---- */

static int
refuse_depth(struct parser *parser, const struct token *token)
{
    return parse_error(parser, token, "nested too deeply: more than %d types one in another",
                       CHECK_DEPTH);
}

static struct part *
make_part(struct parser *parser, struct declarator *declarator, enum type_kind kind)
{
    if (++declarator->count > CHECK_DEPTH) {
        refuse_depth(parser, parse_token(parser));
        return NULL;
    }
    struct part *part = parse_allocate(parser, sizeof(*part));
    if (part != NULL) {
        part->type.kind = kind;
    }
    return part;
}

static void
append_part(struct declarator *declarator, struct part *part)
{
    *declarator->end = part;
    declarator->end = &part->outer;
}

/* What the type is made of cannot be that. */
static const char *
contradiction(const struct type *type)
{
    enum type_kind target = type->target->kind;
    if (type->kind == TYPE_FUNCTION && target == TYPE_ARRAY) {
        return "returns an array";
    }
    if (type->kind == TYPE_FUNCTION && target == TYPE_FUNCTION) {
        return "returns a function";
    }
    if (type->kind == TYPE_ARRAY && target == TYPE_FUNCTION) {
        return "is an array of functions";
    }
    if (type->kind == TYPE_ARRAY && target == TYPE_VOID) {
        return "is an array of void";
    }
    return NULL;
}

static long
weight_of(const struct type *type)
{
    long weight = type->target->weight + 1;
    for (size_t i = 0; i < type->parameter_count; i++) {
        weight += type->parameters[i].type->weight + 1;
    }
    return weight;
}

static int
depth_of(const struct type *type)
{
    int depth = type->target->depth;
    for (size_t i = 0; i < type->parameter_count; i++) {
        int other = type->parameters[i].type->depth;
        depth = other > depth ? other : depth;
    }
    return depth + 1;
}

/* Gives the part, and those outside of it first, its target. There are at most CHECK_DEPTH. */
static int
finish_part(struct parser *parser, struct part *part, const struct declarator *declarator,
            const struct type *type)
{
    if (part->outer == NULL) {
        part->type.target = type;
    }
    else {
        if (finish_part(parser, part->outer, declarator, type) < 0) {
            return -1;
        }
        part->type.target = &part->outer->type;
    }
    const struct token *place = declarator->name != NULL ? declarator->name : parse_last(parser);
    const char *wrong = contradiction(&part->type);
    if (wrong != NULL) {
        return parse_error(parser, place, "'%.*s' %s", parse_shown(place), place->start, wrong);
    }
    part->type.depth = depth_of(&part->type);
    part->type.weight = weight_of(&part->type);
    if (part->type.weight > TYPE_WEIGHT) {
        return parse_error(parser, place, "a type made of more than %d others", TYPE_WEIGHT);
    }
    return part->type.depth > CHECK_DEPTH ? refuse_depth(parser, place) : 0;
}

/* Puts the parts and the type in front together. */
int
declarator_finish(struct parser *parser, struct declarator *declarator, const struct type *type)
{
    declarator->last = parse_last(parser);
    declarator->type = type;
    if (declarator->parts == NULL) {
        return 0;
    }
    declarator->type = &declarator->parts->type;
    return finish_part(parser, declarator->parts, declarator, type);
}

/* ---- Declarators: parameters ---- */

/* parameter-declaration:
 *     declaration-specifiers declarator
 *     declaration-specifiers abstract-declarator(opt)
 */
static int
parameter_declaration(struct parser *parser, struct parameter *parameter)
{
    struct specifiers specifiers = {.context = CONTEXT_PARAMETER};
    struct declarator either = {.context = CONTEXT_PARAMETER};
    if (declaration_specifiers(parser, &specifiers) < 0 || declarator_read(parser, &either) < 0 ||
        declarator_finish(parser, &either, specifiers.type) < 0) {
        return -1;
    }
    attribute_skip(parser);
    *parameter = (struct parameter){
        .name = either.name,
        .first = specifiers.first,
        .last = either.last,
        .type = either.type,
        .word = specifiers.word,
        .word_token = specifiers.word_token,
    };
    if (either.name == NULL) {
        return 0;
    }
    return names_declare(parser, &parser->names, ENTITY_ORDINARY, either.name) == NULL ? -1 : 0;
}

/* A lone `void` stands for no parameters; elsewhere there is no void parameter. */
static int
settle_void(struct parser *parser, struct type *type)
{
    const struct parameter *only = &type->parameters[0];
    if (type->parameter_count == 1 && !type->variadic && only->type->kind == TYPE_VOID &&
        only->name == NULL && only->type->qualifiers == 0 && only->word == WORD_NONE) {
        type->parameter_count = 0;
        return 0;
    }
    for (size_t i = 0; i < type->parameter_count; i++) {
        const struct parameter *parameter = &type->parameters[i];
        if (parameter->type->kind == TYPE_VOID) {
            return parse_error(parser, parameter->first, "parameter %zu has the type void", i + 1);
        }
    }
    return 0;
}

/* parameter-list:
 *     parameter-declaration
 *     parameter-list , parameter-declaration
 */
static int
parameter_list(struct parser *parser, struct type *type)
{
    struct parameter *items = NULL;
    size_t capacity = 0;
    do {
        if (type->parameter_count > 0 && parse_accept(parser, "...")) {
            type->variadic = true;
            break;
        }
        items = parse_grow(parser, items, type->parameter_count, &capacity, sizeof(*items));
        if (items == NULL || parameter_declaration(parser, &items[type->parameter_count]) < 0) {
            return -1;
        }
        type->parameters = items;
        type->parameter_count++;
    } while (parse_accept(parser, ","));
    return settle_void(parser, type);
}

/* parameter-type-list:
 *     parameter-list
 *     parameter-list , ...
 */
static int
parameter_type_list(struct parser *parser, struct type *type)
{
    parser->at++;
    if (parse_accept(parser, ")")) {
        type->no_prototype = true;
        return 0;
    }
    names_enter(&parser->names);
    names_enter(&parser->inner_tags);
    int result = parameter_list(parser, type);
    names_leave(&parser->inner_tags);
    names_leave(&parser->names);
    if (result < 0 || parse_accept(parser, ")")) {
        return result;
    }
    return parse_unexpected(parser, type->variadic ? "')'" : "',' or ')'");
}

/* ---- Declarators: arrays ---- */

/* Reads `static` and the qualifiers between [ and the extent. */
static void
array_words(struct parser *parser, struct type *type)
{
    for (;; parser->at++) {
        const struct keyword *keyword = parse_keyword(parse_token(parser));
        if (keyword->keyword_class == KEYWORD_QUALIFIER) {
            type->qualifiers |= keyword->value;
        }
        else if (keyword->keyword_class == KEYWORD_STORAGE && keyword->value == STORAGE_STATIC) {
            type->is_static = true;
        }
        else {
            return;
        }
    }
}

static const struct expression *
star_extent(struct parser *parser)
{
    struct expression *expression = parse_allocate(parser, sizeof(*expression));
    if (expression != NULL) {
        expression->kind = EXPRESSION_STAR;
        expression->first = expression->last = parse_token(parser);
        parser->at++;
    }
    return expression;
}

/* direct-declarator, behind its direct-declarator:
 *     [ type-qualifier-list(opt) assignment-expression(opt) ]
 *     [ static type-qualifier-list(opt) assignment-expression ]
 *     [ type-qualifier-list static assignment-expression ]
 *     [ type-qualifier-list(opt) * ]
 */
static int
array_suffix(struct parser *parser, struct type *type)
{
    parser->at++;
    array_words(parser, type);
    if (!parse_at(parser, "]")) {
        bool star = parse_at(parser, "*") && parse_is(parse_ahead(parser, 1), "]");
        type->extent = star ? star_extent(parser) : expression_parse(parser);
        if (type->extent == NULL) {
            return -1;
        }
    }
    return parse_expect(parser, "]");
}

/* ---- Declarators: the whole ---- */

/* Attributes before a declarator's end. To what of it they apply is not looked into. */
static void
inner_attributes(struct parser *parser, struct declarator *declarator)
{
    size_t start = parser->at;
    attribute_skip(parser);
    declarator->attributes.strange |= parser->at > start;
}

/* direct-declarator, behind its direct-declarator:
 *     [ ... ]
 *     ( parameter-type-list(opt) )
 */
static int
declarator_suffixes(struct parser *parser, struct declarator *declarator)
{
    for (;;) {
        bool is_array = parse_at(parser, "[");
        if (!is_array && !parse_at(parser, "(")) {
            return 0;
        }
        struct part *part = make_part(parser, declarator, is_array ? TYPE_ARRAY : TYPE_FUNCTION);
        if (part == NULL) {
            return -1;
        }
        append_part(declarator, part);
        int result =
            is_array ? array_suffix(parser, &part->type) : parameter_type_list(parser, &part->type);
        if (result < 0) {
            return -1;
        }
    }
}

/* Whether ( encloses a declarator. Else it opens the parameters of a function without a name: what follows is
 * empty or starts with a type, and a name that can be either is a type (6.7.5.3 paragraph 11). */
static int
encloses_declarator(struct parser *parser, enum context context)
{
    size_t start = parser->at;
    parser->at++;
    attribute_skip(parser);
    const struct token *inner = parse_token(parser);
    bool word = find_word(inner) != WORD_NONE && parse_ahead(parser, 1)->kind == TOKEN_IDENTIFIER;
    parser->at = start;
    if (context == CONTEXT_FILE || context == CONTEXT_MEMBER) {
        return 1;
    }
    if (!parse_is_name(inner)) {
        return !parse_is(inner, ")") && !token_is(inner, "...") &&
               !parse_is_specifier(parse_keyword(inner));
    }
    const struct entity *entity;
    int found = declaration_find_type(parser, inner, &entity);
    return found < 0 ? -1 : !found && !word;
}

/* direct-declarator:
 *     identifier
 *     ( declarator )
 *     direct-declarator [ ... ]
 *     direct-declarator ( parameter-type-list )
 * direct-abstract-declarator: alike, without the identifier
 */
static int
direct_declarator(struct parser *parser, struct declarator *inner)
{
    inner_attributes(parser, inner);
    int encloses = parse_at(parser, "(") ? encloses_declarator(parser, inner->context) : 0;
    if (encloses < 0) {
        return -1;
    }
    if (encloses) {
        parser->at++;
        inner_attributes(parser, inner);
        if (declarator_read(parser, inner) < 0 || parse_expect(parser, ")") < 0) {
            return -1;
        }
    }
    else if (parse_is_name(parse_token(parser)) && inner->context != CONTEXT_TYPE_NAME) {
        inner->name = parse_token(parser);
        parser->at++;
    }
    else if (inner->context == CONTEXT_FILE || inner->context == CONTEXT_MEMBER) {
        return parse_unexpected(parser, "a name");
    }
    return declarator_suffixes(parser, inner);
}

/* type-qualifier-list:
 *     type-qualifier
 *     type-qualifier-list type-qualifier
 */
static unsigned
type_qualifier_list(struct parser *parser, struct declarator *declarator)
{
    unsigned qualifiers = 0;
    for (;;) {
        inner_attributes(parser, declarator);
        const struct keyword *keyword = parse_keyword(parse_token(parser));
        if (keyword->keyword_class != KEYWORD_QUALIFIER) {
            return qualifiers;
        }
        qualifiers |= keyword->value;
        parser->at++;
    }
}

/* pointer:
 *     * type-qualifier-list(opt)
 *     * type-qualifier-list(opt) pointer
 * The last one is the nearest to the name.
 */
static int
pointer(struct parser *parser, struct declarator *declarator, struct part **pointers)
{
    while (parse_accept(parser, "*")) {
        struct part *part = make_part(parser, declarator, TYPE_POINTER);
        if (part == NULL) {
            return -1;
        }
        part->type.qualifiers = type_qualifier_list(parser, declarator);
        part->outer = *pointers;
        *pointers = part;
    }
    return 0;
}

/* declarator:
 *     pointer(opt) direct-declarator
 * abstract-declarator:
 *     pointer
 *     pointer(opt) direct-abstract-declarator
 */
int
declarator_read(struct parser *parser, struct declarator *declarator)
{
    if (declarator->end == NULL) {
        declarator->end = &declarator->parts;
    }
    struct part *pointers = NULL;
    if (pointer(parser, declarator, &pointers) < 0 || direct_declarator(parser, declarator) < 0) {
        return -1;
    }
    while (pointers != NULL) {
        struct part *outer = pointers->outer;
        append_part(declarator, pointers);
        pointers = outer;
    }
    return 0;
}

/* ---- Function definitions ---- */

/* struct, union or enum, and its tag. */
static void
skip_tag(struct parser *parser)
{
    parser->at++;
    attribute_skip(parser);
    parser->at += parse_is_name(parse_token(parser));
}

/* Whether what starts here is "type name(...) {"; moves on at least one token. */
static bool
skip_to_body(struct parser *parser, size_t end)
{
    bool parameters = false;
    bool tagged = false;
    while (parser->at < end) {
        const struct token *token = parse_token(parser);
        switch (parse_keyword(token)->keyword_class) {
        case KEYWORD_RECORD:
        case KEYWORD_ENUM:
            if (tagged) {
                return false;
            }
            tagged = true;
            skip_tag(parser);
            if (parse_at(parser, "{")) {
                parse_skip_group(parser);
            }
            break;
        case KEYWORD_NOT:
            if (parse_at(parser, "{")) {
                return parameters;
            }
            if (parse_at(parser, "(") || parse_at(parser, "[")) {
                parameters = parse_at(parser, "(");
                parse_skip_group(parser);
                break;
            }
            if (token->kind != TOKEN_IDENTIFIER && !token_is(token, "*")) {
                return false;
            }
            parser->at++;
            break;
        case KEYWORD_ATTRIBUTE:
        case KEYWORD_TYPEOF:
        case KEYWORD_ALIGNAS:
            parse_skip_keyword(parser);
            break;
        case KEYWORD_STATEMENT:
        case KEYWORD_OPERATOR:
            return false;
        default:
            parser->at++;
        }
    }
    return false;
}

/* Whether a statement that starts with the token is a declaration, as far as the token tells. */
static int
starts_declaration(struct parser *parser, const struct token *token)
{
    if (token->kind != TOKEN_IDENTIFIER) {
        return 0;
    }
    const struct keyword *keyword = parse_keyword(token);
    const struct entity *entity;
    return keyword->keyword_class != KEYWORD_NOT ? parse_is_specifier(keyword)
                                                 : declaration_find_type(parser, token, &entity);
}

/* compound-statement: read over; a function in it is refused. */
static int
function_body(struct parser *parser)
{
    size_t end = parser->partners[parser->at];
    for (size_t at = parser->at + 1; at < end; at++) {
        const struct token *token = &parser->unit->items[at];
        if (!parse_is(token - 1, "{") && !parse_is(token - 1, "}") && !token_is(token - 1, ";")) {
            continue;
        }
        int starts = starts_declaration(parser, token);
        if (starts < 0) {
            return -1;
        }
        parser->at = at;
        if (starts && skip_to_body(parser, end)) {
            return parse_error(parser, token, "a function inside a function is not C99");
        }
    }
    parser->at = end + 1;
    return 0;
}

/* identifier-list:
 *     identifier
 *     identifier-list , identifier
 */
static bool
is_identifier_list(const struct type *type)
{
    for (size_t i = 0; i < type->parameter_count; i++) {
        const struct parameter *parameter = &type->parameters[i];
        if (parameter->type->kind == TYPE_NAMED && parameter->name == NULL &&
            parameter->first == parameter->last && !token_is(parameter->first, "T")) {
            return true;
        }
    }
    return false;
}

/* function-definition:
 *     declaration-specifiers declarator declaration-list(opt) compound-statement
 * without the declaration-list of K&R. Returns 1; 0: it is none; -1.
 */
static int
function_definition(struct parser *parser, const struct specifiers *specifiers,
                    const struct declarator *declarator)
{
    const struct token *next = parse_token(parser);
    bool body = parse_at(parser, "{");
    if (declarator->parts == NULL || declarator->parts->type.kind != TYPE_FUNCTION ||
        (!body && next->kind != TOKEN_IDENTIFIER)) {
        return 0;
    }
    if (is_identifier_list(&declarator->parts->type)) {
        return refuse_tokens(parser, declarator->name, specifiers->first, declarator->last,
                             "is a K&R definition: give the types in the parameter list");
    }
    if (!body || specifiers->storage == STORAGE_TYPEDEF) {
        return 0;
    }
    struct declarations *declarations = parser->declarations;
    declarations->items[declarations->count - 1].is_definition = true;
    return function_body(parser) < 0 ? -1 : 1;
}

/* ---- Declarations ---- */

static int
declare(struct parser *parser, const struct specifiers *specifiers,
        const struct declarator *declarator)
{
    bool is_typedef = specifiers->storage == STORAGE_TYPEDEF;
    const struct entity *earlier = names_find(&parser->names, declarator->name);
    struct entity *entity = names_declare(
        parser, &parser->names, is_typedef ? ENTITY_TYPEDEF : ENTITY_ORDINARY, declarator->name);
    if (entity == NULL) {
        return -1;
    }
    entity->type = declarator->type;
    entity->type_variables = parser->met_variables;
    entity->is_static =
        specifiers->storage == STORAGE_STATIC || (earlier != NULL && earlier->is_static);
    if (declarator->type->kind == TYPE_FUNCTION && !is_typedef && !entity->is_static) {
        parser->declarations->type_variables |= parser->met_variables;
    }
    return 0;
}

/* In front of a declaration `out` says what a function returns. */
static int
check_word(struct parser *parser, const struct specifiers *specifiers,
           const struct declarator *declarator)
{
    if (specifiers->word == WORD_INOUT) {
        return parse_error(
            parser, specifiers->word_token,
            "'inout' in front of '%.*s': what a function returns is 'out' or nothing",
            parse_shown(declarator->name), declarator->name->start);
    }
    if (specifiers->word == WORD_OUT &&
        (declarator->type->kind != TYPE_FUNCTION || specifiers->storage == STORAGE_TYPEDEF)) {
        return parse_error(parser, specifiers->word_token,
                           "'out' in front of '%.*s', which is no function",
                           parse_shown(declarator->name), declarator->name->start);
    }
    return 0;
}

static int
append_declaration(struct parser *parser, const struct specifiers *specifiers,
                   const struct declarator *declarator)
{
    struct declarations *declarations = parser->declarations;
    if (check_word(parser, specifiers, declarator) < 0) {
        return -1;
    }
    struct declaration *items = parse_grow(parser, declarations->items, declarations->count,
                                           &parser->capacity, sizeof(*items));
    if (items == NULL) {
        return -1;
    }
    declarations->items = items;
    struct declaration *declaration = &items[declarations->count++];
    *declaration = (struct declaration){
        .storage = specifiers->storage,
        .is_inline = specifiers->is_inline,
        .name = declarator->name,
        .type = declarator->type,
        .first = specifiers->first,
        .last = declarator->last,
        .out = specifiers->word_token,
        .elements = -1,
    };
    if (!parser->is_prelude) {
        size_t index = (size_t)(specifiers->first - parser->unit->items);
        comment_find(&parser->walk, parser->unit->from[index], declaration);
    }
    return declare(parser, specifiers, declarator);
}

/* From { to behind its }. Returns how many items stand in it; -1: [3] = or .name = says where some go. */
static long long
skip_items(struct parser *parser)
{
    size_t end = parser->partners[parser->at];
    long long count = 0;
    bool designated = false, begins = true;
    for (parser->at++; parser->at < end;) {
        designated |= begins && (parse_at(parser, "[") || parse_at(parser, "."));
        count += begins;
        begins = parse_at(parser, ",");
        if (parser->partners[parser->at] > parser->at) {
            parse_skip_group(parser);
        }
        else {
            parser->at++;
        }
    }
    parser->at = end + 1;
    return designated ? -1 : count;
}

/* The strings' characters, and the NUL behind them. */
static long long
skip_strings(struct parser *parser)
{
    struct buffer bytes = BUFFER_INIT;
    bool bad = false;
    for (; parse_token(parser)->kind == TOKEN_STRING; parser->at++) {
        bad = bad || literal_string(parse_token(parser), &bytes) < 0;
    }
    long long count = bad || bytes.failed ? -1 : (long long)bytes.size + 1;
    buffer_free(&bytes);
    return count;
}

/* How many elements the initializer gives an array without a length; -1: not known. Reads over a part of it. */
static long long
count_elements(struct parser *parser, const struct type *type)
{
    if (type->kind != TYPE_ARRAY || type->extent != NULL) {
        return -1;
    }
    const struct type *element = type->target;
    bool is_character = element->kind == TYPE_BASIC &&
                        (element->basic == BASIC_CHAR || element->basic == BASIC_SCHAR ||
                         element->basic == BASIC_UCHAR);
    const struct token *inner = parse_ahead(parser, 1);
    if (is_character && parse_token(parser)->kind == TOKEN_STRING) {
        return skip_strings(parser);
    }
    /* items without braces of their own fill several elements, or a part of one */
    bool plain = element->kind == TYPE_BASIC || element->kind == TYPE_POINTER ||
                 element->kind == TYPE_ENUM || parse_is(inner, "{");
    if (!parse_at(parser, "{") || !plain || (is_character && inner->kind == TOKEN_STRING)) {
        return -1;
    }
    return skip_items(parser);
}

/* initializer:
 *     assignment-expression
 *     { initializer-list }
 *     { initializer-list , }
 */
static int
initializer(struct parser *parser)
{
    struct declarations *declarations = parser->declarations;
    struct declaration *declaration = &declarations->items[declarations->count - 1];
    if (parse_at(parser, ",") || parse_at(parser, ";")) {
        return parse_unexpected(parser, "an initializer");
    }
    declaration->has_initializer = true;
    declaration->elements = count_elements(parser, declaration->type);
    while (!parse_at(parser, ",") && !parse_at(parser, ";")) {
        const struct token *token = parse_token(parser);
        if (token->kind == TOKEN_END) {
            return parse_unexpected(parser, "';'");
        }
        if (parser->partners[parser->at] > parser->at) {
            parse_skip_group(parser);
        }
        else {
            parser->at++;
        }
        declaration->elements = -1; /* more than the braces or the strings */
    }
    return 0;
}

/* What may stand behind a declarator, in GNU C:
 *     asm ( string-literal )
 *     attribute
 */
static int
label_and_attributes(struct parser *parser, const struct specifiers *specifiers,
                     struct declarator *declarator)
{
    struct attributes attributes = specifiers->attributes;
    if (attribute_read(parser, &attributes) < 0) {
        return -1;
    }
    if (parse_keyword(parse_token(parser))->keyword_class == KEYWORD_ASM) {
        parse_skip_keyword(parser);
        if (attribute_read(parser, &attributes) < 0) {
            return -1;
        }
    }
    declarator->type = attribute_apply(parser, declarator->type, &attributes, declarator->name);
    return declarator->type == NULL ? -1 : 0;
}

/* init-declarator:
 *     declarator
 *     declarator = initializer
 */
static int
init_declarator(struct parser *parser, const struct specifiers *specifiers,
                struct declarator *inner)
{
    *inner = (struct declarator){.context = CONTEXT_FILE};
    if (declarator_read(parser, inner) < 0 ||
        declarator_finish(parser, inner, specifiers->type) < 0 ||
        label_and_attributes(parser, specifiers, inner) < 0 ||
        append_declaration(parser, specifiers, inner) < 0) {
        return -1;
    }
    return parse_accept(parser, "=") ? initializer(parser) : 0;
}

/* init-declarator-list:
 *     init-declarator
 *     init-declarator-list , init-declarator
 * or the declarator and the body of a function-definition.
 */
static int
init_declarator_list(struct parser *parser, const struct specifiers *specifiers)
{
    struct declarator first;
    if (init_declarator(parser, specifiers, &first) < 0) {
        return -1;
    }
    int definition = function_definition(parser, specifiers, &first);
    if (definition != 0) {
        return definition < 0 ? -1 : 0;
    }
    while (parse_accept(parser, ",")) {
        struct declarator next;
        if (init_declarator(parser, specifiers, &next) < 0) {
            return -1;
        }
    }
    return parse_expect(parser, ";");
}

/* declaration:
 *     declaration-specifiers init-declarator-list(opt) ;
 */
static int
declaration(struct parser *parser)
{
    struct specifiers specifiers = {.context = CONTEXT_FILE};
    parser->met_variables = 0;
    if (declaration_specifiers(parser, &specifiers) < 0) {
        return -1;
    }
    return parse_accept(parser, ";") ? 0 : init_declarator_list(parser, &specifiers);
}

/* external-declaration:
 *     function-definition
 *     declaration
 *     ;                              GNU C
 *     asm ( string-literal ) ;       GNU C
 *     static_assert-declaration      C11
 */
static int
external_declaration(struct parser *parser)
{
    switch (parse_keyword(parse_token(parser))->keyword_class) {
    case KEYWORD_ASM:
    case KEYWORD_ASSERT:
        parse_skip_keyword(parser);
        return parse_expect(parser, ";");
    default:
        return parse_accept(parser, ";") ? 0 : declaration(parser);
    }
}

/* ---- What the system's headers have beyond us ---- */

static bool
is_system(const struct parser *parser, size_t at)
{
    const struct source *from = parser->unit->from[at];
    return from != NULL && from->system;
}

/* Forgets what was begun. */
static void
leave_scopes(struct parser *parser)
{
    while (parser->names.scope > 0) {
        names_leave(&parser->names);
    }
    while (parser->inner_tags.scope > 0) {
        names_leave(&parser->inner_tags);
    }
    parser->expressions = parser->operators = 0;
}

/* Behind the declaration that starts at `start`: its ; or its body. */
static void
skip_declaration(struct parser *parser, size_t start)
{
    bool body = false;
    parser->at = start;
    while (parse_token(parser)->kind != TOKEN_END && !body && is_system(parser, parser->at)) {
        if (parse_accept(parser, ";")) {
            return;
        }
        body = parse_at(parser, "{") && (parser->at == start || parse_is(parse_last(parser), ")"));
        if (parser->partners[parser->at] > parser->at) {
            parse_skip_group(parser);
        }
        else {
            parser->at++;
        }
    }
}

/* What cannot be read is passed over where it stands in a header of the system's. Returns 0, or -1 where it does not,
 * or memory is out. */
static int
pass_over(struct parser *parser, size_t start)
{
    if (parser->is_prelude || parser->spot->message[0] == '\0' || !is_system(parser, start)) {
        return -1;
    }
    parser->spot->message[0] = '\0';
    leave_scopes(parser);
    skip_declaration(parser, start);
    return 0;
}

/* translation-unit:
 *     external-declaration
 *     translation-unit external-declaration
 */
static int
translation_unit(struct parser *parser)
{
    while (parse_token(parser)->kind != TOKEN_END) {
        size_t start = parser->at;
        if (external_declaration(parser) < 0 && pass_over(parser, start) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- The whole unit ---- */

enum { UNIT_BUCKETS = 512, PRELUDE_BUCKETS = 64 };

static int
start_names(struct parser *parser, size_t bucket_count)
{
    return names_start(parser, &parser->names, bucket_count) < 0 ||
                   names_start(parser, &parser->tags, bucket_count) < 0 ||
                   names_start(parser, &parser->inner_tags, 8) < 0
               ? -1
               : 0;
}

/* The names of type variables that the unit declares itself. */
static unsigned
declared_variables(const struct parser *parser)
{
    unsigned variables = 0;
    for (int i = 0; i < TYPE_VARIABLES; i++) {
        const struct token name = {
            .kind = TOKEN_IDENTIFIER, .start = &TYPE_VARIABLE_NAMES[i], .length = 1};
        variables |= names_find(&parser->names, &name) != NULL ? 1u << i : 0;
    }
    return variables;
}

static int
read_unit(const struct expanded *unit, bool is_declare, struct declarations *declarations,
          struct spot *spot)
{
    *declarations = (struct declarations){.items = NULL};
    struct names prelude;
    struct parser parser = {.unit = unit,
                            .prelude = &prelude,
                            .is_declare = is_declare,
                            .declarations = declarations,
                            .spot = spot};
    if (start_names(&parser, UNIT_BUCKETS) < 0 ||
        names_start(&parser, &prelude, PRELUDE_BUCKETS) < 0 || parse_start(&parser) < 0 ||
        translation_unit(&parser) < 0 || constant_read_macros(&parser) < 0) {
        return -1;
    }
    declarations->type_variables &= ~declared_variables(&parser);
    return 0;
}

int
declarations_read(const struct expanded *unit, struct declarations *declarations, struct spot *spot)
{
    return read_unit(unit, false, declarations, spot);
}

int
declarations_read_declare(const struct expanded *unit, struct declarations *declarations,
                          struct spot *spot)
{
    return read_unit(unit, true, declarations, spot);
}

void
declarations_free(struct declarations *declarations)
{
    arena_free(&declarations->arena);
}

/* expand.c: macros, and the tokens they expand to (C99 6.10.3).
 *
 * What is still to be read is a stack of contexts: the expansion of a macro lies on top of what follows its
 * call. While a macro's context is there, its name is not expanded, and stays so for good:
 *
 *   #define f(x) x + f
 *   f(1)(2)          1 + f(2)
 */
#include "expand.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../buffer.h"

enum { BUCKETS_START = 256, HASH_BYTES = 64 };
/* What a token's spelling costs of EXPAND_TOKENS: one more for so many bytes. */
enum { COST_BYTES = 128 };
/* C99 asks for 127. */
enum { PARAMETER_LIMIT = 256 };

enum macro_kind { MACRO_OBJECT, MACRO_FUNCTION, MACRO_LINE, MACRO_FILE, MACRO_COUNTER };

/* A token of a macro's body. */
struct part {
    struct item item;
    int parameter; /* its number; -1: none */
    bool stringify;
    bool paste; /* ## follows */
};

struct macro {
    struct macro *next; /* in its bucket */
    const char *name;   /* without line continuations */
    size_t hash;
    struct token token;          /* its name as it stands */
    const struct source *source; /* NULL: libtcc's own */
    size_t number;               /* of its #define */
    enum macro_kind kind;
    bool variadic; /* the last parameter takes all that is left */
    bool disabled; /* its expansion is being read */
    int parameter_count;
    struct part *parts;
    size_t part_count;
};

struct argument {
    size_t start, count; /* its tokens in arguments.items */
    bool expanded;
    struct items expansion;
};

struct arguments {
    struct items items; /* all, from ( to ) */
    struct argument *list;
    size_t count; /* found; the list has room for the macro's */
};

/* ---- Lists of tokens ---- */

/* Appends; counts nothing. Returns 0, or -1: no memory. */
static int
items_append(struct items *items, const struct item *added, size_t count)
{
    if (items->capacity - items->count < count) {
        size_t capacity = items->capacity ? 2 * items->capacity : 8;
        capacity = capacity < items->count + count ? items->count + count : capacity;
        struct item *data = realloc(items->data, capacity * sizeof(*data));
        if (data == NULL) {
            return -1;
        }
        items->data = data;
        items->capacity = capacity;
    }
    if (count > 0) {
        memcpy(items->data + items->count, added, count * sizeof(*added));
        items->count += count;
    }
    return 0;
}

/* ---- Limits ---- */

int
expander_fail(struct expander *expander, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(expander->failure, sizeof(expander->failure), format, arguments);
    va_end(arguments);
    return -1;
}

int
expander_spend(struct expander *expander, size_t count)
{
    expander->spent += count;
    if (expander->spent > EXPAND_TOKENS) {
        return expander_fail(expander,
                             "macros and headers included again expand to more than %d tokens",
                             EXPAND_TOKENS);
    }
    return 0;
}

/* What copying an operand counts as; an empty one takes time too. */
static size_t
cost_of(const struct item *items, size_t count)
{
    size_t cost = count + (count == 0);
    for (size_t i = 0; i < count; i++) {
        cost += items[i].token.length / COST_BYTES;
    }
    return cost;
}

/* Memory that the output's tokens may point to. */
static char *
take_text(struct expander *expander, size_t size)
{
    expander->spelled += size;
    if (expander->spelled > EXPAND_BYTES) {
        expander_fail(expander, "# and ## in macros spell more than %d bytes", EXPAND_BYTES);
        return NULL;
    }
    return arena_take(expander->arena, size);
}

/* ---- The table of macros ---- */

/* Whether the byte belongs to a line continuation: nothing else has it in an identifier. */
static bool
is_continuation(char c)
{
    return c == '\\' || c == '\r' || c == '\n';
}

/* Of the first bytes only: a long name may be met often. */
static size_t
hash_token(const struct token *token)
{
    size_t hash = 14695981039346656037u; /* FNV-1a */
    size_t hashed = 0;
    for (size_t i = 0; i < token->length && hashed < HASH_BYTES; i++) {
        if (!is_continuation(token->start[i])) {
            hash = (hash ^ (unsigned char)token->start[i]) * 1099511628211u;
            hashed++;
        }
    }
    return hash;
}

static struct macro **
find_link(const struct expander *expander, const struct token *name, size_t hash)
{
    struct macro **link = &expander->buckets[hash & (expander->bucket_count - 1)];
    while (*link != NULL && ((*link)->hash != hash || !token_is(name, (*link)->name))) {
        link = &(*link)->next;
    }
    return link;
}

static struct macro *
find_macro(const struct expander *expander, const struct token *name)
{
    if (name->kind != TOKEN_IDENTIFIER) {
        return NULL;
    }
    return *find_link(expander, name, hash_token(name));
}

bool
expander_is_defined(const struct expander *expander, const struct token *name)
{
    return find_macro(expander, name) != NULL;
}

void
expander_undefine(struct expander *expander, const struct token *name)
{
    struct macro **link = find_link(expander, name, hash_token(name));
    if (*link != NULL) {
        *link = (*link)->next;
        expander->macro_count--;
    }
}

static void
grow_buckets(struct expander *expander)
{
    size_t count = 2 * expander->bucket_count;
    struct macro **buckets = calloc(count, sizeof(struct macro *));
    if (buckets == NULL) {
        return; /* the old ones still do */
    }
    for (size_t i = 0; i < expander->bucket_count; i++) {
        for (struct macro *macro = expander->buckets[i], *next; macro != NULL; macro = next) {
            next = macro->next;
            struct macro **bucket = &buckets[macro->hash & (count - 1)];
            macro->next = *bucket;
            *bucket = macro;
        }
    }
    free(expander->buckets);
    expander->buckets = buckets;
    expander->bucket_count = count;
}

/* Puts a macro into the table, in the place of one of that name. */
static void
insert_macro(struct expander *expander, struct macro *macro, const struct token *name)
{
    expander_undefine(expander, name);
    if (expander->macro_count >= expander->bucket_count) {
        grow_buckets(expander);
    }
    macro->hash = hash_token(name);
    struct macro **bucket = &expander->buckets[macro->hash & (expander->bucket_count - 1)];
    macro->next = *bucket;
    *bucket = macro;
    expander->macro_count++;
}

static struct macro *
make_macro(struct expander *expander, const struct token *name, size_t part_count)
{
    struct macro *macro = arena_take(&expander->scratch, sizeof(*macro));
    char *text = arena_take(&expander->scratch, name->length + 1);
    struct part *parts = arena_take(&expander->scratch, part_count * sizeof(*parts));
    if (macro == NULL || text == NULL || parts == NULL) {
        return NULL;
    }
    text[token_spell(name, text)] = '\0';
    *macro = (struct macro){.name = text,
                            .token = *name,
                            .source = expander->source,
                            .number = expander->defined++,
                            .parts = parts};
    return macro;
}

/* __LINE__ and the like. */
static int
define_special(struct expander *expander, const char *name, enum macro_kind kind)
{
    struct token token = {.kind = TOKEN_IDENTIFIER, .start = name, .length = strlen(name)};
    struct macro *macro = make_macro(expander, &token, 0);
    if (macro == NULL) {
        return -1;
    }
    macro->kind = kind;
    insert_macro(expander, macro, &token);
    return 0;
}

int
expander_start(struct expander *expander)
{
    *expander = (struct expander){.bucket_count = BUCKETS_START};
    expander->buckets = calloc(BUCKETS_START, sizeof(struct macro *));
    if (expander->buckets == NULL || define_special(expander, "__LINE__", MACRO_LINE) < 0 ||
        define_special(expander, "__FILE__", MACRO_FILE) < 0 ||
        define_special(expander, "__COUNTER__", MACRO_COUNTER) < 0) {
        return -1;
    }
    return 0;
}

static int
compare_numbers(const void *a, const void *b)
{
    const struct object_macro *first = a, *second = b;
    return (first->number > second->number) - (first->number < second->number);
}

int
expander_list(const struct expander *expander, struct object_macro **macros, size_t *count)
{
    *count = 0;
    *macros = malloc((expander->macro_count + 1) * sizeof(**macros));
    if (*macros == NULL) {
        return -1;
    }
    for (size_t i = 0; i < expander->bucket_count; i++) {
        for (const struct macro *macro = expander->buckets[i]; macro != NULL; macro = macro->next) {
            if (macro->kind == MACRO_OBJECT && macro->source != NULL && macro->part_count > 0) {
                (*macros)[(*count)++] =
                    (struct object_macro){macro->token, macro->source, macro->number};
            }
        }
    }
    qsort(*macros, *count, sizeof(**macros), compare_numbers);
    return 0;
}

/* ---- #define ---- */

/* A #define line as it is read. */
struct definition {
    const struct token *tokens;
    size_t count, at;
    const struct token *parameters; /* the first; they stand apart by a comma */
    struct macro *macro;
};

static bool
is_hash(const struct token *token)
{
    return token_is(token, "#") || token_is(token, "%:");
}

static bool
is_paste(const struct token *token)
{
    return token_is(token, "##") || token_is(token, "%:%:");
}

bool
expander_is_apart(const struct token *before, const struct token *token)
{
    const char *at = before->start + before->length;
    while (at < token->start) {
        /* only a line continuation is no white space: \, perhaps a carriage return, and the line's end */
        if (*at++ != '\\') {
            return true;
        }
        at += *at == '\r';
        at++;
    }
    return false;
}

/* Whether two identifiers are the same. */
static bool
same_name(const struct token *a, const struct token *b)
{
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a->length && is_continuation(a->start[i])) {
            i++;
        }
        while (j < b->length && is_continuation(b->start[j])) {
            j++;
        }
        if (i == a->length || j == b->length) {
            return i == a->length && j == b->length;
        }
        if (a->start[i++] != b->start[j++]) {
            return false;
        }
    }
}

/* The number of a parameter; -1: none. */
static int
find_parameter(const struct definition *definition, const struct token *token)
{
    const struct macro *macro = definition->macro;
    if (macro->kind != MACRO_FUNCTION || token->kind != TOKEN_IDENTIFIER) {
        return -1;
    }
    for (int i = 0; i < macro->parameter_count; i++) {
        const struct token *parameter = &definition->parameters[2 * i];
        if (token_is(parameter, "...") ? token_is(token, "__VA_ARGS__")
                                       : same_name(parameter, token)) {
            return i;
        }
    }
    return -1;
}

static bool
skip(struct definition *definition, const char *text)
{
    if (definition->at < definition->count && token_is(&definition->tokens[definition->at], text)) {
        definition->at++;
        return true;
    }
    return false;
}

/* The parameters from behind the ( on: a, b, ...) or a, rest...). Returns false when malformed, or too
 * many. */
static bool
read_parameters(struct definition *definition)
{
    struct macro *macro = definition->macro;
    macro->kind = MACRO_FUNCTION;
    definition->parameters = definition->tokens + definition->at;
    if (skip(definition, ")")) {
        return true;
    }
    while (definition->at < definition->count && macro->parameter_count <= PARAMETER_LIMIT) {
        const struct token *token = &definition->tokens[definition->at];
        macro->variadic = skip(definition, "...");
        if (!macro->variadic) {
            if (token->kind != TOKEN_IDENTIFIER || find_parameter(definition, token) >= 0) {
                return false;
            }
            definition->at++;
            macro->variadic = skip(definition, "...");
        }
        macro->parameter_count++;
        if (skip(definition, ")")) {
            return true;
        }
        if (macro->variadic || !skip(definition, ",")) {
            return false;
        }
    }
    return false;
}

/* One token of the body, # and its parameter counted as one. Returns false when malformed. */
static bool
read_part(struct definition *definition)
{
    struct macro *macro = definition->macro;
    const struct token *token = &definition->tokens[definition->at];
    if (is_paste(token)) {
        if (macro->part_count == 0 || definition->at + 1 == definition->count) {
            return false;
        }
        macro->parts[macro->part_count - 1].paste = true;
        definition->at++;
        return true;
    }
    struct part part = {.item = {.token = *token}, .parameter = find_parameter(definition, token)};
    part.item.token.first = part.item.token.directive = false;
    part.item.space = macro->part_count > 0 && expander_is_apart(token - 1, token);
    if (macro->part_count > 0 && macro->parts[macro->part_count - 1].paste) {
        part.item.space = false;
    }
    if (macro->kind == MACRO_FUNCTION && is_hash(token) && definition->at + 1 < definition->count) {
        part.parameter = find_parameter(definition, token + 1);
        part.stringify = part.parameter >= 0;
        definition->at += part.stringify;
    }
    macro->parts[macro->part_count++] = part;
    definition->at++;
    return true;
}

int
expander_define(struct expander *expander, const struct token *tokens, size_t count)
{
    if (count == 0 || tokens->kind != TOKEN_IDENTIFIER || token_is(tokens, "defined")) {
        return 0;
    }
    struct definition definition = {.tokens = tokens, .count = count, .at = 1};
    definition.macro = make_macro(expander, tokens, count);
    if (definition.macro == NULL) {
        return -1;
    }
    if (count > 1 && token_is(tokens + 1, "(") && !expander_is_apart(tokens, tokens + 1)) {
        definition.at++;
        if (!read_parameters(&definition)) {
            return definition.macro->parameter_count <= PARAMETER_LIMIT
                       ? 0
                       : expander_fail(expander, "a macro has more than %d parameters",
                                       PARAMETER_LIMIT);
        }
    }
    while (definition.at < count) {
        if (!read_part(&definition)) {
            return 0;
        }
    }
    insert_macro(expander, definition.macro, tokens);
    return 0;
}

/* ---- Contexts ---- */

/* Takes the items over, also on failure. */
static int
push(struct expander *expander, struct items *items, struct macro *macro, bool barrier)
{
    if (expander->context_count == expander->context_capacity) {
        size_t capacity = expander->context_capacity ? 2 * expander->context_capacity : 16;
        struct context *contexts = realloc(expander->contexts, capacity * sizeof(*contexts));
        if (contexts == NULL) {
            free(items->data);
            return -1;
        }
        expander->contexts = contexts;
        expander->context_capacity = capacity;
    }
    expander->contexts[expander->context_count++] =
        (struct context){.items = *items, .macro = macro, .barrier = barrier};
    if (macro != NULL) {
        macro->disabled = true;
    }
    return 0;
}

static void
pop(struct expander *expander)
{
    struct context *context = &expander->contexts[--expander->context_count];
    if (context->macro != NULL) {
        context->macro->disabled = false;
    }
    free(context->items.data);
}

int
expander_raw(struct expander *expander, struct item *item)
{
    expander->inside = false;
    while (expander->context_count > 0) {
        struct context *context = &expander->contexts[expander->context_count - 1];
        if (context->at < context->items.count) {
            *item = context->items.data[context->at++];
            item->space |= expander->space;
            expander->space = false;
            expander->inside = true;
            return 1;
        }
        if (context->barrier) {
            return 0;
        }
        pop(expander);
    }
    int result = expander->feed.next(expander->feed.context, item);
    expander->inside = false;
    if (result > 0) {
        item->space |= expander->space;
        expander->space = false;
    }
    return result;
}

/* Whether the next token is a (. */
static bool
call_follows(const struct expander *expander)
{
    for (size_t i = expander->context_count; i-- > 0;) {
        const struct context *context = &expander->contexts[i];
        if (context->at < context->items.count) {
            return token_is(&context->items.data[context->at].token, "(");
        }
        if (context->barrier) {
            return false;
        }
    }
    return expander->feed.call_follows(expander->feed.context);
}

int
expander_enter(struct expander *expander, const struct token *tokens, size_t count)
{
    struct items items = {NULL, 0, 0};
    for (size_t i = 0; i < count; i++) {
        struct item item = {.token = tokens[i]};
        item.space = i > 0 && expander_is_apart(&tokens[i - 1], &tokens[i]);
        if (items_append(&items, &item, 1) < 0) {
            free(items.data);
            return -1;
        }
    }
    return push(expander, &items, NULL, true);
}

void
expander_leave(struct expander *expander)
{
    while (!expander->contexts[expander->context_count - 1].barrier) {
        pop(expander);
    }
    pop(expander);
    expander->space = false;
}

/* ---- Arguments ---- */

static void
arguments_free(struct arguments *arguments, const struct macro *macro)
{
    for (int i = 0; arguments->list != NULL && i < macro->parameter_count; i++) {
        free(arguments->list[i].expansion.data);
    }
    free(arguments->list);
    free(arguments->items.data);
}

/* Begins the next argument behind the token that is about to be appended. */
static void
open_argument(struct arguments *arguments, const struct macro *macro)
{
    if (arguments->count < (size_t)macro->parameter_count) {
        arguments->list[arguments->count].start = arguments->items.count + 1;
    }
    arguments->count++;
}

static void
close_argument(struct arguments *arguments, const struct macro *macro)
{
    if (arguments->count <= (size_t)macro->parameter_count) {
        struct argument *argument = &arguments->list[arguments->count - 1];
        argument->count = arguments->items.count - argument->start;
    }
}

/* Follows a token that is about to be appended. */
static void
note_argument(struct arguments *arguments, const struct macro *macro, const struct token *token,
              int *depth)
{
    bool last = macro->variadic && arguments->count == (size_t)macro->parameter_count;
    if (token_is(token, "(")) {
        if (++*depth == 1) {
            open_argument(arguments, macro);
        }
    }
    else if (token_is(token, ")")) {
        if (--*depth == 0) {
            close_argument(arguments, macro);
        }
    }
    else if (*depth == 1 && !last && token_is(token, ",")) {
        close_argument(arguments, macro);
        open_argument(arguments, macro);
    }
}

/* Reads from the ( to its ). Returns 1; 0 when it never comes; -1. */
static int
read_arguments(struct expander *expander, struct macro *macro, struct arguments *arguments)
{
    arguments->list = calloc((size_t)macro->parameter_count + 1, sizeof(*arguments->list));
    if (arguments->list == NULL) {
        return -1;
    }
    int depth = 0;
    do {
        struct item item;
        int result = expander_raw(expander, &item);
        if (result <= 0) {
            return result;
        }
        const struct macro *named = find_macro(expander, &item.token);
        item.blocked |= named != NULL && named->disabled;
        item.token.first = false;
        note_argument(arguments, macro, &item.token, &depth);
        if (expander_spend(expander, cost_of(&item, 1)) < 0 ||
            items_append(&arguments->items, &item, 1) < 0) {
            return -1;
        }
    } while (depth > 0);
    return 1;
}

/* Whether there are as many as the macro takes; what may be missing is made empty. */
static bool
arguments_fit(const struct arguments *arguments, const struct macro *macro)
{
    size_t count = (size_t)macro->parameter_count;
    bool none = arguments->count == 1 && arguments->items.count == 2; /* ( ) */
    return arguments->count == count || (none && count == 0) ||
           (macro->variadic && arguments->count + 1 == count);
}

/* Expands the argument on its own, the first time it is asked for. */
static int
expand_argument(struct expander *expander, struct arguments *arguments, struct argument *argument)
{
    if (argument->expanded) {
        return 0;
    }
    if (expander->depth >= CHECK_DEPTH) {
        return expander_fail(expander, "more than %d macro calls stand one in another",
                             CHECK_DEPTH);
    }
    struct items items = {NULL, 0, 0};
    if (items_append(&items, arguments->items.data + argument->start, argument->count) < 0 ||
        push(expander, &items, NULL, true) < 0) {
        return -1;
    }
    expander->depth++;
    expander->space = false;
    int result;
    struct item item;
    while ((result = expander_next(expander, &item)) > 0) {
        if (items_append(&argument->expansion, &item, 1) < 0) {
            return -1;
        }
    }
    expander->depth--;
    if (result == 0) {
        expander_leave(expander);
        argument->expanded = true;
    }
    return result;
}

/* ---- # and ## ---- */

/* Appends a token's spelling as it stands in a string: quotes of strings and characters escaped. */
static void
append_quoted(struct buffer *text, const struct token *token)
{
    char *end = buffer_reserve(text, 2 * token->length);
    if (end == NULL) {
        return;
    }
    size_t length =
        token_spell(token, end + token->length); /* spelt behind its place, then moved */
    const char *spelling = end + token->length;
    bool escape = token->kind == TOKEN_STRING || token->kind == TOKEN_CHARACTER;
    for (size_t i = 0; i < length; i++) {
        char c = spelling[i];
        if (escape && (c == '"' || c == '\\')) {
            *end++ = '\\';
        }
        *end++ = c;
    }
    text->size = (size_t)(end - text->data);
}

/* "..." of the tokens as written. */
static int
stringify(struct expander *expander, const struct item *items, size_t count, struct item *result)
{
    struct buffer text = BUFFER_INIT;
    buffer_append(&text, "\"", 1);
    for (size_t i = 0; i < count && text.size <= EXPAND_BYTES; i++) {
        if (i > 0 && items[i].space) {
            buffer_append(&text, " ", 1);
        }
        append_quoted(&text, &items[i].token);
    }
    buffer_append(&text, "\"", 1);
    char *kept = text.failed ? NULL : take_text(expander, text.size);
    if (kept != NULL) {
        memcpy(kept, text.data, text.size);
        *result =
            (struct item){.token = {.kind = TOKEN_STRING, .start = kept, .length = text.size}};
    }
    buffer_free(&text);
    return kept != NULL ? 0 : -1;
}

/* Makes `text` a token if it is one. Returns 1; 0 if not; -1: no memory. */
static int
scan_one(const char *text, size_t length, struct token *token)
{
    struct source source = {.label = "", .argument = "", .text = text, .length = length};
    struct spot spot;
    if (lexer_scan(&source, &spot) < 0) {
        return spot.message[0] == '\0' ? -1 : 0;
    }
    bool one = source.tokens.count == 1 && source.tokens.items[0].length == length;
    if (one) {
        *token = source.tokens.items[0];
        token->directive = token->first = false;
    }
    lexer_free(&source);
    return one;
}

/* left ## right, into left. Returns 1; 0 when they make no token; -1. */
static int
paste(struct expander *expander, struct item *left, const struct item *right)
{
    char *text = take_text(expander, left->token.length + right->token.length + 1);
    if (text == NULL) {
        return -1;
    }
    size_t length = token_spell(&left->token, text);
    length += token_spell(&right->token, text + length);
    text[length] = '\0';
    int result = scan_one(text, length, &left->token);
    if (result > 0) {
        left->blocked = false;
    }
    return result;
}

/* ---- Replacement ---- */

/* The replacement of one call as it grows. */
struct replacement {
    struct expander *expander;
    const struct macro *macro;
    struct arguments *arguments; /* NULL: an object-like macro */
    struct items items;
    bool left;  /* the operand before has a token for ## to take */
    bool space; /* white space before operands that were empty */
};

/* Appends an operand; `space` stands before it. */
static int
add_operand(struct replacement *replacement, const struct item *items, size_t count, bool space,
            bool pasted)
{
    struct items *result = &replacement->items;
    if (expander_spend(replacement->expander, cost_of(items, count)) < 0) {
        return -1;
    }
    if (count == 0) {
        replacement->space |= space;
        replacement->left &= pasted;
        return 0;
    }
    if (pasted && replacement->left) {
        int joined = paste(replacement->expander, &result->data[result->count - 1], items);
        if (joined < 0) {
            return -1;
        }
        items += joined;
        count -= (size_t)joined;
        return items_append(result, items, count);
    }
    size_t first = result->count;
    if (items_append(result, items, count) < 0) {
        return -1;
    }
    result->data[first].space = space || replacement->space;
    replacement->space = false;
    replacement->left = true;
    return 0;
}

/* GNU's ", ## rest": without arguments the comma goes, with them nothing is pasted. */
static bool
eats_comma(const struct replacement *replacement, const struct part *part)
{
    return replacement->macro->variadic &&
           part->parameter == replacement->macro->parameter_count - 1 &&
           part > replacement->macro->parts && part[-1].paste &&
           token_is(&part[-1].item.token, ",");
}

static int
add_parameter(struct replacement *replacement, const struct part *part, bool pasted)
{
    struct argument *argument = &replacement->arguments->list[part->parameter];
    const struct item *items = replacement->arguments->items.data + argument->start;
    if (part->stringify) {
        struct item string;
        if (stringify(replacement->expander, items, argument->count, &string) < 0) {
            return -1;
        }
        return add_operand(replacement, &string, 1, part->item.space, pasted);
    }
    if (pasted && eats_comma(replacement, part)) {
        pasted = false;
        replacement->items.count -= argument->count == 0;
    }
    if (pasted || part->paste) {
        return add_operand(replacement, items, argument->count, part->item.space, pasted);
    }
    if (expand_argument(replacement->expander, replacement->arguments, argument) < 0) {
        return -1;
    }
    return add_operand(replacement, argument->expansion.data, argument->expansion.count,
                       part->item.space, false);
}

static int
replace(struct replacement *replacement)
{
    const struct macro *macro = replacement->macro;
    for (size_t i = 0; i < macro->part_count; i++) {
        const struct part *part = &macro->parts[i];
        bool pasted = i > 0 && part[-1].paste;
        int result = part->parameter >= 0
                         ? add_parameter(replacement, part, pasted)
                         : add_operand(replacement, &part->item, 1, part->item.space, pasted);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* Reads the replacement next. */
static int
push_replacement(struct expander *expander, struct macro *macro, struct arguments *arguments,
                 bool space)
{
    struct replacement replacement = {.expander = expander, .macro = macro, .arguments = arguments};
    if (replace(&replacement) < 0) {
        free(replacement.items.data);
        return -1;
    }
    if (replacement.items.count > 0) {
        replacement.items.data[0].space = false;
    }
    expander->space = space;
    return push(expander, &replacement.items, macro, false);
}

/* A call without end, or with too few or too many arguments: it stays as it is, and so that it is read
 * once only, what is in it too. */
static int
push_back(struct expander *expander, struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->items.count; i++) {
        arguments->items.data[i].blocked = true;
    }
    struct items items = arguments->items;
    arguments->items = (struct items){NULL, 0, 0};
    return push(expander, &items, NULL, false);
}

/* A function-like macro's name before a (. Returns 1; 0 when the name stays; -1. */
static int
enter_call(struct expander *expander, struct macro *macro, const struct item *name)
{
    struct arguments arguments = {.list = NULL};
    bool collecting = expander->collecting;
    expander->collecting = true;
    int result = read_arguments(expander, macro, &arguments);
    expander->collecting = collecting;
    if (result > 0 && arguments_fit(&arguments, macro)) {
        result = push_replacement(expander, macro, &arguments, name->space) < 0 ? -1 : 1;
    }
    else if (result >= 0) {
        result = push_back(expander, &arguments) < 0 ? -1 : 0;
    }
    arguments_free(&arguments, macro);
    return result;
}

/* Makes the name what __LINE__, __FILE__ or __COUNTER__ stands for. */
static int
replace_special(struct expander *expander, const struct macro *macro, struct item *name)
{
    struct buffer text = BUFFER_INIT;
    expander->special = true;
    if (macro->kind == MACRO_FILE) {
        buffer_append(&text, "\"", 1);
        for (const char *at = expander->file; *at != '\0'; at++) {
            buffer_append(&text, "\\", *at == '"' || *at == '\\');
            buffer_append(&text, at, 1);
        }
        buffer_append(&text, "\"", 1);
    }
    else {
        buffer_printf(&text, "%lu",
                      macro->kind == MACRO_LINE ? (unsigned long)expander->place.line
                                                : expander->counter++);
    }
    char *kept = text.failed ? NULL : take_text(expander, text.size);
    if (kept != NULL) {
        memcpy(kept, text.data, text.size);
        name->token.kind = macro->kind == MACRO_FILE ? TOKEN_STRING : TOKEN_NUMBER;
        name->token.start = kept;
        name->token.length = text.size;
    }
    buffer_free(&text);
    return kept != NULL ? 0 : -1;
}

/* A macro's name was read. Returns 1 when its expansion is to be read now; 0 when the token stays, or
 * became what it stands for; -1. */
static int
enter(struct expander *expander, struct macro *macro, struct item *name)
{
    if (macro->kind == MACRO_FUNCTION && !call_follows(expander)) {
        return 0;
    }
    if (expander->context_count == 0) {
        expander->place = name->token;
    }
    if (macro->kind == MACRO_FUNCTION) {
        return enter_call(expander, macro, name);
    }
    if (macro->kind == MACRO_OBJECT) {
        return push_replacement(expander, macro, NULL, name->space) < 0 ? -1 : 1;
    }
    expander->inside = true;
    return replace_special(expander, macro, name);
}

int
expander_next(struct expander *expander, struct item *item)
{
    for (;;) {
        int result = expander_raw(expander, item);
        if (result <= 0 || item->blocked) {
            return result;
        }
        struct macro *macro = find_macro(expander, &item->token);
        if (macro == NULL) {
            return 1;
        }
        if (macro->disabled) {
            item->blocked = true;
            return 1;
        }
        bool inside = expander->inside;
        result = enter(expander, macro, item);
        if (result < 0) {
            return -1;
        }
        if (result == 0) {
            expander->inside |= inside;
            return 1;
        }
    }
}

void
expander_clear(struct expander *expander)
{
    while (expander->context_count > 0) {
        pop(expander);
    }
    expander->depth = 0;
    expander->collecting = expander->inside = expander->space = false;
    expander->failure[0] = '\0';
}

void
expander_free(struct expander *expander)
{
    expander_clear(expander);
    free(expander->contexts);
    free(expander->buckets);
    arena_free(&expander->scratch);
}

/* macros.c: macros that would nest too deeply for libtcc:
 *
 *   #define P0 !
 *   #define P1 P0 P0
 *   ...
 *   #define P20 P19 P19     a million operators, each inside the one before
 */
#include "macros.h"

#include <stdlib.h>
#include <string.h>

struct macro {
    const struct source *source;
    const struct token *name;
    long
        weight; /* brackets and operators of its expansion, MACROS_LIMIT + 1 at most; -1: not known yet */
    bool visited; /* its weight is being computed: a macro is not expanded inside itself */
};

struct table {
    struct macro *macros; /* sorted by name */
    size_t count;
};

static int
compare_macros(const void *a, const void *b)
{
    const struct macro *first = a, *second = b;
    return token_compare(first->name, second->name);
}

/* The first macro of that name, or NULL; others, of other #if branches, stand behind it. */
static struct macro *
find_macro(const struct table *table, const struct token *name)
{
    struct macro key = {.name = name};
    struct macro *macro = bsearch(&key, table->macros, table->count, sizeof(key), compare_macros);
    while (macro != NULL && macro > table->macros && token_compare(macro[-1].name, name) == 0) {
        macro--;
    }
    return macro;
}

/* Appends the macros of a source, unsorted. Returns 0, or -1: no memory. */
static int
read_macros(struct table *table, const struct source *source)
{
    for (size_t i = 1; i < source->tokens.count; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token->kind != TOKEN_IDENTIFIER || !token->directive ||
            !token_is(token - 1, "define")) {
            continue;
        }
        struct macro *macros = realloc(table->macros, (table->count + 1) * sizeof(*macros));
        if (macros == NULL) {
            return -1;
        }
        table->macros = macros;
        macros[table->count++] = (struct macro){source, token, -1, false};
    }
    return 0;
}

static long weigh(const struct table *table, struct macro *macro, int depth);

/* The heaviest of the macros of that name. */
static long
weigh_name(const struct table *table, struct macro *macro, int depth)
{
    const struct macro *end = table->macros + table->count;
    long heaviest = 0;
    for (const struct token *name = macro->name;
         macro < end && token_compare(macro->name, name) == 0; macro++) {
        long weight = weigh(table, macro, depth);
        heaviest = weight > heaviest ? weight : heaviest;
    }
    return heaviest;
}

static long
weigh(const struct table *table, struct macro *macro, int depth)
{
    if (macro->weight >= 0 || macro->visited || depth > CHECK_DEPTH) {
        return depth > CHECK_DEPTH ? MACROS_LIMIT + 1 : macro->visited ? 0 : macro->weight;
    }
    long weight = 0;
    macro->visited = true;
    for (const struct token *token = macro->name + 1; token->directive && !token->first; token++) {
        struct macro *inner = token->kind == TOKEN_IDENTIFIER ? find_macro(table, token) : NULL;
        weight +=
            inner != NULL ? weigh_name(table, inner, depth + 1) : token->kind == TOKEN_PUNCTUATOR;
        if (weight > MACROS_LIMIT) {
            weight = MACROS_LIMIT + 1;
            break;
        }
    }
    macro->visited = false;
    macro->weight = weight;
    return weight;
}

static int
weigh_all(const struct table *table, struct spot *spot)
{
    for (size_t i = 0; i < table->count; i++) {
        struct macro *macro = &table->macros[i];
        if (weigh(table, macro, 0) > MACROS_LIMIT) {
            return spot_fail(
                spot, macro->source, macro->name,
                "macro '%.*s' expands to more than %d brackets and operators, or through "
                "more than %d macros: libtcc would run out of stack",
                (int)(macro->name->length < 100 ? macro->name->length : 100), macro->name->start,
                MACROS_LIMIT, CHECK_DEPTH);
        }
    }
    return 0;
}

int
macros_check(const struct source *sources, size_t count, struct spot *spot)
{
    struct table table = {NULL, 0};
    *spot = (struct spot){0};
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        result = read_macros(&table, &sources[i]);
    }
    if (result == 0 && table.count > 0) {
        qsort(table.macros, table.count, sizeof(*table.macros), compare_macros);
        result = weigh_all(&table, spot);
    }
    free(table.macros);
    return result;
}

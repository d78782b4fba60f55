/* preprocess.c: the tokens that libtcc's parser gets: directives, the user's headers, and between them what
 * expand.c makes of the tokens.
 */
#include "preprocess.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "condition.h"
#include "expand.h"
#include "header.h"

/* libtcc follows so many headers one in another. */
enum { INCLUDE_DEPTH = 32 };
/* What #pragma pack(push) keeps: as many as libtcc. */
enum { PACK_DEPTH = 8 };
/* Tokens that one macro may expand to where constants are looked for: a constant has few. */
enum { DEFINITION_TOKENS = 4000 };
/* Tokens that #if leaves out of a header read again: so many count as one. */
enum { SKIPPED_COST = 16 };

/* What libtcc defines itself. Names that it replaces in its own ways stand for themselves: they are defined. */
static const char PREDEFINED[] =
#if defined(__x86_64__)
    "#define __x86_64__ 1\n#define __x86_64 1\n#define __amd64__ 1\n"
#elif defined(__aarch64__)
    "#define __aarch64__ 1\n"
    "#define __uint128_t long double\n"
#endif
    "#define __linux__ 1\n"
    "#define __linux 1\n"
    "#define __unix__ 1\n"
    "#define __unix 1\n"
    "#define __TINYC__ 928\n"
    "#define __STDC__ 1\n"
    "#define __STDC_VERSION__ 199901L\n"
    "#define __LP64__ 1\n"
    "#define __SIZEOF_POINTER__ 8\n"
    "#define __SIZEOF_LONG__ 8\n"
    "#define __SIZEOF_INT__ 4\n"
    "#define __SIZEOF_LONG_LONG__ 8\n"
    "#define __CHAR_BIT__ 8\n"
    "#define __INT_MAX__ 0x7fffffff\n"
    "#define __LONG_MAX__ 0x7fffffffffffffffL\n"
    "#define __LONG_LONG_MAX__ 0x7fffffffffffffffLL\n"
    "#define __ORDER_LITTLE_ENDIAN__ 1234\n"
    "#define __ORDER_BIG_ENDIAN__ 4321\n"
    "#define __BYTE_ORDER__ __ORDER_LITTLE_ENDIAN__\n"
    "#define __SIZE_TYPE__ unsigned long\n"
    "#define __PTRDIFF_TYPE__ long\n"
    "#define __INTPTR_TYPE__ __PTRDIFF_TYPE__\n"
    "#define __UINTPTR_TYPE__ unsigned __PTRDIFF_TYPE__\n"
    "#define __INT32_TYPE__ int\n"
    "#define __INT64_TYPE__ long\n"
    "#define __WCHAR_TYPE__ int\n"
    "#define __WINT_TYPE__ unsigned int\n"
    "#define __PRETTY_FUNCTION__ __FUNCTION__\n"
    "#define _Nonnull\n"
    "#define _Nullable\n"
    "#define _Nullable_result\n"
    "#define _Null_unspecified\n"
    "#define __REDIRECT(name, proto, alias) name proto __asm__(#alias)\n"
    "#define __REDIRECT_NTH(name, proto, alias) name proto __asm__(#alias) __THROW\n"
    "#define __REDIRECT_NTHNL(name, proto, alias) name proto __asm__(#alias) __THROWNL\n"
    "#define __builtin_extract_return_addr(x) x\n"
    "#define __has_builtin(x) 0\n"
    "#define __has_feature(x) 0\n"
    "#define __has_attribute(x) 0\n"
    "#define __has_include __has_include\n"
    "#define __has_include_next __has_include_next\n"
    "#define __BASE_FILE__ __BASE_FILE__\n"
    "#define __DATE__ __DATE__\n"
    "#define __TIME__ __TIME__\n";

/* A source or header being read. */
struct reader {
    const struct source *source;
    struct header *header; /* NULL: a source given */
    size_t at;
    size_t conditionals; /* open when it began */
    struct reader *outer;
};

/* An #if without its #endif so far. */
struct conditional {
    bool taken; /* one of its branches */
};

struct preprocessor {
    struct expander expander;
    struct reader *reader;
    struct arena arena; /* the output's, in the end */
    struct headers headers;
    struct conditional *conditionals;
    size_t conditional_count, conditional_capacity;
    struct expanded *expanded;
    size_t capacity;
    bool first;               /* the next token of the output is the first of a line */
    size_t packs[PACK_DEPTH]; /* #pragma pack's, the last one in force */
    int pack_depth;
    size_t pack_capacity;
    int depth;        /* headers one in another */
    bool predefining; /* PREDEFINED is being read */
    struct spot *spot;
};

/* ---- Output ---- */

static int
emit(struct preprocessor *preprocessor, const struct token *token, const struct source *from)
{
    struct expanded *expanded = preprocessor->expanded;
    if (expanded->count == preprocessor->capacity) {
        size_t capacity = preprocessor->capacity ? 2 * preprocessor->capacity : 256;
        struct token *items = realloc(expanded->items, capacity * sizeof(*items));
        expanded->items = items != NULL ? items : expanded->items;
        const struct source **sources = realloc(expanded->from, capacity * sizeof(*sources));
        expanded->from = sources != NULL ? sources : expanded->from;
        if (items == NULL || sources == NULL) {
            return -1;
        }
        preprocessor->capacity = capacity;
    }
    expanded->items[expanded->count] = *token;
    expanded->from[expanded->count++] = from;
    return 0;
}

static int
emit_item(struct preprocessor *preprocessor, const struct item *item)
{
    struct token token = item->token;
    const struct token *place = &preprocessor->expander.place;
    if (preprocessor->expander.inside) {
        token.line = place->line;
        token.column = place->column;
    }
    token.directive = false;
    token.first = preprocessor->first;
    preprocessor->first = false;
    return emit(preprocessor, &token, preprocessor->reader->source);
}

/* ---- Reading tokens ---- */

static const struct token *
reader_token(const struct reader *reader)
{
    return &reader->source->tokens.items[reader->at];
}

/* Where the preprocessor line of the next token ends. */
static size_t
line_end(const struct reader *reader)
{
    const struct token *items = reader->source->tokens.items;
    size_t end = reader->at + 1;
    while (items[end].directive && !items[end].first) {
        end++;
    }
    return end;
}

/* Counts tokens of a header that was read before: headers that include each other twice double. */
static int
charge(struct preprocessor *preprocessor, size_t count)
{
    const struct header *header = preprocessor->reader->header;
    return header != NULL && header->again ? expander_spend(&preprocessor->expander, count) : 0;
}

static int run_directive(struct preprocessor *preprocessor);

/* struct feed's next: the next token that is in no directive. */
static int
feed_next(void *context, struct item *item)
{
    struct preprocessor *preprocessor = context;
    for (;;) {
        struct reader *reader = preprocessor->reader;
        const struct token *token = reader_token(reader);
        if (token->kind == TOKEN_END) {
            return 0;
        }
        if (token->directive) {
            if (run_directive(preprocessor) < 0) {
                return -1;
            }
            continue;
        }
        if (charge(preprocessor, 1) < 0) {
            return -1;
        }
        *item = (struct item){.token = *token};
        item->space = reader->at > 0 && expander_is_apart(token - 1, token);
        preprocessor->first |= token->first && !preprocessor->expander.collecting;
        reader->at++;
        return 1;
    }
}

/* struct feed's call_follows. */
static bool
feed_call_follows(void *context)
{
    const struct preprocessor *preprocessor = context;
    const struct token *token = reader_token(preprocessor->reader);
    return !token->directive && token_is(token, "(");
}

/* Says where a limit was met: the place of the outermost macro's name, or for a header the #include in a
 * source given. */
static void
report(const struct preprocessor *preprocessor)
{
    const struct expander *expander = &preprocessor->expander;
    const struct reader *reader = preprocessor->reader;
    if (expander->failure[0] == '\0' || preprocessor->spot->message[0] != '\0') {
        return; /* no memory; or a header in this one has said it */
    }
    if (reader->header == NULL) {
        spot_fail(preprocessor->spot, reader->source, &expander->place, "%s", expander->failure);
        return;
    }
    const struct source *header = reader->source;
    while (reader->outer != NULL) {
        reader = reader->outer;
    }
    const struct token *hash = reader_token(reader) - 1;
    while (!hash->first) {
        hash--;
    }
    spot_fail(preprocessor->spot, reader->source, hash, "%s (line %d of '%.200s')",
              expander->failure, expander->place.line, header->label);
}

/* Reads a source or a header to its end. */
static int
run_source(struct preprocessor *preprocessor, const struct source *source, struct header *header)
{
    struct reader reader = {.source = source,
                            .header = header,
                            .conditionals = preprocessor->conditional_count,
                            .outer = preprocessor->reader};
    const char *file = preprocessor->expander.file;
    const struct source *outer = preprocessor->expander.source;
    preprocessor->reader = &reader;
    preprocessor->expander.file = source->label;
    preprocessor->expander.source = preprocessor->predefining ? NULL : source;
    int result;
    struct item item;
    while ((result = expander_next(&preprocessor->expander, &item)) > 0) {
        if (emit_item(preprocessor, &item) < 0) {
            return -1;
        }
    }
    if (result < 0) {
        report(preprocessor);
        return -1;
    }
    preprocessor->conditional_count = reader.conditionals; /* an #if without #endif: libtcc tells */
    preprocessor->expander.file = file;
    preprocessor->expander.source = outer;
    preprocessor->reader = reader.outer;
    return 0;
}

/* ---- Headers ---- */

/* struct header_question's answer. Where the system's headers are not looked for, what is asked for in < > and is
 * not the user's is taken to be there. */
static bool
has_header(void *context, const char *name, bool quoted)
{
    struct preprocessor *preprocessor = context;
    const struct inclusion inclusion = {name, quoted, false, preprocessor->reader->header};
    bool unknown = !quoted && preprocessor->headers.system_folders == NULL;
    return unknown || headers_find(&preprocessor->headers, &inclusion) != NULL;
}

/* A header's text, in place of its #include line. */
static int
run_header(struct preprocessor *preprocessor, struct header *header)
{
    int result = header_scan(header);
    if (result <= 0 || header->once) {
        return result < 0 ? -1 : 0;
    }
    if (preprocessor->depth == INCLUDE_DEPTH) {
        return expander_fail(&preprocessor->expander,
                             "#include: more than %d headers one in another, at '%.200s'",
                             INCLUDE_DEPTH, header->source.label);
    }
    preprocessor->depth++;
    result = run_source(preprocessor, &header->source, header);
    preprocessor->depth--;
    header->again = true;
    return result;
}

/* ---- Conditionals ---- */

static int
push_conditional(struct preprocessor *preprocessor, bool taken)
{
    if (preprocessor->conditional_count == preprocessor->conditional_capacity) {
        size_t capacity = 2 * preprocessor->conditional_capacity + 16;
        struct conditional *conditionals =
            realloc(preprocessor->conditionals, capacity * sizeof(*conditionals));
        if (conditionals == NULL) {
            return -1;
        }
        preprocessor->conditionals = conditionals;
        preprocessor->conditional_capacity = capacity;
    }
    preprocessor->conditionals[preprocessor->conditional_count++] = (struct conditional){taken};
    return 0;
}

enum word { WORD_OTHER, WORD_IF, WORD_IFDEF, WORD_IFNDEF, WORD_ELIF, WORD_ELSE, WORD_ENDIF };

/* What the directive of the next token does to conditionals. */
static enum word
conditional_word(const struct reader *reader)
{
    static const char *const words[] = {"if", "ifdef", "ifndef", "elif", "else", "endif"};
    const struct token *token = reader_token(reader) + 1;
    for (int i = 0; token->directive && !token->first && i < 6; i++) {
        if (token_is(token, words[i])) {
            return (enum word)(i + 1);
        }
    }
    return WORD_OTHER;
}

/* The condition of the #if or #elif line of the next token. Returns 1, 0 or -1. */
static int
evaluate(struct preprocessor *preprocessor, enum word word)
{
    struct expander *expander = &preprocessor->expander;
    const struct reader *reader = preprocessor->reader;
    const struct token *hash = reader_token(reader);
    size_t count = line_end(reader) - reader->at - 2;
    if (word == WORD_IFDEF || word == WORD_IFNDEF) {
        return count > 0 && hash[2].kind == TOKEN_IDENTIFIER &&
               expander_is_defined(expander, &hash[2]) == (word == WORD_IFDEF);
    }
    const struct header_question question = {has_header, preprocessor};
    struct token place = expander->place;
    expander->place = *hash; /* for __LINE__ */
    int result = condition_evaluate(expander, hash + 2, count, &question);
    expander->place = result < 0 ? expander->place : place;
    return result;
}

/* Goes to the next directive in a branch left out. Returns false at the end of the text. */
static bool
skip_to_directive(struct reader *reader)
{
    const struct token *items = reader->source->tokens.items;
    while (items[reader->at].kind != TOKEN_END) {
        if (items[reader->at].directive && items[reader->at].first) {
            return true;
        }
        reader->at++;
    }
    return false;
}

/* Behind the end of a branch, or at one left out: goes on in the next branch that is taken, or behind the
 * #endif. */
static int
skip_branches(struct preprocessor *preprocessor)
{
    struct reader *reader = preprocessor->reader;
    struct conditional *conditional =
        &preprocessor->conditionals[preprocessor->conditional_count - 1];
    size_t start = reader->at;
    bool found = false;
    for (size_t nested = 0; !found && skip_to_directive(reader); reader->at = line_end(reader)) {
        enum word word = conditional_word(reader);
        if (word == WORD_IF || word == WORD_IFDEF || word == WORD_IFNDEF) {
            nested++;
        }
        else if (nested > 0) {
            nested -= word == WORD_ENDIF;
        }
        else if (word == WORD_ENDIF) {
            preprocessor->conditional_count--;
            found = true;
        }
        else if (!conditional->taken && (word == WORD_ELSE || word == WORD_ELIF)) {
            int result = word == WORD_ELSE ? 1 : evaluate(preprocessor, word);
            if (result < 0) {
                return -1;
            }
            found = conditional->taken = result > 0;
        }
    }
    return charge(preprocessor, (reader->at - start) / SKIPPED_COST);
}

/* A line that begins, parts or ends a conditional. */
static int
run_conditional(struct preprocessor *preprocessor, enum word word)
{
    struct reader *reader = preprocessor->reader;
    bool begins = word == WORD_IF || word == WORD_IFDEF || word == WORD_IFNDEF;
    int taken = begins ? evaluate(preprocessor, word) : 0;
    if (taken < 0 || (begins && push_conditional(preprocessor, taken) < 0)) {
        return -1;
    }
    bool open = preprocessor->conditional_count > reader->conditionals;
    if (begins || !open) { /* an #else or #endif of its own: libtcc tells */
        reader->at = line_end(reader);
        return begins && !taken ? skip_branches(preprocessor) : 0;
    }
    return skip_branches(preprocessor);
}

/* ---- Directives ---- */

/* Joins what a macro in an #include line expands to: "x.h", or < to >. Returns false for anything else. */
static bool
join_name(const struct buffer *tokens, char name[PATH_MAX], bool *quoted)
{
    const struct token *items = (const struct token *)(const void *)tokens->data;
    size_t count = tokens->size / sizeof(*items);
    *quoted = count == 1 && items[0].kind == TOKEN_STRING;
    if (!*quoted && (count < 3 || !token_is(&items[0], "<") || !token_is(&items[count - 1], ">"))) {
        return false;
    }
    size_t length = 0;
    for (size_t i = *quoted ? 0 : 1; i < (*quoted ? 1 : count - 1); i++) {
        if (items[i].length >= PATH_MAX - length) {
            return false;
        }
        length += token_spell(&items[i], name + length);
    }
    if (*quoted && (length < 2 || name[0] != '"' || name[length - 1] != '"')) {
        return false;
    }
    if (*quoted) {
        length -= 2;
        memmove(name, name + 1, length);
    }
    name[length] = '\0';
    return length > 0;
}

/* The name in an #include line of `count` tokens that is made by macros. Returns 1; 0: there is none; -1. */
static int
compute_name(struct preprocessor *preprocessor, const struct token *tokens, size_t count,
             char name[PATH_MAX], bool *quoted)
{
    struct expander *expander = &preprocessor->expander;
    struct buffer expanded = BUFFER_INIT;
    struct item item;
    int result = expander_enter(expander, tokens, count);
    while (result == 0 && (result = expander_next(expander, &item)) > 0) {
        buffer_append(&expanded, &item.token, sizeof(item.token));
        result = 0;
    }
    if (result == 0) {
        expander_leave(expander);
        result = expanded.failed ? -1 : join_name(&expanded, name, quoted);
    }
    buffer_free(&expanded);
    return result;
}

/* The `count` tokens behind "# include". */
static int
run_include(struct preprocessor *preprocessor, const struct token *tokens, size_t count, bool next)
{
    char name[PATH_MAX];
    bool quoted = tokens->kind == TOKEN_STRING;
    if (preprocessor->expander.collecting) { /* between a call's parentheses it is undefined */
        return 0;
    }
    int named = include_name(tokens, name);
    if (!named && preprocessor->headers.system_folders != NULL) {
        named = compute_name(preprocessor, tokens, count, name, &quoted);
    }
    if (named <= 0) {
        return named;
    }
    const struct inclusion inclusion = {name, quoted, next, preprocessor->reader->header};
    struct header *header = headers_find(&preprocessor->headers, &inclusion);
    if (preprocessor->headers.failed) {
        return -1;
    }
    return header != NULL ? run_header(preprocessor, header) : 0;
}

static int
note_pack(struct preprocessor *preprocessor)
{
    struct expanded *expanded = preprocessor->expanded;
    if (expanded->pack_count == preprocessor->pack_capacity) {
        size_t capacity = 2 * preprocessor->pack_capacity + 8;
        struct pack *packs = realloc(expanded->packs, capacity * sizeof(*packs));
        if (packs == NULL) {
            return -1;
        }
        expanded->packs = packs;
        preprocessor->pack_capacity = capacity;
    }
    expanded->packs[expanded->pack_count++] =
        (struct pack){expanded->count, preprocessor->packs[preprocessor->pack_depth]};
    return 0;
}

size_t
expanded_pack(const struct expanded *expanded, size_t at)
{
    size_t low = 0,
           high = expanded->pack_count; /* the first pack behind the item lies in [low, high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (expanded->packs[middle].at <= at) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low > 0 ? expanded->packs[low - 1].alignment : 0;
}

/* 1, 2, 4, 8 or 16; else PACK_UNKNOWN. */
static size_t
pack_number(const struct token *token)
{
    static const char *const numbers[] = {"1", "2", "4", "8", "16"};
    for (size_t i = 0; i < 5; i++) {
        if (token_is(token, numbers[i])) {
            return (size_t)1 << i;
        }
    }
    return PACK_UNKNOWN;
}

/* #pragma pack ( ... ), the tokens in brackets:
 *     empty
 *     number
 *     push
 *     push , number
 *     pop
 */
static int
run_pack(struct preprocessor *preprocessor, const struct token *tokens, size_t count)
{
    size_t *packs = preprocessor->packs;
    int *depth = &preprocessor->pack_depth;
    bool bracketed = count >= 2 && token_is(&tokens[0], "(") && token_is(&tokens[count - 1], ")");
    bool push = bracketed && token_is(&tokens[1], "push") && *depth + 1 < PACK_DEPTH;
    if (push) {
        packs[*depth + 1] = packs[*depth];
        ++*depth;
    }
    if (bracketed && count == 3 && token_is(&tokens[1], "pop") && *depth > 0) {
        --*depth;
    }
    else if (bracketed && count == 2) {
        packs[*depth] = 0;
    }
    else if (push && count == 5 && token_is(&tokens[2], ",")) {
        packs[*depth] = pack_number(&tokens[3]);
    }
    else if (!push || count != 3) {
        packs[*depth] = bracketed && count == 3 ? pack_number(&tokens[1]) : PACK_UNKNOWN;
    }
    return note_pack(preprocessor);
}

static int
run_pragma(struct preprocessor *preprocessor, const struct token *tokens, size_t count)
{
    struct reader *reader = preprocessor->reader;
    if (token_is(tokens, "once") && reader->header != NULL) {
        reader->header->once = true;
    }
    return token_is(tokens, "pack") ? run_pack(preprocessor, tokens + 1, count - 1) : 0;
}

/* The directive that the next token begins. */
static int
run_directive(struct preprocessor *preprocessor)
{
    struct reader *reader = preprocessor->reader;
    size_t end = line_end(reader);
    if (charge(preprocessor, end - reader->at) < 0) {
        return -1;
    }
    enum word word = conditional_word(reader);
    if (word != WORD_OTHER) {
        return run_conditional(preprocessor, word);
    }
    const struct token *name = reader_token(reader) + 1;
    size_t count = end - reader->at;
    reader->at = end;
    if (count < 3) {
        return 0;
    }
    if (!preprocessor->expander.collecting) {
        preprocessor->expander.place = name[-1];
    }
    if (token_is(name, "define")) {
        return expander_define(&preprocessor->expander, name + 1, count - 2);
    }
    if (token_is(name, "undef") && name[1].kind == TOKEN_IDENTIFIER) {
        expander_undefine(&preprocessor->expander, name + 1);
    }
    bool next = token_is(name, "include_next");
    if (next || token_is(name, "include") || token_is(name, "import")) {
        return run_include(preprocessor, name + 1, count - 2, next);
    }
    return token_is(name, "pragma") ? run_pragma(preprocessor, name + 1, count - 2) : 0;
}

/* ---- Definitions ---- */

/* What the macro expands to, appended to `tokens`. Returns 1; 0: too much, or not the same everywhere; -1: no
 * memory. */
static int
expand_definition(struct preprocessor *preprocessor, const struct token *name,
                  struct buffer *tokens)
{
    struct expander *expander = &preprocessor->expander;
    struct item item;
    int result;
    expander->special = false;
    expander->spent = EXPAND_TOKENS - DEFINITION_TOKENS;
    if (expander_enter(expander, name, 1) < 0) {
        return -1;
    }
    while ((result = expander_next(expander, &item)) > 0) {
        item.token.directive = false;
        buffer_append(tokens, &item.token, sizeof(item.token));
    }
    bool limit = result < 0 && expander->failure[0] != '\0';
    expander_clear(expander);
    if (tokens->failed || (result < 0 && !limit)) {
        return -1;
    }
    return !limit && !expander->special;
}

static int
add_definition(struct preprocessor *preprocessor, const struct object_macro *macro,
               const struct buffer *tokens)
{
    struct expanded *expanded = preprocessor->expanded;
    struct token *items = arena_take(&preprocessor->arena, tokens->size + sizeof(*items));
    if (items == NULL) {
        return -1;
    }
    size_t count = tokens->size / sizeof(*items);
    memcpy(items, tokens->data, tokens->size);
    items[count] = (struct token){.kind = TOKEN_END, .start = ""};
    expanded->definitions[expanded->definition_count++] =
        (struct definition){macro->name, macro->source, items, count};
    return 0;
}

/* Expands each macro that is left. When macros that double each other were expanded too often, the rest is left out. */
static int
expand_definitions(struct preprocessor *preprocessor, const struct object_macro *macros,
                   size_t count)
{
    struct buffer tokens = BUFFER_INIT;
    size_t spent = 0;
    int result = 0;
    for (size_t i = 0; i < count && result >= 0 && spent < EXPAND_TOKENS; i++) {
        tokens.size = 0;
        result = expand_definition(preprocessor, &macros[i].name, &tokens);
        spent += preprocessor->expander.spent - (EXPAND_TOKENS - DEFINITION_TOKENS);
        if (result > 0 && tokens.size > 0) {
            result = add_definition(preprocessor, &macros[i], &tokens);
        }
    }
    buffer_free(&tokens);
    return result < 0 ? -1 : 0;
}

static int
run_definitions(struct preprocessor *preprocessor)
{
    struct object_macro *macros;
    size_t count;
    if (expander_list(&preprocessor->expander, &macros, &count) < 0) {
        return -1;
    }
    struct expanded *expanded = preprocessor->expanded;
    preprocessor->expander.file = "";
    int result = 0;
    if (count > 0) {
        expanded->definitions =
            arena_take(&preprocessor->arena, count * sizeof(*expanded->definitions));
        result =
            expanded->definitions == NULL ? -1 : expand_definitions(preprocessor, macros, count);
    }
    free(macros);
    return result;
}

/* ---- The whole ---- */

/* Whether the tokens are the output: no directives, and no name that libtcc could replace. */
static bool
is_plain(const struct source *source)
{
    for (size_t i = 0; i < source->tokens.count; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token->directive || (token->kind == TOKEN_IDENTIFIER && token->start[0] == '_')) {
            return false;
        }
    }
    return true;
}

static int
run_plain(struct preprocessor *preprocessor, const struct source *sources, size_t count)
{
    size_t total = 1;
    for (size_t i = 0; i < count; i++) {
        total += sources[i].tokens.count;
    }
    struct expanded *expanded = preprocessor->expanded;
    expanded->items = malloc(total * sizeof(*expanded->items));
    expanded->from = malloc(total * sizeof(*expanded->from));
    if (expanded->items == NULL || expanded->from == NULL) {
        return -1;
    }
    preprocessor->capacity = total;
    for (size_t i = 0; i < count; i++) {
        const struct tokens *tokens = &sources[i].tokens;
        memcpy(expanded->items + expanded->count, tokens->items,
               tokens->count * sizeof(*tokens->items));
        for (size_t j = 0; j < tokens->count; j++) {
            expanded->from[expanded->count++] = &sources[i];
        }
    }
    return 0;
}

static int
run_predefined(struct preprocessor *preprocessor)
{
    struct source source = {
        .label = "", .argument = "", .text = PREDEFINED, .length = sizeof(PREDEFINED) - 1};
    struct spot spot;
    int result = lexer_scan(&source, &spot);
    if (result == 0) {
        preprocessor->predefining = true;
        result = run_source(preprocessor, &source, NULL);
        preprocessor->predefining = false;
    }
    lexer_free(&source);
    return result;
}

static int
run_sources(struct preprocessor *preprocessor, const struct source *sources, size_t count,
            const struct includes *includes)
{
    struct expander *expander = &preprocessor->expander;
    if (expander_start(expander) < 0) {
        return -1;
    }
    expander->arena = &preprocessor->arena;
    expander->feed = (struct feed){feed_next, feed_call_follows, preprocessor};
    if (run_predefined(preprocessor) < 0 ||
        headers_start(&preprocessor->headers, &includes->contents) < 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (run_source(preprocessor, &sources[i], NULL) < 0) {
            return -1;
        }
    }
    return run_definitions(preprocessor);
}

/* TOKEN_END, in the place of the last source's. */
static int
run_end(struct preprocessor *preprocessor, const struct source *sources, size_t count)
{
    struct token end = {.kind = TOKEN_END, .start = "", .line = 1, .column = 1};
    const struct source *last = count > 0 ? &sources[count - 1] : NULL;
    if (last != NULL) {
        end = last->tokens.items[last->tokens.count];
        end.directive = false;
    }
    if (emit(preprocessor, &end, last) < 0) {
        return -1;
    }
    preprocessor->expanded->count--;
    return 0;
}

/* The paths of the system's headers that were read. */
static int
list_headers(struct preprocessor *preprocessor)
{
    const struct headers *headers = &preprocessor->headers;
    struct expanded *expanded = preprocessor->expanded;
    expanded->headers =
        arena_take(&preprocessor->arena, (headers->system_count + 1) * sizeof(*expanded->headers));
    if (expanded->headers == NULL) {
        return -1;
    }
    for (size_t i = 0; i < headers->system_count; i++) {
        expanded->headers[expanded->header_count++] = &headers->systems[i]->source;
    }
    return 0;
}

int
preprocess(const struct source *sources, size_t count, const struct includes *includes,
           const struct strings *folders, struct expanded *expanded, struct spot *spot)
{
    return preprocess_system(sources, count, includes, folders, NULL, expanded, spot);
}

int
preprocess_system(const struct source *sources, size_t count, const struct includes *includes,
                  const struct strings *folders, const struct strings *system_folders,
                  struct expanded *expanded, struct spot *spot)
{
    struct preprocessor preprocessor = {.expanded = expanded, .spot = spot};
    preprocessor.headers = (struct headers){
        .folders = folders, .system_folders = system_folders, .arena = &preprocessor.arena};
    *spot = (struct spot){.source = NULL};
    *expanded = (struct expanded){.count = 0};
    bool plain = true;
    for (size_t i = 0; i < count && plain; i++) {
        plain = is_plain(&sources[i]);
    }
    int result = plain ? run_plain(&preprocessor, sources, count)
                       : run_sources(&preprocessor, sources, count, includes);
    if (result == 0) {
        result = run_end(&preprocessor, sources, count);
    }
    if (result == 0) {
        result = preprocessor.headers.failed ? -1 : list_headers(&preprocessor);
    }
    headers_free(&preprocessor.headers);
    expander_free(&preprocessor.expander);
    free(preprocessor.conditionals);
    expanded->arena = preprocessor.arena;
    if (result < 0) {
        preprocess_free(expanded);
    }
    return result;
}

void
preprocess_free(struct expanded *expanded)
{
    arena_free(&expanded->arena);
    free(expanded->items);
    free(expanded->from);
    free(expanded->packs);
    *expanded = (struct expanded){.count = 0};
}

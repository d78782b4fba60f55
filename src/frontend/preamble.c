/* preamble.c: what stands in a translation unit around the user's own text. */
#include "preamble.h"

#include <ctype.h>
#include <string.h>

#include "../../runtime/symbols.h"

/* ---- The names ---- */

static void
add_used(struct preamble *preamble, const struct tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++) {
        const struct token *token = &tokens->items[i];
        preamble->uses_everything |= token_is(token, "##");
        if (token->kind == TOKEN_IDENTIFIER) {
            names_add(&preamble->used, token->start, token->length);
        }
    }
}

/* Whether a name in the user's own text at file scope is being declared there: "static double round(",
 * "typedef unsigned char bool;", "int exp = 5;", "enum { log }", "#define bool". */
static bool
is_declared_here(const struct token *token, int depth, bool in_enum)
{
    static const char *const ends[] = {"(", ";", "=", "[", ",", "}"};
    const struct token *before = token - 1;
    if (token->directive) {
        return token_is(before, "define");
    }
    if (in_enum) {
        return token_is(before, "{") || token_is(before, ",");
    }
    bool declarator = before->kind == TOKEN_IDENTIFIER || token_is(before, "*") ||
                      token_is(before, "}") || token_is(before, ",");
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends) && depth == 0 && declarator; i++) {
        if (token_is(token + 1, ends[i])) {
            return true;
        }
    }
    return false;
}

/* "enum {" or "enum name {" before this brace. */
static bool
opens_enum(const struct tokens *tokens, const struct token *brace)
{
    const struct token *first = tokens->items;
    return (brace - first >= 1 && token_is(brace - 1, "enum")) ||
           (brace - first >= 2 && token_is(brace - 2, "enum"));
}

static void
add_declared(struct preamble *preamble, const struct tokens *tokens)
{
    int depth = 0, enum_depth = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        const struct token *token = &tokens->items[i];
        if (!token->directive) {
            depth += token_opens(token) - token_closes(token);
            enum_depth = token_is(token, "{") && opens_enum(tokens, token) ? depth
                         : depth < enum_depth                              ? 0
                                                                           : enum_depth;
        }
        if (i > 0 && token->kind == TOKEN_IDENTIFIER &&
            is_declared_here(token, depth, enum_depth > 0 && depth == enum_depth)) {
            names_add(&preamble->declared, token->start, token->length);
        }
    }
}

int
preamble_read(struct preamble *preamble)
{
    size_t most = 0;
    for (size_t i = 0; i < preamble->count; i++) {
        most += preamble->sources[i].tokens.count;
    }
    if (names_init(&preamble->used, most) < 0 || names_init(&preamble->declared, most) < 0) {
        return -1;
    }
    for (size_t i = 0; i < preamble->count; i++) {
        add_used(preamble, &preamble->sources[i].tokens);
        if (i < preamble->declaring) {
            add_declared(preamble, &preamble->sources[i].tokens);
        }
    }
    return include_follow(preamble->sources, preamble->count, preamble->include_dirs,
                          &preamble->includes);
}

void
preamble_free(struct preamble *preamble)
{
    names_free(&preamble->used);
    names_free(&preamble->declared);
    includes_free(&preamble->includes);
}

bool
preamble_uses(const struct preamble *preamble, const char *name)
{
    return preamble->uses_everything || names_have(&preamble->used, name, strlen(name));
}

/* ---- The text ---- */

/* Names that the user's own headers use are declared too: they may count on the prelude. */
static void
use_header_names(struct prelude *prelude, const struct buffer *contents, struct buffer *text)
{
    const char *end = contents->data + contents->size;
    for (const char *at = contents->data; at < end;) {
        const char *start = at;
        while (at < end && (isalnum((unsigned char)*at) || *at == '_')) {
            at++;
        }
        if (at > start) {
            prelude_use(prelude, start, (size_t)(at - start), text);
        }
        else {
            at++;
        }
    }
}

int
preamble_declare(const struct preamble *preamble, const char *const *more, struct buffer *text)
{
    struct prelude prelude;
    if (prelude_start(&prelude) < 0) {
        return -1;
    }
    prelude.real_python = preamble->includes.python;
    if (preamble->uses_everything) {
        prelude_use_all(&prelude, text);
    }
    for (; *more != NULL; more++) {
        prelude_use(&prelude, *more, strlen(*more), text);
    }
    for (size_t i = 0; i < preamble->used.count; i++) {
        const struct name_text *name = &preamble->used.order[i];
        if (!names_have(&preamble->declared, name->start, name->length)) {
            prelude_use(&prelude, name->start, name->length, text);
        }
    }
    use_header_names(&prelude, &preamble->includes.contents, text);
    prelude_end(&prelude);
    return 0;
}

void
preamble_append(const struct source *source, struct buffer *text)
{
    if (source->length > 0) {
        buffer_printf(text, "#line 1 \"%s\"\n", source->label);
        buffer_append(text, source->text, source->length);
        buffer_append_string(text, "\n\n"); /* the second for a text that ends in a backslash */
    }
}

void
preamble_headers(const struct preamble *preamble, struct buffer *text)
{
    preamble_append(&preamble->sources[PREAMBLE_MACROS], text);
    if (preamble->includes.python) {
        buffer_append_string(text, "#line 1 \"tw:generated\"\n");
        buffer_append_string(text, prelude_python_shim());
        buffer_append_string(text, preamble->includes.numpy ? prelude_numpy_shim() : "");
        buffer_append_string(text, "#include <Python.h>\n");
    }
    preamble_append(&preamble->sources[PREAMBLE_HEADERS], text);
}

void
preamble_end(const struct preamble *preamble, struct buffer *text)
{
    if (preamble->includes.numpy) {
        buffer_append_string(text, "#line 1 \"tw:generated\"\n");
        buffer_append_string(text, prelude_after_numpy());
    }
}

/* ---- The unit ---- */

/* __has_include makes what is compiled depend on files that the key knows nothing of. */
static bool
asks_for_headers(const struct preamble *preamble)
{
    const struct buffer *contents = &preamble->includes.contents;
    return names_have(&preamble->used, "__has_include", strlen("__has_include")) ||
           names_have(&preamble->used, "__has_include_next", strlen("__has_include_next")) ||
           (contents->size > 0 && memmem(contents->data, contents->size, "__has_include",
                                         strlen("__has_include")) != NULL);
}

/* What was asked for beside the code, for those who read the cache. */
static void
describe_options(const struct preamble *preamble, struct buffer *options)
{
    for (size_t i = 0; i < preamble->declaring; i++) {
        buffer_append(options, preamble->sources[i].text, preamble->sources[i].length);
    }
    for (size_t i = 0; i < preamble->include_dirs->count; i++) {
        buffer_printf(options, "/* include_dirs: %s */\n", preamble->include_dirs->items[i]);
    }
}

static int
copy_folders(struct strings *to, const struct strings *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (strings_append(to, from->items[i], strlen(from->items[i])) < 0) {
            return -1;
        }
    }
    return 0;
}

int
preamble_unit(const struct preamble *preamble, struct unit *unit, struct buffer *headers)
{
    const struct includes *includes = &preamble->includes;
    unit->strict = true;
    unit->interpreter |= includes->python;
    unit->needs_gil |= includes->python;
    unit->uncacheable |= includes->computed || asks_for_headers(preamble);
    describe_options(preamble, &unit->options);
    buffer_append(headers, includes->contents.data, includes->contents.size);
    return unit->include_dirs.count > 0 ? 0
                                        : copy_folders(&unit->include_dirs, preamble->include_dirs);
}

/* extension.c: the sources of a CPython extension module -> a unit (tw.extension).
 *
 * The texts stay as they are, but for two things. libtcc finds "x.h" of a text in the folders of the unit alone, so where a header
 * lies beside the file that includes it, the line gets its full path: two files of one module may each have an
 * "x.h" of their own. And it knows no parentheses around the string that an array of char starts with.
 */
#include "extension.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

/* ---- Reading ---- */

/* #include "x.h" with a file of that name beside the text: its full path. */
static bool
find_beside(const struct module_text *text, const struct token *token, char path[PATH_MAX])
{
    char name[PATH_MAX];
    if (text->folder == NULL || token->kind != TOKEN_STRING || !include_name(token, name) ||
        name[0] == '/') {
        return false;
    }
    int length = snprintf(path, PATH_MAX, "%s/%s", text->folder, name);
    return length < PATH_MAX && strpbrk(path, "\"\\") == NULL && access(path, R_OK) == 0;
}

/* "] = ("text" "more");": the token behind the ), which libtcc would refuse, or NULL. */
static const struct token *
find_wrapped_string(const struct token *token)
{
    if (!token_is(token, "]") || !token_is(token + 1, "=") || !token_is(token + 2, "(")) {
        return NULL;
    }
    const struct token *end = token + 3;
    while (end->kind == TOKEN_STRING && !end->directive) {
        end++;
    }
    return end > token + 3 && token_is(end, ")") ? end : NULL;
}

/* Appends the text up to the token, and `instead` in its place. Returns the place behind it. */
static const char *
replace_token(struct buffer *text, const char *done, const struct token *token, const char *instead)
{
    buffer_append(text, done, (size_t)(token->start - done));
    buffer_append_string(text, instead);
    return token->start + token->length;
}

/* The text as libtcc gets it: full paths where find_beside knows them, no ( ) around the string that an array
 * starts with. */
static void
write_seen(struct module_text *text)
{
    const struct source *source = &text->sources[PREAMBLE_TEXTS];
    const char *done = source->text;
    char path[PATH_MAX + 2] = "\"";
    for (size_t i = 0; i + 2 < source->tokens.count; i++) {
        const struct token *token = &source->tokens.items[i], *close;
        if (token->directive && token->first && token_is(token + 1, "include") &&
            find_beside(text, token + 2, path + 1)) {
            strcat(path, "\"");
            done = replace_token(&text->text, done, token + 2, path);
        }
        else if ((close = find_wrapped_string(token)) != NULL) {
            done = replace_token(&text->text, done, token + 2, " ");
            done = replace_token(&text->text, done, close, " ");
        }
    }
    buffer_append(&text->text, done, (size_t)(source->text + source->length - done));
}

static int
read_seen(struct module_text *text, struct spot *spot)
{
    memcpy(text->seen, text->sources, sizeof(text->seen));
    write_seen(text);
    struct source *seen = &text->seen[PREAMBLE_TEXTS];
    seen->text = text->text.size > 0 ? text->text.data : "";
    seen->length = text->text.size;
    seen->tokens = (struct tokens){NULL, 0};
    if (text->text.failed) {
        *spot = (struct spot){0};
        return -1;
    }
    return lexer_scan(seen, spot);
}

static int
read_text(const struct module_texts *texts, struct module_text *text, struct spot *spot)
{
    for (int i = 0; i <= PREAMBLE_TEXTS; i++) {
        if (lexer_scan(&text->sources[i], spot) < 0) {
            return -1;
        }
    }
    if (check_module(&text->sources[PREAMBLE_TEXTS], spot) < 0 || read_seen(text, spot) < 0) {
        return -1;
    }
    text->preamble = (struct preamble){.sources = text->seen,
                                       .count = PREAMBLE_TEXTS + 1,
                                       .declaring = PREAMBLE_TEXTS,
                                       .include_dirs = texts->include_dirs};
    *spot = (struct spot){0};
    return preamble_read(&text->preamble);
}

/* ---- int *d = a->dimensions, of Numeric ---- */

static bool
same_name(const struct token *a, const struct token *b)
{
    return a->length == b->length && memcmp(a->start, b->start, a->length) == 0;
}

/* Whether the declaration that the token stands in begins with int: "static int i, *d". */
static bool
is_of_int(const struct token *token, const struct token *first)
{
    for (; token > first && !token_is(token, ";") && !token_is(token, "{") &&
           !token_is(token, "}") && !token_is(token, "(") && !token_is(token, "=");
         token--) {
        if (token_is(token, "int")) {
            return true;
        }
    }
    return false;
}

/* Whether the last declaration of the name in front of `at` is "int *name". */
static bool
is_int_pointer(const struct tokens *tokens, size_t at)
{
    for (size_t i = at; i > 1; i--) {
        const struct token *token = &tokens->items[i], *before = token - 2;
        if (same_name(token, &tokens->items[at]) && token_is(token - 1, "*") &&
            (before->kind == TOKEN_IDENTIFIER || token_is(before, ","))) {
            return is_of_int(before, tokens->items);
        }
    }
    return false;
}

/* "d = a->dimensions;": libtcc would take the npy_intp for ints with a mere warning. */
static int
check_dimensions(const struct source *source, struct spot *spot)
{
    const struct tokens *tokens = &source->tokens;
    for (size_t i = 4; i + 1 < tokens->count; i++) {
        const struct token *token = &tokens->items[i];
        bool member = (token_is(token, "dimensions") || token_is(token, "strides")) &&
                      token_is(token - 1, "->") && token_is(token + 1, ";");
        size_t assigned = i - 1;
        while (member && assigned > 1 && !token_is(&tokens->items[assigned], "=") &&
               !token_is(&tokens->items[assigned], ";")) {
            assigned--;
        }
        if (member && token_is(&tokens->items[assigned], "=") &&
            is_int_pointer(tokens, assigned - 1)) {
            return spot_fail(
                spot, source, token,
                "an int pointer cannot read '%.*s': NumPy's are npy_intp, 64 bits wide",
                (int)token->length, token->start);
        }
    }
    return 0;
}

int
extension_read(struct module_texts *texts, struct spot *spot)
{
    for (size_t i = 0; i < texts->count; i++) {
        struct module_text *text = &texts->items[i];
        if (read_text(texts, text, spot) < 0 ||
            (texts->compat && check_dimensions(&text->sources[PREAMBLE_TEXTS], spot) < 0)) {
            return -1;
        }
    }
    return 0;
}

void
extension_free(struct module_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        struct module_text *text = &texts->items[i];
        preamble_free(&text->preamble);
        lexer_free(&text->seen[PREAMBLE_TEXTS]);
        buffer_free(&text->text);
        for (int k = 0; k <= PREAMBLE_TEXTS; k++) {
            lexer_free(&text->sources[k]);
        }
    }
}

/* ---- Of which age ---- */

static bool
starts_with(const struct token *token, const char *start)
{
    return token->kind == TOKEN_IDENTIFIER && token->length >= strlen(start) &&
           memcmp(token->start, start, strlen(start)) == 0;
}

static bool
has_prefix(const struct module_texts *texts, const char *const *prefixes)
{
    for (size_t i = 0; i < texts->count; i++) {
        const struct tokens *tokens = &texts->items[i].sources[PREAMBLE_TEXTS].tokens;
        for (size_t k = 0; k < tokens->count; k++) {
            for (const char *const *prefix = prefixes; *prefix != NULL; prefix++) {
                if (starts_with(&tokens->items[k], *prefix)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Whether they know of Python 3, perhaps beside Python 2. */
static bool
is_modern(const struct module_texts *texts)
{
    static const char *const prefixes[] = {"PyInit_", "PyModule_Create", "PyModuleDef", NULL};
    return has_prefix(texts, prefixes);
}

bool
extension_is_old(const struct module_texts *texts)
{
    static const char *const old[] = {"Py_InitModule", "PyString_", "PyInt_",     "DL_EXPORT",
                                      "staticforward", "PyMODINIT", "statichere", NULL};
    return has_prefix(texts, old) && !is_modern(texts);
}

/* ---- The unit ---- */

int
extension_unit(const struct module_texts *texts, struct unit *unit, struct buffer *headers)
{
    bool mixed = texts->compat && is_modern(texts);
    for (size_t i = 0; i < texts->count; i++) {
        const struct module_text *text = &texts->items[i];
        if (i > 0) {
            buffer_append(&unit->text, "", 1);
        }
        if (preamble_unit(&text->preamble, unit, headers) < 0) {
            return -1;
        }
        buffer_append_string(&unit->text, "#line 1 \"tw:generated\"\n"
                                          "#include <tinyweave/extension.h>\n");
        buffer_append_string(&unit->text, mixed ? "#define TINYWEAVE_SLOTS_OF_TODAY\n" : "");
        for (int k = 0; k <= PREAMBLE_TEXTS; k++) {
            preamble_append(&text->seen[k], &unit->text);
        }
    }
    unit->strict = false; /* real modules are full of what libtcc warns of */
    unit->interpreter = unit->needs_gil = unit->extension = true;
    unit->unnamed_members = texts->compat;
    return unit->text.failed || headers->failed ? -1 : 0;
}

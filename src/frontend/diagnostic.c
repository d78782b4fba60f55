/* diagnostic.c: a message of libtcc or of the loader -> tw.CompileError with the user's own line. */
#include "diagnostic.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/symbols.h"

enum { NAME_SIZE = 64 }; /* longer names get no "did you mean" */

/* "tw:code:2: error: 'b' undeclared", taken apart. */
struct message {
    char file[256];
    int line;         /* 0: none was told */
    char text[500];   /* leaves room for a hint */
    char quoted[128]; /* the token the text quotes, or "" */
};

/* The search for a place: which source, and what in it. */
struct place {
    const struct source *sources;
    size_t count;
    const struct source *source;
    const struct token *token; /* NULL: not known */
    bool behind;               /* the place is where the token ends */
    bool at_end;               /* something is missing at the end of the source */
    int line;
};

/* ---- libtcc's message, taken apart ---- */

static void
copy(char *target, size_t size, const char *text, size_t length)
{
    length = length < size ? length : size - 1;
    memmove(target, text, length);
    target[length] = '\0';
}

/* "';' expected (got 'int')" -> "int"; "'b' undeclared" -> "b"; "field not found: x" -> "x" */
static void
find_quoted(struct message *message)
{
    static const char FIELD[] = "field not found: ";
    message->quoted[0] = '\0';
    if (strncmp(message->text, FIELD, strlen(FIELD)) == 0) {
        const char *name = message->text + strlen(FIELD);
        copy(message->quoted, sizeof(message->quoted), name, strlen(name));
        return;
    }
    const char *got = strstr(message->text, "(got '");
    const char *open = strchr(got != NULL ? got : message->text, '\'');
    const char *close = open == NULL  ? NULL
                        : got != NULL ? strrchr(open, '\'')
                                      : strchr(open + 1, '\'');
    if (close != NULL && close > open) {
        copy(message->quoted, sizeof(message->quoted), open + 1, (size_t)(close - open - 1));
    }
}

/* The ": error: " or ": warning: " between place and text, or NULL; `text`: what follows. */
static const char *
find_mark(const char *whole, const char **text)
{
    static const char *const marks[] = {": error: ", ": warning: "};
    for (int i = 0; i < 2; i++) {
        const char *mark = strstr(whole, marks[i]);
        if (mark != NULL) {
            *text = mark + strlen(marks[i]);
            return mark;
        }
    }
    return NULL;
}

/* Lines in front, "In file included from x.h:3:", are left out. */
static void
split_message(const char *whole, struct message *message)
{
    *message = (struct message){.line = 0};
    const char *text = whole;
    const char *mark = find_mark(whole, &text);
    copy(message->text, sizeof(message->text), text, strcspn(text, "\n"));
    find_quoted(message);
    if (mark == NULL) {
        return;
    }
    const char *start = mark;
    while (start > whole && start[-1] != '\n') {
        start--;
    }
    const char *colon = mark;
    while (colon > start && isdigit((unsigned char)colon[-1])) {
        colon--;
    }
    if (colon < mark && colon > start && colon[-1] == ':') {
        message->line = atoi(colon);
        copy(message->file, sizeof(message->file), start, (size_t)(colon - 1 - start));
    }
}

/* ---- names one may have meant ---- */

struct suggestion {
    const char *name; /* the undeclared one */
    size_t length;
    char best[NAME_SIZE];
    int rank; /* of the best; less is better */
};

static int
minimum(int a, int b)
{
    return a < b ? a : b;
}

/* How many insertions, deletions, replacements and swaps of neighbours make one name the other. */
static int
edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int rows[3][NAME_SIZE + 1];
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = (int)j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3];
        const int *two_above = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            row[j] =
                minimum(minimum(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = minimum(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a_length % 3][b_length];
}

static bool
same_letters(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int counts[UCHAR_MAX + 1] = {0};
    for (size_t i = 0; i < a_length; i++) {
        counts[(unsigned char)a[i]]++;
    }
    for (size_t i = 0; i < b_length; i++) {
        if (counts[(unsigned char)b[i]]-- == 0) {
            return false;
        }
    }
    return a_length == b_length;
}

/* At most 1 for names of up to 4 characters, 2 for longer ones; of one letter, only its other case. */
static void
consider(struct suggestion *suggestion, const char *name, size_t length)
{
    size_t wanted = suggestion->length;
    size_t difference = length > wanted ? length - wanted : wanted - length;
    if (length >= NAME_SIZE || wanted >= NAME_SIZE || difference > 2) {
        return;
    }
    if (wanted == 1 && (length != 1 || tolower((unsigned char)name[0]) !=
                                           tolower((unsigned char)suggestion->name[0]))) {
        return;
    }
    int limit = wanted <= 4 ? 1 : 2;
    int distance = edit_distance(suggestion->name, wanted, name, length);
    if (distance == 0 || distance > limit) {
        return;
    }
    /* of two as near, the one with the same letters: memcyp is memcpy rather than memcmp */
    int rank = 2 * distance - same_letters(suggestion->name, wanted, name, length);
    if (rank < suggestion->rank) {
        suggestion->rank = rank;
        copy(suggestion->best, sizeof(suggestion->best), name, length);
    }
}

static void
consider_keywords(struct suggestion *suggestion)
{
    static const char *const keywords[] = {
        "double",   "float", "int",    "long",   "short",  "unsigned", "signed",
        "char",     "void",  "const",  "bool",   "while",  "switch",   "sizeof",
        "continue", "break", "return", "static", "struct",
    };
    for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++) {
        consider(suggestion, keywords[i], strlen(keywords[i]));
    }
}

static void
consider_symbols(struct suggestion *suggestion)
{
    size_t count;
    const struct symbol *symbols = symbol_list(&count);
    bool ours = strncmp(suggestion->name, "tw", 2) == 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = symbols[i].name;
        size_t length = strlen(name);
        bool internal = name[length - 1] == '_' || (!ours && strncmp(name, "tw_", 3) == 0);
        if (symbols[i].declaration[0] != '\0' && !internal) {
            consider(suggestion, name, length);
        }
    }
}

/* Identifiers of the sources that libtcc got past: it stops at its first error, so whatever stands in
 * front of that was declared. */
static void
consider_sources(struct suggestion *suggestion, const struct place *place)
{
    const struct source *last =
        place->source != NULL ? place->source : place->sources + place->count;
    for (const struct source *source = place->sources;
         source < place->sources + place->count && source <= last; source++) {
        for (size_t i = 0; i < source->tokens.count; i++) {
            const struct token *token = &source->tokens.items[i];
            if (source == last &&
                (place->token != NULL ? token >= place->token : token->line >= place->line)) {
                break;
            }
            bool macro = token->directive && i > 1 && token_is(token - 1, "define");
            if (token->kind == TOKEN_IDENTIFIER && (macro || !token->directive)) {
                consider(suggestion, token->start, token->length);
            }
        }
    }
}

/* Writes "undeclared function 'sqr'; did you mean 'sqrt'?" */
static void
say_undeclared(const struct message *message, const struct place *place, const char *what,
               char *text, size_t size)
{
    struct suggestion suggestion = {
        .name = message->quoted, .length = strlen(message->quoted), .rank = INT_MAX};
    consider_sources(&suggestion, place);
    consider_keywords(&suggestion);
    consider_symbols(&suggestion);
    int length = snprintf(text, size, "undeclared %s '%s'", what, message->quoted);
    if (suggestion.best[0] != '\0') {
        snprintf(text + length, size - (size_t)length, "; did you mean '%s'?", suggestion.best);
    }
}

/* ---- the place ---- */

static bool
ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static bool
is_undeclared_function(const struct message *message)
{
    return strncmp(message->text, "implicit declaration of function '", 34) == 0;
}

static bool
is_undeclared_name(const struct message *message)
{
    return message->text[0] == '\'' && ends_with(message->text, "' undeclared");
}

/* Whether the message tells of a name, not of what happens to stand where the parser stopped. */
static bool
is_about_name(const struct message *message)
{
    return is_undeclared_function(message) || is_undeclared_name(message) ||
           strncmp(message->text, "label '", 7) == 0 || strncmp(message->text, "macro '", 7) == 0 ||
           strncmp(message->text, "EOF in invocation", 17) == 0 ||
           strncmp(message->text, "field not found", 15) == 0;
}

/* "X expected", "expression expected before 'Y'": something is missing. */
static bool
is_missing(const struct message *message)
{
    return ends_with(message->text, " expected") || strstr(message->text, " expected (got '") ||
           strstr(message->text, " expected before '");
}

/* A header is quoted without its <> or "". */
static bool
is_quoted(const struct token *token, const char *quoted)
{
    if (token->kind == TOKEN_HEADER || token->kind == TOKEN_STRING) {
        size_t length = strlen(quoted);
        return token->length == length + 2 && memcmp(token->start + 1, quoted, length) == 0;
    }
    return token_is(token, quoted);
}

static const struct token *
last_token(const struct source *source)
{
    return source->tokens.count > 0 ? &source->tokens.items[source->tokens.count - 1] : NULL;
}

/* The last token spelled so, not behind `line` (0: anywhere). */
static const struct token *
find_last(const struct source *source, const char *spelling, int line)
{
    for (size_t i = source->tokens.count; i-- > 0;) {
        const struct token *token = &source->tokens.items[i];
        if ((line == 0 || token->line <= line) && token_is(token, spelling)) {
            return token;
        }
    }
    return NULL;
}

/* The quoted token when it stands exactly once in the line, else the line's first token; NULL when it
 * has none. */
static const struct token *
find_in_line(const struct source *source, int line, const char *quoted, bool *found)
{
    const struct token *first = NULL;
    const struct token *match = NULL;
    int count = 0;
    for (size_t i = 0; i < source->tokens.count && source->tokens.items[i].line <= line; i++) {
        const struct token *token = &source->tokens.items[i];
        if (token->line < line) {
            continue;
        }
        first = first != NULL ? first : token;
        if (quoted[0] != '\0' && is_quoted(token, quoted)) {
            match = token;
            count++;
        }
    }
    *found = count > 0;
    return count == 1 ? match : first;
}

static void
place_at_end(struct place *place, const struct source *source)
{
    place->source = source;
    place->token = last_token(source);
    place->behind = place->at_end = true;
    place->line = place->token != NULL ? place->token->line : 1;
}

/* A place in the user's text. */
static void
place_in_source(struct place *place, const struct message *message)
{
    const struct source *source = place->source;
    const struct token *last = last_token(source);
    if (last != NULL && message->line > last->line) {
        place_at_end(place, source);
        const struct token *name =
            is_about_name(message) ? find_last(source, message->quoted, 0) : NULL;
        if (name != NULL) {
            place->token = name;
            place->behind = place->at_end = false;
        }
        return;
    }
    bool found;
    const struct token *token = find_in_line(source, message->line, message->quoted, &found);
    if (!found && is_about_name(message)) {
        /* libtcc has read one token on, maybe on a later line, before it looks a name up. */
        const struct token *before = find_last(source, message->quoted, message->line);
        token = before != NULL ? before : token;
    }
    place->token = token;
    place->line = message->line;
    bool leads = token != NULL && token > source->tokens.items && token[-1].line < token->line;
    if (leads && strstr(message->text, " expected (got '") && is_quoted(token, message->quoted)) {
        place->token = token - 1;
        place->behind = true;
    }
}

/* Whether the text between support code and snippet brought the error to light: what stands in front of
 * it does not end. Behind the snippet stands a ';'. */
static bool
is_head(const struct message *message)
{
    return strcmp(message->quoted, "void") == 0 || strcmp(message->quoted, "static") == 0 ||
           strcmp(message->text, "too many basic types") == 0;
}

/* A place in text of ours: what the user gave in front of it is to blame. */
static void
place_in_generated(struct place *place, const struct message *message)
{
    const struct source *last = place->count > 0 ? &place->sources[place->count - 1] : NULL;
    for (size_t i = place->count; i-- > 0 && is_about_name(message);) {
        place->token = find_last(&place->sources[i], message->quoted, 0);
        if (place->token != NULL) {
            place->source = &place->sources[i];
            place->line = place->token->line;
            return;
        }
    }
    if (is_head(message)) {
        for (const struct source *source = last; source-- > place->sources;) {
            if (source->tokens.count > 0) {
                place_at_end(place, source);
                return;
            }
        }
    }
    if (last != NULL) {
        place_at_end(place, last);
    }
}

/* libtcc tells no line for inline assembler. */
static void
place_assembler(struct place *place)
{
    static const char *const words[] = {"asm", "__asm__", "__asm"};
    for (size_t i = 0; i < place->count; i++) {
        for (size_t k = 0; k < 3 && place->token == NULL; k++) {
            place->source = &place->sources[i];
            place->token = find_last(place->source, words[k], 0);
            place->line = place->token != NULL ? place->token->line : 0;
        }
    }
    if (place->token == NULL) {
        place->source = NULL;
    }
}

static const struct source *
source_of(const struct place *place, const char *label)
{
    for (size_t i = 0; i < place->count; i++) {
        if (strcmp(place->sources[i].label, label) == 0) {
            return &place->sources[i];
        }
    }
    return NULL;
}

/* A file of the user's: one that #line names, or a header. */
static bool
is_own_file(const struct place *place, const char *file)
{
    return file[0] != '\0' && file[0] != '<' && strncmp(file, "tw:", 3) != 0 &&
           source_of(place, file) == NULL;
}

static void
find_place(struct place *place, const struct message *message)
{
    place->source = source_of(place, message->file);
    if (message->line == 0) {
        place->source = NULL;
        if (message->file[0] != '\0') {
            place_assembler(place);
        }
    }
    else if (place->source != NULL) {
        place_in_source(place, message);
    }
    else {
        place_in_generated(place, message);
    }
}

static void
set_spot(struct spot *spot, const struct place *place)
{
    spot->source = place->source;
    spot->line = place->line;
    const struct token *token = place->token;
    if (token == NULL) {
        spot->column = place->source != NULL ? 1 : 0;
        return;
    }
    spot->line = token->line;
    spot->column = token->column;
    if (place->behind) {
        for (size_t i = 0; i < token->length; i++) {
            bool newline = token->start[i] == '\n';
            spot->line += newline;
            spot->column = newline ? 1 : spot->column + 1;
        }
    }
}

/* ---- the message ---- */

static bool
has_token(const struct place *place, const char *spelling)
{
    for (size_t i = 0; i < place->count; i++) {
        if (find_last(&place->sources[i], spelling, 0) != NULL) {
            return true;
        }
    }
    return false;
}

/* A name of generated text in the message, other than one the user wrote. */
static bool
find_internal(const struct message *message, const struct place *place, char name[NAME_SIZE])
{
    const char *at = message->text;
    while ((at = strstr(at, "tw_")) != NULL) {
        size_t length = 0;
        while (isalnum((unsigned char)at[length]) || at[length] == '_') {
            length++;
        }
        copy(name, NAME_SIZE, at, length);
        const struct symbol *symbol = symbol_find(name, strlen(name));
        bool known = symbol != NULL && symbol->declaration[0] != '\0' &&
                     name[strlen(name) - 1] != '_' && strcmp(name, "tw_call") != 0 &&
                     strncmp(name, "tw_return", 9) != 0 && strcmp(name, "tw_argument") != 0;
        if (!known && !has_token(place, name)) {
            return true;
        }
        at += length;
    }
    return false;
}

static void
say_internal(const char *name, char *text, size_t size)
{
    const char *said = "this does not fit into the function that is made of the snippet";
    if (strncmp(name, "tw_return", 9) == 0) {
        said = "return_val takes one expression: a number, a string, a complex or a PyObject *";
    }
    else if (strcmp(name, "tw_call") == 0 || strcmp(name, "tw_args") == 0) {
        said = "return_val and tw_raise belong to the snippet's own text";
    }
    else if (strncmp(name, "tw_S", 4) == 0) {
        said = "the macros A1 ... A4 belong to the snippet's own text";
    }
    snprintf(text, size, "%s", said);
}

/* "type 'double *' does not match any association": the dispatch that return_val is made into. */
static bool
is_return_type(const struct message *message, const struct place *place)
{
    return strncmp(message->text, "type '", 6) == 0 &&
           ends_with(message->text, "' does not match any association") &&
           has_token(place, "return_val") && !has_token(place, "_Generic");
}

/* "';' expected (got '}')" at the end of the snippet -> "';' expected at the end of code" */
static void
say_missing(const struct message *message, const struct place *place, char *text, size_t size)
{
    const char *end = strstr(message->text, " expected");
    int length = end != NULL ? (int)(end - message->text) : 0;
    if (end == NULL || length == 0) {
        snprintf(text, size, "';' expected at the end of %s", place->source->argument);
        return;
    }
    snprintf(text, size, "%.*s expected at the end of %s", length, message->text,
             place->source->argument);
}

static const struct {
    const char *theirs;
    const char *ours;
} REWORDED[] = {
    {"void function returns a value",
     "a snippet returns its result by return_val = ...; (return; leaves it early)"},
    {"assignment of read-only location", "assignment of read-only location: it is const"},
    {"assignment discards qualifiers from pointer target type",
     "a pointer to const (a read-only array?) is given where its target may be written to"},
    {"unknown type size",
     "unknown type size: a PyObject is seen only through Python's functions, not by * or []"},
    {"invalid operand types for binary operation",
     "invalid operand types: C's operators take numbers; write x[i] for an array's element, "
     "tw_add(x, y), tw_mul(x, y) and so on for complex numbers"},
    {"invalid aggregate type for register load",
     "a number is expected, and this is a struct; complex numbers take tw_sqrt(x), tw_real(x) and "
     "so on"},
    {"'{' expected (got ';')",
     "'{' expected (got ';'): arrays and structs take {...}, structs also one of their type; "
     "tw_cast(type, x) makes a complex number of any other"},
    {"too many basic types",
     "too many basic types: is a ';' missing, or a keyword used as a name?"},
};

static void
say_plain(const struct message *message, char *text, size_t size)
{
    const char *said = message->text;
    for (size_t i = 0; i < sizeof(REWORDED) / sizeof(*REWORDED); i++) {
        if (strcmp(said, REWORDED[i].theirs) == 0) {
            said = REWORDED[i].ours;
        }
    }
    bool include = strncmp(said, "include file '", 14) == 0 && ends_with(said, "' not found");
    snprintf(text, size, "%s%s", said, include ? ": name its folder in include_dirs=[...]" : "");
}

static void
say(const struct message *message, const struct place *place, char *text, size_t size)
{
    char name[NAME_SIZE];
    if (find_internal(message, place, name)) {
        say_internal(name, text, size);
    }
    else if (is_undeclared_function(message)) {
        say_undeclared(message, place, "function", text, size);
    }
    else if (is_undeclared_name(message)) {
        say_undeclared(message, place, "name", text, size);
    }
    else if (is_return_type(message, place)) {
        snprintf(text, size,
                 "return_val cannot be a '%s': give a number, a string, a complex or a PyObject *",
                 message->quoted);
    }
    else if (place->at_end && (is_missing(message) || is_head(message))) {
        say_missing(message, place, text, size);
    }
    else {
        say_plain(message, text, size);
    }
}

static void
replace(struct message *message, const char *theirs, const char *ours)
{
    char *at = strstr(message->text, theirs);
    if (at == NULL) {
        return;
    }
    char after[sizeof(message->text)];
    const char *rest = at + strlen(theirs);
    copy(after, sizeof(after), rest, strlen(rest));
    snprintf(at, sizeof(message->text) - (size_t)(at - message->text), "%s%s", ours, after);
    find_quoted(message);
}

/* libtcc stopped at what stands for the user's text, or behind it: "(got '_Generic')". */
static void
undo_generated(struct message *message, const struct place *place)
{
    if (has_token(place, "return_val") && !has_token(place, "_Generic")) {
        replace(message, "'_Generic'", "'return_val'");
    }
    replace(message, "'tw_nothing'", "'void'");
}

/* ---- undefined symbols ---- */

/* "a b" -> "undefined symbols 'a', 'b': ..." */
static void
say_undefined(const char *names, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "undefined symbol%s", strchr(names, ' ') ? "s" : "");
    const char *separator = " ";
    while (*names != '\0' && used < size - 200) {
        int length = (int)strcspn(names, " ");
        used += (size_t)snprintf(text + used, size - used, "%s'%.*s'", separator,
                                 length < 100 ? length : 100, names);
        names += length;
        names += strspn(names, " ");
        separator = ", ";
    }
    snprintf(text + used, size - used,
             "%s: no library given has it; name the one that does in libraries=[...]",
             *names != '\0' ? " ..." : "");
}

static void
locate_symbol(const char *names, struct place *place)
{
    char name[NAME_SIZE * 4];
    while (*names != '\0' && place->token == NULL) {
        size_t length = strcspn(names, " ");
        copy(name, sizeof(name), names, length);
        for (size_t i = 0; i < place->count && place->token == NULL; i++) {
            const struct tokens *tokens = &place->sources[i].tokens;
            for (size_t k = 0; k < tokens->count && place->token == NULL; k++) {
                if (token_is(&tokens->items[k], name)) {
                    place->source = &place->sources[i];
                    place->token = &tokens->items[k];
                }
            }
        }
        names += length;
        names += strspn(names, " ");
    }
}

void
diagnostic_locate(const struct problem *problem, const struct source *sources, size_t count,
                  struct spot *spot, char file[256])
{
    *spot = (struct spot){.source = NULL};
    file[0] = '\0';
    struct place place = {.sources = sources, .count = count};
    if (problem->kind == PROBLEM_SYMBOL) {
        locate_symbol(problem->text, &place);
        set_spot(spot, &place);
        say_undefined(problem->text, spot->message, sizeof(spot->message));
        return;
    }
    struct message message;
    split_message(problem->text, &message);
    undo_generated(&message, &place);
    if (is_own_file(&place, message.file)) {
        copy(file, 256, message.file, strlen(message.file));
        place.line = message.line;
    }
    else {
        find_place(&place, &message);
    }
    set_spot(spot, &place);
    say(&message, &place, spot->message, sizeof(spot->message));
}

/* ---- the exception ---- */

struct line {
    const char *start;
    size_t length;
};

static struct line
line_of(const struct source *source, int number)
{
    const char *at = source->text;
    const char *end = at + source->length;
    while (number > 1 && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline != NULL ? newline + 1 : end;
        number--;
    }
    const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    const char *stop = newline != NULL ? newline : end;
    if (stop > at && stop[-1] == '\r') {
        stop--;
    }
    return (struct line){at, (size_t)(stop - at)};
}

/* Characters in so many bytes of UTF-8, or -1 with an exception. */
static Py_ssize_t
character_count(const char *bytes, size_t length)
{
    PyObject *text = PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)length, "replace");
    if (text == NULL) {
        return -1;
    }
    Py_ssize_t count = PyUnicode_GetLength(text);
    Py_DECREF(text);
    return count;
}

/* Bytes of the token that starts at the spot and ends on its line; 1 where there is none. */
static size_t
spot_length(const struct spot *spot)
{
    const struct tokens *tokens = &spot->source->tokens;
    for (size_t i = 0; i < tokens->count && tokens->items[i].line <= spot->line; i++) {
        const struct token *token = &tokens->items[i];
        if (token->line == spot->line && token->column == spot->column &&
            memchr(token->start, '\n', token->length) == NULL) {
            return token->length;
        }
    }
    return 1;
}

/* ", script.py:12", where Python code called; "" without a frame. A new string. */
static PyObject *
call_site(void)
{
    PyFrameObject *frame = PyEval_GetFrame();
    if (frame == NULL) {
        return PyUnicode_FromString("");
    }
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *path = PyObject_GetAttrString((PyObject *)code, "co_filename");
    Py_DECREF(code);
    if (path == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    Py_ssize_t length = PyUnicode_GetLength(path);
    Py_ssize_t slash = PyUnicode_FindChar(path, '/', 0, length, -1);
    PyObject *name = slash >= -1 ? PyUnicode_Substring(path, slash + 1, length) : NULL;
    if (name != NULL) {
        result = PyUnicode_FromFormat(", %U:%d", name, PyFrame_GetLineNumber(frame));
        Py_DECREF(name);
    }
    Py_DECREF(path);
    return result;
}

/* "<inline code, script.py:12>", or the file of the user's own. */
static PyObject *
make_filename(const char *function, const struct source *source, const char *file)
{
    if (file[0] != '\0') {
        return PyUnicode_DecodeFSDefault(file);
    }
    PyObject *site = call_site();
    if (site == NULL) {
        return NULL;
    }
    const char *argument = source != NULL ? source->argument : "";
    PyObject *name = PyUnicode_FromFormat("<%s%s%s%U>", function, argument[0] != '\0' ? " " : "",
                                          argument, site);
    Py_DECREF(site);
    return name;
}

/* A place in a file of the user's own, a header: its line is shown, without a column. */
static PyObject *
make_file_place(PyObject *filename, int number)
{
    PyObject *linecache = number > 0 ? PyImport_ImportModule("linecache") : NULL;
    PyObject *line_text = linecache == NULL
                              ? NULL
                              : PyObject_CallMethod(linecache, "getline", "Oi", filename, number);
    PyObject *text = line_text == NULL ? NULL : PyObject_CallMethod(line_text, "rstrip", NULL);
    Py_XDECREF(linecache);
    Py_XDECREF(line_text);
    if (text == NULL || PyUnicode_GetLength(text) == 0) { /* no such file here */
        PyErr_Clear();
        Py_XSETREF(text, Py_NewRef(Py_None));
    }
    PyObject *line = number > 0 ? PyLong_FromLong(number) : Py_NewRef(Py_None);
    return Py_BuildValue("ONON", filename, line, Py_None, text);
}

/* (filename, lineno, offset, text, end_lineno, end_offset) */
static PyObject *
make_place(PyObject *filename, const struct spot *spot)
{
    if (spot->source == NULL || spot->line == 0) {
        return make_file_place(filename, spot->line);
    }
    struct line line = line_of(spot->source, spot->line);
    size_t start = spot->column > 0 ? (size_t)spot->column - 1 : 0;
    start = start < line.length ? start : line.length;
    size_t length = spot_length(spot);
    length = length < line.length - start ? length : line.length - start;
    Py_ssize_t offset = character_count(line.start, start);
    Py_ssize_t width = offset < 0 ? -1 : character_count(line.start + start, length);
    if (width < 0) {
        return NULL;
    }
    PyObject *text = PyUnicode_DecodeUTF8(line.start, (Py_ssize_t)line.length, "replace");
    return Py_BuildValue("OinNin", filename, spot->line, offset + 1, text, spot->line,
                         offset + 1 + (width > 0 ? width : 1));
}

PyObject *
diagnostic_raise(PyObject *type, const char *function, const struct spot *spot, const char *file)
{
    PyObject *filename = make_filename(function, spot->source, file);
    PyObject *place = filename != NULL ? make_place(filename, spot) : NULL;
    Py_XDECREF(filename);
    PyObject *message =
        place != NULL
            ? PyUnicode_DecodeUTF8(spot->message, (Py_ssize_t)strlen(spot->message), "replace")
            : NULL;
    PyObject *error =
        message != NULL ? PyObject_CallFunctionObjArgs(type, message, place, NULL) : NULL;
    Py_XDECREF(message);
    Py_XDECREF(place);
    if (error != NULL) {
        PyErr_SetObject(type, error);
        Py_DECREF(error);
    }
    return NULL;
}

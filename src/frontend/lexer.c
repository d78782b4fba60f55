/* lexer.c: C text -> tokens, each with its place in the user's text. */
#include "lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct place {
    size_t at;
    int line;
    size_t line_start;
};

struct scanner {
    const char *text;
    size_t length;
    struct place place;
    struct tokens *tokens;
    size_t capacity;
    bool first;       /* the next token is the first of its line */
    bool directive;   /* inside a preprocessor line */
    int conditionals; /* #if without their #endif so far */
    size_t mark;      /* index of the # of the directive */
    struct spot *spot;
};

/* Bytes of a line continuation at `at`, else 0. The end of the text counts as a line end: whoever puts
 * texts together adds one. */
static size_t
continuation(const char *text, size_t length, size_t at)
{
    if (text[at] != '\\') {
        return 0;
    }
    size_t next = at + 1;
    if (next < length && text[next] == '\r') {
        next++;
    }
    if (next >= length) {
        return length - at;
    }
    return text[next] == '\n' ? next + 1 - at : 0;
}

static size_t
skip_continuations(const struct scanner *scanner, size_t at)
{
    while (at < scanner->length) {
        size_t size = continuation(scanner->text, scanner->length, at);
        if (size == 0) {
            break;
        }
        at += size;
    }
    return at;
}

/* The character `ahead` characters on, line continuations left out; -1 behind the text. */
static int
peek(const struct scanner *scanner, int ahead)
{
    size_t at = skip_continuations(scanner, scanner->place.at);
    while (ahead-- > 0 && at < scanner->length) {
        at = skip_continuations(scanner, at + 1);
    }
    return at < scanner->length ? (unsigned char)scanner->text[at] : -1;
}

static void
move_to(struct scanner *scanner, size_t end)
{
    struct place *place = &scanner->place;
    while (place->at < end) {
        if (scanner->text[place->at++] == '\n') {
            place->line++;
            place->line_start = place->at;
        }
    }
}

static void
advance(struct scanner *scanner)
{
    size_t at = skip_continuations(scanner, scanner->place.at);
    move_to(scanner, at < scanner->length ? at + 1 : at);
}

static int
scan_error(struct scanner *scanner, const struct place *place, const char *message)
{
    scanner->spot->line = place->line;
    scanner->spot->column = (int)(place->at - place->line_start) + 1;
    snprintf(scanner->spot->message, sizeof(scanner->spot->message), "%s", message);
    return -1;
}

static bool
is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool
is_identifier_start(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c >= 0x80;
}

static bool
is_identifier_part(int c)
{
    return is_identifier_start(c) || is_digit(c);
}

static bool
is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static void
skip_line_comment(struct scanner *scanner)
{
    int c;
    while ((c = peek(scanner, 0)) != '\n' && c != -1) {
        advance(scanner);
    }
}

static int
skip_block_comment(struct scanner *scanner)
{
    struct place start = scanner->place;
    advance(scanner);
    advance(scanner);
    while (peek(scanner, 0) != '*' || peek(scanner, 1) != '/') {
        if (peek(scanner, 0) == -1) {
            return scan_error(scanner, &start, "this comment is never closed by '*/'");
        }
        advance(scanner);
    }
    advance(scanner);
    advance(scanner);
    return 0;
}

/* Skips to the start of the next token. */
static int
skip_blank(struct scanner *scanner)
{
    for (;;) {
        move_to(scanner, skip_continuations(scanner, scanner->place.at));
        int c = peek(scanner, 0);
        if (c == '\n') {
            advance(scanner);
            scanner->first = true;
            scanner->directive = false;
        }
        else if (is_space(c)) {
            advance(scanner);
        }
        else if (c == '/' && peek(scanner, 1) == '/') {
            skip_line_comment(scanner);
        }
        else if (c == '/' && peek(scanner, 1) == '*') {
            if (skip_block_comment(scanner) < 0) {
                return -1;
            }
        }
        else {
            return 0;
        }
    }
}

static struct token *
append(struct scanner *scanner, enum token_kind kind, const struct place *start)
{
    struct tokens *tokens = scanner->tokens;
    if (tokens->count == scanner->capacity) {
        size_t capacity = scanner->capacity ? 2 * scanner->capacity : 64;
        struct token *items = realloc(tokens->items, capacity * sizeof(*items));
        if (items == NULL) {
            scanner->spot->message[0] = '\0';
            return NULL;
        }
        tokens->items = items;
        scanner->capacity = capacity;
    }
    struct token *token = &tokens->items[tokens->count];
    *token = (struct token){
        .kind = kind,
        .directive = scanner->directive,
        .first = scanner->first,
        .start = scanner->text + start->at,
        .length = scanner->place.at - start->at,
        .line = start->line,
        .column = (int)(start->at - start->line_start) + 1,
    };
    return token;
}

/* Where prose may stand: "#error don't", or a part that #if leaves out. */
static bool
is_lenient(const struct scanner *scanner)
{
    return scanner->directive || scanner->conditionals > 0;
}

/* "...", '...', from the quote on. */
static int
scan_quoted(struct scanner *scanner, const struct place *start)
{
    int quote = peek(scanner, 0);
    advance(scanner);
    for (;;) {
        int c = peek(scanner, 0);
        if (c == '\n' || c == -1) {
            if (is_lenient(scanner)) {
                return 0;
            }
            return scan_error(scanner, start,
                              quote == '"' ? "this string is never closed by '\"'"
                                           : "this character is never closed by \"'\"");
        }
        advance(scanner);
        if (c == quote) {
            return 0;
        }
        if (c == '\\' && peek(scanner, 0) != '\n') {
            advance(scanner);
        }
    }
}

static bool
is_prefix(const struct scanner *scanner, const struct place *start)
{
    struct token token = {.start = scanner->text + start->at,
                          .length = scanner->place.at - start->at};
    return token_is(&token, "L") || token_is(&token, "u") || token_is(&token, "U") ||
           token_is(&token, "u8");
}

/* 12, .5, 1e-3, 0x1p+3, 1.5f: whatever starts like a number and goes on like one. */
static void
scan_number(struct scanner *scanner)
{
    int before = 0;
    for (;;) {
        int c = peek(scanner, 0);
        bool exponent = before == 'e' || before == 'E' || before == 'p' || before == 'P';
        if (!is_identifier_part(c) && c != '.' && !(exponent && (c == '+' || c == '-'))) {
            return;
        }
        advance(scanner);
        before = c;
    }
}

/* <stdio.h>; false when no > follows on the line. */
static bool
scan_header(struct scanner *scanner)
{
    struct place start = scanner->place;
    for (;;) {
        int c = peek(scanner, 0);
        if (c == '\n' || c == -1) {
            scanner->place = start;
            return false;
        }
        advance(scanner);
        if (c == '>') {
            return true;
        }
    }
}

/* The length of the longest punctuator here; 0: none. */
static int
punctuator_length(const struct scanner *scanner)
{
    static const char *const longer[] = {
        "%:%:", "...", "<<=", ">>=", "##", "->", "++", "--", "<<", ">>",
        "<=",   ">=",  "==",  "!=",  "&&", "||", "*=", "/=", "%=", "+=",
        "-=",   "&=",  "^=",  "|=",  "<:", ":>", "<%", "%>", "%:",
    };
    int c = peek(scanner, 0);
    if (c <= 0 || strchr("[](){}.&*+-~!/%<>^|?:;=,#", c) == NULL) {
        return 0;
    }
    int next = peek(scanner, 1);
    for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++) {
        const char *text = longer[i];
        if (text[0] != c || text[1] != next) {
            continue;
        }
        int length = 2;
        while (text[length] != '\0' && text[length] == peek(scanner, length)) {
            length++;
        }
        if (text[length] == '\0') {
            return length;
        }
    }
    return 1;
}

static int
scan_punctuator(struct scanner *scanner, const struct place *start)
{
    int length = punctuator_length(scanner);
    if (length == 0) {
        int c = peek(scanner, 0);
        if (!is_lenient(scanner)) {
            char message[64];
            snprintf(message, sizeof(message),
                     c > ' ' && c < 0x7f ? "stray '%c'" : "stray byte 0x%02x", c);
            return scan_error(scanner, start, message);
        }
        length = 1;
    }
    while (length-- > 0) {
        advance(scanner);
    }
    return 0;
}

/* Whether the tokens so far are "# include". */
static bool
header_follows(const struct scanner *scanner)
{
    const struct tokens *tokens = scanner->tokens;
    if (!scanner->directive || tokens->count != scanner->mark + 2) {
        return false;
    }
    const struct token *name = &tokens->items[tokens->count - 1];
    return token_is(name, "include") || token_is(name, "include_next") || token_is(name, "import");
}

static int
scan_token(struct scanner *scanner, enum token_kind *kind)
{
    struct place start = scanner->place;
    int c = peek(scanner, 0);
    if (is_digit(c) || (c == '.' && is_digit(peek(scanner, 1)))) {
        *kind = TOKEN_NUMBER;
        scan_number(scanner);
        return 0;
    }
    if (is_identifier_start(c)) {
        *kind = TOKEN_IDENTIFIER;
        while (is_identifier_part(peek(scanner, 0))) {
            advance(scanner);
        }
        c = peek(scanner, 0);
        if ((c != '"' && c != '\'') || !is_prefix(scanner, &start)) {
            return 0;
        }
    }
    if (c == '"' || c == '\'') {
        *kind = c == '"' ? TOKEN_STRING : TOKEN_CHARACTER;
        return scan_quoted(scanner, &start);
    }
    if (c == '<' && header_follows(scanner) && scan_header(scanner)) {
        *kind = TOKEN_HEADER;
        return 0;
    }
    *kind = TOKEN_PUNCTUATOR;
    return scan_punctuator(scanner, &start);
}

/* Keeps track of directives and of #if ... #endif once a token is known. */
static void
follow_directive(struct scanner *scanner, struct token *token)
{
    size_t index = scanner->tokens->count;
    if (token->first && (token_is(token, "#") || token_is(token, "%:"))) {
        token->directive = scanner->directive = true;
        scanner->mark = index;
    }
    else if (token->directive && index == scanner->mark + 1) {
        if (token_is(token, "if") || token_is(token, "ifdef") || token_is(token, "ifndef")) {
            scanner->conditionals++;
        }
        else if (token_is(token, "endif") && scanner->conditionals > 0) {
            scanner->conditionals--;
        }
    }
}

static int
scan_all(struct scanner *scanner)
{
    for (;;) {
        if (skip_blank(scanner) < 0) {
            return -1;
        }
        struct place start = scanner->place;
        enum token_kind kind = TOKEN_END;
        bool end = start.at >= scanner->length;
        if (!end && scan_token(scanner, &kind) < 0) {
            return -1;
        }
        struct token *token = append(scanner, kind, &start);
        if (token == NULL) {
            return -1;
        }
        if (end) {
            token->directive = false;
            return 0;
        }
        follow_directive(scanner, token);
        scanner->first = false;
        scanner->tokens->count++;
    }
}

/* C has no NUL, and libtcc takes the first one for the end of the text. */
static int
refuse_nul(struct scanner *scanner)
{
    const char *nul = scanner->length > 0 ? memchr(scanner->text, '\0', scanner->length) : NULL;
    if (nul == NULL) {
        return 0;
    }
    struct place start = scanner->place;
    move_to(scanner, (size_t)(nul - scanner->text));
    int result = scan_error(scanner, &scanner->place, "a NUL character in the text");
    scanner->place = start;
    return result;
}

int
lexer_scan(struct source *source, struct spot *spot)
{
    source->tokens = (struct tokens){NULL, 0};
    *spot = (struct spot){.source = source};
    struct scanner scanner = {
        .text = source->text,
        .length = source->length,
        .place = {0, 1, 0},
        .tokens = &source->tokens,
        .first = true,
        .spot = spot,
    };
    if (refuse_nul(&scanner) < 0 || scan_all(&scanner) < 0) {
        lexer_free(source);
        return -1;
    }
    return 0;
}

void
lexer_free(struct source *source)
{
    free(source->tokens.items);
    source->tokens = (struct tokens){NULL, 0};
}

bool
token_opens(const struct token *token)
{
    return token_is(token, "(") || token_is(token, "[") || token_is(token, "{");
}

bool
token_closes(const struct token *token)
{
    return token_is(token, ")") || token_is(token, "]") || token_is(token, "}");
}

int
spot_fail(struct spot *spot, const struct source *source, const struct token *token,
          const char *format, ...)
{
    *spot = (struct spot){.source = source, .line = token->line, .column = token->column};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(spot->message, sizeof(spot->message), format, arguments);
    va_end(arguments);
    return -1;
}

int
token_compare(const struct token *a, const struct token *b)
{
    return a->length != b->length ? (a->length < b->length ? -1 : 1)
                                  : memcmp(a->start, b->start, a->length);
}

bool
token_is(const struct token *token, const char *text)
{
    for (size_t at = 0; at < token->length;) {
        size_t size = continuation(token->start, token->length, at);
        if (size > 0) {
            at += size;
            continue;
        }
        if (*text == '\0' || *text != token->start[at]) {
            return false;
        }
        text++;
        at++;
    }
    return *text == '\0';
}

size_t
token_spell(const struct token *token, char *text)
{
    size_t length = 0;
    for (size_t at = 0; at < token->length;) {
        /* a backslash alone is a stray one */
        bool last = at + 1 == token->length;
        size_t size = last ? 0 : continuation(token->start, token->length, at);
        if (size == 0) {
            text[length++] = token->start[at++];
        }
        at += size;
    }
    return length;
}

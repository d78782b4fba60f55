/* lexer.h: C text -> tokens, each with its place in the user's text. */
#ifndef TINYWEAVE_LEXER_H
#define TINYWEAVE_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
    TOKEN_IDENTIFIER, /* keywords too */
    TOKEN_NUMBER,     /* a preprocessing number */
    TOKEN_STRING,     /* "...", with its prefix */
    TOKEN_CHARACTER,  /* '...', with its prefix */
    TOKEN_PUNCTUATOR, /* the longest that fits: <<= before << before < */
    TOKEN_HEADER,     /* <stdio.h> behind #include */
    TOKEN_END,        /* behind the last token; length 0 */
};

struct token {
    enum token_kind kind;
    bool directive;    /* stands in a preprocessor line; its first token is the # */
    bool first;        /* the first of its line (lines joined by a backslash are one) */
    const char *start; /* into the text given */
    size_t length;     /* as written: a line continuation inside a token counts */
    int line;          /* from 1, in the text given */
    int column;        /* from 1, in bytes */
};

struct tokens {
    struct token *items; /* ends with TOKEN_END */
    size_t count;        /* without TOKEN_END */
};

/* A text the user gave: the snippet, support_code ... `label` names it in #line marks ("tw:code"), so
 * that a message of libtcc leads back to it. */
struct source {
    const char *label;
    const char *argument; /* what the user calls it: "code", "support_code" */
    const char *text;
    size_t length;
    bool system; /* not given: a header of the system's */
    struct tokens tokens;
};

/* A place in a source and what is wrong there. */
struct spot {
    const struct source *source; /* NULL: nowhere in particular */
    int line;                    /* from 1; 0: unknown */
    int column;                  /* from 1, in bytes; 0: unknown */
    char message[600];
};

/* Fills a spot with a token's place and a message as printf would. Returns -1. */
int spot_fail(struct spot *spot, const struct source *source, const struct token *token,
              const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Splits source->text into source->tokens. Returns 0, or -1 with the spot of an unterminated comment,
 * string, character or a stray byte (its message is empty when memory is out). In a preprocessor line and
 * between #if and #endif, where prose is allowed, a stray byte is a punctuator and an unterminated
 * string ends with its line; libtcc tells where it matters. */
int lexer_scan(struct source *source, struct spot *spot);
void lexer_free(struct source *source);

/* Whether the token is spelled so, apart from line continuations in it. */
bool token_is(const struct token *token, const char *text);

/* Writes the token without the line continuations in it; `text` has room for token->length bytes. Returns
 * how many were written. */
size_t token_spell(const struct token *token, char *text);

/* ( [ { and ) ] } */
bool token_opens(const struct token *token);
bool token_closes(const struct token *token);

/* Orders tokens by length, then by spelling: for tables of names. */
int token_compare(const struct token *a, const struct token *b);

/* Checks, before libtcc sees them, what it would take wrongly or not survive: brackets and #if that do
 * not pair up, nesting deeper than CHECK_DEPTH, long double, _Complex, thread-locals, parameters
 * (*a)[n] with a variable n, ++ on _Atomic variables, alignment above 16 of locals, a "# line" mark that
 * takes one of our labels. `snippet`: the text is the body of a function (else file scope).
 * Returns 0, or -1 with the spot. */
#define CHECK_DEPTH 500
int check_source(const struct source *source, bool snippet, struct spot *spot);

/* The same for a whole module's text, where #if chooses what libtcc will see: refuses only what libtcc would
 * take wrongly or not survive, and leaves to it what it refuses itself. */
int check_module(const struct source *source, struct spot *spot);

#endif

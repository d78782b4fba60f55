/* literal.h: what C's literals stand for. */
#ifndef TINYWEAVE_LITERAL_H
#define TINYWEAVE_LITERAL_H

#include "../buffer.h"
#include "declaration.h"

/* 10, 0x10u, 010LL, 0b1, 1.5, 1e3f, 0x1p3. A long double's value is rounded to double. Returns 0; or -1 for
 * what is no number, or too large. */
int literal_number(const struct token *token, struct number *number);

/* 'a', '\n', '\x41', L'a'. Returns 0; or -1 for another prefix, several characters or a bad escape. */
int literal_character(const struct token *token, struct number *number);

/* Appends the bytes of "...", escapes decoded, without a NUL at the end. Returns 0; or -1 for a prefix or a bad
 * escape; `bytes` may have failed. */
int literal_string(const struct token *token, struct buffer *bytes);

#endif

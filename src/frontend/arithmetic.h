/* arithmetic.h: calls of tw_add and its kin, before they are expanded. */
#ifndef TINYWEAVE_ARITHMETIC_H
#define TINYWEAVE_ARITHMETIC_H

#include "lexer.h"

/* As many operands tw_add and tw_mul take at most (TW_FOLD in runtime/symbols.c). */
#define ARITHMETIC_OPERANDS 8

/* These macros mention an operand twice, so that what libtcc reads doubles with each call inside another:
 * at this depth it takes half a second. */
#define ARITHMETIC_DEPTH 12

/* Refuses, with their spot, calls with too many or too few operands and calls nested deeper, commas that would part
 * an operand, and names of the macros' own variables. Returns 0 or -1 (an empty message: no memory). Looks at the
 * text only: what the user's own macros hide it does not see. */
int arithmetic_check(const struct source *source, struct spot *spot);

#endif

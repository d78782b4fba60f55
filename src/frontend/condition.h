/* condition.h: the integer constant expression of #if and #elif. For preprocess.c. */
#ifndef TINYWEAVE_CONDITION_H
#define TINYWEAVE_CONDITION_H

#include "expand.h"

/* What __has_include asks: whether there is a header of that name ("x.h": quoted). */
struct header_question {
    bool (*answer)(void *context, const char *name, bool quoted);
    void *context;
};

/* Evaluates the `count` tokens behind "# if", in 64 bits. What is malformed, or divides by zero, is false:
 * libtcc tells. Returns 1 (true), 0 (false), or -1 when the expander failed. */
int condition_evaluate(struct expander *expander, const struct token *tokens, size_t count,
                       const struct header_question *question);

#endif

/* return_val.h: the result of a snippet. */
#ifndef TINYWEAVE_RETURN_VAL_H
#define TINYWEAVE_RETURN_VAL_H

#include "../buffer.h"
#include "snippet.h"

/* Appends the snippet's text with each "return_val = expr;" made a call that sets the result; lines stay
 * lines. An object that somebody else owns gets a reference of its own. Returns 0; or -1 with the spot,
 * where the name stands anywhere else. */
int return_val_rewrite(const struct snippet *snippet, struct buffer *text, struct spot *spot);

#endif

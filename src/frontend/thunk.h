/* thunk.h: a unit for the functions that C calls and Python answers.
 *
 *   double (*f)(double x, void *data)      becomes
 *
 *   double tw_kernel(double tw_0, void *tw_1)
 *   {
 *       double tw_v[3][2];
 *       *(double *)tw_v[0] = tw_0;
 *       *(void **)tw_v[1] = tw_1;
 *       tw_callback_enter(tw_context, tw_v);
 *       return *(double *)tw_v[2];
 *   }
 *
 * Its object is loaded once for each callable, `tw_context` being what belongs to that one.
 */
#ifndef TINYWEAVE_THUNK_H
#define TINYWEAVE_THUNK_H

#include "../buffer.h"
#include "../unit.h"
#include "plan.h"

#define THUNK_CONTEXT "tw_context"
#define THUNK_ENTER "tw_callback_enter"

/* Appends the types that go in and out: "double (double, void *)". Callbacks with the same text share an object. */
void thunk_signature(const struct plan *plan, const struct binding *binding, struct buffer *text);

/* Writes the unit. Returns 0, or -1 when memory is out. */
int thunk_unit(const struct plan *plan, const struct binding *binding, struct unit *unit);

#endif

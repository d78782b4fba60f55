/* span.c: NumPy's loops and floating-point flags, for the C text of array expressions. */
#include "span.h"

#include "fpstatus.h"

void
span_loop(struct span *span, long index, long count, void *out, const void *x, const void *y,
          const void *z, const void *w)
{
    const struct span_loop *loop = &span->loops[index];
    intptr_t length = count;
    if (!span->careful) {
        span->seen |= fp_status_get();
    }
    if (loop->cast != NULL) {
        loop->cast((void *)x, out, length, NULL, NULL);
        return;
    }
    if (loop->vector != NULL) {
        loop->vector(count, out, x, y);
        return;
    }
    char *data[SPAN_OPERANDS + 1] = {(char *)x, (char *)y, (char *)z, (char *)w, NULL};
    data[loop->inputs] = out;
    loop->ufunc(loop->context, data, &length, loop->strides, loop->auxdata);
}

void
span_check(struct span *span, long step)
{
    unsigned raised = fp_status_get();
    if (raised != 0) {
        fp_status_clear();
        span->flags[step] |= raised;
    }
}

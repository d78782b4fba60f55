/* span.c: NumPy's loops and floating-point flags, for the C text of array expressions. */
#include "span.h"

#include <string.h>

#include "fpstatus.h"
#ifdef __x86_64__
#include <emmintrin.h>
#endif

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

void
span_stream(long bytes, void *out, const void *block)
{
#ifdef __x86_64__
    char *to = out;
    const char *from = block;
    long head = (long)(-(uintptr_t)to % 16);
    head = head < bytes ? head : bytes;
    memcpy(to, from, (size_t)head);
    for (; head + 16 <= bytes; head += 16) {
        _mm_stream_si128((__m128i *)(to + head), _mm_loadu_si128((const __m128i *)(from + head)));
    }
    memcpy(to + head, from + head, (size_t)(bytes - head));
#else
    memcpy(out, block, (size_t)bytes);
#endif
}

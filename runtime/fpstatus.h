/* fpstatus.h: the floating-point status of the running thread, in NumPy's bits.
 *
 * On x86-64 SSE's and the x87's (long double) status are read directly, a few ns; writing them is what costs, so
 * clearing writes only where a flag is set. What is computed between the two calls must be out of the compiler's
 * sight (a call through a pointer is).
 *
 * fp_quiet_begin() and fp_quiet_end(what it returned) stand around code of SSE's unit whose flags shall not be seen.
 */
#ifndef TINYWEAVE_FPSTATUS_H
#define TINYWEAVE_FPSTATUS_H

enum {
    FP_DIVIDE_BY_ZERO = 1, /* NPY_FPE_DIVIDEBYZERO */
    FP_OVERFLOW = 2,       /* NPY_FPE_OVERFLOW */
    FP_UNDERFLOW = 4,      /* NPY_FPE_UNDERFLOW */
    FP_INVALID = 8,        /* NPY_FPE_INVALID */
};

#ifdef __x86_64__

/* The processor's order in both status words: invalid 1, (denormal 2), zero 4, overflow 8, underflow 16. */
enum { FP_HARDWARE = 1 | 4 | 8 | 16 };

static inline unsigned
fp_read_sse(void)
{
    unsigned word;
    __asm__ volatile("stmxcsr %0" : "=m"(word) : : "memory");
    return word;
}

static inline void
fp_write_sse(unsigned word)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(word) : "memory");
}

static inline unsigned
fp_read_x87(void)
{
    unsigned short word;
    __asm__ volatile("fnstsw %0" : "=a"(word) : : "memory");
    return word;
}

static inline int
fp_bits(unsigned word)
{
    return (int)((word & 1) << 3 | (word >> 2 & 7));
}

/* Of code that has no long double. */
static inline int
fp_status_get_sse(void)
{
    return fp_bits(fp_read_sse());
}

static inline void
fp_status_clear_sse(void)
{
    const unsigned sse = fp_read_sse();
    if (sse & FP_HARDWARE) {
        fp_write_sse(sse & ~(unsigned)FP_HARDWARE);
    }
}

static inline int
fp_status_get(void)
{
    return fp_bits(fp_read_sse() | fp_read_x87());
}

static inline void
fp_status_clear(void)
{
    fp_status_clear_sse();
    if (fp_read_x87() & FP_HARDWARE) {
        __asm__ volatile("fnclex" : : : "memory");
    }
}

static inline unsigned
fp_quiet_begin(void)
{
    return fp_read_sse();
}

static inline void
fp_quiet_end(unsigned before)
{
    if ((fp_read_sse() ^ before) & FP_HARDWARE) {
        fp_write_sse(before);
    }
}

#else

#include <fenv.h>

static inline int
fp_status_get(void)
{
    const int flags = fetestexcept(FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW | FE_INVALID);
    return (flags & FE_DIVBYZERO ? FP_DIVIDE_BY_ZERO : 0) |
           (flags & FE_OVERFLOW ? FP_OVERFLOW : 0) | (flags & FE_UNDERFLOW ? FP_UNDERFLOW : 0) |
           (flags & FE_INVALID ? FP_INVALID : 0);
}

static inline void
fp_status_clear(void)
{
    if (fp_status_get() != 0) {
        feclearexcept(FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW | FE_INVALID);
    }
}

static inline int
fp_status_get_sse(void)
{
    return fp_status_get();
}

static inline void
fp_status_clear_sse(void)
{
    fp_status_clear();
}

static inline unsigned
fp_quiet_begin(void)
{
    return (unsigned)fetestexcept(FE_ALL_EXCEPT);
}

static inline void
fp_quiet_end(unsigned before)
{
    const int raised = fetestexcept(FE_ALL_EXCEPT) & ~(int)before;
    if (raised != 0) {
        feclearexcept(raised);
    }
}

#endif

#endif

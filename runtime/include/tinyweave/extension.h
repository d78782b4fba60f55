/* extension.h: in front of every text of tw.extension: what libtcc lacks and real modules count on. */
#ifndef TINYWEAVE_EXTENSION_H
#define TINYWEAVE_EXTENSION_H

#include <patchlevel.h>

/* Python 3.13's own atomics by gcc's, see below. */
#if PY_VERSION_HEX >= 0x030D0000
#define _Py_USE_GCC_BUILTIN_ATOMICS 1
#endif

/* ---- gcc's built-in functions ---- */

#define __builtin_prefetch(...) ((void)0)
#define __builtin_assume(condition) ((void)0)

#define __builtin_inf() 1e10000
#define __builtin_inff() ((float)1e10000)
#define __builtin_huge_val() 1e10000
#define __builtin_nan(text) (-(0.0f * 1e10000))
#define __builtin_isnan(x)                                                                         \
    ({                                                                                             \
        double tw_x = (x);                                                                         \
        tw_x != tw_x;                                                                              \
    })
#define __builtin_isinf(x)                                                                         \
    ({                                                                                             \
        double tw_x = (x);                                                                         \
        tw_x == 1e10000 ? 1 : tw_x == -1e10000 ? -1 : 0;                                           \
    })
#define __builtin_isfinite(x)                                                                      \
    ({                                                                                             \
        double tw_x = (x);                                                                         \
        tw_x - tw_x == 0;                                                                          \
    })

static inline unsigned short
__builtin_bswap16(unsigned short value)
{
    return (unsigned short)(value << 8 | value >> 8);
}

static inline unsigned int
__builtin_bswap32(unsigned int value)
{
    return value << 24 | (value & 0xff00u) << 8 | (value >> 8 & 0xff00u) | value >> 24;
}

static inline unsigned long
__builtin_bswap64(unsigned long value)
{
    return (unsigned long)__builtin_bswap32((unsigned int)value) << 32 |
           __builtin_bswap32((unsigned int)(value >> 32));
}

#include <tinyweave/atomic.h>

/* ---- instructions ---- */

#ifdef __x86_64__
static inline unsigned int
__builtin_ia32_crc32qi(unsigned int crc, unsigned char value)
{
    __asm__(".byte 0xf2, 0x0f, 0x38, 0xf0, 0xc2" : "+a"(crc) : "d"(value)); /* crc32 %dl, %eax */
    return crc;
}

static inline unsigned int
__builtin_ia32_crc32hi(unsigned int crc, unsigned short value)
{
    __asm__(".byte 0x66, 0xf2, 0x0f, 0x38, 0xf1, 0xc2" : "+a"(crc) : "d"(value));
    return crc;
}

static inline unsigned int
__builtin_ia32_crc32si(unsigned int crc, unsigned int value)
{
    __asm__(".byte 0xf2, 0x0f, 0x38, 0xf1, 0xc2" : "+a"(crc) : "d"(value));
    return crc;
}

static inline unsigned long
__builtin_ia32_crc32di(unsigned long crc, unsigned long value)
{
    __asm__(".byte 0xf2, 0x48, 0x0f, 0x38, 0xf1, 0xc2" : "+a"(crc) : "d"(value));
    return crc;
}
#endif

#endif

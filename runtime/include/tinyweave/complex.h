/* complex.h: complex numbers as structs, in plain C: NumPy's arithmetic and the functions of <complex.h>.
 *
 * The only text of them. Compiled code of Python processes links to functions that are made of it; C files and
 * libraries for use without tinyweave have it in them. TW_FUNCTION is what stands in front of each function:
 * `static`, or nothing; where it is not defined there are the types only.
 */
#ifndef TW_COMPLEX_TYPES
#define TW_COMPLEX_TYPES

/* Structs of two members pass as C's complex numbers do, in libtcc as in gcc. */
typedef struct {
    double real, imag;
} tw_complex;

typedef struct {
    float real, imag;
} tw_complexf;

/* The functions of C's <complex.h>, which NumPy's are too. */
#define TW_COMPLEX_FUNCTIONS(FUNCTION)                                                             \
    FUNCTION(sqrt)                                                                                 \
    FUNCTION(exp)                                                                                  \
    FUNCTION(log)                                                                                  \
    FUNCTION(sin)                                                                                  \
    FUNCTION(cos)                                                                                  \
    FUNCTION(tan)                                                                                  \
    FUNCTION(sinh)                                                                                 \
    FUNCTION(cosh)                                                                                 \
    FUNCTION(tanh)                                                                                 \
    FUNCTION(asin)                                                                                 \
    FUNCTION(acos)                                                                                 \
    FUNCTION(atan)                                                                                 \
    FUNCTION(asinh)                                                                                \
    FUNCTION(acosh)                                                                                \
    FUNCTION(atanh)

#endif

#ifdef TW_FUNCTION

#include <math.h>
#ifndef __TINYC__
#include <complex.h>
#endif

/* `type` has parts of type `part`; `f` ends the names of libm's functions for it. Division is Smith's, with the
 * scaling NumPy uses (numpy/_core/src/umath/loops.c.src), so that the results are the same bits. */
#define TW_COMPLEX_ARITHMETIC(type, part, f)                                                       \
    TW_FUNCTION type type##_mul(type x, type y)                                                    \
    {                                                                                              \
        return (type){x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real};       \
    }                                                                                              \
                                                                                                   \
    TW_FUNCTION type type##_div(type x, type y)                                                    \
    {                                                                                              \
        part real = fabs##f(y.real);                                                               \
        part imag = fabs##f(y.imag);                                                               \
        if (real == 0 && imag == 0) {                                                              \
            return (type){x.real / real, x.imag / real};                                           \
        }                                                                                          \
        if (real >= imag) {                                                                        \
            part ratio = y.imag / y.real;                                                          \
            part scale = 1 / (y.real + y.imag * ratio);                                            \
            return (type){(x.real + x.imag * ratio) * scale, (x.imag - x.real * ratio) * scale};   \
        }                                                                                          \
        part ratio = y.real / y.imag;                                                              \
        part scale = 1 / (y.imag + y.real * ratio);                                                \
        return (type){(x.real * ratio + x.imag) * scale, (x.imag * ratio - x.real) * scale};       \
    }                                                                                              \
                                                                                                   \
    TW_FUNCTION part type##_abs(type x)                                                            \
    {                                                                                              \
        return hypot##f(x.real, x.imag);                                                           \
    }                                                                                              \
                                                                                                   \
    TW_FUNCTION type type##_from(part x)                                                           \
    {                                                                                              \
        return (type){x, 0};                                                                       \
    }

TW_COMPLEX_ARITHMETIC(tw_complex, double, )
TW_COMPLEX_ARITHMETIC(tw_complexf, float, f)

/* In double precision tw_add and its kin write these out: libtcc makes no call of a function disappear. */

TW_FUNCTION tw_complexf
tw_complexf_add(tw_complexf x, tw_complexf y)
{
    return (tw_complexf){x.real + y.real, x.imag + y.imag};
}

TW_FUNCTION tw_complexf
tw_complexf_sub(tw_complexf x, tw_complexf y)
{
    return (tw_complexf){x.real - y.real, x.imag - y.imag};
}

TW_FUNCTION tw_complexf
tw_complexf_neg(tw_complexf x)
{
    return (tw_complexf){-x.real, -x.imag};
}

TW_FUNCTION tw_complexf
tw_complexf_conj(tw_complexf x)
{
    return (tw_complexf){x.real, -x.imag};
}

TW_FUNCTION float
tw_complexf_abs2(tw_complexf x)
{
    return x.real * x.real + x.imag * x.imag;
}

/* From one type to the other. */

TW_FUNCTION tw_complex
tw_complexf_widen(tw_complexf x)
{
    return (tw_complex){x.real, x.imag};
}

TW_FUNCTION tw_complexf
tw_complex_narrow(tw_complex x)
{
    return (tw_complexf){(float)x.real, (float)x.imag};
}

/* ---- The functions of <complex.h> ---- */

/* libtcc has no complex types: there the functions themselves are declared as ones of structs. */
#ifdef __TINYC__
#define TW_COMPLEX_UNARY(type, part, name, f) type type##_##name(type x) __asm__("c" #name #f);
#define TW_COMPLEX_LIBM_POW(type, part, f) type type##_libm_pow(type x, type y) __asm__("cpow" #f);
#else
#define TW_COMPLEX_UNARY(type, part, name, f)                                                      \
    TW_FUNCTION type type##_##name(type x)                                                         \
    {                                                                                              \
        union {                                                                                    \
            type parts;                                                                            \
            part _Complex number;                                                                  \
        } value = {x};                                                                             \
        value.number = c##name##f(value.number);                                                   \
        return value.parts;                                                                        \
    }
#define TW_COMPLEX_LIBM_POW(type, part, f)                                                         \
    TW_FUNCTION type type##_libm_pow(type x, type y)                                               \
    {                                                                                              \
        union {                                                                                    \
            type parts;                                                                            \
            part _Complex number;                                                                  \
        } base = {x}, exponent = {y};                                                              \
        base.number = cpow##f(base.number, exponent.number);                                       \
        return base.parts;                                                                         \
    }
#endif

#define TW_COMPLEX_BOTH(name)                                                                      \
    TW_COMPLEX_UNARY(tw_complex, double, name, )                                                   \
    TW_COMPLEX_UNARY(tw_complexf, float, name, f)

TW_COMPLEX_FUNCTIONS(TW_COMPLEX_BOTH)

/* NumPy's power (numpy/_core/src/umath/funcs.inc.src): products for small integers, else the C library's.
 * 0 to a power that is not positive is NaN. */
#define TW_COMPLEX_POW(type, part, f)                                                              \
    TW_COMPLEX_LIBM_POW(type, part, f)                                                             \
                                                                                                   \
    TW_FUNCTION type type##_integer_pow(type x, int n)                                             \
    {                                                                                              \
        type power = {1, 0};                                                                       \
        for (int rest = n < 0 ? -n : n; rest > 0; rest >>= 1) {                                    \
            power = rest & 1 ? type##_mul(power, x) : power;                                       \
            x = type##_mul(x, x);                                                                  \
        }                                                                                          \
        return n < 0 ? type##_div((type){1, 0}, power) : power;                                    \
    }                                                                                              \
                                                                                                   \
    TW_FUNCTION type type##_pow(type x, type y)                                                    \
    {                                                                                              \
        if (y.real == 0 && y.imag == 0) {                                                          \
            return (type){1, 0};                                                                   \
        }                                                                                          \
        if (x.real == 0 && x.imag == 0) {                                                          \
            return y.real > 0 ? (type){0, 0} : (type){NAN, NAN};                                   \
        }                                                                                          \
        if (y.imag == 0 && fabs##f(y.real) < 100 && y.real == trunc##f(y.real)) {                  \
            return y.real == 1   ? x                                                               \
                   : y.real == 2 ? type##_mul(x, x)                                                \
                   : y.real == 3 ? type##_mul(x, type##_mul(x, x))                                 \
                                 : type##_integer_pow(x, (int)y.real);                             \
        }                                                                                          \
        return type##_libm_pow(x, y);                                                              \
    }

TW_COMPLEX_POW(tw_complex, double, )
TW_COMPLEX_POW(tw_complexf, float, f)

#endif

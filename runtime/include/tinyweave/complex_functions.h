/* complex_functions.h: arithmetic of complex numbers, for the core itself and, as text, for saved libraries.
 *
 * Plain C. Where COMPLEX(name) and COMPLEX_F(name) are defined, the functions are, by these names; tw_complex and
 * tw_complexf are declared before.
 */
#ifndef COMPLEX_FUNCTIONS

/* The functions of C's <complex.h>, which NumPy's are too. */
#define COMPLEX_FUNCTIONS(FUNCTION)                                                                \
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

#ifdef COMPLEX

#include <complex.h>
#include <math.h>
#include <stdlib.h>

/* `type` has parts of type `part`; `f` ends the names of libm's functions for it. Division is Smith's, with the
 * scaling NumPy uses (numpy/_core/src/umath/loops.c.src), so that the results are the same bits. */
#define ARITHMETIC(NAME, type, part, f)                                                            \
    type NAME(add)(type x, type y)                                                                 \
    {                                                                                              \
        return (type){x.real + y.real, x.imag + y.imag};                                           \
    }                                                                                              \
                                                                                                   \
    type NAME(sub)(type x, type y)                                                                 \
    {                                                                                              \
        return (type){x.real - y.real, x.imag - y.imag};                                           \
    }                                                                                              \
                                                                                                   \
    type NAME(mul)(type x, type y)                                                                 \
    {                                                                                              \
        return (type){x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real};       \
    }                                                                                              \
                                                                                                   \
    type NAME(div)(type x, type y)                                                                 \
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
    type NAME(neg)(type x)                                                                         \
    {                                                                                              \
        return (type){-x.real, -x.imag};                                                           \
    }                                                                                              \
                                                                                                   \
    type NAME(conj)(type x)                                                                        \
    {                                                                                              \
        return (type){x.real, -x.imag};                                                            \
    }                                                                                              \
                                                                                                   \
    part NAME(abs)(type x)                                                                         \
    {                                                                                              \
        return hypot##f(x.real, x.imag);                                                           \
    }

ARITHMETIC(COMPLEX, tw_complex, double, )
ARITHMETIC(COMPLEX_F, tw_complexf, float, f)

/* NumPy's power (numpy/_core/src/umath/funcs.inc.src): products for small integers, else the C library's.
 * 0 to a power that is not positive is NaN. */
#define POWER(NAME, type, part, f, F)                                                              \
    static type NAME(integer_pow)(type x, long n)                                                  \
    {                                                                                              \
        type power = {1, 0};                                                                       \
        for (long rest = labs(n); rest > 0; rest >>= 1) {                                          \
            power = rest & 1 ? NAME(mul)(power, x) : power;                                        \
            x = NAME(mul)(x, x);                                                                   \
        }                                                                                          \
        return n < 0 ? NAME(div)((type){1, 0}, power) : power;                                     \
    }                                                                                              \
                                                                                                   \
    type NAME(pow)(type x, type y)                                                                 \
    {                                                                                              \
        if (y.real == 0 && y.imag == 0) {                                                          \
            return (type){1, 0};                                                                   \
        }                                                                                          \
        if (x.real == 0 && x.imag == 0) {                                                          \
            return y.real > 0 ? (type){0, 0} : (type){NAN, NAN};                                   \
        }                                                                                          \
        if (y.imag == 0 && fabs##f(y.real) < 100 && y.real == trunc##f(y.real)) {                  \
            return y.real == 1   ? x                                                               \
                   : y.real == 2 ? NAME(mul)(x, x)                                                 \
                   : y.real == 3 ? NAME(mul)(x, NAME(mul)(x, x))                                   \
                                 : NAME(integer_pow)(x, (long)y.real);                             \
        }                                                                                          \
        part complex power = cpow##f(CMPLX##F(x.real, x.imag), CMPLX##F(y.real, y.imag));          \
        return (type){creal##f(power), cimag##f(power)};                                           \
    }

POWER(COMPLEX, tw_complex, double, , )
POWER(COMPLEX_F, tw_complexf, float, f, F)

#define FUNCTION(name)                                                                             \
    tw_complex COMPLEX(name)(tw_complex x)                                                         \
    {                                                                                              \
        double complex value = c##name(CMPLX(x.real, x.imag));                                     \
        return (tw_complex){creal(value), cimag(value)};                                           \
    }                                                                                              \
                                                                                                   \
    tw_complexf COMPLEX_F(name)(tw_complexf x)                                                     \
    {                                                                                              \
        float complex value = c##name##f(CMPLXF(x.real, x.imag));                                  \
        return (tw_complexf){crealf(value), cimagf(value)};                                        \
    }

COMPLEX_FUNCTIONS(FUNCTION)

tw_complex
COMPLEX_F(widen)(tw_complexf x)
{
    return (tw_complex){x.real, x.imag};
}

tw_complexf
COMPLEX(narrow)(tw_complex x)
{
    return (tw_complexf){(float)x.real, (float)x.imag};
}

tw_complex
COMPLEX(from)(double x)
{
    return (tw_complex){x, 0};
}

tw_complexf
COMPLEX_F(from)(float x)
{
    return (tw_complexf){x, 0};
}

float
COMPLEX_F(abs2)(tw_complexf x)
{
    return x.real * x.real + x.imag * x.imag;
}

#endif

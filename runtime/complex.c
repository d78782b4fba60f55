/* complex.c: the functions behind tw_add, tw_mul and their kin of user code. */
#include "complex.h"

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

#define OURS(operation) complex_##operation
#define OURS_F(operation) complex_##operation##f
ARITHMETIC(OURS, tw_complex, double, )
ARITHMETIC(OURS_F, tw_complexf, float, f)

/* NumPy's power (numpy/_core/src/umath/funcs.inc.src): products for small integers, else the C library's.
 * 0 to a power that is not positive is NaN. */
#define POWER(type, part, f, F)                                                                    \
    static type complex_integer_pow##f(type x, long n)                                             \
    {                                                                                              \
        type power = {1, 0};                                                                       \
        for (long rest = labs(n); rest > 0; rest >>= 1) {                                          \
            power = rest & 1 ? complex_mul##f(power, x) : power;                                   \
            x = complex_mul##f(x, x);                                                              \
        }                                                                                          \
        return n < 0 ? complex_div##f((type){1, 0}, power) : power;                                \
    }                                                                                              \
                                                                                                   \
    type complex_pow##f(type x, type y)                                                            \
    {                                                                                              \
        if (y.real == 0 && y.imag == 0) {                                                          \
            return (type){1, 0};                                                                   \
        }                                                                                          \
        if (x.real == 0 && x.imag == 0) {                                                          \
            return y.real > 0 ? (type){0, 0} : (type){NAN, NAN};                                   \
        }                                                                                          \
        if (y.imag == 0 && fabs##f(y.real) < 100 && y.real == trunc##f(y.real)) {                  \
            return y.real == 1   ? x                                                               \
                   : y.real == 2 ? complex_mul##f(x, x)                                            \
                   : y.real == 3 ? complex_mul##f(x, complex_mul##f(x, x))                         \
                                 : complex_integer_pow##f(x, (long)y.real);                        \
        }                                                                                          \
        part complex power = cpow##f(CMPLX##F(x.real, x.imag), CMPLX##F(y.real, y.imag));          \
        return (type){creal##f(power), cimag##f(power)};                                           \
    }

POWER(tw_complex, double, , )
POWER(tw_complexf, float, f, F)

#define FUNCTION(name)                                                                             \
    tw_complex complex_##name(tw_complex x)                                                        \
    {                                                                                              \
        double complex value = c##name(CMPLX(x.real, x.imag));                                     \
        return (tw_complex){creal(value), cimag(value)};                                           \
    }                                                                                              \
                                                                                                   \
    tw_complexf complex_##name##f(tw_complexf x)                                                   \
    {                                                                                              \
        float complex value = c##name##f(CMPLXF(x.real, x.imag));                                  \
        return (tw_complexf){crealf(value), cimagf(value)};                                        \
    }

COMPLEX_FUNCTIONS(FUNCTION)

tw_complex
complex_widenf(tw_complexf x)
{
    return (tw_complex){x.real, x.imag};
}

tw_complexf
complex_narrow(tw_complex x)
{
    return (tw_complexf){(float)x.real, (float)x.imag};
}

tw_complex
complex_from(double x)
{
    return (tw_complex){x, 0};
}

tw_complexf
complex_fromf(float x)
{
    return (tw_complexf){x, 0};
}

float
complex_abs2f(tw_complexf x)
{
    return x.real * x.real + x.imag * x.imag;
}

void
complex_return(struct call *call, tw_complex value)
{
    call_return_complex(call, value.real, value.imag);
}

void
complex_returnf(struct call *call, tw_complexf value)
{
    call_return_complex(call, value.real, value.imag);
}

/* ---- The same as text, by the names that user code links to ---- */

#define LINKED(operation) tw_complex_##operation
#define LINKED_F(operation) tw_complexf_##operation
#define TEXT(...) #__VA_ARGS__
#define EXPANDED_TEXT(...) TEXT(__VA_ARGS__)

/* clang-format off */
const char complex_source[] =
    "#include <math.h>\n"
    "typedef struct { double real, imag; } tw_complex;\n"
    "typedef struct { float real, imag; } tw_complexf;\n"
    EXPANDED_TEXT(ARITHMETIC(LINKED, tw_complex, double, )) "\n"
    EXPANDED_TEXT(ARITHMETIC(LINKED_F, tw_complexf, float, f)) "\n"
    "tw_complex tw_complexf_widen(tw_complexf x) { return (tw_complex){x.real, x.imag}; }\n";
